"""Actions on fields and start lines: `set-header`, `add-header`, `del-header`, `replace-*`, `set-path`..., `set-status`.

What a format computes is escaped by `logformat` (no CR, LF or NUL gets into a field); what goes into a request line is checked
here, since a space or a control character there would be a second request for the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from headgate.base.diagnostics import Location, config_error
from headgate.config.actions import (
    AddHeader,
    DeleteHeader,
    ReplaceHeader,
    ReplaceRequestPart,
    SetHeader,
    SetRequestPart,
    SetStatus,
)
from headgate.config.expression import LogFormat
from headgate.plan.actions.registry import Act, action
from headgate.plan.facts import Stream
from headgate.plan.fetches.http_fields import split_target
from headgate.plan.logformat import Use, compile_format, constant_of, escape_field
from headgate.plan.matchers import METHODS, Text
from headgate.plan.patterns import compile_regex, expand, parse_substitution
from headgate.plan.places import RESPONSE_PLACES
from headgate.plan.replies import reason_of
from headgate.plan.scope import Scope
from headgate.wire.http1.heads import RequestHead, ResponseHead, make_field, valid_name, valid_value

Head = Callable[[Stream], "RequestHead | ResponseHead | None"]


def _request(stream: Stream) -> RequestHead | None:
    return stream.request


def _response(stream: Stream) -> ResponseHead | None:
    return stream.response


def _side(scope: Scope) -> Head:
    return _response if scope.place & RESPONSE_PLACES else _request


def header_name(text: str, location: Location) -> bytes:
    """A field name, checked.

    Raises:
        ConfigError: it holds what no field name may.
    """
    name = text.encode("utf-8", "surrogateescape")
    if not valid_name(name):
        raise config_error(f"'{text}' is not a valid header name", location)
    return name


def compile_value(format_: LogFormat, scope: Scope, location: Location) -> bytes | Callable[[Stream], bytes]:
    """A field's value: bytes when it is constant, else its formatter.

    Raises:
        ConfigError: see `compile_format`.
    """
    constant = constant_of(format_)
    if constant is None:
        return compile_format(format_, scope, Use.HEADER)
    if not valid_value(constant):
        raise config_error("a header value may not hold control characters", location)
    return constant


@action(SetHeader)
def set_header(rule: SetHeader, scope: Scope, location: Location) -> Act:
    name, value, head_of = header_name(rule.name, location), compile_value(rule.value, scope, location), _side(scope)
    lower = name.lower()
    if isinstance(value, bytes):
        field = make_field(name, value)

        def set_constant(stream: Stream) -> None:
            head = head_of(stream)
            if head is not None:
                head.remove(lower)
                head.append(field)

        return set_constant

    def set_computed(stream: Stream) -> None:
        head = head_of(stream)
        if head is not None:
            # Computed first: the value may come from the field that is replaced.
            text = value(stream)
            head.remove(lower)
            head.append(make_field(name, text))

    return set_computed


@action(AddHeader)
def add_header(rule: AddHeader, scope: Scope, location: Location) -> Act:
    name, value, head_of = header_name(rule.name, location), compile_value(rule.value, scope, location), _side(scope)
    if isinstance(value, bytes):
        field = make_field(name, value)

        def add_constant(stream: Stream) -> None:
            head = head_of(stream)
            if head is not None:
                head.append(field)

        return add_constant

    def add_computed(stream: Stream) -> None:
        head = head_of(stream)
        if head is not None:
            head.append(make_field(name, value(stream)))

    return add_computed


@action(DeleteHeader)
def delete_header(rule: DeleteHeader, scope: Scope, location: Location) -> Act:
    head_of = _side(scope)
    if rule.match_method == "str":
        lower = header_name(rule.name, location).lower()

        def delete_named(stream: Stream) -> None:
            head = head_of(stream)
            if head is not None:
                head.remove(lower)

        return delete_named
    method = METHODS.get(rule.match_method)
    if method is None or method.make is None:
        raise config_error(
            f"del-header can't match by '{rule.match_method}'", location, allowed=("str", "beg", "end", "sub", "reg"),
            written=rule.match_method,
        )
    matches = method.make([Text(rule.name.encode("utf-8", "surrogateescape"), True, location)])

    def delete_matching(stream: Stream) -> None:
        head = head_of(stream)
        if head is not None:
            kept = [field for field in head.fields if not matches(field.name)]
            if len(kept) != len(head.fields):
                head.fields = kept
                head.edited = True

    return delete_matching


def _compile_substitution(format_: LogFormat, scope: Scope) -> Callable[[Stream, re.Match[bytes]], bytes]:
    """The replacement: a format, in which `\\1` then stands for a group."""
    constant = constant_of(format_)
    if constant is not None:
        parts = parse_substitution(constant)
        return lambda stream, match: expand(parts, match)
    write = compile_format(format_, scope, Use.HEADER)
    return lambda stream, match: expand(parse_substitution(write(stream)), match)


@action(ReplaceHeader)
def replace_header(rule: ReplaceHeader, scope: Scope, location: Location) -> Act:
    lower = header_name(rule.name, location).lower()
    pattern = compile_regex(rule.pattern, location)
    substitution, head_of = _compile_substitution(rule.replacement, scope), _side(scope)

    def whole(stream: Stream, value: bytes) -> bytes:
        match = pattern.search(value)
        return value if match is None else value[: match.start()] + substitution(stream, match) + value[match.end() :]

    def each(stream: Stream, value: bytes) -> bytes:
        return b", ".join([whole(stream, part.strip(b" \t")) for part in value.split(b",")])

    replace = each if rule.each_value else whole

    def act(stream: Stream) -> None:
        head = head_of(stream)
        if head is None:
            return
        for index, field in enumerate(head.fields):
            if field.name == lower:
                value = replace(stream, field.value)
                if value != field.value:
                    head.fields[index] = make_field(field.line.partition(b":")[0], escape_field(value))
                    head.edited = True

    return act


# --- request line ----------------------------------------------------------------------------------------------------

_TARGET: Final = re.compile(rb"[\x21-\x7e]+")


def _clean_target(target: bytes) -> bytes:
    """A target that can stand in a request line: whatever else is percent-encoded."""
    if _TARGET.fullmatch(target) is not None:
        return target
    return b"".join([bytes([byte]) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte for byte in target]) or b"/"


def _put_path(target: bytes, value: bytes) -> bytes:
    query = target.find(b"?")
    prefix = target[: len(target) - len(split_target(target)[1])]
    return prefix + value + (target[query:] if query >= 0 else b"")


def _put_pathq(target: bytes, value: bytes) -> bytes:
    return target[: len(target) - len(split_target(target)[1])] + value


def _put_query(target: bytes, value: bytes) -> bytes:
    bare = target.partition(b"?")[0]
    return bare + b"?" + value if value else bare


_PARTS: Final[dict[str, Callable[[bytes, bytes], bytes]]] = {
    "path": _put_path,
    "pathq": _put_pathq,
    "query": _put_query,
    "uri": lambda target, value: value,
}


@action(SetRequestPart)
def set_request_part(rule: SetRequestPart, scope: Scope, location: Location) -> Act:
    write = compile_format(rule.value, scope, Use.PLAIN)
    if rule.part == "method":

        def set_method(stream: Stream) -> None:
            method = write(stream)
            # What is no token would be another request line: the request keeps its own method.
            if stream.request is not None and valid_name(method):
                stream.request.method = method
                stream.request.edited = True

        return set_method
    put = _PARTS[rule.part]

    def act(stream: Stream) -> None:
        head = stream.request
        if head is not None:
            head.target = _clean_target(put(head.target, write(stream)))
            head.edited = True

    return act


_READ: Final[dict[str, Callable[[bytes], bytes]]] = {
    "path": lambda target: split_target(target)[1].partition(b"?")[0],
    "pathq": lambda target: split_target(target)[1],
    "uri": lambda target: target,
}


@action(ReplaceRequestPart)
def replace_request_part(rule: ReplaceRequestPart, scope: Scope, location: Location) -> Act:
    pattern = compile_regex(rule.pattern, location)
    substitution = _compile_substitution(rule.replacement, scope)
    read, put = _READ[rule.part], _PARTS[rule.part]

    def act(stream: Stream) -> None:
        head = stream.request
        if head is None:
            return
        value = read(head.target)
        match = pattern.search(value)
        if match is not None:
            replaced = value[: match.start()] + substitution(stream, match) + value[match.end() :]
            head.target = _clean_target(put(head.target, replaced))
            head.edited = True

    return act


@action(SetStatus)
def set_status(rule: SetStatus, scope: Scope, location: Location) -> Act:
    reason = (rule.reason if rule.reason is not None else reason_of(rule.code)).encode("utf-8", "surrogateescape")
    if not valid_value(reason):
        raise config_error("a reason phrase may not hold control characters", location)

    def act(stream: Stream) -> None:
        head = stream.response
        if head is not None:
            head.status, head.reason, head.edited = rule.code, reason, True

    return act
