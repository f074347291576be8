"""The short way to an extension says what the long one says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.wire.client_hello import parse_client_hello
from headgate.wire.hello_extensions import has_ticket, server_name
from tests.wire import test_client_hello as hellos

names = st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name)
others = st.lists(st.tuples(st.integers(1, 60), st.binary(max_size=20)), unique_by=lambda pair: pair[0], max_size=5)
#: Their bodies must be right for the long way; here they are noise.
_PLAIN = (10, 11, 13, 16, 43, 50, 51)


@given(name=st.none() | names, before=others, after=others, session=st.binary(max_size=32), size=st.integers(5, 600))
def test_same_as_the_whole_parse(
    name: bytes | None, before: list[tuple[int, bytes]], after: list[tuple[int, bytes]], session: bytes, size: int
) -> None:
    kinds: set[int] = set()
    extensions = b""
    for number, (kind, body) in enumerate([*before, (0, b""), *after]):
        if number == len(before):
            extensions += hellos.server_name(name) if name is not None else b""
        elif kind not in kinds and kind not in _PLAIN:
            kinds.add(kind)
            extensions += hellos.extension(kind, body)
    for data in (hellos.records(hellos.message(extensions, session=session), size), hellos.records(hellos.message(extensions))):
        whole = parse_client_hello(data)
        assert whole is not None
        assert whole.sni == name
        assert server_name(data) == server_name(data + b"more") == (name.lower() if name is not None else None)
        assert has_ticket(data) == has_ticket(data + b"more") == whole.has_ticket


@given(data=st.binary(max_size=200), flip=st.integers(0, 300), value=st.integers(0, 255))
def test_never_raises(data: bytes, flip: int, value: int) -> None:
    server_name(data)
    has_ticket(data)
    hello = bytearray(hellos.records(hellos.FULL))
    hello[flip % len(hello)] = value
    server_name(bytes(hello))
    has_ticket(bytes(hello))
    has_ticket(bytes(hello[: flip % len(hello)]))
    server_name(bytes(hello[: flip % len(hello)]))


@pytest.mark.parametrize(
    "extensions",
    [hellos.server_name(), hellos.server_name(b"a", b"b"), hellos.server_name(b"a\0b"), hellos.extension(0, b""), None],
    ids=["no name", "two names", "NUL", "empty", "no extensions"],
)
def test_odd_forms_have_no_name(extensions: bytes | None) -> None:
    assert server_name(hellos.records(hellos.message(extensions))) is None


@pytest.mark.parametrize(
    ("extensions", "presented"),
    [
        (hellos.extension(35, b"ticket"), True), (hellos.extension(35, b""), False), (hellos.server_name(b"a"), False),
        (None, False),
    ],
)
@pytest.mark.parametrize("size", [16384, 20])
def test_a_presented_ticket(extensions: bytes | None, presented: bool, size: int) -> None:
    assert has_ticket(hellos.records(hellos.message(extensions), size)) is presented
