"""What is known of each certificate's response: the one on hand, attempts, the next one, the last failure.

One ledger in each process. The process that fetches keeps all of it; in workers only `response` counts. `admin` reads it through
`admin.context`.
"""

from __future__ import annotations

from collections.abc import Iterator

from headgate.base.records import dataclass, field
from headgate.tls.ocsp.failures import STATUS_TEXTS, Cause, Code, Failure
from headgate.tls.ocsp.response import Response, Status, Subject


class Staple:
    """What handshakes with a certificate staple; read by OpenSSL's callback, so it is plain.

    Attributes:
        der: the response, b"" without one.
        until: from when on it may not be used, seconds since the epoch.
        required: without a response a client that asks for one is refused (must-staple, where the operator wants it so).
    """

    __slots__ = ("__weakref__", "der", "required", "until")

    def __init__(self) -> None:
        self.der = b""
        self.until = 0.0
        self.required = False


@dataclass(slots=True)
class Entry:
    """One certificate.

    Attributes:
        digest: of the certificate (SHA-256, hexadecimal): what processes call it among themselves.
        paths: the files that it is in; the first is the one that answers call it by.
        leaf: the certificate, DER.
        subject: what responses are checked against; None as long as the issuer is not known.
        uris: of its responders; issuer_uris: where its issuer may be fetched.
        must_staple: see `certificate_id.must_staple`.
        updates: whether responses are fetched (`ocsp-update on`).
        staple: what handshakes use.
        response: the one on hand, which may have expired; None for none.
        successes, failures, in_a_row: attempts; failures since the last success.
        updated_at, next_at: when it was fetched last, and will be next, seconds since the epoch; None for never.
        code: status of the last attempt.
        cause: of the last failure, None after a success; `text` is what happened.
    """

    digest: str
    paths: list[str]
    leaf: bytes = b""
    subject: Subject | None = None
    uris: tuple[str, ...] = ()
    issuer_uris: tuple[str, ...] = ()
    must_staple: bool = False
    updates: bool = False
    staple: Staple = field(default_factory=Staple)
    response: Response | None = None
    successes: int = 0
    failures: int = 0
    in_a_row: int = 0
    updated_at: float | None = None
    next_at: float | None = None
    code: Code = Code.UNKNOWN
    cause: Cause | None = None
    text: str = ""

    @property
    def key(self) -> str:
        """The CertID in hexadecimal digits, "" as long as the issuer is not known."""
        return self.subject.id.key if self.subject is not None else ""

    @property
    def path(self) -> str:
        """What answers and log lines call it."""
        return self.paths[0]

    def put(self, response: Response) -> None:
        """Staple this response from now on."""
        self.response = response
        self.staple.der = response.der
        self.staple.until = response.expires

    def valid(self, now: float) -> Response | None:
        """The response on hand, if it may be stapled."""
        response = self.response
        return response if response is not None and response.is_valid(now) else None

    def succeeded(self, now: float) -> None:
        """Count an update that brought a response."""
        self.successes += 1
        self.in_a_row = 0
        self.updated_at = now
        self.code, self.cause, self.text = Code.SUCCESSFUL, None, ""

    def failed(self, failure: Failure) -> None:
        """Count an update that brought none."""
        self.failures += 1
        self.in_a_row += 1
        self.code, self.cause, self.text = failure.cause.code, failure.cause, failure.text

    def state(self, now: float) -> str:
        """`good`, `revoked`, `expired` or `missing`."""
        if self.response is None:
            return "missing"
        if not self.response.is_valid(now):
            return "expired"
        return "revoked" if self.response.status is Status.REVOKED else "good"

    def seconds_left(self, now: float) -> float:
        """How long the response on hand may be stapled, 0 without one."""
        return max(self.response.expires - now, 0.0) if self.response is not None else 0.0

    def explanation(self, now: float) -> str:
        """The last failure with what follows from it; "" after a success."""
        if self.cause is None:
            return ""
        parts = [self.text]
        if self.next_at is not None:
            parts.append(f"next in {span_text(self.next_at - now)}")
        left = self.seconds_left(now)
        if left:
            word = "response" if self.state(now) == "good" else "response (revoked)"
            parts.append(f"the {word} on hand is good for {span_text(left)}")
        elif self.response is None:
            parts.append("no response is on hand: nothing is stapled")
        else:
            parts.append("the response on hand has expired: nothing is stapled")
        parts.append(self.cause.advice)
        return "; ".join(parts)

    def status_text(self, now: float) -> str:
        """The status of the last update as `show ssl ocsp-updates` has it, with more between parentheses after a failure."""
        text = STATUS_TEXTS[self.code]
        explanation = self.explanation(now)
        return f"{text} ({explanation})" if explanation else text


class Ledger:
    """All entries, in the order of the configuration."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, digest: str) -> Entry | None:
        """The entry of a certificate."""
        return self._entries.get(digest)

    def of_key(self, key: str) -> Entry | None:
        """The entry with this CertID."""
        return next((one for one in self if one.key == key), None)

    def of_path(self, path: str) -> Entry | None:
        """The entry of the certificate in a file."""
        return next((one for one in self if path in one.paths), None)

    def add(self, entry: Entry) -> None:
        """Add one."""
        self._entries[entry.digest] = entry

    def remove(self, digest: str) -> None:
        """Forget one."""
        self._entries.pop(digest, None)


def span_text(seconds: float) -> str:
    """A span of time in words: one unit, rounded down."""
    left = max(int(seconds), 0)
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if left >= 2 * size or (left >= size and left % size == 0):
            return f"{left // size} {name}"
    return f"{left} s"
