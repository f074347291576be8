"""How a service writes its answer: a script, which is a generator of steps. `proxy.service` carries them out.

So a page is written from top to bottom, and yet nothing waits: between two steps other connections are served, and a client that
does not take what it is sent stops the script.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final

from headgate.base.records import dataclass
from headgate.plan.services import Service
from headgate.wire.http1.heads import RequestHead

#: How large a piece of a body is about, bytes: worth a write of its own, and no more than a slow client should have waiting.
_PIECE: Final = 16384


@dataclass(frozen=True, slots=True)
class Begin:
    """The response begins.

    Attributes:
        status: HTTP status.
        fields: complete header lines, without those of framing and connection.
        body: the whole body; None: pieces of it follow as steps.
        endless: events for as long as the client listens.
    """

    status: int
    fields: bytes
    body: bytes | None = None
    endless: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """A command of the runtime API; the script goes on with its answer, "" when there is none.

    Attributes:
        command: one line.
        age: an answer to the same question that is at most this old will do, seconds.
    """

    command: str
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing happens for some seconds."""

    seconds: float


#: Bytes are a piece of the body.
Step = Begin | Ask | Pause | bytes
Script = Generator[Step, str, None]


@dataclass(frozen=True, slots=True)
class Question:
    """A request to a service.

    Attributes:
        service: with its settings.
        head: of the request.
        body: of a POST, decoded.
        complete: false when the body was longer than a request may be.
        wall: seconds since the epoch.
    """

    service: Service
    head: RequestHead
    body: bytes
    complete: bool
    wall: float


#: A service: from the question to its script.
Write = Callable[[Question], Script]


def pieces(texts: Iterable[str]) -> Iterator[bytes]:
    """Texts, put together to pieces of a body."""
    gathered: list[str] = []
    size = 0
    for text in texts:
        gathered.append(text)
        size += len(text)
        if size >= _PIECE:
            yield "".join(gathered).encode("utf-8", "replace")
            gathered, size = [], 0
    if size:
        yield "".join(gathered).encode("utf-8", "replace")
