"""Several policies on one bind line: each name has its own, and no session leads from one to the other."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import replace
from typing import Any

import pytest
from OpenSSL import SSL

from headgate.base.diagnostics import Location, Report
from headgate.config.tls_options import BindPolicy, BindTls, CertificateFile, CertificateLine, CrtList, TlsVersions, Verify
from headgate.proxy.port import Lost
from headgate.runtime.tls_channel import TlsChannel
from headgate.tls.bind_lines import build_bind_context, relist
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.openssl import lib
from headgate.tls.policy import enabled_versions
from headgate.tls.server_context import BindContext, SessionCache
from headgate.tls.storage import LoadedLine, Storage
from tests.tls.tls_peers import HERE, Pki, Recorder, World
from tests.tls.visits import Visit, client

ONLY_12 = TlsVersions(highest="TLSv1.2")
BOTH = [pytest.param(TlsVersions(highest="TLSv1.2"), id="1.2"), pytest.param(TlsVersions(lowest="TLSv1.3"), id="1.3")]


def line(path: str, *filters: str, is_default: bool = False, **options: Any) -> CertificateLine:
    """A line of a crt-list."""
    return CertificateLine(CertificateFile(path, HERE), filters, is_default, tuple(options.items()), location=HERE)


def listed(*lines: CertificateLine, storage: Storage | None = None, policy: BindPolicy | None = None, **own: Any) -> BindContext:
    """A bind line with a crt-list."""
    report = Report()
    tls = BindTls((CrtList("a.list", lines, HERE),), policy or BindPolicy(), location=HERE, **own)
    bind = build_bind_context(tls, SessionCache(), report, storage=storage, clock=time.time)
    assert bind is not None and not report.items, report.items
    return bind


def mutual(pki: Pki, versions: TlsVersions, **own: Any) -> BindContext:
    """b.example is open to all, a.example to those with a certificate."""
    policy = BindPolicy(versions=versions)
    strict = line(pki.path("a.pem"), verify=Verify.REQUIRED, ca_file=pki.ca)
    return listed(line(pki.path("b.pem")), strict, policy=policy, **own)


def test_a_record_knows_the_filter_that_gives_a_certificate_its_name(pki: Pki) -> None:
    bind = listed(line(pki.path("b.pem"), "c.example", "*.d.example"))
    for name, place in ((b"C.example.", HERE), (b"x.d.example", HERE), (b"b.example", None)):
        record = HandshakeRecord(outgoing=False)
        record.sni = name
        record.describe = bind.describe
        assert record.line is not None and record.line.named_by is place


@pytest.mark.parametrize("versions", BOTH)
def test_client_certificates_by_name(world: World, pki: Pki, versions: TlsVersions) -> None:
    bind = mutual(pki, versions)
    assert bind.selective
    assert Visit(world, bind, client(pki), "b.example").error is None
    refused = Visit(world, bind, client(pki), "a.example")
    assert refused.server.lost is Lost.HANDSHAKE and "sent no certificate" in refused.channel.failure
    known = Visit(world, bind, client(pki, certificate="client.pem"), "a.example")
    assert known.error is None and known.tls.peer_certificate == pki.client.certificate
    unasked = Visit(world, bind, client(pki, certificate="client.pem"), "b.example")
    assert unasked.tls.peer_certificate is None


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "cache"])
@pytest.mark.parametrize("versions", BOTH)
def test_an_open_name_does_not_lead_to_a_closed_one(world: World, pki: Pki, versions: TlsVersions, tickets: bool) -> None:
    bind = mutual(pki, versions, tickets=tickets)
    stranger = client(pki)
    first = Visit(world, bind, stranger, "b.example")
    again = Visit(world, bind, stranger, "b.example", first.session)
    assert again.reused
    crossing = Visit(world, bind, stranger, "a.example", again.session)
    assert crossing.server.lost is Lost.HANDSHAKE and not crossing.reused
    # Nor the other way round: who was known there is not known here.
    friend = client(pki, certificate="client.pem")
    known = Visit(world, bind, friend, "a.example")
    assert Visit(world, bind, friend, "a.example", known.session).reused
    back = Visit(world, bind, friend, "b.example", known.session)
    assert back.error is None and not back.reused and back.tls.peer_certificate is None


@pytest.mark.parametrize(
    ("excluded", "options", "left"),
    [
        ("TLSv1.3", "lowest TLSv1.0", "TLSv1.0 TLSv1.1 TLSv1.2"),
        ("TLSv1.3", "highest TLSv1.3", "TLSv1.2 TLSv1.3"),
        ("TLSv1.2", "lowest TLSv1.2", "TLSv1.2 TLSv1.3"),
        ("TLSv1.2", "highest TLSv1.3", "TLSv1.3"),
        ("TLSv1.2", "highest TLSv1.2", ""),
        ("TLSv1.1", "lowest TLSv1.0", "TLSv1.0 TLSv1.1 TLSv1.2 TLSv1.3"),
        ("TLSv1.2 TLSv1.3", "lowest TLSv1.1", "TLSv1.1"),
        ("TLSv1.3", "lowest TLSv1.2 highest TLSv1.3", "TLSv1.2 TLSv1.3"),
        ("TLSv1.3", "curves P-256", "TLSv1.2"),
    ],
)
def test_limits_of_a_name_go_before_exclusions_of_the_bind_line(excluded: str, options: str, left: str) -> None:
    """As in HAProxy: each limit in the place of what `no-*` says about its end."""
    words = options.split()
    policy = BindPolicy(versions=TlsVersions(excluded=frozenset(excluded.split())))
    own = policy.overlaid(tuple(zip(words[::2], words[1::2], strict=True)))
    assert enabled_versions(own.versions) == left.split()


def test_sessions_are_shared_by_names_of_one_policy(world: World, pki: Pki) -> None:
    strict = line(pki.path("client.pem"), "c.example", verify=Verify.REQUIRED, ca_file=pki.ca)
    bind = listed(line(pki.path("b.pem")), line(pki.path("a.pem")), strict)
    context = client(pki)
    first = Visit(world, bind, context, "b.example")
    assert Visit(world, bind, context, "a.example", first.session).reused


def test_versions_by_name(world: World, pki: Pki) -> None:
    bind = listed(line(pki.path("a.pem"), lowest="TLSv1.3"), line(pki.path("b.pem"), highest="TLSv1.2"))
    assert Visit(world, bind, client(pki), "a.example").version == "TLSv1.3"
    assert Visit(world, bind, client(pki), "b.example").version == "TLSv1.2"
    old = client(pki)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert Visit(world, bind, old, "a.example").server.lost is Lost.HANDSHAKE
    assert Visit(world, bind, old, "b.example").version == "TLSv1.2"
    new = client(pki)
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    assert Visit(world, bind, new, "b.example").server.lost is Lost.HANDSHAKE


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_for_one_name_only(world: World, pki: Pki) -> None:
    """SECLEVEL of the ciphers goes with the certificate."""
    bind = listed(
        line(pki.path("a.pem")), line(pki.path("b.pem"), lowest="TLSv1.0", ciphers="DEFAULT:@SECLEVEL=0")
    )
    old = client(pki)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert Visit(world, bind, old, "b.example").version == "TLSv1.1"
    assert Visit(world, bind, old, "a.example").server.lost is Lost.HANDSHAKE


def test_algorithms_by_name(world: World, pki: Pki) -> None:
    bind = listed(
        line(pki.path("a.pem"), ciphersuites="TLS_AES_128_GCM_SHA256", curves="P-384"),
        line(pki.path("b.pem"), ciphersuites="TLS_CHACHA20_POLY1305_SHA256", curves="P-256"),
        line(pki.path("client.pem"), "c.example", highest="TLSv1.2", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"),
    )
    a, b = Visit(world, bind, client(pki), "a.example").tls, Visit(world, bind, client(pki), "b.example").tls
    assert (a.cipher, a.group) == ("TLS_AES_128_GCM_SHA256", b"secp384r1")
    assert b.cipher == "TLS_CHACHA20_POLY1305_SHA256" and b.group in (b"prime256v1", b"secp256r1")
    loose = client(pki)
    loose.verify_mode = ssl.CERT_NONE
    assert Visit(world, bind, loose, "c.example").tls.cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_alpn_by_name(world: World, pki: Pki) -> None:
    report = Report()
    lines = (line(pki.path("a.pem"), alpn=("imap",)), line(pki.path("b.pem"), alpn=("ftp",)), line(pki.path("client.pem"), "c"))
    tls = BindTls((CrtList("a.list", lines, HERE),), location=HERE)
    bind = build_bind_context(tls, SessionCache(), report, http=False)
    assert bind is not None
    context = client(pki, alpn=["ftp", "imap"])
    assert Visit(world, bind, context, "a.example").alpn == "imap"
    assert Visit(world, bind, context, "b.example").alpn == "ftp"
    context.verify_mode = ssl.CERT_NONE
    assert Visit(world, bind, context, "c").alpn is None


def test_ca_names_by_name(pki: Pki, world: World) -> None:
    """Each name proposes its own CAs to the browser."""
    other = pki.write("other.pem", pki.other.certificate_pem)
    bind = listed(
        line(pki.path("a.pem"), verify=Verify.OPTIONAL, ca_file=pki.ca),
        line(pki.path("b.pem"), verify=Verify.OPTIONAL, ca_file=other),
    )
    assert Visit(world, bind, client(pki, certificate="stranger.pem"), "b.example").tls.peer_certificate is not None
    assert Visit(world, bind, client(pki, certificate="stranger.pem"), "a.example").server.lost is Lost.HANDSHAKE
    for name, expected in ((b"a.example", "Demo Root"), (b"b.example", "Other Root")):
        assert ca_names(bind, name) == [expected]


def ca_names(bind: BindContext, name: bytes) -> list[str | None]:
    """What a client is told of the CAs whose certificates are welcome."""
    near, far = socket.socketpair()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    connection = SSL.Connection(context, near)
    connection.set_tlsext_host_name(name)
    connection.set_connect_state()
    near.setblocking(False)
    far.setblocking(False)
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    handle = bind.connection(far, far.recv(16384, socket.MSG_PEEK))
    assert lib.SSL_do_handshake(handle.ssl) != 1
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        pass
    near.close()
    far.close()
    return [one.CN for one in connection.get_client_ca_list()]


def test_a_name_hidden_from_us_gets_no_policy_but_its_own(world: World, pki: Pki) -> None:
    """Without the hello, the default applies; a name of another policy ends the handshake, one of the same goes on.

    With strict-sni there is no default, so every name ends it, also one that was served before.
    """
    usual, strict = mutual(pki, TlsVersions()), mutual(pki, TlsVersions(), strict_sni=True)
    assert Visit(world, strict, client(pki, certificate="client.pem"), "a.example").error is None
    for bind, name, welcome in (
        (usual, b"a.example", False), (usual, b"b.example", True), (strict, b"a.example", False), (strict, b"b.example", False)
    ):
        near, far = world.pair()
        connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), near)
        connection.set_tlsext_host_name(name)
        connection.set_connect_state()
        with pytest.raises(SSL.WantReadError):
            connection.do_handshake()
        recorder = Recorder()
        channel = TlsChannel(world.reactor, far, bind.connection(far, b"\x16\x03\x01\x00"), bind, recorder)

        def step(connection: SSL.Connection = connection, recorder: Recorder = recorder) -> bool:
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error:
                return True
            return recorder.completed or recorder.lost is not None

        world.wait(step)
        assert recorder.completed is welcome, channel.failure
        channel.abort()


def test_a_wildcard_of_another_policy_does_not_add_its_key(world: World, pki: Pki) -> None:
    """Whoever can use RSA only must not get around the client certificate that the exact name requires."""
    strict = line(pki.path("b.pem"), "x.example", verify=Verify.REQUIRED, ca_file=pki.ca)
    bind = listed(line(pki.path("a.pem")), strict, line(pki.path("b_rsa.pem"), "*.example"), policy=BindPolicy(versions=ONLY_12))
    only_rsa = client(pki)
    only_rsa.set_ciphers("aRSA")
    only_rsa.verify_mode = ssl.CERT_NONE
    assert Visit(world, bind, only_rsa, "y.example").error is None
    assert Visit(world, bind, only_rsa, "x.example").server.lost is Lost.HANDSHAKE


def test_one_name_with_two_ideas_of_verify_is_said(pki: Pki) -> None:
    lines = (line(pki.path("b.pem"), verify=Verify.REQUIRED, ca_file=pki.ca), line(pki.path("b_rsa.pem")))
    report = Report()
    build_bind_context(BindTls((CrtList("a.list", lines, HERE),), location=HERE), SessionCache(), report)
    assert "differ in 'verify'" in report.warnings[0].message


@pytest.mark.parametrize(
    "options",
    [{"ciphers": "NONSENSE"}, {"curves": "K-9"}, {"lowest": "TLSv1.3", "highest": "TLSv1.2"}, {"verify": Verify.REQUIRED}],
    ids=lambda options: next(iter(options)),
)
def test_what_is_wrong_with_a_line_is_said_of_that_line(pki: Pki, options: dict[str, Any]) -> None:
    place = Location("a.list", 2)
    lines = (line(pki.path("a.pem")), replace(line(pki.path("b.pem"), **options), location=place))
    report = Report()
    assert build_bind_context(BindTls((CrtList("a.list", lines, HERE),), location=HERE), SessionCache(), report) is None
    assert [alert.location for alert in report.alerts] == [place]


def test_a_list_that_changes_while_running(world: World, pki: Pki) -> None:
    """What the runtime API does: lines come and go, and bring policies of their own."""
    storage = Storage()
    bind = listed(line(pki.path("a.pem")), storage=storage)
    assert not bind.selective
    added = line(pki.path("b.pem"), verify=Verify.REQUIRED, ca_file=pki.ca, lowest="TLSv1.3")
    lines = storage.lists["a.list"].lines
    lines.append(LoadedLine(added, storage.certificate(added.file)))
    assert relist(bind, Report(), time.time())
    assert Visit(world, bind, client(pki), "b.example").error is not None
    welcome = Visit(world, bind, client(pki, certificate="client.pem"), "b.example")
    assert welcome.version == "TLSv1.3" and welcome.tls.own_certificate == pki.b.certificate
    wrong = line(pki.path("b_rsa.pem"), ciphers="NONSENSE")
    lines.append(LoadedLine(wrong, storage.certificate(wrong.file)))
    report = Report()
    assert not relist(bind, report, time.time()) and report.alerts
    assert Visit(world, bind, client(pki, certificate="client.pem"), "b.example").error is None
    del lines[1:]
    assert relist(bind, Report(), time.time())
    assert Visit(world, bind, client(pki), "b.example").tls.own_certificate == pki.a.certificate
