"""Why TLS handshakes fail: the closed list of causes, with stable codes and numbers.

One row is one cause. Logs, fetches, counters, metrics, the runtime API and docs/handshake-causes.md all name a cause by its code.
Codes and numbers never change their meaning and are never used again; new causes get new numbers. How a cause is found is in
`tls.handshake_diagnosis`, what to do about it in `tls.handshake_advice`.

`client` and `server` in a code say whose certificate it is about. Causes without either are found in both directions: with
clients on bind lines, and with servers, where we are the client ourselves.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from headgate.base.termination import Blame

_NOBODY, _CLIENT, _SERVER, _PROXY, _ADMIN = Blame.NOBODY, Blame.CLIENT, Blame.SERVER, Blame.PROXY, Blame.ADMIN


class Gravity(enum.IntEnum):
    """How much a cause matters by default: the levels of syslog."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


_ERROR, _WARNING, _NOTICE, _INFO = Gravity.ERROR, Gravity.WARNING, Gravity.NOTICE, Gravity.INFO

#: Whose doing it is, where that depends on which side we are: the peer's.
_PEER = _CLIENT


class Cause(enum.Enum):
    """One cause: (number, code, gravity, blame, meaning).

    Attributes:
        number: stable, for compact storage and numeric fetches; 0 for none.
        code: stable, for people and rules.
        gravity: how much it matters by default.
        blame: who most likely has to change something. ADMIN is whoever runs this proxy; CLIENT stands for the peer in causes
            that both directions have.
        meaning: a sentence for the list of causes.
    """

    NONE = (0, "none", _INFO, _NOBODY, "The handshake succeeded, or is under way.")

    # Not failures.
    CLOSED_BEFORE_ANY_BYTE = (
        1, "closed-before-any-byte", _INFO, _NOBODY,
        "Connect and close: a port scan, a TCP health check, or a browser's spare connection. A probe, no failure.",
    )
    CLOSED_WITHOUT_REQUEST = (
        2, "closed-without-request", _INFO, _NOBODY,
        "The handshake was finished and the connection closed without a byte of a request, as layer-6 health checks do."
        " A probe, no failure.",
    )
    RESET_BEFORE_ANY_BYTE = (
        3, "reset-before-any-byte", _INFO, _NOBODY, "Connect and reset, as TCP health checks do. A probe, no failure.",
    )

    # Nothing in common.
    NO_COMMON_VERSION = (10, "no-common-version", _WARNING, _PEER, "Both sides have no TLS version in common.")
    NO_COMMON_CIPHER = (11, "no-common-cipher", _WARNING, _PEER, "No cipher suite that both sides allow fits the certificate.")
    NO_COMMON_GROUP = (12, "no-common-group", _WARNING, _PEER, "Both sides have no key exchange group (curve) in common.")
    NO_COMMON_SIGNATURE_ALGORITHM = (
        13, "no-common-signature-algorithm", _WARNING, _PEER,
        "The peer accepts no signature that the key of our certificate can make.",
    )
    NO_COMMON_PROTOCOL = (14, "no-common-alpn-protocol", _WARNING, _PEER, "Both sides have no ALPN protocol in common.")
    NO_CERTIFICATE_FOR_NAME = (
        15, "no-certificate-for-name", _NOTICE, _CLIENT,
        "The client asks for a name that no certificate matches, under strict-sni.",
    )
    NO_NAME_SENT = (16, "no-name-sent", _NOTICE, _CLIENT, "The client names no host (SNI), under strict-sni.")
    FALLBACK_REFUSED = (
        17, "fallback-refused", _NOTICE, _PEER,
        "The client retried with a lower version than it and we speak, and said so (RFC 7507): its first attempt was disturbed.",
    )
    KEY_TOO_WEAK = (18, "key-exchange-too-weak", _WARNING, _PEER, "The key exchange is too weak for the security level.")

    # The client ended it because of our certificate, by an alert.
    CLIENT_REJECTED_UNKNOWN_CA = (
        20, "client-rejected-certificate-unknown-ca", _WARNING, _ADMIN, "The client does not know the CA of our certificate.",
    )
    CLIENT_REJECTED_EXPIRED = (
        21, "client-rejected-certificate-expired", _ERROR, _ADMIN, "The client says that our certificate has expired.",
    )
    CLIENT_REJECTED_NAME = (
        22, "client-rejected-certificate-name", _WARNING, _ADMIN,
        "Our certificate does not cover the name that the client asked for.",
    )
    CLIENT_REJECTED_REVOKED = (
        23, "client-rejected-certificate-revoked", _ERROR, _ADMIN, "The client says that our certificate is revoked.",
    )
    CLIENT_REJECTED_BAD = (
        24, "client-rejected-certificate-bad", _WARNING, _ADMIN,
        "The client finds our certificate bad: a signature, its contents, or, with many clients, the name.",
    )
    CLIENT_REJECTED_UNSUPPORTED = (
        25, "client-rejected-certificate-unsupported", _WARNING, _ADMIN, "The client can't use our kind of certificate.",
    )
    CLIENT_REJECTED_UNKNOWN = (
        26, "client-rejected-certificate-unknown", _WARNING, _ADMIN,
        "The client does not accept our certificate and does not say why.",
    )
    CLIENT_REJECTED_STAPLE = (
        27, "client-rejected-certificate-status", _WARNING, _ADMIN,
        "The client does not accept the OCSP response that we stapled.",
    )
    CLIENT_REJECTED_ACCESS = (
        28, "client-denied-access", _NOTICE, _CLIENT, "The client trusts our certificate but is not allowed to go on.",
    )

    # Other alerts of the peer.
    PEER_REJECTED_PARAMETERS = (
        30, "peer-rejected-parameters", _WARNING, _PEER, "The peer found no acceptable parameters in our answer.",
    )
    PEER_REJECTED_VERSION = (
        31, "peer-rejected-version", _WARNING, _PEER, "The peer does not speak the TLS version that was chosen.",
    )
    PEER_WANTS_STRONGER = (
        32, "peer-wants-stronger-security", _WARNING, _PEER, "The peer wants stronger algorithms than were chosen.",
    )
    PEER_CANCELLED = (33, "peer-cancelled", _INFO, _PEER, "The user of the peer cancelled the handshake.")
    PEER_ALERT = (34, "peer-alert", _WARNING, _PEER, "The peer ended the handshake with another alert.")

    # The client's certificate.
    CLIENT_CERTIFICATE_MISSING = (
        40, "client-certificate-missing", _NOTICE, _CLIENT, "A client certificate is required, and none was sent.",
    )
    CLIENT_CERTIFICATE_EXPIRED = (41, "client-certificate-expired", _NOTICE, _CLIENT, "The client's certificate has expired.")
    CLIENT_CERTIFICATE_NOT_YET_VALID = (
        42, "client-certificate-not-yet-valid", _NOTICE, _CLIENT, "The client's certificate is not valid yet.",
    )
    CLIENT_CERTIFICATE_UNKNOWN_CA = (
        43, "client-certificate-unknown-ca", _NOTICE, _CLIENT, "The client's certificate is of a CA that ca-file does not have.",
    )
    CLIENT_CERTIFICATE_SELF_SIGNED = (
        44, "client-certificate-self-signed", _NOTICE, _CLIENT, "The client's certificate is self-signed.",
    )
    CLIENT_CERTIFICATE_REVOKED = (45, "client-certificate-revoked", _NOTICE, _CLIENT, "The client's certificate is revoked.")
    CLIENT_CERTIFICATE_CRL_EXPIRED = (
        46, "client-certificate-crl-expired", _ERROR, _ADMIN,
        "The CRL is out of date: no client certificate of its CA can be accepted.",
    )
    CLIENT_CERTIFICATE_CRL_MISSING = (
        47, "client-certificate-crl-missing", _ERROR, _ADMIN, "crl-file has no CRL of the CA of the client's certificate.",
    )
    CLIENT_CERTIFICATE_PURPOSE = (
        48, "client-certificate-wrong-purpose", _NOTICE, _CLIENT, "The client's certificate is not meant for clients.",
    )
    CLIENT_CERTIFICATE_CHAIN_TOO_LONG = (
        49, "client-certificate-chain-too-long", _NOTICE, _CLIENT, "The chain of the client's certificate is too long.",
    )
    CLIENT_CERTIFICATE_WEAK = (
        50, "client-certificate-too-weak", _NOTICE, _CLIENT, "A key or signature in the client's chain is too weak.",
    )
    CLIENT_CERTIFICATE_CA_EXPIRED = (
        51, "client-certificate-ca-expired", _ERROR, _ADMIN,
        "A CA above the client's certificate has expired or is not valid yet.",
    )
    CLIENT_CERTIFICATE_INVALID = (
        52, "client-certificate-invalid", _NOTICE, _CLIENT, "The client's certificate is not accepted otherwise.",
    )
    CLIENT_CERTIFICATE_PROOF = (
        53, "client-certificate-without-key", _WARNING, _CLIENT,
        "The client could not prove that it has the key of its certificate.",
    )
    CLIENT_CERTIFICATE_CRL_INVALID = (
        54, "client-certificate-crl-invalid", _ERROR, _ADMIN,
        "The CRL is not valid yet, or is not one of its CA: no client certificate of that CA can be accepted.",
    )

    # Not what is spoken here.
    PLAIN_HTTP = (60, "plain-http", _NOTICE, _PEER, "Plain HTTP on a TLS port.")
    NOT_TLS = (61, "not-tls", _NOTICE, _PEER, "What was received is not TLS at all.")
    PROXY_HEADER_EXPECTED = (
        62, "proxy-header-expected", _WARNING, _ADMIN, "The bind line expects a PROXY protocol header, and something else came.",
    )
    PROXY_HEADER_UNEXPECTED = (
        63, "proxy-header-unexpected", _WARNING, _ADMIN, "A PROXY protocol header came on a bind line that expects none.",
    )
    PROXY_HEADER_INVALID = (
        64, "proxy-header-invalid", _WARNING, _PEER, "The PROXY protocol header is truncated, too long or malformed.",
    )
    SSLV2_HELLO = (65, "sslv2-hello", _NOTICE, _PEER, "The client greets in the form of SSLv2.")
    SSLV3_HELLO = (66, "sslv3-hello", _NOTICE, _PEER, "The client speaks SSLv3 at most.")
    MALFORMED_HELLO = (67, "malformed-hello", _NOTICE, _PEER, "The ClientHello is malformed.")
    RECORD_TOO_LARGE = (68, "record-too-large", _NOTICE, _PEER, "A TLS record or handshake message is larger than allowed.")
    MALFORMED_MESSAGE = (69, "malformed-message", _NOTICE, _PEER, "A message of the handshake is malformed.")
    UNEXPECTED_MESSAGE = (70, "unexpected-message", _NOTICE, _PEER, "A message that has no place at this step of the handshake.")
    BAD_RECORD = (
        71, "bad-record", _WARNING, _PEER, "A record can't be deciphered: it was damaged, forged, or made with another key.",
    )
    MISSING_EXTENSION = (72, "missing-extension", _NOTICE, _PEER, "The ClientHello lacks an extension that its version requires.")
    RENEGOTIATION_REFUSED = (73, "renegotiation-refused", _NOTICE, _PEER, "The client wanted to negotiate again, which is off.")
    EARLY_DATA_REFUSED = (74, "early-data-refused", _NOTICE, _PEER, "Early data (0-RTT) came that can't be accepted.")
    RESUMPTION_FAILED = (75, "resumption-failed", _NOTICE, _PEER, "A session was presented that does not fit this connection.")
    UNSAFE_PEER = (76, "unsafe-legacy-peer", _NOTICE, _PEER, "The peer lacks secure renegotiation or extended master secret.")
    SERVER_WRONG_CHOICE = (77, "server-chose-what-was-not-offered", _WARNING, _SERVER, "The server chose what we did not offer.")

    # Nothing more came.
    CLOSED_IN_PROXY_HEADER = (80, "closed-in-proxy-header", _NOTICE, _PEER, "Closed before the whole PROXY header was there.")
    CLOSED_IN_CLIENT_HELLO = (81, "closed-in-client-hello", _NOTICE, _PEER, "Closed in the middle of the ClientHello.")
    CLOSED_AFTER_CLIENT_HELLO = (82, "closed-after-client-hello", _NOTICE, _PEER, "Closed after the ClientHello.")
    CLOSED_AFTER_CERTIFICATE = (
        83, "closed-after-certificate", _NOTICE, _PEER,
        "Closed without a word after the server's certificate was sent: most clients that reject a certificate silently do this.",
    )
    RESET_IN_PROXY_HEADER = (84, "reset-in-proxy-header", _NOTICE, _PEER, "Reset before the whole PROXY header was there.")
    RESET_IN_CLIENT_HELLO = (85, "reset-in-client-hello", _NOTICE, _PEER, "Reset in the middle of the ClientHello.")
    RESET_AFTER_CLIENT_HELLO = (86, "reset-after-client-hello", _NOTICE, _PEER, "Reset after the ClientHello.")
    RESET_AFTER_CERTIFICATE = (87, "reset-after-certificate", _NOTICE, _PEER, "Reset after the server's certificate was sent.")
    TIMEOUT_IN_PROXY_HEADER = (88, "timeout-in-proxy-header", _NOTICE, _PEER, "The PROXY header did not come in time.")
    TIMEOUT_BEFORE_ANY_BYTE = (89, "timeout-before-any-byte", _NOTICE, _PEER, "Not a byte came in time.")
    TIMEOUT_IN_CLIENT_HELLO = (90, "timeout-in-client-hello", _NOTICE, _PEER, "The rest of the ClientHello did not come in time.")
    TIMEOUT_AFTER_CLIENT_HELLO = (
        91, "timeout-after-client-hello", _NOTICE, _PEER, "No answer to the ClientHello, or to ours, in time.",
    )
    TIMEOUT_AFTER_CERTIFICATE = (
        92, "timeout-after-certificate", _NOTICE, _PEER, "No answer to the server's certificate in time.",
    )

    # The server's certificate, where we are the client.
    SERVER_CERTIFICATE_EXPIRED = (100, "server-certificate-expired", _ERROR, _SERVER, "The server's certificate has expired.")
    SERVER_CERTIFICATE_NOT_YET_VALID = (
        101, "server-certificate-not-yet-valid", _ERROR, _SERVER, "The server's certificate is not valid yet.",
    )
    SERVER_CERTIFICATE_UNKNOWN_CA = (
        102, "server-certificate-unknown-ca", _ERROR, _ADMIN, "The server's certificate is of a CA that ca-file does not have.",
    )
    SERVER_CERTIFICATE_SELF_SIGNED = (
        103, "server-certificate-self-signed", _ERROR, _ADMIN, "The server's certificate is self-signed.",
    )
    SERVER_CERTIFICATE_REVOKED = (104, "server-certificate-revoked", _ERROR, _SERVER, "The server's certificate is revoked.")
    SERVER_CERTIFICATE_CRL_EXPIRED = (
        105, "server-certificate-crl-expired", _ERROR, _ADMIN,
        "The CRL is out of date: no certificate of its CA can be accepted.",
    )
    SERVER_CERTIFICATE_CRL_MISSING = (
        106, "server-certificate-crl-missing", _ERROR, _ADMIN, "crl-file has no CRL of the CA of the server's certificate.",
    )
    SERVER_CERTIFICATE_PURPOSE = (
        107, "server-certificate-wrong-purpose", _ERROR, _SERVER, "The server's certificate is not meant for servers.",
    )
    SERVER_CERTIFICATE_CHAIN_TOO_LONG = (
        108, "server-certificate-chain-too-long", _ERROR, _SERVER, "The chain of the server's certificate is too long.",
    )
    SERVER_CERTIFICATE_WEAK = (
        109, "server-certificate-too-weak", _ERROR, _SERVER, "A key or signature in the server's chain is too weak.",
    )
    SERVER_CERTIFICATE_CA_EXPIRED = (
        110, "server-certificate-ca-expired", _ERROR, _ADMIN,
        "A CA above the server's certificate has expired or is not valid yet.",
    )
    SERVER_CERTIFICATE_NAME = (
        111, "server-certificate-wrong-name", _ERROR, _SERVER,
        "The server's certificate does not cover the name that is verified.",
    )
    SERVER_CERTIFICATE_INVALID = (
        112, "server-certificate-invalid", _ERROR, _SERVER, "The server's certificate is not accepted otherwise.",
    )
    SERVER_REQUIRES_CERTIFICATE = (
        113, "server-requires-certificate", _ERROR, _ADMIN, "The server requires a client certificate.",
    )
    SERVER_REJECTED_CERTIFICATE = (
        114, "server-rejected-certificate", _ERROR, _ADMIN, "The server does not accept our client certificate.",
    )
    SERVER_UNKNOWN_NAME = (
        115, "server-does-not-serve-name", _ERROR, _ADMIN, "The server does not serve the name that we asked for.",
    )
    SERVER_CERTIFICATE_CRL_INVALID = (
        116, "server-certificate-crl-invalid", _ERROR, _ADMIN,
        "The CRL is not valid yet, or is not one of its CA: no certificate of that CA can be accepted.",
    )

    # Ourselves.
    CONFIGURATION = (
        120, "configuration-error", _ERROR, _ADMIN, "Our own configuration can't work: no usable certificate, key or algorithm.",
    )
    INTERNAL = (122, "internal-error", _ERROR, _PROXY, "An error of our own, or of the TLS library.")
    UNKNOWN = (123, "unknown", _WARNING, _NOBODY, "None of the other causes; the TLS library's own words say more.")

    def __init__(self, number: int, code: str, gravity: Gravity, blame: Blame, meaning: str) -> None:
        self.number = number
        self.code = code
        self.gravity = gravity
        self.blame = blame
        self.meaning = meaning

    @property
    def probe(self) -> bool:
        """Whether it is no failure: counted apart, and not logged as one."""
        return 0 < self.number < 10


CAUSES: Final = tuple(Cause)
BY_CODE: Final = {cause.code: cause for cause in CAUSES}
BY_NUMBER: Final = {cause.number: cause for cause in CAUSES}
#: Length of a list that is indexed by the numbers of causes.
MOST: Final = 128


def causes_page() -> str:
    """docs/handshake-causes.md: the closed list, for people."""
    lines = [*_INTRODUCTION, "| code | number | severity | who | what it means |", "|---|---|---|---|---|"]
    for one in CAUSES[1:]:
        severity = "probe" if one.probe else one.gravity.name.lower()
        lines.append(f"| `{one.code}` | {one.number} | {severity} | {_WHO[one.blame]} | {one.meaning} |")
    return "\n".join(lines) + "\n"


#: Addresses that are told apart for one cause on one line. A greater number of them stands for "more than that".
ADDRESSES_KEPT: Final = 128


def from_addresses(sources: int) -> str:
    """` from 4 addresses`, "" where there are none."""
    if not sources:
        return ""
    number = f"more than {ADDRESSES_KEPT}" if sources > ADDRESSES_KEPT else str(sources)
    return f" from {number} address{'' if sources == 1 else 'es'}"


def similar_failures(count: int, sources: int) -> str:
    """`312 such failures from 4 addresses in the last hour.`, without addresses where there are none."""
    return f"{count} such failure{'' if count == 1 else 's'}{from_addresses(sources)} in the last hour."


_SIMILAR: Final = re.compile(r" \d+ such failures?(?: from (?:more than )?\d+ address(?:es)?)? in the last hour\.\Z")


def without_similar(advice: str) -> str:
    """An advice without the sentence about failures like it."""
    return _SIMILAR.sub("", advice)


_INTRODUCTION: Final = (
    "# Causes of failed handshakes",
    "",
    "This page is generated by `headgate handshake-causes --markdown`. The list is closed: each failed handshake has one of",
    "these causes, in the log, in `ssl_fc_cause`, in `show ssl handshakes` and in the metrics. Codes and numbers never change.",
    "",
    "*Severity* is the default; *who* is who most likely has to change something: the peer, or the administrator of this proxy.",
    "Probes are no failures: they are counted apart and not logged as such.",
    "",
)
_WHO: Final = {
    Blame.NOBODY: "nobody", Blame.CLIENT: "the peer", Blame.SERVER: "the server", Blame.PROXY: "this program",
    Blame.ADMIN: "the administrator",
}  # fmt: skip
