"""Bind lines as contexts: which certificate, which clients, which sessions."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from headgate.base.diagnostics import Report
from headgate.config.tls_options import BindTls, TlsVersions, Verify
from headgate.proxy.port import Lost
from headgate.runtime.tls_channel import TlsChannel
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.openssl import lib
from headgate.tls.server_context import SessionCache
from tests.tls.tls_peers import HERE, Pki, Recorder, World, bind_context, bind_tls, lines, shake_hands
from tests.tls.visits import Visit, client

ONLY_12 = TlsVersions(highest="TLSv1.2")
ONLY_13 = TlsVersions(lowest="TLSv1.3")


# --- server names ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.example", "a"),
        ("A.Example", "a"),
        ("b.example", "b"),
        ("x.wild.example", "a"),
        ("x.y.wild.example", "a"),  # no match: the default
        ("unknown.example", "a"),
        (None, "a"),
    ],
)
def test_certificate_by_name(world: World, pki: Pki, name: str | None, expected: str) -> None:
    visit = Visit(world, bind_context(pki, "a.pem", "b.pem"), client(pki), name)
    assert visit.error is None
    assert visit.tls.own_certificate == getattr(pki, expected).certificate
    assert visit.tls.sni == (name.encode() if name else None)


@pytest.mark.parametrize("name", ["x.y.wild.example", "unknown.example", None])
def test_strict_sni_refuses(world: World, pki: Pki, name: str | None) -> None:
    visit = Visit(world, bind_context(pki, "a.pem", strict_sni=True), client(pki), name)
    assert visit.server.lost is Lost.HANDSHAKE
    assert "strict-sni" in visit.channel.failure
    assert isinstance(visit.error, ssl.SSLError) and "UNRECOGNIZED_NAME" in str(visit.error)


def test_strict_sni_serves_known_names(world: World, pki: Pki) -> None:
    assert Visit(world, bind_context(pki, "a.pem", strict_sni=True), client(pki), "x.wild.example").error is None


def test_both_kinds_of_key_for_one_name(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", "b_rsa.pem", "b.pem", versions=ONLY_12)
    for ciphers, expected in (("ECDHE+aRSA", pki.b_rsa), ("ECDHE+aECDSA", pki.b)):
        context = client(pki)
        context.set_ciphers(ciphers)
        assert Visit(world, bind, context, "b.example").tls.own_certificate == expected.certificate


def test_default_bundle_has_both_kinds(world: World, pki: Pki) -> None:
    pki.write("bundle.pem.rsa", pki.b_rsa.pem)
    pki.write("bundle.pem.ecdsa", pki.b.pem)
    bind = bind_context(pki, "bundle.pem", versions=ONLY_12)
    for ciphers, expected in (("ECDHE+aRSA", pki.b_rsa), ("ECDHE+aECDSA", pki.b)):
        context = client(pki)
        context.set_ciphers(ciphers)
        assert Visit(world, bind, context, "else.example").tls.own_certificate == expected.certificate


def test_chain_is_sent_without_the_root(world: World, pki: Pki) -> None:
    """The leaf's intermediate is needed to verify; a client that only knows the root accepts it."""
    visit = Visit(world, bind_context(pki, "b.pem", "a.pem"), client(pki), "a.example")
    assert visit.error is None


# --- client certificates ---


@pytest.mark.parametrize("versions", [ONLY_12, ONLY_13], ids=["1.2", "1.3"])
@pytest.mark.parametrize(
    ("verify", "certificate", "accepted"),
    [
        (Verify.NONE, None, True),
        (Verify.NONE, "client.pem", True),
        (Verify.OPTIONAL, None, True),
        (Verify.OPTIONAL, "client.pem", True),
        (Verify.OPTIONAL, "stranger.pem", False),
        (Verify.REQUIRED, None, False),
        (Verify.REQUIRED, "client.pem", True),
        (Verify.REQUIRED, "stranger.pem", False),
    ],
)
def test_verify(
    world: World, pki: Pki, versions: TlsVersions, verify: Verify, certificate: str | None, accepted: bool
) -> None:
    bind = bind_context(pki, "b.pem", "a.pem", verify=verify, ca_file=pki.ca, versions=versions)
    visit = Visit(world, bind, client(pki, certificate=certificate))
    if not accepted:
        assert visit.server.lost is Lost.HANDSHAKE
        assert visit.error is not None
        unknown = f"of a CA that ca-file {pki.ca} (haproxy.cfg:12) does not have"
        expected = "sent no certificate" if certificate is None else unknown
        assert expected in visit.channel.failure
        return
    assert visit.error is None
    presented = verify is not Verify.NONE and certificate is not None
    assert visit.tls.client_certificate_sent is presented
    assert visit.tls.peer_certificate == (pki.client.certificate if presented else None)


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "cache"])
@pytest.mark.parametrize("versions", [ONLY_12, ONLY_13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("verify", [Verify.OPTIONAL, Verify.REQUIRED])
@pytest.mark.parametrize("name", ["a.example", "b.example"], ids=["switched", "default"])
def test_resumed_session_keeps_the_client_certificate(
    world: World, pki: Pki, tickets: bool, versions: TlsVersions, verify: Verify, name: str
) -> None:
    bind = bind_context(pki, "b.pem", "a.pem", verify=verify, ca_file=pki.ca, versions=versions, tickets=tickets)
    context = client(pki, certificate="client.pem")
    first = Visit(world, bind, context, name)
    assert not first.tls.resumed and first.tls.client_certificate_sent
    again = Visit(world, bind, context, name, first.session)
    assert again.error is None and again.reused
    assert again.tls.resumed
    assert again.tls.peer_certificate == pki.client.certificate
    assert not again.tls.client_certificate_sent
    assert again.tls.verify_error == 0
    third = Visit(world, bind, context, name, again.session)
    assert third.tls.resumed and third.tls.peer_certificate == pki.client.certificate


@pytest.mark.parametrize("versions", [ONLY_12, ONLY_13], ids=["1.2", "1.3"])
def test_resumed_without_certificate_stays_without(world: World, pki: Pki, versions: TlsVersions) -> None:
    bind = bind_context(pki, "a.pem", verify=Verify.OPTIONAL, ca_file=pki.ca, versions=versions)
    context = client(pki)
    first = Visit(world, bind, context)
    again = Visit(world, bind, context, session=first.session)
    assert again.tls.resumed and again.tls.peer_certificate is None and not again.tls.client_certificate_sent


def test_sessions_of_another_bind_line_are_not_taken(world: World, pki: Pki) -> None:
    """A session made where no certificate is asked for must not open the line that requires one."""
    context = client(pki)
    first = Visit(world, bind_context(pki, "a.pem", versions=ONLY_13), context)
    strict = bind_context(pki, "a.pem", verify=Verify.REQUIRED, ca_file=pki.ca, versions=ONLY_13)
    assert Visit(world, strict, context, session=first.session).server.lost is Lost.HANDSHAKE


@pytest.mark.parametrize("versions", [ONLY_12, ONLY_13])
def test_cache_size_0_gives_no_sessions_without_tickets(world: World, pki: Pki, versions: TlsVersions) -> None:
    """None is promised that would not be taken."""
    bind = bind_context(pki, "a.pem", tickets=False, versions=versions, cache=SessionCache(size=0))
    context = client(pki)
    first = Visit(world, bind, context)
    assert first.session is None or not (first.session.id or first.session.has_ticket)
    assert not Visit(world, bind, context, session=first.session).tls.resumed


@pytest.mark.parametrize("versions", [ONLY_12, ONLY_13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("files", [("a.pem",), ("a.pem", "b.pem")], ids=["one", "two"])
def test_the_name_asked_for_is_known_also_of_a_session(
    world: World, pki: Pki, versions: TlsVersions, files: tuple[str, ...]
) -> None:
    """With one certificate nobody asks us for it; the name is agreed on all the same."""
    bind = bind_context(pki, *files, versions=versions)
    assert bind._nameless == (len(files) == 1)
    context = client(pki)
    first = Visit(world, bind, context)
    again = Visit(world, bind, context, session=first.session)
    assert not first.tls.resumed and again.tls.resumed
    assert first.tls.sni == again.tls.sni == b"a.example"


def test_a_line_that_gets_a_second_certificate_answers_by_name(world: World, pki: Pki) -> None:
    one, two = bind_context(pki, "a.pem"), bind_context(pki, "a.pem", "b.pem")
    one.serve(two.store, one.policies)
    assert Visit(world, one, client(pki), "b.example").certificate == Visit(world, two, client(pki), "b.example").certificate
    one.serve(bind_context(pki, "b.pem").store, one.policies)
    assert Visit(world, one, client(pki), "b.example").error is None


def test_ca_names_are_sent(pki: Pki) -> None:
    """`certificate_authorities` tells browsers which client certificate to propose; also after a switch of contexts."""
    from OpenSSL import SSL

    bind = bind_context(pki, "b.pem", "a.pem", verify=Verify.OPTIONAL, ca_file=pki.ca)
    near = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    near.set_tlsext_host_name(b"a.example")
    far = SSL.Connection(bind._session)
    assert shake_hands(near, far) is None
    assert [one.CN for one in near.get_client_ca_list()] == ["Demo Root"]


@pytest.mark.parametrize("options", [
    {"ciphers": "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"}, {"prefer_client_ciphers": True}, {},
])  # fmt: skip
def test_ecdsa_is_preferred_whatever_the_order_of_ciphers(world: World, pki: Pki, options: dict[str, Any]) -> None:
    """Manual 5.1 crt: it "can't be used to prioritize an RSA certificate"."""
    bind = bind_context(pki, "b_rsa.pem", "b.pem", versions=ONLY_12, **options)
    context = client(pki)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
    assert Visit(world, bind, context, "b.example").tls.own_certificate == pki.b.certificate


# --- protocols ---


@pytest.mark.parametrize(
    ("configured", "offered", "chosen"),
    [
        (("http/1.1",), ["h2", "http/1.1"], "http/1.1"),
        (("http/1.1", "http/1.0"), ["http/1.0", "http/1.1"], "http/1.1"),
        (("http/1.1",), ["spdy/1"], None),
        (("http/1.1",), None, None),
        ((), ["h2", "http/1.1"], None),  # no-alpn
    ],
)
def test_alpn(world: World, pki: Pki, configured: tuple[str, ...], offered: list[str] | None, chosen: str | None) -> None:
    visit = Visit(world, bind_context(pki, "b.pem", "a.pem", alpn=configured), client(pki, alpn=offered))
    assert visit.alpn == chosen
    assert visit.tls.alpn == (chosen.encode() if chosen else None)


def test_alpn_in_tcp_mode_is_as_written(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", http=False, alpn=("h2", "imap"))
    assert Visit(world, bind, client(pki, alpn=["imap", "h2"])).alpn == "h2"
    assert Visit(world, bind_context(pki, "a.pem", http=False), client(pki, alpn=["h2"])).alpn is None


def test_alpn_h2_is_a_warning_for_now(pki: Pki) -> None:
    report = Report()
    context = build_bind_context(bind_tls(pki, "a.pem", alpn=("h2", "http/1.1")), SessionCache(), report)
    assert context is not None and context.alpn == ("http/1.1",)
    assert [one.message for one in report.warnings] == ["alpn h2: not supported yet, clients get http/1.1"]
    report = Report()
    assert build_bind_context(bind_tls(pki, "a.pem", alpn=("h2",)), SessionCache(), report) is None
    assert "not supported yet" in report.alerts[0].message


@pytest.mark.parametrize(
    ("versions", "version"),
    [
        (TlsVersions(), "TLSv1.3"),
        (ONLY_12, "TLSv1.2"),
        (TlsVersions(excluded=frozenset({"TLSv1.3"})), "TLSv1.2"),
        (TlsVersions(lowest="TLSv1.3", highest="TLSv1.3"), "TLSv1.3"),
        (TlsVersions(lowest="SSLv3"), "TLSv1.3"),
    ],
)
def test_versions(world: World, pki: Pki, versions: TlsVersions, version: str) -> None:
    visit = Visit(world, bind_context(pki, "a.pem", versions=versions), client(pki))
    assert visit.version == visit.tls.version == version


def test_ciphers_and_curves(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", ciphersuites="TLS_CHACHA20_POLY1305_SHA256", curves="P-384:P-256")
    visit = Visit(world, bind, client(pki))
    assert visit.tls.cipher == "TLS_CHACHA20_POLY1305_SHA256" and visit.tls.cipher_bits == 256
    assert visit.tls.group in (b"secp384r1", b"secp256r1")
    old = bind_context(pki, "a.pem", versions=ONLY_12, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    assert Visit(world, old, client(pki)).tls.cipher == "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.mark.parametrize(("prefer_client", "expected"), [(False, "AES256"), (True, "AES128")])
def test_whose_preference(world: World, pki: Pki, prefer_client: bool, expected: str) -> None:
    ours = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    bind = bind_context(pki, "a.pem", versions=ONLY_12, ciphers=ours, prefer_client_ciphers=prefer_client)
    context = client(pki)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    assert expected in Visit(world, bind, context).tls.cipher


def test_session_id_is_told(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", versions=ONLY_12, tickets=False)
    context = client(pki)
    first = Visit(world, bind, context)
    assert first.session is not None and first.tls.session_id == first.session.id and len(first.session.id) == 32


# --- errors at load ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ciphers": "NONSENSE"}, "ciphers 'NONSENSE' selects nothing"),
        ({"ciphersuites": "TLS_NONSENSE"}, "ciphersuites 'TLS_NONSENSE' selects nothing"),
        ({"curves": "X25519:K-9"}, "curves 'X25519:K-9': OpenSSL does not know all of them"),
        ({"versions": TlsVersions(highest="SSLv3")}, "SSLv3 is not supported"),
        ({"versions": TlsVersions(highest="TLSv1.1")}, "TLSv1.1 can't be negotiated at OpenSSL's security level"),
        ({"versions": TlsVersions(lowest="TLSv1.3", highest="TLSv1.2")}, "no TLS version is left enabled"),
        ({"versions": TlsVersions(excluded=frozenset({"TLSv1.2", "TLSv1.3"}))}, "no TLS version is left enabled"),
        ({"verify": Verify.REQUIRED}, "verify required is set but there is no ca-file"),
        ({"verify": Verify.REQUIRED, "ca_file": "/nowhere/ca.pem"}, "cannot read CA file '/nowhere/ca.pem'"),
    ],
)
def test_options_that_cannot_work(pki: Pki, options: dict[str, Any], message: str) -> None:
    report = Report()
    assert build_bind_context(bind_tls(pki, "a.pem", **options), SessionCache(), report) is None
    (alert,) = report.alerts
    assert alert.message.startswith(message) and alert.location == HERE


def test_every_broken_certificate_is_reported(pki: Pki) -> None:
    empty = pki.write("empty.pem", b"")
    report = Report()
    files = lines("/nowhere/x.pem", empty, pki.path("a.pem"))
    assert build_bind_context(BindTls(files, location=HERE), SessionCache(), report) is None
    assert len(report.alerts) == 2


def test_weak_key_is_refused_at_load(pki: Pki) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    import headgate.tls.authority as authority

    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    original = authority.make_key
    authority.make_key = lambda kind: weak
    try:
        issued = authority.issue(pki.root, ["weak.example"], key="rsa")
    finally:
        authority.make_key = original
    pki.write("weak.pem", issued.pem)
    report = Report()
    assert build_bind_context(bind_tls(pki, "a.pem", "weak.pem"), SessionCache(), report) is None
    assert "OpenSSL refuses the certificate" in report.alerts[0].message and "too small" in report.alerts[0].message


def test_system_ca_for_clients_is_a_warning(pki: Pki) -> None:
    report = Report()
    assert build_bind_context(bind_tls(pki, "a.pem", verify=Verify.OPTIONAL, ca_file="@system-ca"), SessionCache(), report)
    assert "every public CA" in report.warnings[0].message


def test_no_certificate_needs_strict_sni(pki: Pki, tmp_path: Path) -> None:
    empty = lines(str(tmp_path))
    report = Report()
    assert build_bind_context(BindTls(empty, location=HERE), SessionCache(), report) is None
    assert "there is no certificate" in report.alerts[0].message
    assert build_bind_context(BindTls(empty, strict_sni=True, location=HERE), SessionCache(), Report()) is not None


# --- foreign clients ---


@pytest.mark.needs("openssl")
def test_renegotiation_is_refused(world: World, pki: Pki) -> None:
    recorder = Recorder()
    bind = bind_context(pki, "a.pem", versions=ONLY_12)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    process = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", "-CAfile", pki.ca],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        far, _ = listener.accept()
        listener.close()
        far.setblocking(False)
        world.sockets.append(far)
        channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
        world.wait(lambda: recorder.completed)
        assert process.stdin is not None
        process.stdin.write(b"R\n")
        process.stdin.flush()
        world.wait(lambda: recorder.lost or recorder.eof)
        assert lib.SSL_total_renegotiations(channel._ssl) == 0
        channel.close()
        output, _ = process.communicate(timeout=10)
        assert b"no renegotiation" in output.lower() or b"no_renegotiation" in output.lower()
    finally:
        process.kill()
        process.wait()


@pytest.mark.needs("openssl")
def test_dh_parameters_of_the_file_are_used(world: World, pki: Pki) -> None:
    made = subprocess.run(
        ["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"], capture_output=True, check=True
    )
    parameters = subprocess.run(["openssl", "pkeyparam"], input=made.stdout, capture_output=True, check=True).stdout
    pki.write("dh.pem", pki.b_rsa.pem + parameters)
    bind = bind_context(pki, "a.pem", "dh.pem", versions=ONLY_12, ciphers="DHE+aRSA:ECDHE+aECDSA")
    context = client(pki)
    context.set_ciphers("DHE+aRSA")
    assert Visit(world, bind, context, "b.example").tls.cipher.startswith("DHE-RSA-")


def test_damaged_dh_parameters_are_refused_at_load(pki: Pki) -> None:
    pki.write("bad-dh.pem", pki.b.pem + b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n")
    report = Report()
    assert build_bind_context(bind_tls(pki, "bad-dh.pem"), SessionCache(), report) is None
    (alert,) = report.alerts
    assert "the DH parameters in" in alert.message and alert.location == HERE
