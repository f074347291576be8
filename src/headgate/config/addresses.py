"""Reads the address forms of manual 2.9 from a word: bind, server, source, log and stats socket lines all come here.

Only the form is decided. Host names stay names (`runtime` resolves them), paths are not looked at.
"""

from __future__ import annotations

from typing import Literal

from headgate.base.addresses import Address, Family, Transport
from headgate.base.diagnostics import ConfigError, config_error
from headgate.base.records import dataclass
from headgate.base.regex import regex
from headgate.config.cursor import Word
from headgate.config.spans import piece_of

PortRule = Literal["mandatory", "optional", "forbidden"]

#: sun_path has 108 bytes; HAProxy binds to a temporary name first and keeps room for its suffix.
LONGEST_UNIX_PATH = 97
#: An abstract name needs only the leading zero byte.
LONGEST_ABSTRACT_NAME = 106


@dataclass(frozen=True, slots=True)
class _Prefix:
    """What a family or protocol prefix (2.9.1, 2.9.3) says. `family` None: by the form of the address (`ip@`)."""

    family: Family | None
    transport: Transport | None = None
    mptcp: bool = False


_STREAM, _DGRAM = Transport.STREAM, Transport.DATAGRAM

_FAMILIES: dict[str, _Prefix] = {
    "abns": _Prefix(Family.ABNS),
    "abnsz": _Prefix(Family.ABNSZ),
    "fd": _Prefix(Family.FD),
    "ip": _Prefix(None),
    "ipv4": _Prefix(Family.INET),
    "ipv6": _Prefix(Family.INET6),
    "sockpair": _Prefix(Family.SOCKPAIR),
    "unix": _Prefix(Family.UNIX),
}
_PROTOCOLS: dict[str, _Prefix] = {
    "tcp": _Prefix(None, _STREAM),
    "tcp4": _Prefix(Family.INET, _STREAM),
    "tcp6": _Prefix(Family.INET6, _STREAM),
    "mptcp": _Prefix(None, _STREAM, True),
    "mptcp4": _Prefix(Family.INET, _STREAM, True),
    "mptcp6": _Prefix(Family.INET6, _STREAM, True),
    "udp": _Prefix(None, _DGRAM),
    "udp4": _Prefix(Family.INET, _DGRAM),
    "udp6": _Prefix(Family.INET6, _DGRAM),
    "uxdg": _Prefix(Family.UNIX, _DGRAM),
    "uxst": _Prefix(Family.UNIX, _STREAM),
}
_TYPES = {"stream": _STREAM, "dgram": _DGRAM}
_UNSUPPORTED = frozenset({"quic", "quic4", "quic6", "rhttp"})
_PREFIXES = _FAMILIES | _PROTOCOLS

_IPV4 = regex(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)")
_DOTTED = regex(r"[0-9.]+")
_HOST = regex(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_PORTS = regex(r"([+-])?([0-9]{1,9})(?:-([0-9]{1,9}))?")


def part_of(word: Word, start: int, stop: int) -> Word:
    """The piece of a word between two indexes of its text, with its own place."""
    return Word(word.text[start:stop], piece_of(word, start, stop))


def split_commas(word: Word) -> list[Word]:
    """Cut a word at its commas (`bind :80,:443`); each piece knows its own columns."""
    pieces, start = [], 0
    for text in word.text.split(","):
        pieces.append(part_of(word, start, start + len(text)))
        start += len(text) + 1
    return pieces


def parse_address(
    word: Word,
    *,
    port: PortRule = "optional",
    default_port: int = 0,
    allow_range: bool = False,
    allow_offset: bool = False,
    whole_ipv6: bool = False,
    default_transport: Transport = Transport.STREAM,
) -> Address:
    """Read one address (2.9).

    Args:
        word: the whole address with its prefixes and port.
        port: whether IP addresses and names must, may or must not have a port. Other families never have one.
        default_port: the port of an address without one.
        allow_range: `first-last` is allowed.
        allow_offset: `+N` and `-N` are allowed: the port is then relative to the one that the client connected to (5.2).
        whole_ipv6: an IPv6 address without brackets has no port: all its colons are its own. So it is where no port may stand.
        default_transport: what an address without a type or protocol prefix uses.

    Raises:
        ConfigError: not an address, or a form that the place does not allow.
    """
    prefix, transport, start = _read_prefixes(word)
    text = word.text[start:]
    family = prefix.family
    if family is None and start == 0 and text.startswith("/"):
        family = Family.UNIX
    transport = transport or prefix.transport or default_transport
    if family in (Family.FD, Family.SOCKPAIR):
        return Address(family, _descriptor(word, start), transport=transport)
    if family in (Family.UNIX, Family.ABNS, Family.ABNSZ):
        return Address(family, _socket_name(word, start, family), transport=transport)
    whole_ipv6 = (whole_ipv6 or port == "forbidden") and _is_ipv6(text)
    host, port_at = (text, None) if whole_ipv6 else _split_port(text)
    first, last, offset = default_port, default_port, False
    if port_at is not None:
        if port == "forbidden":
            raise _wrong(word, start + port_at - 1, f"a port is not allowed in '{word.text}'")
        first, last, offset = _read_ports(word, start + port_at, allow_range, allow_offset)
    elif port == "mandatory":
        remedy = f"write for example '{word.text}:80'"
        raise config_error(f"missing port number in '{word.text}'", word.location, remedy=remedy)
    return _internet(word, start, host, family, Address(Family.INET, "", first, last, offset, transport, None, prefix.mptcp))


def _read_prefixes(word: Word) -> tuple[_Prefix, Transport | None, int]:
    """`stream+ipv4@`: the family or protocol, the type prefix, and the index where the address begins."""
    text = word.text
    if text.startswith("/"):
        return _Prefix(None), None, 0
    at = text.find("@")
    if at < 0:
        return _Prefix(None), None, 0
    kind, plus, name = text[:at].rpartition("+")
    if name in _UNSUPPORTED or kind in _UNSUPPORTED:
        raise _wrong(word, 0, f"address prefix '{text[:at]}@' is known but not yet supported")
    if plus and kind not in _TYPES:
        raise _wrong(word, 0, f"unknown socket type prefix '{kind}+' in '{text}'", stop=at, allowed=("stream+", "dgram+"))
    if name not in _PREFIXES:
        allowed = tuple(f"{known}@" for known in _PREFIXES)
        place = part_of(word, 0, at + 1).location
        raise config_error(f"unknown address prefix '{name}@'", place, allowed=allowed, written=f"{name}@")
    return _PREFIXES[name], _TYPES.get(kind), at + 1


def _descriptor(word: Word, start: int) -> str:
    text = word.text[start:]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise _wrong(word, start, f"file descriptor '{text}' in '{word.text}' must be a whole number")
    return text


def _socket_name(word: Word, start: int, family: Family) -> str:
    name = word.text[start:]
    longest = LONGEST_UNIX_PATH if family is Family.UNIX else LONGEST_ABSTRACT_NAME
    what = "path" if family is Family.UNIX else "abstract name"
    if not name:
        raise _wrong(word, start, f"socket {what} is missing in '{word.text}'")
    if len(name.encode("utf-8", "surrogateescape")) > longest:
        raise _wrong(word, start, f"socket {what} is longer than {longest} bytes")
    return name


def _split_port(text: str) -> tuple[str, int | None]:
    """Host and the index behind the colon of the port. Without brackets the last colon is the port's, also in IPv6."""
    if text.startswith("["):
        close = text.find("]")
        if close >= 0:
            behind = text[close + 1 :]
            if not behind:
                return text, None
            if behind.startswith(":"):
                return text[: close + 1], close + 2
            return text, None
    colon = text.rfind(":")
    return (text, None) if colon < 0 else (text[:colon], colon + 1)


def _read_ports(word: Word, start: int, allow_range: bool, allow_offset: bool) -> tuple[int, int, bool]:
    text = word.text[start:]
    match = _PORTS.fullmatch(text)
    if match is None:
        if not text:
            raise _wrong(word, start - 1, f"missing port number behind ':' in '{word.text}'")
        hint = " (an IPv6 address stands in brackets: '[::1]:80')" if word.text.count(":") > 1 else ""
        raise _wrong(word, start, f"invalid port '{text}' in '{word.text}'{hint}")
    sign, first_text, last_text = match.groups()
    if sign:
        if not allow_offset:
            raise _wrong(word, start, f"a port offset ('{text}') is not allowed here")
        if last_text:
            raise _wrong(word, start, f"a port offset can't be a range ('{text}')")
    first = int(first_text)
    last = first
    if last_text:
        if not allow_range:
            raise _wrong(word, start, f"a port range ('{text}') is not allowed here")
        last = int(last_text)
    if first > 65535 or last > 65535:
        raise _wrong(word, start, f"port '{text}' is out of range: 0 to 65535")
    if last < first:
        raise _wrong(word, start, f"port range '{text}' runs backwards")
    value = -first if sign == "-" else first
    return value, value if sign else last, bool(sign)


def _internet(word: Word, start: int, host: str, wanted: Family | None, form: Address) -> Address:
    """Decide between IPv4, IPv6 and a name; `form` carries the port and transport."""

    def made(family: Family, name: str, prefer: Family | None = None) -> Address:
        return Address(
            family, name, form.port, form.last_port, form.port_is_offset, form.transport, prefer, form.mptcp
        )

    end = start + len(host)
    if host in ("", "*"):
        if wanted is Family.INET6:
            return made(Family.INET6, "::")
        return made(Family.INET, "0.0.0.0" if host else "")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed or ":" in host:
        literal = host[1:-1] if bracketed else host
        if not _is_ipv6(literal):
            raise _wrong(word, start, f"'{host}' is not an IPv6 address", stop=end)
        if wanted is Family.INET:
            raise _wrong(word, start, f"'{host}' is not an IPv4 address, which the prefix asks for", stop=end)
        return made(Family.INET6, literal)
    if _IPV4.fullmatch(host):
        if wanted is Family.INET6:
            raise _wrong(word, start, f"'{host}' is not an IPv6 address, which the prefix asks for", stop=end)
        return made(Family.INET, host)
    if _DOTTED.fullmatch(host):
        remedy = f"a port alone is written ':{host}'" if host.isdigit() else None
        raise _wrong(word, start, f"'{host}' is not an IPv4 address", stop=end, remedy=remedy)
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise _wrong(word, start, f"'{host[:80]}' is neither an IP address nor a host name", stop=end)
    return made(Family.NAME, host, wanted)


def is_literal(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address, without brackets or a port."""
    return _IPV4.fullmatch(text) is not None or _is_ipv6(text)


def _is_ipv6(text: str) -> bool:
    import ipaddress  # seldom needed, and starting counts

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _wrong(
    word: Word, start: int, message: str, *, stop: int | None = None, allowed: tuple[str, ...] = (), remedy: str | None = None
) -> ConfigError:
    place = part_of(word, start, len(word.text) if stop is None else stop).location
    return config_error(message, place, allowed=allowed, remedy=remedy)
