"""ACL definitions and conditions (manual 7.1, 7.2, 7.4) -> expression.AclDefinition, expression.Condition.

Syntax only. That a named ACL exists is checked by `resolve`; what a fetch yields and how it is matched is known to `plan`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from headgate.base.diagnostics import NOWHERE, ConfigError, Location, Report, config_error
from headgate.base.regex import regex
from headgate.config.cursor import Cursor, Word
from headgate.config.expression import AclDefinition, AclReference, Condition, Criterion, Pattern, Term
from headgate.config.parse_expression import parse_expression
from headgate.config.spans import piece_of

ACL_NAME = regex(r"[A-Za-z0-9_.:-]+")

MATCH_METHODS = ("found", "bool", "int", "ip", "bin", "len", "str", "sub", "reg", "beg", "end", "dir", "dom")

_FLAGS = ("-i", "-f", "-m", "-n", "-M", "-u", "--")
_OR = ("or", "||")

#: 7.4, as written there.
_PREDEFINED = """
FALSE always_false
HTTP req.proto_http
HTTP_1.0 req.ver 1.0
HTTP_1.1 req.ver 1.1
HTTP_2.0 req.ver 2.0
HTTP_3.0 req.ver 3.0
HTTP_CONTENT req.hdr_val(content-length) gt 0
HTTP_URL_ABS url_reg ^[^/:]*://
HTTP_URL_SLASH url_beg /
HTTP_URL_STAR url *
LOCALHOST src 127.0.0.1/8 ::1
METH_CONNECT method CONNECT
METH_DELETE method DELETE
METH_GET method GET HEAD
METH_HEAD method HEAD
METH_OPTIONS method OPTIONS
METH_POST method POST
METH_PUT method PUT
METH_TRACE method TRACE
RDP_COOKIE req.rdp_cookie_cnt gt 0
REQ_CONTENT req.len gt 0
TRUE always_true
WAIT_END wait_end
"""


@functools.cache
def predefined_acls() -> dict[str, AclDefinition]:
    """The ACLs that exist without being declared (7.4), by name. A definition of the same name takes their place."""
    found = {}
    for line in _PREDEFINED.split("\n")[1:-1]:
        name, *rest = line.split(" ")
        words = [Word(text, NOWHERE) for text in rest]
        found[name] = AclDefinition(name, parse_criterion(words, NOWHERE), NOWHERE)
    return found


def parse_acl(cursor: Cursor) -> AclDefinition:
    """Read what stands behind `acl`: `<name> <criterion> [flags] [operator] <value>...`.

    Raises:
        ConfigError: a bad name, expression or flag.
    """
    name = cursor.next("an ACL name")
    if not ACL_NAME.fullmatch(name.text):
        raise cursor.wrong(name, f"ACL name '{name.text}' may only have letters, digits, '-', '_', '.' and ':'")
    if name.text in _OR:
        raise cursor.wrong(name, "an ACL can't be called 'or': the word joins the tests of a condition")
    criterion = parse_criterion(cursor.rest, cursor.end)
    cursor.take_all()
    return AclDefinition(name.text, criterion, name.location)


def parse_criterion(words: Sequence[Word], end: Location) -> Criterion:
    """Parse `<expression> [flags] [operator] <value>...`: what stands behind an ACL's name or between braces.

    Args:
        words: all of it.
        end: the place behind the last word, for "missing" errors.
    """
    if not words:
        raise config_error("an ACL expects a sample fetch", end, remedy="for example 'path_beg /static'")
    expression = parse_expression(words[0])
    cursor = Cursor(words, Report(), 1)
    ignore_case = no_resolve = is_map = False
    method: str | None = None
    identifier: int | None = None
    files: list[Pattern] = []
    maps: list[Pattern] = []
    while (flag := cursor.take(*_FLAGS)) is not None:
        if flag.text == "--":
            break
        if flag.text == "-i":
            if files or maps:
                raise cursor.wrong(flag, "'-i' behind '-f' is not yet supported", remedy="write '-i' in front of '-f'")
            ignore_case = True
        elif flag.text == "-n":
            no_resolve = True
        elif flag.text == "-M":
            is_map = True
        elif flag.text == "-f":
            file = _flag_value(cursor, flag, "a file name")
            (maps if is_map else files).append(Pattern(file.text, file.location))
        elif flag.text == "-u":
            identifier = cursor.integer("the unique id behind '-u'", 0)
        else:
            method = _match_method(cursor, flag, method, bool(files or maps))
    else:
        _refuse_unknown_flag(cursor)
    patterns = tuple(Pattern(word.text, word.location) for word in cursor.take_all())
    return Criterion(
        expression, ignore_case, method, tuple(files), tuple(maps), identifier, no_resolve, patterns, words[0].location
    )


def _flag_value(cursor: Cursor, flag: Word, what: str) -> Word:
    if not cursor.more:
        raise config_error(f"'{flag.text}' expects {what}", cursor.end)
    return cursor.next(what)


def _match_method(cursor: Cursor, flag: Word, known: str | None, has_files: bool) -> str:
    word = _flag_value(cursor, flag, "a matching method")
    if word.text not in MATCH_METHODS:
        raise cursor.wrong(word, f"unknown matching method '{word.text}'", allowed=MATCH_METHODS)
    if known is not None:
        raise cursor.wrong(flag, f"'-m' stands twice: the matching method is '{known}' already")
    if has_files:
        raise cursor.wrong(flag, "'-m' must stand in front of '-f'")
    return word.text


def _refuse_unknown_flag(cursor: Cursor) -> None:
    """A word with a dash is a flag unless it is a number: `-i` misspelled must not become a pattern."""
    text = cursor.peek()
    if text is not None and len(text) == 2 and text[0] == "-" and text[1].isalpha():
        remedy = f"if it is a pattern, write '-- {text}'"
        raise cursor.wrong(cursor.next("a flag"), f"unknown ACL flag '{text}'", allowed=_FLAGS, remedy=remedy)


def read_condition(cursor: Cursor) -> Condition | None:
    """Read `if <condition>` or `unless <condition>` up to the end of the line, or nothing at its end.

    Raises:
        ConfigError: another word stands there, or the condition can't be parsed.
    """
    if not cursor.more:
        return None
    word = cursor.next("'if' or 'unless'")
    if word.text not in ("if", "unless"):
        raise cursor.wrong(word, f"'{cursor.title}' does not take '{word.text}' here", allowed=("if", "unless"))
    return read_condition_behind(cursor, word)


def read_condition_behind(cursor: Cursor, word: Word) -> Condition:
    """Read a condition whose `if` or `unless` was read already (`word`)."""
    alternatives: list[tuple[Term, ...]] = []
    terms: list[Term] = []
    while cursor.more:
        joint = cursor.take(*_OR)
        if joint is not None:
            if not terms:
                raise cursor.wrong(joint, f"a test is missing in front of '{joint.text}'")
            alternatives.append(tuple(terms))
            terms = []
            if not cursor.more:
                raise config_error(f"a test is missing behind '{joint.text}'", cursor.end)
            continue
        terms.append(_read_term(cursor))
    if not terms:
        raise config_error(f"'{word.text}' expects a condition", cursor.end, remedy="an ACL's name, or '{ <expression> ... }'")
    alternatives.append(tuple(terms))
    return Condition(word.text == "unless", tuple(alternatives), word.location)


def _read_term(cursor: Cursor) -> Term:
    negated = False
    word = cursor.next("a test")
    start = 0
    while word.text.startswith("!", start):
        negated = not negated
        start += 1
        if start == len(word.text):
            if not cursor.more:
                raise config_error("a test is missing behind '!'", cursor.end)
            word, start = cursor.next("a test"), 0
    name = word.text[start:]
    if name == "{":
        return Term(negated, _read_anonymous(cursor, word))
    place = piece_of(word, start, len(word.text))
    if name in _OR:
        raise config_error(f"a test is missing in front of '{name}'", place)
    if not ACL_NAME.fullmatch(name):
        raise _not_a_name(name, place)
    return Term(negated, AclReference(name, place))


def _read_anonymous(cursor: Cursor, brace: Word) -> Criterion:
    words: list[Word] = []
    while cursor.more:
        word = cursor.next("a word")
        if word.text == "}":
            if not words:
                raise config_error("nothing stands between the braces", brace.location)
            return parse_criterion(words, word.location)
        words.append(word)
    remedy = "the braces are words of their own: a space stands before and after each"
    raise config_error("the brace is never closed", brace.location, remedy=remedy)


def _not_a_name(name: str, place: Location) -> ConfigError:
    if "{" in name or "}" in name:
        return config_error(f"'{name}' is not a test", place, remedy="a space stands before and after each brace: '{ path / }'")
    remedy = "an expression stands in braces: '{ path_beg / }'" if "(" in name or "/" in name else None
    return config_error(f"'{name}' is not an ACL name", place, remedy=remedy)
