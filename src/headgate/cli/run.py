"""From options to a running proxy: load, check, go to the background, start master and worker, serve.

The order is HAProxy's (management manual, 3 and 4): all errors of the configuration are shown while the terminal is there,
sockets are bound before privileges are dropped, and old processes are told to leave once the new one listens.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable, Mapping

from headgate.app import Prepared, prepare
from headgate.app.launch import Generation, Upwards
from headgate.base.addresses import Family
from headgate.base.diagnostics import ConfigError, Report, Severity
from headgate.cli.console import Console
from headgate.cli.dump import dump_configuration
from headgate.cli.facts import build_facts
from headgate.cli.keywords import dump_text
from headgate.cli.options import Options
from headgate.cli.overrides import apply_options
from headgate.config.load import load
from headgate.config.model import Config, Global
from headgate.runtime.logs.emitters import check_targets
from headgate.runtime.process.daemon import Readiness, daemonize
from headgate.runtime.process.identity import Identity, resolve_identity
from headgate.runtime.process.limits import limit_memory
from headgate.runtime.process.master import Master
from headgate.runtime.process.pidfile import PidFile, signal_old_processes
from headgate.runtime.process.place import Heritage
from headgate.runtime.process.systemd import SystemdNotifier

_VALID, _INVALID, _NOTHING_TO_DO = 0, 1, 2


def run(options: Options) -> int:
    """Check the configuration and, without `-c`, serve until the process is told to stop.

    Returns:
        The exit code.
    """
    # Little of what loading makes is garbage, but the collector would look through all of it again and again: a fifth of a start.
    gc.disable()
    try:
        return _run(options)
    finally:
        gc.enable()


def _run(options: Options) -> int:
    console = Console(options.quiet and not options.verbose, options.diagnostics)
    for remark in options.remarks:
        console.say(Severity.WARNING, remark)
    if options.verbose:
        for remark in options.without_effect:
            console.say(Severity.NOTICE, remark)
    try:
        if options.directory is not None:
            os.chdir(options.directory)
        if options.memory_megabytes is not None and not options.check:
            limit_memory(options.memory_megabytes)
    except OSError as error:
        console.say(Severity.ALERT, f"Could not change to directory {options.directory} : {error.strerror}")
        return _INVALID
    except ConfigError as error:
        console.show([error.diagnostic])
        return _INVALID
    report = Report()
    config = _load(options, report)
    return _checked(config, options, report, console)


def _load(options: Options, report: Report) -> Config | None:
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


def _checked(config: Config | None, options: Options, report: Report, console: Console) -> int:
    """Compile what was loaded, show all that is to be said about it, and go on if it may run."""
    prepared: Prepared | None = None
    identity = Identity()
    if config is not None:
        console.quiet = config.global_.quiet
        check_targets(config, report)
        try:
            identity = resolve_identity(config.global_)
        except ConfigError as error:
            report.add(error.diagnostic)
        prepared = prepare(config, report)
    console.show(report.items)
    if report.alerts or config is None or prepared is None:
        count = len(report.alerts)
        console.say(Severity.ALERT, f"config : {count} error{'' if count == 1 else 's'} found in configuration.")
        return _INVALID
    if report.warnings and config.global_.zero_warning:
        console.say(Severity.ALERT, "config : Some warnings were found and 'zero-warning' is set. Aborting.")
        return _INVALID
    if not any(proxy.binds for proxy in config.proxies):
        if not console.quiet:
            print("Configuration file has no error but will not start (no listener) => exit(2).")
        return _NOTHING_TO_DO
    if options.check:
        if not console.quiet:
            _print_verdict(len(report.warnings))
        return _VALID
    return _start(prepared, config.global_, identity, options, console)


def _print_verdict(warnings: int) -> None:
    if warnings:
        print(f"Warnings were found: {warnings}.")
    print("Configuration file is valid")


def _start(prepared: Prepared, settings: Global, identity: Identity, options: Options, console: Console) -> int:
    sys.stdout.flush()
    try:
        pidfile = PidFile(settings.pidfile) if settings.pidfile is not None else None
    except ConfigError as error:
        console.show([error.diagnostic])
        return _INVALID
    readiness = daemonize() if settings.daemon else Readiness()
    if settings.daemon:
        _warn_of_lost_logs(prepared.config, console)
    starting = _Starting(prepared, identity, options, console, pidfile, readiness)
    return starting.supervise() if settings.master_worker else starting.serve()


def _warn_of_lost_logs(config: Config, console: Console) -> None:
    targets = (*config.global_.log_targets, *(target for proxy in config.proxies for target in proxy.logging.targets))
    for name in sorted({target.address.host for target in targets if target.address.family is Family.STDIO}):
        console.say(Severity.WARNING, f"'log {name}' goes nowhere in daemon mode: the process leaves the terminal")


class _Starting:
    """What is left to do when the configuration is right."""

    def __init__(
        self,
        prepared: Prepared,
        identity: Identity,
        options: Options,
        console: Console,
        pidfile: PidFile | None,
        readiness: Readiness,
    ) -> None:
        self._prepared = prepared
        self._identity = identity
        self._options = options
        self._console = console
        self._pidfile = pidfile
        self._readiness = readiness

    def serve(self) -> int:
        """Serve without a master."""
        upwards = _Alone(self._announce, self._readiness)
        return Generation(self._prepared, self._options, self._identity, self._console, Heritage({}), upwards).run()

    def _announce(self, pid: int) -> None:
        """We listen: write the pid file, let old processes go."""
        if self._pidfile is not None:
            self._pidfile.write(pid)
        for warning in signal_old_processes(self._options.finish_pids, self._options.terminate_pids):
            self._console.say(Severity.WARNING, warning)

    def supervise(self) -> int:
        """Be the master of one worker."""
        notifier = SystemdNotifier(os.environ.get("NOTIFY_SOCKET") if self._options.notify_systemd else None)

        def serve(readiness: Readiness, master_alive: int) -> int:
            upwards = _Alone(lambda pid: None, readiness)
            return Generation(self._prepared, self._options, self._identity, self._console, Heritage({}), upwards).run()

        def ready(worker: int) -> None:
            self._announce(os.getpid())
            self._console.say(Severity.NOTICE, f"New worker ({worker}) forked")
            self._console.say(Severity.NOTICE, "Loading success.")
            notifier.ready(os.getpid())
            self._readiness.ready()

        def say(is_error: bool, text: str) -> None:
            self._console.say(Severity.ALERT if is_error else Severity.WARNING, text)

        return Master(serve, ready, notifier.stopping, say).run()


class _Alone(Upwards):
    """Nobody is above us but whoever waits for a daemon to serve."""

    def __init__(self, announce: Callable[[int], None], readiness: Readiness) -> None:
        self._announce = announce
        self._readiness = readiness

    def opened(self, sockets: Mapping[str, socket.socket]) -> None:
        self._announce(os.getpid())

    def ready(self) -> None:
        self._readiness.ready()
