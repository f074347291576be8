"""Single checks against real sockets on the loopback interface: every way to pass, fail and time out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Location
from headgate.config.checks import CheckSpec
from headgate.config.model import Proxy, ProxyKind, ProxyProtocolSend, Server, ServerCheck, Timeouts
from headgate.config.tls_options import Protocols, ServerTls, Verify
from headgate.health.results import CheckResult, CheckStatus
from headgate.observe.full_handshakes import Cause
from headgate.plan.frontends import BackendPlan
from headgate.runtime.checks.exchange import run_check
from headgate.runtime.checks.plans import CheckPlan, plan_check, wants_tls
from headgate.runtime.checks.tls_connection import TlsConnection, TlsDialler
from headgate.runtime.loop import run as run_loop
from headgate.runtime.reactor import Reactor
from headgate.tls.authority import issue, make_authority
from headgate.tls.client_context import ServerContext
from tests.health.checks import backend_plan, stream

HERE = Location("test.cfg", 1, 1)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def inet(port: int) -> Address:
    return Address(Family.INET, "127.0.0.1", port, port)


#: Compiled once: the rules of an HTTP check.
HTTP = backend_plan("option httpchk GET /up")


def plan_for(
    port: int, check: CheckSpec | BackendPlan | None = None, timing: ServerCheck | None = None,
    timeouts: Timeouts | None = None, **more: object,
) -> CheckPlan:
    tls = more.pop("client", None)
    timing = timing or ServerCheck(inter=5.0)
    server = Server("s1", inet(port), HERE, 1, check=timing, **more)  # type: ignore[arg-type]
    compiled = check if isinstance(check, BackendPlan) else None
    spec = compiled.spec.check if compiled is not None else check or CheckSpec()
    assert isinstance(spec, CheckSpec)
    proxy = Proxy("app", ProxyKind.BACKEND, 1, HERE, servers=(server,), check=spec, timeouts=timeouts or Timeouts())
    return plan_check(proxy, server, timing, tls, compiled.check if compiled is not None else None)  # type: ignore[arg-type]


async def check(plan: CheckPlan, address: Address | None = None) -> CheckResult:
    return await run_check(plan, address or plan.server.address, stream=stream(), clock=time.monotonic)


@contextlib.asynccontextmanager
async def serving(serve: Serve, *, unix: str | None = None, **more: object) -> AsyncIterator[tuple[int, asyncio.Queue[bytes]]]:
    """A server on a free port; yields the port, and for every connection what it still sent after `serve`."""
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
            rest = await reader.read()
        except ConnectionError:
            rest = b"<reset>"
        finally:
            writer.close()
        seen.put_nowait(rest)

    if unix is not None:
        server = await asyncio.start_unix_server(accept, unix)
    else:
        server = await asyncio.start_server(accept, "127.0.0.1", 0, **more)  # type: ignore[arg-type]
    try:
        yield 0 if unix is not None else server.sockets[0].getsockname()[1], seen
    finally:
        server.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return None


def answering(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    return serve


def run(scenario: Callable[[], Awaitable[CheckResult]]) -> CheckResult:
    async def bounded() -> CheckResult:
        async with asyncio.timeout(20):
            return await scenario()

    return run_loop(bounded())


def refusing_port() -> tuple[socket.socket, int]:
    """A port that is bound, so that nobody else gets it, but refuses since nobody listens."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


def test_connecting_is_enough_without_a_check_method() -> None:
    async def scenario() -> CheckResult:
        async with serving(silent) as (port, _):
            return await check(plan_for(port))

    result = run(scenario)
    assert (result.status, result.info) == (CheckStatus.L4OK, "")
    assert result.duration > 0


def test_refused_port() -> None:
    sock, port = refusing_port()
    with sock:
        result = run(lambda: check(plan_for(port)))
    assert (result.status, result.info) == (CheckStatus.L4CON, "Connection refused")
    assert result.reason.startswith('Layer4 connection problem, info: "Connection refused", check duration: ')


def test_silent_server_times_out_at_the_layer_that_was_reached() -> None:
    async def scenario(kind: CheckSpec | BackendPlan) -> CheckResult:
        async with serving(silent) as (port, _):
            timing = ServerCheck(inter=5.0)
            return await check(plan_for(port, kind, timing, Timeouts(connect=5.0, check=0.05)))

    assert run(lambda: scenario(HTTP)).status is CheckStatus.L7TOUT
    assert run(lambda: scenario(CheckSpec("ssl-hello"))).status is CheckStatus.L6TOUT


def test_inter_is_the_timeout_for_everything_without_timeout_check() -> None:
    async def scenario() -> CheckResult:
        async with serving(silent) as (port, _):
            return await check(plan_for(port, HTTP, ServerCheck(inter=0.05), Timeouts(connect=5.0)))

    result = run(scenario)
    assert result.status is CheckStatus.L7TOUT
    assert 0.04 < result.duration < 3.0


def test_full_backlog_times_out_at_layer_4() -> None:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):  # fill the accept queue: further SYNs are dropped
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        result = run(lambda: check(plan_for(port, None, ServerCheck(inter=0.1))))
    assert result.status is CheckStatus.L4TOUT


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", CheckStatus.L7OK, 200),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", CheckStatus.L7STS, 500),
        (b"220 mail ESMTP\r\n", CheckStatus.L7RSP, None),
    ],
)
def test_http_checks(answer: bytes, status: CheckStatus, code: int | None) -> None:
    async def scenario() -> CheckResult:
        async with serving(answering(answer)) as (port, _):
            return await check(plan_for(port, HTTP))

    result = run(scenario)
    assert (result.status, result.code) == (status, code)


def test_server_that_closes_without_an_answer() -> None:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()

    async def scenario() -> CheckResult:
        async with serving(closing) as (port, _):
            return await check(plan_for(port, HTTP))

    result = run(scenario)
    assert (result.status, result.info) == (CheckStatus.L7RSP, "connection closed without a response")


@pytest.mark.parametrize("over_tls", [False, True])
def test_more_than_the_socket_takes_at_once(tls_server_context: ssl.SSLContext, over_tls: bool) -> None:
    asked, size = asyncio.Event(), 12_000_000

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await asked.wait()  # what is sent meanwhile fills all buffers
        assert len(await reader.readexactly(size)) == size
        writer.write(b"thanks")

    async def scenario() -> CheckResult:
        async with serving(slow, ssl=tls_server_context if over_tls else None) as (port, _):
            sends = [f"tcp-check send {'x' * 60_000}"] * (size // 60_000)
            rules = backend_plan("option tcp-check", "tcp-check expect string hello", *sends, "tcp-check expect string thanks")
            client = Client() if over_tls else None
            options = {"client": client, "tls": ServerTls()} if over_tls else {}
            running = asyncio.create_task(check(plan_for(port, rules, **options)))  # type: ignore[arg-type]
            await asyncio.sleep(0.05)
            asked.set()
            result = await running
            if client is not None:
                await client.settle()
            return result

    assert run(scenario).status is CheckStatus.L7OK


@pytest.mark.parametrize(
    ("send", "forced", "expected"),
    [
        (ProxyProtocolSend(1), False, b"PROXY UNKNOWN\r\n"),
        (ProxyProtocolSend(2), False, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
        (None, True, b"PROXY UNKNOWN\r\n"),
        (None, False, b""),
    ],
)
def test_proxy_header_comes_first(send: ProxyProtocolSend | None, forced: bool, expected: bytes) -> None:
    async def scenario() -> CheckResult:
        async with serving(silent) as (port, seen):
            result = await check(plan_for(port, None, ServerCheck(inter=5.0, send_proxy=forced), send_proxy=send))
            assert await seen.get() == expected  # and then an orderly end, no reset
        return result

    assert run(scenario).status is CheckStatus.L4OK


def test_port_and_addr_of_the_check_replace_the_server_s() -> None:
    async def scenario() -> CheckResult:
        async with serving(silent) as (port, seen):
            timing = ServerCheck(inter=5.0, port=port)
            result = await check(plan_for(1, None, timing, send_proxy=ProxyProtocolSend(1)))
            assert await seen.get() == b""  # manual, "check": encapsulation is not inherited then
        return result

    assert run(scenario).status is CheckStatus.L4OK


def test_no_port_is_our_fault() -> None:
    result = run(lambda: check(plan_for(0)))
    assert result.status is CheckStatus.SOCKERR
    assert "'port' must be set" in result.info


def test_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    async def scenario() -> CheckResult:
        async with serving(answering(b"HTTP/1.0 204 Fine\r\n\r\n"), unix=path) as (_, seen):
            result = await check(plan_for(0, HTTP), Address(Family.UNIX, path))
            assert await seen.get() == b""
        return result

    assert run(scenario).code == 204


# --- TLS ---


class Client(TlsDialler):
    """Makes client connections as for a server line that trusts everybody, and notes the names that were asked for."""

    def __init__(self) -> None:
        super().__init__(ServerContext(ServerTls(verify=Verify.NONE, location=HERE)))
        self.names: list[bytes | None] = []

    def open(
        self, reactor: Reactor, sock: socket.socket, proceed: Callable[[], None], sni: bytes | None, where: object,
        protocols: Protocols | None = None,
    ) -> TlsConnection:
        self.names.append(sni)
        return super().open(reactor, sock, proceed, sni, where, protocols)


@pytest.fixture(scope="module")
def tls_server_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    leaf = issue(make_authority("check CA"), ["localhost"])
    path = tmp_path_factory.mktemp("tls") / "leaf.pem"
    path.write_bytes(leaf.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_tls_checks_end_with_close_notify(tls_server_context: ssl.SSLContext, kind: str) -> None:
    client = Client()

    async def scenario() -> CheckResult:
        serve = answering(b"HTTP/1.0 200 OK\r\n\r\n") if kind == "http" else silent
        async with serving(serve, ssl=tls_server_context) as (port, seen):
            timing = ServerCheck(inter=10.0, sni="check.example")
            spec = HTTP if kind == "http" else CheckSpec()
            result = await check(plan_for(port, spec, timing, client=client, tls=ServerTls()))
            assert await seen.get() == b""
            await client.settle()
        return result

    result = run(scenario)
    assert result.status is (CheckStatus.L6OK if kind == "tcp" else CheckStatus.L7OK)
    assert client.names == [b"check.example"]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["http-check send hdr Host www.example:8443"], [b"www.example"]),
        (["http-check send hdr Host %[srv_name].example"], [b"s1.example"]),
        (["http-check send hdr Host 192.0.2.1"], [None]),
        ([], [None]),
        (["http-check connect ssl", "http-check send hdr Host www.example"], [None]),
        (["http-check connect ssl sni rule.example", "http-check send hdr Host www.example"], [b"rule.example"]),
    ],
)
def test_server_name_of_http_checks(tls_server_context: ssl.SSLContext, lines: list[str], names: list[bytes | None]) -> None:
    """5.2 check-sni-auto: the host that is asked for, unless a rule says how to connect."""
    client = Client()

    async def scenario() -> CheckResult:
        async with serving(answering(b"HTTP/1.0 200 OK\r\n\r\n"), ssl=tls_server_context) as (port, _):
            plan = backend_plan("option httpchk", *lines)
            return await check(plan_for(port, plan, ServerCheck(inter=10.0), client=client, tls=ServerTls()))

    assert run(scenario).status is CheckStatus.L7OK
    assert client.names == names


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_protocols_of_connect_rules(tls_server_context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    """What a rule offers, else what the server line does; a session of one is not offered with another."""
    client = TlsDialler(ServerContext(ServerTls(verify=Verify.NONE, alpn=("http/1.1",), location=HERE)))
    tls_server_context.set_alpn_protocols(["ftp", "http/1.0", "http/1.1"])
    spoken: list[str | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoken.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())

    async def scenario() -> CheckResult:
        async with serving(serve, ssl=tls_server_context) as (port, seen):
            lines = ("tcp-check connect ssl", "tcp-check connect ssl alpn http/1.0,h2", "tcp-check connect ssl alpn ftp sni x")
            plan = plan_for(port, backend_plan("option tcp-check", *lines), client=client, tls=ServerTls())
            for _ in range(3):
                result = await check(plan)
                for _ in lines:
                    assert await seen.get() == b""
                await client.settle()
        return result

    tls_server_context.minimum_version = tls_server_context.maximum_version = version
    try:
        assert run(scenario).status is CheckStatus.L6OK
    finally:
        tls_server_context.set_alpn_protocols(["http/1.1"])
        tls_server_context.minimum_version, tls_server_context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    assert sorted(spoken, key=str) == ["ftp"] * 3 + ["http/1.0"] * 3 + ["http/1.1"] * 3
    full = {cause.word: count for cause, count in zip(Cause, client.exchanges.causes, strict=True) if count}
    assert full == {"first_contact": 1, "other_alpn": 2} and client.exchanges.resumed == 6


def test_no_check_sni_auto_leaves_the_name_out(tls_server_context: ssl.SSLContext) -> None:
    client = Client()

    async def scenario() -> CheckResult:
        async with serving(answering(b"HTTP/1.0 200 OK\r\n\r\n"), ssl=tls_server_context) as (port, _):
            plan = backend_plan("option httpchk", "http-check send hdr host www.example")
            timing = ServerCheck(inter=10.0, sni_auto=False)
            return await check(plan_for(port, plan, timing, client=client, tls=ServerTls()))

    assert run(scenario).status is CheckStatus.L7OK
    assert client.names == [None]


def test_tls_check_of_a_plain_server() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def scenario() -> CheckResult:
        async with serving(serve) as (port, _):
            return await check(plan_for(port, client=Client()))

    result = run(scenario)
    assert result.status is CheckStatus.L6RSP
    assert result.info == (
        "not-tls: The server does not speak TLS on this port (it begins with 'HTTP/1.1 400 Bad Request'). Remove `ssl` on that"
        " server line, or use the server's TLS port."
    )


def test_tls_check_of_a_silent_server() -> None:
    async def scenario() -> CheckResult:
        async with serving(silent) as (port, _):
            client = Client()
            result = await check(plan_for(port, None, ServerCheck(inter=0.05), client=client))
            await client.settle()
            assert client.exchanges.failed == 1
            return result

    result = run(scenario)
    assert result.status is CheckStatus.L6TOUT
    assert result.info.startswith("timeout-after-client-hello: The server was silent"), result.info


def test_ssl_hello_check_against_a_tls_server(tls_server_context: ssl.SSLContext) -> None:
    async def scenario() -> CheckResult:
        async with serving(silent, ssl=tls_server_context) as (port, _):
            return await check(plan_for(port, CheckSpec("ssl-hello")))

    assert run(scenario).status is CheckStatus.L6OK


@pytest.mark.parametrize(
    ("timing", "tls", "wanted"),
    [
        (ServerCheck(), None, False),
        (ServerCheck(), ServerTls(), True),
        (ServerCheck(port=80), ServerTls(), False),
        (ServerCheck(address=inet(80)), ServerTls(), False),
        (ServerCheck(port=443, tls=True), None, True),
        (ServerCheck(tls=False), ServerTls(), False),
    ],
)
def test_which_checks_run_over_tls(timing: ServerCheck, tls: ServerTls | None, wanted: bool) -> None:
    assert wants_tls(Server("s", inet(1), HERE, 1, check=timing, tls=tls)) is wanted


# --- scripts over several connections --------------------------------------------------------------------------------


def test_each_connection_of_a_script_is_closed_in_order() -> None:
    async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")

    async def scenario() -> CheckResult:
        async with serving(greeting) as (first, seen_first), serving(greeting) as (second, seen_second):
            plan = backend_plan(
                "option tcp-check", "tcp-check connect", "tcp-check expect string hello", f"tcp-check connect port {second}",
                "tcp-check send PING", "tcp-check expect string hello",
            )
            result = await check(plan_for(first, plan))
            assert await seen_first.get() == b""
            assert await seen_second.get() == b"PING"
        return result

    assert run(scenario).status is CheckStatus.L7OK


def test_a_refused_step_is_named() -> None:
    sock, refusing = refusing_port()

    async def scenario() -> CheckResult:
        async with serving(silent) as (port, _):
            plan = backend_plan("option tcp-check", "tcp-check connect", f"tcp-check connect port {refusing} comment second")
            return await check(plan_for(port, plan))

    with sock:
        result = run(scenario)
    assert result.status is CheckStatus.L4CON
    assert result.info == f"Connection refused at step 2 of tcp-check (connect port {refusing}) comment: 'second'"


def test_a_refused_connection_without_a_rule_is_the_initial_one() -> None:
    sock, refusing = refusing_port()

    async def scenario() -> CheckResult:
        rules = ["tcp-check set-var(check.x) int(1)", "tcp-check expect string foo comment why"]
        return await check(plan_for(refusing, backend_plan("option tcp-check", *rules)))

    with sock:
        result = run(scenario)
    assert (result.status, result.info) == (CheckStatus.L4CON, "Connection refused at initial connection step of tcp-check")


def test_an_explicit_connect_takes_nothing_from_the_server_line_unless_it_says_default() -> None:
    async def scenario(options: str, expected: bytes) -> CheckResult:
        async with serving(silent) as (port, seen):
            plan = backend_plan("option tcp-check", f"tcp-check connect {options}")
            result = await check(plan_for(port, plan, send_proxy=ProxyProtocolSend(1)))
            assert await seen.get() == expected
        return result

    for options, expected in (("", b""), ("default", b"PROXY UNKNOWN\r\n"), ("send-proxy", b"PROXY UNKNOWN\r\n")):
        assert run(lambda options=options, expected=expected: scenario(options, expected)).status is CheckStatus.L4OK  # type: ignore[misc]


def test_a_reset_in_the_middle_is_a_socket_error() -> None:
    async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()

    async def scenario() -> CheckResult:
        async with serving(resetting) as (port, _):
            return await check(plan_for(port, HTTP))

    result = run(scenario)
    assert (result.status, result.info) == (CheckStatus.SOCKERR, "Connection reset by peer")


def test_timeout_check_is_for_the_answer_alone() -> None:
    async def scenario() -> CheckResult:
        async with serving(silent) as (port, _):
            plan = backend_plan("option tcp-check", "tcp-check expect tout-status L6TOUT comment c string x")
            return await check(plan_for(port, plan, None, Timeouts(connect=5.0, check=0.05)))

    result = run(scenario)
    assert (result.status, result.info) == (CheckStatus.L6TOUT, " at step 1 of tcp-check (expect string 'x') comment: 'c'")


# --- SOCKS4 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "status", "info"),
    [
        (b"\0\x5a" + bytes(6), CheckStatus.L4OK, ""),
        (b"\0\x5b" + bytes(6), CheckStatus.L4CON, "SOCKS4 proxy refused the request with code 91"),
        (b"\5\0" + bytes(6), CheckStatus.L4CON, "not a SOCKS4 answer"),
        (b"\0\x5a", CheckStatus.L4CON, "SOCKS4 proxy closed the connection"),
    ],
)
def test_through_socks4(reply: bytes, status: CheckStatus, info: str) -> None:
    async def proxying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"headgate\0") == b"\x04\x01\x1f\x90\x0a\x00\x00\x07headgate\0"
        writer.write(reply)
        if len(reply) < 8:
            writer.close()

    async def scenario() -> CheckResult:
        async with serving(proxying) as (port, _):
            plan = plan_for(1, None, ServerCheck(inter=5.0, via_socks4=True), socks4=inet(port))
            return await check(plan, Address(Family.INET, "10.0.0.7", 8080, 8080))

    result = run(scenario)
    assert (result.status, result.info) == (status, info)
