"""What becomes of a client's TLS handshake when it is over: kept, counted by cause, counted in stick tables, logged.

Called by arrivals, and by sessions whose client left before it asked for anything: in TLS 1.3 a client may reject our certificate
when the handshake is over for us. A flood of failures of one kind is folded into a line now and then. This is loaded with every
configuration, and so loads nothing of `tls`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from headgate.base.connection_errors import ConnectionFailure
from headgate.base.handshake_causes import from_addresses, similar_failures, without_similar
from headgate.observe.handshakes import FOLDING_PERIOD, Folding, HandshakeLog
from headgate.plan.facts import Stream
from headgate.plan.table_layout import TLS_FAILURE
from headgate.proxy.services import Reminder

if TYPE_CHECKING:
    from headgate.observe.counters import ListenerCounters
    from headgate.plan.facts import Session
    from headgate.proxy.sides import Frontend
    from headgate.tls.handshake_record import HandshakeRecord

_HANDSHAKE: Final = ConnectionFailure.SSL_HANDSHAKE
#: By which clients up to TLS 1.2 leave when we decline another handshake: handshake_failure and no_renegotiation.
_DECLINED: Final = (40, 100)


def handshake_completed(side: Frontend, record: HandshakeRecord) -> None:
    """Keep a success."""
    side.shared.handshakes.succeeded(record)


def handshake_failed(
    side: Frontend,
    session: Session,
    record: HandshakeRecord,
    failure: ConnectionFailure,
    counted: ListenerCounters | None,
    *,
    track: bool = False,
) -> None:
    """Keep, count and log a failure. A probe is counted as one, and logged only where null connections are.

    Args:
        side: the frontend.
        session: the client's.
        record: complete, but for the proxy's name.
        failure: in HAProxy's words.
        counted: counters of the listening socket, if it has some.
        track: the rules for sessions, which track clients, have not run and will not, and the client's address is known.
    """
    shared = side.shared
    shared.handshakes.failed(record, shared.scheduler.wall)
    session.error_code = failure.number
    session.error_text = failure.message
    if record.probe:
        if not record.finished and not side.dont_log_null:
            session.error_text = f"{failure.message} ({record.reason})"
            side.write_failure(session, quiet=True)
        return
    shared.counters.tls_failures += 1
    side.counters.tls_failed += 1
    if counted is not None:
        counted.tls_failed += 1
    rules = side.plan.failure_tracking
    if track and rules is not None:
        rules(Stream(session))
    for entry in session.tracks or ():
        if entry is not None:
            entry.count(entry.table.layout.events[TLS_FAILURE])
    folding = shared.handshakes.folding(record)
    if folding.admits(record.client, shared.scheduler.now):
        # Advice costs a look through names and certificates: in a flood it is not worked out for each.
        session.error_text = f"{failure.message} ({record.reason})"
        side.write_failure(session)
    elif folding.folded == 1:
        line = FoldedLine(side, record, failure, folding)
        shared.handshakes.due[line] = None
        shared.scheduler.arm(line, shared.scheduler.now + FOLDING_PERIOD)


def handshake_unused(side: Frontend, session: Session, record: HandshakeRecord, counted: ListenerCounters | None) -> bool:
    """A client left after the handshake, before it had sent anything.

    Returns:
        Whether the handshake failed after all, and so was all that there is to be said: the client sent an alert. Otherwise it
        was a probe, which is counted.
    """
    if renegotiation_refused(side, session, record, counted):
        return True
    if record.late is not None and record.late.alert:
        _failed_late(side, session, record, _HANDSHAKE, counted)
        return True
    record.late = None
    record.unused()
    side.shared.handshakes.probed(record, side.shared.scheduler.wall)
    return False


def renegotiation_refused(side: Frontend, session: Session, record: HandshakeRecord, counted: ListenerCounters | None) -> bool:
    """A client is gone, whatever it had asked for before.

    Returns:
        Whether it left because it wanted another handshake and did not get one, which is a failure of the handshake that it had.
    """
    late = record.late
    if late is None or late.alert not in _DECLINED or record.version == "TLSv1.3":
        return False
    _failed_late(side, session, record, ConnectionFailure.SSL_RENEG, counted)
    return True


def _failed_late(
    side: Frontend, session: Session, record: HandshakeRecord, failure: ConnectionFailure, counted: ListenerCounters | None
) -> None:
    """The handshake of a record that was kept as a success failed after all."""
    late, record.late = record.late, None
    if late is not None:
        record.failed(late)
    side.shared.handshakes.successes.discard(record)
    handshake_failed(side, session, record, failure, counted)


def write_due(log: HandshakeLog) -> None:
    """The process ends: what was folded together is logged now."""
    for line in list(log.due):
        line.write()


class FoldedLine:
    """One log line for many failures, written when the period is over, or the process.

    Args:
        side: whose log it is.
        record: of the first one.
        failure: in HAProxy's words.
        folding: counts them.
    """

    __slots__ = ("_failure", "_folding", "_record", "_side", "_since", "armed", "deadline")

    def __init__(self, side: Frontend, record: HandshakeRecord, failure: ConnectionFailure, folding: Folding) -> None:
        self._side = side
        self._record = record
        self._failure = failure
        self._folding = folding
        self._since = side.shared.scheduler.now
        self.armed: Reminder | None = None
        self.deadline = 0.0

    def timed_out(self) -> None:
        """The reactor's call."""
        self.write()

    def write(self) -> None:
        """See `observe.handshakes.Summary`."""
        side, record = self._side, self._record
        shared = side.shared
        shared.handshakes.due.pop(self, None)
        shared.scheduler.retire(self)
        now = shared.scheduler.now
        count, sources = self._folding.take(now)
        # What the record knows of others like it was so before the flood.
        similar = similar_failures(*shared.handshakes.similar(record, shared.scheduler.wall))
        side.write_note(
            f"{record.proxy}/{record.line_name}: {self._failure.message}: {count} more in the last"
            f" {max(math.ceil(now - self._since), 1)} s{from_addresses(sources)} ({without_similar(record.reason)} {similar})"
        )
