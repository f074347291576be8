"""Which files of a bind line are read, and which certificate answers to a name."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from headgate.base.diagnostics import Report, Severity
from headgate.config.tls_options import BindTls, CertificateFile, CertificateLine, CrtList, LoadFiles
from headgate.tls.authority import issue
from headgate.tls.certified_key import names_of
from headgate.tls.loading import CertificateReader, Loading
from headgate.tls.storage import Storage
from headgate.tls.store import CertificateStore, Choice, load_served
from tests.tls.tls_peers import HERE, Pki, lines


def load(*paths: str, strict_sni: bool = False) -> tuple[CertificateStore, Report]:
    report = Report()
    tls = BindTls(lines(*paths), strict_sni=strict_sni, location=HERE)
    return CertificateStore(load_served(tls, Storage(), report)), report


def kinds(choice: Choice) -> set[str]:
    return {one.kind for one in choice}


def only(choice: Choice | None) -> object:
    assert choice is not None
    (one,) = choice
    return one.entry.contents.certificate


def test_exact_before_wildcard_before_default(pki: Pki, tmp_path: Path) -> None:
    wild, exact = issue(pki.root, ["*.example"]), issue(pki.root, ["x.example"])
    (tmp_path / "1.pem").write_bytes(wild.pem)
    (tmp_path / "2.pem").write_bytes(exact.pem)
    store, report = load(str(tmp_path / "1.pem"), str(tmp_path / "2.pem"))
    assert not report.items
    assert only(store.find(b"x.example")) == exact.certificate
    assert only(store.find(b"y.example")) == wild.certificate
    assert store.find(b"a.y.example") is None
    assert store.find(b"example") is None
    assert store.find(b"") is None and store.find(b".example") is None
    assert only(store.default) == wild.certificate
    assert store.names() == [b"*.example", b"x.example"]


def test_first_loaded_wins_a_name(pki: Pki, tmp_path: Path) -> None:
    first, second = issue(pki.root, ["x.example"]), issue(pki.root, ["x.example"])
    (tmp_path / "b.pem").write_bytes(first.pem)
    (tmp_path / "a.pem").write_bytes(second.pem)
    store, _ = load(str(tmp_path / "b.pem"), str(tmp_path / "a.pem"))
    assert only(store.find(b"x.example")) == first.certificate


def test_directory_in_lexical_order_without_extra_files(pki: Pki, tmp_path: Path) -> None:
    issued = {name: issue(pki.root, [f"{name}.example"]) for name in ("b", "a", "c")}
    for name, one in issued.items():
        (tmp_path / f"{name}.pem").write_bytes(one.pem)
    for junk in (".hidden", "x.pem.key", "x.pem.ocsp", "x.pem.issuer", "x.pem.sctl"):
        (tmp_path / junk).write_bytes(b"junk")
    (tmp_path / "folder").mkdir()
    store, report = load(str(tmp_path))
    assert not report.items
    assert [one.entry.name[-5:] for one in store.served] == ["a.pem", "b.pem", "c.pem"]
    assert only(store.default) == issued["a"].certificate


def test_both_kinds_of_key_are_kept(pki: Pki) -> None:
    store, _ = load(pki.path("b_rsa.pem"), pki.path("b.pem"))
    found = store.find(b"b.example")
    assert found is not None and kinds(found) == {"rsa", "ecdsa"}
    assert store.default is not None and kinds(store.default) == {"rsa"}


def test_bundle(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "x.pem.rsa").write_bytes(pki.b_rsa.pem)
    (tmp_path / "x.pem.ecdsa").write_bytes(pki.b.pem)
    store, report = load(str(tmp_path / "x.pem"))
    assert not report.items
    assert store.default is not None and kinds(store.default) == {"rsa", "ecdsa"}


def test_every_error_is_reported_and_the_rest_is_loaded(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_bytes(b"junk")
    store, report = load(str(tmp_path / "bad.pem"), "/nowhere", pki.path("a.pem"))
    assert len(report.alerts) == 2 and len(store.served) == 1


def test_empty_directory(tmp_path: Path) -> None:
    store, report = load(str(tmp_path))
    assert store.default is None and not report.items


def test_names(pki: Pki) -> None:
    assert names_of(issue(pki.root, ["A.Example", "b.example", "127.0.0.1"]).certificate) == [b"a.example", b"b.example"]
    assert names_of(issue(pki.root, ["Alice"], client=True).certificate) == [b"alice"]


# --- crt-lists ---


def listed(*lines: CertificateLine, storage: Storage | None = None) -> tuple[CertificateStore, Report]:
    report = Report()
    tls = BindTls((CrtList("a.list", lines, HERE),), location=HERE)
    return CertificateStore(load_served(tls, storage or Storage(), report)), report


def line(path: str, *filters: str, is_default: bool = False) -> CertificateLine:
    return CertificateLine(CertificateFile(path, HERE), filters, is_default)


def test_filters_take_the_place_of_the_names_in_the_certificate(pki: Pki) -> None:
    wild = line(pki.path("a.pem"), "*.x", "!No.x")
    others = line(pki.path("client.pem"), "*.x"), line(pki.path("b_rsa.pem"), "*")
    store, report = listed(line(pki.path("b.pem"), "One.x"), wild, *others)
    assert not report.items
    assert only(store.find(b"yes.x")) == pki.a.certificate
    assert only(store.find(b"no.x")) == pki.client.certificate
    assert store.find(b"a.example") is None and store.find(b"b.example") is None
    assert store.names() == [b"*.x", b"one.x"]
    assert only(store.find(b"one.x")) == pki.b.certificate


def test_defaults(pki: Pki) -> None:
    """The first line, and all that say so; of each kind of key the first."""
    first = line(pki.path("a.pem"))
    store, _ = listed(first, line(pki.path("b.pem"), is_default=True), line(pki.path("b_rsa.pem"), "*", is_default=True))
    assert [one.entry.name for one in store.default or ()] == [pki.path("a.pem"), pki.path("b_rsa.pem")]


def test_a_bundle_in_a_list_has_options_and_filters(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "x.pem.rsa").write_bytes(pki.b_rsa.pem)
    (tmp_path / "x.pem.ecdsa").write_bytes(pki.b.pem)
    store, _ = listed(line(str(tmp_path / "x.pem"), "x.example"))
    found = store.find(b"x.example")
    assert found is not None and kinds(found) == {"rsa", "ecdsa"}
    assert store.default is not None and kinds(store.default) == {"ecdsa"}  # of a list, only the first line


def test_no_bundles_where_they_are_not_looked_for(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "x.pem.rsa").write_bytes(pki.b_rsa.pem)
    _, report = listed(line(str(tmp_path / "x.pem")), storage=Storage(CertificateReader(Loading(frozenset()))))
    assert "cannot read" in report.alerts[0].message


def test_an_expired_certificate_leaves_its_name_to_a_valid_one(pki: Pki, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    old = issue(pki.root, ["x.example"], not_before=now - datetime.timedelta(days=9), not_after=now - datetime.timedelta(days=1))
    new = issue(pki.root, ["x.example", "y.example"])
    (tmp_path / "1").write_bytes(old.pem)
    (tmp_path / "2").write_bytes(new.pem)
    tls = BindTls(lines(str(tmp_path / "1"), str(tmp_path / "2")), location=HERE)
    served = load_served(tls, Storage(), Report())
    assert only(CertificateStore(served, now.timestamp()).find(b"x.example")) == new.certificate
    assert only(CertificateStore(served[:1], now.timestamp()).find(b"x.example")) == old.certificate
    assert only(CertificateStore(served).find(b"x.example")) == old.certificate


def test_one_bad_file_among_many(pki: Pki, tmp_path: Path) -> None:
    """It is named; whether the others serve is a global keyword's choice. One that the bind line itself names is an error."""
    (tmp_path / "good.pem").write_bytes(pki.a.pem)
    (tmp_path / "bad.pem").write_bytes(b"junk")
    for skip, named in ((False, str(tmp_path)), (True, str(tmp_path)), (True, str(tmp_path / "bad.pem"))):
        report = Report()
        storage = Storage(CertificateReader(Loading(skip_bad=skip)))
        served = load_served(BindTls(lines(named), location=HERE), storage, report)
        (item,) = report.items
        assert str(tmp_path / "bad.pem") in item.message
        skipped = skip and named == str(tmp_path)
        assert item.severity is (Severity.WARNING if skipped else Severity.ALERT)
        assert ("its names are not served" in item.message) is skipped
        assert len(served) == (named == str(tmp_path))


def test_a_link_that_leads_nowhere_is_a_bad_file(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "good.pem").write_bytes(pki.a.pem)
    (tmp_path / "site.pem").symlink_to("/nowhere/site.pem")
    (tmp_path / "loop.pem").symlink_to("loop.pem")
    for skip, severity in ((False, Severity.ALERT), (True, Severity.WARNING)):
        report = Report()
        storage = Storage(CertificateReader(Loading(skip_bad=skip)))
        served = load_served(BindTls(lines(str(tmp_path)), location=HERE), storage, report)
        assert [one.entry.name for one in served] == [str(tmp_path / "good.pem")]
        assert [item.severity for item in report.items] == [severity, severity]
        assert f"'{tmp_path}/loop.pem'" in report.items[0].message
        assert f"cannot read certificate file '{tmp_path}/site.pem': No such file or directory" in report.items[1].message
        assert "a link to '/nowhere/site.pem'" in (report.items[1].remedy or "")


@pytest.mark.parametrize("option", ["key", "ocsp", "issuer", "sctl"])
def test_one_certificate_with_two_ideas_of_its_files(pki: Pki, option: str) -> None:
    path = pki.path("a.pem")
    other = CertificateLine(CertificateFile(path, HERE, LoadFiles(**{option: "/nosuch"})))  # type: ignore[arg-type]
    _, report = listed(line(path), other)
    assert f"different values of '{option}'" in report.alerts[0].message


def test_who_names_no_files_takes_those_of_the_first_use(pki: Pki) -> None:
    path = pki.path("a.pem")
    first = CertificateLine(CertificateFile(path, HERE, LoadFiles(key=path)))
    _, report = listed(first, line(path, "b.x"))
    assert not report.items


def test_one_certificate_with_two_ideas_of_ocsp_update(pki: Pki) -> None:
    path = pki.path("a.pem")
    on = CertificateLine(CertificateFile(path, HERE, LoadFiles(ocsp_update=True)))
    _, report = listed(on, line(path))
    assert "different values of 'ocsp-update'" in report.alerts[0].message
