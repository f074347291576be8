"""Changes through the stats socket: the same script for HAProxy and headgate, and with several workers at once."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, answer, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import DEADLINE, Program, children, free_port, start_subject, wait_until

ENOUGH = 50  # new connections, so that every worker gets some

MAPS = """
global
    nbthread 1
    stats socket {directory}/{subject}.sock mode 600 level admin
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend web
    bind 127.0.0.1:{port}
    acl starts path_beg /x /y
    acl hosts hdr(host) -i -f {directory}/words.lst
    acl nets src -f {directory}/nets.lst 10.0.0.0/8
    acl chosen path -m str -u 77 /u77
    acl found path,map_str({directory}/names.map) -m found
    acl exact path -f {directory}/words.lst
    acl keys path -M -f {directory}/names.map
    acl many src_port gt 1024
    http-request set-var(txn.a) path,map({directory}/names.map,other)
    http-request set-var(txn.b) src,map_ip_int({directory}/nets.map,0)
    http-request set-var(txn.c) path,map_reg({directory}/regs.map)
    http-request set-var(txn.d) path,map_beg({directory}/begs.map)
    http-request set-var(txn.e) src_port,map_int({directory}/ints.map)
    http-request deny if starts or hosts nets chosen found or exact keys many
    default_backend app
backend app
    balance roundrobin
    cookie SRV insert dynamic
    dynamic-cookie-key K
    server s1 127.0.0.1:18081 weight 10
    server s2 127.0.0.1:18082 disabled cookie own
    server s3 127.0.0.1:18083
    use-server s1 if { path /us }
backend fixed
    balance static-rr
    server s1 127.0.0.1:18081
"""
FILES = {
    "words.lst": "foo\nBar\n\nbaz\n",
    "nets.lst": "1.2.3.4\n",
    "names.map": "# comment\nexample.com bk1\nwww.example.com  bk two words   \ndup v1\ndup v2\n",
    "nets.map": "10.0.0.0/8 5\n10.1.0.0/16 6\n192.168.1.1 7\n",
    "regs.map": "^a.*b$ x\nc+ y\n",
    "begs.map": "/a A\n/ab AB\n",
    "ints.map": "1 one\n2 two\n10 ten\n",
}
PATTERN_SCRIPT = """
show map
show acl
show map {d}/names.map
show map #99
show acl {d}/words.lst
show acl #9
show acl #nosuch
get map {d}/names.map example.com
get map {d}/names.map nope
get map {d}/regs.map aab
get map {d}/regs.map ccc
get map {d}/nets.map 10.1.2.3
get map {d}/nets.map x
get map {d}/ints.map 2
get map {d}/begs.map /abc
get acl {d}/words.lst FOO
get acl {d}/words.lst foo
get acl #77 /u77
get acl {d}/nets.lst 10.1.1.1
get acl {d}/words.lst
get map
add map {d}/names.map k1 v1 with spaces
add map {d}/names.map k2
add map
add map nosuch a b
add acl {d}/words.lst new
add acl {d}/words.lst
add acl {d}/names.map x
add acl #0 /zz
show acl #0
add acl {d}/nets.lst notanip
add acl {d}/nets.lst 10.1.0.0/16
get map {d}/names.map k1
set map {d}/names.map dup vnew
set map {d}/names.map nokey v
set map {d}/names.map dup
set map {d}/names.map #0x12 aaa
show map {d}/names.map
del map {d}/names.map dup
del map {d}/names.map nokey
del map {d}/names.map
del map {d}/names.map #0x12
prepare map {d}/names.map
prepare map {d}/names.map
add map @1 {d}/names.map p1 v1
add map @2 {d}/names.map p2 v2
add map @9 {d}/names.map p9 v9
show map @1 {d}/names.map
show map @2 {d}/names.map
get map {d}/names.map p2
commit map @2 {d}/names.map
commit map @2 {d}/names.map
commit map {d}/names.map
commit map @9 {d}/names.map
show map {d}/names.map
prepare map nosuch
clear map {d}/names.map
show map {d}/names.map
clear map
clear acl nosuch
prepare acl {d}/words.lst
commit acl @1 {d}/words.lst
show acl {d}/words.lst
"""
SERVER_SCRIPT = """
get weight app/s1
set weight app/s1 50%
get weight app/s1
set server app/s1 weight 300
set server app/s1 weight 5x
set server app/s1 weight x
set server app/s1 weight
set weight fixed/s1 5
set server app/s1 state
set server app/s1 state drain
set server app/s1 state ready
set server app/s1 addr
set server app/s1 addr 1.2.3.4
set server app/s1 addr 1.2.3.4
set server app/s1 addr 1.2.3.4 port 80
set server app/s1 addr ::1 port +80
set server app/s1 addr 1.2.3.4 port x
set server app/s1 addr foo
set server app/s1 addr 127.0.0.1 port 18081
set server app/s1 check-addr
set server app/s1 check-addr 1.1.1.1
set server app/s1 check-port
set server app/s1 fqdn
set server app/s1 fqdn foo
set server app/s1 ssl on
set server app/s1 agent up
set server app/s1 agent-send x
enable agent app/s1
disable agent app/s1
enable health app/s1
disable health app/s1
set maxconn server app/s1
set maxconn server app/s1 x
set maxconn server app/s1 10
set maxconn server
enable server
disable server app/s3
add server app/n1 127.0.0.1:1234
add server app/n1 127.0.0.1:1234
add server app/n2
add server nobody/n2 127.0.0.1:1
add server app/n3 127.0.0.1:1 bogus
add server app/n4 127.0.0.1:2 backup
add server app/n5 127.0.0.1:2 check inter 100 weight 5
add server fixed/n5 127.0.0.1:2
add server app/n6 nohost.example:33
add server app/n12 127.0.0.1:1 id 50
add server app/n14 127.0.0.1:1 ssl verify none
add server app/n15 127.0.0.1:1 enabled
add server app/n16 127.0.0.1:1 disabled
add server app/n18 127.0.0.1 check
add server app/n19 127.0.0.1:1 resolvers x
add server app/bad@name 127.0.0.1:1
show servers state app
enable health app/n1
enable server app/n4
del server app/n4
disable server app/n4
del server app/n4
del server app/s1
del server app/s3
del server app/nobody
show servers state app
enable frontend web
disable frontend web
disable frontend web
enable frontend web
disable frontend
disable frontend nobody
set rate-limit
set rate-limit connections foo 5
set rate-limit connections global
set rate-limit connections global 5
set rate-limit sessions global 5
get var
get var proc.x
set var proc.x int(5)
experimental-mode on; set var proc.x int(5); get var proc.x
experimental-mode on; set var proc.y fmt %[str(a)]b; get var proc.y; set var proc.z; set var; set var txn.y int(1)
enable dynamic-cookie backend app
disable dynamic-cookie backend app
set dynamic-cookie-key backend app foo
enable dynamic-cookie backend nobody
set dynamic-cookie-key backend app
"""


def ask(path: pathlib.Path, lines: str) -> str:
    """What a connection of its own answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(str(path))
        connection.sendall(lines.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while data := connection.recv(65536):
            parts.append(data)
    return b"".join(parts).decode()


def _normal(text: str, subject: str) -> str:
    """Without what no two processes have in common."""
    text = re.sub(r"0x[0-9a-f]+", "0x_", text.replace(f"{subject}.cfg", "x.cfg"))
    # HAProxy 2.6 ends the answers of `get var` with one line feed only.
    lines = [line for line in re.sub(r"\n+", "\n", text.strip("\n")).split("\n") if "file 'httpclient'" not in line]
    # srv_time_since_last_change; behind it the columns of the checks, which HAProxy begins with its defaults for all servers.
    return "\n".join(re.sub(r"^(\d+ app (?:\S+ ){7})\d+ (?:\d+ ){5}", r"\1", line) for line in lines)


@pytest.fixture
def both(tmp_path: pathlib.Path) -> object:
    """Both programs with their sockets."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    running: list[Program] = []
    for subject in ("haproxy", "headgate"):
        port = free_port()
        text = MAPS.replace("{directory}", str(tmp_path)).replace("{subject}", subject).replace("{port}", str(port))
        running.append(start_subject(subject, text, tmp_path, [port]))
    yield tmp_path
    for program in running:
        program.stop()


@pytest.mark.needs("haproxy")
@pytest.mark.parametrize("script", [PATTERN_SCRIPT, SERVER_SCRIPT], ids=["patterns", "servers"])
def test_the_same_answers_as_haproxy(both: pathlib.Path, script: str) -> None:
    wait_until(lambda: all((both / f"{name}.sock").exists() for name in ("haproxy", "headgate")), "both sockets are there")
    said: dict[str, list[tuple[str, str]]] = {}
    for subject in ("haproxy", "headgate"):
        path = both / f"{subject}.sock"
        commands = script.strip().format(d=both).split("\n")
        said[subject] = [(command, _normal(ask(path, command), subject)) for command in commands]
    for ours, theirs in zip(said["headgate"], said["haproxy"], strict=True):
        assert ours == theirs


@pytest.mark.needs("haproxy")
def test_payloads(both: pathlib.Path) -> None:
    for subject in ("haproxy", "headgate"):
        path = both / f"{subject}.sock"
        wait_until(path.exists, "the socket is there")
        assert ask(path, f"add map {both}/names.map <<\nka va\nkb vb with space\n") == "\n"
        listed = ask(path, f"show map {both}/names.map").strip("\n").split("\n")[-2:]
        assert [line.split(" ", 1)[1] for line in listed] == ["ka va", "kb vb with space"]
        assert ask(path, f"add map {both}/names.map <<\nkc vc\nkz\n").startswith("Missing value for key 'kz'.")


# --- several workers -------------------------------------------------------------------------------------------------


class Cluster:
    """headgate with four workers in front of two servers, and a map that answers by itself."""

    def __init__(self, start: StartProxy, make: Callable[..., Backend], directory: pathlib.Path) -> None:
        self.path = directory / "stats.sock"
        self.one, self.two = make(answer(response(b"one"))), make(answer(response(b"two")))
        (directory / "paths.map").write_text("/first 1\n")
        self.map = directory / "paths.map"
        self.proxy: Proxy = start(
            f"""
            global
                nbthread 4
                stats socket {self.path} level admin
                stats timeout 10s
            defaults plain
                mode http
                timeout connect 5s
                timeout client 10s
                timeout server 10s
            frontend web from plain
                bind 127.0.0.1:{{port}}
                http-request set-map({self.map}) %[req.hdr(x-key)] %[req.hdr(x-value)] if {{ req.hdr(x-key) -m found }}
                http-request return status 200 content-type text/plain lf-string %[path,map({self.map})] if {{ path_beg /map }}
                use_backend %[path,field(3,/)] if {{ path_beg /backend/ }}
                default_backend app
            backend app from plain
                balance roundrobin
                server one 127.0.0.1:{self.one.port}
                server off 127.0.0.1:{self.one.port} disabled
            """,
            subject="headgate",
            arguments=("-W",),
        )
        self.proxy.program.await_output("Loading success")
        wait_until(lambda: self.path.exists() and self.says("show version"), "the controller answers")

    def says(self, line: str) -> str:
        return ask(self.path, line).strip("\n")

    def answers(self, target: str, headers: str = "") -> set[str]:
        """What so many new connections get, one after the other."""
        return {self.get(target, headers) for _ in range(ENOUGH)}

    def get(self, target: str, headers: str = "") -> str:
        wire = self.proxy.connect()
        wire.send(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())
        return read_response(wire).body.decode()


@pytest.fixture
def cluster(proxy: StartProxy, backend: Callable[..., Backend], tmp_path: pathlib.Path) -> Cluster:
    return Cluster(proxy, backend, tmp_path)


def test_a_map_changes_in_every_worker(cluster: Cluster) -> None:
    assert cluster.says(f"add map {cluster.map} /map/a hello") == ""
    assert cluster.answers("/map/a") == {"hello"}
    assert cluster.says(f"set map {cluster.map} /map/a other") == ""
    assert cluster.answers("/map/a") == {"other"}
    new = cluster.says(f"prepare map {cluster.map}").rsplit(" ", 1)[1]
    assert cluster.says(f"add map @{new} {cluster.map} /map/a new; commit map @{new} {cluster.map}") == ""
    assert cluster.answers("/map/a") == {"new"}
    number = cluster.says(f"show map {cluster.map}").split(" ")[0]
    assert cluster.says(f"del map {cluster.map} #{number}") == ""
    assert cluster.answers("/map/a") == {""}


def test_what_a_rule_puts_into_a_map_reaches_all(cluster: Cluster) -> None:
    cluster.get("/", "X-Key: /map/b\r\nX-Value: by; a rule\r\n")
    wait_until(lambda: cluster.answers("/map/b") == {"by; a rule"}, "all workers know what one was told")
    assert cluster.says(f"show map {cluster.map}").split("\n")[-1].split(" ", 1)[1] == "/map/b by; a rule"


def test_servers_change_in_every_worker(cluster: Cluster) -> None:
    assert cluster.says(f"add server app/three 127.0.0.1:{cluster.two.port}") == "New server registered."
    assert cluster.answers("/") == {"one"}
    assert cluster.says("enable server app/three; disable server app/one").strip() == ""
    assert cluster.answers("/") == {"two"}
    cluster.says(f"set server app/three addr 127.0.0.1 port {cluster.one.port}")
    assert cluster.answers("/") == {"one"}
    cluster.says("enable server app/one; disable server app/three")
    assert cluster.says("wait 5s srv-removable app/three; del server app/three") == "Done.\n\nServer deleted."
    assert cluster.answers("/") == {"one"} and "three" not in cluster.says("show servers state app")


def test_a_backend_comes_in_every_worker(cluster: Cluster) -> None:
    assert cluster.says("add backend late from plain") == "New backend registered."
    cluster.says(f"add server late/s 127.0.0.1:{cluster.two.port} enabled")
    assert cluster.answers("/backend/late") == {"one"}, "it is not published"
    assert cluster.says("publish backend late") == "Backend published."
    assert cluster.answers("/backend/late") == {"two"}
    cluster.says("unpublish backend late; disable server late/s; wait 5s srv-removable late/s; del server late/s")
    assert cluster.says("wait 5s be-removable late; del backend late") == "Done.\n\nBackend deleted."
    assert cluster.answers("/backend/late") == {"one"}


def test_who_comes_later_knows_all(cluster: Cluster) -> None:
    cluster.says(f"add server app/three 127.0.0.1:{cluster.two.port} enabled; disable server app/one")
    cluster.says(f"add map {cluster.map} /map/a first; set map {cluster.map} /map/a hello")
    (launcher,) = children(cluster.proxy.program.process.pid)

    def workers() -> list[int]:
        return children(launcher)[1:]

    before = workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(workers()) == 4 and not set(workers()) & set(before), "other workers are there")
    wait_until(lambda: cluster.says("show version"), "the controller answers")
    assert cluster.answers("/") == {"two"}
    assert cluster.answers("/map/a") == {"hello"}
