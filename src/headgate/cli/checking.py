"""Loads and checks a configuration as the command line asks for it, and shows all that is to be said about it."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, cast

from headgate.app import Prepared, prepare
from headgate.base.diagnostics import ConfigError, Report, Severity
from headgate.base.records import dataclass
from headgate.cli.console import Console
from headgate.cli.dump import dump_configuration
from headgate.cli.facts import build_facts
from headgate.cli.keywords import dump_text
from headgate.cli.options import Options
from headgate.cli.overrides import apply_options
from headgate.config.load import load
from headgate.config.model import Config
from headgate.runtime.logs.emitters import check_targets
from headgate.runtime.process.identity import Identity, resolve_identity

if TYPE_CHECKING:
    from headgate.tls.session_context import SessionContexts


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration that may run."""

    prepared: Prepared
    identity: Identity


def load_configuration(options: Options, report: Report) -> Config | None:
    """Read the files. The environment of this process is the language's: `setenv` reaches what we start."""
    os.environ["HAPROXY_CFGFILES"] = ";".join(options.files)
    os.environ["HAPROXY_LOCALPEER"] = options.local_peer or socket.gethostname()
    if options.master_worker:
        os.environ["HAPROXY_MWORKER"] = "1"
    facts = build_facts(options)
    config = load(options.files, os.environ, facts, report)
    if options.dump_configuration is not None:
        try:
            for line in dump_configuration(options.files, os.environ, facts.version):
                print(line)
        except ConfigError:
            pass  # the loader has said it
    if options.dump_keywords is not None:
        sys.stdout.write(dump_text(options.dump_keywords))
    return None if config is None else apply_options(config, options)


def check(
    config: Config | None, report: Report, console: Console, session_contexts: object | None = None, *, shown: int = 0
) -> Checked | None:
    """Compile what was loaded and show all that is to be said about it.

    Args:
        config: what was loaded, None when that failed.
        report: what was found so far.
        console: shows it.
        session_contexts: see `app.prepare`.
        shown: how many items of the report were shown already.

    Returns:
        None when it may not run.
    """
    prepared: Prepared | None = None
    identity = Identity()
    if config is not None:
        console.quiet = config.global_.quiet
        check_targets(config, report)
        try:
            identity = resolve_identity(config.global_)
        except ConfigError as error:
            report.add(error.diagnostic)
        prepared = prepare(config, report, cast("SessionContexts | None", session_contexts))
    console.show(report.items[shown:])
    if report.alerts or config is None or prepared is None:
        count = len(report.alerts)
        console.say(Severity.ALERT, f"config : {count} error{'' if count == 1 else 's'} found in configuration.")
        return None
    # Findings don't count: a certificate that gets old must not keep its site from starting.
    if config.global_.zero_warning and any(item.code is None for item in report.warnings):
        console.say(Severity.ALERT, "config : Some warnings were found and 'zero-warning' is set. Aborting.")
        return None
    return Checked(prepared, identity)


def listens(config: Config) -> bool:
    """Whether there is anything to listen on: for clients, or for the administrator."""
    return bool(config.global_.stats_sockets) or any(proxy.binds for proxy in config.proxies)
