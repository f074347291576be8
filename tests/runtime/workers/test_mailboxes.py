"""Boxes for connections: given and taken, refused when their owner is gone or leaves, emptied when it dies."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from headgate.runtime.workers.mailboxes import LEASE, Mailboxes
from tests.runtime.workers.test_shared_state import forked, killed

NOW = 1000.0


@pytest.fixture
def boxes() -> Iterator[Mailboxes]:
    made = Mailboxes(4)
    yield made
    made.discard()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection, and who is at its other end."""
    near, far = socket.socketpair()
    far.settimeout(10)
    yield near, far
    near.close()
    far.close()


def taken(boxes: Mailboxes, process: int) -> bytes | None:
    """The message of what lies in a box; the connection that came with it is used, and closed."""
    found = boxes.take(process)
    if found is None:
        return None
    message, descriptor = found
    with socket.socket(fileno=descriptor) as sock:
        assert not os.get_inheritable(descriptor)
        sock.sendall(message)
    return message


def test_a_connection_goes_from_one_to_the_other(boxes: Mailboxes, ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    owner = boxes.open(2, NOW)
    assert boxes.take(2) is None
    assert boxes.give(1, owner, b"hello", near.fileno(), NOW)
    near.close()
    assert taken(boxes, 2) == b"hello" and boxes.take(2) is None
    assert (far.recv(10), far.recv(10)) == (b"hello", b"")


def test_who_is_gone_or_leaves_or_hangs_is_given_nothing(
    boxes: Mailboxes, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, _ = ends
    owner = boxes.open(2, NOW)
    assert not boxes.give(1, owner + (1 << 8), b"", near.fileno(), NOW)  # one before it, in the same place
    assert not boxes.give(1, owner + 1, b"", near.fileno(), NOW)
    assert not boxes.give(1, owner, b"", near.fileno(), NOW + LEASE)
    boxes.renew(2, NOW + LEASE)
    assert boxes.give(1, owner, b"more", near.fileno(), NOW + LEASE)
    boxes.close(2)
    assert not boxes.give(1, owner, b"", near.fileno(), NOW + LEASE)
    assert taken(boxes, 2) == b"more" and boxes.take(2) is None


def test_a_death_that_nobody_tells_of(boxes: Mailboxes, ends: tuple[socket.socket, socket.socket]) -> None:
    pid = forked(lambda: void(boxes.open(2, NOW)))
    assert boxes.give(1, pid << 8 | 2, b"", ends[0].fileno(), NOW)
    killed(pid)
    assert not boxes.give(1, pid << 8 | 2, b"", ends[0].fileno(), NOW)


def test_a_full_box_takes_no_more_and_nobody_waits(boxes: Mailboxes, ends: tuple[socket.socket, socket.socket]) -> None:
    near, _ = ends
    owner = boxes.open(2, NOW)
    given = 0
    while boxes.give(1, owner, b"%d" % given, near.fileno(), NOW):
        given += 1
        assert given < 100_000
    assert given > 50
    assert [taken(boxes, 2) for _ in range(given)] == [b"%d" % number for number in range(given)]
    assert boxes.give(1, owner, b"again", near.fileno(), NOW)


def test_who_leaves_knows_when_nothing_more_comes(ends: tuple[socket.socket, socket.socket]) -> None:
    seen = []

    class Watched(Mailboxes):
        def takes(self, owner: int, now: float) -> bool:
            seen.append((self.is_expecting(2), self.is_expecting(3)))
            return super().takes(owner, now)

    boxes = Watched(4)
    owner = boxes.open(2, NOW)
    assert boxes.give(1, owner, b"", ends[0].fileno(), NOW) and not boxes.is_expecting(2)
    boxes.close(2)
    assert not boxes.give(1, owner, b"", ends[0].fileno(), NOW) and not boxes.is_expecting(2)
    assert seen == [(True, False)] * 2
    assert taken(boxes, 2) == b""
    boxes.discard()


def test_what_a_dead_process_has_not_taken_goes_to_the_living(
    boxes: Mailboxes, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, _ = ends
    boxes.open(1, NOW)
    boxes.open(3, NOW)
    pid = forked(lambda: void(boxes.open(2, NOW)))
    for number in range(6):
        assert boxes.give(1, pid << 8 | 2, b"%d" % number, near.fileno(), NOW)
    killed(pid)
    boxes.recover(2, NOW)
    assert not boxes.takes(pid << 8 | 2, NOW)
    found = [{taken(boxes, process) for _ in range(3)} for process in (1, 3)]
    assert found == [{b"0", b"2", b"4"}, {b"1", b"3", b"5"}]
    assert all(boxes.take(process) is None for process in (1, 2, 3))


def test_where_nobody_else_lives_the_next_one_takes_it(
    boxes: Mailboxes, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, _ = ends
    owner = boxes.open(2, NOW)
    assert boxes.give(1, owner, b"left", near.fileno(), NOW)
    boxes.recover(2, NOW)
    assert boxes.open(2, NOW)
    assert taken(boxes, 2) == b"left"


def test_the_living_are_full(boxes: Mailboxes, ends: tuple[socket.socket, socket.socket]) -> None:
    near, _ = ends
    full, owner = boxes.open(1, NOW), boxes.open(2, NOW)
    while boxes.give(3, full, b"x", near.fileno(), NOW):
        pass
    assert boxes.give(3, owner, b"left", near.fileno(), NOW)
    boxes.recover(2, NOW)
    assert taken(boxes, 2) == b"left" and boxes.take(2) is None


def test_a_killed_giver_is_waited_for_by_nobody(boxes: Mailboxes) -> None:
    def hang_while_giving() -> None:
        boxes.open(1, NOW)
        boxes.cells[1 * 8 + 2] = 2  # as `give` says it, just before it is stopped

    pid = forked(hang_while_giving)
    assert boxes.is_expecting(2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    boxes.recover(1, NOW)
    assert not boxes.is_expecting(2)


def void(_: object) -> None:
    """Forget a result."""
