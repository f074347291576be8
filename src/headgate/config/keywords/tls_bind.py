"""The TLS options that only bind lines have (manual 5.1): client certificates, signatures, early data, and what can't be.

Those that the TLS library or its Python binding does not reach have a row that says what it would take.
"""

from __future__ import annotations

from headgate.base.diagnostics import config_error
from headgate.base.verify_errors import verify_error_names, verify_error_number
from headgate.config.addresses import split_commas
from headgate.config.client_auth import IgnoredErrors
from headgate.config.cursor import Cursor
from headgate.config.keywords.line_options import HasSettings, flag, store, text
from headgate.config.keywords.tls_options import kernel_tls
from headgate.config.registry import Keyword, Parser, Scope, Status

_ALL_OR_SOME = "write 'all' to ignore every error, or the ones to be ignored without it"


def _ecdhe(cursor: Cursor, draft: HasSettings) -> None:
    """`ecdhe <named curve>`: `curves` of one; beside `curves` it is ignored."""
    option = cursor.last
    value = cursor.next("a named curve").text
    earlier = draft.settings.place("curves")
    if earlier.underlined == "curves":
        cursor.report.warn("'ecdhe' has no effect beside 'curves'", option.location, remedy="leave it out")
    else:
        draft.settings.put("curves", value, option.location)


def _ignored_errors(cursor: Cursor) -> IgnoredErrors:
    """`all`, or error numbers and names separated by commas."""
    word = cursor.next("'all', or verification errors such as X509_V_ERR_CERT_HAS_EXPIRED")
    if word.text == "all":
        return IgnoredErrors(everything=True)
    numbers = set()
    for part in split_commas(word):
        if not part.text:
            raise config_error("an error is missing beside a comma", part.location, remedy="take the comma out")
        if part.text == "all":
            raise config_error("'all' stands alone: no other error is left to ignore", part.location, remedy=_ALL_OR_SOME)
        number = verify_error_number(part.text)
        if not number:
            known = ("all", *verify_error_names()[1:])
            raise cursor.wrong(part, f"unknown verification error '{part.text}'", allowed=known)
        numbers.add(number)
    return IgnoredErrors(frozenset(numbers))


_NPN = "NPN was replaced by ALPN (RFC 7301), and the binding has left it out: use 'alpn'"
_ECH = "OpenSSL has it from 4.0 on, but SSL_CTX_set1_echstore is left out of the module that cryptography links it into"

BIND_OPTIONS: dict[str, Parser] = {
    "allow-0rtt": flag("allow-0rtt"),
    "ca-ignore-err": store("ca-ignore-err", _ignored_errors),
    "ca-verify-file": store("ca-verify-file", text("a file or directory of CA certificates")),
    "client-sigalgs": store("client-sigalgs", text("a list of signature algorithms")),
    "crl-file": store("crl-file", text("a file of certificate revocation lists")),
    "crt-ignore-err": store("crt-ignore-err", _ignored_errors),
    "ecdhe": _ecdhe,
    "ktls": kernel_tls,
    "no-ca-names": flag("no-ca-names"),
    "sigalgs": store("sigalgs", text("a list of signature algorithms")),
    "tls-ticket-keys": store("tls-ticket-keys", text("a file with keys of session tickets")),
}

_IMPOSSIBLE = {
    "ech": _ECH,
    "npn": _NPN,
}


def impossible(scope: Scope) -> list[Keyword]:
    """Rows of options that the TLS library or its binding does not give us, with what it would take."""
    return [Keyword(name, frozenset({scope}), Status.UNSUPPORTED, note=note) for name, note in _IMPOSSIBLE.items()]
