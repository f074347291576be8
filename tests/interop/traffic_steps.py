"""The steps of the traffic, by name: what is asked, sent, broken off and waited for, each a cause of some counter."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from tests.interop.backends import Wire, read_response
from tests.interop.programs import wait_until
from tests.interop.traffic import Traffic, request_head

Step = Callable[[Traffic], None]
STEPS: dict[str, Step] = {}


def _step(function: Step) -> Step:
    STEPS[function.__name__.strip("_")] = function
    return function


def _paths(name: str, *paths: str, **options: str) -> None:
    def step(traffic: Traffic) -> None:
        for path in paths:
            traffic.get(path, **options)  # type: ignore[arg-type]

    STEPS[name] = step


_paths("simple", "/a", "/b")
_paths("statuses", "/missing", "/broken", "/unmodified", "/nothing", "/strange", "/interim", "/chunks")
_paths("closing", "/closing", "/until-close")
_paths("denied", "/denied", "/limited")
_paths("rejected_request", "/reject")
_paths("rejected_content", "/content")
_paths("tarpit", "/tarpit")
_paths("returned", "/returned")
_paths("redirected", "/redirect")
_paths("monitor", "/alive")
_paths("backend_denied", "/other/denied")
_paths("backend_returned", "/other/returned")
_paths("backend_redirected", "/other/redirect")
_paths("response_denied", "/deny")
_paths("server_empty", "/empty")
_paths("server_junk", "/junk")
_paths("server_silent", "/never")
_paths("server_refuses", "/refused")
_paths("redispatched", "/elsewhere")
_paths("steered", "/half")
_paths("nobody", "/nobody")
_paths("retried", "/retry/once")
_paths("retried_empty", "/retry/empty")
_paths("listen", "/a", "/denied", "/missing", port="both")
_paths("second_listener", "/a", port="second")
_paths("rejected_connection", "/", port="rejected")
_paths("rejected_session", "/", port="dropped")
_paths("old_version", "/a", version="1.0")
_paths("head", "/unmodified", method="HEAD")
_paths("bulk", "/big")


@_step
def _keep_alive(traffic: Traffic) -> None:
    wire = traffic.connect()
    for path in ("/a", "/missing", "/b"):
        wire.send(request_head(path))
        read_response(wire)
    wire.close()


@_step
def _pipelined(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/a") * 3)
    for _ in range(3):
        read_response(wire)
    wire.close()


@_step
def _reused(traffic: Traffic) -> None:
    for _ in range(3):
        traffic.get("/other/a")
        # HAProxy may answer before its server connection counts as idle
        wait_until(lambda: traffic.value("other/one", "idle_conn_cur") + traffic.value("other/one", "safe_conn_cur"), "idle")


@_step
def _posted(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/a", "Content-Length: 1000", method="POST") + b"x" * 1000)
    read_response(wire)
    wire.close()


@_step
def _persistent(traffic: Traffic) -> None:
    traffic.get("/a", "Cookie: SRV=one")


@_step
def _malformed(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    wire.rest()


@_step
def _half_a_request(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    wire.close()


@_step
def _silent_client(traffic: Traffic) -> None:
    traffic.connect().close()


@_step
def _slow_client(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(b"GET / HTTP/1.1\r\n")
    wire.rest()


@_step
def _aborted_wait(traffic: Traffic) -> None:
    before = len(traffic.good.requests)
    wire = traffic.connect()
    wire.send(request_head("/never"))
    traffic.good.wait_for(lambda backend: len(backend.requests) > before, "the request is there")
    wire.close()


def _reset(wire: Wire) -> None:
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


@_step
def _aborted_transfer(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/large"))
    wire.exactly(10_000)
    _reset(wire)


@_step
def _aborted_upload(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/a", "Content-Length: 1000", method="POST") + b"x" * 10)
    wait_until(lambda: traffic.value("app/one", "scur"), "the server has it")
    _reset(wire)


@_step
def _stopped_upload(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/a", "Content-Length: 1000", method="POST") + b"x" * 10)
    wire.rest()


@_step
def _broken_transfer(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/part"))
    wire.until(b"ten bytes.")
    traffic.opened.set()
    wire.rest()


@_step
def _stalled_transfer(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/part"))
    wire.until(b"ten bytes.")
    wire.rest()


@_step
def _upgraded(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/upgrade", "Connection: upgrade", "Upgrade: echo"))
    wire.until(b"\r\n\r\n")
    wire.send(b"hello")
    wire.exactly(5)
    wire.close()


@_step
def _queued(traffic: Traffic) -> None:
    first = traffic.later("/queue/wait")
    wait_until(lambda: traffic.value("queue/one", "scur") == 1, "the server is busy")
    second = traffic.later("/queue/a")
    wait_until(lambda: traffic.value("queue/one", "qcur") + traffic.value("queue/BACKEND", "qcur") == 1, "one waits")
    traffic.opened.set()
    first.join()
    second.join()


@_step
def _queued_too_long(traffic: Traffic) -> None:
    first = traffic.later("/queue/wait")
    wait_until(lambda: traffic.value("queue/one", "scur") == 1, "the server is busy")
    traffic.later("/queue/a").join()
    traffic.opened.set()
    first.join()


@_step
def _queue_left(traffic: Traffic) -> None:
    first = traffic.later("/queue/wait")
    wait_until(lambda: traffic.value("queue/one", "scur") == 1, "the server is busy")
    wire = traffic.connect()
    wire.send(request_head("/queue/a"))
    wait_until(lambda: traffic.value("queue/one", "qcur") + traffic.value("queue/BACKEND", "qcur") == 1, "one waits")
    wire.close()
    wait_until(lambda: traffic.value("queue/one", "qcur") + traffic.value("queue/BACKEND", "qcur") == 0, "it left")
    traffic.opened.set()
    first.join()


@_step
def _parallel(traffic: Traffic) -> None:
    threads = [traffic.later("/wait") for _ in range(3)]
    wait_until(lambda: traffic.value("app/one", "scur") == 3, "all are being served")
    traffic.opened.set()
    for thread in threads:
        thread.join()


# --- TCP mode --------------------------------------------------------------------------------------------------------


def _relay(traffic: Traffic, port: str, data: bytes) -> Wire:
    wire = traffic.connect(port)
    wire.send(data)
    wire.exactly(len(data))
    return wire


@_step
def _relayed(traffic: Traffic) -> None:
    for _ in range(2):
        _relay(traffic, "tcp", b"hello").close()
        wait_until(traffic.idle, "it is over")


@_step
def _relayed_until_the_server_closes(traffic: Traffic) -> None:
    wire = _relay(traffic, "tcp", b"hello")
    wire.send(b"bye")
    wire.rest()


@_step
def _relay_reset_by_client(traffic: Traffic) -> None:
    _reset(_relay(traffic, "tcp", b"hello"))


@_step
def _relay_reset_by_server(traffic: Traffic) -> None:
    wire = _relay(traffic, "tcp", b"hello")
    wire.send(b"reset")
    wire.rest()


@_step
def _relay_idle(traffic: Traffic) -> None:
    _relay(traffic, "tcp", b"hello").rest()


@_step
def _relay_without_data(traffic: Traffic) -> None:
    before = traffic.echo.connections
    wire = traffic.connect("tcp")
    traffic.echo.wait_for(lambda backend: backend.connections > before, "the server has it")
    traffic.ask("show info")  # and the proxy knows: it has had a turn since
    wire.close()


@_step
def _relay_refused(traffic: Traffic) -> None:
    wire = traffic.connect("tcp_refused")
    wire.send(b"x")
    wire.rest()


@_step
def _relay_rejected(traffic: Traffic) -> None:
    wire = traffic.connect("inspected")
    wire.send(b"bad!")
    wire.rest()


@_step
def _relay_response_rejected(traffic: Traffic) -> None:
    wire = traffic.connect("censored")
    wire.send(b"good")
    wire.rest()


@_step
def _relay_inspected(traffic: Traffic) -> None:
    _relay(traffic, "inspected", b"good").close()

