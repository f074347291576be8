"""Health checks against servers of every kind, for headgate and for HAProxy with the same expectations: states, codes, texts."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator

import pytest

from tests.interop.backends import LogReceiver, Message, read_response
from tests.interop.checked_servers import (
    Liar,
    answers,
    await_rows,
    cells,
    never_ends,
    refused_port,
    resets,
    rows,
    running,
    says,
    says_and_stays,
)
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import ask_socket, wait_until

HELLO = b"hello world\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b, c\r\n\r\nhello"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello"
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello"
TCP, HTTP = "option tcp-check", "option httpchk"

#: What comes of an `expect` whose pattern is nothing.
EMPTY = "log-format string evaluated to an empty string"
NOTHING = cells("DOWN", "L7RSP", "", EMPTY)

#: What the server does (None: nobody listens), the lines of the backend, and what `show stat` says once the check is over.
CASES: list[tuple[Callable[[socket.socket], None] | None, list[str], dict[str, str]]] = [
    (says_and_stays(HELLO), [], cells("UP", "L4OK", "", "")),
    (None, [], cells("DOWN", "L4CON", "", "Connection refused")),
    (says_and_stays(HELLO), [TCP, "tcp-check connect"], cells("UP", "L4OK", "", "(tcp-check)")),
    (says(HELLO), [TCP, "tcp-check expect string hello"], cells("UP", "L7OK", 0, "(tcp-check)")),
    (
        says(HELLO), [TCP, "tcp-check connect", "tcp-check comment mine", "tcp-check expect string nope"],
        cells("DOWN", "L7RSP", "", "TCPCHK did not match content 'nope' at step 3 comment: mine"),
    ),
    (
        says_and_stays(HELLO), [TCP, "tcp-check expect string nope"],
        cells("DOWN", "L7TOUT", "", " at step 1 of tcp-check (expect string 'nope')"),
    ),
    (
        says_and_stays(HELLO), [TCP, "tcp-check expect ! string hello"],
        cells("DOWN", "L7RSP", "", "TCPCHK matched unwanted content 'hello' at step 1"),
    ),
    (says(HELLO), [TCP, "tcp-check expect rbinary ^68656C"], cells("UP", "L7OK", 0, "(tcp-check)")),
    (
        says(HELLO), [TCP, "tcp-check expect rstring ^foo"],
        cells("DOWN", "L7RSP", "", "TCPCHK did not match content (regex) at step 1"),
    ),
    (
        says(HELLO), [TCP, "tcp-check set-var(check.w) str(world)", "tcp-check expect string-lf %[var(check.w)]"],
        cells("UP", "L7OK", 0, "(tcp-check)"),
    ),
    (says(HELLO), [TCP, "tcp-check expect comment c string-lf %[var(check.w)]"], NOTHING | {"last_chk": EMPTY + " comment: c"}),
    (says(HELLO), [TCP, "tcp-check expect binary-lf %[var(check.w)]"], NOTHING),
    (answers(OK), [HTTP, "http-check expect ! string-lf %[var(check.w)]"], NOTHING),
    (answers(OK), [HTTP, "http-check expect hdr name-lf %[var(check.w)]"], NOTHING),
    (answers(OK), [HTTP, "http-check expect fhdr name x-a value-lf -m beg %[var(check.w)]"], NOTHING),
    (says(HELLO), [TCP, "tcp-check expect ok-status L7OKC on-success fine string hello"], cells("NOLB", "L7OKC", 0, "fine")),
    (
        says(HELLO), [TCP, 'tcp-check expect error-status L7STS on-error "%[res.payload(0,5)]" status-code int(5) string no'],
        cells("DOWN", "L7STS", 5, "hello"),
    ),
    (
        answers(b"+PONG\r\n", b"+OK\r\n"),
        [
            TCP, "tcp-check send PING\\r\\n", "tcp-check expect string +PONG", "tcp-check send-binary 41",
            "tcp-check expect string +OK",
        ],
        cells("UP", "L7OK", 0, "(tcp-check)"),
    ),
    (says_and_stays(b""), [TCP, "tcp-check expect tout-status L6TOUT comment c string x"], cells(
        "DOWN", "L6TOUT", "", " at step 1 of tcp-check (expect string 'x') comment: 'c'"
    )),
    (says(b""), [TCP, "tcp-check expect string x"], cells("DOWN", "L7RSP", "", "TCPCHK got an empty response at step 1")),
    (says(b""), [TCP, "tcp-check expect comment c string x"], cells(
        "DOWN", "L7RSP", "", "TCPCHK got an empty response at step 1 comment: 'c'"
    )),
    (never_ends, [TCP, "tcp-check send x", "tcp-check expect string nope"], cells(
        "DOWN", "L7RSP", "", "TCPCHK did not match content 'nope' at step 2"
    )),
    (answers(OK), [HTTP], cells("UP", "L7OK", 200, "")),
    (answers(BUSY), [HTTP], cells("DOWN", "L7STS", 503, "Service Unavailable")),
    (answers(GONE), [HTTP, "http-check disable-on-404"], cells("NOLB", "L7OKC", 404, "")),
    (says_and_stays(b""), [HTTP], cells("DOWN", "L7TOUT", "", "")),
    (answers(OK), [HTTP, "http-check expect ! string nope"], cells("UP", "L7OK", 200, "")),
    (answers(OK), [HTTP, "http-check expect comment c string nope"], cells(
        "DOWN", "L7RSP", "", "HTTP content check did not match comment: c"
    )),
    (answers(OK), [HTTP, "http-check expect ! rstring h.*o"], cells("DOWN", "L7RSP", "", "HTTP check matched unwanted content")),
    (answers(OK), [HTTP, "http-check expect hdr name x-a value d"], cells("DOWN", "L7STS", 200, "OK")),
    (answers(OK), [HTTP, "http-check expect fhdr name x-a value 'b, c'"], cells("UP", "L7OK", 200, "")),
    (answers(OK), [HTTP, "http-check expect comment baz rstatus ^5"], cells("DOWN", "L7STS", 200, "OK comment: baz")),
    (answers(b"-ERR no auth\r\n"), ["option redis-check"], cells("DOWN", "L7STS", 0, "-ERR no auth")),
    (says_and_stays(b"421 no service\r\n"), ["option smtpchk"], cells("DOWN", "L7STS", 421, "no service")),
    (says_and_stays(HELLO), ["option smtpchk"], cells("DOWN", "L7RSP", "", "hello world")),
    (says_and_stays(b""), ["option mysql-check user x"], cells("DOWN", "L7TOUT", "", "")),
    (answers(b"-ERR\r\n"), ["option pgsql-check user x"], cells("DOWN", "L7STS", 0, "PostgreSQL unknown error")),
    (answers(b"-ERR\r\n"), ["option ldap-check"], cells("DOWN", "L7RSP", "", "Not LDAPv3 protocol")),
    (answers(bytes.fromhex("300c02010161070a013104000400")), ["option ldap-check"], cells(
        "DOWN", "L7STS", 49, "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9"
    )),
    (says_and_stays(b""), ["option ssl-hello-chk"], cells("DOWN", "L6TOUT", "", "")),
]

CONFIG = """
global
    stats socket {socket} level admin
{more}
defaults
    mode {mode}
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    timeout check 1s
    default-server inter 250ms
{front}
"""


#: Nobody comes here, but it shows when the program is there.
FRONT = "frontend any\n    bind 127.0.0.1:{port}"


def config_for(tmp_path: pathlib.Path, *, mode: str = "tcp", more: str = "", front: str = FRONT) -> str:
    """The beginning of a configuration; `front` "" where a frontend follows."""
    text = CONFIG.replace("{socket}", str(tmp_path / "s")).replace("{mode}", mode).replace("{more}", more)
    return text.replace("{front}", front)


@pytest.fixture
def liars() -> Iterator[Callable[..., Liar]]:
    with contextlib.ExitStack() as opened:

        def make(handler: Callable[[socket.socket], None]) -> Liar:
            made = Liar(handler)
            opened.callback(made.close)
            return made

        yield make


def test_states_codes_and_texts(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], stack: contextlib.ExitStack, subject: str
) -> None:
    text, wanted = config_for(tmp_path), {}
    for number, (handler, lines, expected) in enumerate(CASES):
        port = refused_port(stack) if handler is None else liars(handler).port
        text += f"backend b{number}\n" + "".join(f"    {line}\n" for line in lines) + f"    server s 127.0.0.1:{port} check\n"
        wanted[f"b{number}/s"] = expected
    proxy(text, subject=subject)
    await_rows(tmp_path / "s", wanted)


# --- real servers ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Iterator[dict[str, int]]:
    with running() as ports:
        yield ports


def get(running_proxy: Proxy) -> Message:
    """One request on a connection of its own."""
    wire = running_proxy.connect()
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return read_response(wire)


#: 4.2 tcp-check expect: the manual's own example.
REDIS_RULES = f"""{TCP}
    tcp-check send PING\\r\\n
    tcp-check expect string +PONG
    tcp-check send info\\ replication\\r\\n
    tcp-check expect string role:master
    tcp-check send QUIT\\r\\n
    tcp-check expect string +OK"""


@pytest.mark.needs("redis-server", "mariadbd", "postgres", "slapd", "smtp-sink", "nginx")
def test_real_servers(proxy: StartProxy, tmp_path: pathlib.Path, real: dict[str, int], subject: str) -> None:
    backends = [
        ("redis", "redis", "option redis-check", cells("UP", "L7OK", 0, "Redis server is ok")),
        ("redis_rules", "redis", REDIS_RULES, cells("UP", "L7OK", 0, "(tcp-check)")),
        ("mysql", "mariadb", "option mysql-check user probe post-41", cells("UP", "L7OK", 0, "")),
        ("mysql_handshake", "mariadb", "option mysql-check", cells("UP", "L7OK", 0, "")),
        ("pgsql", "postgres", "option pgsql-check user probe", cells("UP", "L7OK", 0, "PostgreSQL server is ok")),
        ("ldap", "slapd", "option ldap-check", cells("UP", "L7OK", 0, "")),
        ("smtp", "smtp-sink", "option smtpchk EHLO me.example", cells("UP", "L7OK", 221, "Bye")),
        ("spop", "spop-agent", "option spop-check", {"status": "UP", "check_status": "L7OK", "check_code": "0"}),
        ("http_asked_as_spop", "nginx", "option spop-check", {"status": "DOWN", "check_status": "L7RSP"}),
        ("http", "nginx", "option httpchk GET / HTTP/1.1\n    http-check send hdr Host x", cells("UP", "L7OK", 204, "")),
        ("http_busy", "nginx", "option httpchk GET /busy", cells("DOWN", "L7STS", 503, "Service Temporarily Unavailable")),
        ("redis_asked_as_http", "redis", HTTP, cells("DOWN", "L7RSP", "", "")),
        ("ldap_asked_as_redis", "slapd", "option redis-check", {"status": "DOWN"}),
        ("http_asked_as_ldap", "nginx", "option ldap-check", cells("DOWN", "L7RSP", "", "Not LDAPv3 protocol")),
        ("http_asked_for_tls", "nginx", "option ssl-hello-chk", {"status": "DOWN", "check_status": "L6RSP"}),
        ("mysql_asked_as_smtp", "mariadb", "option smtpchk", {"status": "DOWN"}),
    ]
    text, wanted = config_for(tmp_path).replace("inter 250ms", "inter 1s"), {}
    for name, server, line, expected in backends:
        text += f"backend {name}\n    {line}\n    server s 127.0.0.1:{real[server]} check\n"
        if expected.get("last_chk") == "" and expected["status"] == "DOWN":
            del expected["last_chk"]  # HAProxy says nothing where we say why
        wanted[f"{name}/s"] = expected
    proxy(text, subject=subject)
    await_rows(tmp_path / "s", wanted)


@pytest.mark.needs("mariadbd", "redis-server", "postgres", "slapd", "smtp-sink", "nginx")
def test_a_user_that_mysql_does_not_know(proxy: StartProxy, tmp_path: pathlib.Path, real: dict[str, int], subject: str) -> None:
    server = f"server s 127.0.0.1:{real['mariadb']} check inter 1s"
    proxy(config_for(tmp_path) + f"backend b\n    option mysql-check user nobody post-41\n    {server}\n", subject=subject)
    found = await_rows(tmp_path / "s", {"b/s": {"status": "DOWN", "check_status": "L7STS", "check_code": "1045"}})
    assert "Access denied for user 'nobody'@'127.0.0.1'" in found["b/s"]["last_chk"]


# --- flapping, agents, traffic, tracking -----------------------------------------------------------------------------


def test_flapping_is_seen_in_log_statistics_and_traffic(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], logs: LogReceiver, subject: str
) -> None:
    healthy = [True]

    def flapping(connection: socket.socket) -> None:
        answers(OK if healthy[0] else BUSY)(connection)

    server = liars(flapping)
    text = config_for(tmp_path, mode="http", more=f"    log 127.0.0.1:{logs.port} local0", front="") + f"""
    log global
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    option httpchk
    server s 127.0.0.1:{server.port} check inter 50ms rise 2 fall 2
backend tracking
    server t 127.0.0.1:{server.port} track app/s
"""
    running_proxy = proxy(text, subject=subject)
    path = tmp_path / "s"
    for round_ in range(2):
        await_rows(path, {"app/s": {"status": "UP", "chkdown": str(round_)}, "tracking/t": {"tracked": "app/s"}})
        healthy[0] = False
        await_rows(path, {"app/s": {"status": "DOWN", "chkdown": str(round_ + 1)}, "tracking/t": {"status": "DOWN"}})
        assert get(running_proxy).status == 503
        healthy[0] = True
    await_rows(path, {"app/s": {"status": "UP"}})
    assert get(running_proxy).status == 200
    assert logs.line("Server app/s is DOWN, reason: Layer7 wrong status, code: 503")
    assert logs.line("Server app/s is UP, reason: Layer7 check passed, code: 200")
    assert logs.line("Server tracking/t is DOWN via app/s")


def test_a_stopped_server_that_answers_404(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], subject: str
) -> None:
    """4.2 http-check disable-on-404: it stays stopped, unless it is told to expect that."""
    server = liars(answers(BUSY))
    text = config_for(tmp_path) + "".join(f"""
backend {name}
    option httpchk
    http-check disable-on-404
    {rule}
    server s 127.0.0.1:{server.port} check inter 100ms
""" for name, rule in (("plain", ""), ("expecting", "http-check expect status 404")))
    proxy(text, subject=subject)
    path = tmp_path / "s"
    await_rows(path, {name: {"status": "DOWN", "check_code": "503"} for name in ("plain/s", "expecting/s")})
    server.handler = answers(GONE)
    stays = cells("DOWN", "L7STS", 404, "Not Found")
    await_rows(path, {"plain/s": stays, "expecting/s": {"status": "NOLB", "check_status": "L7OKC"}})
    seen = server.connections
    wait_until(lambda: server.connections > seen + 6, "it was checked some more times")
    await_rows(path, {"plain/s": stays})


def test_who_tracks_has_the_administrative_state_too(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], logs: LogReceiver, subject: str
) -> None:
    """Over two servers, and beside an agent of its own (5.2 track, agent-check)."""
    server, agent = liars(answers(OK)), liars(says(b"up\n"))
    text = config_for(tmp_path, mode="http", more=f"    log 127.0.0.1:{logs.port} local0", front="") + f"""
    log global
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    server s 127.0.0.1:{server.port} check inter 100ms
backend tracking
    server t 127.0.0.1:{server.port} track app/s
    server u 127.0.0.1:{server.port} track tracking/t
    server a 127.0.0.1:{server.port} track app/s agent-check agent-port {agent.port} agent-inter 100ms
"""
    proxy(text, subject=subject)
    path = tmp_path / "s"
    everybody = ("app/s", "tracking/t", "tracking/u", "tracking/a")
    await_rows(path, {name: {"status": "UP"} for name in everybody})
    for state, status in (("drain", "DRAIN"), ("maint", "MAINT (via "), ("drain", "DRAIN"), ("ready", "UP")):
        ask_socket(path, f"set server app/s state {state}")
        shown = {"tracking/t": "app/s)", "tracking/u": "tracking/t)", "tracking/a": "app/s)"} if status.endswith(" ") else {}
        await_rows(path, {name: {"status": status + shown.get(name, "")} for name in everybody[1:]})
    for line in (
        "Server tracking/t enters drain state via app/s. ", "Server tracking/u enters drain state via tracking/t. ",
        "Server tracking/a is going DOWN for maintenance via app/s. ", "Server tracking/t is UP/DRAIN (leaving maintenance).",
        "Server tracking/u is UP (leaving forced drain).",
    ):
        assert logs.line(line)
    agent.handler = says(b"down\n")
    await_rows(path, {"tracking/a": {"agent_status": "L7STS"}, "tracking/t": {"status": "UP"}})
    wait_until(lambda: rows(path)["tracking/a"]["status"].startswith("DOWN"), "the agent is heard")


@pytest.mark.parametrize("command", ["set server app/s state maint", "disable server app/s"])
def test_sessions_end_when_a_server_goes_into_maintenance(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], subject: str, command: str
) -> None:
    """`on-marked-down shutdown-sessions` is for every way to go down."""
    slow = liars(says_and_stays(b""))
    text = config_for(tmp_path, front="") + f"""
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    server s 127.0.0.1:{slow.port} on-marked-down shutdown-sessions
"""
    running = proxy(text, subject=subject)
    with socket.create_connection(("127.0.0.1", running.port), 10) as client:
        wait_until(lambda: slow.connections == 1, "the server has a session")
        ask_socket(tmp_path / "s", command)
        client.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""


@pytest.mark.parametrize("workers", [1, 2])
def test_the_administrator_says_how_servers_are(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], logs: LogReceiver, subject: str, workers: int
) -> None:
    """Also those that nothing checks (management manual 9.3 set server health)."""
    server, agent = liars(answers(OK)), liars(says(b"ready\n"))
    more = f"    nbthread {workers}\n    log 127.0.0.1:{logs.port} local0"
    text = config_for(tmp_path, mode="http", more=more, front="") + f"""
    log global
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    server s 127.0.0.1:{server.port}
backend others
    server t 127.0.0.1:{server.port} track others/c
    server a 127.0.0.1:{server.port} agent-check agent-port {agent.port}
    server c 127.0.0.1:{server.port} check inter 1h
"""
    running_proxy = proxy(text, subject=subject)
    path = tmp_path / "s"
    await_rows(path, {"app/s": {"status": "no check"}})
    statuses: dict[str, tuple[str, int]] = {"down": ("DOWN", 503), "stopping": ("NOLB", 503), "up": ("no check", 200)}

    def answered(status: int) -> bool:
        return {get(running_proxy).status for _ in range(5)} == {status}

    for health, (shown, status) in statuses.items():
        ask_socket(path, f"set server app/s health {health}")
        await_rows(path, {"app/s": {"status": shown}})
        wait_until(lambda status=status: answered(status), "the traffic follows")
    ask_socket(path, "set server app/s health down; set server others/a health stopping; set server others/c health down")
    await_rows(path, {"app/s": {"status": "DOWN"}, "others/a": {"status": "NOLB"}, "others/t": {"status": "DOWN"}})
    assert ask_socket(path, "set server others/t health up").strip() == "cannot change health on a tracking server."
    ask_socket(path, "disable server app/s; enable server app/s")
    await_rows(path, {"app/s": {"status": "no check"}})
    for said in (
        "Server app/s is DOWN, changed from CLI. 0 active", "Server app/s is UP, changed from CLI. 1 active",
        "Server others/a is stopping, changed from CLI. ", "Server others/t is DOWN via others/c. ",
    ):
        assert logs.line(said)


def test_those_who_track_a_server_that_is_checked_no_more(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], stack: contextlib.ExitStack, logs: LogReceiver
) -> None:
    text = config_for(tmp_path, mode="http", more=f"    log 127.0.0.1:{logs.port} local0", front="") + f"""
    log global
    option log-health-checks
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    server s 127.0.0.1:{refused_port(stack)} check inter 100ms fall 1
    server a 127.0.0.1:1 agent-check agent-port {refused_port(stack)} agent-inter 100ms
backend tracking
    server t 127.0.0.1:1 track app/s
"""
    proxy(text)
    path = tmp_path / "s"
    await_rows(path, {"app/s": {"status": "DOWN"}, "tracking/t": {"status": "DOWN"}})
    assert logs.line("Agent check for server app/a failed, reason: Layer4 connection problem")
    ask_socket(path, "disable health app/s")
    await_rows(path, {"app/s": {"status": "no check"}, "tracking/t": {"status": "UP"}})
    assert logs.line("Server app/s is UP, reason: no longer checked. ") and logs.line("Server tracking/t is UP via app/s. ")


def test_checks_of_servers_that_are_added_connect_as_these_say(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], subject: str
) -> None:
    """5.2 check: TLS and the PROXY header of the traffic are not theirs."""
    heard: dict[str, bytes] = {}
    proxy(config_for(tmp_path) + "backend b\n    balance roundrobin\n    option httpchk\n", subject=subject)
    path = tmp_path / "s"
    for name, options in (("plain", ""), ("own", "check-ssl check-send-proxy")):

        def hears(connection: socket.socket, name: str = name) -> None:
            said = connection.recv(1024)
            heard[name] = said + (connection.recv(1024) if said.endswith(b"\r\n") and said.startswith(b"PROXY") else b"")

        server = f"b/{name}"
        line = f"{server} 127.0.0.1:{liars(hears).port} ssl verify none send-proxy check inter 100 {options}"
        ask_socket(path, f"add server {line}; enable health {server}; enable server {server}")
        await_rows(path, {server: {"status": "DOWN"}})
    assert heard["plain"].startswith(b"OPTIONS / ")
    assert re.match(rb"PROXY .*\r\n\x16\x03", heard["own"])


AGENTS = [
    (b"up\n", {"status": "no check", "agent_status": "L7OK", "last_agt": "via agent : up", "weight": "40"}),
    (b"down # sick of it\n", {"status": "DOWN (agent)", "agent_status": "L7STS", "last_agt": "via agent : down (sick of it)"}),
    (b"stopped # maint\n", {"status": "DOWN (agent)", "agent_code": "0", "last_agt": "via agent : stopped (maint)"}),
    (b"drain\n", {"status": "DRAIN (agent)", "agent_status": "CHECKED", "last_agt": ""}),
    (b"maint\n", {"status": "MAINT", "agent_status": "CHECKED", "agent_desc": "No status change"}),
    (b"ready\n", {"status": "no check"}),
    (b"75%\n", {"weight": "30"}),
    (b"up 50% maxconn:30\n", {"weight": "20", "slim": "30", "last_agt": "via agent : up"}),
    (b"rubbish\n", {"status": "no check", "agent_status": "CHECKED", "last_agt": "agent reports an error : rubbish"}),
    (b"maxconn:abc\n", {"last_agt": "agent warns : maxconn string empty or preceded by garbage"}),
    (b"", {"status": "no check", "agent_status": "L7RSP", "last_agt": "TCPCHK got an empty response at step 2"}),
    (b"75", {"status": "no check", "agent_status": "L7TOUT"}),
    (b"x" * 200_000, {"status": "no check", "agent_status": "L7TOUT"}),
    (b"\x01\x02\n", {"status": "no check", "agent_status": "CHECKED"}),
]


def test_agents_elsewhere(proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], subject: str) -> None:
    """5.2 addr, agent-addr."""
    port = liars(says(b"up\n")).port
    agent = f"agent-check agent-port {port} agent-inter 100ms"
    text = config_for(tmp_path) + f"""
backend b
    server a 127.0.0.99:1 addr 127.0.0.1 {agent}
    server b 127.0.0.99:1 addr 127.0.0.98 agent-addr 127.0.0.1 {agent}
"""
    proxy(text, subject=subject)
    await_rows(tmp_path / "s", {name: {"agent_status": "L7OK"} for name in ("b/a", "b/b")})


def test_agents(proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], subject: str) -> None:
    text, wanted = config_for(tmp_path), {}
    for number, (line, expected) in enumerate(AGENTS):
        port = liars(says(line)).port
        text += f"""
backend a{number}
    balance roundrobin
    server s 127.0.0.1:1 weight 40 agent-check agent-port {port} agent-inter 250ms
"""
        wanted[f"a{number}/s"] = expected
    silent = liars(says_and_stays(b"")).port
    text += f"\nbackend silent\n    server s 127.0.0.1:1 agent-check agent-port {silent} agent-inter 250ms\n"
    wanted["silent/s"] = {"status": "no check", "agent_status": "L7TOUT", "last_agt": ""}
    running = proxy(text, subject=subject).program
    try:
        await_rows(tmp_path / "s", wanted)
    except AssertionError:
        if subject == "haproxy" and (code := running.process.poll()) is not None:
            pytest.skip(f"HAProxy did not survive its agents: it ended with {code}")
        raise


@pytest.mark.parametrize("workers", [1, 3])
def test_traffic_takes_a_server_down(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], workers: int
) -> None:
    """Errors of all workers count as one row."""
    text = config_for(tmp_path, mode="http", more=f"    nbthread {workers}", front="") + f"""
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    option httpchk
    http-check expect status 503
    server s 127.0.0.1:{liars(answers(BUSY)).port} check inter 1h observe layer7 error-limit 6 on-error mark-down
"""
    running_proxy = proxy(text)
    path = tmp_path / "s"
    await_rows(path, {"app/s": {"check_status": "L7OK"}})
    statuses = [get(running_proxy).status for _ in range(6)]
    assert statuses == [503] * 6
    await_rows(path, {"app/s": {
        "status": "DOWN", "check_status": "HANA", "hanafail": "1", "check_desc": "Health analyze",
        "last_chk": "Detected 6 consecutive errors, last one was: Wrong http response",
    }})


def test_traffic_that_can_t_connect(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], stack: contextlib.ExitStack, subject: str
) -> None:
    text = config_for(tmp_path, front="") + f"""
    retries 0
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    default-server inter 1h observe layer4 error-limit 3 on-error mark-down
    server s 127.0.0.1:{refused_port(stack)} check port {liars(says(b'')).port}
"""
    running_proxy = proxy(text, subject=subject)
    for _ in range(4):
        assert running_proxy.connect().at_end()
    await_rows(tmp_path / "s", {"app/s": {
        "status": "DOWN", "check_status": "HANA",
        "last_chk": "Detected 3 consecutive errors, last one was: L4 unsuccessful connection",
    }})


@pytest.mark.parametrize("workers", [1, 2])
def test_traffic_sees_process_variables_that_checks_set(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], subject: str, workers: int
) -> None:
    server = liars(says(b"one"))
    text = config_for(tmp_path, mode="http", more=f"    nbthread {workers}", front="") + f"""
frontend web
    bind 127.0.0.1:{{port}}
    http-request return status 200 content-type text/plain lf-string %[var(proc.word)]
backend app
    option tcp-check
    tcp-check expect rstring [a-z]+
    tcp-check set-var(proc.word) res.payload(0,3)
    server s 127.0.0.1:{server.port} check inter 100ms
"""
    running_proxy = proxy(text, subject=subject)
    for word in (b"one", b"two"):
        server.handler = says(word)
        wait_until(lambda word=word: {get(running_proxy).body for _ in range(10)} == {word}, "all workers know it")


# --- external checks, SOCKS4, sections, mails ------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_external_checks(proxy: StartProxy, tmp_path: pathlib.Path, subject: str, workers: int) -> None:
    probe = tmp_path / "probe.sh"
    seen_at = tmp_path / "seen"
    seen_by = f'echo "$* $HAPROXY_SERVER_NAME $(id -u)" >> {seen_at}'
    probe.write_text(f'#!/bin/sh\n{seen_by}\n[ "$HAPROXY_SERVER_NAME" = good ]\n')
    probe.chmod(probe.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    text = config_for(tmp_path, more=f"    external-check\n    insecure-fork-wanted\n    nbthread {workers}") + f"""
backend app
    option external-check
    external-check path /usr/bin:/bin
    external-check command {probe}
    server good 127.0.0.1:1 check
    server bad 127.0.0.1:2 check
"""
    proxy(text, subject=subject)
    await_rows(tmp_path / "s", {
        "app/good": cells("UP", "PROCOK", 0, ""),
        "app/bad": cells("DOWN", "PROCERR", 1, "") | {"check_desc": "External check error"},
    })
    seen = set(seen_at.read_text().splitlines())
    user = os.getuid()
    assert seen == {f"NOT_USED NOT_USED 127.0.0.1 1 good {user}", f"NOT_USED NOT_USED 127.0.0.1 2 bad {user}"}


def test_through_a_socks4_proxy(proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], subject: str) -> None:
    """Traffic and checks come to a server that only the proxy can reach."""
    asked: list[bytes] = []
    origin = liars(answers(OK))

    def socks(connection: socket.socket) -> None:
        asked.append(connection.recv(1024)[:8])
        connection.sendall(b"\0\x5a" + bytes(6))
        with socket.create_connection(("127.0.0.1", origin.port)) as onward:
            data = connection.recv(65536)
            onward.sendall(data)
            while data := onward.recv(65536):
                connection.sendall(data)

    relay = liars(socks)
    text = config_for(tmp_path, mode="http", front="") + f"""
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    option httpchk
    server s 10.255.255.1:8080 socks4 127.0.0.1:{relay.port} check check-via-socks4
"""
    running_proxy = proxy(text, subject=subject)
    await_rows(tmp_path / "s", {"app/s": cells("UP", "L7OK", 200, "")})
    assert get(running_proxy).body == b"hello"
    assert set(asked) == {b"\x04\x01\x1f\x90\x0a\xff\xff\x01"}


def test_healthcheck_sections(proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar]) -> None:
    """Each server of a backend is checked its own way."""
    redis, web = liars(answers(b"+PONG\r\n")), liars(answers(OK))
    text = config_for(tmp_path) + f"""
healthcheck cache
    type redis-check
healthcheck page
    type httpchk GET /%[srv_name]
    http-check expect string hello
backend app
    option tcp-check
    tcp-check expect string nope
    server r 127.0.0.1:{redis.port} check healthcheck cache
    server w 127.0.0.1:{web.port} check healthcheck page
    server o 127.0.0.1:{web.port} check
"""
    proxy(text.replace("GET /%[srv_name]", "GET /page"))
    await_rows(tmp_path / "s", {
        "app/r": cells("UP", "L7OK", 0, "Redis server is ok"), "app/w": cells("UP", "L7OK", 200, ""), "app/o": {"status": "DOWN"},
    })


def test_broken_connections(proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], subject: str) -> None:
    text = config_for(tmp_path) + f"backend b\n    option redis-check\n    server s 127.0.0.1:{liars(resets).port} check\n"
    proxy(text, subject=subject)
    found = await_rows(tmp_path / "s", {"b/s": {"status": "DOWN"}})
    assert found["b/s"]["check_status"] in ("SOCKERR", "L7STS", "L7RSP", "L4CON")


@pytest.mark.needs("smtp-sink")
@pytest.mark.parametrize("workers", [1, 2])
def test_mails(proxy: StartProxy, tmp_path: pathlib.Path, stack: contextlib.ExitStack, workers: int) -> None:
    """Postfix's own test server takes the mail about a server that went down."""
    from tests.interop.programs import Program, free_port

    port = free_port()
    spool = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headgate-mails-")))
    spool.chmod(0o777)
    user = ["-u", "nobody"] if not os.geteuid() else []
    sink = Program(["smtp-sink", *user, "-d", f"{spool}/%H%M%S.", f"127.0.0.1:{port}", "16"], tmp_path, "smtp-sink")
    stack.callback(sink.stop)
    sink.await_ports([port])
    text = config_for(tmp_path, more=f"    nbthread {workers}") + f"""
mailers team
    timeout mail 5s
    mailer m1 127.0.0.1:{port}
backend app
    email-alert mailers team
    email-alert from lb@x.example
    email-alert to ops@x.example
    server s 127.0.0.1:{refused_port(stack)} check
"""
    proxy(text)
    wait_until(lambda: any(spool.iterdir()), "a mail comes")

    def mail() -> str:
        return "".join(path.read_text() for path in spool.iterdir())

    wait_until(lambda: "0 active and 0 backup servers left" in mail(), "it is complete")
    assert "Subject: [HAProxy Alert] Server app/s is DOWN, reason: Layer4 connection problem" in mail()
    assert "ops@x.example" in mail()


def test_init_state(tmp_path: pathlib.Path, proxy: StartProxy, liars: Callable[..., Liar]) -> None:
    """A server that starts `down` takes no traffic before its first check passed; `fully-down` needs `rise` of them."""
    text = config_for(tmp_path) + f"""
backend app
    server first 127.0.0.1:{liars(says(b'')).port} check inter 250ms init-state down
    server later 127.0.0.1:{liars(says(b'')).port} check inter 1h fastinter 250ms rise 3 init-state fully-down
    server never 127.0.0.1:{liars(says(b'')).port} check inter 1h rise 3 init-state fully-down
"""
    proxy(text)
    await_rows(tmp_path / "s", {
        "app/first": {"status": "UP"}, "app/later": {"status": "UP"}, "app/never": {"status": "DOWN 1/3"},
    })
    assert rows(tmp_path / "s")["app/never"]["check_status"] == "L4OK"


@pytest.mark.parametrize("workers", [1, 3])
def test_what_an_agent_says_reaches_the_traffic_of_all_workers(
    proxy: StartProxy, tmp_path: pathlib.Path, liars: Callable[..., Liar], workers: int
) -> None:
    first, second = liars(answers(OK)), liars(answers(OK))
    line = [b"maint\n"]
    agent = liars(lambda connection: says(line[0])(connection))
    text = config_for(tmp_path, mode="http", more=f"    nbthread {workers}", front="") + f"""
frontend web
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    balance roundrobin
    server a 127.0.0.1:{first.port} agent-check agent-port {agent.port} agent-inter 100ms
    server b 127.0.0.1:{second.port}
"""
    running_proxy = proxy(text)
    path = tmp_path / "s"
    for word, state in ((b"maint\n", "MAINT"), (b"ready down\n", "DOWN (agent)"), (b"up 0%\n", "DRAIN (agent)")):
        line[0] = word
        await_rows(path, {"app/a": {"status": state}})
        # Workers follow behind the controller: from the first request on that finds all of them there, none comes here.
        wait_until(lambda: _comes_to(second, first, running_proxy), "no worker sends anything to the server")
    line[0] = b"ready up 100%\n"
    await_rows(path, {"app/a": {"status": "no check", "weight": "1"}})
    before = first.connections
    wait_until(lambda: get(running_proxy).status == 200 and first.connections > before, "it takes traffic again")


def _comes_to(wanted: Liar, avoided: Liar, running_proxy: Proxy) -> bool:
    """Whether a dozen requests all come to one server."""
    before = wanted.connections, avoided.connections
    assert all(get(running_proxy).status == 200 for _ in range(12))
    return (wanted.connections, avoided.connections) == (before[0] + 12, before[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("workers", [1, 2])
def test_external_checks_run_as_the_configured_user(
    proxy: StartProxy, tmp_path: pathlib.Path, stack: contextlib.ExitStack, subject: str, workers: int
) -> None:
    directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headgate-probe-")))
    directory.chmod(0o777)
    probe = directory / "probe.sh"
    said = '"$(id -un) $(ls /proc/self/fd | wc -l)"'
    probe.write_text(f"#!/bin/sh\necho {said} > {directory}/new && mv {directory}/new {directory}/seen\n")
    probe.chmod(0o755)
    more = f"    external-check\n    insecure-fork-wanted\n    nbthread {workers}\n    user nobody"
    text = config_for(tmp_path, more=more) + f"""
backend app
    option external-check
    external-check path /usr/bin:/bin
    external-check command {probe}
    server s 127.0.0.1:1 check
"""
    proxy(text, subject=subject)
    wait_until((directory / "seen").exists, "the program ran")
    user, descriptors = (directory / "seen").read_text().split()
    assert user == "nobody"
    if subject == "headgate":
        assert int(descriptors) <= 4  # its own three, and the one that lists them
