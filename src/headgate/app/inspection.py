"""The inside of one process, for the commands that look into it: the implementation of `admin.inspection.Inspection`."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import resource
import secrets
import ssl
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from headgate.admin.inspection import Descriptor, Pool, Ring, Sink
from headgate.app.descriptors import open_descriptors
from headgate.app.profiling import Profiler
from headgate.observe.handshakes import HandshakeLog
from headgate.plan.facts import Session, Stream
from headgate.proxy.client_session import ClientSession
from headgate.proxy.http_session import HttpSession
from headgate.proxy.http_stream import HttpStream
from headgate.proxy.invalid import InvalidMessages
from headgate.proxy.relay import RelaySession, RelayStream
from headgate.proxy.server_connection import ServerConnection
from headgate.runtime.logs.emitters import log_event

if TYPE_CHECKING:
    from headgate.app.process import App
    from headgate.app.tracing import Tracing

_NOTICE: Final = 5
_RING: Final = "in-memory ring buffer"


class ProcessInspection:
    """See the module and `admin.inspection.Inspection`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.anonymous_key = app.config.global_.anonkey

    @property
    def startup_logs(self) -> str:
        return self._app.place.heritage.startup_logs

    @property
    def worker(self) -> int:
        return self._app.place.index

    @property
    def sessions(self) -> Collection[ClientSession]:
        return self._app.shared.live

    @property
    def invalid(self) -> InvalidMessages:
        return self._app.shared.invalid

    @property
    def handshakes(self) -> HandshakeLog:
        return self._app.shared.handshakes

    @property
    def bugs(self) -> Mapping[str, int]:
        return self._app.bugs

    # --- events ---

    @property
    def rings(self) -> Mapping[str, Ring]:
        return self._app.logs.rings

    @property
    def sinks(self) -> Sequence[Sink]:
        rings = self._app.logs.rings
        declared = [ring for name, ring in rings.items() if name != "buf0"]
        first = [rings["buf0"]] if "buf0" in rings else []
        return [
            Sink("stdout", "fd", "standard output (fd#1)", 0),
            Sink("stderr", "fd", "standard error (fd#2)", 0),
            *[
                Sink(ring.name, "buffer", _RING if ring.description == ring.name else ring.description, ring.dropped)
                for ring in (*first, *declared)
            ],
        ]

    # --- switches ---

    @cached_property
    def profiler(self) -> Profiler:
        return Profiler(self._app.reactor)

    @cached_property
    def tracing(self) -> Tracing:
        from headgate.app.tracing import Tracing

        return Tracing(self._app)

    # --- what the process does and holds ---

    def descriptors(self) -> list[Descriptor]:
        """See `Inspection.descriptors`."""
        backends: dict[object, str] = {
            server: name for name, backend in self._app.backends.items() for server in backend.state.servers
        }
        return open_descriptors(self._app.reactor.handlers, backends)

    def activity(self) -> Mapping[str, int]:
        """See `Inspection.activity`."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        counters, shared, live = self._app.counters, self._app.shared, self._app.live
        return {
            "ctxsw": usage.ru_nvcsw + usage.ru_nivcsw,
            "ctxsw_forced": usage.ru_nivcsw,
            "page_faults": usage.ru_minflt + usage.ru_majflt,
            "cpu_user_ms": int(usage.ru_utime * 1000),
            "cpu_system_ms": int(usage.ru_stime * 1000),
            "stream_calls": counters.requests,
            "accepted": counters.connections,
            "accept_failures": counters.accept_failures,
            "tls_sessions_refused": sum(one.refused for one in (live.sessions, live.client_sessions) if one is not None),
            "sessions": len(shared.live),
            "fds": len(self._app.reactor.handlers),
            "timers": len(self._app.reactor.waiting()),
            "invalid_messages": shared.invalid.events,
            "bugs": sum(self._app.bugs.values()),
            "rss_kb": _resident(),
            "gc_objects": len(gc.get_objects()),
            "gc_collections": sum(int(one["collections"]) for one in gc.get_stats()),
        }

    def threads(self) -> list[tuple[int, str, str]]:
        """See `Inspection.threads`."""
        frames = sys._current_frames()
        return [
            (thread.ident or 0, thread.name, "".join(traceback.format_stack(frames.get(thread.ident or 0))))
            for thread in threading.enumerate()
            if thread.ident in frames
        ]

    def tasks(self) -> Mapping[str, int]:
        """See `Inspection.tasks`."""
        counted: Counter[str] = Counter()
        for task in asyncio.all_tasks():
            counted[getattr(task.get_coro(), "__qualname__", "task")] += 1
        for timed in self._app.reactor.waiting():
            counted[f"{type(timed).__name__}.timed_out"] += 1
        return counted

    def pools(self) -> list[Pool]:
        """See `Inspection.pools`."""
        live = self._app.shared.live
        http = [one for one in live if isinstance(one, HttpSession)]
        relays = [one for one in live if isinstance(one, RelaySession)]
        exchanges = [one.stream for one in http if one.stream is not None]
        used = sum(1 for stream in exchanges if stream.connection is not None)
        idle = sum(pool.idle for backend in self._app.backends.values() for pool in backend.pools.values())
        rings = list(self._app.logs.rings.values())
        return [
            _pool("http_session", HttpSession, len(http)),
            _pool("http_stream", HttpStream, len(exchanges)),
            _pool("relay_session", RelaySession, len(relays)),
            _pool("relay_stream", RelayStream, len(relays)),
            _pool("server_connection", ServerConnection, used + idle, used),
            *[Pool(f"ring_{ring.name}", 1, ring.size, ring.used) for ring in rings],
        ]

    def libraries(self) -> list[tuple[int, int, str]]:
        """See `Inspection.libraries`."""
        found: dict[str, tuple[int, int]] = {}
        for first, last, path in _mappings():
            before = found.get(path)
            found[path] = (first, last) if before is None else (min(first, before[0]), max(last, before[1]))
        return [(first, last, path) for path, (first, last) in found.items()]

    def platform(self) -> Mapping[str, Mapping[str, str]]:
        """See `Inspection.platform`."""
        system = os.uname()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        return {
            "Platform info": {
                "machine vendor": _first_line("/sys/class/dmi/id/sys_vendor"),
                "machine family": _first_line("/sys/class/dmi/id/product_family"),
                "cpu model": _cpu_model(),
                "cpus": str(len(os.sched_getaffinity(0))),
                "container": "yes" if any(os.path.exists(path) for path in ("/.dockerenv", "/run/.containerenv")) else "no",
                "OS name": system.sysname,
                "OS release": system.release,
                "OS version": system.version,
                "OS architecture": system.machine,
                "node name": self._app.config.global_.node or system.nodename,
                "Python": f"{platform.python_implementation()} {platform.python_version()}",
                "SSL library": ssl.OPENSSL_VERSION,
            },
            "Process info": {
                "pid": str(os.getpid()),
                "role": self._app.place.role.value,
                "workers": str(self._app.place.workers),
                "uid": str(os.getuid()),
                "gid": str(os.getgid()),
                "fd limit (soft)": str(soft),
                "fd limit (hard)": str(hard),
            },
        }

    # --- what happens ---

    def random_key(self) -> int:
        """See `Inspection.random_key`."""
        return secrets.randbelow((1 << 32) - 1) + 1

    def log(self, text: str) -> None:
        """See `Inspection.log`."""
        log_event(self._app.logs.process, _NOTICE, text)

    def leave(self, code: int) -> None:
        """See `Inspection.leave`."""
        self._app.logs.flush()
        os._exit(code)

    async def pause(self, seconds: float) -> None:
        """See `Inspection.pause`."""
        await asyncio.sleep(seconds)

    def block(self, seconds: float) -> None:
        """See `Inspection.block`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    async def refresh(self) -> None:
        """See `Inspection.refresh`."""
        if self._app.controller is not None:
            await self._app.controller.collect()

    async def fetch(self, method: str, uri: str) -> str:
        """See `Inspection.fetch`."""
        from headgate.app.fetching import fetch

        return await fetch(method, uri)


def _pool(name: str, kind: type[Session | Stream | ServerConnection], allocated: int, used: int | None = None) -> Pool:
    return Pool(name, kind.__basicsize__, allocated, allocated if used is None else used)


def _resident() -> int:
    """Memory of this process, kB; 0 where there is no /proc."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() // 1024
    except OSError:
        return 0


def _mappings() -> Iterator[tuple[int, int, str]]:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                words = line.split(None, 5)
                if len(words) == 6 and words[5].startswith("/"):
                    first, _, last = words[0].partition("-")
                    yield int(first, 16), int(last, 16) - 1, words[5].rstrip("\n")
    except OSError:
        return


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
