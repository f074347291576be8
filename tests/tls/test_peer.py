"""What servers are told about a client's TLS connection."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from headgate.base.diagnostics import NOWHERE
from headgate.config.tls_options import CertificateFile, ServerTls, Verify
from headgate.tls.client_context import ServerContext
from headgate.tls.peer import tls_info
from headgate.wire.proxy_protocol import CLIENT_CERT_CONN, CLIENT_CERT_SESS, CLIENT_SSL
from tests.tls.test_tls_channel import Two
from tests.tls.tls_peers import Pki, World, bind_context


def test_client_certificate(world: World, pki: Pki) -> None:
    context = ServerContext(ServerTls(verify=Verify.NONE, certificate=CertificateFile(pki.path("client.pem"), NOWHERE)))
    two = Two(world, bind_context(pki, "a.pem", verify=Verify.OPTIONAL, ca_file=pki.ca), context).connect().exchange()
    assert two.server.tls is not None
    info = tls_info(two.server.tls)
    assert info.client == CLIENT_SSL | CLIENT_CERT_CONN | CLIENT_CERT_SESS
    assert (info.verify, info.version, info.cn) == (0, b"TLSv1.3", b"alice")
    assert (info.sig_alg, info.key_alg) == (b"ecdsa-with-SHA256", b"EC256")
    assert info.group and info.cipher
    assert info.client_cert == pki.client.certificate.public_bytes(Encoding.DER)
    two.close()
    again = Two(world, bind_context(pki, "a.pem"), context).connect()
    assert again.server.tls is not None and tls_info(again.server.tls).client == CLIENT_SSL


def test_resumed_session_tells_of_the_earlier_certificate(world: World, pki: Pki) -> None:
    context = ServerContext(ServerTls(verify=Verify.NONE, certificate=CertificateFile(pki.path("client.pem"), NOWHERE)))
    bind = bind_context(pki, "a.pem", verify=Verify.REQUIRED, ca_file=pki.ca)
    Two(world, bind, context).connect().exchange().close()
    two = Two(world, bind, context).connect()
    assert two.server.tls is not None and two.server.tls.resumed
    info = tls_info(two.server.tls)
    assert info.client == CLIENT_SSL | CLIENT_CERT_SESS and info.cn == b"alice" and info.verify == 0


@pytest.mark.parametrize(("certificate", "name"), [("b_rsa.pem", b"RSA2048"), ("b.pem", b"EC256")])
def test_without_client_certificate(world: World, pki: Pki, certificate: str, name: bytes) -> None:
    two = Two(world, bind_context(pki, certificate), ServerContext(ServerTls(verify=Verify.NONE))).connect()
    assert two.server.tls is not None
    info = tls_info(two.server.tls)
    assert (info.client, info.verify, info.cn, info.client_cert, info.key_alg) == (CLIENT_SSL, 1, None, None, name)
