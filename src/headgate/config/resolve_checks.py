"""Checks, agents, tracking and mails: from drafts to the model. Called by `resolve`, `resolve_proxies`, `runtime_lines`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headgate.base.diagnostics import Report
from headgate.config.check_drafts import OPTIONS
from headgate.config.checks import CheckSpec, ConnectRule
from headgate.config.drafts import ProxyDraft, ServerDraft
from headgate.config.mailers import EmailAlert
from headgate.config.model import AgentCheck, Mode, Proxy, Server, ServerCheck
from headgate.config.tls_options import ServerTls

#: "silently ignored if any specific check connect option is defined" (5.2 check-reuse-pool).
_CONNECT_OPTIONS = ("addr", "check-alpn", "check-proto", "check-send-proxy", "check-ssl", "check-via-socks4", "port")


def build_check(draft: ServerDraft, tls: ServerTls | None, mode: Mode, report: Report) -> ServerCheck | None:
    """The check options of a server line, None without `check`."""
    settings = draft.settings
    if not settings.is_on("check"):
        return None
    observe = settings.value("observe")
    if observe == "layer7" and mode is not Mode.HTTP:
        message = f"server '{draft.name}': 'observe layer7' is for HTTP: it can't be used in mode {mode.value}"
        report.alert(message, settings.place("observe"), remedy="write 'observe layer4'")
    if settings.is_on("check-via-socks4") and "socks4" not in settings:
        message = f"server '{draft.name}': 'check-via-socks4' needs 'socks4'"
        report.alert(message, settings.place("check-via-socks4"), remedy="write 'socks4 <addr>:<port>' on the server line")
    return ServerCheck(
        inter=settings.value("inter", 2.0),
        fastinter=settings.value("fastinter"),
        downinter=settings.value("downinter"),
        rise=settings.value("rise", 2),
        fall=settings.value("fall", 3),
        address=settings.value("addr"),
        port=settings.value("port"),
        tls=settings.value("check-ssl"),
        tls_options=tls,
        sni=settings.value("check-sni"),
        sni_auto=settings.value("check-sni-auto", True),
        alpn=settings.value("check-alpn", ()),
        send_proxy=settings.is_on("check-send-proxy"),
        via_socks4=settings.is_on("check-via-socks4"),
        reuse_pool=settings.is_on("check-reuse-pool") and not any(option in settings for option in _CONNECT_OPTIONS),
        pool_name=settings.value("check-pool-conn-name"),
        observe=observe,
        on_error=settings.value("on-error", "fail-check"),
        error_limit=settings.value("error-limit", 10),
    )


def build_agent(draft: ServerDraft, report: Report) -> AgentCheck | None:
    """`agent-check`, None without it."""
    settings = draft.settings
    if not settings.is_on("agent-check"):
        return None
    port = settings.value("agent-port")
    if port is None:
        if not draft.is_whole:
            return None  # it may be the option that could not be read
        message = f"server '{draft.name}' does not have agent port: its agent check can't be made"
        report.alert(message, settings.place("agent-check"), remedy="write 'agent-port <port>'")
        port = 1
    address = settings.value("agent-addr", settings.value("addr"))
    return AgentCheck(port, settings.value("agent-inter", 2.0), address, settings.value("agent-send", b""))


def build_spec(draft: ProxyDraft, report: Report) -> CheckSpec:
    """How a backend's servers are checked."""
    for ignored, kind, place in draft.check.unheeded():
        report.warn(f"{ignored} without '{OPTIONS[kind]}'", place)
    spec = draft.check.freeze(report, log=draft.settings.is_on("option log-health-checks"))
    if spec.kind == "external":
        place = draft.check.location
        if spec.command is None:
            remedy = "write 'external-check command <command>'"
            report.alert(f"{draft.title}: 'option external-check' needs a command", place, remedy=remedy)
        if "external-check" not in draft.config.global_.settings:
            remedy = "write 'external-check' in the global section"
            report.alert(f"{draft.title}: 'option external-check' must be allowed for the whole process", place, remedy=remedy)
    return spec


def check_rules_fit(server: Server, draft: ServerDraft, spec: CheckSpec, report: Report) -> None:
    """What a server's line and the rules of its check say of each other."""
    if server.check is None:
        return
    proto, kind = draft.settings.value("check-proto"), spec.kind
    if proto is not None and (proto == "h1") is not (kind == "http"):
        report.alert(
            f"server '{server.name}': 'check-proto {proto}' does not fit its check, which "
            + ("speaks HTTP" if kind == "http" else "speaks no HTTP"), draft.settings.place("check-proto"), remedy="leave it out",
        )
    if server.socks4 is None:
        for rule in spec.rules:
            if isinstance(rule, ConnectRule) and rule.via_socks4:
                remedy = f"write 'socks4 <addr>:<port>' on the line of server '{server.name}'"
                report.alert(f"'via-socks4': server '{server.name}' has no SOCKS4 proxy", rule.location, remedy=remedy)


def with_healthcheck(server: Server, draft: ServerDraft, sections: Mapping[str, CheckSpec], report: Report) -> Server:
    """A server with the `healthcheck` section that its line names."""
    setting = draft.settings.get("healthcheck")
    if setting is None:
        return server
    spec = sections.get(setting.value)
    if spec is None:
        message = f"healthcheck section '{setting.value}' is defined nowhere"
        report.alert(message, setting.location, allowed=tuple(sections), written=setting.value)
        return server
    return replace(server, check_spec=spec)


def names_port(proxy: Proxy, server: Server) -> bool:
    """Whether the rules of the check say the port themselves (4.2 tcp-check connect)."""
    spec = server.check_spec or proxy.check
    first = next((rule for rule in spec.rules if isinstance(rule, ConnectRule)), None)
    return spec.kind == "external" or (first is not None and first.port is not None)


def build_email_alert(draft: ProxyDraft, report: Report) -> EmailAlert | None:
    """`email-alert`: mails need `mailers`, `from` and `to`."""
    settings = draft.settings
    named = {name: settings[key] for name in ("mailers", "from", "to") if (key := f"email-alert {name}") in settings}
    if not named:
        return None
    missing = [f"'email-alert {name}'" for name in ("mailers", "from", "to") if name not in named]
    first = next(iter(named.values()))
    if missing:
        if not all(setting.inherited for setting in named.values()):
            message = f"email-alert will be ignored for {draft.title}: {' and '.join(missing)} is missing"
            report.warn(message, first.location)
        return None
    section = draft.config.mailers.get(named["mailers"].value)
    if section is None:
        name = named["mailers"].value
        message = f"mailers section '{name}' is defined nowhere"
        report.alert(message, named["mailers"].location, allowed=tuple(draft.config.mailers), written=name)
        return None
    level = settings.value("email-alert level", 1)
    return EmailAlert(section, named["from"].value, named["to"].value, level, settings.value("email-alert myhostname"))


# --- tracking --------------------------------------------------------------------------------------------------------


def settle_tracking(proxies: Sequence[Proxy], report: Report) -> list[Proxy]:
    """Give `track` without a backend the server's own; refuse what leads nowhere, and loops (5.2 track)."""
    settled = [
        replace(proxy, servers=tuple(_tracked_by_name(server, proxy) for server in proxy.servers))
        if any(server.track is not None for server in proxy.servers) else proxy
        for proxy in proxies
    ]
    servers = {(proxy.name, server.name): (proxy, server) for proxy in settled if proxy.is_backend for server in proxy.servers}
    for proxy, server in servers.values():
        if server.track is not None:
            _check_track(proxy, server, servers, report)
    return settled


def _tracked_by_name(server: Server, proxy: Proxy) -> Server:
    if server.track is None or server.track[0]:
        return server
    return replace(server, track=(proxy.name, server.track[1]))


def _check_track(
    proxy: Proxy, server: Server, servers: Mapping[tuple[str, str], tuple[Proxy, Server]], report: Report
) -> None:
    title, place = f"server '{proxy.name}/{server.name}'", server.location
    if server.check is not None:
        report.alert(f"{title}: 'track' and 'check' exclude each other", place, remedy="leave one of them out")
    if server.init_state != "none":
        report.alert(f"{title}: 'init-state' can't be used where another server is tracked", place)
    seen = [(proxy.name, server.name)]
    target = server.track
    while target is not None:
        if target in seen:
            loop = " -> ".join("/".join(name) for name in [*seen, target])
            report.alert(f"{title} tracks in a loop: {loop}", place, remedy="a chain must end at a server with 'check'")
            return
        found = servers.get(target)
        if found is None:
            known = ["/".join(name) for name in servers]
            name = "/".join(target)
            report.alert(f"{title} tracks '{name}', which is defined nowhere", place, allowed=known, written=name)
            return
        other_proxy, other = found
        if other_proxy.check.disable_on_404 != proxy.check.disable_on_404 and proxy.mode is Mode.HTTP:
            report.alert(
                f"{title} tracks '{'/'.join(target)}': 'http-check disable-on-404' must be on in both backends or in none", place
            )
        seen.append(target)
        target = other.track
        if target is None and other.check is None and other.agent is None:
            report.alert(
                f"{title} tracks '{other_proxy.name}/{other.name}', which is not checked", place,
                remedy=f"write 'check' on the line of server '{other.name}'",
            )
