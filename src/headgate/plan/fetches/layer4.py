"""Fetches about the connections (manual 7.3.3)."""

from __future__ import annotations

from headgate.base.connection_errors import SUCCESS, ConnectionFailure, by_number
from headgate.plan.facts import Stream, Value, destination_of
from headgate.plan.places import CLIENT, RESPONSE_MEMORY, RUNNING
from headgate.plan.registry import plain
from headgate.plan.samples import Type, parse_address


def _src(stream: Stream) -> Value:
    return parse_address(stream.session.source)


def _dst(stream: Stream) -> Value:
    return parse_address(destination_of(stream)[0])


def _dst_port(stream: Stream) -> Value:
    address, port = destination_of(stream)
    return port if address else None


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
plain("dst_port", result=Type.SINT, places=CLIENT, run=_dst_port)
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


# --- errors ----------------------------------------------------------------------------------------------------------


def _front_failure(stream: Stream) -> ConnectionFailure | None:
    """What became of the client's connection: before its session, or in TLS afterwards."""
    session = stream.session
    if session.error_code:
        return by_number(session.error_code)
    return ConnectionFailure.SSL_FATAL if session.tls is not None and session.tls.error else None


def _back_failure(stream: Stream) -> ConnectionFailure | None:
    """What became of the connection to the server."""
    if stream.server_error:
        return by_number(stream.server_error)
    return ConnectionFailure.SSL_FATAL if stream.server_tls is not None and stream.server_tls.error else None


def _has_no_server(stream: Stream) -> bool:
    """No connection, and no error of one: also while it is being made, and when it took too long."""
    return not stream.server_error and (stream.t_connect < 0 or not stream.server_address)


def _front_error(stream: Stream) -> Value:
    failure = _front_failure(stream)
    return 0 if failure is None else failure.number


def _front_error_text(stream: Stream) -> Value:
    failure = _front_failure(stream)
    return (SUCCESS if failure is None else failure.message).encode()


def _front_error_name(stream: Stream) -> Value:
    failure = _front_failure(stream)
    return None if failure is None else failure.name.encode()


def _back_error(stream: Stream) -> Value:
    if _has_no_server(stream):
        return None
    failure = _back_failure(stream)
    return 0 if failure is None else failure.number


def _back_error_text(stream: Stream) -> Value:
    if _has_no_server(stream):
        return None
    failure = _back_failure(stream)
    return (SUCCESS if failure is None else failure.message).encode()


def _back_error_name(stream: Stream) -> Value:
    failure = _back_failure(stream)
    return None if failure is None else failure.name.encode()


plain("fc_err", result=Type.SINT, places=CLIENT, run=_front_error)
plain("fc_err_name", result=Type.STR, places=CLIENT, run=_front_error_name)
plain("fc_err_str", result=Type.STR, places=CLIENT, run=_front_error_text)
plain("bc_err", result=Type.SINT, places=RESPONSE_MEMORY, run=_back_error)
plain("bc_err_name", result=Type.STR, places=RESPONSE_MEMORY, run=_back_error_name)
plain("bc_err_str", result=Type.STR, places=RESPONSE_MEMORY, run=_back_error_text)
