"""`show stat`, `show info` and their kin, against HAProxy: the same traffic through both, then field by field.

What may differ stands in the tables below, with the reason; everything else must be equal.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from tests.interop.programs import wait_until
from tests.interop.traffic import CONFIG, Traffic
from tests.interop.traffic_steps import STEPS

pytestmark = pytest.mark.needs("haproxy")

#: Columns of which only "empty", "zero" and "more" are compared.
_ROUGHLY = {"smax": "whether one is over before the next begins"}
#: Columns of which only "empty" and "filled" are compared.
_FILLED = {
    "rate": "depends on when the second began", "rate_max": "likewise", "req_rate": "likewise", "req_rate_max": "likewise",
    "conn_rate": "likewise", "conn_rate_max": "likewise",
    "lastchg": "time", "downtime": "time", "lastsess": "time", "chkdown": "servers are disabled between the steps",
    "qtime": "time", "ctime": "time", "rtime": "time", "ttime": "time",
    "qtime_max": "time", "ctime_max": "time", "rtime_max": "time", "ttime_max": "time",
    "need_conn_est": "not estimated here: it is what is in use now",
    "srv_icur": "HAProxy closes idle connections above its estimate at once, others here live for pool-purge-delay",
    "idle_conn_cur": "likewise", "safe_conn_cur": "likewise",
}  # fmt: skip
#: HTTP only: HAProxy counts the size of its own form of a message, not what was on the wire.
_HTTP_BYTES = ("bin", "bout")
#: (step, columns): reason.
_STEP_DIFFERS = {
    ("rejected_content", "req_tot"): "in HTTP mode content rules see a whole request here, so it counts",
    ("retried", "wretr"): "HAProxy 2.6 counts each retry of a request twice",
    ("retried_empty", "wretr"): "likewise",
    ("redispatched", "wretr connect stot"): "HAProxy takes another server at the first retry with 'balance first', "
    "here the last one as the manual has it",
    ("stopped_upload", "eresp hrsp_4xx hrsp_5xx cli_abrt"): "HAProxy's server timeout also runs while the client still sends",
}
_GROUPS = 5


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> Iterator[tuple[Traffic, Traffic]]:
    """HAProxy and headgate, with equal configurations."""
    with contextlib.ExitStack() as stack:
        yield Traffic("haproxy", tmp_path, stack), Traffic("headgate", tmp_path, stack)


def _both(pair: tuple[Traffic, Traffic], call: Callable[[Traffic], object]) -> list[object]:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(call, pair))


def _kind(cell: str) -> str:
    return cell if cell in ("", "0") else "more"


def _same(column: str, mode: str, ours: str, theirs: str) -> bool:
    if column in _FILLED:
        return (ours == "") == (theirs == "")
    if column in _ROUGHLY or (column in _HTTP_BYTES and mode == "http"):
        return _kind(ours) == _kind(theirs)
    return ours == theirs


def _excused(step: str, column: str) -> bool:
    return any(step == name and column in columns.split() for name, columns in _STEP_DIFFERS)


@pytest.mark.parametrize("group", range(_GROUPS))
def test_the_same_traffic_makes_the_same_counters(pair: tuple[Traffic, Traffic], group: int) -> None:
    names = list(STEPS)[group::_GROUPS]
    haproxy, headgate = pair
    seen = _both(pair, lambda traffic: {name: traffic.run(STEPS[name]) for name in names})
    wrong = []
    for name in names:
        theirs_all, ours_all = seen[0][name], seen[1][name]  # type: ignore[index]
        assert list(ours_all) == list(theirs_all)
        for row, theirs in theirs_all.items():
            static = list(theirs)[: list(theirs).index("-")]
            for column in static:
                expected, found = haproxy.named(theirs[column]), headgate.named(ours_all[row][column])
                if not _same(column, theirs["mode"], found, expected) and not _excused(name, column):
                    wrong.append(f"{name}: {row} {column}: {found!r}, HAProxy {expected!r}")
    assert not wrong, "\n".join(wrong)


def test_formats_of_show_stat(pair: tuple[Traffic, Traffic]) -> None:
    for traffic in pair:
        traffic.run(STEPS["simple"])
    theirs, ours = ({_key(line): line for line in traffic.ask("show stat typed").splitlines() if line} for traffic in pair)
    extra = {"h1_", "h2_"}  # of HAProxy's modules, behind the column "-"
    missing = {key for key in theirs if key[2][:3] not in extra} - set(ours)
    assert not missing
    for key, line in ours.items():
        if key in theirs:
            tags, kind = line.split(":")[1:3]
            # Since 3.2 a fourth tag says what survives a reload.
            if key[0] != "B" or key[2] not in _BACKEND_TAGS:
                assert (tags[:3], kind) == tuple(theirs[key].split(":")[1:3]), line
    described = pair[1].ask("show stat web 1 -1 typed desc").splitlines()
    assert all(line.endswith('"') for line in described if line)
    fields = [{each["field"]["name"] for each in json.loads(traffic.ask("show stat json"))[0]} for traffic in pair]
    assert {name for name in fields[0] if name[:3] not in extra} <= fields[1]
    for line in ("show stat -1 8 -1", "show stat app 6 -1", "show stat -1 4 1", "show stat web 9 -1 no-maint", "show stat up"):
        found = [[(row["pxname"], row["svname"]) for row in traffic.rows(line).values()] for traffic in pair]
        assert found[0] == found[1], line


#: HAProxy calls these gauges in BACKEND rows only; one table serves all rows here.
_BACKEND_TAGS = ("act", "bck", "rate", "rate_max")


def _key(line: str) -> tuple[str, str, str]:
    kind, _, number, _, name = line.split(":")[0].split(".")[:5]
    return kind, line.split(".")[1] + "." + number, name


#: Fields of `show info` whose values differ, with the reason; the others must be equal.
_INFO_DIFFERS = {
    "Name": "the product", "Version": "the product", "Release_date": "the product", "Build info": "the product",
    "Pid": "a process", "Uptime": "time", "Uptime_sec": "time", "Start_time_sec": "time",
    "Ulimit-n": "set by each as needed", "Maxsock": "likewise", "Tasks": "sessions and checks here", "Idle_pct": "measured",
    "PoolAlloc_MB": "all of the memory here", "PoolUsed_MB": "likewise", "PoolAlloc_bytes": "likewise",
    "PoolUsed_bytes": "likewise", "CumConns": "HAProxy counts the stats socket's too", "CumReq": "likewise",
    "ConnRate": "time", "MaxConnRate": "time", "SessRate": "time", "MaxSessRate": "time",
    "TotalBytesOut": "HAProxy counts the stats socket's too", "BytesOutRate": "time",
    "Jobs": "HAProxy counts the stats socket", "Listeners": "likewise", "Maxpipes": "pipes have no limit of their own here",
    "CurrConns": "HAProxy may not have closed the last one yet",
}  # fmt: skip


def test_show_info(pair: tuple[Traffic, Traffic]) -> None:
    for traffic in pair:
        traffic.run(STEPS["simple"])
    theirs, ours = (_fields(traffic.ask("show info")) for traffic in pair)
    assert list(ours) == list(theirs)
    assert {name: ours[name] for name in ours if name not in _INFO_DIFFERS} == {
        name: theirs[name] for name in theirs if name not in _INFO_DIFFERS
    }
    typed = [{line.split(".")[1]: line for line in traffic.ask("show info typed").splitlines() if line} for traffic in pair]
    for name, line in typed[0].items():
        position, tags, kind = line.split(".")[0], *line.split(":")[1:3]
        found = typed[1][name]
        assert (found.split(".")[0], found.split(":")[1][:3], found.split(":")[2]) == (position, tags, kind)
    assert 0 <= int(ours["Idle_pct"]) <= 100 and int(ours["PoolUsed_MB"]) > 1


def test_tls_is_counted(tmp_path: pathlib.Path, certificates: pathlib.Path) -> None:
    config = CONFIG.replace("bind 127.0.0.1:{second}", f"bind 127.0.0.1:{{second}} ssl crt {certificates}/site.pem")
    said, rows = [], []
    with contextlib.ExitStack() as stack:
        for subject in ("haproxy", "headgate"):
            traffic = Traffic(subject, tmp_path, stack, config=config)
            _resume(traffic)
            wire = traffic.connect("second")
            wire.send(b"GET / HTTP/1.0\r\n\r\n")  # not TLS
            wire.rest()
            wait_until(traffic.idle, "all is over")
            info = _fields(traffic.ask("show info"))
            said.append({name: info[name] for name in ("CurrSslConns", "CumSslConns")})
            rows.append([
                [traffic.rows()[row][column] for column in ("stot", "ereq", "conn_tot", *_TLS)]
                for row in ("web/FRONTEND", "web/sock-2", "web/main", "app/one")
            ])
    assert said[0] == said[1] and said[0]["CumSslConns"] == "4"
    assert rows[0] == rows[1] and rows[0][1][-3:] == ["1", "2", "1"]


_TLS = ("ssl_sess", "ssl_reused_sess", "ssl_failed_handshake")


def _resume(traffic: Traffic) -> None:
    """Three connections, of which the second and the third resume the first one's session."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(3):
        raw = socket.create_connection(("127.0.0.1", traffic.ports["second"]), 10)
        with context.wrap_socket(raw, session=session) as connection:
            connection.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            connection.recv(1000)
            session = connection.session


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if line)


def test_rates_and_gauges_are_measured(tmp_path: pathlib.Path) -> None:
    with contextlib.ExitStack() as stack:
        traffic = Traffic("headgate", tmp_path, stack)
        for _ in range(5):
            traffic.get("/big")
        wait_until(lambda: int(_fields(traffic.ask("show info"))["BytesOutRate"]) > 0, "a second was sampled")
        info = _fields(traffic.ask("show info"))
        assert int(info["TotalBytesOut"]) > 5_000_000 and int(info["CumReq"]) == 5 and int(info["MaxConnRate"]) >= 1


def test_schema_describes_the_json(pair: tuple[Traffic, Traffic]) -> None:
    theirs, ours = (json.loads(traffic.ask("show schema json")) for traffic in pair)
    assert ours["$schema"] == theirs["$schema"]
    assert [kind["title"] for kind in ours["oneOf"]] == [kind["title"] for kind in theirs["oneOf"]]
    assert set(ours["definitions"]) == set(theirs["definitions"])
    item = ours["oneOf"][0]["items"]
    for field in json.loads(pair[1].ask("show info json")):
        assert set(field) == set(item["required"]) == set(item["properties"])
    kinds = {kind["properties"]["type"]["enum"][0] for kind in ours["definitions"]["typedValue"]["definitions"].values()}
    row = json.loads(pair[1].ask("show stat json"))[0]
    assert {field["value"]["type"] for field in row} <= kinds
    assert all(set(field) == set(ours["oneOf"][1]["items"]["items"]["required"]) for field in row)


# --- states of servers -----------------------------------------------------------------------------------------------

_STATES = """
global
    stats socket {directory}/{subject}.sock level admin
    nbthread 1
    server-state-base {directory}
    server-state-file {subject}.states
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    load-server-state-from-file global
listen b
    id 77
    bind 127.0.0.1:{web}
    http-check disable-on-404
    server plain 127.0.0.1:{good}
    server up 127.0.0.1:{good} check inter 50ms
    server down 127.0.0.1:{closed} check inter 50ms
    server checked 127.0.0.1:{good} check inter 50ms weight 20
    server off 127.0.0.1:{good} disabled
    server on 127.0.0.1:{good} disabled
    server drained 127.0.0.1:{good} id 12 weight 10
    server halted 127.0.0.1:{good} weight 5
    server named localhost:{good}
    server elsewhere 127.0.0.1:{good} check port {echo} addr 127.0.0.1 inter 50ms
    server asked 127.0.0.1:{good} agent-check agent-port {closed}
    server unasked 127.0.0.1:{good} agent-check agent-port {closed}
frontend others
    bind 127.0.0.1:{second}
    bind 127.0.0.1:{rejected}
    bind 127.0.0.1:{dropped}
    bind 127.0.0.1:{both}
    bind 127.0.0.1:{tcp}
    bind 127.0.0.1:{inspected}
    bind 127.0.0.1:{censored}
    bind 127.0.0.1:{tcp_refused}
    default_backend b
"""
_ORDERS = (
    "disable server b/halted", "enable server b/on", "set server b/drained state drain", "set weight b/drained 3",
    "set server b/checked weight 7", "set server b/checked check-addr 127.0.0.1", "disable health b/elsewhere",
    "set server b/asked agent-addr 127.0.0.3", "disable agent b/unasked", "set server b/named addr 127.0.0.1 port 4242",
)  # fmt: skip


def _states(traffic: Traffic) -> dict[str, dict[str, str]]:
    lines = traffic.ask("show servers state").splitlines()
    assert lines[0] == "1"
    header = lines[1].removeprefix("# ").split(" ")
    rows = [dict(zip(header, line.split(" "), strict=True)) for line in lines[2:] if line]
    return {row["srv_name"]: row for row in rows}


def _settled(traffic: Traffic) -> bool:
    states = _states(traffic)
    passed = all(states[name]["srv_check_health"] == "4" for name in ("up", "checked", "elsewhere"))
    return passed and states["down"]["srv_op_state"] == "0"


#: What may differ in `show servers state`.
_STATE_DIFFERS = {
    "srv_time_since_last_change": "time",
    "srv_check_health": "of servers without checks; the others are compared",
}


def _comparable(traffic: Traffic) -> dict[str, dict[str, str]]:
    rows = {}
    for name, row in _states(traffic).items():
        kept = {column: traffic.named(f" {value} ").strip() for column, value in row.items() if column not in _STATE_DIFFERS}
        if int(row["srv_check_state"]) & 4:
            kept["srv_check_health"] = row["srv_check_health"]
        # A check may just be running.
        for column in ("srv_check_state", "srv_agent_state"):
            kept[column] = str(int(row[column]) & ~1)
        rows[name] = kept
    return rows


def _differences(pair: list[Traffic]) -> list[str]:
    theirs, ours = (_comparable(traffic) for traffic in pair)
    assert list(ours) == list(theirs)
    return [
        f"{name} {column}: {ours[name].get(column)}, HAProxy {value}"
        for name, row in theirs.items()
        for column, value in row.items()
        if ours[name].get(column) != value
    ]


def _lasting_differences(pair: list[Traffic]) -> list[str]:
    """Those that stay: HAProxy forgets a check's result while the next check runs."""
    end = time.monotonic() + 5
    while (found := _differences(pair)) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def test_show_servers_state(tmp_path: pathlib.Path) -> None:
    with contextlib.ExitStack() as stack:
        pair = [Traffic(subject, tmp_path, stack, config=_STATES) for subject in ("haproxy", "headgate")]
        for traffic in pair:
            wait_until(lambda traffic=traffic: _settled(traffic), "checks are made")
        assert _lasting_differences(pair) == []
        for order in _ORDERS:
            for traffic in pair:
                traffic.ask(order)
        assert _lasting_differences(pair) == []
        assert pair[1].ask("show backend") == pair[0].ask("show backend")
        conn = [traffic.ask("show servers conn").splitlines() for traffic in pair]
        assert [line.split()[:2] for line in conn[1][1:] if line] == [line.split()[:2] for line in conn[0][1:] if line]


@pytest.mark.parametrize(("writer", "reader"), [("headgate", "headgate"), ("haproxy", "headgate"), ("headgate", "haproxy")])
def test_states_survive_a_restart(tmp_path: pathlib.Path, writer: str, reader: str) -> None:
    with contextlib.ExitStack() as stack:
        before = Traffic(writer, tmp_path, stack, config=_STATES)
        wait_until(lambda: _settled(before), "checks are made")
        for order in _ORDERS:
            before.ask(order)
        written = before.ask("show servers state")
        expected = _states(before)
        before.program.stop()
        (tmp_path / f"{reader}.states").write_text(written)
        after = Traffic(reader, tmp_path, stack, config=_STATES)
        found = _states(after)
        for name, row in expected.items():
            for column in ("srv_admin_state", "srv_uweight", "srv_iweight"):
                assert found[name][column] == row[column], (name, column)
        assert found["down"]["srv_op_state"] == "0"
        assert int(found["checked"]["srv_check_health"]) >= 2
        assert found["named"]["srv_port"] == "4242" and found["named"]["srv_addr"] == "127.0.0.1"
        assert int(found["elsewhere"]["srv_check_state"]) & 4 == 0
        assert found["checked"]["srv_check_addr"] == "127.0.0.1" and found["asked"]["srv_agent_addr"] == "127.0.0.3"
        assert int(found["unasked"]["srv_agent_state"]) & 4 == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_states_survive_a_reload(tmp_path: pathlib.Path, workers: int) -> None:
    config = _STATES.replace("nbthread 1", f"nbthread {workers}").replace("    server-state-file {subject}.states\n", "")
    with contextlib.ExitStack() as stack:
        traffic = Traffic("headgate", tmp_path, stack, config=config, arguments=("-W",))
        wait_until(lambda: _settled(traffic), "checks are made")
        for order in _ORDERS:
            traffic.ask(order)
        before = _states(traffic)
        process = _fields(traffic.ask("show info"))["Pid"]
        traffic.program.signal(signal.SIGUSR2)
        wait_until(lambda: _answers_as_another(traffic, process), "it is reloaded")
        after = _states(traffic)
        for name, row in before.items():
            for column in ("srv_op_state", "srv_admin_state", "srv_uweight", "srv_port"):
                assert after[name][column] == row[column], (name, column)


def _answers_as_another(traffic: Traffic, process: str) -> bool:
    with contextlib.suppress(OSError):
        return _fields(traffic.ask("show info")).get("Pid", process) != process
    return False


def test_workers_make_one_statistic(tmp_path: pathlib.Path) -> None:
    with contextlib.ExitStack() as stack:
        traffic = Traffic("headgate", tmp_path, stack, config=CONFIG.replace("nbthread 1", "nbthread 4"))
        for path in ("/a", "/denied", "/missing") * 8:
            traffic.get(path)
        wait_until(traffic.idle, "all is over")
        rows = traffic.rows()
        frontend, socket_, server = rows["web/FRONTEND"], rows["web/main"], rows["app/one"]
        assert (frontend["stot"], frontend["dreq"], frontend["hrsp_4xx"], frontend["req_tot"]) == ("24", "8", "16", "24")
        assert (socket_["stot"], socket_["dreq"], socket_["bin"]) == ("24", "8", frontend["bin"])
        assert (server["stot"], server["lbtot"], server["hrsp_2xx"], server["qcur"]) == ("16", "16", "8", "0")
        assert int(server["ttime_max"]) >= int(server["ttime"])
        info = _fields(traffic.ask("show info"))
        assert (info["Nbthread"], info["CumReq"], info["CurrConns"]) == ("4", "24", "0")
        traffic.ask("clear counters all")
        assert {row["stot"] for row in traffic.rows().values()} == {"0"}


@pytest.mark.parametrize("text", ["2\n", "1\n77 b 1 plain\n", "1\n" + "x " * 3000 + "\n", "\0" * 100, ""])
def test_a_damaged_state_file_changes_nothing(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "headgate.states").write_text(text)
    with contextlib.ExitStack() as stack:
        traffic = Traffic("headgate", tmp_path, stack, config=_STATES)
        assert _states(traffic)["plain"]["srv_op_state"] == "2"


# --- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("hatop") is None, reason="hatop is not installed")
def test_hatop_shows_the_proxies(tmp_path: pathlib.Path) -> None:
    with contextlib.ExitStack() as stack:
        traffic = Traffic("headgate", tmp_path, stack)
        traffic.get("/a")
        screen = _hatop(str(traffic.socket), stack)
        for name in ("app", "web", "tunnel"):
            assert name in screen


def _hatop(path: str, stack: contextlib.ExitStack) -> str:
    """What hatop draws in its first moments."""
    master, slave = pty.openpty()
    stack.callback(os.close, master)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 160, 0, 0))
    program = subprocess.Popen(
        ["hatop", "-s", path], stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(slave)
    stack.callback(program.wait)
    stack.callback(program.kill)
    screen = b""
    end = time.monotonic() + 8
    while time.monotonic() < end and not all(name in screen for name in (b"app", b"web", b"tunnel")):
        if select.select([master], [], [], 0.2)[0]:
            try:
                screen += os.read(master, 65536)
            except OSError:  # it has ended
                break
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]", " ", screen.decode("utf-8", "replace"))


def test_exporters_find_their_columns(tmp_path: pathlib.Path) -> None:
    """collectd's plugin and the exporters read cells by position or by the names of the first line."""
    with contextlib.ExitStack() as stack:
        traffic = Traffic("headgate", tmp_path, stack)
        traffic.get("/a")
        lines = traffic.ask("show stat").splitlines()
        assert lines[0].startswith("# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,")
        header = lines[0].removeprefix("# ").split(",")
        rows = [dict(zip(header, row, strict=True)) for row in csv.reader(line for line in lines[1:] if line)]
        server = next(row for row in rows if row["svname"] == "one" and row["pxname"] == "app")
        assert (header.index("status"), header.index("check_status"), header.index("type")) == (17, 36, 32)
        assert int(server["stot"]) == 1 and float(server["ttime"]) >= 0 and server["type"] == "2"
        assert _fields(traffic.ask("show info"))["Uptime_sec"].isdecimal()
