"""Config -> Plan: everything that is decided per request becomes a closure here, once.

Called by `app` at start and at reload, and by `headgate -c`. All errors go to the report; a plan from a report with alerts must
not be run. The world outside (files, environment, randomness) comes in through `Surroundings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from headgate.base.diagnostics import NOWHERE, ConfigError, Report
from headgate.config.actions import Ruleset
from headgate.config.expression import AclDefinition, LogFormat, SampleExpression
from headgate.config.model import Config, Mode, Proxy, ProxyKind, Server
from headgate.plan.additions import Additions, ScopeOf
from headgate.plan.address_headers import compile_address_header
from headgate.plan.balance_keys import compile_balance_key
from headgate.plan.captures import compile_request_capture, compile_response_capture
from headgate.plan.choices import compile_any, compile_choose_backend, compile_use_server
from headgate.plan.expressions import compile_as
from headgate.plan.facts import Stream, Value
from headgate.plan.frontends import BackendPlan, Formatter, FrontendPlan, Plan, Rules, ServerPlan
from headgate.plan.logaliases import BUILT_IN
from headgate.plan.logformat import Use, compile_format
from headgate.plan.places import ALWAYS, Place, ruleset_place
from headgate.plan.references import References
from headgate.plan.replies import error_replies
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope, Surroundings, shield
from headgate.plan.tables import table_definitions
from headgate.plan.variables import check_name

if TYPE_CHECKING:
    from headgate.config.checks import CheckSpec
    from headgate.config.stick_tables import StickTable
    from headgate.plan.checks import CheckProgram
    from headgate.plan.sticking import StickPlan
    from headgate.plan.table_layout import Layout

# Rules, conditions and the actions that they end in are imported below when a section has some: a small configuration starts in a
# tenth less time without them.


def compile_plan(config: Config, report: Report, surroundings: Surroundings | None = None) -> Plan:
    """Compile a configuration.

    Args:
        config: resolved.
        report: receives every error and warning.
        surroundings: the process and the machine; the default knows no files and an empty environment.
    """
    world = surroundings if surroundings is not None else Surroundings()
    files: dict[str, bytes] = {}
    references = References()
    tables = table_definitions(config)
    layouts = _layouts(tables)
    unpublished: set[str] = set()
    scopes = {
        id(proxy): Scope(config, report, world, proxy, Place(0), _acls(proxy), files, references, layouts)
        for proxy in config.proxies
    }
    backends = {proxy.name: _backend(proxy, scopes[id(proxy)]) for proxy in config.proxies if proxy.is_backend}
    frontends = tuple(
        _frontend(proxy, scopes[id(proxy)], backends, unpublished) for proxy in config.proxies if proxy.is_frontend
    )
    for proxy in config.proxies:
        _check_acls(proxy, scopes[id(proxy)])
    references.settle(report.warn)
    additions = Additions(config, world, references, _later_scope(config, world), _backend, _server)
    variables = _process_variables(config, report, world)
    # What rules ask of a table is known only now.
    tables = tuple(replace(table, counts_trackers=layout.exact) for table, layout in zip(tables, layouts, strict=True))
    return Plan(frontends, backends, variables, references, additions=additions, unpublished=unpublished, tables=tables)


def _layouts(tables: tuple[StickTable, ...]) -> tuple[Layout, ...]:
    if not tables:
        return ()
    from headgate.plan.table_layout import Layout

    return tuple(Layout(table) for table in tables)


def _later_scope(config: Config, world: Surroundings) -> ScopeOf:
    """Scopes of what is added while running."""

    def scope_of(proxy: Proxy, report: Report, references: References) -> Scope:
        return Scope(config, report, world, proxy, Place(0), _acls(proxy), {}, references)

    return scope_of


def _process_variables(config: Config, report: Report, world: Surroundings) -> tuple[tuple[bytes, Run], ...]:
    """`set-var proc.x` and `set-var-fmt proc.x` of the global section (3.1)."""
    nobody = Proxy("global", ProxyKind.FRONTEND, 0, NOWHERE)
    scope = Scope(config, report, world, nobody, Place.CONFIG, {})
    compiled: list[tuple[bytes, Run]] = []
    if config.global_.variables:
        from headgate.plan.actions.settings import value_of
    for name, value in config.global_.variables:
        try:
            _, key = check_name(name, value.location)
            compiled.append((key, value_of(value, scope)))
        except ConfigError as error:
            shield(report, error)
    return tuple(compiled)


def _acls(proxy: Proxy) -> dict[str, tuple[AclDefinition, ...]]:
    # Predefined ACLs are written in the language that `config` parses: its parser is not needed before.
    from headgate.config.parse_condition import predefined_acls

    named: dict[str, tuple[AclDefinition, ...]] = {}
    for definition in proxy.acls:
        named[definition.name] = (*named.get(definition.name, ()), definition)
    return {name: (definition,) for name, definition in predefined_acls().items()} | named


def _check_acls(proxy: Proxy, scope: Scope) -> None:
    """Compile ACLs that no rule uses, so that their errors are found, too."""
    if not proxy.acls:
        return
    from headgate.plan.conditions import compile_criterion

    quiet = Report()
    somewhere = replace(scope, report=quiet, proxy=proxy, place=ALWAYS)
    known = {(item.message, item.location) for item in scope.report.items}
    for definition in proxy.acls:
        try:
            compile_criterion(definition.criterion, somewhere)
        except ConfigError as error:
            if (error.diagnostic.message, error.diagnostic.location) not in known:
                shield(scope.report, error)


def _rules(proxy: Proxy, ruleset: Ruleset, scope: Scope, *, frontend: bool) -> Rules | None:
    rules = proxy.rules.get(ruleset)
    page = proxy.stats is not None and ruleset is Ruleset.HTTP_REQUEST
    if not rules and not page:
        return None
    from headgate.plan.rules import compile_rules

    place = scope.at(ruleset_place(ruleset, frontend=frontend or proxy.is_frontend, backend=not frontend or proxy.is_backend))
    compiled = compile_rules(rules, ruleset, place) if rules else None
    if not page:
        return compiled
    from headgate.plan.stats_page import with_stats_page

    return with_stats_page(compiled, proxy, place)


def _failure_tracking(proxy: Proxy, scope: Scope) -> Rules | None:
    rules = proxy.rules.get(Ruleset.TCP_REQUEST_SESSION)
    if not rules or not scope.tables or not any(bind.tls is not None for bind in proxy.binds):
        return None
    from headgate.plan.rules import compile_failure_tracking

    return compile_failure_tracking(rules, scope.at(ruleset_place(Ruleset.TCP_REQUEST_SESSION, frontend=True, backend=False)))


def _format(format_: LogFormat | None, scope: Scope, use: Use = Use.LOG) -> Formatter | None:
    if format_ is None:
        return None
    try:
        return compile_format(format_, scope, use)
    except ConfigError as error:
        shield(scope.report, error)
        return None


# --- frontends -------------------------------------------------------------------------------------------------------


def _frontend(proxy: Proxy, scope: Scope, backends: dict[str, BackendPlan], unpublished: set[str]) -> FrontendPlan:
    both = proxy.is_backend
    logs = scope.at(Place.LOG)
    choosing = scope.at(Place.FE_USE_BACKEND)

    def rules(ruleset: Ruleset) -> Rules | None:
        # A listen section's rules run once, on its backend side (and its compile errors are reported once): the
        # frontend side keeps what has no place in a backend.
        return _rules(proxy, ruleset, scope, frontend=True)

    def shared(ruleset: Ruleset) -> Rules | None:
        return None if both else rules(ruleset)

    backend = backends.get(proxy.name) if both else None
    return FrontendPlan(
        spec=proxy,
        name=proxy.name,
        binds=proxy.binds,
        tcp_request_connection=rules(Ruleset.TCP_REQUEST_CONNECTION),
        tcp_request_session=rules(Ruleset.TCP_REQUEST_SESSION),
        failure_tracking=_failure_tracking(proxy, scope),
        tcp_request_content=backend.tcp_request_content if backend else shared(Ruleset.TCP_REQUEST_CONTENT),
        http_request=backend.http_request if backend else shared(Ruleset.HTTP_REQUEST),
        http_response=backend.http_response if backend else shared(Ruleset.HTTP_RESPONSE),
        http_after_response=backend.http_after_response if backend else shared(Ruleset.HTTP_AFTER_RESPONSE),
        tcp_response_content=backend.tcp_response_content if backend else shared(Ruleset.TCP_RESPONSE_CONTENT),
        choose_backend=compile_choose_backend(proxy, choosing, backends, unpublished),
        monitor_fail=compile_any(proxy.monitor_fail, scope.at(Place.FE_HTTP_REQUEST)),
        capture_request=compile_request_capture(proxy.logging),
        capture_response=compile_response_capture(proxy.logging),
        log_line=_log_line(proxy, logs) if proxy.logging.targets else None,
        error_log_line=_error_line(proxy, logs) if proxy.logging.targets else None,
        structured_data=_format(proxy.logging.structured_data, logs),
        unique_id=_format(proxy.logging.unique_id_format, scope.at(ALWAYS), Use.HEADER),
        error_replies=error_replies(proxy),
        forwardfor=compile_address_header(proxy.forwardfor, scope, proxy.location, original=False),
        originalto=compile_address_header(proxy.originalto, scope, proxy.location, original=True),
    )


def built_in_format(style: str, proxy: Proxy) -> LogFormat:
    """One of the manual's own formats (8.2.1 to 8.2.4), parsed as if it stood in the configuration."""
    from headgate.config.cursor import Word
    from headgate.config.parse_logformat import parse_logformat

    text = BUILT_IN[style].replace("{mode}", "HTTP" if proxy.mode is Mode.HTTP else "TCP")
    return parse_logformat(Word(text, proxy.location), merge_spaces=True)


def _log_line(proxy: Proxy, scope: Scope) -> Formatter | None:
    style = proxy.logging.style
    if style == "clf" and proxy.mode is not Mode.HTTP:
        style = "tcp-clf"
    return _format(proxy.logging.format or built_in_format(style, proxy), scope)


def _error_line(proxy: Proxy, scope: Scope) -> Formatter | None:
    """None for the default: its `bind_name` is the id where the line has no name, which no log format can say (8.2.5)."""
    return _format(proxy.logging.error_format, scope)


# --- backends --------------------------------------------------------------------------------------------------------


def _backend(proxy: Proxy, scope: Scope) -> BackendPlan:
    def rules(ruleset: Ruleset) -> Rules | None:
        return _rules(proxy, ruleset, scope, frontend=False)

    choosing = scope.at(Place.BE_SERVER_CHOICE)
    return BackendPlan(
        spec=proxy,
        name=proxy.name,
        servers=tuple(_server(server, scope.at(Place.SERVER_CONNECT)) for server in proxy.servers),
        tcp_request_content=rules(Ruleset.TCP_REQUEST_CONTENT),
        tcp_response_content=rules(Ruleset.TCP_RESPONSE_CONTENT),
        http_request=rules(Ruleset.HTTP_REQUEST),
        http_response=rules(Ruleset.HTTP_RESPONSE),
        http_after_response=rules(Ruleset.HTTP_AFTER_RESPONSE),
        use_server=compile_use_server(proxy.use_servers, proxy, choosing),
        force_persist=compile_any(proxy.force_persist, choosing),
        ignore_persist=compile_any(proxy.ignore_persist, choosing),
        balance_key=_balance_key(proxy, choosing),
        cookie=proxy.cookie,
        error_replies=error_replies(proxy),
        forwardfor=compile_address_header(proxy.forwardfor, scope, proxy.location, original=False),
        originalto=compile_address_header(proxy.originalto, scope, proxy.location, original=True),
        stick=_sticking(proxy, choosing),
        check=_check(proxy.check, scope),
    )


def _check(spec: CheckSpec, scope: Scope) -> CheckProgram | None:
    """None where a connection is all: what is needed for more is loaded only where there is more."""
    if spec.kind == "tcp" and not spec.rules:
        return None
    from headgate.plan.checks import compile_check

    return compile_check(spec, scope)


def _sticking(proxy: Proxy, scope: Scope) -> StickPlan | None:
    if not proxy.stick_rules:
        return None
    from headgate.plan.sticking import compile_sticking

    return compile_sticking(proxy, scope)


def _balance_key(proxy: Proxy, scope: Scope) -> Callable[[Stream], bytes | None] | None:
    try:
        return compile_balance_key(proxy.balance, scope, proxy.location)
    except ConfigError as error:
        shield(scope.report, error)
        return None


def _server(server: Server, scope: Scope) -> ServerPlan:
    sni = None if server.tls is None else server.tls.sni
    check = None if server.check_spec is None or server.check is None else _check(server.check_spec, scope)
    return ServerPlan(server, _server_text(sni, scope), _server_text(server.pool_conn_name, scope), check)


def _server_text(expression: SampleExpression | None, scope: Scope) -> Callable[[Stream], bytes | None] | None:
    if expression is None:
        return None
    try:
        return _text(compile_as(expression, Type.STR, scope))
    except ConfigError as error:
        shield(scope.report, error)
        return None


def _text(run: Run) -> Callable[[Stream], bytes | None]:
    def text(stream: Stream) -> bytes | None:
        value: Value = run(stream)
        return value if isinstance(value, bytes) else None

    return text
