"""A resolver against name servers that answer, refuse, lie and are silent."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from headgate.balance.resolution import EVERYTHING, Candidate, Demand, Status, candidates_of
from headgate.base.addresses import Address, Family, Transport
from headgate.config.resolvers import NameServer as Configured
from headgate.config.resolvers import Resolvers
from headgate.runtime.accepted_families import ANY, AcceptedFamilies
from headgate.runtime.loop import run as run_loop
from headgate.runtime.name_server_streams import NameServerStreams
from headgate.runtime.resolvers import Answer, Resolver
from tests.interop.name_server import Behaviour, NameServer, garbage, silence, truncated_over_udp, with_code
from tests.interop.programs import wait_until

#: As behind `chroot`: what is not loaded by then can't be.
_JAILED = """
import sys
from headgate.base.addresses import Address, Family
from headgate.config.resolvers import NameServer, Resolvers
from headgate.runtime.loop import run as run_loop
from headgate.runtime.name_server_streams import NameServerStreams
from headgate.runtime.resolvers import Resolver

class Wall:
    def find_spec(self, name, path=None, target=None):
        raise ImportError(f"{name} is behind the wall")

async def ask():
    port = int(sys.argv[1])
    server = NameServer("ns1", Address(Family.INET, "127.0.0.1", port, port))
    streams = {"ns1": NameServerStreams(server, None, print)}
    asking = Resolver(Resolvers("dns", (server,), retries=1), streams=streams)
    for name in ("a.example", "_web._tcp.example"):
        print(*sorted(one for candidate in (await asking.resolve(name, 6)).candidates for one in candidate.addresses))
    await asking.close()

sys.meta_path.insert(0, Wall())
run_loop(ask())
"""


@pytest.fixture
def zone() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


def resolver(
    *servers: NameServer, transport: Transport = Transport.DATAGRAM, retries: int = 1, retry: float = 5.0,
    accepted: AcceptedFamilies = ANY, payload: int = 512,
) -> Resolver:
    lines = tuple(
        Configured(f"ns{number}", Address(Family.INET, "127.0.0.1", one.port, one.port, transport=transport))
        for number, one in enumerate(servers, 1)
    )
    streams = {one.name: NameServerStreams(one, None, lambda why: None) for one in lines}
    return Resolver(Resolvers("dns", lines, payload=payload, retries=retries, timeout_retry=retry), accepted, streams)


def settled(by: Resolver, name: str, happened: Callable[[], bool]) -> Answer:
    """What is answered, left when something has happened."""

    async def resolve() -> Answer:
        answer = await by.resolve(name, 4)
        await asyncio.to_thread(wait_until, happened, "the others are done, too")
        await by.close()
        return answer

    return run_loop(resolve())


def resolved(by: Resolver, name: str, prefer: int = 4) -> Answer:
    async def resolve() -> Answer:
        answer = await by.resolve(name, prefer)
        await by.close()
        return answer

    return run_loop(resolve())


@pytest.fixture
def other() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


def counted(by: Resolver, name: str = "ns1") -> dict[str, int]:
    """What a name server said, without what says nothing."""
    return {counter: count for counter, count in dataclasses.asdict(by.counters[name]).items() if count}


def once(happened: Callable[[], bool], zone: NameServer) -> Behaviour:
    """Answers when something has happened."""

    def behave(query: dns.message.Message, _stream: bool) -> bytes:
        wait_until(happened, "the other name server was heard")
        return zone.answer(query).to_wire()

    return behave


def loop_of_aliases(query: dns.message.Message, _stream: bool) -> bytes:
    reply = dns.message.make_response(query)
    name = query.question[0].name
    reply.answer.append(dns.rrset.from_text(name, 1, "IN", "CNAME", "other.example."))
    reply.answer.append(dns.rrset.from_text("other.example.", 1, "IN", "CNAME", name.to_text()))
    return reply.to_wire()


@pytest.mark.parametrize("transport", list(Transport))
def test_addresses(zone: NameServer, transport: Transport) -> None:
    zone.put("web.example", "A", ["10.0.0.1", "10.0.0.2"])
    asking = resolver(zone, transport=transport)
    answer = resolved(asking, "web.example")
    assert answer.status is Status.VALID
    assert sorted(answer.candidates, key=lambda one: one.key) == list(candidates_of(["10.0.0.1", "10.0.0.2"]))
    assert (asking.counters["ns1"].sent, asking.counters["ns1"].valid) == (1, 1)


def test_the_other_family_when_the_preferred_one_has_nothing(zone: NameServer) -> None:
    zone.put("web.example", "A", ["10.0.0.1"])
    assert resolved(resolver(zone), "web.example", prefer=6).candidates == candidates_of(["10.0.0.1"])
    assert zone.asked == [("web.example", "AAAA"), ("web.example", "A")]


def test_a_host_may_be_called_like_a_service(zone: NameServer) -> None:
    """Rules ask for hosts only, whatever their names begin with (4.4 do-resolve)."""
    zone.put("_web.example", "A", ["10.0.0.1"])
    assert run_loop(resolver(zone).addresses("_web.example", 4)).candidates == candidates_of(["10.0.0.1"])
    assert zone.asked == [("_web.example", "A")]


@pytest.mark.parametrize(("family", "kind", "address"), [("ipv4", "A", "10.0.0.1"), ("ipv6", "AAAA", "2001:db8::1")])
def test_a_family_that_is_not_accepted_is_neither_asked_for_nor_heard(
    zone: NameServer, family: str, kind: str, address: str
) -> None:
    for host in ("web.example", "one.example"):
        zone.put(host, "A", ["10.0.0.1"])
        zone.put(host, "AAAA", ["2001:db8::1"])
    zone.put("_http._tcp.example", "SRV", ["0 1 80 one.example."])
    asking = resolver(zone, accepted=AcceptedFamilies((family,)))
    for prefer in (4, 6):
        assert resolved(asking, "web.example", prefer).candidates == candidates_of([address])
        assert [one.addresses for one in resolved(asking, "_http._tcp.example", prefer).candidates] == [(address,)]
    assert {asked for _, asked in zone.asked} == {kind, "SRV"}
    other = "AAAA" if kind == "A" else "A"
    zone.put("web.example", kind, [])
    assert resolved(asking, "web.example").status is Status.OTHER  # there are only addresses of the other family
    assert ("web.example", other) not in zone.asked


def test_what_an_answer_brings_along_of_another_family_is_looked_up(zone: NameServer) -> None:
    zone.put("_http._tcp.example", "SRV", ["0 1 80 one.example."])
    zone.put("one.example", "AAAA", ["2001:db8::1"])
    asking = resolver(zone, accepted=AcceptedFamilies(("ipv4",)))
    assert [one.addresses for one in resolved(asking, "_http._tcp.example").candidates] == [()]
    assert zone.asked == [("_http._tcp.example", "SRV"), ("one.example", "A")]


def test_aliases_are_followed(zone: NameServer) -> None:
    zone.put("web.example", "CNAME", ["real.example"])
    zone.put("real.example", "A", ["10.0.0.1"])
    asking = resolver(zone)
    assert resolved(asking, "web.example").candidates == candidates_of(["10.0.0.1"])
    assert asking.counters["ns1"].cname == 1


def test_services_with_addresses_beside_them_and_without(zone: NameServer) -> None:
    zone.put("_http._tcp.example", "SRV", ["0 0 8001 a.example.", "0 65535 8002 b.example.", "0 1 8003 c.example."])
    zone.put("a.example", "A", ["10.0.0.1"])
    zone.put("b.example", "A", ["10.0.0.2"])
    zone.behaviour = lambda query, _stream: zone.answer(query, additional=False).to_wire()
    candidates = resolved(resolver(zone), "_http._tcp.example").candidates
    expected = {
        Candidate("a.example:8001", ("10.0.0.1",), 8001, 0),
        Candidate("b.example:8002", ("10.0.0.2",), 8002, 256),
        Candidate("c.example:8003", (), 8003, 1, Status.NX),
    }
    assert set(candidates) == expected
    zone.behaviour = None
    zone.asked.clear()
    assert set(resolved(resolver(zone), "_http._tcp.example").candidates) == expected
    assert ("a.example", "A") not in zone.asked


def test_the_case_of_a_host_says_nothing(zone: NameServer) -> None:
    """Neither for what makes a service the same in the next answer nor for the addresses that come with it."""
    zone.put("_http._tcp.example", "SRV", ["0 1 80 A.Example."])
    zone.put("A.Example", "A", ["10.0.0.1"])
    zone.behaviour = lambda query, _stream: zone.answer(query).to_wire().replace(b"\x01A\x07Example", b"\x01a\x07eXAMPLE", 1)
    assert resolved(resolver(zone), "_http._tcp.example").candidates == (Candidate("a.example:80", ("10.0.0.1",), 80, 1),)
    assert zone.asked == [("_http._tcp.example", "SRV")] * 2


def test_behind_a_chroot_all_is_loaded(zone: NameServer) -> None:
    zone.put("a.example", "AAAA", ["::1"])
    zone.put("b.example", "A", ["10.0.0.2"])
    zone.put("_web._tcp.example", "SRV", ["0 1 80 b.example."])
    command = [sys.executable, "-c", _JAILED, str(zone.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["::1", "10.0.0.2"], done.stderr


def test_a_service_that_is_not_available(zone: NameServer) -> None:
    zone.put("_http._tcp.example", "SRV", ["0 0 0 ."])
    assert resolved(resolver(zone), "_http._tcp.example") .candidates == ()


def test_hundreds_of_services_are_bounded(zone: NameServer) -> None:
    zone.put("_http._tcp.example", "SRV", [f"0 1 {8000 + number} a.example." for number in range(900)])
    zone.put("a.example", "A", ["10.0.0.1"])
    zone.behaviour = truncated_over_udp(zone)
    asking = resolver(zone)
    assert len(resolved(asking, "_http._tcp.example").candidates) == 512
    assert asking.counters["ns1"].truncated == 1
    had = frozenset(f"a.example:{8000 + number}" for number in range(0, 900, 90))
    answer = run_loop(asking.resolve("_http._tcp.example", 4, [Demand(had, 10)]))
    assert had < {one.key for one in answer.candidates}


def test_no_more_hosts_are_looked_up_than_servers_can_have(zone: NameServer) -> None:
    """Those that servers have, wherever they are listed, then as many as are needed: who can't be found is passed over."""
    hosts = [f"h{number}.example" for number in range(20)]
    zone.put("_http._tcp.example", "SRV", [f"0 1 80 {host}." for host in hosts])
    for host in hosts[2:]:
        zone.put(host, "A", ["10.0.0.1"])
    zone.behaviour = lambda query, _stream: zone.answer(query, additional=False).to_wire()
    asking = resolver(zone, payload=2048, accepted=AcceptedFamilies(("ipv4",)))

    def found(*demands: Demand) -> set[str]:
        zone.asked.clear()
        answer = run_loop(asking.resolve("_http._tcp.example", 4, demands))
        looked_up = {name for name, kind in zone.asked if kind == "A"}
        assert looked_up == {one.key.removesuffix(":80") for one in answer.candidates}
        return {host.removesuffix(".example") for host in looked_up}

    had = frozenset({"h0.example:80", "h9.example:80", "gone.example:80"})
    assert found(Demand(had, 2)) == {"h0", "h9"}
    more = found(Demand(had, 5))
    assert more > {"h0", "h9"} and len(more - {"h1"}) == 5  # which is found nowhere, and may be listed behind the others
    both = found(Demand(had, 2), Demand(frozenset({"h8.example:80"}), 4))
    assert both > {"h0", "h9", "h8"} and len(both - {"h0", "h1"}) == 4
    assert len(found(EVERYTHING)) == 20


def test_what_does_not_fit_is_asked_for_over_tcp(zone: NameServer) -> None:
    zone.put("web.example", "A", ["10.0.0.1"])
    zone.behaviour = truncated_over_udp(zone)
    asking = resolver(zone)
    assert resolved(asking, "web.example").candidates == candidates_of(["10.0.0.1"])
    assert asking.counters["ns1"].truncated == 1


def test_no_more_bytes_are_accepted_than_announced(zone: NameServer) -> None:
    """Over TCP, which is there for answers of any size, they are."""
    zone.put("web.example", "A", [f"10.0.0.{number}" for number in range(100)])
    asking = resolver(zone, retries=3)
    assert resolved(asking, "web.example").status is Status.OTHER
    assert counted(asking) == {"sent": 2, "too_big": 1, "any_err": 1}  # it won't be smaller the next time
    assert len(resolved(resolver(zone, transport=Transport.STREAM), "web.example").candidates) == 100
    assert len(resolved(resolver(zone, payload=2048), "web.example").candidates) == 100


@pytest.mark.parametrize(
    ("behaviour", "status", "counter"),
    [
        (with_code(dns.rcode.NXDOMAIN), Status.NX, "nx"),
        (with_code(dns.rcode.REFUSED), Status.REFUSED, "refused"),
        (with_code(dns.rcode.SERVFAIL), Status.OTHER, "other"),
        (with_code(dns.rcode.NOERROR), Status.OTHER, "any_err"),
        (loop_of_aliases, Status.OTHER, "cname_error"),
        (garbage, Status.OTHER, "invalid"),
    ],
)
def test_errors(zone: NameServer, behaviour: object, status: Status, counter: str) -> None:
    zone.behaviour = behaviour  # type: ignore[assignment]
    asking = resolver(zone)
    answer = resolved(asking, "web.example")
    assert (answer.status, answer.candidates) == (status, ())
    assert counted(asking) == {"sent": 2, counter: 2}  # both families, and each reply once
    assert [kind for _, kind in zone.asked] == ["A", "AAAA"]


def test_silence_costs_the_patience_and_the_retries(zone: NameServer) -> None:
    zone.behaviour = silence
    asking = resolver(zone, retries=2, retry=0.05)
    assert resolved(asking, "web.example").status is Status.TIMEOUT
    assert asking.counters["ns1"].timeout == 2
    assert [kind for _, kind in zone.asked] == ["A", "A"]


@pytest.mark.parametrize(
    ("wrong", "counter"),
    [
        (with_code(dns.rcode.REFUSED), "refused"), (with_code(dns.rcode.NXDOMAIN), "nx"),
        (with_code(dns.rcode.NOERROR), "any_err"), (loop_of_aliases, "cname_error"),
    ],
)
def test_the_first_valid_answer_counts_whoever_is_faster_wrong(
    zone: NameServer, other: NameServer, wrong: Behaviour, counter: str
) -> None:
    other.behaviour = wrong
    zone.put("web.example", "A", ["10.0.0.1"])
    zone.put("_http._tcp.example", "SRV", ["0 1 80 web.example."])
    asking = resolver(other, zone)
    for count, name in enumerate(("web.example", "_http._tcp.example"), 1):
        zone.behaviour = once(lambda: getattr(asking.counters["ns1"], counter) == count, zone)  # noqa: B023 -- called in here
        answer = resolved(asking, name)
        assert [one.addresses for one in answer.candidates] == [("10.0.0.1",)]
        assert answer.by is asking.counters["ns2"]
        assert counted(asking) == {"sent": count, counter: count}


def test_an_error_of_one_and_the_silence_of_another_are_an_error(zone: NameServer, other: NameServer) -> None:
    """5.3.2: the other type is asked for, as it is not where all are silent."""
    zone.put("web.example", "A", ["10.0.0.1"])
    behave = with_code(dns.rcode.NXDOMAIN)
    zone.behaviour = lambda query, stream: (
        zone.answer(query).to_wire() if query.question[0].rdtype == dns.rdatatype.A else behave(query, stream)
    )
    other.behaviour = silence
    asking = resolver(zone, other, retry=0.05)
    assert resolved(asking, "web.example", prefer=6).candidates == candidates_of(["10.0.0.1"])
    zone.put("web.example", "A", [])
    assert resolved(asking, "web.example", prefer=6).status is Status.NX


def test_a_family_whose_error_may_pass_is_asked_for_again(zone: NameServer) -> None:
    """Also where the other family has nothing for certain."""
    zone.put("web.example", "A", ["10.0.0.1"])
    failure = with_code(dns.rcode.SERVFAIL)
    zone.behaviour = lambda query, stream: (
        failure(query, stream) if zone.asked == [("web.example", "A")] else zone.answer(query).to_wire()
    )
    assert resolved(resolver(zone, retries=2), "web.example").candidates == candidates_of(["10.0.0.1"])


def test_what_becomes_of_the_slower_ones_counts(zone: NameServer, other: NameServer) -> None:
    """An answer that comes after another was taken is outdated, whatever it says; silence is a timeout, as without the other."""
    zone.put("web.example", "A", ["10.0.0.1"])
    other.put("web.example", "A", ["10.0.0.2"])
    wrong = NameServer()
    mute = NameServer()
    mute.behaviour = silence
    asking = resolver(zone, other, wrong, mute, retry=0.5)
    taken = asking.counters["ns1"]
    other.behaviour = once(lambda: taken.valid == 1, other)
    wrong.behaviour = once(lambda: taken.valid == 1, wrong)
    try:
        answer = settled(asking, "web.example", lambda: asking.counters["ns4"].timeout == 1)
        assert answer.candidates == candidates_of(["10.0.0.1"])
        assert [counted(asking, name) for name in ("ns1", "ns2", "ns3", "ns4")] == [
            {"sent": 1, "valid": 1}, {"sent": 1, "outdated": 1}, {"sent": 1, "outdated": 1}, {"sent": 1, "timeout": 1},
        ]
    finally:
        wrong.close()
        mute.close()


def test_not_too_many_queries_go_on(zone: NameServer, other: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest is given up, which nobody answered in time."""
    monkeypatch.setattr("headgate.runtime.resolvers._MOST_LEFT", 0)
    zone.put("web.example", "A", ["10.0.0.1"])
    other.behaviour = silence
    asking = resolver(zone, other, retry=600.0)
    settled(asking, "web.example", lambda: counted(asking, "ns2") == {"sent": 1, "timeout": 1})


def test_who_waits_no_more_leaves_no_query(zone: NameServer) -> None:
    zone.behaviour = silence
    asking = resolver(zone, retry=600.0)

    async def give_up() -> set[asyncio.Task[object] | None]:
        task = asyncio.ensure_future(asking.resolve("web.example", 4))
        await asyncio.to_thread(wait_until, lambda: zone.asked, "it is asked")
        task.cancel()
        await asyncio.to_thread(wait_until, lambda: counted(asking) == {"sent": 1, "timeout": 1}, "the query is over")
        return {*asyncio.all_tasks()} - {asyncio.current_task()}

    assert run_loop(give_up()) == set()


@pytest.mark.parametrize("counter", ["any_err", "cname_error"])
def test_an_answer_without_services_is_an_error(zone: NameServer, counter: str) -> None:
    """So that `hold other` applies."""
    zone.behaviour = with_code(dns.rcode.NOERROR) if counter == "any_err" else loop_of_aliases
    asking = resolver(zone, retries=3)
    answer = resolved(asking, "_http._tcp.example")
    assert (answer.status, answer.candidates) == (Status.OTHER, ())
    assert counted(asking) == {"sent": 1, counter: 1}


def test_nobody_listens() -> None:
    gone = NameServer()
    gone.close()
    asking = resolver(gone, transport=Transport.STREAM)
    assert resolved(asking, "web.example").status is Status.OTHER
    assert asking.counters["ns1"].snd_error == 2


def test_no_name_server_and_no_name() -> None:
    assert resolved(Resolver(Resolvers("dns", ())), "web.example").status is Status.OTHER
    gone = NameServer()
    gone.close()
    assert resolved(resolver(gone), "a" * 70 + ".example").status is Status.OTHER
