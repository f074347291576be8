"""Check conversations: what is sent to a server and how its answer is judged (manual 4.2: option httpchk, ssl-hello-chk).

Pure: bytes in, bytes and a verdict out. A *script* lives for one check; `runtime.checks` opens the connection, sends
`request`, feeds what arrives and stops at the first verdict. Not here: connecting, TLS, the PROXY header, timeouts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from headgate.base.records import dataclass
from headgate.config.model import CheckSpec
from headgate.health.results import CheckResult, CheckStatus, printable
from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.framing import CHUNKED, UNTIL_CLOSE, response_framing
from headgate.wire.http1.heads import ResponseHead, parse_response_head

#: What is kept of an answer; the rest is not looked at (manual, tune.bufsize: patterns are searched in one buffer).
LONGEST_ANSWER = 16384


class Script(Protocol):
    """One check's conversation.

    Attributes:
        request: what to send once the connection stands, b"" for nothing.
        farewell: what to send before closing.
        timeout_status: the status when no verdict comes in time.
    """

    request: bytes
    farewell: bytes
    timeout_status: CheckStatus

    def received(self, data: bytes) -> CheckResult | None:
        """Take what arrived; a result ends the check."""

    def closed(self) -> CheckResult:
        """The server closed the connection: no more will come."""


def script_for(spec: CheckSpec) -> Callable[[bytes], Script] | None:
    """A maker of scripts for a backend's checks; compiled once, called for each check with 32 random bytes.

    Returns:
        None when the check is over as soon as the connection stands.

    Raises:
        ValueError: the pattern of `http-check expect` is not one (checked when the configuration is read).
    """
    if spec.kind == "http":
        judge = judge_for(spec)
        request = http_request(spec)
        method = spec.method.encode("ascii")
        return lambda entropy: HttpScript(request, method, judge)
    if spec.kind == "ssl-hello":
        return SslHelloScript
    return None


# --- option httpchk --------------------------------------------------------------------------------------------------


def http_request(spec: CheckSpec) -> bytes:
    """The request of an HTTP check, complete.

    `Connection: close` is always sent: a check's connection serves one exchange (and so does an HTTP/1.1 server know it).
    """
    names = {name.lower() for name, _ in spec.headers}
    lines = [f"{spec.method} {spec.uri} {spec.version}"]
    lines += [f"{name}: {value}" for name, value in spec.headers]
    if spec.body and "content-length" not in names:
        lines.append(f"content-length: {len(spec.body)}")
    if "connection" not in names:
        lines.append("connection: close")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + spec.body


@dataclass(frozen=True, slots=True)
class Judge:
    """How an HTTP answer is judged.

    Attributes:
        status: what a status code is worth, None: not by its status.
        body: what a (decoded) body is worth, None: the body is not read.
        negated: the body must not match, so it must be read to its end.
        disable_on_404: 404 asks for no new sessions, whatever else is expected.
    """

    status: Callable[[int], bool] | None
    body: Callable[[bytes], bool] | None
    negated: bool
    disable_on_404: bool


def judge_for(spec: CheckSpec) -> Judge:
    """Compile `http-check expect` and `disable-on-404`."""
    if spec.expect is None:
        return Judge(lambda code: 200 <= code <= 399, None, False, spec.disable_on_404)
    negated, what, pattern = spec.expect
    if what not in _EXPECTATIONS:
        raise ValueError(f"unknown match '{what}': one of {', '.join(_EXPECTATIONS)}")
    status, body = _EXPECTATIONS[what](pattern)
    if status is not None and negated:
        wanted = status
        return Judge(lambda code: not wanted(code), None, True, spec.disable_on_404)
    return Judge(status, body, negated, spec.disable_on_404)


_Expectation = tuple[Callable[[int], bool] | None, Callable[[bytes], bool] | None]


def _status_list(pattern: str) -> _Expectation:
    ranges = []
    for part in pattern.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ValueError(f"'{part}' is neither a status code nor a range of them")
        ranges.append((int(low), int(high) if dash else int(low)))
    return (lambda code: any(low <= code <= high for low, high in ranges)), None


def _compiled(pattern: str) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern.encode("utf-8", "surrogateescape"))
    except re.error as error:
        raise ValueError(f"'{pattern}' is not a regular expression: {error}") from None


def _status_regex(pattern: str) -> _Expectation:
    search = _compiled(pattern).search
    return (lambda code: search(b"%d" % code) is not None), None


def _body_string(pattern: str) -> _Expectation:
    wanted = pattern.encode("utf-8", "surrogateescape")
    return None, lambda body: wanted in body


def _body_regex(pattern: str) -> _Expectation:
    search = _compiled(pattern).search
    return None, lambda body: search(body) is not None


_EXPECTATIONS: dict[str, Callable[[str], _Expectation]] = {
    "status": _status_list,
    "rstatus": _status_regex,
    "string": _body_string,
    "rstring": _body_regex,
}


class HttpScript:
    """One HTTP check: a request, and an answer of which at most `LONGEST_ANSWER` bytes are looked at."""

    __slots__ = ("_data", "_framing_length", "_head", "_judge", "_method", "_start", "farewell", "request", "timeout_status")

    def __init__(self, request: bytes, method: bytes, judge: Judge) -> None:
        self.request = request
        self.farewell = b""
        self.timeout_status = CheckStatus.L7TOUT
        self._judge = judge
        self._method = method
        self._data = bytearray()
        self._head: ResponseHead | None = None
        self._framing_length = 0
        self._start = 0

    def received(self, data: bytes) -> CheckResult | None:
        """See `Script.received`."""
        self._data += data[: LONGEST_ANSWER - len(self._data)]
        if self._head is None:
            try:
                result = self._read_head()
            except ProtocolViolation as violation:
                return CheckResult(CheckStatus.L7RSP, None, printable(violation.reason))
            if result is not None or self._head is None:
                return result
        return self._judge_body(final=len(self._data) >= LONGEST_ANSWER)

    def closed(self) -> CheckResult:
        """See `Script.closed`."""
        if self._head is not None:
            result = self._judge_body(final=True)
            if result is not None:
                return result
        info = "connection closed before a complete response" if self._data else "connection closed without a response"
        return CheckResult(CheckStatus.L7RSP, None, info)

    def _read_head(self) -> CheckResult | None:
        """Read the final response's head; a result when the status alone decides."""
        while True:
            if not b"HTTP/1.".startswith(self._data[:7]):
                raise ProtocolViolation("not an HTTP/1 response")
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                if len(self._data) >= LONGEST_ANSWER:
                    raise ProtocolViolation("response head too long")
                return None
            head = parse_response_head(bytes(self._data[:end]))
            if head.status >= 200 or head.status == 101:
                break
            del self._data[: end + 4]  # an interim response (RFC 9110 15.2)
        if self._judge.disable_on_404 and head.status == 404:
            return CheckResult(CheckStatus.L7OKC, 404, _phrase(head))
        if self._judge.status is not None:
            status = CheckStatus.L7OK if self._judge.status(head.status) else CheckStatus.L7STS
            return CheckResult(status, head.status, _phrase(head))
        self._head = head
        self._framing_length = response_framing(head, self._method).length
        self._start = end + 4
        return None

    def _judge_body(self, *, final: bool) -> CheckResult | None:
        head, matches = self._head, self._judge.body
        if head is None or matches is None:
            return None
        body, complete = _body(bytes(self._data[self._start :]), self._framing_length)
        found = matches(body)
        if self._judge.negated:
            if found:
                return CheckResult(CheckStatus.L7RSP, head.status, "content matched the pattern that must not match")
            if complete or final:
                return CheckResult(CheckStatus.L7OK, head.status, _phrase(head))
            return None
        if found:
            return CheckResult(CheckStatus.L7OK, head.status, _phrase(head))
        if complete or final:
            return CheckResult(CheckStatus.L7RSP, head.status, "content did not match the pattern")
        return None


def _phrase(head: ResponseHead) -> str:
    return printable(head.reason.decode("latin-1"))


_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")


def _body(data: bytes, length: int) -> tuple[bytes, bool]:
    """The body's bytes so far and whether it is complete."""
    if length == UNTIL_CLOSE:
        return data, False
    if length != CHUNKED:
        return data[:length], len(data) >= length
    parts: list[bytes] = []
    position = 0
    while (match := _CHUNK_SIZE.match(data, position)) is not None:
        size = int(match[1], 16)
        if size == 0:
            return b"".join(parts), True
        parts.append(data[match.end() : match.end() + size])
        position = match.end() + size + 2
    return b"".join(parts), False


# --- option ssl-hello-chk --------------------------------------------------------------------------------------------

_HANDSHAKE, _ALERT = 0x16, 0x15
_SERVER_HELLO = 2
#: RFC 5246 6.2.3: longest record.
_LONGEST_RECORD = 16384 + 2048

#: What a server of any age can pick from: ECDHE and RSA with AEAD, then CBC, then what SSLv3 knew.
_CIPHER_SUITES = (
    0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC009, 0xC013, 0xC00A, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035, 0x000A,
    0x0005, 0x0004,
)  # fmt: skip


def _vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width, "big") + content


def _extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(2, content)


_EXTENSIONS = (
    _extension(10, _vector(2, b"\x00\x1d\x00\x17\x00\x18\x00\x19"))  # supported_groups: x25519, P-256, P-384, P-521
    + _extension(11, _vector(1, b"\x00"))  # ec_point_formats: uncompressed
    + _extension(13, _vector(2, bytes.fromhex("04030503060308040805080604010501060102030201")))
)


def client_hello(entropy: bytes) -> bytes:
    """An old-style ClientHello in an SSLv3 record that servers of today answer too.

    The record says SSLv3 and the hello offers everything from SSLv3 to TLS 1.2 (RFC 5246 E.1), so an old server answers with what
    it knows and a new one with a real ServerHello instead of an alert.

    Args:
        entropy: 32 random bytes.
    """
    suites = b"".join(suite.to_bytes(2, "big") for suite in _CIPHER_SUITES)
    hello = b"\x03\x03" + entropy + b"\x00" + _vector(2, suites) + b"\x01\x00" + _vector(2, _EXTENSIONS)
    return b"\x16\x03\x00" + _vector(2, b"\x01" + _vector(3, hello))


class SslHelloScript:
    """One `option ssl-hello-chk`: alive is who answers with a TLS handshake or alert record."""

    __slots__ = ("_data", "farewell", "request", "timeout_status")

    def __init__(self, entropy: bytes) -> None:
        self.request = client_hello(entropy)
        self.farewell = b"\x15\x03\x00\x00\x02\x01\x00"  # alert: close_notify
        self.timeout_status = CheckStatus.L6TOUT
        self._data = b""

    def received(self, data: bytes) -> CheckResult | None:
        """See `Script.received`."""
        self._data = seen = (self._data + data)[:6]
        if seen[0] not in (_HANDSHAKE, _ALERT) or seen[1:2] not in (b"", b"\x03"):
            return CheckResult(CheckStatus.L6RSP, None, "not a TLS record")
        if len(seen) < 6:
            return None
        if int.from_bytes(seen[3:5], "big") > _LONGEST_RECORD or (seen[0] == _HANDSHAKE and seen[5] != _SERVER_HELLO):
            return CheckResult(CheckStatus.L6RSP, None, "not a TLS server hello")
        return CheckResult(CheckStatus.L6OK)

    def closed(self) -> CheckResult:
        """See `Script.closed`."""
        return CheckResult(CheckStatus.L6RSP, None, "connection closed before a server hello")
