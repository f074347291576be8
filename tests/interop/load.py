"""Clients that keep asking while a test reloads or kills, and a server behind the proxy for them, in threads of their own.

What is not answered in full, with status 200, is a failure. A client that was told `Connection: close` opens a new connection,
one that was not expects its connection to be there. A TLS client that has a session expects to resume it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
_BLOCK = b"x" * 65536
_PIECE = b"x" * 8192
#: Seconds without a byte after which a request has failed.
_PATIENCE = 30.0
#: A transfer that lasts until it is let go: its length, bytes, and seconds between two of its pieces before that.
_HELD, _HELD_PAUSE = 4_000_000, 0.05

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Load:
    """Traffic through one proxy.

    Args:
        port: of the proxy.
        tls_port: the same over TLS; 0 for none.
        think: seconds that a client waits between two requests.
        held: one download and one upload begin at once and move on slowly until `release`.
        download: bytes of transfers that follow each other as fast as they can; 0 for none.

    Attributes:
        backend_port: where the server listens.
        done: how many requests were answered, by kind of client.
        bytes: of downloads, transferred so far.
        failures: what went wrong, by kind of client.
        keeps_keys: the keys of TLS tickets are to be the same all the time.
    """

    keeps_keys = True

    def __init__(self, port: int, tls_port: int = 0, *, think: float = 0.02, held: bool = False, download: int = 0) -> None:
        self.port, self.tls_port = port, tls_port
        self.done: Counter[str] = Counter()
        self.bytes = 0
        self.failures: list[str] = []
        self.backend_port = 0
        self._think, self._holds, self._download = think, held, download
        self._served: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._go = threading.Event()
        self._stop = threading.Event()
        self._released = threading.Event()
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3) if tls_port else ()
        self._resuming = [threading.Thread(target=self._resumes, args=(version,), daemon=True) for version in versions]
        for thread in (self._thread, *self._resuming):
            thread.start()
        assert self._ready.wait(20)

    def start(self) -> None:
        """Begin to ask."""
        self._go.set()

    def release(self) -> None:
        """Let the transfers that were held end."""
        self._released.set()

    def finish(self) -> None:
        """Ask no more, and wait for what is under way."""
        self._stop.set()
        self._released.set()
        self._go.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "clients still wait"

    def grown(self, more: int = 20) -> Callable[[], bool]:
        """Whether each kind of client with short requests has been answered that often from now on."""
        before = Counter(self.done)
        kinds = ["kept", "new"] + (["tls kept", "tls new", "TLSv1.2", "TLSv1.3"] if self.tls_port else [])
        return lambda: bool(self.failures) or all(self.done[kind] >= before[kind] + more for kind in kinds)

    # --- the server ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1]
                if path == b"/long":
                    writer.write(_HEAD % self._download)
                    for start in range(0, self._download, len(_BLOCK)):
                        writer.write(_BLOCK[: self._download - start])
                        await writer.drain()
                elif path == b"/held":
                    writer.write(_HEAD % _HELD)
                    await self._send_slowly(writer)
                else:
                    if path == b"/upload":
                        await reader.readexactly(_HELD)
                    writer.write(_HEAD % 5 + b"hello")
                await writer.drain()
        self._served.discard(writer)
        writer.close()

    async def _send_slowly(self, writer: asyncio.StreamWriter) -> None:
        """_HELD bytes: not all of them before the release, and something every now and then."""
        left = _HELD
        while left > 0:
            held = not self._released.is_set()
            piece = (_PIECE[:1] if left < _HELD // 2 else _PIECE) if held else _BLOCK
            writer.write(piece[:left])
            left -= len(piece)
            await writer.drain()
            if held:
                await asyncio.sleep(_HELD_PAUSE)

    # --- the clients ---

    async def _main(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.backend_port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await asyncio.to_thread(self._go.wait)
        clients = [self._asks("kept", self._plain, True) for _ in range(3)]
        clients += [self._asks("new", self._plain, False) for _ in range(3)]
        if self.tls_port:
            clients += [self._asks("tls kept", self._secure, True) for _ in range(2)]
            clients += [self._asks("tls new", self._secure, False)]
        if self._holds:
            clients += [self._asks("held", self._plain, False, b"/held", times=1)]
            clients += [self._asks("upload", self._plain, False, b"/upload", times=1)]
            if self.tls_port:
                clients += [self._asks("tls held", self._secure, False, b"/held", times=1)]
        if self._download:
            clients += [self._asks("long", self._plain, False, b"/long")]
        await asyncio.gather(*clients)
        for thread in self._resuming:
            await asyncio.to_thread(thread.join)
        server.close()
        for writer in list(self._served):
            writer.close()
        # Transports close in the next turns of the loop, those of TLS in some more.
        await asyncio.sleep(0.1)

    async def _plain(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _secure(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.tls_port, ssl=self._tls)

    async def _asks(self, kind: str, connect: Connect, keep: bool, path: bytes = b"/", times: int = 0) -> None:
        """Be a client until the end, or for so many requests."""
        writer: asyncio.StreamWriter | None = None
        while not self._stop.is_set():
            state = "connecting"
            try:
                if writer is None:
                    reader, writer = await asyncio.wait_for(connect(), _PATIENCE)
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
            if times and self.done[kind] + len(self.failures) >= times:
                break
            await asyncio.sleep(self._think)
        if writer is not None:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: bytes, keep: bool) -> bool:
        """One request. Whether the connection may be used again; ValueError when the answer is not what it should be."""
        close = b"" if keep else b"Connection: close\r\n"
        if path == b"/upload":
            writer.write(b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n" % (path, _HELD, close))
            await self._send_slowly(writer)
        else:
            writer.write(b"GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n" % (path, close))
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)).lower()
        if not head.startswith(b"http/1.1 200"):
            raise ValueError(head.split(b"\r\n")[0])
        left = length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        while left:
            try:
                data = await asyncio.wait_for(reader.read(min(left, 1 << 20)), _PATIENCE)
            except TimeoutError:
                raise ValueError(f"nothing more for {_PATIENCE:g} s: {left} of {length} bytes are missing") from None
            if not data:
                raise ValueError(f"cut: {left} of {length} bytes are missing")
            left -= len(data)
            self.bytes += len(data)
        return keep and b"connection: close" not in head

    def _resumes(self, version: ssl.TLSVersion) -> None:
        """Be a client that opens one connection after the other, and resumes its session each time."""
        kind = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        session: ssl.SSLSession | None = None
        self._go.wait()
        while not self._stop.wait(self._think):
            try:
                with (
                    socket.create_connection(("127.0.0.1", self.tls_port), _PATIENCE) as plain,
                    context.wrap_socket(plain, session=session) as secure,
                ):
                    secure.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    answer = b""
                    while data := secure.recv(4096):
                        answer += data
                    if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"hello"):
                        raise ValueError(answer)
                    if session is not None and not secure.session_reused and self.keeps_keys:
                        raise ValueError("its session was not resumed")
                    session = secure.session
                self.done[kind] += 1
            except (OSError, ValueError) as error:
                self.failures.append(f"{kind}: {error!r}")
                session = None
