"""Reads the actions about where a connection goes (manual 4.4): `do-resolve`, `set-dst`, `set-dst-port`.

Not a family of its own: `rules` adds the rows.
"""

from __future__ import annotations

from headgate.config.actions import DoResolve, Ruleset, SetDestination
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft
from headgate.config.keywords.actions_readers import variable_name
from headgate.config.parse_arguments import parse_arguments
from headgate.config.parse_expression import read_expression
from headgate.config.spans import piece_of

_FAMILIES = {"ipv4": 4, "ipv6": 6}
_FORM = "do-resolve(<var>,<resolvers>[,ipv4|ipv6])"


def read_do_resolve(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> DoResolve:
    """`do-resolve(<var>,<resolvers>[,ipv4|ipv6]) <expr>`."""
    before = cursor.last
    word = before if before.text == "do-resolve" else cursor.next("an action in parentheses")
    opening = word.text.find("(")
    arguments, end = parse_arguments(word, opening) if opening >= 0 else ((), 0)
    if end != len(word.text) or len(arguments) not in (2, 3):
        reason = "'do-resolve' expects a variable, the name of a resolvers section and perhaps a family in parentheses"
        raise cursor.wrong(word, reason, remedy=f"write '{_FORM}'")
    variable, section, *family = _placed(word, opening, arguments)
    scope, name = variable_name(cursor, variable, variable.text)
    if not section.text:
        raise cursor.wrong(section, "the name of a resolvers section is missing", remedy=f"write '{_FORM}'")
    prefer = 6  # as `resolve-prefer` has it (5.2)
    for one in family:
        if one.text not in _FAMILIES:
            raise cursor.wrong(one, f"unknown address family '{one.text}'", allowed=tuple(_FAMILIES))
        prefer = _FAMILIES[one.text]
    return DoResolve(scope, name, section.text, prefer, read_expression(cursor), section.location)


def _placed(word: Word, opening: int, arguments: tuple[str, ...]) -> list[Word]:
    """Arguments without the spaces around them, each with its own place where it stands in the word as it is."""
    placed, at = [], opening + 1
    for argument in arguments:
        text = argument.strip()
        found = word.text.find(text, at)
        place = word.location if found < 0 else piece_of(word, found, found + max(len(text), 1))
        placed.append(Word(text, place))
        at = max(found, at) + len(text) + 1
    return placed


def set_address(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetDestination:
    """`set-dst <expr>`."""
    return SetDestination("address", read_expression(cursor))


def set_port(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetDestination:
    """`set-dst-port <expr>`."""
    return SetDestination("port", read_expression(cursor))
