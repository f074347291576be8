"""Live lists of patterns: what a rule sees after each change, and versions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from headgate.base.diagnostics import ConfigError, Location
from headgate.plan.references import Reference, References, quoted, unquoted
from headgate.plan.samples import parse_address
from headgate.plan.views import OUTPUTS, Patterns, acl_view, map_view

HERE = Location("test.cfg", 3)


def listed(**pairs: str) -> Reference:
    reference = Reference("some.map", HERE, has_values=True)
    for number, (key, value) in enumerate(pairs.items(), 1):
        reference.load(key.encode(), value.encode(), number)
    return reference


@pytest.mark.parametrize("address", [b"192.0.2.1", b"::1"])
def test_what_no_network_holds_is_a_no_for_an_acl_and_nothing_for_a_map(address: bytes) -> None:
    """Compiled conditions take nothing but a boolean."""
    reference = listed(**{"10.0.0.0/8": "1", "2001:db8::/32": "2"})
    assert acl_view(reference, "ip", ignore_case=False).look(parse_address(address)) is False
    assert map_view(reference, "ip", "int").look(parse_address(address)) is None


def test_a_map_follows_its_list() -> None:
    reference = listed(a="1", b="2")
    view = map_view(reference, "str", "int")
    assert view.look(b"a") == 1
    reference.add(b"c", b"3")
    assert view.look(b"c") == 3
    reference.add(b"a", b"7")
    assert view.look(b"a") == 1, "the first of equal keys counts"
    reference.remove(reference.equal(b"a")[0])
    assert view.look(b"a") == 7
    reference.change(reference.equal(b"a")[0], b"8")
    assert view.look(b"a") == 8
    assert reference.drop(b"a") and not reference.drop(b"a")
    assert view.look(b"a") is None
    reference.clear()
    assert view.look(b"b") is None
    with pytest.raises(ConfigError, match="not an integer"):
        reference.add(b"x", b"one")
    assert not list(reference.entries())


@pytest.mark.parametrize(
    ("method", "keys", "value", "found"),
    [
        ("beg", ["/", "/ab", "/a"], b"/abc", "/ab"),
        ("end", ["c", "bc"], b"abc", "c"),
        ("sub", ["b", "ab"], b"abc", "b"),
        ("dir", ["b", "a"], b"/a/b", "b"),
        ("dom", ["example"], b"www.example.com", "example"),
        ("reg", ["^x", "b.$"], b"abc", "b.$"),
        ("ip", ["10.0.0.0/8", "10.1.0.0/16"], parse_address(b"10.1.2.3"), "10.1.0.0/16"),
        ("ip", ["::/0", "10.0.0.0/8"], parse_address(b"::ffff:10.1.2.3"), "::/0"),
        ("int", ["1:5", "3"], 3, "1:5"),
    ],
)
def test_every_method_follows(method: str, keys: list[str], value: Any, found: str) -> None:
    reference = Reference("some.map", HERE, has_values=True)
    view = map_view(reference, method, "str")
    assert view.look(value) is None
    for key in keys:
        reference.add(key.encode(), key.encode())
    assert view.look(value) == found.encode()
    reference.drop(found.encode())
    left = [key for key in keys if key != found]
    assert view.look(value) in {None, *[key.encode() for key in left]}
    new = reference.prepare()
    reference.add(found.encode(), b"new", new)
    assert view.look(value) != b"new"
    assert reference.commit(new)
    assert view.look(value) == b"new"


def test_groups_are_put_into_values() -> None:
    reference = Reference("re.map", HERE, has_values=True)
    view = map_view(reference, "regm", "str")
    reference.add(b"^a(.)", rb"<\1>")
    assert view.look(b"ab") == b"<b>"


@pytest.mark.parametrize("method", ["str", "beg", "end", "sub", "dir", "dom", "reg"])
@pytest.mark.parametrize("ignore_case", [False, True])
def test_acls_follow_all_their_lists(method: str, ignore_case: bool) -> None:
    file, own = Reference("a.lst", HERE, has_values=False), Reference("", HERE, has_values=False)
    patterns = Patterns([acl_view(one, method, ignore_case=ignore_case) for one in (file, own)])
    now: list[Any] = []
    now.append(patterns.watch(now.append))
    assert not now[-1](b"/foo")
    own.add(b"/foo")
    assert now[-1](b"/foo")
    file.add(b"/bar")
    assert now[-1](b"/bar") and now[-1](b"/foo")
    assert now[-1](b"/BAR") is ignore_case
    own.drop(b"/foo")
    assert not now[-1](b"/foo") and now[-1](b"/bar")
    file.clear()
    assert not now[-1](b"/bar")


def test_one_view_for_all_who_look_in_the_same_way() -> None:
    reference = listed()
    assert map_view(reference, "str", "str") is map_view(reference, "str", "str")
    assert map_view(reference, "str", "int") is not map_view(reference, "str", "str")
    assert acl_view(reference, "str", ignore_case=True) is not acl_view(reference, "str", ignore_case=False)
    assert map_view(reference, "regm", "str") is not map_view(reference, "reg", "str")


def test_numbers_are_the_same_in_every_process() -> None:
    one, other = listed(a="1", b="2"), listed(b="2")
    other.add(b"a", b"1")
    assert [one.number_of(entry) for entry in one.equal(b"a")] == [other.number_of(entry) for entry in other.equal(b"a")]
    one.add(b"a", b"3")
    first, second = one.equal(b"a")
    assert one.number_of(first) != one.number_of(second)
    assert one.numbered(one.number_of(second)) == (0, second)
    assert one.numbered(1) is None


def test_lists_are_numbered_in_the_order_of_the_configuration() -> None:
    lists = References()
    files = {"b.lst": b"x\n", "opt@c.map": b"k v\n"}

    def read(name: str, location: Location | None) -> bytes:
        return files[name]

    owner, late = object(), object()
    lists.inline(late, Location("test.cfg", 9), "path", None)
    file = lists.file("b.lst", Location("test.cfg", 5), read, with_values=False, is_map=False)
    own, is_new = lists.inline(owner, Location("test.cfg", 5), "hdr", None)
    assert is_new and lists.inline(owner, HERE, "hdr", None) == (own, False)
    lists.file("opt@c.map", HERE, read, with_values=True, is_map=True)
    assert lists.file("c.map", Location("test.cfg", 7), read, with_values=True, is_map=True).users == {
        ("test.cfg", 3, "map"), ("test.cfg", 7, "map"),
    }
    with pytest.raises(ConfigError, match="two columns"):
        lists.file("file@c.map", HERE, read, with_values=False, is_map=False)
    chosen, _ = lists.inline(object(), HERE, "src", 1)
    lists.wanted("nowhere.lst", HERE)
    lists.wanted("b.lst", HERE)
    warned: list[str] = []
    lists.settle(lambda text, place: warned.append(text))
    assert [one.name or one.described for one in lists] == [
        "c.map", chosen.described, "b.lst", own.described, "acl 'path' file 'test.cfg' line 9",
    ]
    assert [one.id for one in lists] == [0, 1, 2, 3, 4]
    assert lists.find("#2") is file and lists.find("b.lst") is file and lists.find("#9") is None and lists.find("#x") is None
    assert warned == ["no ACL and no map looks into 'nowhere.lst': what is put there is lost"]
    with pytest.raises(ConfigError, match="taken"):
        lists.inline(object(), HERE, "src", 1)


def test_versions_wrap() -> None:
    reference = listed(a="1")
    reference.current = reference.next = 0xFFFFFFFF
    reference._versions = {0xFFFFFFFF: reference._versions[0]}
    assert reference.prepare() == 0
    reference.add(b"n", b"1", 0)
    assert not reference.has_version(1) and reference.has_version(0xFFFFFFFF)
    assert reference.commit(0) and [entry.key for entry in reference.entries()] == [b"n"]
    assert not reference.commit(0)


@given(st.binary(max_size=40))
def test_quoting_is_one_word(data: bytes) -> None:
    word = quoted(data)
    assert unquoted(word) == data
    assert word and not set(word) & set(" \t\r\n;\\<#")


_KEYS = st.sampled_from([b"/", b"/a", b"/ab", b"/b", b"/B"])
_VALUES = st.sampled_from([b"1", b"2", b"3"])


class Versions(RuleBasedStateMachine):
    """The list beside a plain model: for each version a list of pairs."""

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.reference = Reference("m", HERE, has_values=True)
        self.model: dict[int, list[tuple[bytes, bytes]]] = {0: []}
        self.current = self.next = 0
        self.exact = map_view(self.reference, "str", "int")
        self.prefix = map_view(self.reference, "beg", "str")
        self.acl = acl_view(self.reference, "str", ignore_case=True)
        self.compiled = acl_view(self.reference, "sub", ignore_case=False)

    @rule(target=versions)
    def prepare(self) -> int:
        self.next += 1
        assert self.reference.prepare() == self.next
        return self.next

    @rule(key=_KEYS, value=_VALUES)
    def add(self, key: bytes, value: bytes) -> None:
        self.reference.add(key, value)
        self.model[self.current].append((key, value))

    @rule(version=versions, key=_KEYS, value=_VALUES)
    def add_to(self, version: int, key: bytes, value: bytes) -> None:
        assert self.reference.has_version(version)
        self.reference.add(key, value, version)
        self.model.setdefault(version, []).append((key, value))

    @rule(key=_KEYS, value=_VALUES)
    def put(self, key: bytes, value: bytes) -> None:
        pairs = self.model[self.current]
        known = [pair for pair in pairs if pair[0] == key]
        assert self.reference.put(key, value) == (not known or any(pair[1] != value for pair in known))
        self.model[self.current] = [(k, value if k == key else v) for k, v in pairs] if known else [*pairs, (key, value)]

    @rule(key=_KEYS)
    def drop(self, key: bytes) -> None:
        pairs = self.model[self.current]
        self.model[self.current] = [pair for pair in pairs if pair[0] != key]
        assert self.reference.drop(key) == (pairs != self.model[self.current])

    @rule(key=_KEYS)
    def remove_the_first(self, key: bytes) -> None:
        equal = self.reference.equal(key)
        if equal:
            self.reference.remove(equal[0])
            pairs = self.model[self.current]
            del pairs[[pair[0] for pair in pairs].index(key)]

    @rule(version=versions)
    def clear(self, version: int) -> None:
        self.reference.clear(version)
        self.model[version] = []

    @rule(version=versions)
    def commit(self, version: int) -> None:
        possible = version > self.current
        assert self.reference.commit(version) == possible
        if possible:
            self.model = {number: pairs for number, pairs in self.model.items() if number >= version}
            self.model.setdefault(version, [])
            self.current = version

    @invariant()
    def shows_what_the_model_has(self) -> None:
        for version, pairs in self.model.items():
            assert [(entry.key, entry.value) for entry in self.reference.entries(version)] == pairs
        assert self.reference.count == sum(map(len, self.model.values())) * 4
        now = self.model[self.current]
        for probe in (b"/", b"/a", b"/abc", b"/b", b"/B", b"x"):
            exact = next((int(value) for key, value in now if key == probe), None)
            assert self.exact.look(probe) == exact
            finest = max((key for key, _ in now if probe.startswith(key)), key=len, default=None)
            assert self.prefix.look(probe) == next((value for key, value in now if key == finest), None)
            assert bool(self.acl.look(probe)) == (probe.lower() in [key.lower() for key, _ in now])
            assert bool(self.compiled.look(probe)) == any(key in probe for key, _ in now)
        numbers = {self.reference.number_of(entry) for entry in self.reference.entries()}
        assert len(numbers) == len(now)


TestVersions = Versions.TestCase
TestVersions.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_outputs_have_haproxys_names() -> None:
    assert [OUTPUTS[name].shown(parse_address(b"::1") if name == "ip" else b"") for name in OUTPUTS] == ["str", "sint", "ipv6"]
