"""Files of TLS sessions that processes share: LMDB environments in /dev/shm, mode 0600.

What is in them could decrypt connections, so they are never on a disk, readable only by the user that we run as, and gone with
the last process (`runtime.process.memory_directory`). An open one must not be used in another process that is forked from this
one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import lmdb

from headgate.base.diagnostics import config_error


def open_environment(directory: str, file: str, size: int, databases: int) -> Any:
    """Open a file of sessions, an `lmdb.Environment`.

    Args:
        directory: in shared memory.
        file: its name.
        size: bytes that it may grow to.
        databases: in it.

    Raises:
        ConfigError: it can't be opened.
    """
    path = os.path.join(directory, file)
    try:
        # Not as writable memory: where /dev/shm is full (64 MB in many containers) that would be a SIGBUS, and so it is an error.
        environment = lmdb.open(
            path, subdir=False, map_size=size, max_dbs=databases, sync=False, metasync=False, readahead=False, meminit=False,
            max_readers=256, mode=0o600, max_spare_txns=2,
        )
        environment.reader_check()
        if os.geteuid() == 0:
            # Processes that come later may have dropped their privileges: the files are whose the directory is.
            owner = os.stat(directory)
            for one in (path, path + "-lock"):
                os.chown(one, owner.st_uid, owner.st_gid)
    except (lmdb.Error, OSError) as error:
        raise config_error(f"TLS sessions can't be shared by the workers in {directory}: {error}", None) from None
    return environment


def write(environment: Any, work: Callable[[Any], None]) -> bool:
    """Do something in a transaction of its own, all of it or nothing.

    Args:
        environment: see `open_environment`.
        work: is given the transaction.

    Returns:
        False when it could not be done: there is no room, or the file is damaged.
    """
    try:
        with environment.begin(write=True) as txn:
            work(txn)
    except lmdb.Error:
        return False
    return True
