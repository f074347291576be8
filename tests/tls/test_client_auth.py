"""Client certificates: what is trusted, named, revoked and forgiven, with real handshakes of Python's own `ssl`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, Report
from headgate.base.verify_errors import verify_error_number
from headgate.config.client_auth import IgnoredErrors
from headgate.config.tls_options import Verify
from headgate.proxy.port import Lost
from headgate.tls import client_auth
from headgate.tls.authority import make_authority, revoke
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.client_auth import ClientAuth
from headgate.tls.openssl import ffi, lib
from headgate.tls.revocation import add_revocations, parse_revocations, read_revocations
from headgate.tls.server_context import SessionCache
from headgate.tls.storage import Storage
from tests.tls.client_certificates import FAULTS, Clients
from tests.tls.test_server_context import ONLY_12, ONLY_13, Visit, client
from tests.tls.tls_peers import HERE, Pki, World, bind_context, bind_tls, shake_hands


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    return Clients(tmp_path_factory.mktemp("clients"))


def number(name: str) -> int:
    found = verify_error_number(name)
    assert found
    return found


def visit(world: World, pki: Pki, clients: Clients, certificate: str, name: str = "b.example", **options: Any) -> Visit:
    options = {"verify": Verify.REQUIRED, "ca_file": clients.path("ca.pem"), "versions": ONLY_13} | options
    context = client(pki)
    context.load_cert_chain(clients.path(f"{certificate}.pem"))
    return Visit(world, bind_context(pki, "b.pem", "a.pem", **options), context, name)


@pytest.mark.parametrize("versions", [ONLY_12, ONLY_13], ids=["1.2", "1.3"])
@pytest.mark.parametrize(("certificate", "crl", "error", "depth"), FAULTS)
def test_a_fault_ends_the_handshake(
    world: World, pki: Pki, clients: Clients, certificate: str, crl: str | None, error: str, depth: int, versions: Any
) -> None:
    crl_file = None if crl is None else clients.path(crl)
    seen = visit(world, pki, clients, certificate, crl_file=crl_file, versions=versions)
    assert seen.server.lost is Lost.HANDSHAKE
    assert seen.channel.record is not None and seen.channel.record.verify_error == number(error)
    findings = seen.channel.record.findings
    assert findings is not None and (findings.fatal, findings.depth) == (number(error), depth)
    if "CRL" not in error:
        assert findings.certificate is not None
    assert not client_auth._found


@pytest.mark.parametrize("name", ["b.example", "a.example"], ids=["default", "switched"])
@pytest.mark.parametrize("everything", [True, False], ids=["all", "named"])
@pytest.mark.parametrize(("certificate", "crl", "error", "depth"), FAULTS)
def test_a_fault_that_is_ignored_stays_visible(
    world: World, pki: Pki, clients: Clients, certificate: str, crl: str | None, error: str, depth: int, everything: bool,
    name: str,
) -> None:
    numbers = {number(error)}
    if certificate == "stranger":
        numbers.add(number("UNABLE_TO_VERIFY_LEAF_SIGNATURE"))  # said as well, once the first was ignored
    ignored = IgnoredErrors(everything=True) if everything else IgnoredErrors(frozenset(numbers))
    options = {"ca_ignore_err" if depth else "crt_ignore_err": ignored}
    seen = visit(world, pki, clients, certificate, name, crl_file=None if crl is None else clients.path(crl), **options)
    assert seen.error is None, seen.error
    facts = seen.tls
    assert facts.client_certificate_sent
    found = (facts.certificate_error, facts.authority_error, facts.authority_error_depth)
    assert found == ((0, number(error), depth) if depth else (number(error), 0, 0))
    if certificate != "stranger":
        assert facts.verify_error == number(error)
    assert not client_auth._found


@pytest.mark.parametrize(("certificate", "crl", "error", "depth"), FAULTS)
def test_the_other_option_does_not_forgive(
    world: World, pki: Pki, clients: Clients, certificate: str, crl: str | None, error: str, depth: int
) -> None:
    """ca-ignore-err is for the chain above the client's certificate, crt-ignore-err for the certificate itself."""
    options = {"crt_ignore_err" if depth else "ca_ignore_err": IgnoredErrors(everything=True)}
    seen = visit(world, pki, clients, certificate, crl_file=None if crl is None else clients.path(crl), **options)
    assert seen.server.lost is Lost.HANDSHAKE


def test_ignored_with_verify_optional(world: World, pki: Pki, clients: Clients) -> None:
    ignored = IgnoredErrors(frozenset({number("CERT_HAS_EXPIRED")}))
    seen = visit(world, pki, clients, "expired", verify=Verify.OPTIONAL, crt_ignore_err=ignored)
    assert seen.error is None and seen.tls.certificate_error == number("CERT_HAS_EXPIRED")
    assert visit(world, pki, clients, "not_yet", verify=Verify.OPTIONAL, crt_ignore_err=ignored).server.lost is Lost.HANDSHAKE


def test_a_good_client_passes_the_lists(world: World, pki: Pki, clients: Clients) -> None:
    seen = visit(world, pki, clients, "good", crl_file=clients.path("crl.pem"))
    assert seen.error is None
    assert (seen.tls.verify_error, seen.tls.certificate_error, seen.tls.authority_error) == (0, 0, 0)
    assert seen.tls.findings is client_auth.NOTHING_FOUND


def test_a_resumed_session_remembers_its_result(world: World, pki: Pki, clients: Clients) -> None:
    ignored = IgnoredErrors(everything=True)
    bind = bind_context(
        pki, "b.pem", verify=Verify.REQUIRED, ca_file=clients.path("ca.pem"), crt_ignore_err=ignored, versions=ONLY_13
    )
    context = client(pki)
    context.load_cert_chain(clients.path("expired.pem"))
    first = Visit(world, bind, context, "b.example")
    again = Visit(world, bind, context, "b.example", first.session)
    assert again.tls.resumed
    assert again.tls.verify_error == number("CERT_HAS_EXPIRED") and again.tls.certificate_error == 0


# --- trust and names ---


def names_sent(pki: Pki, **options: Any) -> list[str]:
    bind = bind_context(pki, "b.pem", verify=Verify.OPTIONAL, **options)
    near, far = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD)), SSL.Connection(bind._session)
    bind.settle(far._ssl, b"")
    assert shake_hands(near, far) is None
    return [str(one.CN) for one in near.get_client_ca_list()]


def test_ca_names(pki: Pki, clients: Clients) -> None:
    middle, root = clients.path("middle_only.pem"), clients.path("root_only.pem")
    assert names_sent(pki, ca_file=middle, ca_verify_file=root) == ["Clients Intermediate"]
    assert names_sent(pki, ca_file=root, no_ca_names=True) == []
    assert names_sent(pki, ca_verify_file=root) == []
    assert names_sent(pki, ca_file=root) == ["Clients Root"]


def test_ca_verify_file_ends_the_chain(world: World, pki: Pki, clients: Clients) -> None:
    """ "ca-file" with intermediates, "ca-verify-file" with what ends the chain (manual 5.1)."""
    clients.write("leaf_only.pem", clients.good.certificate_pem + clients.good.key_pem)
    middle, root = clients.path("middle_only.pem"), clients.path("root_only.pem")
    assert visit(world, pki, clients, "leaf_only", ca_file=middle, ca_verify_file=root).error is None
    assert visit(world, pki, clients, "leaf_only", ca_file=middle).server.lost is Lost.HANDSHAKE
    assert visit(world, pki, clients, "good", ca_file=None, ca_verify_file=root).error is None


def test_sessions_end_with_the_policy_they_were_made_under(pki: Pki, clients: Clients) -> None:
    """A new list, another CA or less forgiveness: the session id context is another, so old sessions are not taken."""

    def digest(**options: Any) -> bytes:
        options = {"verify": Verify.REQUIRED, "ca_file": clients.path("ca.pem")} | options
        tls = bind_tls(pki, "b.pem", **options)
        return ClientAuth(tls.policy, tls, Storage()).digest

    digests = [
        digest(),
        digest(verify=Verify.OPTIONAL),
        digest(verify=Verify.NONE),
        digest(ca_verify_file=clients.path("middle_only.pem")),
        digest(crl_file=clients.path("crl.pem")),
        digest(crl_file=clients.path("crl_root_only.pem")),
        digest(crt_ignore_err=IgnoredErrors(everything=True)),
        digest(ca_ignore_err=IgnoredErrors(everything=True)),
    ]
    assert len(set(digests)) == len(digests)
    assert digest() == digests[0]
    assert digest(verify=Verify.NONE, ca_file=None) == digests[2]


# --- files ---


def test_directory_of_lists(tmp_path: Path, clients: Clients) -> None:
    (tmp_path / "a.crl").write_bytes(revoke(clients.root))
    (tmp_path / "b.pem").write_bytes(revoke(clients.middle) + clients.root.certificate_pem)
    (tmp_path / ".hidden.crl").write_bytes(b"nonsense")
    (tmp_path / "readme.txt").write_bytes(b"nonsense")
    found = read_revocations(str(tmp_path), None)
    assert [one.issuer for one in found] == [clients.root.certificate.subject, clients.middle.certificate.subject]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no certificate revocation list in"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "holds a damaged certificate revocation list"),
        (None, "cannot read CRL file"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "crl.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_revocations(str(path), HERE)


_LIST = revoke(make_authority("Fuzzed"), make_authority("Revoked").certificate)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_lists_are_never_anything_but_config_errors(data: st.DataObject) -> None:
    start, end = _LIST.index(b"\n") + 1, _LIST.index(b"-----END")
    der = bytearray(base64.b64decode(_LIST[start:end]))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    pem = _LIST[:start] + base64.encodebytes(bytes(der)) + _LIST[end:]
    try:
        found = parse_revocations(pem, "crl.pem", None)
    except ConfigError:
        return
    store = ffi.gc(lib.X509_STORE_new(), lib.X509_STORE_free)
    add_revocations(store, tuple(found))


def test_a_wrong_list_is_an_error_of_the_line(pki: Pki, tmp_path: Path) -> None:
    report = Report()
    tls = bind_tls(pki, "b.pem", verify=Verify.REQUIRED, ca_file=pki.ca, crl_file=str(tmp_path / "none.pem"))
    assert build_bind_context(tls, SessionCache(), report) is None
    assert "cannot read CRL file" in report.alerts[0].message
