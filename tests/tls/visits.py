"""Visits of a client, Python's ssl in a thread of its own, to a bind line's context."""

from __future__ import annotations

import select
import socket
import ssl
import threading

from headgate.runtime.tls_channel import TlsChannel
from headgate.tls.facts import ConnectionFacts
from headgate.tls.server_context import BindContext
from headgate.wire.hello_length import bytes_wanted
from tests.tls.tls_peers import Pki, Recorder, World


def peeked(sock: socket.socket) -> bytes:
    """What the listener would have seen of the connection when its handshake begins."""
    data = b""
    while True:
        assert select.select([sock], [], [], 10)[0]
        data, before = sock.recv(16384, socket.MSG_PEEK), data
        if len(data) >= bytes_wanted(data) or data == before:
            return data


class Visit:
    """One visit of a client (Python's ssl, in a thread of its own): what both sides saw."""

    def __init__(
        self,
        world: World,
        bind: BindContext,
        context: ssl.SSLContext,
        name: str | None = "a.example",
        session: ssl.SSLSession | None = None,
    ) -> None:
        near, far = world.pair()
        near.setblocking(True)
        near.settimeout(10)
        self.server = Recorder()
        self.error: Exception | None = None
        self.session: ssl.SSLSession | None = None
        self.reused = False
        self.alpn: str | None = None
        self.version: str | None = None
        self.certificate: bytes | None = None

        def client() -> None:
            try:
                with context.wrap_socket(near, server_hostname=name, session=session) as tls:
                    tls.sendall(b"ping")
                    assert tls.recv(4) == b"pong"  # tickets of TLS 1.3 have come by now
                    self.session = tls.session
                    self.reused = bool(tls.session_reused)
                    self.alpn = tls.selected_alpn_protocol()
                    self.version = tls.version()
                    self.certificate = tls.getpeercert(binary_form=True)
                    assert tls.recv(1) == b""  # close_notify
            except (ssl.SSLError, OSError) as error:
                self.error = error

        thread = threading.Thread(target=client)
        thread.start()
        hello = peeked(far)
        self.channel = TlsChannel(world.reactor, far, bind.connection(far, hello), bind, self.server)
        self.channel.hello = hello
        world.wait(lambda: self.server.data == b"ping" or self.server.lost)
        if not self.server.lost:
            self.channel.send(b"pong")
            self.channel.close()
        thread.join(10)
        assert not thread.is_alive()

    @property
    def tls(self) -> ConnectionFacts:
        assert isinstance(self.channel.tls, ConnectionFacts), (self.channel.failure, self.error)
        return self.channel.tls


def client(pki: Pki, *, certificate: str | None = None, alpn: list[str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pki.ca)
    context.check_hostname = False
    if certificate is not None:
        context.load_cert_chain(pki.path(certificate))
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    return context
