"""The commands about stick tables that HAProxy of the machine can't be asked about; the others are in tests/interop."""

from __future__ import annotations

import re
from typing import Any

import pytest

from headgate.admin.commands import all_commands
from headgate.admin.registry import Level
from headgate.base.diagnostics import NOWHERE
from headgate.config.stick_tables import KeyType, StickTable, Stored
from headgate.tables.opening import open_tables
from tests.admin.talk import Talk


class Clock:
    now = 50.0


@pytest.fixture
def ask(process: Any) -> Any:
    process.tables = open_tables(
        [
            StickTable("ips", KeyType.IP, 1000, NOWHERE, expire=10.0, stores=(Stored("gpc0"), Stored("server_key"))),
            StickTable("blobs", KeyType.BINARY, 10, NOWHERE, length=4, stores=(Stored("gpt", 2), Stored("gpc_rate", 2, 1000))),
        ],
        None, Clock(),
    )  # fmt: skip
    talk = Talk(all_commands(), process, Level.ADMIN)
    talk.interactive = True
    return lambda line: talk.line(line).strip("\n")


def test_an_entry_is_found_by_its_pointer(ask: Any) -> None:
    ask("set table ips key 10.0.0.1 data.gpc0 3 data.server_key s1")
    shown = ask("show table ips")
    pointer = re.search(r"(0x[0-9a-f]+): key=10.0.0.1 use=0 exp=10000 shard=0 gpc0=3 server_key=s1", shown)
    assert pointer is not None
    assert ask(f"show table ips ptr {pointer[1]}") == shown
    ask(f"set table ips ptr {pointer[1]} data.gpc0 4")
    assert "gpc0=4" in ask("show table ips")
    ask(f"clear table ips ptr {pointer[1]}")
    assert ask("show table ips").endswith("used:0")
    assert "No such entry" in ask(f"show table ips ptr {pointer[1]}")


def test_binary_keys_and_elements_of_arrays(ask: Any, process: Any) -> None:
    process.tables[1].assign(b"\x01\xab\0\0", [("gpt", 1, 5), ("gpc_rate", 0, 9)])
    shown = ask("show table blobs data.gpt[1] eq 5").splitlines()[1]
    assert "key=01AB0000" in shown and shown.endswith("gpt0=0 gpt1=5 gpc0_rate(1000)=9 gpc1_rate(1000)=0")
    assert "not stored" in ask("show table blobs data.gpt[2] eq 5")
    assert "compared" in ask("show table ips data.server_key eq 1")


def test_a_tracked_entry_stays(ask: Any, process: Any) -> None:
    entry = process.tables[0].track(b"\x0a\0\0\1", ())
    assert "currently in use" in ask("clear table ips key 10.0.0.1")
    ask("clear table ips")
    assert "use=1" in ask("show table ips")
    entry.release()
    ask("clear table ips")
    assert ask("show table ips").endswith("used:0")


def test_large_tables_come_piece_by_piece(ask: Any, process: Any) -> None:
    for number in range(600):
        process.tables[0].count(number.to_bytes(4, "big"), ())
    assert len(ask("show table ips").splitlines()) == 601
