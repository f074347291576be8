"""A TLS 1.3 client that sends early data and finishes its handshake when the test says so. Python's own `ssl` can't send any."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

ffi: Any = _ffi
lib: Any = _lib


class Sessions:
    """What resumed connections need: a context, and the session of the last connection. `stack` closes what is left open."""

    def __init__(self, stack: contextlib.ExitStack, *, alpn: bytes = b"\x08http/1.1") -> None:
        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.context.set_min_proto_version(SSL.TLS1_3_VERSION)
        if alpn:
            lib.SSL_CTX_set_alpn_protos(self.context._context, alpn, len(alpn))
        self.session: Any = None
        self.stack = stack

    def visit(self, address: tuple[str, int], request: bytes) -> bytes:
        """A whole connection without early data, to have a session; answers what came back."""
        client = EarlyClient(self, address)
        client.finish()
        client.send(request)
        answer = client.receive()
        client.keep_session()
        client.close()
        return answer


class EarlyClient:
    """One connection.

    Attributes:
        socket: below TLS.
    """

    def __init__(self, sessions: Sessions, address: tuple[str, int]) -> None:
        self.sessions = sessions
        self.socket = socket.create_connection(address, 20)
        sessions.stack.callback(self.close)
        self.socket.setblocking(True)  # OpenSSL is called on the descriptor itself
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, (20).to_bytes(8, "little") + bytes(8))
        self.ssl = ffi.gc(lib.SSL_new(sessions.context._context), lib.SSL_free)
        lib.SSL_set_connect_state(self.ssl)
        lib.SSL_set_fd(self.ssl, self.socket.fileno())
        lib.SSL_set_tlsext_host_name(self.ssl, b"localhost")
        if sessions.session is not None:
            assert lib.SSL_set_session(self.ssl, sessions.session) == 1

    def send_early(self, data: bytes) -> None:
        """ClientHello and early data; the server's answer is not read yet."""
        assert lib.SSL_SESSION_get_max_early_data(self.sessions.session) >= len(data)
        written = ffi.new("size_t *")
        assert lib.SSL_write_early_data(self.ssl, data, len(data), written) == 1
        assert written[0] == len(data)

    def finish(self) -> None:
        """The rest of the handshake."""
        result = lib.SSL_do_handshake(self.ssl)
        assert result == 1, (result, lib.SSL_get_error(self.ssl, result))

    @property
    def resumed(self) -> bool:
        return bool(lib.SSL_session_reused(self.ssl))

    def send(self, data: bytes) -> None:
        assert lib.SSL_write(self.ssl, data, len(data)) == len(data)

    def receive(self) -> bytes:
        """What comes next, b"" at the end."""
        memory = ffi.new("char[]", 16384)
        count = lib.SSL_read(self.ssl, memory, 16384)
        lib.ERR_clear_error()
        return bytes(ffi.buffer(memory, count)) if count > 0 else b""

    def answer(self) -> bytes:
        """A whole response of ours or of a scripted server: head and Content-Length."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.receive()
            assert part, data
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += self.receive()
        return head + b"\r\n\r\n" + body

    def keep_session(self) -> None:
        """For the next connection."""
        self.sessions.session = ffi.gc(lib.SSL_get1_session(self.ssl), lib.SSL_SESSION_free)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()
