"""Map converters (manual 7.3.1 "map"): `map_<match>[_<output>](file[,default])`.

Files are read once, when the configuration is compiled. Exact strings, prefixes and addresses are found by hashing; the other
methods try their keys in the order of the file.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from headgate.base.diagnostics import Location, config_error
from headgate.plan.facts import Value
from headgate.plan.matchers import METHODS, Networks, Text, match_integers, parse_network
from headgate.plan.patterns import compile_regex, expand, map_lines, parse_substitution
from headgate.plan.registry import Argument, converter
from headgate.plan.samples import Convert, Type
from headgate.plan.scope import Scope

Entry = tuple[bytes, Value, Location]
#: From a value to the entry's output; None: not in the map.
Find = Callable[..., Value]


def _text(text: bytes, location: Location) -> Value:
    return text


def _integer(text: bytes, location: Location) -> Value:
    try:
        return int(text)
    except ValueError:
        raise config_error(f"the map's value '{text.decode('utf-8', 'replace')}' is not an integer", location) from None


def _address(text: bytes, location: Location) -> Value:
    try:
        return ipaddress.ip_address(text.decode("latin-1"))
    except ValueError:
        raise config_error(f"the map's value '{text.decode('utf-8', 'replace')}' is not an IP address", location) from None


_OUTPUTS: dict[str, tuple[Type, Callable[[bytes, Location], Value]]] = {
    "str": (Type.STR, _text),
    "int": (Type.SINT, _integer),
    "ip": (Type.ADDR, _address),
}


def _exact(entries: list[Entry]) -> Find:
    # The first of several equal keys counts, as with the lists of HAProxy's trees.
    return {key: output for key, output, _ in reversed(entries)}.get


def _longest_prefix(entries: list[Entry]) -> Find:
    """`beg`: "the first of the finest match": the longest prefix wins."""
    table = {key: output for key, output, _ in reversed(entries)}
    lengths = sorted({len(key) for key in table}, reverse=True)

    def find(value: bytes) -> Value:
        for length in lengths:
            if length <= len(value):
                found = table.get(value[:length])
                if found is not None:
                    return found
        return None

    return find


def _networks(entries: list[Entry]) -> Find:
    table: dict[tuple[int, int, int], Value] = {}
    for key, output, location in entries:
        table.setdefault(parse_network(key.decode("latin-1"), location), output)
    networks = Networks(list(table))

    def find(value: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Value:
        network = networks.find(value)
        return None if network is None else table[network]

    return find


def _in_order(method: str) -> Callable[[list[Entry]], Find]:
    def make(entries: list[Entry]) -> Find:
        build = METHODS[method].make
        assert build is not None
        table = [(build([Text(key, False, location)]), output) for key, output, location in entries]

        def find(value: bytes) -> Value:
            for matches, output in table:
                if matches(value):
                    return output
            return None

        return find

    return make


def _integers(entries: list[Entry]) -> Find:
    table = [(match_integers([Text(key, False, location)]), output) for key, output, location in entries]

    def find(value: int) -> Value:
        for matches, output in table:
            if matches(value):
                return output
        return None

    return find


_METHODS: dict[str, tuple[Type, Callable[[list[Entry]], Find]]] = {
    "str": (Type.STR, _exact),
    "beg": (Type.STR, _longest_prefix),
    "dir": (Type.STR, _in_order("dir")),
    "dom": (Type.STR, _in_order("dom")),
    "end": (Type.STR, _in_order("end")),
    "sub": (Type.STR, _in_order("sub")),
    "reg": (Type.STR, _in_order("reg")),
    "int": (Type.SINT, _integers),
    "ip": (Type.ADDR, _networks),
}


def _default(text: bytes | None, parse: Callable[[bytes, Location], Value]) -> Value:
    return None if text is None else parse(text, Location("<default value>", 0))


def _register(name: str, method: str, output: str) -> None:
    takes, build = _METHODS[method]
    gives, parse = _OUTPUTS[output]

    @converter(name, takes=takes, result=gives, arguments=(Argument.STRING, Argument.STRING), required=1)
    def compile_(scope: Scope, file: bytes, default: bytes | None) -> Convert:
        path = file.decode("utf-8", "surrogateescape")
        entries: list[Entry] = []
        for number, key, value in map_lines(scope.read(path)):
            location = Location(path, number)
            entries.append((key, parse(value, location), location))
        find = build(entries)
        otherwise = _default(default, parse)
        if otherwise is None:
            return find
        return lambda value: otherwise if (found := find(value)) is None else found


_register("map", "str", "str")
for _method in _METHODS:
    _register(f"map_{_method}", _method, "str")
    for _output in ("int", "ip"):
        _register(f"map_{_method}_{_output}", _method, _output)


@converter("map_regm", takes=Type.STR, result=Type.STR, arguments=(Argument.STRING, Argument.STRING), required=1)
def map_regm(scope: Scope, file: bytes, default: bytes | None) -> Convert:
    """Like map_reg, with the groups of the expression put into the value."""
    path = file.decode("utf-8", "surrogateescape")
    table = [
        (compile_regex(key.decode("utf-8", "surrogateescape"), Location(path, number)), parse_substitution(value))
        for number, key, value in map_lines(scope.read(path))
    ]

    def find(value: bytes) -> Value:
        for pattern, parts in table:
            match = pattern.search(value)
            if match is not None:
                return expand(parts, match)
        return default

    return find
