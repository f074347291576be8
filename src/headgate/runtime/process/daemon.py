"""Going to the background (`-D`, `daemon`): the parent waits until the child serves, so that its exit code tells the truth."""

from __future__ import annotations

import os

_READY = b"\0"


class Readiness:
    """The child's end of the wait: says once that it serves.

    Args:
        pipe: write end of a pipe to the parent, None when nobody waits.
        leave_terminal: standard streams go to /dev/null once ready: the terminal belongs to the shell again.
    """

    __slots__ = ("_leave_terminal", "_pipe")

    def __init__(self, pipe: int | None = None, leave_terminal: bool = False) -> None:
        self._pipe = pipe
        self._leave_terminal = leave_terminal

    def ready(self) -> None:
        """Let the parent go."""
        if self._leave_terminal:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            os.close(null)
            self._leave_terminal = False
        if self._pipe is not None:
            os.write(self._pipe, _READY)
            os.close(self._pipe)
            self._pipe = None


def daemonize() -> Readiness:
    """Fork to the background.

    The parent stays until the child calls `ready` and exits with 0 then; when the child dies before, it exits with the child's
    code. Until then the child keeps the terminal for its messages.

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
    return Readiness(sender, leave_terminal=True)


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
