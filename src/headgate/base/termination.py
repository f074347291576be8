"""How streams end: one table from outcome to termination state, HTTP status and who is to blame (manual 8.5).

The first two characters of the termination state say what happened first and where; logs, counters and error replies are all
derived from the row, so that they can't disagree.
"""

from __future__ import annotations

import enum


class Blame(enum.Enum):
    """Whose doing an outcome is; decides which counter it goes to."""

    NOBODY = "nobody"
    CLIENT = "client"
    SERVER = "server"
    PROXY = "proxy"
    ADMIN = "admin"


class Outcome(enum.Enum):
    """One way for a stream to end: (state characters, status sent if nothing was sent yet or 0, blame)."""

    COMPLETE = (b"--", 0, Blame.NOBODY)
    LOCAL_REPLY = (b"LR", 0, Blame.NOBODY)
    # while the request is read
    REQUEST_ABORTED = (b"CR", 400, Blame.CLIENT)
    REQUEST_TIMEOUT = (b"cR", 408, Blame.CLIENT)
    REQUEST_INVALID = (b"PR", 400, Blame.CLIENT)
    DENIED = (b"PR", 403, Blame.PROXY)
    TARPITTED = (b"PT", 500, Blame.PROXY)
    # in the queue
    QUEUE_ABORTED = (b"CQ", 0, Blame.CLIENT)
    QUEUE_TIMEOUT = (b"sQ", 503, Blame.SERVER)
    QUEUE_FULL = (b"SQ", 503, Blame.SERVER)
    # connecting
    CONNECT_ABORTED = (b"CC", 0, Blame.CLIENT)
    CONNECT_FAILED = (b"SC", 503, Blame.SERVER)
    CONNECT_TIMEOUT = (b"sC", 503, Blame.SERVER)
    NO_SERVER = (b"SC", 503, Blame.SERVER)
    NO_RESOURCE = (b"RC", 500, Blame.PROXY)
    # waiting for the response's head
    RESPONSE_ABORTED_BY_CLIENT = (b"CH", 0, Blame.CLIENT)
    RESPONSE_CLIENT_TIMEOUT = (b"cH", 408, Blame.CLIENT)
    RESPONSE_EMPTY = (b"SH", 502, Blame.SERVER)
    RESPONSE_TIMEOUT = (b"sH", 504, Blame.SERVER)
    RESPONSE_INVALID = (b"PH", 502, Blame.SERVER)
    RESPONSE_DENIED = (b"PH", 502, Blame.PROXY)
    # transferring
    DATA_ABORTED_BY_CLIENT = (b"CD", 0, Blame.CLIENT)
    DATA_CLIENT_TIMEOUT = (b"cD", 0, Blame.CLIENT)
    DATA_ABORTED_BY_SERVER = (b"SD", 0, Blame.SERVER)
    DATA_SERVER_TIMEOUT = (b"sD", 0, Blame.SERVER)
    DATA_INVALID = (b"PD", 0, Blame.SERVER)
    LAST_DATA_ABORTED = (b"CL", 0, Blame.CLIENT)
    LAST_DATA_TIMEOUT = (b"cL", 0, Blame.CLIENT)
    # from outside
    KILLED_BY_ADMIN = (b"KD", 0, Blame.ADMIN)
    KILLED_IN_QUEUE = (b"KQ", 503, Blame.ADMIN)
    KILLED_IN_CONNECT = (b"KC", 503, Blame.ADMIN)
    KILLED_BEFORE_RESPONSE = (b"KH", 502, Blame.ADMIN)
    SERVER_WENT_DOWN = (b"DD", 0, Blame.SERVER)
    SERVER_WENT_DOWN_BEFORE_RESPONSE = (b"DH", 502, Blame.SERVER)
    BACKUP_NOT_NEEDED = (b"UD", 0, Blame.ADMIN)
    BACKUP_NOT_NEEDED_BEFORE_RESPONSE = (b"UH", 502, Blame.ADMIN)

    def __init__(self, state: bytes, status: int, blame: Blame) -> None:
        self.state = state
        self.status = status
        self.blame = blame
