"""TLS options of server lines that change what a handshake does: revocation lists, signatures, renegotiation, own keys."""

from __future__ import annotations

import datetime
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from headgate.base.diagnostics import Report
from headgate.config.tls_options import CertificateFile, ServerTls, TlsVersions, Verify
from headgate.runtime.tls_openers import Dialler
from headgate.tls.authority import Authority, issue
from headgate.tls.client_context import ServerContext, build_server_context
from headgate.tls.pem import read_certified_key
from headgate.tls.storage import Storage
from tests.tls.test_tls_channel import WHERE, Two, server_context
from tests.tls.tls_peers import HERE, Pki, Recorder, World, bind_context

ONLY_12 = TlsVersions(highest="TLSv1.2")


def revocation_list(authority: Authority, *revoked: x509.Certificate) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = builder.last_update(now - datetime.timedelta(days=1)).next_update(now + datetime.timedelta(days=1))
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(now).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_revoked_server_is_refused(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "b.pem")
    good = pki.write("crl_good.pem", revocation_list(pki.root))
    bad = pki.write("crl_bad.pem", revocation_list(pki.root, pki.b.certificate))
    Two(world, bind, server_context(ca_file=pki.ca, crl_file=good), b"b.example").connect().close()
    refused = Two(world, bind, server_context(ca_file=pki.ca, crl_file=bad), b"b.example")
    world.wait(lambda: refused.near.lost)
    assert "revoked" in refused.client.failure


def test_a_missing_revocation_list_is_an_error_at_the_start() -> None:
    report = Report()
    tls = ServerTls(verify=Verify.REQUIRED, ca_file="@system-ca", crl_file="/nowhere.pem", location=HERE)
    assert build_server_context(tls, report) is None
    assert "cannot read CRL file" in report.alerts[0].message


def test_signature_algorithms(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "b.pem", "b_rsa.pem")
    for sigalgs, expected in (("ecdsa_secp256r1_sha256", pki.b), ("rsa_pss_rsae_sha256", pki.b_rsa)):
        two = Two(world, bind, server_context(verify=Verify.NONE, sigalgs=sigalgs), b"b.example").connect()
        assert two.client.tls is not None and two.client.tls.peer_certificate == expected.certificate
    report = Report()
    assert build_server_context(ServerTls(verify=Verify.NONE, sigalgs="nonsense", location=HERE), report) is None
    assert report.alerts[0].message.startswith("sigalgs 'nonsense'")


def test_the_key_may_be_beside_the_certificate(world: World, pki: Pki, tmp_path: Path) -> None:
    issued = issue(pki.root, ["carol"], client=True)
    (tmp_path / "carol.pem").write_bytes(issued.certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "carol.pem.key").write_bytes(issued.key_pem)
    bind = bind_context(pki, "a.pem", verify=Verify.REQUIRED, ca_file=pki.ca)
    line = server_context(verify=Verify.NONE, certificate=str(tmp_path / "carol.pem"))
    two = Two(world, bind, line).connect().exchange()
    assert two.server.tls is not None and two.server.tls.peer_certificate == issued.certificate


@pytest.mark.parametrize("renegotiate", [True, False])
def test_servers_may_renegotiate_unless_told_otherwise(world: World, pki: Pki, renegotiate: bool) -> None:
    """A server that asks for a client certificate only behind the first request, as web servers do for a part of a site."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(pki.path("b.pem"))
    context.use_privatekey_file(pki.path("b.pem"))
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    near, far = world.pair()
    far.setblocking(True)
    heard: list[Any] = []

    def serve() -> None:
        connection = SSL.Connection(context, far)
        connection.set_accept_state()
        try:
            connection.do_handshake()
            connection.recv(1)
            connection.renegotiate()
            connection.do_handshake()  # sends its request; the client's answer is read below
            connection.send(b"r")
            connection.recv(1)
            heard.append(connection.total_renegotiations())
            connection.send(b"s")
        except SSL.Error as error:
            heard.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    owner = Recorder()
    line = server_context(verify=Verify.NONE, versions=ONLY_12, renegotiate=renegotiate)
    channel = Dialler(line).open(world.reactor, near, b"b.example", WHERE, owner)
    channel.begin()
    world.wait(lambda: owner.completed)
    channel.send(b"q")
    world.wait(lambda: owner.data == b"r" or owner.lost)
    if renegotiate:
        channel.send(b"q")
        world.wait(lambda: owner.data == b"rs")
        assert heard == [1]
    channel.close()
    thread.join(10)
    assert renegotiate or heard != [1]


def test_with_a_session_only_one_key_share_is_made(world: World, pki: Pki) -> None:
    """For the group that the server chose; all groups are still listed, and the first connection makes a post-quantum one."""
    from headgate.wire.client_hello import parse_client_hello

    bind = bind_context(pki, "a.pem", curves="X25519")
    line = server_context(verify=Verify.NONE)
    hellos = []
    for _ in range(2):
        two = Two(world, bind, line)
        two.world.wait(lambda two=two: two.server.sock.fileno() < 0 or two.far.completed)  # type: ignore[misc]
        two.exchange().close()
        near, far = world.pair()
        Dialler(line).open(world.reactor, near, b"a.example", WHERE, Recorder()).begin()
        far.setblocking(True)
        hellos.append(far.recv(16384))
    assert ssl.HAS_TLSv1_3 and len(hellos[1]) < 1000
    first = parse_client_hello(hellos[1])
    assert first is not None and 0x11EC in first.groups and 0x001D in first.groups


def test_certificates_of_servers_are_replaced_while_running(world: World, pki: Pki) -> None:
    """`set ssl cert` and its kin: new connections show the new one, and no session of the old one is offered."""
    bind = bind_context(pki, "a.pem", verify=Verify.REQUIRED, ca_file=pki.ca)
    storage = Storage()
    presented = CertificateFile(pki.path("client.pem"), HERE)
    tls = ServerTls(verify=Verify.REQUIRED, ca_file=pki.ca, certificate=presented, location=HERE)
    line = ServerContext(tls, None, storage)

    def seen() -> tuple[object, bool]:
        two = Two(world, bind, line).connect().exchange()
        assert two.server.tls is not None and two.client.tls is not None
        found = two.server.tls.peer_certificate, two.client.tls.resumed
        two.close()
        return found

    assert seen() == (pki.client.certificate, False) and seen() == (pki.client.certificate, True)
    issued = issue(pki.root, ["bob"], client=True)
    bob = pki.write("bob.pem", issued.pem)
    (entry,) = storage.certificates.values()
    storage.replace(entry, read_certified_key(bob, HERE))
    assert seen() == (issued.certificate, False) and seen() == (issued.certificate, True)
    trusted = storage.authorities[pki.ca]
    storage.replace(trusted, (pki.other.certificate,))
    refused = Two(world, bind, line)
    world.wait(lambda: refused.near.lost)
    assert "server-certificate-unknown-ca" in refused.client.failure
    assert line.entries() == {entry, trusted}
