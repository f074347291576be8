"""The directory in shared memory that outlives a reload: stick tables are files in it. Made by the master, gone with it.

Its lock is held by every process that descends from the one that made it, so that a master that was killed leaves it to its
workers, and the next one clears away what nobody uses any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "headgate-"
_LOCK = ".lock"
#: A directory whose maker is there and that is younger than this, seconds, may not be locked yet.
_BEING_MADE = 60.0


class MemoryDirectory:
    """One directory.

    Args:
        owner: user and group that it belongs to; None for our own.
        parent: where it is made.

    Attributes:
        path: of the directory, None where there is no shared memory to put it.
    """

    __slots__ = ("_lock", "_maker", "path")

    def __init__(self, owner: tuple[int | None, int | None] = (None, None), parent: Path = SHARED_MEMORY) -> None:
        self.path: str | None = None
        self._lock = -1
        self._maker = os.getpid()
        if not parent.is_dir():
            return
        clear_away(parent)
        path = parent / f"{_PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
        try:
            path.mkdir(mode=0o700)
        except OSError:
            return
        self._lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        user, group = owner
        if user is not None or group is not None:
            with contextlib.suppress(OSError):
                os.chown(path, -1 if user is None else user, -1 if group is None else group)
        self.path = str(path)

    def remove(self) -> None:
        """Remove it with all that is in it. Only the process that made it may."""
        if self.path is not None and os.getpid() == self._maker:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self.path = None


def clear_away(parent: Path = SHARED_MEMORY) -> None:
    """Remove the directories of ours that no process uses any more."""
    for path in parent.glob(f"{_PREFIX}*-*"):
        with contextlib.suppress(OSError):
            status = path.stat(follow_symlinks=False)
            if os.geteuid() not in (0, status.st_uid):
                continue
            if _maker_is_there(path) and time.time() - status.st_mtime < _BEING_MADE:
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _maker_is_there(path: Path) -> bool:
    """Whether there is a process with the pid in the directory's name; of another container perhaps, whose lock then counts."""
    return os.path.exists(f"/proc/{path.name.split('-')[1]}")
