"""Fetches of what a server answered to a check (manual 7.3.5 res.payload, res.len; 7.3.6 res.body), in check rules only."""

from __future__ import annotations

from headgate.base.diagnostics import config_error
from headgate.plan.facts import Stream, Value
from headgate.plan.fetches.payload import content_start
from headgate.plan.places import Place
from headgate.plan.registry import Argument, fetch, plain
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope


def _payload(stream: Stream) -> bytes:
    content: bytes = getattr(stream, "payload", b"")
    return content


@fetch("res.payload", result=Type.BIN, places=Place.CHECK, arguments=(Argument.INTEGER, Argument.INTEGER))
def payload(scope: Scope, offset: int, length: int) -> Run:
    if offset < 0 or length < 0:
        raise config_error("offset and length can't be negative", None)

    def run(stream: Stream) -> Value:
        found = _payload(stream)
        if len(found) < offset + length:
            return None
        return found[offset : offset + length] if length else found[offset:]

    return run


@fetch(
    "res.payload_lv", result=Type.BIN, places=Place.CHECK,
    arguments=(Argument.INTEGER, Argument.INTEGER, Argument.STRING), required=2,
)
def payload_lv(scope: Scope, offset: int, size: int, start: bytes | None) -> Run:
    begin = content_start(offset, size, start)

    def run(stream: Stream) -> Value:
        found = _payload(stream)
        if len(found) < offset + size:
            return None
        length = int.from_bytes(found[offset : offset + size], "big")
        return found[begin : begin + length] if len(found) >= begin + length else None

    return run


plain("res.len", result=Type.SINT, places=Place.CHECK, run=lambda stream: len(_payload(stream)))
plain("res.body", result=Type.BIN, places=Place.CHECK, run=_payload)
plain("res.body_len", "res.body_size", result=Type.SINT, places=Place.CHECK, run=lambda stream: len(_payload(stream)))
