"""Fetches of header fields and cookies, of requests and responses (manual 7.3.6).

The rows of both sides come from one table: `req.hdr` and `res.hdr` differ only in the head that they look at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator

from headgate.plan.facts import Stream, Value
from headgate.plan.fetches.http_fields import full_values_of, nth, request_cookies, response_cookies, values_of
from headgate.plan.places import REQUEST, RESPONSE, RESPONSE_PLACES, Place
from headgate.plan.registry import Argument, Many, fetch
from headgate.plan.samples import Convert, Run, Type, parse_address, parse_integer
from headgate.plan.scope import Scope
from headgate.wire.http1.heads import Field

STRING, INTEGER = Argument.STRING, Argument.INTEGER
Side = Callable[[Stream], "list[Field] | None"]
Cookies = Callable[["list[Field]"], "Iterator[tuple[bytes, bytes]]"]


def _request(stream: Stream) -> list[Field] | None:
    head = stream.request
    return None if head is None else head.fields


def _response(stream: Stream) -> list[Field] | None:
    head = stream.response
    return None if head is None else head.fields


def _same(value: bytes) -> Value:
    return value


def forwarded_address(value: bytes) -> Value:
    """The address in a field such as X-Forwarded-For, with or without a port or brackets (7.3.6 "req.hdr_ip")."""
    found = parse_address(value)
    if found is None and value[:1] == b"[":
        found = parse_address(value.partition(b"]")[0][1:])
    elif found is None and value.count(b":") == 1:
        found = parse_address(value.partition(b":")[0])
    return found if not isinstance(found, ipaddress.IPv6Address) or found.scope_id is None else None


def _header(side: Side, name: bytes | None, occurrence: int | None, split: bool, convert: Convert) -> Many:
    wanted = (name or b"").lower()
    values = values_of if split else full_values_of
    position = occurrence or -1

    def one(stream: Stream) -> Value:
        fields = side(stream)
        if fields is None:
            return None
        value = nth(values(fields, wanted), position)
        return None if value is None else convert(value)

    def each(stream: Stream) -> Iterable[Value]:
        fields = side(stream)
        return () if fields is None else values(fields, wanted)

    def each_converted(stream: Stream) -> Iterable[Value]:
        return [found for found in map(convert, each(stream)) if found is not None]

    if occurrence:
        return Many(one, lambda stream: () if (value := one(stream)) is None else (value,))
    return Many(one, each if convert is _same else each_converted)


def _compile_header(side: Side, split: bool, convert: Convert) -> Callable[..., Many]:
    return lambda scope, name, occurrence: _header(side, name, occurrence, split, convert)


def _compile_count(side: Side, split: bool) -> Callable[..., Run]:
    values = values_of if split else full_values_of

    def compile_(scope: Scope, name: bytes | None) -> Run:
        wanted = (name or b"").lower()

        def run(stream: Stream) -> Value:
            fields = side(stream)
            return None if fields is None else len(values(fields, wanted))

        return run

    return compile_


def _compile_names(side: Side) -> Callable[..., Run]:
    def compile_(scope: Scope, delimiter: bytes | None) -> Run:
        glue = (delimiter or b",")[:1]

        def run(stream: Stream) -> Value:
            fields = side(stream)
            return None if fields is None else glue.join([field.line.partition(b":")[0] for field in fields])

        return run

    return compile_


def _block(side: Side) -> Callable[..., Run]:
    def run(stream: Stream) -> Value:
        fields = side(stream)
        return None if fields is None else b"".join([field.line + b"\r\n" for field in fields]) + b"\r\n"

    return lambda scope: run


def _compile_cookie(side: Side, cookies: Cookies, convert: Convert) -> Callable[..., Many]:
    def compile_(scope: Scope, name: bytes | None) -> Many:
        def every(stream: Stream) -> list[bytes]:
            fields = side(stream)
            return [] if fields is None else [value for found, value in cookies(fields) if name is None or found == name]

        def one(stream: Stream) -> Value:
            values = every(stream)
            if not values:
                return None
            # The last of that name; without a name the first cookie (7.3.6 "req.cook").
            return convert(values[0] if name is None else values[-1])

        def each(stream: Stream) -> Iterable[Value]:
            return [found for found in map(convert, every(stream)) if found is not None]

        return Many(one, each)

    return compile_


def _compile_cookie_count(side: Side, cookies: Cookies) -> Callable[..., Run]:
    def compile_(scope: Scope, name: bytes | None) -> Run:
        def run(stream: Stream) -> Value:
            fields = side(stream)
            return None if fields is None else sum(1 for found, _ in cookies(fields) if name is None or found == name)

        return run

    return compile_


def _compile_cookie_names(side: Side, cookies: Cookies) -> Callable[..., Run]:
    def compile_(scope: Scope, delimiter: bytes | None) -> Run:
        glue = (delimiter or b",")[:1]

        def run(stream: Stream) -> Value:
            fields = side(stream)
            return None if fields is None else glue.join([name for name, _ in cookies(fields)]) or None

        return run

    return compile_


def _register(prefix: str, short: str, side: Side, cookies: Cookies, places: Place, *, request: bool) -> None:
    """All rows of one side; `short` is the prefix of the deprecated names that are not ambiguous (`shdr`, `scook`)."""
    where = (STRING, INTEGER)

    def add(name: str, result: Type, arguments: tuple[Argument, ...], compile_: Callable[..., Run | Many], *aliases: str) -> None:
        fetch(
            f"{prefix}.{name}", *aliases, result=result, places=places, arguments=arguments, required=0, request=request
        )(compile_)

    both = short == ""  # `hdr` itself looks at either side and is registered below
    add("hdr", Type.STR, where, _compile_header(side, True, _same), *(() if both else ("shdr",)))
    add("fhdr", Type.STR, where, _compile_header(side, False, _same))
    add("hdr_val", Type.SINT, where, _compile_header(side, True, parse_integer), f"{short}hdr_val")
    add("hdr_ip", Type.ADDR, where, _compile_header(side, True, forwarded_address), f"{short}hdr_ip")
    add("hdr_cnt", Type.SINT, (STRING,), _compile_count(side, True), f"{short}hdr_cnt")
    add("fhdr_cnt", Type.SINT, (STRING,), _compile_count(side, False))
    add("hdr_names", Type.STR, (STRING,), _compile_names(side))
    add("hdrs", Type.BIN, (), _block(side))
    add("cook", Type.STR, (STRING,), _compile_cookie(side, cookies, _same), f"{short}cook")
    add("cook_val", Type.SINT, (STRING,), _compile_cookie(side, cookies, parse_integer), f"{short}cook_val")
    add("cook_cnt", Type.SINT, (STRING,), _compile_cookie_count(side, cookies), f"{short}cook_cnt")
    add("cook_names", Type.STR, (STRING,), _compile_cookie_names(side, cookies))


_register("req", "", _request, request_cookies, REQUEST, request=True)
_register("res", "s", _response, response_cookies, RESPONSE, request=False)


@fetch("hdr", result=Type.STR, places=REQUEST | RESPONSE, arguments=(STRING, INTEGER), required=0)
def hdr(scope: Scope, name: bytes | None, occurrence: int | None) -> Many:
    side = _response if scope.place & RESPONSE_PLACES else _request
    return _header(side, name, occurrence, True, _same)


@fetch("cookie", result=Type.STR, places=REQUEST | RESPONSE, arguments=(STRING,), required=0)
def cookie(scope: Scope, name: bytes | None) -> Many:
    if scope.place & RESPONSE_PLACES:
        return _compile_cookie(_response, response_cookies, _same)(scope, name)
    return _compile_cookie(_request, request_cookies, _same)(scope, name)
