"""What a peer did wrong on the wire."""

from __future__ import annotations


class ProtocolViolation(Exception):
    """The peer broke the protocol. `reason` is for logs; `status` is what an HTTP client is told, if anything.

    Args:
        reason: what was wrong, in a few words that hold no data of the peer's.
        status: HTTP status for the request side: 400, 413, 414, 431, 501 or 505.
        offset: where in the message it was found, in bytes, or -1.
    """

    def __init__(self, reason: str, status: int = 400, offset: int = -1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.offset = offset
