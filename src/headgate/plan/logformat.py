"""Log formats -> formatters (manual 8.2.6, 8.6): one generated function a format.

A log line is made for every request, so a format becomes one expression of the form `b"..." % (a, b, c)`: attributes are read in
place, literals are merged, and only what needs escaping costs a call. The generated source is short and printed by `source_of`.
The same path serves header values (`http-request set-header X <fmt>`), with other escaping and nothing in place of "-".
Measured for httplog with one capture (Python 3.11, CPU time, a busy machine; sum(range(100)) takes 1 us there): 6 us a line,
2 of them the formatting itself; the next step is to cache the part that a session's lines share.
Names that the source uses come from `namespace`; nothing of the configuration's text ever becomes source.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from headgate.base.diagnostics import config_error
from headgate.config.expression import Alias, Evaluated, Literal, LogFormat, LogItem
from headgate.config.model import Mode, Proxy
from headgate.plan.expressions import compile_expression
from headgate.plan.facts import Stream, Value
from headgate.plan.fetches.http_fields import path_of
from headgate.plan.fetches.transaction import total_time, user_time
from headgate.plan.frontends import Formatter
from headgate.plan.logaliases import ALIASES, LOG_ONLY, REQUEST_LINE, SAFE, AliasRow
from headgate.plan.samples import Run, Type, castable
from headgate.plan.scope import Scope


class Use(enum.Enum):
    """What a format is for: decides the escaping and what stands for a missing value."""

    LOG = "log"
    HEADER = "header"
    BODY = "body"
    PLAIN = "plain"  # variables, backend names: bytes as they are


# --- escaping --------------------------------------------------------------------------------------------------------


def _table(safe: bytes, mark: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Bytes that stay, and what every byte becomes."""
    return safe, tuple(bytes([byte]) if byte in safe else mark + b"%02X" % byte for byte in range(256))


_PRINTABLE: Final = bytes(range(32, 127))
_LOG: Final = _table(_PRINTABLE.replace(b"#", b"").replace(b'"', b""), b"#")
_CAPTURE: Final = _table(_LOG[0].translate(None, b"{|}"), b"#")
#: With +E: `"`, `\` and `]` are escaped by a backslash (RFC 5424 6.3.3), the rest as ever.
_ESCAPED: Final = (
    _LOG[0].translate(None, b"\\]"),
    tuple(b"\\" + bytes([byte]) if byte in b'"\\]' else _LOG[1][byte] for byte in range(256)),
)
#: Field values: only what RFC 9110 5.5 forbids is replaced (8.2.6: "their hexadecimal encoding preceded by character '%'").
_FIELD: Final = _table(b"\t" + bytes(range(32, 127)) + bytes(range(128, 256)), b"%")


def _escaper(table: tuple[bytes, tuple[bytes, ...]]) -> Callable[[bytes], bytes]:
    safe, replacements = table

    def escape(value: bytes) -> bytes:
        # Deleting all safe bytes leaves nothing of most values: one pass in C.
        if value.translate(None, safe):
            return b"".join([replacements[byte] for byte in value])
        return value

    return escape


escape_log: Final = _escaper(_LOG)
escape_capture: Final = _escaper(_CAPTURE)
escape_rfc5424: Final = _escaper(_ESCAPED)
escape_field: Final = _escaper(_FIELD)


def _unchanged(value: bytes) -> bytes:
    return value


# --- what aliases need -----------------------------------------------------------------------------------------------


class Names(dict[str, bytes]):
    """Names of the configuration as bytes, encoded once."""

    def __missing__(self, name: str) -> bytes:
        self[name] = encoded = name.encode()
        return encoded


_MILLISECONDS: Final = tuple(b".%03d" % number for number in range(1000))
class Digits(dict[int, bytes]):
    """Decimal digits of integers, made once for the small ones."""

    def __init__(self) -> None:
        super().__init__((number, b"%d" % number) for number in range(-1, 1024))

    def __missing__(self, number: int) -> bytes:
        return b"%d" % number


_DIGITS: Final = Digits()
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_writer(zone: tzinfo | None, *, with_zone: bool) -> Callable[[float], bytes]:
    """A function from seconds to `06/Feb/2009:12:14:14` with ` +0000` behind it or not; the last second is remembered."""
    last_second = -1
    last_text = b""

    def write(seconds: float) -> bytes:
        nonlocal last_second, last_text
        second = int(seconds)
        if second != last_second:
            moment = datetime.fromtimestamp(second, zone)
            if with_zone and moment.tzinfo is None:
                moment = moment.astimezone()
            offset = moment.strftime(" %z") if with_zone else ""
            month = _MONTHS[moment.month - 1]
            clock = f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}"
            last_text = f"{moment.day:02}/{month}/{moment.year}:{clock}{offset}".encode()
            last_second = second
        return last_text

    return write


def date_ms_writer(zone: tzinfo | None) -> Callable[[float], bytes]:
    """`06/Feb/2009:12:14:14.655`, local time."""
    write = date_writer(zone, with_zone=False)
    last_second = -1
    last_text = b""

    def write_ms(seconds: float) -> bytes:
        nonlocal last_second, last_text
        # A float's milliseconds may be one too low (12.655 is 12.65499...): half a microsecond mends that.
        milliseconds = int(seconds * 1000 + 0.0005)
        second = milliseconds // 1000
        if second != last_second:
            last_text = write(second)
            last_second = second
        return last_text + _MILLISECONDS[milliseconds % 1000]

    return write_ms


def _request_line(escape: Callable[[bytes], bytes], missing: bytes) -> Callable[[Stream], bytes]:
    """A writer of %r: the request line as it was received."""

    def write(stream: Stream) -> bytes:
        method = stream.original_method
        if not method:
            return missing
        return escape(b"%b %b HTTP/1.%d" % (method, stream.original_target, stream.original_version - 10))

    return write


def _http_version(stream: Stream) -> bytes | None:
    if not stream.original_method:
        return None
    return b"HTTP/1.1" if stream.original_version == 11 else b"HTTP/1.0"


def _query_with_mark(target: bytes) -> bytes:
    index = target.find(b"?")
    return b"" if index < 0 else target[index:]


def _unique_id(stream: Stream) -> bytes | None:
    if stream.unique_id is None and (make := stream.session.frontend.unique_id) is not None:
        stream.unique_id = make(stream)
    return stream.unique_id


def _captures(count: int, escape: Callable[[bytes], bytes], lead: bytes) -> Callable[[list[bytes | None] | None], bytes]:
    """A writer of `{first||third}` with `lead` in front; `count` empty ones when the request never came (8.8)."""
    nothing = lead + b"{" + b"|" * (count - 1) + b"}"

    def write(slots: list[bytes | None] | None) -> bytes:
        if not slots:
            return nothing
        return lead + b"{" + b"|".join([escape(slot) if slot else b"" for slot in slots]) + b"}"

    return write


def _captures_clf(count: int, lead: bytes, *, quote: bool) -> Callable[[list[bytes | None] | None], bytes]:
    """A writer of captures as fields of their own, `-` (or `""`) for an empty one."""

    def write(slots: list[bytes | None] | None) -> bytes:
        fields = [escape_capture(slot) if slot else b"" for slot in slots or [None] * count]
        return lead + b" ".join([b'"' + field + b'"' if quote else field or b"-" for field in fields])

    return write


def _hex_address(text: bytes) -> bytes:
    from headgate.plan.samples import parse_address

    address = parse_address(text)
    return text if address is None else address.packed.hex().upper().encode()


# --- the generator ---------------------------------------------------------------------------------------------------

_USES: Final = {
    "e": re.compile(r"\b[ew]\."),
    "w": re.compile(r"\bw\."),
    "b": re.compile(r"\bb\b[ .]"),
    "v": re.compile(r"\bv\b[ .]"),
}
_BINDINGS: Final = (("e", "e = s.session"), ("w", "w = e.world"), ("b", "b = s.backend"), ("v", "v = s.server"))


class _Writer:
    """Collects the format string, its values and the objects they refer to."""

    def __init__(self, scope: Scope, use: Use) -> None:
        self.scope = scope
        self.use = use
        self.template = bytearray()
        self.values: list[str] = []
        self.names = _namespace(scope)

    def literal(self, text: str) -> None:
        if not self.template and self.use is Use.LOG:
            # "%{+Q}o %ci": spaces are delimiters, and in front of the first item there is nothing to delimit.
            text = text.lstrip(" ")
        self.template += text.encode("utf-8", "surrogateescape").replace(b"%", b"%%")

    def value(self, code: str, conversion: bytes = b"%b") -> None:
        self.template += conversion
        self.values.append(code)

    def bind(self, thing: object) -> str:
        name = f"x{len(self.names)}"
        self.names[name] = thing
        return name

    def source(self) -> str:
        text = bytes(self.template)
        if not self.values:
            return f"def line(s):\n    return {text.replace(b'%%', b'%')!r}\n"
        values = ", ".join(self.values)
        # `raw` bytes of the template appear as a literal only: repr() of bytes is always one valid literal.
        body = f"    return {text!r} % ({values},)\n"
        bindings = [line for name, line in _BINDINGS if _USES[name].search(values)]
        return "def line(s):\n" + "".join(f"    {line}\n" for line in bindings) + body

    def finish(self) -> Formatter:
        names = dict(self.names)
        exec(compile(self.source(), "<log format>", "exec"), names)
        formatter: Formatter = names["line"]
        return formatter


def _namespace(scope: Scope) -> dict[str, Any]:
    """Everything that alias expressions may name."""
    zone = scope.surroundings.timezone
    name = scope.proxy.name
    http = scope.proxy.mode is Mode.HTTP
    return {
        # Where something that is called from here is compiled, it imports by the builtins of the nearest caller that is not.
        "__builtins__": {"int": int, "max": max, "__import__": __import__},
        "date_ms": date_ms_writer(zone),
        "local_date": date_writer(zone, with_zone=True),
        "utc_date": date_writer(UTC, with_zone=True),
        "digits": _DIGITS,
        "frontend": name.encode(),
        "frontend_tls": name.encode() + b"~",
        "frontend_name": name,
        "hostname": scope.surroundings.hostname.encode(),
        "http_version": _http_version,
        "names": Names(),
        "origin": b"txn_close",
        "path_of": path_of,
        "process_id": scope.surroundings.process_id,
        "query_with_mark": _query_with_mark,
        # In TCP mode the total counts from the accept already.
        "total_time": total_time if http else lambda stream: stream.t_total,
        "user_time": user_time if http else lambda stream: stream.t_total,
        "unique_id": _unique_id,
    }


def compile_format(format_: LogFormat, scope: Scope, use: Use) -> Formatter:
    """Compile a format.

    Args:
        use: what the result is for.

    Raises:
        ConfigError: an unknown alias, an expression that is wrong, or an encoding that is not supported yet.
    """
    writer = _Writer(scope, use)
    for item in format_.items:
        _write(item, writer)
    return writer.finish()


def compile_formats(formats: tuple[LogFormat, ...], scope: Scope, use: Use) -> Formatter:
    """Compile several formats as one."""
    writer = _Writer(scope, use)
    for format_ in formats:
        for item in format_.items:
            _write(item, writer)
    return writer.finish()


def source_of(format_: LogFormat, scope: Scope, use: Use) -> str:
    """The generated source, for tests and the curious."""
    writer = _Writer(scope, use)
    for item in format_.items:
        _write(item, writer)
    return writer.source()


def constant_of(format_: LogFormat) -> bytes | None:
    """The format's text when nothing in it is evaluated, else None."""
    if all(isinstance(item, Literal) for item in format_.items):
        return "".join(item.text for item in format_.items if isinstance(item, Literal)).encode("utf-8", "surrogateescape")
    return None


def _write(item: LogItem, writer: _Writer) -> None:
    if isinstance(item, Literal):
        writer.literal(item.text)
        return
    for encoding in ("json", "cbor"):
        if encoding in item.flags:
            raise config_error(f"the encoding '{encoding}' of log formats is known but not yet supported", item.location)
    if isinstance(item, Evaluated):
        _write_expression(item, writer)
    else:
        _write_alias(item, writer)


def _escape_for(item: Alias | Evaluated, writer: _Writer) -> Callable[[bytes], bytes]:
    if writer.use is Use.HEADER:
        return escape_field
    if writer.use is not Use.LOG or "bin" in item.flags:
        return _unchanged
    return escape_rfc5424 if "E" in item.flags else escape_log


def _write_text(code: str, item: Alias | Evaluated, writer: _Writer, *, safe: bool = False) -> None:
    """A text value: quotes, escaping, and `-` where a log has nothing to say."""
    quoted = "Q" in item.flags
    missing = b"" if quoted or writer.use is not Use.LOG else b"-"
    escape = _escape_for(item, writer)
    if code == REQUEST_LINE:
        # 8.2.3: what stands in the log where there was no valid request line
        bad = b"<BADREQ>" if writer.use is Use.LOG else missing
        code = f"{writer.bind(_request_line(escape, bad))}(s)"
    elif not safe:
        name = writer.bind(_text_function(escape, missing))
        code = f"{name}({code})"
    if quoted:
        writer.literal('"')
    writer.value(code)
    if quoted:
        writer.literal('"')


def _text_function(escape: Callable[[bytes], bytes], missing: bytes) -> Callable[[bytes | None], bytes]:
    if escape is _unchanged:
        return lambda value: value or missing
    return lambda value: escape(value) if value else missing


#: Numbers that `+X` writes in hexadecimal, besides addresses and ports; others stay decimal (8.2.6).
_HEXADECIMAL: Final = frozenset({"Ts", "rt", "pid"})


def _write_integer(row: AliasRow, item: Alias, writer: _Writer) -> None:
    if "X" in item.flags and (row.kind == "port" or item.name in _HEXADECIMAL):
        writer.value(row.code, b"%04X" if row.kind == "port" else b"%X")
    elif row.small:
        # A look-up among the small numbers costs half of what the formatting of one costs; there are a dozen in a line.
        writer.value(f"digits[{row.code}]")
    else:
        writer.value(row.code, b"%d")


def _write_alias(item: Alias, writer: _Writer) -> None:
    row = ALIASES.get(item.name)
    if row is None:
        raise config_error(f"there is no log variable '%{item.name}'", item.location, allowed=tuple(ALIASES), written=item.name)
    if item.name in LOG_ONLY and writer.use is not Use.LOG:
        raise config_error(f"'%{item.name}' means something in logs only", item.location)
    plus = row.incomplete and writer.use is Use.LOG and writer.scope.proxy.logging.as_soon_as_possible
    if row.kind in ("int", "port"):
        if plus:
            writer.literal("+")
        _write_integer(row, item, writer)
    elif row.kind == "raw":
        _write_raw(item.name, row, writer)
    elif item.name in _CONSTANT and (constant := _CONSTANT[item.name](writer.scope.proxy)) is not None:
        _write_constant(constant, item, writer)
    elif row.kind == "ip":
        code = f"{writer.bind(_hex_address)}({row.code})" if "X" in item.flags else row.code
        _write_text(code, item, writer, safe=item.name in ("ci", "fi"))
    elif row.kind in ("captures", "captures_clf"):
        _write_captures(row, item, writer)
    else:
        _write_text(row.code, item, writer, safe=item.name in SAFE)


def _write_raw(name: str, row: AliasRow, writer: _Writer) -> None:
    if name in ("ts", "tsc"):
        writer.value("s.termination", b"%.2b")
        if name == "tsc":
            writer.value("s.cookie_states")
    elif name == "rc":
        writer.value("(b'+' if s.redispatched else b'')")
        writer.value("digits[s.retries]")
    else:
        writer.value(row.code)


def _transport(proxy: Proxy) -> str | None:
    """%ft where all binds, or none, speak TLS."""
    kinds = {bind.tls is not None for bind in proxy.binds}
    if len(kinds) != 1:
        return None
    return proxy.name + "~" if True in kinds else proxy.name


#: Aliases that a proxy's configuration decides: for a value that can never be there the line costs nothing.
_CONSTANT: Final[dict[str, Callable[[Proxy], str | None]]] = {
    "CC": lambda proxy: "" if proxy.logging.cookie_capture is None else None,
    "CS": lambda proxy: "" if proxy.logging.cookie_capture is None else None,
    "f": lambda proxy: proxy.name,
    "ft": _transport,
}


def _write_constant(text: str, item: Alias, writer: _Writer) -> None:
    quoted = "Q" in item.flags
    shown = text if text or quoted or writer.use is not Use.LOG else "-"
    writer.literal(f'"{shown}"' if quoted else shown)


def _write_captures(row: AliasRow, item: Alias, writer: _Writer) -> None:
    logging = writer.scope.proxy.logging
    side = "request" if item.name in ("hr", "hrl") else "response"
    headers = logging.request_captures if side == "request" else logging.response_captures
    count = len(headers) + sum(1 for where, _ in logging.declared_captures if where == side)
    # "When no capture is enabled, the braces do not appear, causing a shift of remaining fields" (8.2.3): nor does the space.
    lead = b""
    if writer.template.endswith(b" "):
        del writer.template[-1:]
        lead = b" "
    if not count:
        return
    if row.kind == "captures":
        write = _captures(count, escape_rfc5424 if "E" in item.flags else escape_capture, lead)
    else:
        write = _captures_clf(count, lead, quote="Q" in item.flags)
    writer.value(f"{writer.bind(write)}({row.code})")


def _write_expression(item: Evaluated, writer: _Writer) -> None:
    compiled = compile_expression(item.expression, writer.scope)
    if not castable(compiled.type, Type.STR):
        raise config_error(f"'{item.expression.text}' gives {compiled.type.value}, which has no text", item.location)
    if "X" in item.flags and compiled.type is Type.SINT:
        run = compiled.run
        _write_text(f"{writer.bind(_hex_number(run))}(s)", item, writer)
        return
    # Binary data is kept whole where the format says so, or where nothing but bytes is asked for.
    raw = compiled.type is Type.BIN and ("bin" in item.flags or writer.use in (Use.PLAIN, Use.BODY))
    run = compiled.run if raw else compiled.cast(Type.STR)
    _write_text(f"{writer.bind(run)}(s)", item, writer)


def _hex_number(run: Run) -> Callable[[Stream], bytes | None]:
    def write(stream: Stream) -> bytes | None:
        value: Value = run(stream)
        return b"%X" % value if isinstance(value, int) else None

    return write
