"""What is compiled while running: servers and backends that are added, values that are given to variables.

Made by `compiler` together with the plan; used by the runtime API.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.diagnostics import NOWHERE, ConfigError, Report
from headgate.config.expression import LogFormat, SampleExpression
from headgate.config.model import Config, Proxy, ProxyKind, Server
from headgate.plan.frontends import BackendPlan, ServerPlan
from headgate.plan.places import Place
from headgate.plan.references import References
from headgate.plan.samples import Run
from headgate.plan.scope import Scope, Surroundings

#: Compile a backend or a server in a scope; the compiler's own.
CompileBackend = Callable[[Proxy, Scope], BackendPlan]
CompileServer = Callable[[Server, Scope], ServerPlan]
ScopeOf = Callable[[Proxy, Report, References], Scope]


class Additions:
    """Compiles what comes later, in the surroundings of the configuration.

    Args:
        config: as it was read.
        surroundings: of the start.
        references: the lists that rules of a new backend look into.
        scope_of, backend, server: the compiler.
    """

    def __init__(
        self,
        config: Config,
        surroundings: Surroundings,
        references: References,
        scope_of: ScopeOf,
        backend: CompileBackend,
        server: CompileServer,
    ) -> None:
        self._config = config
        self._surroundings = surroundings
        self._references = references
        self._scope_of = scope_of
        self._backend = backend
        self._server = server

    def server(self, proxy: Proxy, server: Server) -> ServerPlan:
        """A server of a backend; raises ConfigError."""
        report = Report()
        plan = self._server(server, self._scope_of(proxy, report, self._references).at(Place.SERVER_CONNECT))
        _insist(report)
        return plan

    def backend(self, proxy: Proxy) -> BackendPlan:
        """A backend; raises ConfigError."""
        report = Report()
        plan = self._backend(proxy, self._scope_of(proxy, report, self._references))
        _insist(report)
        self._references.settle(report.warn)
        return plan

    def value(self, expression: SampleExpression | LogFormat) -> Run:
        """What `set var` evaluates, with nothing but the process around it; raises ConfigError."""
        from headgate.plan.actions.settings import value_of

        report = Report()
        nobody = Proxy("<command>", ProxyKind.FRONTEND, 0, NOWHERE)
        # Lists of its own: a map that one command looks into must not be followed for ever.
        scope = Scope(self._config, report, self._surroundings, nobody, Place.CONFIG, {}, {}, References())
        run = value_of(expression, scope)
        _insist(report)
        return run


def _insist(report: Report) -> None:
    if report.alerts:
        raise ConfigError(report.alerts[0])
