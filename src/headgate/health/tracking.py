"""Servers that track another one (5.2 track): what they have of it, and how the log says that this has changed."""

from __future__ import annotations

from collections.abc import Callable

from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.base.records import dataclass
from headgate.health import events

#: Finds the server that one tracks, with its backend; None where it tracks nobody.
Tracked = Callable[[ServerState], "tuple[BackendState, ServerState] | None"]


@dataclass(frozen=True, slots=True)
class Following:
    """What a server has of the one that it tracks.

    Attributes:
        up, stopping: see `ServerState`.
        admin: MAINT and DRAIN, of the tracked server or what that has of another one.
    """

    up: bool
    stopping: bool
    admin: Admin


def inherited(server: ServerState, tracked: Tracked) -> Admin:
    """What a server has of the administrative states of those that it tracks. Configurations with loops are refused."""
    admin = Admin.READY
    while (found := tracked(server)) is not None:
        server = found[1]
        admin |= (Admin.MAINT if server.admin & Admin.OUT else Admin.READY) | server.admin & Admin.DRAIN
    return admin


def follow_line(
    backend: str, server: str, is_backup: bool, via: str, before: Following, after: Following, now: events.Farm
) -> events.Event:
    """What the log says of a change, in HAProxy's words.

    Args:
        via: the tracked server, `backend/server`.
        now: what is left of the backend.
    """
    entered, left = after.admin & ~before.admin, before.admin & ~after.admin
    if entered & Admin.MAINT:
        return events.maintenance_via(backend, server, is_backup, via, now)
    state = "UP" if after.up else "DOWN"
    if left & Admin.MAINT:
        mode = "DRAIN" if after.admin & Admin.DRAIN else "READY"
        return events.leaving(backend, server, is_backup, f"{state}/{mode}", "maintenance")
    if entered & Admin.DRAIN:
        return events.drain_via(backend, server, is_backup, via, now)
    if left & Admin.DRAIN:
        return events.leaving(backend, server, is_backup, state, "forced drain")
    if not after.up:
        was_stopping = before.stopping and not before.admin & Admin.DRAIN
        return events.down_via(backend, server, is_backup, via, now, was_stopping=was_stopping)
    say = events.stopping_via if after.stopping else events.up_via
    return say(backend, server, is_backup, via, now)
