"""Draft -> model: the last step of reading a configuration. Every error is reported, not only the first.

Defaults are merged, lines are built and ids given here and in `resolve_proxies`; what one section says of another is checked in
`cross_checks`, and what a proxy's mode leaves without effect in `mode_checks`.
"""

from __future__ import annotations

from dataclasses import replace

from headgate.base.diagnostics import ConfigError, Report
from headgate.config import cross_checks, mode_checks
from headgate.config.drafts import ConfigDraft, ProxyDraft
from headgate.config.model import Config, Proxy
from headgate.config.resolve_bind_tls import LineDefaults
from headgate.config.resolve_certificates import build_certificates
from headgate.config.resolve_checks import settle_tracking
from headgate.config.resolve_global import build_global
from headgate.config.resolve_lines import line_defaults
from headgate.config.resolve_name_servers import build_resolvers
from headgate.config.resolve_ocsp import check_delays
from headgate.config.resolve_proxies import build_proxy


def resolve(draft: ConfigDraft, report: Report) -> Config | None:
    """Turn what was read into a checked configuration.

    Args:
        draft: everything the parsers left.
        report: where errors and warnings go.

    Returns:
        The frozen configuration, or None when this step reported an error.
    """
    before = len(report.alerts)
    for proxy in draft.proxies:
        mode_checks.drop_what_mode_ignores(proxy, report)
    cross_checks.check_global(draft, report)
    cross_checks.check_names(draft, report)
    cross_checks.check_defaults_usage(draft, report)
    check_delays(draft.global_.settings, report)
    certificates = build_certificates(draft, report)
    lines = replace(line_defaults(draft), certificates=certificates)
    proxies: list[Proxy] = []
    for proxy, identifier in zip(draft.proxies, _ids(draft.proxies, report), strict=True):
        built = _build(proxy, identifier, lines, report)
        if built is not None:
            proxies.append(built)
    cross_checks.check_references(draft, proxies, report)
    proxies = settle_tracking(proxies, report)
    proxies = [cross_checks.settle_check_ports(proxy, proxies, report) for proxy in proxies]
    cross_checks.check_sides(draft, proxies, report)
    resolvers = build_resolvers(draft, lines, report)
    if len(report.alerts) > before:
        return None
    return Config(
        global_=build_global(draft),
        proxies=tuple(proxies),
        userlists=dict(draft.userlists),
        rings=dict(draft.rings),
        error_sections=dict(draft.error_sections),
        resolvers=resolvers,
        certificates=tuple(dict.fromkeys(certificates.stored.values())),
        path_bases=draft.path_bases,
        origin=draft,
    )


def _build(proxy: ProxyDraft, identifier: int, lines: LineDefaults, report: Report) -> Proxy | None:
    try:
        return _resolved_names(build_proxy(proxy, identifier, lines, report))
    except ConfigError as error:
        report.add(error.diagnostic)
        return None


def _resolved_names(proxy: Proxy) -> Proxy:
    """Automatic ids of listeners: their position in the proxy, besides those that were written (5.1 "id").

    Each port of a range is a listener: the id is that of the first, the others follow it.
    """
    taken = {bind.id for bind in proxy.binds if bind.id is not None}
    binds = []
    number = 1
    for bind in proxy.binds:
        if bind.id is None:
            while number in taken:
                number += 1
            bind = replace(bind, id=number)
        binds.append(bind)
        number += len(bind.address.ports)
    return replace(proxy, binds=tuple(binds))


def _ids(proxies: list[ProxyDraft], report: Report) -> list[int]:
    """The id of each proxy: as written, else the lowest free one from 2 (4.2 "id")."""
    taken: dict[int, ProxyDraft] = {}
    for proxy in proxies:
        if "id" not in proxy.settings:
            continue
        number = proxy.settings.value("id")
        if number in taken:
            first = taken[number]
            message = f"id {number} of {proxy.title} is taken by {first.title} ({first.settings.place('id').short})"
            report.alert(message, proxy.settings.place("id"))
        taken[number] = proxy
    ids: list[int] = []
    free = 2
    for proxy in proxies:
        if "id" in proxy.settings:
            ids.append(proxy.settings.value("id"))
            continue
        while free in taken:
            free += 1
        taken[free] = proxy
        ids.append(free)
    return ids
