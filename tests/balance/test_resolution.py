"""Which server gets which address: keeping, choosing, holding, giving up."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headgate.balance.resolution import EVERYTHING, Candidate, Change, Demand, Group, Status, candidates_of, server_weight
from headgate.config.resolvers import HoldTimes, Resolution

DNS = Resolution("dns", prefer=4)
HOLD = HoldTimes()
DUPLICATES = Resolution("dns", prefer=4, allow_duplicates=True)


def group(count: int = 3, how: Resolution = DNS, hold: HoldTimes = HOLD, address: str | None = None) -> Group:
    return Group(hold, [(f"s{number}", how, address) for number in range(1, count + 1)])


def addresses(changes: list[Change]) -> dict[str, str | None]:
    return {change.server: change.address for change in changes}


def test_each_server_gets_an_address_of_its_own() -> None:
    servers = group()
    given_out = servers.answered(candidates_of(["10.0.0.1", "10.0.0.2"]), 0.0)
    assert addresses(given_out) == {"s1": "10.0.0.1", "s2": "10.0.0.2", "s3": None}
    assert given_out[2].reason == "No IP for server"


def test_what_is_still_there_stays_and_the_free_one_takes_the_new() -> None:
    servers = group()
    servers.answered(candidates_of(["10.0.0.1", "10.0.0.2"]), 0.0)
    assert addresses(servers.answered(candidates_of(["10.0.0.3", "10.0.0.2"]), 1.0)) == {"s1": "10.0.0.3"}
    assert servers.answered(candidates_of(["10.0.0.2", "10.0.0.3"]), 2.0) == []


def test_the_address_of_the_start_is_kept_when_the_answer_has_it() -> None:
    servers = Group(HoldTimes(), [("s1", DNS, "10.0.0.2"), ("s2", DNS, None)])
    assert addresses(servers.answered(candidates_of(["10.0.0.1", "10.0.0.2"]), 0.0)) == {"s1": "10.0.0.2", "s2": "10.0.0.1"}


def test_servers_that_the_system_gave_one_address_are_told_apart() -> None:
    servers = group(2, address="10.0.0.1")
    assert addresses(servers.answered(candidates_of(["10.0.0.1", "10.0.0.2"]), 0.0)) == {"s1": "10.0.0.1", "s2": "10.0.0.2"}


def test_duplicates_are_allowed_but_not_preferred() -> None:
    servers = group(3, DUPLICATES)
    assert addresses(servers.answered(candidates_of(["10.0.0.1", "10.0.0.2"]), 0.0)) == {
        "s1": "10.0.0.1", "s2": "10.0.0.2", "s3": "10.0.0.1",
    }  # fmt: skip


def test_networks_come_before_the_family_and_both_before_the_order() -> None:
    near = Resolution("dns", prefer=6, networks=(ipaddress.ip_network("10.1.0.0/16"),))
    answer = candidates_of(["192.0.2.1", "2001:db8::1", "10.1.2.3"])
    assert addresses(Group(HoldTimes(), [("s1", near, None)]).answered(answer, 0.0)) == {"s1": "10.1.2.3"}
    assert addresses(Group(HoldTimes(), [("s1", Resolution("dns"), None)]).answered(answer, 0.0)) == {"s1": "2001:db8::1"}
    assert addresses(Group(HoldTimes(), [("s1", DNS, None)]).answered(answer, 0.0)) == {"s1": "192.0.2.1"}


NEAR = Resolution("dns", prefer=4, networks=(ipaddress.ip_network("10.1.0.0/16"),))


def test_a_server_moves_into_its_network_and_stays_there() -> None:
    servers = group(1, NEAR)
    assert addresses(servers.answered(candidates_of(["10.2.0.1"]), 0.0)) == {"s1": "10.2.0.1"}
    assert addresses(servers.answered(candidates_of(["10.2.0.1", "10.1.0.1"]), 1.0)) == {"s1": "10.1.0.1"}
    assert servers.answered(candidates_of(["10.1.0.2", "10.1.0.1"]), 2.0) == []
    assert addresses(servers.answered(candidates_of(["10.2.0.1"]), 3.0)) == {"s1": "10.2.0.1"}


def test_the_address_of_the_start_is_left_for_one_in_the_network() -> None:
    assert addresses(group(1, NEAR, address="10.2.0.1").answered(candidates_of(["10.2.0.1", "10.1.0.1"]), 0.0)) == {
        "s1": "10.1.0.1"
    }


@given(st.permutations(["10.2.0.1", "10.2.0.2", "10.1.0.1", "10.1.0.2"]), st.permutations(range(4)))
def test_who_moves_into_the_network_changes_places_with_nobody(answer: list[str], order: list[int]) -> None:
    """As many as have place there; the others keep what they have, however the answer is sorted."""
    servers = group(3, NEAR)
    now = addresses(servers.answered(candidates_of(["10.2.0.1", "10.2.0.2"]), 0.0))
    assert now == {"s1": "10.2.0.1", "s2": "10.2.0.2", "s3": None}
    now |= addresses(servers.answered(candidates_of(answer), 1.0))
    assert {now["s1"], now["s2"]} == {"10.1.0.1", "10.1.0.2"}
    assert now["s3"] in ("10.2.0.1", "10.2.0.2")
    assert servers.answered(candidates_of([answer[position] for position in order]), 2.0) == []


def test_a_service_moves_to_the_address_of_its_host_in_the_network() -> None:
    servers = group(1, NEAR)
    servers.answered([Candidate("a.example:1", ("10.2.0.1", "10.2.0.2"), 1, 1)], 0.0)
    assert servers.answered([Candidate("a.example:1", ("10.2.0.2", "10.2.0.1"), 1, 1)], 1.0) == []
    assert addresses(servers.answered([Candidate("a.example:1", ("10.2.0.1", "10.1.0.1"), 1, 1)], 2.0)) == {"s1": "10.1.0.1"}
    assert servers.answered([Candidate("a.example:1", ("10.1.0.2", "10.1.0.1"), 1, 1)], 3.0) == []


def test_servers_that_may_share_an_address_move_to_one_of_their_own() -> None:
    servers = group(2, replace(NEAR, allow_duplicates=True))
    servers.answered(candidates_of(["10.2.0.1"]), 0.0)
    assert addresses(servers.answered(candidates_of(["10.2.0.1", "10.1.0.1"]), 1.0)) == {"s1": "10.1.0.1"}
    assert addresses(servers.answered(candidates_of(["10.1.0.2", "10.1.0.1"]), 2.0)) == {"s2": "10.1.0.2"}


def test_a_failure_is_held_from_the_last_valid_answer_on() -> None:
    servers = group(1, hold=HoldTimes(nx=5.0, timeout=20.0))
    servers.answered(candidates_of(["10.0.0.1"]), 100.0)
    assert servers.failed(Status.NX, 104.9) == []
    assert servers.failed(Status.TIMEOUT, 106.0) == []
    lost = servers.failed(Status.NX, 105.0)
    assert lost == [Change("s1", None, reason="DNS NX status")]
    assert servers.failed(Status.REFUSED, 200.0) == []  # it is out already
    assert addresses(servers.answered(candidates_of(["10.0.0.1"]), 201.0)) == {"s1": "10.0.0.1"}


def test_a_first_failure_leaves_what_the_system_found_for_the_period() -> None:
    servers = group(1, hold=HoldTimes(other=10.0), address="10.0.0.9")
    assert servers.failed(Status.OTHER, 50.0) == []
    assert servers.failed(Status.OTHER, 60.0) == [Change("s1", None, reason="unspecified DNS error")]


def test_obsolete_addresses_are_kept_for_their_period() -> None:
    servers = group(1, hold=HoldTimes(obsolete=30.0))
    servers.answered(candidates_of(["10.0.0.1"]), 0.0)
    assert servers.answered(candidates_of(["10.0.0.2"]), 29.0) == []
    assert addresses(servers.answered(candidates_of(["10.0.0.2"]), 30.0)) == {"s1": "10.0.0.2"}


def test_service_records_bring_port_and_weight() -> None:
    servers = Group(HoldTimes(), [("s1", DNS, None), ("s2", Resolution("dns", ignore_weight=True), None)])
    one = Candidate("a.example:8001", ("10.0.0.1", "2001:db8::1"), 8001, 128)
    other = Candidate("b.example:8002", ("10.0.0.2",), 8002, 1)
    assert servers.answered([one, other], 0.0) == [Change("s1", "10.0.0.1", 8001, 128), Change("s2", "10.0.0.2", 8002, None)]
    heavier = Candidate("a.example:8001", ("2001:db8::1", "10.0.0.1"), 8001, 256)
    assert servers.answered([other, heavier], 1.0) == [Change("s1", "10.0.0.1", 8001, 256)]
    assert servers.answered([other], 2.0) == [Change("s1", None, reason="No IP for server")]


def test_a_service_record_without_an_address_is_no_candidate() -> None:
    assert addresses(group(1).answered([Candidate("a.example:1", (), 1, 1)], 0.0)) == {"s1": None}


def test_a_service_whose_host_can_not_be_found_is_held_as_a_name_is() -> None:
    """From the last time on that it was found, by the status of that search; what the record says holds at once."""
    servers = group(2, hold=HoldTimes(nx=10.0, timeout=30.0))
    one, other = Candidate("a.example:1", ("10.0.0.1",), 1, 1), Candidate("b.example:2", ("10.0.0.2",), 2, 1)
    servers.answered([one, other], 0.0)
    lost = Candidate("a.example:1", (), 1, 1, Status.TIMEOUT)
    gone = Candidate("b.example:2", (), 2, 1, Status.NX)
    assert servers.answered([lost, gone], 9.9) == []
    assert servers.answered([Candidate("a.example:1", (), 1, 9, Status.TIMEOUT), gone], 9.95) == [
        Change("s1", "10.0.0.1", 1, 9)
    ]
    assert addresses(servers.answered([lost, gone], 10.0)) == {"s1": "10.0.0.1", "s2": None}
    assert servers.answered([lost, gone], 29.9) == []
    assert addresses(servers.answered([one, other], 29.95)) == {"s2": "10.0.0.2"}
    assert servers.answered([lost, other], 59.9) == []
    assert addresses(servers.answered([lost, other], 60.0)) == {"s1": None}


def test_a_service_that_is_no_longer_listed_is_not_held() -> None:
    servers = group(1)
    servers.answered([Candidate("a.example:1", ("10.0.0.1",), 1, 1)], 0.0)
    servers.answered([Candidate("a.example:1", (), 1, 1, Status.TIMEOUT)], 1.0)
    assert addresses(servers.answered([], 2.0)) == {"s1": None}


def test_no_more_is_wanted_than_servers_can_have() -> None:
    servers = group(3)
    assert servers.demand() == Demand(frozenset(), 3)
    servers.answered([Candidate("a.example:1", ("10.0.0.1",), 1, 1)], 0.0)
    assert servers.demand() == Demand(frozenset({"a.example:1"}), 3)
    assert Group(HoldTimes(), [("s1", DNS, None), ("s2", NEAR, None)]).demand() == EVERYTHING


def test_weights_of_service_records() -> None:
    assert [server_weight(one) for one in (0, 1, 256, 257, 1000, 32768, 65535)] == [0, 1, 1, 2, 4, 128, 256]


_pool = [f"10.0.0.{number}" for number in range(1, 7)]


@given(st.lists(st.lists(st.sampled_from(_pool), max_size=6), max_size=12), st.integers(1, 5))
def test_no_two_servers_share_an_address_and_nobody_waits_while_one_is_free(answers: list[list[str]], count: int) -> None:
    servers = group(count)
    now: dict[str, str | None] = {}
    for at, answer in enumerate(answers):
        now |= addresses(servers.answered(candidates_of(answer), float(at)))
        held = [address for address in now.values() if address is not None]
        assert len(set(held)) == len(held)
        assert set(held) <= set(answer)
        assert len(held) == min(count, len(set(answer)))
