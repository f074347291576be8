"""`bind [<address>]:<port_range>[, ...] [param*]` and `bind /<path> ...` (manual 4.2 "bind", 5.1 Bind options).

One line may have several addresses, separated by commas; each becomes a `Bind`.
"""

from __future__ import annotations

from headgate.base.addresses import Transport
from headgate.config.addresses import parse_address, split_commas
from headgate.config.cursor import Cursor
from headgate.config.drafts import BindDraft, CertificateDraft, CrtListFile, ProxyDraft
from headgate.config.keywords.line_options import (
    flag,
    integer,
    one_of,
    read_options,
    rows,
    shards,
    store,
    text,
    time,
    unsupported,
    without_effect,
)
from headgate.config.keywords.tls_bind import BIND_OPTIONS, impossible
from headgate.config.keywords.tls_options import shared_options
from headgate.config.model import Bind
from headgate.config.registry import KEYWORDS, Keyword, Parser, Scope, Status
from headgate.config.tls_options import Verify


def parse_bind(cursor: Cursor, draft: ProxyDraft) -> None:
    """`bind <address>[,<address>...] [options]`."""
    line = BindDraft(cursor.keyword.location, is_whole=False)
    # Before it is read: a section with a wrong bind line is not one without any.
    draft.binds.append(line)
    word = cursor.next("an address such as ':443', '192.0.2.1:80' or '/run/socket'")
    for piece in split_commas(word):
        address = parse_address(piece, port="mandatory", allow_range=True)
        if address.transport is Transport.DATAGRAM:
            raise cursor.wrong(piece, "datagram listeners are known but not yet supported")
        line.addresses.append(Bind(address, piece.location))
    read_options(cursor, Scope.BIND, line)
    line.is_whole = True


def _certificate(*, is_default: bool) -> Parser:
    """`crt <file|directory>` and `default-crt <file>`; may stand several times, the first is a default one anyway."""

    def parse(cursor: Cursor, draft: BindDraft) -> None:
        word = cursor.next("a certificate file or directory")
        _add(draft, CertificateDraft(word.text, word.location, is_default=is_default))

    return parse


def _crt_list(cursor: Cursor, draft: BindDraft) -> None:
    """`crt-list <file>`"""
    word = cursor.next("a crt-list file")
    _add(draft, CrtListFile(word.text, word.location))


def _add(draft: BindDraft, item: CertificateDraft | CrtListFile) -> None:
    known: tuple[CertificateDraft | CrtListFile, ...] = draft.settings.value("crt", ())
    draft.settings.put("crt", (*known, item), item.location)


def _octal(cursor: Cursor) -> int:
    word = cursor.next("an octal mode such as 660")
    try:
        mode = int(word.text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise cursor.wrong(word, f"mode must be octal, from 0 to 7777, not '{word.text}'")
    return mode


#: Who may connect to a unix socket; `unix-bind` has the same.
PERMISSIONS: dict[str, Parser] = {
    "gid": store("group", lambda cursor: str(cursor.integer("group id", 0))),
    "group": store("group", text("a group name")),
    "mode": store("mode", _octal),
    "uid": store("user", lambda cursor: str(cursor.integer("user id", 0))),
    "user": store("user", text("a user name")),
}

_OPTIONS: dict[str, Parser] = shared_options() | BIND_OPTIONS | PERMISSIONS | {
    "accept-proxy": flag("accept-proxy"),
    "backlog": store("backlog", integer("backlog", 0)),
    "ca-sign-file": store("ca-sign-file", text("a file with a CA certificate and its private key")),
    "ca-sign-pass": store("ca-sign-pass", text("a pass phrase")),
    "crt": _certificate(is_default=False),
    "crt-list": _crt_list,
    "default-crt": _certificate(is_default=True),
    "generate-certificates": flag("generate-certificates"),
    "defer-accept": flag("defer-accept"),
    "id": store("id", integer("socket id", 1, 0x7FFFFFFF)),
    "interface": store("interface", text("an interface name")),
    "maxconn": store("maxconn", integer("maxconn", 0)),
    "mss": store("mss", integer("maximum segment size", -65535, 65535)),
    "name": store("name", text("a socket name")),
    "no-alpn": flag("alpn", ()),
    "no-strict-sni": flag("strict-sni", False),
    "prefer-client-ciphers": flag("prefer-client-ciphers"),
    "strict-sni": flag("strict-sni"),
    "tcp-ut": store("tcp-ut", time("TCP user timeout")),
    "tfo": flag("tfo"),
    "transparent": flag("transparent"),
    "v4v6": flag("v4v6"),
    "v6only": flag("v6only"),
    "verify": store("verify", one_of("verify", {kind.value: kind for kind in Verify})),
}

_UNSUPPORTED = (
    "accept-netscaler-cip cc expose-fd guid-prefix idle-ping label level namespace nbconn quic-cc-algo quic-force-retry"
    " quic-socket severity-output tcp-md5sig tcp-ss"
)

_THREADS = "which worker takes a connection is the kernel's choice here"

KEYWORDS.add(
    Keyword("bind", frozenset({Scope.FRONTEND, Scope.LISTEN}), Status.IMPLEMENTED, parse_bind),
    *rows(Scope.BIND, _OPTIONS),
    *unsupported(Scope.BIND, _UNSUPPORTED),
    *impossible(Scope.BIND),
    Keyword(
        "nice", frozenset({Scope.BIND}), Status.NO_EFFECT, store("nice", integer("nice", -1024, 1024)),
        "all connections of a worker are served in turn",
    ),
    Keyword(
        "proto", frozenset({Scope.BIND}), Status.NO_EFFECT, store("proto", one_of("protocol", {"h1": "h1", "none": "none"})),
        "HTTP/1 is the only protocol so far",
    ),
    without_effect(Scope.BIND, "process", _THREADS, text("a set of processes")),
    without_effect(Scope.BIND, "thread", _THREADS, text("a set of threads")),
    without_effect(Scope.BIND, "shards", _THREADS, shards),
)
