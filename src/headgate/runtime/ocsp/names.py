"""Looks up the addresses of a responder: A and AAAA at the same time, each with its own answer (RFC 8305 section 3).

By dnspython rather than getaddrinfo(): no thread that a dead name server holds, every wait bounded, and nothing is read behind a
`chroot` that was not read before it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dns.asyncresolver
import dns.exception
import dns.message
import dns.nameserver
import dns.resolver

import headgate.runtime.dns_modules  # noqa: F401
from headgate.base.records import dataclass
from headgate.runtime.accepted_families import ANY, AcceptedFamilies
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.failures import Failure

if TYPE_CHECKING:
    from headgate.config.resolvers import NameServer
    from headgate.runtime.name_server_streams import NameServerStreams

#: How long the name servers have, seconds.
PATIENCE = 4.0
#: How long the preferred family may come later than the other one, seconds (RFC 8305 section 3).
RESOLUTION_DELAY = 0.05
#: Addresses of one family that are looked at.
_MOST_ADDRESSES = 8
_LONGEST_HOSTS = 1 << 20
_TYPES: Mapping[int, tuple[int, str]] = {socket.AF_INET6: (6, "AAAA"), socket.AF_INET: (4, "A")}


@dataclass(frozen=True, slots=True)
class Place:
    """An address to connect to."""

    family: int
    host: str

    @property
    def way(self) -> str:
        """How messages call the family."""
        return "IPv6" if self.family == socket.AF_INET6 else "IPv4"


class Lookup:
    """The addresses of one name, as they arrive.

    Attributes:
        places: those that are known, in the order of arrival.
        complete: no more will come.
        changed: set whenever that changes; the one who waits clears it.
        problem: why there are none, "" if there are some.
    """

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.complete = False
        self.changed = asyncio.Event()
        self.problem = ""

    def has(self, family: int) -> bool:
        """Whether there is an address of a family."""
        return any(one.family == family for one in self.places)

    def add(self, places: Iterable[Place]) -> None:
        """Some are known now."""
        self.places += [one for one in places if one not in self.places][:_MOST_ADDRESSES]
        self.changed.set()

    def finish(self, problem: str = "") -> None:
        """No more will come."""
        self.complete = True
        self.problem = problem
        self.changed.set()


def resolver_of(
    name_servers: Iterable[NameServer], streams: Mapping[str, NameServerStreams]
) -> Callable[[], dns.asyncresolver.Resolver]:
    """Makes what asks these name servers and no others; `streams`, by name, are to those that are not asked with datagrams."""
    asked = [
        _OverStream(one, streams[one.name]) if one.name in streams
        else dns.nameserver.Do53Nameserver(one.address.host, one.address.port)
        for one in name_servers
    ]

    def make() -> dns.asyncresolver.Resolver:
        made = dns.asyncresolver.Resolver(configure=False)
        made.nameservers = list(asked)
        return made

    return make


class _OverStream(dns.nameserver.AddressAndPortNameserver):
    """By connections of ours, for which all options of the line count."""

    def __init__(self, server: NameServer, streams: NameServerStreams) -> None:
        super().__init__(server.address.host, server.address.port)
        self._streams = streams

    def kind(self) -> str:
        """What dnspython calls it."""
        return "stream"

    def is_always_max_size(self) -> bool:
        """Nothing is truncated."""
        return True

    async def async_query(
        self, request: dns.message.QueryMessage, timeout: float,  # noqa: ASYNC109  # dnspython's
        source: str | None, source_port: int, max_size: bool, backend: Any, one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        return await self._streams.exchange(request, timeout)


class Names:
    """Looks names up.

    Args:
        resolver: made anew for each name where that is possible, so that a changed /etc/resolv.conf takes effect.
        hosts: the text of /etc/hosts.
        enabled: name servers are asked; without, only the hosts file knows names.
        accepted: the families that name servers are asked for.
    """

    def __init__(
        self,
        resolver: Callable[[], dns.asyncresolver.Resolver] | None = None,
        hosts: Callable[[], str] | None = None,
        *,
        enabled: bool = True,
        accepted: AcceptedFamilies = ANY,
    ) -> None:
        self._accepted = accepted
        self._enabled = enabled
        self._make = resolver or dns.asyncresolver.Resolver
        self._read_hosts = hosts or _hosts_file
        self._cache = dns.resolver.LRUCache(64)
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._hosts: Mapping[str, list[Place]] = {}
        self._refresh()

    def _refresh(self) -> None:
        """Read the system's files again; behind a wall the last ones count."""
        try:
            self._hosts = parse_hosts(self._read_hosts())
            self._resolver = self._make()
        except (OSError, dns.exception.DNSException):
            return
        self._resolver.cache = self._cache

    def begin(self, host: str) -> tuple[Lookup, list[asyncio.Task[None]]]:
        """Begin to look a name up.

        Returns:
            What is known of it, and the tasks that find more: cancel them when that is enough.
        """
        lookup = Lookup()
        literal = _literal(host)
        known = [literal] if literal is not None else self._from_hosts(host)
        if known:
            lookup.add(known)
            lookup.finish()
            return lookup, []
        if not self._enabled:
            lookup.finish(f"{host} is not looked up: 'httpclient.resolvers.disabled on'")
            return lookup, []
        accepted = self._accepted.now()
        families = [family for family, (version, _) in _TYPES.items() if version in accepted]
        problems: list[str] = []
        return lookup, [
            asyncio.ensure_future(self._ask(host, family, lookup, problems, len(families))) for family in families
        ]

    def _from_hosts(self, host: str) -> list[Place]:
        self._refresh()
        return self._hosts.get(host.lower().rstrip("."), [])

    async def _ask(self, host: str, family: int, lookup: Lookup, problems: list[str], asked: int) -> None:
        try:
            found = await self._answers(host, family)
            problem = "has no address"
        except Failure as failure:
            found, problem = [], failure.text
        if found:
            lookup.add(found)
        problems.append(problem)
        if len(problems) == asked:
            telling = next((one for one in problems if one != "has no address"), problems[0])
            lookup.finish("" if lookup.places else f"{host} {telling}")

    async def _answers(self, host: str, family: int) -> list[Place]:
        resolver = self._resolver
        if resolver is None:
            raise Failure(failures.DNS, "cannot be resolved: no name server is configured")
        try:
            async with asyncio.timeout(PATIENCE + 1.0):
                answer = await resolver.resolve(host, _TYPES[family][1], lifetime=PATIENCE, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            raise Failure(failures.DNS, "does not exist (NXDOMAIN)") from None
        except (TimeoutError, dns.exception.Timeout):
            raise Failure(failures.DNS, f"cannot be resolved: no name server answers within {PATIENCE:g} s") from None
        except dns.resolver.NoNameservers:
            raise Failure(failures.DNS, "cannot be resolved: the name servers fail (SERVFAIL or REFUSED)") from None
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Failure(failures.DNS, f"cannot be resolved: {type(error).__name__}") from None
        return [Place(family, record.address) for record in answer.rrset or ()]


def _literal(host: str) -> Place | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return Place(socket.AF_INET6 if address.version == 6 else socket.AF_INET, str(address))


def _hosts_file() -> str:
    with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
        return file.read(_LONGEST_HOSTS)


def parse_hosts(text: str) -> dict[str, list[Place]]:
    """The names in a hosts file, lower case."""
    found: dict[str, list[Place]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        place = _literal(words[0]) if words else None
        if place is not None:
            for name in words[1:]:
                found.setdefault(name.lower().rstrip("."), []).append(place)
    return found
