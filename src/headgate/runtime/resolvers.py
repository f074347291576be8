"""Asks the name servers of a `resolvers` section (5.3.2), by dnspython and without blocking.

Each query goes to all name servers at once and the first valid answer counts. What the addresses are for is not known here:
`app.resolving` hands answers to `balance.resolution`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.IN.SRV

import headgate.runtime.dns_modules  # noqa: F401
from headgate.balance.resolution import EVERYTHING, Candidate, Demand, Status, candidates_of, server_weight
from headgate.base.addresses import Transport
from headgate.base.records import dataclass
from headgate.config.resolvers import NameServer, Resolvers
from headgate.runtime.accepted_families import ANY, AcceptedFamilies
from headgate.runtime.name_server_streams import NameServerStreams

#: SRV targets whose addresses are not in the answer are looked up one by one, so many at a time, and so many in all.
_LOOKUPS_AT_ONCE = 8
MOST_CANDIDATES = 512
#: Queries that go on though another name server's answer was taken: so many for all names together.
_MOST_LEFT = 256

_ADDRESSES = {4: dns.rdatatype.A, 6: dns.rdatatype.AAAA}
_STATUS = {dns.rcode.NXDOMAIN: (Status.NX, "nx"), dns.rcode.REFUSED: (Status.REFUSED, "refused")}


@dataclass(slots=True)
class NameServerCounters:
    """What `show resolvers` says of a name server (management manual 9.3)."""

    sent: int = 0
    snd_error: int = 0
    valid: int = 0
    update: int = 0
    cname: int = 0
    cname_error: int = 0
    any_err: int = 0
    nx: int = 0
    timeout: int = 0
    refused: int = 0
    other: int = 0
    invalid: int = 0
    too_big: int = 0
    truncated: int = 0
    outdated: int = 0

    def count(self, counter: str) -> None:
        """One more of these."""
        setattr(self, counter, getattr(self, counter) + 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a resolution.

    Attributes:
        candidates: with a valid one.
        by: the counters of the name server that answered.
    """

    status: Status
    candidates: tuple[Candidate, ...] = ()
    by: NameServerCounters | None = None


@dataclass(frozen=True, slots=True)
class _Reply:
    """What became of a query.

    Attributes:
        message, records: with a valid one: the answer, and what it has of the type that was asked for.
        settled: name servers that know this don't change it within seconds.
    """

    status: Status
    message: dns.message.Message | None = None
    records: tuple[dns.rdata.Rdata, ...] = ()
    by: NameServerCounters | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class _Service:
    """An SRV record."""

    host: str
    port: int
    weight: int

    @property
    def key(self) -> str:
        """What makes it the same in the next answer."""
        return f"{self.host}:{self.port}"

    def candidate(self, host: Answer) -> Candidate:
        """With what was found of its host."""
        addresses = tuple(address for candidate in host.candidates for address in candidate.addresses)
        return Candidate(self.key, addresses, self.port, server_weight(self.weight), host.status)


@dataclass(slots=True)
class _Query:
    """What all name servers are asked.

    Attributes:
        answered: a valid answer was taken; what else comes is outdated.
    """

    message: dns.message.Message
    answered: bool = False


class _TooBig(Exception):
    """An answer has more bytes than were announced to be accepted."""


class Resolver:
    """Asks the name servers of one section.

    Args:
        section: as configured.
        accepted: the families that are asked for; addresses of another one are ignored.
        streams: to those of its name servers that are asked over a stream, by their names.

    Attributes:
        section: as configured.
        counters: of each name server, by its name.
    """

    def __init__(
        self, section: Resolvers, accepted: AcceptedFamilies = ANY, streams: Mapping[str, NameServerStreams] | None = None
    ) -> None:
        self.section = section
        self._accepted = accepted
        self._streams = streams or {}
        self.counters = {one.name: NameServerCounters() for one in section.name_servers}
        self._left: dict[asyncio.Future[_Reply], None] = {}  # longest ago first

    async def close(self) -> None:
        """Leave the name servers."""
        left = list(self._left)
        for query in left:
            query.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for one in self._streams.values():
            await one.close()

    async def resolve(self, name: str, prefer: int, demands: Sequence[Demand] = (EVERYTHING,)) -> Answer:
        """All that a name stands for, or as much of it as is wanted.

        Args:
            name: a host name, or an SRV label, which begins with an underscore.
            prefer: 4 or 6: the family that is asked for first; the other one when that has nothing, and where it is accepted.
            demands: of those that share the answer. Of SRV records only as many hosts are looked up.
        """
        if name.startswith("_"):
            return await self._answer(self._services(name, prefer, demands))
        return await self._answer(self._addresses(name, prefer))

    async def addresses(self, name: str, prefer: int) -> Answer:
        """As `resolve`, for what is a host's name whatever it begins with."""
        return await self._answer(self._addresses(name, prefer))

    async def _answer(self, found: Awaitable[Answer]) -> Answer:
        try:
            return await found
        except dns.exception.DNSException:  # a name that can't be written in a query
            return Answer(Status.OTHER)

    async def _addresses(self, name: str, prefer: int) -> Answer:
        """5.3.2: on an error the other type, then the first again, `resolve_retries` times in all."""
        accepted = self._accepted.now()
        kinds = [_ADDRESSES[family] for family in (prefer, 10 - prefer) if family in accepted]
        reply = _Reply(Status.TIMEOUT)
        for _ in range(self.section.retries):
            settled = True
            for kind in kinds:
                reply = await self._ask(name, kind)
                if reply.status is Status.VALID:
                    found = [record.to_text() for record in reply.records[:MOST_CANDIDATES]]
                    return Answer(Status.VALID, candidates_of(found), reply.by)
                settled = settled and reply.settled
                if reply.status is Status.TIMEOUT:
                    break  # 5.3.2: then the same type again
            if settled:
                break
        return Answer(reply.status, by=reply.by)

    async def _services(self, name: str, prefer: int, demands: Sequence[Demand]) -> Answer:
        reply = _Reply(Status.TIMEOUT)
        for _ in range(self.section.retries):
            reply = await self._ask(name, dns.rdatatype.SRV)
            if reply.status is Status.VALID or reply.settled:
                break
        if reply.status is not Status.VALID or reply.message is None:
            return Answer(reply.status, by=reply.by)
        services = [
            _Service(_host(record.target), int(record.port), int(record.weight))
            for record in reply.records
            if isinstance(record, dns.rdtypes.IN.SRV.SRV)
            and record.target != dns.name.root  # RFC 2782: the service is decidedly not available
        ]
        had = frozenset().union(*(demand.keys for demand in demands))
        services = sorted(services, key=lambda one: one.key not in had)[:MOST_CANDIDATES]  # what servers have stays among them
        hosts = _additional(reply.message, [_ADDRESSES[family] for family in self._accepted.now()])
        await self._find_hosts(services, hosts, prefer, demands)
        return Answer(Status.VALID, tuple(one.candidate(hosts[one.host]) for one in services if one.host in hosts), reply.by)

    async def _find_hosts(
        self, services: Sequence[_Service], hosts: dict[str, Answer], prefer: int, demands: Sequence[Demand]
    ) -> None:
        """Look up the hosts of services that servers have, then of others until there is one for each server."""
        places = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

        async def look_up(host: str) -> None:
            async with places:
                hosts[host] = await self._addresses(host, prefer)

        had = frozenset().union(*(demand.keys for demand in demands))
        wanted = {one.host for one in services if one.key in had}
        await asyncio.gather(*[look_up(host) for host in wanted if host not in hosts])
        others = [host for host in dict.fromkeys(one.host for one in services) if host not in hosts]
        while others and (missing := _missing(services, hosts, demands)) > 0:
            some, others = others[:missing], others[missing:]
            await asyncio.gather(*map(look_up, some))

    # --- one query ---

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> _Reply:
        """Ask all name servers at once: the first valid answer, else the last error that one sent, and a timeout if none did."""
        if not self.section.name_servers:
            return _Reply(Status.OTHER)
        query = _Query(dns.message.make_query(name, kind, use_edns=0, payload=self.section.payload))
        asked = [asyncio.ensure_future(self._ask_one(one, query)) for one in self.section.name_servers]
        last = _Reply(Status.TIMEOUT)
        try:
            for answer in asyncio.as_completed(asked):
                reply = await answer
                if last.status is Status.TIMEOUT or reply.status is not Status.TIMEOUT:
                    last = reply
                if last.status is Status.VALID:
                    break
        except asyncio.CancelledError:
            for one in asked:
                one.cancel()
            raise
        self._leave(asked)
        return last

    def _leave(self, asked: Iterable[asyncio.Future[_Reply]]) -> None:
        """Who is slower than the first valid answer is not waited for, but what becomes of the query counts."""
        for one in asked:
            if not one.done():
                self._left[one] = None
                one.add_done_callback(lambda done: self._left.pop(done, None))
        while len(self._left) > _MOST_LEFT:
            longest = next(iter(self._left))
            del self._left[longest]
            longest.cancel()

    async def _ask_one(self, server: NameServer, query: _Query) -> _Reply:
        counters = self.counters[server.name]
        counters.sent += 1
        wrong = ""
        try:
            message = await self._exchange(server, query.message, counters)
        except dns.exception.Timeout:
            counters.timeout += 1
            return _Reply(Status.TIMEOUT, by=counters)
        except asyncio.CancelledError:
            counters.timeout += 1  # of all that are left nobody was waited for longer
            raise
        except OSError:
            counters.snd_error += 1
            return _Reply(Status.OTHER, by=counters)
        except _TooBig:
            wrong = "too_big"
        except (dns.exception.DNSException, EOFError, ValueError):
            wrong = "invalid"
        if query.answered:
            wrong = "outdated"
        if wrong:
            counters.count(wrong)
            return _Reply(Status.OTHER, by=counters, settled=wrong == "too_big")
        reply = _read(message, counters)
        query.answered = reply.status is Status.VALID
        return reply

    async def _exchange(
        self, server: NameServer, query: dns.message.Message, counters: NameServerCounters
    ) -> dns.message.Message:
        address, patience = server.address, self.section.timeout_retry
        if address.transport is Transport.DATAGRAM:
            with contextlib.suppress(dns.message.Truncated):
                message = await dns.asyncquery.udp(
                    query, address.host, patience, address.port, ignore_unexpected=True, raise_on_truncation=True
                )
                if len(message.wire or b"") > self.section.payload:
                    raise _TooBig
                return message
            # RFC 7766: what does not fit in a datagram is asked for over TCP.
            counters.truncated += 1
            return await dns.asyncquery.tcp(query, address.host, patience, address.port)
        return await self._streams[server.name].exchange(query, patience)


def _read(message: dns.message.Message, counters: NameServerCounters) -> _Reply:
    """What an answer says, CNAMEs followed. One without records is an error: another name server may have some (5.3.2)."""
    code = message.rcode()
    if code != dns.rcode.NOERROR:
        status, column = _STATUS.get(code, (Status.OTHER, "other"))
        counters.count(column)
        return _Reply(status, by=counters, settled=status is Status.NX)
    assert isinstance(message, dns.message.QueryMessage)  # the answer to one
    try:
        chain = message.resolve_chaining()
    except (dns.exception.DNSException, ValueError):
        counters.cname_error += 1
        return _Reply(Status.OTHER, by=counters, settled=True)
    if chain.answer is None:
        counters.any_err += 1
        return _Reply(Status.OTHER, by=counters, settled=True)
    counters.valid += 1
    if chain.cnames:
        counters.cname += 1
    return _Reply(Status.VALID, message, tuple(chain.answer), counters)


def _missing(services: Iterable[_Service], hosts: Mapping[str, Answer], demands: Iterable[Demand]) -> int:
    """How many more services with an address are of use. One that a server has is of use though its host can't be found."""
    found = {one.key for one in services if one.host in hosts and hosts[one.host].candidates}
    listed = {one.key for one in services}
    return max(demand.most - len(found | (demand.keys & listed)) for demand in demands)


def _additional(message: dns.message.Message, kinds: Collection[dns.rdatatype.RdataType]) -> dict[str, Answer]:
    """The addresses of these kinds that an answer brings along, by host."""
    found: dict[str, list[str]] = {}
    for rrset in message.additional:
        if rrset.rdtype in kinds:
            found.setdefault(_host(rrset.name), []).extend(record.to_text() for record in rrset)
    return {host: Answer(Status.VALID, candidates_of(addresses)) for host, addresses in found.items()}


def _host(name: dns.name.Name) -> str:
    """Without its case, which says nothing and may be another one in each answer (RFC 4343)."""
    return name.canonicalize().to_text(omit_final_dot=True)
