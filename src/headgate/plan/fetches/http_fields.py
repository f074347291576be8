"""Values inside HTTP fields: lists, cookies, parameters. Pure functions, shared by fetches, converters and balancing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headgate.wire.http1.heads import Field

#: One element of a comma-separated list; commas inside quoted strings do not end it (RFC 9110 5.6).
_ELEMENT: Final = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')


def split_list(value: bytes) -> list[bytes]:
    """The elements of a comma-separated field value, without white space around them; empty elements are left out."""
    if b"," not in value:
        return [value]
    parts = value.split(b",") if b'"' not in value else _ELEMENT.findall(value)
    return [part for part in [part.strip(b" \t") for part in parts] if part]


def values_of(fields: list[Field], name: bytes) -> list[bytes]:
    """All list elements of all fields called `name` (lower case; b"": any name), in order."""
    found: list[bytes] = []
    for field in fields:
        if field.name == name or not name:
            value = field.value
            if b"," in value:
                found += split_list(value)
            else:
                found.append(value)
    return found


def full_values_of(fields: list[Field], name: bytes) -> list[bytes]:
    """All complete values of the fields called `name` (lower case; b"": any name), in order."""
    return [field.value for field in fields if field.name == name or not name]


def nth(values: list[bytes], occurrence: int) -> bytes | None:
    """HAProxy's occurrence numbers: 1 is the first, -1 the last. None: there are not so many."""
    index = occurrence - 1 if occurrence > 0 else occurrence
    if -len(values) <= index < len(values):
        return values[index]
    return None


def request_cookies(fields: list[Field]) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of all `Cookie` fields, in order."""
    for field in fields:
        if field.name == b"cookie":
            for pair in field.value.split(b";"):
                name, equals, value = pair.partition(b"=")
                if equals:
                    yield name.strip(b" \t"), value.strip(b" \t")


def response_cookies(fields: list[Field]) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of all `Set-Cookie` fields, without attributes, in order."""
    for field in fields:
        if field.name == b"set-cookie":
            name, equals, value = field.value.partition(b";")[0].partition(b"=")
            if equals:
                yield name.strip(b" \t"), value.strip(b" \t")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """The authority (b"" without one) and the path with query of a request target in any form (RFC 9112 3.2).

    The path is b"" for the authority form of CONNECT and for `*`.
    """
    if target[:1] == b"/":
        return b"", target
    scheme_end = target.find(b"://")
    if scheme_end < 0:
        return (b"", b"") if target == b"*" else (target, b"")
    start = scheme_end + 3
    slash = target.find(b"/", start)
    question = target.find(b"?", start)
    end = min([index for index in (slash, question) if index >= 0], default=len(target))
    return target[start:end], target[end:]


def path_of(target: bytes) -> bytes:
    """The path without the query; b"" where there is none."""
    if target[:1] != b"/":
        target = split_target(target)[1]
    question = target.find(b"?")
    return target if question < 0 else target[:question]


def parameters(query: bytes, delimiter: bytes = b"&") -> Iterator[tuple[bytes, bytes]]:
    """Names and values of a query string; they end at `&`, `;` or `delimiter` (7.3.6 "url_param")."""
    for pair in re.split(rb"[&;" + re.escape(delimiter) + rb"]", query):
        name, equals, value = pair.partition(b"=")
        if equals:
            yield name, value


def query_of(target: bytes, delimiter: bytes = b"?") -> bytes | None:
    """What follows the first `delimiter` in a target; None without one."""
    index = target.find(delimiter)
    return None if index < 0 else target[index + len(delimiter) :]
