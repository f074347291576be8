"""What controller and workers say to each other: the kinds of messages, the shape of each, and how they are written.

A message is a tuple of plain values in `marshal` form: both ends are forks of one process, so they speak the same version, and
nothing in it can name code.
"""

from __future__ import annotations

import enum
import marshal
from collections.abc import Mapping
from typing import Any

from headgate.base.records import dataclass


class Kind(enum.IntEnum):
    """What a message is about."""

    #: The answer to the message with the same number.
    ANSWER = 0
    #: A worker introduces itself: its number, its pid, the number of the last change that it has replayed. Answered (without a
    #: body) when it has been sent all changes since.
    HELLO = 1
    #: A change for a worker: its number in the journal and the entry. Answered with (done, what it says).
    CHANGE = 2
    #: A command for a worker that changes nothing: its words. Answered with (done, what it says).
    COMMAND = 3
    #: A worker shall publish its counters. Answered with (lines that its logs have lost).
    PUBLISH = 4
    #: A worker asks the runtime API: a line. Answered with the answer.
    ASK = 5
    #: Lines for a ring: its name, the lines, how many were lost before them.
    LINES = 6
    #: The traffic of a worker had too many errors of one server in a row: backend, server, what was seen.
    OBSERVED = 7
    #: A worker wants the address of a name: section, name, preferred family. Answered with (address or "", seconds that it may be
    #: kept).
    RESOLVE = 8


#: What the body of each kind consists of.
SHAPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.HELLO: (int, int, int),
    Kind.CHANGE: (int, tuple),
    Kind.COMMAND: (tuple,),
    Kind.PUBLISH: (),
    Kind.ASK: (str,),
    Kind.LINES: (str, tuple, int),
    Kind.OBSERVED: (str, str, str),
    Kind.RESOLVE: (str, str, int),
}

#: Of an entry of the journal, its first value: a command's words follow, or (backend, server, up, stopping), or what became of
#: the name of a server: (backend, server, address or None, port or None, weight or None, reason), or (digest of a certificate, an
#: OCSP response for it, until when that is good).
COMMAND_ENTRY, SERVER_ENTRY, RESOLVED_ENTRY, OCSP_ENTRY = "command", "server", "resolved", "ocsp"


class BadMessage(Exception):
    """What arrived is no message; the text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        kind: what it is about.
        number: what its answer refers to; 0 for one that wants no answer.
        body: as `SHAPES` has it.
    """

    kind: Kind
    number: int
    body: tuple[Any, ...]


def encode(kind: Kind, number: int, body: tuple[Any, ...]) -> bytes:
    """Write a message."""
    return marshal.dumps((int(kind), number, body))


def decode(data: bytes) -> Message:
    """Read a message.

    Raises:
        BadMessage: it is none, or of a kind or shape that is not known.
    """
    try:
        kind, number, body = marshal.loads(data)
        kind = Kind(kind)
    except (EOFError, ValueError, TypeError) as error:
        raise BadMessage(str(error)) from None
    shape = SHAPES.get(kind)
    if not isinstance(number, int) or not isinstance(body, tuple):
        raise BadMessage(f"{kind.name} is malformed")
    if shape is not None and (len(shape) != len(body) or not all(map(isinstance, body, shape))):
        raise BadMessage(f"the body of {kind.name} is malformed")
    return Message(kind, number, body)
