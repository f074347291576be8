"""A proxy draft -> `model.Proxy`: defaults and their rules merged in, unset values as the manual says, lines built.

What needs other proxies (references, ports of checks, ids) is left to `resolve`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from headgate.base.diagnostics import Report
from headgate.config.acl_scopes import privately, with_predefined
from headgate.config.actions import Rule, Ruleset
from headgate.config.checks import CheckSpec
from headgate.config.drafts import ConfigDraft, ProxyDraft, Settings
from headgate.config.expression import AclDefinition
from headgate.config.log_options import Logging, LogTarget
from headgate.config.model import (
    Balance,
    Bind,
    ConnectionMode,
    ErrorPage,
    HashType,
    Mode,
    Options,
    Proxy,
    ProxyKind,
    Server,
    StatsPage,
    Timeouts,
)
from headgate.config.registry import Scope
from headgate.config.resolve_bind_tls import LineDefaults
from headgate.config.resolve_checks import build_email_alert, build_spec, check_rules_fit, with_healthcheck
from headgate.config.resolve_lines import build_binds, build_server

_KINDS = {Scope.FRONTEND: ProxyKind.FRONTEND, Scope.BACKEND: ProxyKind.BACKEND, Scope.LISTEN: ProxyKind.LISTEN}

_OPTION_FIELDS = {
    "allbackups": "allbackups", "clitcpka": "clitcpka", "srvtcpka": "srvtcpka", "http_buffer_request": "http-buffer-request",
    "http_ignore_probes": "http-ignore-probes",
    "http_pretend_keepalive": "http-pretend-keepalive", "nolinger": "nolinger", "persist": "persist",
    "idle_close_on_response": "idle-close-on-response", "socket_stats": "socket-stats",
}

_TIMEOUTS = (
    "check", "client", "client-fin", "client-hs", "connect", "http-keep-alive", "http-request", "queue", "server", "server-fin",
    "tarpit", "tunnel",
)


def mode_of(draft: ProxyDraft) -> Mode:
    """The proxy's mode; TCP when nothing was said."""
    mode: Mode = draft.settings.value("mode", Mode.TCP)
    return mode


def build_proxy(draft: ProxyDraft, identifier: int, lines: LineDefaults, report: Report) -> Proxy:
    """Merge and freeze one proxy.

    Args:
        draft: of a frontend, backend or listen section.
        identifier: its `id`.
        lines: what the global section says about all lines.
        report: where errors and warnings go.
    """
    mode = mode_of(draft)
    settings = draft.settings
    acls, rules = _rules(draft)
    spec = build_spec(draft, report) if draft.is_backend else None
    return Proxy(
        name=draft.name,
        kind=_KINDS[draft.scope],
        id=identifier,
        id_forced="id" in settings,
        location=draft.location,
        mode=mode,
        disabled=settings.is_on("disabled"),
        description=settings.value("description"),
        binds=_binds(draft, mode, lines, report),
        servers=_servers(draft, mode, lines, spec, report) if spec is not None else (),
        acls=acls,
        rules=rules,
        use_backends=tuple(draft.use_backends),
        default_backend=settings.value("default_backend") if draft.is_frontend else None,
        use_servers=tuple(draft.use_servers),
        monitor_uri=settings.value("monitor-uri"),
        monitor_fail=tuple(draft.monitor_fail),
        stats=_stats_page(draft, report) if "stats enable" in settings else None,
        request_inspect_delay=settings.value("tcp-request inspect-delay", 0.0),
        force_persist=tuple(draft.force_persist),
        ignore_persist=tuple(draft.ignore_persist),
        logging=_logging(draft),
        error_pages=_error_pages(draft, report),
        timeouts=Timeouts(**{name.replace("-", "_"): settings.value(f"timeout {name}") or None for name in _TIMEOUTS}),
        options=_options(settings),
        connection_mode=settings.value("connection mode", ConnectionMode.KEEP_ALIVE),
        forwardfor=settings.value("option forwardfor"),
        originalto=settings.value("option originalto"),
        maxconn=(settings.value("maxconn") or None) if draft.is_frontend else None,
        backlog=settings.value("backlog"),
        rate_limit_sessions=settings.value("rate-limit sessions", 0),
        stick_table=settings.value("stick-table"),
        stick_rules=tuple(draft.stick_rules),
        email_alert=build_email_alert(draft, report),
        **(_backend_fields(draft, mode, spec) if spec is not None else {}),
    )


def _binds(draft: ProxyDraft, mode: Mode, lines: LineDefaults, report: Report) -> tuple[Bind, ...]:
    shared = (draft.name, draft.frontend_certificates)
    if draft.frontend_certificates and not any(line.settings.is_on("ssl") or not line.is_whole for line in draft.binds):
        place = draft.frontend_certificates[0].location
        report.warn("'ssl-f-use' has no effect: no bind line of the section has 'ssl'", place)
    return tuple(bind for line in draft.binds for bind in build_binds(line, mode, lines, report, shared))


def _backend_fields(draft: ProxyDraft, mode: Mode, spec: CheckSpec) -> dict[str, Any]:
    settings = draft.settings
    hash_type = settings.value("hash-type", HashType())
    fields: dict[str, Any] = {
        "check": spec,
        "balance": settings.value("balance", Balance()),
        "hash_type": replace(hash_type, balance_factor=settings.value("hash-balance-factor", 0)),
        "cookie": settings.value("cookie") if mode is Mode.HTTP else None,
        "dynamic_cookie_key": settings.value("dynamic-cookie-key"),
        "fullconn": settings.value("fullconn"),
        "redispatch": settings.value("option redispatch", 0),
        "source": settings.value("source"),
        "send_name_header": settings.value("http-send-name-header"),
        "load_server_state": settings.value("load-server-state-from-file", "none"),
        "server_state_file_name": settings.value("server-state-file-name"),
    }
    for name, key in (("retries", "retries"), ("retry_on", "retry-on"), ("http_reuse", "http-reuse")):
        if key in settings:
            fields[name] = settings.value(key)
    return fields


def _stats_page(draft: ProxyDraft, report: Report) -> StatsPage:
    settings = draft.settings
    if draft.stats_rules and ("stats auth" in settings or "stats realm" in settings):
        report.alert(
            f"'stats auth' and 'stats realm' can't be used with 'stats http-request' in {draft.title}",
            draft.stats_rules[0].location,
            remedy="put the users into a userlist and write 'stats http-request auth unless { http_auth(<userlist>) }'",
        )
    fields = {
        name: settings.value(key)
        for name, key in (
            ("uri", "stats uri"), ("realm", "stats realm"), ("refresh", "stats refresh"), ("show_version", "stats show-version"),
            ("description", "stats show-desc"), ("node", "stats show-node"), ("show_legends", "stats show-legends"),
            ("show_modules", "stats show-modules"),
        )
        if key in settings
    }
    return StatsPage(
        users=tuple(draft.stats_users),
        scope=tuple(dict.fromkeys(draft.name if name == "." else name for name in draft.stats_scopes)),
        rules=tuple(draft.stats_rules),
        admin=tuple(draft.stats_admin),
        **fields,
    )


def _options(settings: Settings) -> Options:
    switches = {name: settings.is_on(f"option {word}") for name, word in _OPTION_FIELDS.items()}
    return Options(
        abortonclose=settings.value("option abortonclose"),
        restrict_header_names=settings.value("option http-restrict-req-hdr-names"),
        **switches,
    )


def _logging(draft: ProxyDraft) -> Logging:
    settings = draft.settings
    targets: Sequence[LogTarget] = draft.log_targets
    if draft.log_global is not None:
        targets = [*draft.config.global_.log_targets, *targets]
    return Logging(
        targets=tuple(targets),
        style=settings.value("log style", "default"),
        format=settings.value("log-format"),
        error_format=settings.value("error-log-format"),
        structured_data=settings.value("log-format-sd"),
        tag=settings.value("log-tag"),
        dont_log_null=settings.is_on("option dontlognull"),
        dont_log_normal=settings.is_on("option dontlog-normal"),
        as_soon_as_possible=settings.is_on("option logasap"),
        separate_errors=settings.is_on("option log-separate-errors"),
        request_captures=tuple(draft.request_captures),
        response_captures=tuple(draft.response_captures),
        cookie_capture=draft.cookie_capture,
        declared_captures=tuple(draft.declared_captures),
        unique_id_format=settings.value("unique-id-format"),
        unique_id_header=settings.value("unique-id-header"),
    )


def _error_pages(draft: ProxyDraft, report: Report) -> Mapping[int, ErrorPage]:
    """Pages of `errorfiles` sections, over which the proxy's own lie."""
    pages: dict[int, ErrorPage] = {}
    config: ConfigDraft = draft.config
    for name, codes, place in draft.error_sections:
        section = config.error_sections.get(name)
        if section is None:
            known = tuple(config.error_sections)
            report.alert(f"http-errors section '{name}' is defined nowhere", place, allowed=known, written=name)
            continue
        pages.update({status: page for status, page in section.pages.items() if not codes or status in codes})
    pages.update({status: setting.value for status, setting in draft.error_pages.items()})
    return pages


def _servers(draft: ProxyDraft, mode: Mode, lines: LineDefaults, spec: CheckSpec, report: Report) -> tuple[Server, ...]:
    taken = {server.settings.value("id") for server in draft.servers if "id" in server.settings}
    servers: list[Server] = []
    next_id = 1
    for server in draft.servers:
        while next_id in taken:
            next_id += 1
        if "id" not in server.settings:
            taken.add(next_id)
        built = build_server(server, next_id, mode, lines, report)
        built = with_healthcheck(built, server, draft.config.healthchecks, report)
        check_rules_fit(built, server, built.check_spec or spec, report)
        servers.append(built)
        next_id += 1  # a server with an id of its own has its turn too
    return tuple(servers)


def _takes(draft: ProxyDraft, ruleset: Ruleset) -> bool:
    """Whether rules of a defaults section can run in a proxy of this side and mode."""
    if ruleset in (Ruleset.TCP_REQUEST_CONNECTION, Ruleset.TCP_REQUEST_SESSION):
        return draft.is_frontend
    if ruleset is Ruleset.TCP_RESPONSE_CONTENT:
        return draft.is_backend
    return ruleset is Ruleset.TCP_REQUEST_CONTENT or mode_of(draft) is Mode.HTTP


def _rules(draft: ProxyDraft) -> tuple[tuple[AclDefinition, ...], Mapping[Ruleset, tuple[Rule, ...]]]:
    """The rules in the order of evaluation: of the defaults sections first, and each set in its old order (4.2)."""
    acls: list[AclDefinition] = []
    rules: dict[Ruleset, list[Rule]] = {ruleset: [] for ruleset in Ruleset}
    parents = []
    parent = draft.inherits
    while parent is not None:
        parents.append(parent)
        parent = parent.inherits
    for parent in reversed(parents):
        hidden, moved = privately(parent)
        acls.extend(hidden)
        for ruleset, items in moved.items():
            if _takes(draft, ruleset):
                rules[ruleset].extend(items)
    acls.extend(draft.acls)
    rules[Ruleset.HTTP_REQUEST].extend(draft.denials)
    for ruleset, own in draft.rules.items():
        rules[ruleset].extend(own)
    for rule in draft.edits:
        rules[rule.ruleset].append(rule)
    rules[Ruleset.HTTP_REQUEST].extend(draft.redirects)
    kept = {ruleset: tuple(items) for ruleset, items in rules.items() if items}
    return with_predefined(acls, draft, kept), kept
