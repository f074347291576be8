"""The certificates of a process, as the runtime API looks at them and changes them: implements `admin.context.TlsSide`.

What is changed at run time differs from the files. It is written down in `crt-state-dir` where there is one, by
`certificate_states`, and reported at the next reload where there is none: nothing goes back to what it was without a word.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from headgate.app.certificate_states import CertificateStates, digest_of
from headgate.base.diagnostics import ConfigError, Report
from headgate.config.model import Config
from headgate.runtime.logs.emitters import log_event
from headgate.tls.bind_lines import relist
from headgate.tls.server_context import BindContext
from headgate.tls.storage import Entry, Storage
from headgate.tls.store import CertificateStore
from headgate.tls.transactions import CertificateText, Transactions

if TYPE_CHECKING:
    from headgate.app.process import App


_WARNING = 4


class BoundLine:
    """A bind line: implements `admin.context.TlsLine`."""

    __slots__ = ("_context", "frontend", "place")

    def __init__(self, frontend: str, context: BindContext) -> None:
        self.frontend = frontend
        location = context.tls.location
        self.place = f"{frontend}/{location.short}" if location is not None else frontend
        self._context = context

    @property
    def strict_sni(self) -> bool:
        return self._context.tls.strict_sni

    @property
    def store(self) -> CertificateStore:
        return self._context.store

    def entries(self) -> Collection[Entry[Any]]:
        return self._context.entries()

    def instances(self, entry: Entry[Any]) -> int:
        policies = {policy for policy, applied in self._context.policies.items() if entry in applied.entries}
        return sum(1 for one in self._context.store.served if one.entry is entry or one.policy in policies)

    def uses(self, name: str) -> bool:
        return self._context.uses_list(name)

    def relist(self, now: float) -> None:
        """Serve what the line's lists hold now.

        Raises:
            ConfigError: that can't be served; the line goes on as it is.
        """
        report = Report()
        if not relist(self._context, report, now):
            raise ConfigError(report.alerts[0])


class ProcessTls:
    """See the module."""

    def __init__(self, app: App, storage: Storage) -> None:
        self._app = app
        self.storage = storage
        self.transactions = Transactions(storage)
        self.lines: Sequence[BoundLine] = _lines(app)
        self._unopened = ""  # why there is no crt-state-dir though there should be
        self._states = self._open_states()
        self._changes = {("cert", name): at for name, at in storage.kept.items() if at is not None}
        self._unkept: set[str] = set()  # certificates that crt-state-dir did not take

    def _open_states(self) -> CertificateStates | None:
        """One process writes for all."""
        directory = self._app.config.global_.crt_state_dir
        if directory is None or self._app.api is None:
            return None
        try:
            return CertificateStates(directory)
        except OSError as error:
            self._unopened = f"crt-state-dir '{directory}' can't be opened: {error.strerror}"
            log_event(self._app.logs.process, _WARNING, f"{self._unopened}; what is installed at run time is not kept")
            return None

    @property
    def config(self) -> Config:
        return self._app.config

    def relist(self, name: str) -> None:
        now = time.time()
        for line in self.lines:
            if line.uses(name):
                line.relist(now)
        if self._app.ocsp is not None:
            self._app.ocsp.relisted()
        self._changed("crt-list", name)

    def installed(self, name: str, text: CertificateText) -> str | None:
        self._changed("cert", name)
        if self._app.catching_up or (self._states is None and not self._unopened):
            return None
        why = self._unopened if self._states is None else self._not_kept(self._states, name, text)
        if why is None:
            self._unkept.discard(name)
            return None
        self._unkept.add(name)
        problem = f"certificate '{name}' is not kept: {why}; a reload would take it back"
        log_event(self._app.logs.process, _WARNING, problem)
        return problem

    def _not_kept(self, states: CertificateStates, name: str, text: CertificateText) -> str | None:
        try:
            states.keep(name, text, time.time())
        except OSError as error:
            return f"crt-state-dir '{self._app.config.global_.crt_state_dir}' can't be written to: {error.strerror}"
        return None

    def text_installed(self, kind: str, name: str) -> None:
        self._changed(kind, name)

    def followed(self, kind: str, name: str) -> None:
        self._show_anew()
        self._forget(kind, name)

    def deleted(self, kind: str, name: str) -> None:
        self._forget(kind, name)

    def _forget(self, kind: str, name: str) -> None:
        self._changes.pop((kind, name), None)
        if kind == "cert" and self._states is not None and not self._app.catching_up:
            self._states.forget(name)

    def _changed(self, kind: str, name: str) -> None:
        self._changes[kind, name] = time.time()
        self._show_anew()

    def _show_anew(self) -> None:
        self._app.control.__dict__.pop("certificates", None)

    @property
    def changes(self) -> Sequence[str]:
        return [
            f"{kind} {'kept' if self._is_kept(kind, name) else 'lost'} {int(at)} {digest_of(kind, name, self.storage)} {name}"
            for (kind, name), at in self._changes.items()
        ]

    def _is_kept(self, kind: str, name: str) -> bool:
        return kind == "cert" and self._states is not None and name not in self._unkept


def _lines(app: App) -> list[BoundLine]:
    """Each bind line once: one with several addresses has one context."""
    found: dict[int, BoundLine] = {}
    for proxy in app.config.proxies:
        for bind in proxy.binds:
            context = app.prepared.bind_contexts.get(id(bind))
            if context is not None:
                found.setdefault(id(context), BoundLine(proxy.name, context))
    return list(found.values())
