"""Check conversations: bytes in, verdict out; whole = byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.config.model import CheckSpec
from headgate.health.results import CheckResult, CheckStatus
from headgate.health.scripts import LONGEST_ANSWER, Script, client_hello, http_request, script_for

HTTP = CheckSpec(kind="http")


def converse(spec: CheckSpec, answer: bytes, *, step: int = 0, close: bool = True) -> CheckResult | None:
    make = script_for(spec)
    assert make is not None
    script: Script = make(bytes(32))
    step = step or max(1, len(answer))
    for start in range(0, len(answer), step):
        result = script.received(answer[start : start + step])
        if result is not None:
            return result
    return script.closed() if close else None


def expecting(*expect: object, **more: object) -> CheckSpec:
    return CheckSpec(kind="http", expect=expect, **more)  # type: ignore[arg-type]


def response(status: int, phrase: str = "Said", body: bytes = b"", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {phrase}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_tcp_checks_have_no_conversation() -> None:
    assert script_for(CheckSpec()) is None


def test_request_as_configured() -> None:
    spec = CheckSpec("http", "GET", "/health?x=1", "HTTP/1.1", (("Host", "www"), ("X-A", "b")), b"")
    assert http_request(spec) == b"GET /health?x=1 HTTP/1.1\r\nHost: www\r\nX-A: b\r\nconnection: close\r\n\r\n"


def test_request_with_a_body() -> None:
    spec = CheckSpec("http", "POST", "/", "HTTP/1.1", (("Connection", "x"),), b"ping")
    assert http_request(spec) == b"POST / HTTP/1.1\r\nConnection: x\r\ncontent-length: 4\r\n\r\nping"


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("spec", "answer", "status", "code"),
    [
        (HTTP, response(200), "L7OK", 200),
        (HTTP, response(302), "L7OK", 302),
        (HTTP, response(404), "L7STS", 404),
        (HTTP, response(503), "L7STS", 503),
        (HTTP, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + response(204), "L7OK", 204),
        (HTTP, b"", "L7RSP", None),
        (HTTP, b"HTTP/1.1 200 OK\r\n", "L7RSP", None),
        (HTTP, b"SSH-2.0-OpenSSH_9.2\r\n", "L7RSP", None),
        (HTTP, b"HTTP/1.1 2000 OK\r\n\r\n", "L7RSP", None),
        (expecting(False, "status", "200,300-310"), response(305), "L7OK", 305),
        (expecting(False, "status", "200,300-310"), response(311), "L7STS", 311),
        (expecting(True, "status", "500-599"), response(404), "L7OK", 404),
        (expecting(True, "status", "500-599"), response(500), "L7STS", 500),
        (expecting(False, "rstatus", "^[23]0[0-9]"), response(209), "L7OK", 209),
        (expecting(False, "rstatus", "^[23]0[0-9]"), response(210), "L7STS", 210),
        (expecting(True, "rstatus", "^5"), response(503), "L7STS", 503),
        (expecting(False, "string", "alive"), response(500, "X", b"it is alive"), "L7OK", 500),
        (expecting(False, "string", "alive"), response(200, "alive", b"dead"), "L7RSP", 200),  # the body, not the head
        (expecting(False, "string", "alive"), response(200, "X", b"dead", "Content-Length: 4"), "L7RSP", 200),
        (expecting(True, "string", "down"), response(200, "X", b"up and well", "Content-Length: 11"), "L7OK", 200),
        (expecting(True, "string", "down"), response(200, "X", b"is down"), "L7RSP", 200),
        (expecting(True, "rstring", "d.wn"), response(200, "X", b"is dawn"), "L7RSP", 200),
        (
            expecting(False, "string", "alive"),
            response(200, "X", b"2\r\nal\r\n3;x=y\r\nive\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
            "L7OK",
            200,
        ),
        (expecting(False, "status", "200", disable_on_404=True), response(404), "L7OKC", 404),
        (expecting(False, "string", "x", disable_on_404=True), response(404), "L7OKC", 404),
    ],
)
def test_judgement(spec: CheckSpec, answer: bytes, status: str, code: int | None, step: int) -> None:
    result = converse(spec, answer, step=step)
    assert result is not None
    assert (result.status.word, result.code) == (status, code)


def test_wrong_status_says_what_the_server_said() -> None:
    result = converse(HTTP, response(500, "Internal Server Error"))
    assert result is not None
    assert result.reason == 'Layer7 wrong status, code: 500, info: "Internal Server Error", check duration: 0ms'


def test_a_status_is_judged_without_waiting_for_the_body() -> None:
    result = converse(HTTP, response(200, "OK", b"", "Content-Length: 5"), close=False)
    assert result is not None
    assert result.status is CheckStatus.L7OK


def test_an_answer_without_end_is_judged_by_what_fits() -> None:
    endless = response(200) + b"x" * 10 * LONGEST_ANSWER
    result = converse(expecting(False, "string", "alive"), endless, step=4096, close=False)
    assert result is not None
    assert result.status is CheckStatus.L7RSP
    result = converse(HTTP, b"HTTP/1.1 200 OK\r\nA: " + b"x" * 10 * LONGEST_ANSWER, step=4096, close=False)
    assert result is not None
    assert result.info == "response head too long"


@pytest.mark.parametrize("expect", [("status", "2xx"), ("rstatus", "("), ("rstring", "*"), ("hdr", "x")])
def test_patterns_that_are_none_are_refused(expect: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"status code|regular expression|unknown match"):
        script_for(expecting(False, *expect))


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_get_the_same_verdict_in_any_pieces(answer: bytes, step: int) -> None:
    for spec in (HTTP, CheckSpec(kind="ssl-hello")):
        whole, pieces = converse(spec, answer), converse(spec, answer, step=step)
        assert whole is not None and pieces is not None
        assert whole.status is pieces.status


@given(st.integers(100, 999), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30), st.integers(0, 1))
def test_any_status_line_is_judged_by_its_code(code: int, phrase: str, minor: int) -> None:
    result = converse(HTTP, f"HTTP/1.{minor} {code} {phrase}\r\n\r\n".encode())
    assert result is not None
    if code < 200 and code != 101:
        assert result.status is CheckStatus.L7RSP
    else:
        assert result.status is (CheckStatus.L7OK if 200 <= code <= 399 else CheckStatus.L7STS)
        assert result.code == code


# --- ssl-hello ---


def test_client_hello_is_a_well_formed_record() -> None:
    hello = client_hello(bytes(range(32)))
    assert hello[:3] == b"\x16\x03\x00"
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5
    assert hello[5] == 1
    assert int.from_bytes(hello[6:9], "big") == len(hello) - 9
    assert hello[11:43] == bytes(range(32))


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"\x16\x03\x03\x00\x50\x02\x00\x00\x4c", "L6OK"),
        (b"\x16\x03\x00\x00\x50\x02", "L6OK"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "L6OK"),
        (b"\x16\x03\x03\x00\x50\x01", "L6RSP"),
        (b"\x16\x03\x03\xff\xff\x02", "L6RSP"),
        (b"\x17\x03\x03\x00\x50\x02", "L6RSP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "L6RSP"),
        (b"", "L6RSP"),
        (b"\x16\x03", "L6RSP"),
    ],
)
def test_ssl_hello_judgement(answer: bytes, status: str, step: int) -> None:
    result = converse(CheckSpec(kind="ssl-hello"), answer, step=step)
    assert result is not None
    assert result.status.word == status


def test_openssl_answers_our_hello() -> None:
    """A server of today, in memory: OpenSSL's own state machine reads the hello and answers with a server hello."""
    from OpenSSL import SSL

    from headgate.tls.authority import make_authority

    authority = make_authority("check test CA")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(authority.certificate)
    context.use_privatekey(authority.key)
    server = SSL.Connection(context, None)
    server.set_accept_state()
    server.bio_write(client_hello(bytes(32)))
    with pytest.raises(SSL.WantReadError):
        server.do_handshake()
    script = script_for(CheckSpec(kind="ssl-hello"))
    assert script is not None
    answer = server.bio_read(16384)
    result = script(bytes(32)).received(answer)
    assert result is not None and result.status is CheckStatus.L6OK
    assert answer[0] == 0x16
