"""A TLS connection as the machines see it: OpenSSL on a non-blocking socket under the reactor. The plain twin is `channel`.

It begins in its handshake: the owner hears `handshake_completed`, or `connection_lost(Lost.HANDSHAKE)` with the reason in
`failure`. From then on it is a channel like any other. OpenSSL is called on the descriptor itself, with the binding's functions
(see `tls.openssl`); it may want to write in order to read and the other way round, which `_interest` turns into epoll events.

Here are the handshake and the data. How a connection ends is in `tls_ending`, what is different about servers in
`tls_server_side`, early data in `early_tls_channel`; `tls_openers` makes the channels.
"""

from __future__ import annotations

import socket
from typing import Any, Final, Protocol, cast

from headgate.plan.facts import TlsFacts
from headgate.proxy.port import Lost
from headgate.runtime.channel import acknowledge, cork, has_unread, lost_reason, uncork
from headgate.runtime.connector import HandshakeOwner
from headgate.runtime.reactor import BROKEN, READ, WRITE, Reactor
from headgate.runtime.tls_ending import TlsEnding
from headgate.runtime.tls_server_side import ServerSide
from headgate.runtime.tls_tuning import BEGINNING, RECORD, UNTUNED, TlsTuning
from headgate.tls.client_auth import findings_of, forget_findings
from headgate.tls.facts import ConnectionFacts
from headgate.tls.handshake_facts import note_failure, note_shown
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.openssl import (
    WANT_READ,
    WANT_WRITE,
    ZERO_RETURN,
    Handle,
    SSL_do_handshake,
    SSL_get_error,
    SSL_read,
    SSL_session_reused,
    SSL_version,
    SSL_write,
    TlsError,
    clear_errors,
    ffi,
    system_failure,
    take_error,
    unpack,
)
from headgate.tls.server_context import BindContext
from headgate.tls.session_der import TLS_1_3

#: Full records that are read for one event and handed on together.
_RECORDS_MOST: Final = 4

_buffer: Final = ffi.new("char[]", RECORD)


_CLOSE_NOTIFY: Final = TlsError("close_notify")


class TlsContext(Protocol):
    """The context that a connection was made by: `tls.server_context.BindContext` or `tls.client_context.ServerContext`."""

    def describe(self, record: HandshakeRecord) -> None:
        """Fill in what the record says about our side."""


class TlsChannel(TlsEnding):
    """One TLS connection over a connected socket.

    Attributes:
        see `proxy.port.Channel`, and:
        record: of the handshake; None before it is over. On success that of the owner, if it keeps one: an alert that comes
            before anything else is noted there.
        truncated: the peer ended the connection without close_notify.
        hello: the client's first bytes, where the listener has peeked them, or the server's: only to explain a failure.
        deadline, armed: the reactor's, for lingering.
    """

    __slots__ = ("_context", "_facts", "_failure", "_most", "_sent", "_sent_at", "hello", "record", "tls", "truncated")

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        handle: Handle,
        context: TlsContext,
        owner: HandshakeOwner,
        *,
        tuning: TlsTuning = UNTUNED,
        server: ServerSide | None = None,
        registered: bool = False,
    ) -> None:
        """Take over a socket; `begin` or the first event begins the handshake.

        Args:
            reactor: drives it.
            sock: connected and non-blocking.
            handle: made for `sock` by `context`.
            context: what the connection belongs to.
            owner: hears how the handshake ends, and then what happens.
            tuning: limits of its records and key updates.
            server: we are the client.
            registered: the reactor watches `sock` already, for reading.
        """
        super().__init__(reactor, sock, handle, owner, tuning, server)
        self.tls: TlsFacts | None = None
        self.record: HandshakeRecord | None = None
        self.truncated = False
        self.hello = b""
        self._failure = ""
        self._context = context
        self._facts: ConnectionFacts | None = None  # once the handshake is over
        self._most = tuning.first  # bytes in a record, for now
        self._sent = 0  # since the connection was idle, as far as `tuning` wants to know
        self._sent_at = 0.0
        if registered:
            reactor.rebind(self.fd, self._handshake)
        else:
            reactor.watch(self.fd, READ, self._handshake)

    # --- handshake ---

    def begin(self) -> None:
        """Send our ClientHello, or answer the client's, which is known to be there: nothing would announce it any more.

        The owner may be told the outcome before this returns: it knows its channel, and nothing is left to be done behind this.
        """
        if self._server is not None and has_unread(self.fd):
            self._greeted()  # a server that speaks first
        else:
            self._advance()
            if self._server is None:
                self._read_at_once()
                self._await_client()

    def _handshake(self, _events: int) -> None:
        """The reactor's call until the handshake is through. Errors of the socket show in the operation itself."""
        # What OpenSSL writes now is the end of the handshake, if all is well: tickets of TLS 1.3 one by one, or our Finished. It
        # leaves in one packet with what is sent right behind it, the answer to a request that is here, or the request. It must
        # not wait for more: a client may be waiting for it.
        together = self._server is not None or SSL_version(self._ssl) == TLS_1_3
        if together:
            cork(self.sock)
        if self._server is None:
            self._advance()
            self._read_at_once()
        elif self.hello:
            self._advance()
        else:
            self._greeted()
        if together and not self._failed:
            uncork(self.sock)
        if self._server is None:
            self._await_client()

    def _await_client(self) -> None:
        """The client is to finish the handshake. When we have dealt with that, its request is to be here.

        Where the last word is ours (a full handshake of TLS 1.2), no request will be.
        """
        if self._established or self._failed or self._closing:
            return
        if SSL_version(self._ssl) == TLS_1_3 or SSL_session_reused(self._ssl):
            acknowledge(self.sock)

    def _read_at_once(self) -> None:
        """A client's request comes right behind its handshake: if it is here, that spares a turn of the reactor."""
        if self._established and self._reading and not self._closing and not self._failed and has_unread(self.fd):
            self._read()

    def _greeted(self) -> None:
        """A server says something: keep the first of it, and go on."""
        assert self._server is not None
        try:
            self.hello = self._server.greeting(self.sock)
        except OSError as broken:
            self._handshake_failed(system_failure(broken.errno or 0))
        else:
            self._advance()

    def _advance(self) -> None:
        """Go on with the handshake as far as it goes."""
        clear_errors()
        result = SSL_do_handshake(self._ssl)
        if result == 1:
            self._established_now()
            return
        system_error = ffi.errno
        kind = SSL_get_error(self._ssl, result)
        if kind == WANT_READ:
            if self._events != READ:
                self._watch(READ)
        elif kind == WANT_WRITE:
            self._watch(WRITE)
        else:
            self._handshake_failed(take_error(kind, system_error))

    def _established_now(self) -> None:
        if self._failed or self._closing:
            return
        self._established = True
        self.tls = self._facts = self._learned(established=True)
        if self._server is not None:
            self._awaits_ticket = self._server.established(self.reactor.now)
        else:
            self._note_session()
        forget_findings(self._ssl)
        if self._tuning.key_updates is not None:
            self._tuning.key_updates.watch(self._ssl)
        self.reactor.rebind(self.fd, self.ready)
        if self._leaves:
            self.close()
            return
        if not self._reading or self._events != READ:
            self._interest()
        cast(HandshakeOwner, self.owner).handshake_completed()

    def _note_session(self) -> None:
        """Keep a session that is in no ticket where other processes have it too."""
        sessions = cast(BindContext, self._context).sessions
        if sessions is not None:
            sessions.keep(self._ssl, self.reactor.now)

    def _distrust_session(self, error: TlsError) -> None:
        """A fatal alert, ours or the client's, has ended the connection."""
        if self._server is None and not error.errno and not error.eof:
            sessions = cast(BindContext, self._context).sessions
            if sessions is not None:
                sessions.distrust(self._ssl)

    def _learned(self, *, established: bool, error: int = 0, broken: bool = False) -> ConnectionFacts:
        context = self._context
        names = context if isinstance(context, BindContext) else None
        outgoing = names is None
        facts = ConnectionFacts(self._ssl, names, outgoing=outgoing, established=established, error=error, broken=broken)
        if names is not None:
            facts.findings = findings_of(self._ssl)
        return facts

    def so_far(self) -> TlsFacts:
        """What is known of the connection now, whether its handshake is done, under way or failed."""
        return self._facts or self._learned(established=False)

    def _handshake_failed(self, error: TlsError) -> None:
        if self._failed or self._closing:
            return
        self._facts = self._learned(established=False, error=error.code, broken=error.errno != 0)
        self._distrust_session(error)
        told = self.record is not None  # when it was given up: it went on for the session's sake only
        record = self.explain(error)
        forget_findings(self._ssl)
        self._closing = True
        # OpenSSL has sent its alert: it must not be lost to the reset that unread bytes would cause.
        owner = self.owner
        self._finish()
        if self._server is not None:
            self._server.given_up()
            if not told:
                self._server.tell(record)
        owner.connection_lost(Lost.HANDSHAKE)

    @property
    def failure(self) -> str:
        """Why the handshake or the connection failed, in a sentence for the log; "" while all is well."""
        record = self.record
        return self._failure or (record.reason if record is not None and not record.completed else "")

    def explain(self, error: TlsError) -> HandshakeRecord:
        """The record of this handshake, which `error` ends (or the owner, with one of its own)."""
        if self._server is not None:
            record = self.record = self._server.explain(self.sock, error, self.hello)
            return record
        record = self.record = HandshakeRecord(outgoing=False)
        record.first_bytes = self.hello
        record.describe = self._context.describe
        note_failure(record, self._ssl, self.sock, error)
        record.findings = findings_of(self._ssl)
        return record

    # --- events ---

    def ready(self, events: int) -> None:
        """The reactor's call."""
        if self._awaits_ticket and events & READ and self._reading:
            # Before anything is sent: behind a write that fails, OpenSSL does not read any more why the server has left.
            self._read()
            if self.sock.fileno() < 0:
                return
            events &= WRITE
        if (events & WRITE or self._write_wants_read) and (self._pending or self._shut or self._closing) and not self._flush():
            return
        if self._reading and (events & READ or self._read_wants_write):
            self._read()
        elif events & BROKEN and not self._closing:
            self._broken()

    def _read(self) -> None:
        clear_errors()
        count = SSL_read(self._ssl, _buffer, RECORD)
        if self._awaits_ticket and self._server is not None:
            count = self._server.read_on(_buffer, count, self.reactor.now)
            self._awaits_ticket = self._server.awaits_ticket
        if 0 < count < RECORD:
            data = unpack(_buffer, count)
            if self._read_wants_write:
                self._read_wants_write = False
                self._interest()
            self.owner.data_received(data)
            return
        if count <= 0:
            end = self._why_not(count)
            if end is not None:
                self._ended(end)
            return
        self._read_more()

    def _read_more(self) -> None:
        """A full record was read: more is likely there. Hand on several together, it halves what is done for each."""
        parts = [unpack(_buffer, RECORD)]
        end = None
        while len(parts) < _RECORDS_MOST:
            count = SSL_read(self._ssl, _buffer, RECORD)
            if count <= 0:
                end = self._why_not(count)
                break
            parts.append(unpack(_buffer, count))
            if count < RECORD:
                break
        self.owner.data_received(b"".join(parts))
        if end is not None and not self._failed and not self._closing:
            if self._reading:
                self._ended(end)
            else:
                # OpenSSL has taken it off the socket, so epoll will not tell of it again.
                self._late = end

    def _why_not(self, result: int) -> TlsError | None:
        """Why a read gave nothing: None for "not yet", else the end of input."""
        system_error = ffi.errno
        kind = SSL_get_error(self._ssl, result)
        if kind == WANT_READ:
            if self._read_wants_write:
                self._read_wants_write = False
                self._interest()
            return None
        if kind == WANT_WRITE:
            self._read_wants_write = True
            self._interest()
            return None
        if kind == ZERO_RETURN:
            return _CLOSE_NOTIFY
        return take_error(kind, system_error)

    def _ended(self, end: TlsError) -> None:
        """Tell the owner of the end of input: close_notify, a bare FIN, or an error."""
        if end is _CLOSE_NOTIFY or end.eof:
            self.truncated = self._gone = end.eof
            if end.eof and self._server is not None:
                self._server.truncated()
            self._eof = True
            self._reading = False
            self._interest()
            self.owner.eof_received()
            return
        self._failure = end.text
        self._met(end)
        if self.record is not None:
            self.record.late = end
            if end.alert and not self.record.outgoing:
                note_shown(self.record, self._ssl)
        self._refused_late(end)
        self._gone = bool(end.errno)
        if not end.errno:
            self._notified = True  # after a protocol error OpenSSL must not be asked to send anything
        self._lost(_reason(end))

    def _met(self, error: TlsError) -> None:
        """Tell the connection's facts of the first error (`ssl_fc_err`)."""
        self._distrust_session(error)
        if self._facts is not None and not self._facts.error:
            self._facts.error = error.code

    def _refused_late(self, end: TlsError) -> None:
        """In TLS 1.3 a server that does not accept us, or our certificate, says so behind our handshake."""
        if self._awaits_ticket and end.alert is not None and self.record is None:
            record = self.explain(end)
            self._failure = record.reason
            if self._server is not None:
                self._server.refused(record)

    def _broken(self) -> None:
        """EPOLLERR or EPOLLHUP while we do not read."""
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error or not self._eof:
            self._gone = True
            self._lost(lost_reason(OSError(error, "")) if error else Lost.RESET)
        else:
            # Both directions are shut: nothing more can happen here, and a level-triggered HUP would spin.
            self.reactor.unwatch(self.fd)

    # --- effects ---

    def send(self, data: bytes) -> None:
        """See `proxy.port.Channel.send`."""
        if self._pending:
            self._pending += data
            return
        if self._failed or self._shut or self._closing or not data:
            return
        if self._awaits_ticket and has_unread(self.fd):
            self._pending += data  # what is there is read first, see `ready`
            self.blocked = True
            self._interest()
            return
        size = len(data)
        if self._tuning.small:
            self._measure(size)
        clear_errors()
        count = SSL_write(self._ssl, data, size if size < self._most else self._most)
        if count == size:
            return
        if count > 0:
            with ffi.from_buffer(data) as start:
                count = self._write_on(start, count, size)
        else:
            count = 0 if self._write_stopped(count) else -1
        if 0 <= count < size:
            self._pending += memoryview(data)[count:]
            self.blocked = True
            self._interest()

    def _measure(self, size: int) -> None:
        """How large records may be, before `size` bytes are sent: small ones at first and after a pause."""
        tuning = self._tuning
        now = self.reactor.now
        if now - self._sent_at > tuning.idle:
            self._sent = 0
        self._sent_at = now
        self._most = tuning.first if self._sent < BEGINNING else tuning.most
        self._sent += size

    def _write_on(self, start: Any, done: int, size: int) -> int:
        """Write from `done` to `size`, a record at a time. Answers how much is written when no more is taken, -1 on an error."""
        while done < size:
            left = size - done
            most = self._most
            count = SSL_write(self._ssl, start + done, left if left < most else most)
            if count <= 0:
                return done if self._write_stopped(count) else -1
            done += count
        return done

    def _write_stopped(self, result: int) -> bool:
        """A write did not go through: whether it may later."""
        system_error = ffi.errno
        kind = SSL_get_error(self._ssl, result)
        self._write_wants_read = kind == WANT_READ
        if kind == WANT_WRITE or kind == WANT_READ:
            return True
        error = take_error(kind, system_error)
        self._failure = error.text
        self._gone = bool(error.errno) or error.eof
        self._met(error)
        self._fail_later(_reason(error))
        return False

    def _flush(self) -> bool:
        """Send what waits; False when the connection is gone."""
        pending = self._pending
        if pending:
            self._write_wants_read = False
            clear_errors()
            with ffi.from_buffer(pending) as start:
                done = self._write_on(start, 0, len(pending))
            if done < 0:  # told after this event
                return False
            del pending[:done]
            if pending:
                self._interest()
                return True
        if (self._closing or self._shut) and not self._notify():
            return True
        if self._closing:
            self._finish()
            return False
        self._interest()
        if self._shut:
            self._send_fin()
        if self.blocked:
            self.blocked = False
            self.owner.drained()
        return not self._failed

    def pause(self) -> None:
        """Stop reading."""
        if self._reading:
            self._reading = False
            if self._established:
                self._interest()

    def resume(self) -> None:
        """Read again."""
        if not self._reading and not self._eof and not self._failed:
            self._reading = True
            if self._late is not None:
                self.reactor.later(self._late_end)
            if self._established:
                self._interest()

    def _late_end(self) -> None:
        end = self._late
        if end is not None and self._reading and not self._failed and not self._closing:
            self._late = None
            self._ended(end)

    def __repr__(self) -> str:
        state = "closed" if self._failed else "blocked" if self.blocked else "open" if self._established else "handshake"
        return f"<TlsChannel fd={self.fd} {state}>"


def _reason(error: TlsError) -> Lost:
    if error.errno:
        return lost_reason(OSError(error.errno, error.text))
    return Lost.RESET if error.eof else Lost.ERROR
