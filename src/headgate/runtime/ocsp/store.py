"""Responses on disk: one directory, one file for each certificate, each written whole or not at all.

The directory is made and opened before privileges are dropped, and used through its descriptor: neither `chroot` nor `user` keeps
us from it then. Other machines may have the same directory: what is read is checked like what comes from the network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Collection

from headgate.base.regex import regex
from headgate.runtime.process.owned_directories import make_directory, no_right_to_write
from headgate.tls.ocsp.response import LONGEST

_SUFFIX = ".der"
#: File names are hexadecimal keys up to this length; a longer key is hashed.
_LONGEST_KEY = 200
_NAME: re.Pattern[str] = regex(r"[0-9a-f]{32,200}\.der")
_TEMPORARY: re.Pattern[str] = regex(r"\.new-[0-9a-f]{16}")
#: A file that somebody began to write this long ago, seconds, will never be complete.
_FORSAKEN = 3600.0
_MOST_FILES = 100_000


class ResponseStore:
    """The directory.

    Args:
        path: of it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory: int | None = None

    def open(self, uid: int | None, gid: int | None) -> str | None:
        """Make the directory if it is not there, and open it.

        Args:
            uid, gid: who will write to it, None for ourselves.

        Returns:
            Why that failed, None if it did not.
        """
        try:
            make_directory(self.path, 0o750, uid, gid)
            self._directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            return no_right_to_write(self.path, uid, gid)
        except OSError as error:
            return error.strerror or str(error)

    @property
    def is_open(self) -> bool:
        """Whether there is a directory to write to."""
        return self._directory is not None

    def close(self) -> None:
        """Let go of it."""
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    # --- files ---

    def read(self, key: str) -> bytes | None:
        """The response that was written last for a certificate, by whomever; None for none. It is not to be believed."""
        return self._read(_file_of(key))

    def written_at(self, key: str) -> float:
        """When that was, seconds since the epoch on the clock of the file system; 0 where nothing is."""
        name = _file_of(key)
        path = name if self._directory is not None else os.path.join(self.path, name)
        try:
            return os.stat(path, dir_fd=self._directory, follow_symlinks=False).st_mtime
        except OSError:
            return 0.0

    def _read(self, name: str) -> bytes | None:
        path = name if self._directory is not None else os.path.join(self.path, name)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._directory)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            data = os.read(file, LONGEST + 1)
        except OSError:
            return None
        finally:
            os.close(file)
        return data if 0 < len(data) <= LONGEST else None

    def write(self, key: str, der: bytes) -> None:
        """Keep a response; who reads meanwhile gets the one before.

        Raises:
            OSError: it could not be written; the one before is still there.
        """
        if self._directory is None:
            return
        temporary = f".new-{os.urandom(8).hex()}"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640, dir_fd=self._directory)
        try:
            try:
                left = memoryview(der)
                while left:
                    left = left[os.write(file, left) :]
                os.fsync(file)
            finally:
                os.close(file)
            os.rename(temporary, _file_of(key), src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._directory)
            raise
        with contextlib.suppress(OSError):
            os.fsync(self._directory)

    def sweep(self, kept: Collection[str], is_over: Callable[[bytes], bool]) -> int:
        """Remove what nobody can use any more: responses that are over, and files that were never completed.

        Args:
            kept: keys of certificates that are in use.
            is_over: whether a response is of no use to anybody.

        Returns:
            How many were removed.
        """
        if self._directory is None:
            return 0
        mine = {_file_of(key) for key in kept}
        removed = 0
        for name in os.listdir(self._directory)[:_MOST_FILES]:
            with contextlib.suppress(OSError):
                if (name not in mine and _NAME.fullmatch(name) and self._is_over(name, is_over)) or self._is_forsaken(name):
                    os.unlink(name, dir_fd=self._directory)
                    removed += 1
        return removed

    def _is_over(self, name: str, is_over: Callable[[bytes], bool]) -> bool:
        data = self._read(name)
        return data is None or is_over(data)

    def _is_forsaken(self, name: str) -> bool:
        if _TEMPORARY.fullmatch(name) is None:
            return False
        found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        return time.time() - found.st_mtime > _FORSAKEN


def _file_of(key: str) -> str:
    return (key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()) + _SUFFIX
