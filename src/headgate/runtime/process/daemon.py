"""Going to the background (`-D`, `daemon`): the parent waits until the child serves, so that its exit code tells the truth."""

from __future__ import annotations

import os
import sys
from typing import TextIO

_READY = b"\0"


class Readiness:
    """The child's end of the wait: says once that it serves.

    Args:
        pipe: write end of a pipe to the parent, None when nobody waits.
        terminal: a stream that shows messages until then, closed when ready: the terminal belongs to the shell again.
    """

    __slots__ = ("_pipe", "_terminal")

    def __init__(self, pipe: int | None = None, terminal: TextIO | None = None) -> None:
        self._pipe = pipe
        self._terminal = terminal

    def ready(self) -> None:
        """Let the parent go. A second call does nothing."""
        if self._terminal is not None:
            sys.stderr = sys.__stderr__
            self._terminal.close()
            self._terminal = None
        if self._pipe is not None:
            os.write(self._pipe, _READY)
            os.close(self._pipe)
            self._pipe = None


def daemonize() -> Readiness:
    """Fork to the background.

    The parent stays until the child calls `ready` and exits with 0 then; when the child dies before, it exits with the child's
    code. Until then the child shows its messages through `sys.stderr`; its standard descriptors are /dev/null from the start,
    so that nothing it opens or inherits keeps a shell's `$(...)` waiting.

    Returns:
        In the child: what to call when it serves.
    """
    receiver, sender = os.pipe()
    child = os.fork()
    if child:
        os.close(sender)
        os._exit(wait_until_ready(receiver, child))
    os.close(receiver)
    os.setsid()
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    sys.stderr = terminal
    return Readiness(sender, terminal)


def wait_until_ready(receiver: int, child: int) -> int:
    """Wait for a child to serve or to die.

    Returns:
        0 when it is ready, otherwise the exit code that tells how it died; at least 1.
    """
    if os.read(receiver, 1) == _READY:
        return 0
    _, status = os.waitpid(child, 0)
    return exit_code_of(status) or 1


def exit_code_of(status: int) -> int:
    """The exit code that stands for a wait status: 128 + signal for a process that was killed, as in a shell."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
