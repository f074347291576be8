"""Certificates that have expired leave their names, and the default's place, to valid ones."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from headgate.base.diagnostics import Report
from headgate.config.tls_options import BindTls
from headgate.tls.authority import issue
from headgate.tls.storage import Storage
from headgate.tls.store import CertificateStore, Choice, load_served
from tests.tls.tls_peers import HERE, Pki, lines

DAY = datetime.timedelta(days=1)


def load_at(paths: list[str], now: float | None) -> CertificateStore:
    return CertificateStore(load_served(BindTls(lines(*paths), location=HERE), Storage(), Report()), now)


def only(choice: Choice | None) -> object:
    assert choice is not None
    (one,) = choice
    return one.entry.contents.certificate


def test_a_default_that_has_expired_gives_way_to_its_successor(pki: Pki, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    old = issue(pki.root, ["x.example", "y.example"], not_before=now - DAY * 9, not_after=now - DAY)
    new, other = issue(pki.root, ["y.example"]), issue(pki.root, ["z.example"])
    for name, one in (("1", old), ("2", other), ("3", new)):
        (tmp_path / f"{name}.pem").write_bytes(one.pem)
    paths = [str(tmp_path / f"{name}.pem") for name in "123"]
    assert only(load_at(paths, now.timestamp()).default) == new.certificate
    assert only(load_at(paths[:2], now.timestamp()).default) == old.certificate
    assert only(load_at(paths, None).default) == old.certificate


@pytest.mark.parametrize("name", ["x.example", "*.x.example"])
def test_a_valid_one_wins_over_an_expired_one(name: str, pki: Pki, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    old = issue(pki.root, [name], not_before=now - DAY * 9, not_after=now - DAY)
    older = issue(pki.root, [name], not_before=now - DAY * 9, not_after=now - DAY * 2)
    new, newer = issue(pki.root, [name]), issue(pki.root, [name])
    for number, one in enumerate((older, old, new, newer)):
        (tmp_path / f"{number}.pem").write_bytes(one.pem)
    asked = name.replace("*", "any").encode()
    paths = [str(tmp_path / f"{number}.pem") for number in range(4)]
    for order, winner in ((paths, new), (paths[::-1], newer), (paths[:2], older), ([paths[2], paths[0]], new)):
        assert only(load_at(order, now.timestamp()).find(asked)) == winner.certificate
