"""What the global section says about TLS: sizes of records, key updates, DHE, secrets; and which algorithms a line allows."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, Report
from headgate.config.tls_options import TlsVersions
from headgate.runtime.tls_channel import TlsChannel
from headgate.runtime.tls_openers import Dialler
from headgate.runtime.tls_tuning import BEGINNING, RECORD, TlsTuning
from headgate.tls import key_log
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.dh_parameters import predefined_parameters, read_dh_parameters
from headgate.tls.facts import ConnectionFacts
from headgate.tls.key_updates import KeyUpdateLimit
from headgate.tls.openssl import ffi, lib
from headgate.tls.server_context import BindContext, SessionCache
from headgate.tls.tuning import Tuning
from tests.tls.test_server_context import ONLY_12, ONLY_13, Visit, client
from tests.tls.test_tls_channel import server_context
from tests.tls.tls_peers import Pki, Recorder, World, bind_context, bind_tls, shake_hands


def tuned(pki: Pki, *certificates: str, tuning: Tuning, **options: Any) -> BindContext:
    report = Report()
    context = build_bind_context(bind_tls(pki, *certificates, **options), SessionCache(), report, tuning=tuning)
    assert context is not None, report.items
    return context


# --- records ---


def record_sizes(world: World, pki: Pki, tuning: TlsTuning, *amounts: int, pause: float = 0.0) -> list[list[int]]:
    """How large the records are in which a server channel sends so many bytes; `pause`: seconds go by between them."""
    near, far = world.pair()
    bind = bind_context(pki, "a.pem", versions=ONLY_12)  # whose records tell what they hold
    owner = Recorder()
    channel = TlsChannel(world.reactor, far, bind.connection(far), bind, owner, tuning=tuning)
    near.setblocking(True)
    near.settimeout(10)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = client(pki)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")  # 24 bytes more than the data: nonce and tag
    tls = context.wrap_bio(incoming, outgoing, server_hostname="a.example")
    sizes: list[list[int]] = []
    done = threading.Event()

    def read(count: int) -> bytes:
        # With a timeout MSG_WAITALL does not wait: a record of which the kernel has a part would be read as a shorter one.
        data = b""
        while len(data) < count:
            piece = near.recv(count - len(data))
            assert piece
            data += piece
        return data

    def read_record() -> bytes:
        head = read(5)
        return head + read(int.from_bytes(head[3:5], "big"))

    def peer() -> None:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                near.sendall(outgoing.read())
                incoming.write(read_record())
        near.sendall(outgoing.read())
        for amount in amounts:
            found: list[int] = []
            while sum(found) < amount:
                found.append(len(read_record()) - 5 - 24)
            sizes.append(found)
            done.set()

    thread = threading.Thread(target=peer)
    thread.start()
    world.wait(lambda: owner.completed)
    for amount in amounts:
        done.clear()
        channel.send(b"x" * amount)
        if channel.blocked:
            world.wait(lambda: not channel.blocked)
        assert done.wait(10)
        world.reactor.now += pause
    thread.join(10)
    channel.abort()
    return sizes


def test_a_record_holds_what_it_can(world: World, pki: Pki) -> None:
    assert record_sizes(world, pki, TlsTuning(), 40000) == [[RECORD, RECORD, 40000 - 2 * RECORD]]


def test_hard_maxrecord(world: World, pki: Pki) -> None:
    sizes = record_sizes(world, pki, TlsTuning(most=1000), 2500, 300)
    assert sizes == [[1000, 1000, 500], [300]]


def test_maxrecord_at_the_beginning_and_after_a_pause(world: World, pki: Pki) -> None:
    tuning = TlsTuning(first=1419, idle=1.0)
    flowing = record_sizes(world, pki, tuning, BEGINNING, 3000)
    assert set(flowing[0][:-1]) == {1419}
    assert flowing[1] == [3000]
    paused = record_sizes(world, pki, tuning, BEGINNING, 3000, pause=2.0)
    assert paused[1] == [1419, 1419, 162]


def test_both_limits(world: World, pki: Pki) -> None:
    first, second = record_sizes(world, pki, TlsTuning(most=4000, first=1419), BEGINNING, 9000)
    assert set(first[:-1]) == {1419} and second == [4000, 4000, 1000]


# --- key updates ---


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(("most", "ended"), [(2, True), (50, False)])
def test_a_flood_of_key_updates_ends_the_connection(world: World, pki: Pki, most: int, ended: bool) -> None:
    limit = KeyUpdateLimit(most, lambda: 1.0)
    bind = bind_context(pki, "a.pem", versions=ONLY_13)
    listener = socket.create_server(("127.0.0.1", 0))
    world.sockets.append(listener)
    client_process = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", "-tls1_3"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    assert client_process.stdin is not None and client_process.stdout is not None
    try:
        sock, _ = listener.accept()
        sock.setblocking(False)
        world.sockets.append(sock)
        owner = Recorder()
        channel = TlsChannel(world.reactor, sock, bind.connection(sock), bind, owner, tuning=TlsTuning(key_updates=limit))
        world.wait(lambda: owner.completed)
        for number in range(4):
            client_process.stdin.write(b"k\n")
            client_process.stdin.flush()
            while b"KEYUPDATE" not in client_process.stdout.readline():
                pass
            if number < most:
                client_process.stdin.write(b"%d\n" % number)
                client_process.stdin.flush()
                world.wait(lambda: b"%d\n" % number in owner.data)  # noqa: B023
        if ended:
            world.wait(lambda: owner.eof)
            assert limit.floods == 1
        else:
            assert not owner.eof and limit.floods == 0
        channel.abort()
        assert not limit._counts
    finally:
        client_process.kill()
        client_process.communicate()


def test_key_updates_are_counted_by_the_second() -> None:
    clock = [0.0]
    limit = KeyUpdateLimit(2, lambda: clock[0])
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    ssl_ = ffi.gc(lib.SSL_new(context._context), lib.SSL_free)
    lib.SSL_set_shutdown(ssl_, 0)
    key = int(ffi.cast("uintptr_t", ssl_))
    limit._counts[key] = (0.0, 2)
    limit._told(ssl_, 0x2001, 1)  # in no such state
    assert limit._counts[key] == (0.0, 2)
    limit.forget(ssl_)
    assert not limit._counts


# --- secrets ---


@pytest.fixture
def no_secrets() -> None:
    """What connections of other tests left behind, which nobody closed."""
    key_log._kept.clear()


def test_secrets_are_kept_only_where_they_are_wanted(world: World, pki: Pki, tmp_path: Path, no_secrets: None) -> None:
    log = tmp_path / "keys"
    context = client(pki)
    context.keylog_filename = str(log)
    kept = Visit(world, tuned(pki, "b.pem", "a.pem", tuning=Tuning(keylog=True), versions=ONLY_13), context, "a.example")
    theirs = {line.split()[0]: line.split()[2] for line in log.read_text().splitlines() if not line.startswith("#")}
    secrets = kept.tls.secrets
    assert secrets is not None
    assert {label: value.decode() for label, value in secrets.items()} == theirs
    assert len(theirs) >= 5
    assert all(value not in repr(secrets) for value in theirs.values())
    assert not key_log._kept
    assert Visit(world, bind_context(pki, "a.pem", versions=ONLY_13), client(pki)).tls.secrets is None
    assert not key_log._kept


def test_secrets_of_a_failed_handshake_are_forgotten(world: World, pki: Pki, no_secrets: None) -> None:
    context = ssl.create_default_context()  # does not trust us
    failed = Visit(world, tuned(pki, "a.pem", tuning=Tuning(keylog=True), versions=ONLY_13), context)
    assert failed.error is not None
    world.wait(lambda: not key_log._kept)


def test_secrets_of_a_servers_connection(world: World, pki: Pki) -> None:
    server = server_context(ca_file=pki.ca)
    server.tune(Tuning(keylog=True))
    near, far = world.pair()
    bind = bind_context(pki, "a.pem", versions=ONLY_13)
    ours, theirs = Recorder(), Recorder()
    channel = Dialler(server).open(world.reactor, near, b"a.example", ("192.0.2.1", 443), ours)
    channel.begin()
    other = TlsChannel(world.reactor, far, bind.connection(far), bind, theirs)
    world.wait(lambda: ours.completed and theirs.completed)
    assert isinstance(channel.tls, ConnectionFacts) and channel.tls.secrets is not None
    assert "SERVER_TRAFFIC_SECRET_0" in channel.tls.secrets
    channel.abort()
    other.abort()


# --- DHE ---


def cipher_with(world: World, pki: Pki, bind: BindContext, ciphers: str) -> str | None:
    context = client(pki)
    context.set_ciphers(ciphers)
    visit = Visit(world, bind, context, "b.example")
    return None if visit.error is not None else visit.tls.cipher


def test_dhe_only_where_it_is_asked_for(world: World, pki: Pki, tmp_path: Path) -> None:
    dhe = "DHE-RSA-AES128-GCM-SHA256"
    options: dict[str, Any] = {"versions": ONLY_12, "ciphers": "ALL"}
    assert cipher_with(world, pki, tuned(pki, "b_rsa.pem", tuning=Tuning(), **options), dhe) is None
    assert cipher_with(world, pki, tuned(pki, "b_rsa.pem", tuning=Tuning(dh_most=4096), **options), dhe) == dhe
    path = tmp_path / "dh.pem"
    path.write_bytes(predefined_parameters(3072, 3072))
    own = read_dh_parameters(str(path), None)
    assert cipher_with(world, pki, tuned(pki, "b_rsa.pem", tuning=Tuning(dh_parameters=own), **options), dhe) == dhe


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("most", "key_bits", "group"),
    [(2048, 2048, 2048), (4096, 2048, 2048), (4096, 4096, 4096), (3000, 4096, 2048), (1024, 2048, 2048), (8192, 0, 2048)],
)
def test_predefined_groups(most: int, key_bits: int, group: int) -> None:
    done = subprocess.run(
        ["openssl", "dhparam", "-noout", "-text", "-check"], input=predefined_parameters(most, key_bits), capture_output=True,
        check=True, timeout=60,
    )
    assert f"ffdhe{group}" in done.stdout.decode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no DH parameters"),
        (b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n", "damaged, or too short"),
        # 512 bits
        (
            b"-----BEGIN DH PARAMETERS-----\nMEYCQQDaTNIV+Ta0vTlmYgUhxCBzo5AV3IWM+PUAkCI1mNJYCG5aYNzdrvkFY3+o\n"
            b"+yCUPxtKqcZuJ1RJ4ikxw5MC2cEzAgEC\n-----END DH PARAMETERS-----\n",
            "damaged, or too short",
        ),
    ],
)
def test_parameters_that_can_not_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dh.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_dh_parameters(str(path), None)


# --- algorithms of a line ---


def test_sigalgs(world: World, pki: Pki) -> None:
    """With a list that the certificate's key can't sign by, nobody gets in; with one that it can, everybody does."""
    assert Visit(world, bind_context(pki, "a.pem", sigalgs="ecdsa_secp256r1_sha256:RSA+SHA512"), client(pki)).error is None
    refused = Visit(world, bind_context(pki, "a.pem", sigalgs="RSA-PSS+SHA512"), client(pki))
    assert refused.error is not None
    report = Report()
    assert build_bind_context(bind_tls(pki, "a.pem", sigalgs="NONSENSE"), SessionCache(), report) is None
    assert "sigalgs 'NONSENSE': OpenSSL does not know all of them" in report.alerts[0].message


def test_security_level(world: World, pki: Pki) -> None:
    """Level 3 wants keys like those of 3072-bit RSA: the 2048 bits of this one are refused at the start."""
    report = Report()
    assert build_bind_context(bind_tls(pki, "b_rsa.pem", ciphers="DEFAULT:@SECLEVEL=1"), SessionCache(), report) is not None
    strict = bind_context(pki, "a.pem", ciphers="DEFAULT:@SECLEVEL=3", versions=ONLY_12)
    assert Visit(world, strict, client(pki)).error is None
    old = tuned(
        pki, "a.pem", tuning=Tuning(), ciphers="DEFAULT:@SECLEVEL=0", versions=TlsVersions("TLSv1.0", "TLSv1.0")
    )
    assert old is not None


class Handshake:
    """A handshake of pyOpenSSL's client, whose library has post-quantum groups, in memory."""

    def __init__(self, bind: BindContext, groups: str | None = None) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if groups is not None:
            assert lib.SSL_CTX_set1_curves_list(context._context, groups.encode()) == 1
        near, far = SSL.Connection(context), SSL.Connection(bind._session)
        bind.settle(far._ssl, b"")
        near.set_tlsext_host_name(b"a.example")
        self.error = shake_hands(near, far)
        if self.error is None:
            self.group = bytes(ffi.string(lib.SSL_get0_group_name(far._ssl)))


HYBRID = "X25519MLKEM768"


def test_post_quantum_by_default(pki: Pki) -> None:
    """Who offers the hybrid group gets it, asked again if need be; others get what they can do."""
    bind = bind_context(pki, "a.pem", "b.pem")
    assert Handshake(bind).group == HYBRID.encode()
    assert Handshake(bind, f"X25519:{HYBRID}").error is None
    assert Handshake(bind, "X25519").group == b"x25519"


def test_curves_restrict_it(pki: Pki) -> None:
    assert Handshake(bind_context(pki, "a.pem", curves="X25519:P-256")).group == b"x25519"
    only = bind_context(pki, "a.pem", curves=HYBRID)
    assert Handshake(only).group == HYBRID.encode()
    assert Handshake(only, "X25519").error is not None
