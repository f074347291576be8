"""The log lines of health changes, in HAProxy's words, with their syslog levels.

Pure text; `runtime.checks` and `admin` send what is made here to the backend's log targets. Tools match these lines, so
their words are kept.
"""

from __future__ import annotations

from typing import Final

from headgate.base.records import dataclass
from headgate.health.results import CheckResult, Outcome

EMERG, ALERT, NOTICE = 0, 1, 5

#: Said in the place of a reason where there is no other one than that the administrator wanted it.
FROM_CLI: Final = "changed from CLI"


@dataclass(frozen=True, slots=True)
class Farm:
    """What remains of a backend after a change.

    Attributes:
        active, backup: servers that can take traffic.
        sessions: of the server that the event is about.
        requeued: streams that waited for that server and go elsewhere.
        queued: streams that wait in the backend.
    """

    active: int
    backup: int
    sessions: int = 0
    requeued: int = 0
    queued: int = 0


def _server(backend: str, server: str, is_backup: bool) -> str:
    return f"{'Backup ' if is_backup else ''}Server {backend}/{server}"


def _why(reason: str) -> str:
    return reason if reason == FROM_CLI else f"reason: {reason}"


def _running_on_backup(farm: Farm) -> str:
    return " Running on backup." if farm.backup and not farm.active else ""


def _left(farm: Farm) -> str:
    return (
        f"{farm.active} active and {farm.backup} backup servers left.{_running_on_backup(farm)} "
        f"{farm.sessions} sessions active, {farm.requeued} requeued, {farm.queued} remaining in queue."
    )


def _online(farm: Farm) -> str:
    return (
        f"{farm.active} active and {farm.backup} backup servers online.{_running_on_backup(farm)} "
        f"{farm.requeued} sessions requeued, {farm.queued} total in queue."
    )


def down(backend: str, server: str, is_backup: bool, reason: str, farm: Farm, *, was_stopping: bool = False) -> tuple[int, str]:
    """The server went down. `was_stopping`: it answered 404 before, so a notice will do (manual, disable-on-404)."""
    text = f"{_server(backend, server, is_backup)} is DOWN, {_why(reason)}. {_left(farm)}"
    return (NOTICE if was_stopping else ALERT), text


def down_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> tuple[int, str]:
    """The server went down with the one that it tracks, `backend/server`."""
    return ALERT, f"{_server(backend, server, is_backup)} is DOWN via {tracked}. {_left(farm)}"


def up_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> tuple[int, str]:
    """The server came up with the one that it tracks."""
    return NOTICE, f"{_server(backend, server, is_backup)} is UP via {tracked}. {_online(farm)}"


def maintenance_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> tuple[int, str]:
    """The server that it tracks was put into maintenance."""
    return ALERT, f"{_server(backend, server, is_backup)} is going DOWN for maintenance via {tracked}. {_left(farm)}"


def drain_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> tuple[int, str]:
    """The server that it tracks was put into drain state."""
    return NOTICE, f"{_server(backend, server, is_backup)} enters drain state via {tracked}. {_online(farm)}"


def leaving(backend: str, server: str, is_backup: bool, state: str, left: str) -> tuple[int, str]:
    """The server that it tracks has left what `left` says: "maintenance" or "forced drain"; `state` is what it is now."""
    return NOTICE, f"{_server(backend, server, is_backup)} is {state} (leaving {left})."


def stopping_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> tuple[int, str]:
    """The server takes no new sessions, as the one that it tracks."""
    return NOTICE, f"{_server(backend, server, is_backup)} is stopping via {tracked}. {_left(farm)}"


def up(backend: str, server: str, is_backup: bool, reason: str, farm: Farm) -> tuple[int, str]:
    """The server came up."""
    return NOTICE, f"{_server(backend, server, is_backup)} is UP, {_why(reason)}. {_online(farm)}"


def stopping(backend: str, server: str, is_backup: bool, reason: str, farm: Farm) -> tuple[int, str]:
    """The server takes no new sessions but persistent ones (NOLB)."""
    return NOTICE, f"{_server(backend, server, is_backup)} is stopping, {_why(reason)}. {_left(farm)}"


def no_server(backend: str) -> tuple[int, str]:
    """The last server of a backend is gone."""
    return EMERG, f"backend {backend} has no server available!"


def maintenance(backend: str, server: str, is_backup: bool, farm: Farm, reason: str = "") -> tuple[int, str]:
    """The server was put into maintenance: by the administrator, or for the `reason` that its name has no address."""
    why = f" ({reason})" if reason else ""
    return ALERT, f"{_server(backend, server, is_backup)} is going DOWN for maintenance{why}. {_left(farm)}"


def resolved(backend: str, server: str, is_backup: bool, name: str) -> tuple[int, str]:
    """The server's name has an address again."""
    return NOTICE, f"{_server(backend, server, is_backup)} ('{name}') is UP/READY (resolves again)."


def ready(backend: str, server: str, is_backup: bool, left: str, farm: Farm, *, is_up: bool = True) -> tuple[int, str]:
    """The server left maintenance or drain. `left` is "forced maintenance" or "forced drain"; `is_up`: it takes traffic again."""
    state = "UP" if is_up else "DOWN"
    word = f"{state}/READY" if left == "forced maintenance" else state
    return NOTICE, f"{_server(backend, server, is_backup)} is {word} (leaving {left}). {_online(farm)}"


def drain(backend: str, server: str, is_backup: bool, farm: Farm) -> tuple[int, str]:
    """The server was put into drain state."""
    return NOTICE, f"{_server(backend, server, is_backup)} enters drain state. {_online(farm)}"


_WORDS = {Outcome.PASSED: "succeeded", Outcome.CONDITIONALLY_PASSED: "conditionally succeeded", Outcome.FAILED: "failed"}


def check_changed(
    backend: str, server: str, is_backup: bool, result: CheckResult, level: str, check: str = "Health"
) -> tuple[int, str]:
    """`option log-health-checks`: the check's status or the health changed.

    Args:
        level: `Health.describe()`.
        check: "Health" or "Agent".
    """
    word = _WORDS.get(result.outcome, "ended")
    kind = "backup server" if is_backup else "server"
    return NOTICE, f"{check} check for {kind} {backend}/{server} {word}, reason: {result.reason}, status: {level}."
