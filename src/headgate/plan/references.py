"""The pattern lists that ACLs and maps look into, live: entries may be added, changed and removed, and versions exchanged, while
rules use them (management manual, "add map", "prepare map", "commit map").

A `Reference` is one list, what `show map` and `show acl` call by file or number. Who matches against it does so through a view
(`plan.views`), which is told of each change and keeps its own index. Everything happens between two events of one thread, so a
request sees a change wholly or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from headgate.base.diagnostics import Location, config_error
from headgate.plan.patterns import map_lines, pattern_lines

#: Versions are unsigned numbers of 32 bits that wrap around.
_WRAP = 1 << 32


class Entry:
    """One pattern, with the value that a map gives for it.

    Attributes:
        key, value: as text; `value` is None in lists that are only ACLs.
        line: of the file that it came from, 0 for those that were added later.
        number: its place in the order of its version.
        twin: how many equal keys were there when it came.
    """

    __slots__ = ("key", "line", "number", "twin", "value")

    def __init__(self, key: bytes, value: bytes | None, line: int, number: int, twin: int) -> None:
        self.key = key
        self.value = value
        self.line = line
        self.number = number
        self.twin = twin


class Follower(Protocol):
    """Who is told of changes: a view."""

    def check(self, key: bytes, value: bytes | None, location: Location) -> None:
        """Say whether an entry could be used; raises ConfigError."""

    def added(self, entry: Entry) -> None:
        """An entry came into the current version."""

    def removed(self, entry: Entry) -> None:
        """An entry left the current version."""

    def replaced(self) -> None:
        """The current version is another one, or all of it changed."""


class _Version:
    """The entries of one version, by key, in the order in which they came."""

    __slots__ = ("by_key", "count", "last", "repeated")

    def __init__(self) -> None:
        self.by_key: dict[bytes, tuple[Entry, ...]] = {}
        self.count = 0
        self.last = 0
        self.repeated = False

    def add(self, key: bytes, value: bytes | None, line: int = 0) -> Entry:
        equal = self.by_key.get(key, ())
        twin = 0
        if equal:
            self.repeated = True
            twin = 1 + max(entry.twin for entry in equal)
        self.last += 1
        self.count += 1
        entry = Entry(key, value, line, self.last, twin)
        self.by_key[key] = (*equal, entry)
        return entry

    def remove(self, entry: Entry) -> None:
        rest = tuple(one for one in self.by_key[entry.key] if one is not entry)
        if rest:
            self.by_key[entry.key] = rest
        else:
            del self.by_key[entry.key]
        self.count -= 1

    def entries(self) -> Iterator[Entry]:
        found = (entry for equal in self.by_key.values() for entry in equal)
        # Keys stand in the order in which they came first: only with equal keys is that not the order of the entries.
        return iter(sorted(found, key=lambda entry: entry.number)) if self.repeated else found


class Reference:
    """One list of patterns.

    Attributes:
        id: its number; given by `References.settle`, or `-u`.
        name: the file as it was written, "" for patterns that stand in the configuration.
        described: for lists without a file: the ACL that they belong to.
        users: for lists with a file: where it is used, as `acl` or `map`.
        is_map, is_acl: whether `show map` or `show acl` lists it.
        has_values: it has a value for each key.
        location: where it was first used.
        current, next: the version that is matched against, and the latest one that was made.
    """

    __slots__ = (
        "_versions", "current", "described", "followers", "has_values", "id", "is_acl", "is_map", "location", "name", "next",
        "users",
    )

    def __init__(
        self, name: str, location: Location, *, has_values: bool, described: str = "", number: int | None = None
    ) -> None:
        self.id = -1 if number is None else number
        self.name = name
        self.described = described
        self.users: set[tuple[str, int, str]] = set()
        self.is_map = False
        self.is_acl = False
        self.has_values = has_values
        self.location = location
        self.current = 0
        self.next = 0
        self.followers: list[Follower] = []
        self._versions = {0: _Version()}

    # --- looking -----------------------------------------------------------------------------------------------------

    def entries(self, version: int | None = None) -> Iterator[Entry]:
        """The entries of a version (by default the current one) in their order; none for a version that does not exist."""
        found = self._versions.get(self.current if version is None else version)
        return iter(()) if found is None else found.entries()

    def grouped(self) -> Iterable[tuple[bytes, tuple[Entry, ...]]]:
        """The keys of the current version, each with its entries."""
        return self._versions[self.current].by_key.items()

    def equal(self, key: bytes) -> tuple[Entry, ...]:
        """The entries of the current version whose key is `key`."""
        return self._versions[self.current].by_key.get(key, ())

    @property
    def size(self) -> int:
        """How many entries the current version has."""
        return self._versions[self.current].count

    @property
    def count(self) -> int:
        """`entry_cnt`: the entries of all versions, in each of the indexes that rules look into."""
        return sum(version.count for version in self._versions.values()) * max(1, len(self.followers))

    def number_of(self, entry: Entry, version: int | None = None) -> int:
        """What stands in front of an entry in `show map`: a number of 60 bits, the same in every process that has the entry."""
        import xxhash  # for those who look

        seed = (self.id << 40) ^ ((self.current if version is None else version) << 8) ^ entry.twin
        return xxhash.xxh64_intdigest(entry.key, seed & 0xFFFFFFFFFFFFFFFF) >> 4

    def numbered(self, number: int) -> tuple[int, Entry] | None:
        """The version and the entry that have a number."""
        for version in self._versions:
            for entry in self.entries(version):
                if self.number_of(entry, version) == number:
                    return version, entry
        return None

    def has_version(self, version: int) -> bool:
        """Whether entries may be added to a version: it is not newer than the latest."""
        return (self.next - version) % _WRAP < _WRAP // 2

    # --- changing ----------------------------------------------------------------------------------------------------

    def load(self, key: bytes, value: bytes | None, line: int) -> None:
        """Add an entry before there are followers."""
        self._versions[0].add(key, value, line)

    def check(self, key: bytes, value: bytes | None) -> None:
        """Say whether an entry could be used by all who look into this list.

        Raises:
            ConfigError: the key is no pattern of the kind, or the value not of the type.
        """
        for follower in self.followers:
            follower.check(key, value, Location(self.name, 0))

    def add(self, key: bytes, value: bytes | None = None, version: int | None = None) -> None:
        """Add an entry to a version, by default the current one.

        Raises:
            ConfigError: see `check`.
        """
        self.check(key, value)
        number = self.current if version is None else version
        entry = self._versions.setdefault(number, _Version()).add(key, value)
        if number == self.current:
            for follower in self.followers:
                follower.added(entry)

    def change(self, entry: Entry, value: bytes) -> None:
        """Give an entry another value.

        Raises:
            ConfigError: the value is not of the type.
        """
        if entry.value == value:
            return
        self.check(entry.key, value)
        shown = entry in self.equal(entry.key)
        entry.value = value
        for follower in self.followers if shown else ():
            follower.removed(entry)
            follower.added(entry)

    def remove(self, entry: Entry, version: int | None = None) -> None:
        """Remove an entry from a version."""
        number = self.current if version is None else version
        self._versions[number].remove(entry)
        if number == self.current:
            for follower in self.followers:
                follower.removed(entry)

    def clear(self, version: int | None = None) -> None:
        """Remove all entries of a version."""
        number = self.current if version is None else version
        if number == self.current:
            self._versions[number] = _Version()
            self._replaced()
        else:
            self._versions.pop(number, None)

    def prepare(self) -> int:
        """Make a new version, empty."""
        self.next = (self.next + 1) % _WRAP
        return self.next

    def commit(self, version: int) -> bool:
        """Make a version the current one and forget those before it; False when it is not between the current and the latest."""
        ahead = (version - self.current) % _WRAP
        if not 0 < ahead <= (self.next - self.current) % _WRAP:
            return False
        newer = {number: one for number, one in self._versions.items() if ahead < (number - self.current) % _WRAP < _WRAP // 2}
        self._versions = {version: self._versions.get(version, _Version()), **newer}
        self.current = version
        self._replaced()
        return True

    def _replaced(self) -> None:
        for follower in self.followers:
            follower.replaced()

    # --- rules -------------------------------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes | None) -> bool:
        """Set the value of a key, or add it where it is missing; whether anything changed.

        Raises:
            ConfigError: see `check`.
        """
        equal = self.equal(key)
        if not equal:
            self.add(key, value)
            return True
        changed = False
        for entry in equal if value is not None else ():
            changed = changed or entry.value != value
            self.change(entry, value or b"")
        return changed

    def drop(self, key: bytes) -> bool:
        """Remove all entries of a key; whether there were any."""
        equal = self.equal(key)
        for entry in equal:
            self.remove(entry)
        return bool(equal)


class References:
    """All lists of one configuration.

    Attributes:
        servers: backend and name of servers that expressions ask about, which can't be removed while running.
        backends: names of backends that expressions ask about.
        changed_by_rule: told the command that repeats what a rule changed, for the processes beside this one. See `repeat`.
    """

    def __init__(self) -> None:
        self._named: dict[str, Reference] = {}
        self._inline: dict[int, tuple[object, Reference]] = {}
        self._by_id: dict[int, Reference] = {}
        self._wanted: list[tuple[str, Location]] = []
        self.servers: set[tuple[str, str]] = set()
        self.backends: set[str] = set()
        self.changed_by_rule: Callable[[str], None] | None = None

    def __iter__(self) -> Iterator[Reference]:
        """In the order of their numbers."""
        return iter([self._by_id[number] for number in sorted(self._by_id)])

    def find(self, text: str) -> Reference | None:
        """The list that a command calls `#<id>` or by its file."""
        if text.startswith("#"):
            return self._by_id.get(int(text[1:])) if text[1:].isdecimal() else None
        return self._named.get(text)

    def file(
        self, name: str, location: Location, read: Callable[[str, Location | None], bytes], *, with_values: bool, is_map: bool
    ) -> Reference:
        """The list that a file holds, read when it is first used.

        Args:
            name: as written, with `opt@`, `virt@` or `file@` (2.7).
            location: where it is used.
            read: gives the file's contents; raises ConfigError.
            with_values: lines are keys and values.
            is_map: a map uses it, and not an ACL.

        Raises:
            ConfigError: it can't be read, or is used as a file of the other kind elsewhere.
        """
        written, name = name, plain_name(name)
        found = self._named.get(name)
        if found is None:
            found = Reference(name, location, has_values=with_values)
            content = read(written, location)
            if with_values:
                for number, key, value in map_lines(content):
                    found.load(key, value, number)
            else:
                for number, key in pattern_lines(content):
                    found.load(key, None, number)
            self._named[name] = found
        elif found.has_values is not with_values:
            columns = "two columns" if found.has_values else "one column"
            first = found.location.short
            raise config_error(f"'{name}' is used already as a file with {columns} ({first})", location)
        found.is_map |= with_values
        found.is_acl |= not is_map
        # An ACL that several rules name is compiled for each of them.
        found.users.add((location.file, location.line, "map" if with_values else "acl"))
        if location.file == found.location.file and location.line < found.location.line:
            found.location = location  # what comes first in the configuration is not what is compiled first
        return found

    def inline(self, owner: object, location: Location, described: str, number: int | None) -> tuple[Reference, bool]:
        """The list of the patterns that stand in an ACL itself, and whether it is new (and to be filled).

        Args:
            owner: the ACL.
            described: its keyword.
            number: of `-u`.

        Raises:
            ConfigError: the number is taken.
        """
        known = self._inline.get(id(owner))
        if known is not None:
            return known[1], False
        if number is not None and any(one.id == number for _, one in self._inline.values()):
            raise config_error(f"the pattern list number {number} is taken by another ACL", location)
        text = f"acl '{described}' file '{location.file}' line {location.line}"
        made = Reference("", location, has_values=False, described=text, number=number)
        made.is_acl = True
        self._inline[id(owner)] = owner, made
        return made, True

    def wanted(self, name: str, location: Location) -> Callable[[], Reference | None]:
        """For rules that change a list: finds it once all are known."""
        name = plain_name(name)
        self._wanted.append((name, location))
        return lambda: self._named.get(name)

    def settle(self, warn: Callable[[str, Location], None]) -> None:
        """Number the lists in the order of the configuration, once all are known.

        Args:
            warn: told of files that rules change and nothing looks into.
        """
        for name, location in self._wanted:
            if name not in self._named:
                warn(f"no ACL and no map looks into '{name}': what is put there is lost", location)
        lists = [*self._named.values(), *(one for _, one in self._inline.values())]
        self._by_id = {one.id: one for one in lists if one.id >= 0}
        number = 0
        # A file stands in front of the patterns of the same line.
        for one in sorted(lists, key=lambda one: (not one.location.line, one.location.file, one.location.line, not one.name)):
            if one.id >= 0:
                continue
            while number in self._by_id:
                number += 1
            one.id = number
            self._by_id[number] = one

    def repeat(self, verb: str, reference: Reference, key: bytes, value: bytes | None = None) -> None:
        """Have the other processes do what a rule did here.

        The command is the runtime API's own with `@=` for a version, which means: as a rule does it, as often as you like. Key
        and value are quoted, since they may hold anything.
        """
        tell = self.changed_by_rule
        if tell is None:
            return
        kind = "acl" if value is None and not reference.has_values else "map"
        words = [f"{verb} {kind} @= #{reference.id}", quoted(key)]
        if value is not None:
            words.append(quoted(value))
        tell(" ".join(words))


def plain_name(written: str) -> str:
    """The name of a list: what stands behind `file@` and `opt@`, which only say how it is read; `virt@` belongs to it (2.7)."""
    for prefix in ("file@", "opt@"):
        if written.startswith(prefix):
            return written[len(prefix) :]
    return written


def quoted(data: bytes) -> str:
    """Bytes as one word of a command that is never empty."""
    from urllib.parse import quote_from_bytes

    return "=" + quote_from_bytes(data, safe="/")


def unquoted(word: str) -> bytes:
    """What `quoted` was given."""
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(word[1:])
