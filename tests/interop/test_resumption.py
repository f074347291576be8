"""How many of many connections over four workers are resumed by ticket, over a reload and a restart.

Sessions without tickets are in `test_sessions_without_tickets`. The short form is for each run; `--slow` makes it 10,000
connections. docs/operating.md has the figures.
"""

from __future__ import annotations

import pathlib
import socket
import ssl

import pytest

from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import start_subject
from tests.interop.test_tls_sessions import reload, start
from tests.interop.tls_client import TLS_1_2, TLS_1_3, client_context, visit

COUNTS = pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])


class Visitors:
    """Clients that each come back with the session of one before."""

    def __init__(self, started: Proxy, directory: pathlib.Path, version: ssl.TLSVersion) -> None:
        self.started = started
        self.context = client_context(directory, version=version)
        self.session = visit(self.context, self.address).session

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.started.port

    def share(self, count: int) -> float:
        """The share of resumed ones among so many; where one was not, its session is the next one's."""
        resumed = 0
        for _ in range(count):
            found = visit(self.context, self.address, session=self.session)
            resumed += found.resumed
            if not found.resumed:
                self.session = found.session
        return resumed / count


@COUNTS
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_tickets_over_workers_reload_and_restart(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, version: ssl.TLSVersion, count: int
) -> None:
    started = start(proxy, certificates)
    visitors = Visitors(started, certificates, version)
    # A ticket lasts `tune.ssl.lifetime`, 300 s: thousands of connections may take longer, and then one is not resumed.
    least = 1.0 - count // 1000 / count
    assert visitors.share(count // 2) >= least
    reload(started)
    assert visitors.share(count // 2) >= least
    # The keys of tickets live as long as the master. Whoever comes with a ticket of the one before is served all the same.
    started.program.stop()
    config = (tmp_path / "headgate.cfg").read_text()
    again = start_subject("headgate", config, tmp_path, [started.port], name="again", arguments=("-W",))
    try:
        again.await_output("Loading success")
        assert visitors.share(1) == 0.0
        assert visitors.share(20) == 1.0
    finally:
        again.stop()


def test_who_leaves_without_close_notify_is_resumed_all_the_same(proxy: StartProxy, certificates: pathlib.Path) -> None:
    started = proxy(
        f"""
        frontend web
            bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem no-tls-tickets
            http-request return status 200
        """,
    )
    context = client_context(certificates, version=TLS_1_2)
    session: ssl.SSLSession | None = None
    resumed = []
    for _ in range(10):
        plain = socket.create_connection(("127.0.0.1", started.port), 20)
        secure = context.wrap_socket(plain, server_hostname="localhost", session=session)
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert secure.recv(4096).startswith(b"HTTP/1.1 200")
        resumed.append(bool(secure.session_reused))
        session = secure.session
        secure.close()  # without a word
    assert resumed == [False] + [True] * 9
