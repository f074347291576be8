"""Fixtures around real programs. `proxy` starts the subject; tests for both HAProxy and headgate take `subject`."""

from __future__ import annotations

import contextlib
import pathlib
import socket
from collections.abc import Callable, Iterator

import pytest

from headgate.tls.authority import Authority, issue, make_authority
from tests.interop.backends import Backend, LogReceiver, Wire
from tests.interop.programs import Program, free_port, start_subject


@pytest.fixture(params=["headgate", pytest.param("haproxy", marks=pytest.mark.needs("haproxy"))])
def subject(request: pytest.FixtureRequest) -> str:
    """The same scenario with the same expectations, for headgate and for the real thing."""
    return str(request.param)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Whatever a test opens and wants closed at its end."""
    with contextlib.ExitStack() as opened:
        yield opened


@pytest.fixture
def backend(stack: contextlib.ExitStack) -> Callable[..., Backend]:
    """Make a scripted backend (see `Backend`)."""

    def make(*arguments: object, **options: object) -> Backend:
        made = Backend(*arguments, **options)  # type: ignore[arg-type]
        stack.callback(made.close)
        return made

    return make


@pytest.fixture
def logs(stack: contextlib.ExitStack) -> LogReceiver:
    receiver = LogReceiver()
    stack.callback(receiver.close)
    return receiver


class Proxy:
    """A running subject with one main port; `stack` closes what a test leaves open."""

    def __init__(self, program: Program, port: int, stack: contextlib.ExitStack) -> None:
        self.program = program
        self.port = port
        self.stack = stack

    def connect(self, port: int | None = None, host: str = "127.0.0.1") -> Wire:
        """A new client connection."""
        connection = socket.create_connection((host, port or self.port), 20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stack.callback(connection.close)
        return Wire(connection)


DEFAULTS = """
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
"""

StartProxy = Callable[..., Proxy]


@pytest.fixture
def proxy(stack: contextlib.ExitStack, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> StartProxy:
    """Start the subject: `proxy(config)`. `{port}` in the text is its main port; without `defaults` some are put in front."""

    def start(config: str, *, subject: str | None = None, extra_ports: tuple[int, ...] = (), **options: object) -> Proxy:
        if subject is None:
            subject = str(request.getfixturevalue("subject")) if "subject" in request.fixturenames else "headgate"
        port = free_port()
        text = config.replace("{port}", str(port))
        if "defaults" not in text:
            text = DEFAULTS + text
        ports = (port, *extra_ports) if "{port}" in config else extra_ports
        program = start_subject(subject, text, tmp_path, ports, **options)  # type: ignore[arg-type]
        stack.callback(program.stop)
        return Proxy(program, port, stack)

    return start


@pytest.fixture(scope="session")
def authority() -> Authority:
    return make_authority("interop CA")


@pytest.fixture(scope="session")
def certificates(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A directory with ca.pem, site.pem (site.example, localhost), apache.pem, client.pem and a stranger's client certificate."""
    directory = tmp_path_factory.mktemp("certificates")
    (directory / "ca.pem").write_bytes(authority.certificate_pem)
    (directory / "site.pem").write_bytes(issue(authority, ["site.example", "localhost", "127.0.0.1"]).pem)
    (directory / "apache.pem").write_bytes(issue(authority, ["apache01.lan", "localhost"]).pem)
    (directory / "client.pem").write_bytes(issue(authority, ["alice"], client=True).pem)
    stranger = make_authority("somebody else's CA")
    (directory / "stranger.pem").write_bytes(issue(stranger, ["mallory"], client=True).pem)
    return directory
