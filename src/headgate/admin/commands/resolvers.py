"""`show resolvers` and `show stat domain resolvers`: what name servers were asked and what they said (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin.columns import compact_json, json_tags
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level

#: The counters of a name server, in the order of `show resolvers` and of the statistics, which call the second one otherwise.
COUNTERS = (
    "sent", "snd_error", "valid", "update", "cname", "cname_error", "any_err", "nx", "timeout", "refused", "other", "invalid",
    "too_big", "truncated", "outdated",
)  # fmt: skip
#: The columns of the statistics: name, tags (origin, nature, scope, persistence), type, meaning.
_TABLE = """
id KNSV str Name of the name server
pid KNSV str Name of the resolvers section
sent MCPP u64 Queries sent
send_error MCPP u64 Queries that could not be sent
valid MCPP u64 Valid answers
update MCPP u64 Answers that changed a server
cname MCPP u64 Valid answers by way of a CNAME
cname_error MCPP u64 Answers whose CNAMEs lead nowhere
any_err MCPP u64 Answers without records of the type asked for
nx MCPP u64 Names that do not exist
timeout MCPP u64 Queries that were not answered in time
refused MCPP u64 Queries that were refused
other MCPP u64 Other errors
invalid MCPP u64 Answers that can't be read
too_big MCPP u64 Answers larger than accepted_payload_size
truncated MCPP u64 Answers that were cut short and asked for over TCP
outdated MCPP u64 Answers that came after another name server's was taken
"""
_COLUMNS = tuple(line.split(" ", 3) for line in _TABLE.strip().split("\n"))
_HEADER = "# " + "".join(f"{name}," for name, _, _, _ in _COLUMNS)


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


def resolver_statistics(form: str, context: Context, *, described: bool = False) -> str:
    """`show stat domain resolvers` as csv, typed or json; the typed lines with what they mean where that is wanted."""
    rows: list[_Row] = [
        (server, section, *[counters[counter] for counter in COUNTERS])
        for section, servers in context.resolvers.items()
        for server, counters in servers.items()
    ]
    if form == "json":
        return compact_json([_json_fields(number, row) for number, row in enumerate(rows)])
    if form == "typed":
        return "\n".join([line for row in rows for line in _typed_lines(row, described)])
    return "\n".join([_HEADER, *["".join(f"{value}," for value in row) for row in rows]])


#: The values of a name server by column.
_Row = tuple[str | int, ...]


def _typed_lines(row: _Row, described: bool) -> list[str]:
    """There is no proxy for them to belong to, so they begin otherwise than other lines, as HAProxy's do."""
    return [
        f"N.{position}.{name}:{tags}:{kind}:{value}" + (f':"{meaning}"' if described else "")
        for position, ((name, tags, kind, meaning), value) in enumerate(zip(_COLUMNS, row, strict=True))
    ]


def _json_fields(number: int, row: _Row) -> list[dict[str, object]]:
    """In the form of `show stat json`, which `show schema json` describes."""
    return [
        {
            "objType": "Unknown",
            "proxyId": 0,
            "id": number,
            "field": {"pos": position, "name": name},
            "processNum": 1,
            "tags": json_tags(tags),
            "value": {"type": kind, "value": value},
        }
        for position, ((name, tags, kind, _), value) in enumerate(zip(_COLUMNS, row, strict=True))
    ]


COMMANDS: tuple[Command, ...] = (
    Command(
        "show resolvers",
        "[id] : dumps counters from all resolvers section and associated name servers",
        Level.USER,
        show_resolvers,
    ),
)
