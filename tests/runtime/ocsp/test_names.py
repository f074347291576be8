"""Names, against name servers of our own."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from headgate.base.addresses import Address, Family, Transport
from headgate.config.resolvers import NameServer as Configured
from headgate.config.tls_options import ServerTls, Verify
from headgate.runtime.loop import run as run_loop
from headgate.runtime.ocsp import names as module
from headgate.runtime.ocsp.names import Lookup, Names, Place, parse_hosts, resolver_of
from tests.interop.name_server import NameServer as StreamedNameServer
from tests.interop.name_server import certified
from tests.runtime.test_name_server_streams import streams

V4, V6 = socket.AF_INET, socket.AF_INET6
Zone = Callable[[str, str], "list[str] | int | None"]


class NameServer:
    """Answers over UDP what `zone(name, type)` says: records, a response code, or None for silence."""

    def __init__(self, zone: Zone, host: str = "127.0.0.1", port: int = 0) -> None:
        self.zone = zone
        self.asked: list[tuple[str, str]] = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((host, port))
        self.port = int(self._sock.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = self._sock.recvfrom(4096)
                query = dns.message.from_wire(data)
                question = query.question[0]
                name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
                self.asked.append((name, kind))
                found = self.zone(name, kind)
                if found is None:
                    continue
                answer = dns.message.make_response(query)
                answer.flags |= dns.flags.RA
                if isinstance(found, int):
                    answer.set_rcode(dns.rcode.Rcode(found))
                elif found:
                    answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
                self._sock.sendto(answer.to_wire(), peer)

    def close(self) -> None:
        self._sock.close()

    def names(self, hosts: str = "", *, enabled: bool = True) -> Names:
        address = Address(Family.INET, "127.0.0.1", self.port, self.port, transport=Transport.DATAGRAM)
        return Names(resolver_of([Configured("one", address)], {}), lambda: hosts, enabled=enabled)


@pytest.fixture
def servers() -> Iterator[Callable[[Zone], NameServer]]:
    with contextlib.ExitStack() as opened:

        def make(zone: Zone) -> NameServer:
            made = NameServer(zone)
            opened.callback(made.close)
            return made

        yield make


def look_up(names: Names, host: str) -> tuple[Lookup, float]:
    async def wait() -> Lookup:
        lookup, tasks = names.begin(host)
        await asyncio.gather(*tasks)
        return lookup

    start = time.monotonic()
    lookup = asyncio.run(wait())
    assert lookup.complete
    return lookup, time.monotonic() - start


def records(name: str, kind: str) -> list[str]:
    return {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]}[kind]


def test_both_families(servers: Callable[[Zone], NameServer]) -> None:
    server = servers(records)
    lookup, _ = look_up(server.names(), "ocsp.example")
    assert set(lookup.places) == {Place(V4, "192.0.2.1"), Place(V4, "192.0.2.2"), Place(V6, "2001:db8::1")}
    assert sorted(server.asked) == [("ocsp.example.", "A"), ("ocsp.example.", "AAAA")] and not lookup.problem


def test_answers_are_kept_as_long_as_they_say(servers: Callable[[Zone], NameServer]) -> None:
    server = servers(records)
    names = server.names()
    for _ in range(3):
        look_up(names, "ocsp.example")
    assert len(server.asked) == 2


def test_one_family_only(servers: Callable[[Zone], NameServer]) -> None:
    lookup, _ = look_up(servers(lambda name, kind: records(name, kind) if kind == "A" else []).names(), "ocsp.example")
    assert {place.family for place in lookup.places} == {V4} and not lookup.problem


def test_what_is_there_counts_before_the_other_question_is_answered(servers: Callable[[Zone], NameServer]) -> None:
    server = servers(lambda name, kind: records(name, kind) if kind == "A" else None)

    async def wait() -> Lookup:
        lookup, tasks = server.names().begin("ocsp.example")
        async with asyncio.timeout(2):
            await lookup.changed.wait()
        for task in tasks:
            task.cancel()
        return lookup

    lookup = asyncio.run(wait())
    assert lookup.has(V4) and not lookup.complete


@pytest.mark.parametrize(
    ("code", "words"), [(dns.rcode.NXDOMAIN, "does not exist (NXDOMAIN)"), (dns.rcode.SERVFAIL, "the name servers fail")]
)
def test_failures(servers: Callable[[Zone], NameServer], code: int, words: str) -> None:
    lookup, _ = look_up(servers(lambda name, kind: int(code)).names(), "ocsp.example")
    assert not lookup.places and lookup.problem.startswith("ocsp.example ") and words in lookup.problem


def test_no_address_at_all(servers: Callable[[Zone], NameServer]) -> None:
    assert look_up(servers(lambda name, kind: []).names(), "ocsp.example")[0].problem == "ocsp.example has no address"


def test_a_dead_name_server_takes_no_longer_than_it_may(
    servers: Callable[[Zone], NameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    lookup, seconds = look_up(servers(lambda name, kind: None).names(), "ocsp.example")
    assert "no name server answers within 0.5 s" in lookup.problem and seconds < 5


def test_addresses_and_hosts_need_no_name_server(servers: Callable[[Zone], NameServer]) -> None:
    server = servers(records)
    names = server.names("192.0.2.9 ocsp.example other # comment\n2001:db8::9\tOCSP.example\nnonsense x\n")
    assert look_up(names, "192.0.2.7")[0].places == [Place(V4, "192.0.2.7")]
    assert look_up(names, "2001:db8::7")[0].places == [Place(V6, "2001:db8::7")]
    assert look_up(names, "Ocsp.Example.")[0].places == [Place(V4, "192.0.2.9"), Place(V6, "2001:db8::9")]
    assert not server.asked


def test_without_name_servers() -> None:
    def none() -> dns.asyncresolver.Resolver:
        raise dns.resolver.NoResolverConfiguration

    lookup, _ = look_up(Names(none, lambda: ""), "ocsp.example")
    assert "no name server is configured" in lookup.problem


def test_lookups_can_be_disabled(servers: Callable[[Zone], NameServer]) -> None:
    server = servers(records)
    names = server.names("192.0.2.9 known", enabled=False)
    assert "httpclient.resolvers.disabled" in look_up(names, "ocsp.example")[0].problem
    assert look_up(names, "known")[0].places and not server.asked


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "..", "-", "a b", "x" * 300])
def test_names_that_are_none(servers: Callable[[Zone], NameServer], host: str) -> None:
    lookup, _ = look_up(servers(lambda name, kind: []).names(), host)
    assert not lookup.places and lookup.problem


def test_hosts_file() -> None:
    assert parse_hosts("") == {}
    found = parse_hosts("::1 a\n127.0.0.1 A b.\n")
    assert found == {"a": [Place(V6, "::1"), Place(V4, "127.0.0.1")], "b": [Place(V4, "127.0.0.1")]}


@pytest.mark.parametrize("tls", ["", "right", "wrong"])
def test_a_name_server_over_a_stream(tmp_path: pathlib.Path, tls: str) -> None:
    """It is asked over connections that serve the names of servers, too; who is not what the line says is not believed."""
    with contextlib.closing(StreamedNameServer(certified(tmp_path) if tls else None)) as server:
        server.put("ocsp.example", "A", ["192.0.2.1"])
        name = "dns.example" if tls == "right" else "other.example"
        options = ServerTls(Verify.REQUIRED, str(tmp_path / "ca.pem"), verify_host=name)
        by, _ = streams(server, tls=options if tls else None)
        names = Names(resolver_of([by.server], {by.server.name: by}), lambda: "", enabled=True)

        async def wait() -> Lookup:
            lookup, tasks = names.begin("ocsp.example")
            await asyncio.gather(*tasks)
            await by.close()
            return lookup

        lookup = run_loop(wait())
        assert server.connections
    assert [place.host for place in lookup.places] == ([] if tls == "wrong" else ["192.0.2.1"])
