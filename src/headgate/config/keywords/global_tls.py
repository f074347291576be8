"""TLS in the global section (manual 3.1): directories of certificates and the defaults of all bind and server lines."""

from __future__ import annotations

from collections.abc import Callable

from headgate.config.cursor import Cursor
from headgate.config.drafts import BindDraft, Settings
from headgate.config.keywords.global_rows import implemented, impossible, switch, value, without_effect
from headgate.config.keywords.line_options import flag
from headgate.config.keywords.tls_options import version_options
from headgate.config.model import EXTRA_FILES
from headgate.config.registry import KEYWORDS, Keyword, Parser
from headgate.config.section_drafts import GlobalSection
from headgate.config.tls_options import NamedFile, PropertyQuery, Provider, Verify

_TICKETS: dict[str, Parser] = {"no-tls-tickets": flag("tls-tickets", False), "tls-tickets": flag("tls-tickets")}
_BIND_OPTIONS: dict[str, Parser] = {
    **version_options(),
    **_TICKETS,
    "prefer-client-ciphers": flag("prefer-client-ciphers"),
    "strict-sni": flag("strict-sni"),
}
_SERVER_OPTIONS: dict[str, Parser] = {
    **version_options(),
    **_TICKETS,
    "no-renegotiate": flag("renegotiate", False),
    "no-ssl-reuse": flag("ssl-reuse", False),
    "renegotiate": flag("renegotiate"),
    "ssl-reuse": flag("ssl-reuse"),
}


def _options(name: str, known: dict[str, Parser]) -> Parser:
    """`ssl-default-bind-options [<option>]...`: a second line adds to the first."""

    def parse(cursor: Cursor, section: GlobalSection) -> None:
        line = BindDraft(cursor.keyword.location, settings=Settings(section.settings.value(name, {})))
        while cursor.more:
            word = cursor.next("an option")
            if word.text not in known:
                raise cursor.wrong(word, f"unknown option '{word.text}' of '{name}'", allowed=tuple(known))
            known[word.text](cursor, line)
        section.settings.put(name, line.settings, cursor.keyword.location)

    return parse


def _directory(name: str) -> Keyword:
    """`ca-base <dir>`, `crt-base <dir>`, `key-base <dir>`: relative ones start where `default-path` says."""

    def parse(cursor: Cursor, section: GlobalSection) -> None:
        directory = cursor.next("a directory").text
        cursor.finish()
        section.settings.put(name, section.config.path(directory), cursor.keyword.location)

    return implemented(name, parse)


def _file(name: str, what: str) -> Keyword:
    """`issuers-chain-path <dir>`, `ssl-dh-param-file <file>`"""

    def parse(cursor: Cursor, section: GlobalSection) -> None:
        word = cursor.next(what)
        cursor.finish()
        section.settings.put(name, NamedFile(section.config.path(word.text), word.location), cursor.keyword.location)

    return implemented(name, parse)


def _word(what: str) -> Callable[[Cursor], str]:
    return lambda cursor: cursor.next(what).text


def _extra_files(cursor: Cursor, section: GlobalSection) -> None:
    """`ssl-load-extra-files <none|all|bundle|sctl|ocsp|issuer|key>*`"""
    kinds = {"none": frozenset[str](), "all": EXTRA_FILES, **{kind: frozenset({kind}) for kind in sorted(EXTRA_FILES)}}
    found = cursor.choice("kind of file", kinds)
    while cursor.more:
        found = found | cursor.choice("kind of file", kinds)
    written = cursor.words[1:]
    alone = next((word for word in written if word.text in ("none", "all")), None)
    if alone is not None and len(written) > 1:
        raise cursor.wrong(alone, f"'{alone.text}' stands alone: it says what is done with every kind of file")
    section.settings.put("ssl-load-extra-files", found, cursor.keyword.location)


def _command(cursor: Cursor, section: GlobalSection) -> None:
    """`ssl-passphrase-cmd <cmd> <args> ...`"""
    words = [cursor.next("a command").text, *(word.text for word in cursor.take_all())]
    section.settings.put("ssl-passphrase-cmd", tuple(words), cursor.keyword.location)


def _provider(cursor: Cursor, section: GlobalSection) -> None:
    """`ssl-provider <name>`: they are loaded in their order, each from the `ssl-provider-path` before it."""
    name = cursor.next("the name of a provider")
    cursor.finish()
    settings = section.settings
    one = Provider(name.text, settings.value("ssl-provider-path"), name.location)
    settings.put("ssl-provider", (*settings.value("ssl-provider", ()), one), cursor.keyword.location)


def _property_query(cursor: Cursor) -> PropertyQuery:
    word = cursor.next("a query of properties")
    return PropertyQuery(word.text, word.location)


def _watch(cursor: Cursor, section: GlobalSection) -> None:
    """`crt-watch <interval>`, our own: files of certificates are looked at so often, and read when they have changed."""
    word = cursor.rest[0] if cursor.more else cursor.keyword
    seconds = cursor.time("an interval", "s")
    if seconds < _SHORTEST_WATCH:
        raise cursor.wrong(word, f"files can't be looked at more often than each {_SHORTEST_WATCH:g} s")
    cursor.finish()
    section.settings.put("crt-watch", seconds, cursor.keyword.location)


#: Of `crt-watch`, seconds.
_SHORTEST_WATCH = 1.0

KEYWORDS.add(
    _directory("ca-base"),
    _directory("crt-base"),
    _directory("key-base"),
    _file("issuers-chain-path", "a directory"),
    implemented("ssl-load-extra-files", _extra_files),
    switch("ssl-load-extra-del-ext"),
    implemented("ssl-passphrase-cmd", _command),
    switch("ssl-skip-bad-certificates", negatable=True),
    _directory("crt-state-dir"),
    implemented("crt-watch", _watch),
    *without_effect("self-signed roots are never sent", "ssl-skip-self-issued-ca"),
    value("ssl-default-bind-ciphers", _word("a cipher list")),
    value("ssl-default-bind-client-sigalgs", _word("a list of signature algorithms")),
    value("ssl-default-bind-ciphersuites", _word("a list of TLS 1.3 cipher suites")),
    value("ssl-default-bind-curves", _word("a list of curves")),
    value("ssl-default-bind-sigalgs", _word("a list of signature algorithms")),
    implemented("ssl-default-bind-options", _options("ssl-default-bind-options", _BIND_OPTIONS)),
    value("ssl-default-server-ciphers", _word("a cipher list")),
    value("ssl-default-server-client-sigalgs", _word("a list of signature algorithms")),
    value("ssl-default-server-ciphersuites", _word("a list of TLS 1.3 cipher suites")),
    value("ssl-default-server-curves", _word("a list of curves")),
    value("ssl-default-server-sigalgs", _word("a list of signature algorithms")),
    implemented("ssl-default-server-options", _options("ssl-default-server-options", _SERVER_OPTIONS)),
    value("ssl-server-verify", lambda cursor: cursor.choice("verify", {"none": Verify.NONE, "required": Verify.REQUIRED})),
    _file("ssl-dh-param-file", "a file with DH parameters"),
    value("ssl-security-level", lambda cursor: cursor.integer("security level", 0, 5)),
    *without_effect("kernel TLS is not used", "noktls"),
    *without_effect("asynchronous engines are gone from OpenSSL, nothing would wait for them", "ssl-mode-async"),
    implemented("ssl-provider", _provider),
    value("ssl-provider-path", _word("a directory")),
    value("ssl-propquery", _property_query),
    *impossible("OpenSSL 4.0 has no engines any more", "ssl-engine"),
)
