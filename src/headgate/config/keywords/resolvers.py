"""The lines of a `resolvers` section (5.3.2), and the options of server lines that refer to one (5.2)."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from headgate.base.addresses import Address, Family, Transport
from headgate.base.regex import regex
from headgate.config.addresses import parse_address
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ServerDraft
from headgate.config.keywords.line_options import HasSettings, comma_list, one_of, read_option, rows, store
from headgate.config.registry import KEYWORDS, Keyword, Parser, Scope, Status
from headgate.config.resolvers import NameServer, Network
from headgate.config.section_drafts import ResolversDraft

#: Where the system's name servers are written (resolv.conf(5)).
RESOLV_CONF = "/etc/resolv.conf"
_DNS_PORT = 53
_LEAST_PAYLOAD, _MOST_PAYLOAD = 512, 65535
_HOLD = ("nx", "refused", "timeout", "other", "valid", "obsolete")
#: Options of server lines that matter to a name server.
STREAM_OPTIONS = tuple(
    "alpn ca-file ciphers ciphersuites client-sigalgs crl-file crt curves force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13"
    " maxconn no-ssl-reuse no-sslv3 no-tls-tickets no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 sigalgs sni source ssl ssl-max-ver"
    " ssl-min-ver verify verifyhost".split()
)
_LINE = regex(r"\s*nameserver\s+(\S+)")


def parse_nameserver(cursor: Cursor, draft: ResolversDraft) -> None:
    """`nameserver <name> <address>[:port] [param*]`: over UDP; with a stream prefix such as `tcp@` over TCP, or TLS."""
    name = cursor.next("the name of a name server")
    earlier = next((one for one in draft.name_servers if one.name == name.text), None)
    if earlier is not None:
        raise cursor.wrong(name, f"name server '{name.text}' stands twice in resolvers '{draft.name}'")
    word = cursor.next("an address")
    address = _server_address(cursor, word)
    if cursor.more:
        draft.lines[name.text] = _read_options(cursor, name, address)
    draft.name_servers.append(NameServer(name.text, address))


def _read_options(cursor: Cursor, name: Word, address: Address) -> ServerDraft:
    """Those of server lines that matter to a name server."""
    if address.transport is Transport.DATAGRAM:
        remedy = "write the address with a prefix such as 'tcp@'"
        raise cursor.wrong(cursor.rest[0], "options are for name servers that are asked over a stream", remedy=remedy)
    line = ServerDraft(name.text, name.location, address)
    while cursor.more:
        word = cursor.rest[0]
        found = KEYWORDS.find(Scope.SERVER, [word.text])
        if found is not None and found[0].name not in STREAM_OPTIONS:
            raise cursor.wrong(word, f"option '{word.text}' means nothing to a name server", allowed=STREAM_OPTIONS)
        read_option(cursor, Scope.SERVER, line, allowed=STREAM_OPTIONS)
    return line


def _server_address(cursor: Cursor, word: Word) -> Address:
    address = parse_address(word, default_port=_DNS_PORT, default_transport=Transport.DATAGRAM)
    if address.family not in (Family.INET, Family.INET6):
        remedy = "such as 192.0.2.53:53 or tcp@[2001:db8::53]:53"
        raise cursor.wrong(word, "a name server is given by its IP address", remedy=remedy)
    return address


def parse_resolv_conf(cursor: Cursor, draft: ResolversDraft) -> None:
    """`parse-resolv-conf`: the system's name servers, in the place of this line."""
    cursor.finish()
    try:
        found = read_resolv_conf()
    except OSError as error:
        raise cursor.wrong(cursor.keyword, f"cannot read {RESOLV_CONF}: {error.strerror}") from None
    if not found:
        cursor.report.warn(f"{RESOLV_CONF} names no name server", cursor.keyword.location)
    known = {one.name for one in draft.name_servers}
    draft.name_servers += [one for one in found if one.name not in known]


def read_resolv_conf(path: str = RESOLV_CONF) -> list[NameServer]:
    """The name servers of a resolv.conf(5); each is called by its address.

    Raises:
        OSError: it can't be read.
    """
    found: dict[str, NameServer] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            match = _LINE.match(line)
            if match is None:
                continue
            try:
                host = ipaddress.ip_address(match[1].partition("%")[0])
            except ValueError:
                continue
            family = Family.INET6 if host.version == 6 else Family.INET
            address = Address(family, match[1], _DNS_PORT, _DNS_PORT, transport=Transport.DATAGRAM)
            found[match[1]] = NameServer(match[1], address)
    return list(found.values())


def parse_hold(cursor: Cursor, draft: ResolversDraft) -> None:
    """`hold <status> <period>`"""
    status = cursor.choice("status of a resolution", {name: name for name in _HOLD})
    draft.hold = replace(draft.hold, **{status: cursor.time("a period")})
    cursor.finish()


def parse_retries(cursor: Cursor, draft: ResolversDraft) -> None:
    """`resolve_retries <nb>`"""
    draft.retries = cursor.integer("the number of queries", 1, 1000)
    cursor.finish()


def parse_payload(cursor: Cursor, draft: ResolversDraft) -> None:
    """`accepted_payload_size <nb>`"""
    draft.payload = cursor.integer("the size of an answer", _LEAST_PAYLOAD, _MOST_PAYLOAD)
    cursor.finish()


def parse_timeout(cursor: Cursor, draft: ResolversDraft) -> None:
    """`timeout resolve|retry <time>`"""
    event = cursor.choice("event", {"resolve": "timeout_resolve", "retry": "timeout_retry"})
    word = cursor.rest[0] if cursor.more else cursor.keyword
    seconds = cursor.time("a time")
    if seconds <= 0:
        raise cursor.wrong(word, "a time of 0 would mean to ask without end", remedy="1s is the default")
    setattr(draft, event, seconds)
    cursor.finish()


def _parse_section_name(cursor: Cursor, draft: HasSettings) -> None:
    """`resolvers <id>`: errors are shown at the name, once for all servers of a `default-server` line."""
    word = cursor.next("the name of a resolvers section")
    draft.settings.put("resolvers", word.text, word.location)


def _networks(cursor: Cursor) -> tuple[Network, ...]:
    word = cursor.next("networks, separated by commas")
    found = []
    for part in word.text.split(","):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise cursor.wrong(Word(part, word.location), f"'{part}' is not a network such as 10.0.0.0/8") from None
    return tuple(found)


def _section(name: str, parse: Parser) -> Keyword:
    return Keyword(name, frozenset({Scope.RESOLVERS}), Status.IMPLEMENTED, parse)


_OPTIONS: dict[str, Parser] = {
    "resolvers": _parse_section_name,
    "resolve-prefer": store("resolve-prefer", one_of("address family", {"ipv4": 4, "ipv6": 6})),
    "resolve-net": store("resolve-net", _networks),
    "resolve-opts": store("resolve-opts", comma_list("resolve option", ("allow-dup-ip", "ignore-weight", "prevent-dup-ip"))),
}

KEYWORDS.add(
    *rows(Scope.SERVER, _OPTIONS),
    _section("accepted_payload_size", parse_payload),
    _section("hold", parse_hold),
    _section("nameserver", parse_nameserver),
    _section("parse-resolv-conf", parse_resolv_conf),
    _section("resolve_retries", parse_retries),
    _section("timeout", parse_timeout),
)
