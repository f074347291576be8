"""Whole configurations: rules, choices, replies, options, as the data plane calls them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headgate.base.diagnostics import Report
from headgate.plan.facts import Stream
from headgate.plan.frontends import Plan
from headgate.plan.verdicts import Kind, Verdict

HEAD = """
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
userlist people
    user ann insecure-password secret
    user bob password $6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1
frontend web
    bind 127.0.0.1:8080
    default_backend app
"""
TAIL = """
backend app
    server srv1 127.0.0.1:9001
backend static
    server srv1 127.0.0.1:9001
"""
GET = b"GET /a/b?x=1 HTTP/1.1\r\nHost: www.example.com\r\nX-A: 1\r\nX-A: 2"
Make = Callable[..., Plan]
MakeStream = Callable[..., Stream]


@pytest.fixture
def run(make_plan: Make, make_stream: MakeStream) -> Callable[..., tuple[Stream, Verdict | None]]:
    """Rules of the frontend, a request -> the stream afterwards and the verdict."""

    def go(rules: str, request: bytes = GET, **facts: object) -> tuple[Stream, Verdict | None]:
        plan = make_plan(HEAD + rules + TAIL)
        stream = make_stream(request, of=plan, **facts)
        ruleset = plan.frontends[0].http_request
        assert ruleset is not None
        return stream, ruleset(stream)

    return go


Run = Callable[..., tuple[Stream, Verdict | None]]


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("set-header X-A 3", [b"X-A: 3"]),
        ("set-header X-A %[hdr(x-a)]3", [b"X-A: 23"]),
        ("add-header X-A %[src]", [b"X-A: 1", b"X-A: 2", b"X-A: 10.0.1.2"]),
        ("del-header x-a", []),
        ("del-header X- -m beg", []),
        (r"replace-header X-A ([0-9]) <\1>", [b"X-A: <1>", b"X-A: <2>"]),
        ("set-header X-A 3 if { src 192.0.2.0/24 }", [b"X-A: 1", b"X-A: 2"]),
        ("set-header X-A 3 if { hdr(x-a) 1 }", [b"X-A: 3"]),
        ("set-header X-A 3 unless { hdr(x-a) -m str 9 }", [b"X-A: 3"]),
        ("set-header X-A 3 if !{ path_beg /a } or { path_end /b }", [b"X-A: 3"]),
        ("set-header X-A 3 if { path_beg /a } !METH_GET", [b"X-A: 1", b"X-A: 2"]),
        ("set-header X-A 3 if HTTP_1.1 LOCALHOST || METH_GET", [b"X-A: 3"]),
    ],
)
def test_header_actions(rule: str, line: list[bytes], run: Run) -> None:
    stream, verdict = run(f"    http-request {rule}\n")
    assert verdict is None
    assert stream.request is not None
    assert [field.line for field in stream.request.fields if field.name == b"x-a"] == line


@pytest.mark.parametrize(
    ("rule", "target"),
    [
        ("set-path /p%[path]", b"/p/a/b?x=1"),
        ("set-pathq /q?z=1", b"/q?z=1"),
        ("set-query %[query]&y=2", b"/a/b?x=1&y=2"),
        ("set-uri /u", b"/u"),
        (r"replace-path /a/(.*) /\1/a", b"/b/a?x=1"),
        (r"replace-pathq ^/a/b\?x=(.) /\1", b"/1"),
        ("set-path %[str(/a),concat(' b')]", b"/a%20b?x=1"),
    ],
)
def test_target_actions(rule: str, target: bytes, run: Run) -> None:
    stream, _ = run(f"    http-request {rule}\n")
    assert stream.request is not None
    assert stream.request.target == target


@pytest.mark.parametrize(
    ("rule", "status", "location"),
    [
        ("redirect location /x", 302, b"/x"),
        ("redirect scheme https code 301", 301, b"https://www.example.com/a/b?x=1"),
        ("redirect prefix https://o.example drop-query", 302, b"https://o.example/a/b"),
        ("redirect prefix / drop-query append-slash", 302, b"/a/b/"),
        ("redirect location /y?z keep-query", 302, b"/y?z&x=1"),
        ("redirect location https://%[hdr(host)]%[path] code 308", 308, b"https://www.example.com/a/b"),
    ],
)
def test_redirects(rule: str, status: int, location: bytes, run: Run) -> None:
    _, verdict = run(f"    http-request {rule}\n")
    assert verdict is not None
    assert verdict.kind is Kind.REPLY
    assert verdict.reply is not None
    assert verdict.reply.status == status
    assert b"\r\nlocation: " + location + b"\r\n" in verdict.reply.head
    assert b"content-length: 0\r\n" in verdict.reply.head
    assert verdict.reply.body == b""


def test_a_redirect_sets_and_clears_cookies(run: Run) -> None:
    _, verdict = run("    http-request redirect location / set-cookie SEEN=1\n")
    assert verdict is not None
    assert verdict.reply is not None
    assert b"set-cookie: SEEN=1; path=/\r\n" in verdict.reply.head
    _, verdict = run("    http-request redirect location / clear-cookie USER=\n")
    assert verdict is not None
    assert verdict.reply is not None
    assert b"set-cookie: USER=; path=/; Max-Age=0\r\n" in verdict.reply.head


def test_an_empty_redirect_is_skipped_on_request(run: Run) -> None:
    assert run("    http-request redirect location %[var(txn.none)] ignore-empty\n")[1] is None


def test_a_redirect_cannot_be_split_by_its_data(run: Run) -> None:
    _, verdict = run("    http-request redirect location /%[url_param(x),url_dec]\n", b"GET /?x=%0d%0aEvil:1 HTTP/1.1\r\nHost: x")
    assert verdict is not None
    assert verdict.reply is not None
    assert b"location: /%0D%0AEvil:1\r\n" in verdict.reply.head


@pytest.mark.parametrize(
    ("rule", "kind", "status", "denied"),
    [
        ("deny", Kind.REPLY, 403, True),
        ("deny deny_status 429", Kind.REPLY, 429, True),
        ("tarpit", Kind.TARPIT, 500, True),
        ("return status 204", Kind.REPLY, 204, False),
        ("auth realm Top", Kind.REPLY, 401, True),
    ],
)
def test_answers(rule: str, kind: Kind, status: int, denied: bool, run: Run) -> None:
    _, verdict = run(f"    http-request {rule}\n")
    assert verdict is not None
    assert verdict.reply is not None
    assert (verdict.kind, verdict.reply.status, verdict.reply.denied) == (kind, status, denied)
    assert b"content-length: %d\r\n" % len(verdict.reply.body) in verdict.reply.head


def test_return_makes_its_body(run: Run) -> None:
    _, verdict = run('    http-request return status 200 content-type text/html lf-string "<%[src]>" hdr X-B %[path]\n')
    assert verdict is not None
    assert verdict.reply is not None
    assert verdict.reply.body == b"<10.0.1.2>"
    assert b"content-type: text/html\r\n" in verdict.reply.head
    assert b"X-B: /a/b\r\n" in verdict.reply.head


def test_passwords_of_userlists(run: Run) -> None:
    import base64

    def status(user: bytes) -> int | None:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + base64.b64encode(user)
        _, verdict = run("    http-request auth unless { http_auth(people) }\n", head)
        return None if verdict is None or verdict.reply is None else verdict.reply.status

    assert status(b"ann:secret") is None
    assert status(b"ann:Secret") == 401
    assert status(b"bob:Hello world!") is None
    assert status(b"bob:hello world!") == 401
    assert status(b"eve:secret") == 401


def test_variables_pass_between_rules(run: Run) -> None:
    stream, _ = run(
        '    http-request set-var(txn.h) hdr(host),field(2,.)\n    http-request set-var-fmt(txn.g) "%[var(txn.h)]/%[src_port]"\n'
        "    http-request unset-var(txn.h)\n"
    )
    assert stream.variables == {b"txn.g": b"example/33317"}


def test_backends_are_chosen_in_order(make_plan: Make, make_stream: MakeStream) -> None:
    plan = make_plan(
        HEAD + "    use_backend static if { path_beg /static }\n    use_backend %[hdr(x-to)] if { hdr(x-to) -m found }\n" + TAIL
    )

    def chosen(request: bytes) -> str | None:
        backend = plan.frontends[0].choose_backend(make_stream(request, of=plan))
        return None if backend is None else backend.name

    assert chosen(b"GET /static/x HTTP/1.1\r\nHost: x") == "static"
    assert chosen(b"GET / HTTP/1.1\r\nHost: x\r\nX-To: static") == "static"
    assert chosen(b"GET / HTTP/1.1\r\nHost: x\r\nX-To: nowhere") == "app"
    assert chosen(b"GET / HTTP/1.1\r\nHost: x") == "app"


INSPECT = """
defaults
    mode tcp
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend web
    bind 127.0.0.1:8080
    tcp-request inspect-delay 5s
    tcp-request content {rule}
    default_backend app
backend app
    server srv1 127.0.0.1:9001
"""


@pytest.mark.parametrize(
    ("rule", "buffer", "complete", "kind"),
    [
        ("accept if {{ req.len ge 3 }}", b"ab", False, Kind.WAIT),
        ("accept if {{ req.len ge 3 }}", b"ab", True, None),
        ("accept if {{ req.len ge 3 }}", b"abc", False, Kind.ACCEPT),
        ("reject if !{{ req.payload(0,3) -m str abc }}", b"ab", False, Kind.WAIT),
        ("reject if !{{ req.payload(0,3) -m str abc }}", b"ab", True, Kind.REJECT),
        ("reject if !{{ req.payload(0,3) -m str abc }}", b"abc", False, None),
        ("reject unless {{ req.payload(0,3) -m str abc }}", b"ab", False, Kind.WAIT),
        ("accept if WAIT_END", b"", False, Kind.WAIT),
        ("accept if WAIT_END", b"", True, Kind.ACCEPT),
        ("accept if {{ src 10.0.0.0/8 }}", b"", False, Kind.ACCEPT),
        ("reject if {{ src 10.0.0.0/8 }} {{ req.len gt 3 }}", b"", False, Kind.WAIT),
    ],
)
def test_content_rules_wait(
    rule: str, buffer: bytes, complete: bool, kind: Kind | None, make_plan: Make, make_stream: MakeStream
) -> None:
    plan = make_plan(INSPECT.format(rule=rule.format()))
    ruleset = plan.frontends[0].tcp_request_content
    assert ruleset is not None
    verdict = ruleset(make_stream(of=plan, request_buffer=buffer, request_complete=complete))
    assert (None if verdict is None else verdict.kind) is kind


@pytest.mark.parametrize(
    ("option", "source", "request_", "line"),
    [
        ("option forwardfor", b"10.0.1.2", GET, b"x-forwarded-for: 10.0.1.2"),
        ("option forwardfor except 10.0.0.0/8", b"10.0.1.2", GET, None),
        ("option forwardfor except 10.0.0.0/8", b"11.0.1.2", GET, b"x-forwarded-for: 11.0.1.2"),
        ("option forwardfor header X-A if-none", b"10.0.1.2", GET, None),
        ("option forwardfor header X-B if-none", b"10.0.1.2", GET, b"X-B: 10.0.1.2"),
        ("option forwardfor", b"", GET, None),
    ],
)
def test_forwardfor(
    option: str, source: bytes, request_: bytes, line: bytes | None, make_plan: Make, make_stream: MakeStream
) -> None:
    plan = make_plan(HEAD + f"    {option}\n" + TAIL)
    stream = make_stream(request_, of=plan)
    stream.session.source = source
    closure = plan.frontends[0].forwardfor
    assert closure is not None
    found = closure(stream)
    assert (None if found is None else found.lower()) == (None if line is None else line.lower())


@pytest.mark.parametrize(
    ("balance", "request_", "key"),
    [
        ("source", GET, bytes([10, 0, 1, 2])),
        ("uri", GET, b"/a/b"),
        ("uri whole", GET, b"/a/b?x=1"),
        ("uri len 2", GET, b"/a"),
        ("uri depth 1", GET, b"/a"),
        ("url_param x", GET, b"1"),
        ("url_param y", GET, None),
        ("hdr(host)", GET, b"www.example.com"),
        ("hdr(host) use_domain_only", GET, b"example"),
        ("hdr(nothing)", GET, None),
        ("hash path,lower", GET, b"/a/b"),
    ],
)
def test_balance_keys(balance: str, request_: bytes, key: bytes | None, make_plan: Make, make_stream: MakeStream) -> None:
    plan = make_plan(HEAD + TAIL.replace("backend app\n", f"backend app\n    balance {balance}\n"))
    closure = plan.backends["app"].balance_key
    assert closure is not None
    assert closure(make_stream(request_, of=plan)) == key


def test_all_errors_of_a_configuration_are_reported(make_plan: Make) -> None:
    report = Report()
    make_plan(
        HEAD
        + "    acl broken srcc 10.0.0.0/8\n    acl unused path_beg\n    http-request deny if { src 10.0.0.0/40 }\n"
        + "    http-request set-header X-A %[res.hdr(x)]\n    http-request deny if { req.hdr(x),ipmaskk(1) a }\n"
        + TAIL,
        report,
    )
    messages = [item.message for item in report.alerts]
    assert len(messages) == 5
    assert all(item.location is not None and item.location.line for item in report.alerts)
    assert any("'10.0.0.0/40' is not an IP address or network" in message for message in messages)
    assert [item.nearest for item in report.alerts if "srcc" in item.message] == ["src"]


def test_a_condition_without_data_is_a_warning(make_plan: Make) -> None:
    report = Report()
    make_plan(HEAD + "    http-request deny if { res.hdr(x) y }\n" + TAIL, report)
    assert not report.alerts
    assert ["never matches" in item.message for item in report.warnings] == [True]


def test_rules_of_a_listen_section_know_both_sides(make_plan: Make) -> None:
    make_plan(
        "listen l\n    mode http\n    bind 127.0.0.1:1\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\n"
        "    http-request set-header X-B %[be_name]\n    server s 127.0.0.1:2\n"
    )


def test_global_variables_are_evaluated_at_start(make_plan: Make, make_stream: MakeStream) -> None:
    plan = make_plan("global\n    set-var proc.a int(7),add(1)\n    set-var-fmt proc.b \"x%[int(2)]\"\n" + HEAD + TAIL)
    stream = make_stream(of=plan)
    assert [(key, run(stream)) for key, run in plan.process_variables] == [(b"proc.a", 8), (b"proc.b", b"x2")]
