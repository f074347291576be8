"""Sinks: a datagram socket or a descriptor that log lines are written to. None of them ever blocks or raises.

What can't be delivered at once is dropped and counted. A destination that comes back is used again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from typing import Final, Protocol

#: How often the connection to an absent destination is tried again, in seconds.
RETRY_EVERY: Final = 1.0

#: Bytes that wait for a blocked descriptor before lines are dropped.
PENDING_LIMIT: Final = 65536

#: Bytes of lines that are written without waiting for the end of the loop's turn.
_WRITE_NOW: Final = 16384

#: What a send to a unix socket answers when its other end was closed or replaced.
_GONE: Final = (errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET, errno.ENOENT)


class Sink(Protocol):
    """Takes complete lines.

    Attributes:
        name: as written behind `log`, for messages.
        dropped: lines that were lost.
    """

    name: str
    dropped: int

    def write(self, data: bytes, now: float) -> None:
        """Send one line that ends with a line feed. `now` is in seconds; it paces reconnections."""

    def flush(self) -> None:
        """Send what was held back to batch it."""

    def close(self) -> None:
        """Send what is left, if that is possible at once, and close."""


class DatagramSink:
    """UDP or a unix datagram socket, connected, so that a line costs one `send` without an address.

    Args:
        name: for messages.
        family: socket.AF_INET, AF_INET6 or AF_UNIX.
        address: what `connect` takes.
    """

    __slots__ = ("_address", "_family", "_retry_at", "_send", "_socket", "dropped", "name")

    def __init__(self, name: str, family: int, address: tuple[str, int] | str | bytes) -> None:
        self.name = name
        self.dropped = 0
        self._family = family
        self._address = address
        self._retry_at = 0.0
        self._socket: socket.socket | None = None
        self._send: Callable[[bytes], int] | None = None
        self._connect()

    def _connect(self) -> bool:
        self._disconnect()
        try:
            sock = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        except OSError:
            return False
        try:
            sock.connect(self._address)
        except OSError:
            sock.close()
            return False
        self._socket = sock
        self._send = sock.send
        return True

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._send = None

    def write(self, data: bytes, now: float) -> None:
        if self._send is None:
            self._write_to_absent(data, now)
            return
        try:
            self._send(data)
        except OSError as error:
            self._failed(error, data, now)

    def _failed(self, error: OSError, data: bytes, now: float) -> None:
        self.dropped += 1
        if error.errno == errno.ECONNREFUSED and self._family != socket.AF_UNIX:
            # The ICMP answer to an EARLIER datagram, which is the one that was lost; this one was not sent yet.
            with contextlib.suppress(OSError):
                if self._send is not None:
                    self._send(data)
        elif self._family == socket.AF_UNIX and error.errno in _GONE:
            # The syslog daemon restarted: its socket is another one now, perhaps already there.
            self._disconnect()
            self.dropped -= 1
            self._write_to_absent(data, now)

    def _write_to_absent(self, data: bytes, now: float) -> None:
        self.dropped += 1
        if now < self._retry_at:
            return
        self._retry_at = now + RETRY_EVERY
        if self._connect() and self._send is not None:
            with contextlib.suppress(OSError):
                self._send(data)
                self.dropped -= 1

    def flush(self) -> None:
        """Datagrams are sent at once."""

    def close(self) -> None:
        self._disconnect()


def open_without_blocking(fd: int) -> tuple[int, bool]:
    """A descriptor for the same file as `fd` that doesn't block, and whether it is ours to close.

    O_NONBLOCK belongs to the open file description, which a terminal shares with the shell that started us: so pipes and
    terminals are opened a second time. Where that is not possible (sockets, another user's pipe), the flag is set on `fd` itself.

    Raises:
        OSError: `fd` is not open.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd, False  # Regular files never block in this sense, and a second opening would have its own offset.
    if not stat.S_ISSOCK(mode):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), True
    os.set_blocking(fd, False)
    return fd, False


class DescriptorSink:
    """`stdout`, `stderr`, `fd@N`: lines are gathered and written once per turn of the loop.

    Args:
        name: for messages.
        fd: the descriptor; stays open when the sink closes.
        watch_writable: called with the descriptor and a callback when the descriptor is blocked: the callback is due, once, as
            soon as it is writable again. None: the next `write` or `flush` tries again.

    Raises:
        OSError: the descriptor is not open.
    """

    __slots__ = ("_blocked", "_fd", "_owned", "_pending", "_size", "_watch_writable", "dropped", "name")

    def __init__(self, name: str, fd: int, watch_writable: Callable[[int, Callable[[], None]], None] | None = None) -> None:
        self.name = name
        self.dropped = 0
        self._fd, self._owned = open_without_blocking(fd)
        self._pending: list[bytes] = []
        self._size = 0
        self._blocked = False
        self._watch_writable = watch_writable

    def write(self, data: bytes, now: float) -> None:
        if self._size + len(data) > PENDING_LIMIT:
            # Perhaps it can be written to again and nobody told us.
            self.flush()
            if self._size + len(data) > PENDING_LIMIT:
                self.dropped += 1
                return
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _WRITE_NOW and not self._blocked:
            self.flush()

    def flush(self) -> None:
        if self._size and not (self._blocked and self._watch_writable is not None):
            self._write_pending()

    def _write_pending(self) -> None:
        data = b"".join(self._pending)
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            written = 0
        except OSError:
            # The reader is gone: nobody will ever see these lines.
            self.dropped += data.count(b"\n")
            written = len(data)
        rest = data[written:]
        self._pending = [rest] if rest else []
        self._size = len(rest)
        self._wait_until_writable(bool(rest))

    def _wait_until_writable(self, blocked: bool) -> None:
        if blocked and not self._blocked and self._watch_writable is not None:
            self._watch_writable(self._fd, self._writable)
        self._blocked = blocked

    def _writable(self) -> None:
        self._blocked = False
        self.flush()

    def close(self) -> None:
        self.flush()
        if self._owned and self._fd >= 0:
            os.close(self._fd)
        self._fd, self._owned, self._size = -1, False, 0
        self._pending.clear()
