"""From facts to causes: one row for each way to fail, and no record, however odd, without a cause, an advice and a report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import Location
from headgate.base.handshake_causes import CAUSES, Cause
from headgate.tls.handshake_offers import common_signatures, offered_versions
from headgate.tls.handshake_record import HandshakeRecord, Step
from headgate.tls.line_facts import LineFacts, ShownCertificate, VersionLimits, group_names, signature_names
from headgate.wire.client_hello import ClientHello, parse_client_hello
from tests.wire.test_client_hello import extension, message, records, server_name, vector, words

HERE = Location("haproxy.cfg", 14)
ECDSA = ShownCertificate("site.pem", "ecdsa", ("site.example", "*.wild.example"), 0.0, 2000.0, chain=1)
RSA = ShownCertificate("site.pem.rsa", "rsa", ("site.example",), 0.0, 2000.0, chain=1)
LINE = LineFacts(HERE, ("TLSv1.2", "TLSv1.3"), alpn=("http/1.1",), ca_file="ca.pem", certificates=(ECDSA,))
CIPHERS = ("TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256")


def hello(
    name: bytes = b"site.example", *, versions: tuple[int, ...] = (), ciphers: tuple[int, ...] = (0xC02B, 0xC02F),
    groups: tuple[int, ...] = (29, 23), signatures: tuple[int, ...] = (0x0403, 0x0804), legacy: int = 0x0303,
    alpn: tuple[bytes, ...] = (),
) -> bytes:
    extensions = server_name(name) if name else b""
    if groups:
        extensions += extension(10, vector(2, words(*groups)))
    if signatures:
        extensions += extension(13, vector(2, words(*signatures)))
    if versions:
        extensions += extension(43, vector(1, words(*versions)))
    if alpn:
        extensions += extension(16, vector(2, b"".join(vector(1, one) for one in alpn)))
    return records(message(extensions, version=legacy, ciphers=words(*ciphers)))


class Found:
    """What verification met."""

    def __init__(self, fatal: int, depth: int = 0, certificate: bytes | None = None) -> None:
        self.fatal, self.depth, self.certificate = fatal, depth, certificate


def record(**facts: Any) -> HandshakeRecord:
    """A record of a failure with a client whose hello was whole, unless said otherwise."""
    made = HandshakeRecord(outgoing=bool(facts.pop("outgoing", False)))
    made.first_bytes = b"" if made.outgoing else hello()
    made.step = Step.NEGOTIATION
    made.line = LINE
    made.allowed = CIPHERS
    made.at = 1000.0
    for name, value in facts.items():
        setattr(made, name, value)
    return made


_CERTIFICATE = {"step": Step.CERTIFICATE}
_ALERT_FIRST: dict[str, Any] = {"error_number": 244, "first_bytes": b"\x15\x03\x01\x00\x02\x02\x30", "step": Step.CONNECTED}
_LATE: dict[str, Any] = {"step": Step.ESTABLISHED, "completed": True}
OLD = ShownCertificate("old.pem", "rsa", ("site.example",), 0.0, 999.0)
EXPIRED = LineFacts(HERE, ("TLSv1.2", "TLSv1.3"), certificates=(OLD,))
OTHER_NAME = LineFacts(HERE, ("TLSv1.3",), certificates=(ShownCertificate("x.pem", "rsa", ("x.example",), 0.0, 2000.0),))
BARE = replace(LINE, certificates=(ShownCertificate("etc/my site.pem", "rsa", ("site.example",), 0.0, 2000.0),))
ASKING = replace(LINE, asked_signatures=("rsa_pss_rsae_sha256",))
FILTERED = replace(OTHER_NAME, named_by=Location("sites.list", 1))
ON_P384 = LineFacts(HERE, ("TLSv1.2",), certificates=(ShownCertificate("site.pem", "ecdsa", (), 0.0, 2000.0, curve="P-384"),))
FORCED = LineFacts(HERE, ("TLSv1.0",), limits=VersionLimits("TLSv1.0", "TLSv1.0"), ciphers="DEFAULT:@SECLEVEL=0")
SIGNING = LineFacts(HERE, ("TLSv1.2",), certificates=(ECDSA,), signatures=("rsa_pss_rsae_sha256",))
STRICT = LineFacts(HERE, ("TLSv1.3",), strict_sni=True)
#: (cause, facts)
ROWS: list[tuple[Cause, dict[str, Any]]] = [
    (Cause.NONE, {"completed": True, "step": Step.ESTABLISHED}),
    # parameters
    (Cause.NO_COMMON_VERSION, {"error_number": 258, "first_bytes": hello(legacy=0x0302, ciphers=(0xC009,))}),
    (Cause.NO_COMMON_VERSION, {"error_number": 258, "first_bytes": hello(legacy=0x0302)}),  # with ciphers of TLS 1.2
    (Cause.NO_COMMON_VERSION, {"error_number": 396, "first_bytes": hello(versions=(0x0301, 0x0302), ciphers=(0xC009,))}),
    (Cause.NO_COMMON_VERSION, {"error_number": 258, "first_bytes": hello(b"a\0b", legacy=0x0302)}),
    (Cause.NO_COMMON_VERSION, {"outgoing": True, "alert": 70}),
    # the client ended it, in a record of the version that it wants, or with an alert
    (Cause.NO_COMMON_VERSION, {"error_number": 267, "version": "TLSv1.0", "line": FORCED, **_CERTIFICATE}),
    (Cause.NO_COMMON_VERSION, {"alert": 70, "version": "TLSv1.0", "line": FORCED, **_CERTIFICATE}),
    (Cause.MALFORMED_MESSAGE, {"error_number": 267, "version": "TLSv1.2", **_CERTIFICATE}),
    (Cause.PEER_REJECTED_VERSION, {"alert": 70, "version": "TLSv1.2", **_CERTIFICATE}),
    (Cause.SSLV3_HELLO, {"error_number": 396, "first_bytes": hello(legacy=0x0300)}),
    (Cause.NO_COMMON_CIPHER, {"error_number": 193, "first_bytes": hello(ciphers=(0x002F,))}),
    (Cause.NO_COMMON_CIPHER, {"error_number": 193, "first_bytes": hello(ciphers=(0xC02F,))}),  # RSA only, and the key is ECDSA
    (Cause.NO_COMMON_CIPHER, {"error_number": 193, "first_bytes": hello(versions=(0x0304,), ciphers=(0x1302,))}),
    (Cause.NO_COMMON_GROUP, {"error_number": 193, "first_bytes": hello(groups=(24697, 26))}),
    (Cause.NO_COMMON_GROUP, {"error_number": 101}),
    (Cause.MISSING_EXTENSION, {"error_number": 101, "first_bytes": hello(versions=(0x0304,), ciphers=(0x1301,))}),  # key_share
    # ECDHE of TLS 1.2 has no use for these, nor OpenSSL for a client that names none
    (Cause.NO_COMMON_GROUP, {"error_number": 193, "first_bytes": hello(groups=(256, 4588))}),
    (Cause.NO_COMMON_GROUP, {"error_number": 193, "first_bytes": hello(groups=())}),
    # SHA-1 is implied
    (Cause.NO_COMMON_SIGNATURE_ALGORITHM, {"error_number": 193, "first_bytes": hello(signatures=())}),
    # up to TLS 1.2 the curve of the certificate counts as well
    (Cause.NO_COMMON_GROUP, {"error_number": 193, "first_bytes": hello(groups=(29,)), "line": ON_P384}),
    (Cause.NO_COMMON_SIGNATURE_ALGORITHM, {"error_number": 193, "first_bytes": hello(signatures=(0x0401, 0x0804))}),
    (Cause.NO_COMMON_SIGNATURE_ALGORITHM, {"error_number": 193, "first_bytes": hello(signatures=(0x0203,))}),
    (Cause.NO_COMMON_SIGNATURE_ALGORITHM, {"error_number": 118}),
    (Cause.NO_COMMON_SIGNATURE_ALGORITHM, {"error_number": 376, "line": SIGNING}),
    (Cause.NO_COMMON_SIGNATURE_ALGORITHM, {"error_number": 193, "line": SIGNING}),
    (Cause.NO_COMMON_CIPHER, {"error_number": 193, "first_bytes": b"\x16\x03\x01"}),
    (Cause.NO_COMMON_PROTOCOL, {"error_number": 235}),
    (Cause.NO_CERTIFICATE_FOR_NAME, {"error_number": 234, "line": STRICT}),
    (Cause.NO_NAME_SENT, {"error_number": 234, "line": STRICT, "first_bytes": hello(b"")}),
    (Cause.FALLBACK_REFUSED, {"error_number": 373}),
    # the client rejects our certificate
    (Cause.CLIENT_REJECTED_UNKNOWN_CA, {"alert": 48, "error_number": 1048, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_UNKNOWN_CA, {"alert": 48, "error_number": 1048, **_LATE}),
    (Cause.CLIENT_REJECTED_UNKNOWN_CA, {"alert": 48, "line": BARE, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_EXPIRED, {"alert": 45, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_EXPIRED, {"alert": 46, "line": EXPIRED, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_NAME, {"alert": 42, "line": OTHER_NAME, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_NAME, {"alert": 42, "line": FILTERED, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_BAD, {"alert": 42, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_REVOKED, {"alert": 44, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_UNKNOWN, {"alert": 46, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_UNKNOWN, {"alert": 46, "line": BARE, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_UNSUPPORTED, {"alert": 43, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_STAPLE, {"alert": 113, **_CERTIFICATE}),
    (Cause.CLIENT_REJECTED_ACCESS, {"alert": 49, **_CERTIFICATE}),
    (Cause.PEER_REJECTED_PARAMETERS, {"alert": 40, **_CERTIFICATE}),
    (Cause.PEER_ALERT, {"alert": 80, **_CERTIFICATE}),
    (Cause.RENEGOTIATION_REFUSED, {"alert": 40, "version": "TLSv1.2", **_LATE}),
    # an alert before there was anything to be rejected
    (Cause.PEER_ALERT, {"alert": 48, **_ALERT_FIRST}),
    (Cause.PEER_CANCELLED, {"alert": 90, **_ALERT_FIRST}),
    (Cause.CLOSED_BEFORE_ANY_BYTE, {"alert": 0, **_ALERT_FIRST}),
    # the client's certificate
    (Cause.CLIENT_CERTIFICATE_MISSING, {"error_number": 199, **_CERTIFICATE}),
    (Cause.CLIENT_CERTIFICATE_MISSING, {"error_number": 199, "line": ASKING, **_CERTIFICATE}),
    *(
        (cause, {"error_number": 134, "verify_error": number, **_CERTIFICATE})
        for number, cause in {
            9: Cause.CLIENT_CERTIFICATE_NOT_YET_VALID, 10: Cause.CLIENT_CERTIFICATE_EXPIRED,
            20: Cause.CLIENT_CERTIFICATE_UNKNOWN_CA, 19: Cause.CLIENT_CERTIFICATE_UNKNOWN_CA,
            18: Cause.CLIENT_CERTIFICATE_SELF_SIGNED, 23: Cause.CLIENT_CERTIFICATE_REVOKED,
            12: Cause.CLIENT_CERTIFICATE_CRL_EXPIRED, 3: Cause.CLIENT_CERTIFICATE_CRL_MISSING,
            26: Cause.CLIENT_CERTIFICATE_PURPOSE, 22: Cause.CLIENT_CERTIFICATE_CHAIN_TOO_LONG,
            66: Cause.CLIENT_CERTIFICATE_WEAK, 7: Cause.CLIENT_CERTIFICATE_INVALID, 11: Cause.CLIENT_CERTIFICATE_CRL_INVALID,
            8: Cause.CLIENT_CERTIFICATE_CRL_INVALID, 79: Cause.CLIENT_CERTIFICATE_INVALID,
        }.items()
    ),
    (Cause.CLIENT_CERTIFICATE_CA_EXPIRED, {"error_number": 134, "findings": Found(10, 1), **_CERTIFICATE}),
    (Cause.CLIENT_CERTIFICATE_PROOF, {"error_number": 123, **_CERTIFICATE}),
    # the server's
    (
        Cause.SERVER_CERTIFICATE_NAME,
        {"outgoing": True, "expected": b"app.example", "error_number": 134, "verify_error": 62, **_CERTIFICATE},
    ),
    (Cause.SERVER_CERTIFICATE_EXPIRED, {"outgoing": True, "error_number": 134, "verify_error": 10, **_CERTIFICATE}),
    (Cause.SERVER_CERTIFICATE_CRL_INVALID, {"outgoing": True, "error_number": 134, "verify_error": 8, **_CERTIFICATE}),
    (Cause.SERVER_REQUIRES_CERTIFICATE, {"outgoing": True, "alert": 116}),
    (Cause.SERVER_REJECTED_CERTIFICATE, {"outgoing": True, "alert": 48, **_CERTIFICATE}),
    (Cause.SERVER_UNKNOWN_NAME, {"outgoing": True, "sni": b"app.example", "alert": 112}),
    (Cause.NOT_TLS, {"outgoing": True, "error_number": 267}),
    (Cause.CLOSED_AFTER_CLIENT_HELLO, {"outgoing": True, "closed": True, "step": Step.CLIENT_HELLO}),
    # what is spoken
    (Cause.PLAIN_HTTP, {"error_number": 156, "first_bytes": b"GET / HTTP/1.1\r\n\r\n"}),
    (Cause.PLAIN_HTTP, {"error_number": 267, "first_bytes": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}),
    *(
        (Cause.PLAIN_HTTP, {"error_number": 267, "first_bytes": first})
        for first in (b"G", b"REPORT / HTTP/1.0\r\n", b"get / HTTP/1.1\r\n")
    ),
    (Cause.NOT_TLS, {"closed": True, "first_bytes": b"EHLO x\r\n", "step": Step.CLIENT_HELLO}),
    (Cause.PROXY_HEADER_UNEXPECTED, {"error_number": 267, "first_bytes": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"}),
    (Cause.PROXY_HEADER_UNEXPECTED, {"error_number": 267, "first_bytes": b"PROXY UNKNOWN\r\n", "takes_header": True}),
    (Cause.PROXY_HEADER_EXPECTED, {"header": "not a header", "step": Step.PROXY_HEADER}),
    (Cause.PROXY_HEADER_INVALID, {"header": "bad address", "first_bytes": b"PROXY TCP4 x\r\n", "step": Step.PROXY_HEADER}),
    (Cause.SSLV2_HELLO, {"error_number": 267, "first_bytes": b"\x80\x2e\x01\x00\x02"}),
    (Cause.MALFORMED_HELLO, {"error_number": 159}),
    (Cause.MALFORMED_HELLO, {"closed": True, "first_bytes": b"\x16\x03\x01\x00\x04\x01\x00\x50\x00"}),
    (Cause.MALFORMED_MESSAGE, {"error_number": 159, **_CERTIFICATE}),
    (Cause.RECORD_TOO_LARGE, {"error_number": 146}),
    (Cause.UNEXPECTED_MESSAGE, {"error_number": 244}),
    (Cause.BAD_RECORD, {"error_number": 281, "error": "decryption failed or bad record mac", **_CERTIFICATE}),
    (Cause.MISSING_EXTENSION, {"error_number": 310}),
    (Cause.EARLY_DATA_REFUSED, {"error_number": 164}),
    (Cause.RESUMPTION_FAILED, {"error_number": 253}),
    # the end of input
    (Cause.CLOSED_BEFORE_ANY_BYTE, {"closed": True, "first_bytes": b"", "step": Step.CONNECTED}),
    (Cause.RESET_BEFORE_ANY_BYTE, {"errno": 104, "first_bytes": b"", "step": Step.CONNECTED}),
    (Cause.CLOSED_IN_CLIENT_HELLO, {"closed": True, "first_bytes": b"\x16\x03\x01", "step": Step.CLIENT_HELLO}),
    (Cause.CLOSED_AFTER_CLIENT_HELLO, {"closed": True}),
    (Cause.CLOSED_AFTER_CERTIFICATE, {"closed": True, **_CERTIFICATE}),
    (Cause.CLOSED_AFTER_CERTIFICATE, {"alert": 0, **_CERTIFICATE}),
    (Cause.RESET_AFTER_CERTIFICATE, {"errno": 104, **_CERTIFICATE}),
    (Cause.CLOSED_WITHOUT_REQUEST, {"errno": 32, "step": Step.ESTABLISHED}),
    (Cause.TIMEOUT_BEFORE_ANY_BYTE, {"timeout": 5.0, "first_bytes": b"", "step": Step.CONNECTED}),
    (Cause.TIMEOUT_IN_CLIENT_HELLO, {"timeout": 5.0, "first_bytes": b"\x16", "step": Step.CLIENT_HELLO}),
    (Cause.TIMEOUT_AFTER_CERTIFICATE, {"timeout": 5.0, **_CERTIFICATE}),
    (Cause.TIMEOUT_IN_PROXY_HEADER, {"timeout": 5.0, "first_bytes": b"PROXY", "step": Step.PROXY_HEADER}),
    (Cause.CLOSED_IN_PROXY_HEADER, {"closed": True, "first_bytes": b"PROXY", "step": Step.PROXY_HEADER}),
    # ourselves
    (Cause.CONFIGURATION, {"error_number": 179, "error": "no certificate set"}),
    (Cause.INTERNAL, {"error_number": 313}),
    (Cause.MALFORMED_HELLO, {"error_number": 99}),  # a reason that no row names
    (Cause.UNKNOWN, {"error_number": 99, **_CERTIFICATE}),
]  # fmt: skip


@pytest.mark.parametrize(("cause", "facts"), ROWS, ids=[f"{cause.code}-{at}" for at, (cause, _) in enumerate(ROWS)])
def test_causes(cause: Cause, facts: dict[str, Any]) -> None:
    made = record(**facts)
    assert made.cause is cause
    assert bool(made.advice) is (cause is not Cause.NONE)


_NUMBERS = st.one_of(st.integers(0, 600), st.integers(1000, 1255))


@given(
    st.booleans(), _NUMBERS, st.one_of(st.none(), st.integers(0, 255)), st.integers(0, 120), st.sampled_from(list(Step)),
    st.binary(max_size=100), st.booleans(), st.sampled_from([0, 32, 104, 110, 9]), st.binary(max_size=40),
)  # fmt: skip
def test_every_record_has_a_cause_an_advice_and_a_report(
    outgoing: bool, number: int, alert: int | None, verify: int, step: Step, data: bytes, closed: bool, errno: int,
    certificate: bytes,
) -> None:
    made = record(
        outgoing=outgoing, error_number=number, alert=alert, verify_error=verify, step=step, closed=closed, errno=errno,
        first_bytes=data, findings=Found(verify, 1, certificate), error="it says so",
    )  # fmt: skip
    assert made.cause in CAUSES
    report = json.dumps(made.facts())
    assert made.reason.isascii() and made.reason.isprintable() and report.isascii()


def test_what_peers_send_can_forge_no_log_line() -> None:
    made = record(error_number=234, line=STRICT, first_bytes=hello(b"a\n<134>evil" + b"x" * 200))
    assert "\n" not in made.advice and "a?<134>evil" in made.advice and len(made.advice) < 600


def test_versions_that_a_client_speaks() -> None:
    def offered(data: bytes) -> tuple[str, ...]:
        found = parse_client_hello(data)
        assert found is not None
        return offered_versions(found)

    assert offered(hello(legacy=0x0302)) == ("TLSv1.0", "TLSv1.1")
    assert offered(hello(versions=(0x2A2A, 0x0304, 0x0303))) == ("TLSv1.2", "TLSv1.3")
    assert offered(hello(legacy=0x0300)) == ("SSLv3",)


def test_a_record_tells_all() -> None:
    made = record(error_number=258, error="unsupported protocol", alert_sent=70, first_bytes=hello(
        versions=(0x0A0A, 0x0302), ciphers=(0x1A1A, 0xC02B), alpn=(b"h2", b"\xff"),
    ))  # fmt: skip
    facts = made.facts()
    assert (facts["result"], facts["cause"]) == ("failed", "no-common-version")
    assert (facts["severity"], facts["blame"]) == ("warning", "client")
    assert (facts["sni"], facts["alert_sent"], facts["alert_received"]) == ("site.example", "protocol_version", None)
    assert facts["offered"]["versions"] == ["TLSv1.1"] and facts["offered"]["grease"] == ["0x1a1a", "0x0a0a"]
    assert facts["offered"]["ciphers"] == ["ECDHE-ECDSA-AES128-GCM-SHA256"] and facts["offered"]["alpn"] == ["h2", "?"]
    assert facts["allowed"]["line"] == "haproxy.cfg:14" and facts["allowed"]["versions"] == ["TLSv1.2", "TLSv1.3"]
    assert facts["chosen"]["certificates"] == ["site.pem"]
    verify = record(error_number=134, verify_error=8, **_CERTIFICATE).facts()["verify"]
    assert verify == {"error": 8, "text": "CRL signature failure", "depth": 0, "subject": ""}


_LONG_PATH = replace(ECDSA, path="/etc/" + "directory/" * 20 + "site.pem")


@pytest.mark.parametrize("offered", [
    {"alpn": (b"\\" * 255,) * 20},
    {"alpn": tuple(b"a%099d" % one for one in range(100)), "ciphers": tuple(range(0xC001, 0xC0AF))},
    {"ciphers": tuple(range(7000))}, {"signatures": tuple(range(2000)), "groups": tuple(range(2000))},
    {"ciphers": tuple(one * 0x1010 + 0x0A0A for one in range(16)) * 200}, {"name": b"\\" * 250},
])  # fmt: skip
def test_a_record_fits_into_a_log_line_whatever_a_client_offers(offered: dict[str, Any]) -> None:
    line = replace(LINE, certificates=(_LONG_PATH,) * 100, groups=("secp256r1",) * 100)
    made = record(error_number=258, first_bytes=hello(**offered), line=line, allowed=CIPHERS * 60)
    facts = made.facts()
    assert facts["offered"] is not None
    assert len(json.dumps(facts, separators=(",", ":"))) <= 7680
    for part in ("offered", "allowed", "chosen"):
        assert all(all(isinstance(one, str | int) for one in value) for value in facts[part].values() if isinstance(value, list))


def test_what_is_left_out_of_a_list_is_counted() -> None:
    many = tuple(range(0xC001, 0xC001 + 130))
    facts = record(error_number=258, first_bytes=hello(ciphers=many, alpn=(b"h2",))).facts()
    assert len(facts["offered"]["ciphers"]) == 101 and facts["offered"]["ciphers"][-1] == "+30 more"
    assert facts["offered"]["alpn"] == ["h2"]
    protocols = tuple(b"%099d" % one for one in range(150))
    facts = record(error_number=258, first_bytes=hello(ciphers=many, alpn=protocols)).facts()
    alpn = facts["offered"]["alpn"]
    assert alpn[:2] == ["0" * 99, "0" * 98 + "1"] and alpn[-1] == f"+{150 - len(alpn) + 1} more"
    assert len(facts["offered"]["ciphers"]) > len(alpn), "the longest list gives way first"


def test_names_of_groups() -> None:
    assert group_names("X25519:prime256v1") == ("X25519", "P-256")
    assert group_names("*X25519MLKEM768/?P-384:-P-384") == ("X25519MLKEM768",)
    assert group_names(None) == group_names("DEFAULT")


def test_names_of_signature_algorithms() -> None:
    assert signature_names("RSA-PSS+SHA256:ECDSA+SHA384:RSA+SHA512:?DSA+SHA256") == (
        "rsa_pss_rsae_sha256", "ecdsa_secp384r1_sha384", "rsa_pkcs1_sha512", "dsa_sha256",
    )  # fmt: skip
    assert signature_names("ed25519:PSS+SHA256:strange+SHA1") == ("ed25519", "rsa_pss_rsae_sha256", "strange+SHA1")
    assert signature_names(None) == ()


@pytest.mark.parametrize(
    ("version", "common"),
    [("TLSv1.2", ["ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384"]), ("TLSv1.3", ["ecdsa_secp384r1_sha384"])],
)
def test_in_tls_1_3_the_curve_of_a_key_decides_what_it_signs(version: str, common: list[str]) -> None:
    offer = parse_client_hello(hello(versions=(0x0304, 0x0303), signatures=(0x0403, 0x0503, 0x0804)))
    assert isinstance(offer, ClientHello)
    assert common_signatures(offer, replace(ON_P384, versions=(version,))) == common
