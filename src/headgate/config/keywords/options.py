"""`option <name>`, `no option <name>`, `default option <name>` (manual 4.2): the boolean ones, and those of connections.

Options of logs and of checks are in their own families.
"""

from __future__ import annotations

import ipaddress

from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.keywords.replies import header_name
from headgate.config.model import AddressHeader, ConnectionMode
from headgate.config.registry import BACK, FRONT, KEYWORDS, PROXY, Keyword, Parser, Scope, Status

_BOOLEANS: dict[str, frozenset[Scope]] = {
    "abortonclose": PROXY,
    "allbackups": BACK,
    "clitcpka": FRONT,
    "http-buffer-request": PROXY,
    "http-ignore-probes": FRONT,
    "http-pretend-keepalive": BACK,
    "idle-close-on-response": FRONT,
    "log-health-checks": BACK,
    "nolinger": PROXY,
    "persist": BACK,
    "socket-stats": FRONT,
    "srvtcpka": BACK,
}

_NO_EFFECT: dict[str, tuple[frozenset[Scope], str]] = {
    "contstats": (FRONT, "counters are kept up to date while a stream runs in any case"),
    "disable-h2-upgrade": (FRONT, "a plain connection is never upgraded to HTTP/2"),
    "http-no-delay": (PROXY, "nothing is ever held back to fill a packet"),
    "splice-auto": (PROXY, "bulk data of plain TCP relays is spliced in any case, unless the global section says 'nosplice'"),
    "splice-request": (PROXY, "bulk data of plain TCP relays is spliced in any case, unless the global section says 'nosplice'"),
    "splice-response": (PROXY, "bulk data of plain TCP relays is spliced in any case, unless the global section says 'nosplice'"),
    "tcp-smart-accept": (FRONT, "it saves one acknowledgement packet, which is the kernel's choice"),
    "tcp-smart-connect": (BACK, "it saves one acknowledgement packet, which is the kernel's choice"),
    "use-small-buffers": (BACK, "buffers grow as they are needed"),
}


def switch(name: str) -> Parser:
    """`option <name>`, with `no` and `default`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        cursor.finish()
        put_switch(cursor, draft, f"option {name}")

    return parse


def put_switch(cursor: Cursor, draft: ProxyDraft, key: str) -> None:
    """Store True, or False behind `no`; `default` forgets what the defaults section said (4.1)."""
    if cursor.prefix == "default":
        draft.settings.pop(key, None)
    else:
        draft.settings.put(key, cursor.prefix != "no", cursor.keyword.location)


def _connection_mode(mode: ConnectionMode) -> Parser:
    """`option http-keep-alive`, `http-server-close`, `httpclose`: the last one wins; `no` returns to keep-alive."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        cursor.finish()
        if not cursor.prefix:
            draft.settings.put("connection mode", mode, cursor.keyword.location)
        elif draft.settings.value("connection mode") is mode:
            draft.settings.pop("connection mode")

    return parse


def _force_close(cursor: Cursor, draft: ProxyDraft) -> None:
    """`option forceclose`: `option httpclose` today."""
    _connection_mode(ConnectionMode.CLOSE)(cursor, draft)
    place = cursor.keyword.location
    cursor.report.warn("'option forceclose' was removed by HAProxy 2.0", place, remedy="write 'option httpclose'")


def _tunnel(cursor: Cursor, draft: ProxyDraft) -> None:
    """`option http-tunnel`: keep-alive is what is left of it."""
    _connection_mode(ConnectionMode.KEEP_ALIVE)(cursor, draft)
    cursor.report.warn(
        "'option http-tunnel' was removed by HAProxy 2.1: every request is looked at", cursor.keyword.location,
        remedy="leave it out, or write 'mode tcp' where HTTP should not be looked at",
    )


def _htx(cursor: Cursor, draft: ProxyDraft) -> None:
    """`option http-use-htx`: there is nothing else since HAProxy 2.1."""
    cursor.finish()
    cursor.report.warn("'option http-use-htx' was removed by HAProxy 2.1", cursor.keyword.location, remedy="leave it out")


def _tcpka(cursor: Cursor, draft: ProxyDraft) -> None:
    """`option tcpka`: `clitcpka` and `srvtcpka` at once, where each applies."""
    cursor.finish()
    if draft.is_frontend or draft.is_defaults:
        put_switch(cursor, draft, "option clitcpka")
    if draft.is_backend or draft.is_defaults:
        put_switch(cursor, draft, "option srvtcpka")


def _redispatch(cursor: Cursor, draft: ProxyDraft) -> None:
    """`option redispatch [<interval>]`: -1 on the last retry only (the default), N on every Nth, -N the Nth from the end."""
    interval = cursor.integer("an interval", -0x7FFFFFFF, 0x7FFFFFFF) if cursor.more else -1
    cursor.finish()
    if cursor.prefix == "default":
        draft.settings.pop("option redispatch", None)
    else:
        draft.settings.put("option redispatch", 0 if cursor.prefix == "no" else interval, cursor.keyword.location)


def _old_redispatch(cursor: Cursor, draft: ProxyDraft) -> None:
    """`redispatch`, the word of HAProxy 1.2."""
    cursor.finish()
    draft.settings.put("option redispatch", -1, cursor.keyword.location)
    cursor.report.warn("'redispatch' was removed by HAProxy 2.1", cursor.keyword.location, remedy="write 'option redispatch'")


def _address_header(name: str, default: str, *, if_none: bool) -> Parser:
    """`option forwardfor|originalto [except <network>] [header <name>] [if-none]`."""
    words = ("except", "header", "if-none") if if_none else ("except", "header")

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        header, networks, only_missing = default, [], False
        while cursor.more:
            word = cursor.take(*words)
            if word is None:
                wrong = cursor.next("an option")
                raise cursor.wrong(wrong, f"'option {name}' does not take '{wrong.text}'", allowed=words)
            if word.text == "header":
                header = header_name(cursor)
            elif word.text == "except":
                networks.append(_network(cursor))
            else:
                only_missing = True
        draft.settings.put(f"option {name}", AddressHeader(header, tuple(networks), only_missing), cursor.keyword.location)

    return parse


def _network(cursor: Cursor) -> str:
    word = cursor.next("a network such as 127.0.0.0/8")
    try:
        ipaddress.ip_network(word.text, strict=False)
    except ValueError:
        raise cursor.wrong(word, f"'{word.text}' is not a network", remedy="write for example '127.0.0.0/8' or '::1'") from None
    return word.text


def _restrict_names(cursor: Cursor, draft: ProxyDraft) -> None:
    """`option http-restrict-req-hdr-names { preserve | delete | reject }`."""
    policy = cursor.choice("policy", {name: name for name in ("preserve", "delete", "reject")})
    cursor.finish()
    draft.settings.put("option http-restrict-req-hdr-names", policy, cursor.keyword.location)


def _ignore(cursor: Cursor, draft: ProxyDraft) -> None:
    """An option without effect: its words are passed over."""
    cursor.take_all()


def _row(name: str, scopes: frozenset[Scope], parse: Parser, *, negatable: bool = True) -> Keyword:
    return Keyword(f"option {name}", scopes, Status.IMPLEMENTED, parse, negatable=negatable)


KEYWORDS.add(
    *[_row(name, scopes, switch(name)) for name, scopes in _BOOLEANS.items()],
    *[
        Keyword(f"option {name}", scopes, Status.NO_EFFECT, _ignore, note, negatable=True)
        for name, (scopes, note) in _NO_EFFECT.items()
    ],
    _row("http-keep-alive", PROXY, _connection_mode(ConnectionMode.KEEP_ALIVE)),
    _row("http-server-close", PROXY, _connection_mode(ConnectionMode.SERVER_CLOSE)),
    _row("httpclose", PROXY, _connection_mode(ConnectionMode.CLOSE)),
    _row("tcpka", PROXY, _tcpka),
    _row("redispatch", BACK, _redispatch),
    _row("forwardfor", PROXY, _address_header("forwardfor", "X-Forwarded-For", if_none=True), negatable=False),
    _row("originalto", PROXY, _address_header("originalto", "X-Original-To", if_none=False), negatable=False),
    _row("http-restrict-req-hdr-names", PROXY, _restrict_names, negatable=False),
    Keyword("redispatch", PROXY, Status.REMOVED, _old_redispatch, "option redispatch"),
    Keyword("option forceclose", PROXY, Status.REMOVED, _force_close, "option httpclose", negatable=True),
    Keyword("option http-tunnel", PROXY, Status.REMOVED, _tunnel, "leave it out", negatable=True),
    Keyword("option http-use-htx", PROXY, Status.REMOVED, _htx, "leave it out", negatable=True),
    Keyword(
        "option http_proxy", PROXY, Status.REMOVED,
        note="write 'http-request do-resolve' and 'http-request set-dst' instead",
    ),
)
