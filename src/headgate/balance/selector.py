"""What every balancing algorithm offers, and the weighted sequence that the static ones share.

A selector knows only the servers that load balancing may use now; `BackendState` decides which these are and tells it with
`rebuild` whenever states or weights change.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Protocol

from headgate.balance.server import ServerState


class Selector(Protocol):
    """One algorithm at work.

    Attributes:
        deterministic: the key decides alone: a full server is chosen all the same and the stream waits in its queue.
        keyed: `choose` wants a key; without one the backend falls back to round robin.
    """

    deterministic: bool
    keyed: bool

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        """Use these servers from now on, with the weights that they have now."""

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        """The server for one more stream; None when there is none (or, unless deterministic, when all are full).

        Args:
            key: 32-bit hash of what the algorithm looks at; None for those that look at nothing.
            avoid: a server not to choose as long as there is another one (redispatch).
        """


def smooth_sequence(weights: Sequence[int]) -> list[int]:
    """Indices spread so that each comes as often as its weight (divided by the common divisor), as evenly as possible."""
    divisor = math.gcd(*weights) or 1
    shares = [weight // divisor for weight in weights]
    # Occurrence k of a share w stands at (2k + 1) / 2w of the cycle; compared exactly, as integers.
    scale = math.lcm(*(share for share in shares if share)) if len(set(shares)) < 16 else 1 << 48
    heap = [(scale // share, index, 2 * scale // share) for index, share in enumerate(shares) if share]
    heapq.heapify(heap)
    sequence = []
    for _ in range(sum(shares)):
        place, index, step = heap[0]
        sequence.append(index)
        heapq.heapreplace(heap, (place + step, index, step))
    return sequence
