"""What may stand between the brackets of a crt-list line, and in `ssl-f-use` (manual 5.1 "crt-list", 4.2 "ssl-f-use").

The TLS options are those of bind lines, with the status that they have there; to them come the files of 12.7.1.
"""

from __future__ import annotations

from dataclasses import replace

from headgate.config.cursor import Cursor
from headgate.config.drafts import CertificateDraft, ProxyDraft
from headgate.config.keywords.line_options import HasSettings, one_of, read_options, rows, store, text
from headgate.config.registry import KEYWORDS, Keyword, Parser, Scope, Status

#: Options of bind lines that a certificate may have for itself.
_OF_BIND_LINES = (
    "allow-0rtt alpn ca-file ca-verify-file ciphers ciphersuites client-sigalgs crl-file curves ecdhe ktls no-alpn no-ca-names"
    " npn sigalgs ssl-max-ver ssl-min-ver verify"
).split()


def load_options() -> dict[str, Parser]:
    """Rows for the files that belong to a certificate (12.7.1)."""
    return {
        "issuer": store("issuer", text("a file with the issuer's certificate")),
        "key": store("key", text("a private key file")),
        "ocsp": store("ocsp", text("a file with an OCSP response")),
        "ocsp-update": store("ocsp-update", one_of("mode", {"on": True, "off": False})),
        "sctl": store("sctl", text("a file with signed certificate timestamps")),
    }


def _certificate(cursor: Cursor, draft: HasSettings) -> None:
    """`crt <file>` of an `ssl-f-use` line."""
    word = cursor.next("a certificate file")
    if "crt" in draft.settings:
        raise cursor.wrong(word, "an 'ssl-f-use' line has one certificate", remedy="write a line for each")
    draft.settings.put("crt", word.text, word.location)


def parse_ssl_f_use(cursor: Cursor, draft: ProxyDraft) -> None:
    """`ssl-f-use crt <file> [<option>]...`"""
    line = CertificateDraft("", cursor.keyword.location, line=cursor.keyword.location.line, is_whole=False)
    # Before it is read: a frontend with a wrong one is not one without any certificate.
    draft.frontend_certificates.append(line)
    first = cursor.position
    read_options(cursor, Scope.CRT_LIST, line)
    if "crt" not in line.settings:
        raise cursor.wrong(cursor.keyword, "'ssl-f-use' names no certificate", remedy="write 'ssl-f-use crt <file>'")
    line.path, line.location = line.settings.value("crt"), line.settings.place("crt")
    words = [word.text for word in cursor.words[first:]]
    at = words.index("crt")
    line.written = " ".join(words[:at] + words[at + 2 :])
    line.is_whole = True


def _as_on_bind_lines(name: str) -> Keyword:
    found = KEYWORDS.find(Scope.BIND, [name])
    assert found is not None
    return replace(found[0], scopes=frozenset({Scope.CRT_LIST}))


KEYWORDS.add(
    *map(_as_on_bind_lines, _OF_BIND_LINES),
    *rows(Scope.CRT_LIST, load_options() | {"crt": _certificate}),
    Keyword("ssl-f-use", frozenset({Scope.FRONTEND, Scope.LISTEN}), Status.IMPLEMENTED, parse_ssl_f_use),
)
