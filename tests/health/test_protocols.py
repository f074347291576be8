"""Checks of protocols: the bytes that are sent, and every answer that a server of the kind, or another one, may give."""

from __future__ import annotations

import pytest

from headgate.health.protocols import ldap, spop
from headgate.health.protocols.mysql import authentication
from headgate.health.protocols.tls import client_hello
from tests.health.checks import Server, outcome, script

# --- redis, smtp -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"+PONG\r\n", ("L7OK", 0, "Redis server is ok")),
        (b"-NOAUTH Authentication required.\r\n", ("L7STS", 0, "-NOAUTH Authentication required.")),
        (b"220 mail\r\n", ("L7STS", 0, "220 mail")),
        (b"", ("L7STS", 0, "TCPCHK got an empty response at step 2")),
    ],
)
def test_redis(answer: bytes, expected: tuple[str, int | None, str], step: int) -> None:
    server = Server([b"", answer], step=step)
    result = server.run(script("option redis-check"))
    assert server.sent == [b"*1\r\n$4\r\nPING\r\n"]
    assert result is not None and (result.status.word, result.shown_code, result.info) == expected


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answers", "expected", "sent"),
    [
        ([b"220 hi\r\n", b"250 fine\r\n", b"221 bye\r\n"], ("L7OK", 221, "bye"), 2),
        ([b"220-hi\r\n220 there\r\n", b"250-one\r\n250-two\r\n250 three\r\n", b"221 bye\r\n"], ("L7OK", 221, "bye"), 2),
        ([b"421 no service\r\n"], ("L7STS", 421, "no service"), 0),
        ([b"220 hi\r\n", b"501 bad helo\r\n"], ("L7STS", 501, "bad helo"), 1),
        ([b"hello world\r\n"], ("L7RSP", None, "hello world"), 0),
        ([b"220\r\n", b"250\r\n", b"221\r\n"], ("L7OK", 221, ""), 2),
        ([b""], ("L7RSP", None, "TCPCHK got an empty response at step 1"), 0),
        ([b"220-hi\r\nfoo\r\n"], ("L7RSP", None, "foo"), 0),
    ],
)
def test_smtp(answers: list[bytes], expected: tuple[str, int | None, str], sent: int, step: int) -> None:
    server = Server(answers, step=step)
    result = server.run(script("option smtpchk EHLO me.example"))
    assert result is not None and (result.status.word, result.shown_code, result.info) == expected
    assert server.sent == [b"EHLO me.example\r\n", b"QUIT\r\n"][:sent]


@pytest.mark.parametrize(("line", "hello"), [("option smtpchk", b"HELO localhost\r\n"), ("option smtpchk x y", b"HELO y\r\n")])
def test_smtp_hello(line: str, hello: bytes) -> None:
    server = Server([b"220 hi\r\n"])
    server.run(script(line))
    assert server.sent[0] == hello


# --- mysql -----------------------------------------------------------------------------------------------------------


def packet(payload: bytes, number: int = 0) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


HANDSHAKE = packet(b"\x0a5.7.1\0" + bytes(4) + b"A" * 8 + b"\0" + bytes(31) + b"mysql_native_password\0")
PLUGIN = b"mysql_native_password\0"
DENIED = packet(b"\xff\x15\x04#28000Access denied", 2)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([HANDSHAKE, packet(b"\0\0\0\2\0\0\0", 2)], ("L7OK", 0, "")),
        ([HANDSHAKE, packet(b"\xfemysql_native_password\0", 2)], ("L7OK", 0, "")),
        ([HANDSHAKE, DENIED], ("L7STS", 1045, "#28000Access denied")),
        ([packet(b"\xff\x69\x04Host blocked")], ("L7STS", 1129, "Host blocked")),
        ([packet(b"\x0bnew")], ("L7RSP", None, "not a MySQL handshake")),
        ([b"hello world\r\n"], ("L7RSP", None, "not a MySQL packet")),
        ([HANDSHAKE[:20]], ("L7RSP", None, "not a MySQL packet")),
        ([packet(b"\xff")], ("L7RSP", None, "not a MySQL packet")),
        ([HANDSHAKE, packet(b"\x03x", 2)], ("L7RSP", None, "not an answer to an authentication")),
    ],
)
def test_mysql(answers: list[bytes], expected: tuple[str, int | None, str], step: int) -> None:
    assert outcome(script("option mysql-check user foo"), answers, step=step) == expected


def test_mysql_without_a_user_says_nothing() -> None:
    server = Server([HANDSHAKE])
    result = server.run(script("option mysql-check"))
    assert result is not None and result.status.word == "L7OK"
    assert server.sent == []


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        ("pre-41", "0a000001 0080 000001 666f6f00 00 0100000001"),
        ("post-41", "25000001 00820000 00800001 21" + "00" * 23 + "666f6f00 00 0100000001"),
        ("post-80", "3b000001 00820800 00800001 21" + "00" * 23 + "666f6f00 00" + PLUGIN.hex() + "0100000001"),
    ],
)
def test_mysql_authentication(version: str, sent: str) -> None:
    assert authentication("foo", version) == bytes.fromhex(sent.replace(" ", ""))


# --- pgsql -----------------------------------------------------------------------------------------------------------


def message(kind: bytes, content: bytes) -> bytes:
    return kind + (len(content) + 4).to_bytes(4, "big") + content


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (message(b"R", bytes(4)) + message(b"S", b"x"), ("L7OK", 0, "PostgreSQL server is ok")),
        (message(b"R", b"\0\0\0\x05salt"), ("L7OK", 0, "PostgreSQL server is ok")),
        (message(b"E", b"SFATAL\0C28000\0Mno such role\0\0"), ("L7RSP", None, "FATAL: no such role")),
        (b"E\0\0\1\0SFATAL\0", ("L7RSP", None, "FATAL")),
        (b"R\0\0", ("L7STS", 0, "PostgreSQL unknown error")),
        (b"R\x7f\0\0\0", ("L7STS", 0, "PostgreSQL unknown error")),
        (b"-ERR\r\n", ("L7STS", 0, "PostgreSQL unknown error")),
        (b"", ("L7RSP", None, "TCPCHK got an empty response at step 3")),
    ],
)
def test_pgsql(answer: bytes, expected: tuple[str, int | None, str], step: int) -> None:
    server = Server([b"", answer], step=step)
    result = server.run(script("option pgsql-check user foo"))
    assert server.sent == [b"\0\0\0\x12\0\x03\0\0user\0foo\0\0"]
    assert result is not None and (result.status.word, result.shown_code, result.info) == expected


# --- ldap ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("300c02010161070a010004000400", ("L7OK", 0, "")),
        ("308400000010020101618400000007 0a010004000400", ("L7OK", 0, "")),
        ("300c02010161070a013104000400", ("L7STS", 49, "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9")),
        ("300c02010165070a010004000400", ("L7RSP", None, "Not LDAPv3 protocol")),
        ("300c", ("L7RSP", None, "Not LDAPv3 protocol")),
        ("3085", ("L7RSP", None, "Not LDAPv3 protocol")),
        ("3084ffffffff", ("L7RSP", None, "Not LDAPv3 protocol")),
        ("2d455252", ("L7RSP", None, "Not LDAPv3 protocol")),
        ("300c02010161070a020004000400", ("L7RSP", None, "Not LDAPv3 protocol")),
    ],
)
def test_ldap(answer: str, expected: tuple[str, int | None, str], step: int) -> None:
    server = Server([b"", bytes.fromhex(answer)], step=step)
    result = server.run(script("option ldap-check"))
    assert server.sent[0] == bytes.fromhex("300c020101600702010304008000")
    assert result is not None and (result.status.word, result.shown_code, result.info) == expected


def test_ldap_incomplete_is_waited_for() -> None:
    assert ldap.judge(bytes.fromhex("300c02010161070a01"), False) is None


# --- spop ------------------------------------------------------------------------------------------------------------


def frame(kind: int, *items: tuple[bytes, bytes], flags: int = 1, ids: bytes = b"\0\0") -> bytes:
    body = bytes([kind]) + flags.to_bytes(4, "big") + ids
    body += b"".join(spop.varint(len(name)) + name + value for name, value in items)
    return len(body).to_bytes(4, "big") + body


def text(value: bytes) -> bytes:
    return bytes([8]) + spop.varint(len(value)) + value


def number(value: int) -> bytes:
    return bytes([3]) + spop.varint(value)


LARGE = (b"max-frame-size", number(20000))
GOOD = (b"version", text(b"2.0")), (b"max-frame-size", number(16380)), (b"capabilities", text(b""))


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (frame(101, *GOOD), ("L7OK", 0, "SPOA server is ok")),
        (frame(101, *GOOD, (b"x", b"\x11"), (b"y", b"\x06abcd")), ("L7OK", 0, "SPOA server is ok")),
        (frame(101, *GOOD[:2]), ("L7RSP", None, "a mandatory item is missing in the agent's HELLO")),
        (frame(101, GOOD[0], LARGE, GOOD[2]), ("L7RSP", None, "max-frame-size too big or too small")),
        (frame(101, (b"version", text(b"9.0")), *GOOD[1:]), ("L7RSP", None, "unsupported version")),
        (frame(102, (b"status-code", number(4)), (b"message", text(b"bad"))), ("L7RSP", None, "disconnect frame received: bad")),
        (frame(101, *GOOD, flags=0), ("L7RSP", None, "invalid frame received")),
        (frame(101, *GOOD, ids=b"\1\0"), ("L7RSP", None, "invalid frame received")),
        (frame(101, (b"x", b"\x0f")), ("L7RSP", None, "a value of an unknown type")),
        (frame(101, (b"x", b"\x08\x50a")), ("L7RSP", None, "a text is cut short")),
        (b"\xff\xff\xff\xff", ("L7RSP", None, "invalid frame received")),
        (b"\0\0\0\1", ("L7RSP", None, "invalid frame received")),
        (b"hello world, this is not SPOP", ("L7RSP", None, "invalid frame received")),
    ],
)
def test_spop(answer: bytes, expected: tuple[str, int | None, str], step: int) -> None:
    assert outcome(script("option spop-check"), [b"", answer], step=step) == expected


def test_spop_hello() -> None:
    """The frame that HAProxy sends."""
    assert spop.hello() == (
        b"\x00\x00\x00N\x01\x00\x00\x00\x01\x00\x00\x12supported-versions\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06"
        b"\x0ccapabilities\x08\x00\x0bhealthcheck\x11"
    )


@pytest.mark.parametrize("value", [0, 239, 240, 2287, 2288, 264431, 264432, 33818863, 33818864, 4294967295])
def test_varint(value: int) -> None:
    written = spop.varint(value)
    assert spop.read_varint(written + b"x", 0) == (value, len(written))


# --- ssl-hello -------------------------------------------------------------------------------------------------------


def test_client_hello_is_a_well_formed_record() -> None:
    hello = client_hello(bytes(range(32)))
    assert hello[:3] == b"\x16\x03\x01"
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5
    assert hello[5] == 1
    assert int.from_bytes(hello[6:9], "big") == len(hello) - 9
    assert hello[11:43] == bytes(range(32))


def test_our_own_parser_reads_the_hello() -> None:
    from headgate.wire.client_hello import parse_client_hello

    hello = parse_client_hello(client_hello(bytes(range(32))))
    assert hello is not None
    assert {0x0304, 0x0303} <= set(hello.versions)
    assert {0x1301, 0xC02F} <= set(hello.ciphers)


def server_hello(suite: int = 0xC02F, version: bytes = b"\x03\x03", session: bytes = b"") -> bytes:
    body = version + bytes(32) + bytes([len(session)]) + session + suite.to_bytes(2, "big") + b"\0"
    content = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(content).to_bytes(2, "big") + content


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (server_hello(), ("L6OK", "")),
        (server_hello(0x1301, session=bytes(32)) + b"more", ("L6OK", "")),
        (server_hello(0x0005), ("L6RSP", "not an answer to our client hello")),
        (server_hello(version=b"\x02\x00"), ("L6RSP", "not an answer to our client hello")),
        (server_hello(session=bytes(33)), ("L6RSP", "not an answer to our client hello")),
        (b"\x15\x03\x03\x00\x02\x02\x28", ("L6RSP", "TLS alert: handshake_failure")),
        (b"\x15\x03\x03\x00\x02\x02\x70", ("L6OK", "")),  # it wants a name
        (b"\x16\x03\x03\x00\x50\x01", ("L6RSP", "not a TLS server hello")),
        (b"\x16\x03\x03\xff\xff\x02", ("L6RSP", "not a TLS server hello")),
        (b"\x17\x03\x03\x00\x50\x02", ("L6RSP", "not a TLS record")),
        (b"HTTP/1.1 400 Bad Request\r\n", ("L6RSP", "not a TLS record")),
        (b"", ("L6RSP", "TCPCHK got an empty response at step 2")),
        (b"\x16\x03", ("L6RSP", "the answer is cut short")),
    ],
)
def test_ssl_hello_judgement(answer: bytes, expected: tuple[str, str], step: int) -> None:
    server = Server([b"", answer], step=step)
    result = server.run(script("option ssl-hello-chk"))
    assert result is not None
    assert (result.status.word, result.info) == expected
    assert (server.sent[1:] == [b"\x15\x03\x03\x00\x02\x01\x00"]) is (expected[0] == "L6OK")


@pytest.mark.parametrize("highest", ["1.2", "1.3"])
def test_openssl_answers_our_hello(highest: str) -> None:
    """A server of today, in memory: OpenSSL's own state machine reads the hello and answers with a server hello."""
    from OpenSSL import SSL

    from headgate.tls.authority import make_authority

    authority = make_authority("check test CA")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION if highest == "1.2" else SSL.TLS1_3_VERSION)
    context.use_certificate(authority.certificate)
    context.use_privatekey(authority.key)
    server = SSL.Connection(context, None)
    server.set_accept_state()
    server.bio_write(client_hello(bytes(range(32))))
    with pytest.raises(SSL.WantReadError):
        server.do_handshake()
    answer = server.bio_read(16384)
    assert answer[0] == 0x16
    assert outcome(script("option ssl-hello-chk"), [b"", answer]) == ("L6OK", None, "")
