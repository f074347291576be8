"""Cookie persistence: which server the client's cookie names, and what the response's cookie becomes (manual 4.2 `cookie`).

Made only for backends with a `cookie` line, so others pay nothing. `read_request` is called by `BackendState.assign`, and
`write_response` by the exchange machine before the response head is sent. The third and fourth character of the termination
state (8.5) are kept in `stream.cookie_states`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from headgate.balance.server import ServerState
from headgate.config.model import CookiePersistence
from headgate.plan.facts import Stream
from headgate.wire.http1.heads import Field, RequestHead, make_field

#: Stands between the server's identifier and the application's value in prefix mode.
_PREFIX_DELIMITER: Final = b"~"
#: Stands between the identifier, the last date and the first date in insert mode.
_DATE_DELIMITER: Final = b"|"
#: 4.2 cookie: dates further in the future than this are ignored, with their cookie; nearer ones are a wrong time zone.
_LONGEST_FUTURE: Final = 86400
#: Dates count units of four seconds in 30 bits, written as five base64 digits.
_DATE_UNIT: Final = 4
_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def encode_date(now: float) -> bytes:
    """A date as it stands in the cookie."""
    number = int(now) // _DATE_UNIT & 0x3FFFFFFF
    return bytes(_DIGITS[number >> shift & 63] for shift in (24, 18, 12, 6, 0))


def decode_date(text: bytes) -> int | None:
    """Seconds since the epoch, or None when this is no date."""
    if len(text) != 5:
        return None
    number = 0
    for digit in text:
        place = _DIGITS.find(digit)
        if place < 0:
            return None
        number = number << 6 | place
    return number * _DATE_UNIT


def dynamic_value(host: str, port: int, key: str) -> bytes | None:
    """The value of a dynamic cookie: a hash of address, port and secret key; None when the host is no IP address."""
    try:
        packed = ipaddress.ip_address(host).packed
    except ValueError:
        return None
    import xxhash  # `dynamic` cookies are rare

    return xxhash.xxh64_hexdigest(key.encode() + packed + port.to_bytes(4, "big")).encode("ascii")


class Presented:
    """What the client's cookie said.

    Attributes:
        server: the server that it names, usable or not, None when it names none or may not be followed.
        value: the identifier that was found, None without a cookie.
        last, first: dates in the cookie, seconds; None: not there.
        ignored: `ignore-persist` applied: nothing is inserted either, or a static file would move the client to another server.
    """

    __slots__ = ("first", "ignored", "last", "server", "value")

    def __init__(self) -> None:
        self.server: ServerState | None = None
        self.value: bytes | None = None
        self.last: int | None = None
        self.first: int | None = None
        self.ignored = False


class Persistence:
    """The cookie of one backend."""

    __slots__ = ("_attributes", "_by_value", "_dated", "_dynamic_key", "_name", "_servers", "_spec")

    def __init__(self, spec: CookiePersistence, servers: Sequence[ServerState], dynamic_key: str | None = None) -> None:
        """`dynamic_key`: dynamic-cookie-key; without it `dynamic` has no effect."""
        self._spec = spec
        self._name = spec.name.encode("latin-1")
        self._servers = tuple(servers)
        self._dynamic_key = dynamic_key if spec.dynamic else None
        self._dated = spec.mode == "insert" and (spec.maxidle is not None or spec.maxlife is not None)
        self._by_value: dict[bytes, list[ServerState]] = {}
        attributes = ["path=/", *(f"domain={domain}" for domain in spec.domains)]
        attributes += ["HttpOnly"] * spec.httponly + ["Secure"] * spec.secure + list(spec.attributes)
        self._attributes = "; ".join(["", *attributes]).encode("latin-1")
        if self._dynamic_key is not None:
            for server in self._servers:
                self._derive(server, server.address.host, server.address.port)
        self._index()

    def address_changed(self, server: ServerState, host: str, port: int) -> None:
        """The server's IP address became known or changed: its dynamic cookie is made again."""
        if self._dynamic_key is not None:
            self._derive(server, host, port)
            self._index()

    def set_servers(self, servers: Sequence[ServerState]) -> None:
        """Servers came or went."""
        for server in servers:
            if server not in self._servers:
                self._derive(server, server.address.host, server.address.port)
        self._servers = tuple(servers)
        self._index()

    @property
    def dynamic_key(self) -> str | None:
        """`dynamic-cookie-key` in force; None while cookies are not dynamic."""
        return self._dynamic_key

    def set_dynamic_key(self, key: str | None) -> None:
        """Make dynamic cookies with another key, or none any more."""
        self._dynamic_key = key
        for server in self._servers:
            if server.spec.cookie is None:
                server.cookie = None
                self._derive(server, server.address.host, server.address.port)
        self._index()

    def _derive(self, server: ServerState, host: str, port: int) -> None:
        if server.spec.cookie is None and self._dynamic_key is not None:
            server.cookie = dynamic_value(host, port, self._dynamic_key)

    def _index(self) -> None:
        self._by_value = {}
        for server in self._servers:
            if server.cookie is not None:
                self._by_value.setdefault(server.cookie, []).append(server)

    # --- requests ----------------------------------------------------------------------------------------------------

    def read_request(
        self, stream: Stream, now: float, *, ignored: bool = False, decided: bool = False, forced: bool = False
    ) -> ServerState | None:
        """Follow the client's cookie, and edit it out of the request where the mode says so.

        Args:
            stream: gets `persistence` and the first of `cookie_states`. Read before (a retry), it is not edited again.
            now: wall clock, seconds.
            ignored: `ignore-persist` matched.
            decided: a `use-server` rule has chosen already.
            forced: `option persist` or `force-persist`: servers that are down are followed too.

        Returns:
            The server to use, or None.
        """
        request = stream.request
        if request is None:
            return None
        presented = stream.persistence
        if not isinstance(presented, Presented):
            stream.persistence = presented = Presented()
            self._present(request, presented)
        presented.ignored = ignored
        state, server = self._judge(presented, now, forced)
        if state not in (b"N", b"E", b"O") and ignored:
            state, server = b"I", None
        elif state == b"V" and decided:
            state, server = b"U", None
        stream.cookie_states = state + stream.cookie_states[1:].replace(b"-", b"N")
        return server

    def redispatched(self, stream: Stream) -> None:
        """The server that the cookie named could not be reached, and another one is taken (8.5: D)."""
        if stream.cookie_states[:1] == b"V":
            stream.cookie_states = b"D" + stream.cookie_states[1:]

    def _judge(self, presented: Presented, now: float, forced: bool) -> tuple[bytes, ServerState | None]:
        """The character of 8.5 and the server to use."""
        presented.server = None
        if presented.value is None:
            return b"N", None
        named = self._by_value.get(presented.value)
        if not named:
            return b"I", None
        if self._dated:
            if self._outlived(presented.last, self._spec.maxidle, now):
                return b"E", None
            if self._outlived(presented.first, self._spec.maxlife, now):
                return b"O", None
        for server in named:
            if server.usable():
                presented.server = server
                return b"V", server
        if forced:
            presented.server = named[0]
            return b"D", named[0]
        return b"D", None

    @staticmethod
    def _outlived(date: int | None, limit: float | None, now: float) -> bool:
        if date is None or limit is None:
            return False
        return now - date > limit or date - now > _LONGEST_FUTURE

    def _present(self, request: RequestHead, presented: Presented) -> None:
        """Find the cookie and edit the request's Cookie fields."""
        name = self._name
        spec = self._spec
        fields: list[Field] = []
        changed = False
        for field in request.fields:
            if field.name != b"cookie" or name not in field.value:
                fields.append(field)
                continue
            kept: list[bytes] = []
            touched = False
            for part in field.value.split(b";"):
                key, equals, value = part.partition(b"=")
                if key.strip(b" \t") != name or not equals:
                    kept.append(part)
                    continue
                rest = self._read_value(value.strip(b" \t"), presented)
                if spec.mode == "insert" and spec.indirect:
                    touched = True
                elif rest is not None:
                    kept.append(key + b"=" + rest)
                    touched = True
                else:
                    kept.append(part)
            if not touched:
                fields.append(field)
                continue
            changed = True
            if kept:
                fields.append(make_field(field.line[: len(field.name)], b";".join(kept).strip(b" \t")))
        if changed:
            request.fields = fields
            request.edited = True

    def _read_value(self, value: bytes, presented: Presented) -> bytes | None:
        """Take the identifier (and dates) out of a cookie's value; the rest for the server in prefix mode, else None."""
        if self._spec.mode == "prefix":
            identifier, delimiter, rest = value.partition(_PREFIX_DELIMITER)
            if not delimiter:
                presented.value = presented.value or value
                return None
            presented.value = presented.value or identifier
            return rest
        if presented.value is None:
            identifier, *dates = value.split(_DATE_DELIMITER) if self._spec.mode == "insert" else [value]
            presented.value = identifier
            if self._dated:
                presented.last = decode_date(dates[0]) if dates else None
                presented.first = decode_date(dates[1]) if len(dates) > 1 else None
        return None

    # --- responses ---------------------------------------------------------------------------------------------------

    def write_response(self, stream: Stream, now: float) -> None:
        """Set, rewrite, prefix or remove the cookie in `stream.response`, as the mode says; sets the last of `cookie_states`.

        Args:
            stream: `server` is who answered; nothing is done when there is none (an answer of our own).
            now: wall clock, seconds.
        """
        response, server, presented = stream.response, stream.server, stream.persistence
        if response is None or not isinstance(server, ServerState) or not isinstance(presented, Presented):
            return
        spec = self._spec
        valid = presented.server is not None and presented.value == server.cookie
        state = b"N"
        fields: list[Field] = []
        for field in response.fields:
            value = self._own_value(field)
            if value is None:
                fields.append(field)
                continue
            state, replacement = self._server_cookie(field, value, server, valid)
            if replacement is not None:
                fields.append(replacement)
        if state not in (b"N", b"P"):
            response.fields = fields
            response.edited = True
        if spec.mode == "insert" and state != b"P":
            operation = self._insertion(stream, server, presented, valid, now)
            if operation is not None:
                state = operation
                response.add(b"Set-Cookie", self._cookie(server, presented, valid, now))
                if spec.nocache:
                    response.add(b"Cache-Control", b"private")
        stream.cookie_states = stream.cookie_states[:1] + state

    def _own_value(self, field: Field) -> bytes | None:
        """The value in a Set-Cookie field when it sets our cookie, else None."""
        if field.name != b"set-cookie":
            return None
        name, equals, value = field.value.partition(b";")[0].partition(b"=")
        return value.strip(b" \t") if equals and name.strip(b" \t") == self._name else None

    def _server_cookie(self, field: Field, value: bytes, server: ServerState, valid: bool) -> tuple[bytes, Field | None]:
        """What becomes of our cookie when the server sets it: the character of 8.5 and the field, None when it is removed."""
        spec = self._spec
        if spec.mode == "insert" or (spec.indirect and valid):
            return (b"P", field) if spec.preserve else (b"D", None)
        if server.cookie is None:
            return b"P", field
        replacement = server.cookie if spec.mode == "rewrite" else server.cookie + _PREFIX_DELIMITER + value
        pair, semicolon, attributes = field.value.partition(b";")
        name = pair.partition(b"=")[0]
        return b"R", make_field(field.line[: len(field.name)], name + b"=" + replacement + semicolon + attributes)

    def _insertion(self, stream: Stream, server: ServerState, presented: Presented, valid: bool, now: float) -> bytes | None:
        """I or U when a cookie is to be inserted or refreshed, None when not."""
        spec = self._spec
        request = stream.request
        if server.cookie is None or presented.ignored:
            return None
        if spec.postonly and (request is None or request.method != b"POST"):
            return None
        if not valid:
            return b"I"
        if spec.maxidle is not None and presented.last != int(now) // _DATE_UNIT * _DATE_UNIT:
            return b"U"
        if spec.maxlife is not None and presented.first is None:
            return b"U"
        return None

    def _cookie(self, server: ServerState, presented: Presented, valid: bool, now: float) -> bytes:
        value = self._name + b"=" + (server.cookie or b"")
        if self._dated:
            value += _DATE_DELIMITER + encode_date(now)
            if self._spec.maxlife is not None:
                kept = presented.first if valid else None
                value += _DATE_DELIMITER + encode_date(now if kept is None else kept)
        return value + self._attributes
