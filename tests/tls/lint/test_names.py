"""Two certificates for one name, and filters that a certificate does not cover."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headgate.base.diagnostics import Diagnostic, Location, Report
from headgate.base.findings import Findings
from headgate.config.tls_options import BindPolicy, CertificateFile, CertificateLine, TlsVersions
from headgate.tls.authority import Authority, Issued, make_authority
from headgate.tls.lint.names import lint_defaults, lint_filters, lint_rivals
from headgate.tls.pem import read_certified_key
from headgate.tls.storage import Entry
from headgate.tls.store import CertificateStore, Served
from tests.tls.lint.forge import NOW, valid

HERE = Location("list.txt", 3, 1, 8, "site.pem *.a.example !no.a.example b.example")
_NO_OPTIONS = BindPolicy()


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_authority("Root")


def served(directory: Path, name: str, issued: Issued, *filters: str, policy: BindPolicy = _NO_OPTIONS) -> Served:
    path = directory / f"{name}.pem"
    path.write_bytes(issued.pem)
    line = CertificateLine(CertificateFile(str(path), HERE), filters)
    return Served(Entry(str(path), read_certified_key(str(path), HERE), HERE), policy, line)


def rivals(directory: Path, *ones: Served) -> list[str]:
    findings, report = Findings(), Report()
    lint_rivals(CertificateStore(ones, NOW.timestamp()), findings, NOW.timestamp())
    findings.tell(report)
    assert all(item.code == "tls-name-twice" and item.location is HERE for item in report.items)
    return [item.message.replace(f"{directory}/", "") for item in report.items]


def test_the_first_of_two_is_used(root: Authority, tmp_path: Path) -> None:
    one = served(tmp_path, "one", valid(root, ["a.example", "b.example", "c.example"]))
    two = served(tmp_path, "two", valid(root, ["b.example", "c.example"]))
    assert rivals(tmp_path, one, two) == [
        "'b.example' stands in two certificates with the same kind of key (ecdsa): 'one.pem' is used, the first of the two, and "
        "'two.pem' is not [tls-name-twice]"
    ]


def test_one_certificate_with_different_options(root: Authority, tmp_path: Path) -> None:
    site, strict = valid(root, ["a.example", "b.example"]), BindPolicy(versions=TlsVersions("TLSv1.3"))
    one, two = served(tmp_path, "one", site, "a.example"), served(tmp_path, "one", site, "a.example", policy=strict)
    said = (
        "'a.example' stands twice with certificate 'one.pem', and with different options: those of list.txt:3 hold, and these do"
        " not [tls-name-twice]"
    )
    assert rivals(tmp_path, one, two) == rivals(tmp_path, two, one) == [said]
    assert rivals(tmp_path, one, served(tmp_path, "one", site, "a.example")) == []
    everything = served(tmp_path, "one", site)
    assert rivals(tmp_path, everything, two) == [said]
    assert rivals(tmp_path, two, everything) == []  # for b.example
    both = served(tmp_path, "one", site, "a.example", "b.example", policy=strict)
    assert rivals(tmp_path, both, everything) == [said]


def test_a_valid_one_is_used_in_the_place_of_an_expired_one(root: Authority, tmp_path: Path) -> None:
    old = served(tmp_path, "old", valid(root, ["a.example"], -100, -1))
    new = served(tmp_path, "new", valid(root, ["a.example"]))
    (found,) = rivals(tmp_path, old, new)
    assert "'new.pem' is used, the other one has expired, and 'old.pem' is not" in found
    (found,) = rivals(tmp_path, new, old)
    assert "'new.pem' is used, the other one has expired, and 'old.pem' is not" in found


def test_wildcards_are_names_too(root: Authority, tmp_path: Path) -> None:
    one, two = (served(tmp_path, name, valid(root, ["*.a.example"])) for name in ("one", "two"))
    (found,) = rivals(tmp_path, one, two)
    assert found.startswith("'*.a.example' stands in two certificates")


def test_what_is_not_twice(root: Authority, tmp_path: Path) -> None:
    one = valid(root, ["a.example"])
    assert rivals(tmp_path, served(tmp_path, "one", one), served(tmp_path, "same", one)) == []
    assert rivals(tmp_path, served(tmp_path, "one", one), served(tmp_path, "rsa", valid(root, ["a.example"], key="rsa"))) == []
    assert rivals(tmp_path, served(tmp_path, "one", one), served(tmp_path, "wild", valid(root, ["*.example"]))) == []
    filtered = served(tmp_path, "two", valid(root, ["a.example", "b.example"]), "b.example")
    assert rivals(tmp_path, served(tmp_path, "one", one), filtered) == []


def test_three_are_two_mistakes(root: Authority, tmp_path: Path) -> None:
    found = rivals(tmp_path, *(served(tmp_path, name, valid(root, ["a.example"])) for name in ("one", "two", "three")))
    assert len(found) == 2 and all("'one.pem' is used" in text for text in found)


def test_a_default_that_another_one_comes_before(root: Authority, tmp_path: Path) -> None:
    first = served(tmp_path, "first", valid(root, ["a.example"]))
    rsa = served(tmp_path, "rsa", valid(root, ["b.example"], key="rsa"))
    second = served(tmp_path, "second", valid(root, ["c.example"]))
    rsa, second = (Served(one.entry, one.policy, replace(one.line, is_default=True)) for one in (rsa, second))
    findings, report = Findings(), Report()
    lint_defaults(CertificateStore([first, rsa, second]), findings)
    findings.tell(report)
    (found,) = report.items
    assert found.message.replace(f"{tmp_path}/", "") == (
        "'second.pem' is a default certificate, and who asks for no name gets 'first.pem', since it is the first of the line: it"
        " has the same kind of key (ecdsa) [tls-name-twice]"
    )


# --- filters ---


def filters(*ones: Served) -> list[Diagnostic]:
    findings, report = Findings(), Report()
    lint_filters(CertificateStore(ones), findings)
    findings.tell(report)
    return report.items


@pytest.mark.parametrize("name", ["a.example", "A.Example", "x.wild.example", "*.wild.example", "*", "!other.example"])
def test_covered_filters(name: str, root: Authority, tmp_path: Path) -> None:
    assert filters(served(tmp_path, "one", valid(root, ["a.example", "*.wild.example"]), name)) == []


@pytest.mark.parametrize("name", ["b.example", "wild.example", "*.a.example", "*.example"])
def test_filters_that_are_not_covered(name: str, root: Authority, tmp_path: Path) -> None:
    (item,) = filters(served(tmp_path, "one", valid(root, ["a.example", "*.wild.example"]), name))
    path = tmp_path / "one.pem"
    assert item.message.startswith(f"the filter '{name}' names something that certificate '{path}' is not valid for: ")
    assert item.remedy == "use a certificate for it; this one is valid for a.example, *.wild.example"


def test_a_wildcard_is_one_label(root: Authority, tmp_path: Path) -> None:
    (item,) = filters(served(tmp_path, "one", valid(root, ["*.wild.example"]), "a.b.wild.example"))
    assert "('*.wild.example' stands for one label, not for several)" in item.message


def test_the_filter_is_underlined(root: Authority, tmp_path: Path) -> None:
    (item,) = filters(served(tmp_path, "one", valid(root, ["*.a.example"]), "*.a.example", "!no.a.example", "b.example"))
    assert item.location is not None
    start = item.location.column - 1
    assert item.location.text[start : start + item.location.width] == "b.example"
