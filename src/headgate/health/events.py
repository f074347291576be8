"""The log lines of health changes, in HAProxy's words, with their syslog levels and those of the mails about them.

Pure text; `runtime.checks` and `admin` send what is made here to the backend's log targets. Tools match these lines, so
their words are kept.
"""

from __future__ import annotations

from typing import Final

from headgate.base.records import dataclass
from headgate.health.results import CheckResult, Outcome

EMERG, ALERT, NOTICE, INFO = 0, 1, 5, 6

#: Said in the place of a reason where there is no other one than that the administrator wanted it.
FROM_CLI: Final = "changed from CLI"


@dataclass(frozen=True, slots=True)
class Event:
    """What has happened.

    Attributes:
        level: of the log line.
        mail_level: 4.2 email-alert level: as of which it is mailed; None: it never is.
    """

    level: int
    text: str
    mail_level: int | None = None


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


def _mailed(level: int, text: str) -> Event:
    return Event(level, text, level)


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


def _down_level(was_stopping: bool) -> int:
    """Manual, disable-on-404: "a server which is detected as failed while it was in this mode" is worth a notice."""
    return NOTICE if was_stopping else ALERT


def down(backend: str, server: str, is_backup: bool, reason: str, farm: Farm, *, was_stopping: bool = False) -> Event:
    """The server went down. `was_stopping`: it answered 404 before."""
    text = f"{_server(backend, server, is_backup)} is DOWN, {_why(reason)}. {_left(farm)}"
    return _mailed(_down_level(was_stopping), text)


def down_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm, *, was_stopping: bool = False) -> Event:
    """The server went down with the one that it tracks, `backend/server`."""
    return _mailed(_down_level(was_stopping), f"{_server(backend, server, is_backup)} is DOWN via {tracked}. {_left(farm)}")


def up_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> Event:
    """The server came up with the one that it tracks."""
    return _mailed(NOTICE, f"{_server(backend, server, is_backup)} is UP via {tracked}. {_online(farm)}")


def maintenance_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> Event:
    """The server that it tracks was put into maintenance."""
    return Event(ALERT, f"{_server(backend, server, is_backup)} is going DOWN for maintenance via {tracked}. {_left(farm)}")


def drain_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> Event:
    """The server that it tracks was put into drain state."""
    return _mailed(NOTICE, f"{_server(backend, server, is_backup)} enters drain state via {tracked}. {_online(farm)}")


def leaving(backend: str, server: str, is_backup: bool, state: str, left: str) -> Event:
    """The server, or the one that it tracks, has left what `left` says: maintenance or drain. `state` is what it is now."""
    return Event(NOTICE, f"{_server(backend, server, is_backup)} is {state} (leaving {left}).")


def stopping_via(backend: str, server: str, is_backup: bool, tracked: str, farm: Farm) -> Event:
    """The server takes no new sessions, as the one that it tracks."""
    return Event(NOTICE, f"{_server(backend, server, is_backup)} is stopping via {tracked}. {_online(farm)}")


def up(backend: str, server: str, is_backup: bool, reason: str, farm: Farm) -> Event:
    """The server came up."""
    return _mailed(NOTICE, f"{_server(backend, server, is_backup)} is UP, {_why(reason)}. {_online(farm)}")


def stopping(backend: str, server: str, is_backup: bool, reason: str, farm: Farm) -> Event:
    """The server takes no new sessions but persistent ones (NOLB)."""
    return Event(NOTICE, f"{_server(backend, server, is_backup)} is stopping, {_why(reason)}. {_online(farm)}")


def no_server(backend: str) -> Event:
    """The last server of a backend is gone."""
    return Event(EMERG, f"backend {backend} has no server available!")


def maintenance(backend: str, server: str, is_backup: bool, farm: Farm, reason: str = "") -> Event:
    """The server was put into maintenance: by the administrator, or for the `reason` that its name has no address."""
    why = f" ({reason})" if reason else ""
    return Event(ALERT, f"{_server(backend, server, is_backup)} is going DOWN for maintenance{why}. {_left(farm)}")


def resolved(backend: str, server: str, is_backup: bool, name: str) -> Event:
    """The server's name has an address again."""
    return Event(NOTICE, f"{_server(backend, server, is_backup)} ('{name}') is UP/READY (resolves again).")


def drain(backend: str, server: str, is_backup: bool, farm: Farm) -> Event:
    """The server was put into drain state."""
    return _mailed(NOTICE, f"{_server(backend, server, is_backup)} enters drain state. {_online(farm)}")


_WORDS = {Outcome.PASSED: "succeeded", Outcome.CONDITIONALLY_PASSED: "conditionally succeeded", Outcome.FAILED: "failed"}


def check_changed(
    backend: str, server: str, is_backup: bool, result: CheckResult, level: str, check: str = "Health"
) -> Event:
    """`option log-health-checks`: the check's status or the health changed.

    Args:
        level: `Health.describe()`.
        check: "Health" or "Agent".
    """
    word = _WORDS.get(result.outcome, "ended")
    kind = "backup server" if is_backup else "server"
    return Event(NOTICE, f"{check} check for {kind} {backend}/{server} {word}, reason: {result.reason}, status: {level}.", INFO)
