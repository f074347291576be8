"""The hash functions against published or hand-computed values."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from headgate.balance.hashes import FUNCTIONS, avalanche, crc32, djb2, hash_function, none, sdbm, wt6


def test_known_values() -> None:
    assert sdbm(b"") == 0 and sdbm(b"a") == 97 and sdbm(b"ab") == 97 * 65599 + 98
    assert djb2(b"") == 5381 and djb2(b"a") == 177670 and djb2(b"hello") == 261238937
    assert crc32(b"123456789") == 0xCBF43926 == zlib.crc32(b"123456789")
    assert wt6(b"") == 0
    assert none(b"42") == 42 and none(b"42abc") == 42 and none(b"x") == 0 and none(b"-1") == 0xFFFFFFFF


@given(st.binary(max_size=64))
def test_32_bits(key: bytes) -> None:
    for name in FUNCTIONS:
        for mixed in (False, True):
            assert 0 <= hash_function(name, mixed)(key) <= 0xFFFFFFFF
        assert hash_function(name, True)(key) == avalanche(hash_function(name, False)(key))


def test_avalanche_changes_half_of_the_bits_and_is_reversible() -> None:
    flips = [bin(avalanche(value) ^ avalanche(value ^ 1 << bit)).count("1") for value in range(0, 5000, 7) for bit in range(32)]
    assert 13 < sum(flips) / len(flips) < 19
    assert len({avalanche(value) for value in range(50000)}) == 50000


def test_numeric_keys_spread() -> None:
    for function in (wt6, hash_function("sdbm", True), hash_function("djb2", True), crc32):
        buckets = [0] * 16
        for number in range(16000):
            buckets[function(b"%d" % number) % 16] += 1
        assert max(buckets) < 1400 and min(buckets) > 600
