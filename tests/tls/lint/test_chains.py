"""Chains that end before a root, and the many that only look like it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from cryptography import x509

from headgate.base.diagnostics import Location, Report
from headgate.base.findings import Findings
from headgate.tls.authority import Authority, Issued, issue, make_authority
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.lint.chains import ChainLint
from headgate.tls.pem import read_certified_key
from tests.tls.lint.forge import issued_by, issuer_at, make

HERE = Location("x.cfg", 7, 1, 4, "bind")


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_authority("Acme CA")


@pytest.fixture(scope="module")
def middle(root: Authority) -> Authority:
    return make_authority("Acme Signer", parent=root)


def loaded(directory: Path, issued: Issued, *above: x509.Certificate, name: str = "site.pem") -> CertifiedKey:
    path = directory / name
    path.write_bytes(Issued(issued.certificate, issued.key, above).pem)
    return read_certified_key(str(path), HERE)


def told(
    ones: Iterable[CertifiedKey], known: Iterable[x509.Certificate] = (), system: Iterable[str] = (), *, where: str = "ca.pem"
) -> list[str]:
    findings, report = Findings(), Report()
    lint = ChainLint(findings, system)
    lint.know(known, where)
    for one in ones:
        lint.site(one, one.certificate, HERE)
    findings.tell(report)
    assert all(item.location in (HERE, None) and item.code == "tls-incomplete-chain" for item in report.items)
    return [f"{item.message} -> {item.remedy}" for item in report.items]


def test_complete_chains(root: Authority, middle: Authority, tmp_path: Path) -> None:
    leaf = issue(middle, ["a.example"])
    known = [root.certificate, middle.certificate]
    assert told([loaded(tmp_path, leaf, middle.certificate)], known) == []
    assert told([loaded(tmp_path, leaf, middle.certificate, root.certificate)]) == []
    assert told([loaded(tmp_path, leaf, middle.certificate)]) == []  # nothing says that its issuer is no root


def test_a_self_signed_certificate_has_no_chain(root: Authority, tmp_path: Path) -> None:
    assert told([loaded(tmp_path, Issued(root.certificate, root.key))]) == []


def test_issued_by_a_root(root: Authority, tmp_path: Path) -> None:
    one = loaded(tmp_path, issue(root, ["a.example"]))
    assert told([one]) == []
    assert told([one], [root.certificate]) == []


def test_an_intermediate_that_is_known_is_missed(middle: Authority, tmp_path: Path) -> None:
    one = loaded(tmp_path, issue(middle, ["a.example"]))
    (found,) = told([one], [middle.certificate])
    assert found == (
        f"the chain in '{one.path}' is incomplete: 'CN=a.example' was issued by 'CN=Acme Signer', which is not in it. Clients "
        "that don't happen to know that intermediate refuse the connection (Firefox: sec_error_unknown_issuer) "
        "[tls-incomplete-chain] -> append that certificate behind the site's own; it lies in 'ca.pem'"
    )


def test_an_intermediate_in_another_site_is_known(middle: Authority, tmp_path: Path) -> None:
    good = loaded(tmp_path, issue(middle, ["a.example"]), middle.certificate, name="good.pem")
    bad = loaded(tmp_path, issue(middle, ["b.example"]), name="bad.pem")
    (found,) = told([good, bad])
    assert "bad.pem' is incomplete" in found and "good.pem'" in found


@pytest.mark.parametrize("name", ["bundle.crt", "site.ca-bundle", "chain.pem"])
def test_the_bundle_beside_a_certificate_is_found(name: str, middle: Authority, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(middle.certificate_pem)
    (tmp_path / "junk.pem").write_bytes(b"junk")
    (found,) = told([loaded(tmp_path, issue(middle, ["a.example"]))])
    assert f"it lies in '{tmp_path / name}'" in found


def test_neighbours_that_are_no_ca_are_no_sign(root: Authority, middle: Authority, tmp_path: Path) -> None:
    """A leaf may have the name of its issuer's brother."""
    (tmp_path / "other.pem").write_bytes(issue(root, ["Acme Signer"]).pem)
    assert told([loaded(tmp_path, issue(middle, ["a.example"]))]) == []


def test_a_root_beside_it_ends_the_question(root: Authority, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(root.certificate_pem)
    leaf = make(root, ["a.example"], extensions=[issuer_at("http://ca.example/ca.crt")])
    assert told([loaded(tmp_path, leaf)]) == []


def test_a_root_of_the_system_ends_the_question(root: Authority, tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    system = tmp_path / "ca-certificates.crt"
    leaf = make(root, ["a.example"], extensions=[issuer_at("http://ca.example/ca.crt")])
    one = loaded(tmp_path / "sites", leaf)
    assert len(told([one], system=[str(system)])) == 1
    system.write_bytes(root.certificate_pem)
    assert told([one], system=[str(tmp_path / "absent"), str(system)]) == []


def test_a_certificate_that_says_where_its_issuer_is(middle: Authority, root: Authority, tmp_path: Path) -> None:
    leaf = make(middle, ["a.example"], extensions=[issuer_at("http://ca.example/signer.crt")])
    (found,) = told([loaded(tmp_path, leaf)])
    assert "the CA offers it at http://ca.example/signer.crt" in found
    # It says so too when the issuer is there, and intermediates say it of their roots.
    assert told([loaded(tmp_path, leaf, middle.certificate)]) == []


def test_a_certificate_that_says_who_issued_its_issuer(middle: Authority, root: Authority, tmp_path: Path) -> None:
    """`authorityKeyIdentifier = keyid, issuer:always`, as guides to a CA of one's own have it."""
    leaf = make(middle, ["a.example"], extensions=[issued_by(root.certificate.subject)])
    (found,) = told([loaded(tmp_path, leaf)])
    assert found.endswith("-> append the CA's bundle behind the certificate: cat ca-bundle.crt >> site.pem")
    assert told([loaded(tmp_path, leaf, middle.certificate)]) == []
    below_root = make(root, ["a.example"], extensions=[issued_by(root.certificate.subject), issuer_at("http://ca.example/")])
    assert told([loaded(tmp_path, below_root)]) == []


@pytest.mark.parametrize(
    ("name", "missed"), [("Acme Intermediate CA", True), ("Acme Issuing CA 2", True), ("Acme Root CA", False), ("Acme", False)]
)
def test_what_an_issuer_is_called(name: str, missed: bool, tmp_path: Path) -> None:
    issuer = make_authority(name, parent=make_authority("Above"))
    assert bool(told([loaded(tmp_path, issue(issuer, ["a.example"]))])) is missed


def test_a_gap_above_the_first_intermediate(root: Authority, middle: Authority, tmp_path: Path) -> None:
    lower = make_authority("Acme Lower", parent=middle)
    leaf = issue(lower, ["a.example"])
    (found,) = told([loaded(tmp_path, leaf, lower.certificate)], [middle.certificate])
    assert "'CN=Acme Lower' was issued by 'CN=Acme Signer'" in found
    assert told([loaded(tmp_path, leaf, lower.certificate, middle.certificate)], [middle.certificate]) == []


def test_a_cross_signed_root_is_a_root(root: Authority, middle: Authority, tmp_path: Path) -> None:
    """The same name as a root and, signed by an older one, as an intermediate: clients have the root."""
    old = make_authority("Old Root")
    crossed = make_authority("Acme CA", parent=old).certificate
    one = loaded(tmp_path, issue(middle, ["a.example"]), middle.certificate)
    assert told([one], [crossed, root.certificate]) == []


def test_each_certificate_of_an_issuer_is_told(middle: Authority, tmp_path: Path) -> None:
    ones = [loaded(tmp_path, issue(middle, [f"{name}.example"]), name=f"{name}.pem") for name in "abcdefgh"]
    found = told(ones, [middle.certificate])
    assert len(found) == 6 and found[-1].startswith("and 3 more like this")


