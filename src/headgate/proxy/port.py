"""The port between the machines and the world: what a machine may ask of a connection, and what it is told.

Effects are carried out at once but never answer at once: no method of a `Channel` calls back into its owner before it returns.
So a machine may act in the middle of its own transition without being re-entered. The drivers in `runtime` keep that
promise; the recording channel of the playbook tests does too.
"""

from __future__ import annotations

import enum
from typing import Protocol

from headgate.plan.facts import TlsFacts


class Lost(enum.Enum):
    """Why a connection is gone."""

    RESET = "connection reset by the peer"
    TIMEOUT = "network timeout"
    REFUSED = "connection refused"
    UNREACHABLE = "host unreachable"
    HANDSHAKE = "TLS handshake failed"
    TRUNCATED = "TLS connection closed without close_notify"
    TOO_MANY = "too many TLS connections (maxsslconn)"
    ERROR = "network error"


class Owner(Protocol):
    """Who is told what happens on a channel."""

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived. Never empty."""

    def eof_received(self) -> None:
        """The peer will send no more (FIN, or close_notify)."""

    def connection_lost(self, reason: Lost) -> None:
        """The connection broke. Nothing else will be heard of this channel."""

    def drained(self) -> None:
        """All that was waiting to be sent is with the kernel, after `blocked` was true."""


class Channel(Protocol):
    """One established connection, plain or TLS.

    Attributes:
        owner: who is told; may be exchanged between events (an idle server connection changes hands).
        blocked: sent bytes wait in our buffer: the machine should stop feeding until `drained`.
        tls: facts of the TLS connection, None for plain.
    """

    owner: Owner
    blocked: bool
    tls: TlsFacts | None

    def send(self, data: bytes) -> None:
        """Send bytes, or keep them and set `blocked`. After an error or a close it does nothing."""

    def cork(self) -> None:
        """What is sent from now on is the last, and `close` follows: let the kernel send it together with the end.

        A packet for each costs more than all that is done for a small answer.
        """

    def pause(self) -> None:
        """Stop reading. The kernel's buffer, and then the peer, feel the pressure."""

    def resume(self) -> None:
        """Read again."""

    def shutdown_write(self) -> None:
        """Send what is waiting, then FIN (after close_notify on TLS)."""

    def close(self) -> None:
        """Send what is waiting, close_notify on TLS, then close. The owner hears nothing more."""

    def linger(self) -> None:
        """As `close`, but first let the peer finish: FIN, then read and drop until its FIN or for a short time (RFC 9112 9.6).

        For when unread bytes in the kernel would turn the close into a reset that destroys what was just sent.
        """

    def abort(self) -> None:
        """Close now; unsent bytes are dropped and the peer gets a reset. On TLS close_notify is still tried.

        A TLS server is left in order instead (close_notify, FIN, a moment of reading), behind the caller's back: it would throw
        the session away otherwise.
        """
