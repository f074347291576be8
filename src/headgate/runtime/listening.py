"""The listening sockets of a whole configuration: opened once, before any fork, or inherited from the process before.

Each socket has a key made of what it is bound to and of those options that can't be changed afterwards. Two configurations that
want the same key share the socket, so nothing that waits in its backlog is lost at a reload.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Mapping

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import ConfigError, Diagnostic, Location
from headgate.config.model import Bind, Config, StatsSocket
from headgate.runtime.connector import TCP_USER_TIMEOUT
from headgate.runtime.sockets import DEFAULT_BACKLOG, open_listeners, set_permissions

#: Backlog of a stats socket.
STATS_BACKLOG = 64

_UNIX_KINDS = (Family.UNIX, Family.ABNS, Family.ABNSZ)


def lines_of(config: Config) -> Iterator[tuple[Bind | StatsSocket, int]]:
    """Every line that opens sockets, with its backlog, in the order of the configuration."""
    for proxy in config.proxies:
        if proxy.is_frontend and not proxy.disabled:
            for bind in proxy.binds:
                yield bind, bind.backlog or proxy.backlog or proxy.maxconn or DEFAULT_BACKLOG
    for line in config.global_.stats_sockets:
        yield line, STATS_BACKLOG


def address_keys(config: Config) -> dict[int, tuple[str, ...]]:
    """The keys of the sockets of each line, by id() of the `Bind` or `StatsSocket`: one for each port of its range.

    A key reads like `ipv4@127.0.0.1:8080`, `unix@/run/stats` or `abns@name`, then options that belong to the binding, such as
    `;interface=eth0`. A second line with the same key gets `#2` behind it, a third one `#3`.
    """
    seen: dict[str, int] = {}
    keys: dict[int, tuple[str, ...]] = {}
    for line, _ in lines_of(config):
        numbered = []
        for key in _keys(line):
            count = seen[key] = seen.get(key, 0) + 1
            numbered.append(key if count == 1 else f"{key}#{count}")
        keys[id(line)] = tuple(numbered)
    return keys


def _keys(line: Bind | StatsSocket) -> Iterable[str]:
    address = line.address
    if address.family in _UNIX_KINDS or address.family in (Family.FD, Family.SOCKPAIR):
        return (f"{address.family.value}@{address.host}",)
    suffix = _bound_options(line) if isinstance(line, Bind) else ""
    host = f"[{address.host}]" if address.family is Family.INET6 else address.host or "*"
    kind = {Family.INET: "ipv4", Family.INET6: "ipv6"}.get(address.family, "name")
    if address.family is Family.NAME and address.prefer is not None:
        kind = f"name,{address.prefer.value}"
    return [f"{kind}@{host}:{port}{suffix}" for port in address.ports]


def _bound_options(bind: Bind) -> str:
    """Options that hold from bind() on: a socket with others is another socket."""
    parts = []
    if bind.interface is not None:
        parts.append(f";interface={bind.interface}")
    if bind.transparent:
        parts.append(";transparent")
    if bind.v4v6 and not bind.v6only:
        parts.append(";v4v6")
    if bind.address.mptcp:
        parts.append(";mptcp")
    return "".join(parts)


class OpenFailed(Exception):
    """Some lines can't be opened; `diagnostics` says why, for each. Nothing that was opened meanwhile is left."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__("; ".join(diagnostic.message for diagnostic in diagnostics))
        self.diagnostics = diagnostics


def open_sockets(config: Config, inherited: Mapping[str, socket.socket], *, reuse_port: bool = True) -> dict[str, socket.socket]:
    """The listening sockets that a configuration wants, by their keys.

    Args:
        config: checked.
        inherited: sockets of the process before. Those that are wanted again are used, the others are left alone.
        reuse_port: see `open_listeners`.

    Raises:
        OpenFailed: with a diagnostic for each line that can't be opened.
    """
    keys = address_keys(config)
    sockets: dict[str, socket.socket] = {}
    fresh: list[socket.socket] = []
    problems: list[Diagnostic] = []
    for line, backlog in lines_of(config):
        bind = as_bind(line)
        wanted = keys[id(line)]
        if all(key in inherited and _still_reachable(bind.address) for key in wanted):
            for key in wanted:
                sockets[key] = inherited[key]
                _refresh(bind, sockets[key], backlog)
            continue
        try:
            opened = open_listeners(bind, backlog, reuse_port=reuse_port)
        except ConfigError as error:
            problems.append(error.diagnostic)
            continue
        fresh.extend(opened)
        sockets.update(zip(wanted, opened, strict=True))
    if problems:
        for sock in fresh:
            sock.close()
        raise OpenFailed(problems)
    return sockets


def as_bind(line: Bind | StatsSocket) -> Bind:
    """A stats socket's line as a bind line."""
    if isinstance(line, Bind):
        return line
    return Bind(line.address, line.location or Location("stats socket", 1), permissions=line.permissions)


def _still_reachable(address: Address) -> bool:
    """Whether an inherited socket can still be connected to: the file of a unix socket may have been removed meanwhile."""
    return address.family is not Family.UNIX or os.path.exists(address.host)


def _refresh(bind: Bind, sock: socket.socket, backlog: int) -> None:
    """Put those options of a line into effect that may have changed since its socket was bound."""
    settings: list[tuple[int, int, int]] = []
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        settings.append((socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1 if bind.defer_accept else 0))
        settings.append((socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int((bind.tcp_ut or 0) * 1000)))
        if bind.mss is not None:
            settings.append((socket.IPPROTO_TCP, socket.TCP_MAXSEG, abs(bind.mss)))
        if bind.tfo:
            settings.append((socket.IPPROTO_TCP, socket.TCP_FASTOPEN, backlog))
    for level, option, value in settings:
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, value)
    with contextlib.suppress(OSError):
        if bind.address.family is Family.UNIX:
            set_permissions(bind.address.host, bind.permissions)
        if bind.address.family is not Family.SOCKPAIR:
            sock.listen(backlog)


class SocketFiles:
    """The files of unix sockets, to be removed at the end by the process that answers for them.

    A file that another process has put in the place of ours meanwhile is left alone.
    """

    __slots__ = ("_files",)

    def __init__(self) -> None:
        self._files: dict[str, tuple[int, int]] = {}

    def note(self, keys: Iterable[str]) -> None:
        """Answer for the files behind these keys from now on, and for no others."""
        found: dict[str, tuple[int, int]] = {}
        for key in keys:
            kind, _, path = key.partition("@")
            if kind == Family.UNIX.value:
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    found[path] = (status.st_dev, status.st_ino)
        gone = {path: known for path, known in self._files.items() if path not in found}
        self._files = gone
        self.remove()
        self._files = found

    def remove(self) -> None:
        """Remove them."""
        for path, known in self._files.items():
            with contextlib.suppress(OSError):
                status = os.stat(path)
                if (status.st_dev, status.st_ino) == known:
                    os.unlink(path)
        self._files = {}
