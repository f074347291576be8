"""Every cause of failed handshakes, by clients that produce it: what they do, what the bind line says, what the advice must name.

`handshake_scene` runs the rows, `test_handshake_causes` checks them, and docs/handshake-failures.md is made of them.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from headgate.base.handshake_causes import Cause
from tests.interop.handshake_clients import (
    NAME,
    Client,
    Visit,
    after_certificate,
    alerting,
    asked_again,
    changed,
    closing,
    context_of,
    curl,
    drain,
    hello_of,
    java,
    leaving,
    python,
    reset_at_close,
    s_client,
    sending,
    staying,
)
from tests.interop.tls_records import DATA, HANDSHAKE, ClientSide, Hello, message, record

BOTH, OLD, NEW, ANY = ("1.2", "1.3"), ("1.2",), ("1.3",), ("",)
_DECLINED = "client-rejected-certificate-unknown-ca"


@dataclass(frozen=True)
class Line:
    """A frontend with one bind line.

    Attributes:
        options: behind `ssl crt FILE`; words that end in .pem are files.
        crt: the certificate; "" for none.
        frontend: more lines.
    """

    options: str = ""
    crt: str = "site.pem"
    frontend: str = ""


@dataclass(frozen=True)
class Case:
    """One way to fail.

    Attributes:
        cause: what is found.
        what: what the client does, for the page.
        client: does it.
        line: where.
        versions: of TLS that it is done with; "" where that means nothing.
        advice: what the advice must say, word for word; `{line}` is the bind line's place, `{dir}` the directory of files.
        remedy: the line changed as the advice says, by which the client gets in; None where nothing is to be changed here.
        repaired: the client once its own side is changed as the advice says.
        steady: HAProxy always writes the same line.
        alert: the alert that was received or sent.
    """

    cause: Cause
    what: str
    client: Client
    line: Line = Line()
    versions: tuple[str, ...] = BOTH
    advice: tuple[str, ...] = ()
    remedy: Line | None = None
    repaired: Client | None = None
    steady: bool = True
    alert: str = ""
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For tests and proxies."""
        return "".join([one if one.isalnum() else "-" for one in f"{self.cause.code}-{self.what}".lower()])[:70].rstrip("-")


_ALERT = {
    40: "handshake_failure", 42: "bad_certificate", 44: "certificate_revoked", 47: "illegal_parameter", 49: "access_denied",
    70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 90: "user_canceled", 109: "missing_extension",
    110: "unsupported_extension", 113: "bad_certificate_status_response", 120: "no_application_protocol",
}  # fmt: skip


def _alerts(cause: Cause, number: int, *advice: str) -> Case:
    return Case(
        cause, f"answers our certificate with the alert {_ALERT[number]}", alerting(number), advice=advice, alert=_ALERT[number],
    )  # fmt: skip


def _client_certificate(
    cause: Cause, what: str, certificate: str, *advice: str, remedy: Line | None = None, line: str = ""
) -> Case:
    options = line or "verify required ca-file clients.pem"
    level = "DEFAULT:@SECLEVEL=0" if certificate == "weak.pem" else ""
    return Case(
        cause, what, python(certificate=certificate, ciphers=level), Line(options), advice=("{line}", *advice), remedy=remedy,
        repaired=None if remedy else python(certificate="good.pem"),
    )


def _without(number: int) -> Callable[[Hello], None]:
    def change(hello: Hello) -> None:
        del hello.extensions[number]

    return change


def _flipped(position: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        spoilt = bytearray(data)
        spoilt[position] ^= 1
        return bytes(spoilt)

    return change


def _bad_proof(answer: bytes) -> bytes:
    """Another signature in CertificateVerify, which is in clear up to TLS 1.2."""
    spoilt = bytearray(answer)
    at = 0
    while spoilt[at + 5] != 15:
        at += 5 + (spoilt[at + 3] << 8 | spoilt[at + 4])
    spoilt[at + 5 + (spoilt[at + 3] << 8 | spoilt[at + 4]) - 1] ^= 1
    return bytes(spoilt)


def _with_certificate(change: Callable[[bytes], bytes]) -> Client:
    def visit(to: Visit) -> bool:
        with to.connect() as connection:
            side = ClientSide(to.directory, context_of(to, certificate="good.pem"), NAME)
            side.read_flight(connection)
            connection.sendall(change(side.answer))
            drain(connection)
        return False

    return visit


def _sslv3(hello: Hello) -> None:
    hello.version = hello.record_version = 0x0300
    hello.extensions = {}
    hello.ciphers = (0x002F, 0x0035)


def _replaced(number: int, body: bytes) -> Callable[[Hello], None]:
    def change(hello: Hello) -> None:
        hello.extensions[number] = body

    return change


def _part(size: int) -> Callable[[Visit], bytes]:
    return lambda to: hello_of()(to)[:size]


def _session(to: Visit, context: ssl.SSLContext) -> ssl.SSLSession:
    """That of a connection with a request, which is no probe."""
    with to.connect() as plain, context.wrap_socket(plain, server_hostname=NAME) as secure:
        secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while secure.recv(4096):
            pass
        session = secure.session
    assert session is not None
    return session


def _spoilt_binder(to: Visit) -> bool:
    """A session of TLS 1.3 whose proof (the last bytes of the ClientHello) is wrong."""
    context = context_of(to)
    session = _session(to, context)
    side = ClientSide(to.directory, context, NAME, session)
    with to.connect(_flipped(-1)(side.hello)) as connection:
        drain(connection)
    return False


def _other_master_secret(to: Visit) -> bool:
    """A session made with the extended master secret, presented without (RFC 7627 section 5.3)."""
    context = context_of(to)
    session = _session(to, context)
    context.options |= ssl.Options(1)  # SSL_OP_NO_EXTENDED_MASTER_SECRET
    try:
        with to.connect() as plain, context.wrap_socket(plain, server_hostname=NAME, session=session):
            return True
    except (ssl.SSLError, ConnectionError):
        return False


def _cancelled(side: ClientSide, connection: socket.socket) -> None:
    """As RFC 8446 section 6.1 wants it: a warning, then the end."""
    connection.sendall(side.alert(90, fatal=False) + side.alert(0, fatal=False, number=1))
    drain(connection)


def _application_data(side: ClientSide, connection: socket.socket) -> None:
    data = b"GET / HTTP/1.0\r\n\r\n"
    if side.ssl.version() == "TLSv1.3":
        connection.sendall(side.enciphered(DATA, data))
    else:
        connection.sendall(record(DATA, data))
    drain(connection)


def _wrong_order(side: ClientSide, connection: socket.socket) -> None:
    """A message that is another's."""
    wrong = message(2, bytes(40))
    in_clear = side.ssl.version() != "TLSv1.3"
    connection.sendall(record(HANDSHAKE, wrong) if in_clear else side.enciphered(HANDSHAKE, wrong))
    drain(connection)


def _malformed_answer(side: ClientSide, connection: socket.socket) -> None:
    """A ClientKeyExchange, or Finished, whose length says more than there is."""
    if side.ssl.version() == "TLSv1.3":
        connection.sendall(side.enciphered(HANDSHAKE, message(20, b"short")))
    else:
        connection.sendall(record(HANDSHAKE, message(16, b"\x41\x04")))
    drain(connection)


_VERIFY = "verify required ca-file clients.pem"
_SLOW = "timeout client-hs 300ms"
#: A HelloRetryRequest for those who have no key share of that group.
_RETRY = Line("curves P-256")
_HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n"
_ONLY_P256 = "curves P-256"

CASES: tuple[Case, ...] = (
    # --- probes ---
    Case(Cause.CLOSED_BEFORE_ANY_BYTE, "connects and closes", sending(b""), versions=ANY),
    Case(Cause.RESET_BEFORE_ANY_BYTE, "connects and resets", sending(b"", reset=True), versions=ANY, steady=False),
    Case(Cause.CLOSED_WITHOUT_REQUEST, "finishes the handshake and closes", leaving),
    # --- nothing in common ---
    Case(
        Cause.NO_COMMON_VERSION, "offers TLS 1.1 at most",
        s_client("-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0", versioned=False), versions=ANY,
        advice=("TLS 1.1 at most; {line} allows TLS 1.2 and up", "`ssl-min-ver TLSv1.1`", "`ciphers DEFAULT:@SECLEVEL=0`"),
        remedy=Line("ssl-min-ver TLSv1.1 ciphers DEFAULT:@SECLEVEL=0"), alert="protocol_version",
    ),
    Case(
        Cause.NO_COMMON_VERSION, "offers TLS 1.3 only", s_client("-tls1_3", versioned=False), Line("ssl-max-ver TLSv1.2"), ANY,
        ("offers TLS 1.3 only; {line} allows TLS 1.2", "`ssl-max-ver TLSv1.3`"), Line("ssl-max-ver TLSv1.3"),
        alert="protocol_version",
    ),
    Case(
        Cause.NO_COMMON_VERSION, "is a Java program with TLS 1.0", java(protocol="TLSv1"), versions=ANY,
        advice=("TLS 1.0 at most; {line}", "`ssl-min-ver TLSv1.0`"), needs=("java",), alert="protocol_version",
    ),
    Case(
        Cause.NO_COMMON_VERSION, "is curl with TLS 1.2, and the line wants 1.3",
        curl("--tls-max", "1.2"), Line("ssl-min-ver TLSv1.3"), ANY,
        ("TLS 1.2 at most; {line} allows TLS 1.3 only", "`ssl-min-ver TLSv1.2`"), Line("ssl-min-ver TLSv1.2"),
        alert="protocol_version", needs=("curl",),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "offers a cipher that the line does not have",
        s_client("-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        Line("ciphers ECDHE-ECDSA-AES128-GCM-SHA256"), OLD,
        ("offers ECDHE-ECDSA-AES256-GCM-SHA384, none of which {line} allows", "`ciphers`"),
        Line("ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"), alert="handshake_failure",
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "offers a cipher suite that the line does not have",
        s_client("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"), Line("ciphersuites TLS_AES_128_GCM_SHA256"), NEW,
        ("offers TLS_CHACHA20_POLY1305_SHA256, none of which {line} allows", "`ciphersuites`"),
        Line("ciphersuites TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"), alert="handshake_failure",
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "offers ciphers for RSA keys only",
        s_client("-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), Line(), OLD,
        ("have only ciphers for RSA keys in common", "{dir}/site.pem has an ECDSA key", "Add `crt` with an RSA certificate"),
        Line("crt site_rsa.pem"), alert="handshake_failure",
    ),
    Case(
        Cause.NO_COMMON_GROUP, "supports other groups", s_client("-groups", "P-384"), Line(_ONLY_P256), NEW,
        ("supports the group P-384; {line} allows P-256", "add P-384 to `curves`"), Line("curves P-256:P-384"),
        alert="handshake_failure",
    ),
    Case(
        Cause.NO_COMMON_GROUP, "supports other groups, and so not the curve of our certificate", s_client("-groups", "P-384"),
        Line(_ONLY_P256), OLD,
        ("allows P-256, and the key of the certificate {dir}/site.pem is on P-256", "add P-384 to `curves`",
         "an RSA certificate"),
        Line("curves P-256:P-384 crt site_rsa.pem"), alert="handshake_failure",
    ),
    Case(
        Cause.NO_COMMON_GROUP, "does not know the curve of our certificate", s_client("-groups", "X25519"), Line(), OLD,
        ("the key of the certificate {dir}/site.pem is on P-256", "an RSA certificate"), Line("crt site_rsa.pem"),
        alert="handshake_failure",
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "verifies RSA signatures only",
        s_client("-sigalgs", "rsa_pss_rsae_sha256:rsa_pkcs1_sha256"), Line(), BOTH,
        ("rsa_pss_rsae_sha256 and rsa_pkcs1_sha256 only", "{dir}/site.pem has an ECDSA key", "Add `crt` with an RSA certificate"),
        Line("crt site_rsa.pem"), alert="handshake_failure",
    ),
    Case(
        Cause.NO_COMMON_PROTOCOL, "ends it since its ALPN protocol was not chosen", alerting(120), Line("alpn http/1.1"),
        advice=("agrees to http/1.1 only.",), alert="no_application_protocol", steady=False,
    ),
    Case(
        Cause.NO_CERTIFICATE_FOR_NAME, "asks for a name without a certificate",
        s_client(name="other.example"), Line("strict-sni"),
        advice=("'other.example', which no certificate of {line} matches", "site.example", "remove `strict-sni`"), remedy=Line(),
        alert="unrecognized_name",
    ),
    Case(
        Cause.NO_NAME_SENT, "names no host", s_client(name=""), Line("strict-sni"),
        advice=("{line} has strict-sni", "remove `strict-sni`"), remedy=Line(), repaired=s_client(), alert="unrecognized_name",
    ),
    Case(
        Cause.FALLBACK_REFUSED, "falls back to TLS 1.2 and says so", s_client("-fallback_scsv"), Line(), OLD,
        ("TLS_FALLBACK_SCSV",), repaired=s_client(), alert="inappropriate_fallback",
    ),
    # --- our certificate is rejected ---
    Case(
        Cause.CLIENT_REJECTED_UNKNOWN_CA, "is openssl and does not know the CA",
        s_client("-CAfile", "other_ca.pem", "-verify_return_error"), advice=("{dir}/site.pem", "No intermediate CA is sent"),
        steady=False, repaired=s_client("-CAfile", "ca.pem", "-verify_return_error"), alert="unknown_ca", needs=("openssl",),
    ),
    Case(
        Cause.CLIENT_REJECTED_UNKNOWN_CA, "is curl and misses the intermediate CA", curl(), Line(crt="no_chain.pem"),
        advice=(
            "No intermediate CA is sent with it: if there is one, append it to the file (cat intermediate.pem >>"
            " {dir}/no_chain.pem).",
        ),
        remedy=Line(crt="chain.pem"), steady=False, alert="unknown_ca", needs=("curl",),
    ),
    Case(
        Cause.CLIENT_REJECTED_UNKNOWN_CA, "does not know a self-signed certificate", python(), Line(crt="self_signed.pem"),
        advice=("{dir}/self_signed.pem", "It is self-signed"), steady=False, alert="unknown_ca",
    ),
    Case(
        Cause.CLIENT_REJECTED_EXPIRED, "finds our certificate expired", python(), Line(crt="expired_site.pem"),
        advice=("{dir}/expired_site.pem", "it has expired on", "Renew it"), remedy=Line(), steady=False,
        alert="certificate_expired",
    ),
    Case(
        Cause.CLIENT_REJECTED_NAME, "finds another name in our certificate", python(), Line(crt="other_name.pem"),
        advice=("asked for the name 'site.example'", "valid for other.example", "Add `crt`", "{line}"),
        remedy=Line("crt site.pem", crt="other_name.pem"), steady=False, alert="bad_certificate",
    ),
    Case(
        Cause.CLIENT_REJECTED_REVOKED, "finds our certificate revoked",
        s_client("-CAfile", "ca.pem", "-crl_check", "-CRL", "site_crl.pem", "-verify_return_error"),
        advice=("{dir}/site.pem is revoked", "issued again"), steady=False, alert="certificate_revoked",
    ),
    Case(
        Cause.CLIENT_REJECTED_BAD, "finds our certificate not valid yet", python(), Line(crt="early_site.pem"),
        advice=("{dir}/early_site.pem", "is not valid before"), remedy=Line(), steady=False, alert="bad_certificate",
    ),
    Case(
        Cause.CLIENT_REJECTED_UNSUPPORTED, "finds that our certificate is not one for servers", python(),
        Line(crt="client_only.pem"), advice=("{dir}/client_only.pem", "extended key usage"), remedy=Line(), steady=False,
        alert="unsupported_certificate",
    ),
    Case(
        Cause.CLIENT_REJECTED_UNKNOWN, "is a Java program that does not know the CA", java(),
        advice=("{dir}/site.pem", "Java"), needs=("java",), alert="certificate_unknown", steady=False,
    ),
    _alerts(Cause.CLIENT_REJECTED_STAPLE, 113, "{dir}/site.pem", "`show ssl ocsp-response`"),
    _alerts(Cause.CLIENT_REJECTED_ACCESS, 49, "not allowed"),
    _alerts(Cause.PEER_REJECTED_PARAMETERS, 40, "alert handshake_failure"),
    _alerts(Cause.PEER_REJECTED_PARAMETERS, 47, "alert illegal_parameter"),
    _alerts(Cause.PEER_REJECTED_PARAMETERS, 110, "alert unsupported_extension"),
    _alerts(Cause.PEER_REJECTED_VERSION, 70, "alert protocol_version"),
    _alerts(Cause.PEER_WANTS_STRONGER, 71, "alert insufficient_security"),
    # In TLS 1.3 it is a warning, which OpenSSL keeps to itself: the client is then one that closes.
    Case(
        Cause.PEER_CANCELLED, "is cancelled by its user", alerting(90), Line(), OLD, ("alert user_canceled", "cancelled"),
        steady=False, alert="user_canceled",
    ),
    Case(
        Cause.CLOSED_AFTER_CERTIFICATE, "is cancelled by its user, in TLS 1.3", after_certificate(_cancelled), Line(), NEW,
        steady=False,
    ),
    _alerts(Cause.PEER_ALERT, 80, "alert internal_error"),
    # --- the client's certificate ---
    Case(
        Cause.CLIENT_CERTIFICATE_MISSING, "has no certificate", python(), Line(_VERIFY),
        advice=("{line} has `verify required` with ca-file {dir}/clients.pem", "`verify optional`"),
        remedy=Line("verify optional ca-file clients.pem"), repaired=python(certificate="good.pem"),
    ),
    _client_certificate(Cause.CLIENT_CERTIFICATE_EXPIRED, "has an expired certificate", "expired.pem", '"CN=expired"', "on 2"),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_NOT_YET_VALID, "has a certificate of tomorrow", "not_yet.pem", '"CN=not_yet"', "before 2",
        "compare the clocks",
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_UNKNOWN_CA, "has a certificate of another CA", "stranger.pem", '"CN=stranger"',
        '"CN=Unknown Root"', "ca-file {dir}/clients.pem", "Add that CA to the file",
        remedy=Line("verify required ca-file more_clients.pem"),
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_SELF_SIGNED, "has a self-signed certificate", "self_signed_client.pem", '"CN=self"',
        "ca-file {dir}/clients.pem", "Add it to that file", remedy=Line("verify required ca-file with_self.pem"),
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_PURPOSE, "shows a server's certificate", "server.pem", '"CN=not.a.client"', "clientAuth",
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_CA_EXPIRED, "has a certificate whose CA has expired", "old_ca.pem", '"CN=Old Intermediate"',
        "renew that CA",
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_WEAK, "has a certificate with a weak key", "weak.pem", '"CN=weak"', "SECLEVEL",
        line=f"{_VERIFY} ciphers DEFAULT:@SECLEVEL=2", remedy=Line(f"{_VERIFY} ciphers DEFAULT:@SECLEVEL=0"),
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_REVOKED, "has a revoked certificate", "revoked.pem", '"CN=revoked"', "crl-file {dir}/crl.pem",
        line=f"{_VERIFY} crl-file crl.pem",
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_CRL_EXPIRED, "has a good certificate, and our CRL is out of date", "good.pem",
        '"CN=Clients Root"', "crl-file {dir}/old_crl.pem", "Fetch a new one", line=f"{_VERIFY} crl-file old_crl.pem",
        remedy=Line(f"{_VERIFY} crl-file fresh_crl.pem"),
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_CRL_INVALID, "meets a forged CRL", "good.pem", '"CN=Clients Root"',
        "crl-file {dir}/forged_crl.pem", "CRL signature failure", "Fetch it anew", line=f"{_VERIFY} crl-file forged_crl.pem",
        remedy=Line(f"{_VERIFY} crl-file fresh_crl.pem"),
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_CRL_INVALID, "meets a CRL that is not valid yet", "good.pem",
        '"CN=Clients Root"', "crl-file {dir}/early_crl.pem", "CRL is not yet valid", "our clock",
        line=f"{_VERIFY} crl-file early_crl.pem", remedy=Line(f"{_VERIFY} crl-file fresh_crl.pem"),
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_CRL_MISSING, "has a good certificate, and its CA has no CRL here", "good.pem",
        '"CN=Clients Root"', "crl-file {dir}/other_crl.pem", "Append one", line=f"{_VERIFY} crl-file other_crl.pem",
        remedy=Line(f"{_VERIFY} crl-file both_crls.pem"),
    ),
    _client_certificate(
        Cause.CLIENT_CERTIFICATE_CHAIN_TOO_LONG, "has a CA below one that allows none", "too_deep.pem",
        "longer than its CAs allow",
        line="verify required ca-file narrow.pem",
    ),
    Case(
        Cause.CLIENT_CERTIFICATE_PROOF, "does not have its certificate's key", _with_certificate(_bad_proof), Line(_VERIFY), OLD,
        ("prove",), repaired=python(certificate="good.pem"),
    ),
    # --- not what is spoken here ---
    Case(
        Cause.PLAIN_HTTP, "is curl and speaks plain HTTP", curl(url=f"http://{NAME}/"), versions=ANY, needs=("curl",),
        advice=("TLS port of {line}", "https://", "`http-request redirect scheme https unless {{ ssl_fc }}`"), repaired=curl(),
    ),
    Case(
        Cause.NOT_TLS, "is an SSH client", sending(b"SSH-2.0-OpenSSH_9.2p1\r\n", stay=True), versions=ANY,
        advice=("'SSH-2.0-OpenSSH_'", "{line} has `ssl`"),
    ),
    Case(
        Cause.PROXY_HEADER_EXPECTED, "sends no PROXY header", s_client(), Line("accept-proxy"), ANY,
        ("{line} has `accept-proxy`", "send-proxy"), Line(), curl("--haproxy-protocol"), needs=("curl",),
    ),
    Case(
        Cause.PROXY_HEADER_UNEXPECTED, "is curl and sends a PROXY header", curl("--haproxy-protocol"), versions=ANY,
        advice=("{line}, which expects none", "Add `accept-proxy`"), remedy=Line("accept-proxy"), repaired=curl(),
        needs=("curl",),
    ),
    Case(
        Cause.PROXY_HEADER_INVALID, "sends a PROXY header of nonsense", sending(b"PROXY TCP4 here there 1 2\r\n", stay=True),
        Line("accept-proxy"), ANY, ("not valid", "{line}"),
    ),
    Case(
        Cause.SSLV2_HELLO, "greets as in SSLv2",
        sending(bytes([0x80, 0x2E, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]) + bytes(0x25), stay=True), versions=ANY, advice=("SSLv2",),
    ),
    Case(
        Cause.SSLV3_HELLO, "offers SSLv3", sending(hello_of(_sslv3), stay=True), versions=ANY,
        advice=("SSLv3 at most", "{line} allows TLS 1.2 and up", "must be updated"), alert="protocol_version",
    ),
    Case(
        Cause.MALFORMED_HELLO, "sends a ClientHello with a broken extension",
        sending(hello_of(_replaced(10, b"\0\x09\0")), stay=True), advice=("ClientHello",), alert="decode_error",
    ),
    Case(
        Cause.RECORD_TOO_LARGE, "sends a record that is too large", sending(b"\x16\x03\x01\xff\xff" + b"x" * 100, stay=True),
        versions=ANY, advice=("larger than allowed",), alert="record_overflow",
    ),
    Case(
        Cause.MALFORMED_MESSAGE, "answers our certificate with a broken message", after_certificate(_malformed_answer),
        advice=("OpenSSL says",),
    ),
    Case(
        Cause.UNEXPECTED_MESSAGE, "answers our certificate with a ServerHello", after_certificate(_wrong_order),
        alert="unexpected_message",
    ),
    Case(
        Cause.UNEXPECTED_MESSAGE, "sends data before the handshake is done", after_certificate(_application_data),
        alert="unexpected_message",
    ),
    Case(Cause.BAD_RECORD, "has its Finished damaged on the way", changed(_flipped(-1)), alert="bad_record_mac"),
    Case(
        Cause.MISSING_EXTENSION, "leaves out the signature algorithms", sending(hello_of(_without(13)), stay=True), Line(), NEW,
        ("extension",), alert="missing_extension",
    ),
    Case(
        Cause.RENEGOTIATION_REFUSED, "wants to negotiate again",
        s_client("-legacy_renegotiation", text="R\n", quiet=False), Line(), OLD,
        ("negotiate again",), repaired=s_client(),
    ),
    Case(
        Cause.RESUMPTION_FAILED, "presents a session with a wrong proof", _spoilt_binder, Line(), NEW, ("session",),
        alert="illegal_parameter",
    ),
    Case(
        Cause.UNSAFE_PEER, "presents a session without the extended master secret that it was made with", _other_master_secret,
        Line(), OLD, ("extended master secret",),
    ),
    # --- nothing more came ---
    Case(
        Cause.CLOSED_IN_PROXY_HEADER, "closes within the PROXY header", sending(_HEADER[:20]), Line("accept-proxy"), ANY,
        steady=False,
    ),
    Case(
        Cause.RESET_IN_PROXY_HEADER, "resets within the PROXY header", sending(_HEADER[:20], reset=True),
        Line("accept-proxy"), ANY,
        steady=False,
    ),
    Case(
        Cause.TIMEOUT_IN_PROXY_HEADER, "stops within the PROXY header", sending(_HEADER[:20], stay=True),
        Line("accept-proxy", frontend=_SLOW), ANY, ("for 0.3 s", "20 bytes"),
    ),
    Case(Cause.CLOSED_IN_CLIENT_HELLO, "closes within its ClientHello", sending(_part(50)), advice=("50 bytes",)),
    Case(Cause.RESET_IN_CLIENT_HELLO, "resets within its ClientHello", sending(_part(50), reset=True), steady=False),
    Case(
        Cause.TIMEOUT_IN_CLIENT_HELLO, "stops within its ClientHello", sending(_part(50), stay=True), Line(frontend=_SLOW),
        advice=("for 0.3 s", "50 bytes", "`timeout client-hs`"),
    ),
    Case(
        Cause.TIMEOUT_BEFORE_ANY_BYTE, "says nothing", sending(b"", stay=True), Line(frontend=_SLOW), ANY,
        ("for 0.3 s", "`timeout client-hs`"),
    ),
    Case(
        Cause.CLOSED_AFTER_CLIENT_HELLO, "closes when it is asked for another group", asked_again(bool), _RETRY, NEW,
        steady=False,
    ),
    Case(
        Cause.RESET_AFTER_CLIENT_HELLO, "resets when it is asked for another group", asked_again(reset_at_close), _RETRY, NEW,
        steady=False,
    ),
    Case(
        Cause.TIMEOUT_AFTER_CLIENT_HELLO, "stops when it is asked for another group", asked_again(drain),
        Line("curves P-256", frontend=_SLOW), NEW, ("after its ClientHello for 0.3 s",),
    ),
    Case(Cause.CLOSED_AFTER_CERTIFICATE, "closes after our certificate", after_certificate(closing(reset=False)), steady=False),
    Case(Cause.RESET_AFTER_CERTIFICATE, "resets after our certificate", after_certificate(closing(reset=True)), steady=False),
    Case(
        Cause.TIMEOUT_AFTER_CERTIFICATE, "stops after our certificate", after_certificate(staying), Line(frontend=_SLOW),
        advice=("after our certificate for 0.3 s",),
    ),
)

_OURS = "about a server, where we are the client: seen in checks and in `bc_err`"
#: Causes without a row, and why.
NOT_BY_CLIENTS: dict[Cause, str] = {
    Cause.KEY_TOO_WEAK: "about a server with weak DH parameters; of a client OpenSSL's level judges the certificate only",
    Cause.CLIENT_CERTIFICATE_INVALID: "what is left when OpenSSL's verification finds what no other cause is for",
    Cause.EARLY_DATA_REFUSED: "early data that breaks the limits that its ticket was given; no client at hand sends it",
    **{one: _OURS for one in Cause if one.code.startswith("server-")},
    Cause.CONFIGURATION: "what makes each handshake fail is refused at the start, or found by `-c`",
    Cause.INTERNAL: "an error of our own, or of the TLS library",
    Cause.UNKNOWN: "what no table knows",
}
