"""OCSP updates and the HTTP client of the process, in the global section (manual 3.1 `ocsp-update.*`, 3.4 `httpclient.*`).

`ocsp-update.directory`, `ocsp-update.fetch-issuer`, `ocsp-update.must-staple` and `ocsp-update.must-staple-wait` are ours.
"""

from __future__ import annotations

from headgate.base.addresses import Address, Family, Transport
from headgate.config.addresses import parse_address
from headgate.config.cursor import Cursor
from headgate.config.keywords.global_rows import implemented, value
from headgate.config.ocsp_options import LONGEST_WAIT, WithoutStaple
from headgate.config.registry import KEYWORDS, Parser
from headgate.config.section_drafts import GlobalSection

_SWITCH = {"on": True, "off": False}
_FAMILIES = {"ipv4": Family.INET, "ipv6": Family.INET6}
_FAMILIES_OF_PROXIES = (Family.INET, Family.INET6, Family.NAME)
_HTTP_PORT = 80


def _switch(cursor: Cursor) -> bool:
    return cursor.choice("switch", _SWITCH)


def _proxy(cursor: Cursor) -> Address:
    word = cursor.next("the address of an HTTP proxy")
    address = parse_address(word, default_port=_HTTP_PORT)
    if address.family not in _FAMILIES_OF_PROXIES or address.transport is not Transport.STREAM or not address.host:
        remedy = "write for example 'proxy.example.com:3128'"
        raise cursor.wrong(word, f"'{word.text}' is no address of an HTTP proxy", remedy=remedy)
    return address


def _directory(cursor: Cursor, section: GlobalSection) -> None:
    """`ocsp-update.directory <dir>`: where responses are kept; relative ones start where `default-path` says."""
    path = cursor.next("a directory").text
    cursor.finish()
    section.settings.put("ocsp-update.directory", section.config.path(path), cursor.keyword.location)


def _ca_file(cursor: Cursor, section: GlobalSection) -> None:
    """`httpclient.ssl.ca-file <cafile>`"""
    name = cursor.next("a file of CA certificates, or @system-ca").text
    cursor.finish()
    path = name if name.startswith("@") else section.config.path(name)
    section.settings.put("httpclient.ssl.ca-file", path, cursor.keyword.location)


def _wait(cursor: Cursor) -> float:
    word = cursor.rest[0] if cursor.more else None
    seconds = cursor.time("a time", "s")
    if word is not None and seconds > LONGEST_WAIT:
        raise cursor.wrong(word, f"the start can't wait for more than {LONGEST_WAIT:g} s")
    return seconds


def _delay(name: str, modern: str = "") -> Parser:
    """`ocsp-update.mindelay <number>`, `ocsp-update.maxdelay <number>`, seconds; each has an older name."""

    def parse(cursor: Cursor, section: GlobalSection) -> None:
        seconds = cursor.integer("a number of seconds", 1, 0x7FFFFFFF)
        cursor.finish()
        if modern:
            cursor.report.warn(f"'{name}' is deprecated", cursor.keyword.location, remedy=f"write '{modern} {seconds}'")
        section.settings.put(modern or name, seconds, cursor.keyword.location)

    return parse


KEYWORDS.add(
    value("ocsp-update.disable", _switch),
    value("ocsp-update.mode", _switch),
    value("ocsp-update.httpproxy", _proxy),
    implemented("ocsp-update.mindelay", _delay("ocsp-update.mindelay")),
    implemented("ocsp-update.maxdelay", _delay("ocsp-update.maxdelay")),
    implemented("tune.ssl.ocsp-update.mindelay", _delay("tune.ssl.ocsp-update.mindelay", "ocsp-update.mindelay")),
    implemented("tune.ssl.ocsp-update.maxdelay", _delay("tune.ssl.ocsp-update.maxdelay", "ocsp-update.maxdelay")),
    implemented("ocsp-update.directory", _directory),
    value("ocsp-update.fetch-issuer", _switch),
    value("ocsp-update.must-staple", lambda cursor: cursor.choice("policy", {one.value: one for one in WithoutStaple})),
    value("ocsp-update.must-staple-wait", _wait),
    value("httpclient.resolvers.disabled", _switch),
    value("httpclient.resolvers.id", lambda cursor: cursor.next("the name of a resolvers section").text),
    value("httpclient.resolvers.prefer", lambda cursor: cursor.choice("family", _FAMILIES)),
    value("httpclient.retries", lambda cursor: cursor.integer("a number of retries", 0, 100)),
    value("httpclient.ssl.verify", lambda cursor: cursor.choice("verify", {"none": False, "required": True})),
    value("httpclient.timeout.connect", lambda cursor: cursor.time("a timeout")),
    implemented("httpclient.ssl.ca-file", _ca_file),
)
