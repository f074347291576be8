"""Which networks this machine's interfaces are in."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Sequence
from typing import Any

from headgate.base.records import dataclass

Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface and the addresses that it has, with their networks."""

    name: str
    addresses: tuple[Network, ...]


class NoInterfaces(Exception):
    """The interfaces can't be found out; the text says why."""


def read_interfaces() -> list[Interface]:
    """Ask `ip` (iproute2).

    Raises:
        NoInterfaces: it is missing or fails.
    """
    try:
        done = subprocess.run(["ip", "-json", "address"], capture_output=True, timeout=_TIMEOUT, check=True)
        return parse_interfaces(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise NoInterfaces(f"'ip -json address' tells nothing: {error}") from None


def parse_interfaces(links: Sequence[dict[str, Any]]) -> list[Interface]:
    """From the JSON of `ip -json address`. Link-local and loopback addresses are left out: they can't move."""
    found = []
    for link in links:
        addresses = (ipaddress.ip_interface(f"{one['local']}/{one['prefixlen']}") for one in link.get("addr_info", ()))
        kept = tuple(one for one in addresses if not one.ip.is_loopback and not one.ip.is_link_local)
        found.append(Interface(str(link["ifname"]), kept))
    return found
