"""The pid file (`-p`, `pidfile`) and signals to the processes that it named before us (`-sf`, `-st`)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

from headgate.base.diagnostics import config_error


class PidFile:
    """Opened before the jail and before privileges are dropped, written once the pid is known.

    Args:
        path: truncated at once, so that a stale pid is never read from it.

    Raises:
        ConfigError: the file can't be written.
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise config_error(f"cannot create pidfile '{path}': {error.strerror}", None) from None

    def write(self, pid: int) -> None:
        """Write the pid on its own line, and close the file."""
        try:
            os.write(self._fd, b"%d\n" % pid)
        finally:
            os.close(self._fd)


def signal_old_processes(finish: Iterable[int], terminate: Iterable[int]) -> list[str]:
    """Tell older processes to leave, now that we listen: `-sf` to finish what they do, `-st` at once.

    Returns:
        Warnings for processes that exist and can't be signalled. Those that are gone are what the operator wanted.
    """
    warnings = []
    for pids, number in ((finish, signal.SIGUSR1), (terminate, signal.SIGTERM)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                try:
                    os.kill(pid, number)
                except PermissionError:
                    warnings.append(f"process {pid} can't be sent {number.name}: it belongs to another user")
    return warnings
