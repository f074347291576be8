"""`show ssl handshakes` and its kin: filters, forms, one answer of all workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.admin.commands.handshakes import added
from headgate.base.handshake_causes import ADDRESSES_KEPT, CAUSES, Cause
from tests.admin.test_introspection import ask, merged
from tests.tls.test_handshake_diagnosis import Step, hello, record


@pytest.fixture
def shaken(process: Any) -> Any:
    """A process with a few handshakes behind it."""
    log = process.inspection.handshakes
    now = process.wall()
    for client, age, facts in (
        (b"192.0.2.1", 500.0, {"error_number": 258, "first_bytes": hello(legacy=0x0302, ciphers=(0xC009,))}),
        (b"192.0.2.1", 30.0, {"error_number": 258, "first_bytes": hello(legacy=0x0302, ciphers=(0xC009,)), "alert_sent": 70}),
        (b"2001:db8::1", 20.0, {"error_number": 156, "first_bytes": b"GET / HTTP/1.1\r\n\r\n"}),
        (b"192.0.2.9", 10.0, {"closed": True, "first_bytes": b"", "step": Step.CONNECTED}),
    ):
        made = record(client=client, client_port=4711, at=now - age, proxy="web", line_name="tls", **facts)
        log.failed(made, now - age)
    good = record(
        client=b"192.0.2.1", at=now - 5.0, proxy="web", line_name="tls", completed=True, step=Step.ESTABLISHED, version="TLSv1.3",
        cipher="TLS_AES_128_GCM_SHA256", group="x25519", alpn=b"http/1.1", resumed=True,
    )  # fmt: skip
    log.succeeded(good)
    return process


def shown(process: Any, words: str) -> list[str]:
    return [one["cause"] for one in json.loads(ask(process, f"show ssl handshakes {words} json"))]


@pytest.mark.parametrize(
    ("words", "causes"),
    [
        ("", ["no-common-version", "no-common-version", "plain-http", "closed-before-any-byte", "none"]),
        ("failed", ["no-common-version", "no-common-version", "plain-http"]),
        ("ok", ["none"]),
        ("probes", ["closed-before-any-byte"]),
        ("failed since 1m", ["no-common-version", "plain-http"]),
        ("failed since 30d", ["no-common-version", "no-common-version", "plain-http"]),
        ("failed last 1", ["plain-http"]),
        ("cause plain-http", ["plain-http"]),
        ("source 192.0.2.0/24 failed", ["no-common-version", "no-common-version"]),
        ("source 2001:db8::1", ["plain-http"]),
        ("frontend other", []),
        ("frontend web listener tls ok", ["none"]),
        ("listener 2", []),
    ],
)
def test_filters(shaken: Any, words: str, causes: list[str]) -> None:
    assert shown(shaken, words) == causes


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("all", "Expects [failed|ok|probes] [json]"), ("cause", "'cause' expects an argument."), ("cause x", "Unknown cause 'x'"),
        ("source x", "'x' is no address"), ("since x", "'x' is not a time"), ("last 0", "'last' expects a number"),
        ("last 5000", "'last' expects a number"), ("since 100001d", "longer than the longest time, 100000 days"),
        (f"since {'9' * 5000}", "longer than the longest time"), ("failed ok", "'failed' and 'ok' exclude each other."),
    ],
)  # fmt: skip
def test_what_makes_no_sense(shaken: Any, words: str, answer: str) -> None:
    assert answer in ask(shaken, f"show ssl handshakes {words}")


def test_as_text(shaken: Any) -> None:
    lines = ask(shaken, "show ssl handshakes since 1m").splitlines()
    assert " 1/2 web/tls 192.0.2.1:4711 failed no-common-version sni=site.example step=negotiation " in lines[0]
    assert lines[1].startswith("  offers TLSv1.1 alpn=- ja4=t11d")
    assert lines[2] == "  alert received -, sent protocol_version"
    assert lines[3].startswith("  The client offers TLS 1.1 at most; haproxy.cfg:14 allows TLS 1.2 and up.")
    assert " TLSv1.3 TLS_AES_128_GCM_SHA256 x25519 alpn=http/1.1 resumed ja4=t12d" in lines[-1]


def test_all_workers_answer_together(shaken: Any) -> None:
    both = json.loads(merged(shaken, "show ssl handshakes failed json"))
    assert [(one["worker"], one["number"]) for one in both] == [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3)]
    counters = json.loads(merged(shaken, "show ssl handshake-counters json"))["counters"]
    first = counters[0]
    assert (first["frontend"], first["listener"], first["cause"]) == ("web", "tls", "no-common-version")
    assert (first["total"], first["hour"], first["sources"], first["probe"]) == (4, 4, 1, False), "an address counts once"


def test_counters_as_text(shaken: Any) -> None:
    lines = ask(shaken, "show ssl handshake-counters").splitlines()
    assert lines[1].startswith("web/tls no-common-version 2 [")
    assert lines[1].endswith("2 failures from 1 address in the last hour.")
    assert any(line.endswith("1 probe from 1 address in the last hour.") for line in lines)


def test_more_addresses_than_are_kept_in_some_worker() -> None:
    row = {"frontend": "web", "listener": "tls", "cause": "not-tls", "probe": False, "total": 3, "hour": 3, "last": 1.0}
    rows = {1: [{**row, "more": False, "addresses": ["a"]}], 2: [{**row, "more": True, "addresses": ["a", "b"]}]}
    assert added(rows)[0]["sources"] == ADDRESSES_KEPT + 1
    del rows[2]
    assert added(rows)[0]["sources"] == 1


def test_clear_counters_all(shaken: Any) -> None:
    ask(shaken, "clear counters")
    assert json.loads(ask(shaken, "show ssl handshake-counters json"))["counters"]
    ask(shaken, "clear counters all")
    assert not json.loads(ask(shaken, "show ssl handshake-counters json"))["counters"]
    assert shown(shaken, "failed"), "what was seen stays"


def test_nothing_happened(process: Any) -> None:
    assert ask(process, "show ssl handshakes") == "No handshakes."
    assert json.loads(ask(process, "show ssl handshakes json")) == []
    assert "Expects [json]." in ask(process, "show ssl handshake-counters all")


def test_the_closed_list(process: Any) -> None:
    rows = json.loads(ask(process, "show ssl handshake-causes json"))
    assert {row["code"] for row in rows} == {one.code for one in CAUSES if one is not Cause.NONE}
    assert ask(process, "show ssl handshake-causes").splitlines()[3].startswith("  10 no-common-version ")
    assert "Expects [json]." in ask(process, "show ssl handshake-causes all")
