"""Tells systemd how far we are (`-Ws`, sd_notify(3)): one datagram to the socket that $NOTIFY_SOCKET names."""

from __future__ import annotations

import socket
import time


class SystemdNotifier:
    """Sends states; says nothing when the process was not started by systemd.

    Args:
        address: the value of $NOTIFY_SOCKET, None without it. `@` at the front stands for the abstract namespace.
    """

    __slots__ = ("_address",)

    def __init__(self, address: str | None) -> None:
        self._address = address

    def ready(self, main_pid: int) -> None:
        """We serve."""
        self._send(f"READY=1\nSTATUS=Ready.\nMAINPID={main_pid}")

    def reloading(self) -> None:
        """A new configuration is being loaded; `ready` or `reload_failed` must follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=Reloading configuration.")

    def reload_failed(self, main_pid: int) -> None:
        """We serve what we served before."""
        self._send(f"READY=1\nSTATUS=Reload failed!\nMAINPID={main_pid}")

    def stopping(self) -> None:
        """We stop."""
        self._send("STOPPING=1\nSTATUS=Stopping.")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            try:
                sock.connect(address)
                sock.send(state.encode())
            except OSError:
                return  # systemd's own timeout tells the operator; a proxy that works must not stop for it
