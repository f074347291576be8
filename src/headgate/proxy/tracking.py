"""What happens to connections and requests, counted in the entries that they track (manual 11.1, the data types of `store`).

Each function is called only where something is tracked.
"""

from __future__ import annotations

from typing import Final

from headgate.base.termination import Outcome
from headgate.config.model import Mode
from headgate.plan.facts import Session, Stream
from headgate.plan.table_layout import ERROR, FAILURE, REQUEST, SESSION, Steps
from headgate.plan.tables import TrackedEntry, Tracks, all_tracked

_COMPLETE: Final = Outcome.COMPLETE  # a member of an enumeration is found through a descriptor
#: Errors that clients cause, and failures of servers, besides those that a status says. A server that breaks off in the middle of
#: a body is none, as sending the same through HAProxy shows.
_ERRORS: Final = frozenset({
    Outcome.REQUEST_ABORTED, Outcome.REQUEST_TIMEOUT, Outcome.REQUEST_INVALID, Outcome.DENIED, Outcome.TARPITTED,
})  # fmt: skip
_FAILURES: Final = frozenset({
    Outcome.RESPONSE_EMPTY, Outcome.RESPONSE_TIMEOUT, Outcome.RESPONSE_INVALID, Outcome.DATA_INVALID,
})  # fmt: skip


def session_begins(session: Session) -> None:
    """The rules for connections let it pass."""
    for entry in session.tracks or ():
        if entry is not None:
            entry.count(entry.table.layout.events[SESSION])


def request_arrives(session: Session) -> None:
    """A request began, valid or not: for what the session tracks. What the stream will track counts it then."""
    for entry in session.tracks or ():
        if entry is not None:
            entry.count(entry.table.layout.events[REQUEST])


def server_answers(stream: Stream, status: int) -> None:
    """A server's response has a status that counts."""
    for entry in all_tracked(stream):
        entry.count(entry.table.layout.answered(status))


def stream_ends(stream: Stream, outcome: Outcome) -> None:
    """Count what passed and how it ended; what the stream alone tracked is let go."""
    event: tuple[str, ...] | None = None
    if outcome is not _COMPLETE and stream.session.frontend.spec.mode is Mode.HTTP:
        event = ERROR if outcome in _ERRORS else FAILURE if outcome in _FAILURES else None
    entries, stream.tracks = stream.tracks, None
    for entry in entries or ():
        if entry is not None:
            entry.release(_last_steps(stream, entry, event))
    for entry in stream.session.tracks or ():
        if entry is not None:
            steps = _last_steps(stream, entry, event)
            if steps:
                entry.count(steps)


def _last_steps(stream: Stream, entry: TrackedEntry, event: tuple[str, ...] | None) -> Steps:
    layout = entry.table.layout
    steps = layout.bytes_passed(stream.bytes_in, stream.bytes_out)
    return steps if event is None else steps + layout.events[event]


def session_ends(tracks: Tracks) -> None:
    """Let go of what the session tracked."""
    for entry in tracks:
        if entry is not None:
            entry.release()
