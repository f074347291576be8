"""The TLS options that bind and server lines share (manual 5.1, 5.2), and `ssl-default-bind-options`'s words.

`resolve` makes `TlsVersions` of the `ssl-min-ver`, `ssl-max-ver`, `no-tlsv*` and `force-tlsv*` that were stored here.
"""

from __future__ import annotations

from headgate.config.addresses import split_commas
from headgate.config.cursor import Cursor
from headgate.config.keywords.line_options import HasSettings, flag, one_of, store, text
from headgate.config.registry import Parser
from headgate.config.written_options import EXCLUSIONS, VERSIONS

_PROTOCOL_MOST = 255
_KTLS = "the TLS library that the Python binding carries is built without kernel TLS; it would take a build of OpenSSL with it"


def protocols(cursor: Cursor) -> tuple[str, ...]:
    """Names of ALPN protocols, as they can be sent: a length of one byte goes before each (RFC 7301 section 3.1)."""
    option, word = cursor.last.text, cursor.next("an ALPN protocol list")
    names = [name for name in split_commas(word) if name.text]
    if not names:
        raise cursor.wrong(word, f"'{option}' names no protocol", remedy=f"write for example '{option} http/1.1'")
    for name in names:
        if not name.text.isascii() or len(name.text) > _PROTOCOL_MOST:
            raise cursor.wrong(name, f"'{name.text}' can't be an ALPN protocol")
    return tuple(name.text for name in names)


def kernel_tls(cursor: Cursor, draft: object) -> None:
    """`ktls on|off`: `off` is how it is."""
    word = cursor.next("'on' or 'off'")
    if word.text == "on":
        raise cursor.wrong(word, "'ktls on' is known but not yet supported", remedy=_KTLS)
    if word.text != "off":
        raise cursor.wrong(word, f"ktls must be 'on' or 'off', not '{word.text}'", allowed=("on", "off"))


def _force(version: str) -> Parser:
    """`force-tlsv12`: exactly this version."""

    def parse(cursor: Cursor, draft: HasSettings) -> None:
        place = cursor.last.location
        draft.settings.put("ssl-min-ver", version, place)
        draft.settings.put("ssl-max-ver", version, place)

    return parse


def version_options() -> dict[str, Parser]:
    """Rows for `ssl-min-ver`, `ssl-max-ver`, `no-*` and `force-*`."""
    known = {version: version for version in VERSIONS}
    options: dict[str, Parser] = {
        "ssl-min-ver": store("ssl-min-ver", one_of("TLS version", known)),
        "ssl-max-ver": store("ssl-max-ver", one_of("TLS version", known)),
    }
    for word, version in EXCLUSIONS.items():
        options[word] = flag(word)
        options[word.replace("no", "force", 1)] = _force(version)
    return options


def shared_options() -> dict[str, Parser]:
    """Rows that read the same on both kinds of lines."""
    return version_options() | {
        "ssl": flag("ssl"),
        "alpn": store("alpn", protocols),
        "ca-file": store("ca-file", text("a file or directory of CA certificates")),
        "ciphers": store("ciphers", text("a cipher list")),
        "ciphersuites": store("ciphersuites", text("a list of TLS 1.3 cipher suites")),
        "curves": store("curves", text("a list of curves")),
        "no-tls-tickets": flag("tls-tickets", False),
        "tls-tickets": flag("tls-tickets"),
    }
