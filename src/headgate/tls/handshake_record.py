"""What is kept about a handshake, whether it succeeded or not: the seam between the TLS channel and those who explain failures.

Only facts here. A short human reason is made from them by `reason`.
"""

from __future__ import annotations

from headgate.base.diagnostics import Location
from headgate.tls.client_auth import Findings
from headgate.tls.openssl import TlsError
from headgate.wire.client_hello import ClientHello

#: Alert descriptions (RFC 8446 section 6, RFC 5246 section 7.2) that end handshakes.
ALERTS = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
    42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
    46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
    51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback",
    90: "user_canceled", 109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 115: "unknown_psk_identity", 116: "certificate_required",
    120: "no_application_protocol",
}  # fmt: skip

#: Names of protocol versions on the wire (RFC 8446 section 4.2.1 and those before).
VERSION_NAMES = {0x0002: "SSLv2", 0x0300: "SSLv3", 0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}

#: What an alert of the peer means for the one who runs the proxy.
_MEANS = {
    42: "it does not accept our certificate",
    43: "it can't use our kind of certificate",
    44: "it says that our certificate is revoked",
    45: "it says that our certificate has expired",
    46: "it does not accept our certificate",
    48: "it does not trust the CA of our certificate",
    40: "it found no common parameters",
    70: "it does not speak our TLS versions",
    71: "it wants stronger algorithms",
    112: "it does not serve that name",
    116: "it requires a certificate from us",
    120: "it speaks none of our ALPN protocols",
}


class HandshakeRecord:
    """One handshake.

    Attributes:
        completed: whether it succeeded.
        outgoing: we were the client (a server of a backend).
        sni: the name asked for.
        offered: protocol versions that the client offered, as far as its ClientHello was seen; empty: unknown.
        version, cipher: what was chosen; "" when it did not come to that.
        error: OpenSSL's own words, "" on success.
        alert: number of the alert that the peer sent, None for none.
        verify_error: OpenSSL's number for what is wrong with the peer's certificate, 0 for nothing.
        findings: what the verification of a client's certificates met, None when it met nothing.
        location: the bind or server line whose options applied.
        lowest: lowest version that we speak, for explanations.
    """

    __slots__ = (
        "alert", "cipher", "completed", "error", "findings", "location", "lowest", "offered", "outgoing", "sni", "verify_error",
        "version",
    )

    def __init__(self, *, outgoing: bool) -> None:
        self.completed = False
        self.outgoing = outgoing
        self.sni: bytes | None = None
        self.offered: tuple[str, ...] = ()
        self.version = ""
        self.cipher = ""
        self.error = ""
        self.alert: int | None = None
        self.verify_error = 0
        self.findings: Findings | None = None
        self.location: Location | None = None
        self.lowest = ""

    def failed(self, error: TlsError) -> None:
        """Take over what OpenSSL says."""
        self.error = error.text
        self.alert = error.alert

    def heard(self, hello: ClientHello) -> None:
        """Take over what the client offered. Invented versions (GREASE, RFC 8701) are left out."""
        self.offered = tuple(VERSION_NAMES[one] for one in sorted(hello.versions) if one in VERSION_NAMES)
        self.sni = hello.sni

    @property
    def reason(self) -> str:
        """Why it failed, in a sentence for the log."""
        peer = "server" if self.outgoing else "client"
        if self.alert is not None:
            name = ALERTS.get(self.alert, f"alert {self.alert}")
            means = _MEANS.get(self.alert)
            return f"the {peer} ended the handshake with alert {name}" + (f": {means}" if means else "")
        explain = _EXPLAINED.get(self.error)
        return explain.format(peer=peer, **self._details(peer)) if explain is not None else f"{self.error} (with the {peer})"

    def _details(self, peer: str) -> dict[str, str]:
        offered = f"the {peer}'s versions ({', '.join(self.offered)})" if self.offered else f"the {peer}'s TLS versions"
        where = f" ({self.location.short})" if self.location is not None else ""
        verify = _VERIFY.get(self.verify_error, f"verification error {self.verify_error}")
        name = self.sni.decode("ascii", "backslashreplace") if self.sni else ""
        return {
            "offered": offered, "lowest": self.lowest or "TLSv1.2", "where": where, "verify": verify,
            "asked": f"the name {name!r}" if name else "no name",
        }  # fmt: skip


#: OpenSSL's reason -> our sentence.
_EXPLAINED = {
    "unsupported protocol": "{offered} don't meet ssl-min-ver {lowest}{where}",
    "version too low": "{offered} don't meet ssl-min-ver {lowest}{where}",
    "no shared cipher": "the {peer} offers no cipher that the certificate and `ciphers` allow{where}",
    "no suitable signature algorithm": "the {peer} offers no signature algorithm that fits the certificate{where}",
    "no suitable key share": "the {peer} offers no group that `curves` allows{where}",
    "no suitable groups": "the {peer} offers no group that `curves` allows{where}",
    "peer did not return a certificate": "the client sent no certificate and verify required is set{where}",
    "certificate verify failed": "the {peer}'s certificate is not accepted: {verify}{where}",
    "callback failed": "the client asked for {asked}, which no certificate matches, and strict-sni is set{where}",
    "clienthello tlsext": "the client asked for {asked}, which no certificate matches, and strict-sni is set{where}",
    "http request": "the client speaks plain HTTP to a TLS port{where}",
    "https proxy request": "the client speaks plain HTTP to a TLS port{where}",
    "wrong version number": "the {peer} does not speak TLS on this port{where}",
    "packet length too long": "the {peer} does not speak TLS on this port{where}",
    "unknown protocol": "the {peer} does not speak TLS on this port{where}",
    "no application protocol": "the {peer} speaks none of the alpn protocols{where}",
    "connection closed by the peer": "the {peer} closed the connection during the handshake",
}  # fmt: skip

#: Verification results (x509_vfy.h), the ones that operators meet.
_VERIFY = {
    2: "its issuer is not in ca-file",
    7: "its signature is wrong",
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed and not in ca-file",
    19: "its chain ends in a self-signed CA that is not in ca-file",
    20: "its issuer is not in ca-file",
    21: "its chain is incomplete: the peer must send the intermediate CA",
    23: "it is revoked",
    24: "its issuer is not a CA",
    26: "it is not meant for this purpose (extended key usage)",
    62: "it is not valid for the name we asked for",
    64: "it is not valid for the address we asked for",
    66: "its key is too short for the security level",
    67: "its CA's key is too short for the security level",
    68: "its signature algorithm is too weak for the security level",
}
