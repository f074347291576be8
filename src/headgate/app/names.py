"""Finds the addresses of host names before anything is opened: each name that has none is reported with its line.

Called by `prepare`, so that `headgate -c` says what a start would say. Server names follow `init-addr` (manual 5.2).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Location, Report
from headgate.config.checks import ConnectRule
from headgate.config.model import Config, Proxy, Server
from headgate.runtime.sockets import resolve_host

#: Where to connect: the socket family, and the numeric host, path or abstract name; None for a server that starts without one.
ServerAddress = tuple[int, str | None]


def resolve_names(config: Config, report: Report) -> Mapping[int, ServerAddress]:
    """Resolve the names of bind and server lines, and see that those which checks and agents are asked at can be resolved.

    Args:
        config: what may run.
        report: gets an alert for each name without an address, and a warning for each server that may start without.

    Returns:
        By id() of the Server.
    """
    names = _Names(report)
    found: dict[int, ServerAddress] = {}
    for proxy in config.proxies:
        if proxy.disabled:
            continue
        for bind in proxy.binds:
            if bind.address.family is Family.NAME:
                problem = names.problem_of(bind.address)
                if problem is not None:
                    report.alert(f"bind: could not resolve address '{bind.address.host}' ({problem})", bind.location)
        for server in proxy.servers:
            found[id(server)] = names.server(proxy, server)
            names.checks(proxy, server)
    return found


class _Names:
    """Answers once for each name."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._known: dict[Address, tuple[int, str] | OSError] = {}
        self._seen: set[Location] = set()  # rules: many servers share them

    def _resolve(self, address: Address) -> tuple[int, str] | OSError:
        key = Address(address.family, address.host, prefer=address.prefer)
        if key not in self._known:
            try:
                self._known[key] = resolve_host(address)
            except OSError as error:
                self._known[key] = error
        return self._known[key]

    def problem_of(self, address: Address) -> str | None:
        """Why there is no address, or None."""
        found = self._resolve(address)
        return (found.strerror or str(found)) if isinstance(found, OSError) else None

    def server(self, proxy: Proxy, server: Server) -> ServerAddress:
        """The first way of `init-addr` that gives an address. Forms without a name need none."""
        if server.address.family is not Family.NAME:
            found = self._resolve(server.address)
            if isinstance(found, OSError):
                self._report.alert(f"server {proxy.name}/{server.name}: {found.strerror}", server.location)
                return socket.AF_INET, None
            return found
        if server.is_of_record:
            return socket.AF_INET, None  # the system's resolver knows addresses only
        message = f"server {proxy.name}/{server.name}: could not resolve address '{server.address.host}'"
        for way in server.init_addr:
            if way == "libc":
                found = self._resolve(server.address)
                if not isinstance(found, OSError):
                    return found
            elif way == "none":
                if server.resolution is None:  # with resolvers it is no more than the order of things
                    self._report.warn(f"{message}{self._reason(server)}: it is down until it is given one", server.location)
                return socket.AF_INET, None
            elif way != "last":  # there are no state files yet
                return (socket.AF_INET6 if ipaddress.ip_address(way).version == 6 else socket.AF_INET), way
        remedy = "correct the name, start with -dr, or let 'init-addr' end with 'none' or an address"
        self._report.alert(message + self._reason(server), server.location, remedy=remedy)
        return socket.AF_INET, None

    def checks(self, proxy: Proxy, server: Server) -> None:
        """5.2 addr, agent-addr; 4.2 connect addr: `init-addr` is not for them, so a name must have an address."""
        title = f"server {proxy.name}/{server.name}: "
        if server.check is not None:
            self._must_have("addr", server.check.address, title, server.location)
            for rule in (server.check_spec or proxy.check).rules:
                if isinstance(rule, ConnectRule) and rule.location not in self._seen:
                    self._seen.add(rule.location)
                    self._must_have("connect addr", rule.address, "", rule.location)
        if server.agent is not None and (server.check is None or server.agent.address != server.check.address):
            self._must_have("agent-addr", server.agent.address, title, server.location)

    def _must_have(self, option: str, address: Address | None, title: str, place: Location) -> None:
        if address is None or address.family is not Family.NAME:
            return
        problem = self.problem_of(address)
        if problem is not None:
            self._report.alert(f"{title}'{option}': could not resolve address '{address.host}' ({problem})", place)

    def _reason(self, server: Server) -> str:
        if "libc" not in server.init_addr:
            return " ('init-addr' leaves out 'libc')"
        problem = self.problem_of(server.address)
        return f" ({problem})" if problem is not None else ""
