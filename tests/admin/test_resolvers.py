"""What name servers were asked and what they said, in each form."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.admin.columns import schema
from headgate.admin.commands.resolvers import COUNTERS, show_resolvers
from headgate.admin.commands.statistics import show_stat

#: Two name servers; the value of a counter is its place.
_SAID = {counter: number for number, counter in enumerate(COUNTERS, 1)}
_HEADER = (
    "# id,pid,sent,send_error,valid,update,cname,cname_error,any_err,nx,timeout,refused,other,invalid,too_big,truncated,outdated,"
)


@pytest.fixture
def process() -> Any:
    return SimpleNamespace(resolvers={"dns": {"ns1": _SAID, "ns2": dict.fromkeys(COUNTERS, 0)}})


def test_csv(process: Any) -> None:
    first, *rows = show_stat(["domain", "resolvers"], process).splitlines()
    assert first == _HEADER
    assert rows == ["ns1,dns,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,", "ns2,dns," + "0," * 15]


def test_typed_with_and_without_what_it_means(process: Any) -> None:
    lines = show_stat(["domain", "resolvers", "typed"], process).splitlines()
    assert len(lines) == 2 * 17
    assert lines[:4] == ["N.0.id:KNSV:str:ns1", "N.1.pid:KNSV:str:dns", "N.2.sent:MCPP:u64:1", "N.3.send_error:MCPP:u64:2"]
    described = show_stat(["domain", "resolvers", "typed", "desc"], process).splitlines()
    assert described[0] == 'N.0.id:KNSV:str:ns1:"Name of the name server"'
    assert [line.rsplit(":", 1)[0] for line in described] == lines


def test_json_is_in_the_form_of_other_statistics(process: Any) -> None:
    """`show schema json` describes it."""
    described = json.loads(schema())
    item = next(form for form in described["oneOf"] if form["title"] == "Stat")["items"]["items"]
    servers = json.loads(show_stat(["domain", "resolvers", "json"], process))
    for fields in servers:
        assert all(set(field) == set(item["required"]) for field in fields)
        assert {field["objType"] for field in fields} <= set(item["properties"]["objType"]["enum"])
    assert servers[1][0]["value"] == {"type": "str", "value": "ns2"}
    assert servers[0][8]["field"] == {"pos": 8, "name": "any_err"}
    assert servers[0][8]["tags"] == {"origin": "Metric", "nature": "Counter", "scope": "Process"}
    assert servers[0][8]["value"] == {"type": "u64", "value": 7}


def test_show_resolvers(process: Any) -> None:
    lines = show_resolvers([], process).splitlines()
    assert lines[:4] == ["Resolvers section dns", " nameserver ns1:", "  sent:        1", "  snd_error:   2"]
