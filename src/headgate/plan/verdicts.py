"""What a ruleset decides, as values: the machines in `proxy` act on them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from headgate.plan.services import Service

if TYPE_CHECKING:
    from headgate.plan.facts import Stream


class Kind(enum.IntEnum):
    """What to do with the stream. `None` instead of a verdict means: all rules passed, go on."""

    ACCEPT = 0  # stop evaluating this ruleset, go on with the stream
    WAIT = 1  # a condition needs more bytes and the inspection delay has not run out
    REJECT = 2  # close without a word
    SILENT_DROP = 3  # forget the connection, tell nobody
    REPLY = 4  # send `reply` to the client and end the exchange
    TARPIT = 5  # as REPLY after `timeout tarpit`
    SERVICE = 6  # let `service` answer
    HANDSHAKE = 7  # once the client's TLS handshake is over, go on with `rest`
    RESOLVE = 8  # once the address of a name is known, or that there is none, go on with `rest`


class Reply:
    """A response of our own.

    Attributes:
        status: for logs and counters.
        head: status line and fields, without Connection and without the empty line, ending with CRLF.
        body: the body's bytes (not sent to HEAD).
        raw: head and body are one pre-built message in `head` (errorfile): sent as it is, then the connection is closed.
        denied: whether it counts as a denied request (termination state PR--) or as a local answer (LR--).
    """

    __slots__ = ("body", "denied", "head", "raw", "status")

    def __init__(self, status: int, head: bytes, body: bytes, *, raw: bool = False, denied: bool = False) -> None:
        self.status = status
        self.head = head
        self.body = body
        self.raw = raw
        self.denied = denied


class Question:
    """A name whose address a rule wants to have in a variable (`do-resolve`).

    Attributes:
        section: the `resolvers` section whose name servers are asked.
        name: as it is sent to them.
        prefer: 4 or 6: the family that is asked for first.
        patience: how long the answer is waited for, seconds.
        put: sets the variable.
    """

    __slots__ = ("name", "patience", "prefer", "put", "section")

    def __init__(self, section: str, name: str, prefer: int, patience: float, put: Callable[[Stream, object], None]) -> None:
        self.section = section
        self.name = name
        self.prefer = prefer
        self.patience = patience
        self.put = put


class Verdict:
    """A kind and, for REPLY and TARPIT, the reply; for SERVICE, the service; for HANDSHAKE and RESOLVE, the rules behind it.

    Rules make them at compile time wherever the reply is constant.

    Attributes:
        rest: None where no rule is behind it.
        question: of RESOLVE.
        content: of HANDSHAKE and RESOLVE: a `tcp-request content` rule said it, so `http-request` rules are still to come.
    """

    __slots__ = ("content", "kind", "question", "reply", "rest", "service")

    def __init__(
        self,
        kind: Kind,
        reply: Reply | None = None,
        service: Service | None = None,
        rest: Callable[[Stream], Verdict | None] | None = None,
        question: Question | None = None,
        *,
        content: bool = False,
    ) -> None:
        self.kind = kind
        self.reply = reply
        self.service = service
        self.rest = rest
        self.question = question
        self.content = content


ACCEPT: Final = Verdict(Kind.ACCEPT)
WAIT: Final = Verdict(Kind.WAIT)
REJECT: Final = Verdict(Kind.REJECT)
SILENT_DROP: Final = Verdict(Kind.SILENT_DROP)
