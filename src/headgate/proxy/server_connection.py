"""A connection to a server, between exchanges and within one. Owner of the server's channel.

It outlives exchanges: while it has none it sits in a `Pool` (or stays with its session), and anything that the server says
then ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.balance.server import ServerState
from headgate.proxy.exchange import AWAIT_HEAD
from headgate.proxy.port import Channel, Lost

if TYPE_CHECKING:
    from headgate.proxy.pool import Pool
    from headgate.proxy.response import ResponsePath


class ServerConnection:
    """One HTTP/1 connection to a server.

    Attributes:
        key: what must be equal for another request to use it; see `Pool`.
        stream: the exchange it carries now, or None.
        paused: reading is stopped, because the client is slow.
        gone: it closed while it was idle.
        private: it was authenticated as a whole (NTLM): it belongs to its session, and no other may use it.
        reuses: how many exchanges it carried after the first one.
        idle_since: monotonic seconds.
        ends: address and port of our side and of the server's, for logs and fetches of whoever uses it next.
    """

    __slots__ = ("channel", "ends", "gone", "idle_since", "key", "paused", "pool", "private", "reuses", "server", "stream")

    def __init__(self, channel: Channel, server: ServerState, pool: Pool, key: bytes | None) -> None:
        self.channel = channel
        self.server = server
        self.pool = pool
        self.key = key
        self.stream: ResponsePath | None = None
        self.gone = False
        self.private = False
        self.paused = False
        self.reuses = 0
        self.idle_since = 0.0
        self.ends: tuple[bytes, int, bytes, int] = (b"", 0, b"", 0)
        channel.owner = self

    def data_received(self, data: bytes) -> None:
        stream = self.stream
        if stream is None:
            # Nobody asked: whatever it is, the next answer on this connection could not be trusted.
            self._gone()
        elif stream.phase == AWAIT_HEAD:
            stream.head_bytes(data)
        else:
            stream.from_server(data)

    def pause(self) -> None:
        """Stop reading."""
        self.paused = True
        self.channel.pause()

    def resume(self) -> None:
        """Read again."""
        self.paused = False
        self.channel.resume()

    def eof_received(self) -> None:
        stream = self.stream
        if stream is not None:
            stream.server_eof()
        else:
            self._gone()

    def connection_lost(self, reason: Lost) -> None:
        stream = self.stream
        if stream is not None:
            stream.server_lost(reason)
        else:
            self.gone = True
            self.pool.remove(self)

    def drained(self) -> None:
        stream = self.stream
        if stream is not None:
            stream.server_drained()

    def _gone(self) -> None:
        self.gone = True
        self.pool.remove(self)
        self.channel.close()

    def close(self) -> None:
        """Close cleanly."""
        self.stream = None
        self.channel.close()

    def abort(self) -> None:
        """Close in the middle of something."""
        self.stream = None
        self.channel.abort()
