"""Names that requests bring along are resolved while they wait (`do-resolve`, manual 4.4), by the same name server for both."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import threading
import time
from collections.abc import Iterator

import dns.message
import dns.rcode
import pytest

from tests.interop.backends import Message, Wire, read_response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.name_server import NameServer, garbage, silence, truncated_over_udp, with_code
from tests.interop.programs import ask_socket, wait_until
from tests.interop.test_resolvers import Farm


@pytest.fixture
def zone() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


SECTION = """
global
    stats socket {socket} level admin
    nbthread {workers}

resolvers dns
    nameserver ns1 127.0.0.1:{dns}
    timeout retry {retry}
    resolve_retries 2
    hold valid {valid}
"""

SHOW = """
frontend web
    bind 127.0.0.1:{{port}}
    http-request set-var(txn.ip) str(before) if {{{{ path /before }}}}
    http-request do-resolve(txn.ip,dns{family}) hdr(x-name){more}
    http-request return status 200 hdr x-ip "[%[var(txn.ip)]]" hdr x-found "%[var(txn.ip),length]"
"""


class Site:
    """A subject whose rules show what they found."""

    def __init__(
        self, proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, text: str = SHOW, *, workers: int = 1,
        retry: str = "300ms", valid: str = "10s", family: str = ",ipv4", more: str = "",
    ) -> None:
        self.socket = tmp_path / "stats.sock"
        section = SECTION.format(socket=self.socket, workers=workers, dns=zone.port, retry=retry, valid=valid)
        shown = text.format(family=family, more=more).replace("{{", "{").replace("}}", "}")
        self.started: Proxy = proxy(section + shown)

    def ask(self, name: str, target: str = "/", client: Wire | None = None) -> Message:
        client = client or self.started.connect()
        client.send(f"GET {target} HTTP/1.1\r\nHost: site.example\r\nX-Name: {name}\r\n\r\n".encode())
        return read_response(client)

    def found(self, name: str, target: str = "/") -> str:
        return (self.ask(name, target).one("x-ip") or "").strip("[]")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_address_is_found(proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, workers: int, subject: str) -> None:
    zone.put("app.example", "A", ["127.0.0.11"])
    zone.put("alias.example", "CNAME", ["app.example"])
    site = Site(proxy, zone, tmp_path, workers=workers)
    assert site.found("app.example") == "127.0.0.11"
    assert site.found("alias.example") == "127.0.0.11"
    assert [site.found("app.example") for _ in range(6)] == ["127.0.0.11"] * 6


@pytest.mark.parametrize(
    ("family", "name", "seen"),
    [
        ("", "both.example", "2001:db8::1"), (",ipv6", "both.example", "2001:db8::1"), (",ipv4", "both.example", "192.0.2.1"),
        (",ipv6", "four.example", "192.0.2.4"), (",ipv4", "six.example", "2001:db8::6"),
    ],
)
def test_one_family_is_preferred(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, family: str, name: str, seen: str, subject: str
) -> None:
    for name_, kind, value in (
        ("both.example", "A", "192.0.2.1"), ("both.example", "AAAA", "2001:db8::1"), ("four.example", "A", "192.0.2.4"),
        ("six.example", "AAAA", "2001:db8::6"),
    ):
        zone.put(name_, kind, [value])
    assert Site(proxy, zone, tmp_path, family=family).found(name) == seen


@pytest.mark.parametrize(
    "behaviour", [with_code(dns.rcode.NXDOMAIN), with_code(dns.rcode.REFUSED), with_code(dns.rcode.SERVFAIL), silence, garbage],
    ids=["nx", "refused", "servfail", "silence", "garbage"],
)
def test_what_can_not_be_found(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, behaviour: object, subject: str
) -> None:
    """The request goes on, and a variable that was set before stays as it was."""
    zone.behaviour = behaviour  # type: ignore[assignment]
    site = Site(proxy, zone, tmp_path)
    began = time.monotonic()
    assert site.found("app.example") == ""
    assert time.monotonic() - began < 5.0
    assert site.found("app.example", "/before") == "before"


def test_silence_is_waited_for_as_often_as_the_section_says(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, subject: str
) -> None:
    zone.behaviour = silence
    site = Site(proxy, zone, tmp_path, retry="600ms")
    began = time.monotonic()
    assert site.found("app.example") == ""
    assert 1.0 < time.monotonic() - began < 3.0
    assert len(zone.asked) == 2


def test_an_answer_that_does_not_fit_is_asked_for_again(proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path) -> None:
    zone.put("app.example", "A", ["127.0.0.11"])
    zone.behaviour = truncated_over_udp(zone)
    assert Site(proxy, zone, tmp_path).found("app.example") == "127.0.0.11"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_answer_is_kept_for_hold_valid(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, workers: int
) -> None:
    """As the manual has it (5.3.2); HAProxy 2.6 asks again for each request that comes alone."""
    zone.put("app.example", "A", ["127.0.0.11"])
    site = Site(proxy, zone, tmp_path, valid="2s", workers=workers)
    assert [site.found("app.example") for _ in range(8)] == ["127.0.0.11"] * 8
    assert zone.asked == [("app.example", "A")]
    zone.put("app.example", "A", ["127.0.0.12"])
    wait_until(lambda: site.found("app.example") == "127.0.0.12", "the answer is too old")
    assert zone.asked == [("app.example", "A")] * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_those_who_ask_for_the_same_name_share_a_query(
    proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, workers: int, subject: str
) -> None:
    open_gate = threading.Event()
    zone.put("app.example", "A", ["127.0.0.11"])

    def behave(query: dns.message.Message, _stream: bool) -> bytes:
        open_gate.wait(10)
        return zone.answer(query).to_wire()

    zone.behaviour = behave
    site = Site(proxy, zone, tmp_path, retry="5s", workers=workers)
    clients = [site.started.connect() for _ in range(10)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: site.example\r\nX-Name: app.example\r\n\r\n")
    wait_until(lambda: bool(zone.asked), "somebody asks")
    time.sleep(0.3)
    open_gate.set()
    assert {read_response(client).one("x-ip") for client in clients} == {"[127.0.0.11]"}
    assert len(set(zone.asked)) == 1 and len(zone.asked) <= 2  # the name server notes the question, and so does this test's


def test_a_client_that_leaves_meanwhile(proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path, subject: str) -> None:
    zone.behaviour = silence
    site = Site(proxy, zone, tmp_path, retry="800ms")
    for _ in range(5):
        client = site.started.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: site.example\r\nX-Name: app.example\r\n\r\n")
        wait_until(lambda: bool(zone.asked), "it is waited for")
        client.socket.close()
    zone.put("app.example", "A", ["127.0.0.11"])
    zone.behaviour = None
    wait_until(lambda: site.found("app.example") == "127.0.0.11", "it serves")

    def streams() -> list[str]:
        return [line for line in ask_socket(site.socket, "show sess").splitlines() if "proto=tcp" in line]

    wait_until(lambda: not streams(), "no stream is left")


def test_addresses_need_no_name_server(proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path) -> None:
    """HAProxy asks for them as for names."""
    site = Site(proxy, zone, tmp_path)
    for text, seen in (("192.0.2.7", "192.0.2.7"), ("[2001:db8::7]", "2001:db8::7"), ("a b", ""), ("x.example:80", ""), ("", "")):
        assert site.found(text) == seen
    assert not zone.asked


def test_what_name_servers_said_is_counted(proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path) -> None:
    zone.put("app.example", "A", ["127.0.0.11"])
    site = Site(proxy, zone, tmp_path, workers=2)
    for name in ("app.example", "app.example", "nobody.example"):
        site.found(name)
    lines = [line.split(":") for line in ask_socket(site.socket, "show resolvers dns").splitlines()[2:] if ":" in line]
    counters = {name.strip(): int(value) for name, value in lines}
    assert (counters["sent"], counters["valid"], counters["nx"]) == (3, 1, 2)


THE_MANUALS = """
frontend fe
    bind 127.0.0.1:{{port}}
    http-request do-resolve(txn.myip,dns{family}) hdr(x-name),host_only
    http-request capture var(txn.myip) len 40
    use_backend b_503 unless {{{{ var(txn.myip) -m found }}}}
    default_backend be

backend b_503

backend be
    http-request deny if {{{{ var(txn.myip) -m ip 127.0.0.64/26 10.0.0.0/8 }}}}
    http-request set-dst var(txn.myip)
    http-request set-dst-port int({more})
    server clear 0.0.0.0:0
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_the_example_of_the_manual(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, workers: int, subject: str
) -> None:
    farm = Farm(stack, ["127.0.0.11", "127.0.0.12"])
    for number in (11, 12, 65):
        zone.put(f"n{number}.example", "A", [f"127.0.0.{number}"])
    site = Site(proxy, zone, tmp_path, THE_MANUALS, more=str(farm.port), workers=workers)
    client = site.started.connect()
    for number in (11, 12, 11):
        reply = site.ask(f"n{number}.example:8080", client=client)
        assert (reply.status, reply.body.decode()) == (200, f"127.0.0.{number}")
    assert site.ask("n65.example").status == 403
    assert site.ask("nobody.example").status == 503


RELAYED = """
frontend fe
    mode tcp
    bind 127.0.0.1:{{port}}
    tcp-request inspect-delay 5s
    tcp-request content do-resolve(txn.ip,dns{family}) req.payload(0,0),field(2,=),field(1,:) if {{{{ req.len gt 9 }}}}
    tcp-request content reject unless {{{{ var(txn.ip) -m found }}}}
    tcp-request content set-dst var(txn.ip)
    tcp-request content set-dst-port int({more})
    default_backend be

backend be
    mode tcp
    server any 0.0.0.0:0
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_relay_is_led_by_a_name(
    proxy: StartProxy, zone: NameServer, stack: contextlib.ExitStack, tmp_path: pathlib.Path, workers: int, subject: str
) -> None:
    farm = Farm(stack, ["127.0.0.11", "127.0.0.12"])
    for number in (11, 12):
        zone.put(f"n{number}.example", "A", [f"127.0.0.{number}"])
    site = Site(proxy, zone, tmp_path, RELAYED, more=str(farm.port), workers=workers)
    for number in (11, 12, 11):
        client = site.started.connect()
        client.send(f"GET /?name=n{number}.example: HTTP/1.1\r\n".encode())
        time.sleep(0.05)  # it says more while the name is being resolved
        client.send(b"Host: site.example\r\n\r\n")
        assert read_response(client).body.decode() == f"127.0.0.{number}"
    client = site.started.connect()
    client.send(b"GET /?name=nobody.example: HTTP/1.1\r\nHost: site.example\r\n\r\n")
    assert client.rest() == b""


def test_the_process_that_asks_is_replaced(proxy: StartProxy, zone: NameServer, tmp_path: pathlib.Path) -> None:
    """Requests go on without an address until it is there again."""
    zone.put("app.example", "A", ["127.0.0.11"])
    site = Site(proxy, zone, tmp_path, workers=2, valid="0s")
    assert site.found("app.example") == "127.0.0.11"
    answer = ask_socket(site.socket, "show info")
    pid = int(next(line.split(": ")[1] for line in answer.splitlines() if line.startswith("Pid:")))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: site.found("app.example") == "127.0.0.11", "names are resolved again")
