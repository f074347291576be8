"""Opens listening sockets for bind lines, with all their options, and finds numeric addresses for names.

Every failure names the bind line that it belongs to; nothing here is on the hot path.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import ConfigError, config_error
from headgate.config.model import Bind, UnixPermissions
from headgate.runtime.connector import IP_TRANSPARENT, IPV6_TRANSPARENT, TCP_USER_TIMEOUT, unix_name

#: Backlog when neither the bind line nor `backlog` nor maxconn says anything.
DEFAULT_BACKLOG = 1024

_FAMILIES = {Family.INET: socket.AF_INET, Family.INET6: socket.AF_INET6}


def resolve_host(address: Address, *, ipv4_only: bool = False) -> tuple[int, str]:
    """The socket family and numeric host of an address.

    Args:
        address: of any INET kind or a unix kind.
        ipv4_only: `-4`.

    Raises:
        OSError: the name has no address (socket.gaierror).
    """
    if address.family in (Family.UNIX, Family.ABNS, Family.ABNSZ):
        return socket.AF_UNIX, unix_name(address)
    if address.family in _FAMILIES:
        host = "0.0.0.0" if address.host in ("*", "") else address.host
        return _FAMILIES[address.family], host
    if address.family is not Family.NAME:
        raise OSError(errno.EAFNOSUPPORT, f"{address.family.value}@ is no address to connect to")
    family = socket.AF_INET if ipv4_only else _FAMILIES.get(address.prefer or Family.NAME, socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(address.host, None, family, socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    # As the C library's order has it; IPv4 first where both are equal, like HAProxy without resolvers.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return int(found[0][0]), str(found[0][4][0])


def open_listeners(bind: Bind, backlog: int, *, reuse_port: bool = True) -> list[socket.socket]:
    """Open the sockets of one bind line: one for each port of its range.

    Args:
        bind: the line.
        backlog: length of the accept queue.
        reuse_port: set SO_REUSEPORT, so that the next process can bind before this one leaves (switched off by -dR).

    Raises:
        ConfigError: the address can't be used; says which and why.
    """
    address = bind.address
    if address.family in (Family.FD, Family.SOCKPAIR):
        return [_inherited(bind)]
    sockets: list[socket.socket] = []
    try:
        family, host = resolve_host(address)
        if family == socket.AF_UNIX:
            sockets.append(_unix(bind, host, backlog))
        else:
            sockets.extend(_inet(bind, family, host, port, backlog, reuse_port) for port in address.ports)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise _cannot_bind(bind, error) from None
    return sockets


def _cannot_bind(bind: Bind, error: OSError) -> ConfigError:
    if isinstance(error, socket.gaierror):
        return config_error(f"cannot resolve '{bind.address.host}': {error.strerror}", bind.location)
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = {
        errno.EADDRINUSE: "another process listens there ('ss -ltnp' shows which), or two bind lines have the same address",
        errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE; a unix socket needs a writable directory",
        errno.EADDRNOTAVAIL: "no interface of this machine has this address; 'transparent' allows foreign ones",
        errno.EPERM: "the option needs root or CAP_NET_ADMIN",
    }.get(error.errno or 0)
    return config_error(f"cannot bind socket ({reason}) for [{bind.address}]", bind.location, remedy=remedy)


def _inherited(bind: Bind) -> socket.socket:
    """`fd@N` and `sockpair@N`: a socket that our parent has opened."""
    number = bind.address.host
    try:
        sock = socket.socket(fileno=int(number))
        sock.setblocking(False)
        listening = bind.address.family is Family.SOCKPAIR or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if not listening:
            sock.listen(DEFAULT_BACKLOG)
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        message = f"descriptor {number} can't be used as a listening socket: {reason}"
        raise config_error(message, bind.location, remedy="the parent process must leave it open and bound") from None
    return sock


def _inet(bind: Bind, family: int, host: str, port: int, backlog: int, reuse_port: bool) -> socket.socket:
    protocol = getattr(socket, "IPPROTO_MPTCP", 262) if bind.address.mptcp else 0
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        six = family == socket.AF_INET6
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if bind.v4v6 and not bind.v6only else 1)
        if bind.interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bind.interface.encode() + b"\0")
        if bind.transparent:
            sock.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, IPV6_TRANSPARENT if six else IP_TRANSPARENT, 1)
        if bind.mss is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, abs(bind.mss))
        if bind.tcp_ut is not None:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int(bind.tcp_ut * 1000))
        if bind.defer_accept:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        if bind.tfo:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, backlog)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _unix(bind: Bind, name: str, backlog: int) -> socket.socket:
    """A unix socket: bound under a temporary name and moved into place when it listens, so that a client is never refused."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        if name.startswith("\0"):
            sock.bind(name)
            sock.listen(backlog)
        else:
            temporary = f"{name}.{os.getpid()}.tmp"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            sock.bind(temporary)
            try:
                set_permissions(temporary, bind.permissions)
                sock.listen(backlog)
                os.rename(temporary, name)
            except OSError:
                os.unlink(temporary)
                raise
    except OSError:
        sock.close()
        raise
    return sock


def file_identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a file, None when it is not there: whether a socket's name still leads to it."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def set_permissions(path: str, permissions: UnixPermissions) -> None:
    """Apply `mode`, `user` and `group` to a unix socket before it can be reached.

    Raises:
        OSError: not allowed, or no such user or group.
    """
    if permissions.mode is not None:
        os.chmod(path, permissions.mode)
    if permissions.user is None and permissions.group is None:
        return
    try:
        user, group = permissions.user, permissions.group
        uid = -1 if user is None else int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        gid = -1 if group is None else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise OSError(errno.EINVAL, str(error)) from None
    os.chown(path, uid, gid)
