"""What decides log lines, as it was resolved: where they go, what is captured for them, how they look (3.1 log, 4.2 log, 8).

Plain data, a part of the `model`: `keywords.log_target`, `keywords.logs` and `resolve_proxies` make it, `plan` and `runtime.logs`
read it.
"""

from __future__ import annotations

from headgate.base.addresses import Address
from headgate.base.diagnostics import Location
from headgate.base.records import dataclass
from headgate.config.expression import LogFormat


@dataclass(frozen=True, slots=True)
class LogTarget:
    """One `log` line (4.2 "log", 3.1 "log").

    Attributes:
        address: where; `stdout`/`stderr` are Family.STDIO, `ring@x` Family.RING.
        length: longest line.
        format: local, rfc3164, rfc5424, priority, short, timed, iso, raw.
        format_by_default: no format was written, so `log-send-hostname` turns `local` into `rfc3164`.
        sample: ((low, high), ...) ranges and their size, or None.
        facility: 0..23; level, minlevel: 0..7.
    """

    address: Address
    location: Location
    length: int = 1024
    format: str = "local"
    format_by_default: bool = False
    sample: tuple[tuple[tuple[int, int], ...], int] | None = None
    facility: int = 0
    level: int = 7
    minlevel: int = 0


@dataclass(frozen=True, slots=True)
class HeaderCapture:
    """`capture request|response header <name> len <n>`."""

    name: str
    length: int


@dataclass(frozen=True, slots=True)
class CookieCapture:
    """`capture cookie <name> len <n>`; `prefix` when the name ends with `=`-less prefix matching."""

    name: str
    length: int
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Logging:
    """All that decides a proxy's log lines (8). `format` is None when `option httplog` and the like choose it by `style`.

    Attributes:
        style: "default", "tcp", "http", "https", "clf": what stands behind when `format` is None.
    """

    targets: tuple[LogTarget, ...] = ()
    style: str = "default"
    format: LogFormat | None = None
    error_format: LogFormat | None = None
    structured_data: LogFormat | None = None
    tag: str | None = None
    dont_log_null: bool = False
    dont_log_normal: bool = False
    as_soon_as_possible: bool = False
    separate_errors: bool = False
    request_captures: tuple[HeaderCapture, ...] = ()
    response_captures: tuple[HeaderCapture, ...] = ()
    cookie_capture: CookieCapture | None = None
    declared_captures: tuple[tuple[str, int], ...] = ()  # ("request"|"response", length) of `declare capture`
    unique_id_format: LogFormat | None = None
    unique_id_header: str | None = None
