"""The collector of findings: what is silenced, what is counted only, and the order in which they come."""

from __future__ import annotations

import pytest

from headgate.base.diagnostics import Bug, Location, Report, Severity, render
from headgate.base.findings import CODES, SHOWN, Findings

HERE = Location("x.cfg", 3, 5, 4, "    word")


def test_a_finding_is_a_warning_with_its_code() -> None:
    findings, report = Findings(), Report()
    findings.add("tls-expired", "it is old: clients leave", HERE, remedy="renew it", nearest="new")
    findings.tell(report)
    (item,) = report.items
    assert item.severity is Severity.WARNING and item.code == "tls-expired"
    assert render(item) == (
        "x.cfg:3:5: it is old: clients leave [tls-expired]\n        word\n        ^^^^\n  did you mean 'new'?\n  renew it"
    )


def test_what_is_ignored_is_not_told() -> None:
    findings, report = Findings(frozenset({"tls-expired"})), Report()
    assert not findings.wants("tls-expired") and findings.wants("tls-weak-key")
    findings.add("tls-expired", "it is old", HERE, remedy="renew it")
    findings.add("tls-weak-key", "it is weak", HERE, remedy="renew it")
    findings.tell(report)
    assert [item.code for item in report.items] == ["tls-weak-key"]


def test_many_of_a_kind_are_counted() -> None:
    findings, report = Findings(), Report()
    for number in range(SHOWN + 37):
        findings.add("tls-expired", f"number {number}", HERE, remedy="renew it")
    for number in range(SHOWN):
        findings.add("tls-weak-key", f"number {number}", HERE, remedy="renew it")
    findings.tell(report)
    assert len(report.items) == SHOWN + 1 + SHOWN
    assert report.items[SHOWN].message == "and 37 more like this [tls-expired]"
    assert report.items[SHOWN].code == "tls-expired"


def test_the_same_is_said_once() -> None:
    findings, report = Findings(), Report()
    for _ in range(9):
        findings.add("tls-expired", "it is old", HERE, remedy="renew it")
        findings.add("tls-expired", "it is old", None, remedy="renew it")
    findings.tell(report)
    assert len(report.items) == 2


def test_kinds_come_in_the_order_of_the_table() -> None:
    findings, report = Findings(), Report()
    for code in reversed(CODES):
        findings.add(code, "something", HERE, remedy="do something")
    findings.tell(report)
    assert [item.code for item in report.items] == list(CODES)


def test_an_unknown_kind_is_a_bug() -> None:
    with pytest.raises(Bug):
        Findings().add("tls-expiered", "something", HERE, remedy="do something")
