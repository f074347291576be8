"""Converters: the manual's own examples first, one row each."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.plan.expressions import Expression
from headgate.plan.facts import Stream


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("str(AbC),lower", b"abc"),
        ("str(AbC),upper", b"ABC"),
        ("str(abc),length", 3),
        ("int(5),add(3)", 8),
        ("int(5),sub(8)", -3),
        ("int(-7),div(2)", -3),
        ("int(7),div(0)", 2**63 - 1),
        ("int(-7),mod(3)", -1),
        ("int(9223372036854775807),add(1)", 2**63 - 1),
        ("int(12),and(10),or(1),xor(3)", 10),
        ("int(5),neg", -5),
        ("int(5),cpl", -6),
        ("int(5),odd", True),
        ("int(5),even", False),
        ("int(0),bool", False),
        ("always_true,not", False),
        ("always_false,iif(+,-)", b"-"),
        ("str(hello),base64", b"aGVsbG8="),
        ("str(aGVsbG8=),b64dec", b"hello"),
        ("str(a?b),ub64enc", b"YT9i"),
        ("str(YT9i),ub64dec", b"a?b"),
        ("bin(01ab),hex", b"01AB"),
        ("int(10),x509_v_err_str", b"X509_V_ERR_CERT_HAS_EXPIRED"),
        ("int(0),x509_v_err_str", b"X509_V_OK"),
        ("int(4711),x509_v_err_str", b"4711"),
        ("str(ff),hex2i", 255),
        ("str(a%20b+c),url_dec", b"a b+c"),
        ("str(a+b),url_dec(1)", b"a b"),
        ("str(%zz),url_dec", None),
        ("str(a b/c),url_enc", b"a%20b%2Fc"),
        ("bin(6122620a),json", b'a\\"b\\n'),
        ("bin(c3a9),json(utf8)", b"\\u00e9"),
        ("bin(c3),json(utf8)", None),
        ("bin(61c3),json(utf8s)", b"a"),
        ("str(f1_f2_f3__f5),field(4,_)", b""),
        ("str(f1_f2_f3__f5),field(5,_)", b"f5"),
        ("str(f1_f2_f3__f5),field(2,_,0)", b"f2_f3__f5"),
        ("str(f1_f2_f3__f5),field(2,_,2)", b"f2_f3"),
        ("str(f1_f2_f3__f5),field(-2,_,3)", b"f2_f3_"),
        ("str(f1_f2_f3__f5),field(-3,_,0)", b"f1_f2_f3"),
        ("str(f1_f2_f3__f5),word(4,_)", b"f5"),
        ("str(f1_f2_f3__f5),word(3,_,2)", b"f3__f5"),
        ("str(f1_f2_f3__f5),word(9,_)", None),
        ("str(012345),bytes(0)", b"012345"),
        ("str(012345),bytes(1,3)", b"123"),
        ("str(012345),bytes(9)", b""),
        ("str(xxabxx),ltrim(x)", b"abxx"),
        ("str(xxabxx),rtrim(x)", b"xxab"),
        ("str(a=1&b=2),param(b)", b"2"),
        ("str(a=1:b=2),param(b,0x3a)", b"2"),
        ("str(foo-bar-foo),regsub(foo,x)", b"x-bar-foo"),
        ("str(foo-bar-FOO),regsub(foo,x,gi)", b"x-bar-x"),
        (r"str(ab12),regsub('([a-z]+)([0-9]+)','\2\1')", b"12ab"),
        ("str(abc),concat(<,,>)", b"abc<>"),
        ("str(abc),reverse", b"cba"),
        ("str(www.example.com),reverse_dom", b"com.example.www"),
        ("src,ipmask(24)", ipaddress.ip_address("10.0.1.0")),
        ("src,ipmask(255.0.0.0)", ipaddress.ip_address("10.0.0.0")),
        ("ipv6(2001:db8::1),ipmask(24,32)", ipaddress.ip_address("2001:db8::")),
        ("ipv6(2001:db8::1),ipmask(24)", None),
        ("ipv6(::ffff:a01:203),concat()", b"::ffff:10.1.2.3"),
        ("ipv6(::a01:203),concat()", b"::10.1.2.3"),
        ("bin(01020304050607),be2dec(:,2)", b"258:772:1286:7"),
        ("bin(01020304050607),be2dec(-,2,1)", b"258-772-1286"),
        ("bin(01020304050607),be2dec(,2,1)", b"2587721286"),
        ("bin(7f000001),be2dec(.,1)", b"127.0.0.1"),
        (
            "bin(01020304050607),le2dec(:,2)",
            b"513:1027:1541:7",
        ),  # the manual's own example has other numbers, which no order gives
        ("bin(01020304050607),be2hex", b"01020304050607"),
        ("bin(01020304050607),be2hex(:,2)", b"0102:0304:0506:07"),
        ("bin(01020304050607),be2hex(--,2,1)", b"0102--0304--0506"),
        ("bin(0102030405060708),be2hex(,3,1)", b"010203040506"),
        ("str(123456789),crc32", 0xCBF43926),
        ("str(123456789),crc32c", 0xE3069283),
        ("str(),xxh64", -1205034819632174695),
        ("str(),xxh32", 0x02CC5D05),
        ("str(a),djb2", 5381 * 33 + 97),
        ("str(ab),sdbm", 97 * 65599 + 98),
        ("str(abc),sha1,hex", b"A9993E364706816ABA3E25717850C26C9CD0D89D"),
        ("str(abc),sha2,hex", b"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
        ("str(abc),digest(md5),hex", b"900150983CD24FB0D6963F7D28E17F72"),
        ("str(what do ya want for nothing?),hmac(md5,SmVmZQ==),hex", b"750C783E6AB0B503EAA86E310A5DB738"),
        ("int(784111777),http_date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        ("int(784111777000),http_date(1000,ms)", b"Sun, 06 Nov 1994 08:49:38 GMT"),
        ("int(784111777),utime(%Y%m%d%H%M%S)", b"19941106084937"),
        ("int(784111777123),ms_utime(%S.%3N)", b"37.123"),
        ("int(784111777),ltime(%d/%b/%Y:%H:%M:%S %z)", b"06/Nov/1994:08:49:37 +0000"),
        ("str(Example.com:8080),host_only", b"example.com"),
        ("str([::1]:80),host_only", b"[::1]"),
        ("str([::1]),port_only", 0),
        ("str([::1]:81),port_only", 81),
        ("str(web),fe_exists", True),
        ("str(app),fe_exists", False),
        ("str(app),nbsrv", 2),
        ("str(app/srv2),srv_queue", 2),
        ("str(es;q=0.5),language(es;fr)", b"es"),
        ("int(1),set-var(txn.x),unset-var(txn.x)", 1),
        ("src,length", 8),
        ("always_true,add(1)", 2),
    ],
)
def test_values(text: str, value: object, expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    found = expression(text).run(make_stream())
    assert found == value
    assert type(found) is type(value)


def test_language_takes_the_best_quality(expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    stream = make_stream(b"GET / HTTP/1.1\r\nHost: x\r\nAccept-Language: de;q=0.9, fr-CH;q=0.7, es;q=0")
    assert expression("req.fhdr(accept-language),language(es;fr;en)").run(stream) == b"fr"
    assert expression("req.fhdr(accept-language),language(en,xx)").run(stream) == b"xx"


MAPS = {
    "words.map": b"# comment\n\nkey  value one\n key2 2 \nkey other\n",
    "nets.map": b"10.0.0.0/8 wide\n10.0.1.0/24 narrow\n2001:db8::/32 six\n",
    "paths.map": b"/a short\n/a/b long\n",
    "regs.map": b"^/x(.*)$ /y\\1\n",
    "numbers.map": b"1:5 low\n6 six\n",
    "ints.map": b"a 5\nb 6\n",
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("str(key),map(words.map)", b"value one"),
        ("str(key2),map_str(words.map)", b"2"),
        ("str(none),map(words.map)", None),
        ("str(none),map(words.map,default)", b"default"),
        ("src,map_ip(nets.map)", b"narrow"),
        ("ipv4(10.9.9.9),map_ip(nets.map)", b"wide"),
        ("ipv4(192.0.2.1),map_ip(nets.map)", None),
        ("str(/a/b/c),map_beg(paths.map)", b"long"),
        ("str(/ax),map_beg(paths.map)", b"short"),
        ("str(/xz),map_regm(regs.map)", b"/yz"),
        ("str(/xz),map_reg(regs.map)", b"/y\\1"),
        ("int(3),map_int(numbers.map)", b"low"),
        ("str(b),map_str_int(ints.map,0)", 6),
        ("str(c),map_str_int(ints.map,0)", 0),
    ],
)
def test_maps(text: str, value: object, expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    assert expression(text, files=MAPS).run(make_stream()) == value


def test_a_map_that_cannot_be_read_is_an_error(expression: Callable[..., Expression]) -> None:
    with pytest.raises(ConfigError, match=r"can't read 'none\.map'"):
        expression("str(a),map(none.map)")


def test_a_wrong_map_value_names_its_line(expression: Callable[..., Expression]) -> None:
    with pytest.raises(ConfigError, match="is not an integer") as caught:
        expression("str(a),map_str_int(m)", files={"m": b"a 1\nb x\n"})
    assert caught.value.diagnostic.location is not None
    assert (caught.value.diagnostic.location.file, caught.value.diagnostic.location.line) == ("m", 2)


def test_variables_in_converters(expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    stream = make_stream(variables={b"txn.a": b"x", b"txn.n": 7})
    assert expression("str(-),concat(<,txn.a,>)").run(stream) == b"-<x>"
    assert expression("str(-),concat(,txn.n)").run(stream) == b"-7"
    assert expression("str(a),add_item(;,txn.a,!)").run(stream) == b"a;x!"
    assert expression("str(),add_item(;,txn.a)").run(stream) == b"x"
    assert expression("int(1),add(txn.n)").run(stream) == 8
    assert expression("int(1),add(txn.missing)").run(stream) is None
    assert expression("str(x),strcmp(txn.a)").run(stream) == 0
    assert expression("str(x),secure_memcmp(txn.a)").run(stream) is True
    assert expression("str(new),set-var(txn.b)").run(stream) == b"new"
    assert stream.variables == {b"txn.a": b"x", b"txn.n": 7, b"txn.b": b"new"}


@pytest.mark.parametrize(
    "text", ["str(a),field(0,_)", "str(a),regsub((,x)", "str(a),sha2(100)", "str(a),digest(nothing)", "str(a),json(utf9)"]
)
def test_wrong_arguments_have_a_place(text: str, expression: Callable[..., Expression]) -> None:
    with pytest.raises(ConfigError) as caught:
        expression(text)
    assert caught.value.diagnostic.location is not None
