"""Clients whose handshakes fail: programs, Python's own `ssl`, and bytes. Each takes a `Visit` and leaves when it has failed.

A client that is let in asks for a page and returns True; False when it was not let in. What the proxy says about it is not theirs
to know.
"""

from __future__ import annotations

import contextlib
import pathlib
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.interop.tls_records import ClientSide, Hello

NAME = "site.example"
_PATIENCE = 20


@dataclass(frozen=True)
class Visit:
    """Where a client goes.

    Attributes:
        port: on 127.0.0.1.
        version: "1.2" or "1.3"; "" where it does not matter.
        directory: of certificate files.
    """

    port: int
    version: str
    directory: pathlib.Path

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection that has sent this."""
        connection = socket.create_connection(("127.0.0.1", self.port), _PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(data)
        return connection

    def path(self, name: str) -> str:
        return str(self.directory / name)


Client = Callable[[Visit], bool]


# --- programs ---


def s_client(
    *arguments: str, name: str = NAME, text: str = "GET / HTTP/1.0\r\n\r\n", versioned: bool = True, quiet: bool = True,
) -> Client:
    """`openssl s_client`; words that end in .pem are files of the visit's directory."""

    def visit(to: Visit) -> bool:
        words = [to.path(word) if word.endswith(".pem") else word for word in arguments]
        version = [f"-tls{to.version.replace('.', '_')}"] if versioned and to.version else []
        names = ["-servername", name] if name else ["-noservername"]
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{to.port}", *names, *version, *words]
        command += ["-quiet"] if quiet else []  # which also means not to leave at the end of input
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_PATIENCE, check=False)
        return b"200 OK" in done.stdout

    return visit


def curl(*arguments: str, url: str = f"https://{NAME}/", ca: str = "ca.pem") -> Client:
    """curl."""

    def visit(to: Visit) -> bool:
        words = [to.path(word) if word.endswith(".pem") else word for word in arguments]
        version = [f"--tlsv{to.version}", "--tls-max", to.version] if to.version else []
        command = ["curl", "-sS", "--noproxy", "*", "--cacert", to.path(ca), "--connect-to", f"::127.0.0.1:{to.port}", *version]
        done = subprocess.run([*command, *words, url], capture_output=True, timeout=_PATIENCE, check=False)
        return done.stdout == b"ok"

    return visit


def java(*arguments: str, protocol: str = "") -> Client:
    """A Java program of one file, with the certificates that Java itself trusts."""
    source = pathlib.Path(__file__).with_name("Client.java")

    def visit(to: Visit) -> bool:
        words = [protocol or f"TLSv{to.version}", NAME, str(to.port), *arguments]
        done = subprocess.run(
            ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", str(source), *words], capture_output=True, timeout=60, check=False
        )
        return b"200 OK" in done.stdout

    return visit


# --- Python ---

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def python(
    *, ca: str = "ca.pem", name: str = NAME, certificate: str = "", ciphers: str = "",
) -> Client:
    """Python's own `ssl`."""

    def visit(to: Visit) -> bool:
        context = context_of(to, ca=ca, certificate=certificate, ciphers=ciphers)
        try:
            with to.connect() as plain, context.wrap_socket(plain, server_hostname=name) as secure:
                secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return b"200 OK" in secure.recv(4096)
        except (ssl.SSLError, ConnectionError):
            return False

    return visit


def context_of(to: Visit, *, ca: str = "ca.pem", certificate: str = "", ciphers: str = "") -> ssl.SSLContext:
    """A context that trusts the tests' CA and speaks the visit's version."""
    context = ssl.create_default_context(cafile=to.path(ca))
    if ciphers:
        context.set_ciphers(ciphers)
    if to.version:
        context.minimum_version = context.maximum_version = _VERSIONS[to.version]
    if certificate:
        context.load_cert_chain(to.path(certificate))
    return context


def leaving(to: Visit) -> bool:
    """The handshake, and nothing after it."""
    with to.connect() as plain, context_of(to).wrap_socket(plain, server_hostname=NAME):
        return True


# --- bytes ---


def sending(data: bytes | Callable[[Visit], bytes], *, reset: bool = False, close: bool = True, stay: bool = False) -> Client:
    """Send this, then close or reset; or wait for the other end to.

    Args:
        stay: wait until the proxy ends it.
    """

    def visit(to: Visit) -> bool:
        with to.connect(data(to) if callable(data) else data) as connection:
            if stay:
                drain(connection)
            elif reset:
                reset_at_close(connection)
        return False

    return visit


def drain(connection: socket.socket) -> bytes:
    """Everything until the other end closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
    return received


def reset_at_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hello_of(change: Callable[[Hello], None] | None = None) -> Callable[[Visit], bytes]:
    """A ClientHello of our own making, of the visit's version."""

    def make(to: Visit) -> bytes:
        hello = Hello(to.version or "1.2", NAME)
        if change is not None:
            change(hello)
        return hello.records()

    return make


def asked_again(act: Callable[[socket.socket], object]) -> Client:
    """A ClientHello that is answered with a HelloRetryRequest (RFC 8446 section 4.1.4); what follows is `act`'s."""

    def visit(to: Visit) -> bool:
        with to.connect(hello_of()(to)) as connection:
            assert connection.recv(65536), "the proxy left"
            act(connection)
        return False

    return visit


def after_certificate(act: Callable[[ClientSide, socket.socket], None]) -> Client:
    """Python's ssl up to our certificate; what follows is `act`'s."""

    def visit(to: Visit) -> bool:
        with to.connect() as connection:
            side = ClientSide(to.directory, context_of(to), NAME)
            side.read_flight(connection)
            act(side, connection)
        return False

    return visit


def alerting(number: int) -> Client:
    """A client that answers our certificate with this alert, enciphered in TLS 1.3."""

    def act(side: ClientSide, connection: socket.socket) -> None:
        connection.sendall(side.alert(number))
        drain(connection)

    return after_certificate(act)


def closing(*, reset: bool) -> Callable[[ClientSide, socket.socket], None]:
    """Leave after our certificate, without a word."""

    def act(side: ClientSide, connection: socket.socket) -> None:
        if reset:
            reset_at_close(connection)

    return act


def staying(side: ClientSide, connection: socket.socket) -> None:
    """Say nothing after our certificate."""
    drain(connection)


def changed(change: Callable[[bytes], bytes]) -> Client:
    """A client whose answer to our certificate is changed on its way."""

    def act(side: ClientSide, connection: socket.socket) -> None:
        connection.sendall(change(side.answer))
        drain(connection)

    return after_certificate(act)
