"""`source <addr>[:<port>] [usesrc { <addr2>[:<port2>] | client | clientip | hdr_ip(<hdr>[,<occ>]) }] [interface <name>]`.

Of a backend (manual 4.2) and of a server line (5.2): where connections to servers come from.
"""

from __future__ import annotations

from headgate.config.addresses import parse_address
from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.model import SourceAddress
from headgate.config.registry import BACK, KEYWORDS, Keyword, Status


def read_source(cursor: Cursor, *, allow_range: bool = False) -> SourceAddress:
    """Read the words behind `source`; what follows them is left on the line."""
    address = parse_address(cursor.next("a source address"), port="optional", allow_range=allow_range)
    interface: str | None = None
    usesrc: str | None = None
    while (word := cursor.take("usesrc", "interface")) is not None:
        if word.text == "interface":
            interface = cursor.next("an interface name").text
            continue
        origin = cursor.next("'client', 'clientip' or an address")
        if origin.text.startswith("hdr_ip("):
            raise cursor.wrong(origin, "'usesrc hdr_ip(...)' is known but not yet supported")
        if origin.text not in ("client", "clientip"):
            parse_address(origin, port="optional")
        usesrc = origin.text
    return SourceAddress(address, interface, usesrc)


def _parse(cursor: Cursor, draft: ProxyDraft) -> None:
    """`source ...` of a backend."""
    source = read_source(cursor)
    cursor.finish()
    draft.settings.put("source", source, cursor.keyword.location)


KEYWORDS.add(Keyword("source", BACK, Status.IMPLEMENTED, _parse))
