"""OCSP of one process: changes that arrive, certificates that are replaced, what is prepared."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.app.ocsp import Ocsp
from headgate.app.ocsp_state import OcspState
from headgate.app.prepare import prepare
from headgate.base.diagnostics import Report
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.runtime.ocsp.store import ResponseStore
from headgate.runtime.process.place import Role
from headgate.tls.authority import Issued, make_authority
from headgate.tls.ocsp.certificate_id import certificate_id
from headgate.tls.ocsp.survey import digest_of
from tests.tls.ocsp.ocsp_fixtures import make_leaf, make_response

CA = make_authority("test CA")
URI = "http://127.0.0.1:1"


def write(path: Path, leaf: Issued) -> None:
    path.write_bytes(leaf.pem + CA.certificate_pem)


def prepared(folder: Path, settings: str = "ocsp-update.mode on", lines: str = "") -> tuple[OcspState | None, Report]:
    text = f"""
global
    ocsp-update.directory {folder}/responses
    {settings}
defaults
    mode http
    timeout client 5s
frontend f
    bind 127.0.0.1:1 ssl crt {folder}/a.pem {lines}
"""
    (folder / "test.cfg").write_text(text)
    report = Report()
    config = load([str(folder / "test.cfg")], {}, BuildFacts(), report)
    found = None if config is None else prepare(config, report)
    return (None if found is None else found.ocsp), report


def process(state: OcspState, role: Role = Role.WORKER) -> Any:
    app: Any = SimpleNamespace(place=SimpleNamespace(role=role), api=None, controller=None, logs=SimpleNamespace(process=None))
    return Ocsp(app, state)


def response(leaf: Issued, **options: Any) -> bytes:
    return make_response(CA, leaf, now=time.time(), **options)


def test_responses_of_the_directory_are_at_hand_at_once(tmp_path: Path) -> None:
    leaf = make_leaf(CA, URI)
    write(tmp_path / "a.pem", leaf)
    store = ResponseStore(str(tmp_path / "responses"))
    assert store.open(None, None) is None
    key = certificate_id(leaf.certificate, CA.certificate).key
    good = response(leaf)
    for der, expected in ((b"garbage", b""), (response(leaf, begins=-60, ends=-1), b""), (good, good)):
        store.write(key, der)
        state, report = prepared(tmp_path)
        assert state is not None and not report.alerts and state.updates
        (entry,) = state.ledger
        assert entry.staple.der == expected
    store.close()


def test_the_newer_of_two_responses_counts(tmp_path: Path) -> None:
    leaf = make_leaf(CA, URI)
    write(tmp_path / "a.pem", leaf)
    older, newer = response(leaf, begins=-100), response(leaf, begins=-50)
    store = ResponseStore(str(tmp_path / "responses"))
    assert store.open(None, None) is None
    for beside, stored in ((older, newer), (newer, older)):
        (tmp_path / "a.pem.ocsp").write_bytes(beside)
        store.write(certificate_id(leaf.certificate, CA.certificate).key, stored)
        state, _ = prepared(tmp_path)
        assert state is not None
        assert [entry.staple.der for entry in state.ledger] == [newer]
    store.close()


def test_a_change_is_stapled_also_for_one_that_took_no_part(tmp_path: Path) -> None:
    leaf = make_leaf(CA)
    write(tmp_path / "a.pem", leaf)
    state, _ = prepared(tmp_path, "ocsp-update.mode off")
    assert state is not None and not list(state.ledger)
    (loaded,) = state.loaded()
    worker = process(state)
    der = response(leaf)
    assert worker.apply(digest_of(loaded.leaf), der, time.time() + 60) == (True, "")
    assert state.storage.staples.of(loaded.leaf).der == der
    assert worker.apply("0" * 64, der, 0.0) == (False, "no such certificate")


def test_a_certificate_that_is_replaced_starts_anew(tmp_path: Path) -> None:
    leaf, other = make_leaf(CA, URI), make_leaf(CA, URI)
    write(tmp_path / "a.pem", leaf)
    state, _ = prepared(tmp_path)
    assert state is not None
    worker = process(state)
    (entry,) = state.ledger
    worker.apply(entry.digest, response(leaf), time.time() + 60)
    write(tmp_path / "a.pem", other)
    (tmp_path / "a.pem.ocsp").write_bytes(response(other))
    (known,) = state.storage.certificates.values()
    state.storage.replace(known, state.storage.reader.read(known.file))
    (fresh,) = state.ledger
    assert fresh.digest != entry.digest and fresh.path == entry.path and fresh.updates
    assert fresh.valid(time.time()) is not None
    assert worker.ledger is state.ledger


def test_contradictions_are_errors(tmp_path: Path) -> None:
    write(tmp_path / "a.pem", make_leaf(CA, URI))
    for mode, word, is_wrong in (("on", "off", True), ("off", "on", True), ("on", "on", False), ("off", "off", False)):
        (tmp_path / "list").write_text(f"{tmp_path}/a.pem [ocsp-update {word}]\n")
        _, report = prepared(tmp_path, f"ocsp-update.mode {mode}", f"crt-list {tmp_path}/list")
        assert bool([one for one in report.alerts if "ocsp-update" in one.message]) is is_wrong, (mode, word)


def test_a_ca_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.pem", make_leaf(CA, URI))
    _, report = prepared(tmp_path, f"ocsp-update.mode on\n    httpclient.ssl.ca-file {tmp_path}/none.pem")
    assert [one.message for one in report.alerts] and "httpclient.ssl.ca-file" in report.alerts[0].message


def test_the_default_directory_is_below_the_services_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.pem", make_leaf(CA, URI))
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/state:{tmp_path}/other")
    state, _ = prepared(tmp_path, "default-path current")
    assert state is not None and state.store.path == f"{tmp_path}/responses"
    text = (tmp_path / "test.cfg").read_text().replace(f"ocsp-update.directory {tmp_path}/responses", "")
    (tmp_path / "test.cfg").write_text(text)
    report = Report()
    config = load([str(tmp_path / "test.cfg")], {}, BuildFacts(), report)
    assert config is not None
    found = prepare(config, report)
    assert found is not None and found.ocsp is not None and found.ocsp.store.path == f"{tmp_path}/state/ocsp"
