"""The last minutes of each proxy, for the small curves of the statistics page: requests and errors, second by second."""

from __future__ import annotations

from collections import deque
from typing import Final

from headgate.observe.page.cells import failures, requests
from headgate.observe.page.facts import rows_of

#: Seconds that are kept.
LENGTH: Final = 120
#: Proxies that are followed; of more, the others have no curve.
MOST: Final = 2000


class Track:
    """One frontend or backend: requests and errors in each of the last seconds."""

    __slots__ = ("errors", "last", "requests")

    def __init__(self, last: tuple[int, int]) -> None:
        self.last = last
        self.requests: deque[int] = deque(maxlen=LENGTH)
        self.errors: deque[int] = deque(maxlen=LENGTH)


class History:
    """All proxies. `sample` is called once a second by the process that answers for all workers."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}

    def sample(self, answer: str, seconds: float = 1.0) -> None:
        """Take one sample.

        Args:
            answer: of `show stat` for frontends and backends.
            seconds: since the last one: the curves show what came in one second.
        """
        span = max(seconds, 0.001)
        found = set()
        for row in rows_of(answer):
            name = f"{row['pxname']}/{row['svname']}"
            now = (requests(row), failures(row))
            found.add(name)
            track = self.tracks.get(name)
            if track is None:
                if len(self.tracks) < MOST:
                    self.tracks[name] = Track(now)
                continue
            before, track.last = track.last, now
            # `clear counters` takes them back to zero
            track.requests.append(max(0, round((now[0] - before[0]) / span)))
            track.errors.append(max(0, round((now[1] - before[1]) / span)))
        for name in self.tracks.keys() - found:
            del self.tracks[name]

    def facts(self) -> dict[str, dict[str, list[int]]]:
        """The curves, oldest second first, by `<proxy>/FRONTEND` or `<proxy>/BACKEND`."""
        return {
            name: {"requests": list(track.requests), "errors": list(track.errors)} for name, track in self.tracks.items()
        }
