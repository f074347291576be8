"""The algorithms: weights are respected, keys stay, the least loaded is taken, full servers are passed over."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.balance.algorithms import ALGORITHMS
from headgate.balance.consistent import Consistent
from headgate.balance.first import First
from headgate.balance.leastconn import LeastConn
from headgate.balance.map_based import MapBased
from headgate.balance.random import RandomDraws
from headgate.balance.roundrobin import RoundRobin
from headgate.balance.selector import Selector, smooth_sequence
from headgate.balance.server import ServerState
from headgate.balance.static_rr import StaticRoundRobin
from tests.balance.balance_fixtures import server, weighted

WEIGHTS = st.lists(st.integers(1, 256), min_size=1, max_size=12)


def made(selector: Selector, servers: Sequence[ServerState]) -> Selector:
    selector.rebuild(servers)
    return selector


def names(selector: Selector, number: int, key: int | None = None) -> str:
    return " ".join(chosen.name for _ in range(number) if (chosen := selector.choose(key, None)) is not None)


def all_kinds() -> list[Selector]:
    return [
        RoundRobin(), StaticRoundRobin(), LeastConn(), First(), MapBased(), Consistent(), Consistent(150),
        RandomDraws(2, random.Random(1).random), RandomDraws(1, random.Random(1).random, 150),
    ]


def test_every_algorithm_of_the_manual_is_there() -> None:
    assert set(ALGORITHMS) == {
        "roundrobin", "static-rr", "leastconn", "first", "source", "uri", "url_param", "hdr", "random", "rdp-cookie", "hash",
    }


@pytest.mark.parametrize("selector", all_kinds(), ids=lambda selector: type(selector).__name__)
def test_none_one_and_avoided(selector: Selector) -> None:
    selector.rebuild([])
    assert selector.choose(7, None) is None
    one, two = weighted(1, 1)
    selector.rebuild([one])
    assert selector.choose(7, None) is one
    assert selector.choose(7, one) is one, "the failed server is better than none"
    selector.rebuild([one, two])
    for key in range(20):
        assert selector.choose(key * 0x0CCCCCCC, one) is two
        assert selector.choose(key * 0x0CCCCCCC, two) is one


@pytest.mark.parametrize(
    "selector", [each for each in all_kinds() if not each.deterministic], ids=lambda each: type(each).__name__
)
def test_full_servers_are_passed_over(selector: Selector) -> None:
    servers = [server(f"s{number}", number, maxconn=1) for number in (1, 2, 3)]
    selector.rebuild(servers)
    for left in (3, 2, 1):
        chosen = selector.choose(None, None)
        assert chosen is not None and not chosen.full, f"{left} were free"
        chosen.sessions += 1
    assert selector.choose(None, None) is None
    servers[1].sessions = 0
    assert selector.choose(None, None) is servers[1]
    assert selector.choose(None, servers[1]) is servers[1]


@given(WEIGHTS)
def test_sequence_has_each_as_often_as_its_weight(weights: list[int]) -> None:
    sequence = smooth_sequence(weights)
    counts = Counter(sequence)
    assert all(counts[index] * sum(weights) == weight * len(sequence) for index, weight in enumerate(weights))


@given(WEIGHTS)
def test_roundrobin_respects_weights_at_every_moment(weights: list[int]) -> None:
    servers = weighted(*weights)
    selector = made(RoundRobin(), servers)
    counts: Counter[str] = Counter()
    total = sum(weights)
    for turn in range(1, total + 1):
        chosen = selector.choose(None, None)
        assert chosen is not None
        counts[chosen.name] += 1
        assert abs(counts[chosen.name] - turn * chosen.weight / total) <= 1 + len(weights) / 2
    assert all(abs(counts[each.name] - each.weight) <= 1 for each in servers)


def test_roundrobin_order() -> None:
    assert names(made(RoundRobin(), weighted(1, 1, 1)), 7) == "s1 s2 s3 s1 s2 s3 s1"
    assert Counter(names(made(RoundRobin(), weighted(3, 1)), 8).split()) == {"s1": 6, "s2": 2}
    assert "s1 s1 s1 s1" not in names(made(RoundRobin(), weighted(3, 1)), 40)


def test_roundrobin_gives_no_burst_to_newcomers_and_to_those_who_were_full() -> None:
    one, two, three = (server(f"s{number}", number, maxconn=10) for number in (1, 2, 3))
    selector = made(RoundRobin(), [one, two])
    names(selector, 100)
    selector.rebuild([one, two, three])
    assert Counter(names(selector, 30).split()) == {"s1": 10, "s2": 10, "s3": 10}
    three.sessions = 10
    names(selector, 100)
    three.sessions = 0
    assert Counter(names(selector, 30).split())["s3"] in (10, 11)


def test_roundrobin_follows_weights_and_static_rr_does_not() -> None:
    for selector, expected in ((RoundRobin(), {"s1": 30, "s2": 10}), (StaticRoundRobin(), {"s1": 20, "s2": 20})):
        servers = weighted(1, 1)
        selector.rebuild(servers)
        servers[0].weight = servers[0].effective = 3
        selector.rebuild(servers)
        assert Counter(names(selector, 40).split()) == expected


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 256), st.integers(0, 3)), min_size=1, max_size=10))
def test_leastconn_takes_the_least_loaded(loads: list[tuple[int, int, int]]) -> None:
    servers = weighted(*(weight for _, weight, _ in loads))
    for each, (sessions, _, queued) in zip(servers, loads, strict=True):
        each.sessions, each.queued = sessions, queued
    chosen = made(LeastConn(), servers).choose(None, None)
    assert chosen is not None
    lightest = min((each.sessions + each.queued) / each.weight for each in servers)
    assert (chosen.sessions + chosen.queued) / chosen.weight == lightest


def test_leastconn_goes_round_among_equals_and_uses_explicit_queues() -> None:
    assert names(made(LeastConn(), weighted(1, 1, 1)), 6) == "s1 s2 s3 s1 s2 s3"
    full = server(maxconn=1, maxqueue=2)
    full.sessions = 1
    selector = made(LeastConn(), [full])
    assert selector.choose(None, None) is full
    full.queued = 2
    assert selector.choose(None, None) is None


def test_first_fills_by_id() -> None:
    servers = [server("b", 2, maxconn=1), server("a", 1, maxconn=1)]
    selector = made(First(), servers)
    assert selector.choose(None, None) is servers[1]
    servers[1].sessions = 1
    assert selector.choose(None, None) is servers[0]


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(1, 30), min_size=2, max_size=8))
def test_keys_stay(key: int, weights: list[int]) -> None:
    for selector in (MapBased(), Consistent()):
        servers = weighted(*weights)
        selector.rebuild(servers)
        first = selector.choose(key, None)
        assert first is not None and all(selector.choose(key, None) is first for _ in range(3))
        if isinstance(selector, Consistent):
            gone = servers[0] if servers[0] is not first else servers[1]
            selector.rebuild([each for each in servers if each is not gone])
            assert selector.choose(key, None) is first, "only the keys of the server that left move"
            selector.rebuild(servers)
            assert selector.choose(key, None) is first


def test_distribution_of_keys_follows_weights() -> None:
    rng = random.Random(7)
    keys = [rng.getrandbits(32) for _ in range(20000)]
    for selector, tolerance in ((MapBased(), 0.02), (Consistent(), 0.25)):
        selector.rebuild(weighted(10, 20, 30))
        counts = Counter(chosen.name for key in keys if (chosen := selector.choose(key, None)) is not None)
        for name, share in (("s1", 1 / 6), ("s2", 2 / 6), ("s3", 3 / 6)):
            assert abs(counts[name] / len(keys) - share) < share * tolerance, (type(selector).__name__, counts)


def test_consistent_weight_change_moves_keys_to_that_server_only() -> None:
    servers = weighted(4, 4, 4)
    selector = made(Consistent(), servers)
    keys = range(0, 1 << 32, 1 << 20)
    before = {key: selector.choose(key, None) for key in keys}
    servers[2].weight = servers[2].effective = 8
    selector.rebuild(servers)
    moved = [selector.choose(key, None) for key in keys if selector.choose(key, None) is not before[key]]
    assert moved and set(moved) == {servers[2]}
    assert len(moved) < len(before) / 3


def test_balance_factor_bounds_the_load_of_a_popular_key() -> None:
    servers = weighted(1, 1, 1, 1)
    selector = made(Consistent(150), servers)
    for total in range(1, 401):
        chosen = selector.choose(12345, None)
        assert chosen is not None
        chosen.sessions += 1
        assert chosen.sessions <= -(-total * 150 // 400)
    assert max(each.sessions for each in servers) == 150


@pytest.mark.parametrize("kind", ["id", "id32", "addr", "addr-port", "guid"])
def test_hash_key_decides_who_has_the_same_ring(kind: str) -> None:
    here = [server("a", 1, hash_key=kind), server("b", 2, hash_key=kind)]
    swapped = [
        server("b", 1, hash_key=kind, address=here[1].spec.address), server("a", 2, hash_key=kind, address=here[0].spec.address),
    ]
    first, second = made(Consistent(), here), made(Consistent(), swapped)
    same = all(
        (one := first.choose(key, None)) is not None and (two := second.choose(key, None)) is not None and one.name == two.name
        for key in range(0, 1 << 32, 1 << 25)
    )
    assert same is kind.startswith("addr")


def test_random_follows_weights_and_load() -> None:
    selector = made(RandomDraws(1, random.Random(3).random), weighted(1, 3))
    counts = Counter(names(selector, 8000).split())
    assert abs(counts["s2"] / 8000 - 0.75) < 0.03
    servers = weighted(1, 1)
    servers[0].sessions = 5
    counts = Counter(names(made(RandomDraws(2, random.Random(3).random), servers), 4000).split())
    assert abs(counts["s2"] / 4000 - 0.75) < 0.03, "the loaded one only when both draws hit it"


def test_random_edges_of_the_draw() -> None:
    servers = weighted(1, 1)
    assert made(RandomDraws(1, lambda: 0.0), servers).choose(None, None) is servers[0]
    assert made(RandomDraws(1, lambda: 0.9999999999999999), servers).choose(None, None) is servers[1]
