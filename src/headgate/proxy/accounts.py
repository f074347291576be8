"""What the end of a stream adds to the counters: one table from outcome to columns (management manual 9.1).

What each row says was found by sending the same traffic through HAProxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headgate.balance.server import ServerState
from headgate.base.termination import Outcome
from headgate.config.model import ProxyKind
from headgate.observe.counters import ListenerCounters, ProcessCounters, ProxyCounters, ServerCounters
from headgate.plan.facts import TlsFacts
from headgate.proxy.sides import Backend, Frontend
from headgate.wire.hello_extensions import has_ticket

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord

_CONNECT: Final = ("connection_errors",)
_RESPONSE: Final = ("response_errors",)
_BY_CLIENT: Final = ("aborted_by_client",)
_BY_SERVER: Final = ("aborted_by_server",)

#: What the backend counts, and the server too when the stream had one.
_BACKEND: Final[dict[Outcome, tuple[str, ...]]] = {
    Outcome.QUEUE_TIMEOUT: _CONNECT,
    Outcome.QUEUE_FULL: _CONNECT,
    Outcome.NO_SERVER: _CONNECT,
    Outcome.CONNECT_FAILED: _CONNECT,
    Outcome.CONNECT_TIMEOUT: _CONNECT,
    Outcome.NO_RESOURCE: _CONNECT,
    Outcome.CONNECT_ABORTED: _BY_CLIENT,
    Outcome.RESPONSE_ABORTED_BY_CLIENT: _BY_CLIENT,
    Outcome.RESPONSE_CLIENT_TIMEOUT: _BY_CLIENT,
    Outcome.RESPONSE_EMPTY: _RESPONSE,
    Outcome.RESPONSE_TIMEOUT: _RESPONSE,
    Outcome.RESPONSE_INVALID: _RESPONSE,
    Outcome.RESPONSE_DENIED: ("denied_responses",),
    Outcome.DATA_ABORTED_BY_CLIENT: _BY_CLIENT,
    Outcome.DATA_CLIENT_TIMEOUT: _BY_CLIENT,
    Outcome.LAST_DATA_ABORTED: _BY_CLIENT,
    Outcome.LAST_DATA_TIMEOUT: _BY_CLIENT,
    Outcome.DATA_ABORTED_BY_SERVER: (*_BY_SERVER, *_RESPONSE),
    Outcome.SERVER_WENT_DOWN: _BY_SERVER,
    Outcome.SERVER_WENT_DOWN_BEFORE_RESPONSE: _BY_SERVER,
    Outcome.DATA_SERVER_TIMEOUT: _BY_SERVER,
    Outcome.DATA_INVALID: (*_BY_SERVER, *_RESPONSE),
}

#: What the frontend and its listener count.
_FRONTEND: Final[dict[Outcome, str]] = {
    Outcome.REQUEST_ABORTED: "request_errors",
    Outcome.REQUEST_TIMEOUT: "request_errors",
    Outcome.REQUEST_INVALID: "request_errors",
    Outcome.DENIED: "denied_requests",
    Outcome.TARPITTED: "denied_requests",
    Outcome.RESPONSE_DENIED: "denied_responses",
}

_LOCAL_REPLY: Final = Outcome.LOCAL_REPLY  # on the hot path, see `exchange`

_Counters = ProxyCounters | ServerCounters | ListenerCounters


def _add(counters: _Counters | None, column: str) -> None:
    if counters is not None:
        setattr(counters, column, getattr(counters, column) + 1)


def count_end(
    outcome: Outcome, side: Frontend, listener: ListenerCounters | None, link: Backend | None, server: ServerState | None
) -> None:
    """Count a stream that did not simply complete.

    Args:
        outcome: how it ended.
        side: its frontend.
        listener: of its listening socket, with `option socket-stats`.
        link: its backend, None when it ended before one was chosen.
        server: the server that it was sent to, or was to be.
    """
    if link is None and outcome is _LOCAL_REPLY:
        side.counters.intercepted += 1
        return
    column = _FRONTEND.get(outcome)
    if column is not None:
        _add(side.counters, column)
        _add(listener, column)
    if link is None:
        if outcome is Outcome.NO_SERVER:
            # There was no backend at all: the frontend's own fault.
            side.counters.request_errors += 1
        return
    if outcome is Outcome.DENIED or outcome is Outcome.TARPITTED:
        link.counters.denied_requests += 1
        return
    for column in _BACKEND.get(outcome, ()):
        _add(link.counters, column)
        if server is not None:
            _add(server.counters, column)


def count_handshake(tls: TlsFacts, *touched: _Counters | None) -> None:
    """Count a finished TLS handshake, abbreviated or full, for each of these that is there."""
    resumed = tls.resumed
    for counters in touched:
        if counters is not None:
            if resumed:
                counters.tls_reused += 1
            else:
                counters.tls_full += 1


#: Where a ClientHello has the length of its session's number: behind the headers of record and message, version and random bytes.
_SESSION_ID_AT: Final = 43


def count_lookup(counters: ProcessCounters, record: HandshakeRecord) -> None:
    """Count a session that a client asked for by its number (up to TLS 1.2, without a ticket), and whether it was there.

    Args:
        counters: of the process.
        record: of the finished handshake. With TLS 1.3 the number only is there to please middleboxes.
    """
    data = record.first_bytes
    if record.version == "TLSv1.3" or len(data) <= _SESSION_ID_AT or not data[_SESSION_ID_AT]:
        return
    if not has_ticket(data):
        counters.tls_cache_lookups += 1
        if not record.resumed:
            counters.tls_cache_misses += 1


def own_backend(side: Frontend) -> Backend | None:
    """The backend half of a `listen` section: until another one is chosen, a stream's bytes are counted there too."""
    return side.shared.backends.get(side.name) if side.spec.kind is ProxyKind.LISTEN else None
