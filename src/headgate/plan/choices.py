"""Choices made by rules: backends, servers, persistence exceptions, monitor replies (manual 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from headgate.base.diagnostics import ConfigError
from headgate.config.expression import Condition
from headgate.config.model import Proxy, UseBackend, UseServer
from headgate.plan.facts import Stream
from headgate.plan.frontends import BackendPlan, Formatter, Test
from headgate.plan.logformat import Use, compile_format
from headgate.plan.scope import Scope, shield

Choose = Callable[[Stream], BackendPlan | None]


def compile_choose_backend(
    proxy: Proxy, scope: Scope, backends: Mapping[str, BackendPlan], unpublished: Collection[str] = ()
) -> Choose:
    """`use_backend` rules, then `default_backend`, then the section's own servers.

    Args:
        backends: grows and shrinks while running.
        unpublished: names of those that rules pass over; changes while running.
    """
    default = _default(proxy, backends)
    own = backends.get(proxy.name) if proxy.is_backend else None

    def fallback(stream: Stream) -> BackendPlan | None:
        if unpublished and default is not None and default.name in unpublished and default is not own:
            return own
        return default

    rules: list[tuple[Test | None, BackendPlan | None, Formatter | None]] = []
    for rule in proxy.use_backends:
        try:
            compiled = _use_backend(rule, scope, backends)
        except ConfigError as error:
            shield(scope.report, error)
            continue
        # "If a matching rule targets a disabled backend, it is ignored."
        if compiled is not None:
            rules.append(compiled)
    if not rules:
        return fallback
    table = tuple(rules)

    def choose(stream: Stream) -> BackendPlan | None:
        for test, backend, name in table:
            if test is None or test(stream):
                if name is None:
                    if unpublished and backend is not None and backend.name in unpublished:
                        continue
                    return backend
                found = backends.get(name(stream).decode("utf-8", "surrogateescape"))
                if found is None:
                    # "no other rule is evaluated, and the default_backend directive is applied instead"
                    return fallback(stream)
                if not found.spec.disabled and found.name not in unpublished:
                    return found
        return fallback(stream)

    return choose


def _condition(condition: Condition, scope: Scope) -> Test:
    # Not imported above: many configurations have no condition.
    from headgate.plan.conditions import compile_condition

    return compile_condition(condition, scope)


def _default(proxy: Proxy, backends: Mapping[str, BackendPlan]) -> BackendPlan | None:
    found = backends.get(proxy.default_backend) if proxy.default_backend is not None else None
    if found is not None and not found.spec.disabled:
        return found
    return backends.get(proxy.name) if proxy.is_backend else None


def _use_backend(
    rule: UseBackend, scope: Scope, backends: Mapping[str, BackendPlan]
) -> tuple[Test | None, BackendPlan | None, Formatter | None] | None:
    test = None if rule.condition is None else _condition(rule.condition, scope)
    if rule.name is not None:
        backend = backends[rule.name]
        return None if backend.spec.disabled else (test, backend, None)
    assert rule.format is not None
    return test, None, compile_format(rule.format, scope, Use.PLAIN)


def compile_use_server(rules: Sequence[UseServer], proxy: Proxy, scope: Scope) -> Callable[[Stream], str | None] | None:
    """`use-server` rules: a closure that answers the server's name, or None for the balancing algorithm."""
    compiled: list[tuple[Test | None, str | None, Formatter | None]] = []
    for rule in rules:
        try:
            test = None if rule.condition is None else _condition(rule.condition, scope)
            dynamic = compile_format(rule.format, scope, Use.PLAIN) if rule.name is None and rule.format is not None else None
        except ConfigError as error:
            shield(scope.report, error)
            continue
        compiled.append((test, rule.name, dynamic))
    if not compiled:
        return None
    table = tuple(compiled)

    def use_server(stream: Stream) -> str | None:
        for test, name, dynamic in table:
            if test is None or test(stream):
                if dynamic is None:
                    return name
                # A computed name that is no server's: the balancing algorithm decides.
                return dynamic(stream).decode("utf-8", "surrogateescape")
        return None

    return use_server


def compile_any(conditions: Sequence[Condition], scope: Scope) -> Test | None:
    """A test that holds when one of the conditions does; None without conditions."""
    tests = []
    for condition in conditions:
        try:
            tests.append(_condition(condition, scope))
        except ConfigError as error:
            shield(scope.report, error)
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda stream: any(test(stream) for test in tests)
