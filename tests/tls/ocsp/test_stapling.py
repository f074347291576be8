"""What clients are given in real handshakes."""

from __future__ import annotations

import gc
import socket
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from OpenSSL import SSL

from headgate.base.diagnostics import Report
from headgate.config.tls_options import BindTls, CertificateFile, CertificateLine
from headgate.tls.authority import Issued, make_authority
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.ocsp import stapling
from headgate.tls.ocsp.ledger import Staple
from headgate.tls.ocsp.stapling import Staples
from headgate.tls.openssl import lib
from headgate.tls.server_context import BindContext, SessionCache
from headgate.tls.storage import Storage
from tests.tls.ocsp.ocsp_fixtures import NOW, asking_client, asking_context, make_delegate, make_leaf, make_response

CA = make_authority("test CA")
A, B_EC = make_leaf(CA, names=["a.example"]), make_leaf(CA, names=["b.example"])
B_RSA = make_leaf(CA, names=["b.example"], key="rsa")


class Server:
    """A bind line with certificates of our own making, and a clock that we turn."""

    def __init__(self, folder: Path, *leaves: Issued) -> None:
        self.now = NOW
        self.storage = Storage()
        self.storage.staples = Staples(lambda: self.now)
        self.held: dict[x509.Certificate, Staple] = {}  # as the ledger does
        files = []
        for number, leaf in enumerate(leaves):
            path = folder / f"{number}.pem"
            path.write_bytes(leaf.pem)
            files.append(CertificateLine(CertificateFile(str(path), None)))  # type: ignore[arg-type]
        report = Report()
        context = build_bind_context(BindTls(tuple(files)), SessionCache(), report, storage=self.storage)
        assert context is not None, report.items
        self.context: BindContext = context
        self.der = {leaf.certificate: one.entry.contents.leaf for leaf, one in zip(leaves, context.store.served, strict=True)}

    def staple(self, leaf: Issued) -> Staple:
        return self.held.setdefault(leaf.certificate, self.storage.staples.of(self.der[leaf.certificate]))

    def put(self, leaf: Issued, response: bytes, seconds: float = 3600.0) -> None:
        staple = self.staple(leaf)
        staple.der, staple.until = response, self.now + seconds

    def ask(self, name: str, *, asks: bool = True, version: int = SSL.TLS1_3_VERSION, algorithms: bytes = b"") -> bytes:
        """The response that a client gets; b"" for none. Raises SSL.Error when the handshake fails."""
        client_context, seen = asking_context()
        client_context.set_min_proto_version(version)
        client_context.set_max_proto_version(version)
        if algorithms:
            client_context.set_cipher_list(algorithms)
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            client = asking_client(client_context, near, name, asks=asks)
            server = self.context.connection(far)
            self._shake(client, server.ssl)
        return seen[0] if seen else b""

    @staticmethod
    def _shake(client: SSL.Connection, server: Any) -> None:
        for _ in range(20):
            try:
                client.do_handshake()
                is_done = True
            except SSL.WantReadError:
                is_done = False
            if lib.SSL_do_handshake(server) == 1 and is_done:
                return
            lib.ERR_clear_error()
        raise AssertionError("the handshake does not end")


VERSIONS = [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION]


@pytest.mark.parametrize("version", VERSIONS)
def test_each_certificate_has_its_own_response(tmp_path: Path, version: int) -> None:
    server = Server(tmp_path, A, B_EC)
    first, second = make_response(CA, A), make_response(CA, B_EC)
    assert server.ask("a.example", version=version) == b""
    server.put(A, first)
    server.put(B_EC, second)
    for _ in range(3):
        assert server.ask("a.example", version=version) == first
        assert server.ask("b.example", version=version) == second
        assert server.ask("nobody.example", version=version) == first, "the default certificate"
        assert server.ask("a.example", version=version, asks=False) == b""


def test_two_kinds_of_keys_for_one_name(tmp_path: Path) -> None:
    server = Server(tmp_path, B_EC, B_RSA)
    ecdsa, rsa = make_response(CA, B_EC), make_response(CA, B_RSA)
    server.put(B_EC, ecdsa)
    server.put(B_RSA, rsa)
    assert server.ask("b.example", version=SSL.TLS1_2_VERSION, algorithms=b"ECDHE-ECDSA-AES128-GCM-SHA256") == ecdsa
    assert server.ask("b.example", version=SSL.TLS1_2_VERSION, algorithms=b"ECDHE-RSA-AES128-GCM-SHA256") == rsa


def test_a_new_response_counts_from_the_next_handshake(tmp_path: Path) -> None:
    server = Server(tmp_path, A)
    for response in (make_response(CA, A), make_response(CA, A, begins=-10)):
        server.put(A, response)
        assert server.ask("a.example") == response


def test_an_expired_response_is_never_stapled(tmp_path: Path) -> None:
    server = Server(tmp_path, A)
    response = make_response(CA, A)
    server.put(A, response, 10.0)
    server.now += 9.9
    assert server.ask("a.example") == response
    server.now += 0.1
    assert server.ask("a.example") == b"", "though nobody has taken it away"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_required_response_that_is_missing_refuses_those_who_ask(tmp_path: Path, version: int) -> None:
    server = Server(tmp_path, A)
    server.staple(A).required = True
    with pytest.raises(SSL.Error):
        server.ask("a.example", version=version)
    assert server.ask("a.example", version=version, asks=False) == b""
    response = make_response(CA, A)
    server.put(A, response, 10.0)
    assert server.ask("a.example", version=version) == response
    server.now += 10
    with pytest.raises(SSL.Error):
        server.ask("a.example", version=version)


def test_staples_of_certificates_that_nobody_holds_are_forgotten() -> None:
    staples = Staples()
    kept = staples.of(b"kept")
    for number in range(100):
        staples.of(b"made for a name %d" % number)
    assert staples.of(b"kept") is kept and len(staples._staples) == 1


def test_contexts_that_are_gone_leave_nothing_behind(tmp_path: Path) -> None:
    server = Server(tmp_path, A, B_EC)
    gc.collect()
    before = len(stapling._attached)
    server.ask("b.example")
    assert len(stapling._attached) == before + 1
    server.context.replaced(server.context.store.served[0].entry)
    gc.collect()
    assert len(stapling._attached) == before


def test_handshakes_leak_nothing(tmp_path: Path) -> None:
    """OpenSSL frees each copy of a response with its connection."""
    server = Server(tmp_path, A)
    response = make_response(CA, A, signer=make_delegate(CA, padding=40_000))
    server.put(A, response)
    assert server.ask("a.example") == response

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    for _ in range(20):
        server.ask("a.example")
    before = resident()
    for _ in range(200):
        server.ask("a.example")
    assert resident() - before < 5000, "200 copies of 40 KB would be 8 MB"
