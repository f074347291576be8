"""The journal: every change that was made while serving, for processes that come later.

It lives in anonymous memory that the launcher makes before it forks. The controller writes; a new worker, or a new controller,
replays it before it serves. A change takes the place of earlier ones that it makes meaningless, so the journal is as long as what
differs from the configuration, not as what ever happened.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import mmap
import os
import struct
from collections.abc import Iterator
from typing import Any

from headgate.base.records import dataclass

#: What the journal may hold, bytes.
LIMIT = 64 << 20
#: Bytes of replaced entries that are worth a clean-up.
_WORTH_CLEANING = 1 << 20
#: Of a file: how many of its bytes are complete entries, the head included.
_FILE_HEAD = struct.Struct("<Q")
#: Of an entry: length of what follows, number.
_ENTRY_HEAD = struct.Struct("<IQ")

_LAST = struct.Struct("<Q")
_LAST_AT = 8
_SWITCH_SIZE = _LAST_AT + _LAST.size

#: What a change is about: it replaces earlier changes whose key begins with its own. None: it stays.
Key = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One change.

    Attributes:
        number: counts changes from 1.
        key: what it is about.
        what: plain values, as `runtime.workers.messages` has them.
    """

    number: int
    key: Key
    what: tuple[Any, ...]


class Journal:
    """The journal of one generation; made by the launcher, used by one writer at a time.

    Args:
        limit: bytes that it may hold.

    Attributes:
        lost: changes that were not kept because it was full.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        # Two files, of which one counts: a clean-up writes the other one and then turns the switch, which is one byte. Behind it
        # stands the number of the last change, which may not have found room.
        self._files = (os.memfd_create("headgate-journal"), os.memfd_create("headgate-journal"))
        self._switch = mmap.mmap(-1, _SWITCH_SIZE)
        self.lost = 0
        self._entries: dict[int, tuple[Key, int]] = {}  # number -> key, size
        self._about: dict[tuple[str, ...], dict[int, None]] = {}  # every beginning of a key -> numbers
        self._last = 0
        self._live = 0
        self._loaded = False
        os.pwrite(self._files[0], _FILE_HEAD.pack(_FILE_HEAD.size), 0)

    def close(self) -> None:
        """Let go of the memory."""
        for file in self._files:
            os.close(file)

    # --- reading ---

    def entries(self) -> list[Entry]:
        """All changes that count, in their order."""
        with self._locked(fcntl.LOCK_SH):
            data = self._read()
        parsed = list(_parse(data))
        dead = _replaced(parsed)
        return [entry for entry, _ in parsed if entry.number not in dead]

    def _read(self) -> bytes:
        file = self._files[self._switch[0]]
        (length,) = _FILE_HEAD.unpack(os.pread(file, _FILE_HEAD.size, 0))
        pieces = []
        at = _FILE_HEAD.size
        while at < length:
            piece = os.pread(file, length - at, at)
            if not piece:
                break
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Neither a clean-up nor an entry comes in between. Locks of fcntl end with the process that has them."""
        fcntl.lockf(self._files[0], how)
        try:
            yield
        finally:
            fcntl.lockf(self._files[0], fcntl.LOCK_UN)

    # --- writing ---

    def append(self, key: Key, what: tuple[Any, ...], *, kept: bool = True) -> int:
        """Keep a change; with `kept` False, only number it.

        Returns:
            Its number. When there is no room, `lost` grows: a process that comes later will not know it.
        """
        self._load()
        self._last += 1
        number = self._last
        _LAST.pack_into(self._switch, _LAST_AT, number)
        if not kept:
            return number
        data = marshal.dumps((key, what))
        size = _ENTRY_HEAD.size + len(data)
        with self._locked(fcntl.LOCK_EX):
            if key is not None:
                for dead in list(self._about.get(key, ())):
                    self._forget(dead)
            if self._live + size > self._limit:
                self.lost += 1
                return number
            file = self._files[self._switch[0]]
            (length,) = _FILE_HEAD.unpack(os.pread(file, _FILE_HEAD.size, 0))
            if length - self._live > max(_WORTH_CLEANING, self._live):
                self._clean()
                file = self._files[self._switch[0]]
                (length,) = _FILE_HEAD.unpack(os.pread(file, _FILE_HEAD.size, 0))
            _write(file, _ENTRY_HEAD.pack(len(data), number) + data, length)
            os.pwrite(file, _FILE_HEAD.pack(length + size), 0)  # from now on it counts
            self._keep(number, key, size)
        return number

    @property
    def last(self) -> int:
        """The number of the last change."""
        self._load()
        return self._last

    def _load(self) -> None:
        """At its first use by a writer: the one before it may have written."""
        if self._loaded:
            return
        self._loaded = True
        with self._locked(fcntl.LOCK_SH):
            parsed = list(_parse(self._read()))
        dead = _replaced(parsed)
        (self._last,) = _LAST.unpack_from(self._switch, _LAST_AT)
        for entry, size in parsed:
            if entry.number not in dead:
                self._keep(entry.number, entry.key, size)

    def _keep(self, number: int, key: Key, size: int) -> None:
        self._entries[number] = (key, size)
        self._live += size
        for length in range(1, len(key or ()) + 1):
            self._about.setdefault((key or ())[:length], {})[number] = None

    def _forget(self, number: int) -> None:
        key, size = self._entries.pop(number)
        self._live -= size
        for length in range(1, len(key or ()) + 1):
            beginning = (key or ())[:length]
            numbers = self._about[beginning]
            del numbers[number]
            if not numbers:
                del self._about[beginning]

    def _clean(self) -> None:
        """Write what counts to the other file, and turn to it."""
        kept = [(entry, size) for entry, size in _parse(self._read()) if entry.number in self._entries]
        other = 1 - self._switch[0]
        file = self._files[other]
        os.ftruncate(file, 0)
        at = _FILE_HEAD.size
        for entry, size in kept:
            data = marshal.dumps((entry.key, entry.what))
            _write(file, _ENTRY_HEAD.pack(len(data), entry.number) + data, at)
            at += size
        os.pwrite(file, _FILE_HEAD.pack(at), 0)
        self._switch[0] = other
        os.ftruncate(self._files[1 - other], 0)


def _write(file: int, data: bytes, at: int) -> None:
    while data:
        written = os.pwrite(file, data, at)
        data = data[written:]
        at += written


def _parse(data: bytes) -> Iterator[tuple[Entry, int]]:
    """Entries with their sizes."""
    at = 0
    while at + _ENTRY_HEAD.size <= len(data):
        length, number = _ENTRY_HEAD.unpack_from(data, at)
        start = at + _ENTRY_HEAD.size
        key, what = marshal.loads(data[start : start + length])
        at = start + length
        yield Entry(number, key, what), _ENTRY_HEAD.size + length


def _replaced(parsed: list[tuple[Entry, int]]) -> set[int]:
    """The numbers of entries that a later one has replaced."""
    about: dict[tuple[str, ...], set[int]] = {}
    dead: set[int] = set()
    for entry, _ in parsed:
        key = entry.key
        if key is None:
            continue
        dead |= about.pop(key, set())
        for length in range(1, len(key) + 1):
            about.setdefault(key[:length], set()).add(entry.number)
    return dead
