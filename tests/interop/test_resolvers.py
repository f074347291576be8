"""Names that are resolved while running (manual 5.3): the same name server and the same changes for headgate and for HAProxy."""

from __future__ import annotations

import contextlib
import pathlib
import socket
from collections.abc import Iterator

import dns.rcode
import pytest

from headgate.runtime.accepted_families import ipv6_has_route
from tests.interop.backends import Backend
from tests.interop.checked_servers import await_rows, refused_port, rows
from tests.interop.conftest import DEFAULTS, Proxy, StartProxy
from tests.interop.name_server import NameServer, certified, garbage, silence, with_code
from tests.interop.programs import Program, ask_socket, free_port, headgate_command, wait_until
from tests.interop.test_servers import ask


@pytest.fixture
def zone() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


class Farm:
    """A server on each of some loopback addresses, all on one port."""

    def __init__(self, stack: contextlib.ExitStack, hosts: list[str]) -> None:
        port = 0
        self.backends = {}
        for host in hosts:
            listener = socket.create_server((host, port), backlog=64)
            port = listener.getsockname()[1]
            self.backends[host] = Backend(name=host, listener=listener)
            stack.callback(self.backends[host].close)
        self.port = port


SECTION = """
resolvers dns
    nameserver ns1 127.0.0.1:{dns}
    timeout resolve 100ms
    timeout retry 200ms
    resolve_retries 1
    hold nx 300ms
    hold refused 300ms
    hold timeout 300ms
    hold other 300ms
{more}
global
    stats socket {socket} level admin
    nbthread {workers}

listen web
    bind 127.0.0.1:{{port}}
    balance roundrobin
    retries 0
    {server}
"""


def start(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, server: str, *, more: str = "", workers: int = 1,
    resolve: str = "100ms",
) -> tuple[Proxy, pathlib.Path]:
    path = tmp_path / "stats.sock"
    text = SECTION.format(dns=zone.port, socket=path, server=server, more=more, workers=workers)
    return proxy(text.replace("timeout resolve 100ms", f"timeout resolve {resolve}")), path


def addresses(path: pathlib.Path) -> list[str]:
    """Where each server is, by `show servers state`; "-" for one that is out of service for its name."""
    found = []
    for line in ask_socket(path, "show servers state web").splitlines():
        columns = line.split()
        if len(columns) > 10 and columns[0].isdecimal():
            found.append("-" if int(columns[6]) & 0x20 else columns[4])
    return found


def answering(started: Proxy, count: int = 8) -> set[str]:
    replies = [ask(started) for _ in range(count)]
    return {reply.body.decode() if reply.start[1] == "200" else reply.start[1] for reply in replies}


@pytest.mark.parametrize("workers", [1, 2])
def test_servers_follow_their_name(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, subject: str, workers: int
) -> None:
    farm = Farm(stack, ["127.0.0.11", "127.0.0.12", "127.0.0.13"])
    zone.put("web.example", "A", ["127.0.0.11", "127.0.0.12"])
    line = f"server-template s 1-2 web.example:{farm.port} resolvers dns init-addr none resolve-prefer ipv4"
    started, path = start(proxy, zone, tmp_path, line, workers=workers)
    wait_until(lambda: set(addresses(path)) == {"127.0.0.11", "127.0.0.12"}, "both have an address")
    wait_until(lambda: answering(started) == {"127.0.0.11", "127.0.0.12"}, "both serve")
    kept = addresses(path).index("127.0.0.12")
    zone.put("web.example", "A", ["127.0.0.13", "127.0.0.12"])
    wait_until(lambda: set(addresses(path)) == {"127.0.0.13", "127.0.0.12"}, "one has moved")
    assert addresses(path)[kept] == "127.0.0.12"
    wait_until(lambda: answering(started) == {"127.0.0.13", "127.0.0.12"}, "both serve")


@pytest.mark.parametrize(
    "behaviour", [with_code(dns.rcode.NXDOMAIN), with_code(dns.rcode.REFUSED), with_code(dns.rcode.SERVFAIL), silence, garbage],
    ids=["nx", "refused", "servfail", "silence", "garbage"],
)
def test_a_name_that_no_longer_resolves(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, behaviour: object, subject: str
) -> None:
    farm = Farm(stack, ["127.0.0.11"])
    zone.put("web.example", "A", ["127.0.0.11"])
    line = f"server s1 web.example:{farm.port} resolvers dns init-addr none resolve-prefer ipv4"
    started, path = start(proxy, zone, tmp_path, line)
    wait_until(lambda: answering(started, 1) == {"127.0.0.11"}, "it serves")
    zone.behaviour = behaviour  # type: ignore[assignment]
    wait_until(lambda: addresses(path) == ["-"], "it is out of service")
    assert answering(started, 1) == {"503"}
    zone.behaviour = None
    wait_until(lambda: answering(started, 1) == {"127.0.0.11"}, "it is back")


@pytest.mark.parametrize("workers", [1, 2])
def test_service_records(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, subject: str, workers: int
) -> None:
    farm = Farm(stack, ["127.0.0.11", "127.0.0.12"])
    zone.put("a.example", "A", ["127.0.0.11"])
    zone.put("b.example", "A", ["127.0.0.12"])
    zone.put("_http._tcp.web.example", "SRV", [f"0 100 {farm.port} a.example.", f"0 100 {farm.port} b.example."])
    line = "server-template s 3 _http._tcp.web.example resolvers dns init-addr none resolve-prefer ipv4"
    started, path = start(proxy, zone, tmp_path, line, workers=workers)
    wait_until(lambda: answering(started) == {"127.0.0.11", "127.0.0.12"}, "both serve")
    assert sorted(addresses(path)) == ["-", "127.0.0.11", "127.0.0.12"]
    zone.put("_http._tcp.web.example", "SRV", [f"0 100 {farm.port} b.example."])
    wait_until(lambda: answering(started) == {"127.0.0.12"}, "one was removed")


def test_weights_of_service_records(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, subject: str
) -> None:
    """A weight of 0 drains."""
    farm = Farm(stack, ["127.0.0.11", "127.0.0.12"])
    zone.put("a.example", "A", ["127.0.0.11"])
    zone.put("b.example", "A", ["127.0.0.12"])
    zone.put("_http._tcp.web.example", "SRV", [f"0 0 {farm.port} a.example.", f"0 1000 {farm.port} b.example."])
    line = "server-template s 2 _http._tcp.web.example resolvers dns init-addr none resolve-prefer ipv4"
    started, path = start(proxy, zone, tmp_path, line)

    def weights() -> set[tuple[str, str]]:
        return {(row["addr"], row["weight"]) for row in rows(path).values()}

    drained, serving = f"127.0.0.11:{farm.port}", f"127.0.0.12:{farm.port}"
    wait_until(lambda: weights() == {(drained, "0"), (serving, "4")}, "all have a weight")
    assert answering(started) == {"127.0.0.12"}


def test_servers_of_service_records_are_checked_where_they_are(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, subject: str
) -> None:
    """On the port of the record: that of a bind line would be found, too."""
    farm, other = Farm(stack, ["127.0.0.11"]), Farm(stack, ["127.0.0.11"])
    zone.put("a.example", "A", ["127.0.0.11"])
    zone.put("_http._tcp.web.example", "SRV", [f"0 100 {refused_port(stack)} a.example."])
    checked = "check inter 100ms fall 1 rise 1 resolvers dns init-addr none resolve-prefer ipv4"
    started, path = start(proxy, zone, tmp_path, f"server-template s 1 _http._tcp.web.example {checked}")
    wait_until(lambda: addresses(path) == ["127.0.0.11"] and answering(started, 1) == {"503"}, "it is down")
    for port in (farm.port, other.port):
        zone.put("_http._tcp.web.example", "SRV", [f"0 100 {port} a.example."])
        await_rows(path, {"web/s1": {"status": "UP", "check_status": "L4OK", "addr": f"127.0.0.11:{port}"}})
        assert answering(started, 1) == {"127.0.0.11"}


def test_hosts_of_service_records_that_no_server_can_have_are_not_looked_up(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, subject: str
) -> None:
    hosts = [f"h{number}.example" for number in range(8)]
    zone.put("_http._tcp.web.example", "SRV", [f"0 1 80 {host}." for host in hosts])
    for number, host in enumerate(hosts):
        zone.put(host, "A", [f"127.0.0.{number + 11}"])
    zone.behaviour = lambda query, _stream: zone.answer(query, additional=False).to_wire()
    line = "server-template s 2 _http._tcp.web.example resolvers dns init-addr none resolve-prefer ipv4"
    _, path = start(proxy, zone, tmp_path, line)
    wait_until(lambda: "-" not in addresses(path), "both have an address")
    asked = len(zone.asked)
    wait_until(lambda: zone.asked[asked:].count(("_http._tcp.web.example", "SRV")) > 4, "they are asked for again and again")
    assert len({name for name, kind in zone.asked if kind == "A"}) == 2


def test_a_server_keeps_what_the_system_found_until_a_name_server_says_otherwise(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, subject: str
) -> None:
    farm = Farm(stack, ["127.0.0.11", "127.0.0.12"])
    zone.behaviour = silence
    line = f"server s1 web.example:{farm.port} resolvers dns init-addr 127.0.0.11 resolve-prefer ipv4"
    started, _ = start(proxy, zone, tmp_path, line, more="    hold timeout 60s")
    assert answering(started, 2) == {"127.0.0.11"}
    zone.put("web.example", "A", ["127.0.0.12"])
    zone.behaviour = None
    wait_until(lambda: answering(started, 1) == {"127.0.0.12"}, "it has moved")


def test_a_checked_server_is_checked_where_it_is_now(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, subject: str
) -> None:
    farm = Farm(stack, ["127.0.0.11"])
    zone.put("web.example", "A", ["127.0.0.14"])  # nobody listens there
    line = f"server s1 web.example:{farm.port} check inter 100ms fall 1 rise 1 resolvers dns init-addr none resolve-prefer ipv4"
    started, _ = start(proxy, zone, tmp_path, line)
    wait_until(lambda: answering(started, 1) == {"503"}, "it is down")
    zone.put("web.example", "A", ["127.0.0.11"])
    wait_until(lambda: answering(started, 1) == {"127.0.0.11"}, "it is up at the new place")


def test_a_server_that_answers_no_connection_is_looked_up_at_once(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, subject: str
) -> None:
    farm = Farm(stack, ["127.0.0.11"])
    full = stack.enter_context(socket.create_server(("127.0.0.14", farm.port), backlog=0))
    stack.enter_context(socket.create_connection(full.getsockname()))  # a backlog that is full answers no SYN
    zone.put("web.example", "A", ["127.0.0.14"])
    line = f"server s1 web.example:{farm.port} check inter 200ms fall 1 rise 1 resolvers dns init-addr none resolve-prefer ipv4"
    started, path = start(proxy, zone, tmp_path, line, resolve="1h")
    wait_until(lambda: addresses(path) == ["127.0.0.14"], "the address is known")
    zone.put("web.example", "A", ["127.0.0.11"])
    wait_until(lambda: answering(started, 1) == {"127.0.0.11"}, "it is up at the new place")


def test_what_name_servers_were_asked_is_shown(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, subject: str
) -> None:
    zone.put("web.example", "A", ["127.0.0.11"])
    line = "server s1 web.example:80 resolvers dns init-addr none resolve-prefer ipv4"
    _, path = start(proxy, zone, tmp_path, line)
    wait_until(lambda: addresses(path) == ["127.0.0.11"], "it has an address")
    shown = ask_socket(path, "show resolvers dns")
    assert shown.startswith("Resolvers section dns\n nameserver ns1:\n  sent: ")
    pairs = [line.split(":") for line in shown.splitlines()[2:] if ":" in line]
    counters = {name.strip(): int(value) for name, value in pairs}
    assert counters["sent"] >= 1 and counters["valid"] >= 1 and counters["update"] == 1
    rows = ask_socket(path, "show stat domain resolvers").splitlines()
    assert rows[0].startswith("#") and "ns1" in rows[1] and "dns" in rows[1]
    if subject == "headgate":
        assert "write the name on the server's line and reload" in ask_socket(path, "set server web/s1 fqdn other.example")


@pytest.mark.parametrize(
    ("families", "arguments", "asked"),
    [
        ("ipv4", (), {"A"}), ("ipv6", (), {"AAAA"}), ("ipv6,ipv4", (), {"A", "AAAA"}), ("ipv6", ("-4", "-db"), {"A"}),
        ("", (), {"A", "AAAA"} if ipv6_has_route() else {"A"}), ("auto", (), {"A", "AAAA"} if ipv6_has_route() else {"A"}),
    ],
)
def test_only_accepted_families_are_asked_for(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, families: str, arguments: tuple[str, ...], asked: set[str]
) -> None:
    zone.put("web.example", "TXT", ["none"])  # so that both families are tried
    zone.put("_http._tcp.web.example", "SRV", ["0 1 80 web.example."])
    setting = f"    dns-accept-family {families}\n" if families else ""
    text = SECTION.format(
        dns=zone.port, socket=tmp_path / "stats.sock", more="", workers=1,
        server="server-template s 2 web.example:80 resolvers dns init-addr none\n"
        "    server t _http._tcp.web.example resolvers dns init-addr none",
    ).replace("global\n", f"global\n{setting}")
    proxy(text, **({"arguments": arguments} if arguments else {}))
    wait_until(lambda: len(zone.asked) > 12, "it was asked some times")
    assert {kind for _, kind in zone.asked} == asked | {"SRV"}


def test_addresses_of_a_family_that_is_not_accepted_are_not_used(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path
) -> None:
    """Also those that come beside an SRV record."""
    zone.put("one.example", "AAAA", ["2001:db8::1"])
    zone.put("two.example", "A", ["127.0.0.12"])
    zone.put("_http._tcp.web.example", "SRV", ["0 1 80 one.example.", "0 1 80 two.example."])
    line = "server-template s 2 _http._tcp.web.example resolvers dns init-addr none resolve-prefer ipv6"
    path = tmp_path / "stats.sock"
    text = SECTION.format(dns=zone.port, socket=path, server=line, more="", workers=1)
    proxy(text.replace("global\n", "global\n    dns-accept-family ipv4\n"))
    wait_until(lambda: "127.0.0.12" in addresses(path), "one has an address")
    assert sorted(addresses(path)) == ["-", "127.0.0.12"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_does_not_wait_for_name_servers(
    zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, workers: int
) -> None:
    farm = Farm(stack, ["127.0.0.11"])
    zone.put("web.example", "A", ["127.0.0.11"])
    line = f"server s1 web.example:{farm.port} resolvers dns init-addr none resolve-prefer ipv4"
    more = "    hold timeout 60s"  # longer than the reload of a busy machine
    text = SECTION.format(dns=zone.port, socket=tmp_path / "stats.sock", server=line, more=more, workers=workers)
    port = free_port()
    config = tmp_path / "site.cfg"
    config.write_text(DEFAULTS + text.replace("{port}", str(port)))
    master = tmp_path / "master.sock"
    program = Program([headgate_command(), "-W", "-S", str(master), "-f", str(config)], tmp_path, "headgate")
    stack.callback(program.stop)
    program.await_ports([port])
    started = Proxy(program, port, stack)
    wait_until(lambda: answering(started, 1) == {"127.0.0.11"}, "it serves")
    zone.behaviour = silence
    assert ask_socket(master, "reload").startswith("Success=1")
    assert answering(started, 4) == {"127.0.0.11"}


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_name_server_that_is_asked_over_tls(
    proxy: StartProxy, stack: contextlib.ExitStack, tmp_path: pathlib.Path, right: bool, workers: int
) -> None:
    """On one connection; a name server that is not the one it should be is not believed, and the log says why."""
    context = certified(tmp_path)
    zone = stack.enter_context(contextlib.closing(NameServer(context)))
    farm = Farm(stack, ["127.0.0.11"])
    zone.put("web.example", "A", ["127.0.0.11"])
    path = tmp_path / "stats.sock"
    name = "dns.example" if right else "other.example"
    line = f"server s web.example:{farm.port} resolvers dns init-addr none resolve-prefer ipv4"
    logs = "global\n    log stdout format raw daemon"
    text = SECTION.format(dns=zone.port, socket=path, server=line, more=logs, workers=workers).replace(
        f"127.0.0.1:{zone.port}", f"tcp@127.0.0.1:{zone.port} ssl ca-file {tmp_path}/ca.pem sni str({name}) maxconn 2"
    )
    started = proxy(text)
    if right:
        wait_until(lambda: addresses(path) == ["127.0.0.11"], "the server has an address")
        asked = len(zone.asked)
        wait_until(lambda: len(zone.asked) > asked + 5, "it is asked again and again")
        assert zone.connections == 1
        assert answering(started) == {"127.0.0.11"}
    else:
        wait_until(lambda: zone.connections > 3, "it is asked again and again")
        assert addresses(path) == ["-"]
        lines = [one for one in started.program.output.splitlines() if "Name server dns/ns1 can't be asked: " in one]
        assert len(lines) == 1 and "other.example" in lines[0]
