"""From the `log` lines of a configuration to messages at their destinations."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from headgate.base.addresses import Address, Family, Transport
from headgate.base.diagnostics import ConfigError, Location, Report
from headgate.config.log_options import Logging, LogTarget
from headgate.config.model import Config, Global, Proxy, ProxyKind, Ring
from headgate.observe.syslog import ALERT, INFO, NOTICE
from headgate.runtime.logs.emitters import Logs, check_targets, log_event

PLACE = Location("a.cfg", 3, 5, 3, "    log somewhere")
RAW = {"format": "raw", "facility": 16}


def target(address: Address, **options: object) -> LogTarget:
    return LogTarget(address, PLACE, **{**RAW, **options})  # type: ignore[arg-type]


def ring(name: str) -> Address:
    return Address(Family.RING, name, transport=Transport.DATAGRAM)


def proxy(name: str, *targets: LogTarget, tag: str | None = None) -> Proxy:
    return Proxy(name, ProxyKind.FRONTEND, 2, PLACE, logging=Logging(targets=targets, tag=tag))


def config(*proxies: Proxy, targets: tuple[LogTarget, ...] = (), rings: tuple[Ring, ...] = (), **settings: object) -> Config:
    return Config(Global(log_targets=targets, **settings), proxies, {}, {each.name: each for each in rings}, {})  # type: ignore[arg-type]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def udp(sock: socket.socket) -> Address:
    host, port = sock.getsockname()
    return Address(Family.INET, host, port, port, transport=Transport.DATAGRAM)


def test_a_line_goes_to_all_targets(receiver: socket.socket) -> None:
    frontend = proxy("f", target(udp(receiver), format="priority"), target(ring("buf0")))
    logs = Logs(config(frontend), 1)
    logs.emitter(frontend).emit(INFO, b"hello", 1.0)
    assert receiver.recv(100) == b"<134>hello\n"
    assert logs.rings["buf0"].since(0)[0] == [b"hello\n"]
    logs.close()


def test_a_proxy_without_targets_is_silent() -> None:
    frontend = proxy("f")
    emitter = Logs(config(frontend), 1).emitter(frontend)
    assert emitter.silent
    emitter.emit(INFO, b"nobody hears it", 1.0)
    log_event(emitter, ALERT, "nor this")


def test_proxies_share_sinks_and_have_their_own_tag(receiver: socket.socket) -> None:
    line = target(udp(receiver), format="local")
    one, two = proxy("one", line, tag="first"), proxy("two", line)
    logs = Logs(config(one, two, log_tag="common"), 77)
    emitters = [logs.emitter(one), logs.emitter(two)]
    assert emitters[0].targets[0].sink is emitters[1].targets[0].sink
    for emitter in emitters:
        emitter.emit(INFO, b"x", 1.0)
    assert receiver.recv(100).endswith(b" first[77]: x\n")
    assert receiver.recv(100).endswith(b" common[77]: x\n")
    logs.close()


def test_proxies_with_the_same_log_line_share_its_sample() -> None:
    line = target(ring("buf0"), sample=(((1, 1),), 2))
    one, two = proxy("one", line), proxy("two", line)
    logs = Logs(config(one, two), 1)
    for number in range(2):
        for each in (one, two):
            logs.emitter(each).emit(INFO, f"{each.name}{number}".encode(), 1.0)
    assert logs.rings["buf0"].since(0)[0] == [b"one0\n", b"one1\n"]


def test_events_of_the_process_are_written_at_once() -> None:
    reader, writer = os.pipe()
    logs = Logs(config(targets=(target(Address(Family.FD, str(writer)), level=NOTICE),)), 1)
    log_event(logs.process, NOTICE, "Proxy f started.")
    log_event(logs.process, INFO, "too detailed")
    assert os.read(reader, 100) == b"Proxy f started.\n"
    logs.close()
    os.close(reader)
    os.close(writer)


def test_a_ring_decides_the_format_where_the_line_does_not() -> None:
    by_default = target(ring("mine"), format="local", format_by_default=True)
    explicit = target(ring("mine"), format="raw")
    frontend = proxy("f", by_default, explicit)
    logs = Logs(config(frontend, rings=(Ring("mine", format="short"),)), 1)
    logs.emitter(frontend).emit(INFO, b"x", 1.0)
    assert logs.rings["mine"].since(0)[0] == [b"<6>x\n", b"x\n"]


def test_dropped_lines_are_counted_by_target() -> None:
    absent = target(Address(Family.UNIX, "/nonexistent/log", transport=Transport.DATAGRAM))
    frontend = proxy("f", absent, target(ring("buf0")))
    logs = Logs(config(frontend), 1)
    logs.emitter(frontend).emit(INFO, b"x", 1.0)
    assert logs.dropped == 1
    assert logs.dropped_by_target() == {"/nonexistent/log": 1, "ring@buf0": 0}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (Address(Family.INET, "127.0.0.1", 514, 514), "not yet supported"),
        (Address(Family.UNIX, "/run/log", transport=Transport.STREAM), "not yet supported"),
        (Address(Family.BACKEND, "b", transport=Transport.DATAGRAM), "not yet supported"),
        (ring("buf1"), "defined nowhere"),
    ],
)
def test_targets_that_cannot_work_are_errors_with_a_place(address: Address, said: str) -> None:
    frontend = proxy("f", target(address))
    report = Report()
    check_targets(config(frontend, targets=frontend.logging.targets), report)
    assert len(report.alerts) == 1
    assert said in report.alerts[0].message
    assert report.alerts[0].location == PLACE
    with pytest.raises(ConfigError, match=said):
        Logs(config(frontend), 1).emitter(frontend)


def test_a_name_that_does_not_resolve_is_an_error() -> None:
    frontend = proxy("f", target(Address(Family.NAME, "no-such-host.invalid", 514, 514, transport=Transport.DATAGRAM)))
    with pytest.raises(ConfigError, match="can't be resolved"):
        Logs(config(frontend), 1).emitter(frontend)


def test_a_closed_descriptor_is_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    frontend = proxy("f", target(Address(Family.FD, str(writer))))
    with pytest.raises(ConfigError, match="can't be written to"):
        Logs(config(frontend), 1).emitter(frontend)


@pytest.mark.parametrize(("written", "sent"), [("", socket.gethostname()), ("here", "here")])
def test_the_host_name_is_sent_where_it_is_asked_for(written: str, sent: str) -> None:
    frontend = proxy("f", target(ring("buf0"), format="rfc5424"))
    logs = Logs(config(frontend, log_send_hostname=written), 5)
    logs.emitter(frontend).emit(INFO, b"x", 1.0)
    assert logs.rings["buf0"].since(0)[0][0].split()[2] == sent.encode()
