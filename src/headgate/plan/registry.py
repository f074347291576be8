"""The tables of sample fetches and converters: one row each, added by the files under `fetches/` and `converters/`.

A row says what a keyword takes, what it gives, where it may stand, and holds the function that compiles one use of it. A
small configuration needs few of these files, or none: they are imported when a name is looked for, one by one until it is found.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

from headgate.base.diagnostics import Bug, ConfigError, Location, config_error
from headgate.base.records import dataclass
from headgate.config.expression import Call
from headgate.config.model import Userlist
from headgate.plan.facts import Stream, Value
from headgate.plan.places import ALWAYS, Place
from headgate.plan.samples import Convert, Run, Type, parse_integer
from headgate.plan.scope import Scope
from headgate.plan.tables import TableArgument, find_table

F = TypeVar("F", bound=Callable[..., Any])


class Argument(enum.Enum):
    """What an argument must be; the value is how messages name it."""

    STRING = "a string"
    INTEGER = "an integer"
    REGEX = "a regular expression"
    BACKEND = "a backend"
    FRONTEND = "a frontend"
    SERVER = "a server"
    USERLIST = "a userlist"
    IPV4 = "an IPv4 address"
    IPV6 = "an IPv6 address"
    MASK4 = "an IPv4 mask"
    MASK6 = "an IPv6 mask"
    VARIABLE = "a variable"
    FILE = "a file"
    TABLE = "a stick table"


class _Many:
    """What a fetch's compile function answers when ACLs are to try every value of a sample and not one (`hdr`, `cook`)."""

    __slots__ = ("each", "one")

    def __init__(self, one: Run, each: Callable[[Stream], Iterable[Value]]) -> None:
        self.one = one
        self.each = each


Many = _Many


@dataclass(frozen=True, slots=True)
class Fetch:
    """One sample fetch.

    Attributes:
        name: as in the manual; aliases have rows of their own that share `compile`.
        result: static type of the sample.
        places: where it may be used.
        arguments: what they must be; the first `required` of them must be given.
        compile: `(scope, *arguments) -> Run | Many`; omitted arguments are None.
        request: it looks at the parsed request head, so content rules wait for that.
    """

    name: str
    result: Type
    places: Place
    compile: Callable[..., Run | Many]
    arguments: tuple[Argument, ...] = ()
    required: int = 0
    request: bool = False


@dataclass(frozen=True, slots=True)
class Converter:
    """One converter. `compile` is `(scope, *arguments) -> Convert`, or `-> (Stream, Value) -> Value` when `live`.

    `result` is None for converters that leave the type as it is.
    """

    name: str
    takes: Type
    result: Type | None
    compile: Callable[..., Any]
    arguments: tuple[Argument, ...] = ()
    required: int = 0
    live: bool = False


Row = TypeVar("Row", Fetch, Converter)


class Table(Mapping[str, Row]):
    """Rows by name.

    Args:
        kind: what a row is, for messages.
        files: the modules that add the rows, in the order in which to look for a name: what is used most comes first.
    """

    def __init__(self, kind: str, files: Iterable[str]) -> None:
        self._kind = kind
        self._unread = list(files)
        self._rows: dict[str, Row] = {}

    def add(self, row: Row) -> None:
        """Add a row; raises Bug when its name is taken."""
        if row.name in self._rows:
            raise Bug(f"{self._kind} {row.name} is registered twice")
        self._rows[row.name] = row

    def __getitem__(self, name: str) -> Row:
        while name not in self._rows and self._unread:
            import_module(self._unread.pop(0))
        return self._rows[name]

    def _complete(self) -> dict[str, Row]:
        while self._unread:
            import_module(self._unread.pop(0))
        return self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._complete())

    def __len__(self) -> int:
        return len(self._complete())


def _files(package: str, names: str) -> list[str]:
    return [f"headgate.plan.{package}.{name}" for name in names.split()]


FETCHES: Table[Fetch] = Table(
    "fetch",
    _files(
        "fetches",
        "layer4 http_heads http_request layer5 tls_certificates tls_offers tls_early tls_secrets transaction internal payload"
        " tables handshakes check_answers",
    ),
)
CONVERTERS: Table[Converter] = Table(
    "converter", _files("converters", "strings arithmetic names codecs maps dates hashes tables certificates")
)


def fetch(
    *names: str,
    result: Type,
    places: Place = ALWAYS,
    arguments: tuple[Argument, ...] = (),
    required: int | None = None,
    request: bool = False,
) -> Callable[[F], F]:
    """Register the decorated compile function for a fetch and its aliases; `required` defaults to all arguments."""

    def register(compile_: F) -> F:
        for name in names:
            needed = len(arguments) if required is None else required
            FETCHES.add(Fetch(name, result, places, compile_, arguments, needed, request))
        return compile_

    return register


def plain(*names: str, result: Type, places: Place, run: Run, request: bool = False) -> None:
    """Register a fetch without arguments: `run` is all there is."""
    fetch(*names, result=result, places=places, request=request)(lambda scope: run)


def converter(
    *names: str,
    takes: Type,
    result: Type | None,
    arguments: tuple[Argument, ...] = (),
    required: int | None = None,
    live: bool = False,
) -> Callable[[F], F]:
    """Register the decorated compile function for a converter; `required` defaults to all arguments."""

    def register(compile_: F) -> F:
        for name in names:
            needed = len(arguments) if required is None else required
            CONVERTERS.add(Converter(name, takes, result, compile_, arguments, needed, live))
        return compile_

    return register


def pure(name: str, *, takes: Type, result: Type | None, convert: Convert) -> None:
    """Register a converter without arguments: `convert` is all there is."""
    converter(name, takes=takes, result=result)(lambda scope: convert)


# --- arguments -------------------------------------------------------------------------------------------------------


def read_arguments(call: Call, row: Fetch | Converter, scope: Scope) -> list[Any]:
    """The typed arguments of a call, None for omitted ones.

    Raises:
        ConfigError: too few, too many, or one of the wrong kind.
    """
    given = list(call.arguments)
    if given == [""]:
        given = []
    if len(given) > len(row.arguments):
        most = len(row.arguments)
        takes = "takes no arguments" if most == 0 else f"takes at most {most} argument{'s' * (most > 1)}"
        raise config_error(f"'{call.name}' {takes}, not {len(given)}", call.location)
    if len(given) < row.required and row.arguments[len(given)] not in _IMPLICIT:
        missing = row.arguments[len(given)].value
        raise config_error(f"'{call.name}' needs {missing} as argument {len(given) + 1}", call.location)
    values: list[Any] = []
    for index, kind in enumerate(row.arguments):
        text = given[index] if index < len(given) else None
        if text is None or (text == "" and kind is not Argument.STRING):
            # An empty argument is an omitted one, but an empty string may be meant (`iif(+,)`), and an empty proxy is this one.
            implied = _IMPLICIT.get(kind) if index < row.required else None
            values.append(None if implied is None else implied(call, "", scope))
            continue
        values.append(_READERS[kind](call, text, scope))
    return values


def _string(call: Call, text: str, scope: Scope) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _integer(call: Call, text: str, scope: Scope) -> int:
    number = parse_integer(text.encode("utf-8", "replace"))
    if number is None or str(number) != text.strip().removeprefix("+"):
        raise config_error(f"'{call.name}' needs an integer, not '{text}'", call.location)
    return number


def _text(call: Call, text: str, scope: Scope) -> str:
    return text


def _backend(call: Call, text: str, scope: Scope) -> str:
    name = text or scope.proxy.name
    if scope.config.proxy(name, backend=True) is None:
        known = [proxy.name for proxy in scope.config.proxies if proxy.is_backend]
        raise config_error(f"'{call.name}': there is no backend '{name}'", call.location, allowed=known, written=name)
    scope.references.backends.add(name)
    return name


def _frontend(call: Call, text: str, scope: Scope) -> str:
    name = text or scope.proxy.name
    if scope.config.proxy(name, backend=False) is None:
        known = [proxy.name for proxy in scope.config.proxies if proxy.is_frontend]
        raise config_error(f"'{call.name}': there is no frontend '{name}'", call.location, allowed=known, written=name)
    return name


def _server(call: Call, text: str, scope: Scope) -> tuple[str, str]:
    backend, slash, server = text.rpartition("/")
    name = _backend(call, backend if slash else "", scope)
    proxy = scope.config.proxy(name, backend=True)
    assert proxy is not None
    names = [spec.name for spec in proxy.servers]
    if server not in names:
        raise config_error(
            f"'{call.name}': backend '{name}' has no server '{server}'", call.location, allowed=names, written=server
        )
    scope.references.servers.add((name, server))
    return name, server


def _userlist(call: Call, text: str, scope: Scope) -> Userlist:
    found = scope.config.userlists.get(text)
    if found is None:
        known = tuple(scope.config.userlists)
        raise config_error(f"'{call.name}': there is no userlist '{text}'", call.location, allowed=known, written=text)
    return found


def _ip(version: int) -> Callable[[Call, str, Scope], object]:
    def read(call: Call, text: str, scope: Scope) -> object:
        try:
            return ipaddress.IPv4Address(text) if version == 4 else ipaddress.IPv6Address(text)
        except ValueError:
            raise config_error(f"'{call.name}' needs an IPv{version} address, not '{text}'", call.location) from None

    return read


def _mask(version: int) -> Callable[[Call, str, Scope], int]:
    def read(call: Call, text: str, scope: Scope) -> int:
        width = 32 if version == 4 else 128
        if text.isdecimal() and int(text) <= width:
            return ((1 << int(text)) - 1) << (width - int(text))
        try:
            return int(ipaddress.IPv4Address(text) if version == 4 else ipaddress.IPv6Address(text))
        except ValueError:
            raise config_error(f"'{call.name}' needs an IPv{version} mask, not '{text}'", call.location) from None

    return read


def _file(call: Call, text: str, scope: Scope) -> tuple[str, Location]:
    return text, call.location


def _table(call: Call, text: str, scope: Scope) -> TableArgument:
    number = find_table(scope.tables, text or scope.proxy.name, call.location, f"'{call.name}'")
    return TableArgument(number, scope.tables[number], call)


_READERS: dict[Argument, Callable[[Call, str, Scope], Any]] = {
    Argument.STRING: _string,
    Argument.INTEGER: _integer,
    Argument.REGEX: _text,
    Argument.BACKEND: _backend,
    Argument.FRONTEND: _frontend,
    Argument.SERVER: _server,
    Argument.USERLIST: _userlist,
    Argument.IPV4: _ip(4),
    Argument.IPV6: _ip(6),
    Argument.MASK4: _mask(4),
    Argument.MASK6: _mask(6),
    Argument.VARIABLE: _text,
    Argument.FILE: _file,
    Argument.TABLE: _table,
}
_IMPLICIT = {Argument.BACKEND: _backend, Argument.FRONTEND: _frontend, Argument.TABLE: _table}


def refuse(call: Call, message: str) -> ConfigError:
    """Build (not raise) an error about one call."""
    return config_error(f"'{call.name}': {message}", call.location)
