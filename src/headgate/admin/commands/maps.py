"""Commands about the lists that maps and ACLs look into (management manual 9.3: "show map", "add acl" and their kin)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Handler, Level, Scope
from headgate.base.diagnostics import ConfigError
from headgate.base.records import dataclass
from headgate.plan.references import Entry, Reference, quoted, unquoted
from headgate.plan.views import View

#: A "version" that says: as a rule does it, so that it may be said twice; key and value are quoted (`References.repeat`).
_BY_RULE = "@="


@dataclass(frozen=True, slots=True)
class _Kind:
    """Maps or ACLs: the word of the commands, how messages call it, and which lists it shows."""

    word: str
    called: str
    shows: Callable[[Reference], bool]


_MAP = _Kind("map", "map", lambda reference: reference.is_map)
_ACL = _Kind("acl", "ACL", lambda reference: reference.is_acl)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _find(kind: _Kind, text: str, context: Context) -> Reference:
    found = context.references.find(text)
    if found is None or not kind.shows(found):
        raise CommandError(f"Unknown {kind.called} identifier. Please use #<id> or <file>.")
    return found


def _version(words: Sequence[str]) -> tuple[int | None, Sequence[str]]:
    """The version in front of the words, None when there is none, and the words behind it."""
    if not words or not words[0].startswith("@"):
        return None, words
    digits = words[0][1:]
    if not digits.isdecimal() or int(digits) >= 1 << 32:
        raise CommandError("A version is a number: '@' followed by one that 'prepare' answered.")
    return int(digits), words[1:]


def _check(reference: Reference, key: bytes, value: bytes | None) -> None:
    """Raise CommandError for an entry that one of those who look into the list can't take."""
    for view in reference.followers:
        assert isinstance(view, View)
        try:
            view.check_key(key, None)
        except ConfigError as error:
            if view.method == "ip":
                raise CommandError(f"'{_shown(key)}' is not a valid IPv4 or IPv6 address.") from None
            raise CommandError(f"{error.diagnostic.message}.") from None
        try:
            view.check_value(value, None)
        except ConfigError:
            raise CommandError(f"unable to parse '{_shown(value or b'')}'.") from None


# --- showing ---------------------------------------------------------------------------------------------------------


def _description(reference: Reference) -> str:
    described = reference.described
    if reference.name:
        uses = [f"{kind} at file '{file}' line {line}" for file, line, kind in sorted(reference.users)]
        described = f"pattern loaded from file '{reference.name}' used by {', by '.join(uses)}"
    versions = f"curr_ver={reference.current} next_ver={reference.next} entry_cnt={reference.count}"
    return f"{reference.id} ({reference.name}) {described}. {versions}"


def _line(reference: Reference, entry: Entry, version: int) -> str:
    line = f"0x{reference.number_of(entry, version):x} {_shown(entry.key)}"
    return line if entry.value is None else f"{line} {_shown(entry.value)}"


def _show(kind: _Kind) -> Handler:
    def show(words: Sequence[str], context: Context) -> str:
        version, rest = _version(words)
        if not rest:
            if version is not None:
                raise CommandError(f"Missing {kind.called} identifier.")
            lists = [_description(one) for one in context.references if kind.shows(one)]
            return "\n".join(["# id (file) description", *lists])
        reference = _find(kind, rest[0], context)
        chosen = reference.current if version is None else version
        return "\n".join([_line(reference, entry, chosen) for entry in reference.entries(chosen)])

    return show


def _explained(kind: _Kind, view: View, text: bytes) -> str:
    case = "insensitive" if view.ignore_case else "sensitive"
    entry = view.explain(text)
    found = "found" if kind is _MAP else "match"
    line = f"type={view.method}, case={case}, {found}={'no' if entry is None else 'yes'}"
    if entry is None:
        return line
    line += f", idx={'tree' if view.indexed else 'list'}"
    if kind is _ACL:
        return f'{line}, pattern="{_shown(entry.key)}"'
    line += f', key="{_shown(entry.key)}"'
    if view.output is None:
        return f"{line}, value=none"
    value = entry.value or b""
    return f'{line}, value="{_shown(value)}", type="{view.output.shown(view.output.parse(value, None))}"'


def _get(kind: _Kind) -> Handler:
    def look_up(words: Sequence[str], context: Context) -> str:
        if len(words) < 2:
            raise CommandError(f"Missing {kind.called} identifier and/or key.")
        reference = _find(kind, words[0], context)
        views = [view for view in reference.followers if isinstance(view, View)]
        return "\n".join([_explained(kind, view, _bytes(words[1])) for view in views])

    return look_up


# --- changing --------------------------------------------------------------------------------------------------------


def _repeated(kind: _Kind, verb: str, words: Sequence[str], context: Context) -> str:
    """Do what a rule did in another process: `<#id> <quoted key> [<quoted value>]`. Another rule may have been faster.

    The answer is never empty, so that who asked knows that it arrived.
    """
    reference = _find(kind, words[0] if words else "", context)
    if len(words) < 2:
        raise CommandError("A key is expected.")
    key, value = unquoted(words[1]), unquoted(words[2]) if len(words) > 2 else None
    if verb == "del":
        reference.drop(key)
        return "Repeated."
    try:
        reference.put(key, value)
    except ConfigError as error:
        raise CommandError(error.diagnostic.message) from None
    return "Repeated."


def _add(reference: Reference, pairs: Sequence[tuple[bytes, bytes | None]], version: int | None) -> str:
    """Add entries, all or none: what fails here must not be half done, or the workers would not agree."""
    for pair in pairs:
        _check(reference, *pair)
    for key, value in pairs:
        reference.add(key, value, version)
    return ""


def _may_add(reference: Reference, version: int | None) -> None:
    if version is not None and not reference.has_version(version):
        raise CommandError(f"Version number in the future, please use 'prepare {'map' if reference.is_map else 'acl'}' before.")


_ADD_MAP = "'add map' expects three parameters (map identifier, key and value) or one parameter (map identifier) and a payload"


def add_map(words: Sequence[str], context: Context) -> str:
    """`add map [@<ver>] <map> <key> <value>`, or with a payload of lines of a key and a value."""
    if words and words[0] == _BY_RULE:
        return _repeated(_MAP, "add", words[1:], context)
    version, rest = _version(words)
    is_payload = len(rest) == 2 and any(one.isspace() for one in rest[1])
    if len(rest) < 3 and not is_payload:
        raise CommandError(_ADD_MAP)
    reference = _find(_MAP, rest[0], context)
    _may_add(reference, version)
    if not is_payload:
        return _add(reference, [(_bytes(rest[1]), _bytes(rest[2]))], version)
    pairs: list[tuple[bytes, bytes | None]] = []
    for line in rest[1].split("\n"):
        parts = line.strip().split(None, 1)
        if len(parts) == 1:
            raise CommandError(f"Missing value for key '{parts[0]}'.")
        if parts:
            pairs.append((_bytes(parts[0]), _bytes(parts[1].rstrip())))
    return _add(reference, pairs, version)


def add_acl(words: Sequence[str], context: Context) -> str:
    """`add acl [@<ver>] <acl> <pattern>`, or with a payload of patterns, one a line."""
    if words and words[0] == _BY_RULE:
        return _repeated(_ACL, "add", words[1:], context)
    version, rest = _version(words)
    if len(rest) < 2:
        raise CommandError("'add acl' expects two parameters: ACL identifier and pattern.")
    reference = _find(_ACL, rest[0], context)
    if reference.has_values:
        raise CommandError(
            "This ACL is shared with a map containing samples. You must use the command 'add map' to add values."
        )
    _may_add(reference, version)
    return _add(reference, [(_bytes(line.strip()), None) for line in rest[1].split("\n") if line.strip()], version)


def set_map(words: Sequence[str], context: Context) -> str:
    """`set map <map> [<key>|#<ref>] <value>`."""
    if words and words[0] == _BY_RULE:
        return _repeated(_MAP, "set", words[1:], context)
    if len(words) < 3:
        raise CommandError("'set map' expects three parameters: map identifier, key and value.")
    reference = _find(_MAP, words[0], context)
    value = _bytes(words[2])
    number = _number(words[1])
    if number is not None:
        numbered = reference.numbered(number)
        chosen: Sequence[Entry] = () if numbered is None else (numbered[1],)
        missing = "key or pattern not found."
    else:
        chosen = reference.equal(_bytes(words[1]))
        missing = "entry not found."
    if not chosen:
        raise CommandError(missing)
    _check(reference, chosen[0].key, value)
    for entry in chosen:
        reference.change(entry, value)
    return ""


def _number(text: str) -> int | None:
    """The number of `#0x<ref>`; None when it is a key."""
    if not text.startswith("#"):
        return None
    try:
        return int(text[1:], 16)
    except ValueError:
        return None


def _delete(kind: _Kind) -> Handler:
    def delete(words: Sequence[str], context: Context) -> str:
        if words and words[0] == _BY_RULE:
            return _repeated(kind, "del", words[1:], context)
        if len(words) < 2:
            raise CommandError(f"This command expects two parameters: {kind.called} identifier and key.")
        reference = _find(kind, words[0], context)
        number = _number(words[1])
        if number is None:
            if not reference.drop(_bytes(words[1])):
                raise CommandError("Key not found.")
            return ""
        numbered = reference.numbered(number)
        if numbered is None:
            raise CommandError("Key not found.")
        reference.remove(numbered[1], numbered[0])
        return ""

    return delete


def _clear(kind: _Kind) -> Handler:
    def clear(words: Sequence[str], context: Context) -> str:
        version, rest = _version(words)
        if not rest:
            raise CommandError(f"Missing {kind.called} identifier.")
        _find(kind, rest[0], context).clear(version)
        return ""

    return clear


def _for_maps_only(kind: _Kind, verb: str, reference: Reference) -> None:
    """The manual: "This command cannot be used if the reference is a name also used as a map"."""
    if kind is _ACL and reference.is_map:
        raise CommandError(f"This ACL is shared with a map. You must use the command '{verb} map'.")


def _prepare(kind: _Kind) -> Handler:
    def prepare(words: Sequence[str], context: Context) -> str:
        reference = _find(kind, words[0] if words else "", context)
        _for_maps_only(kind, "prepare", reference)
        return f"New version created: {reference.prepare()}"

    return prepare


def _commit(kind: _Kind) -> Handler:
    def commit(words: Sequence[str], context: Context) -> str:
        version, rest = _version(words)
        if version is None:
            raise CommandError("Missing version number.")
        reference = _find(kind, rest[0] if rest else "", context)
        _for_maps_only(kind, "commit", reference)
        if not reference.commit(version):
            raise CommandError("Version number out of range.")
        return ""

    return commit


def _about(*verb: str) -> Callable[[Sequence[str]], tuple[str, ...] | None]:
    """What a change of an entry is about, for those who come later: the list and the key, so that only the last state is told.

    Versions, and payloads of many lines, are told as they came.
    """

    def key(words: Sequence[str]) -> tuple[str, ...] | None:
        if words and words[0] == _BY_RULE:
            return ("pattern", *words[1:3])
        if len(words) < 2 or words[0].startswith("@") or any(one.isspace() for one in words[1]):
            return None
        return ("pattern", words[0], _place_of(words[1]), *verb)

    return key


def _place_of(word: str) -> str:
    """A key as rules' changes quote it; `#<ref>` stands for itself."""
    return word if _number(word) is not None else quoted(_bytes(word))


def _added(words: Sequence[str]) -> tuple[str, ...] | None:
    """As `_about`; a key may have several values."""
    about = _about("add")(words)
    return about if about is None or words[0] == _BY_RULE else (*about, *words[2:3])


def _whole(words: Sequence[str]) -> tuple[str, ...] | None:
    """`clear` without a version makes all earlier changes of entries meaningless."""
    return None if not words or words[0].startswith("@") else ("pattern", words[0])


def _always(_: Sequence[str]) -> None:
    """Versions are counted: all of these count, in their order."""


def _change(name: str, usage: str, handler: Handler, key: Callable[[Sequence[str]], tuple[str, ...] | None]) -> Command:
    return Command(name, usage, Level.ADMIN, handler, Scope.EVERYWHERE, key=key)


_ENTRY = "[<key>|#<ref>]"
COMMANDS = (
    Command("show map", "[@<ver>] [<map>] : report available maps or dump a map's contents", Level.USER, _show(_MAP)),
    Command("show acl", "[@<ver>] [<acl>] : report available acls or dump an acl's contents", Level.USER, _show(_ACL)),
    Command("get map", "<map> <value> : report the keys and values matching a sample for a map", Level.USER, _get(_MAP)),
    Command("get acl", "<acl> <value> : report the patterns matching a sample for an ACL", Level.USER, _get(_ACL)),
    _change("add map", "[@<ver>] <map> <key> <val> : add a map entry (payload supported instead of key/val)", add_map, _added),
    _change("add acl", "[@<ver>] <acl> <pattern> : add an acl entry", add_acl, _added),
    _change("set map", f"<map> {_ENTRY} <value> : modify a map entry", set_map, _about("set")),
    _change("del map", f"<map> {_ENTRY} : delete map entries matching <key>", _delete(_MAP), _about()),
    _change("del acl", f"<acl> {_ENTRY} : delete acl entries matching <key>", _delete(_ACL), _about()),
    _change("clear map", "[@<ver>] <map> : clear the contents of this map", _clear(_MAP), _whole),
    _change("clear acl", "[@<ver>] <acl> : clear the contents of this acl", _clear(_ACL), _whole),
    _change("prepare map", "<map> : prepare a new version for atomic map replacement", _prepare(_MAP), _always),
    _change("prepare acl", "<acl> : prepare a new version for atomic ACL replacement", _prepare(_ACL), _always),
    _change("commit map", "@<ver> <map> : commit the map at this version", _commit(_MAP), _always),
    _change("commit acl", "@<ver> <acl> : commit the ACL at this version", _commit(_ACL), _always),
)
