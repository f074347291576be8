"""TLS records and handshake messages that real clients don't send: made by hand, or a real client's in other hands."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import socket
import ssl
import tempfile

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HANDSHAKE, ALERT, DATA = 22, 21, 23
X25519, P256 = 29, 23


def record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    """One record."""
    return bytes([kind]) + version.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes) -> bytes:
    """One handshake message."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def vector(width: int, body: bytes) -> bytes:
    return len(body).to_bytes(width, "big") + body


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


class Hello:
    """A ClientHello whose every part may be changed before it is sent.

    Attributes:
        extensions: number -> body, in order.
    """

    def __init__(self, version: str, name: str) -> None:
        newest = version == "1.3"
        self.version = 0x0303
        self.record_version = 0x0301
        self.session_id = b""
        self.ciphers = (0x1301, 0x1302) if newest else (0xC02B, 0xC02F)
        self.extensions: dict[int, bytes] = {
            0: vector(2, b"\0" + vector(2, name.encode())),
            10: vector(2, numbers(X25519, P256)),
            13: vector(2, numbers(0x0403, 0x0804)),
        }
        if newest:
            self.extensions[43] = vector(1, numbers(0x0304))
            self.extensions[51] = vector(2, numbers(X25519) + vector(2, bytes([9]) + bytes(31)))

    def message(self) -> bytes:
        body = self.version.to_bytes(2, "big") + os.urandom(32) + vector(1, self.session_id)
        body += vector(2, numbers(*self.ciphers)) + b"\1\0"
        if self.extensions:
            body += vector(2, b"".join(numbers(kind) + vector(2, one) for kind, one in self.extensions.items()))
        return message(1, body)

    def records(self, size: int = 16384) -> bytes:
        """In records of at most `size` bytes."""
        whole = self.message()
        parts = (whole[start : start + size] for start in range(0, len(whole), size))
        return b"".join(record(HANDSHAKE, part, self.record_version) for part in parts)


class ClientSide:
    """Python's ssl without a socket: its bytes can be changed, held back, or replaced.

    Attributes:
        answer: what it wants to send after the server's certificate.
    """

    def __init__(
        self, directory: pathlib.Path, context: ssl.SSLContext, name: str, session: ssl.SSLSession | None = None
    ) -> None:
        descriptor, self._keys = tempfile.mkstemp(dir=directory, prefix="keys")
        os.close(descriptor)
        context.keylog_filename = self._keys
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)
        self.done = self._step()
        self.hello = self._outgoing.read()
        self.answer = b""

    def _step(self) -> bool:
        try:
            self.ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read_flight(self, connection: socket.socket) -> None:
        """Send the hello, read all that the server says until it waits for an answer."""
        connection.sendall(self.hello)
        while not self.answer:
            data = connection.recv(65536)
            assert data, "the server left"
            self._incoming.write(data)
            self.done = self._step()
            self.answer = self._outgoing.read()

    def say(self, data: bytes) -> bytes:
        """What it sends to say this, when its handshake is done."""
        self.ssl.write(data)
        return self._outgoing.read()

    def hear(self, data: bytes) -> bytes:
        """What is said to it in these bytes."""
        self._incoming.write(data)
        heard = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                heard += self.ssl.read(65536)
        return heard

    def alert(self, description: int, *, fatal: bool = True, number: int = 0) -> bytes:
        """An alert in the place of the answer, the `number`th record (RFC 8446 sections 5.2, 7.3)."""
        body = bytes([2 if fatal else 1, description])
        if self.ssl.version() != "TLSv1.3":
            return record(ALERT, body)
        return self.enciphered(ALERT, body, number=number)

    def enciphered(self, kind: int, body: bytes, *, secret: str = "CLIENT_HANDSHAKE_TRAFFIC_SECRET", number: int = 0) -> bytes:
        """A record under a traffic secret of the client (TLS 1.3), the `number`th under it."""
        cipher = self.ssl.cipher()
        assert cipher is not None and "AES" in cipher[0]
        (found,) = re.findall(rf"^{secret} \w+ (\w+)", pathlib.Path(self._keys).read_text(), re.M)
        digest, length = (hashes.SHA384(), 32) if cipher[0].endswith("384") else (hashes.SHA256(), 16)

        def expand(label: bytes, size: int) -> bytes:
            info = size.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
            return HKDFExpand(digest, size, info).derive(bytes.fromhex(found))

        inner = body + bytes([kind])
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = bytes(left ^ right for left, right in zip(expand(b"iv", 12), number.to_bytes(12, "big"), strict=True))
        return header + AESGCM(expand(b"key", length)).encrypt(nonce, inner, header)
