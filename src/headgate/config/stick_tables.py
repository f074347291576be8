"""Stick tables as declared (manual 11.1) and the rules that use them for persistence (4.2 "stick"): data, and the data types."""

from __future__ import annotations

import enum

from headgate.base.diagnostics import Location
from headgate.base.records import dataclass
from headgate.config.expression import Condition, SampleExpression


class KeyType(enum.Enum):
    """What the key of a table is; the value is how `show table` names it."""

    IP = "ip"
    IPV6 = "ipv6"
    INTEGER = "integer"
    STRING = "string"
    BINARY = "binary"


class Kind(enum.Enum):
    """How a stored value is kept: an unsigned number of 32 or 64 bits, a rate over a period, or a text."""

    NUMBER = 32
    LARGE = 64
    RATE = 96
    TEXT = 0


@dataclass(frozen=True, slots=True)
class DataType:
    """A data type of `store`. `counted`: it is an array and its first argument says how long."""

    kind: Kind
    counted: bool = False

    @property
    def timed(self) -> bool:
        """Whether it takes a period."""
        return self.kind is Kind.RATE


_NUMBER, _LARGE, _RATE = DataType(Kind.NUMBER), DataType(Kind.LARGE), DataType(Kind.RATE)

#: All data types, in the order in which `show table` writes them.
DATA_TYPES: dict[str, DataType] = {
    "server_id": _NUMBER,
    "gpt0": _NUMBER,
    "gpc0": _NUMBER,
    "gpc0_rate": _RATE,
    "conn_cnt": _NUMBER,
    "conn_rate": _RATE,
    "conn_cur": _NUMBER,
    "sess_cnt": _NUMBER,
    "sess_rate": _RATE,
    "http_req_cnt": _NUMBER,
    "http_req_rate": _RATE,
    "http_err_cnt": _NUMBER,
    "http_err_rate": _RATE,
    "bytes_in_cnt": _LARGE,
    "bytes_in_rate": _RATE,
    "bytes_out_cnt": _LARGE,
    "bytes_out_rate": _RATE,
    "gpc1": _NUMBER,
    "gpc1_rate": _RATE,
    "server_key": DataType(Kind.TEXT),
    "http_fail_cnt": _NUMBER,
    "http_fail_rate": _RATE,
    "gpt": DataType(Kind.NUMBER, counted=True),
    "gpc": DataType(Kind.NUMBER, counted=True),
    "gpc_rate": DataType(Kind.RATE, counted=True),
    "glitch_cnt": _NUMBER,
    "glitch_rate": _RATE,
    # ours: TLS handshakes that failed
    "tls_fail_cnt": _NUMBER,
    "tls_fail_rate": _RATE,
}

#: Arrays, and what may not stand beside them because they take its place.
OVERRIDES = {"gpt": ("gpt0",), "gpc": ("gpc0", "gpc1"), "gpc_rate": ("gpc0_rate", "gpc1_rate")}


@dataclass(frozen=True, slots=True)
class Stored:
    """One data type of a table: how many elements, and the period of rates in milliseconds."""

    name: str
    count: int = 1
    period: int = 0


@dataclass(frozen=True, slots=True)
class StickTable:
    """`stick-table` of a proxy.

    Attributes:
        name: the proxy's, by which others refer to it.
        key: type of the key; length: of strings and binaries, bytes.
        size: most entries.
        expire: seconds after which an entry goes that nobody used, None for never.
        nopurge: when it is full, new entries are refused; otherwise the oldest go.
        server_key: what designates servers: "name" or "addr".
        stores: what is kept, in the order of `DATA_TYPES`.
        bytes_factor: bytes that one unit of bytes_in_rate and bytes_out_rate stands for.
        write_to: the table that peers write to as well.
        recv_only: it is only filled by peers.
        counts_trackers: a rule asks how many follow an entry, so that they are noted at once and not when they stay.
    """

    name: str
    key: KeyType
    size: int
    location: Location
    length: int = 0
    expire: float | None = None
    nopurge: bool = False
    server_key: str = "name"
    stores: tuple[Stored, ...] = ()
    bytes_factor: int = 1
    write_to: str | None = None
    recv_only: bool = False
    counts_trackers: bool = False


@dataclass(frozen=True, slots=True)
class StickRule:
    """`stick match|on|store-request|store-response <pattern> [table <name>] [if ...]`; `on` is match and store at once."""

    match: bool
    store_request: bool
    store_response: bool
    expression: SampleExpression
    table: str | None
    condition: Condition | None
    location: Location
