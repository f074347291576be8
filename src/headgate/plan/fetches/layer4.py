"""Fetches about the connections (manual 7.3.3)."""

from __future__ import annotations

from headgate.plan.facts import Stream, Value
from headgate.plan.places import CLIENT, RESPONSE_MEMORY, RUNNING
from headgate.plan.registry import plain
from headgate.plan.samples import Type, parse_address


def _src(stream: Stream) -> Value:
    return parse_address(stream.session.source)


def _dst(stream: Stream) -> Value:
    return parse_address(stream.session.destination)


def _dst_conn(stream: Stream) -> Value:
    facts = stream.session.world.frontends.get(stream.session.frontend.name)
    return None if facts is None else facts.sessions


def _bc_src(stream: Stream) -> Value:
    return parse_address(stream.source_address)


def _bc_dst(stream: Stream) -> Value:
    return parse_address(stream.server_address)


plain("src", result=Type.ADDR, places=CLIENT, run=_src)
plain("dst", result=Type.ADDR, places=CLIENT, run=_dst)
plain(
    "src_port", result=Type.SINT, places=CLIENT,
    run=lambda stream: stream.session.source_port if stream.session.source else None,
)
plain(
    "dst_port", result=Type.SINT, places=CLIENT,
    run=lambda stream: stream.session.destination_port if stream.session.destination else None,
)
plain("dst_conn", result=Type.SINT, places=RUNNING, run=_dst_conn)
plain("bc_src", result=Type.ADDR, places=RESPONSE_MEMORY, run=_bc_src)
plain("bc_dst", result=Type.ADDR, places=RESPONSE_MEMORY, run=_bc_dst)
plain(
    "bc_src_port", result=Type.SINT, places=RESPONSE_MEMORY,
    run=lambda stream: stream.source_port if stream.source_address else None,
)
plain(
    "bc_dst_port", result=Type.SINT, places=RESPONSE_MEMORY,
    run=lambda stream: stream.server_port if stream.server_address else None,
)
plain("bc_be_queue", result=Type.SINT, places=RESPONSE_MEMORY, run=lambda stream: stream.queue_position_backend)
plain("bc_srv_queue", result=Type.SINT, places=RESPONSE_MEMORY, run=lambda stream: stream.queue_position_server)
# HTTP/1 is all there is so far: the major version of both sides is 1.
plain("fc_http_major", result=Type.SINT, places=CLIENT, run=lambda stream: 1)
plain("bc_http_major", result=Type.SINT, places=RESPONSE_MEMORY, run=lambda stream: 1 if stream.response is not None else None)
plain("fc_err_str", result=Type.STR, places=CLIENT, run=lambda stream: stream.session.error_text.encode() or None)
plain("fc_err", result=Type.SINT, places=CLIENT, run=lambda stream: stream.session.error_code)
