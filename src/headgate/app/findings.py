"""What is valid and surely not meant in a configuration, gathered: rules, and TLS where there is any. Called by `prepare`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from headgate.base.diagnostics import ConfigError, Report
from headgate.base.findings import Findings
from headgate.config.lint_rules import lint_rules
from headgate.config.model import Config, Global
from headgate.runtime.process.identity import resolve_identity
from headgate.runtime.process.owned_directories import no_right_to_write

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
    if config.global_.crt_state_dir is not None:
        _state_directory(config.global_.crt_state_dir, config.global_, findings)
    asked = any(section.has_tls for section in config.resolvers.values())
    if contexts or asked or any(server.tls is not None for proxy in config.proxies for server in proxy.servers):
        from headgate.tls.lint.lines import lint_tls

        lint_tls(config, contexts, findings, now)
    findings.tell(report)


def _state_directory(directory: str, settings: Global, findings: Findings) -> None:
    """Whether the user that we become can keep certificates in `crt-state-dir`."""
    try:
        who = resolve_identity(settings)
    except ConfigError:
        return  # an error of its own
    there = directory
    while not os.path.exists(there) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    # What is not there is made for that user before privileges are dropped.
    uid, gid = (who.uid, who.gid) if there == directory else (None, None)
    try:
        why = no_right_to_write(there, uid, gid) if os.path.isdir(there) else "not a directory"
    except OSError as error:
        why = error.strerror or str(error)
    if why is not None:
        findings.add(
            "tls-state-directory",
            f"crt-state-dir '{directory}' can't be used: '{there}': {why}; what is installed at run time is lost at a reload",
            None, remedy="give the directory to the user that headgate runs as, with the permissions 0700",
        )
