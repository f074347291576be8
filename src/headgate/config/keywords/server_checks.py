"""Options of server lines about checks, agents and tracking, and the SOCKS4 proxy that both may go through (manual 5.2)."""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.addresses import Family
from headgate.config.addresses import PortRule, parse_address
from headgate.config.cursor import Cursor
from headgate.config.keywords.check_rules import read_protocol
from headgate.config.keywords.line_options import (
    HasSettings,
    flag,
    integer,
    one_of,
    rows,
    store,
    text,
    time,
)
from headgate.config.keywords.tls_options import protocols
from headgate.config.registry import KEYWORDS, Parser, Scope


def _address(key: str, port: PortRule) -> Parser:
    """`addr <ipv4|ipv6>`, with a port as HAProxy takes it, and `agent-addr <addr>`, whose port is `agent-port`."""

    def parse(cursor: Cursor, draft: HasSettings) -> None:
        word = cursor.next("an address")
        draft.settings.put(key, parse_address(word, port=port, whole_ipv6=True), word.location)

    return parse


def _socks4(cursor: Cursor, draft: HasSettings) -> None:
    """`socks4 <addr>:<port>`: the proxy that connections go through."""
    word = cursor.next("an address and a port")
    address = parse_address(word, port="mandatory")
    if address.family not in (Family.INET, Family.INET6):
        raise cursor.wrong(word, "'socks4' needs an IP address: names are not looked up for it")
    draft.settings.put("socks4", address, word.location)


def _track(cursor: Cursor, draft: HasSettings) -> None:
    """`track [<backend>/]<server>`: ("", server) for the same backend."""
    word = cursor.next("a server, or <backend>/<server>")
    backend, _, server = word.text.rpartition("/")
    if not server:
        raise cursor.wrong(word, f"'{word.text}' names no server", remedy="write 'track <backend>/<server>'")
    draft.settings.put("track", (backend, server), word.location)


def _agent_send(cursor: Cursor) -> bytes:
    """`agent-send <string>`, verbatim."""
    return cursor.next("a string").text.encode("utf-8", "surrogateescape")


def _interval(what: str) -> Callable[[Cursor], float]:
    """Reads a time between two checks, which is also how long one may take."""

    def read(cursor: Cursor) -> float:
        seconds = cursor.time(what)
        if seconds < _LEAST_INTERVAL:
            word = cursor.last
            raise cursor.wrong(word, f"{what} must be at least 1 ms, not '{word.text}'", remedy="2s is the default of 'inter'")
        return seconds

    return read


#: Seconds.
_LEAST_INTERVAL = 0.001
#: Checks in a row.
_MOST_CHECKS = 0x7FFFFFFF
_INIT_STATES = ("fully-up", "up", "down", "fully-down", "none")
_ON_ERROR = ("fastinter", "fail-check", "sudden-death", "mark-down")


def _words(what: str, words: tuple[str, ...]) -> Parser:
    return store(what, one_of(what, {word: word for word in words}))


_OPTIONS: dict[str, Parser] = {
    "addr": _address("addr", "optional"),
    "agent-addr": _address("agent-addr", "forbidden"),
    "agent-check": flag("agent-check"),
    "agent-inter": store("agent-inter", _interval("agent-inter")),
    "agent-port": store("agent-port", integer("agent-port", 1, 65535)),
    "agent-send": store("agent-send", _agent_send),
    "check": flag("check"),
    "check-alpn": store("check-alpn", protocols),
    "check-pool-conn-name": store("check-pool-conn-name", text("a connection name")),
    "check-proto": store("check-proto", read_protocol),
    "check-reuse-pool": flag("check-reuse-pool"),
    "check-send-proxy": flag("check-send-proxy"),
    "check-sni": store("check-sni", text("a server name")),
    "check-ssl": flag("check-ssl"),
    "check-via-socks4": flag("check-via-socks4"),
    "downinter": store("downinter", _interval("downinter")),
    "error-limit": store("error-limit", integer("error-limit", 1)),
    "fall": store("fall", integer("fall", 1, _MOST_CHECKS)),
    "fastinter": store("fastinter", _interval("fastinter")),
    "healthcheck": store("healthcheck", text("the name of a healthcheck section")),
    "init-state": _words("init-state", _INIT_STATES),
    "inter": store("inter", _interval("inter")),
    "no-agent-check": flag("agent-check", False),
    "no-check": flag("check", False),
    "no-check-reuse-pool": flag("check-reuse-pool", False),
    "no-check-send-proxy": flag("check-send-proxy", False),
    "no-check-ssl": flag("check-ssl", False),
    "observe": _words("observe", ("layer4", "layer7")),
    "on-error": _words("on-error", _ON_ERROR),
    "on-marked-down": _words("on-marked-down", ("shutdown-sessions",)),
    "on-marked-up": _words("on-marked-up", ("shutdown-backup-sessions",)),
    "port": store("port", integer("port", 1, 65535)),
    "rise": store("rise", integer("rise", 1, _MOST_CHECKS)),
    "slowstart": store("slowstart", time("slowstart")),
    "socks4": _socks4,
    "track": _track,
}

KEYWORDS.add(*rows(Scope.SERVER, _OPTIONS))
