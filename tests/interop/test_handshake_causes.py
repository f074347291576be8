"""One test for each cause, by real clients: cause, advice, counters, the line in the log, that the advice helps, and that
docs/handshake-failures.md says what is so.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from headgate.base.handshake_causes import CAUSES, Cause
from tests.interop.handshake_cases import CASES, NOT_BY_CLIENTS, Case
from tests.interop.handshake_page import PAGE, in_columns, ours
from tests.interop.handshake_scene import SUBJECTS, Scene
from tests.interop.programs import wait_until

pytestmark = [pytest.mark.xdist_group("handshake-causes"), pytest.mark.needs("openssl")]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(tmp_path_factory.mktemp("causes"), stack, ("headgate",))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(tmp_path_factory.mktemp("both"), stack, SUBJECTS)


def every(cases: list[Case]) -> Any:
    return pytest.mark.parametrize(
        ("case", "version"),
        [
            pytest.param(case, version, id=f"{case.name}-{version}".rstrip("-"), marks=pytest.mark.needs(*case.needs))
            for case in cases
            for version in case.versions
        ],
    )


def page_rows(case: Case, version: str) -> list[list[str]]:
    """The cells of this case's rows."""
    wanted = [f"{case.what} (TLS {one})" for one in (version, "1.2 and 1.3")] if version else [case.what]
    rows = [line[2:-2].split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] in wanted]


def test_every_cause_is_there() -> None:
    covered = {case.cause for case in CASES}
    assert covered | set(NOT_BY_CLIENTS) == set(CAUSES) - {Cause.NONE} and not covered & set(NOT_BY_CLIENTS)
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(f"| `{cause.code}` | {why} |" in PAGE.read_text() for cause, why in NOT_BY_CLIENTS.items())


@every(list(CASES))
def test_cause(scene: Scene, case: Case, version: str) -> None:
    record = scene.run(case, version)
    place = scene.headgate.places[case.name, version, False]
    assert {(row["cause"], row["listener"], row["total"]) for row in counters(scene, place.name)} == {(case.cause.code, "tls", 1)}
    if not record:  # who finishes a handshake and leaves is counted only
        assert case.cause is Cause.CLOSED_WITHOUT_REQUEST
        return
    assert record["cause"] == case.cause.code and record["result"] == ("probe" if case.cause.probe else "failed")
    assert (record["frontend"], record["listener"], record["client"]) == (place.name, "tls", "127.0.0.1")
    advice = record["advice"]
    short = advice.replace(f"{scene.directory}/headgate.cfg", "headgate.cfg")
    for words in case.advice:
        assert words.format(line=f"headgate.cfg:{place.number}", dir=scene.directory) in short, advice
    if case.alert:
        assert case.alert in (record["alert_received"], record["alert_sent"]), record["openssl"]
    if not case.cause.probe:
        wait_until(lambda: scene.headgate.lines(place.name), "a line in the log")
        (line,) = scene.headgate.lines(place.name)
        assert f"({case.cause.code}: {advice})" in line
        assert [row[-1] for row in page_rows(case, version)] == [ours(scene, case, version)], "docs: see handshake_page"


def counters(scene: Scene, name: str) -> list[dict[str, Any]]:
    rows = json.loads(scene.headgate.ask("show ssl handshake-counters json"))["counters"]
    return [row for row in rows if row["frontend"] == name]


@every([case for case in CASES if case.remedy or case.repaired])
def test_the_advice_helps(scene: Scene, case: Case, version: str) -> None:
    """The option that is named lets the client in; so does what the client is told to change."""
    if case.remedy is not None:
        assert case.client(scene.headgate.visit(case, version, cured=True)), "with the line changed as the advice says"
    if case.repaired is not None:
        assert case.repaired(scene.headgate.visit(case, version)), "with the client changed as the advice says"


@pytest.mark.needs("haproxy")
@every([case for case in CASES if case.steady])
def test_what_haproxy_says(both: Scene, case: Case, version: str) -> None:
    """The page shows what HAProxy logs, where that is the same each time and it is the HAProxy that the page is about."""
    shown = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    if "HAProxy version 2.6." not in shown:
        pytest.skip("the page is about HAProxy 2.6")
    (row,) = page_rows(case, version)
    assert " | ".join(row[1:3]) == in_columns([both.said("haproxy", case, version)]), "docs: see handshake_page"
