"""Log formats: the manual's example lines (chapter 8), flags, escaping, header values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError
from headgate.plan.facts import Stream
from headgate.plan.frontends import Plan
from headgate.plan.logformat import Use, escape_field, escape_log
from headgate.plan.places import Place
from headgate.wire.http1.heads import valid_value

LOGS = """
defaults
    mode http
    log 127.0.0.1:514 local0
    timeout client 30s
    timeout server 30s
    timeout connect 5s
"""
HTTP = (
    LOGS
    + """
frontend http-in
    bind 127.0.0.1:8080
    option httplog
    capture request header Host len 20
    capture response header Server len 20
    default_backend static
backend static
    server srv1 127.0.0.1:8000
"""
)
TCP = (
    LOGS
    + """
frontend fnt
    mode tcp
    bind 127.0.0.1:8080
    option tcplog
    default_backend bck
backend bck
    mode tcp
    server srv1 127.0.0.1:8000
"""
)
CLOCKS = {"t_request": 10, "t_queue": 0, "t_connect": 30, "t_response": 69, "t_total": 109, "status": 200, "bytes_out": 2750}
GET = b"GET /index.html HTTP/1.1\r\nHost: 1wt.eu"


def serve(stream: Stream, plan: Plan, backend: str | None) -> Stream:
    """Let the stream be served by `srv1`, with the connection counts of the manual's example."""
    world: Any = stream.session.world
    world.sessions = 1
    for side in (*world.frontends.values(), *world.backends.values()):
        side.sessions = 1
    if backend is not None:
        stream.backend = plan.backends[backend]
        stream.server = world.backends[backend].servers["srv1"]
    return stream


def line(plan: Plan, stream: Stream) -> bytes:
    formatter = plan.frontends[0].log_line
    assert formatter is not None
    return formatter(stream)


def test_http_format(make_plan: Callable[..., Plan], make_stream: Callable[..., Stream]) -> None:
    plan = make_plan(HTTP)
    stream = serve(make_stream(GET, of=plan, **CLOCKS), plan, "static")
    capture = plan.frontends[0].capture_request
    assert capture is not None
    capture(stream)
    stream.captures_response = [None]
    assert line(plan, stream) == (
        b"10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "
        b'{1wt.eu} {} "GET /index.html HTTP/1.1"'
    )


def test_http_format_without_captures_has_no_braces(make_plan: Callable[..., Plan], make_stream: Callable[..., Stream]) -> None:
    plan = make_plan("\n".join(row for row in HTTP.splitlines() if "capture" not in row))
    stream = serve(make_stream(of=plan, status=408, t_total=50001, termination=b"cR"), plan, None)
    assert line(plan, stream) == (
        b'10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in http-in/<NOSRV> -1/-1/-1/-1/50001 408 0 - - cR-- 1/1/0/0/0 0/0 "<BADREQ>"'  # noqa: E501
    )


def test_tcp_format(make_plan: Callable[..., Plan], make_stream: Callable[..., Stream]) -> None:
    plan = make_plan(TCP)
    facts = {"t_queue": 0, "t_connect": 0, "t_total": 5007, "bytes_out": 212, "retries": 3}
    stream = serve(make_stream(of=plan, **facts), plan, "bck")
    assert line(plan, stream) == (b"10.0.1.2:33317 [06/Feb/2009:12:14:14.655] fnt bck/srv1 0/0/5007 212 -- 1/1/1/1/3 0/0")
    stream.redispatched = True
    assert line(plan, stream).endswith(b"1/1/1/1/+3 0/0")


def test_default_format(make_plan: Callable[..., Plan], make_stream: Callable[..., Stream]) -> None:
    plan = make_plan(HTTP.replace("    option httplog\n", ""))
    assert line(plan, make_stream(of=plan)) == b"Connect from 10.0.1.2:33317 to 10.0.3.31:8012 (http-in/HTTP)"


def test_clf(make_plan: Callable[..., Plan], make_stream: Callable[..., Stream]) -> None:
    plan = make_plan(HTTP.replace("option httplog", "option httplog clf"))
    stream = serve(make_stream(GET, of=plan, captures_request=[b"1wt.eu"], captures_response=[None], **CLOCKS), plan, "static")
    assert line(plan, stream) == (
        b'10.0.1.2 - - [06/Feb/2009:12:14:14 +0000] "GET /index.html HTTP/1.1" 200 2750 "" "" 33317 655 "http-in" "static" '
        b'"srv1" 10 0 30 69 109 ---- 1 1 1 1 0 0 0 "" "" "1wt.eu" ""'
    )


def test_error_format(make_plan: Callable[..., Plan], make_stream: Callable[..., Stream]) -> None:
    assert make_plan(HTTP).frontends[0].error_log_line is None  # the fixed one of 8.2.5 is the live frontend's
    own = 'error-log-format "%ci:%cp [%t] %f/%[so_name]: %[fc_err_str]"'
    plan = make_plan(HTTP.replace("option httplog", f"option httplog\n    {own}"))
    stream = make_stream(of=plan)
    stream.session.error_code = 25
    formatter = plan.frontends[0].error_log_line
    assert formatter is not None
    assert formatter(stream) == (
        b"10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in/http-in: Connection error during SSL handshake"
    )


def test_https_format(make_plan: Callable[..., Plan], make_stream: Callable[..., Stream]) -> None:
    plan = make_plan(HTTP.replace("option httplog", "option httpslog"))
    stream = serve(make_stream(GET, of=plan, **CLOCKS), plan, "static")
    assert line(plan, stream).endswith(b' "GET /index.html HTTP/1.1" 0/-/-/-/0 -/-/-')


def test_incomplete_values_with_logasap(make_plan: Callable[..., Plan], make_stream: Callable[..., Stream]) -> None:
    plan = make_plan(HTTP.replace("option httplog", "option httplog\n    option logasap"))
    stream = serve(make_stream(GET, of=plan, **CLOCKS), plan, "static")
    assert b" 10/0/30/69/+109 200 +2750 - - " in line(plan, stream)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a%%b", b"a%b"),
        ("100%% %d", None),
        ("%ci  %cp", b"10.0.1.2 33317"),
        ("%{+X}o%ci:%cp_%fi:%fp_%Ts_%rt", b"0A000102:8225_0A00031F:1F4C_498C2996_7B"),
        ("%{+Q}b|%{+Q}s|%{+Q}ST", b'"web"|"<NOSRV>"|-1'),
        ("%T|%Tl|%ms", b"06/Feb/2009:12:14:14 +0000|06/Feb/2009:12:14:14 +0000|655"),
        ("%HM %HP %HQ %HU %HV", b"GET /a#22b ?q=#23 /a#22b?q=#23 HTTP/1.1"),
        ("%HPO", b"/a#22b"),
        ("%[src]:%[src_port] %[var(txn.none)]", b"10.0.1.2:33317 -"),
        ("%{+Q}[var(txn.none)]", b'""'),
        ("%{+X}[src_port]", b"8225"),
        ("%{+X}pid %{+X}lc", b"1092 123"),
        ("%[bool(true)]", b"1"),
        ("%H %pid %lc", b"lb1 4242 123"),
        ("%Tq %Tt %Ta", b"-1 -1 -1"),
        ("%CC %sslv", b"- -"),
        ("%{+E}[str(a]b)]", b"a\\]b"),
        ("%r", b"GET /a#22b?q=#23 HTTP/1.1"),
        ("%{+Q,+E}r", b'"GET /a\\"b?q=#23 HTTP/1.1"'),
    ],
)
def test_variables(
    text: str, expected: bytes | None, formatted: Callable[..., bytes], make_stream: Callable[..., Stream]
) -> None:
    stream = make_stream(original_method=b"GET", original_target=b'/a"b?q=#', number=123)
    if expected is None:
        with pytest.raises(ConfigError):
            formatted(text, stream)
    else:
        assert formatted(text, stream) == expected


def test_a_header_value_cannot_hold_a_line_end(formatted: Callable[..., bytes], make_stream: Callable[..., Stream]) -> None:
    stream = make_stream(variables={b"txn.a": b"x\r\nEvil: 1\0"})
    assert formatted("<%[var(txn.a)]>%[var(txn.b)]", stream, Use.HEADER, Place.FE_HTTP_REQUEST) == b"<x%0D%0AEvil: 1%00>"


@given(st.binary())
def test_escaping_leaves_nothing_unsafe(value: bytes) -> None:
    assert valid_value(escape_field(value))
    escaped = escape_log(value)
    assert all(32 <= byte <= 126 and byte != 0x22 for byte in escaped)
    # Nothing is lost: '#' is escaped, too.
    parts = escaped.split(b"#")
    assert parts[0] + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in parts[1:]) == value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(text=st.text(alphabet=st.characters(codec="ascii", exclude_characters="%"), max_size=30))
def test_text_of_the_configuration_is_never_code(
    text: str, formatted: Callable[..., bytes], make_stream: Callable[..., Stream]
) -> None:
    assert formatted(text + "%ci", make_stream(), Use.PLAIN, Place.LOG) == text.encode() + b"10.0.1.2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%{+json}o %(a)ci", "'json' of log formats is known but not yet supported"),
        ("%[nothing]", "there is no sample fetch 'nothing'"),
    ],
)
def test_errors(text: str, message: str, formatted: Callable[..., bytes], make_stream: Callable[..., Stream]) -> None:
    with pytest.raises(ConfigError, match=message):
        formatted(text, make_stream())
