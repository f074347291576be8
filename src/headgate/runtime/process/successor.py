"""`-x`: takes listening sockets over from a process that serves, and gives them out.

Over a stats socket with `expose-fd listeners`, the client sends the command `_getsocks`. The answer is a row of messages, each a
line of text with descriptors (SCM_RIGHTS): `sockets <key> <key> ...`, keys as in `runtime.listening`, white space escaped, one
descriptor for each; the last is `end`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from urllib.parse import quote, unquote

COMMAND = "_getsocks"
#: Descriptors in one message: far from what the kernel allows (253).
_BATCH = 32
_LONGEST = 65536
#: Seconds that either side waits for the other.
_PATIENCE = 5.0
_PLAIN = "@:/[]*.,;=#-_"


class TakeoverFailed(Exception):
    """No sockets came; the message says why."""


def send_listeners(sock: socket.socket, listeners: Mapping[str, socket.socket]) -> None:
    """Give out listening sockets, to a client that has asked with `_getsocks`.

    Args:
        sock: the client's connection, a unix socket; may be non-blocking and is left as it was.
        listeners: by key (`Heritage.listeners`); closed ones are left out.

    Raises:
        OSError: the client does not take them.
    """
    patience = sock.gettimeout()
    sock.settimeout(_PATIENCE)
    try:
        keys = [key for key, one in listeners.items() if one.fileno() >= 0]
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            line = " ".join(["sockets", *(quote(key, _PLAIN) for key in batch)])
            socket.send_fds(sock, [f"{line}\n".encode()], [listeners[key].fileno() for key in batch])
        sock.sendall(b"end\n")
    finally:
        sock.settimeout(patience)


def take_listeners(path: str) -> dict[str, socket.socket]:
    """Ask a process for its listening sockets.

    Args:
        path: of its stats socket; `abns@<name>` for one in the abstract namespace.

    Raises:
        TakeoverFailed: it does not answer, or does not give them out.
    """
    name = "\0" + path[5:].ljust(107, "\0") if path.startswith("abns@") else path
    taken: dict[str, socket.socket] = {}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(_PATIENCE)
            sock.connect(name)
            sock.sendall(f"{COMMAND}\n".encode())
            _receive(sock, taken)
    except (OSError, TakeoverFailed) as error:
        for one in taken.values():
            one.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TakeoverFailed(f"cannot take the listening sockets over '{path}': {reason}") from None
    return taken


def _receive(sock: socket.socket, taken: dict[str, socket.socket]) -> None:
    text = b""
    descriptors: list[int] = []
    try:
        while not text.endswith(b"end\n"):
            data, more, _, _ = socket.recv_fds(sock, _LONGEST, 253)
            descriptors.extend(more)
            if not data or len(text) + len(data) > 16 * _LONGEST:
                raise TakeoverFailed(text.decode("utf-8", "replace").strip().partition("\n")[0] or "it closed the connection")
            text += data
            if not text.startswith((b"sockets ", b"end\n")):
                raise TakeoverFailed(text.decode("utf-8", "replace").strip().partition("\n")[0])
        keys = [unquote(key) for line in text.decode().splitlines() for key in line.split()[1:]]
        if len(keys) != len(descriptors):
            raise TakeoverFailed(f"it names {len(keys)} sockets and sends {len(descriptors)}")
        while descriptors:
            key, descriptor = keys.pop(0), descriptors.pop(0)
            taken[key] = socket.socket(fileno=descriptor)
            taken[key].setblocking(False)
    finally:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                socket.close(descriptor)
