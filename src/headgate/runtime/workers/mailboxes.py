"""Client connections from worker to worker: a box for each one, which all of a generation can put into and its owner takes from.

A box is a pair of sockets that the launcher makes before it forks, so all processes have both ends, and what is in it outlives
its owner: the next one in that place takes it. Each worker says in shared memory until when it will look into its box.
`handover` says what goes into them.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
import zlib
from collections.abc import Sequence
from typing import Final

from headgate.runtime.process.supervision import exists

#: Longest message, bytes.
LONGEST: Final = 1024
#: How long a worker's word that it looks into its box is good, seconds. It gives it anew each second, unless it hangs.
LEASE: Final = 4
#: Boxes are numbered in a byte of `owner`, pids are below 2**22.
MOST_BOXES: Final = 255
_BOX_BITS: Final = 8
#: Of each process: its `owner` number, until when it takes, what it is putting somewhere now, and of what it takes: whose, which,
#: and in which rows it is counted; a cache line each.
_OWNER, _UNTIL, _GIVES_TO, _TAKES, _WHICH, _ROWS, _CELLS = 0, 1, 2, 3, 4, 5, 8
_MOST_ROWS: Final = _CELLS - _ROWS
_MOST_FORWARDED: Final = 4096
_DESCRIPTOR: Final = 4
_ANCILLARY: Final = socket.CMSG_LEN(_DESCRIPTOR)


def named(owner: int) -> tuple[int, int]:
    """The place and the pid of the process that a number names."""
    return owner & MOST_BOXES, owner >> _BOX_BITS


class Mailboxes:
    """See the module.

    Args:
        processes: how many there are; each has a box of its number.
    """

    __slots__ = ("_boxes", "_memory", "cells")

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, max(processes * _CELLS * 8, mmap.PAGESIZE))
        self.cells = memoryview(self._memory).cast("q")
        self._boxes = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(processes)]
        for ends in self._boxes:
            for end in ends:
                end.setblocking(False)

    # --- owners ---

    def open(self, process: int, now: float) -> int:
        """Be this process, and take from its box from now on. Answers the number that names it: no other process ever has it."""
        at = process * _CELLS
        owner = self.cells[at + _OWNER] = os.getpid() << _BOX_BITS | process
        self.renew(process, now)
        return owner

    def renew(self, process: int, now: float) -> None:
        """Say again that this process takes from its box; `now` in monotonic seconds."""
        self.cells[process * _CELLS + _UNTIL] = int(now) + LEASE

    def close(self, process: int) -> None:
        """Say that this process will leave: what is in its box it still takes."""
        self.cells[process * _CELLS + _UNTIL] = 0

    def takes(self, owner: int, now: float) -> bool:
        """Whether a process, named by its number, lives and looks into its box."""
        place, pid = named(owner)
        at = place * _CELLS
        return self.cells[at + _OWNER] == owner and self.cells[at + _UNTIL] > now and exists(pid)

    def descriptor(self, process: int) -> int:
        """What becomes readable when there is something in a box."""
        return self._boxes[process][0].fileno()

    # --- giving and taking ---

    def give(self, process: int, owner: int, message: bytes, descriptor: int, now: float) -> bool:
        """Put a connection into a box.

        Args:
            process: who gives it.
            owner: whose box.
            message: LONGEST bytes at most.
            descriptor: of the connection; stays open here.
            now: monotonic seconds.

        Returns:
            False when that one is gone, or leaves, or does not keep up: then nothing was given.
        """
        gives_to = process * _CELLS + _GIVES_TO
        box = owner & MOST_BOXES
        self.cells[gives_to] = box  # before looking whether it leaves: see `is_expecting`
        try:
            if not self.takes(owner, now):
                return False
            socket.send_fds(self._boxes[box][1], [message], [descriptor])
        except OSError:
            return False
        finally:
            self.cells[gives_to] = 0
        return True

    def look(self, process: int) -> bytes | None:
        """What lies in a box longest, and stays there; None when it is empty."""
        try:
            return self._boxes[process][0].recv(LONGEST, socket.MSG_PEEK)
        except OSError:
            return None

    def announce(self, process: int, message: bytes, giver: int, rows: Sequence[int]) -> None:
        """Say that a process is going to take a message: should it die then, the connection is gone, and its place free.

        Args:
            process: who takes it.
            message: see `look`.
            giver: the number of who has given it, and in whose share it is counted.
            rows: in which it is counted there.
        """
        at = process * _CELLS
        cells = self.cells
        cells[at + _WHICH] = zlib.crc32(message)
        for number in range(_MOST_ROWS):
            cells[at + _ROWS + number] = rows[number] if number < len(rows) else 0
        cells[at + _TAKES] = giver

    def settle(self, process: int) -> None:
        """What was announced is counted as this process's, or not to be taken after all."""
        self.cells[process * _CELLS + _TAKES] = 0

    def half_taken(self, process: int) -> tuple[int, list[int]]:
        """What a dead process has taken out of its box, and not yet counted as its own: who gave it, and the rows; none: 0."""
        at = process * _CELLS
        cells = self.cells
        giver = cells[at + _TAKES]
        message = self.look(process) if giver else None
        if not giver or (message is not None and zlib.crc32(message) == cells[at + _WHICH]):
            return 0, []
        return giver, [row for row in cells[at + _ROWS : at + _CELLS] if row]

    def take(self, process: int) -> tuple[bytes, int] | None:
        """What lies in a box longest, and its descriptor (-1: this process can't have any more); None when it is empty."""
        try:
            # Not `socket.recv_fds`, which does not pass the flag on.
            message, ancillary, _, _ = self._boxes[process][0].recvmsg(LONGEST, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return None
        data = ancillary[0][2] if ancillary else b""
        return message, int.from_bytes(data, sys.byteorder) if len(data) == _DESCRIPTOR else -1

    def is_expecting(self, process: int) -> bool:
        """Whether somebody is just putting something into a box whose owner has said that it leaves."""
        cells = self.cells
        return any(cells[at + _GIVES_TO] == process for at in range(0, len(self._boxes) * _CELLS, _CELLS))

    def recover(self, process: int, now: float) -> None:
        """A process is gone: whoever lives takes what was in its box, and else its successor, which is not made yet."""
        at = process * _CELLS
        cells = self.cells
        cells[at + _OWNER] = cells[at + _UNTIL] = cells[at + _GIVES_TO] = cells[at + _TAKES] = 0
        living = [box for box in range(len(self._boxes)) if cells[box * _CELLS + _UNTIL] > now]
        for number in range(_MOST_FORWARDED):
            found = self.take(process) if living else None
            if found is None or not self._forward(*found, living[number % len(living)], process):
                return

    def _forward(self, message: bytes, descriptor: int, box: int, back: int) -> bool:
        """Put it into that box; False when it is full and it went back."""
        try:
            for to in (box, back):
                try:
                    socket.send_fds(self._boxes[to][1], [message], [descriptor] if descriptor >= 0 else [])
                except OSError:
                    continue
                return to == box
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def discard(self) -> None:
        """Give up memory and sockets; for tests."""
        for ends in self._boxes:
            for end in ends:
                end.close()
        self.cells.release()
        self._memory.close()
