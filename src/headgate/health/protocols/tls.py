"""`option ssl-hello-chk`: a ClientHello of today (RFC 8446 4.1.2) must be answered with a ServerHello.

Bytes only: no key is kept, nothing is verified, and the connection ends with an alert behind the server's first message. Where
the server's certificate matters, `check-ssl` makes a real handshake.
"""

from __future__ import annotations

from headgate.health.results import CheckStatus
from headgate.health.steps import Judgement, JudgeStep, RandomStep, Step, send

_HANDSHAKE, _ALERT = 0x16, 0x15
_SERVER_HELLO = 2
_LONGEST_SESSION = 32
#: RFC 8446 5.1, RFC 5246 6.2.3: longest record.
_LONGEST_RECORD = 16384 + 2048
#: Alert: the server wants a name that this check does not send (RFC 6066 3). It speaks TLS.
_UNRECOGNIZED_NAME = 112
_ALERTS = {
    10: "unexpected_message", 40: "handshake_failure", 47: "illegal_parameter", 50: "decode_error", 70: "protocol_version",
    71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 109: "missing_extension",
    120: "no_application_protocol",
}

#: TLS 1.3 suites, then ECDHE and RSA with AEAD, then CBC for old servers.
_CIPHER_SUITES = (
    0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC009, 0xC013, 0xC00A, 0xC014, 0x009C, 0x009D,
    0x002F, 0x0035,
)  # fmt: skip
_CLOSE_NOTIFY = b"\x15\x03\x03\x00\x02\x01\x00"


def _vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width, "big") + content


def _extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(2, content)


_EXTENSIONS = (
    _extension(10, _vector(2, b"\x00\x1d\x00\x17\x00\x18\x00\x19"))  # supported_groups: x25519, P-256, P-384, P-521
    + _extension(11, _vector(1, b"\x00"))  # ec_point_formats: uncompressed
    + _extension(13, _vector(2, bytes.fromhex("0403050306030807080408050806040105010601")))  # signature_algorithms
    + _extension(43, _vector(1, b"\x03\x04\x03\x03"))  # supported_versions: TLS 1.3, TLS 1.2
    + _extension(45, _vector(1, b"\x01"))  # psk_key_exchange_modes: psk_dhe_ke
    + _extension(23, b"")  # extended_master_secret
)


def client_hello(entropy: bytes) -> bytes:
    """A ClientHello for TLS 1.3 and 1.2 in a record that says 1.0, as RFC 8446 5.1 wants the first one.

    Any 32 bytes are a public key of x25519 (RFC 7748 5): the one here was never made of a private key, since no secret is needed.

    Args:
        entropy: 32 random bytes.
    """
    suites = b"".join(suite.to_bytes(2, "big") for suite in _CIPHER_SUITES)
    share = _extension(51, _vector(2, b"\x00\x1d" + _vector(2, bytes(reversed(entropy)))))
    hello = b"\x03\x03" + entropy + _vector(1, entropy[::-1]) + _vector(2, suites) + b"\x01\x00" + _vector(2, _EXTENSIONS + share)
    return b"\x16\x03\x01" + _vector(2, b"\x01" + _vector(3, hello))


def _alert(data: bytes) -> Judgement | None:
    if len(data) < 7:
        return None
    if data[6] == _UNRECOGNIZED_NAME:
        return Judgement(CheckStatus.L6OK)
    return Judgement(CheckStatus.L6RSP, None, f"TLS alert: {_ALERTS.get(data[6], data[6])}")


def judge(data: bytes, final: bool) -> Judgement | None:
    """A handshake record with a ServerHello of TLS 1.2 (or what 1.3 calls so) and a suite that was offered."""
    wrong = Judgement(CheckStatus.L6RSP, None, "not a TLS record")
    if data[0] not in (_HANDSHAKE, _ALERT) or data[1:2] not in (b"", b"\x03"):
        return wrong
    if data[0] == _ALERT:
        return _alert(data)
    if len(data) < 6:
        return None
    length = int.from_bytes(data[3:5], "big")
    if not 4 <= length <= _LONGEST_RECORD or data[5] != _SERVER_HELLO:
        return Judgement(CheckStatus.L6RSP, None, "not a TLS server hello")
    # version, random, session id, cipher suite: nothing of them may lie beyond the message
    unfit = Judgement(CheckStatus.L6RSP, None, "not an answer to our client hello")
    session = data[43] if len(data) > 43 else 0
    if data[9:10] not in (b"", b"\x03") or session > _LONGEST_SESSION:
        return unfit
    if len(data) < 46 + session:
        return None
    suite = int.from_bytes(data[44 + session : 46 + session], "big")
    return Judgement(CheckStatus.L6OK) if suite in _CIPHER_SUITES else unfit


def steps() -> tuple[Step, ...]:
    """The script."""
    hello = RandomStep(1, client_hello)
    answer = JudgeStep(2, judge, CheckStatus.L6TOUT, CheckStatus.L6RSP)
    return hello, answer, send(3, _CLOSE_NOTIFY)
