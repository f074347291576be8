"""Draft -> model: the options of name servers that are asked over a stream (5.3.2 nameserver)."""

from __future__ import annotations

from dataclasses import replace

from headgate.base.diagnostics import Report
from headgate.config.drafts import ConfigDraft, ServerDraft
from headgate.config.model import Mode
from headgate.config.resolve_bind_tls import LineDefaults
from headgate.config.resolve_lines import build_server
from headgate.config.resolvers import NameServer, Resolvers


def build_resolvers(draft: ConfigDraft, defaults: LineDefaults, report: Report) -> dict[str, Resolvers]:
    """All `resolvers` sections, with what stands behind the addresses of their name servers."""
    return {
        name: replace(section, name_servers=tuple(
            _build(one, draft.name_server_lines.get((name, one.name)), defaults, report) for one in section.name_servers
        ))
        for name, section in draft.resolvers.items()
    }  # fmt: skip


def _build(server: NameServer, line: ServerDraft | None, defaults: LineDefaults, report: Report) -> NameServer:
    if line is None:
        return server
    built = build_server(line, 1, Mode.TCP, defaults, report)
    tls = built.tls
    if tls is None:
        without = next((name for name in line.settings if name not in ("maxconn", "source")), None)
        if without is not None:
            report.alert(
                f"name server '{server.name}': '{without}' has no effect without 'ssl'", line.settings.place(without),
                remedy="write 'ssl', or leave it out",
            )
    return replace(server, maxconn=built.maxconn, source=built.source, tls=tls, sni=_constant_name(line, report))


def _constant_name(line: ServerDraft, report: Report) -> str | None:
    """What `sni` says: there is no request that it could be taken from."""
    expression = line.settings.value("sni")
    if expression is None:
        return None
    if expression.fetch.name != "str" or expression.converters or len(expression.fetch.arguments) != 1:
        report.alert(
            f"name server '{line.name}': 'sni {expression.text}' depends on traffic, of which there is none",
            line.settings.place("sni"), remedy="write 'sni str(<name>)'",
        )
        return None
    return str(expression.fetch.arguments[0])
