"""The framing of one log line: what stands before the text, which lines a target wants, how long they may be.

The formats are those of manual 4.2 "log" (and 3.1): local, rfc3164, rfc5424, priority, short, timed, iso, raw. Pure: the time
is an argument, bytes are the result. Sinks in `runtime.logs` send what is framed here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

#: Manual 4.2 "log": the 24 facilities, by number.
FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp", "audit",
    "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip

#: Manual 4.2 "log": the eight levels, most severe first, by number.
LEVELS: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

EMERG, ALERT, CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = range(8)

#: RFC 3164 4.1.2: names of months are English whatever the locale says.
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")

#: What stands before the text: (level, now in seconds since the epoch, structured data or b"") -> bytes.
Head = Callable[[int, float, bytes], bytes]


class Origin:
    """Who a line says that it comes from.

    Attributes:
        tag: `log-tag`, or the program's name.
        pid: process identifier.
        hostname: what `log-send-hostname` asks to be sent, None without that keyword.
    """

    __slots__ = ("hostname", "pid", "tag")

    def __init__(self, tag: str, pid: int, hostname: str | None = None) -> None:
        self.tag = tag
        self.pid = pid
        self.hostname = hostname


class ConstantHead:
    """Heads that never change: `raw`, `short`, `priority`."""

    __slots__ = ("_heads",)

    def __init__(self, heads: tuple[bytes, ...]) -> None:
        self._heads = heads

    def head(self, level: int, now: float, structured: bytes = b"") -> bytes:
        return self._heads[level]


class SecondHead:
    """Heads with RFC 3164's time of day, remade once a second: `local`, `rfc3164`."""

    __slots__ = ("_heads", "_priorities", "_second", "_tail")

    def __init__(self, priorities: tuple[bytes, ...], tail: bytes) -> None:
        self._priorities = priorities
        self._tail = tail
        self._second = -1
        self._heads: tuple[bytes, ...] = ()

    def head(self, level: int, now: float, structured: bytes = b"") -> bytes:
        second = int(now)
        if second != self._second:
            self._second = second
            stamp = rfc3164_time(second) + self._tail
            self._heads = tuple([priority + stamp for priority in self._priorities])
        return self._heads[level]


class MicrosecondHead:
    """Heads with an ISO time to the microsecond; all but six digits is remade once a second: `timed`, `iso`."""

    __slots__ = ("_after", "_before", "_priorities", "_second", "_tail")

    def __init__(self, priorities: tuple[bytes, ...], tail: bytes) -> None:
        self._priorities = priorities
        self._tail = tail
        self._second = -1
        self._before: tuple[bytes, ...] = ()
        self._after = b""

    def head(self, level: int, now: float, structured: bytes = b"") -> bytes:
        second = int(now)
        if second != self._second:
            self._second = second
            date, zone = iso_time(second)
            self._before = tuple([priority + date for priority in self._priorities])
            self._after = zone + self._tail
        return b"%b.%06d%b" % (self._before[level], (now - second) * 1_000_000, self._after)


class StructuredHead(MicrosecondHead):
    """`rfc5424`: the message's structured data (6.3 of the RFC) stands behind the header, `-` where there is none."""

    __slots__ = ()

    def head(self, level: int, now: float, structured: bytes = b"") -> bytes:
        return MicrosecondHead.head(self, level, now) + (structured or b"-") + b" "


def rfc3164_time(second: int) -> bytes:
    """`Nov  1 09:05:03`: local time, the day padded with a space (RFC 3164 4.1.2)."""
    local = datetime.fromtimestamp(second)
    return b"%b %2d %02d:%02d:%02d" % (_MONTHS[local.month - 1], local.day, local.hour, local.minute, local.second)


def iso_time(second: int) -> tuple[bytes, bytes]:
    """Local time to the second, and the offset from UTC: (`2026-11-21T09:05:03`, `+01:00`)."""
    local = datetime.fromtimestamp(second).astimezone()
    text = local.isoformat(timespec="seconds")
    return text[:19].encode(), text[19:25].encode()


def _priorities(facility: int) -> tuple[bytes, ...]:
    return tuple(b"<%d>" % (facility * 8 + level) for level in range(8))


def _local(facility: int, origin: Origin) -> Head:
    return SecondHead(_priorities(facility), f" {origin.tag}[{origin.pid}]: ".encode()).head


def _rfc3164(facility: int, origin: Origin) -> Head:
    # Without log-send-hostname HAProxy writes "localhost": the field is not optional in this format.
    host = origin.hostname or "localhost"
    return SecondHead(_priorities(facility), f" {host} {origin.tag}[{origin.pid}]: ".encode()).head


def _rfc5424(facility: int, origin: Origin) -> Head:
    priorities = tuple(priority + b"1 " for priority in _priorities(facility))
    return StructuredHead(priorities, f" {origin.hostname or '-'} {origin.tag or '-'} {origin.pid} - ".encode()).head


def _priority(facility: int, origin: Origin) -> Head:
    return ConstantHead(_priorities(facility)).head


def _short(facility: int, origin: Origin) -> Head:
    return ConstantHead(_priorities(0)).head


def _timed(facility: int, origin: Origin) -> Head:
    return MicrosecondHead(_priorities(0), b" ").head


def _iso(facility: int, origin: Origin) -> Head:
    return MicrosecondHead((b"",) * 8, b" ").head


def _raw(facility: int, origin: Origin) -> Head:
    return ConstantHead((b"",) * 8).head


_FORMATS: Final[dict[str, Callable[[int, Origin], Head]]] = {
    "local": _local,
    "rfc3164": _rfc3164,
    "rfc5424": _rfc5424,
    "priority": _priority,
    "short": _short,
    "timed": _timed,
    "iso": _iso,
    "raw": _raw,
}

#: The names behind `format` on a `log` line.
FORMATS: Final = tuple(_FORMATS)


def head_of(format: str, facility: int, origin: Origin) -> Head:
    """The function that makes what stands before the text of a line.

    Args:
        format: one of `FORMATS`.
        facility: 0 to 23.
        origin: tag, process and host of the line.
    """
    return _FORMATS[format](facility, origin)


class Sampler:
    """`sample <ranges>:<size>`: of each `size` lines, those whose number (from 1) lies in a range are sent."""

    __slots__ = ("_next", "_wanted")

    def __init__(self, ranges: tuple[tuple[int, int], ...], size: int) -> None:
        self._wanted = tuple(any(low <= number <= high for low, high in ranges) for number in range(1, size + 1))
        self._next = 0

    def take(self) -> bool:
        """Count one line; whether it is to be sent."""
        index = self._next
        self._next = index + 1 if index + 1 < len(self._wanted) else 0
        return self._wanted[index]


class LineFramer:
    """What one `log` line makes of an event: the complete message, or None where it is filtered out.

    Args:
        head: from `head_of`.
        level: lines less severe than this are not sent.
        minlevel: lines more severe than this are sent as if they had this level.
        length: longest message in bytes, its head and its final line feed included.
        sampler: which lines are sent, None for all.
    """

    __slots__ = ("_head", "_length", "_level", "_minlevel", "_sampler")

    def __init__(
        self, head: Head, level: int = DEBUG, minlevel: int = EMERG, length: int = 1024, sampler: Sampler | None = None
    ) -> None:
        self._head = head
        self._level = level
        self._minlevel = minlevel
        self._length = length
        self._sampler = sampler

    def frame(self, level: int, line: bytes, now: float, structured: bytes = b"") -> bytes | None:
        """Frame one line of text.

        Args:
            level: 0 (emerg) to 7 (debug).
            line: the text, without a line feed.
            now: seconds since the epoch.
            structured: RFC 5424 structured data in brackets, or b"".
        """
        if level > self._level:
            return None
        if level < self._minlevel:
            level = self._minlevel
        if self._sampler is not None and not self._sampler.take():
            return None
        message = self._head(level, now, structured) + line
        if len(message) >= self._length:
            message = message[: self._length - 1]
        return message + b"\n"
