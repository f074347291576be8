"""The aliases of log formats (manual 8.2.6): for each the Python expression that `logformat` writes into the line's function.

An expression may use `s` (stream), `e` (session), `w` (world), `b` (backend plan or None), `v` (server or None) and the names
that `logformat` puts into its namespace. Kinds say how it is printed: `int` as a decimal (hexadecimal with +X), `text` needs
escaping and quoting, `ip`
quoting, `raw` neither. `+` in front of an int kind: incomplete values carry a plus sign with `option logasap`.
"""

from __future__ import annotations

from headgate.base.records import dataclass


@dataclass(frozen=True, slots=True)
class AliasRow:
    """One alias.

    Attributes:
        kind: how it is printed.
        code: its expression.
        incomplete: `option logasap` makes it so.
        small: an integer that is small most of the time: a count, or a timer of a healthy service.
    """

    kind: str
    code: str
    incomplete: bool = False
    small: bool = False


_INT = "int"
#: %r has a writer of its own that builds and escapes in one step.
REQUEST_LINE = "request_line(s)"

ALIASES: dict[str, AliasRow] = {
    # dates
    "T": AliasRow("raw", "utc_date(e.accepted_at)"),
    "Tl": AliasRow("raw", "local_date(e.accepted_at)"),
    "Ts": AliasRow(_INT, "int(e.accepted_at)"),
    "t": AliasRow("raw", "date_ms(e.accepted_at)"),
    "ms": AliasRow("raw", "b'%03d' % (int(e.accepted_at * 1000) % 1000)"),
    "tr": AliasRow("raw", "date_ms(s.started_at)"),
    "trg": AliasRow("raw", "utc_date(s.started_at)"),
    "trl": AliasRow("raw", "local_date(s.started_at)"),
    # timers
    "Ta": AliasRow(_INT, "s.t_total", incomplete=True, small=True),
    "Tc": AliasRow(_INT, "s.t_connect", small=True),
    "Td": AliasRow(_INT, "s.t_data", small=True),
    "Th": AliasRow(_INT, "s.t_handshake", small=True),
    "Ti": AliasRow(_INT, "s.t_idle", small=True),
    "Tq": AliasRow(_INT, "(-1 if s.t_request < 0 else s.t_request + max(s.t_handshake, 0) + max(s.t_idle, 0))", small=True),
    "TR": AliasRow(_INT, "s.t_request", small=True),
    "Tr": AliasRow(_INT, "s.t_response", small=True),
    "Tt": AliasRow(_INT, "total_time(s)", incomplete=True),
    "Tu": AliasRow(_INT, "user_time(s)", incomplete=True),
    "Tw": AliasRow(_INT, "s.t_queue", small=True),
    # others
    "B": AliasRow(_INT, "s.bytes_out", incomplete=True),
    "U": AliasRow(_INT, "s.bytes_in", incomplete=True),
    "CC": AliasRow("text", "s.captured_request_cookie"),
    "CS": AliasRow("text", "s.captured_response_cookie"),
    "H": AliasRow("text", "hostname"),
    "HM": AliasRow("text", "s.original_method"),
    "HP": AliasRow("text", "s.original_target.partition(b'?')[0]"),
    "HPO": AliasRow("text", "path_of(s.original_target)"),
    "HQ": AliasRow("text", "query_with_mark(s.original_target)"),
    "HU": AliasRow("text", "s.original_target"),
    "HV": AliasRow("text", "http_version(s)"),
    "ID": AliasRow("text", "unique_id(s)"),
    "OG": AliasRow("raw", "origin"),
    "ST": AliasRow(_INT, "s.status", small=True),
    "ac": AliasRow(_INT, "w.sessions", small=True),
    "b": AliasRow("text", "(frontend if b is None else names[b.name])"),
    "bc": AliasRow(_INT, "(0 if b is None else w.backends[b.name].sessions)", small=True),
    "bi": AliasRow("ip", "s.source_address"),
    "bp": AliasRow("port", "s.source_port"),
    "bq": AliasRow(_INT, "s.queue_position_backend", small=True),
    "ci": AliasRow("ip", "(e.source or b'unix')"),
    "cp": AliasRow("port", "(e.source_port if e.source else e.listener_id)"),
    "f": AliasRow("text", "frontend"),
    "fc": AliasRow(_INT, "w.frontends[frontend_name].sessions", small=True),
    "fi": AliasRow("ip", "((e.destination if s.destination is None else s.destination[0]) or b'unix')"),
    "fp": AliasRow(
        "port", "((e.destination_port if e.destination else e.listener_id) if s.destination is None else s.destination[1])"
    ),
    "ft": AliasRow("text", "(frontend if e.tls is None and e.unfinished is None else frontend_tls)"),
    "hr": AliasRow("captures", "s.captures_request"),
    "hrl": AliasRow("captures_clf", "s.captures_request"),
    "hs": AliasRow("captures", "s.captures_response"),
    "hsl": AliasRow("captures_clf", "s.captures_response"),
    "lc": AliasRow(_INT, "s.number"),
    "pid": AliasRow(_INT, "process_id()"),
    "r": AliasRow("text", REQUEST_LINE),
    "rc": AliasRow("raw", ""),  # two values: a plus sign, the count
    "rt": AliasRow(_INT, "s.number"),
    "s": AliasRow("text", "(b'<NOSRV>' if v is None else names[v.name])"),
    "sc": AliasRow(_INT, "(0 if v is None else v.sessions)", small=True),
    "si": AliasRow("ip", "s.server_address"),
    "sp": AliasRow("port", "s.server_port"),
    "sq": AliasRow(_INT, "s.queue_position_server", small=True),
    "sslc": AliasRow("text", "(None if (c := e.tls or e.unfinished) is None else c.cipher.encode())"),
    "sslv": AliasRow("text", "(None if (c := e.tls or e.unfinished) is None else c.version.encode())"),
    "ts": AliasRow("raw", ""),  # the first two characters
    "tsc": AliasRow("raw", ""),  # these and the cookie states
}

#: Log aliases that no format but a log may use.
LOG_ONLY = frozenset({"OG"})
#: Texts of the configuration: they hold no character that needs escaping.
SAFE = frozenset({"b", "f", "ft", "s", "H"})

#: The built-in formats, as the manual gives them (8.2.1 to 8.2.5).
HTTP_FORMAT = (
    "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r"
)
BUILT_IN = {
    "default": "Connect from %ci:%cp to %fi:%fp (%f/{mode})",
    "tcp": "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq",
    "http": HTTP_FORMAT,
    "https": HTTP_FORMAT
    + " %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc",
    "clf": '%{+Q}o %{-Q}ci - - [%trg] %r %ST %B "" "" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq'
    " %CC %CS %hrl %hsl",
    "tcp-clf": '%{Q}o %{-Q}ci - - [%T] "TCP " 000 %B "" "" %cp %ms %ft %b %s %Th %Tw %Tc %Tt %U %ts-- %ac %fc %bc %sc %rc %sq %bq'
    ' "" "" ',
}
