"""Commands that change servers: state, weight, limits, addresses, checks, TLS (management manual 9.3 "set server")."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Handler, Level, Scope
from headgate.balance.server import HEAVIEST, Admin, ServerState, relative_weight
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import ConfigError
from headgate.config.runtime_lines import check_server_name
from headgate.health.state import ServerStatus
from headgate.proxy.sides import Backend

_HIGHEST_PORT = 65535
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
#: How the answers to changes of addresses end.
_WHO = "by 'stats socket command'"


def is_static(backend: Backend) -> bool:
    """Whether the backend's algorithm can't follow changes of weights and servers (4.2 balance, hash-type)."""
    spec = backend.spec
    if spec.balance.algorithm in ("source", "uri", "url_param", "hdr", "rdp-cookie", "hash"):
        return spec.hash_type.method != "consistent"
    return spec.balance.algorithm == "static-rr"


# --- state, health, weight, limits -----------------------------------------------------------------------------------


def set_admin(backend: Backend, server: ServerState, state: Admin, context: Context) -> str:
    """Put a server into an administrative state."""
    before = server.admin
    if state is not before:
        streams = backend.state.set_admin(server, state, context.wall())
        context.checks.admin_changed(backend.state, server, before)
        context.resume(backend, streams)
        if state & Admin.OUT:
            context.taken_out(backend, server)
    return ""


_STATES = {"ready": Admin.READY, "drain": Admin.DRAIN, "maint": Admin.MAINT}


def enable_server(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    return set_admin(backend, server, server.admin & ~Admin.MAINT, context)


def disable_server(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    return set_admin(backend, server, server.admin | Admin.MAINT, context)


def _set_state(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    state = _STATES.get(words[2]) if len(words) > 2 else None
    if state is None:
        raise CommandError("'set server <srv> state' expects 'ready', 'drain' and 'maint'.")
    return set_admin(backend, server, state | server.admin & Admin.UNRESOLVED, context)


_HEALTH = {"up": ServerStatus.UP, "stopping": ServerStatus.NOLB, "down": ServerStatus.DOWN}


def _set_health(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    if server.spec.track is not None:
        raise CommandError("cannot change health on a tracking server.")
    status = _HEALTH.get(words[2]) if len(words) > 2 else None
    if status is None:
        raise CommandError("'set server <srv> health' expects 'up', 'stopping', or 'down'.")
    context.checks.force(backend.state, server, status)
    return ""


def _health(enabled: bool) -> Handler:
    def switch(words: Sequence[str], context: Context) -> str:
        _, server = targets.server(words, context)
        if not context.checks.enable_health(server, enabled) and enabled:
            raise CommandError("Health check was not configured on this server, cannot enable.")
        return ""

    return switch


def _weight(text: str, initial: int) -> int:
    percent = text.endswith("%")
    digits = text.removesuffix("%")
    number = digits.removeprefix("-")
    if not number[:1].isdecimal():
        raise CommandError("Empty weight string empty or preceded by garbage")
    if not number.isdecimal() or len(number) > 9:
        raise CommandError("Trailing garbage in weight string")
    if percent:
        if number != digits:
            raise CommandError("Relative weight must be positive.")
        return relative_weight(initial, int(digits))
    if not 0 <= int(digits) <= HEAVIEST:
        raise CommandError("Absolute weight can only be between 0 and 256 inclusive.")
    return int(digits)


def set_weight(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    if len(words) < 2:
        raise CommandError("Require <weight> or <weight%>.")
    weight = _weight(words[1], server.spec.weight)
    if is_static(backend) and weight not in (0, server.spec.weight):
        raise CommandError("Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.")
    streams = backend.state.set_weight(server, weight, context.wall())
    context.checks.survey(backend.state)
    context.resume(backend, streams)
    return ""


def _set_weight(words: Sequence[str], context: Context) -> str:
    return set_weight([words[0], *words[2:]], context)


def set_maxconn_server(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    if len(words) < 2:
        raise CommandError("Require <maxconn>.")
    if not words[1][:1].isdecimal():
        raise CommandError("maxconn string empty or preceded by garbage")
    if not words[1].isdecimal() or len(words[1]) > 9:
        raise CommandError("Trailing garbage in maxconn string")
    context.resume(backend, backend.state.set_maxconn(server, int(words[1]), context.wall()))
    return ""


# --- addresses -------------------------------------------------------------------------------------------------------


def _ip(text: str) -> tuple[Family, str] | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (Family.INET6 if found.version == 6 else Family.INET), str(found)


def _port_text(address: Address) -> str:
    return f"{address.port:+d}" if address.port_is_offset else str(address.port)


def _port(text: str, now: Address, server: ServerState) -> tuple[int, bool] | str:
    """The port, and whether it is an offset; or why not."""
    is_offset = text[:1] in ("+", "-")
    digits = text[1:] if is_offset else text
    if not digits.isdecimal() or int(digits) > _HIGHEST_PORT:
        return f"problem converting port '{text}' to an int"
    if is_offset and (server.check is None or server.check.port is None):
        # The words of HAProxy, which misses a parenthesis here.
        return (
            "can't change <port> to port map because it is incompatible with current health check port configuration"
            " (use 'port' statement from the 'server' directive."
        )
    return int(text), is_offset


def _set_addr(words: Sequence[str], context: Context) -> str:
    """`addr <ip> [port <port>]`: the answer says what changed, in HAProxy's words."""
    backend, server = targets.server(words, context)
    if len(words) < 3:
        raise CommandError("set server <b>/<s> addr requires an address and optionally a port.")
    wanted = _ip(words[2])
    if wanted is None:
        raise CommandError(f"Invalid addr '{words[2]}' {_WHO}")
    now = server.address
    address = now
    said = []
    if (now.family, now.host) == wanted:
        said.append("no need to change the addr")
    else:
        said.append(f"IP changed from '{now.host}' to '{wanted[1]}'")
        address = replace(address, family=wanted[0], host=wanted[1], transport=now.transport)
    if words[3:4] == ["port"]:
        found = _port(words[4] if len(words) > 4 else "", now, server)
        if isinstance(found, str):
            said.append(found)
        elif found == (now.port, now.port_is_offset):
            said.append("no need to change the port")
        else:
            address = replace(address, port=found[0], last_port=found[0], port_is_offset=found[1])
            said.append(f"port changed from '{_port_text(now)}' to '{_port_text(address)}'")
    if address != now:
        context.set_server_address(backend, server, address)
    return f"{', '.join(said)} {_WHO}"


def _checked_port(text: str) -> int:
    if not text.isdecimal():
        raise CommandError("provided port is not an integer")
    if int(text) > _HIGHEST_PORT:
        raise CommandError("provided port is not valid")
    return int(text)


def _set_check(server: ServerState, context: Context, address: tuple[Family, str] | None, port: str | None) -> str:
    check = server.check
    if check is None:
        raise CommandError("health checks are not enabled on this server")
    number = None if port is None else _checked_port(port)
    if address is not None:
        check = replace(check, address=Address(*address))
    if number is not None:
        check = replace(check, port=number or None)
    server.check = check
    context.checks.retarget(server)
    return ""


def _set_check_addr(words: Sequence[str], context: Context) -> str:
    _, server = targets.server(words, context)
    if len(words) < 3 or (words[3:] and (words[3] != "port" or len(words) < 5)):
        raise CommandError("set server <b>/<s> check-addr requires an address and optionally a port.")
    address = _ip(words[2])
    if server.check is not None and address is None:
        raise CommandError(f"provided address is not a valid IPv4 or IPv6 address: '{words[2]}'")
    return _set_check(server, context, address, words[4] if len(words) > 4 else None)


def _set_check_port(words: Sequence[str], context: Context) -> str:
    _, server = targets.server(words, context)
    if len(words) < 3:
        raise CommandError("set server <b>/<s> check-port requires a port.")
    return _set_check(server, context, None, words[2])


def _set_fqdn(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    if len(words) < 3:
        raise CommandError("set server <b>/<s> fqdn requires a FQDN.")
    if not any(line.name == server.name and line.resolution is not None for line in backend.spec.servers):
        raise CommandError("set server <b>/<s> fqdn failed because no resolution is configured.")
    raise CommandError("set server <b>/<s> fqdn is not supported: write the name on the server's line and reload.")


# --- TLS, name, agents -----------------------------------------------------------------------------------------------


def _set_ssl(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    value = words[2] if len(words) > 2 else ""
    if value not in ("on", "off"):
        raise CommandError("'set server <srv> ssl' expects 'on' or 'off'.")
    if not context.set_server_tls(backend, server, value == "on"):
        raise CommandError("'set server <srv> ssl' cannot be set.  default-server should define ssl settings")
    return ""


def is_referenced(backend: Backend, server: ServerState, context: Context) -> bool:
    """Whether a rule, an expression or another server of the configuration names the server."""
    name = backend.name, server.name
    if name in context.references.servers:
        return True
    if any(other.spec.track == name for side in context.backends.values() for other in side.state.servers):
        return True
    return any(rule.name == server.name for rule in backend.spec.use_servers)


def _set_name(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    if len(words) < 3:
        raise CommandError("set server <b>/<s> name requires a name.")
    name = words[2]
    if not server.admin & Admin.MAINT and not context.catching_up:
        raise CommandError("Only servers in maintenance mode can be renamed.")
    if is_referenced(backend, server, context):
        raise CommandError("This server cannot be renamed at runtime due to other configuration elements pointing to it.")
    try:
        check_server_name(name)
    except ConfigError as error:
        raise CommandError(error.diagnostic.message) from None
    if backend.state.server(name) is not None:
        raise CommandError("Already exists a server with the same name in backend.")
    context.rename_server(backend, server, name)
    return ""


def _set_agent(words: Sequence[str], context: Context) -> str:
    """`agent up|down`."""
    _, server = targets.server(words, context)
    if server.agent is None:
        raise CommandError("agent checks are not enabled on this server.")
    value = words[2] if len(words) > 2 else ""
    if value not in ("up", "down"):
        raise CommandError("'set server <srv> agent' expects 'up' or 'down'.")
    context.checks.force_agent(server, value == "up")
    return ""


def _change_agent(server: ServerState, context: Context, address: str | None, port: str | None) -> str:
    agent = server.agent
    if agent is None:
        # HAProxy's full stop depends on the command.
        raise CommandError("agent checks are not enabled on this server" + ("." if address is not None else ""))
    if address is not None:
        numeric = _ip(address)
        if numeric is None and _HOST_NAME.fullmatch(address) is None:
            raise CommandError(f"invalid addr '{address}'")
        agent = replace(agent, address=Address(*numeric) if numeric is not None else Address(Family.NAME, address))
    if port is not None:
        if not port.isdecimal():
            raise CommandError("provided port is not an integer")
        if not 0 < int(port) <= _HIGHEST_PORT:
            raise CommandError("provided port is invalid")
        agent = replace(agent, port=int(port))
    server.agent = agent
    context.checks.retarget(server)
    return ""


def _set_agent_addr(words: Sequence[str], context: Context) -> str:
    """`agent-addr <addr> [port <port>]`."""
    _, server = targets.server(words, context)
    if len(words) < 3 or (words[3:] and words[3] != "port"):
        raise CommandError("set server <b>/<s> agent-addr requires an address and optionally a port.")
    return _change_agent(server, context, words[2], "".join(words[4:5]) if words[3:] else None)


def _set_agent_port(words: Sequence[str], context: Context) -> str:
    """`agent-port <port>`."""
    _, server = targets.server(words, context)
    if len(words) < 3:
        raise CommandError("set server <b>/<s> agent-port requires a port.")
    return _change_agent(server, context, None, words[2])


def _set_agent_send(words: Sequence[str], context: Context) -> str:
    """`agent-send <value>`."""
    _, server = targets.server(words, context)
    if server.agent is None:
        raise CommandError("agent checks are not enabled on this server.")
    if len(words) < 3:
        raise CommandError("set server <b>/<s> agent-send requires a string.")
    server.agent = replace(server.agent, send=words[2].encode("utf-8", "surrogateescape"))
    context.checks.retarget(server)
    return ""


def enable_agent(words: Sequence[str], context: Context) -> str:
    _, server = targets.server(words, context)
    if not context.checks.enable_agent(server, True):
        raise CommandError("Agent was not configured on this server, cannot enable.")
    return ""


def disable_agent(words: Sequence[str], context: Context) -> str:
    _, server = targets.server(words, context)
    context.checks.enable_agent(server, False)
    return ""


_ATTRIBUTES: dict[str, Handler] = {
    "addr": _set_addr,
    "agent": _set_agent,
    "agent-addr": _set_agent_addr,
    "agent-port": _set_agent_port,
    "agent-send": _set_agent_send,
    "check-addr": _set_check_addr,
    "check-port": _set_check_port,
    "fqdn": _set_fqdn,
    "health": _set_health,
    "name": _set_name,
    "ssl": _set_ssl,
    "state": _set_state,
    "weight": _set_weight,
}


def set_server(words: Sequence[str], context: Context) -> str:
    targets.server(words, context)
    handler = _ATTRIBUTES.get(words[1]) if len(words) > 1 else None
    if handler is None:
        raise CommandError(f"usage: set server <backend>/<server> {' | '.join(_ATTRIBUTES)}")
    answer = handler(words, context)
    assert isinstance(answer, str)
    return answer


# --- rows ------------------------------------------------------------------------------------------------------------


def _about(*what: str) -> Callable[[Sequence[str]], tuple[str, ...] | None]:
    """What a change of one server is about: a later one of the same kind makes an earlier one meaningless."""
    return lambda words: ("server", words[0], *what) if words else None


def _attribute(words: Sequence[str]) -> tuple[str, ...] | None:
    # A new name is followed by changes under that name: their order must stay.
    return None if len(words) < 2 or words[1] == "name" else ("server", words[0], words[1])


def _change(
    name: str, usage: str, handler: Handler, key: Callable[[Sequence[str]], tuple[str, ...] | None]
) -> Command:
    return Command(name, f"<backend>/<server> {usage}", Level.ADMIN, handler, Scope.EVERYWHERE, key=key)


#: Maintenance comes and goes beside `drain`, which `set server state` sets together with it.
_MAINTENANCE = _about("state", "maint")
COMMANDS = (
    _change("enable server", ": enable a disabled server", enable_server, _MAINTENANCE),
    _change("disable server", ": put a server into maintenance", disable_server, _MAINTENANCE),
    _change("enable health", ": enable health checks", _health(True), _about("checks")),
    _change("disable health", ": disable health checks", _health(False), _about("checks")),
    _change("enable agent", ": enable agent checks", enable_agent, _about("agent")),
    _change("disable agent", ": disable agent checks", disable_agent, _about("agent")),
    _change("set server", "[opts] : change a server's state, weight, address, checks or ssl", set_server, _attribute),
    _change("set weight", "<weight>[%] : change a server's weight", set_weight, _about("weight")),
    _change("set maxconn server", "<value> : change a server's maxconn", set_maxconn_server, _about("maxconn")),
)
