"""`log <target> [len <length>] [format <format>] [sample <ranges>:<size>] <facility> [<level> [<minlevel>]]` (4.2 "log").

The global section and proxies write it alike; `log global` and `no log` are the callers' affair. Whether the ring or backend
behind `ring@` and `backend@` exists is checked by `resolve`.
"""

from __future__ import annotations

import itertools
from typing import Any

from headgate.base.addresses import Address, Family, Transport
from headgate.config.addresses import parse_address, part_of
from headgate.config.cursor import Cursor, Word
from headgate.config.log_options import LogTarget

#: The standard syslog port.
SYSLOG_PORT = 514

_FACILITY_NAMES = (
    "kern user mail daemon auth syslog lpr news uucp cron auth2 ftp ntp audit alert cron2 "
    "local0 local1 local2 local3 local4 local5 local6 local7"
)
#: Facility and level names and their syslog numbers.
FACILITIES = {name: number for number, name in enumerate(_FACILITY_NAMES.split())}
LEVELS = {name: number for number, name in enumerate("emerg alert crit err warning notice info debug".split())}
#: Formats of a syslog message, for log lines and rings.
FORMATS = {name: name for name in ("local", "rfc3164", "rfc5424", "priority", "short", "timed", "iso", "raw")}

_STDIO = ("stdout", "stderr")
_NAMED = {"ring": Family.RING, "backend": Family.BACKEND}


def parse_log_target(cursor: Cursor) -> LogTarget:
    """Read the words behind `log` up to the end of the line.

    Raises:
        ConfigError: anything that is not such a target.
    """
    location = cursor.keyword.location
    address = _target(cursor)
    options = _options(cursor)
    facility = cursor.choice("syslog facility", FACILITIES)
    level, minlevel = 7, 0
    if cursor.more:
        level = cursor.choice("log level", LEVELS)
    if cursor.more:
        minlevel = cursor.choice("log level", LEVELS)
    cursor.finish()
    options["format_by_default"] = "format" not in options
    return LogTarget(address, location, facility=facility, level=level, minlevel=minlevel, **options)


def _target(cursor: Cursor) -> Address:
    word = cursor.next("a log target (an address, stdout, stderr, fd@<number>, ring@<name> or backend@<name>)")
    if word.text in _STDIO:
        return Address(Family.STDIO, word.text, transport=Transport.DATAGRAM)
    kind, at, name = word.text.partition("@")
    if at and kind in _NAMED:
        if not name:
            raise cursor.wrong(word, f"a name is missing behind '{kind}@'")
        return Address(_NAMED[kind], name, transport=Transport.DATAGRAM)
    return parse_address(word, default_port=SYSLOG_PORT, default_transport=Transport.DATAGRAM)


def _options(cursor: Cursor) -> dict[str, Any]:
    """`len`, `format` and `sample`, in any order."""
    options: dict[str, Any] = {}
    while (word := cursor.take("len", "format", "sample", "profile")) is not None:
        if word.text == "len":
            options["length"] = cursor.integer("the line length", 80, 65535)
        elif word.text == "format":
            options["format"] = cursor.choice("log format", FORMATS)
        elif word.text == "sample":
            options["sample"] = _sample(cursor)
        else:
            raise cursor.wrong(word, "log profiles are known but not yet supported")
    return options


def _sample(cursor: Cursor) -> tuple[tuple[tuple[int, int], ...], int]:
    """`<low>[-<high>],...:<size>`."""
    word = cursor.next("sample ranges and size ('1-2,5:10')")
    ranges_text, colon, size_text = word.text.rpartition(":")
    if not colon or not _is_number(size_text) or int(size_text) == 0:
        raise cursor.wrong(word, f"'{word.text}' must be <ranges>:<sample size>, as in '1-2,5:10'")
    size = int(size_text)
    ranges, start = [], 0
    for text in ranges_text.split(","):
        ranges.append(_range(cursor, part_of(word, start, start + len(text)), size))
        start += len(text) + 1
    ranges.sort()
    for (_, high), (low, _) in itertools.pairwise(ranges):
        if low <= high:
            raise cursor.wrong(word, f"sample ranges overlap in '{word.text}'")
    return tuple(ranges), size


def _range(cursor: Cursor, word: Word, size: int) -> tuple[int, int]:
    low_text, dash, high_text = word.text.partition("-")
    if not _is_number(low_text) or (dash and not _is_number(high_text)):
        raise cursor.wrong(word, f"'{word.text}' is not a range: '<number>' or '<low>-<high>'")
    low = int(low_text)
    high = int(high_text) if dash else low
    if not 1 <= low <= high:
        raise cursor.wrong(word, f"range '{word.text}' must run upwards from at least 1")
    if high > size:
        raise cursor.wrong(word, f"range '{word.text}' ends beyond the sample size {size}")
    return low, high


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
