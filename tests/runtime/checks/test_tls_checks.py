"""Checks over TLS with the contexts of server lines, against a server that insists on close_notify."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Location, Report
from headgate.config.model import Proxy, ProxyKind, Server, ServerCheck
from headgate.config.tls_options import CertificateFile, ServerTls, Verify
from headgate.health.results import CheckResult, CheckStatus
from headgate.runtime.checks import exchange
from headgate.runtime.checks.exchange import run_check
from headgate.runtime.checks.plans import plan_check
from headgate.runtime.checks.tls_connection import TlsDialler
from headgate.runtime.loop import run as run_loop
from headgate.tls.authority import issue, make_authority
from headgate.tls.client_context import build_server_context

HERE = Location("test.cfg", 1, 1)


def checked(tmp_path: Path, tls: ServerTls, sni: str | None) -> tuple[CheckResult, bytes | str]:
    """One check of a server in a thread; its result, and what the server read behind the handshake."""
    authority = make_authority("test CA")
    (tmp_path / "leaf.pem").write_bytes(issue(authority, ["www.example"]).pem)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem")

    def strict(listening: socket.socket) -> bytes | str:
        accepted, _ = listening.accept()
        accepted.settimeout(10)
        try:
            with context.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False) as peer:
                return peer.recv(100)
        except OSError as error:
            return type(error).__name__

    async def scenario(listening: socket.socket) -> tuple[CheckResult, bytes | str]:
        port = listening.getsockname()[1]
        timing = ServerCheck(inter=10.0, sni=sni)
        server = Server("s1", Address(Family.INET, "127.0.0.1", port, port), HERE, 1, check=timing, tls=tls)
        proxy = Proxy("app", ProxyKind.BACKEND, 1, HERE, servers=(server,))
        context = build_server_context(tls, Report())
        assert context is not None
        client = TlsDialler(context)
        peer = asyncio.create_task(asyncio.to_thread(strict, listening))
        result = await run_check(plan_check(proxy, server, timing, client), server.address, clock=time.monotonic)
        await client.settle()
        return result, await peer

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(5)
        listening.settimeout(10)
        return run_loop(scenario(listening))


@pytest.mark.parametrize("sni", [None, "www.example"])
def test_check_ends_with_close_notify(tmp_path: Path, sni: str | None) -> None:
    result, read = checked(tmp_path, ServerTls(verify=Verify.NONE), sni)
    assert (result.status, read) == (CheckStatus.L6OK, b"")  # b"" only after close_notify, an exception otherwise


def test_certificate_is_verified_as_for_traffic(tmp_path: Path) -> None:
    trusting = ServerTls(verify=Verify.REQUIRED, ca_file=str(tmp_path / "ca.pem"), location=HERE)
    result, read = checked(tmp_path, trusting, "www.example")
    assert (result.status, read) == (CheckStatus.L6OK, b"")


def test_wrong_certificate_fails_the_check(tmp_path: Path) -> None:
    trusting = ServerTls(verify=Verify.REQUIRED, ca_file=str(tmp_path / "ca.pem"), location=HERE)
    result, read = checked(tmp_path, trusting, "other.example")
    assert result.status is CheckStatus.L6RSP
    assert result.info == (
        "server-certificate-wrong-name: The server's certificate .CN=www.example. is not valid for the name 'other.example' that"
        " is verified: it is for www.example. See `sni` and `verifyhost` (test.cfg:1)."
    )
    assert read != b""


class Asking:
    """A TLS 1.3 server, in a thread, that wants client certificates of an authority; each connection ends when we end it."""

    def __init__(self, directory: Path, *, required: bool = True, tickets: int = 2) -> None:
        authority = make_authority("asking CA")
        (directory / "server.pem").write_bytes(issue(authority, ["www.example"]).pem)
        (directory / "client.pem").write_bytes(issue(authority, ["client"], client=True).pem)
        (directory / "stranger.pem").write_bytes(issue(make_authority("nobody you know"), ["client"], client=True).pem)
        (directory / "asking-ca.pem").write_bytes(authority.certificate_pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.num_tickets = tickets
        self._context.load_cert_chain(directory / "server.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        self._context.load_verify_locations(directory / "asking-ca.pem")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(20)
        self.port = self._listening.getsockname()[1]

    def serve(self, times: int) -> None:
        for _ in range(times):
            accepted, _ = self._listening.accept()
            accepted.settimeout(20)
            try:
                with self._context.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False) as peer:
                    peer.recv(100)
            except OSError:
                accepted.close()

    def checks(self, tls: ServerTls, times: int = 1, client: TlsDialler | None = None) -> list[CheckResult]:
        """So many checks, one after the other has left."""
        timing = ServerCheck(inter=20.0)
        server = Server("s1", Address(Family.INET, "127.0.0.1", self.port, self.port), HERE, 1, check=timing, tls=tls)
        proxy = Proxy("app", ProxyKind.BACKEND, 1, HERE, servers=(server,))
        context = build_server_context(tls, Report())
        assert context is not None
        client = client or TlsDialler(context)

        async def scenario() -> list[CheckResult]:
            peer = asyncio.create_task(asyncio.to_thread(self.serve, times))
            results = []
            for _ in range(times):
                results.append(await run_check(plan_check(proxy, server, timing, client), server.address, clock=time.monotonic))
                await client.settle()
            await peer
            return results

        with self._listening:
            return run_loop(scenario())


@pytest.mark.parametrize("certificate", [None, "stranger.pem"])
def test_a_server_that_does_not_take_our_certificate_fails_a_check_of_the_handshake(
    tmp_path: Path, certificate: str | None
) -> None:
    """In TLS 1.3 it says so when our handshake is done."""
    asking = Asking(tmp_path)
    shown = None if certificate is None else CertificateFile(str(tmp_path / certificate), HERE)
    tls = ServerTls(verify=Verify.NONE, certificate=shown, location=HERE)
    for result in asking.checks(tls, 2):
        assert result.status is CheckStatus.L6RSP
        cause = "server-requires-certificate: " if certificate is None else "server-"
        assert result.info.startswith(cause) and "test.cfg:1" in result.info


@pytest.mark.parametrize(("required", "tickets"), [(True, 2), (False, 2), (True, 0), (False, 0)])
def test_a_server_that_takes_us_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: bool, tickets: int) -> None:
    """Where it gives no ticket one check waits for its verdict, and none behind it."""
    monkeypatch.setattr(exchange, "VERDICT", 0.05 if not tickets else 10.0)
    asking = Asking(tmp_path, required=required, tickets=tickets)
    tls = ServerTls(verify=Verify.NONE, certificate=CertificateFile(str(tmp_path / "client.pem"), HERE), location=HERE)
    context = build_server_context(tls, Report())
    assert context is not None
    client = TlsDialler(context)
    assert [result.status for result in asking.checks(tls, 2, client)] == [CheckStatus.L6OK] * 2
    assert client.silent is (not tickets)


def test_a_server_that_refuses_late_fails_the_next_check(tmp_path: Path) -> None:
    """It was taken for one that says nothing."""
    asking = Asking(tmp_path)
    tls = ServerTls(verify=Verify.NONE, location=HERE)
    context = build_server_context(tls, Report())
    assert context is not None
    client = TlsDialler(context)
    client.silent = True
    assert [result.status for result in asking.checks(tls, 2, client)] == [CheckStatus.L6OK, CheckStatus.L6RSP]


def test_a_server_that_asks_nothing_and_gives_no_ticket_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "VERDICT", 10.0)
    asking = Asking(tmp_path, tickets=0)
    asking._context.verify_mode = ssl.CERT_NONE
    (result,) = asking.checks(ServerTls(verify=Verify.NONE, location=HERE))
    assert result.status is CheckStatus.L6OK and result.duration < 5.0


@pytest.mark.parametrize(
    ("last", "resets", "said"),
    [
        (b"", False, "The server closed the connection after our ClientHello"),
        (b"", True, "The server reset the connection"),
        (b"\x15\x03\x03\0\2\1\0", False, "The server closed the connection after our ClientHello"),
    ],
    ids=["closes", "resets", "says close_notify"],
)
def test_a_server_that_goes_in_the_handshake(last: bytes, resets: bool, said: str) -> None:
    tls = ServerTls(verify=Verify.NONE, location=HERE)

    def go(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        accepted.settimeout(20)
        accepted.recv(65536)
        accepted.sendall(last)
        if resets:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()

    async def scenario(listening: socket.socket) -> CheckResult:
        address = Address(Family.INET, "127.0.0.1", port := listening.getsockname()[1], port)
        timing = ServerCheck(inter=20.0)
        server = Server("s1", address, HERE, 1, check=timing, tls=tls)
        proxy = Proxy("app", ProxyKind.BACKEND, 1, HERE, servers=(server,))
        context = build_server_context(tls, Report())
        assert context is not None
        peer = asyncio.create_task(asyncio.to_thread(go, listening))
        result = await run_check(plan_check(proxy, server, timing, TlsDialler(context)), address, clock=time.monotonic)
        await peer
        return result

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        result = run_loop(scenario(listening))
    assert result.status is CheckStatus.L6RSP and said in result.info, result.info
