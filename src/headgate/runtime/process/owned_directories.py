"""Directories that we write to as the user that we become: made before privileges are dropped, and looked at for its rights."""

from __future__ import annotations

import os


def make_directory(path: str, mode: int, uid: int | None, gid: int | None) -> None:
    """Make a directory, and those above it, if it is not there; as root for the user that we become.

    Args:
        path: of it.
        mode: its own permissions.
        uid, gid: who will write to it, None for ourselves.

    Raises:
        OSError: that failed.
    """
    missing = []
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for one in reversed(missing):
        os.mkdir(one, 0o755 if one != missing[0] else mode)
    if missing and os.geteuid() == 0 and (uid is not None or gid is not None):
        os.chown(missing[0], -1 if uid is None else uid, -1 if gid is None else gid)


def no_right_to_write(path: str, uid: int | None, gid: int | None) -> str | None:
    """Why the user that we become could not write to a directory; None if it can.

    Args:
        path: of the directory.
        uid, gid: that user's, None for ours.

    Raises:
        OSError: it can't be looked at.
    """
    found = os.stat(path)
    if uid is None or uid == os.geteuid():
        return None if os.access(path, os.W_OK | os.X_OK) else "no right to write to it"
    group = os.getegid() if gid is None else gid
    bits = found.st_mode >> 6 if found.st_uid == uid else found.st_mode >> 3 if found.st_gid == group else found.st_mode
    return None if bits & 3 == 3 or uid == 0 else f"user {uid} has no right to write to it"
