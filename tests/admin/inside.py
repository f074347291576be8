"""The inside of the small process, as the commands that look into it see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headgate.admin.inspection import Descriptor, Pool, Sink
from headgate.admin.registry import CommandError
from headgate.admin.tracing import sources
from headgate.observe.handshakes import HandshakeLog
from headgate.proxy.invalid import InvalidMessages


class FakeRing:
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    @property
    def written(self) -> int:
        return len(self.lines)

    def since(self, sequence: int) -> tuple[list[bytes], int, int]:
        return self.lines[sequence:], len(self.lines), 0


class FakeProfiler:
    def __init__(self) -> None:
        self.tasks = self.memory = False

    def switch_tasks(self, on: bool) -> None:
        self.tasks = on

    def switch_memory(self, on: bool) -> None:
        self.memory = on

    def calls(self) -> Mapping[str, tuple[int, float]]:
        return {"PlainChannel.ready": (10, 0.002), "Listener._accept": (2, 0.004)}

    def allocations(self, most: int) -> Sequence[tuple[str, int, int]]:
        return [("proxy/pool.py:7", 3, 300)][:most]


class FakeTracing:
    def __init__(self) -> None:
        self.sources = sources()
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1


class Inside:
    """Implements `admin.inspection.Inspection`."""

    def __init__(self, happened: list[tuple[object, ...]]) -> None:
        self.happened = happened
        self.startup_logs = "[NOTICE] all is well\n"
        self.anonymous_key = 0
        self.worker = 0
        self.sessions: set[Any] = set()
        self.invalid = InvalidMessages(16384)
        self.handshakes = HandshakeLog()
        self.ring = FakeRing()
        self.rings = {"buf0": self.ring}
        self.sinks = [Sink("stderr", "fd", "standard error (fd#2)", 0), Sink("buf0", "buffer", "in-memory ring buffer", 3)]
        self.profiler = FakeProfiler()
        self.tracing = FakeTracing()
        self.bugs = {"http_session.py:1 close(): KeyError": 2}
        self.paused: list[float] = []

    def descriptors(self) -> list[Descriptor]:
        return [
            Descriptor(3, "listener", "R", "Listener._accept", "ipv4", "127.0.0.1:80", "", "fe=web", False, False),
            Descriptor(7, "frontend", "RW", "PlainChannel.ready", "ipv4", "127.0.0.1:80", "127.0.0.2:99", "fe=web", True, False),
            Descriptor(8, "backend", "", "PlainChannel.ready", "ipv6", "[::1]:7", "[::1]:8001", "sv=app/s1", False, False),
            Descriptor(9, "pipe", None, "", "", "", "", "pipe:[1]", False, False),
            Descriptor(12, "other", None, "", "ipv4", "127.0.0.1:5", "127.0.0.1:6", "", False, True),
        ]

    def activity(self) -> dict[str, int]:
        return {"ctxsw": 5, "cpu_user_ms": 7, "rss_kb": 1000, "gc_objects": 10, "gc_collections": 2, "timers": 1}

    def threads(self) -> list[tuple[int, str, str]]:
        return [(255, "MainThread", '  File "x.py", line 1, in run\n')]

    def tasks(self) -> dict[str, int]:
        return {"App._serve": 1, "HttpSession.timed_out": 3}

    def pools(self) -> list[Pool]:
        return [Pool("http_session", 100, 4, 4), Pool("ring_buf0", 1, 1000, 10), Pool("relay_session", 50, 0, 0)]

    def libraries(self) -> list[tuple[int, int, str]]:
        return [(0x400000, 0x4FFFFF, "/usr/bin/python3")]

    def platform(self) -> dict[str, dict[str, str]]:
        return {"Platform info": {"node name": "node1", "cpu model": ""}, "Process info": {"pid": "4242"}}

    def random_key(self) -> int:
        return 77

    def log(self, text: str) -> None:
        self.happened.append(("log", text))

    def leave(self, code: int) -> None:
        self.happened.append(("leave", code))

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def block(self, seconds: float) -> None:
        self.happened.append(("block", seconds))

    async def refresh(self) -> None:
        self.happened.append(("refresh",))

    async def fetch(self, method: str, uri: str) -> str:
        if "refused" in uri:
            raise CommandError("No answer of refused.")
        return f"HTTP/1.1 200 OK\n{method} {uri}"
