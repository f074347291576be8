"""From options to a running proxy: load, check, go to the background, start master, launcher or the one process that serves.

The order is HAProxy's (management manual, 3 and 4): all errors of the configuration are shown while the terminal is there,
sockets are bound before privileges are dropped, and old processes are told to leave once the new one listens.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable, Mapping

from headgate.app.launch import Generation, Upwards
from headgate.base.addresses import Family
from headgate.base.diagnostics import ConfigError, Report, Severity
from headgate.cli.checking import check, listens, load_configuration
from headgate.cli.console import Console
from headgate.cli.options import Options
from headgate.config.model import Config, Global
from headgate.runtime.process.daemon import Readiness, daemonize
from headgate.runtime.process.limits import limit_memory
from headgate.runtime.process.pidfile import PidFile, signal_old_processes
from headgate.runtime.process.place import Heritage

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
    environment = dict(os.environ)
    report = Report()
    config = load_configuration(options, report)
    if config is not None and config.global_.master_worker and not options.check and not report.alerts:
        return _run_master(config, options, report, environment, console)
    if options.master_sockets and not options.check and config is not None and not config.global_.master_worker:
        console.say(Severity.WARNING, "'-S' has no effect: there is a master CLI in master-worker mode only ('-W')")
    return _checked(config, options, report, console)


def _checked(config: Config | None, options: Options, report: Report, console: Console) -> int:
    """Go on with what was loaded, if it may run, without a master."""
    checked = check(config, report, console)
    if checked is None:
        return _INVALID
    if not listens(checked.prepared.config):
        return _nothing_to_do(console)
    if options.check:
        if options.strict and report.warnings:
            console.say(Severity.ALERT, f"config : {_counted(report)}, and '--strict' is set: the check fails.")
            return _INVALID
        if not console.quiet:
            _print_verdict(len(report.warnings))
        return _VALID
    sys.stdout.flush()
    settings = checked.prepared.config.global_
    try:
        announcement = _Announcement(settings, options, console)
    except ConfigError as error:
        console.show([error.diagnostic])
        return _INVALID
    readiness = _go_to_the_background(checked.prepared.config, console)
    heritage = Heritage(inherited_sockets(options, console))
    return Generation(
        checked.prepared, options, checked.identity, console, heritage, _Alone(announcement.make, readiness)
    ).run()


def _nothing_to_do(console: Console) -> int:
    if not console.quiet:
        print("Configuration file has no error but will not start (no listener) => exit(2).")
    return _NOTHING_TO_DO


def _print_verdict(warnings: int) -> None:
    if warnings:
        print(f"Warnings were found: {warnings}.")
    print("Configuration file is valid")


def _counted(report: Report) -> str:
    """`2 warnings found`"""
    count = len(report.warnings)
    return f"{count} warning{'' if count == 1 else 's'} found"


def _run_master(
    config: Config, options: Options, report: Report, environment: Mapping[str, str], console: Console
) -> int:
    """Become the master; what is loaded is compiled by the first generation."""
    from headgate.cli.master import supervise

    console.quiet = config.global_.quiet
    console.show(report.items)
    if not listens(config):
        return _nothing_to_do(console)
    sys.stdout.flush()
    try:
        announcement = _Announcement(config.global_, options, console)
    except ConfigError as error:
        console.show([error.diagnostic])
        return _INVALID
    readiness = _go_to_the_background(config, console)

    def ready() -> None:
        announcement.make(os.getpid())
        readiness.ready()

    return supervise(config, options, report, environment, console, ready, inherited_sockets(options, console))


def _go_to_the_background(config: Config, console: Console) -> Readiness:
    """As a daemon, if that is wanted."""
    if not config.global_.daemon:
        return Readiness()
    readiness = daemonize()
    _warn_of_lost_logs(config, console)
    return readiness


def _warn_of_lost_logs(config: Config, console: Console) -> None:
    targets = (*config.global_.log_targets, *(target for proxy in config.proxies for target in proxy.logging.targets))
    for name in sorted({target.address.host for target in targets if target.address.family is Family.STDIO}):
        console.say(Severity.WARNING, f"'log {name}' goes nowhere in daemon mode: the process leaves the terminal")


def inherited_sockets(options: Options, console: Console) -> dict[str, socket.socket]:
    """What `-x` brings; without it, or when the old process gives nothing, all sockets are bound anew."""
    path = options.inherit_from
    if path is None or path == "/dev/null":
        return {}
    from headgate.runtime.process.successor import TakeoverFailed, take_listeners

    try:
        return take_listeners(path)
    except TakeoverFailed as error:
        console.say(Severity.WARNING, f"'-x': {error}; sockets are bound anew")
        return {}


class _Announcement:
    """The pid file, opened early, and the signals to old processes.

    Raises:
        ConfigError: the pid file can't be written.
    """

    def __init__(self, settings: Global, options: Options, console: Console) -> None:
        self._pidfile = PidFile(settings.pidfile) if settings.pidfile is not None else None
        self._options = options
        self._console = console

    def make(self, pid: int) -> None:
        """We listen: write the pid file, let old processes go."""
        if self._pidfile is not None:
            self._pidfile.write(pid)
        for warning in signal_old_processes(self._options.finish_pids, self._options.terminate_pids):
            self._console.say(Severity.WARNING, warning)


class _Alone(Upwards):
    """Nobody is above us but whoever waits for a daemon to serve."""

    def __init__(self, announce: Callable[[int], None], readiness: Readiness) -> None:
        self._announce = announce
        self._readiness = readiness

    def opened(self, sockets: Mapping[str, socket.socket]) -> None:
        self._announce(os.getpid())

    def ready(self) -> None:
        self._readiness.ready()
