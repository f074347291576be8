"""Which address families name servers are asked for, and which of their answers count (manual 3.1, dns-accept-family)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection
from typing import Final

#: How long it is taken for granted whether IPv6 has a route, seconds (3.1).
CACHED: Final = 30.0
#: An address that only a default route leads to: that of a root name server. Nothing is sent there.
_FAR_AWAY: Final = ("2001:500:2f::f", 53)

_IPV4: Final = frozenset({4})
_IPV6: Final = frozenset({6})
_BOTH: Final = _IPV4 | _IPV6


def ipv6_has_route() -> bool:
    """Whether the system has a default route for IPv6.

    To connect a datagram socket asks the kernel just that: nothing is sent, nothing is waited for, and no file has to be in
    reach, which behind a `chroot` it would not be.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.connect(_FAR_AWAY)
    except OSError:
        return False
    return True


class AcceptedFamilies:
    """The families that are accepted now.

    Args:
        words: of `dns-accept-family`: "ipv4", "ipv6", "auto".
        has_route: whether IPv6 has a default route, asked every `CACHED` seconds at most, and only for "auto".
        clock: monotonic seconds.
    """

    __slots__ = ("_asked_at", "_clock", "_fixed", "_has_route", "_routed")

    def __init__(
        self, words: Collection[str], has_route: Callable[[], bool] = ipv6_has_route, clock: Callable[[], float] = time.monotonic
    ) -> None:
        fixed = (_IPV4 if "ipv4" in words or "auto" in words else frozenset()) | (_IPV6 if "ipv6" in words else frozenset())
        # What is fixed in both families needs no route to be looked for.
        self._fixed = None if "auto" in words and fixed != _BOTH else fixed
        self._has_route = has_route
        self._clock = clock
        self._routed = False
        self._asked_at = float("-inf")

    def now(self) -> frozenset[int]:
        """4, 6 or both."""
        if self._fixed is not None:
            return self._fixed
        now = self._clock()
        if now - self._asked_at >= CACHED:
            self._asked_at = now
            self._routed = self._has_route()
        return _BOTH if self._routed else _IPV4


#: Whatever a name has.
ANY: Final = AcceptedFamilies(("ipv4", "ipv6"))
