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


class Verdict:
    """A kind and, for REPLY and TARPIT, the reply; for SERVICE, the service; for HANDSHAKE, the rules behind it, if any.

    Rules make them at compile time wherever the reply is constant.
    """

    __slots__ = ("kind", "reply", "rest", "service")

    def __init__(
        self,
        kind: Kind,
        reply: Reply | None = None,
        service: Service | None = None,
        rest: Callable[[Stream], Verdict | None] | None = None,
    ) -> None:
        self.kind = kind
        self.reply = reply
        self.service = service
        self.rest = rest


ACCEPT: Final = Verdict(Kind.ACCEPT)
WAIT: Final = Verdict(Kind.WAIT)
REJECT: Final = Verdict(Kind.REJECT)
SILENT_DROP: Final = Verdict(Kind.SILENT_DROP)
