"""A TLS connection as the machines see it: OpenSSL on a non-blocking socket under the reactor. The plain twin is `channel`.

It begins in its handshake: the owner hears `handshake_completed`, or `connection_lost(Lost.HANDSHAKE)` with the reason in
`failure`. From then on it is a channel like any other. OpenSSL is called on the descriptor itself, with the binding's functions
(see `tls.openssl`); it may want to write in order to read and the other way round, which `_interest` turns into epoll events.

close_notify is always tried, on close and on abort: peers that insist on it throw the session away otherwise.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import socket
import struct
import termios
from typing import Protocol, cast

from headgate.plan.facts import TlsFacts
from headgate.proxy.port import Lost, Owner
from headgate.runtime.channel import NOBODY, lost_reason
from headgate.runtime.connector import HandshakeOwner
from headgate.runtime.reactor import BROKEN, READ, WRITE, Reactor
from headgate.runtime.tls_tuning import BEGINNING, RECORD, UNTUNED, TlsTuning
from headgate.tls.client_auth import findings_of, forget_findings
from headgate.tls.client_context import ServerContext
from headgate.tls.facts import ConnectionFacts
from headgate.tls.handshake_facts import note_failure, note_success
from headgate.tls.handshake_record import Ended, HandshakeRecord, Step
from headgate.tls.key_log import forget_secrets
from headgate.tls.openssl import WANT_READ, WANT_WRITE, ZERO_RETURN, Handle, TlsError, ffi, lib, take_error
from headgate.tls.server_context import BindContext

#: Full records that are read for one event and handed on together.
_RECORDS_MOST = 4
#: How long what a peer still sends is read away after our last word, seconds, and how much of it, bytes.
LINGER = 2.0
#: How long a peer has to read what was unsent when its owner closed, seconds.
FLUSH = 30.0
_LINGER_MOST = 1 << 20

_LINGER_RESET = struct.pack("ii", 1, 0)
_CLOSED = lib.SSL_SENT_SHUTDOWN | lib.SSL_RECEIVED_SHUTDOWN
_buffer = ffi.new("char[]", RECORD)
_unread_bytes = array.array("i", [0])

_do_handshake = lib.SSL_do_handshake
_read = lib.SSL_read
_write = lib.SSL_write
_get_error = lib.SSL_get_error
_clear_errors = lib.ERR_clear_error
_unpack = ffi.unpack


class TlsContext(Protocol):
    """The context that a connection was made by: `tls.server_context.BindContext` or `tls.client_context.ServerContext`."""

    def describe(self, record: HandshakeRecord) -> None:
        """Fill in what the record says about our side."""

    def remember(self, handle: Handle) -> None:
        """Keep the session of a connection for the next one."""


class Dialler:
    """Makes the TLS layer of one server's connections (`runtime.connector.TlsOpener`)."""

    __slots__ = ("context", "tuning")

    def __init__(self, context: ServerContext, tuning: TlsTuning = UNTUNED) -> None:
        self.context = context
        self.tuning = tuning

    def open(self, reactor: Reactor, sock: socket.socket, sni: bytes | None, owner: HandshakeOwner) -> TlsChannel:
        """Begin the handshake on a connected socket."""
        handle = self.context.handle(sock, sni)
        return TlsChannel(reactor, sock, handle, self.context, owner, tuning=self.tuning, outgoing=True)


class Answerer:
    """Makes the TLS layer of one bind line's connections (`runtime.listener.TlsAcceptor`)."""

    __slots__ = ("context", "tuning")

    def __init__(self, context: BindContext, tuning: TlsTuning = UNTUNED) -> None:
        self.context = context
        self.tuning = tuning

    def succeeded(self, channel: TlsChannel) -> HandshakeRecord:
        """See `runtime.listener.TlsAcceptor`. How the connection ends is told to the record too, see `record.late`."""
        record = channel.record = HandshakeRecord(outgoing=False)
        record.describe = self.context.describe
        record.first_bytes = channel.hello
        channel.hello = b""
        note_success(record, channel._ssl)
        return record

    def given_up(self, channel: TlsChannel, timeout: float) -> HandshakeRecord:
        """See `runtime.listener.TlsAcceptor`."""
        record = channel.explain(TlsError("timeout"))
        record.timeout = timeout
        record.ended = Ended.TIMEOUT
        return record

    def unheard(
        self, seen: bytes, *, header: bool, lost: OSError | None = None, timeout: float = 0.0, why: str = ""
    ) -> HandshakeRecord:
        """See `runtime.listener.TlsAcceptor`."""
        record = HandshakeRecord(outgoing=False)
        record.describe = self.context.describe
        record.first_bytes = seen
        record.bytes_in, record.bytes_out = len(seen), 0
        if seen:
            record.step = Step.PROXY_HEADER if header else Step.CLIENT_HELLO
        record.header = why
        record.timeout = timeout
        if lost is not None:
            record.errno = lost.errno or errno.ECONNRESET
            record.error = lost.strerror or ""
        record.closed = lost is None and not timeout and not why
        record.ended = Ended.TIMEOUT if timeout else Ended.PROXY if why else Ended.PEER
        return record

    def accept(self, reactor: Reactor, sock: socket.socket, hello: bytes, owner: HandshakeOwner) -> TlsChannel:
        """Begin the handshake on a socket whose first bytes, `hello`, are known to be there; the reactor watches it already."""
        context = self.context
        channel = TlsChannel(
            reactor, sock, context.connection(sock, hello), context, owner, tuning=self.tuning, readable=True, registered=True
        )
        channel.hello = hello
        return channel


class TlsChannel:
    """One TLS connection over a connected socket.

    Attributes:
        see `proxy.port.Channel`, and:
        record: of the handshake; None before it is over. On success that of the owner, if it keeps one: an alert that comes
            before anything else is noted there.
        truncated: the peer ended the connection without close_notify.
        hello: the client's first bytes, where the listener has peeked them: parsed only to explain a failure.
        deadline, armed: the reactor's, for lingering.
    """

    __slots__ = (
        "_closing", "_context", "_eof", "_established", "_events", "_facts", "_failed", "_failure", "_handle", "_late",
        "_lingers", "_most", "_notified", "_pending", "_read_wants_write", "_reading", "_sent", "_sent_at", "_shut", "_ssl",
        "_tuning", "_write_wants_read", "armed", "blocked", "deadline", "fd", "hello", "owner", "reactor", "record", "sock",
        "tls", "truncated",
    )  # fmt: skip

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        handle: Handle,
        context: TlsContext,
        owner: HandshakeOwner,
        *,
        tuning: TlsTuning = UNTUNED,
        outgoing: bool = False,
        readable: bool = False,
        registered: bool = False,
    ) -> None:
        """Begin the handshake.

        Args:
            reactor: drives it.
            sock: connected and non-blocking.
            handle: made for `sock` by `context`.
            context: what the connection belongs to.
            owner: hears how the handshake ends, and then what happens.
            tuning: limits of its records and key updates.
            outgoing: we are the client: our ClientHello is sent at once.
            readable: the client's first bytes are known to be there (the listener has peeked them): answered at once.
            registered: the reactor watches `sock` already, for reading.
        """
        self.reactor = reactor
        self.sock = sock
        self.fd = sock.fileno()
        self.owner: Owner = owner
        self.blocked = False
        self.tls: TlsFacts | None = None
        self._failure = ""
        self.record: HandshakeRecord | None = None
        self.truncated = False
        self.hello = b""
        self.deadline = 0.0
        self.armed = 0.0
        self._ssl = handle.ssl
        self._handle = handle if outgoing else None  # until the session was remembered
        self._context = context
        self._tuning = tuning
        self._most = tuning.first  # bytes in a record, for now
        self._sent = 0  # since the connection was idle, as far as `tuning` wants to know
        self._sent_at = 0.0
        self._pending = bytearray()
        self._events = READ
        self._reading = True
        self._established = False
        self._facts: ConnectionFacts | None = None  # once the handshake is over
        self._read_wants_write = False
        self._write_wants_read = False
        self._late: TlsError | None = None  # the end of input, met while the owner had paused us
        self._eof = False
        self._lingers = False  # the peer may still be sending when we close
        self._shut = False
        self._notified = False
        self._closing = False
        self._failed = False
        if registered:
            reactor.rebind(self.fd, self._handshake)
        else:
            reactor.watch(self.fd, READ, self._handshake)
        if outgoing or readable:
            self._first_step()

    # --- handshake ---

    def _first_step(self) -> None:
        """What can be done before the first event; its outcome, if there is one already, is told after the current event."""
        _clear_errors()
        result = _do_handshake(self._ssl)
        if result == 1:
            self.reactor.later(self._established_now)
            return
        system_error = ffi.errno
        kind = _get_error(self._ssl, result)
        if kind == WANT_WRITE:
            self._watch(WRITE)
        elif kind != WANT_READ:
            error = take_error(kind, system_error)
            self.reactor.later(lambda: self._handshake_failed(error))

    def _handshake(self, _events: int) -> None:
        """The reactor's call until the handshake is through. Errors of the socket show in the operation itself."""
        _clear_errors()
        result = _do_handshake(self._ssl)
        if result == 1:
            self._established_now()
            return
        system_error = ffi.errno
        kind = _get_error(self._ssl, result)
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
        forget_findings(self._ssl)
        if self._tuning.key_updates is not None:
            self._tuning.key_updates.watch(self._ssl)
        self.reactor.rebind(self.fd, self.ready)
        if not self._reading or self._events != READ:
            self._interest()
        cast(HandshakeOwner, self.owner).handshake_completed()

    def _learned(self, *, established: bool, error: int = 0) -> ConnectionFacts:
        context = self._context
        names = context if isinstance(context, BindContext) else None
        facts = ConnectionFacts(self._ssl, names, outgoing=names is None, established=established, error=error)
        if names is not None:
            facts.findings = findings_of(self._ssl)
        return facts

    def so_far(self) -> TlsFacts:
        """What is known of the connection now, whether its handshake is done, under way or failed."""
        return self._facts or self._learned(established=False)

    def _handshake_failed(self, error: TlsError) -> None:
        if self._failed or self._closing:
            return
        self._facts = self._learned(established=False, error=error.code)
        self.explain(error)
        forget_findings(self._ssl)
        self._closing = True
        # OpenSSL has sent its alert: it must not be lost to the reset that unread bytes would cause.
        owner = self.owner
        self._finish()
        owner.connection_lost(Lost.HANDSHAKE)

    @property
    def failure(self) -> str:
        """Why the handshake or the connection failed, in a sentence for the log; "" while all is well."""
        record = self.record
        return self._failure or (record.reason if record is not None and not record.completed else "")

    def explain(self, error: TlsError) -> HandshakeRecord:
        """The record of this handshake, which `error` ends (or the owner, with one of its own)."""
        record = self.record = HandshakeRecord(outgoing=self._handle is not None)
        record.first_bytes = self.hello
        record.describe = self._context.describe
        note_failure(record, self._ssl, self.sock, error)
        record.findings = findings_of(self._ssl)
        if self._handle is not None and self._handle.name:
            record.sni = self._handle.name  # what is verified, also when it is an address, which is not sent
        return record

    # --- events ---

    def ready(self, events: int) -> None:
        """The reactor's call."""
        if (events & WRITE or self._write_wants_read) and (self._pending or self._shut or self._closing) and not self._flush():
            return
        if self._reading and (events & READ or self._read_wants_write):
            self._read()
        elif events & BROKEN and not self._closing:
            self._broken()

    def _read(self) -> None:
        _clear_errors()
        count = _read(self._ssl, _buffer, RECORD)
        if 0 < count < RECORD:
            data = _unpack(_buffer, count)
            if self._handle is not None:
                self._remember(self._handle)
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
        parts = [_unpack(_buffer, RECORD)]
        end = None
        while len(parts) < _RECORDS_MOST:
            count = _read(self._ssl, _buffer, RECORD)
            if count <= 0:
                end = self._why_not(count)
                break
            parts.append(_unpack(_buffer, count))
            if count < RECORD:
                break
        if self._handle is not None:
            self._remember(self._handle)
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
        kind = _get_error(self._ssl, result)
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
            self.truncated = end.eof
            self._eof = True
            self._reading = False
            self._interest()
            self.owner.eof_received()
            return
        self._failure = end.text
        self._met(end)
        if self.record is not None:
            self.record.late = end
        if not end.errno:
            self._notified = True  # after a protocol error OpenSSL must not be asked to send anything
        self._lost(_reason(end))

    def _met(self, error: TlsError) -> None:
        """Tell the connection's facts of the first error (`ssl_fc_err`)."""
        if self._facts is not None and not self._facts.error:
            self._facts.error = error.code

    def _broken(self) -> None:
        """EPOLLERR or EPOLLHUP while we do not read."""
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error or not self._eof:
            self._lost(lost_reason(OSError(error, "")) if error else Lost.RESET)
        else:
            # Both directions are shut: nothing more can happen here, and a level-triggered HUP would spin.
            self.reactor.unwatch(self.fd)

    def _lost(self, reason: Lost) -> None:
        if self._failed:
            return
        closing = self._closing
        owner = self.owner
        self._notified = True
        self._release()
        if not closing:
            owner.connection_lost(reason)

    # --- effects ---

    def send(self, data: bytes) -> None:
        """See `proxy.port.Channel.send`."""
        if self._pending:
            self._pending += data
            return
        if self._failed or self._shut or self._closing or not data:
            return
        size = len(data)
        if self._tuning.small:
            self._measure(size)
        _clear_errors()
        count = _write(self._ssl, data, size if size < self._most else self._most)
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

    def _write_on(self, start: object, done: int, size: int) -> int:
        """Write from `done` to `size`, a record at a time. Answers how much is written when no more is taken, -1 on an error."""
        while done < size:
            left = size - done
            most = self._most
            count = _write(self._ssl, start + done, left if left < most else most)  # type: ignore[operator]  # a cffi pointer
            if count <= 0:
                return done if self._write_stopped(count) else -1
            done += count
        return done

    def _write_stopped(self, result: int) -> bool:
        """A write did not go through: whether it may later."""
        system_error = ffi.errno
        kind = _get_error(self._ssl, result)
        self._write_wants_read = kind == WANT_READ
        if kind == WANT_WRITE or kind == WANT_READ:
            return True
        error = take_error(kind, system_error)
        self._failure = error.text
        self._met(error)
        self._fail_later(_reason(error))
        return False

    def _flush(self) -> bool:
        """Send what waits; False when the connection is gone."""
        pending = self._pending
        if pending:
            self._write_wants_read = False
            _clear_errors()
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

    def shutdown_write(self) -> None:
        """Send close_notify and FIN behind what is waiting."""
        if self._shut or self._failed or self._closing:
            return
        self._shut = True
        if not self._pending:
            if self._notify():
                self._send_fin()
            else:
                self._interest()

    def _notify(self) -> bool:
        """Send close_notify once; False when the socket does not take it now."""
        if self._notified or not self._established:
            return True
        _clear_errors()
        result = lib.SSL_shutdown(self._ssl)
        if result < 0:
            kind = _get_error(self._ssl, result)
            if kind == WANT_WRITE:
                self._watch(self._events | WRITE)
                return False
            _clear_errors()
        self._notified = True
        return True

    def _send_fin(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self._fail_later(lost_reason(error))

    def close(self) -> None:
        """Flush, close_notify, then close."""
        if self._failed or self._closing:
            return
        self._closing = True
        self._reading = False
        if self._pending or not self._notify():
            self._interest()
            # The owner is gone: nobody else would notice a peer that never reads the rest.
            self.reactor.arm(self, self.reactor.now + FLUSH)
        else:
            self._finish()

    def linger(self) -> None:
        """As `close`, and read away what the peer has yet to send."""
        self._lingers = True
        self.close()

    def abort(self) -> None:
        """Close with a reset, after a close_notify where the socket takes it."""
        if self._failed:
            return
        self._closing = True
        if not self._pending:  # behind half a record nothing can be sent
            self._notify()
        with contextlib.suppress(OSError):  # a unix socket, or gone already
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self._release()

    # --- lingering ---

    def _finish(self) -> None:
        """All is said: close, or first read away what the peer sent, since closing over unread bytes resets our last words."""
        if self._eof or not (self._lingers or self._unread()):
            self._release()
            return
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self._failed = True  # deaf and dumb from here on
        self._late = None
        self.reactor.rebind(self.fd, self._drain)
        if self._events != READ:
            self._events = READ
            self.reactor.change(self.fd, READ)
        self.reactor.arm(self, self.reactor.now + LINGER)

    def _unread(self) -> bool:
        try:
            fcntl.ioctl(self.fd, termios.FIONREAD, _unread_bytes)
            return _unread_bytes[0] != 0
        except OSError:
            return False

    def _drain(self, _events: int) -> None:
        try:
            if self.sock.recv(_LINGER_MOST):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._release()

    def timed_out(self) -> None:
        """The reactor's call: the peer has had its time to read our last words."""
        self._release()

    # --- internals ---

    def _interest(self) -> None:
        """Watch for what OpenSSL and the owner want."""
        events = READ if self._reading or self._write_wants_read else 0
        if self._pending or self._read_wants_write or ((self._closing or self._shut) and not self._notified):
            events |= 0 if self._write_wants_read else WRITE
        self._watch(events)

    def _watch(self, events: int) -> None:
        if events != self._events and not self._failed:
            self._events = events
            self.reactor.change(self.fd, events)

    def _remember(self, handle: Handle) -> None:
        """Keep an outgoing connection's session. TLS 1.3 tickets come behind the handshake, before the first data."""
        self._handle = None
        self._context.remember(handle)

    def _fail_later(self, reason: Lost) -> None:
        """Report an error that an effect met, once the event that caused it is through (see `proxy.port`)."""
        self.blocked = True
        self._pending = bytearray()
        self._shut = True
        self._notified = True
        self.reactor.later(lambda: self._lost(reason))

    def _release(self) -> None:
        self._failed = True
        self._pending = bytearray()
        if self.deadline or self.armed:
            self.reactor.retire(self)
        if self._established:
            # Without this OpenSSL would throw the session away with a connection whose close_notify did not come back.
            lib.SSL_set_shutdown(self._ssl, _CLOSED)
        else:
            forget_findings(self._ssl)
        forget_secrets(self._ssl)
        if self._tuning.key_updates is not None:
            self._tuning.key_updates.forget(self._ssl)
        self.reactor.forget(self.fd)
        self.sock.close()
        # Owner and channel know each other: without this only the garbage collector would free them, and OpenSSL's memory.
        self.owner = NOBODY

    def __repr__(self) -> str:
        state = "closed" if self._failed else "blocked" if self.blocked else "open" if self._established else "handshake"
        return f"<TlsChannel fd={self.fd} {state}>"


_CLOSE_NOTIFY = TlsError("close_notify")


def _reason(error: TlsError) -> Lost:
    if error.errno:
        return lost_reason(OSError(error.errno, error.text))
    return Lost.RESET if error.eof else Lost.ERROR
