"""Converters of strings (manual 7.3.1): case, parts, trimming, substitution, variables."""

from __future__ import annotations

import re
from collections.abc import Callable

from headgate.base.diagnostics import NOWHERE, config_error
from headgate.plan.facts import Stream, Value
from headgate.plan.fetches.http_fields import split_list
from headgate.plan.patterns import compile_regex, expand, parse_substitution
from headgate.plan.registry import Argument, converter, pure
from headgate.plan.samples import Convert, Run, Type, cast
from headgate.plan.scope import Scope
from headgate.plan.variables import check_name, reader, setter

STRING, INTEGER = Argument.STRING, Argument.INTEGER

pure("lower", takes=Type.STR, result=Type.STR, convert=lambda value: value.lower())
pure("upper", takes=Type.STR, result=Type.STR, convert=lambda value: value.upper())
pure("length", takes=Type.STR, result=Type.SINT, convert=len)
pure("reverse", takes=Type.STR, result=Type.STR, convert=lambda value: value[::-1])
pure("reverse_dom", takes=Type.STR, result=Type.STR, convert=lambda value: b".".join(reversed(value.split(b"."))))


def _until_line_end(value: bytes) -> bytes:
    return re.split(rb"[\r\n]", value, maxsplit=1)[0]


pure("cut_crlf", takes=Type.STR, result=Type.STR, convert=_until_line_end)


@converter("ltrim", takes=Type.STR, result=Type.STR, arguments=(STRING,))
def ltrim(scope: Scope, characters: bytes) -> Convert:
    return lambda value: value.lstrip(characters)


@converter("rtrim", takes=Type.STR, result=Type.STR, arguments=(STRING,))
def rtrim(scope: Scope, characters: bytes) -> Convert:
    return lambda value: value.rstrip(characters)


# --- parts -----------------------------------------------------------------------------------------------------------


def _fields(delimiters: bytes, *, words: bool) -> Callable[[bytes], list[tuple[int, int]]]:
    """Spans of the fields of a value; `words`: empty ones do not count."""
    one = re.compile(b"[" + re.escape(delimiters) + b"]")

    def spans(value: bytes) -> list[tuple[int, int]]:
        found, start = [], 0
        for match in one.finditer(value):
            found.append((start, match.start()))
            start = match.end()
        found.append((start, len(value)))
        return [(begin, end) for begin, end in found if end > begin] if words else found

    return spans


def _part(scope: Scope, index: int, delimiters: bytes, count: int | None, *, words: bool) -> Convert:
    if index == 0:
        raise config_error("fields count from 1, or from -1 at the end", None)
    if not delimiters:
        raise config_error("there must be a delimiter", None)
    if count is not None and count < 0:
        raise config_error("the number of fields can't be negative", None)
    number = 1 if count is None else count
    spans_of = _fields(delimiters, words=words)

    def part(value: bytes) -> Value:
        spans = spans_of(value)
        position = index - 1 if index > 0 else len(spans) + index
        if not 0 <= position < len(spans):
            return b"" if not words else None
        if index > 0:
            last = len(spans) - 1 if number == 0 else min(position + number, len(spans)) - 1
            return value[spans[position][0] : spans[last][1]]
        # From the end the fields in front are taken: field(-2,_,3) ends at the second last one.
        first = 0 if number == 0 else max(position - number + 1, 0)
        return value[spans[first][0] : spans[position][1]]

    return part


@converter("field", takes=Type.STR, result=Type.STR, arguments=(INTEGER, STRING, INTEGER), required=2)
def field(scope: Scope, index: int, delimiters: bytes, count: int | None) -> Convert:
    return _part(scope, index, delimiters, count, words=False)


@converter("word", takes=Type.STR, result=Type.STR, arguments=(INTEGER, STRING, INTEGER), required=2)
def word(scope: Scope, index: int, delimiters: bytes, count: int | None) -> Convert:
    return _part(scope, index, delimiters, count, words=True)


def number_or_variable(text: bytes) -> Run:
    """An argument that is an integer or a variable's name."""
    if re.fullmatch(rb"-?[0-9]+", text) is not None:
        constant = int(text)
        return lambda stream: constant
    place, key = check_name(text.decode("latin-1"), NOWHERE)
    read, convert = reader(place, key), cast(Type.ANY, Type.SINT)
    assert convert is not None
    return lambda stream: None if (value := read(stream)) is None else convert(value)


@converter("bytes", takes=Type.BIN, result=Type.BIN, arguments=(STRING, STRING), required=1, live=True)
def bytes_(scope: Scope, offset: bytes, length: bytes | None) -> Callable[[Stream, bytes], Value]:
    start_of = number_or_variable(offset)
    length_of = number_or_variable(length) if length else None

    def cut(stream: Stream, value: bytes) -> Value:
        start = start_of(stream)
        size = len(value) if length_of is None else length_of(stream)
        if not isinstance(start, int) or not isinstance(size, int) or not 0 <= start < len(value) or size < 0:
            return b""
        return value[start : start + size]

    return cut


@converter("param", takes=Type.STR, result=Type.STR, arguments=(STRING, STRING), required=1)
def param(scope: Scope, name: bytes, delimiter: bytes | None) -> Convert:
    mark = delimiter or b"&"
    if re.fullmatch(rb"0x[0-9A-Fa-f]{2}", mark) is not None:
        mark = bytes([int(mark, 16)])
    if len(mark) != 1:
        raise config_error("the delimiter must be one character, or 0x and two hexadecimal digits", None)

    def find(value: bytes) -> Value:
        for pair in value.split(mark):
            found, _, text = pair.partition(b"=")
            if found == name:
                return text
        return None

    return find


@converter("regsub", takes=Type.STR, result=Type.STR, arguments=(Argument.REGEX, STRING, STRING), required=2)
def regsub(scope: Scope, pattern: str, replacement: bytes, flags: bytes | None) -> Convert:
    letters = set((flags or b"").decode("latin-1"))
    if letters - {"g", "i"}:
        raise config_error(f"the flags of 'regsub' are g and i, not '{''.join(sorted(letters - {'g', 'i'}))}'", None)
    compiled = compile_regex(pattern, None, ignore_case="i" in letters)
    parts, count = parse_substitution(replacement), 0 if "g" in letters else 1
    return lambda value: compiled.sub(lambda match: expand(parts, match), value, count=count)


@converter("language", takes=Type.STR, result=Type.STR, arguments=(STRING, STRING), required=1)
def language(scope: Scope, values: bytes, default: bytes | None) -> Convert:
    known = [item.strip(b" ") for item in values.split(b";") if item.strip(b" ")]

    def choose(value: bytes) -> Value:
        best, best_quality = default, 0.0
        for item in split_list(value):
            name, _, parameters = item.partition(b";")
            quality = _quality(parameters)
            name = name.strip(b" \t")
            found = name if name in known else name.partition(b"-")[0]
            if found in known and quality > best_quality:
                best, best_quality = found, quality
        return best

    return choose


def _quality(parameters: bytes) -> float:
    match = re.search(rb"(?:^|;)\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)", parameters)
    return 1.0 if match is None else float(match[1])


# --- variables and slots ---------------------------------------------------------------------------------------------


def text_reader(name: bytes) -> Run:
    """A variable's value as text."""
    place, key = check_name(name.decode("latin-1"), NOWHERE)
    read, convert = reader(place, key), cast(Type.ANY, Type.STR)
    assert convert is not None
    return lambda stream: None if (value := read(stream)) is None else convert(value)


@converter("concat", takes=Type.STR, result=Type.STR, arguments=(STRING, STRING, STRING), required=0, live=True)
def concat(scope: Scope, start: bytes | None, variable: bytes | None, end: bytes | None) -> Callable[[Stream, bytes], Value]:
    before, behind = start or b"", end or b""
    if not variable:
        return lambda stream, value: value + before + behind
    read = text_reader(variable)

    def join(stream: Stream, value: bytes) -> Value:
        middle = read(stream)
        return value + before + (middle if isinstance(middle, bytes) else b"") + behind

    return join


@converter("add_item", takes=Type.STR, result=Type.STR, arguments=(STRING, STRING, STRING), required=1, live=True)
def add_item(scope: Scope, delimiter: bytes, variable: bytes | None, suffix: bytes | None) -> Callable[[Stream, bytes], Value]:
    if not variable and not suffix:
        raise config_error("'add_item' needs a variable or a suffix", None)
    read = text_reader(variable) if variable else None
    behind = suffix or b""

    def join(stream: Stream, value: bytes) -> Value:
        middle = None if read is None else read(stream)
        item = (middle if isinstance(middle, bytes) else b"") + behind
        return value + (delimiter if value and item else b"") + item

    return join


@converter("strcmp", takes=Type.STR, result=Type.SINT, arguments=(STRING,), live=True)
def strcmp(scope: Scope, variable: bytes) -> Callable[[Stream, bytes], Value]:
    read = text_reader(variable)

    def compare(stream: Stream, value: bytes) -> Value:
        other = read(stream)
        if not isinstance(other, bytes):
            return None
        return (value > other) - (value < other)

    return compare


@converter("set-var", takes=Type.ANY, result=None, arguments=(STRING,) * 5, required=1, live=True)
def set_var(scope: Scope, name: bytes, *conditions: bytes | None) -> Callable[[Stream, Value], Value]:
    # Actions compile expressions, which need the converters: the import at the top would be a circle.
    from headgate.plan.actions.settings import conditions_of

    place, key = check_name(name.decode("latin-1"), NOWHERE)
    tests = conditions_of(tuple(item.decode("latin-1") for item in conditions if item), NOWHERE)
    read, put = reader(place, key), setter(place, key)

    def assign(stream: Stream, value: Value) -> Value:
        if not tests or all(test(read(stream), value) for test in tests):
            put(stream, value)
        return value

    return assign


@converter("unset-var", takes=Type.ANY, result=None, arguments=(STRING,), live=True)
def unset_var(scope: Scope, name: bytes) -> Callable[[Stream, Value], Value]:
    place, key = check_name(name.decode("latin-1"), NOWHERE)
    put = setter(place, key)

    def remove(stream: Stream, value: Value) -> Value:
        put(stream, None)
        return value

    return remove


def _capture(name: str, *, response: bool) -> None:
    @converter(name, takes=Type.STR, result=Type.STR, arguments=(INTEGER,), live=True)
    def compile_(scope: Scope, slot: int) -> Callable[[Stream, bytes], Value]:
        from headgate.plan.actions.settings import capture_lengths, store_capture

        lengths = capture_lengths(scope, response=response)
        if not 0 <= slot < len(lengths):
            # "If the slot doesn't exist, the capture fails silently."
            return lambda stream, value: value
        length = lengths[slot]

        def store(stream: Stream, value: bytes) -> Value:
            store_capture(stream, slot, value[:length], response=response)
            return value

        return store


_capture("capture-req", response=False)
_capture("capture-res", response=True)
