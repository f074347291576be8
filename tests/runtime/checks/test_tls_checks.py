"""Checks over TLS with the contexts of server lines, against a server that insists on close_notify."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path

import pytest

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Location, Report
from headgate.config.model import Proxy, ProxyKind, Server, ServerCheck
from headgate.config.tls_options import ServerTls, Verify
from headgate.health.results import CheckResult, CheckStatus
from headgate.runtime.checks.exchange import plan_check, run_check
from headgate.runtime.checks.tls_connection import CheckDialler
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
        client = CheckDialler(context)
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
