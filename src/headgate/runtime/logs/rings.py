"""Rings: bounded buffers of log lines in this process (manual 12.5), written by `log ring@name`, read by `show events`.

A ring never refuses a line: the oldest ones make room. Readers keep a sequence number and learn how many lines they missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class LogRing:
    """One ring.

    Attributes:
        name, description: for `show events`.
        size: bytes of lines that are kept.
        maxlen: a longer line is cut to this many bytes.
        dropped: lines that did not get here from another process. A ring itself drops its oldest lines, not new ones.
        written: number of lines ever written; the sequence number of the next one.
        pass_on: takes each line instead: in a worker, since the rings that are shown are the controller's.
    """

    __slots__ = ("_lines", "_used", "_watchers", "description", "dropped", "maxlen", "name", "pass_on", "size", "written")

    def __init__(self, name: str, description: str = "", size: int = 16384, maxlen: int = 1024) -> None:
        self.name = name
        self.description = description or name
        self.size = size
        self.maxlen = maxlen
        self.dropped = 0
        self.written = 0
        self._lines: deque[bytes] = deque()
        self._used = 0
        self._watchers: list[Callable[[], None]] = []
        self.pass_on: Callable[[bytes], None] | None = None

    def write(self, data: bytes, now: float) -> None:
        """Append one line; the oldest lines leave until it fits."""
        if len(data) > self.maxlen:
            data = data[: self.maxlen - 1] + b"\n"
        if self.pass_on is not None:
            self.pass_on(data)
            return
        lines = self._lines
        lines.append(data)
        self.written += 1
        self._used += len(data)
        while self._used > self.size and len(lines) > 1:
            self._used -= len(lines.popleft())
        for watcher in self._watchers:
            watcher()

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Forget lines and watchers."""
        self._lines.clear()
        self._watchers.clear()
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes of lines that are kept now."""
        return self._used

    def since(self, sequence: int) -> tuple[list[bytes], int, int]:
        """Lines from number `sequence` on.

        Returns:
            The lines, the sequence number to ask with next time, and how many lines were lost in between.
        """
        oldest = self.written - len(self._lines)
        lost = max(0, oldest - sequence)
        skip = max(0, sequence - oldest)
        return [line for index, line in enumerate(self._lines) if index >= skip], self.written, lost

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after each line (`show events -w`)."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Stop calling `watcher`."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
