"""Rows, rates and keys of stick tables; what the compiler says about rules that use them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import NOWHERE, Report
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.config.stick_tables import DATA_TYPES, KeyType, Kind, StickTable, Stored
from headgate.plan.compiler import compile_plan
from headgate.plan.table_layout import Layout, count, rate

STORES = (Stored("http_req_rate", 1, 1000), Stored("bytes_in_cnt"), Stored("gpc0"))
TABLE = StickTable("t", KeyType.IP, 10, NOWHERE, stores=STORES)


def all_of_them() -> Layout:
    stores = tuple(Stored(name, 3 if kind.counted else 1, 1000 if kind.timed else 0) for name, kind in DATA_TYPES.items())
    return Layout(StickTable("t", KeyType.STRING, 10, NOWHERE, 32, stores=stores))


def test_rates_slide() -> None:
    layout = Layout(TABLE)
    row, slot = layout.blank.copy(), layout.columns["http_req_rate"].slot
    steps = layout.steps(("http_req_rate",), 10)
    count(row, steps, 5000)
    seen = [rate(row, slot, 1000, at) for at in (5000, 5999, 6000, 6250, 6500, 6900, 7000, 9000)]
    assert seen == [10, 10, 10, 7, 5, 1, 0, 0]
    count(row, steps, 6500)
    assert rate(row, slot, 1000, 6500) == 15
    count(row, steps, 9500)
    assert rate(row, slot, 1000, 9500) == 10


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 5)), max_size=30))
def test_a_rate_is_never_more_than_two_periods_hold(events: list[tuple[int, int]]) -> None:
    layout = Layout(TABLE)
    row, slot = layout.blank.copy(), layout.columns["http_req_rate"].slot
    now, history = 10_000, []
    for wait, amount in events:
        now += wait
        count(row, layout.steps(("http_req_rate",), amount), now)
        history.append((now, amount))
        most = sum(amount for at, amount in history if at > now - 2000)
        least = history[-1][1]
        assert least <= rate(row, slot, 1000, now) <= most


def test_numbers_wrap_and_rows_survive_packing() -> None:
    layout = all_of_them()
    row = layout.blank.copy()
    for name, column in layout.columns.items():
        for index in range(column.count):
            column.set(row, b"server" if column.kind is Kind.TEXT else 2**32 - 1, 7, index)
            assert name in layout.columns
    assert layout.unpack(layout.pack(row)) == row
    count(row, layout.steps(("gpc0", "bytes_in_cnt"), 2), 7)
    assert row[layout.columns["gpc0"].slot] == 1
    assert row[layout.columns["bytes_in_cnt"].slot] == 2**32 + 1


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        (KeyType.IP, ipaddress.ip_address("10.0.0.1"), b"\x0a\0\0\1"),
        (KeyType.IP, ipaddress.ip_address("::ffff:10.0.0.1"), b"\x0a\0\0\1"),
        (KeyType.IP, ipaddress.ip_address("2001:db8::1"), None),
        (KeyType.IPV6, ipaddress.ip_address("10.0.0.1"), b"\0" * 10 + b"\xff\xff\x0a\0\0\1"),
        (KeyType.INTEGER, -1, b"\xff\xff\xff\xff"),
        (KeyType.STRING, b"abcdefgh", b"abcd"),
        (KeyType.STRING, b"ab", b"ab"),
        (KeyType.BINARY, b"ab", b"ab\0\0"),
        (KeyType.BINARY, b"abcdefgh", b"abcd"),
    ],
)
def test_keys(kind: KeyType, value: object, key: bytes | None) -> None:
    assert Layout(StickTable("t", kind, 10, NOWHERE, 4)).key_of(value) == key


HEAD = """
defaults
    mode http
    timeout client 1s
    timeout server 1s
    timeout connect 1s
backend ips
    stick-table type ip size 10 store http_req_cnt
listen web
    bind :80
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("http-request track-sc0 src", "unable to find table 'web' referenced by track-sc0"),
        ("http-request track-sc0 src table ip", "unable to find table 'ip' referenced by track-sc0"),
        ("http-request deny if { src_conn_cnt(nope) gt 1 }", "unable to find table 'nope' referenced by 'src_conn_cnt'"),
        ("stick on src", "unable to find table 'web' referenced by the 'stick' rule"),
        ("stick on method table ips", "stick-table 'ips' uses a type incompatible with the 'stick' rule"),
        ("http-request track-sc0 always_true table ips", "stick-table 'ips' uses a type incompatible with the 'track-sc0' rule"),
        ("http-request deny if { src_get_gpc0(ips) gt 1 }", "stick-table 'ips' does not store 'gpc0': 'src_get_gpc0' has no"),
        ("http-request deny if { src,table_gpt(3,ips) gt 1 }", "stick-table 'ips' does not store 'gpt': 'table_gpt' has no"),
    ],
)
def test_what_is_said(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text(f"{HEAD}    {line}\n")
    report = Report()
    config = load([str(path)], {}, BuildFacts(), report)
    assert config is not None
    compile_plan(config, report)
    found = [item for item in report.items if "table" in item.message]
    assert len(found) == 1 and found[0].message.startswith(message)
    assert found[0].location is not None and found[0].location.line == 11


def test_tables_that_stick_rules_use_keep_servers(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text(f"{HEAD}    stick on src table ips\n")
    report = Report()
    config = load([str(path)], {}, BuildFacts(), report)
    assert config is not None
    (table,) = compile_plan(config, report).tables
    assert {stored.name for stored in table.stores} == {"http_req_cnt", "server_id", "server_key"}
