"""Servers to be checked: liars that are a few bytes each, and the real ones that Debian has, each a private instance."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.interop.programs import Program, ask_socket, free_port, listening

Handler = Callable[[socket.socket], None]


class Liar:
    """A server whose every connection is one call of a function; it may hang or break as it likes."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections = 0
        self._listener = listening(128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with contextlib.suppress(OSError), connection:
            self.handler(connection)

    def close(self) -> None:
        self._listener.close()


def _linger(connection: socket.socket) -> None:
    """Stay until the other side has gone."""
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def says(data: bytes) -> Handler:
    """Says something at once, then closes its side."""

    def handler(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        _linger(connection)

    return handler


def says_and_stays(data: bytes) -> Handler:
    """Says something at once and never closes; with nothing to say it is a server that hangs."""

    def handler(connection: socket.socket) -> None:
        connection.sendall(data)
        _linger(connection)

    return handler


def answers(*turns: bytes) -> Handler:
    """Waits for something before each thing that it says; then closes its side."""

    def handler(connection: socket.socket) -> None:
        for data in turns:
            if not connection.recv(65536):
                return
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        _linger(connection)

    return handler


def never_ends(connection: socket.socket) -> None:
    """Waits for something, then says the same for ever."""
    connection.recv(65536)
    while True:
        connection.sendall(b"x" * 65536)


def resets(connection: socket.socket) -> None:
    """Breaks the connection after something was said."""
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def refused_port(stack: contextlib.ExitStack) -> int:
    """A port that stays bound and that nobody listens on."""
    sock = stack.enter_context(socket.socket())
    sock.bind(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    return port


def rows(path: pathlib.Path) -> dict[str, dict[str, str]]:
    """`show stat` of the servers, by `backend/server`; a check under way does not show."""
    text = ask_socket(path, "show stat").removeprefix("# ")
    found = {}
    for row in csv.DictReader(io.StringIO(text)):
        if row["svname"] not in ("FRONTEND", "BACKEND"):
            for column in ("check_status", "agent_status"):
                row[column] = row[column].removeprefix("* ")
            found[f"{row['pxname']}/{row['svname']}"] = row
    return found


def await_rows(path: pathlib.Path, wanted: dict[str, dict[str, str]], seconds: float = 30.0) -> dict[str, dict[str, str]]:
    """Wait until all cells of `wanted` are as they should be; AssertionError with those that never were."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = rows(path)
        except OSError:
            found = {}  # it does not listen yet
        differing = {
            name: {column: (found.get(name, {}).get(column), value) for column, value in cells.items()}
            for name, cells in wanted.items()
            if any(found.get(name, {}).get(column) != value for column, value in cells.items())
        }
        if not differing:
            return found
        assert time.monotonic() < end, f"(found, expected): {differing}"
        time.sleep(0.05)


# --- real ones -------------------------------------------------------------------------------------------------------


def _as_user(name: str, directory: pathlib.Path) -> list[str]:
    """In front of a command: drop to a user that the program insists on, if we are root; the directory becomes that user's."""
    if os.geteuid():
        return []
    user = pwd.getpwnam(name)
    os.chown(directory, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def redis(directory: pathlib.Path) -> tuple[Program, int]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    return Program(command, directory, "redis"), port


def postgres(directory: pathlib.Path) -> tuple[Program, int]:
    """With a user `probe` who needs a password, and nobody else than the one who made it."""
    port = free_port()
    prefix = _as_user("postgres", directory)
    data = str(directory / "data")
    binary = str(pathlib.Path(shutil.which("initdb") or "initdb").resolve())
    _run([*prefix, binary, "-D", data, "-A", "scram-sha-256", "-N", "-U", "admin", "--pwfile", _password(directory)])
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(directory), "-c", "fsync=off"]
    return Program([*prefix, str(pathlib.Path(binary).with_name("postgres")), "-D", data, *options], directory, "postgres"), port


def _password(directory: pathlib.Path) -> str:
    path = directory / "password"
    path.write_text("secret\n")
    path.chmod(0o644)
    return str(path)


def mariadb(directory: pathlib.Path) -> tuple[Program, int]:
    """With a user `probe` who needs no password."""
    port = free_port()
    prefix = _as_user("mysql", directory)
    data = f"--datadir={directory / 'data'}"
    _run([*prefix, "mariadb-install-db", "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db"])
    users = directory / "users.sql"
    users.write_text("CREATE USER probe@'127.0.0.1';\n")
    users.chmod(0o644)
    command = [
        *prefix, "mariadbd", "--no-defaults", data, f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve",
        f"--socket={directory / 's'}", f"--pid-file={directory / 'p'}", f"--init-file={users}",
    ]
    return Program(command, directory, "mariadb"), port


def slapd(directory: pathlib.Path) -> tuple[Program, int]:
    port = free_port()
    config = directory / "slapd.conf"
    config.write_text(
        "modulepath /usr/lib/ldap\nmoduleload back_ldif\ninclude /etc/ldap/schema/core.schema\n"
        f'database ldif\nsuffix "dc=example"\ndirectory {directory}\n'
    )
    return Program(["slapd", "-d", "0", "-f", str(config), "-h", f"ldap://127.0.0.1:{port}"], directory, "slapd"), port


def postfix_sink(directory: pathlib.Path) -> tuple[Program, int]:
    """Postfix's own server for tests."""
    port = free_port()
    return Program(["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "16"], directory, "smtp-sink"), port


def nginx(directory: pathlib.Path) -> tuple[Program, int]:
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off;\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} location /busy {{ return 503; }} }} }}\n"
    )
    return Program(["nginx", "-c", str(config), "-p", str(directory)], directory, "nginx"), port


def spop_agent(directory: pathlib.Path) -> tuple[Program, int]:
    """An agent that is not ours, and does nothing but speak the protocol."""
    port = free_port()
    run = f"from haproxyspoa.spoa_server import SpoaServer; SpoaServer().run(host='127.0.0.1', port={port})"
    return Program([sys.executable, "-c", run], directory, "spop-agent"), port


REAL: dict[str, Callable[[pathlib.Path], tuple[Program, int]]] = {
    "redis": redis, "postgres": postgres, "mariadb": mariadb, "slapd": slapd, "smtp-sink": postfix_sink, "nginx": nginx,
    "spop-agent": spop_agent,
}


@contextlib.contextmanager
def running() -> Iterator[dict[str, int]]:
    """All of them; their ports. They have directories that other users than ours may enter."""
    started: dict[str, tuple[Program, int]] = {}
    directory = pathlib.Path(tempfile.mkdtemp(prefix="headgate-servers-"))
    directory.chmod(0o755)
    try:
        for name, start in REAL.items():
            home = directory / name
            home.mkdir()
            started[name] = start(home)
        for program, port in started.values():
            program.await_ports([port])
        yield {name: port for name, (_, port) in started.items()}
    finally:
        for program, _ in started.values():
            program.stop()
        shutil.rmtree(directory, ignore_errors=True)


def cells(status: str, check: str, code: Any, text: str) -> dict[str, str]:
    """The cells of a check in `show stat`."""
    return {"status": status, "check_status": check, "check_code": str(code), "last_chk": text}
