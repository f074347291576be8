"""Server states over a reload or restart: files are read before anything is given up, states are applied before any traffic.

(3.1 `server-state-file`, `server-state-base`; 4.2 `load-server-state-from-file`, `server-state-file-name`)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from headgate.base.diagnostics import Report
from headgate.base.records import dataclass
from headgate.config.model import Config, Proxy

if TYPE_CHECKING:
    from headgate.app.process import App

_LOCAL, _GLOBAL = "local", "global"


@dataclass(frozen=True, slots=True)
class StateText:
    """A text with states.

    Attributes:
        origin: where it comes from, for messages.
        backends: those that want it, by name.
        text: None when it could not be read: a reload takes the states of the process before, then.
    """

    origin: str
    backends: frozenset[str]
    text: str | None


def read_state_files(config: Config, report: Report) -> tuple[StateText, ...]:
    """Read the files that the configuration asks for; what is missing is warned of and leaves the servers as configured."""
    return tuple(_texts(config, report))


def _texts(config: Config, report: Report) -> Iterator[StateText]:
    settings = config.global_
    wanted = [proxy for proxy in config.proxies if proxy.load_server_state != "none" and proxy.servers and not proxy.disabled]
    common = [proxy for proxy in wanted if proxy.load_server_state == _GLOBAL]
    if common:
        names = frozenset(proxy.name for proxy in common)
        if settings.server_state_file is None:
            message = f"{common[0].name} loads server states from the global file, but there is no 'server-state-file'"
            report.warn(message, common[0].location, remedy="a reload under a master keeps the states without a file")
            yield StateText("no file", names, None)
        else:
            path = _path(settings.server_state_base, settings.server_state_file)
            yield StateText(path, names, _read(path, common[0], report))
    for proxy in wanted:
        if proxy.load_server_state == _LOCAL:
            path = _path(settings.server_state_base, proxy.server_state_file_name or proxy.name)
            yield StateText(path, frozenset((proxy.name,)), _read(path, proxy, report))


def _path(base: str | None, name: str) -> str:
    return os.path.join(base, name) if base else name


def _read(path: str, proxy: Proxy, report: Report) -> str | None:
    from headgate.admin.server_states import LONGEST_TEXT  # few configurations ask for states

    try:
        with open(path, "rb") as file:
            data = file.read(LONGEST_TEXT + 1)
    except OSError as error:
        report.warn(f"server states of {path} can't be read: {error.strerror}", proxy.location)
        return None
    if not data:
        return None
    return data.decode("ascii", "replace")


def restore_states(app: App) -> list[str]:
    """Apply the states to the servers of this process, before traffic and checks; answers warnings for the operator.

    What a reload inherits serves where the operator asked for states and no file has them.
    """
    inherited = app.place.heritage.server_states
    if not app.prepared.states and not inherited:
        return []
    from headgate.admin.server_states import Times, apply_server_states, keep_addresses

    warnings: list[str] = []
    clock = app.checks_seen() if app.api is not None else None
    now = Times(time.monotonic(), time.time())
    for states in app.prepared.states:
        text = states.text if states.text is not None else inherited
        if text:
            origin = states.origin if states.text is not None else "the process before"
            found = apply_server_states(
                text, app.backends, clock, now, wanted=states.backends, move=app.control.set_server_address
            )
            warnings += [f"server states of {origin}: {warning}" for warning in found]
    keep_addresses(inherited, app.backends, now, app.control.set_server_address)
    return warnings

