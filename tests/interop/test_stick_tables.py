"""Stick tables: rate limits, general purpose counters, stickiness, the runtime API; the same for HAProxy and headgate."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import ssl
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from tests.interop.backends import Backend, Wire, answer, read_request, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import ask_socket, children, wait_until
from tests.interop.test_servers import ask, counted, farm
from tests.interop.tls_client import TLS_1_2, client_context, visit

MakeBackend = Callable[..., Backend]

_VARYING = re.compile(r"0x[0-9a-f]+|(?<=exp=)\d+|shard=0 |(?<=_cnt=)\d{3,}|(?<=0000\)=)\d{3,}")


def command(path: pathlib.Path, line: str) -> str:
    """The answer of the stats socket to one line."""
    return ask_socket(path, line).rstrip("\n")


def comparable(text: str) -> list[str]:
    """An answer without what differs from run to run."""
    return sorted(_VARYING.sub("", line) for line in text.splitlines())


def with_socket(config: str, directory: pathlib.Path, name: str = "cli", more: str = "") -> tuple[str, pathlib.Path]:
    path = directory / f"{name}.sock"
    defaults = "defaults\n mode http\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n"
    return f"global\n stats socket {path} level admin\n{more}{defaults}{config}", path


def statuses(started: Proxy, count: int, target: str = "/") -> list[int]:
    return [ask(started, target).status for _ in range(count)]


@pytest.mark.parametrize(
    "rules",
    [
        ["http-request track-sc0 src", "http-request deny deny_status 429 if { sc_http_req_rate(0) gt 3 }"],
        ["http-request track-sc1 src table web", "http-request deny deny_status 429 if { sc1_http_req_rate gt 3 }"],
        ["tcp-request connection track-sc0 src", "http-request deny deny_status 429 if { sc0_http_req_rate(web) gt 3 }"],
        ["tcp-request session track-sc0 src", "http-request deny deny_status 429 if { src_http_req_rate gt 3 }"],
        ["tcp-request content track-sc0 src", "http-request deny deny_status 429 if { src,table_http_req_rate(web) gt 3 }"],
        ["http-request track-sc0 src", "acl abuse sc_http_req_cnt(0) ge 4", "http-request deny deny_status 429 if abuse"],
    ],
)
def test_rate_limit_by_source(rules: list[str], proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    table = "stick-table type ip size 100k expire 30s store http_req_rate(20s),http_req_cnt"
    started = proxy(farm({"a": (backend().port, "")}, table, *rules))
    assert statuses(started, 6) == [200, 200, 200, 429, 429, 429]


def test_a_table_in_a_backend_without_servers(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    config = farm(
        {"a": (backend().port, "")}, "http-request track-sc0 url_param(user) table users",
        "http-request deny if { sc_http_req_cnt(0,users) gt 2 }",
    ) + "backend users\n stick-table type string len 20 size 1m expire 1m store http_req_cnt\n"
    started = proxy(config)
    assert statuses(started, 3, "/?user=ann") == [200, 200, 403]
    assert statuses(started, 2, "/?user=bob") == [200, 200]
    assert statuses(started, 4) == [200] * 4


def test_general_purpose_counters_and_tags(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    started = proxy(farm(
        {"a": (backend().port, "")}, "stick-table type ip size 10 expire 1m store gpc0,gpt0,gpc0_rate(20s)",
        "http-request track-sc0 src", "http-request sc-inc-gpc0(0) if { path /up }",
        "http-request sc-set-gpt0(0) 7 if { path /tag }",
        "http-request set-var(txn.cleared) src_clr_gpc0 if { path /clear }",
        "http-request deny if { path /down } { src_inc_gpc0 gt 4 }",
        "http-response set-header x %[sc_get_gpc0(0)]/%[sc0_get_gpt0]/%[src_get_gpc0(web)]/%[sc_gpc0_rate(0)]/"
        "%[var(txn.cleared)]",
    ))
    told = [ask(started, path).all("x") for path in ("/up", "/up", "/tag", "/down", "/clear", "/up")]
    assert told == [["1/0/1/1/"], ["2/0/2/2/"], ["2/7/2/2/"], ["3/7/3/3/"], ["0/7/0/3/3"], ["1/7/1/4/"]]


def test_arrays(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    started = proxy(farm(
        {"a": (backend().port, "")}, "stick-table type ip size 10 expire 1m store gpc(3),gpt(2),gpc_rate(3,20s)",
        "http-request track-sc0 src", "http-request sc-inc-gpc(2,0)", "http-request sc-set-gpt(1,0) path,length",
        "http-request sc-inc-gpc1(0)",
        "http-response set-header x %[sc_get_gpc(2,0)]/%[sc_get_gpt(1,0)]/%[src_get_gpc(1,web)]/"
        "%[sc_gpc_rate(2,0)]/%[sc_get_gpc0(0)]",
    ))
    assert [ask(started, path).all("x") for path in ("/", "/four")] == [["1/1/1/1/0"], ["2/5/2/2/0"]]


def test_converters(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    started = proxy(farm(
        {"a": (backend().port, "")}, "stick-table type string len 8 size 10 expire 1m store http_req_cnt,gpc0",
        "http-request track-sc0 path",
        "http-response set-header in %[str(/a),in_table]/%[str(/zz),in_table(web)]",
        "http-response set-header count %[str(/a),table_http_req_cnt]/%[str(/zz),table_http_req_cnt(web)]/"
        "%[table_cnt]/%[table_avl(web)]",
        "http-response set-header track %[sc_trackers(0)]/%[sc_tracked(0)]/%[sc_tracked(1)]",
    ))
    first = ask(started, "/a")
    assert (first.one("in"), first.one("count"), first.one("track")) == ("1/0", "1/0/1/9", "1/1/0")
    assert ask(started, "/a-very-long-path").one("count") == "1/0/2/8"


def test_connections_at_a_time(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    started = proxy(farm(
        {"a": (backend().port, "")}, "stick-table type ip size 10 store conn_cur,conn_cnt",
        "tcp-request connection track-sc0 src", "tcp-request connection reject if { sc_conn_cur(0) gt 2 }",
    ))
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    clients = [started.connect() for _ in range(2)]
    for client in clients:
        client.send(get)
        assert read_response(client).status == 200
    with contextlib.suppress(ConnectionResetError):  # refused before connect() had returned
        refused = started.connect()
        assert refused.at_end()
    clients[0].close()

    def serves() -> bool:
        try:
            with contextlib.closing(started.connect()) as client:
                client.send(get)
                return read_response(client).status == 200
        except (OSError, AssertionError, EOFError):
            return False

    wait_until(serves, "a place comes free")


def test_stick_on_source(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    servers = {name: (backend(name=name).port, "") for name in "abc"}
    started = proxy(farm(servers, "balance roundrobin", "stick-table type ip size 100 expire 1m", "stick on src"))
    assert len(counted(started, 9)) == 1


def test_stick_on_parameter_and_what_is_not_stuck(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    servers = {name: (backend(name=name).port, "non-stick" if name == "c" else "") for name in "abc"}
    started = proxy(farm(
        servers, "balance roundrobin", "stick-table type string len 32 size 100 expire 1m",
        "stick on url_param(u) unless { path /free }",
    ))
    chosen = [ask(started, "/?u=1").body, ask(started, "/?u=2").body, ask(started, "/?u=3").body]
    assert sorted(chosen) == [b"a", b"b", b"c"]
    for number, name in enumerate(chosen, 1):
        again = set(counted(started, 6, f"/?u={number}"))
        assert again == {name.decode()} or (name == b"c" and len(again) <= 2)
    assert len(counted(started, 9, "/free?u=1")) == 3
    assert len(counted(started, 9, "/")) == 3


def test_stick_store_response(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    """A session that the server named: the table learns it from the response, and finds it in the request."""

    def serve(name: str) -> Backend:
        return backend(answer(response(name.encode(), "200 OK", f"Set-Cookie: SID=of-{name}")), name=name)

    servers = {name: (serve(name).port, "") for name in "ab"}
    started = proxy(farm(
        servers, "balance roundrobin", "stick-table type string len 32 size 100 expire 1m", "stick store-response res.cook(SID)",
        "stick match req.cook(SID)",
    ))
    assert len(counted(started, 4)) == 2
    for name in "ab":
        assert counted(started, 5, "/", f"Cookie: SID=of-{name}") == {name: 5}


def test_stick_on_the_tls_session(
    proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path
) -> None:
    """The manual's example: TLS is passed on, the session ID of either hello leads back to the server that knows the session."""

    def serve(name: str) -> Backend:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = TLS_1_2
        context.options |= ssl.OP_NO_TICKET
        context.load_cert_chain(certificates / "site.pem")
        return backend(answer(response(name.encode())), name=name, tls=context)

    started = proxy(farm(
        {name: (serve(name).port, "") for name in "abc"}, "mode tcp", "balance roundrobin",
        "stick-table type binary len 32 size 30k expire 30m", "acl clienthello req.ssl_hello_type 1",
        "acl serverhello res.ssl_hello_type 2", "tcp-request inspect-delay 5s", "tcp-request content accept if clienthello",
        "tcp-response content accept if serverhello", "stick on payload_lv(43,1) if clienthello",
        "stick store-response payload_lv(43,1) if serverhello",
    ))
    address = ("127.0.0.1", started.port)
    context = client_context(certificates, version=TLS_1_2)
    reached = set()
    for _ in range(3):
        first = visit(context, address)
        again = [visit(context, address, session=first.session) for _ in range(4)]
        assert {one.response.body for one in again} == {first.response.body}
        reached.add(first.response.body)
    assert reached == {b"a", b"b", b"c"}, "clients without a session are spread"


def test_cookie_comes_first(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    servers = {name: (backend(name=name).port, f"cookie {name}") for name in "ab"}
    started = proxy(farm(
        servers, "balance roundrobin", "cookie S insert indirect", "stick-table type ip size 10 expire 1m", "stick on src",
    ))
    first = ask(started).body.decode()
    other = "b" if first == "a" else "a"
    assert ask(started).body.decode() == first
    assert ask(started, "/", f"Cookie: S={other}").body.decode() == other
    assert ask(started).body.decode() == other  # `stick on` has stored it


def test_a_server_that_is_gone_is_replaced_in_the_table(
    proxy: StartProxy, backend: MakeBackend, subject: str, tmp_path: pathlib.Path
) -> None:
    servers = {name: (backend(name=name).port, "") for name in "ab"}
    config, cli = with_socket(
        farm(servers, "balance roundrobin", "stick-table type ip size 10 expire 1m", "stick on src"), tmp_path
    )
    started = proxy(config)
    first = ask(started).body.decode()
    command(cli, f"set server web/{first} state maint")
    other = ask(started).body.decode()
    assert other != first
    command(cli, f"set server web/{first} state ready")
    assert counted(started, 4) == {other: 4}


def test_tcp_mode(proxy: StartProxy, backend: MakeBackend, subject: str, tmp_path: pathlib.Path) -> None:
    servers = {name: (backend(name=name).port, "") for name in "ab"}
    config, cli = with_socket(farm(
        servers, "mode tcp", "balance roundrobin",
        "stick-table type ip size 10 expire 1m store conn_cnt,sess_cnt,bytes_in_cnt,conn_cur", "stick on src",
        "tcp-request connection track-sc0 src",
    ), tmp_path)
    started = proxy(config)
    assert len(counted(started, 4)) == 1
    wait_until(lambda: " use=0 " in command(cli, "show table web"), "all is let go")
    line = command(cli, "show table web").splitlines()[1]
    assert re.search(r"server_id=[12] .*conn_cnt=4 conn_cur=0 sess_cnt=4 .*bytes_in_cnt=[1-9]", line)


_ALL = (
    "http_req_cnt,http_req_rate(1m),http_err_cnt,http_err_rate(1m),http_fail_cnt,http_fail_rate(1m),conn_cnt,conn_rate(1m),conn_cur,"
    "sess_cnt,sess_rate(1m),bytes_in_cnt,bytes_in_rate(1m),bytes_out_cnt,bytes_out_rate(1m),gpc0,gpc1,gpt0,gpc0_rate(1m),"
    "gpc1_rate(1m)"
)
_STATUSES = ("200 OK", "404 Not Found", "500 Error", "501 Not Implemented", "503 Busy", "505 Version", "403 No", "301 There")


def _scenario(
    subject: str, proxy: StartProxy, backend: MakeBackend, directory: pathlib.Path, lines: Sequence[str]
) -> list[str]:
    """All that may be counted, once; what the table says then."""

    def behave(backend: Backend, wire: Wire) -> None:
        request = read_request(wire)
        target = request.start[1]
        if target == "/broken":
            wire.send(b"nonsense\r\n\r\n")
        elif target == "/cut":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx")
        elif target == "/slow":
            wire.rest()
        elif target != "/empty":
            status = _STATUSES[int(target[1:])] if target[1:].isdecimal() else "200 OK"
            wire.send(response(b"x", status, "Connection: close"))

    server = backend(behave)
    config, cli = with_socket(farm(
        {"a": (server.port, "")}, f"stick-table type ip size 10 expire 5m store {_ALL}", *lines,
        "http-request deny if { path /no }",
        "http-request set-timeout server 200ms if { path /slow }",
        "http-request return status 404 if { path /own }",
    ), directory, subject)
    started = proxy(config, subject=subject)
    for target in (*(f"/{number}" for number in range(len(_STATUSES))), "/no", "/own", "/empty", "/broken", "/slow"):
        ask(started, target)
    get = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
    for raw in (get % b"cut", b"GET / HTTP/1.1\r\nbad line\r\n\r\n", get % b"0" * 2):
        client = started.connect()
        client.send(raw)
        if raw.count(b"GET") == 2:
            read_response(client)
            read_response(client)
        else:
            client.rest()
        client.close()
    wait_until(lambda: " use=0 " in command(cli, "show table web"), "all is let go")
    return comparable(command(cli, "show table web"))


@pytest.mark.needs("haproxy")
@pytest.mark.parametrize(
    "lines",
    [
        ["http-request track-sc0 src"],
        ["tcp-request connection track-sc0 src"],
        ["tcp-request session track-sc0 src"],
        ["tcp-request content track-sc0 src"],
        ["http-response track-sc0 src"],
    ],
)
def test_the_same_is_counted(lines: list[str], proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path) -> None:
    ours, theirs = (_scenario(subject, proxy, backend, tmp_path, lines) for subject in ("headgate", "haproxy"))
    assert ours == theirs


_TALK = (
    "show table", "show table web", "show table nope", "show table web key 10.0.0.1",
    "set table web key 10.0.0.1 data.gpc0 5", "set table web key 10.0.0.2 data.gpc0 1 data.http_req_rate 7",
    "show table web", "show table web key 10.0.0.1", "show table web data.gpc0 gt 2",
    "show table web data.gpc0 lt 9 data.http_req_rate ge 7", "show table web data.gpc1 gt 0",
    "show table web data.nope gt 0", "show table web data.gpc0 zz 0", "show table web data.gpc0 gt", "show table web foo",
    "show table web key", "set table web foo 1", "set table web key 10.0.0.1 data.gpc1 5",
    "set table web key 10.0.0.1 data.gpc0 x", "set table web key 10.0.0.1 data.nope 5", "set table web key 10.0.0.1 foo 5",
    "set table nope key 1", "clear table web data.gpc0 gt 2", "show table web",
    "clear table web key 10.0.0.2", "show table", "clear table", "clear table nope", "clear table web foo",
    "clear table web key", "set table six key ::1 data.gpc0 3", "set table six key ::ffff:10.0.0.9 data.gpc0 3",
    "set table six key ::10.0.0.9 data.gpc0 3", "set table six key ::ffff:0:10.0.0.9 data.gpc0 3",
    "set table num key 77 data.gpc0 3", "set table text key a=b data.server_id 2", "set table bin key 0102 data.gpc0 1",
    "show table six", "show table num",
    "show table text", "clear table bin key 01", "show table bin key 01", "clear table six", "show table",
)


@pytest.mark.needs("haproxy")
def test_the_runtime_api_answers_the_same(proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path) -> None:
    answers = []
    for subject in ("headgate", "haproxy"):
        config, cli = with_socket(
            farm({"a": (backend().port, "")}, "stick-table type ip size 10 expire 1m store gpc0,http_req_rate(1m)")
            + "backend six\n stick-table type ipv6 size 1k store gpc0\n"
            + "backend num\n stick-table type integer size 1k store gpc0\n"
            + "backend text\n stick-table type string len 9 size 1k store server_id\n"
            + "backend bin\n stick-table type binary len 9 size 1k store gpc0\n",
            tmp_path, subject,
        )
        proxy(config, subject=subject)
        answers.append({line: comparable(command(cli, line)) for line in _TALK})
    ours, theirs = answers
    assert ours == theirs


def test_workers_count_exactly(proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path) -> None:
    """Four workers, one table: the limit holds to the request."""
    config, cli = with_socket(farm(
        {"a": (backend().port, "")}, "stick-table type ip size 100k expire 30s store http_req_cnt,conn_cur",
        "http-request track-sc0 src", "http-request deny deny_status 429 if { sc_http_req_cnt(0) gt 50 }",
    ), tmp_path, more=" nbthread 4\n")
    started = proxy(config, subject="headgate")
    clients = [started.connect() for _ in range(20)]
    answers = []
    for _ in range(4):
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answers += [read_response(client).status for client in clients]
    assert answers.count(200) == 50 and answers.count(429) == 30
    wait_until(lambda: "use=0" in command(cli, "show table web"), "all is let go")
    assert "http_req_cnt=80" in command(cli, "show table web") and "conn_cur=0" in command(cli, "show table web")


@pytest.mark.parametrize("rules", ["tcp-request connection", "tcp-request session"])
def test_workers_let_go_of_whom_they_track_by_connection(
    proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path, rules: str
) -> None:
    config, cli = with_socket(farm(
        {"a": (backend().port, "")}, "stick-table type ip size 100k store conn_cnt,conn_cur", f"{rules} track-sc0 src",
        f"{rules} reject if {{ sc_conn_cur(0) gt 3 }}",
    ), tmp_path, more=" nbthread 4\n")
    started = proxy(config, subject="headgate")
    for _ in range(8):
        client = started.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(client).status == 200
        client.close()
        wait_until(lambda: "conn_cur=0" in command(cli, "show table web"), "it is let go")
    assert "use=0" in command(cli, "show table web") and "conn_cnt=8" in command(cli, "show table web")


def test_tables_survive_a_reload(proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path) -> None:
    config, cli = with_socket(farm(
        {"a": (backend().port, "")}, "stick-table type ip size 100 expire 5m store gpc0",
    ), tmp_path, more=" nbthread 2\n")
    started = proxy(config, subject="headgate", arguments=("-W",))
    started.program.await_output("Loading success")
    command(cli, "set table web key 10.9.8.7 data.gpc0 42")
    path = next(tmp_path.glob("headgate.cfg"))
    path.write_text(path.read_text().replace("size 100 ", "size 200 "))
    started.program.signal(signal.SIGUSR2)
    wait_until(lambda: "size:200" in command(cli, "show table"), "the new generation answers")
    assert "gpc0=42" in command(cli, "show table web key 10.9.8.7")


def test_what_a_killed_worker_tracked_is_given_back(proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path) -> None:
    config, cli = with_socket(farm(
        {"a": (backend().port, "")}, "stick-table type ip size 100 expire 30s store conn_cur",
        "tcp-request connection track-sc0 src",
    ), tmp_path, more=" nbthread 2\n")
    started = proxy(config, subject="headgate")
    clients = [started.connect() for _ in range(6)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(client).status == 200
    assert "use=6" in command(cli, "show table web") and "conn_cur=6" in command(cli, "show table web")
    controller = re.search(r"(?m)^Pid: (\d+)", command(cli, "show info"))
    assert controller is not None
    for pid in _workers(started, int(controller[1])):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "use=0" in _when_there(cli, "show table web"), "the successors gave it back")
    assert "conn_cur=0" in command(cli, "show table web")


def _when_there(cli: pathlib.Path, line: str) -> str:
    try:
        return command(cli, line)
    except OSError:
        return ""


def _keeps(cli: pathlib.Path, wanted: bool) -> bool:
    answer = _when_there(cli, "show table web")
    return "# table: web" in answer and ("gpc0=42" in answer) is wanted


def _reloaded(started: Proxy, before: int) -> bool:
    return started.program.output.count("Loading success") > before


def _workers(started: Proxy, controller: int) -> list[int]:
    """The processes below the launcher, without the one that answers on the stats socket."""
    return [pid for pid in children(started.program.process.pid) if pid != controller]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_tables_without_privileges_and_outside_of_the_jail(
    proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path, stack: contextlib.ExitStack
) -> None:
    jail = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))  # pytest's own are closed to other users
    os.chmod(jail, 0o755)
    config, cli = with_socket(
        farm({"a": (backend().port, "")}, "stick-table type ip size 100 expire 5m store gpc0"), tmp_path,
        more=f" nbthread 2\n user nobody\n group nogroup\n chroot {jail}\n",
    )
    started = proxy(config, subject="headgate", arguments=("-W",))
    started.program.await_output("Loading success")
    command(cli, "set table web key 10.9.8.7 data.gpc0 42")
    path = tmp_path / "headgate.cfg"
    for before, now, kept in (("nbthread 2", "nbthread 1", True), ("gpc0", "gpc1", False)):
        path.write_text(path.read_text().replace(before, now))
        count = started.program.output.count("Loading success")
        started.program.signal(signal.SIGUSR2)
        wait_until(partial(_reloaded, started, count), "the reload is done")
        # For a moment more the process before may answer.
        wait_until(partial(_keeps, cli, kept), f"{now}: {kept=}")
    started.program.await_output("begins empty")
