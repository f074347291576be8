"""A TLS client for tests: Python's own `ssl`, which shares no code with the binding that headgate uses."""

from __future__ import annotations

import pathlib
import socket
import ssl
from dataclasses import dataclass

from cryptography import x509

from tests.interop.backends import Message, Wire, read_response

TLS_1_2 = ssl.TLSVersion.TLSv1_2
TLS_1_3 = ssl.TLSVersion.TLSv1_3


def client_context(
    directory: pathlib.Path, *, certificate: str | None = None, version: ssl.TLSVersion | None = None,
    alpn: tuple[str, ...] = (),
) -> ssl.SSLContext:
    """A context that trusts the tests' CA. `certificate` is the name of a PEM file in the directory."""
    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    if certificate is not None:
        context.load_cert_chain(directory / certificate)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@dataclass
class Visit:
    """One connection with one request.

    Attributes:
        response: what was answered.
        common_name: of the certificate that the server showed.
        session: to resume; resumed: whether this connection was one.
        alpn: the protocol agreed on.
    """

    response: Message
    common_name: str
    session: ssl.SSLSession | None
    resumed: bool
    version: str | None
    alpn: str | None


def visit(
    context: ssl.SSLContext, address: tuple[str, int], *, name: str = "localhost", target: str = "/",
    session: ssl.SSLSession | None = None, headers: str = "",
) -> Visit:
    """Connect, ask for one thing, close in order.

    Raises:
        ssl.SSLError, ConnectionError: when the handshake fails; with TLS 1.3 a refused client certificate shows on reading.
    """
    with socket.create_connection(address, 20) as plain, context.wrap_socket(
        plain, server_hostname=name, session=session
    ) as secure:
        wire = Wire(secure)
        wire.send(f"GET {target} HTTP/1.1\r\nHost: {name}\r\n{headers}\r\n".encode())
        response = read_response(wire)
        der = secure.getpeercert(binary_form=True)
        assert der is not None
        subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
        return Visit(
            response, subject.removeprefix("CN="), secure.session, bool(secure.session_reused), secure.version(),
            secure.selected_alpn_protocol(),
        )
