"""`show stat` (management manual 9.1 to 9.3): a row for each frontend, listening socket, server and backend.

`show schema json` says what the JSON looks like.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headgate.admin.columns import HEADER, Row, compact_json, csv_line, json_fields, schema, typed_lines
from headgate.admin.commands.resolvers import resolver_statistics
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level
from headgate.admin.rows import backend_row, frontend_row, server_row, socket_row
from headgate.balance.server import ServerState

_FRONTEND, _BACKEND, _SERVER, _SOCKET = 1, 2, 4, 8

# --- the command -----------------------------------------------------------------------------------------------------


class _Selection:
    """Which rows are wanted: `[{<iid>|<proxy>} <type> <sid>] [up|no-maint]`."""

    def __init__(self, words: Sequence[str], context: Context) -> None:
        self.format = "csv"
        self.described = False
        self.domain = "proxy"
        self.up = self.no_maintenance = False
        self.proxy, self.types, self.server = -1, -1, -1
        rest = list(words)
        if rest[:1] == ["domain"]:
            if rest[1:2] not in (["proxy"], ["resolvers"]):
                raise CommandError("Invalid statistics domain: one of proxy, resolvers.")
            self.domain = rest[1]
            del rest[:2]
        if rest and rest[0] not in _FLAGS:
            if len(rest) < 3 or not all(_is_number(word) for word in rest[1:3]):
                raise CommandError("'show stat' expects {<iid>|<proxy>} <type> <sid>, or none of them.")
            self.proxy = int(rest[0]) if _is_number(rest[0]) else _proxy_id(rest[0], context)
            self.types, self.server = int(rest[1]), int(rest[2])
            del rest[:3]
        for word in rest:
            if word in ("typed", "json"):
                self.format = word
            elif word == "desc":
                self.described = True
            elif word == "up":
                self.up = True
            elif word == "no-maint":
                self.no_maintenance = True
            else:
                raise CommandError(f"'show stat' knows no '{word}': one of typed, json, desc, up, no-maint.")

    def wants(self, kind: int, proxy: int, server: int = 0) -> bool:
        return (
            bool(self.types & kind)
            and self.proxy in (-1, proxy)
            and (self.server == -1 or self.server == server)
        )


_FLAGS = frozenset({"typed", "json", "desc", "up", "no-maint"})


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdecimal()


def _proxy_id(name: str, context: Context) -> int:
    side = context.frontends.get(name) or context.backends.get(name)
    if side is None:
        raise CommandError("No such proxy.")
    return side.spec.id


def rows(selection: _Selection, context: Context) -> Iterator[Row]:
    """All wanted rows, proxy by proxy: FRONTEND, listening sockets, servers, BACKEND."""
    specs = {side.spec.id: side.name for side in context.frontends.values()}
    specs |= {side.spec.id: side.name for side in context.backends.values()}
    for number, name in sorted(specs.items()):
        frontend = context.frontends.get(name)
        if frontend is not None and frontend.spec.id == number and selection.wants(_FRONTEND, number):
            yield frontend_row(frontend, context)
        if frontend is not None and frontend.spec.id == number:
            for listening in frontend.sockets.values():
                if selection.wants(_SOCKET, number, listening.number):
                    yield socket_row(frontend, listening)
        backend = context.backends.get(name)
        if backend is None or backend.spec.id != number:
            continue
        for server in backend.state.servers:
            if selection.wants(_SERVER, number, server.id) and not _hidden(server, selection):
                yield server_row(backend, server, context)
        if selection.wants(_BACKEND, number):
            yield backend_row(backend, context)


def _hidden(server: ServerState, selection: _Selection) -> bool:
    state = server.state
    in_maintenance = state.startswith("MAINT")
    return (selection.up and (in_maintenance or state == "DOWN")) or (selection.no_maintenance and in_maintenance)


def show_stat(words: Sequence[str], context: Context) -> str:
    selection = _Selection(words, context)
    if selection.domain == "resolvers":
        return resolver_statistics(selection.format, context, described=selection.described)
    chosen = rows(selection, context)
    if selection.format == "json":
        return compact_json([json_fields(row) for row in chosen])
    if selection.format == "typed":
        return "\n".join([line for row in chosen for line in typed_lines(row, described=selection.described)])
    return "\n".join([HEADER, *[csv_line(row) for row in chosen]])


def show_schema(_: Sequence[str], context: Context) -> str:
    return schema()


COMMANDS = (
    Command(
        "show stat",
        "[{<iid>|<proxy>} <type> <sid>] [typed|json] [desc] [up|no-maint] : report counters for each proxy and server",
        Level.USER,
        show_stat,
    ),
    Command("show schema json", ": report the schema of 'show info json' and 'show stat json'", Level.USER, show_schema),
)
