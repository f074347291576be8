"""Fetches about TLS: both sides' connections, their certificates, what the ClientHello offered, and what failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from headgate.base.diagnostics import ConfigError, Report
from headgate.base.handshake_causes import Cause
from headgate.config.model import Config
from headgate.plan.expressions import Expression
from headgate.plan.facts import Stream
from headgate.plan.frontends import Plan
from headgate.plan.places import Place
from headgate.wire.client_hello import ClientHello, parse_client_hello
from headgate.wire.errors import ProtocolViolation
from headgate.wire.fingerprints import ja3, ja4
from tests.plan.conftest import CONFIG
from tests.plan.tls_fakes import FAILED, Tls, certificate


@dataclass
class Record:
    """Implements `plan.facts.HandshakeFacts`."""

    cause: Cause = Cause.NONE
    advice: str = ""
    hello: ClientHello | None = None
    error_number: int = 0
    error: str = ""


Evaluate = Callable[..., object]


@pytest.fixture
def front(expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> Evaluate:
    """An expression and facts of the client's connection -> its value; None for facts: a plain connection."""

    def evaluate(text: str, tls: Tls | None, first_bytes: bytes = b"", **session: Any) -> object:
        stream = make_stream()
        stream.session.handshake = Record(hello=_parsed(first_bytes))
        if tls is not None and tls.established:
            stream.session.tls = tls
        else:
            stream.session.unfinished = tls
        for name, value in session.items():
            setattr(stream.session, name, value)
        return expression(text, Place.LOG).run(stream)

    return evaluate


def _parsed(first_bytes: bytes) -> ClientHello | None:
    try:
        return parse_client_hello(first_bytes)
    except ProtocolViolation:
        return None


@pytest.fixture
def back(expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> Evaluate:
    def evaluate(text: str, tls: Tls | None, **facts: Any) -> object:
        return expression(text, Place.LOG).run(make_stream(server_tls=tls, **facts))

    return evaluate


# --- connections -----------------------------------------------------------------------------------------------------

CONNECTION = [
    ("{}", True, False, True),
    ("{}_protocol", b"TLSv1.3", None, b"TLSv1.3"),
    ("{}_cipher", b"TLS_AES_256_GCM_SHA384", None, b"(NONE)"),
    ("{}_alg_keysize", 256, None, None),
    ("{}_use_keysize", 128, None, None),
    ("{}_curve", b"X25519MLKEM768", None, None),
    ("{}_is_resumed", False, False, False),
    ("{}_alpn", b"http/1.1", None, None),
    ("{}_npn", None, None, None),
    ("{}_sni", b"www.example.com", None, None),
    ("{}_session_id", b"\x01\x02", None, None),
    ("{}_session_key", b"\x03\x04", None, None),
    ("{}_client_random", b"c" * 32, None, b"c" * 32),
    ("{}_server_random", b"s" * 32, None, None),
    ("{}_unique_id", b"finished", None, None),
    ("{}_err", 0, None, 0x0A0000C1),
    ("{}_err_str", None, None, b"error:0A0000C1:SSL routines::no shared cipher"),
]


@pytest.mark.parametrize(("text", "established", "plain", "failed"), CONNECTION)
def test_connections(text: str, established: object, plain: object, failed: object, front: Evaluate, back: Evaluate) -> None:
    for side, prefix in ((front, "ssl_fc"), (back, "ssl_bc")):
        name = text.format(prefix)
        for tls, value in ((Tls(cipher_bits=128), established), (None, plain), (FAILED, failed)):
            found = side(name, tls)
            assert found == value and type(found) is type(value), (name, tls)


@pytest.mark.parametrize(
    ("text", "established", "plain", "failed"),
    [
        ("ssl_fc_has_sni", True, False, False),
        ("ssl_fc_has_crt", True, None, None),
        ("ssl_fc_crtname", b"/etc/certs/site.pem", None, None),
        ("ssl_fc_hsk_err", 0, None, 0x0A0000C1),
        ("ssl_fc_hsk_err_str", None, None, b"error:0A0000C1:SSL routines::no shared cipher"),
        ("ssl_c_used", True, None, False),
        ("ssl_c_verify", 10, None, None),
        ("ssl_c_err", 10, None, 0),
        ("ssl_c_ca_err", 2, None, 0),
        ("ssl_c_ca_err_depth", 1, None, 0),
        ("ssl_c_err,x509_v_err_str", b"X509_V_ERR_CERT_HAS_EXPIRED", None, b"X509_V_OK"),
        ("ssl_c_s_dn", b"/C=FR/CN=ann", None, None),
        ("ssl_c_chain_der", b"onetwo", None, None),
        ("ssl_c_r_dn(CN)", b"Root", None, None),
        ("ssl_f_s_dn(CN)", b"site", None, None),
    ],
)
def test_client_side(text: str, established: object, plain: object, failed: object, front: Evaluate) -> None:
    tls = Tls(
        client_certificate_sent=True, peer_certificate=certificate("ann"), peer_chain=(b"one", b"two"), verify_error=10,
        certificate_error=10, authority_error=2, authority_error_depth=1, root_certificate=certificate("Root"),
        own_certificate=certificate("site"),
    )
    for facts, value in ((tls, established), (None, plain), (FAILED, failed)):
        found = front(text, facts)
        assert found == value and type(found) is type(value)


def test_server_certificate(back: Evaluate) -> None:
    tls = Tls(peer_certificate=certificate("server"), peer_chain=(b"leaf", b"above"))
    assert back("ssl_s_s_dn(CN)", tls) == b"server"
    assert back("ssl_s_chain_der", tls) == b"leafabove"
    assert back("ssl_s_chain_der", replace(tls, peer_chain=())) is None
    assert back("ssl_s_chain_der", None) is None


def test_errors_after_the_handshake(front: Evaluate) -> None:
    tls = Tls(error=0x0A00010B, error_text="error:0A00010B:SSL routines::wrong version number")
    assert front("ssl_fc_err,hex", tls) == b"000000000A00010B"
    assert front("ssl_fc_hsk_err", tls) == 0
    assert front("ssl_fc_hsk_err_str", tls) is None
    assert front("fc_err", tls) == 43
    assert front("fc_err_str", tls) == b"SSL fatal error"


@pytest.mark.parametrize(
    ("number", "name", "message"),
    [
        (0, None, b"Success"),
        (25, b"SSL_ABORT", b"Connection error during SSL handshake"),
        (30, b"SSL_CA_FAIL", b"SSL client CA chain cannot be verified"),
        (56, b"EPIPE", b"EPIPE returned by OS"),
    ],
)
def test_connection_errors(number: int, name: bytes | None, message: bytes, front: Evaluate, back: Evaluate) -> None:
    assert front("fc_err", None, error_code=number) == number
    assert front("fc_err_name", None, error_code=number) == name
    assert front("fc_err_str", None, error_code=number) == message
    met = {"server_error": number, "server_address": b"192.0.2.1", "t_connect": 3}
    assert back("bc_err", None, **met) == number
    assert back("bc_err_name", None, **met) == name
    assert back("bc_err_str", None, **met) == message


def test_no_server_has_no_error(back: Evaluate) -> None:
    assert [back(f"bc_err{what}", None) for what in ("", "_name", "_str")] == [None] * 3
    assert back("bc_err", None, server_address=b"192.0.2.1") is None, "it is not connected yet"
    assert back("bc_err", Tls(error=5), server_address=b"192.0.2.1", t_connect=0) == 43


def test_cause_and_advice(front: Evaluate) -> None:
    failed = Record(Cause.NO_COMMON_CIPHER, "Allow another cipher.")
    assert front("ssl_fc_cause", FAILED, handshake=failed) == b"no-common-cipher"
    assert front("ssl_fc_advice", FAILED, handshake=failed) == b"Allow another cipher."
    for record in (None, Record()):
        assert front("ssl_fc_cause", Tls(), handshake=record) is None
        assert front("ssl_fc_advice", Tls(), handshake=record) is None


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ssl_c_s_dn", b"/C=FR/OU=ops/CN=one/CN=two"),
        ("ssl_c_s_dn(CN)", b"one"),
        ("ssl_c_s_dn(CN,2)", b"two"),
        ("ssl_c_s_dn(CN,-1)", b"two"),
        ("ssl_c_s_dn(CN,3)", None),
        ("ssl_c_s_dn(CN,0)", None),
        ("ssl_c_s_dn(cn)", b"one"),
        ("ssl_c_s_dn(ou,-1)", b"ops"),
        ("ssl_c_s_dn(2.5.4.3)", b"one"),
        ("ssl_c_s_dn(,0,rfc2253)", b"CN=two,CN=one,OU=ops,C=FR"),
        ("ssl_c_i_dn", b"/CN=Some CA"),
        ("ssl_c_serial", b"\x80"),
        ("ssl_c_serial,hex", b"80"),
        ("ssl_c_version", 3),
        ("ssl_c_notbefore", b"260102030405Z"),
        ("ssl_c_notafter", b"500102030405Z"),
        ("ssl_c_key_alg", b"id-ecPublicKey"),
        ("ssl_c_sig_alg", b"ecdsa-with-SHA256"),
        ("ssl_c_policies", b"0.4.0.1862.1.4,1.3.6.1"),
        ("ssl_c_policies(0.4.0.1862.1.4)", b"0.4.0.1862.1.4"),
        ("ssl_c_policies(0.4.0.1862.1)", None),
        ("ssl_c_san", None),
    ],
)
def test_what_a_certificate_holds(text: str, value: object, front: Evaluate) -> None:
    one = certificate("one", "two", policies=("0.4.0.1862.1.4", "1.3.6.1"), unit="ops")
    assert front(text, Tls(peer_certificate=one)) == value


def test_a_certificate_without_policies(front: Evaluate) -> None:
    assert front("ssl_c_policies", Tls(peer_certificate=certificate("ann"))) is None


# --- what the ClientHello offered ------------------------------------------------------------------------------------


def word(number: int) -> bytes:
    return number.to_bytes(2, "big")


def words(*numbers: int) -> bytes:
    return b"".join(map(word, numbers))


CIPHERS = words(0x1A1A, 0x1301, 0xC02F, 5)


def hello(*, extensions: bool = True, ciphers: bytes = CIPHERS, ticket: bytes = b"") -> bytes:
    """The first bytes of a client that offers a little of everything, GREASE included."""

    def extension(kind: int, body: bytes) -> bytes:
        return word(kind) + word(len(body)) + body

    def vector(data: bytes, size: int = 2) -> bytes:
        return len(data).to_bytes(size, "big") + data

    offered = (
        extension(0x2A2A, b"") + extension(0, vector(b"\0" + vector(b"www.example.com")))
        + extension(10, vector(words(0x3A3A, 0x11EC, 29))) + extension(11, vector(b"\0\1\2", 1))
        + extension(13, vector(words(0x4A4A, 0x0403))) + extension(35, ticket)
        + extension(43, vector(words(0x5A5A, 0x0304, 0x0303), 1))
        + extension(51, vector(word(0x11EC) + vector(b"key one") + word(29) + vector(b"key two")))
    )  # fmt: skip
    body = b"\3\3" + b"r" * 32 + b"\0" + vector(ciphers) + b"\1\0" + (vector(offered) if extensions else b"")
    return b"\x16\3\1" + vector(b"\1" + vector(body, 3))


EXTENSIONS = (0x2A2A, 0, 10, 11, 13, 35, 43, 51)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ssl_fc_protocol_hello_id", 0x0303),
        ("ssl_fc_cipherlist_bin", words(0x1A1A, 0x1301, 0xC02F, 5)),
        ("ssl_fc_cipherlist_bin(0)", words(0x1A1A, 0x1301, 0xC02F, 5)),
        ("ssl_fc_cipherlist_bin(1)", words(0x1301, 0xC02F, 5)),
        ("ssl_fc_cipherlist_hex", b"1A1A1301C02F0005"),
        ("ssl_fc_cipherlist_hex(1)", b"1301C02F0005"),
        ("ssl_fc_cipherlist_str", b"UNKNOWN(1a1a),TLS_AES_128_GCM_SHA256,ECDHE-RSA-AES128-GCM-SHA256,UNKNOWN(0005)"),
        ("ssl_fc_cipherlist_str(1)", b"TLS_AES_128_GCM_SHA256,ECDHE-RSA-AES128-GCM-SHA256,UNKNOWN(0005)"),
        ("ssl_fc_extlist_bin", words(*EXTENSIONS)),
        ("ssl_fc_extlist_bin(1)", words(*EXTENSIONS[1:])),
        ("ssl_fc_eclist_bin", words(0x3A3A, 0x11EC, 29)),
        ("ssl_fc_eclist_bin(1)", words(0x11EC, 29)),
        ("ssl_fc_ecformats_bin", b"\0\1\2"),
        ("ssl_fc_sigalgs_bin", words(0x4A4A, 0x0403)),
        ("ssl_fc_sigalgs_bin(1)", words(0x0403)),
        ("ssl_fc_supported_versions_bin", words(0x5A5A, 0x0304, 0x0303)),
        ("ssl_fc_supported_versions_bin(1)", words(0x0304, 0x0303)),
        ("ssl_fc_cipherlist_bin(1),be2dec(-,2)", b"4865-49199-5"),
    ],
)
def test_offers(text: str, value: object, front: Evaluate) -> None:
    for tls in (Tls(), FAILED):
        assert front(text, tls, hello()) == value
    assert front(text, None, hello()) is None
    assert front(text, Tls()) is None
    assert front(text, Tls(), b"GET / HTTP/1.0\r\n\r\n") is None


@pytest.mark.parametrize(
    ("ciphers", "number"),
    [
        (words(0xC02B, 0x00FF), 8117432152221379390),
        (words(0x1302, 0x1303, 0x1301, 0x00FF), -8641912711374246409),
        (words(0x1A1A, 0x1301, 0xC02F, 5, 0xFFFE, 0x0A0A, 0x00FF), 7603483761658194151),
    ],
)
def test_the_hash_of_the_ciphers(ciphers: bytes, number: int, front: Evaluate) -> None:
    """The numbers are those of Debian's HAProxy for clients that offered the same."""
    assert front("ssl_fc_cipherlist_xxh", Tls(), hello(ciphers=ciphers)) == number


@pytest.mark.parametrize("name", ["eclist_bin", "ecformats_bin", "sigalgs_bin", "supported_versions_bin", "extlist_bin"])
def test_offers_that_were_not_made(name: str, front: Evaluate) -> None:
    assert front(f"ssl_fc_{name}", Tls(), hello(extensions=False)) is None


def test_fingerprints(front: Evaluate) -> None:
    parsed = parse_client_hello(hello())
    assert parsed is not None
    assert front("ssl_fc_ja3", Tls(), hello()) == ja3(parsed).encode()
    assert front("ssl_fc_ja4", FAILED, hello()) == ja4(parsed).encode()
    # The manual's own way to JA3 comes to the same.
    text = ",".join(
        str(part.decode() if isinstance(part, bytes) else part)
        for part in (
            front("ssl_fc_protocol_hello_id", Tls(), hello()), front("ssl_fc_cipherlist_bin(1),be2dec(-,2)", Tls(), hello()),
            front("ssl_fc_extlist_bin(1),be2dec(-,2)", Tls(), hello()), front("ssl_fc_eclist_bin(1),be2dec(-,2)", Tls(), hello()),
            front("ssl_fc_ecformats_bin,be2dec(-,1)", Tls(), hello()),
        )
    )
    assert front(f"str('{text}'),digest(md5),hex,lower", Tls()) == ja3(parsed).encode()


def test_the_name_that_a_failed_client_asked_for(front: Evaluate) -> None:
    assert front("ssl_fc_sni", FAILED, hello()) == b"www.example.com"
    assert front("ssl_fc_has_sni", FAILED, hello()) is True
    assert front("ssl_fc_sni", replace(FAILED, sni=b"told.example"), b"") == b"told.example"


@pytest.mark.parametrize(
    ("size", "ciphers", "extensions", "groups", "formats", "algorithms", "ident"),
    [
        ("", 8, 16, 6, 3, 4, 0x0303),
        ("tune.ssl.capture-buffer-size 0", None, None, None, None, None, None),
        ("tune.ssl.capture-buffer-size 5", 5, None, None, None, None, 0x0303),
        ("tune.ssl.capture-buffer-size 8", 8, None, None, None, None, 0x0303),
        ("tune.ssl.capture-buffer-size 12", 8, 4, None, None, None, 0x0303),
        ("tune.ssl.capture-cipherlist-size 31", 8, 16, 6, 1, None, 0x0303),
        ("tune.ssl.capture-buffer-size 512", 8, 16, 6, 3, 4, 0x0303),
    ],
)
def test_the_buffer_is_shared(
    size: str, ciphers: int | None, extensions: int | None, groups: int | None, formats: int | None, algorithms: int | None,
    ident: int | None, make_plan: Callable[..., Plan], make_stream: Callable[..., Stream],
) -> None:
    """As Debian's HAProxy shares it: ciphers, extensions, groups, point formats, and what newer versions have behind them."""
    lists = "cipherlist_bin extlist_bin eclist_bin ecformats_bin sigalgs_bin".split()
    shown = " ".join(f"%[ssl_fc_{one},hex]" for one in lists)
    lines = f'    log 127.0.0.1 local0\n    log-format "{shown} %[ssl_fc_protocol_hello_id]"\n'
    plan = make_plan(f"global\n    {size}\n" + CONFIG.replace("    bind 127.0.0.1:8080\n", f"    bind 127.0.0.1:8080\n{lines}"))
    stream = make_stream(of=plan)
    stream.session.tls = Tls()
    stream.session.handshake = Record(hello=parse_client_hello(hello()))
    line = plan.frontends[0].log_line
    assert line is not None
    *found, number = line(stream).decode().split(" ")
    assert [None if one == "-" else len(one) // 2 for one in found] == [ciphers, extensions, groups, formats, algorithms]
    assert number == ("-" if ident is None else str(ident))


# --- passed on blindly -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "without_extensions"),
    [
        ("req.ssl_cipherlist", words(0x1A1A, 0x1301, 0xC02F, 5), words(0x1A1A, 0x1301, 0xC02F, 5)),
        ("req.ssl_ec_ext", True, False),
        ("req.ssl_st_ext", 1, 0),
        ("req.ssl_sigalgs", words(0x4A4A, 0x0403), None),
        ("req.ssl_supported_groups", words(0x3A3A, 0x11EC, 29), None),
        ("req.ssl_keyshare_groups", words(0x11EC, 29), None),
        ("req.ssl_sni", b"www.example.com", None),
    ],
)
def test_request_buffer(
    text: str, value: object, without_extensions: object, expression: Callable[..., Expression],
    make_stream: Callable[..., Stream],
) -> None:
    compiled = expression(text, Place.FE_TCP_CONTENT)
    assert compiled.run(make_stream(request_buffer=hello())) == value
    assert compiled.run(make_stream(request_buffer=hello(extensions=False))) == without_extensions
    stream = make_stream(request_buffer=hello()[:-3])
    assert compiled.run(stream) is None
    assert stream.need_more


def test_a_session_ticket(expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    assert expression("req.ssl_st_ext", Place.FE_TCP_CONTENT).run(make_stream(request_buffer=hello(ticket=b"tk"))) == 2


@pytest.mark.parametrize("name", ["res.ssl_hello_type", "rep_ssl_hello_type"])
def test_response_buffer(name: str, expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    server_hello = b"\x16\3\3\0\x0a\2\0\0\6" + b"\3\3abcd"
    run = expression(name, Place.BE_TCP_RESPONSE).run
    assert run(make_stream(response_buffer=server_hello)) == 2
    assert run(make_stream(response_buffer=server_hello[:-1])) is None
    assert run(make_stream(response_buffer=b"HTTP/1.1 200 OK\r\n")) is None
    assert run(make_stream()) is None


def test_the_session_id_of_either_hello(expression: Callable[..., Expression], make_stream: Callable[..., Stream]) -> None:
    """The manual's example of `stick store-response`: the length at 43, the session ID behind it."""
    head = b"\x16\3\3\0\x30\2\0\0\x2c\3\3" + b"r" * 32
    stream = make_stream(request_buffer=head + b"\4ours" + b"rest", response_buffer=head + b"\6theirs" + b"rest")
    for name, place, value in (
        ("payload_lv(43,1)", Place.BE_SERVER_CHOICE, b"ours"),
        ("payload_lv(43,1)", Place.BE_TCP_RESPONSE, b"theirs"),
        ("payload(44,4)", Place.BE_TCP_CONTENT, b"ours"),
        ("payload(44,6)", Place.FE_TCP_RESPONSE, b"theirs"),
    ):
        assert expression(name, place).run(stream) == value
    assert expression("payload_lv(43,1)", Place.BE_SERVER_CHOICE).run(make_stream(request_buffer=head + b"\0rest")) is None


# --- what is wrong in a configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("ssl_fc_cipherlist_bin(2)", "the filter option can't be 2", "0 for the full list"),
        ("ssl_fc_eclist_bin(x)", "needs an integer, not 'x'", None),
        ("ssl_fc_ecformats_bin(1)", "takes no arguments", None),
        ("ssl_c_s_dn(CN,1,rfc1779)", "can only be rfc2253, not 'rfc1779'", None),
        ("ssl_c_policies(policy)", "an object identifier in dotted form, not 'policy'", "such as 0.4.0.1862.1.4"),
        ("ssl_fc_sin", "there is no sample fetch 'ssl_fc_sin'", None),
    ],
)
def test_errors(text: str, message: str, remedy: str | None, expression: Callable[..., Expression]) -> None:
    with pytest.raises(ConfigError) as caught:
        expression(text)
    found = caught.value.diagnostic
    assert message in found.message
    assert found.location is not None and found.location.column
    assert remedy is None or remedy in (found.remedy or "")


def test_npn_is_no_more(read_config: Callable[[str], Config], make_plan: Callable[..., Plan]) -> None:
    report = Report()
    make_plan(CONFIG.replace("    default_backend", "    http-request set-var(txn.a) ssl_fc_npn\n    default_backend"), report)
    assert [(one.message, one.remedy) for one in report.warnings] == [
        ("ssl_fc_npn never gives anything: ALPN has taken the place of NPN", "ssl_fc_alpn")
    ]


@pytest.mark.parametrize("name", ["ssl_bc_cipher", "bc_err", "ssl_bc_curve", "res.ssl_hello_type"])
def test_requests_know_no_server(name: str, expression: Callable[..., Expression]) -> None:
    with pytest.raises(ConfigError, match="nothing to look at in an http-request rule"):
        expression(name, Place.FE_HTTP_REQUEST)
