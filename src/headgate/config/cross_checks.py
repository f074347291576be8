"""What sections say of each other: names, references, ports of checks, timeouts. Called by `resolve`, in its order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from headgate.base.addresses import Family
from headgate.base.diagnostics import Location, Report, nearest_word, where
from headgate.config.acl_scopes import conditions_of, references
from headgate.config.actions import DoResolve, Rule
from headgate.config.drafts import ConfigDraft, ProxyDraft
from headgate.config.keywords.resolvers import read_resolv_conf
from headgate.config.model import Mode, Proxy, Server
from headgate.config.parse_condition import predefined_acls
from headgate.config.resolve_checks import names_port
from headgate.config.resolve_lines import has_port
from headgate.config.resolvers import DEFAULT_RESOLVERS, NameServer, Resolvers

#: Finding the nearest of more names than this would take longer than reading them all.
MOST_COMPARED = 1000


def missing(
    what: str, name: str, place: Location, known: Mapping[str, Location], report: Report, *, within: str = "",
    allowed: Iterable[str] = (),
) -> None:
    """Report a reference to something that is defined nowhere (`within` a section), with the nearest name and where that is.

    Args:
        allowed: all names that could stand there, where they are few enough to be told.
    """
    message = f"{what} '{name}' is used in line {place.line} and defined nowhere" + (f" in {within}" if within else "")
    near = nearest_word(name, known) if len(known) <= MOST_COMPARED else None
    if near is not None:
        message += f"; did you mean '{near}' ({where(known[near], place)})?"
    report.alert(message, place, allowed=tuple(allowed))


def check_global(draft: ConfigDraft, report: Report) -> None:
    """What keywords of the global section say of each other."""
    settings = draft.global_.settings
    if "crt-watch" in settings and "chroot" in settings:
        report.alert(
            "'crt-watch' can't look at files from within a 'chroot'", settings.place("crt-watch"),
            remedy="leave one of them out; a reload, or 'set ssl cert' on the stats socket, renews certificates as well",
        )


def check_names(draft: ConfigDraft, report: Report) -> None:
    """Proxies have different names whatever they are (4); servers have different names and ids within their backend."""
    seen: dict[str, ProxyDraft] = {}
    for proxy in draft.proxies:
        first = seen.setdefault(proxy.name, proxy)
        if first is not proxy:
            message = f"{proxy.title} has the same name as {first.title} ({where(first.location, proxy.location)})"
            report.alert(message, proxy.location, remedy="a frontend and a backend that belong together are one 'listen' section")
        _check_servers(proxy, report)


def _check_servers(proxy: ProxyDraft, report: Report) -> None:
    names: dict[str, Location] = {}
    ids: dict[int, Location] = {}
    for server in proxy.servers:
        place = server.location
        if server.name in names:
            first = where(names[server.name], place)
            report.alert(f"server '{server.name}' stands twice in {proxy.title}: first in {first}", place)
        names.setdefault(server.name, place)
        number = server.settings.value("id")
        if number is None:
            continue
        if number in ids:
            message = f"server id {number} is taken in {proxy.title}: see {where(ids[number], place)}"
            report.alert(message, server.settings.place("id"))
        ids.setdefault(number, place)


def check_defaults_usage(draft: ConfigDraft, report: Report) -> None:
    """A defaults section should not serve some proxies by `from` and others by being the last one (4)."""
    for defaults in draft.defaults:
        users = [proxy for proxy in draft.proxies if proxy.inherits is defaults]
        implicit = [proxy for proxy in users if not proxy.explicit]
        if implicit and len(implicit) < len(users):
            other = next(proxy for proxy in users if proxy.explicit)
            report.warn(
                f"{implicit[0].title} uses defaults section '{defaults.name}' without naming it, {other.title} names it",
                implicit[0].location, remedy=f"write 'from {defaults.name}' in both",
            )
        own: list[Rule] = [rule for rules in defaults.rules.values() for rule in rules]
        _check_acls(defaults.title, {acl.name: acl.location for acl in defaults.acls}, own, report)


def _check_acls(title: str, known: Mapping[str, Location], rules: Iterable[Rule], report: Report) -> None:
    for rule in rules:
        for reference in references(rule.condition):
            if reference.name not in known and reference.name not in predefined_acls():
                missing("ACL", reference.name, reference.location, known, report, within=title)


def check_references(draft: ConfigDraft, proxies: Iterable[Proxy], report: Report) -> None:
    """Backends, servers, ACLs and rings that are named must be there; modes must fit."""
    by_name = {proxy.name: proxy for proxy in proxies}
    for proxy in draft.proxies:
        _check_backends(proxy, by_name, report)
        names = {server.name: server.location for server in proxy.servers}
        for chosen in proxy.use_servers:
            if chosen.name is not None and chosen.name not in names:
                missing("server", chosen.name, chosen.location, names, report, within=proxy.title)
        acls = {acl.name: acl.location for acl in proxy.acls}
        late = [*proxy.denials, *proxy.edits, *proxy.redirects]
        _check_acls(proxy.title, acls, late, report)
        for condition in conditions_of(proxy, proxy.rules):
            for reference in references(condition):
                if reference.name not in acls and reference.name not in predefined_acls():
                    missing("ACL", reference.name, reference.location, acls, report, within=proxy.title)
    _check_resolvers(draft, proxies, report)
    _check_log_targets(draft, report)


def _check_resolvers(draft: ConfigDraft, proxies: Iterable[Proxy], report: Report) -> None:
    """Sections that servers and rules name must be there; `default` is made of the system's where nobody wrote it."""
    known = {name: section.location or draft.global_.location for name, section in draft.resolvers.items()}
    seen: set[Location] = set()
    for name, place in _named_resolvers(draft, proxies):
        if place in seen:
            continue
        seen.add(place)
        if name == DEFAULT_RESOLVERS and name not in known:
            draft.resolvers[name] = Resolvers(name, _system_name_servers())
            known[name] = draft.global_.location
        elif name not in known:
            missing("resolvers", name, place, known, report, allowed={**known, DEFAULT_RESOLVERS: None})
    client = draft.global_.settings.get("httpclient.resolvers.id")
    if client is not None and client.value not in (*known, DEFAULT_RESOLVERS):
        missing("resolvers", client.value, client.location, known, report, allowed={**known, DEFAULT_RESOLVERS: None})


def _named_resolvers(draft: ConfigDraft, proxies: Iterable[Proxy]) -> Iterator[tuple[str, Location]]:
    """The `resolvers` sections that are named, and where: also by servers that have an address and no use for them."""
    for written in draft.proxies:
        for server in written.servers:
            setting = server.settings.get("resolvers")
            if setting is not None:
                yield setting.value, setting.location
    for proxy in proxies:
        for rules in proxy.rules.values():
            for rule in rules:
                if isinstance(rule.action, DoResolve):
                    yield rule.action.resolvers, rule.action.location


def _system_name_servers() -> tuple[NameServer, ...]:
    try:
        return tuple(read_resolv_conf())
    except OSError:  # 5.3.2: that the section can't be made is no error
        return ()


def _check_backends(proxy: ProxyDraft, proxies: Mapping[str, Proxy], report: Report) -> None:
    if not proxy.is_frontend:
        return
    known = {name: other.location for name, other in proxies.items() if other.is_backend}
    for name, place in _used_backends(proxy):
        target = proxies.get(name)
        if target is not None and not target.is_backend:
            report.alert(f"'{name}' is a frontend ({where(target.location, place)}): a backend is needed here", place)
        elif target is None:
            missing("backend", name, place, known, report)
        else:
            _check_modes(proxy, target, place, report)


def _used_backends(proxy: ProxyDraft) -> Iterator[tuple[str, Location]]:
    for chosen in proxy.use_backends:
        if chosen.name is not None:
            yield chosen.name, chosen.location
    default = proxy.settings.get("default_backend")
    if default is not None:
        yield default.value, default.location


def _check_modes(proxy: ProxyDraft, target: Proxy, place: Location, report: Report) -> None:
    mode = proxy.settings.value("mode", Mode.TCP)
    if mode is target.mode:
        return
    message = (
        f"{mode.value} {proxy.title} uses {target.mode.value} backend '{target.name}' ({where(target.location, place)})"
    )
    if mode is Mode.TCP:
        report.alert(
            f"{message}: the upgrade from TCP to HTTP is known but not yet supported", place,
            remedy=f"write 'mode http' in {proxy.title}",
        )
    else:
        report.alert(f"{message}: the modes are incompatible", place, remedy="write the same 'mode' in both")


def _check_log_targets(draft: ConfigDraft, report: Report) -> None:
    rings = {ring.name: ring.location or draft.global_.location for ring in draft.rings.values()}
    seen: set[Location] = set()
    for targets in [draft.global_.log_targets, *(proxy.log_targets for proxy in [*draft.defaults, *draft.proxies])]:
        for target in targets:
            if target.location in seen:
                continue
            seen.add(target.location)
            if target.address.family is Family.RING and target.address.host not in rings:
                missing("ring", target.address.host, target.location, rings, report)
            if target.address.family is Family.BACKEND:
                report.alert("log targets 'backend@' are known but not yet supported", target.location)


def settle_check_ports(proxy: Proxy, proxies: Iterable[Proxy], report: Report) -> Proxy:
    """Give a check without a port the port of the bind line whose connections the backend gets, as HAProxy 1.5 did.

    A server without a port is connected to on the port that the client used, which a check does not have. Of several ports the
    first is taken, with a warning; without any the check is left out, with HAProxy's warning.
    """
    if not any(server.check is not None for server in proxy.servers):
        return proxy
    return replace(proxy, servers=tuple(_with_check_port(server, proxy, proxies, report) for server in proxy.servers))


def _with_check_port(server: Server, proxy: Proxy, proxies: Iterable[Proxy], report: Report) -> Server:
    check = server.check
    if check is None or check.port is not None or (check.address is not None and check.address.port) or has_port(server):
        return server
    if names_port(proxy, server):
        return server
    offset = server.address.port if server.address.port_is_offset else 0
    binds = [bind for other in _frontends_of(proxy, proxies) for bind in other.binds]
    found = [port + offset for bind in binds for port in bind.address.ports if port]
    ports = [port for port in dict.fromkeys(found) if 0 < port < 65536]
    remedy = "write 'port <port>' on the server line"
    if not ports:
        message = f"server '{server.name}' has neither service port nor check port: its check has been disabled"
        report.warn(message, server.location, remedy=remedy)
        return replace(server, check=None)
    if len(ports) > 1:
        listed = ", ".join(str(port) for port in ports[:8])
        message = f"server '{server.name}' has no port, and clients come on several ({listed}): it is checked on {ports[0]}"
        report.warn(message, server.location, remedy=remedy)
    if check.address is not None:
        return replace(server, check=replace(check, port=ports[0]))
    # A port that was written would also take TLS and the PROXY header from the check (5.2 "ssl"); this one was not.
    return replace(server, check=replace(
        check, port=ports[0], tls=server.tls is not None if check.tls is None else check.tls,
        send_proxy=check.send_proxy or server.send_proxy is not None,
    ))


def _frontends_of(proxy: Proxy, proxies: Iterable[Proxy]) -> Iterator[Proxy]:
    if proxy.is_frontend:
        yield proxy
    for other in proxies:
        if other.is_frontend and other is not proxy:
            names = {chosen.name for chosen in other.use_backends} | {other.default_backend}
            if proxy.name in names:
                yield other


def check_sides(draft: ConfigDraft, proxies: Iterable[Proxy], report: Report) -> None:
    """What is valid and surely not meant: no bind line, no timeouts, a unique ID without a format."""
    bound = {proxy.location for proxy in draft.proxies if proxy.binds}
    for proxy in proxies:
        if not proxy.disabled:
            _check_sides(proxy, report, is_bound=proxy.location in bound)


def _check_sides(proxy: Proxy, report: Report, *, is_bound: bool) -> None:
    if proxy.is_frontend and not is_bound:
        report.warn(
            f"{proxy.kind.value} '{proxy.name}' has no 'bind' directive", proxy.location,
            remedy="declare it as a backend if this was intended",
        )
    times = proxy.timeouts
    needed = [("client", times.client)] if proxy.is_frontend else []
    if proxy.is_backend and proxy.servers:
        needed += [("connect", times.connect), ("server", times.server)]
    unset = [name for name, value in needed if value is None]
    if unset:
        listed = ", ".join(f"'timeout {name}'" for name in unset)
        report.warn(
            f"missing timeouts for {proxy.kind.value} '{proxy.name}': {listed}", proxy.location,
            remedy="without them, connections that nobody uses any more stay open forever",
        )
    if proxy.logging.unique_id_header is not None and proxy.logging.unique_id_format is None:
        report.warn(f"'unique-id-header' of '{proxy.name}' has no effect without 'unique-id-format'", proxy.location)
