"""The metrics: read back by the client library, in both formats, with all parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from headgate.observe.prometheus import METRICS, write_metrics
from headgate.observe.service import Ask, Begin, Question
from headgate.plan.services import Service
from headgate.wire.http1.heads import parse_request_head

STAT = """# pxname,svname,status,iid,sid,type,scur,req_tot,hrsp_2xx,hrsp_5xx,check_status,check_duration,qtime,weight,\
agent_status,agent_code,agent_duration,-,
web,FRONTEND,OPEN,2,0,0,3,100,90,2,,,,,,,,-,
web,sock-1,OPEN,2,1,3,1,,,,,,,,,,,-,
app,s1,UP 2/3,3,1,2,1,,5,0,L7OK,12,1500,10,* L7STS,0,3,-,
app,"s""2\\",MAINT,3,2,2,0,,0,0,,,0,1,,,,-,
app,BACKEND,UP,3,0,1,1,90,5,0,,,7,10,,,,-,
"""
ANSWERS = {
    "show stat": STAT,
    "show info": "Name: headgate\nVersion: 3.5-headgate\nNbthread: 2\nUptime_sec: 77\nCumConns: 5\nFailedResolutions: 1\nNode: x",
    "show headgate": '{"workers":2,"dropped_logs":1,"tls":{"failures":3,"connections":9},"descriptions":{"web":"our \\"site\\""},'
    '"certificates":[{"names":["a.example"],"file":"/a.pem","expires":1800000000}]}',
    "show ssl handshake-counters json":
    '{"counters":[{"frontend":"web","listener":"tls","cause":"plain-http","probe":false,"total":7},'
    '{"frontend":"web","listener":"tls","cause":"closed-before-any-byte","probe":true,"total":2}]}',
    "show table": "# table: t1, type: ip, size:1024, used:3\n# table: t2, type: string, size:10, used:0\n",
}


def ask(query: str = "", accept: str = "", answers: Mapping[str, str] = ANSWERS) -> tuple[Begin, str, list[str]]:
    head = parse_request_head(f"GET /metrics{query} HTTP/1.1\r\nhost: h\r\naccept: {accept}".encode())
    script = write_metrics(Question(Service("prometheus-exporter", "<PROMEX>"), head, b"", True, 0.0))
    body, commands, begin = [], [], Begin(0, b"")
    answer: str | None = None
    while True:
        try:
            step = script.send(answer)  # type: ignore[arg-type]
        except StopIteration:
            return begin, b"".join(body).decode(), commands
        answer = ""
        if isinstance(step, Begin):
            begin = step
        elif isinstance(step, bytes):
            body.append(step)
        elif isinstance(step, Ask):
            commands.append(step.command)
            answer = answers.get(step.command, "")


def families(query: str = "") -> dict[str, Metric]:
    return {family.name: family for family in parse_text(ask(query)[1])}


def samples(query: str = "") -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(f"{name}={value}" for name, value in sample.labels.items())): sample.value
        for family in families(query).values() for sample in family.samples
    }


def test_values_labels_and_types() -> None:
    begin, _, _ = ask()
    assert begin.status == 200 and b"text/plain; version=0.0.4" in begin.fields
    found = samples()
    assert found["haproxy_process_nbthread",] == 2
    assert found["haproxy_process_build_info", "version=3.5-headgate"] == 1
    assert found["haproxy_frontend_http_requests_total", "proxy=web"] == 100
    assert found["haproxy_frontend_http_responses_total", "code=5xx", "proxy=web"] == 2
    assert found["haproxy_frontend_status", "proxy=web", "state=UP"] == 1
    assert found["haproxy_listener_status", "listener=sock-1", "proxy=web", "state=OPEN"] == 1
    assert found["haproxy_server_status", "proxy=app", "server=s1", "state=UP"] == 1
    assert found["haproxy_server_status", "proxy=app", 'server=s"2\\', "state=MAINT"] == 1
    assert found["haproxy_server_check_status", "proxy=app", "server=s1", "state=L7OK"] == 1
    assert found["haproxy_server_check_duration_seconds", "proxy=app", "server=s1"] == 0.012
    agent = {key: value for key, value in found.items() if key[0].startswith("haproxy_server_agent_")}
    assert {key[-1] for key, value in agent.items() if key[0].endswith("status") and value} == {"state=L7STS"}
    assert agent["haproxy_server_agent_duration_seconds", "proxy=app", "server=s1"] == 0.003
    assert agent["haproxy_server_agent_code", "proxy=app", "server=s1"] == 0
    assert not any('server=s"2\\' in key for key in agent)  # it has none
    assert found["haproxy_server_queue_time_average_seconds", "proxy=app", "server=s1"] == 1.5
    assert found["haproxy_backend_agg_server_status", "proxy=app", "state=MAINT"] == 1
    assert found["haproxy_backend_agg_check_status", "proxy=app", "state=L7OK"] == 1
    assert found["haproxy_sticktable_used", "name=t1", "type=ip"] == 3
    assert found["headgate_tls_handshakes_failed_total",] == 3
    assert found["headgate_tls_certificate_expiry_seconds", "file=/a.pem", "name=a.example"] == 1800000000
    assert ("haproxy_server_check_status", "proxy=app", 'server=s"2\\', "state=L7OK") not in found
    kinds = {family.name: family.type for family in families().values()}
    assert kinds["haproxy_process_connections"] == "counter" and kinds["haproxy_server_weight"] == "gauge"
    assert all(family.documentation for family in families().values())


def test_openmetrics_where_it_is_asked_for() -> None:
    begin, text, _ = ask(accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert b"application/openmetrics-text; version=1.0.0" in begin.fields and text.endswith("# EOF\n")
    found = {family.name: family for family in parse_openmetrics(text)}
    assert found["haproxy_frontend_http_requests"].type == "counter"
    assert found["haproxy_process_failed_resolutions"].type == "unknown"


def test_ocsp() -> None:
    entry = {"state": "good", "left": 3600, "updates": True, "successes": 3, "failures": 1, "error": "", "must_staple": False}
    entries = [
        {"file": "/a.pem", **entry},
        {"file": "/b.pem", **entry, "state": "missing", "left": 0, "error": "dns", "must_staple": True},
    ]
    answers = {**ANSWERS, "show headgate": json.dumps({"ocsp": entries})}
    for form, parse in (("", parse_text), ("application/openmetrics-text", parse_openmetrics)):
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in parse(ask(accept=form, answers=answers)[1]) for sample in family.samples
            if sample.name.startswith("headgate_ocsp")
        }
        assert found["headgate_ocsp_staple_expiry_seconds", "/a.pem"] == 3600
        assert found["headgate_ocsp_state", "/b.pem", "missing"] == 1 and found["headgate_ocsp_state", "/b.pem", "good"] == 0
        assert found["headgate_ocsp_updates_total", "/a.pem"] == 3
        assert found["headgate_ocsp_update_failures_total", "/a.pem"] == 1
        assert found["headgate_ocsp_update_failing", "/b.pem", "dns"] == 1
        assert found["headgate_ocsp_must_staple_missing", "/b.pem"] == 1
        assert ("headgate_ocsp_must_staple_missing", "/a.pem") not in found
        assert not [key for key in found if key[:2] == ("headgate_ocsp_update_failing", "/a.pem")]


@pytest.mark.parametrize(("query", "scopes"), [
    ("?scope=server", {"server"}),
    ("?scope=frontend&scope=backend", {"frontend", "backend"}),
    ("?scope=global", {"process"}),
    ("?scope=sticktable", {"sticktable"}),
    ("?scope=", set()),
    ("?scope=server&scope=*", {"process", "frontend", "listener", "backend", "server", "sticktable"}),
    ("?x=y", {"process", "frontend", "listener", "backend", "server", "sticktable"}),
])
def test_scopes(query: str, scopes: set[str]) -> None:
    assert {name.split("_")[1] for name in families(query) if name.startswith("haproxy_")} == scopes


def test_an_unknown_scope_is_a_bad_request() -> None:
    begin, _, commands = ask("?scope=moon")
    assert begin.status == 400 and b"moon" in (begin.body or b"") and not commands


def test_metrics_can_be_chosen_and_left_out() -> None:
    two = {"haproxy_server_weight", "haproxy_server_status"}
    assert set(families("?metrics=" + ",".join(two))) == two
    without = families("?metrics=-haproxy_server_weight")
    assert "haproxy_server_weight" not in without and "haproxy_server_status" in without


def test_servers_in_maintenance_and_descriptions() -> None:
    assert not any('server=s"2\\' in key for key in samples("?no-maint"))
    assert samples("?desc-labels")["haproxy_frontend_current_sessions", 'desc=our "site"', "proxy=web"] == 3


def test_what_can_not_be_asked_is_left_out() -> None:
    begin, text, _ = ask(answers={})
    assert begin.status == 200 and text == ""
    assert "sticktable" not in ask(answers={**ANSWERS, "show table": "Unknown command: 'show table'."})[1]


def test_the_table_names_every_metric_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names)) > 150


def test_causes_of_failed_handshakes() -> None:
    found = samples("?scope=global")
    place = ("listener=tls", "proxy=web")
    assert found[("headgate_tls_handshake_failures_total", "cause=plain-http", *place)] == 7
    assert found[("headgate_tls_probes_total", "cause=closed-before-any-byte", *place)] == 2


def test_reuse_of_sessions_with_servers() -> None:
    answer = (
        '[{"backend":"app","server":"s1","kind":"traffic","connections":4,"resumed":2,"full":2,"failed":1,'
        '"causes":{"refused":2}}]'
    )
    text = ask("?scope=server", answers=ANSWERS | {"show ssl reuse json": answer})[1]
    labels = 'proxy="app",server="s1",kind="traffic"'
    assert f'headgate_server_tls_handshakes_total{{{labels},result="resumed"}} 2\n' in text
    assert f'headgate_server_tls_handshakes_total{{{labels},result="failed"}} 1\n' in text
    assert f'headgate_server_tls_full_handshakes_total{{{labels},cause="refused"}} 2\n' in text
