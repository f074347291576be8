"""From `log` lines to emitters: each proxy and the process itself has one, and sinks are shared between them.

`Logs` is made once per process, after the fork (lines carry the pid) and before privileges are dropped. `proxy` machines
call `emit`; the reactor calls `flush` at the end of a turn; the stats socket reads `rings` and `dropped`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from headgate.base.addresses import Address, Family, Transport
from headgate.base.diagnostics import ConfigError, Report, config_error
from headgate.config.log_options import LogTarget
from headgate.config.model import Config, Proxy
from headgate.observe.syslog import LineFramer, Origin, Sampler, head_of
from headgate.runtime.logs.rings import LogRing
from headgate.runtime.logs.sinks import DatagramSink, DescriptorSink, Sink

#: Emits one line: (level, line, now, structured data). Never blocks, never raises.
Emit = Callable[..., None]

#: Manual 4.2 "log": the standard syslog port.
_SYSLOG_PORT: Final = 514

#: The ring that exists without being declared, and its size.
_DEFAULT_RING: Final = "buf0"
_DEFAULT_RING_SIZE: Final = 1 << 20


class Target:
    """One `log` line of one proxy: framing and sink."""

    __slots__ = ("_frame", "_write", "sink")

    def __init__(self, framer: LineFramer, sink: Sink) -> None:
        self._frame = framer.frame
        self.sink = sink
        self._write = sink.write

    def emit(self, level: int, line: bytes, now: float, structured: bytes = b"") -> None:
        message = self._frame(level, line, now, structured)
        if message is not None:
            self._write(message, now)


class LogEmitter:
    """Sends lines to all targets of a proxy.

    Attributes:
        emit: `emit(level, line, now, structured=b"")`: level 0 (emerg) to 7 (debug), the line without a line feed, now in seconds
            since the epoch, RFC 5424 structured data in brackets. With one target it is that target's own method.
        silent: there is no target: making the line would be wasted work.
        targets: one per `log` line.
    """

    __slots__ = ("emit", "silent", "targets")

    def __init__(self, targets: Iterable[Target]) -> None:
        self.targets = tuple(targets)
        self.silent = not self.targets
        self.emit: Emit = self.targets[0].emit if len(self.targets) == 1 else self._emit_to_all

    def _emit_to_all(self, level: int, line: bytes, now: float, structured: bytes = b"") -> None:
        for target in self.targets:
            target.emit(level, line, now, structured)

    def flush(self) -> None:
        """Send what sinks hold back."""
        for target in self.targets:
            target.sink.flush()


def log_event(emitter: LogEmitter, level: int, text: str) -> None:
    """Log something that happened to a proxy, a server or the process ("Server b/s is DOWN, ..."), now and unbatched."""
    if not emitter.silent:
        emitter.emit(level, text.encode("utf-8", "replace"), time.time())
        emitter.flush()


class Logs:
    """The sinks and emitters of one process.

    Args:
        config: the checked configuration.
        pid: of this process, as lines show it.
        watch_writable: see `DescriptorSink`.

    Attributes:
        process: emitter of the global section's targets, for events of the process.
        rings: by name.

    Raises:
        ConfigError: a target that can't work: its name doesn't resolve, its descriptor is not open.
    """

    __slots__ = ("_config", "_gathering", "_pid", "_samplers", "_sinks", "_watch_writable", "process", "rings")

    def __init__(self, config: Config, pid: int, watch_writable: Callable[[int, Callable[[], None]], None] | None = None) -> None:
        self._config = config
        self._pid = pid
        self._watch_writable = watch_writable
        self._sinks: dict[Address, Sink] = {}
        self._gathering: list[DescriptorSink] = []  # those of them that hold lines back
        self._samplers: dict[LogTarget, Sampler] = {}
        self.rings: dict[str, LogRing] = {
            ring.name: LogRing(ring.name, ring.description, ring.size, ring.maxlen) for ring in config.rings.values()
        }
        self.rings.setdefault(_DEFAULT_RING, LogRing(_DEFAULT_RING, size=_DEFAULT_RING_SIZE, maxlen=65535))
        self.process = self._emitter(config.global_.log_targets, config.global_.log_tag)

    def emitter(self, proxy: Proxy) -> LogEmitter:
        """The emitter of a proxy.

        Raises:
            ConfigError: see the class.
        """
        return self._emitter(proxy.logging.targets, proxy.logging.tag or self._config.global_.log_tag)

    def _emitter(self, targets: Iterable[LogTarget], tag: str) -> LogEmitter:
        hostname = self._config.global_.log_send_hostname
        # The empty string stands for `log-send-hostname` without an argument.
        origin = Origin(tag, self._pid, socket.gethostname() if hostname == "" else hostname)
        return LogEmitter(Target(self._framer(target, origin), self._sink(target)) for target in targets)

    def _framer(self, target: LogTarget, origin: Origin) -> LineFramer:
        # Proxies with `log global` share one line of the configuration, and so they share its count.
        if target.sample is not None and target not in self._samplers:
            self._samplers[target] = Sampler(*target.sample)
        head = head_of(self._format(target), target.facility, origin)
        return LineFramer(head, target.level, target.minlevel, target.length, self._samplers.get(target))

    def _format(self, target: LogTarget) -> str:
        """A ring's own format holds where the log line names none (manual 12.5)."""
        ring = self._config.rings.get(target.address.host) if target.address.family is Family.RING else None
        return ring.format if ring is not None and target.format_by_default else target.format

    def _sink(self, target: LogTarget) -> Sink:
        sink = self._sinks.get(target.address)
        if sink is None:
            sink = self._sinks[target.address] = self._open(target)
        return sink

    def _open(self, target: LogTarget) -> Sink:
        reason = unsupported(target, self.rings)
        if reason is not None:
            raise reason
        address = target.address
        if address.family is Family.RING:
            return self.rings[address.host]
        descriptor = descriptor_of(address)
        if descriptor is None:
            return _open_datagrams(target)
        try:
            sink = DescriptorSink(str(address), descriptor, self._watch_writable)
        except OSError as error:
            raise config_error(
                f"'log {address}': descriptor {descriptor} can't be written to: {error.strerror}", target.location
            ) from None
        self._gathering.append(sink)
        return sink

    @property
    def dropped(self) -> int:
        """Lines lost by all sinks (`DroppedLogs` of `show info`)."""
        return sum(sink.dropped for sink in self._sinks.values())

    def dropped_by_target(self) -> Mapping[str, int]:
        """Lines lost, by the address of the sink."""
        return {str(address): sink.dropped for address, sink in self._sinks.items()}

    def flush(self) -> None:
        """Send what was gathered during a turn of the loop."""
        for sink in self._gathering:
            sink.flush()

    def close(self) -> None:
        """Send what is left, where that is possible at once, and close all sinks."""
        for sink in self._sinks.values():
            sink.close()
        self._sinks.clear()
        self._gathering.clear()


def descriptor_of(address: Address) -> int | None:
    """The descriptor number that `stdout`, `stderr` and `fd@N` stand for; None for other addresses."""
    if address.family is Family.STDIO:
        return {"stdout": 1, "stderr": 2}[address.host]
    return int(address.host) if address.family is Family.FD else None


def unsupported(target: LogTarget, rings: Iterable[str]) -> ConfigError | None:
    """Why a target can't be used, or None. Opens nothing: for `-c`."""
    address = target.address
    if address.family is Family.RING:
        if address.host in rings:
            return None
        return config_error(
            f"ring '{address.host}' is used here and defined nowhere", target.location, allowed=rings, written=address.host,
            remedy=f"add a section 'ring {address.host}'",
        )  # fmt: skip
    if address.family is Family.BACKEND:
        return config_error("'log backend@...' (log backends) is not yet supported", target.location)
    if address.family in (Family.STDIO, Family.FD):
        return None
    if address.transport is Transport.STREAM or address.family is Family.SOCKPAIR:
        return config_error(
            f"'log' over a stream to {address} is not yet supported", target.location,
            remedy="send to a datagram socket (udp@address:port or the path of a unix socket), stdout or a ring",
        )  # fmt: skip
    return None


def check_targets(config: Config, report: Report) -> None:
    """Report every `log` line that can't work, without opening anything."""
    rings = (*config.rings, _DEFAULT_RING)
    seen: set[LogTarget] = set()
    for targets in (config.global_.log_targets, *(proxy.logging.targets for proxy in config.proxies)):
        for target in targets:
            reason = unsupported(target, rings)
            if reason is not None and target not in seen:
                report.add(reason.diagnostic)
            seen.add(target)


def _open_datagrams(target: LogTarget) -> DatagramSink:
    address = target.address
    if address.family is Family.UNIX:
        return DatagramSink(address.host, socket.AF_UNIX, address.host)
    if address.family in (Family.ABNS, Family.ABNSZ):
        name = os.fsencode(address.host)
        # HAProxy pads `abns@` names with zeroes to the full length of the address (manual 2.9).
        padded = name.ljust(107, b"\0") if address.family is Family.ABNS else name
        return DatagramSink(str(address), socket.AF_UNIX, b"\0" + padded)
    preferred = {Family.INET: socket.AF_INET, Family.INET6: socket.AF_INET6}.get(address.prefer or address.family, 0)
    try:
        found = socket.getaddrinfo(address.host or "127.0.0.1", address.port or _SYSLOG_PORT, preferred, socket.SOCK_DGRAM)
    except OSError as error:
        raise config_error(
            f"'log {address.host}': this name can't be resolved: {error.strerror}", target.location,
            remedy="write an address, or a name that the resolver of this machine knows",
        ) from None  # fmt: skip
    family, _, _, _, resolved = found[0]
    return DatagramSink(str(address), family, (str(resolved[0]), int(resolved[1])))
