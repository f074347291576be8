"""What rules of one process changed is repeated by the others, also when the controller is busy or being replaced.

Of several changes of the same entry that wait, only the last is told. The commands may be said twice (see `References.repeat`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

#: Changes that are under way at a time, and that may wait; beyond it the oldest is forgotten.
_AT_ONCE = 32
_MOST = 100_000
#: Seconds until what did not arrive is told again.
_AGAIN = 0.5

#: Asks the controller; the answer is "" when it could not be asked.
Ask = Callable[[str, Callable[[str], None]], None]


class Repeater:
    """The changes of one process that the others don't know yet.

    Args:
        ask: see `proxy.services.Asker.ask`.
        later: calls after so many seconds.

    Attributes:
        lost: changes that were forgotten.
    """

    def __init__(self, ask: Ask, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._ask = ask
        self._later = later
        self._waiting: dict[tuple[str, ...], str] = {}
        self._under_way: set[tuple[str, ...]] = set()
        self._resting = False
        self.lost = 0

    def tell(self, command: str) -> None:
        """Have a command repeated: `<verb> <kind> @= #<list> =<key> ...`."""
        self.repeat(tuple(command.split(" ")[3:5]), command)

    def repeat(self, key: tuple[str, ...], command: str) -> None:
        """Have a command repeated.

        Args:
            key: what it changes: of several that wait, the last one counts.
            command: answers something wherever it arrives.
        """
        self._waiting.pop(key, None)
        self._waiting[key] = command
        if len(self._waiting) > _MOST:
            del self._waiting[next(iter(self._waiting))]
            self.lost += 1
        self._go_on()

    def _go_on(self) -> None:
        while len(self._under_way) < _AT_ONCE and not self._resting:
            # One change of an entry at a time, so that they arrive in their order.
            key = next((key for key in self._waiting if key not in self._under_way), None)
            if key is None:
                return
            command = self._waiting.pop(key)
            self._under_way.add(key)
            self._ask(command, partial(self._answered, key, command))

    def _answered(self, key: tuple[str, ...], command: str, answer: str) -> None:
        self._under_way.discard(key)
        if answer:
            self._go_on()  # also where it was refused: it would be again
            return
        self._waiting.setdefault(key, command)
        if not self._resting:
            self._resting = True
            self._later(_AGAIN, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._go_on()
