"""Certificates for themselves: each finding, and what nearly is one."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from functools import partial
from operator import eq
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from headgate.base.diagnostics import Location, Report
from headgate.base.findings import Findings
from headgate.tls.authority import Authority, Issued, make_authority
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.lint.certificates import CertificateLint, must_staple
from headgate.tls.pem import read_certified_key
from tests.tls.lint.forge import NOW, days, make, revocations, signed_with, valid
from tests.tls.lint.forge import must_staple as stapling
from tests.tls.ocsp.ocsp_fixtures import make_response

HERE = Location("x.cfg", 7, 1, 4, "bind")

Look = Callable[[CertificateLint], None]


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_authority("Root", key="rsa", not_before=days(-1000), not_after=days(1000))


def told(look: Look, ignored: frozenset[str] = frozenset()) -> list[str]:
    findings, report = Findings(ignored), Report()
    look(CertificateLint(findings, NOW))
    findings.tell(report)
    for item in report.items:
        assert item.location is HERE or item.location is None
    return [f"{item.message} -> {item.remedy}" for item in report.items]


def loaded(directory: Path, issued: Issued, name: str = "site.pem", more: bytes = b"") -> CertifiedKey:
    path = directory / name
    path.touch(0o600)
    path.write_bytes(issued.pem + more)
    return read_certified_key(str(path), HERE)


def site(one: CertifiedKey, *, key: str | None = None, updated: bool = False) -> Look:
    return lambda lint: lint.site(one, one.certificate, HERE, key=key, updated=updated)


# --- dates ---


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        (-10, 31, None),
        (-10, 30.01, None),
        (-10, 29, "expires on 2031-03-30 (in 29 days): from then on clients refuse the connection [tls-expires-soon]"),
        (-10, 1.5, "expires on 2031-03-03 (in 1 day): from then on clients refuse the connection [tls-expires-soon]"),
        (-10, 0.1, "expires on 2031-03-01 (in less than a day): from then on clients refuse the connection [tls-expires-soon]"),
        (-10, -0.1, "expired on 2031-03-01 (less than a day ago): clients refuse the connection [tls-expired]"),
        (-10, -1.1, "expired on 2031-02-28 (1 day ago): clients refuse the connection [tls-expired]"),
        (-100, -40, "expired on 2031-01-20 (40 days ago): clients refuse the connection [tls-expired]"),
        (0.001, 100, "is valid from 2031-03-01 12:01 UTC on: clients refuse the connection [tls-not-yet-valid]"),
        (-0.001, 100, None),
    ],
)
def test_days_of_a_certificate(begin: float, end: float, said: str | None, root: Authority, tmp_path: Path) -> None:
    one = loaded(tmp_path, valid(root, ["a.example"], begin, end))
    found = told(site(one))
    assert len(found) == (said is not None)
    if said is not None:
        assert found[0].startswith(f"certificate '{one.path}' {said} -> ")


def test_days_of_an_intermediate_are_told_once(root: Authority, tmp_path: Path) -> None:
    middle = make_authority("Middle", parent=root, not_before=days(-100), not_after=days(-1.5))
    one, two = loaded(tmp_path, valid(middle, ["a.example"])), loaded(tmp_path, valid(middle, ["b.example"]), "two.pem")

    def look(lint: CertificateLint) -> None:
        site(one)(lint)
        site(two)(lint)

    (found,) = told(look)
    assert found.startswith(f"the intermediate 'CN=Middle' in '{one.path}' expired on 2031-02-28 (1 day ago): ")


def test_other_certificates_in_the_file_are_not_of_the_chain(root: Authority, tmp_path: Path) -> None:
    stray = make_authority("Stray", not_before=days(-100), not_after=days(-50))
    assert told(site(loaded(tmp_path, valid(root, ["a.example"]), more=stray.certificate_pem))) == []


def test_days_of_a_ca(root: Authority) -> None:
    old = make_authority("Old", not_before=days(-100), not_after=days(-50)).certificate
    (found,) = told(lambda lint: lint.authority(old, "ca.pem", HERE, "client"))
    assert found.startswith("the CA 'CN=Old' in 'ca.pem' expired on 2031-01-10 (50 days ago): the client certificates that it")
    (found,) = told(lambda lint: lint.authority(old, "ca.pem", HERE, "server"))
    assert "the server certificates that it issued are refused" in found
    assert told(lambda lint: lint.authority(root.certificate, "ca.pem", HERE, "client")) == []


@pytest.mark.parametrize(
    ("begin", "end", "code"),
    [(-10, 31, None), (-10, 20, "tls-expires-soon"), (-10, -2, "tls-expired"), (2, 40, "tls-not-yet-valid")],
)
def test_days_of_a_revocation_list(begin: float, end: float, code: str | None, root: Authority) -> None:
    crl = revocations(root, begin, end)
    found = told(lambda lint: lint.revocations(crl, "crl.pem", HERE))
    assert len(found) == (code is not None)
    if code is not None:
        assert found[0].startswith("the revocation list of CN=Root in 'crl.pem' ") and f"[{code}]" in found[0]
        assert "all certificates of this CA are refused" in found[0]


# --- strength ---


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (lambda: rsa.generate_private_key(65537, 1024), "a key of 1024 bits"),
        (lambda: rsa.generate_private_key(65537, 2048), None),
        (lambda: ec.generate_private_key(ec.SECP192R1()), "a key on a curve of 192 bits"),
        (lambda: ec.generate_private_key(ec.SECP224R1()), None),
    ],
)
def test_weak_keys(
    key: Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey], said: str | None, root: Authority, tmp_path: Path
) -> None:
    found = told(site(loaded(tmp_path, make(root, ["a.example"], key=key()))))
    assert len(found) == (said is not None)
    if said is not None:
        assert f"has {said}: " in found[0] and "[tls-weak-key]" in found[0]


@pytest.mark.parametrize(("number", "name"), [(4, "MD5"), (5, "SHA-1")])
def test_weak_signatures(number: int, name: str, root: Authority, tmp_path: Path) -> None:
    good = valid(root, ["a.example"])
    one = loaded(tmp_path, Issued(signed_with(number, good.certificate), good.key))
    (found,) = told(site(one))
    assert f"is signed with {name}: " in found and "[tls-weak-signature]" in found


def test_how_a_self_signed_certificate_is_signed_does_not_matter(root: Authority, tmp_path: Path) -> None:
    weak = signed_with(5, root.certificate)
    assert told(site(loaded(tmp_path, Issued(weak, root.key)))) == []


@pytest.mark.parametrize(
    ("key", "refusing"),
    [
        (lambda: rsa.generate_private_key(65537, 1024), (2, 3)),
        (lambda: rsa.generate_private_key(65537, 2048), (3,)),
        (lambda: ec.generate_private_key(ec.SECP192R1()), (2, 3)),
        (lambda: ec.generate_private_key(ec.SECP224R1()), (3,)),
        (lambda: ec.generate_private_key(ec.SECP256R1()), ()),
    ],
)
def test_weak_keys_of_cas(
    key: Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey], refusing: tuple[int, ...], root: Authority
) -> None:
    """What OpenSSL refuses at each of its security levels."""
    weak = make(root, ["CA"], key=key()).certificate
    for level in range(4):
        found = told(lambda lint: lint.authority_strength(weak, "ca.pem", HERE, "client", level, [weak]))  # noqa: B023
        assert len(found) == (level in refusing)
        if found:
            assert found[0].startswith("the CA 'CN=CA' in 'ca.pem' has a key ") and "[tls-weak-key]" in found[0]
            assert f"at OpenSSL's security level {level}, the client certificates that it issued are refused" in found[0]
    assert told(lambda lint: lint.authority_strength(weak, "ca.pem", HERE, "client", 2, [], partial(eq, 67))) == []


def test_weak_signatures_of_cas(root: Authority) -> None:
    """That of a root does not matter, nor one in the place of which there is a better one."""
    middle = make_authority("Middle", parent=root, key="rsa").certificate
    weak, weak_root = signed_with(5, middle), signed_with(5, root.certificate)

    def look(one: x509.Certificate, level: int, *trusted: x509.Certificate) -> list[str]:
        return told(lambda lint: lint.authority_strength(one, "ca.pem", HERE, "server", level, [one, *trusted]))

    (found,) = look(weak, 2, root.certificate)
    assert found.startswith("the CA 'CN=Middle' in 'ca.pem' is signed with SHA-1: ") and "[tls-weak-signature]" in found
    assert len(look(weak, 1)) == 1
    assert look(weak, 0) == look(weak_root, 2) == look(weak, 2, middle) == []
    assert told(lambda lint: lint.authority_strength(weak, "ca.pem", HERE, "client", 2, [], partial(eq, 68))) == []


# --- stapling ---


def test_must_staple(root: Authority, tmp_path: Path) -> None:
    one = loaded(tmp_path, make(root, ["a.example"], extensions=[stapling()]))
    assert must_staple(one.certificate)
    (found,) = told(site(one))
    assert "[tls-must-staple]" in found and f"'{one.path}.ocsp'" in found
    assert told(site(one, updated=True)) == []


def test_only_a_response_that_can_be_stapled_counts(root: Authority, tmp_path: Path) -> None:
    """An empty file asks for stapling (5.1 crt), and until the runtime API fills it clients are sent nothing."""
    issued = make(root, ["a.example"], extensions=[stapling()])
    one = loaded(tmp_path, issued)
    one.issuer = root.certificate.public_bytes(Encoding.DER)
    for ends, found in ((3600.0, ""), (-30.0, "its file has none that can be stapled")):
        one.ocsp = make_response(root, issued, now=NOW.timestamp(), ends=ends)
        assert [found in text for text in told(site(one))] == ([True] if found else [])
    for data, found in ((b"", "has none:"), (b"nonsense", "its file has none that can be stapled:")):
        one.ocsp = data
        (text,) = told(site(one))
        assert found in text
    one.ocsp = make_response(root, make(root, ["a.example"]), now=NOW.timestamp())  # about another certificate
    assert len(told(site(one))) == 1


def test_another_tls_feature_is_not_must_staple(root: Authority, tmp_path: Path) -> None:
    other = x509.TLSFeature([x509.TLSFeatureType.status_request_v2])
    assert not must_staple(make(root, ["a.example"], extensions=[other]).certificate)


# --- files ---


@pytest.fixture
def open_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that everybody could reach, but for what lies above it: that is looked through as if it were open."""
    real = os.stat

    def stat(path: str, **more: object) -> os.stat_result:
        found = real(path)
        if str(tmp_path).startswith(str(path)):
            return os.stat_result((found.st_mode | 0o001, *tuple(found)[1:]))
        return found

    monkeypatch.setattr(os, "stat", stat)
    return tmp_path


def test_a_key_for_everybody(root: Authority, open_directory: Path) -> None:
    one = loaded(open_directory, valid(root, ["a.example"]))
    assert told(site(one)) == []
    os.chmod(one.path, 0o640)
    assert told(site(one)) == []
    os.chmod(one.path, 0o644)
    (found,) = told(site(one))
    assert f"can read the private key in '{one.path}'" in found and f"-> chmod 600 {one.path}" in found
    assert told(lambda lint: lint.client(one.certificate, one.path, HERE)) == [found]


def test_a_key_beside_its_certificate(root: Authority, open_directory: Path) -> None:
    issued = valid(root, ["a.example"])
    (open_directory / "site.crt").write_bytes(issued.certificate_pem)
    os.chmod(open_directory / "site.crt", 0o644)
    key = open_directory / "site.crt.key"
    key.touch(0o600)
    key.write_bytes(issued.key_pem)
    one = read_certified_key(str(open_directory / "site.crt"), HERE)
    assert told(site(one)) == []
    os.chmod(key, 0o604)
    (found,) = told(site(one))
    assert f"'{key}'" in found
    (open_directory / "named.key").touch(0o644)
    assert told(site(one, key=str(open_directory / "absent.key"))) == []


def test_a_directory_that_nobody_enters_protects_its_files(root: Authority, open_directory: Path) -> None:
    inner = open_directory / "private"
    inner.mkdir(0o700)
    one = loaded(inner, valid(root, ["a.example"]))
    os.chmod(one.path, 0o644)
    assert told(site(one)) == []
    inner.chmod(0o711)
    assert len(told(site(one))) == 1


# --- what a server line presents ---


def test_a_client_certificate(root: Authority, tmp_path: Path) -> None:
    one = loaded(tmp_path, valid(root, ["us"], -10, -3))
    (found,) = told(lambda lint: lint.client(one.certificate, one.path, HERE))
    assert found.startswith(f"client certificate '{one.path}' expired on 2031-02-26 (3 days ago): the server refuses us ")


def test_nothing_of_a_key_is_said(root: Authority, tmp_path: Path) -> None:
    issued = make(root, ["a.example"], key=rsa.generate_private_key(65537, 1024), extensions=[stapling()], end=-1)
    one = loaded(tmp_path, issued)
    text = "\n".join(told(site(one)))
    assert "BEGIN" not in text and issued.key_pem.decode()[40:80] not in text
    assert issued.certificate.public_bytes(Encoding.PEM).decode()[40:80] not in text


def test_the_time_is_an_argument(root: Authority, tmp_path: Path) -> None:
    one = loaded(tmp_path, valid(root, ["a.example"], -10, 400))
    findings, report = Findings(), Report()
    CertificateLint(findings, NOW + datetime.timedelta(days=380)).site(one, one.certificate, HERE, key=None, updated=False)
    findings.tell(report)
    assert [item.code for item in report.items] == ["tls-expires-soon"]
