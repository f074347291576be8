"""What is to move between the machines, found out from the configuration: pure, the machine's facts are arguments."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from headgate.base.addresses import WILDCARDS, Address, Family
from headgate.base.diagnostics import Diagnostic, Severity
from headgate.base.records import dataclass
from headgate.cli.failover.interfaces import Interface
from headgate.cli.stats_socket import stats_socket
from headgate.config.model import Bind, Config

Host = ipaddress.IPv4Address | ipaddress.IPv6Address

_LITERALS = (Family.INET, Family.INET6)


class FailoverError(Exception):
    """No keepalived configuration can be written; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Floating:
    """An address that moves.

    Attributes:
        host: the address.
        interface: where it is to be added.
        binds: the bind lines that it serves.
    """

    host: Host
    interface: str
    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator says on the command line.

    Attributes:
        addresses: which addresses move; empty: find out from the bind lines.
        interface: where they are to be added; None: the interface whose network they are in.
        peers: addresses of the other machines, for networks without multicast.
        priority: of this machine, 1 to 254: the highest one gets the addresses.
        router_id: VRRP identifier of the pair, 1 to 255; None: made from the address.
        interval: seconds between advertisements.
        preempt: whether a machine of a higher priority takes the addresses back when it returns.
    """

    addresses: tuple[Host, ...] = ()
    interface: str | None = None
    peers: tuple[Host, ...] = ()
    priority: int = 100
    router_id: int | None = None
    interval: float = 0.3
    preempt: bool = False


@dataclass(frozen=True, slots=True)
class FailoverPlan:
    """Everything that stands in keepalived's configuration."""

    floating: tuple[Floating, ...]
    wishes: Wishes
    router_id: int
    check: Address  # of the stats socket
    remarks: tuple[Diagnostic, ...]


def plan_failover(config: Config, wishes: Wishes, interfaces: Sequence[Interface]) -> FailoverPlan:
    """Decide what moves and where.

    Args:
        config: the configuration of the proxy.
        wishes: see there.
        interfaces: of this machine.

    Raises:
        FailoverError: nothing can move, or something is not known.
    """
    binds = [bind for proxy in config.proxies if not proxy.disabled for bind in proxy.binds]
    hosts = wishes.addresses or tuple(_movable(binds, interfaces))
    if not hosts:
        raise FailoverError(
            "no bind line has an address that could move: they listen to all addresses, or to addresses that this machine "
            "has for itself; say which address the machines share: --address 192.0.2.10"
        )
    floating = []
    for host in hosts:
        served = tuple(bind for bind in binds if _serves(bind, host))
        if not served:
            raise FailoverError(f"no bind line listens to {host}: whoever connects to it would be refused")
        floating.append(Floating(host, wishes.interface or _interface_of(host, interfaces), served))
    if len({one.host.version for one in floating}) > 1:
        raise FailoverError("IPv4 and IPv6 addresses need one keepalived instance each: call this once for each, with --address")
    router_id = wishes.router_id or (int(floating[0].host) & 0xFF or 51)
    return FailoverPlan(tuple(floating), wishes, router_id, _check_address(config), tuple(_remarks(floating)))


def _literal(bind: Bind) -> Host | None:
    address = bind.address
    if address.family not in _LITERALS or address.host in WILDCARDS:
        return None
    return ipaddress.ip_address(address.host)


def _serves(bind: Bind, host: Host) -> bool:
    address = bind.address
    if address.family not in _LITERALS:
        return False
    if address.host in WILDCARDS:
        return host.version == 4 if address.family is Family.INET else host.version == 6 or not bind.v6only
    return _literal(bind) == host


def _movable(binds: Sequence[Bind], interfaces: Sequence[Interface]) -> list[Host]:
    """Addresses of bind lines that are not this machine's own: it does not have them now, or keepalived added them."""
    own = {
        address.ip
        for interface in interfaces
        for address in interface.addresses
        if address.network.prefixlen != address.max_prefixlen
    }
    hosts = {host: None for host in map(_literal, binds) if host is not None and not host.is_loopback and host not in own}
    return list(hosts)


def _interface_of(host: Host, interfaces: Sequence[Interface]) -> str:
    for interface in interfaces:
        for address in interface.addresses:
            if address.network.prefixlen < address.max_prefixlen and host in address.network:
                return interface.name
    raise FailoverError(f"no interface of this machine is in the network of {host}: say which one, --interface eth0")


def _check_address(config: Config) -> Address:
    """The stats socket that the check asks."""
    found = stats_socket(config)
    if found is None:
        raise FailoverError(
            "there is no stats socket to ask whether headgate is well: add to the global section: "
            "stats socket /run/headgate/admin.sock mode 600 level admin"
        )
    return found


def _remarks(floating: Sequence[Floating]) -> list[Diagnostic]:
    remarks = []
    for one in floating:
        for bind in one.binds:
            if _literal(bind) is not None and not bind.transparent:
                version = "ipv4" if one.host.version == 4 else "ipv6"
                remarks.append(Diagnostic(
                    Severity.WARNING,
                    f"{bind.address} can't be bound on the machine that does not have the address at the moment",
                    bind.location,
                    remedy=f"set net.{version}.ip_nonlocal_bind=1 (sysctl) on both machines, or add 'transparent' to the line, "
                    "or bind to all addresses",
                ))
    return remarks
