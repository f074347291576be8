"""Fetches of the response's status line and of what is known about the whole exchange (manual 7.3.2, 7.3.3, 7.3.6)."""

from __future__ import annotations

from headgate.plan.facts import Stream, Value
from headgate.plan.places import ALWAYS, REQUEST_MEMORY, RESPONSE, RESPONSE_MEMORY, STREAM
from headgate.plan.registry import Argument, fetch, plain
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope


def _status(stream: Stream) -> Value:
    head = stream.response
    return None if head is None else head.status


def _response_version(stream: Stream) -> Value:
    head = stream.response
    if head is None:
        return None
    return b"1.1" if head.version == 11 else b"1.0"


def _original_version(stream: Stream) -> Value:
    return b"HTTP/1.1" if stream.original_version == 11 else b"HTTP/1.0"


plain("status", result=Type.SINT, places=RESPONSE_MEMORY, run=_status)
plain("server_status", result=Type.SINT, places=RESPONSE_MEMORY, run=_status)
plain("res.ver", "resp_ver", result=Type.STR, places=RESPONSE_MEMORY, run=_response_version)
plain("capture.req.method", result=Type.STR, places=REQUEST_MEMORY, run=lambda stream: stream.original_method or None)
plain("capture.req.uri", result=Type.STR, places=REQUEST_MEMORY, run=lambda stream: stream.original_target or None)
plain("capture.req.ver", result=Type.STR, places=REQUEST_MEMORY, run=_original_version)
plain(
    "capture.res.ver", result=Type.STR, places=REQUEST_MEMORY,
    run=lambda stream: None if stream.response is None else b"HTTP/1.1" if stream.response.version == 11 else b"HTTP/1.0",
)


@fetch("capture.req.hdr", result=Type.STR, places=REQUEST_MEMORY, arguments=(Argument.INTEGER,))
def capture_request(scope: Scope, slot: int) -> Run:
    return lambda stream: None if (slots := stream.captures_request) is None or not 0 <= slot < len(slots) else slots[slot]


@fetch("capture.res.hdr", result=Type.STR, places=RESPONSE_MEMORY, arguments=(Argument.INTEGER,))
def capture_response(scope: Scope, slot: int) -> Run:
    return lambda stream: None if (slots := stream.captures_response) is None or not 0 <= slot < len(slots) else slots[slot]


plain("bytes_in", "req.bytes_in", result=Type.SINT, places=STREAM, run=lambda stream: stream.bytes_in)
plain("bytes_out", "res.bytes_in", result=Type.SINT, places=STREAM, run=lambda stream: stream.bytes_out)
plain("txn.status", result=Type.SINT, places=RESPONSE_MEMORY, run=lambda stream: stream.status)
plain("txn.sess_term_state", result=Type.STR, places=STREAM, run=lambda stream: stream.termination)
plain("txn.conn_retries", result=Type.SINT, places=RESPONSE_MEMORY, run=lambda stream: stream.retries)
plain("txn.redispatched", result=Type.BOOL, places=RESPONSE_MEMORY, run=lambda stream: stream.redispatched)
plain("txn.id32", result=Type.SINT, places=ALWAYS, run=lambda stream: stream.number & 0xFFFFFFFF)


def _tq(stream: Stream) -> Value:
    if stream.t_request < 0:
        return -1
    return max(stream.t_handshake, 0) + max(stream.t_idle, 0) + stream.t_request


plain("fc.timer.handshake", result=Type.SINT, places=STREAM, run=lambda stream: stream.t_handshake)
plain("req.timer.idle", result=Type.SINT, places=REQUEST_MEMORY, run=lambda stream: stream.t_idle)
plain("req.timer.hdr", result=Type.SINT, places=REQUEST_MEMORY, run=lambda stream: stream.t_request)
plain("req.timer.tq", result=Type.SINT, places=REQUEST_MEMORY, run=_tq)
plain("req.timer.queue", result=Type.SINT, places=RESPONSE_MEMORY, run=lambda stream: stream.t_queue)
plain("bc.timer.connect", result=Type.SINT, places=RESPONSE_MEMORY, run=lambda stream: stream.t_connect)
plain("res.timer.hdr", result=Type.SINT, places=RESPONSE, run=lambda stream: stream.t_response)
plain("res.timer.data", result=Type.SINT, places=RESPONSE_MEMORY, run=lambda stream: stream.t_data)


def total_time(stream: Stream) -> int:
    """Tt: from the accept, or the end of the exchange before, to the end (8.4): Th and Ti are part of it."""
    if stream.t_total < 0:
        return -1
    return stream.t_total + max(stream.t_handshake, 0) + max(stream.t_idle, 0)


def user_time(stream: Stream) -> int:
    """Tu: as the user feels it: Tt without the idle time (8.4)."""
    return -1 if stream.t_total < 0 else stream.t_total + max(stream.t_handshake, 0)


plain("txn.timer.total", result=Type.SINT, places=STREAM, run=lambda stream: stream.t_total)
plain("txn.timer.user", result=Type.SINT, places=STREAM, run=user_time)
plain("fc.timer.total", result=Type.SINT, places=STREAM, run=total_time)


@fetch("unique-id", result=Type.STR, places=ALWAYS)
def unique_id(scope: Scope) -> Run:
    def run(stream: Stream) -> Value:
        if stream.unique_id is None:
            make = stream.session.frontend.unique_id
            if make is None:
                return None
            stream.unique_id = make(stream)
        return stream.unique_id

    return run
