"""The algorithms of `balance` by name (manual 4.2), and how each is made from a backend's configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.balance.consistent import Consistent
from headgate.balance.first import First
from headgate.balance.leastconn import LeastConn
from headgate.balance.map_based import MapBased
from headgate.balance.random import RandomDraws
from headgate.balance.roundrobin import RoundRobin
from headgate.balance.selector import Selector
from headgate.balance.static_rr import StaticRoundRobin
from headgate.config.model import Proxy

Randomness = Callable[[], float]


def _hashed(spec: Proxy, randomness: Randomness) -> Selector:
    if spec.hash_type.method == "consistent":
        return Consistent(spec.hash_type.balance_factor)
    return MapBased()


ALGORITHMS: Final[dict[str, Callable[[Proxy, Randomness], Selector]]] = {
    "roundrobin": lambda spec, randomness: RoundRobin(),
    "static-rr": lambda spec, randomness: StaticRoundRobin(),
    "leastconn": lambda spec, randomness: LeastConn(),
    "first": lambda spec, randomness: First(),
    "random": lambda spec, randomness: RandomDraws(spec.balance.draws, randomness, spec.hash_type.balance_factor),
    "source": _hashed,
    "uri": _hashed,
    "url_param": _hashed,
    "hdr": _hashed,
    "rdp-cookie": _hashed,
    "hash": _hashed,
}
