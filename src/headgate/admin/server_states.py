"""The state of servers as text, version 1: what `show servers state` writes and what a start reads (management manual 9.3).

A file comes from outside and is not trusted: it is bounded, every line must have the right form or the whole of it is refused,
and every number is held to its range. Servers are found by the names of backend and server. What is applied, and when not,
follows what HAProxy does with the same file; docs/operating.md has the exceptions.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from headgate.admin.context import Checked
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address, Family
from headgate.base.records import dataclass
from headgate.config.model import AgentCheck, Proxy, ServerCheck
from headgate.health.results import CheckResult, CheckStatus
from headgate.health.state import ServerStatus
from headgate.proxy.sides import Backend

VERSION = "1"
HEADER = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
    "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn "
    "srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
_COLUMNS = HEADER[2:].split()
#: Versions of HAProxy wrote fewer columns behind these.
_LEAST_COLUMNS = _COLUMNS.index("srv_agent_state") + 1

#: The longest text that is looked at, characters, and the longest line.
LONGEST_TEXT = 1 << 24
_LONGEST_LINE = 4096
#: What is warned of one by one.
_MOST_WARNINGS = 20

# srv_op_state
_STOPPED, _STARTING, _RUNNING, _STOPPING = range(4)
# bits of srv_admin_state
_FORCED_MAINTENANCE, _CONFIGURED_MAINTENANCE, _FORCED_DRAIN, _RESOLUTION_MAINTENANCE = 0x01, 0x04, 0x08, 0x20
# bits of srv_check_state
_IN_PROGRESS, _CONFIGURED, _ENABLED, _PAUSED = 0x01, 0x02, 0x04, 0x08
_AGENT = 0x10
_CHECKS = {status.number: status for status in CheckStatus}


# --- writing ---------------------------------------------------------------------------------------------------------


def state_line(backend: Proxy, server: ServerState, checked: Checked | None, age: int, agent: Checked | None = None) -> str:
    """One line.

    Args:
        backend: its proxy.
        server: the server.
        checked: its checks, None without any.
        age: of its last change between up and down, seconds.
        agent: its agent, None without any.
    """
    spec = server.spec
    columns = _check_columns(server, checked)
    address = server.address
    checked_at, check_port = _sent_to(server.check)
    name = spec.address.host if spec.address.family is Family.NAME else "-"
    host, record = ("-", name) if name.startswith("_") else (name, "-")
    agent_state = 0
    agent_at, agent_port = _sent_to(spec.check if agent is None else server.agent)  # HAProxy has those of the line for nobody
    if agent is not None:
        agent_state = _AGENT | _CONFIGURED | (_ENABLED if agent.enabled else 0) | (_IN_PROGRESS if agent.in_progress else 0)
    port = 0 if address.port_is_offset else address.port  # a negative one nobody could read
    values = (
        backend.id, backend.name, server.id, server.name, plain(address), _operational(server), _administrative(server),
        server.weight, spec.weight, age, *columns, agent_state, int(backend.id_forced), int(spec.id_forced),
        host, port, record, int(server.tls), check_port, checked_at, agent_at, agent_port,
    )  # fmt: skip
    return " ".join([str(value) for value in values])


def _sent_to(options: ServerCheck | AgentCheck | None) -> tuple[str, int]:
    """The address and the port that checks or an agent have of their own."""
    if options is None:
        return "-", 0
    return "-" if options.address is None else plain(options.address), options.port or 0


def plain(address: Address) -> str:
    """A numeric address, else "-"."""
    return address.host if address.family in (Family.INET, Family.INET6) and address.host else "-"


def _operational(server: ServerState) -> int:
    if not server.usable():
        return _STOPPED
    if server.stopping:
        return _STOPPING
    return _STARTING if server.up_since and server.slowstart else _RUNNING


def _administrative(server: ServerState) -> int:
    mask = _CONFIGURED_MAINTENANCE if server.spec.disabled else 0
    if server.admin & Admin.MAINT:
        mask |= _FORCED_MAINTENANCE
    if server.admin & Admin.UNRESOLVED:
        mask |= _RESOLUTION_MAINTENANCE
    if server.admin & Admin.DRAIN:
        mask |= _FORCED_DRAIN
    return mask


def _check_columns(server: ServerState, checked: Checked | None) -> tuple[int, int, int, int]:
    """Check status, result, health and state."""
    maintenance = bool(server.admin & Admin.OUT)
    if checked is None:
        # What HAProxy says of servers that it never checks.
        health = 0 if maintenance else 2
        return CheckStatus.INI.number, 0, health, _PAUSED if server.spec.disabled else 0
    health_state = checked.health
    state = _CONFIGURED | (_ENABLED if checked.enabled else 0) | (_IN_PROGRESS if checked.in_progress else 0)
    if maintenance:
        state |= _PAUSED
    status = health_state.result.status
    level = 0 if maintenance else health_state.level
    return status.number, status.outcome.value, level, state


# --- reading ---------------------------------------------------------------------------------------------------------


class StateError(ValueError):
    """The text is not what `show servers state` writes; says why."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """One line: the columns that are used. `names` are the host name and the SRV label, "-" for none."""

    backend: str
    server: str
    address: str
    port: str
    operational: str
    admin: str
    weight: str
    initial_weight: str
    age: str
    check_status: str
    check_health: str
    check_state: str
    names: tuple[str, str]
    check_port: str
    check_address: str
    agent_state: str
    agent_port: str
    agent_address: str

    @property
    def resolved(self) -> bool:
        """Whether it had an address then."""
        return self.address != "-" and not _number(self.admin, "srv_admin_state", 0x7F) & _RESOLUTION_MAINTENANCE


def read_states(text: str) -> list[SavedState]:
    """The lines of a text.

    Raises:
        StateError: it has another version, or a line has another form.
    """
    if len(text) > LONGEST_TEXT:
        raise StateError(f"longer than {LONGEST_TEXT} characters")
    lines = text.split("\n")
    if lines[0].strip() != VERSION:
        raise StateError(f"its first line is not the version '{VERSION}'")
    states = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or line.startswith("#"):
            continue
        if len(line) > _LONGEST_LINE:
            raise StateError(f"line {number} is longer than {_LONGEST_LINE} characters")
        words = line.split()
        if not _LEAST_COLUMNS <= len(words) <= len(_COLUMNS) or not line.isprintable():
            raise StateError(f"line {number} has {len(words)} columns instead of {len(_COLUMNS)}")
        column = dict(zip(_COLUMNS, words, strict=False))
        states.append(
            SavedState(
                column["be_name"], column["srv_name"], column["srv_addr"], column.get("srv_port", "0"),
                column["srv_op_state"], column["srv_admin_state"], column["srv_uweight"], column["srv_iweight"],
                column["srv_time_since_last_change"], column["srv_check_status"], column["srv_check_health"],
                column["srv_check_state"], (column.get("srv_fqdn", "-"), column.get("srvrecord", "-")),
                column.get("srv_check_port", "0"), column.get("srv_check_addr", "-"), column["srv_agent_state"],
                column.get("srv_agent_port", "0"), column.get("srv_agent_addr", "-"),
            )
        )  # fmt: skip
    return states


class CheckRunner(Protocol):
    """What is asked of the checks; `admin.context.Checks`."""

    @property
    def checked(self) -> Mapping[ServerState, Checked]: ...

    def enable_health(self, server: ServerState, enabled: bool) -> bool: ...

    def enable_agent(self, server: ServerState, enabled: bool) -> bool: ...

    def retarget(self, server: ServerState) -> None: ...


@dataclass(frozen=True, slots=True)
class Times:
    """Now, on the clock of the checks and on the wall, seconds."""

    monotonic: float
    wall: float


def apply_server_states(
    text: str,
    backends: Mapping[str, Backend],
    checks: CheckRunner | None,
    now: Times,
    *,
    wanted: Collection[str],
    move: Callable[[Backend, ServerState, Address], None] | None = None,
) -> list[str]:
    """Give servers the states that they had before.

    Args:
        text: as `show servers state` writes it.
        backends: all live ones, before any traffic.
        checks: None in a process that makes none.
        now: see there.
        wanted: names of the backends that may be changed.
        move: gives a server another address; None leaves addresses alone.

    Returns:
        Warnings for the operator: of a text that is refused as a whole, or of single servers.
    """
    try:
        states = read_states(text)
    except StateError as error:
        return [f"the text is refused: {error}"]
    warnings: list[str] = []
    for saved in states:
        backend = backends.get(saved.backend) if saved.backend in wanted else None
        server = backend.state.server(saved.server) if backend is not None else None
        if backend is None or server is None:
            continue  # the configuration has changed
        try:
            _apply(saved, backend, server, checks, now, move)
        except StateError as error:
            warnings.append(f"server '{saved.backend}/{saved.server}' is left as it is: {error}")
    return warnings[:_MOST_WARNINGS]


def keep_addresses(
    text: str, backends: Mapping[str, Backend], now: Times, move: Callable[[Backend, ServerState, Address], None]
) -> None:
    """Let servers whose names are resolved while running begin where they were: a reload must not wait for name servers.

    Args:
        text, backends, now, move: as for `apply_server_states`. A text that can't be read leaves all as it is.
    """
    try:
        states = [saved for saved in read_states(text) if saved.resolved]
    except StateError:
        return
    for saved in states:
        backend = backends.get(saved.backend)
        server = backend.state.server(saved.server) if backend is not None else None
        if backend is None or server is None or not server.admin & Admin.UNRESOLVED:
            continue
        if server.spec.address.host in saved.names and saved.port.isdecimal():
            backend.state.set_admin(server, server.admin & ~Admin.UNRESOLVED, now.wall)
            _apply_address(saved.address, int(saved.port), backend, server, move)


def _number(text: str, what: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > most:
        raise StateError(f"invalid {what} '{text[:20]}', expected 0 to {most}")
    return int(text)


#: The oldest change that is believed, seconds: some ten years.
_OLDEST = 1 << 28


def _apply(
    saved: SavedState,
    backend: Backend,
    server: ServerState,
    checks: CheckRunner | None,
    now: Times,
    move: Callable[[Backend, ServerState, Address], None] | None,
) -> None:
    """Everything is read before anything is changed."""
    operational = _number(saved.operational, "srv_op_state", _STOPPING)
    mask = _number(saved.admin, "srv_admin_state", 0x7F)
    weight = _number(saved.weight, "srv_uweight", 256)
    initial = _number(saved.initial_weight, "srv_iweight", 256)
    age = _number(saved.age, "srv_time_since_last_change", _OLDEST)
    status = _number(saved.check_status, "srv_check_status", 255)
    level = _number(saved.check_health, "srv_check_health", 1 << 31)
    check_state = _number(saved.check_state, "srv_check_state", 0xFF)
    port = _number(saved.port, "srv_port", 65535)
    targets = _target("check", saved.check_address, saved.check_port), _target("agent", saved.agent_address, saved.agent_port)
    agent_state = _number(saved.agent_state, "srv_agent_state", 0xFF)
    state = backend.state
    if initial == server.spec.weight and weight != server.weight:
        state.set_weight(server, weight, now.wall)  # otherwise the configuration's weight is newer
    admin = _wanted_admin(mask, configured=server.spec.disabled)
    if not saved.resolved:
        admin |= server.admin & Admin.UNRESOLVED  # else its last address serves until name servers have been asked
    if admin is not server.admin:
        state.set_admin(server, admin, now.wall)
    # Stopped because of maintenance says nothing about health.
    stopped = operational == _STOPPED and not mask & _FORCED_MAINTENANCE
    if checks is not None:
        checked = checks.checked.get(server)
        if checked is not None:
            _apply_health(checked, operational, stopped, status, level, now.monotonic - age)
            if check_state & _CONFIGURED and not check_state & _ENABLED:
                checks.enable_health(server, False)
        if agent_state & _CONFIGURED and not agent_state & _ENABLED:
            checks.enable_agent(server, False)
        _apply_targets(*targets, server, checks)
    if server.up is stopped and not admin & Admin.MAINT:
        state.set_operational(server, not stopped, now.wall)
    if operational == _STOPPING and backend.spec.check.disable_on_404:
        state.set_stopping(server, True, now.wall)
    server.changed_at = now.wall - age
    if operational == _STARTING and server.slowstart and age < server.slowstart:
        server.up_since = now.wall - age
        state.warm_up(now.wall)
    if move is not None:
        _apply_address(saved.address, port, backend, server, move)


def _wanted_admin(mask: int, *, configured: bool) -> Admin:
    """The administrative state: what was forced at run time stands, `disabled` in the configuration is read anew.

    A server that was enabled although its line says `disabled` has the bit for the line but not the one for maintenance.
    """
    maintenance = bool(mask & _FORCED_MAINTENANCE)
    if mask & _CONFIGURED_MAINTENANCE:
        maintenance = maintenance and configured
    elif configured:
        maintenance = True
    admin = Admin.MAINT if maintenance else Admin.READY
    return admin | Admin.DRAIN if mask & _FORCED_DRAIN else admin


def _apply_health(checked: Checked, operational: int, stopped: bool, status: int, level: int, since: float) -> None:
    """What the checks had found. The next check counts from there."""
    health = checked.health
    known = _CHECKS.get(status)
    result = CheckResult(known) if known is not None else None
    if stopped:
        health.restore(ServerStatus.DOWN, min(level, health.rise - 1), result, since)
    elif operational == _STOPPING:
        health.restore(ServerStatus.NOLB, max(level, health.rise), result, since)
    else:
        health.restore(ServerStatus.UP, max(level, health.rise), result, since)


_Checking = TypeVar("_Checking", ServerCheck, AgentCheck)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where checks or an agent's went; None where that is not known."""

    address: Address | None
    port: int | None

    def put_into(self, options: _Checking) -> _Checking:
        address, port = options.address, self.port or options.port
        if self.address is not None and (address is None or address.host != self.address.host):
            address = self.address
        return replace(options, address=address, port=port)


def _target(what: str, host: str, port: str) -> _Target:
    number = _number(port, f"srv_{what}_port", 65535)
    if host == "-":
        return _Target(None, number or None)
    try:
        family = Family.INET6 if ipaddress.ip_address(host).version == 6 else Family.INET
    except ValueError:
        raise StateError(f"invalid srv_{what}_addr '{host[:40]}'") from None
    return _Target(Address(family, host), number or None)


def _apply_targets(check: _Target, agent: _Target, server: ServerState, checks: CheckRunner) -> None:
    """As ports of servers, these come before what the configuration says."""
    before = server.check, server.agent
    if server.check is not None:
        server.check = check.put_into(server.check)
    if server.agent is not None:
        server.agent = agent.put_into(server.agent)
    if (server.check, server.agent) != before:
        checks.retarget(server)


def _apply_address(
    host: str, port: int, backend: Backend, server: ServerState, move: Callable[[Backend, ServerState, Address], None]
) -> None:
    """A port always; an address only where the configuration has a name (5.2 init-addr "last")."""
    address = server.address
    if address.family not in (Family.INET, Family.INET6, Family.NAME) or address.port_is_offset:
        return
    family = address.family
    if server.spec.address.family is Family.NAME and host != "-":
        family = Family.INET6 if ":" in host else Family.INET
    else:
        host = address.host
    port = port or address.port
    if (host, port) != (address.host, address.port):
        move(backend, server, Address(family, host, port, port))
