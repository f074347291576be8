"""When checks are made: each has its turn on the reactor, an interval after its last one began.

`runner` says what a check is and what its result means. Here is only time: first rounds that are spread, intervals, those that
are hurried, those that pause, and the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from headgate.health.results import CheckResult
from headgate.runtime.checks.checked import Checked
from headgate.runtime.loop import reactor_of
from headgate.runtime.reactor import Reactor

#: No check starts sooner after the last one, whatever the interval says.
_SHORTEST_INTERVAL: Final = 0.001
#: How far apart the turns of checks are at least: this part of their interval, and at most so many seconds.
_GRID: Final = 0.1
_GRID_MOST: Final = 0.05


def next_turn(began: float, interval: float) -> float:
    """When a check is due that began at `began`, on a grid: those that are due at about the same time are made together.

    What a check costs by itself is mostly that the process has to be woken and finds no cache warm.

    Args:
        began, interval: seconds.
    """
    grid = min(interval * _GRID, _GRID_MOST)
    return round((began + interval) / grid) * grid if grid > 0.0 else began


class Turns:
    """The turns of all checks of a process.

    Args:
        make: makes a check of a server or agent, and has `done` of it told the result, or the exception that nobody expected.
        ended: told the result, unless the check has been paused meanwhile: then what it found means nothing.
        clock: monotonic seconds.
        random: numbers in [0, 1).
        spread: by which part of itself an interval may be longer or shorter (`spread-checks`).
    """

    def __init__(
        self, make: Callable[[Checked], None], ended: Callable[[Checked, CheckResult], None], *, clock: Callable[[], float],
        random: Callable[[], float], spread: float,
    ) -> None:
        self._make = make
        self._ended = ended
        self._clock = clock
        self._random = random
        self._spread = spread
        self._reactor: Reactor | None = None
        self._all: set[Checked] = set()

    # --- who has a turn ----------------------------------------------------------------------------------------------

    def start(self, everything: Sequence[Checked], span: float) -> None:
        """Begin, on the running loop; first turns are spread over `span` seconds."""
        self._reactor = reactor_of(asyncio.get_running_loop())
        for index, checked in enumerate(everything):
            self._launch(checked, index * span / len(everything))

    def add(self, checked: Checked) -> None:
        """One more, whose turn is now."""
        self._launch(checked, 0.0)

    def _launch(self, checked: Checked, delay: float) -> None:
        if self._reactor is not None:
            self._all.add(checked)
            checked.turn, checked.done = partial(self._turn, checked), partial(self._done, checked)
            self._reactor.arm(checked, self._clock() + (0.0 if checked.hurried else delay))

    def remove(self, checked: Checked) -> None:
        """No more turns; a check that is under way is given up."""
        self._all.discard(checked)
        checked.give_up()
        if self._reactor is not None:
            self._reactor.retire(checked)

    async def stop(self) -> None:
        """No more turns for anybody; returns when the programs of external checks are gone, too."""
        programs = [checked.external for checked in self._all if checked.external is not None]
        for checked in list(self._all):
            self.remove(checked)
        await asyncio.gather(*programs, return_exceptions=True)

    def hurry(self, checked: Checked, within: float = 0.0) -> None:
        """Let the next check begin in so many seconds at most; behind the one that is under way, if one is."""
        if self._reactor is None or checked.in_progress:
            checked.hurried = checked.hurried or not within
            return
        at = self._clock() + within
        if not within or not checked.deadline or at < checked.deadline:
            self._reactor.arm(checked, at)

    # --- a turn ------------------------------------------------------------------------------------------------------

    def _turn(self, checked: Checked) -> None:
        checked.hurried = False
        if checked.paused:
            checked.let_go()  # until somebody hurries it
            return
        checked.in_progress = True
        checked.began = self._clock()
        try:
            self._make(checked)
        except Exception as error:
            self._done(checked, error)

    def _done(self, checked: Checked, result: CheckResult | Exception) -> None:
        try:
            if isinstance(result, Exception):
                _report(checked, result)
            elif not checked.paused:
                self._ended(checked, result)
        except Exception as error:
            _report(checked, error)
        checked.in_progress = False
        checked.exchange = checked.external = None
        if checked in self._all and self._reactor is not None:
            interval = checked.health.next_interval(checked.plan.timing, self._spread * (2.0 * self._random() - 1.0))
            soonest = self._clock() + _SHORTEST_INTERVAL
            self._reactor.arm(checked, soonest if checked.hurried else max(soonest, next_turn(checked.began, interval)))


def _report(checked: Checked, error: Exception) -> None:
    """Ours, not the server's: say it loudly, but go on checking."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": f"health check of {checked.backend.name}/{checked.server.name} broke", "exception": error}
    )
