"""How many bytes a hello is known to need."""

import pytest

from headgate.wire.hello_length import bytes_wanted


def record(fragment: bytes) -> bytes:
    return b"\x16\x03\x01" + len(fragment).to_bytes(2, "big") + fragment


HELLO = b"\x01\x00\x00\x10" + bytes(16)


@pytest.mark.parametrize("cuts", [(20,), (3, 20), (1, 2, 3, 4, 5, 20), (10, 20)])
def test_asks_for_more_until_the_hello_is_there(cuts: tuple[int, ...]) -> None:
    whole = b"".join(record(HELLO[start:end]) for start, end in zip((0, *cuts), cuts, strict=False))
    have = 0
    while (wanted := bytes_wanted(whole[:have])) > have:
        have = wanted
    assert have == len(whole)
    assert bytes_wanted(whole + b"more") == len(whole)
    for length in range(len(whole)):
        assert length < bytes_wanted(whole[:length]) <= len(whole)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x80\x2e\x01\x03\x01", b"\x16\x03\x01\x00\x00", b"\x15\x03\x01\x00\x02\x02\x28"]
)
def test_what_is_no_hello_wants_nothing(data: bytes) -> None:
    assert bytes_wanted(data) == 0


def test_an_alert_in_its_place_is_waited_for() -> None:
    alert = b"\x15\x03\x01\x00\x02\x02\x28"
    assert all(bytes_wanted(alert[:length]) == len(alert) for length in range(1, len(alert)))
