"""`server <name> <address>[:[port]] [param*]` and `default-server [param*]` (manual 4.2, 5.2 Server options).

What `default-server` set before a server line, or what the line says that it begins `from`, is beneath its own options; `no-*`
forms take it back.
"""

from __future__ import annotations

from headgate.base.addresses import Address, Family
from headgate.base.regex import regex
from headgate.config.addresses import is_literal, parse_address, split_commas
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft, ServerDraft, Settings
from headgate.config.keywords.line_options import (
    HasSettings,
    comma_list,
    flag,
    integer,
    one_of,
    read_options,
    rows,
    store,
    text,
    time,
    unsupported,
    without_effect,
)
from headgate.config.keywords.source import read_source
from headgate.config.keywords.tls_options import shared_options
from headgate.config.keywords.tls_server import SERVER_OPTIONS, other_rows
from headgate.config.model import ProxyProtocolSend
from headgate.config.parse_expression import parse_expression
from headgate.config.registry import BACK, KEYWORDS, NOT_DEFAULTS, Keyword, Parser, Scope, Status
from headgate.config.server_origins import read_origin
from headgate.config.tls_options import Verify

SERVER_NAME = regex(r"[A-Za-z0-9_.:-]+")
_HOST_NAME = regex(r"(?=.*[A-Za-z])[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")

#: The highest number of a template's server.
MOST_TEMPLATE_SERVERS = 65536

#: Options of the PROXY protocol's version 2 (5.2 "proxy-v2-options").
PROXY_V2_OPTIONS = ("ssl", "cert-cn", "ssl-cipher", "cert-sig", "cert-key", "authority", "crc32c", "unique-id")


def parse_server(cursor: Cursor, draft: ProxyDraft) -> None:
    """`server <name> <address>[:[port]] [from <origin>] [options]`."""
    name = _name(cursor, "a server name", "server name")
    if name.text in draft.default_servers:
        raise cursor.wrong(name, f"'{name.text}' is the name of a default-server")
    address = _address(cursor, name)
    settings = read_origin(cursor, draft, draft.default_server)
    server = ServerDraft(name.text, name.location, address, settings, is_whole=False)
    # Before its options: a server with a bad one is not "defined nowhere" for those who name it.
    draft.servers.append(server)
    read_options(cursor, Scope.SERVER, server)
    server.is_whole = True


def _name(cursor: Cursor, expected: str, what: str) -> Word:
    name = cursor.next(expected)
    if not SERVER_NAME.fullmatch(name.text):
        raise cursor.wrong(name, f"{what} '{name.text}' may only have letters, digits, '-', '_', '.' and ':'")
    return name


def _address(cursor: Cursor, name: Word) -> Address:
    """The address; where an option stands in its place and the name can be a host's, the name is the address too.

    HAProxy 1.5 read `server apache01.lan check` as the host called `check`, which nobody ever meant.
    """
    following = cursor.peek()
    # `server web1` alone is an address forgotten; with a dot in it, the name surely is a host's.
    is_option = "." in name.text if following is None else KEYWORDS.find(Scope.SERVER, [following]) is not None
    if is_option and _HOST_NAME.fullmatch(name.text):
        rest = "".join(f" {word.text}" for word in cursor.rest) if name.location.excerpt else " ..."
        cursor.report.warn(
            f"server '{name.text}' has no address: its name is taken as the host name, and the port is the one that the"
            " client connected to", name.location, remedy=f"write 'server {name.text} {name.text}:<port>{rest}'",
        )
        return Address(Family.NAME, name.text)
    return parse_address(cursor.next("an address"), port="optional", allow_offset=True)


def parse_default_server(cursor: Cursor, draft: ProxyDraft) -> None:
    """`default-server [name <name>] [from <origin>] [options]`, in this section and in those that inherit it.

    Without a name it is beneath all server lines that follow, with one beneath those that begin from it.
    """
    name = _name(cursor, "a name", "the name") if cursor.take("name") else None
    if name is not None and any(server.name == name.text for server in draft.servers):
        raise cursor.wrong(name, f"'{name.text}' is the name of a server")
    before = draft.default_server if name is None else draft.default_servers.get(name.text, Settings())
    settings = read_origin(cursor, draft, before)
    line = ServerDraft("", cursor.keyword.location, settings=settings)
    line.settings.pop("id", None)
    read_options(cursor, Scope.SERVER, line)
    if "id" in line.settings:
        raise cursor.wrong(cursor.keyword, "'id' can't stand on a 'default-server' line: it belongs to one server")
    if name is None:
        draft.default_server = line.settings
    else:
        draft.default_servers[name.text] = line.settings


def parse_template(cursor: Cursor, draft: ProxyDraft) -> None:
    """`server-template <prefix> <num | range> <fqdn>[:<port>] [from <origin>] [options]`: they differ in their number only.

    As HAProxy does, it takes an address for a name: then all are at the same place.
    """
    prefix = _name(cursor, "a prefix for the names of servers", "the prefix")
    numbers = _numbers(cursor)
    address = parse_address(cursor.next("a host name"), allow_offset=True)
    settings = read_origin(cursor, draft, draft.default_server)
    first = ServerDraft(f"{prefix.text}{numbers[0]}", prefix.location, address, settings)
    read_options(cursor, Scope.SERVER, first)
    if "id" in first.settings and len(numbers) > 1:
        raise cursor.wrong(cursor.keyword, "'id' can't stand on a 'server-template' line: it belongs to one server")
    draft.servers.append(first)
    for number in numbers[1:]:
        draft.servers.append(ServerDraft(f"{prefix.text}{number}", prefix.location, address, Settings(first.settings)))


def _numbers(cursor: Cursor) -> range:
    word = cursor.next("how many servers, or a range such as 1-3")
    low, dash, high = word.text.rpartition("-")
    first, last = (low, high) if dash else ("1", word.text)
    if not (first.isdecimal() and last.isdecimal()) or not 1 <= int(first) <= int(last) <= MOST_TEMPLATE_SERVERS:
        raise cursor.wrong(word, f"'{word.text}' is neither a number of servers nor a range, from 1 to {MOST_TEMPLATE_SERVERS}")
    return range(int(first), int(last) + 1)


def _send_proxy(version: int, *options: str) -> Parser:
    """`send-proxy`, `send-proxy-v2`, `send-proxy-v2-ssl`, `send-proxy-v2-ssl-cn`."""
    return flag("send-proxy", ProxyProtocolSend(version, frozenset(options)))


def _expression(cursor: Cursor, draft: HasSettings) -> None:
    """`sni <expression>`."""
    word = cursor.next("a sample expression")
    draft.settings.put("sni", parse_expression(word), word.location)


_INIT_WAYS = ("last", "libc", "none")


def _init_address(cursor: Cursor) -> tuple[str, ...]:
    word = cursor.next("a list of last, libc, none and addresses")
    parts = split_commas(word)
    for part in parts:
        if part.text not in _INIT_WAYS and not is_literal(part.text):
            known = (*_INIT_WAYS, "<ip>")
            raise cursor.wrong(part, f"unknown way '{part.text}' to find an address", allowed=known)
    return tuple(part.text for part in parts)


def _weight(cursor: Cursor) -> int:
    return cursor.integer("weight", 0, 256)


_OPTIONS: dict[str, Parser] = shared_options() | SERVER_OPTIONS | {
    "backup": flag("backup"),
    "no-backup": flag("backup", False),
    "cookie": store("cookie", text("a cookie value")),
    "crt": store("crt", text("a certificate file")),
    "disabled": flag("disabled"),
    "enabled": flag("disabled", False),
    "hash-key": store("hash-key", one_of("hash key", {key: key for key in ("id", "id32", "addr", "addr-port")})),
    "id": store("id", integer("server id", 1, 0x7FFFFFFF)),
    "init-addr": store("init-addr", _init_address),
    "max-reuse": store("max-reuse", integer("max-reuse", -1)),
    "maxconn": store("maxconn", integer("maxconn", 0)),
    "maxqueue": store("maxqueue", integer("maxqueue", 0)),
    "minconn": store("minconn", integer("minconn", 0)),
    "no-send-proxy": flag("send-proxy", None),
    "non-stick": flag("non-stick"),
    "stick": flag("non-stick", False),
    "no-send-proxy-v2": flag("send-proxy", None),
    "no-send-proxy-v2-ssl": flag("send-proxy", None),
    "no-send-proxy-v2-ssl-cn": flag("send-proxy", None),
    "no-sni-auto": flag("sni-auto", False),
    "no-ssl": flag("ssl", False),
    "no-ssl-reuse": flag("ssl-reuse", False),
    "no-verifyhost": flag("verifyhost", None),
    "pool-max-conn": store("pool-max-conn", integer("pool-max-conn", -1)),
    "pool-purge-delay": store("pool-purge-delay", time("pool-purge-delay")),
    "proxy-v2-options": store("proxy-v2-options", comma_list("PROXY protocol option", PROXY_V2_OPTIONS)),
    "redir": store("redir", text("a prefix such as http://images.example.com")),
    "send-proxy": _send_proxy(1),
    "send-proxy-v2": _send_proxy(2),
    "send-proxy-v2-ssl": _send_proxy(2, "ssl"),
    "send-proxy-v2-ssl-cn": _send_proxy(2, "ssl", "cert-cn"),
    "sni": _expression,
    "sni-auto": flag("sni-auto"),
    "source": store("source", lambda cursor: read_source(cursor, allow_range=True)),
    "ssl-reuse": flag("ssl-reuse"),
    "tcp-ut": store("tcp-ut", time("TCP user timeout")),
    "verify": store("verify", one_of("verify", {"none": Verify.NONE, "required": Verify.REQUIRED})),
    "verifyhost": store("verifyhost", text("a host name")),
    "weight": store("weight", _weight),
}

_UNSUPPORTED = (
    "cc guid log-bufsize log-proto namespace quic-cc-algo set-proxy-v2-tlv-fmt shard strict-maxconn tcp-md5sig tfo"
)

_SERVER = frozenset({Scope.SERVER})

KEYWORDS.add(
    Keyword("server", BACK & NOT_DEFAULTS, Status.IMPLEMENTED, parse_server),
    Keyword("server-template", BACK & NOT_DEFAULTS, Status.IMPLEMENTED, parse_template),
    Keyword("default-server", BACK, Status.IMPLEMENTED, parse_default_server),
    *rows(Scope.SERVER, _OPTIONS),
    *unsupported(Scope.SERVER, _UNSUPPORTED),
    Keyword(
        "proto", _SERVER, Status.NO_EFFECT, store("proto", one_of("protocol", {"h1": "h1", "none": "none"})),
        "HTTP/1 is the only protocol so far",
    ),
    Keyword(
        "ws", _SERVER, Status.NO_EFFECT, store("ws", one_of("protocol", {"auto": "auto", "h1": "h1"})),
        "HTTP/1 is the only protocol so far",
    ),
    without_effect(Scope.SERVER, "no-tfo", "TCP fast open is never used towards servers"),
    *other_rows(),
)
