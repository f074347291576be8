"""However many workers serve, users see one proxy: limits, queues, turns, rates and counters are those of all together."""

from __future__ import annotations

import csv
import pathlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.interop.backends import Backend, Wire, read_request, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import DEADLINE, ask_socket, wait_until

pytestmark = pytest.mark.parametrize("workers", [1, 4])

MakeBackend = Callable[..., Backend]


class Gauge:
    """A server's script that knows how many requests it serves at a time.

    Attributes:
        most: the greatest number so far.
        targets: of all requests, in the order of their arrival.
        gate: responses wait for it.
    """

    def __init__(self, body: bytes = b"ok", *, is_open: bool = True, takes: float = 0.0) -> None:
        self.now = self.most = 0
        self.targets: list[str] = []
        self.gate = threading.Event()
        if is_open:
            self.gate.set()
        self._takes = takes
        self._body = body
        self._lock = threading.Lock()

    def __call__(self, backend: Backend, wire: Wire) -> None:
        while True:
            request = read_request(wire)
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
                self.targets.append(request.target)
            self.gate.wait(DEADLINE)
            if self._takes:
                time.sleep(self._takes)  # so that requests meet
            with self._lock:
                self.now -= 1
            wire.send(response(self._body))


class Subject:
    """headgate with a stats socket."""

    def __init__(self, start: StartProxy, directory: pathlib.Path, workers: int, text: str, settings: str = "") -> None:
        self._path = directory / "stats.sock"
        head = f"global\n nbthread {workers}\n stats socket {self._path} level admin\n stats timeout 10s\n{settings}"
        self.proxy: Proxy = start(head + text)
        wait_until(lambda: "Uptime" in self.says("show info"), "the runtime API answers")

    def says(self, command: str) -> str:
        try:
            return ask_socket(self._path, command)
        except OSError:
            return ""

    def row(self, proxy: str, name: str) -> dict[str, str]:
        """A row of `show stat`."""
        lines = self.says("show stat").lstrip("# ").splitlines()
        return next(row for row in csv.DictReader(lines) if (row["pxname"], row["svname"]) == (proxy, name))

    def info(self, name: str) -> str:
        """A field of `show info`."""
        return next(line.split(": ")[1] for line in self.says("show info").splitlines() if line.startswith(f"{name}: "))

    def ask(self, target: str = "/") -> Wire:
        """A new connection with a request on it."""
        client = self.proxy.connect()
        client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return client

    def body(self, target: str = "/") -> bytes:
        """The answer to a request on a connection of its own."""
        client = self.ask(target)
        try:
            return read_response(client).body
        finally:
            client.close()

    def storm(self, clients: int, requests: int) -> None:
        """Many clients at a time, each with some requests on its connection."""

        def one(number: int) -> None:
            client = self.proxy.connect()
            for _ in range(requests):
                client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_response(client).status == 200
            client.close()

        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(one, range(clients)))


def farm(*servers: tuple[str, int, str], lines: str = "") -> str:
    rows = "".join(f" server {name} 127.0.0.1:{port} {options}\n" for name, port, options in servers)
    return f"\nlisten web\n bind 127.0.0.1:{{port}}\n{lines}{rows}"


@pytest.fixture
def subject_of(proxy: StartProxy, tmp_path: pathlib.Path, workers: int) -> Callable[..., Subject]:
    return lambda text, settings="": Subject(proxy, tmp_path, workers, text, settings)


def test_a_servers_maxconn_is_exact(subject_of: Callable[..., Subject], backend: MakeBackend) -> None:
    gauge = Gauge(takes=0.002)
    subject = subject_of(farm(("a", backend(gauge).port, "maxconn 3"), lines=" timeout queue 10s\n"))
    subject.storm(64, 4)
    assert gauge.most == 3 and len(gauge.targets) == 256
    row = subject.row("web", "a")
    assert (row["stot"], row["scur"], row["smax"], row["qcur"]) == ("256", "0", "3", "0")
    assert 0 < int(row["qmax"]) + int(subject.row("web", "BACKEND")["qmax"]) <= 61


@pytest.mark.parametrize(("settings", "line"), [(" maxconn 10\n", ""), ("", " maxconn 10\n")], ids=["global", "frontend"])
def test_maxconn_is_exact(subject_of: Callable[..., Subject], backend: MakeBackend, settings: str, line: str) -> None:
    gauge = Gauge(is_open=False)
    subject = subject_of(farm(("a", backend(gauge).port, ""), lines=line), settings)
    clients = [subject.ask() for _ in range(18)]  # the others wait in the backlog, which is as long
    wait_until(lambda: gauge.now == 10, "all places are taken")
    time.sleep(0.1)
    assert gauge.most == 10 and subject.row("web", "FRONTEND")["scur"] == "10"
    gauge.gate.set()
    for client in clients:
        # Places come free one by one, when clients leave.
        assert read_response(client).status == 200
        client.close()
    assert gauge.most == 10 and len(gauge.targets) == 18
    assert subject.row("web", "FRONTEND")["smax"] == "10"


def test_a_bind_lines_maxconn_is_exact(subject_of: Callable[..., Subject], backend: MakeBackend) -> None:
    gauge = Gauge(is_open=False)
    subject = subject_of(farm(("a", backend(gauge).port, "")).replace("{port}\n", "{port} maxconn 5\n"))
    clients = [subject.ask() for _ in range(15)]
    wait_until(lambda: gauge.now == 5, "all places are taken")
    time.sleep(0.1)
    gauge.gate.set()
    for client in clients:
        assert read_response(client).status == 200
        client.close()
    assert gauge.most == 5 and len(gauge.targets) == 15


def test_the_queue_is_served_in_the_order_of_arrival(subject_of: Callable[..., Subject], backend: MakeBackend) -> None:
    gauge = Gauge(is_open=False)
    subject = subject_of(farm(("a", backend(gauge).port, "maxconn 1"), lines=" timeout queue 10s\n"))
    clients = []
    for number in range(10):
        clients.append(subject.ask(f"/{number}"))
        wait_until(lambda: gauge.now + int(subject.row("web", "BACKEND")["scur"]) == number + 2, "it has arrived")  # noqa: B023
    clients.pop(4).close()
    wait_until(lambda: subject.row("web", "BACKEND")["scur"] == "9", "one has left the queue")
    gauge.gate.set()
    for client in clients:
        assert read_response(client).status == 200
    assert gauge.targets == [f"/{number}" for number in range(10) if number != 4] and gauge.most == 1


def test_round_robin_goes_in_one_order(subject_of: Callable[..., Subject], backend: MakeBackend) -> None:
    weights = {"a": 10, "b": 10, "c": 20}
    servers = [(name, backend(Gauge(name.encode())).port, f"weight {weight}") for name, weight in weights.items()]
    subject = subject_of(farm(*servers, lines=" balance roundrobin\n"))
    turns = [subject.body().decode() for _ in range(24)]
    assert turns == turns[:4] * 6 and sorted(turns[:4]) == ["a", "b", "c", "c"]


def test_leastconn_sees_all_load(subject_of: Callable[..., Subject], backend: MakeBackend) -> None:
    gauges = [Gauge(is_open=False), Gauge(is_open=False)]
    servers = [(name, backend(gauge).port, "") for name, gauge in zip("ab", gauges, strict=True)]
    subject = subject_of(farm(*servers, lines=" balance leastconn\n"))
    clients = []
    for number in range(12):
        clients.append(subject.ask())
        wait_until(lambda: sum(gauge.now for gauge in gauges) == number + 1, "it is being served")  # noqa: B023
        assert abs(gauges[0].now - gauges[1].now) <= 1
    for gauge in gauges:
        gauge.gate.set()


@pytest.mark.parametrize(
    ("line", "setting"),
    [(" rate-limit sessions 10\n", ""), ("", " maxconnrate 10\n"), ("", " maxsessrate 10\n")],
    ids=["rate-limit", "maxconnrate", "maxsessrate"],
)
def test_rates_are_limited(subject_of: Callable[..., Subject], backend: MakeBackend, line: str, setting: str) -> None:
    subject = subject_of(farm(("a", backend(Gauge()).port, ""), lines=line), setting)
    begun = time.monotonic()
    moments = []
    for client in [subject.ask() for _ in range(18)]:
        read_response(client)
        moments.append(time.monotonic() - begun)
        client.close()
    assert moments[-1] > 0.6 and sum(moment < 0.3 for moment in moments) <= 14


def test_counters_are_exact(subject_of: Callable[..., Subject], backend: MakeBackend, workers: int) -> None:
    subject = subject_of(farm(("a", backend(Gauge()).port, ""), ("b", backend(Gauge()).port, "")))
    subject.storm(16, 10)
    wait_until(lambda: subject.info("CurrConns") == "0", "all have left")
    front, back = subject.row("web", "FRONTEND"), subject.row("web", "BACKEND")
    a, b = subject.row("web", "a"), subject.row("web", "b")
    assert (front["stot"], front["req_tot"], front["hrsp_2xx"], front["scur"]) == ("16", "160", "160", "0")
    assert (back["stot"], back["hrsp_2xx"]) == ("160", "160")
    assert int(a["hrsp_2xx"]) + int(b["hrsp_2xx"]) == 160 and front["bin"] == back["bin"] == str(160 * 27)
    assert 0 < int(front["smax"]) <= 16
    assert (subject.info("CumReq"), subject.info("Nbthread")) == ("160", str(workers))
    assert int(subject.info("CumConns")) >= 16
    assert subject.says("clear counters all") == "\n"
    subject.storm(3, 2)
    wait_until(lambda: subject.row("web", "FRONTEND")["scur"] == "0", "all have left")
    front = subject.row("web", "FRONTEND")
    assert (front["stot"], front["req_tot"], front["hrsp_2xx"]) == ("3", "6", "6")


def test_fetches_see_all_workers(subject_of: Callable[..., Subject], backend: MakeBackend) -> None:
    gauge = Gauge(is_open=False)
    seen = "%[fe_conn(web)] %[act_conn] %[be_conn(web)] %[srv_conn(web/a)]"
    rule = f' http-request return status 200 content-type text/plain lf-string "{seen}" if {{ path /seen }}\n'
    subject = subject_of(farm(("a", backend(gauge).port, ""), lines=rule))
    clients = [subject.ask() for _ in range(7)]
    wait_until(lambda: gauge.now == 7, "all are being served")
    for _ in range(6):
        wait_until(lambda: subject.body("/seen") == b"8 8 7 7", "the one before has left, and all are counted")
    gauge.gate.set()
    for client in clients:
        assert read_response(client).status == 200


def test_runtime_changes_hold_in_all_workers(subject_of: Callable[..., Subject], backend: MakeBackend) -> None:
    gauges = [Gauge(b"a", takes=0.002), Gauge(b"b", takes=0.002)]
    servers = [(name, backend(gauge).port, "maxconn 8") for name, gauge in zip("ab", gauges, strict=True)]
    subject = subject_of(farm(*servers, lines=" timeout queue 10s\n"))
    assert subject.says("set weight web/a 0").strip() == ""
    assert {subject.body() for _ in range(16)} == {b"b"}
    assert subject.says("set maxconn server web/b 2").strip() == ""
    gauges[1].most = 0
    subject.storm(24, 4)
    assert gauges[1].most == 2 and gauges[0].targets == []


def test_a_raised_limit_lets_in_who_waits(subject_of: Callable[..., Subject], backend: MakeBackend) -> None:
    gauge = Gauge(is_open=False)
    subject = subject_of(farm(("a", backend(gauge).port, "maxconn 2"), lines=" timeout queue 10s\n"))
    clients = [subject.ask() for _ in range(8)]
    wait_until(lambda: subject.row("web", "BACKEND")["qcur"] == "6" or subject.row("web", "a")["qcur"] == "6", "they wait")
    assert subject.says("set maxconn server web/a 5").strip() == ""
    wait_until(lambda: gauge.now == 5, "three more are served")
    assert gauge.most == 5
    gauge.gate.set()
    for client in clients:
        assert read_response(client).status == 200


def test_tls_sessions_are_resumed_by_any_worker(
    subject_of: Callable[..., Subject], backend: MakeBackend, certificates: pathlib.Path
) -> None:
    bind = f"{{port}} ssl crt {certificates / 'site.pem'}\n"
    subject = subject_of(farm(("a", backend(Gauge()).port, "")).replace("{port}\n", bind))
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def connect(session: ssl.SSLSession | None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", subject.proxy.port), DEADLINE)
        return context.wrap_socket(plain, server_hostname="site.example", session=session)

    with connect(None) as first:
        assert not first.session_reused
        session = first.session
    for _ in range(12):
        with connect(session) as again:
            assert again.session_reused
