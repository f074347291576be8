"""A fetch of the whole record of a client's TLS handshake, for logs that machines read. Ours, not HAProxy's."""

from __future__ import annotations

import json

from headgate.plan.facts import Stream, Value
from headgate.plan.places import SESSION
from headgate.plan.registry import plain
from headgate.plan.samples import Type


def _record(stream: Stream) -> Value:
    """As JSON in one line, ASCII only; the fields are those of `show ssl handshakes json`."""
    handshake = stream.session.handshake
    return None if handshake is None else json.dumps(handshake.facts(), separators=(",", ":"), ensure_ascii=True).encode()


plain("ssl_fc_handshake", result=Type.STR, places=SESSION, run=_record)
