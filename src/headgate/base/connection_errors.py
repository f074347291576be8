"""Why a client connection failed before it had a stream: numbers and words of `fc_err` and `fc_err_str` (manual 7.3.3)."""

from __future__ import annotations

import enum


class ConnectionFailure(enum.Enum):
    """One row of the manual's table: (id, message)."""

    PRX_EMPTY = (11, "Connection closed while waiting for PROXY protocol header")
    PRX_ABORT = (12, "Connection error while waiting for PROXY protocol header")
    PRX_TIMEOUT = (13, "Timeout while waiting for PROXY protocol header")
    PRX_TRUNCATED = (14, "Truncated PROXY protocol header received")
    PRX_NOT_HDR = (15, "Received something which does not look like a PROXY protocol header")
    SSL_EMPTY = (24, "Connection closed during SSL handshake")
    SSL_ABORT = (25, "Connection error during SSL handshake")
    SSL_TIMEOUT = (26, "Timeout during SSL handshake")
    SSL_HANDSHAKE = (34, "SSL handshake failure")

    def __init__(self, number: int, message: str) -> None:
        self.number = number
        self.message = message
