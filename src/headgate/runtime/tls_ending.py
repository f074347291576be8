"""How a TLS connection ends: the half of `tls_channel.TlsChannel` that says goodbye. It neither begins nor carries one.

close_notify is always tried, on close and on abort: peers that insist on it throw the session away otherwise. A connection to a
server is closed so in any case, also when it is given up in the middle of something: close_notify, FIN, then what still comes is
read away for a moment, while nobody waits for it. Only a server that does not let go gets a reset.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import Final

from headgate.proxy.port import Lost, Owner
from headgate.proxy.services import Reminder
from headgate.runtime.channel import NOBODY, cork, has_unread, lost_reason
from headgate.runtime.reactor import READ, WRITE, Reactor
from headgate.runtime.tls_server_side import ServerSide
from headgate.runtime.tls_tuning import RECORD, TlsTuning
from headgate.tls.client_auth import forget_findings
from headgate.tls.key_log import forget_secrets
from headgate.tls.openssl import (
    CLOSED,
    WANT_WRITE,
    Handle,
    SSL_get_error,
    SSL_set_shutdown,
    SSL_shutdown,
    TlsError,
    clear_errors,
)

#: How long what a peer still sends is read away after our last word, seconds, and how much of it, bytes.
LINGER: Final = 2.0
#: How long a peer has to read what was unsent when its owner closed, seconds.
FLUSH: Final = 30.0
_LINGER_MOST: Final = 1 << 20
_LINGER_PIECE: Final = 1 << 17

_LINGER_RESET: Final = struct.pack("ii", 1, 0)



class TlsEnding:
    """The state of a TLS connection, and its end: see the module. All of them are `tls_channel.TlsChannel`s.

    Attributes:
        see `tls_channel.TlsChannel`.
    """

    __slots__ = (
        "_awaits_ticket", "_closing", "_eof", "_established", "_events", "_failed", "_gone", "_late", "_leaves", "_left",
        "_lingers", "_notified", "_pending", "_read_wants_write", "_reading", "_said", "_server", "_shut", "_ssl", "_tuning",
        "_write_wants_read", "armed", "blocked", "deadline", "fd", "owner", "reactor", "sock",
    )  # fmt: skip

    def __init__(
        self, reactor: Reactor, sock: socket.socket, handle: Handle, owner: Owner, tuning: TlsTuning, server: ServerSide | None
    ) -> None:
        """See `tls_channel.TlsChannel`."""
        self.reactor = reactor
        self.sock = sock
        self.fd = sock.fileno()
        self.owner = owner
        self.blocked = False
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self._ssl = handle.ssl
        self._server = server
        self._awaits_ticket = False  # nothing was read yet of a server that may give a session behind the handshake
        self._tuning = tuning
        self._pending = bytearray()
        self._events = READ
        self._reading = True
        self._established = False
        self._read_wants_write = False
        self._write_wants_read = False
        self._late: TlsError | None = None  # the end of input, met while the owner had paused us
        self._eof = False
        self._lingers = server is not None  # the peer may still be sending when we close
        self._left = _LINGER_MOST
        self._said = False  # our close_notify is with the kernel
        self._gone = False  # the peer broke the connection
        self._leaves = False  # closed as soon as the handshake is through
        self._shut = False
        self._notified = False
        self._closing = False
        self._failed = False

    # --- effects ---

    def cork(self) -> None:
        """See `proxy.port.Channel.cork`: close_notify goes with the rest."""
        cork(self.sock)

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

    def close(self) -> None:
        """Flush, close_notify, then close."""
        if self._failed or self._closing:
            return
        self._closing = True
        self._reading = False
        if self._awaits_ticket and self._server is not None:
            self._server.look_for_tickets(self.reactor.now)
        self._say_goodbye(FLUSH)

    def linger(self) -> None:
        """As `close`, and read away what the peer has yet to send."""
        self._lingers = True
        self.close()

    def abort(self) -> None:
        """Close with a reset, after a close_notify where the socket takes it; a server is left as cleanly as it lets us."""
        if self._failed:
            return
        self._closing = True
        self._reading = False
        if self._server is not None:
            if self._gone:
                self._release()
                return
            if not self._established:
                self._leave_after_handshake()
                return
            # OpenSSL may have begun a record, which has to be finished; what is behind it nobody needs any more.
            del self._pending[RECORD:]
            self._say_goodbye(LINGER)
            return
        if not self._pending:  # behind half a record nothing can be sent
            self._notify()
        with contextlib.suppress(OSError):  # a unix socket, or gone already
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self._release()

    def _leave_after_handshake(self) -> None:
        """Given up while the handshake runs: to break it off would cost the session that it resumes, with Java's servers.

        It goes on behind everybody's back, for a moment, and the connection is closed in order when it is through.
        """
        self._closing = False
        self._leaves = True
        self.owner = NOBODY
        self.reactor.arm(self, self.reactor.now + LINGER)

    def _say_goodbye(self, patience: float) -> None:
        if self._pending or not self._notify():
            self._interest()
            # The owner is gone: nobody else would notice a peer that never reads the rest.
            self.reactor.arm(self, self.reactor.now + patience)
        else:
            self._finish()

    def _notify(self) -> bool:
        """Send close_notify once; False when the socket does not take it now."""
        if self._notified or not self._established:
            return True
        if self._closing and self._tuning.key_updates is not None:
            self._tuning.key_updates.unwatch(self._ssl)  # it would be told of our alert
        clear_errors()
        result = SSL_shutdown(self._ssl)
        if result < 0:
            kind = SSL_get_error(self._ssl, result)
            if kind == WANT_WRITE:
                self._watch(self._events | WRITE)
                return False
            clear_errors()
        else:
            self._said = True
        self._notified = True
        return True

    def _send_fin(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self._fail_later(lost_reason(error))

    # --- lingering ---

    def _finish(self) -> None:
        """All is said: close, or first read away what the peer sent, since closing over unread bytes resets our last words."""
        if self._eof or not (self._lingers or has_unread(self.fd)):
            self._release()
            return
        if self._server is not None:
            self._server.over()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self._failed = True  # deaf and dumb from here on
        self._late = None
        self.reactor.rebind(self.fd, self._drain)
        if self._events != READ:
            self._events = READ
            self.reactor.change(self.fd, READ)
        self.reactor.arm(self, self.reactor.now + LINGER)

    def _drain(self, _events: int) -> None:
        try:
            count = len(self.sock.recv(_LINGER_PIECE))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count and self._left == _LINGER_MOST:
            self._gone = True  # not even a close_notify has come
        self._left -= count
        if not count or self._left <= 0:
            self._release()

    def timed_out(self) -> None:
        """The reactor's call: the peer has had its time to read our last words."""
        self._release()

    # --- the connection is gone ---

    def _lost(self, reason: Lost) -> None:
        if self._failed:
            return
        closing = self._closing
        owner = self.owner
        self._notified = True
        self._release()
        if not closing:
            owner.connection_lost(reason)

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
        if self.armed is not None:
            self.reactor.retire(self)
        if self._established:
            # Without this OpenSSL would throw the session away with a connection whose close_notify did not come back.
            SSL_set_shutdown(self._ssl, CLOSED)
            if self._server is not None:
                self._server.ended(gone=self._gone, said=self._said, now=self.reactor.now)
        else:
            forget_findings(self._ssl)
            if self._server is not None:
                self._server.given_up()
        forget_secrets(self._ssl)
        if self._tuning.key_updates is not None:
            self._tuning.key_updates.forget(self._ssl)
        self.reactor.forget(self.fd)
        self.sock.close()
        if self._server is not None:
            self._server.over()
        # Owner and channel know each other: without this only the garbage collector would free them, and OpenSSL's memory.
        self.owner = NOBODY

    # --- what is watched for ---

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
