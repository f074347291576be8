"""Where certificates come from, with real processes: crt-stores, ssl-f-use, encrypted keys, bad files; tickets over a reload."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import pathlib
import select
import socket
import ssl

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL

from headgate.tls.authority import Authority, issue, make_authority
from tests.interop.backends import Wire, read_response
from tests.interop.checked_servers import await_rows
from tests.interop.conftest import DEFAULTS, StartProxy
from tests.interop.programs import Program, ask_socket, check_config, free_port, headgate_command
from tests.interop.test_certificates import context, shown


@pytest.fixture
def root(tmp_path: pathlib.Path) -> Authority:
    """Its certificate is ca.pem; the common name of each certificate is that of its file."""
    root = make_authority("Files Root")
    (tmp_path / "ca.pem").write_bytes(root.certificate_pem)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.pem").write_bytes(issue(root, [name]).pem)
    return root


def test_crt_store_and_ssl_f_use(proxy: StartProxy, tmp_path: pathlib.Path, root: Authority) -> None:
    apart = issue(root, ["apart"])
    (tmp_path / "keys").mkdir()
    (tmp_path / "apart.crt").write_bytes(apart.certificate.public_bytes(Encoding.PEM))
    pem = apart.pem
    (tmp_path / "keys" / "apart.key").write_bytes(pem[pem.index(b"-----BEGIN PRIVATE"):])
    started = proxy(
        f"""
global
    crt-base {tmp_path}
    key-base {tmp_path}/keys
    ca-base {tmp_path}
crt-store
    load crt a.pem alias first
crt-store web
    load crt apart.crt key apart.key alias apart
frontend www
    bind 127.0.0.1:{{port}} ssl crt @/first crt @web/apart
    ssl-f-use crt b.pem ssl-max-ver TLSv1.2
    ssl-f-use crt c.pem verify required ca-file ca.pem
    http-request return status 200
"""
    )
    names = ("a", "b", "apart", "else")
    assert [shown(started.port, name, context(tmp_path)) for name in names] == ["a", "b", "apart", "a"]
    assert shown(started.port, "c", context(tmp_path)) not in names
    newest = context(tmp_path)
    newest.minimum_version = ssl.TLSVersion.TLSv1_3
    assert shown(started.port, "b", newest) == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert shown(started.port, "a", newest) == "a"


def test_files_beside_the_configuration(proxy: StartProxy, tmp_path: pathlib.Path, root: Authority, subject: str) -> None:
    """`default-path config`: nothing is found from where the process is started. Names in a crt-list start there, too."""
    for name, text in {"lists/one": "pem/b.pem\n", "maps/hosts": "home first\n", "maps/known": "a\nhome\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pem").mkdir()
    for name in ("b", "ca"):
        (tmp_path / f"{name}.pem").rename(tmp_path / "pem" / f"{name}.pem")
    (tmp_path / "pem" / "a.pem").write_bytes(issue(root, ["a", "home"]).pem)
    (tmp_path / "pem" / "client.pem").write_bytes(issue(root, ["client"], client=True).pem)
    started = proxy(
        """
global
    default-path config
frontend www
    bind 127.0.0.1:{port} ssl crt pem/a.pem crt-list lists/one verify optional ca-file pem/ca.pem
    http-request deny deny_status 404 unless { ssl_fc_sni -f maps/known }
    http-request return status 200 hdr x-mapped %[ssl_fc_sni,map(maps/hosts,none)] if { ssl_c_used }
    default_backend again
backend again
    server one 127.0.0.1:{port} ssl ca-file pem/ca.pem verifyhost home crt pem/client.pem sni str(home)
"""
    )
    client = context(tmp_path / "pem")
    assert [shown(started.port, name, client) for name in ("a", "b", "c")] == ["a", "b", "a"]
    for name, status, mapped in (("a", 200, "first"), ("c", 404, None)):
        with client.wrap_socket(socket.create_connection(("127.0.0.1", started.port), 20), server_hostname=name) as tls:
            wire = Wire(tls)
            wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            answer = read_response(wire)
        assert (answer.status, answer.one("x-mapped")) == (status, mapped)


def test_crt_stores_beside_the_configuration(proxy: StartProxy, tmp_path: pathlib.Path, root: Authority) -> None:
    (tmp_path / "keys").mkdir()
    apart = issue(root, ["apart"])
    (tmp_path / "apart.crt").write_bytes(apart.certificate_pem)
    (tmp_path / "keys" / "apart.key").write_bytes(apart.key_pem)
    (tmp_path / "tickets").write_text("".join(f"{base64.b64encode(os.urandom(48)).decode()}\n" for _ in range(3)))
    started = proxy(
        """
global
    default-path config
crt-store
    load crt a.pem
crt-store web
    key-base keys
    load crt apart.crt key apart.key
frontend www
    bind 127.0.0.1:{port} ssl crt a.pem crt @web/apart.crt tls-ticket-keys tickets
    ssl-f-use crt b.pem verify optional ca-file ca.pem
    http-request return status 200
"""
    )
    assert [shown(started.port, name, context(tmp_path)) for name in ("a", "apart", "b")] == ["a", "apart", "b"]


def test_encrypted_keys(proxy: StartProxy, tmp_path: pathlib.Path, root: Authority) -> None:
    for name in ("one", "two"):
        made = issue(root, [name])
        key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
        (tmp_path / f"{name}.pem").write_bytes(made.certificate.public_bytes(Encoding.PEM) + key)
    script = tmp_path / "phrase"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho "open $2"\n')
    script.chmod(0o755)
    started = proxy(
        f"""
global
    ssl-passphrase-cmd {script} sesame
frontend www
    bind 127.0.0.1:{{port}} ssl crt {tmp_path}/one.pem crt {tmp_path}/two.pem
    http-request return status 200
"""
    )
    assert [shown(started.port, name, context(tmp_path)) for name in ("one", "two")] == ["one", "two"]
    assert (tmp_path / "asked").read_text() == f"{tmp_path}/one.pem sesame\n"
    assert "open sesame" not in started.program.output


@pytest.mark.parametrize("workers", [1, 2])
def test_what_server_lines_present(proxy: StartProxy, tmp_path: pathlib.Path, root: Authority, workers: int) -> None:
    """Encrypted keys, keys in files of their own, and certificates of a crt-store, as for bind lines; for checks, too."""
    (tmp_path / "keys").mkdir()
    for name in ("locked", "beside", "stored"):
        made = issue(root, [name], client=True)
        certificate = made.certificate.public_bytes(Encoding.PEM)
        how = BestAvailableEncryption(b"open sesame") if name == "locked" else NoEncryption()
        key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
        (tmp_path / f"{name}.pem").write_bytes(certificate + key if name == "locked" else certificate)
        if name != "locked":
            (tmp_path / ("keys/stored.key" if name == "stored" else "beside.pem.key")).write_bytes(key)
    script = tmp_path / "phrase"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho "open sesame"\n')
    script.chmod(0o755)
    asking = free_port()
    started = proxy(
        f"""
global
    nbthread {workers}
    stats socket {tmp_path}/s level admin
    crt-base {tmp_path}
    key-base {tmp_path}/keys
    ca-base {tmp_path}
    ssl-passphrase-cmd {script} sesame
crt-store web
    load crt stored.pem key stored.key alias mine
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend asking
    bind 127.0.0.1:{asking} ssl crt a.pem verify required ca-file ca.pem
    http-request return status 200 content-type text/plain lf-string %[ssl_c_s_dn(CN)]
frontend www
    bind 127.0.0.1:{{port}}
    use_backend %[req.hdr(x-backend)]
backend locked
    server s 127.0.0.1:{asking} ssl verify none crt locked.pem check inter 200ms
backend beside
    server s 127.0.0.1:{asking} ssl verify none crt beside.pem
backend stored
    server s 127.0.0.1:{asking} ssl verify none crt @web/mine
backend checks
    server s 127.0.0.1:{asking} check-ssl verify none crt @web/stored.pem check inter 200ms
"""
    )
    for name in ("locked", "beside", "stored"):
        wire = started.connect()
        wire.send(f"GET / HTTP/1.1\r\nhost: x\r\nx-backend: {name}\r\nconnection: close\r\n\r\n".encode())
        assert read_response(wire).body == name.encode()
    assert set((tmp_path / "asked").read_text().splitlines()) == {f"{tmp_path}/locked.pem sesame"}
    await_rows(tmp_path / "s", {"locked/s": {"check_status": "L6OK"}, "checks/s": {"check_status": "L6OK"}})
    shown_certificates = ask_socket(tmp_path / "s", "show ssl cert")
    assert "@web/mine" in shown_certificates and f"{tmp_path}/beside.pem" in shown_certificates


def test_one_bad_certificate_among_many(tmp_path: pathlib.Path, root: Authority, proxy: StartProxy) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02}.pem").write_bytes((tmp_path / "a.pem").read_bytes())
    (folder / "17.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    (folder / "29.pem").write_bytes((tmp_path / "b.pem").read_bytes())
    frontend = f"""
frontend www
    bind 127.0.0.1:{{port}} ssl crt {folder}
    http-request return status 200
"""
    path = tmp_path / "check.cfg"
    for skip in ("", "global\n    ssl-skip-bad-certificates\n"):
        path.write_text(skip + DEFAULTS + frontend.format(port=free_port()))
        code, output = check_config("headgate", path)
        assert code == 1 and f"{folder}/17.pem" in output and output.count("is not a valid certificate") == 1
    started = proxy("global\n    ssl-skip-bad-certificates\n" + DEFAULTS + frontend)
    assert f"{folder}/17.pem" in started.program.output and "it is skipped" in started.program.output
    assert shown(started.port, "b", context(tmp_path)) == "b"


@pytest.mark.parametrize("cuts", [(0, 3, 200), tuple(range(0, 1500, 97))], ids=["three", "many"])
def test_a_hello_in_pieces_has_the_policy_of_its_name(
    proxy: StartProxy, tmp_path: pathlib.Path, root: Authority, cuts: tuple[int, ...]
) -> None:
    """The name decides before the handshake begins, so all of the hello is waited for."""
    (tmp_path / "list").write_text(f"{tmp_path}/a.pem\n{tmp_path}/b.pem [ssl-max-ver TLSv1.2]\n")
    started = proxy(
        f"frontend www\n    bind 127.0.0.1:{{port}} ssl crt-list {tmp_path}/list\n    http-request return status 200\n"
    )
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    connection.set_tlsext_host_name(b"b")
    connection.set_connect_state()
    with socket.create_connection(("127.0.0.1", started.port), 20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = handshake_output(connection)
        for start, end in itertools.pairwise([*(cut for cut in cuts if cut < len(hello)), len(hello)]):
            sock.sendall(hello[start:end])
            if end < len(hello):
                assert not select.select([sock], [], [], 0.01)[0]  # nothing is answered before it is whole
        while True:
            connection.bio_write(sock.recv(16384))
            answer = handshake_output(connection)
            if answer:
                sock.sendall(answer)
            else:
                with contextlib.suppress(SSL.WantReadError):
                    connection.do_handshake()
                    break
    assert connection.get_protocol_version_name() == "TLSv1.2"
    certificate = connection.get_peer_certificate(as_cryptography=True)
    assert certificate is not None and certificate.subject.rfc4514_string() == "CN=b"


def handshake_output(connection: SSL.Connection) -> bytes:
    """Go on with a handshake in memory; what it has to send, b"" for nothing."""
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    with contextlib.suppress(SSL.WantReadError):
        return connection.bio_read(65536)
    return b""


def test_tickets_survive_a_reload_for_all_policies(tmp_path: pathlib.Path, root: Authority) -> None:
    """Whatever name a ticket is from; and a reload opens no way from one policy to the other."""
    (tmp_path / "client.pem").write_bytes(issue(root, ["alice"], client=True).pem)
    (tmp_path / "list").write_text(f"{tmp_path}/a.pem\n{tmp_path}/b.pem [verify required ca-file {tmp_path}/ca.pem]\n")
    port, path = free_port(), tmp_path / "site.cfg"
    path.write_text(
        f"global\n    nbthread 2\n{DEFAULTS}frontend www\n    bind 127.0.0.1:{port} ssl crt-list {tmp_path}/list\n"
        "    http-request return status 200\n"
    )
    master = tmp_path / "master.sock"
    program = Program([headgate_command(), "-W", "-S", str(master), "-f", str(path)], tmp_path, "headgate")
    try:
        program.await_ports([port])
        known, unknown = context(tmp_path, certificate="client.pem"), context(tmp_path)
        sessions = {"a": resume(port, "a", unknown, None)[1], "b": resume(port, "b", known, None)[1]}
        assert "Success=1" in ask_socket(master, "reload")
        resumed, sessions["a"] = resume(port, "a", unknown, sessions["a"])
        assert resumed
        assert resume(port, "b", known, sessions["b"])[0]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            resume(port, "b", unknown, sessions["a"])
    finally:
        program.stop()


def resume(port: int, name: str, client: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        with client.wrap_socket(sock, server_hostname=name, session=session) as tls:
            tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while tls.recv(4096):
                pass
            return bool(tls.session_reused), tls.session
