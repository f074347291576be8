"""Clients that keep asking while a test reloads or kills, and a server behind the proxy for them, in a thread of their own.

What is not answered in full, with status 200, is a failure. A client that was told `Connection: close` opens a new connection,
one that was not expects its connection to be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
_BLOCK = b"x" * 65536
#: Seconds that one request may take.
_PATIENCE = 30.0

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Load:
    """Traffic through one proxy.

    Args:
        port: of the proxy.
        tls_port: the same over TLS; 0 for none.
        think: seconds that a client with a kept connection waits between two requests.
        download: bytes of a long transfer; 0 for none.
        pause: seconds that the server waits after each 64 kB of it.

    Attributes:
        backend_port: where the server listens.
        done: how many requests were answered, by kind of client.
        failures: what went wrong, by kind of client.
    """

    def __init__(self, port: int, tls_port: int = 0, *, think: float = 0.01, download: int = 0, pause: float = 0.005) -> None:
        self.port, self.tls_port = port, tls_port
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.backend_port = 0
        self._think, self._download, self._pause = think, download, pause
        self._served: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._go = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    def start(self) -> None:
        """Begin to ask."""
        self._go.set()

    def finish(self) -> None:
        """Ask no more, and wait for what is under way."""
        self._stop.set()
        self._go.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "clients still wait"

    def grown(self, more: int = 20) -> Callable[[], bool]:
        """Whether each kind of client with short requests has been answered that often from now on."""
        before = Counter(self.done)
        kinds = ["kept", "new"] + (["tls kept", "tls new"] if self.tls_port else [])
        return lambda: bool(self.failures) or all(self.done[kind] >= before[kind] + more for kind in kinds)

    # --- the server ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b" /long" in head.split(b"\r\n", 1)[0]:
                    writer.write(_HEAD % self._download)
                    left = self._download
                    while left > 0:
                        writer.write(_BLOCK[:left])
                        left -= len(_BLOCK)
                        await writer.drain()
                        await asyncio.sleep(self._pause)
                else:
                    writer.write(_HEAD % 5 + b"hello")
                await writer.drain()
        self._served.discard(writer)
        writer.close()

    # --- the clients ---

    async def _main(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.backend_port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await asyncio.to_thread(self._go.wait)
        clients = [self._asks("kept", self._plain, True) for _ in range(3)]
        clients += [self._asks("new", self._plain, False) for _ in range(3)]
        if self.tls_port:
            clients += [self._asks("tls kept", self._tls, True) for _ in range(2)]
            clients += [self._asks("tls new", self._tls, False)]
        if self._download:
            clients += [self._asks("long", self._plain, False, b"/long")]
        await asyncio.gather(*clients)
        server.close()
        for writer in list(self._served):
            writer.close()
        # Transports close in the next turns of the loop, those of TLS in some more.
        await asyncio.sleep(0.1)

    async def _plain(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _tls(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return await asyncio.open_connection("127.0.0.1", self.tls_port, ssl=context)

    async def _asks(self, kind: str, connect: Connect, keep: bool, path: bytes = b"/") -> None:
        writer: asyncio.StreamWriter | None = None
        while not self._stop.is_set():
            state = "connecting"
            try:
                async with asyncio.timeout(_PATIENCE):
                    if writer is None:
                        reader, writer = await connect()
                        state = "first request"
                    else:
                        state = "next request"
                    if not await self._exchange(reader, writer, path, keep):
                        writer.close()
                        writer = None
                self.done[kind] += 1
            except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
                self.failures.append(f"{kind}, {state}: {error!r}")
                if writer is not None:
                    writer.transport.abort()
                    writer = None
            await asyncio.sleep(self._think)
        if writer is not None:
            writer.close()

    @staticmethod
    async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: bytes, keep: bool) -> bool:
        """One request. Whether the connection may be used again; ValueError when the answer is not what it should be."""
        close = b"" if keep else b"Connection: close\r\n"
        writer.write(b"GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n" % (path, close))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise ValueError(head.split(b"\r\n")[0])
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        while length:
            data = await reader.read(min(length, 1 << 16))
            if not data:
                raise ValueError(f"{length} bytes are missing")
            length -= len(data)
        return keep and b"connection: close" not in head
