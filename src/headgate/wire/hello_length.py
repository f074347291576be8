"""How much of a connection's beginning its ClientHello takes, told from what has come so far.

For those who must see the whole hello before anything is decided, and leave it in the socket meanwhile.
"""

from __future__ import annotations

from typing import Final

_ALERT: Final = b"\x15"
_ALERT_LENGTH: Final = 7


def in_one_record(data: bytes) -> bool:
    """Whether this holds a whole ClientHello in its first record, as nearly all do; False may also be said of one that is whole.

    >>> in_one_record(b"\\x16\\x03\\x01\\x00\\x05\\x01\\x00\\x00\\x01\\x00"), in_one_record(b"\\x16\\x03\\x01\\x00\\x05\\x01")
    (True, False)
    """
    if len(data) < 9 or data[0] != 22:
        return False
    record = data[3] << 8 | data[4]
    return record + 5 <= len(data) and (data[6] << 16 | data[7] << 8 | data[8]) + 4 <= record


def bytes_wanted(data: bytes) -> int:
    """The length that is known to be needed: it may grow with what comes, over several records (RFC 8446 section 5.1).

    >>> bytes_wanted(b"\\x16\\x03"), bytes_wanted(b"GET / HTTP/1.1")
    (5, 0)

    Returns:
        Bytes from the start of the connection; not more than `len(data)` when the hello is there, 0 when this is none.
        An alert in its place is waited for too.
    """
    if data[:1] == _ALERT and len(data) < _ALERT_LENGTH:
        return _ALERT_LENGTH
    position = 0
    message = b""
    while True:
        header = data[position : position + 5]
        if header[:1] not in (b"", b"\x16"):
            return 0
        if len(header) < 5:
            return position + 5
        end = position + 5 + int.from_bytes(header[3:], "big")
        if end == position + 5:
            return 0  # an empty record is an error, and OpenSSL's to tell
        message += data[position + 5 : end]
        if len(data) < end or (len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big")):
            return end
        position = end
