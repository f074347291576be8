"""The lines of a `crt-store` section (manual 12.7): certificates that the storage holds, and what they are called."""

from __future__ import annotations

from headgate.config.cursor import Cursor
from headgate.config.drafts import CertificateDraft, CrtStoreDraft
from headgate.config.keywords.crt_list import load_options
from headgate.config.keywords.line_options import integer, one_of, store, text
from headgate.config.registry import KEYWORDS, Keyword, Parser, Scope, Status

#: Curves of keys that are made.
_CURVES = ("P-256", "P-384", "P-521", "prime256v1", "secp256r1", "secp384r1", "secp521r1")
_LOAD: dict[str, Parser] = load_options() | {
    "alias": store("alias", text("a name")),
    "bits": store("bits", integer("the size of an RSA key", 1024, 16384)),
    "crt": store("crt", text("a certificate file")),
    "curves": store("curves", one_of("curve", {name: name for name in _CURVES})),
    "generate-dummy": store("generate-dummy", one_of("mode", {"on": True, "off": False})),
    "keytype": store("keytype", one_of("type of key", {"RSA": "RSA", "ECDSA": "ECDSA"})),
}
_UNSUPPORTED = {
    "acme": "certificates are not requested from a CA: let certbot, lego or acme.sh do that",
    "domains": "it belongs to acme",
    "ips": "it belongs to acme",
    "jwt": "",
}


def parse_load(cursor: Cursor, draft: CrtStoreDraft) -> None:
    """`load [crt <filename>] [param*]`"""
    line = CertificateDraft("", cursor.keyword.location, line=cursor.keyword.location.line)
    while cursor.more:
        word = cursor.next("an option")
        if word.text in _UNSUPPORTED:
            remedy = _UNSUPPORTED[word.text] or None
            raise cursor.wrong(word, f"option '{word.text}' of 'load' is known but not yet supported", remedy=remedy)
        if word.text not in _LOAD:
            raise cursor.wrong(word, f"unknown option '{word.text}' of 'load'", allowed=tuple(_LOAD))
        _LOAD[word.text](cursor, line)
    if "crt" not in line.settings:
        raise cursor.wrong(cursor.keyword, "'load' names no certificate", remedy="write 'load crt <file>'")
    alias = line.settings.value("alias", "")
    if "/" in alias:
        raise cursor.wrong(cursor.keyword, f"alias '{alias}' has a '/' in it", remedy="name it without the store: alias site1")
    line.path, line.location = line.settings.value("crt"), line.settings.place("crt")
    draft.loads.append(line)


def _directory(name: str) -> Parser:
    def parse(cursor: Cursor, draft: CrtStoreDraft) -> None:
        draft.settings.put(name, cursor.next("a directory").text, cursor.keyword.location)
        cursor.finish()

    return parse


_STORE = frozenset({Scope.CRT_STORE})
KEYWORDS.add(
    Keyword("crt-base", _STORE, Status.IMPLEMENTED, _directory("crt-base")),
    Keyword("key-base", _STORE, Status.IMPLEMENTED, _directory("key-base")),
    Keyword("load", _STORE, Status.IMPLEMENTED, parse_load),
)
