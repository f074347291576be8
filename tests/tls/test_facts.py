"""What is known of real TLS connections: both ends must say the same, and a failure must say how far it came."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from headgate.base.connection_errors import ConnectionFailure
from headgate.base.diagnostics import Report
from headgate.config.tls_options import CertificateFile, ServerTls, TlsVersions, Verify
from headgate.plan.facts import TlsFacts
from headgate.runtime.tls_channel import TlsChannel
from headgate.runtime.tls_openers import Dialler
from headgate.tls.authority import issue
from headgate.tls.client_context import ServerContext, build_server_context
from headgate.tls.facts import ConnectionFacts
from headgate.tls.openssl import error_string
from headgate.tls.server_context import BindContext
from headgate.tls.unbegun import UNBEGUN
from tests.tls.tls_peers import HERE, Pki, Recorder, World, bind_context

TLS_1_2 = TlsVersions(lowest="TLSv1.2", highest="TLSv1.2")
TLS_1_3 = TlsVersions(lowest="TLSv1.3", highest="TLSv1.3")


def server_context(**options: Any) -> ServerContext:
    report = Report()
    if isinstance(certificate := options.get("certificate"), str):
        options["certificate"] = CertificateFile(certificate, HERE)
    context = build_server_context(ServerTls(location=HERE, **options), report)
    assert context is not None, report.items
    return context


class Handshake:
    """A client channel and a server channel, and what both know once it is over."""

    def __init__(
        self, world: World, bind: BindContext, server: ServerContext, sni: bytes | None = b"a.example", *, exchange: bool = False
    ) -> None:
        near, far = world.pair()
        client_side, server_side = Recorder(), Recorder()
        client = Dialler(server).open(world.reactor, near, sni, ("192.0.2.1", 443), client_side)
        client.begin()
        listening = TlsChannel(world.reactor, far, bind.connection(far), bind, server_side)

        def over(side: Recorder) -> bool:
            return side.completed or side.lost is not None

        world.wait(lambda: over(client_side) and over(server_side))
        if exchange:
            listening.send(b"ticket")
            world.wait(lambda: client_side.data == b"ticket")
        self.client: TlsFacts = client.so_far()
        self.server: TlsFacts = listening.so_far()
        client.abort()
        listening.abort()


def both(handshake: Handshake, name: str) -> tuple[object, object]:
    return getattr(handshake.client, name), getattr(handshake.server, name)


@pytest.mark.parametrize("versions", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("certificate", [None, "client.pem"])
def test_both_ends_agree(versions: TlsVersions, certificate: str | None, world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", "b.pem", verify=Verify.OPTIONAL, ca_file=pki.ca)
    crt = None if certificate is None else pki.path(certificate)
    server = server_context(ca_file=pki.ca, versions=versions, certificate=crt)
    secrets = set()
    for resumed in (False, True):
        done = Handshake(world, bind, server, exchange=True)
        assert done.client.established and done.server.established
        for name in ("version", "cipher", "cipher_bits", "client_random", "server_random", "unique_id", "group", "alpn"):
            ours, theirs = both(done, name)
            assert ours == theirs, name
        assert both(done, "resumed") == (resumed, resumed)
        assert len(done.server.client_random) == len(done.server.server_random) == 32
        assert len(done.server.unique_id) == (12 if versions is TLS_1_2 else 48)
        assert done.server.cipher_algorithm_bits == done.server.cipher_bits == 256
        assert done.server.own_certificate == pki.a.certificate
        assert done.server.own_certificate_name == pki.path("a.pem").encode()
        assert done.server.peer_certificate == (None if certificate is None else pki.client.certificate)
        assert done.server.client_certificate_sent is (certificate is not None and not resumed)
        assert (done.server.error, done.server.error_text) == (0, "")
        secrets.add(done.server.session_key)
        if versions is TLS_1_2:
            assert done.client.session_key == done.server.session_key
    assert all(len(one) == 48 for one in secrets)


@pytest.mark.parametrize("versions", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_a_resumed_connection_is_of_the_certificate_that_clients_get(versions: TlsVersions, world: World, pki: Pki) -> None:
    """Of a name with two, whichever was loaded last."""
    other = issue(pki.intermediate, ["a.example", "*.wild.example"], key="rsa")
    bind = bind_context(pki, "a.pem", pki.write("a_rsa.pem", other.pem))
    server = server_context(verify=Verify.NONE, versions=versions)
    for resumed in (False, True):
        done = Handshake(world, bind, server, exchange=True)
        assert both(done, "resumed") == (resumed, resumed)
        assert done.server.own_certificate == pki.a.certificate


def test_the_oldest_version_has_the_name_that_haproxy_gives_it(world: World, pki: Pki) -> None:
    """So that `ssl_fc_protocol TLSv1` finds it."""
    weak = "DEFAULT:@SECLEVEL=0"
    oldest = TlsVersions(lowest="TLSv1.0", highest="TLSv1.0")
    bind = bind_context(pki, "a.pem", versions=oldest, ciphers=weak)
    done = Handshake(world, bind, server_context(verify=Verify.NONE, versions=oldest, ciphers=weak))
    assert both(done, "version") == ("TLSv1", "TLSv1")


def test_the_group_after_the_quantum(world: World, pki: Pki) -> None:
    done = Handshake(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca))
    assert both(done, "group") == (b"X25519MLKEM768", b"X25519MLKEM768")
    classic = Handshake(world, bind_context(pki, "a.pem", curves="P-256"), server_context(ca_file=pki.ca))
    assert both(classic, "group") == (b"secp256r1", b"secp256r1")


def test_chains(world: World, pki: Pki) -> None:
    done = Handshake(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca), exchange=True)
    sent = [pki.a.certificate, pki.intermediate.certificate]
    assert list(done.client.peer_chain) == [one.public_bytes(Encoding.DER) for one in sent], "a client sees the leaf, too"
    assert done.client.root_certificate == pki.root.certificate
    assert (list(done.server.peer_chain), done.server.root_certificate) == ([], None)


def test_the_chain_of_a_client(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", verify=Verify.REQUIRED, ca_file=pki.ca)
    crt = pki.write("below.pem", issue(pki.intermediate, ["carol"], client=True).pem)
    done = Handshake(world, bind, server_context(ca_file=pki.ca, certificate=crt))
    assert list(done.server.peer_chain) == [pki.intermediate.certificate.public_bytes(Encoding.DER)]
    assert done.server.root_certificate == pki.root.certificate


def test_names_of_ciphers(world: World, pki: Pki) -> None:
    facts = Handshake(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)).server
    names = {
        0x1301: "TLS_AES_128_GCM_SHA256", 0xC02F: "ECDHE-RSA-AES128-GCM-SHA256", 0x00FF: "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
        0x1A1A: "",
    }
    assert {number: facts.cipher_name(number) for number in names} == names


# --- failures --------------------------------------------------------------------------------------------------------


def test_nothing_in_common(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384", versions=TLS_1_2)
    done = Handshake(world, bind, server_context(ca_file=pki.ca, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", versions=TLS_1_2))
    facts = done.server
    assert not facts.established
    assert facts.error == 0x0A0000C1
    assert facts.error_text == "error:0A0000C1:SSL routines::no shared cipher"
    assert facts.failure is ConnectionFailure.SSL_HANDSHAKE
    assert (facts.version, facts.cipher, facts.cipher_bits, facts.group) == ("TLSv1.2", "(NONE)", 0, None)
    assert facts.client_random == done.client.client_random != b""
    assert facts.unique_id == b""
    assert done.client.error == 0x0A000410  # the alert handshake_failure


def test_a_certificate_that_is_not_trusted(world: World, pki: Pki) -> None:
    server = server_context(ca_file=pki.path("stranger.pem"), versions=TLS_1_2)
    done = Handshake(world, bind_context(pki, "a.pem"), server)
    assert done.client.failure is ConnectionFailure.SSL_HANDSHAKE
    assert done.client.error_text.endswith("certificate verify failed")
    assert (done.client.verify_error, done.client.root_certificate) == (20, None)
    assert (done.server.error, done.server.failure) == (0x0A000418, ConnectionFailure.SSL_HANDSHAKE)  # alert unknown_ca


@pytest.mark.parametrize(
    ("sni", "verify_host", "failure"),
    [
        (b"wrong.example", None, ConnectionFailure.SSL_MISMATCH_SNI),
        (None, "wrong.example", ConnectionFailure.SSL_MISMATCH),
        (b"", "wrong.example", ConnectionFailure.SSL_MISMATCH),
        (b"127.0.0.1", "wrong.example", ConnectionFailure.SSL_MISMATCH),  # an address is not sent
    ],
)
def test_another_name(
    sni: bytes | None, verify_host: str | None, failure: ConnectionFailure, world: World, pki: Pki
) -> None:
    server = server_context(ca_file=pki.ca, verify_host=verify_host)
    assert Handshake(world, bind_context(pki, "a.pem"), server, sni).client.failure is failure


def test_a_client_that_is_not_trusted(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", verify=Verify.REQUIRED, ca_file=pki.ca, versions=TLS_1_2)
    facts = Handshake(world, bind, server_context(ca_file=pki.ca, certificate=pki.path("stranger.pem"))).server
    assert facts.failure is ConnectionFailure.SSL_CRT_FAIL
    assert facts.certificate_error == 20
    assert (facts.authority_error, facts.authority_error_depth) == (0, 0)


@dataclass
class Notes:
    """Implements `tls.facts.Findings`."""

    error: int = 0
    ca_error: int = 0
    ca_depth: int = 0
    leaf: bytes | None = None


@pytest.mark.parametrize(
    ("notes", "failure"),
    [
        (Notes(error=10), ConnectionFailure.SSL_CRT_FAIL),
        (Notes(ca_error=10, ca_depth=1), ConnectionFailure.SSL_CA_FAIL),
        (Notes(error=20, ca_error=12, ca_depth=1), ConnectionFailure.SSL_CRT_FAIL),  # that of the CA was ignored
    ],
)
def test_what_verification_noted(notes: Notes, failure: ConnectionFailure, world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", verify=Verify.REQUIRED, ca_file=pki.ca, versions=TLS_1_2)
    facts = Handshake(world, bind, server_context(ca_file=pki.ca, certificate=pki.path("stranger.pem"))).server
    assert isinstance(facts, ConnectionFacts)
    notes.leaf = pki.stranger.certificate.public_bytes(Encoding.DER)
    facts.findings = notes
    assert (facts.certificate_error, facts.authority_error, facts.authority_error_depth) == (
        notes.error, notes.ca_error, notes.ca_depth,
    )
    assert facts.failure is failure
    assert facts.peer_certificate == pki.stranger.certificate


def test_a_certificate_that_only_openssl_can_read(world: World, pki: Pki) -> None:
    facts = Handshake(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)).server
    assert isinstance(facts, ConnectionFacts)
    facts.findings = Notes(leaf=b"0\3\2\1\1")
    assert facts.peer_certificate is None


def test_a_client_that_only_leaves(world: World, pki: Pki) -> None:
    near, far = world.pair()
    recorder = Recorder()
    bind = bind_context(pki, "a.pem")
    channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
    waiting = channel.so_far()
    assert not waiting.established and waiting.version == ""
    near.close()
    world.wait(lambda: recorder.lost)
    facts = channel.so_far()
    assert (facts.error, facts.failure) == (0, ConnectionFailure.SSL_EMPTY)
    assert (facts.version, facts.client_random, facts.server_random, facts.own_certificate) == ("", b"", b"", None)


def test_an_error_after_the_handshake(world: World, pki: Pki) -> None:
    near, far = world.pair()
    client_side, server_side = Recorder(), Recorder()
    bind, server = bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)
    client = Dialler(server).open(world.reactor, near, b"a.example", ("192.0.2.1", 443), client_side)
    client.begin()
    listening = TlsChannel(world.reactor, far, bind.connection(far), bind, server_side)
    world.wait(lambda: client_side.completed and server_side.completed)
    near.send(b"this is no record, and long enough to show it")
    world.wait(lambda: server_side.lost)
    facts = listening.tls
    assert facts is not None and facts.established
    assert facts.error_text == "error:0A0001BB:SSL routines::bad record type"
    client.abort()


def test_what_is_known_outlives_the_connection(world: World, pki: Pki) -> None:
    facts = Handshake(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)).server
    gc.collect()
    assert facts.version == "TLSv1.3"
    assert isinstance(facts.own_certificate, x509.Certificate)


def test_words_for_codes() -> None:
    assert error_string(0x0A000086) == "error:0A000086:SSL routines::certificate verify failed"
    assert error_string(0x7F000001 & 0x3FFFFFFF).startswith("error:3F000001:lib(126)::reason(")


def test_before_the_handshake_there_is_nothing() -> None:
    assert not UNBEGUN.established
    assert (UNBEGUN.version, UNBEGUN.cipher) == ("", "(NONE)")
    assert (UNBEGUN.cipher_name(0x1301), UNBEGUN.cipher_name(0x0A0A)) == ("TLS_AES_128_GCM_SHA256", "")
    assert UNBEGUN.failure is ConnectionFailure.SSL_EMPTY


@pytest.mark.parametrize("outgoing", [False, True])
def test_all_can_be_asked_of_a_connection_that_has_seen_no_byte(outgoing: bool, world: World, pki: Pki) -> None:
    """A client that fails at once is logged, with whatever fields the log has."""
    near, _ = world.pair()
    bind, server = bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)
    handle = server.dial(near, None, ("192.0.2.1", 443), 0.0) if outgoing else bind.connection(near)
    facts = ConnectionFacts(handle.ssl, None if outgoing else bind, outgoing=outgoing, established=False)
    asked = [name for name, kind in vars(ConnectionFacts).items() if isinstance(kind, property)]
    assert len(asked) > 20
    for name in asked:
        assert not getattr(facts, name) or name in ("cipher", "failure"), name  # `(NONE)`, and that it sent nothing
