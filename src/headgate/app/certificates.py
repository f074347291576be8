"""The certificates of all frontends, as the runtime API lists them."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.app.prepare import Prepared
from headgate.base.records import dataclass, field


@dataclass(slots=True)
class ShownCertificate:
    """Implements `admin.context.Certificate`."""

    names: Sequence[str]
    file: str
    not_after: float
    used_by: list[str] = field(default_factory=list)


def certificates_of(prepared: Prepared) -> Sequence[ShownCertificate]:
    """All certificates that bind lines present, each once."""
    if not prepared.bind_contexts:
        return ()
    found: dict[tuple[str, bytes], ShownCertificate] = {}
    for proxy in prepared.config.proxies:
        for bind in proxy.binds:
            context = prepared.bind_contexts.get(id(bind))
            for served in context.store.served if context is not None else ():
                one = served.entry.contents
                shown = found.get((one.path, one.leaf))
                if shown is None:
                    names = sorted(name.decode("utf-8", "replace") for name in one.names)
                    shown = found[one.path, one.leaf] = ShownCertificate(names, one.path, one.not_after)
                if proxy.name not in shown.used_by:
                    shown.used_by.append(proxy.name)
    return list(found.values())
