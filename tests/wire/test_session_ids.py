"""What a hello asks to resume: the same as the whole parse says, and nothing of what is no hello."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headgate.wire.session_ids import psk_identities, session_id
from tests.wire import test_client_hello as hellos
from tests.wire.test_client_hello import extension, message, read, records, vector

identities = st.lists(st.binary(min_size=1, max_size=40) | st.binary(min_size=32, max_size=32), min_size=1, max_size=7)
others = st.lists(st.tuples(st.integers(60, 300), st.binary(max_size=20)), unique_by=lambda pair: pair[0], max_size=5)


def pre_shared_keys(names: list[bytes]) -> bytes:
    offered = b"".join(vector(2, name) + bytes(4) for name in names)
    binders = b"".join(vector(1, bytes(32)) for _ in names)
    return extension(41, vector(2, offered) + vector(2, binders))


@given(session=st.binary(max_size=32) | st.binary(min_size=32, max_size=32), before=others, names=identities)
def test_those_of_32_bytes(session: bytes, before: list[tuple[int, bytes]], names: list[bytes]) -> None:
    extensions = b"".join(extension(kind, body) for kind, body in before) + pre_shared_keys(names)
    data = records(message(extensions, session=session))
    assert read(data).session_id == session
    assert session_id(data) == (session if len(session) == 32 else b"")
    assert psk_identities(data) == psk_identities(data + b"more") == [name for name in names[:4] if len(name) == 32]


@given(before=others)
def test_none_are_offered(before: list[tuple[int, bytes]]) -> None:
    assert psk_identities(records(message(b"".join(extension(kind, body) for kind, body in before)))) == []
    assert psk_identities(records(message(None))) == []


@given(data=st.binary(max_size=200), flip=st.integers(0, 1000), value=st.integers(0, 255))
def test_never_raises_and_makes_nothing_up(data: bytes, flip: int, value: int) -> None:
    hello = bytearray(records(message(pre_shared_keys([b"a" * 32, b"b" * 32]), session=b"s" * 32)))
    hello[flip % len(hello)] = value
    for one in (data, bytes(hello), bytes(hello[: flip % len(hello)]), hellos.FULL):
        assert all(len(found) == 32 and found in one for found in (session_id(one), *psk_identities(one)) if found)
