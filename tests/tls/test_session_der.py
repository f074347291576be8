"""OpenSSL's form of a session: read from real ones, and from rubbish."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headgate.tls.session_der import SessionForm, decode_session, read_form, read_session_id

WEEK = 7 * 86400


@given(st.binary(max_size=300))
def test_rubbish_is_no_session(data: bytes) -> None:
    form = read_form(data)
    assert form.lifetime >= 0
    read_session_id(data)
    decode_session(data)


def test_lifetimes() -> None:
    assert SessionForm(0x0304, b"", 10, True).lifetime == 10
    assert SessionForm(0x0304, b"", 10 * WEEK, True).lifetime == WEEK
    assert SessionForm(0x0304, b"", 0, True).lifetime == 0  # RFC 8446 4.6.1: discard it at once
    assert SessionForm(0x0303, b"i", 0, True).lifetime == 86400  # RFC 5077 5.6: it is not said
    assert SessionForm(0x0303, b"i", 0, False).lifetime == 86400


def test_what_can_be_resumed() -> None:
    assert SessionForm(0x0303, b"i", 0, False).resumable and SessionForm(0x0303, b"", 0, True).resumable
    assert not SessionForm(0x0303, b"", 0, False).resumable
    assert not SessionForm(0x0304, b"i", 0, False).resumable  # before its ticket has come


@given(session_id=st.binary(max_size=32), key=st.binary(max_size=48), rest=st.binary(max_size=300))
def test_the_short_way_to_the_id(session_id: bytes, key: bytes, rest: bytes) -> None:
    def octets(value: bytes) -> bytes:
        return bytes([4, len(value)]) + value

    fields = b"\x02\x01\x01\x02\x02\x03\x04" + octets(b"\x13\x01") + octets(session_id) + octets(key)
    certificate = b"\xa3\x82" + len(rest).to_bytes(2, "big") + rest
    size = len(fields) + len(certificate)
    encoded = b"\x30\x82" + size.to_bytes(2, "big") + fields + certificate
    assert read_session_id(encoded) == read_form(encoded).session_id == session_id
