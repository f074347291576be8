"""What a context sends beside the leaf: the chain of its own certificate only, and signed certificate timestamps."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL

from headgate.base.diagnostics import Report
from headgate.config.tls_options import BindPolicy, BindTls, Verify
from headgate.runtime.tls_channel import TlsChannel
from headgate.tls import timestamps
from headgate.tls.authority import issue, make_authority
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.openssl import lib
from headgate.tls.pem import read_certified_key
from headgate.tls.server_context import BindContext, SessionCache
from headgate.tls.storage import Storage
from headgate.tls.unbound import Unreachable
from tests.tls.tls_peers import HERE, Pki, Recorder, World, bind_context, lines
from tests.tls.visits import Visit, client, peeked

SCT = b"\x00\x05\x00\x03abc"


def sent(world: World, bind: BindContext, name: bytes, signatures: bytes, versions: int) -> list[x509.Certificate]:
    """The chain that a client gets which can use these signature algorithms."""
    near, far = world.pair()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(versions)
    context.set_max_proto_version(versions)
    if versions == SSL.TLS1_2_VERSION:
        context.set_cipher_list(b"ECDHE+aRSA" if signatures == b"rsa" else b"ECDHE+aECDSA")
    algorithms = b"RSA-PSS+SHA256:RSA+SHA256" if signatures == b"rsa" else b"ECDSA+SHA256"
    if versions == SSL.TLS1_3_VERSION:
        assert lib.SSL_CTX_set1_sigalgs_list(context._context, algorithms) == 1
    connection = SSL.Connection(context, near)
    connection.set_tlsext_host_name(name)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    recorder = Recorder()
    channel = TlsChannel(world.reactor, far, bind.connection(far, peeked(far)), bind, recorder)
    done: list[bool] = []

    def step() -> bool:
        try:
            connection.do_handshake()
            done.append(True)
        except SSL.WantReadError:
            pass
        return bool(done) and recorder.completed

    world.wait(step)
    chain = connection.get_peer_cert_chain() or []
    channel.abort()
    return [one.to_cryptography() for one in chain]


@pytest.mark.parametrize("versions", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])
def test_chains_do_not_mix(world: World, pki: Pki, tmp_path: Path, versions: int) -> None:
    one, two = make_authority("One", parent=pki.root), make_authority("Two", parent=pki.root)
    ecdsa, rsa = issue(one, ["x.example"]), issue(two, ["x.example"], key="rsa")
    (tmp_path / "x.pem.ecdsa").write_bytes(ecdsa.pem)
    (tmp_path / "x.pem.rsa").write_bytes(rsa.pem)
    bind = build_bind_context(BindTls(lines(str(tmp_path / "x.pem")), location=HERE), SessionCache(), Report())
    assert bind is not None and bind.selective
    for name in (b"x.example", b"else.example"):
        assert sent(world, bind, name, b"ecdsa", versions) == [ecdsa.certificate, one.certificate]
        assert sent(world, bind, name, b"rsa", versions) == [rsa.certificate, two.certificate]


def test_equal_chains_share_a_context(world: World, pki: Pki, tmp_path: Path) -> None:
    ecdsa, rsa = issue(pki.intermediate, ["x.example"]), issue(pki.intermediate, ["x.example"], key="rsa")
    (tmp_path / "x.pem.ecdsa").write_bytes(ecdsa.pem)
    (tmp_path / "x.pem.rsa").write_bytes(rsa.pem)
    bind = build_bind_context(BindTls(lines(str(tmp_path / "x.pem")), location=HERE), SessionCache(), Report())
    assert bind is not None and not bind.selective
    assert sent(world, bind, b"x.example", b"rsa", SSL.TLS1_3_VERSION) == [rsa.certificate, pki.intermediate.certificate]


def test_replaced_certificate_is_what_the_next_client_gets(world: World, pki: Pki) -> None:
    storage = Storage()
    report = Report()
    tls = BindTls(lines(pki.path("b.pem"), pki.path("a.pem")), location=HERE)
    bind = build_bind_context(tls, SessionCache(), report, storage=storage, clock=time.time)
    assert bind is not None
    context = client(pki)
    assert Visit(world, bind, context, "a.example").tls.own_certificate == pki.a.certificate
    renewed = issue(pki.root, ["a.example", "added.example"])
    pki.write("renewed.pem", renewed.pem)
    storage.replace(storage.certificates[pki.path("a.pem")], read_certified_key(pki.path("renewed.pem"), HERE))
    for name in ("a.example", "added.example"):
        assert Visit(world, bind, context, name).tls.own_certificate == renewed.certificate
    assert Visit(world, bind, context, "x.wild.example").tls.own_certificate == pki.b.certificate  # no longer in it
    storage.replace(storage.certificates[pki.path("b.pem")], read_certified_key(pki.path("renewed.pem"), HERE))
    assert Visit(world, bind, context, "else").tls.own_certificate == renewed.certificate


def test_replaced_authorities_hold_for_the_next_client(world: World, pki: Pki) -> None:
    storage = Storage()
    policy = BindPolicy(verify=Verify.REQUIRED, ca_file=pki.ca)
    tls = BindTls(lines(pki.path("a.pem")), policy, location=HERE)
    bind = build_bind_context(tls, SessionCache(), Report(), storage=storage)
    assert bind is not None
    friend, stranger = client(pki, certificate="client.pem"), client(pki, certificate="stranger.pem")
    first = Visit(world, bind, friend)
    assert first.error is None and Visit(world, bind, stranger).error is not None
    storage.replace(storage.authorities[pki.ca], (pki.other.certificate,))
    assert Visit(world, bind, friend, session=first.session).error is not None  # no session of before opens it either
    assert Visit(world, bind, stranger).error is None


def timestamp() -> bytes:
    """A list with one timestamp, of a log that nobody knows (RFC 6962 section 3.2)."""
    signature = b"\x04\x03\x00\x08" + b"s" * 8
    one = b"\x00" + b"L" * 32 + (1_700_000_000_000).to_bytes(8, "big") + b"\x00\x00" + signature
    return (len(one) + 2).to_bytes(2, "big") + len(one).to_bytes(2, "big") + one


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("reachable", [True, False])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_timestamps_are_sent_to_who_asks(
    world: World, pki: Pki, tmp_path: Path, version: str, reachable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `openssl s_client -ct` shows them; of the certificate above there are none."""
    if not reachable:
        monkeypatch.setattr(timestamps, "function", unreachable)
    logs = tmp_path / "logs.cnf"
    logs.write_text("enabled_logs=\n")  # none is known
    above = make_authority("above")
    (tmp_path / "a.pem").write_bytes(pki.a.pem + above.certificate_pem)
    (tmp_path / "a.pem.sctl").write_bytes(timestamp())
    bind = build_bind_context(BindTls(lines(str(tmp_path / "a.pem")), location=HERE), SessionCache(), Report())
    assert bind is not None
    for asks, context in ((True, bind), (False, bind), (True, bind_context(pki, "a.pem"))):
        output = openssl(world, context, version, *(["-ct", "-ctlogfile", str(logs)] if asks else []))
        known = asks and context is bind and (reachable or version == "-tls1_2")
        assert ("Log ID    : 4C:4C:4C" in output) is known, output
        assert output.count("Log ID") == known


def unreachable(name: str) -> object:
    raise Unreachable(f"the TLS library has no {name}")


def openssl(world: World, bind: BindContext, *options: str) -> str:
    """What s_client prints of a handshake."""
    listener = socket.create_server(("127.0.0.1", 0))
    found: list[str] = []

    def run() -> None:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", *options]
        found.append(subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False).stdout)

    thread = threading.Thread(target=run)
    thread.start()
    far, _ = listener.accept()
    listener.close()
    world.sockets.append(far)
    far.setblocking(False)
    recorder = Recorder()
    channel = TlsChannel(world.reactor, far, bind.connection(far, peeked(far)), bind, recorder)
    world.wait(lambda: recorder.completed or recorder.lost)
    channel.close()
    thread.join(30)
    return found[0]
