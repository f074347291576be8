"""How the commands write dates, durations and addresses: as HAProxy does in its dumps."""

from __future__ import annotations

from datetime import datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def date(seconds: float, digits: int = 3) -> str:
    """`21/Nov/2026:04:41:18.761`, local time.

    Args:
        seconds: since the epoch.
        digits: of the fraction, up to 6.
    """
    moment = datetime.fromtimestamp(seconds)
    fraction = f"{moment.microsecond:06}"[:digits]
    return f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment.year:04}:{moment:%H:%M:%S}" + (f".{fraction}" if digits else "")


def duration(seconds: float) -> str:
    """The two greatest units, as in `1m5s`; `0s` below one second."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}{unit}")
            left %= size
        if len(parts) == 2:
            break
    return "".join(parts)


def expiry(seconds: float | None) -> str:
    """How long until a deadline: `<NEVER>` without one, `<PAST>` behind it."""
    if seconds is None:
        return "<NEVER>"
    return duration(seconds) if seconds >= 0 else "<PAST>"


def family(host: bytes | str) -> str:
    """`tcpv4`, `tcpv6` or, without a host, `unix_stream`."""
    if not host:
        return "unix_stream"
    return "tcpv6" if (":" if isinstance(host, str) else b":") in host else "tcpv4"  # type: ignore[operator]


def endpoint(host: bytes, port: int, number: int = 0) -> str:
    """`address:port`, or `unix:<listener>`."""
    return f"{host.decode()}:{port}" if host else f"unix:{number}"
