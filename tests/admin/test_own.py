"""`show headgate` and `show history`: commands that HAProxy does not have."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from headgate.admin.commands.own import show_headgate, show_history
from headgate.admin.registry import CommandError
from headgate.observe.history import History
from tests.admin.conftest import Process


@pytest.fixture
def shown(process: Process) -> Process:
    # they live on the fake, so that other tests need not know of them
    history = History()
    for total in (0, 5):
        history.sample(f"# pxname,svname,type,req_tot,hrsp_5xx,mode,\nweb,FRONTEND,0,{total},0,http,")
    wall = process.wall()
    certificates = [
        SimpleNamespace(names=["b.example"], file="/b.pem", used_by=["web"], not_after=wall + 40 * 86400),
        SimpleNamespace(names=["a.example"], file="/a.pem", used_by=["web"], not_after=wall - 86400),
    ]
    process.__dict__.update(history=history, certificates=certificates)
    return process


def test_facts(shown: Process) -> None:
    shown.counters.tls_connections, shown.counters.tls_failures = 10, 3
    facts = json.loads(show_headgate([], shown))
    assert (facts["workers"], facts["dropped_logs"]) == (1, 7)
    assert (facts["tls"]["connections"], facts["tls"]["failures"]) == (10, 3)
    assert [(one["names"], one["days"]) for one in facts["certificates"]] == [(["a.example"], -1), (["b.example"], 40)]


def test_history(shown: Process) -> None:
    assert json.loads(show_history([], shown)) == {"web/FRONTEND": {"requests": [5], "errors": [0]}}


def test_they_take_no_words(shown: Process) -> None:
    for command in (show_headgate, show_history):
        with pytest.raises(CommandError, match="takes no 'x'"):
            command(["x"], shown)
