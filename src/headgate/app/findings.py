"""What is valid and surely not meant in a configuration, gathered: rules, and TLS where there is any. Called by `prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from headgate.base.diagnostics import Report
from headgate.base.findings import Findings
from headgate.config.lint_rules import lint_rules
from headgate.config.model import Config

if TYPE_CHECKING:
    from headgate.tls.server_context import BindContext


def add_findings(config: Config, contexts: Mapping[int, BindContext], report: Report, now: datetime) -> None:
    """Find them, and report those that `lint-ignore` does not name.

    Args:
        config: resolved.
        contexts: of the bind lines, by id() of the Bind.
        report: where they go, as warnings.
        now: the time, aware of its zone.
    """
    findings = Findings(config.global_.lint_ignore)
    lint_rules(config, findings)
    asked = any(section.has_tls for section in config.resolvers.values())
    if contexts or asked or any(server.tls is not None for proxy in config.proxies for server in proxy.servers):
        from headgate.tls.lint.lines import lint_tls

        lint_tls(config, contexts, findings, now)
    findings.tell(report)
