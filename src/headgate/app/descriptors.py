"""The open file descriptors of a process, as the kernel and the event loops know them (`show fd`)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from headgate.admin.inspection import Descriptor
from headgate.proxy.relay import ServerHalf
from headgate.proxy.server_connection import ServerConnection
from headgate.runtime.connector import PendingConnection
from headgate.runtime.listener import Listener
from headgate.runtime.reactor import READ, WRITE, Handler

_SELF = "/proc/self/fd"
_FAMILIES = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6", socket.AF_UNIX: "unix"}


def open_descriptors(handlers: Mapping[int, Handler], backends: Mapping[object, str]) -> list[Descriptor]:
    """All of this process.

    Args:
        handlers: whom the reactor calls for which descriptor.
        backends: server -> name of its backend.
    """
    links = dict(_links(handlers))
    watched = _watched(links)
    return [
        _describe(number, link, watched.get(number), handlers.get(number), backends) for number, link in sorted(links.items())
    ]


def _links(handlers: Mapping[int, Handler]) -> Iterator[tuple[int, str]]:
    """What each descriptor is, in the kernel's words; only those that the reactor knows where there is no /proc (chroot)."""
    try:
        numbers = [int(name) for name in os.listdir(_SELF)]
    except OSError:
        yield from ((number, "socket:") for number in handlers)
        return
    for number in numbers:
        # The one that listed the directory is closed by now.
        with contextlib.suppress(OSError):
            yield number, os.readlink(f"{_SELF}/{number}")


def _watched(links: Mapping[int, str]) -> dict[int, int]:
    """The events that the epoll sets of this process wait for, by descriptor."""
    watched: dict[int, int] = {}
    for number, link in links.items():
        if link != "anon_inode:[eventpoll]":
            continue
        with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{number}", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("tfd:"):
                    words = line.split()
                    watched[int(words[1])] = int(words[3], 16)
    return watched


def _describe(
    number: int, link: str, events: int | None, handler: Handler | None, backends: Mapping[object, str]
) -> Descriptor:
    letters = None if events is None else ("R" if events & READ else "") + ("W" if events & WRITE else "")
    owner = getattr(handler, "__self__", None)
    name = getattr(handler, "__qualname__", "") if handler is not None else ""
    if not link.startswith("socket:"):
        kind = "pipe" if link.startswith("pipe:") else "other"
        return Descriptor(number, kind, letters, name, "", "", "", link, False, False)
    family, local, remote, listening = _addresses(number)
    kind, belongs = _whose(owner, backends)
    if not kind:
        kind = "listener" if listening else "other"
    lost = not listening and bool(remote) and family in ("ipv4", "ipv6") and events is None and handler is None
    tls = kind != "listener" and getattr(owner, "tls", None) is not None
    return Descriptor(number, kind, letters, name, family, local, remote, belongs, tls, lost)


def _addresses(number: int) -> tuple[str, str, str, bool]:
    """Family, own and the peer's address, and whether it listens."""
    try:
        sock = socket.socket(fileno=os.dup(number))
    except OSError:
        return "", "", "", False
    with sock:
        family = _FAMILIES.get(sock.family, "")
        listening = False
        with contextlib.suppress(OSError):
            listening = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        local, remote = "", ""
        with contextlib.suppress(OSError):
            local = _text(sock.getsockname())
        with contextlib.suppress(OSError):
            remote = _text(sock.getpeername())
    return family, local, remote, listening


def _text(address: Any) -> str:
    if isinstance(address, bytes):
        return "@" + address.strip(b"\0").decode("utf-8", "replace")
    if isinstance(address, str):
        return address
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _whose(owner: object, backends: Mapping[object, str]) -> tuple[str, str]:
    """Kind and owner of what the reactor watches; "" as the kind when it says nothing."""
    if isinstance(owner, Listener):
        return "listener", f"fe={owner.side.name}"
    if isinstance(owner, PendingConnection):
        return "backend", f"sv={_server(owner.server, backends)} connecting"
    listener = getattr(owner, "listener", None)
    if isinstance(listener, Listener):
        return "frontend", f"fe={listener.side.name} arriving"
    machine = getattr(owner, "owner", None)
    if isinstance(machine, ServerConnection):
        idle = " idle" if machine.stream is None else ""
        return "backend", f"sv={_server(machine.server, backends)} mux=H1{idle}"
    if isinstance(machine, ServerHalf):
        stream = machine.stream
        return "backend", f"sv={_server(stream.server, backends)} mux=PASS"
    side = getattr(machine, "side", None)
    if side is not None:
        return "frontend", f"fe={side.name} mux={'H1' if hasattr(machine, 'chunks') else 'PASS'}"
    if machine is not None:
        return "frontend", f"closing ({type(machine).__name__})"
    return "", ""


def _server(server: Any, backends: Mapping[object, str]) -> str:
    return f"{backends.get(server, '?')}/{server.name}" if server is not None else "?"
