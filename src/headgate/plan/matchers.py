"""Pattern matching of ACLs and maps (manual 7.1): patterns -> one closure per method, as fast as the method allows.

Exact strings are a set, prefixes and suffixes one call, networks one set per mask length, expressions compiled once.
`METHODS` says which sample type each method wants; `pairs` variants of the same tables serve maps.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from headgate.base.diagnostics import Location, config_error
from headgate.base.records import dataclass
from headgate.plan.patterns import compile_regex
from headgate.plan.samples import Address, Type

#: A compiled matcher: does the value (never None) match?
Matcher = Callable[..., bool]


@dataclass(frozen=True, slots=True)
class Text:
    """One pattern: the bytes, whether case counts, and where it was written."""

    value: bytes
    ignore_case: bool
    location: Location | None

    @property
    def shown(self) -> str:
        return self.value.decode("utf-8", "replace")


def _folded(texts: Sequence[Text]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Patterns where case counts, and lower-cased ones where it does not."""
    exact = tuple(dict.fromkeys(text.value for text in texts if not text.ignore_case))
    folded = tuple(dict.fromkeys(text.value.lower() for text in texts if text.ignore_case))
    return exact, folded


def _by_case(texts: Sequence[Text], make: Callable[[tuple[bytes, ...]], Matcher]) -> Matcher:
    """One matcher for both kinds of patterns; most often there is only one kind."""
    exact, folded = _folded(texts)
    if not folded:
        return make(exact)
    lower = make(folded)
    if not exact:
        return lambda value: lower(value.lower())
    plain = make(exact)
    return lambda value: plain(value) or lower(value.lower())


def _strings(patterns: tuple[bytes, ...]) -> Matcher:
    if len(patterns) == 1:
        only = patterns[0]
        return lambda value: value == only
    return frozenset(patterns).__contains__


def _prefixes(patterns: tuple[bytes, ...]) -> Matcher:
    return lambda value: value.startswith(patterns)


def _suffixes(patterns: tuple[bytes, ...]) -> Matcher:
    return lambda value: value.endswith(patterns)


def _substrings(patterns: tuple[bytes, ...]) -> Matcher:
    if len(patterns) == 1:
        only = patterns[0]
        return lambda value: only in value
    if len(patterns) > 4 and all(patterns):
        # One pass of the regular expression engine beats many searches.
        search = re.compile(b"|".join(map(re.escape, patterns))).search
        return lambda value: search(value) is not None
    return lambda value: any(pattern in value for pattern in patterns)


def _delimited(delimiters: bytes) -> Callable[[tuple[bytes, ...]], Matcher]:
    """`dir` and `dom`: the pattern stands between delimiters or the ends."""
    one = b"[" + re.escape(delimiters) + b"]"

    def make(patterns: tuple[bytes, ...]) -> Matcher:
        bare = [re.escape(pattern.strip(delimiters)) for pattern in patterns]
        search = re.compile(b"(?:^|(?<=" + one + b"))(?:" + b"|".join(bare) + b")(?=" + one + rb"|\Z)").search
        return lambda value: search(value) is not None

    return make


def match_regex(texts: Sequence[Text]) -> Matcher:
    """`reg`: any of the expressions is found."""
    searches = [
        compile_regex(text.value.decode("utf-8", "surrogateescape"), text.location, ignore_case=text.ignore_case).search
        for text in texts
    ]
    if len(searches) == 1:
        only = searches[0]
        return lambda value: only(value) is not None
    return lambda value: any(search(value) is not None for search in searches)


# --- integers --------------------------------------------------------------------------------------------------------

OPERATORS: Final[dict[bytes, Callable[[int, int], tuple[int | None, int | None]]]] = {
    b"eq": lambda low, high: (low, high),
    b"ge": lambda low, high: (low, None),
    b"gt": lambda low, high: (high + 1, None),
    b"le": lambda low, high: (None, high),
    b"lt": lambda low, high: (None, low - 1),
}
_NUMBER: Final = re.compile(rb"(-?[0-9]+)(?:\.([0-9]+))?")


def _number(text: Text, value: bytes) -> tuple[int, bool]:
    """An integer, or two with a dot between them as `major << 16 | minor` (7.1.2), and whether it was such a pair."""
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise config_error(f"'{text.shown}' is not an integer or a range of integers", text.location)
    if match[2] is not None:
        return int(match[1]) << 16 | int(match[2]), True
    return int(match[1]), False


def integer_range(text: Text, dotted: bool) -> tuple[int | None, int | None]:
    """The bounds that a pattern names, None for an open end; raises ConfigError."""
    low_text, colon, high_text = text.value.partition(b":")

    def bound(value: bytes, top: int) -> int | None:
        if not value:
            return None
        number, pair = _number(text, value)
        # Where versions are compared, "3" is 3.0 at the bottom of a range and 3.anything at its top.
        return number << 16 | top if dotted and not pair else number

    low = bound(low_text, 0)
    high = bound(high_text, 0) if colon else low
    if low is None and high is None:
        raise config_error(f"'{text.shown}' is not an integer or a range of integers", text.location)
    if low is not None and high is not None and low > high:
        raise config_error(f"the range '{text.shown}' is empty: its first number is the greater one", text.location)
    return low, high


def integer_ranges(texts: Sequence[Text], dotted: bool) -> Iterator[tuple[int | None, int | None, Text]]:
    """What patterns let through, with the operators in front of them: two bounds, None for an open end, and the pattern."""
    operator = b"eq"
    for text in texts:
        if text.value in OPERATORS:
            operator = text.value
            continue
        low, high = integer_range(text, dotted)
        if operator != b"eq":
            first = low if low is not None else high
            last = high if high is not None else low
            assert first is not None
            assert last is not None
            low, high = OPERATORS[operator](first, last)
        yield low, high, text


def match_integers(texts: Sequence[Text], *, dotted: bool = False) -> Matcher:
    """`int` and `len`: numbers, ranges, and the operators eq, ge, gt, le, lt in front of them.

    Args:
        dotted: samples are versions, `major << 16 | minor`.

    Raises:
        ConfigError: a pattern is none of these.
    """
    single: set[int] = set()
    ranges: list[tuple[int | None, int | None]] = []
    for low, high, _ in integer_ranges(texts, dotted):
        if low is not None and low == high:
            single.add(low)
        else:
            ranges.append((low, high))
    return _integer_matcher(frozenset(single), ranges)


def _integer_matcher(single: frozenset[int], ranges: Sequence[tuple[int | None, int | None]]) -> Matcher:
    if not ranges:
        return single.__contains__
    if len(ranges) == 1 and not single:
        low, high = ranges[0]
        if high is None:
            return lambda value: value >= low
        if low is None:
            return lambda value: value <= high
        return lambda value: low <= value <= high
    spans = [(-(1 << 64) if low is None else low, (1 << 64) if high is None else high) for low, high in ranges]
    return lambda value: value in single or any(low <= value <= high for low, high in spans)


# --- addresses -------------------------------------------------------------------------------------------------------


def parse_network(text: str, location: Location | None) -> tuple[int, int, int]:
    """An address pattern as (IP version, prefix length, network number).

    IPv4 may leave out octets that are zero: `10.1` is 10.0.0.1 and `192.168.1/22` is 192.168.0.1/22 (7.1.6).

    Raises:
        ConfigError: not an address or network.
    """
    host, slash, mask = text.partition("/")
    try:
        if ":" in host:
            network: ipaddress.IPv4Network | ipaddress.IPv6Network = ipaddress.IPv6Network(text, strict=False)
        else:
            octets = host.split(".")
            if 1 < len(octets) < 4:
                octets[-1:-1] = ["0"] * (4 - len(octets))
            network = ipaddress.IPv4Network(".".join(octets) + (f"/{mask}" if slash else ""), strict=False)
    except ValueError:
        raise config_error(
            f"'{text}' is not an IP address or network", location,
            remedy="host names in address patterns are not supported: write the addresses" if re.search("[g-z]", host) else None,
        ) from None
    return network.version, network.prefixlen, int(network.network_address) >> (network.max_prefixlen - network.prefixlen)


def embedded_ipv4(address: ipaddress.IPv6Address) -> int | None:
    """The IPv4 address in 2002:V4::, ::V4 or ::ffff:V4, which IPv4 patterns match too (7.1.6)."""
    number = int(address)
    if number >> 112 == 0x2002:
        return (number >> 80) & 0xFFFFFFFF
    if number >> 32 in (0, 0xFFFF):
        return number & 0xFFFFFFFF
    return None


class Networks:
    """Networks by IP version and prefix length, longest first: a look-up costs one set test a length in use."""

    __slots__ = ("_tables",)

    def __init__(self, networks: Sequence[tuple[int, int, int]]) -> None:
        tables: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for version, length, number in networks:
            tables[version].setdefault(length, set()).add(number)
        self._tables = {
            version: tuple(
                ((32 if version == 4 else 128) - length, frozenset(numbers))
                for length, numbers in sorted(by_length.items(), reverse=True)
            )
            for version, by_length in tables.items()
        }

    def __contains__(self, address: Address) -> bool:
        return self.find(address) is not None

    def find(self, address: Address) -> tuple[int, int, int] | None:
        """The narrowest network that holds the address, as `parse_network` names it."""
        number = int(address)
        tables = self._tables
        if address.version == 4:
            for shift, numbers in tables[4]:
                if number >> shift in numbers:
                    return 4, 32 - shift, number >> shift
            number |= 0xFFFF << 32
        for shift, numbers in tables[6]:
            if number >> shift in numbers:
                return 6, 128 - shift, number >> shift
        if isinstance(address, ipaddress.IPv6Address) and tables[4]:
            inner = embedded_ipv4(address)
            if inner is not None:
                return self.find(ipaddress.IPv4Address(inner))
        return None


def match_addresses(texts: Sequence[Text]) -> Matcher:
    """`ip`: addresses and networks."""
    networks = Networks([parse_network(text.shown, text.location) for text in texts])
    return networks.__contains__


def match_binary(texts: Sequence[Text]) -> Matcher:
    """`bin`: patterns are hexadecimal; the whole sample must be equal."""
    patterns = set()
    for text in texts:
        try:
            patterns.add(bytes.fromhex(text.value.decode("ascii")))
        except ValueError:
            raise config_error(f"'{text.shown}' is not an even number of hexadecimal digits", text.location) from None
    return frozenset(patterns).__contains__


def _match_lengths(texts: Sequence[Text]) -> Matcher:
    inner = match_integers(texts)
    return lambda value: inner(len(value))


@dataclass(frozen=True, slots=True)
class Method:
    """A match method: which type samples are cast to, and how patterns become a matcher. `make` None: takes no patterns."""

    wants: Type
    make: Callable[[Sequence[Text]], Matcher] | None
    accepts: frozenset[Type]


_ALL: Final = frozenset(Type)
_DIR: Final = _delimited(b"/")
_DOM: Final = _delimited(b"./:?")

METHODS: Final[dict[str, Method]] = {
    "found": Method(Type.ANY, None, _ALL),
    "bool": Method(Type.BOOL, None, frozenset({Type.BOOL, Type.SINT, Type.STR, Type.ANY})),
    "int": Method(Type.SINT, match_integers, frozenset({Type.BOOL, Type.SINT, Type.ADDR, Type.STR, Type.ANY})),
    "len": Method(Type.STR, _match_lengths, _ALL),
    "ip": Method(Type.ADDR, match_addresses, frozenset({Type.ADDR, Type.STR, Type.ANY})),
    "bin": Method(Type.BIN, match_binary, frozenset({Type.STR, Type.BIN, Type.ANY})),
    "str": Method(Type.STR, lambda texts: _by_case(texts, _strings), _ALL),
    "beg": Method(Type.STR, lambda texts: _by_case(texts, _prefixes), _ALL),
    "end": Method(Type.STR, lambda texts: _by_case(texts, _suffixes), _ALL),
    "sub": Method(Type.STR, lambda texts: _by_case(texts, _substrings), _ALL),
    "dir": Method(Type.STR, lambda texts: _by_case(texts, _DIR), _ALL),
    "dom": Method(Type.STR, lambda texts: _by_case(texts, _DOM), _ALL),
    "reg": Method(Type.STR, match_regex, _ALL),
}

#: The method of a criterion without -m (7.1); binary samples and variables have none.
DEFAULT_METHODS: Final = {Type.BOOL: "bool", Type.SINT: "int", Type.ADDR: "ip", Type.STR: "str", Type.METH: "str"}
