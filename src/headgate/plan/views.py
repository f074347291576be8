"""How rules look into a list of patterns: one view for each list and way of matching, with an index that follows the list.

Where the method allows, the index is changed in place: a dictionary for exact strings, prefixes and networks. Elsewhere it is
compiled again when it is next used. Either way a look-up costs what it would cost if the list could not change: `look` is what
rules call, and who holds it is told when it becomes another one.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from headgate.base.diagnostics import Location, config_error
from headgate.base.records import dataclass
from headgate.plan.facts import Value
from headgate.plan.matchers import METHODS, OPERATORS, Matcher, Text, embedded_ipv4, integer_ranges, match_integers, parse_network
from headgate.plan.patterns import compile_regex, expand, parse_substitution
from headgate.plan.references import Entry, Reference
from headgate.plan.samples import Address, Type, parse_address, parse_integer

#: From a value to an ACL's yes or no, or to a map's output; None: not in the map.
Look = Callable[..., Value]


@dataclass(frozen=True, slots=True)
class Output:
    """What a map's values are made into. `shown` names the type in `get map`."""

    name: str
    type: Type
    parse: Callable[[bytes, Location | None], Value]
    shown: Callable[[Value], str]


def _text(text: bytes, location: Location | None) -> Value:
    return text


def _integer(text: bytes, location: Location | None) -> Value:
    try:
        return int(text)
    except ValueError:
        raise config_error(f"the map's value '{text.decode('utf-8', 'replace')}' is not an integer", location) from None


def _address(text: bytes, location: Location | None) -> Value:
    try:
        return ipaddress.ip_address(text.decode("latin-1"))
    except ValueError:
        raise config_error(f"the map's value '{text.decode('utf-8', 'replace')}' is not an IP address", location) from None


OUTPUTS: dict[str, Output] = {
    "str": Output("str", Type.STR, _text, lambda value: "str"),
    "int": Output("int", Type.SINT, _integer, lambda value: "sint"),
    "ip": Output("ip", Type.ADDR, _address, lambda value: "ipv6" if isinstance(value, ipaddress.IPv6Address) else "ipv4"),
}


class View:
    """One way to look into a list (implements `references.Follower`).

    Args:
        reference: the list.
        method: how it matches, a key of `METHODS`.
        ignore_case: `-i`.
        output: what a map's values are; None for ACLs.
        dotted: integers are versions (see `matchers.match_integers`).

    Attributes:
        look: the present index, to be called with a value.
        watchers: told when `look` is another one.
    """

    __slots__ = ("_stale", "dotted", "ignore_case", "look", "method", "output", "reference", "watchers")

    def __init__(
        self, reference: Reference, method: str, *, ignore_case: bool = False, output: Output | None = None, dotted: bool = False
    ) -> None:
        self.reference = reference
        self.method = method
        self.ignore_case = ignore_case
        self.output = output
        self.dotted = dotted
        self.watchers: list[Callable[[], None]] = []
        self._stale = False
        self.look: Look = self._build()

    @property
    def empty(self) -> bool:
        """Whether nothing can match."""
        return self.reference.size == 0

    @property
    def indexed(self) -> bool:
        """Whether HAProxy would say "tree" for it, and not "list"."""
        return self.method == "ip" or (self.method in ("str", "beg") and not self.ignore_case)

    # --- following ---------------------------------------------------------------------------------------------------

    def check(self, key: bytes, value: bytes | None, location: Location | None) -> None:
        """See `references.Follower.check`."""
        self.check_key(key, location)
        self.check_value(value, location)

    def check_key(self, key: bytes, location: Location | None) -> None:
        """Raises ConfigError for what is no pattern of this kind."""
        self._single(key, location)

    def check_value(self, value: bytes | None, location: Location | None) -> None:
        """Raises ConfigError for what is not of a map's type."""
        if self.output is not None:
            self.output.parse(value or b"", location)

    def added(self, entry: Entry) -> None:
        """See `references.Follower`."""
        self.replaced()

    def removed(self, entry: Entry) -> None:
        """See `references.Follower`."""
        self.replaced()

    def replaced(self) -> None:
        """See `references.Follower`: the index is made again when it is next used."""
        if not self._stale:
            self._stale = True
            self._now(self._late)

    def _late(self, value: Value) -> Value:
        self._stale = False
        self._now(self._build())
        return self.look(value)

    def _now(self, look: Look) -> None:
        self.look = look
        for watcher in self.watchers:
            watcher()

    # --- looking -----------------------------------------------------------------------------------------------------

    def explain(self, text: bytes) -> Entry | None:
        """The entry that matches a text, for `get map`; None when none does."""
        value: Value = text
        wants = METHODS[self.method].wants
        if wants is Type.ADDR:
            value = parse_address(text)
        elif wants is Type.SINT:
            value = parse_integer(text)
        if value is None:
            return None
        return self._first(value)

    def _first(self, value: Value) -> Entry | None:
        for entry in self.reference.entries():
            if self._single(entry.key, None)(value):
                return entry
        return None

    # --- inside ------------------------------------------------------------------------------------------------------

    def _build(self) -> Look:
        """Make the index of all entries. Raises ConfigError at start; later, entries were checked."""
        raise NotImplementedError

    def _place(self, entry: Entry) -> Location | None:
        return Location(self.reference.name or self.reference.location.file, entry.line) if entry.line else None

    def _texts(self) -> list[Text]:
        return [Text(entry.key, self.ignore_case, self._place(entry)) for entry in self.reference.entries()]

    def _single(self, key: bytes, location: Location | None) -> Matcher:
        """A matcher for one pattern."""
        text = [Text(key, self.ignore_case, location)]
        if self.dotted:
            return match_integers(text, dotted=True)
        make = METHODS[self.method].make
        assert make is not None
        return make(text)

    def _value(self, entry: Entry) -> Value:
        """What a look-up that finds the entry answers."""
        return True if self.output is None else self.output.parse(entry.value or b"", self._place(entry))


class CompiledView(View):
    """ACLs that match all patterns at once: one expression, one tuple."""

    __slots__ = ()

    def _build(self) -> Look:
        texts = self._texts()
        if self.dotted:
            return match_integers(texts, dotted=True)
        make = METHODS[self.method].make
        assert make is not None
        return make(texts) if texts else _never


class OrderedView(View):
    """Maps whose keys are tried in their order. What was compiled for a key is kept."""

    __slots__ = ("_known",)

    def _build(self) -> Look:
        known: dict[bytes, Matcher] = getattr(self, "_known", {})
        table: list[tuple[Matcher, Value]] = []
        fresh: dict[bytes, Matcher] = {}
        for entry in self.reference.entries():
            matches = known.get(entry.key) or self._single(entry.key, self._place(entry))
            fresh[entry.key] = matches
            table.append((matches, self._value(entry)))
        self._known = fresh

        def find(value: Value) -> Value:
            for matches, output in table:
                if matches(value):
                    return output
            return None

        return find


class SubstitutionView(View):
    """`map_regm`: expressions whose groups are put into the value."""

    __slots__ = ()

    def _build(self) -> Look:
        table = []
        for entry in self.reference.entries():
            pattern = compile_regex(entry.key.decode("utf-8", "surrogateescape"), self._place(entry))
            table.append((pattern, parse_substitution(entry.value or b"")))

        def find(value: bytes) -> Value:
            for pattern, parts in table:
                match = pattern.search(value)
                if match is not None:
                    return expand(parts, match)
            return None

        return find


class _Dictionary(View):
    """A view whose index is a dictionary that is changed in place."""

    __slots__ = ("_several",)

    def _name(self, entry: Entry) -> Hashable:
        """What the entry is called in the dictionary."""
        raise NotImplementedError

    def _put(self, name: Hashable, value: Value) -> bool:
        """Add to the dictionary unless the name is there; whether it was not."""
        raise NotImplementedError

    def _delete(self, name: Hashable) -> None:
        raise NotImplementedError

    def _empty(self) -> Look:
        """Begin anew."""
        raise NotImplementedError

    def _build(self) -> Look:
        look = self._empty()
        #: names that more than one entry has: the first of them counts
        self._several: set[Hashable] = set()
        for entry in self.reference.entries():
            self._insert(entry)
        return look

    def _insert(self, entry: Entry) -> None:
        name = self._name(entry)
        if not self._put(name, self._value(entry)):
            self._several.add(name)

    def added(self, entry: Entry) -> None:
        if self._stale:
            return
        self._insert(entry)
        if self.reference.size == 1:
            # Who had no reason to look into an empty list has one now.
            self._now(self.look)

    def removed(self, entry: Entry) -> None:
        if self._stale:
            return
        name = self._name(entry)
        if name in self._several:
            self.replaced()
        else:
            self._delete(name)


class ExactView(_Dictionary):
    """Exact strings."""

    __slots__ = ("_table",)

    def _empty(self) -> Look:
        table: dict[Hashable, Value] = {}
        self._table = table
        if self.output is not None:
            return table.get
        contains = table.__contains__
        return (lambda value: contains(value.lower())) if self.ignore_case else contains

    def _build(self) -> Look:
        if self.ignore_case or self.output not in (None, OUTPUTS["str"]):
            return super()._build()
        # The most usual list may be very long, and is made anew when a version is committed: nothing to parse, nothing to check.
        look = self._empty()
        table = self._table
        is_map = self.output is not None
        self._several = set()
        for key, equal in self.reference.grouped():
            table[key] = (equal[0].value or b"") if is_map else True
            if len(equal) > 1:
                self._several.add(key)
        return look

    def _name(self, entry: Entry) -> bytes:
        return entry.key.lower() if self.ignore_case else entry.key

    def _put(self, name: Hashable, value: Value) -> bool:
        before = len(self._table)
        self._table.setdefault(name, value)
        return len(self._table) > before

    def _delete(self, name: Hashable) -> None:
        del self._table[name]

    def _first(self, value: Value) -> Entry | None:
        if self.ignore_case:
            return super()._first(value)
        assert isinstance(value, bytes)
        return next(iter(self.reference.equal(value)), None)


class PrefixView(_Dictionary):
    """Prefixes of a map: "the first of the finest match", the longest prefix wins."""

    __slots__ = ("_counts", "_lengths", "_table")

    def _empty(self) -> Look:
        table: dict[bytes, Value] = {}
        lengths: list[int] = []
        self._table, self._lengths, self._counts = table, lengths, Counter[int]()

        def find(value: bytes) -> Value:
            size = len(value)
            for length in lengths:
                if length <= size:
                    found = table.get(value[:length])
                    if found is not None:
                        return found
            return None

        return find

    def _name(self, entry: Entry) -> bytes:
        return entry.key

    def _put(self, name: Hashable, value: Value) -> bool:
        assert isinstance(name, bytes)
        if name in self._table:
            return False
        self._table[name] = value
        self._counts[len(name)] += 1
        if self._counts[len(name)] == 1:
            self._lengths.append(len(name))
            self._lengths.sort(reverse=True)
        return True

    def _delete(self, name: Hashable) -> None:
        assert isinstance(name, bytes)
        del self._table[name]
        self._counts[len(name)] -= 1
        if not self._counts[len(name)]:
            self._lengths.remove(len(name))

    def _first(self, value: Value) -> Entry | None:
        assert isinstance(value, bytes)
        for length in self._lengths:
            equal = self.reference.equal(value[:length]) if length <= len(value) else ()
            if equal:
                return equal[0]
        return None


class NetworkView(_Dictionary):
    """Addresses and networks: the narrowest network wins. One dictionary for each IP version and prefix length in use."""

    __slots__ = ("_four", "_six")

    def _empty(self) -> Look:
        self._four: list[tuple[int, dict[int, Value]]] = []
        self._six: list[tuple[int, dict[int, Value]]] = []
        return _network_finder(self._four, self._six, missing=False if self.output is None else None)

    def _name(self, entry: Entry) -> tuple[int, int, int]:
        return parse_network(entry.key.decode("utf-8", "replace"), self._place(entry))

    def _tables(self, version: int) -> tuple[list[tuple[int, dict[int, Value]]], int]:
        return (self._four, 32) if version == 4 else (self._six, 128)

    def _put(self, name: Hashable, value: Value) -> bool:
        assert isinstance(name, tuple)
        version, length, number = name
        tables, width = self._tables(version)
        shift = width - length
        for known, table in tables:
            if known == shift:
                if number in table:
                    return False
                table[number] = value
                return True
        tables.append((shift, {number: value}))
        tables.sort(key=lambda pair: pair[0])
        return True

    def _delete(self, name: Hashable) -> None:
        assert isinstance(name, tuple)
        version, length, number = name
        tables, width = self._tables(version)
        for index, (shift, table) in enumerate(tables):
            if shift == width - length:
                del table[number]
                if not table:
                    del tables[index]
                return

    def _first(self, value: Value) -> Entry | None:
        best: Entry | None = None
        longest = -1
        for entry in self.reference.entries():
            length = self._name(entry)[1]
            if length > longest and self._single(entry.key, None)(value):
                best, longest = entry, length
        return best


def _network_finder(
    four: list[tuple[int, dict[int, Value]]], six: list[tuple[int, dict[int, Value]]], *, missing: Value
) -> Look:
    """A look into tables of networks; `missing` is the answer where none of them holds an address."""

    def find(address: Address) -> Value:
        number = int(address)
        if address.version == 4:
            for shift, table in four:
                found = table.get(number >> shift)
                if found is not None:
                    return found
            number |= 0xFFFF << 32
        for shift, table in six:
            found = table.get(number >> shift)
            if found is not None:
                return found
        if four and isinstance(address, ipaddress.IPv6Address):
            inner = embedded_ipv4(address)
            if inner is not None:
                return find(ipaddress.IPv4Address(inner))
        return missing

    return find


def _never(value: Value) -> bool:
    return False


_ACL_VIEWS: dict[str, type[View]] = {"str": ExactView, "ip": NetworkView}
_MAP_VIEWS: dict[str, type[View]] = {"str": ExactView, "beg": PrefixView, "ip": NetworkView, "regm": SubstitutionView}


def acl_view(reference: Reference, method: str, *, ignore_case: bool, dotted: bool = False) -> View:
    """The view of an ACL; one for all ACLs that match a list in the same way."""
    for view in reference.followers:
        assert isinstance(view, View)
        if (view.method, view.ignore_case, view.dotted, view.output) == (method, ignore_case, dotted, None):
            return view
    made = _ACL_VIEWS.get(method, CompiledView)(reference, method, ignore_case=ignore_case, dotted=dotted)
    reference.followers.append(made)
    return made


def map_view(reference: Reference, method: str, output: str) -> View:
    """The view of a map. `method` "regm" is `reg` with the groups put into the value."""
    kind = _MAP_VIEWS.get(method, OrderedView)
    shown = "reg" if method == "regm" else method
    for view in reference.followers:
        assert isinstance(view, View)
        if type(view) is kind and view.output is OUTPUTS[output] and view.method == shown:
            return view
    made = kind(reference, shown, output=OUTPUTS[output])
    reference.followers.append(made)
    return made


class Patterns:
    """All lists of one ACL together."""

    __slots__ = ("_views",)

    def __init__(self, views: Sequence[View]) -> None:
        self._views = tuple(views)

    def matcher(self) -> Matcher:
        """What matches now."""
        looks = [view.look for view in self._views if not view.empty]
        if len(looks) < 2:
            return looks[0] if looks else _never  # type: ignore[return-value]
        first, second = looks[0], looks[1]
        if len(looks) == 2:
            return lambda value: bool(first(value) or second(value))
        return lambda value: any(look(value) for look in looks)

    def watch(self, changed: Callable[[Matcher], None]) -> Matcher:
        """Answer what matches now, and have `changed` told of each new one."""

        def tell() -> None:
            changed(self.matcher())

        for view in self._views:
            view.watchers.append(tell)
        return self.matcher()


def without_operators(texts: Sequence[Text], *, dotted: bool) -> list[Text]:
    """Integers with the operators in front of them written as ranges, `gt 5` as `6:`: each pattern stands for itself (7.1.2)."""
    if not any(text.value in OPERATORS for text in texts):
        return list(texts)
    return [
        Text(_range_text(low, high, dotted), text.ignore_case, text.location) for low, high, text in integer_ranges(texts, dotted)
    ]


def _range_text(low: int | None, high: int | None, dotted: bool) -> bytes:
    def number(value: int | None) -> bytes:
        if value is None:
            return b""
        return b"%d.%d" % (value >> 16, value & 0xFFFF) if dotted else b"%d" % value

    return number(low) if low == high else number(low) + b":" + number(high)


