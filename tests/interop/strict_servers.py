"""TLS servers that note how each connection began and ended: resumed or not, under which name, with close_notify or without.

Python's own `ssl`, which shares no code with the binding that headgate uses.
"""

from __future__ import annotations

import collections
import contextlib
import pathlib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.interop.backends import DEADLINE
from tests.interop.programs import Program, free_ports, listening

#: What is answered to a request; None: nothing is, whatever comes.
Answer = Callable[[bytes], bytes]


@dataclass
class Connection:
    """One connection.

    Attributes:
        name: that was asked for.
        resumed: the handshake was an abbreviated one.
        requests: first lines.
        end: "close_notify", "truncated" (a bare FIN), "reset", "rude" (ours was the bare FIN); "" while it is open;
            "handshake: ..." when that failed.
        address: of the peer.
        packets: with data, that had come when the first request was read.
    """

    name: str | None = None
    resumed: bool = False
    requests: list[str] = field(default_factory=list)
    end: str = ""
    address: object = None
    packets: int = 0


#: struct tcp_info of linux/tcp.h: tcpi_data_segs_in.
_PACKETS = struct.Struct("=152xI")


def packets_received(sock: socket.socket) -> int:
    """How many packets with data a TCP socket has received."""
    return int(_PACKETS.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _PACKETS.size))[0])


def ok(head: bytes) -> bytes:
    """The answer to every request."""
    return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class StrictServer:
    """A server on 127.0.0.1 that serves HTTP/1.1 with keep-alive.

    Args:
        context: its certificate, versions and tickets.
        answer: see `Answer`.
        most: requests of a connection, after which it is closed; 0: no limit.
        rude: it is closed without close_notify then.
    """

    def __init__(self, context: ssl.SSLContext, answer: Answer = ok, most: int = 0, *, rude: bool = False) -> None:
        self.connections: list[Connection] = []
        self._context = context
        self._answer = answer
        self._most = most
        self._rude = rude
        self._names: dict[ssl.SSLObject | ssl.SSLSocket, str | None] = {}
        context.sni_callback = self._named
        self.changed = threading.Condition()
        self._listener = listening(1024)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _named(self, sock: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        self._names[sock] = name

    def _accept(self) -> None:
        while True:
            try:
                accepted, address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted, address), daemon=True).start()

    def _serve(self, plain: socket.socket, address: object) -> None:
        seen = Connection(address=address)
        with self.changed:
            self.connections.append(seen)
            self._open.add(plain)
        plain.settimeout(DEADLINE)
        end = "?"
        secure: ssl.SSLSocket | None = None
        try:
            secure = self._context.wrap_socket(
                plain, server_side=True, suppress_ragged_eofs=False, do_handshake_on_connect=False
            )
            self._open.add(secure)
            secure.do_handshake()
            seen.name = self._names.pop(secure, None)
            seen.resumed = bool(secure.session_reused)
            end = self._converse(secure, seen)
        except ssl.SSLEOFError:
            end = "truncated"
        except ssl.SSLError as error:
            end = f"handshake: {error.reason}"
        except ConnectionResetError:
            end = "reset"
        except OSError as error:
            end = f"error: {error}"
        finally:
            for sock in (plain, secure):
                if sock is not None:
                    sock.close()
            with self.changed:
                self._open.discard(plain)
                if secure is not None:
                    self._open.discard(secure)
                seen.end = end
                self.changed.notify_all()

    def _converse(self, secure: ssl.SSLSocket, seen: Connection) -> str:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = secure.recv(16384)
                if not more:
                    with contextlib.suppress(OSError):
                        secure.unwrap()  # our close_notify, in return
                    return "close_notify"
                data += more
            seen.packets = seen.packets or packets_received(secure)
            head, _, data = data.partition(b"\r\n\r\n")
            seen.requests.append(head.split(b"\r\n")[0].decode())
            answer = self._answer(head)
            secure.sendall(answer)
            if self._most and len(seen.requests) >= self._most:
                if self._rude:
                    return "rude"
                with contextlib.suppress(OSError):
                    secure.unwrap()
                return "close_notify"

    @property
    def ended(self) -> list[Connection]:
        """Connections that are over."""
        with self.changed:
            return [one for one in self.connections if one.end]

    @property
    def ends(self) -> set[str]:
        """How the connections ended that are over."""
        return {one.end for one in self.ended}

    def wait_for(self, condition: Callable[[StrictServer], object], what: str, seconds: float = DEADLINE) -> None:
        """Wait until something holds."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), seconds), f"never happened: {what}: {self.connections}"

    def close(self) -> None:
        """Stop listening and end all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def server_context(certificate: object, version: ssl.TLSVersion | None = None, *, tickets: bool = True) -> ssl.SSLContext:
    """A context of a server; each has ticket keys of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(certificate))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


_JAVA = pathlib.Path(__file__).with_name("StrictJava.java")
_JETTY = pathlib.Path(__file__).with_name("StrictJetty.java")


def _key_store(certificates: pathlib.Path, directory: pathlib.Path) -> pathlib.Path:
    """site.pem as Java programs read it; the pass phrase is changeit."""
    keys = directory / "site.p12"
    command = [
        "openssl", "pkcs12", "-export", "-in", str(certificates / "site.pem"), "-out", str(keys), "-passout", "pass:changeit",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return keys


def start_java(stack: contextlib.ExitStack, certificates: pathlib.Path, directory: pathlib.Path, count: int) -> list[int]:
    """Java servers that drop the session of each connection that ends without close_notify; their ports.

    Args:
        stack: ends them.
        certificates: where site.pem is.
        directory: for the key store and what the program says.
        count: how many, all in one program.
    """
    keys = _key_store(certificates, directory)
    ports = free_ports(count)
    command = [
        "java", "-Dcom.sun.net.ssl.requireCloseNotify=true", "-Djdk.tls.server.enableSessionTicketExtension=false",
        "-XX:TieredStopAtLevel=1", str(_JAVA), str(keys), *(str(port) for port in ports),
    ]  # fmt: skip
    program = Program(command, directory, "java")
    stack.callback(program.stop)
    program.await_ports(ports)
    return ports


class Jetty(Program):
    """Debian's Jetty 9, which requires close_notify, with a listener for each of TLS 1.2 and 1.3.

    Args:
        stack: ends it.
        certificates: where site.pem is.
        directory: for the key store and what it says.
        tickets: it gives tickets, as it does by itself; else it keeps the sessions.

    Attributes:
        ports: by version.
    """

    def __init__(
        self, stack: contextlib.ExitStack, certificates: pathlib.Path, directory: pathlib.Path, *, tickets: bool
    ) -> None:
        keys = _key_store(certificates, directory)
        self.ports = dict(zip(("TLSv1.2", "TLSv1.3"), free_ports(2), strict=True))
        command = [
            "java", f"-Djdk.tls.server.enableSessionTicketExtension={str(tickets).lower()}", "-XX:TieredStopAtLevel=1",
            "-Djavax.net.ssl.sessionCacheSize=200000",  # of the 20480 that it would keep, some are dropped before they are used
            "-cp", "/usr/share/jetty9/lib/*", str(_JETTY), str(keys), *(f"{name}={port}" for name, port in self.ports.items()),
        ]  # fmt: skip
        super().__init__(command, directory, "jetty")
        stack.callback(self.stop)
        self.await_ports(self.ports.values())
        self._warm_up()

    def _warm_up(self) -> None:
        """Have it load its classes: until then a ticket comes behind the next check."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for port in [*self.ports.values()] * 3:
            with context.wrap_socket(socket.create_connection(("127.0.0.1", port), DEADLINE)) as secure:
                secure.sendall(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
                assert secure.recv(1000).startswith(b"HTTP/1.1 200")
                secure.unwrap()

    @property
    def ends(self) -> collections.Counter[tuple[str, ...]]:
        """How many connections ended how: version, and "close_notify" or "truncated"."""
        return collections.Counter(tuple(line.split()[1:]) for line in self.output.splitlines() if line.startswith("ended "))
