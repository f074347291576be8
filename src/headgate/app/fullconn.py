"""The default of `fullconn` (4.2): 10% of the connections that all frontends together may send to a backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headgate.config.model import Proxy
from headgate.proxy.sides import Backend, Frontend


def set_default_fullconn(frontends: Iterable[Frontend], backends: Mapping[str, Backend]) -> None:
    """Set it where the configuration has none."""
    reachable = dict.fromkeys(backends, 0)
    for side in frontends:
        for name in _targets(side.spec, backends):
            reachable[name] += side.maxconn
    for name, most in reachable.items():
        if backends[name].spec.fullconn is None and most:
            backends[name].state.fullconn = -(-most // 10)


def _targets(spec: Proxy, backends: Mapping[str, Backend]) -> set[str]:
    """The backends that a frontend may choose; one that computes the name may choose any."""
    if any(choice.name is None for choice in spec.use_backends):
        return set(backends)
    names = {choice.name for choice in spec.use_backends} | {spec.default_backend, spec.name}
    return {name for name in backends if name in names}
