"""Which files of a bind line are read, and which certificate answers to a name."""

from __future__ import annotations

from pathlib import Path

from headgate.base.diagnostics import Report
from headgate.config.tls_options import BindTls
from headgate.tls.authority import issue
from headgate.tls.certified_key import names_of
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
