"""The commands about maps and ACLs, on lists without a process around them; the answers are HAProxy's."""

from __future__ import annotations

import re
from typing import Any

import pytest

from headgate.admin.commands import all_commands
from headgate.admin.registry import Level
from headgate.base.diagnostics import Location
from headgate.plan.references import References, quoted
from headgate.plan.views import acl_view, map_view
from tests.admin.talk import Talk

FILES = {
    "a.map": b"example.com bk1\nwww.example.com  bk two words  \ndup v1\ndup v2\n",
    "ip.map": b"10.0.0.0/8 5\n10.1.0.0/16 6\n",
    "l.lst": b"foo\nBar\n",
}


@pytest.fixture
def ask(process: Any) -> Any:
    lists = process.references = References()
    where = iter(range(1, 100))

    def file(name: str, **kind: bool) -> Any:
        return lists.file(name, Location("h.cfg", next(where)), lambda name, _: FILES[name], **kind)

    names = file("a.map", with_values=True, is_map=True)
    map_view(names, "str", "str")
    map_view(file("ip.map", with_values=True, is_map=True), "ip", "int")
    words = file("l.lst", with_values=False, is_map=False)
    acl_view(words, "str", ignore_case=True)
    acl_view(words, "str", ignore_case=False)
    acl_view(file("a.map", with_values=True, is_map=False), "str", ignore_case=False)
    own, _ = lists.inline(object(), Location("h.cfg", 9), "src", 77)
    acl_view(own, "ip", ignore_case=False)
    lists.settle(lambda *_: None)
    talk = Talk(all_commands(), process, Level.ADMIN)
    talk.line("prompt i")
    return lambda line: re.sub(r"^0x[0-9a-f]+", "0x_", talk.line(line).rstrip("\n"), flags=re.MULTILINE)


def test_listing(ask: Any) -> None:
    assert ask("show map").splitlines() == [
        "# id (file) description",
        "0 (a.map) pattern loaded from file 'a.map' used by map at file 'h.cfg' line 1, by map at file 'h.cfg' line 4."
        " curr_ver=0 next_ver=0 entry_cnt=8",
        "1 (ip.map) pattern loaded from file 'ip.map' used by map at file 'h.cfg' line 2. curr_ver=0 next_ver=0 entry_cnt=2",
    ]
    assert [line.split()[0] for line in ask("show acl").splitlines()] == ["#", "0", "2", "77"]
    assert ask("show acl").splitlines()[-1] == "77 () acl 'src' file 'h.cfg' line 9. curr_ver=0 next_ver=0 entry_cnt=0"
    assert ask("show map a.map").splitlines() == [
        "0x_ example.com bk1", "0x_ www.example.com bk two words", "0x_ dup v1", "0x_ dup v2",
    ]
    assert ask("show map @0 #1") == "0x_ 10.0.0.0/8 5\n0x_ 10.1.0.0/16 6"
    assert ask("show map @5 #1") == ""
    assert ask("show acl #2") == "0x_ foo\n0x_ Bar"
    assert ask("show map #2") == "Unknown map identifier. Please use #<id> or <file>."
    assert ask("show acl nosuch") == "Unknown ACL identifier. Please use #<id> or <file>."


def test_looking_up(ask: Any) -> None:
    assert ask("get map a.map dup").splitlines() == [
        'type=str, case=sensitive, found=yes, idx=tree, key="dup", value="v1", type="str"',
        'type=str, case=sensitive, found=yes, idx=tree, key="dup", value=none',
    ]
    assert ask("get map ip.map 10.1.2.3") == (
        'type=ip, case=sensitive, found=yes, idx=tree, key="10.1.0.0/16", value="6", type="sint"'
    )
    assert ask("get map ip.map x") == "type=ip, case=sensitive, found=no"
    assert ask("get acl l.lst FOO").splitlines() == [
        'type=str, case=insensitive, match=yes, idx=list, pattern="foo"', "type=str, case=sensitive, match=no",
    ]
    assert ask("get map") == "Missing map identifier and/or key."
    assert ask("get acl l.lst") == "Missing ACL identifier and/or key."


def test_adding(ask: Any) -> None:
    assert ask("add map a.map k1 v1 with spaces") == ""
    assert ask("show map a.map").splitlines()[-1] == "0x_ k1 v1"
    expects = "'add map' expects three parameters (map identifier, key and value) or one parameter (map identifier) and a payload"
    assert ask("add map a.map k2") == ask("add map") == expects
    assert ask("add map nosuch a b") == "Unknown map identifier. Please use #<id> or <file>."
    assert ask("add map ip.map 1.1.1.1 xx") == "unable to parse 'xx'."
    assert ask("add map ip.map zz 5") == "'zz' is not a valid IPv4 or IPv6 address."
    assert ask("add acl #77 10.0.0.0/8") == "" and ask("show acl #77") == "0x_ 10.0.0.0/8"
    assert ask("add acl #77 x") == "'x' is not a valid IPv4 or IPv6 address."
    assert ask("add acl a.map x").startswith("This ACL is shared with a map containing samples.")
    assert ask("add acl l.lst") == "'add acl' expects two parameters: ACL identifier and pattern."
    assert ask("add map @9 a.map a b") == "Version number in the future, please use 'prepare map' before."


def test_payloads_are_taken_wholly_or_not_at_all(ask: Any) -> None:
    for line in ("add map a.map <<", "ka va", "kb vb with space ", "kc"):
        ask(line)
    assert ask("") == "Missing value for key 'kc'."
    assert "ka" not in ask("show map a.map")
    for line in ("add map a.map <<", "ka va", "kb vb with space "):
        ask(line)
    assert ask("") == ""
    assert ask("show map a.map").splitlines()[-2:] == ["0x_ ka va", "0x_ kb vb with space"]


def test_changing_and_deleting(ask: Any, process: Any) -> None:
    assert ask("set map a.map dup new") == ""
    assert ask("show map a.map").count("dup new") == 2
    assert ask("set map a.map nokey v") == "entry not found."
    assert ask("set map a.map dup") == "'set map' expects three parameters: map identifier, key and value."
    assert ask("set map a.map #0x12 v") == "key or pattern not found."
    assert ask("set map ip.map 10.0.0.0/8 zz") == "unable to parse 'zz'."
    names = process.references.find("a.map")
    number = names.number_of(names.equal(b"dup")[1])
    assert ask(f"set map a.map #0x{number:x} second") == ""
    assert ask("show map a.map").splitlines()[2:] == ["0x_ dup new", "0x_ dup second"]
    assert ask(f"del map #0 #0x{number:x}") == "" and ask(f"del map #0 #0x{number:x}") == "Key not found."
    assert ask("show map a.map").count("dup") == 1
    assert ask("del map a.map dup") == "" and ask("del map a.map dup") == "Key not found."
    assert ask("del map a.map") == "This command expects two parameters: map identifier and key."
    assert ask("clear map a.map") == "" == ask("show map a.map")
    assert ask("clear map") == "Missing map identifier." and ask("clear acl") == "Missing ACL identifier."


def test_versions(ask: Any) -> None:
    assert ask("prepare map a.map;prepare map #0").splitlines()[::2] == ["New version created: 1", "New version created: 2"]
    assert ask("add map @1 a.map p1 v1;add map @2 a.map p2 v2") == ""
    assert ask("show map").splitlines()[1].endswith("curr_ver=0 next_ver=2 entry_cnt=12")
    assert ask("show map @2 a.map") == "0x_ p2 v2"
    assert "found=yes" not in ask("get map a.map p2")
    assert ask("commit map a.map") == "Missing version number."
    assert ask("commit map @x a.map").startswith("A version is a number")
    assert ask("commit map @2 a.map") == ""
    assert ask("show map a.map") == "0x_ p2 v2"
    for version in (1, 2, 9):
        assert ask(f"commit map @{version} a.map") == "Version number out of range."
    assert ask("prepare acl a.map") == "This ACL is shared with a map. You must use the command 'prepare map'."
    assert ask("prepare acl l.lst") == "New version created: 1" and ask("commit acl @1 l.lst") == "" == ask("show acl l.lst")
    assert ask("prepare map a.map;add map @3 a.map x y;clear map @3 a.map;show map @3 a.map").split("\n")[0].endswith(" 3")
    assert ask("show map @3 a.map") == ""


def test_what_a_rule_did_elsewhere(ask: Any, process: Any) -> None:
    said: list[str] = []
    process.references.changed_by_rule = said.append
    names = process.references.find("a.map")
    process.references.repeat("set", names, b"a key;\n", b"")
    process.references.repeat("set", names, b"a key;\n", b"\xff value")
    process.references.repeat("del", names, b"dup")
    for command in said:
        assert ask(command) == "Repeated." == ask(command)
    assert [(entry.key, entry.value) for entry in names.entries()][2:] == [(b"a key;\n", b"\xff value")]
    assert ask(f"add acl @= #2 {quoted(b'baz')}") == "Repeated." == ask(f"add acl @= #2 {quoted(b'baz')}")
    assert ask("show acl #2").splitlines()[-2:] == ["0x_ Bar", "0x_ baz"]
    assert ask(f"del acl @= #2 {quoted(b'gone')}") == "Repeated."


def test_those_who_come_later_are_told_the_last_state_only() -> None:
    registry = all_commands()

    def about(line: str) -> Any:
        found = registry.find(line.split())
        assert found is not None and found[0].key is not None
        return found[0].key(found[1])

    entry = ("pattern", "a.map", "=k")
    assert about("add map a.map k v") == (*entry, "add", "v")
    assert about("set map a.map k v") == (*entry, "set")
    assert about("del map a.map k") == entry, "which takes the place of those above"
    assert about("clear map a.map") == entry[:2]
    assert about("add map @= #0 =k =v") == about("del map @= #0 =k") == ("pattern", "#0", "=k")
    for line in ("add map @1 a.map k v", "prepare map a.map", "commit map @1 a.map", "clear map @1 a.map"):
        assert about(line) is None, "versions are told as they came"
