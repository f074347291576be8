"""What a generation does in master-worker mode before it serves: loads and checks its configuration, asks for servers' states.

The first one goes on with what the master has loaded, and a reload begins from the files, with the environment of the start.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence

from headgate.app.launch import Generation, Upwards
from headgate.base.diagnostics import Report, Severity
from headgate.cli.checking import Checked, check, listens, load_configuration
from headgate.cli.console import Console
from headgate.cli.options import Options
from headgate.config.model import Config
from headgate.runtime.process.generation import MasterLink
from headgate.runtime.process.place import Heritage

_FAILED = 1
#: Seconds that the old process may take to tell its servers' states, and their longest text, bytes.
_PATIENCE = 5.0
_LONGEST_STATES = 1 << 26


class Generations:
    """Makes and runs generations, each in a process that the master has forked for it.

    Args:
        options: the command line.
        config, report: what the first one serves.
        environment: as it was before any configuration was read.
        console: shows messages.
    """

    def __init__(
        self, options: Options, config: Config, report: Report, environment: Mapping[str, str], console: Console
    ) -> None:
        self._options = options
        self._config = config
        self._report = report
        self._environment = dict(environment)
        self._console = console

    def __call__(self, heritage: Heritage, link: MasterLink, number: int, before: str | None) -> int:
        """See `runtime.process.master.Generate`."""
        console = self._console
        console.on_text = link.said
        if number == 1:
            link.said(console.text)
            checked = check(self._config, self._report, console, heritage.session_context, shown=len(self._report.items))
        else:
            checked = self._load_anew(heritage)
        if checked is None:
            return _FAILED
        settings = checked.prepared.config.global_
        link.settings(settings.mworker_max_reloads, settings.keeps_after_crash, bool(checked.prepared.bind_contexts))
        if before is not None:
            heritage.server_states = ask(before, "show servers state")
            if checked.prepared.storage is not None:
                from headgate.app.certificate_states import drifted

                for warning in drifted(ask(before, "show ssl changes"), checked.prepared.storage):
                    console.say(Severity.WARNING, warning)
        generation = Generation(
            checked.prepared, self._options, checked.identity, console, heritage, _UnderMaster(link, console)
        )
        return generation.run()

    def _load_anew(self, heritage: Heritage) -> Checked | None:
        os.environ.clear()
        os.environ.update(self._environment)
        self._console.forget()
        report = Report()
        config = load_configuration(self._options, report)
        checked = check(config, report, self._console, heritage.session_context)
        if checked is not None and not listens(checked.prepared.config):
            self._console.say(Severity.ALERT, "config : no listener: this configuration would serve nothing.")
            return None
        return checked


class _UnderMaster(Upwards):
    def __init__(self, link: MasterLink, console: Console) -> None:
        self._master = link
        self._console = console
        self.link = link.sock

    def opened(self, sockets: Mapping[str, socket.socket]) -> None:
        self._master.opened(sockets)

    def processes(self, pids: Sequence[int]) -> None:
        self._master.processes(pids)

    def ready(self) -> None:
        self._console.on_text = None
        self._master.ready()


def ask(path: str, command: str) -> str:
    """The answer of a runtime API to a command; "" when there is none."""
    data = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_PATIENCE)
        sock.connect(path)
        sock.sendall(command.encode() + b"\n")
        while len(data) < _LONGEST_STATES:
            more = sock.recv(65536)
            if not more:
                return data.decode("utf-8", "replace")
            data += more
    return ""
