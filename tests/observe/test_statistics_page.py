"""The statistics page without a process: rows, cells, requests, the form, events."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from headgate.config.model import StatsPage
from headgate.observe.history import LENGTH, History
from headgate.observe.page.cells import COLUMNS, amount, cells_of, digits, duration, look_of
from headgate.observe.page.events import Feed
from headgate.observe.page.facts import Selection, rows_of
from headgate.observe.page.pages import StatsPages
from headgate.observe.page.request import is_from_our_page, read_request
from headgate.observe.service import Ask, Begin, Pause, Question
from headgate.plan.services import Service
from headgate.wire.http1.heads import parse_request_head

HEADER = "# pxname,svname,status,iid,sid,type,scur,req_tot,hrsp_5xx,mode,lastchg,addr,cookie,check_status,check_desc,weight,-,"
WEB = "web,FRONTEND,OPEN,2,0,0,3,100,0,http,,,,,,,-,"
S1 = "app,s1,UP,3,1,2,1,,0,http,60,10.0.0.1:80,c1,L7OK,Layer7 check passed,1,-,"
S2 = "app,s2,DOWN,3,2,2,0,,0,http,60,10.0.0.2:80,c2,L4CON,Layer4 connection problem,1,-,"
APP = "app,BACKEND,UP,3,0,1,1,90,0,http,60,,SRV,,,2,-,"
STAT = "\n".join((HEADER, WEB, S1, S2, APP))
EVIL = STAT.replace("Layer7 check passed", '"<script>alert(1)</script>, ""x"""').replace("app,s1", "app,<b>s1</b>")


def question(
    target: str = "/stats", *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b"",
    page: StatsPage | None = None, admin: bool = False,
) -> Question:
    lines = [f"{method} {target} HTTP/1.1", "host: lb.example:8404"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    head = parse_request_head("\r\n".join(lines).encode())
    return Question(Service("stats", "<STATS>", page or StatsPage(uri="/stats"), admin=admin), head, body, True, 0.0)


class Run:
    """A script, run to its end (or to its first pause in an event stream)."""

    def __init__(self, asked: Question, answers: Mapping[str, str] | None = None, stat: str = STAT) -> None:
        info = "Pid: 42\nUptime_sec: 90\nCurrConns: 1\nMaxconn: 9\nVersion: 3.5"
        known = {"show stat": stat, "show info": info, **(answers or {})}
        self.commands: list[str] = []
        self.begin = Begin(0, b"")
        body = []
        script = StatsPages().write(asked)
        answer: str | None = None
        while True:
            try:
                step = script.send(answer)  # type: ignore[arg-type]
            except StopIteration:
                break
            answer = ""
            if isinstance(step, Begin):
                self.begin = step
                body.append(step.body or b"")
            elif isinstance(step, Ask):
                self.commands.append(step.command)
                answer = known.get(step.command, "")
            elif isinstance(step, bytes):
                body.append(step)
            elif isinstance(step, Pause) and self.begin.endless:
                break
        self.text = b"".join(body).decode()

    @property
    def location(self) -> str:
        return self.begin.fields.decode().partition("location: ")[2].partition("\r\n")[0]


# --- cells -----------------------------------------------------------------------------------------------------------


def test_numbers_as_people_read_them() -> None:
    assert [digits(text) for text in ("", "7", "1234567")] == ["", "7", "1\u202f234\u202f567"]
    assert [amount(text) for text in ("", "999", "1000", "999600", "12345678", "5000000000000000")] == [
        "", "999 B", "1.0 kB", "1.0 MB", "12.3 MB", "5.0 PB",
    ]  # fmt: skip
    assert [duration(text) for text in ("", "0", "59", "61", "3600", "90061")] == ["", "0s", "59s", "1m 1s", "1h", "1d 1h"]


@pytest.mark.parametrize(("status", "look"), [
    ("UP", "up"), ("UP 1/3", "falling"), ("DOWN", "down"), ("DOWN 1/2", "rising"), ("DOWN (agent)", "down"),
    ("no check", "nocheck"),
    ("MAINT (via a/b)", "maint"), ("DRAIN", "drain"), ("NOLB", "nolb"), ("OPEN", "open"), ("STOP", "down"),
])
def test_the_look_of_a_status(status: str, look: str) -> None:
    assert look_of({"status": status}) == look


def test_every_row_has_every_cell() -> None:
    assert all(len(cells_of(row)) >= len(COLUMNS) for row in rows_of(STAT))


# --- requests --------------------------------------------------------------------------------------------------------


def test_words_behind_the_address() -> None:
    wanted = read_request(question("/stats;csv;up;norefresh;scope=a%2Fb"))
    assert (wanted.form, wanted.selection, wanted.refresh) == ("csv", Selection(part="a/b", up=True), False)
    assert wanted.link(*wanted.kept()) == "/stats;up;norefresh;scope=a%2Fb"
    assert read_request(question("/stats?scope=app")).selection.part == "app"


@pytest.mark.parametrize(("headers", "ours"), [
    ({}, True),
    ({"origin": "http://lb.example:8404"}, True),
    ({"origin": "https://LB.example:8404"}, True),
    ({"origin": "http://evil.example"}, False),
    ({"origin": "null"}, False),
    ({"referer": "http://lb.example:8404/stats"}, True),
    ({"referer": "http://evil.example/lb.example:8404"}, False),
    ({"origin": "http://lb.example:8404", "sec-fetch-site": "cross-site"}, False),
    ({"origin": "http://lb.example:8404", "sec-fetch-site": "same-origin"}, True),
])
def test_other_sites_can_post_nothing(headers: Mapping[str, str], ours: bool) -> None:
    assert is_from_our_page(question(headers=headers).head) is ours


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_has_all_rows_and_runs_nothing_but_its_own_script() -> None:
    run = Run(question())
    assert run.begin.status == 200
    fields = run.begin.fields.decode()
    assert "default-src 'none'" in fields and "unsafe" not in fields and "nosniff" in fields
    for name in ("Frontend", ">s1<", ">s2<", "Backend", "L4CON", "1m"):
        assert name in run.text, name
    assert "10.0.0.1" not in run.text  # only with show-legends
    assert "<form method=\"post\"" not in run.text
    assert "http://" not in run.text.replace("http://www.w3.org/2000/svg", "")
    assert " style=" not in run.text and " onclick" not in run.text


def test_everything_is_escaped() -> None:
    for target in ("/stats;scope=<q>", "/stats;st=<q>", "/stats;row=<q>"):
        run = Run(question(target, page=StatsPage(uri="/stats", description="<u>d</u>", show_legends=True)), stat=EVIL)
        assert not any(text in run.text for text in ("<script>alert", "<b>s1", "<u>d", "<q>"))


def test_legends_description_node_version() -> None:
    page = StatsPage(uri="/s", show_legends=True, description="", node="n1", show_version=True, refresh=5.0)
    text = Run(question("/s", page=page), {"show info": "description: all of it\nVersion: 3.5-x\nPid: 1"}).text
    for part in ("10.0.0.1:80", "cookie c1", "on n1", "all of it", "3.5-x", '<meta http-equiv="refresh" content="5">'):
        assert part in text, part
    text = Run(question("/s;norefresh", page=page)).text
    assert "http-equiv=\"refresh\"" not in text and 'data-live=""' in text


def test_scope_hides_other_proxies_everywhere() -> None:
    page = StatsPage(uri="/stats", scope=("web",))
    for target in ("/stats", "/stats;csv", "/stats;live", "/stats;row=app/s1/3.2.1"):
        assert "s1" not in Run(question(target, page=page)).text, target


def test_servers_that_are_down_can_be_hidden() -> None:
    assert ">s2<" not in Run(question("/stats;up")).text
    assert ">s1<" in Run(question("/stats;up")).text


def test_no_answer_is_an_error_page() -> None:
    assert Run(question(), stat="").begin.status == 503


def test_the_details_of_a_row() -> None:
    run = Run(question("/stats;row=app/s1/3.2.1"))
    assert run.begin.status == 200 and "Layer7 check passed" in run.text and "10.0.0.1" not in run.text
    assert Run(question("/stats;row=app/nobody/3.2.9")).begin.status == 404


# --- exports ---------------------------------------------------------------------------------------------------------


def test_csv_is_show_stat_less_what_legends_tell() -> None:
    assert Run(question("/stats;csv", page=StatsPage(uri="/stats", show_legends=True))).text == STAT + "\n"
    plain = Run(question("/stats;csv")).text
    assert plain.splitlines()[0] == HEADER and "10.0.0.1" not in plain and "c1" not in plain and "app,s2,DOWN" in plain


def test_json_is_asked_proxy_by_proxy() -> None:
    item = [{"field": {"name": "addr"}, "value": 1}, {"field": {"name": "scur"}, "value": 2}]
    answers = {"show stat -1 3 -1": "\n".join((HEADER, WEB, APP)), "show stat 2 7 -1 json": json.dumps([item]),
               "show stat 3 7 -1 json": json.dumps([item, item])}
    run = Run(question("/stats;json"), answers)
    assert run.commands == list(answers)
    assert [[part["field"]["name"] for part in row] for row in json.loads(run.text)] == [["scur"]] * 3
    assert json.loads(Run(question("/stats;json", page=StatsPage(uri="/stats", scope=("none",)))).text) == []


# --- the form --------------------------------------------------------------------------------------------------------

BACKENDS = {"show stat -1 2 -1": "\n".join((HEADER, APP)), "show stat 3 4 -1": "\n".join((HEADER, S1, S2))}


def post(body: str, *, admin: bool = True, answers: Mapping[str, str] | None = None, page: StatsPage | None = None,
         target: str = "/stats", headers: Mapping[str, str] | None = None) -> Run:
    asked = question(target, method="POST", body=body.encode(), admin=admin, page=page, headers=headers)
    run = Run(asked, {**BACKENDS, **(answers or {})})
    assert run.begin.status == 303
    return run


def test_the_form_becomes_commands() -> None:
    run = post("s=s1&s=s2&action=drain&b=%233", target="/stats;up;norefresh")
    assert run.commands[2:] == ["set server app/s1 state drain", "set server app/s2 state drain"]
    assert run.location == "/stats;st=DONE;up;norefresh"
    assert post("s=s1&action=shutdown&b=app").commands[-1] == "shutdown sessions server app/s1"


@pytest.mark.parametrize(("body", "code"), [
    ("s=s1&action=boom&b=app", "ERRP"),
    ("s=s1&action=ready&b=nobody", "ERRP"),
    ("s=nobody&action=ready&b=app", "ERRP"),
    ("s=s1&s=nobody&action=ready&b=app", "PART"),
    ("action=ready&b=app", "NONE"),
    ("s=s1%3B%20shutdown%20frontend%20web&action=ready&b=app", "ERRP"),
    ("", "ERRP"),
    ("\xff=%", "ERRP"),
])
def test_what_the_form_may_not_say(body: str, code: str) -> None:
    run = post(body)
    assert run.location == f"/stats;st={code}"
    assert all("shutdown" not in command for command in run.commands)


def test_only_admins_on_our_own_page_may_change_what_is_in_scope() -> None:
    body = "s=s1&action=ready&b=app"
    assert post(body, admin=False).location == "/stats;st=DENY"
    assert post(body, headers={"origin": "http://evil.example"}).location == "/stats;st=DENY"
    assert post(body, page=StatsPage(uri="/stats", scope=("web",))).location == "/stats;st=DENY"
    assert post(body, answers={"set server app/s1 state ready": "Failed."}).location == "/stats;st=ERRP"


def test_admins_see_the_form_and_what_came_of_it() -> None:
    text = Run(question("/stats;st=PART", admin=True)).text
    assert 'name="s" value="s1"' in text and 'name="b" value="#3"' in text and "partially processed" in text


# --- live ------------------------------------------------------------------------------------------------------------


def event(data: bytes) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = json.loads(data.removeprefix(b"data: "))
    return found


def take(feed: Feed, answer: str, process: Mapping[str, str]) -> None:
    for _ in feed.take(answer, process):
        pass


def test_a_feed_tells_what_changed() -> None:
    feed = Feed(Selection())
    feed.join()
    take(feed, STAT, {"conns": "1"})
    assert set(event(feed.event(-1))["rows"]) == {"web/FRONTEND/2.0.0", "app/s1/3.2.1", "app/s2/3.2.2", "app/BACKEND/3.1.0"}
    seen = feed.serial
    take(feed, STAT, {"conns": "1"})
    assert feed.event(seen).startswith(b":")
    older = STAT.replace("3,2,2,0,,0,http,60", "3,2,2,0,,0,http,61")
    take(feed, older.replace("web,FRONTEND,OPEN,2,0,0,3,100", "web,FRONTEND,OPEN,2,0,0,5,140"), {"conns": "2"})
    news = event(feed.event(seen))
    assert list(news["rows"]) == ["web/FRONTEND/2.0.0"] and "5" in str(news["rows"]) and news["process"] == {"conns": "2"}
    assert news["points"]["web/FRONTEND/2.0.0"] == [40, 0]
    take(feed, STAT.replace("app,s2,DOWN", "app,s2,UP"), {"conns": "2"})
    assert event(feed.event(feed.serial - 1))["rows"]["app/s2/3.2.2"]["look"] == "up"
    assert len(event(feed.event(seen))["rows"]) == 4  # who missed one gets all


def test_another_set_of_rows_has_another_name() -> None:
    feed = Feed(Selection())
    feed.join()
    take(feed, STAT, {})
    before = event(feed.event(-1))["set"]
    assert f'data-set="{before}"' in Run(question()).text
    take(feed, STAT.replace(S2 + "\n", ""), {})
    assert event(feed.event(feed.serial - 1))["set"] != before


def test_live_events_begin_with_everything() -> None:
    run = Run(question("/stats;live"))
    assert run.begin.endless and b"text/event-stream" in run.begin.fields
    retry, data = run.text.split("\n\n")[:2]
    assert retry == "retry: 3000" and set(json.loads(data[6:])["rows"]) >= {"app/s1/3.2.1"}


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_keeps_what_came_in_each_second() -> None:
    history = History()
    for total in (100, 110, 150, 20):
        history.sample("\n".join((HEADER, WEB.replace("100", str(total)))))
    assert history.facts() == {"web/FRONTEND": {"requests": [10, 40, 0], "errors": [0, 0, 0]}}
    for total in range(1000):
        history.sample("\n".join((HEADER, WEB.replace("100", str(total)))))
    assert len(history.facts()["web/FRONTEND"]["requests"]) == LENGTH
    history.sample(HEADER)
    assert history.facts() == {}


def test_the_panel_of_tls_shows_causes_within_the_scope() -> None:
    row = {"frontend": "web", "listener": "tls", "cause": "plain-http", "probe": False, "total": 1234, "hour": 5, "sources": 2}
    rows = [row, {**row, "frontend": "app", "cause": "not-tls"}]
    counted = json.dumps({"counters": rows})
    answers = {"show headgate": json.dumps({"tls": {"connections": 9}}), "show ssl handshake-counters json": counted}
    text = Run(question(), answers).text
    assert "web/tls" in text and "plain-http" in text and "1234" in "".join(filter(str.isalnum, text)) and "not-tls" in text
    assert "not-tls" not in Run(question(page=StatsPage(uri="/stats", scope=("web",))), answers).text
    assert "&gt; 128" not in text
    answers["show ssl handshake-counters json"] = json.dumps({"counters": [{**row, "sources": 129}]})
    assert "&gt; 128" in Run(question(), answers).text
