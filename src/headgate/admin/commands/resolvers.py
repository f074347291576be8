"""`show resolvers` and `show stat domain resolvers`: what name servers were asked and what they said (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level

#: The counters of a name server, in the order of `show resolvers`; the statistics call the second one otherwise.
COUNTERS = (
    "sent", "snd_error", "valid", "update", "cname", "cname_error", "any_err", "nx", "timeout", "refused", "other", "invalid",
    "too_big", "truncated", "outdated",
)  # fmt: skip
_IN_STATISTICS = {"snd_error": "send_error"}
_HEADER = "# id,pid," + "".join(f"{_IN_STATISTICS.get(name, name)}," for name in COUNTERS)


def show_resolvers(words: Sequence[str], context: Context) -> str:
    sections = context.resolvers
    if words:
        if words[0] not in sections:
            raise CommandError("Can't find that resolvers section")
        sections = {words[0]: sections[words[0]]}
    if not sections:
        return "No resolvers found"
    lines = []
    for name, servers in sections.items():
        lines.append(f"Resolvers section {name}")
        for server, counters in servers.items():
            lines.append(f" nameserver {server}:")
            lines += [f"  {counter + ':':<13}{counters[counter]}" for counter in COUNTERS]
    return "\n".join(lines)


def resolver_statistics(form: str, context: Context) -> str:
    """`show stat domain resolvers` as csv, typed or json."""
    rows = [(section, name, counters) for section, servers in context.resolvers.items() for name, counters in servers.items()]
    return _FORMS[form](rows)


_Rows = list[tuple[str, str, Mapping[str, int]]]


def _csv(rows: _Rows) -> str:
    lines = [",".join([name, section, *[str(row[one]) for one in COUNTERS], ""]) for section, name, row in rows]
    return "\n".join([_HEADER, *lines])


def _typed(rows: _Rows) -> str:
    lines = []
    for number, (section, name, row) in enumerate(rows):
        cells: list[tuple[str, str, object]] = [("id", "str", name), ("pid", "str", section)]
        cells += [(_IN_STATISTICS.get(one, one), "u64", row[one]) for one in COUNTERS]
        for position, (title, kind, value) in enumerate(cells):
            tags = "KNS" if kind == "str" else "MCP"
            lines.append(f"D.{number}.{position}.{title}.1:{tags}:{kind}:{value}")
    return "\n".join(lines)


def _json(rows: _Rows) -> str:
    import json

    objects = [
        {"id": name, "pid": section, **{_IN_STATISTICS.get(one, one): row[one] for one in COUNTERS}}
        for section, name, row in rows
    ]
    return json.dumps(objects, separators=(",", ":"))


_FORMS = {"csv": _csv, "typed": _typed, "json": _json}

COMMANDS: tuple[Command, ...] = (
    Command(
        "show resolvers",
        "[id] : dumps counters from all resolvers section and associated name servers",
        Level.USER,
        show_resolvers,
    ),
)
