"""The machine of checks, rule by rule: what is sent, what is expected, and the words of every verdict; whole = byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.health.machine import LONGEST_ANSWER, Connect
from headgate.health.results import CheckStatus
from tests.health.checks import Server, backend_plan, outcome, script, stream

TCP = "option tcp-check"
HTTP = "option httpchk"


def response(status: int, phrase: str = "Said", body: bytes = b"", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {phrase}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# --- tcp-check -------------------------------------------------------------------------------------------------------

HELLO = [b"hello world\r\n"]

#: Rules, what the server says, and the verdict; the words are those of HAProxy for the same conversation.
TCP_CASES = [
    (["tcp-check connect"], HELLO, ("L4OK", None, "(tcp-check)")),
    (["tcp-check send QUIT\\r\\n"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (["tcp-check expect string hello"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (["tcp-check expect string nope"], HELLO, ("L7RSP", None, "TCPCHK did not match content 'nope' at step 1")),
    (
        ["tcp-check connect", "tcp-check comment mine", "tcp-check expect string nope"], HELLO,
        ("L7RSP", None, "TCPCHK did not match content 'nope' at step 3 comment: mine"),
    ),
    (["tcp-check expect ! string nope"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (["tcp-check expect !string hello"], HELLO, ("L7RSP", None, "TCPCHK matched unwanted content 'hello' at step 1")),
    (["tcp-check expect rstring ^hel+o"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (["tcp-check expect rstring ^foo"], HELLO, ("L7RSP", None, "TCPCHK did not match content (regex) at step 1")),
    (["tcp-check expect binary 68656C6c6f"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (["tcp-check expect binary 6768"], HELLO, ("L7RSP", None, "TCPCHK did not match content (binary) at step 1")),
    (["tcp-check expect rbinary ^68656C"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (["tcp-check expect rbinary ^68656c"], HELLO, ("L7RSP", None, "TCPCHK did not match content (binary regex) at step 1")),
    (["tcp-check set-var(check.w) str(world)", "tcp-check expect string-lf %[var(check.w)]"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (
        ["tcp-check set-var(check.w) str(no)", "tcp-check expect string-lf %[var(check.w)]"], HELLO,
        ("L7RSP", None, "TCPCHK did not match content (log-format string) at step 2"),
    ),
    (["tcp-check expect binary-lf 6865%[str(6c6c)]"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (
        ["tcp-check expect binary-lf 6865%[str(zz)]"], HELLO,
        ("L7RSP", None, "Failed to parse hexastring resulting of eval of a log-format string"),
    ),
    (["tcp-check expect string hello"], [], ("L7RSP", None, "TCPCHK got an empty response at step 1")),
    (["tcp-check expect ok-status L7OKC on-success good string hello"], HELLO, ("L7OKC", 0, "good")),
    (["tcp-check expect ok-status L6OK on-success done status-code int(200) string hello"], HELLO, ("L6OK", None, "done")),
    (
        ['tcp-check expect error-status L7STS on-error "bad %[res.payload(0,5)]" status-code int(503) string nope'], HELLO,
        ("L7STS", 503, "bad hello"),
    ),
    (['tcp-check expect comment mine on-error "bad a" string nope'], HELLO, ("L7RSP", None, "bad a comment: mine")),
    (["tcp-check expect error-status L7OKC string no"], HELLO, ("L7OKC", 0, "TCPCHK did not match content 'no' at step 1")),
    (["tcp-check expect string hello", "tcp-check expect string world"], HELLO, ("L7OK", 0, "(tcp-check)")),
    (
        ["tcp-check expect string one", "tcp-check send go\\r\\n", "tcp-check expect string two", "tcp-check expect string one"],
        [b"one\r\n", b"two\r\n"], ("L7RSP", None, "TCPCHK did not match content 'one' at step 4"),
    ),
    (
        ["tcp-check send-binary-lf 5049%[str(zz)]0d0a"], HELLO,
        ("L7RSP", None, "tcp-check send : failed to build log-format string at step 1"),
    ),
    (["tcp-check expect min-recv 5 string hello"], HELLO, ("L7OK", 0, "(tcp-check)")),
]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("rules", "answers", "expected"), TCP_CASES, ids=[" / ".join(case[0]) for case in TCP_CASES])
def test_tcp_rules(rules: list[str], answers: list[bytes], expected: tuple[str, int | None, str], step: int) -> None:
    assert outcome(script(TCP, *rules), answers, step=step) == expected


def test_what_is_sent() -> None:
    plan = backend_plan(
        TCP, "tcp-check connect", "tcp-check send PING\\r\\n", "tcp-check send-binary 50494e47",
        "tcp-check send-lf be=%[be_name],%s", "tcp-check send-binary-lf 4%[int(1)]",
        "tcp-check set-var-fmt(check.n,ifnotexists) %H",
        "tcp-check set-var(check.n,ifnotexists) str(x)", "tcp-check send-lf %[var(check.n)]", "tcp-check unset-var(check.n)",
        "tcp-check send-lf [%[var(check.n)]]",
    )
    from headgate.health.programs import script_of

    server = Server([])
    assert server.run(script_of(plan.spec.check, plan.check), plan) is not None
    assert server.sent == [b"PING\r\n", b"PING", b"be=app,s1", b"A", b"host.example", b"[]"]


def test_several_connections_with_their_own_ports() -> None:
    rules = [
        "tcp-check set-var(check.port) int(442)", "tcp-check connect", "tcp-check expect string first",
        "tcp-check connect port 143 linger", "tcp-check expect string second", "tcp-check connect port var(check.port),add(1)",
    ]
    server = Server([b"first"], [b"second"], [])
    result = server.run(script(TCP, *rules))
    assert result is not None and result.status is CheckStatus.L7OK
    assert [connect.port for connect in server.connections] == [None, 143, 443]


def test_a_port_that_is_none() -> None:
    server = Server([])
    result = server.run(script(TCP, "tcp-check connect port var(check.port)"))
    assert result is not None
    assert (result.status.word, result.info) == (
        "SOCKERR", "the port's expression has no value at step 1 of tcp-check (connect port (expression))",
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("tcp-check expect string nope", ("L7TOUT", " at step 1 of tcp-check (expect string 'nope')")),
        ("tcp-check expect ! string nope", ("L7TOUT", " at step 1 of tcp-check (expect string 'nope')")),
        ("tcp-check expect comment x tout-status L4TOUT string nope", (
            "L4TOUT", " at step 1 of tcp-check (expect string 'nope') comment: 'x'"
        )),
    ],
)
def test_without_a_match_more_is_waited_for(rule: str, expected: tuple[str, str]) -> None:
    server = Server(HELLO, close=False)
    assert server.run(script(TCP, rule)) is None
    late = server.machine.timed_out()
    assert (late.status.word, late.info) == expected


def test_min_recv_makes_the_first_bytes_conclusive() -> None:
    assert outcome(script(TCP, "tcp-check expect min-recv 0 string nope"), HELLO, close=False) is not None
    assert outcome(script(TCP, "tcp-check expect min-recv 5 rstring nope"), [b"hell"], close=False) is None
    assert outcome(script(TCP, "tcp-check expect min-recv 4 rstring nope"), [b"hell"], close=False) is not None


def test_an_endless_answer_is_judged_by_what_fits() -> None:
    endless = [b"x" * 10 * LONGEST_ANSWER]
    assert outcome(script(TCP, "tcp-check expect string nope"), endless, step=4096, close=False) == (
        "L7RSP", None, "TCPCHK did not match content 'nope' at step 1",
    )
    assert outcome(script(TCP, "tcp-check expect ! string nope"), endless, step=4096, close=False) == ("L7OK", 0, "(tcp-check)")


def test_without_rules_the_connection_is_all() -> None:
    for lines in ((), (TCP,)):
        server = Server([])
        result = server.run(script(*lines))
        assert result is not None and (result.status.word, result.info) == ("L4OK", "")
        assert server.connections == [Connect()]


# --- httpchk ---------------------------------------------------------------------------------------------------------

HTTP_CASES = [
    ([], response(200), ("L7OK", 200, "")),
    ([], response(302), ("L7OK", 302, "")),
    ([], response(404, "Not Found"), ("L7STS", 404, "Not Found")),
    ([], response(503, "Service Unavailable"), ("L7STS", 503, "Service Unavailable")),
    ([], b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + response(204), ("L7OK", 204, "")),
    ([], b"", ("L7RSP", None, "connection closed without a response")),
    ([], b"HTTP/1.1 200 OK\r\n", ("L7RSP", None, "connection closed before a complete response")),
    ([], b"SSH-2.0-OpenSSH_9.2\r\n", ("L7RSP", None, "not an HTTP/1 response")),
    (["expect status 200,300-310"], response(305), ("L7OK", 305, "")),
    (["expect status 200,300-310"], response(311), ("L7STS", 311, "Said")),
    (["expect comment baz status 200"], response(500, "Bad"), ("L7STS", 500, "Bad comment: baz")),
    (["expect ! status 500-599"], response(404), ("L7OK", 404, "")),
    (["expect ! status 500-599"], response(500), ("L7STS", 500, "Said")),
    (["expect rstatus ^[23]0[0-9]"], response(209), ("L7OK", 209, "")),
    (["expect !rstatus ^5"], response(503), ("L7STS", 503, "Said")),
    (["expect string alive"], response(500, "X", b"it is alive"), ("L7OK", 500, "")),
    (["expect string alive"], response(200, "alive", b"dead"), ("L7RSP", None, "HTTP content check did not match")),
    (["expect ! string down"], response(200, "X", b"up and well", "Content-Length: 11"), ("L7OK", 200, "")),
    (["expect ! string down"], response(200, "X", b"is down"), ("L7RSP", None, "HTTP check matched unwanted content")),
    (["expect comment c rstring ^x"], response(200, "X", b"y"), ("L7RSP", None, "HTTP content check did not match comment: c")),
    (["expect string-lf %[str(well)]"], response(200, "X", b"up and well"), ("L7OK", 200, "")),
    (
        ["expect string alive"],
        response(200, "X", b"2\r\nal\r\n3;x=y\r\nive\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), ("L7OK", 200, ""),
    ),
    ([], b"HTTP/1.0 200 OK\nContent-Length: 2\n\nhi", ("L7OK", 200, "")),
    ([], b"HTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 503 No\r\nX: y\n\n", ("L7STS", 503, "No")),
    (["expect string alive"], b"HTTP/1.1 200 OK\nX-A: b\n\nalive\n", ("L7OK", 200, "")),
    (
        ["expect string alive"],
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nal\n3;x=y\r\nive\n0\n\n", ("L7OK", 200, ""),
    ),
    (["expect hdr name x-a value c"], response(200, "X", b"", "X-A: b, c"), ("L7OK", 200, "")),
    (["expect hdr name x-a value d"], response(200, "OK", b"", "X-A: b, c"), ("L7STS", 200, "OK")),
    (["expect hdr name X-A"], response(200, "X", b"", "x-a: b"), ("L7OK", 200, "")),
    (["expect hdr name -m beg x- value -m sub b"], response(200, "X", b"", "X-A: abc"), ("L7OK", 200, "")),
    (["expect hdr name -m reg ^X-.$ value -m end c"], response(200, "X", b"", "X-A: abc"), ("L7OK", 200, "")),
    (["expect fhdr name x-a value 'b, c'"], response(200, "X", b"", "X-A: b, c"), ("L7OK", 200, "")),
    (["expect fhdr name x-a value c"], response(200, "X", b"", "X-A: b, c"), ("L7STS", 200, "X")),
    (["expect ! hdr name x-b"], response(200, "X", b"", "X-A: b, c"), ("L7OK", 200, "")),
    (["expect hdr name-lf x-%[str(a)] value-lf %[str(b)]"], response(200, "X", b"", "X-A: b"), ("L7OK", 200, "")),
    (["expect status 200", "disable-on-404"], response(404), ("L7OKC", 404, "")),
    (["expect string x", "disable-on-404"], response(404), ("L7OKC", 404, "")),
    (
        ['expect on-error "code %[status] %[res.hdr(x-a)]" error-status L7RSP status 500'],
        response(200, "OK", b"body", "X-A: c"), ("L7RSP", None, "code 200 c"),
    ),
    (
        ['expect on-error "%[res.body],%[res.len]" error-status L7STS string nope'],
        response(200, "OK", b"body", "Content-Length: 4"), ("L7STS", 200, "body,4"),
    ),
    (['expect comment mine on-error "bad a" status 204'], response(200, "OK"), ("L7STS", 200, "bad a comment: mine")),
    (['expect on-success "%[status] %[res.hdr(x-a)]" status 200'], response(200, "OK", b"", "X-A: c"), ("L7OK", 200, "200 c")),
    (["expect status-code int(7) status 500"], response(200, "OK"), ("L7STS", 7, "OK")),
]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("rules", "answer", "expected"), HTTP_CASES)
def test_http_rules(rules: list[str], answer: bytes, expected: tuple[str, int | None, str], step: int) -> None:
    lines = [f"http-check {rule}" for rule in rules]
    # What the check has to wait for comes behind the request.
    assert outcome(script(HTTP, *lines), [b"", answer], step=step) == expected


@pytest.mark.parametrize(
    ("lines", "request_"),
    [
        ([HTTP], b"OPTIONS / HTTP/1.0\r\nconnection: close\r\n\r\n"),
        (["option httpchk /up"], b"OPTIONS /up HTTP/1.0\r\nconnection: close\r\n\r\n"),
        (["option httpchk GET /up"], b"GET /up HTTP/1.0\r\nconnection: close\r\n\r\n"),
        (["option httpchk GET /up HTTP/1.1 %[srv_name].lan"], b"GET /up HTTP/1.1\r\nHost: s1.lan\r\nconnection: close\r\n\r\n"),
        (
            ["option httpchk GET /up HTTP/1.1", "http-check send hdr Host www hdr X-A %[be_name]"],
            b"GET /up HTTP/1.1\r\nHost: www\r\nX-A: app\r\nconnection: close\r\n\r\n",
        ),
        (
            [HTTP, "http-check send meth POST uri-lf /%[be_name] body ping hdr Connection x hdr Content-Length 9"],
            b"POST /app HTTP/1.0\r\nConnection: x\r\ncontent-length: 4\r\n\r\nping",
        ),
        ([HTTP, "http-check send meth PUT"], b"PUT / HTTP/1.0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        ([HTTP, "http-check send body-lf %s"], b"OPTIONS / HTTP/1.0\r\ncontent-length: 2\r\nconnection: close\r\n\r\ns1"),
        (
            ["option httpchk GET /a HTTP/1.1 one.org", "http-check send hdr X-A b hdr host two.org"],
            b"GET /a HTTP/1.1\r\nX-A: b\r\nhost: two.org\r\nconnection: close\r\n\r\n",
        ),
        (
            ["option httpchk GET /a HTTP/1.1 one.org", "option httpchk GET /b HTTP/1.1 two.org"],
            b"GET /b HTTP/1.1\r\nHost: two.org\r\nconnection: close\r\n\r\n",
        ),
        (["option httpchk GET /a HTTP/1.1 one.org", HTTP], b"OPTIONS / HTTP/1.0\r\nconnection: close\r\n\r\n"),
        (
            [r"option httpchk GET /a HTTP/1.1\r\nHost:\ one.org two.org"],
            b"GET /a HTTP/1.1\r\nHost: two.org\r\nconnection: close\r\n\r\n",
        ),
        (
            ["option httpchk GET http://auth.org/i7 HTTP/1.1", "http-check send hdr Host %[srv_name].host"],
            b"GET http://s1.host/i7 HTTP/1.1\r\nHost: s1.host\r\nconnection: close\r\n\r\n",
        ),
        (
            ["option httpchk GET https://me@auth.org?x=/y@z HTTP/1.1 i7.host:8443"],
            b"GET https://me@i7.host:8443?x=/y@z HTTP/1.1\r\nHost: i7.host:8443\r\nconnection: close\r\n\r\n",
        ),
        (
            ["option httpchk CONNECT auth.org:443 HTTP/1.1 i7.host:44"],
            b"CONNECT i7.host:44 HTTP/1.1\r\nHost: i7.host:44\r\nconnection: close\r\n\r\n",
        ),
        (
            ["option httpchk OPTIONS * HTTP/1.1 i7.host"],
            b"OPTIONS * HTTP/1.1\r\nHost: i7.host\r\nconnection: close\r\n\r\n",
        ),
        (
            ["option httpchk GET http://auth.org/ HTTP/1.1"],
            b"GET http://auth.org/ HTTP/1.1\r\nconnection: close\r\n\r\n",
        ),
        (
            ["option httpchk GET /to?http://auth.org/ HTTP/1.1 i7.host"],
            b"GET /to?http://auth.org/ HTTP/1.1\r\nHost: i7.host\r\nconnection: close\r\n\r\n",
        ),
        ([HTTP, "http-check send uri /late", "option httpchk HEAD /early"], b"HEAD /late HTTP/1.0\r\nconnection: close\r\n\r\n"),
    ],
)
def test_requests(lines: list[str], request_: bytes) -> None:
    plan = backend_plan(*lines)
    from headgate.health.programs import script_of

    server = Server([])
    server.run(script_of(plan.spec.check, plan.check), plan)
    assert server.sent == [request_]


def test_a_uri_that_would_break_the_request_is_not_sent() -> None:
    plan = backend_plan(HTTP, 'http-check send uri-lf "/%[str(a b)]"')
    from headgate.health.programs import script_of

    server = Server([])
    result = server.run(script_of(plan.spec.check, plan.check), plan)
    assert result is not None and result.status is CheckStatus.L7RSP
    assert server.sent == []


def test_state_header() -> None:
    plan = backend_plan(HTTP, "http-check send-state")
    from headgate.health.programs import script_of

    seen = stream(plan)
    seen.state = b"UP 2/3; name=app/s1"
    server = Server([])
    server.run(script_of(plan.spec.check, plan.check), plan, seen=seen)
    assert b"\r\nX-Haproxy-Server-State: UP 2/3; name=app/s1\r\n" in server.sent[0]


def test_several_exchanges() -> None:
    rules = [
        "http-check connect", "http-check send uri /a", "http-check expect status 200", "http-check expect string well",
        "http-check connect port 8080 comment again", "http-check send uri /b", "http-check expect status 500",
    ]
    server = Server([b"", response(200, "OK", b"all well")], [b"", response(503, "Busy")])
    result = server.run(script(HTTP, *rules))
    assert result is not None and (result.status.word, result.code, result.info) == ("L7STS", 503, "Busy")
    assert [data.split()[1] for data in server.sent] == [b"/a", b"/b"]


def test_a_status_is_judged_without_waiting_for_the_body() -> None:
    assert outcome(script(HTTP), [b"", response(200, "OK", b"", "Content-Length: 5")], close=False) == ("L7OK", 200, "")


def test_a_head_without_end() -> None:
    endless = b"HTTP/1.1 200 OK\r\nA: " + b"x" * 10 * LONGEST_ANSWER
    assert outcome(script(HTTP), [b"", endless], step=4096, close=False) == ("L7RSP", None, "response head too long")


def test_own_rules_replace_those_of_the_defaults_section_as_a_whole() -> None:
    defaults = "defaults\n    option httpchk GET /d\n    http-check send hdr Host x\n"
    for lines, sent in (
        ([], b"GET /d HTTP/1.0\r\nHost: x\r\n"),
        (["http-check expect status 500"], b"OPTIONS / HTTP/1.0\r\n"),
        (["option httpchk PUT /own"], b"PUT /own HTTP/1.0\r\n"),
        (["http-check send hdr foo bar"], b"OPTIONS / HTTP/1.0\r\nfoo: bar\r\n"),
    ):
        server = Server([])
        server.run(script(*lines, sections=defaults))
        assert server.sent[0].startswith(sent)


_SCRIPTS = [
    script(TCP, "tcp-check expect string ab"), script(TCP, "tcp-check expect ! rstring a.b"), script(HTTP),
    script(HTTP, "http-check expect ! string a"), script("option redis-check"), script("option smtpchk"),
    script("option mysql-check user x"), script("option pgsql-check user x"), script("option ldap-check"),
    script("option spop-check"), script("option ssl-hello-chk"),
]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_get_the_same_verdict_in_any_pieces(answer: bytes, step: int) -> None:
    for one in _SCRIPTS:
        whole, pieces = outcome(one, [answer, answer]), outcome(one, [answer, answer], step=step)
        assert whole is not None and pieces is not None
        assert whole[0] == pieces[0]


@given(st.integers(100, 999), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30), st.integers(0, 1))
def test_any_status_line_is_judged_by_its_code(code: int, phrase: str, minor: int) -> None:
    found = outcome(_SCRIPTS[2], [b"", f"HTTP/1.{minor} {code} {phrase}\r\n\r\n".encode()])
    assert found is not None
    if code < 200 and code != 101:
        assert found[0] == "L7RSP"
    else:
        assert found[:2] == ("L7OK" if 200 <= code <= 399 else "L7STS", code)
