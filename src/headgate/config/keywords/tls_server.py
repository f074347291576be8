"""The TLS and idle pool options that only server lines have (manual 5.2), and what the TLS library or its binding can't do."""

from __future__ import annotations

from headgate.config.cursor import Cursor
from headgate.config.keywords.line_options import HasSettings, flag, integer, store, text, time, without_effect
from headgate.config.keywords.tls_options import kernel_tls
from headgate.config.parse_expression import parse_expression
from headgate.config.registry import Keyword, Parser, Scope, Status

_NPN = "NPN was replaced by ALPN (RFC 7301): use 'alpn'"


def _pool_name(cursor: Cursor, draft: HasSettings) -> None:
    """`pool-conn-name <expression>`."""
    word = cursor.next("a sample expression")
    draft.settings.put("pool-conn-name", parse_expression(word), word.location)


SERVER_OPTIONS: dict[str, Parser] = {
    "allow-0rtt": flag("allow-0rtt"),
    "check-sni-auto": flag("check-sni-auto"),
    "client-sigalgs": store("client-sigalgs", text("a list of signature algorithms")),
    "crl-file": store("crl-file", text("a file of certificate revocation lists")),
    "ktls": kernel_tls,
    "no-check-sni-auto": flag("check-sni-auto", False),
    "no-renegotiate": flag("renegotiate", False),
    "pool-conn-name": _pool_name,
    "renegotiate": flag("renegotiate"),
    "sigalgs": store("sigalgs", text("a list of signature algorithms")),
}


def other_rows() -> list[Keyword]:
    """Rows of options that change nothing, or that can't be followed, with the reason."""
    scope = frozenset({Scope.SERVER})
    return [
        without_effect(
            Scope.SERVER, "idle-ping", "only HTTP/2 has pings: idle HTTP/1 connections are not tested", time("idle-ping"),
        ),
        without_effect(
            Scope.SERVER, "pool-low-conn", "idle connections are not shared between workers", integer("pool-low-conn"),
        ),
        Keyword("npn", scope, Status.UNSUPPORTED, note=_NPN),
    ]
