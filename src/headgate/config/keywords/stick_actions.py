"""Reads the actions that track and count entries of stick tables (manual 4.4): `track-sc*` and the `sc-*` actions.

Not a family of its own: `rules` adds the rows.
"""

from __future__ import annotations

from headgate.config.actions import Action, ChangeCounter, Ruleset, TrackCounter
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft
from headgate.config.expression import SampleExpression
from headgate.config.parse_arguments import parse_arguments
from headgate.config.parse_expression import read_expression

#: Of `tune.stick-counters`, and what it is without that line.
MOST_COUNTERS = 100
DEFAULT_COUNTERS = 3
_LARGEST = 0xFFFFFFFF


def _counters(draft: ProxyDraft) -> int:
    count: int = draft.config.global_.settings.value("tune.stick-counters", DEFAULT_COUNTERS)
    return count


def _slot(cursor: Cursor, word: Word, text: str, draft: ProxyDraft) -> int:
    """The number of a sticky counter."""
    most = _counters(draft)
    if not text.isdecimal() or len(text) > 4:
        raise cursor.wrong(word, f"'{word.text}': the sticky counter must be a number, not '{text}'")
    if int(text) >= most:
        reason = f"{text} track-sc number exceeding {most - 1} (tune.stick-counters-1) value"
        raise cursor.wrong(word, reason, remedy="raise 'tune.stick-counters' in a global section above this one")
    return int(text)


def read_track(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> TrackCounter:
    """`track-sc<n> <key> [table <table>]`; the cursor stands behind the name."""
    word = cursor.last
    slot = _slot(cursor, word, word.text.removeprefix("track-sc"), draft)
    expression = read_expression(cursor)
    table = cursor.next("a table name").text if cursor.take("table") is not None else None
    return TrackCounter(slot, expression, table, word.location)


def _numbers(cursor: Cursor, draft: ProxyDraft, names: tuple[str, ...]) -> list[int]:
    """The numbers in the parentheses of the word that the cursor stands on (behind it, when there are none)."""
    before = cursor.last
    word = before if before.text.startswith("sc-") else cursor.next("an action in parentheses")
    opening = word.text.find("(")
    action = word.text if opening < 0 else word.text[:opening]
    form = f"{action}({','.join(names)})"
    arguments, end = parse_arguments(word, opening) if opening >= 0 else ((), 0)
    if end != len(word.text) or len(arguments) != len(names):
        raise cursor.wrong(word, f"'{action}' expects {' and '.join(names)} in parentheses", remedy=f"write '{form}'")
    numbers = [_slot(cursor, word, arguments[-1].strip(), draft)]
    if len(names) == 2:
        index = arguments[0].strip()
        if not index.isdecimal() or int(index[:5]) > 99:
            raise cursor.wrong(word, f"'{action}': the index must be from 0 to 99, not '{index}'")
        numbers.insert(0, int(index))
    return numbers


def _value(cursor: Cursor) -> int | SampleExpression:
    if (cursor.peek() or "")[:1].isdigit():
        return cursor.integer("a value", 0, _LARGEST)
    return read_expression(cursor, "a number or a sample expression")


def read_increment(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Action:
    """`sc-inc-gpc(<idx>,<sc-id>)`."""
    index, slot = _numbers(cursor, draft, ("<idx>", "<sc-id>"))
    return ChangeCounter("inc", "gpc", index, slot, 1)


def read_increment_0(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Action:
    """`sc-inc-gpc0(<sc-id>)`."""
    return ChangeCounter("inc", "gpc0", 0, _numbers(cursor, draft, ("<sc-id>",))[0], 1)


def read_increment_1(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Action:
    """`sc-inc-gpc1(<sc-id>)`."""
    return ChangeCounter("inc", "gpc1", 0, _numbers(cursor, draft, ("<sc-id>",))[0], 1)


def read_add(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Action:
    """`sc-add-gpc(<idx>,<sc-id>) {<int> | <expr>}`."""
    index, slot = _numbers(cursor, draft, ("<idx>", "<sc-id>"))
    return ChangeCounter("add", "gpc", index, slot, _value(cursor))


def read_set_tag(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Action:
    """`sc-set-gpt(<idx>,<sc-id>) {<int> | <expr>}`."""
    index, slot = _numbers(cursor, draft, ("<idx>", "<sc-id>"))
    return ChangeCounter("set", "gpt", index, slot, _value(cursor))


def read_set_tag_0(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Action:
    """`sc-set-gpt0(<sc-id>) {<int> | <expr>}`."""
    slot = _numbers(cursor, draft, ("<sc-id>",))[0]
    return ChangeCounter("set", "gpt0", 0, slot, _value(cursor))
