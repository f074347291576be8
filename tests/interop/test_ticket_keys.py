"""Keys of tickets from a file: over workers, reloads, restarts and machines, replaced while serving. And `client-sigalgs`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import pathlib
import re
import signal
import ssl
import subprocess

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.programs import DEADLINE, Program, ask_socket, children, free_port, start_subject, wait_until
from tests.interop.test_resumption import Visitors
from tests.interop.test_tls_sessions import reload
from tests.interop.tls_client import TLS_1_2, TLS_1_3, visit

VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])


def new_key(size: int = 80) -> bytes:
    return os.urandom(size)


def text_of(*keys: bytes) -> str:
    return "".join(base64.b64encode(key).decode() + "\n" for key in keys)


def config_for(certificates: pathlib.Path, keys: pathlib.Path, directory: pathlib.Path, workers: int = 4) -> str:
    return f"""
    global
        nbthread {workers}
        stats socket {directory}/stats.sock level admin
    frontend web
        bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem tls-ticket-keys {keys}
        http-request return status 200
"""


@pytest.fixture
def keys(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "ticket.keys"
    path.write_text(text_of(*(new_key() for _ in range(3))))
    return path


def ticket_of(session: pathlib.Path) -> bytes:
    """The ticket in a session that s_client has written."""
    shown = subprocess.run(
        ["openssl", "sess_id", "-in", session, "-text", "-noout"], capture_output=True, text=True, timeout=DEADLINE, check=True
    ).stdout
    rows = re.findall(r"^ +[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){1,16})", shown, re.MULTILINE)
    return bytes.fromhex("".join(row.replace("-", " ") for row in rows))


@pytest.mark.parametrize("size", [48, 80])
def test_the_last_key_but_one_makes_tickets(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, subject: str, size: int
) -> None:
    """Its name, then IV, then what AES and the MAC made of the session (RFC 5077 section 4)."""
    four = [new_key(size) for _ in range(4)]
    (tmp_path / "keys").write_text(text_of(*four))
    started = proxy(config_for(certificates, tmp_path / "keys", tmp_path, 1), subject=subject)
    session = tmp_path / "session.pem"
    with subprocess.Popen(
        ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{started.port}", "-sess_out", session],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as client:
        wait_until(lambda: session.exists() and session.read_bytes().endswith(b"-----\n"), "a session comes")
        client.terminate()
    ticket, used = ticket_of(session), four[2]
    assert ticket[:16] == used[:16]
    mac = used[16 + (size - 16) // 2 :]
    assert ticket[-32:] == hmac.new(mac, ticket[:-32], hashlib.sha256).digest()


def test_the_commands(proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, subject: str) -> None:
    four = [new_key() for _ in range(4)]
    (tmp_path / "keys").write_text(text_of(*four))
    proxy(config_for(certificates, tmp_path / "keys", tmp_path, 1), subject=subject)

    def ask(command: str) -> str:
        return ask_socket(tmp_path / "stats.sock", command).rstrip("\n")

    def shown(*keys: bytes) -> str:
        rows = [f"0.{number} {base64.b64encode(key).decode()}" for number, key in enumerate(keys)]
        return "\n".join(["# id secret", f"# 0 ({tmp_path}/keys)", *rows])

    assert ask("show tls-keys") == f"# id (file)\n0 ({tmp_path}/keys)"
    assert ask("show tls-keys *") == ask("show tls-keys #0") == ask(f"show tls-keys {tmp_path}/keys") == shown(*four[1:])
    assert ask("show tls-keys #1") == "'show tls-keys' unable to locate referenced filename"
    another, third = new_key(), new_key()
    assert ask(f"set ssl tls-key #0 {base64.b64encode(another).decode()}") == "TLS ticket key updated!"
    assert ask(f"set ssl tls-key {tmp_path}/keys {base64.b64encode(third).decode()}") == "TLS ticket key updated!"
    assert ask("show tls-keys *") == shown(four[3], another, third)
    for words, said in {
        "": "expects a filename and the new TLS key in base64 encoding.",
        f"#7 {base64.b64encode(third).decode()}": "unable to locate referenced filename",
        "#0 abc": "received invalid base64 encoded TLS key.",
        f"#0 {base64.b64encode(new_key(48)).decode()}": "received a key of wrong size.",
    }.items():
        assert ask(f"set ssl tls-key {words}".strip()) == f"'set ssl tls-key' {said}"


@VERSIONS
def test_reloads_restarts_and_other_machines(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, keys: pathlib.Path, version: ssl.TLSVersion
) -> None:
    started = proxy(config_for(certificates, keys, tmp_path), arguments=("-W",))
    started.program.await_output("Loading success")
    visitors = Visitors(started, certificates, version)
    assert visitors.share(30) == 1.0
    for _ in range(2):  # the key that encrypts becomes one that only decrypts, and is still known
        keys.write_text(keys.read_text() + text_of(new_key()))
        reload(started)
        assert visitors.share(20) == 1.0
        visitors.session = visit(visitors.context, visitors.address, session=visitors.session).session
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    port = free_port()
    config = (tmp_path / "headgate.cfg").read_text().replace(f":{started.port}", f":{port}").replace("stats.sock", "other.sock")
    other = start_subject("headgate", config, elsewhere, [port], name="other")
    try:
        assert visit(visitors.context, ("127.0.0.1", port), session=visitors.session).resumed
    finally:
        other.stop()
    started.program.stop()
    again = start_subject(
        "headgate", (tmp_path / "headgate.cfg").read_text(), tmp_path, [started.port], name="again", arguments=("-W",)
    )
    try:
        again.await_output("Loading success")
        assert visitors.share(20) == 1.0
    finally:
        again.stop()


def test_a_file_that_is_watched_and_a_change_that_a_reload_takes_back(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, keys: pathlib.Path
) -> None:
    settings = "crt-watch 1s\n log stderr format raw local0\n"
    config = config_for(certificates, keys, tmp_path, 2).replace("nbthread", f"{settings} nbthread")
    started = proxy(config, arguments=("-W",))
    started.program.await_output("Loading success")
    stats = tmp_path / "stats.sock"

    def shown() -> list[str]:
        return re.findall(r"^0\.\d (\S+)$", ask_socket(stats, "show tls-keys *"), re.MULTILINE)

    written = keys.read_text().split()
    assert shown() == written
    keys.write_text(keys.read_text() + "rubbish\n")
    started.program.await_output("line 4 holds no key")
    assert shown() == written
    fourth = text_of(new_key()).strip()
    keys.write_text("\n".join([*written, fourth]) + "\n")
    started.program.await_output(f"'{keys}' has changed and is in use now")
    assert shown() == [*written[1:], fourth]
    assert "TLS ticket key updated!" in ask_socket(stats, f"set ssl tls-key #0 {text_of(new_key()).strip()}")
    assert ask_socket(stats, "show ssl changes").startswith("tls-keys lost ")
    reload(started)
    started.program.await_output(f"ticket key file '{keys}' was changed at run time on ")
    wait_until(lambda: shown() == [*written[1:], fourth], "the file counts again")


@VERSIONS
def test_a_key_that_is_set_reaches_every_worker_and_those_that_come_later(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, keys: pathlib.Path, version: ssl.TLSVersion
) -> None:
    started = proxy(config_for(certificates, keys, tmp_path))
    visitors = Visitors(started, certificates, version)
    stats = tmp_path / "stats.sock"
    old = visitors.session
    for name in ("#0", str(keys), "#0"):
        said = ask_socket(stats, f"set ssl tls-key {name} {base64.b64encode(new_key()).decode()}")
        assert said == "TLS ticket key updated!\n\n"
    assert not visit(visitors.context, visitors.address, session=old).resumed  # three later, its key is forgotten
    visitors.session = visit(visitors.context, visitors.address).session
    assert visitors.share(40) == 1.0
    launcher = started.program.process.pid
    before = children(launcher)[1:]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(children(launcher)) == 5 and not set(children(launcher)) & set(before), "other workers are there")
    wait_until(lambda: ask_socket(stats, "show version"), "the controller answers")
    assert visitors.share(40) == 1.0


def test_what_clients_may_sign_with(proxy: StartProxy, certificates: pathlib.Path) -> None:
    """The default of the global section, a line's own, and a crt-list line's."""
    (certificates / "sigalgs.list").write_text(f"{certificates}/site.pem [client-sigalgs ECDSA+SHA512] localhost\n")
    verify = f"verify optional ca-file {certificates}/ca.pem"
    ports = free_port(), free_port()
    started = proxy(
        f"""
        global
            ssl-default-bind-client-sigalgs ECDSA+SHA256
        frontend web
            bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem {verify}
            bind 127.0.0.1:{ports[0]} ssl crt {certificates}/site.pem {verify} client-sigalgs ECDSA+SHA384:RSA+SHA384
            bind 127.0.0.1:{ports[1]} ssl crt-list {certificates}/sigalgs.list {verify}
            http-request return status 200
        """,
        extra_ports=ports,
    )
    for port, asked in ((started.port, "ECDSA+SHA256"), (ports[0], "ECDSA+SHA384:RSA+SHA384"), (ports[1], "ECDSA+SHA512")):
        command = ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{port}", "-servername", "localhost"]
        said = subprocess.run(command, input="", capture_output=True, text=True, timeout=DEADLINE, check=False).stdout
        assert f"Requested Signature Algorithms: {asked}\n" in said


def test_what_we_sign_with(proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A certificate of ours, shown to a server that takes any signature."""
    port = free_port()
    command = [
        "openssl", "s_server", "-accept", str(port), "-cert", f"{certificates}/site.pem", "-Verify", "1", "-CAfile",
        f"{certificates}/ca.pem", "-tls1_2", "-rev",
    ]
    server = Program(command, tmp_path, "s_server")
    try:
        server.await_ports([port])
        started = proxy(
            f"""
            frontend web
                bind 127.0.0.1:{{port}}
                default_backend app
            backend app
                server s 127.0.0.1:{port} ssl verify none crt {certificates}/client.pem client-sigalgs ECDSA+SHA384
            """,
        )
        client = started.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server.await_output("Hash used: SHA384")
    finally:
        server.stop()
