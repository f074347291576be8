"""What happens to connections and requests, counted in the entries that they track (manual 11.1, the data types of `store`).

Each function is called only where something is tracked.
"""

from __future__ import annotations

from typing import Final

from headgate.base.termination import Outcome
from headgate.plan.facts import Session, Stream
from headgate.plan.table_layout import ERROR, FAILURE, REQUEST, SESSION
from headgate.plan.tables import Tracks, all_tracked

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
    own = stream.tracks or ()
    stream_entries = {id(entry) for entry in own}
    for entry in all_tracked(stream):
        layout = entry.table.layout
        steps = layout.bytes_passed(stream.bytes_in, stream.bytes_out)
        if stream.session.frontend.spec.mode.value == "http":
            if outcome in _ERRORS:
                steps += layout.events[ERROR]
            elif outcome in _FAILURES:
                steps += layout.events[FAILURE]
        if id(entry) in stream_entries:
            entry.release(steps)
        else:
            entry.count(steps)
    stream.tracks = None


def session_ends(tracks: Tracks) -> None:
    """Let go of what the session tracked."""
    for entry in tracks:
        if entry is not None:
            entry.release()
