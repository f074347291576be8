"""Commands that look into the process: descriptors, activity, pools, profiling, events, traces, waiting, anonymity, debugging."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from headgate.admin.anonymous import hashed, hashed_address, hide
from headgate.admin.commands import all_commands
from headgate.admin.registry import CommandError, Level
from headgate.admin.tracing import State
from headgate.balance.server import Admin
from headgate.base.addresses import Address, Family
from headgate.config.model import StatsSocket
from tests.admin.talk import Talk

REGISTRY = all_commands()


def ask(process: Any, line: str, level: Level = Level.ADMIN) -> str:
    return Talk(REGISTRY, process, level).line(line).removesuffix("\n").removesuffix("\n")


def merged(process: Any, line: str, workers: int = 2) -> str:
    """The answer that several workers give together."""
    words = line.split()
    command, arguments = REGISTRY.find(words) or pytest.fail()
    assert command.handler is not None
    process.threads = workers
    answers = []
    for worker in range(1, workers + 1):
        process.inspection.worker = worker
        answers.append(str(command.handler(arguments, process)))
    process.inspection.worker = 0
    return command.merge(answers)


# --- descriptors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("", [3, 7, 8, 9, 12]), ("-p", [9]), ("-l", [3]), ("-c", [7, 8]), ("-f", [7]), ("-b", [8]), ("-s", [8]), ("-lp", [3, 9]),
        ("!p", [3, 7, 8, 12]), ("-c!f", [8]), ("-!l", [7, 8, 9, 12]), ("7", [7]), ("/8", [8]), ("1/9", [9]), ("2/9", []),
        ("1/", [3, 7, 8, 9, 12]), ("99", []), ("-l 3", [3]),
    ],
)  # fmt: skip
def test_show_fd_selects(process: Any, words: str, numbers: list[int]) -> None:
    lines = ask(process, f"show fd {words}").splitlines()
    assert [int(line.split()[0]) for line in lines] == numbers


def test_show_fd_says_what_each_is(process: Any) -> None:
    lines = ask(process, "show fd").splitlines()
    assert lines[0] == "      3 : W:a R:A gid=1 type=listener iocb=Listener._accept fam=ipv4 laddr=127.0.0.1:80 lport=80 fe=web"
    assert lines[1].endswith("raddr=127.0.0.2:99 rport=99 fe=web xprt=SSL")
    assert lines[4].endswith("rport=6 !")
    assert merged(process, "show fd 2/3").split()[4] == "gid=2"
    assert len(merged(process, "show fd").splitlines()) == 10
    assert ask(process, "show fd -x") == "Unsupported FD type 'x': one of p, l, c, f, b, s."
    assert "A number is expected" in ask(process, "show fd x")


# --- activity --------------------------------------------------------------------------------------------------------


def test_show_activity(process: Any) -> None:
    lines = ask(process, "show activity").splitlines()
    assert lines[0] == "thread_id: 1 (1..1)"
    assert re.fullmatch(r"date_now: \d+\.\d{6}", lines[1])
    assert "ctxsw: 5" in lines
    assert "ctxsw: 10 [ 5 5 ]" in merged(process, "show activity").splitlines()
    assert "ctxsw: 10" in merged(process, "show activity 0").splitlines()
    assert merged(process, "show activity 2").splitlines()[0] == "thread_id: 2 (1..2)"
    assert "ctxsw: 5" in merged(process, "show activity 2").splitlines()
    with pytest.raises(CommandError, match="2 workers"):
        merged(process, "show activity 3")
    assert ask(process, "show activity x") == "Expects -1, 0 or the number of a worker."


def test_threads_and_tasks(process: Any) -> None:
    text = merged(process, "show threads")
    assert "* Thread 1 : id=0xff name=MainThread pid=4242 act=0 sess=0 tl=1 prof=0" in text
    assert "  Thread 2 : id=0xff" in text
    assert '             cpu_ms: user=7 system=0\n               File "x.py", line 1, in run' in text
    lines = merged(process, "show tasks").splitlines()
    assert lines[:2] == ["Running tasks: 8 (2 threads)", "  function                     places     %    lat_tot   lat_avg"]
    assert lines[2].split()[:3] == ["HttpSession.timed_out", "6", "75.0"]


def test_pools(process: Any) -> None:
    text = merged(process, "show pools")
    assert "  - Pool http_session (100 bytes) : 8 allocated (800 bytes), 8 used" in text
    assert "Total: 3 pools, 2800 bytes allocated, 820 used." in text
    assert "Processes: 2, 2048000 bytes resident." in text
    names = re.findall(r"Pool (\w+)", ask(process, "show pools byname"))
    assert names == ["http_session", "relay_session", "ring_buf0"]
    assert re.findall(r"Pool (\w+)", ask(process, "show pools byusage 1")) == ["ring_buf0"]
    assert re.findall(r"Pool (\w+)", ask(process, "show pools bysize match r")) == ["relay_session", "ring_buf0"]
    assert "Worker 1 : 1024000 bytes resident, 10 objects" in ask(process, "show pools detailed")
    assert ask(process, "show pools huh").startswith("Expects [byname|bysize|byusage]")


def test_profiling(process: Any) -> None:
    assert ask(process, "show profiling status").splitlines() == [
        "Per-task CPU profiling              : off           # set profiling tasks {on|off}",
        "Memory usage profiling              : off           # set profiling memory {on|off}",
    ]
    assert ask(process, "set profiling tasks on; set profiling memory on").strip() == ""
    text = merged(process, "show profiling")
    assert "Per-task CPU profiling              : on" in text
    assert re.search(r"PlainChannel.ready +20 +4.000ms +200.000us", text)
    assert re.search(r" 6 +600 +proxy/pool.py:7", text)
    by_time = ask(process, "show profiling tasks bytime 1").splitlines()
    assert len(by_time) == 3
    assert "Listener._accept" in by_time[-1]
    assert ask(process, "set profiling") == "Expects either 'tasks' or 'memory'."
    assert ask(process, "set profiling memory maybe") == "Expects either 'on' or 'off'."
    for word in ("auto", "lock", "no-memory"):
        assert "has no meaning here" in ask(process, f"set profiling tasks {word}")
    assert ask(process, "set profiling tasks on", Level.OPERATOR) == "Permission denied"


# --- events ----------------------------------------------------------------------------------------------------------


def test_events(process: Any) -> None:
    listed = ask(process, "show events").splitlines()
    assert listed[0] == "Supported events sinks are listed below. Add -w(wait), -n(new). Any key to stop"
    assert "    buf0       : type=buffer, 3 dropped, in-memory ring buffer" in listed
    process.inspection.ring.lines = [b"one\n", b"two\n"]
    assert ask(process, "show events buf0") == "one\ntwo"
    assert ask(process, "show events buf0 -n") == ""
    assert ask(process, "show events buf0 -0").rstrip("\n") == "one\0two\0"
    assert ask(process, "show events stderr") == "Nothing to report for this sink"
    assert ask(process, "show events nope") == "No such event sink"
    assert "unknown option" in ask(process, "show events buf0 -x")
    command, _ = REGISTRY.find(["show", "events"]) or pytest.fail()
    assert command.watches


def test_events_go_on_while_they_are_watched(process: Any) -> None:
    ring = process.inspection.ring
    ring.lines = [b"old\n"]
    command, arguments = REGISTRY.find("show events buf0 -wn".split()) or pytest.fail()
    assert command.handler is not None
    pieces: Any = command.handler(arguments, process)

    async def pause(seconds: float) -> None:
        ring.lines.append(b"new\n")

    process.inspection.pause = pause

    async def watch() -> list[str]:
        seen = [await anext(pieces), await anext(pieces)]
        await pieces.aclose()
        return seen

    assert asyncio.run(watch()) == ["new\n", "new\n"]


def test_startup_logs_and_sockets(process: Any) -> None:
    assert ask(process, "show startup-logs") == "[NOTICE] all is well"
    process.stats_sockets = (
        StatsSocket(Address(Family.UNIX, "/run/a.sock"), level="admin"),
        StatsSocket(Address(Family.INET, "127.0.0.1", 9999, 10000), level="user"),
        StatsSocket(Address(Family.INET6, "::1", 9999, 9999)),
    )
    assert ask(process, "show cli sockets").splitlines() == [
        "# socket lvl processes", "unix@/run/a.sock admin all", "127.0.0.1:9999 user all", "127.0.0.1:10000 user all",
        "[::1]:9999 operator all",
    ]  # fmt: skip


# --- traces ----------------------------------------------------------------------------------------------------------


def test_traces_are_listed_and_switched(process: Any) -> None:
    listed = ask(process, "trace").splitlines()
    assert listed[0] == "Supported trace sources and states (.=stopped, w=waiting, R=running) :"
    assert listed[1] == " [.] 0          : not a source, will immediately stop all traces"
    assert ask(process, "trace stream sink buf0 level proto verbosity complete start now") == ""
    source = process.inspection.tracing.sources["stream"]
    assert (source.sink, source.level, source.verbosity, source.state) == ("buf0", "proto", "complete", State.RUNNING)
    assert process.inspection.tracing.changes == 1
    assert " [R] stream     -> buf0 [drp 0]  [Applicative stream]" in ask(process, "show trace")
    assert ask(process, "trace 0") == "All traces now stopped"
    assert source.state is State.STOPPED
    assert ask(process, "trace all sink buf0") == ""
    assert all(one.sink == "buf0" for one in process.inspection.tracing.sources.values())


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("trace h1", "Supported commands:\n  event     : list/enable"),
        ("trace h1 event", "  + rx_hdr       : "),
        ("trace h1 level", "  * user       : also information"),
        ("trace h1 lock", "  * nothing    : do not lock"),
        ("trace h1 sink", "  * none       : no sink\n    stderr     : "),
        ("trace h1 verbosity", "  * clean      : "),
        ("trace h1 start", "  - now          : don't wait"),
        ("show trace h1", "    rx_hdr       :        +        -        -       -"),
        ("trace nope", "No such trace source"),
        ("show trace nope", "No such trace source"),
        ("trace h1 event nope", "No such trace event 'nope': one of rx_hdr, rx_err, tx_data."),
        ("trace h1 level nope", "No such trace level 'nope'"),
        ("trace h1 sink nope", "No such trace sink"),
        ("trace h1 lock nope", "Unsupported lock-on criterion"),
        ("trace h1 huh", "Unknown command 'huh'"),
        ("trace h1 follow session", "'follow' is not available"),
    ],
)
def test_trace_lists_and_refusals(process: Any, line: str, part: str) -> None:
    assert part in ask(process, line)


def test_events_start_pause_stop_and_lock_a_trace(process: Any) -> None:
    assert ask(process, "trace stream event none; trace stream event +strm_free; trace stream start strm_new").strip() == ""
    assert ask(process, "trace stream pause strm_free; trace stream lock session").strip() == ""
    source = process.inspection.tracing.sources["stream"]
    assert source.state is State.WAITING
    first, second = object(), object()
    assert not source.takes("strm_free", "user", {"session": first})  # nothing has started it
    assert not source.takes("strm_new", "user", {"session": first})  # started, but not enabled
    assert source.state is State.RUNNING
    assert not source.takes("strm_free", "user", {"session": second})  # locked on the first
    assert not source.takes("strm_free", "data", {"session": first}) or pytest.fail("above the level")
    ask(process, "trace stream start now")
    assert source.takes("strm_free", "user", {"session": second})  # and the lock begins anew
    assert source.state is State.WAITING
    ask(process, "trace stream event -strm_free; trace stream stop strm_new; trace stream start now")
    assert not source.takes("strm_new", "user", {"session": first})
    assert source.state is State.STOPPED


# --- wait ------------------------------------------------------------------------------------------------------------


def test_wait_for_a_delay(process: Any) -> None:
    assert ask(process, "wait 2s") == "Done."
    assert process.inspection.paused == [2.0]
    assert ask(process, "wait 20") == "Done."
    assert process.inspection.paused[-1] == 0.02
    assert ask(process, "wait -h").startswith("Wait for a condition")
    assert ask(process, "wait 5 -h").startswith("Wait for a condition")
    assert ask(process, "wait").startswith("A delay is expected.")
    assert ask(process, "wait 1 huh").startswith("Unknown condition 'huh'.")
    assert ask(process, "wait 2d") == "At most one day can be waited."


def test_wait_until_a_server_can_be_removed(process: Any) -> None:
    server = process.backends["app"].state.servers[0]
    assert ask(process, "wait 1s srv-removable app/nope") == "No such server."
    assert ask(process, "wait 1s srv-removable app/s1") == "Server is not in maintenance mode."
    server.admin = Admin.MAINT
    assert ask(process, "wait 1s srv-removable app/s1") == "Done."
    server.idle = 1
    assert ask(process, "wait 1s srv-removable app/s1") == "Wait delay expired."
    assert sum(process.inspection.paused) == pytest.approx(1.0)

    async def pause(seconds: float) -> None:
        server.idle = 0

    process.inspection.pause = pause
    assert ask(process, "wait 1s srv-removable app/s1") == "Done."
    assert ask(process, "wait 1s be-removable app") == "Backend must be unpublished prior to its deletion."
    process.plan.unpublished.add("app")
    assert ask(process, "wait 1s be-removable app") == "Only a backend without servers can be deleted."


# --- anonymity -------------------------------------------------------------------------------------------------------


def test_anonymous_mode_is_of_the_connection(process: Any) -> None:
    cli = Talk(REGISTRY, process, Level.ADMIN)
    cli.interactive = True
    assert cli.line("show anon") == "Anonymized mode disabled\n\n"
    cli.line("set anon on")
    assert cli.line("show anon") == "Anonymized mode enabled\nKey : 77\n\n"  # a random one
    cli.line("set anon off")
    cli.line("set anon global-key 5")
    cli.line("set anon on")
    assert cli.line("show anon") == "Anonymized mode enabled\nKey : 5\n\n"
    cli.line("set anon on 9")
    assert hashed("node1", 9) in cli.line("show dev")
    assert "/root" not in cli.line("show env")
    assert Talk(REGISTRY, process, Level.ADMIN).line("show anon") == "Anonymized mode disabled\n\n"
    assert ask(process, "set anon on x") == "The key is a number from 0 to 4294967295."
    assert ask(process, "set anon off 1") == "Key can't be added while disabling anonymized mode"
    assert ask(process, "set anon global-key 1", Level.OPERATOR) == "Permission denied"


def test_names_and_addresses_are_hidden_and_stay_recognisable() -> None:
    line = '0x1: proto=tcpv4 src=192.0.2.7:99 fe=web be=<NONE> srv=s1 exp=1s uri="GET /secret"'
    hidden = hide("show sess", line, 7)
    for secret in ("192.0.2.7", "web", "s1 ", "/secret"):
        assert secret not in hidden
    assert f"src=IPV4({hashed('192.0.2.7', 7)}):99" in hidden
    assert "be=<NONE>" in hidden
    assert hide("show sess", line, 7) == hidden
    assert hide("show sess", line, 8) != hidden
    assert len(hashed("x", 1)) == 6
    assert hashed_address("[::1]:80", 1) == f"IPV6({hashed('::1', 1)}):80"
    assert hashed_address("unix:1", 1) == "unix:1"
    state = "1\n# be_id be_name srv_id srv_name srv_addr srv_fqdn\n3 app 1 s1 10.0.0.1 -"
    assert hide("show servers state", state, 7).splitlines()[2] == (
        f"3 {hashed('app', 7)} 1 {hashed('s1', 7)} IPV4({hashed('10.0.0.1', 7)}) -"
    )
    assert hide("show stat", line, 7) == line


# --- debugging -------------------------------------------------------------------------------------------------------


def test_debugging_takes_expert_mode(process: Any) -> None:
    assert ask(process, "debug dev log x") == "This command is restricted to expert mode only."
    assert ask(process, "httpclient GET http://x/") == "This command is restricted to expert mode only."
    assert "debug dev" not in ask(process, "help debug")
    assert ask(process, "debug counters") == "2          BUG http_session.py:1 close(): KeyError"
    assert merged(process, "debug counters show bug") == "4          BUG http_session.py:1 close(): KeyError"
    assert "has no meaning here" in ask(process, "debug counters reset")


@pytest.mark.parametrize(
    ("line", "answer", "happened"),
    [
        ("debug dev log hello  world", "", ("log", "hello world")),
        ("debug dev exit 3", "", ("leave", 3)),
        ("debug dev exit", "", ("leave", 0)),
        ("debug dev exit 999", "Expects an exit code up to 255.", None),
        ("debug dev loop 5", "", ("block", 0.005)),
        ("debug dev loop 99999", "Expects a number of milliseconds up to 10000.", None),
        ("debug dev delay 5", "", None),
        ("debug dev write 3", "...", None),
        ("debug dev hash foo", "foo", None),
        ("debug dev fd", "gid=1 fd=12 type=other 127.0.0.1:5", None),
        ("debug dev panic", "'debug dev panic' is not available: it would crash the process; 'debug dev exit' ends it.", None),
        ("httpclient GET http://x/", "HTTP/1.1 200 OK\nGET http://x/", None),
        ("httpclient GET http://refused/", "No answer of refused.", None),
        ("httpclient GET", "Expects a method and an URI: httpclient <method> <URI>.", None),
        ("httpclient --htx GET x", "'--htx' shows HAProxy's inner form of a message; headgate has none.", None),
    ],
)
def test_debugging(process: Any, line: str, answer: str, happened: tuple[object, ...] | None) -> None:
    text = Talk(REGISTRY, process, Level.ADMIN).line(f"expert-mode on; {line}")
    assert text.strip("\n") == answer
    assert happened is None or process.happened == [happened]


# --- the rest --------------------------------------------------------------------------------------------------------


def test_platform_and_what_is_not_there(process: Any) -> None:
    assert ask(process, "show dev") == "Platform info\n  node name: node1\nProcess info\n  pid: 4242"
    assert ask(process, "show libs") == "0x000000400000-0x0000004fffff (0x0100000) /usr/bin/python3"
    for command in ("show cache", "show peers", "show quic"):
        assert ask(process, command).count("\n") == 0


def test_help_is_in_columns(process: Any) -> None:
    assert "  show threads                            : show some threads debugging information" in ask(process, "help show")
