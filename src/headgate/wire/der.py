"""Elements of DER (ITU-T X.690 section 8.1), for those who need one value of a structure and not all of it. Pure."""

from __future__ import annotations


def element(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` starts, and its length; the end of the data and 0 where there is none."""
    if at + 2 > len(data):
        return len(data), 0
    first = data[at + 1]
    if first < 0x80:
        return at + 2, first
    more = first & 0x7F
    return at + 2 + more, int.from_bytes(data[at + 2 : at + 2 + more], "big")
