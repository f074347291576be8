"""Sample fetches, one row each: expression, what the stream holds, the value."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.plan.expressions import Expression
from headgate.plan.facts import Stream
from headgate.plan.places import Place

REQUEST = (
    b"POST /a/b.html?x=1;y=2&x=3 HTTP/1.1\r\nHost: www.Example.com:8080\r\nX-List: one, two\r\nx-list: three\r\n"
    b"Cookie: a=1; b=2\r\nCookie: a=3\r\nX-Number: 42abc\r\nX-Forwarded-For: 192.0.2.7, 2001:db8::1\r\n"
    b"User-Agent: Mozilla (a, b)\r\nAuthorization: Basic YW5uOnNlY3JldA=="
)
RESPONSE = b"HTTP/1.1 404 Not Found\r\nServer: x\r\nSet-Cookie: sid=9; path=/\r\nContent-Length: 5"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("always_true", True),
        ("always_false", False),
        ("str(a b)", b"a b"),
        ("int(-5)", -5),
        ("bool(true)", True),
        ("bin(0aFF)", b"\x0a\xff"),
        ("ipv4(192.0.2.1)", ipaddress.ip_address("192.0.2.1")),
        ("ipv6(::1)", ipaddress.ip_address("::1")),
        ("meth(GET)", b"GET"),
        ("env(SITE)", b"north"),
        ("env(NOTHING)", None),
        ("hostname", b"lb1"),
        ("pid", 4242),
        ("uptime", 77),
        ("rand(10)", 9),
        ("uuid", b"00010203-0405-4607-8809-0a0b0c0d0e0f"),
        ("date", 1233922454),
        ("date(3600)", 1233926054),
        ("date(0,ms)", 1233922454655),
        ("src", ipaddress.ip_address("10.0.1.2")),
        ("src_port", 33317),
        ("dst", ipaddress.ip_address("10.0.3.31")),
        ("dst_port", 8012),
        ("fe_name", b"web"),
        ("so_name", b"http-in"),
        ("so_id", 1),
        ("nbsrv(app)", 2),
        ("be_conn(app)", 3),
        ("fe_conn(web)", 3),
        ("queue(app)", 4),
        ("avg_queue(app)", 2),
        ("connslots(app)", -1),
        ("srv_conn(app/srv1)", 1),
        ("srv_is_up(app/srv1)", True),
        ("srv_conn_free(app/srv1)", 9),
        ("method", b"POST"),
        ("path", b"/a/b.html"),
        ("pathq", b"/a/b.html?x=1;y=2&x=3"),
        ("url", b"/a/b.html?x=1;y=2&x=3"),
        ("query", b"x=1;y=2&x=3"),
        ("query(with_qm)", b"?x=1;y=2&x=3"),
        ("base", b"www.Example.com:8080/a/b.html"),
        ("url_param(x)", b"1"),
        ("urlp(y)", b"2"),
        ("urlp(Y,,i)", b"2"),
        ("urlp_val(x)", 1),
        ("req.hdr(x-list)", b"three"),
        ("req.hdr(x-list,1)", b"one"),
        ("req.hdr(x-list,-2)", b"two"),
        ("req.hdr(x-list,9)", None),
        ("req.fhdr(user-agent)", b"Mozilla (a, b)"),
        ("req.hdr_cnt(x-list)", 3),
        ("req.fhdr_cnt(x-list)", 2),
        ("req.hdr_val(x-number)", 42),
        ("req.hdr_ip(x-forwarded-for)", ipaddress.ip_address("2001:db8::1")),
        ("req.hdr_ip(x-forwarded-for,1)", ipaddress.ip_address("192.0.2.7")),
        ("hdr(missing)", None),
        ("req.cook(a)", b"3"),
        ("req.cook", b"1"),
        ("cook(b)", b"2"),
        ("req.cook_cnt(a)", 2),
        ("req.ver", b"1.1"),
        ("http_first_req", True),
        ("http_auth(people)", True),
        ("http_auth_user", b"ann"),
        ("http_auth_type", b"Basic"),
        ("ssl_fc", False),
        ("ssl_fc_sni", None),
        ("ssl_c_used", None),
    ],
)
def test_request_fetches(
    text: str, value: object, expression: Callable[..., Expression], make_stream: Callable[..., Stream]
) -> None:
    found = expression(text).run(make_stream(REQUEST))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("status", 404),
        ("res.hdr(server)", b"x"),
        ("hdr(server)", b"x"),
        ("res.cook(sid)", b"9"),
        ("scook(sid)", b"9"),
        ("res.hdr_names", b"Server,Set-Cookie,Content-Length"),
        ("res.ver", b"1.1"),
        ("capture.req.uri", b"/a/b.html?x=1;y=2&x=3"),
        ("txn.conn_retries", 0),
    ],
)
def test_response_fetches(
    text: str, value: object, expression: Callable[..., Expression], make_stream: Callable[..., Stream]
) -> None:
    assert expression(text, Place.FE_HTTP_RESPONSE).run(make_stream(REQUEST, RESPONSE)) == value


def test_acls_look_at_every_value(expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    each = expression("req.hdr(x-list),upper").each
    assert each is not None
    assert list(each(make_stream(REQUEST))) == [b"ONE", b"TWO", b"THREE"]


@pytest.mark.parametrize(
    ("buffer", "complete", "value", "more"),
    [
        (b"", False, None, True),
        (b"abc", False, None, True),
        (b"abcdef", False, b"bcde", False),
        (b"abc", True, None, True),
    ],
)
def test_payload_waits(
    buffer: bytes,
    complete: bool,
    value: object,
    more: bool,
    expression: Callable[..., Expression],
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream(request_buffer=buffer, request_complete=complete)
    assert expression("req.payload(1,4)", Place.FE_TCP_CONTENT).run(stream) == value
    assert stream.need_more is more


def test_length_waits_while_the_buffer_can_grow(
    expression: Callable[..., Expression], make_stream: Callable[..., Stream]
) -> None:
    stream = make_stream(request_buffer=b"abc")
    assert expression("req.len", Place.FE_TCP_CONTENT).run(stream) == 3
    assert stream.need_more


def test_rdp_cookie(expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    text = b"Cookie: mstshash=ann\r\n"
    packet = b"\x03\x00\x00\x2a" + bytes([6 + len(text)]) + b"\xe0\x00\x00\x00\x00\x00" + text
    stream = make_stream(request_buffer=packet)
    assert expression("req.rdp_cookie(MSTShash)", Place.FE_TCP_CONTENT).run(stream) == b"ann"
    assert expression("req.rdp_cookie_cnt(other)", Place.FE_TCP_CONTENT).run(stream) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("req.hdrr(host)", "there is no sample fetch 'req.hdrr'"),
        ("src,lowerr", "there is no converter 'lowerr'"),
        ("be_conn(app),lower,ipmask(24),regsub(", None),
        ("table_cnt(t)", "unable to find table 't' referenced by 'table_cnt'"),
        ("req.body,length", "sample fetch 'req.body' is known but not yet supported"),
        ("always_true,ipmask(24)", "converter 'ipmask' takes an address, 'always_true' gives a boolean"),
        ("nbsrv(nowhere)", "'nbsrv': there is no backend 'nowhere'"),
        ("srv_is_up(app/none)", "'srv_is_up': backend 'app' has no server 'none'"),
        ("src(1)", "'src' takes no arguments, not 1"),
        ("ipv4(x)", "'ipv4' needs an IPv4 address, not 'x'"),
        ("res.hdr(server)", "'res.hdr' has nothing to look at in an http-request rule"),
        ("var(host)", "variable 'host' must begin with its scope and a dot"),
        ("int", "'int' needs an integer as argument 1"),
    ],
)
def test_errors(text: str, message: str | None, expression: Callable[..., Expression]) -> None:
    with pytest.raises(ConfigError) as caught:
        expression(text)
    if message is not None:
        assert caught.value.diagnostic.message == message
        assert caught.value.diagnostic.location is not None
        assert caught.value.diagnostic.location.line == 7


def client_hello(name: bytes, alpn: bytes) -> bytes:
    """A minimal TLS 1.3 ClientHello record (RFC 8446 4.1.2)."""

    def extension(number: int, data: bytes) -> bytes:
        return number.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data

    server_name = b"\x00" + len(name).to_bytes(2, "big") + name
    extensions = (
        extension(0, len(server_name).to_bytes(2, "big") + server_name)
        + extension(16, (len(alpn) + 1).to_bytes(2, "big") + bytes([len(alpn)]) + alpn)
        + extension(43, b"\x04\x03\x04\x03\x03")
    )
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("req.ssl_hello_type", 1),
        ("req.ssl_sni", b"WWW.example.com"),
        ("req.ssl_sni,lower", b"www.example.com"),
        ("req.ssl_alpn", b"h2"),
        ("req.ssl_ver", 3 << 16 | 4),
        ("req.ssl_cipherlist", b"\x13\x01"),
    ],
)
def test_client_hello(
    text: str, value: object, expression: Callable[..., Expression], make_stream: Callable[..., Stream]
) -> None:
    hello = client_hello(b"WWW.example.com", b"h2")
    compiled = expression(text, Place.FE_TCP_CONTENT)
    stream = make_stream(request_buffer=hello[:-1])
    assert compiled.run(stream) is None
    assert stream.need_more
    stream = make_stream(request_buffer=hello + b"more")
    assert compiled.run(stream) == value
    assert not stream.need_more
    stream = make_stream(request_buffer=b"GET / HTTP/1.1\r\n")
    assert compiled.run(stream) is None
    assert not stream.need_more
