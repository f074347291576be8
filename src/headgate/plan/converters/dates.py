"""Converters of dates (manual 7.3.1): `ltime`, `utime`, their ms and us forms, `http_date`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Final

from headgate.base.diagnostics import config_error
from headgate.plan.facts import Value
from headgate.plan.registry import Argument, converter
from headgate.plan.samples import Convert, Type
from headgate.plan.scope import Scope

STRING, INTEGER = Argument.STRING, Argument.INTEGER
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NANOSECONDS: Final = re.compile(r"%([1-9]?)N")


def moment_of(second: int, zone: tzinfo | None) -> datetime | None:
    """The date of a second since the epoch, aware of its zone; None beyond what a calendar can show."""
    try:
        moment = datetime.fromtimestamp(second, zone)
        return moment.astimezone() if moment.tzinfo is None else moment
    except (OverflowError, ValueError, OSError):
        return None


def _register(name: str, per_second: int, *, local: bool) -> None:
    @converter(name, takes=Type.SINT, result=Type.STR, arguments=(STRING, INTEGER), required=1)
    def compile_(scope: Scope, form: bytes, offset: int | None) -> Convert:
        zone = scope.surroundings.timezone if local else UTC
        text = form.decode("utf-8", "surrogateescape")
        shift = offset or 0
        fraction = per_second > 1 and _NANOSECONDS.search(text) is not None

        def write(value: int) -> Value:
            second, rest = divmod(value + shift, per_second)
            moment = moment_of(second, zone)
            if moment is None:
                return None
            pattern = text
            if fraction:
                digits = f"{rest * (1000000000 // per_second):09}"
                pattern = _NANOSECONDS.sub(lambda match: digits[: int(match[1] or 9)], text)
            return moment.strftime(pattern).encode("utf-8", "surrogateescape")

        return write


for _prefix, _per_second in (("", 1), ("ms_", 1000), ("us_", 1000000)):
    _register(f"{_prefix}ltime", _per_second, local=True)
    _register(f"{_prefix}utime", _per_second, local=False)

_UNITS: Final = {None: 1, b"": 1, b"s": 1, b"ms": 1000, b"us": 1000000}


@converter("http_date", takes=Type.SINT, result=Type.STR, arguments=(INTEGER, STRING), required=0)
def http_date(scope: Scope, offset: int | None, unit: bytes | None) -> Convert:
    if unit not in _UNITS:
        raise config_error(
            "the unit of 'http_date' must be s, ms or us", None,
            allowed=("s", "ms", "us"), written=(unit or b"").decode("latin-1"),
        )
    per_second, shift = _UNITS[unit], offset or 0

    def write(value: int) -> Value:
        moment = moment_of((value + shift) // per_second, UTC)
        if moment is None:
            return None
        return (
            f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} "
            f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
        ).encode()

    return write
