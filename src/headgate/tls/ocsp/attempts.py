"""The attempts of one update, summed up in one failure: what went wrong, over which way, how often.

Pure: `runtime.ocsp.fetcher` collects attempts and asks which address to try next.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.base.records import dataclass
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.failures import Cause, Failure

#: A later one came further: its cause says more.
_PROGRESS = (
    failures.DNS, failures.CONNECT, failures.TIMEOUT, failures.TLS, failures.BROKEN, failures.PROTOCOL, failures.HTTP_STATUS,
    failures.REDIRECTS, failures.TOO_LARGE, failures.CONTENT_TYPE, failures.GARBAGE,
)  # fmt: skip
#: What a responder would say again: it is not asked again at once, at the same address.
_PASSING = frozenset({
    failures.DNS, failures.CONNECT, failures.TIMEOUT, failures.TLS, failures.BROKEN, failures.PROTOCOL, failures.HTTP_STATUS,
    failures.INTERNAL,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that failed.

    Attributes:
        host: the responder's name, or the proxy's.
        way: "IPv6" or "IPv4" for an address, "" where none was reached.
        cause: why; text: in words.
        retry_after: see `Failure`.
    """

    host: str
    way: str
    cause: Cause
    text: str
    retry_after: float | None = None

    @property
    def may_pass(self) -> bool:
        """Whether the same thing, tried again soon, may succeed."""
        return self.cause in _PASSING and not (self.retry_after or 0.0) > 5.0


def summed_up(attempts: Sequence[Attempt], tries: int) -> Failure:
    """One failure for all of them.

    Args:
        attempts: in their order, at least one.
        tries: requests that were begun.
    """
    cause = max((one.cause for one in attempts), key=_progress)
    hosts = list(dict.fromkeys(one.host for one in attempts))
    parts = []
    for host in hosts:
        texts = list(dict.fromkeys(one.text for one in attempts if one.host == host))
        said = [_over(text, [one.way for one in attempts if one.host == host and one.text == text]) for text in texts]
        parts.append(f"{host}: {', '.join(said)}" if len(hosts) > 1 else ", ".join(said))
    count = f", {tries} tries" if tries > 1 else ""
    waits = [one.retry_after for one in attempts if one.retry_after is not None]
    return Failure(cause, "; ".join(parts) + count, max(waits) if waits else None)


def _progress(cause: Cause) -> int:
    return _PROGRESS.index(cause) if cause in _PROGRESS else len(_PROGRESS)


def _over(text: str, ways: Sequence[str]) -> str:
    known = sorted({way for way in ways if way}, reverse=True)
    if not known:
        return text
    return f"{text} over both IPv6 and IPv4" if len(known) == 2 else f"{text} over {known[0]}"
