"""Certificates, CA files, CRL files and crt-lists changed while running: beside HAProxy, over several workers, over reloads."""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import pathlib
import re
import signal
import socket
import ssl
import tempfile
import time
from functools import partial

import pytest
from cryptography.x509 import load_der_x509_certificate

from headgate.tls.authority import Authority, Issued, issue, make_authority, revoke
from tests.interop.conftest import DEFAULTS, StartProxy
from tests.interop.programs import DEADLINE, Program, check_config, children, free_port, headgate_command, wait_until
from tests.tls.ocsp.ocsp_fixtures import make_response, subject_of


def say(path: pathlib.Path, command: str, payload: bytes = b"") -> str:
    """One command, with a payload where there is one, and its answer."""
    line = command.encode() + (b" <<\n" + payload.rstrip(b"\n") + b"\n\n" if payload else b"\n")
    answer = b""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(path))
        sock.sendall(line)
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65536):
            answer += data
    return answer.decode().rstrip("\n")


def serial(port: int, name: str) -> int:
    """The serial number of the certificate that a name is answered with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as plain:
        with context.wrap_socket(plain, server_hostname=name) as tls:
            found = tls.getpeercert(True)
    assert found is not None
    return load_der_x509_certificate(found).serial_number


class Site:
    """Files of a site: `site.pem` for a.example and *.b.example, `other.pem`, a crt-list, a directory, a CA and a CRL."""

    def __init__(self, directory: pathlib.Path, authority: Authority) -> None:
        self.directory = directory
        self.authority = authority
        self.site = self.write("site.pem", issue(authority, ["a.example", "*.b.example"]))
        self.other = self.write("other.pem", issue(authority, ["a.example", "c.example"]))
        (directory / "certs").mkdir()
        (directory / "certs" / "one.pem").write_bytes(self.other.pem)
        (directory / "ca.pem").write_bytes(authority.certificate_pem)
        first = f"{directory}/site.pem [verify none] a.example !x.b.example *.b.example"
        (directory / "list.txt").write_text(f"{first}\n{directory}/site.pem\n{directory}/other.pem\n")

    def write(self, name: str, issued: Issued) -> Issued:
        (self.directory / name).write_bytes(issued.pem)
        return issued

    def path(self, name: str) -> str:
        return str(self.directory / name)


@pytest.fixture
def site(tmp_path: pathlib.Path, authority: Authority) -> Site:
    return Site(tmp_path, authority)


CONFIG = """
global
    nbthread {workers}
    stats socket {directory}/stats.sock level admin
    {settings}
""" + DEFAULTS + """
frontend f
    bind 127.0.0.1:{{port}} ssl crt {directory}/site.pem crt {directory}/certs ca-file {directory}/ca.pem verify optional
    bind 127.0.0.1:{second} ssl crt-list {directory}/list.txt
    http-request return status 200
"""


class Running:
    """A subject with the site's certificates.

    Attributes:
        port, listed: of the line with `crt`, and of the one with the crt-list.
    """

    def __init__(self, site: Site, proxy: StartProxy, workers: int = 1, settings: str = "", subject: str | None = None) -> None:
        self.listed = free_port()
        text = CONFIG.format(directory=site.directory, second=self.listed, workers=workers, settings=settings)
        self.socket = site.directory / "stats.sock"
        self.proxy = proxy(text, subject=subject, extra_ports=(self.listed,))
        self.port = self.proxy.port

    def says(self, command: str, payload: bytes = b"") -> str:
        return say(self.socket, command, payload)


# --- beside HAProxy --------------------------------------------------------------------------------------------------


def dialogue(site: Site) -> list[tuple[str, bytes]]:
    """Commands that both answer alike."""
    pem, listing = site.path("site.pem"), site.path("list.txt")
    other = issue(site.authority, ["a.example", "*.b.example", "d.example"]).pem
    plain = [
        "show ssl cert", f"show ssl cert {pem}", "show ssl cert nope",
        *(f"show ssl ca-file {site.path('ca.pem')}:{index}" for index in ("1", "2", "99", "0", "x", "")),
        "show ssl crt-list", f"show ssl crt-list {listing}", f"show ssl crt-list -n {listing}",
        f"show ssl crt-list -n {site.path('certs')}", "show ssl crt-list nope", "show tls-keys", "commit ssl cert nope",
        "abort ssl cert nope", "abort ssl cert", f"new ssl cert {pem}", "new ssl cert new.pem", "new ssl cert new.pem",
        "show ssl cert new.pem", f"del ssl cert {pem}", "del ssl cert nope",
    ]  # fmt: skip
    return [
        *((line, b"") for line in plain),
        ("set ssl cert nope", b"x"),
        (f"set ssl cert {pem}", other),
        ("show ssl cert", b""),
        (f"show ssl cert *{pem}", b""),
        (f"set ssl cert {pem}", other),
        (f"abort ssl cert {pem}", b""),
        (f"set ssl cert {pem}", other),
        (f"commit ssl cert {pem}", b""),
        (f"show ssl cert {pem}", b""),
        ("set ssl cert new.pem", other),
        ("commit ssl cert new.pem", b""),
        ("show ssl cert new.pem", b""),
        (f"add ssl crt-list {listing} new.pem", b""),
        (f"add ssl crt-list {listing}", b"new.pem [verify none] foo.example"),
        ("add ssl crt-list nope new.pem", b""),
        (f"add ssl crt-list {listing} nope.pem", b""),
        (f"show ssl crt-list -n {listing}", b""),
        (f"del ssl crt-list {listing} new.pem", b""),
        (f"del ssl crt-list {listing} new.pem:1", b""),
        (f"del ssl crt-list {listing} new.pem:4", b""),
        ("del ssl cert new.pem", b""),
        (f"del ssl crt-list {listing} new.pem:0", b""),
        ("new ssl cert empty.pem", b""),
        *((f"del ssl crt-list {listing} {one}", b"") for one in ("new.pem:x", "new.pem:", "nope.pem", "nope.pem:3", "empty.pem")),
        *((f"del ssl crt-list {listing} {one}", b"") for one in (":1", f"{site.path('other.pem')}:x")),
        *((f"del ssl crt-list {listing} {site.path('certs/one.pem')}{number}", b"") for number in ("", ":1", ":x")),
        (f"del ssl crt-list {listing} {site.path('site.pem')}:1", b""),  # the default one of a bind line
        ("del ssl cert new.pem", b""),
        ("new ssl ca-file x.pem", b""),
        ("set ssl ca-file x.pem", site.authority.certificate_pem),
        ("commit ssl ca-file x.pem", b""),
        ("del ssl ca-file x.pem", b""),
        (f"del ssl ca-file {site.path('ca.pem')}", b""),
        (f"set ssl ca-file {site.path('ca.pem')}", site.authority.certificate_pem),
        (f"commit ssl ca-file {site.path('ca.pem')}", b""),
        (f"abort ssl ca-file {site.path('ca.pem')}", b""),
        ("new ssl crl-file y.pem", b""),
        ("del ssl crl-file y.pem", b""),
    ]


#: Lines that say something else here, and why: HAProxy loads the system's CAs for its HTTP client.
_LEFT_OUT = re.compile(r"@system-ca.*|OCSP Response Key:.*")


@pytest.mark.needs("haproxy")
def test_answers_are_haproxys(site: Site, proxy: StartProxy) -> None:
    said: dict[str, list[str]] = {}
    lines = dialogue(site)
    for subject in ("haproxy", "headgate"):
        running = Running(site, proxy, subject=subject)
        answers = [running.says(command, payload).strip().replace(f"{subject}.cfg", "its.cfg") for command, payload in lines]
        said[subject] = ["\n".join(line for line in one.splitlines() if not _LEFT_OUT.fullmatch(line)) for one in answers]
        running.proxy.program.stop()
    for (command, _), theirs, ours in zip(lines, said["haproxy"], said["headgate"], strict=True):
        assert ours == theirs, command


# --- what clients see ------------------------------------------------------------------------------------------------


def everywhere(port: int, name: str, number: int) -> bool:
    """Whether every one of many connections is answered with that certificate, whichever worker takes it."""
    return all(serial(port, name) == number for _ in range(12))


def test_providers(proxy: StartProxy, tmp_path: pathlib.Path, subject: str) -> None:
    """Beside HAProxy, whose OpenSSL loads none by itself when it is told of one."""
    providers = {"headgate": ["base", "default", "legacy"], "haproxy": ["base", "default"]}[subject]
    lines = f"global\n ssl-provider default\n ssl-provider base\n stats socket {tmp_path}/stats.sock level operator\n"
    proxy(f"{lines}{DEFAULTS}frontend f\n bind 127.0.0.1:{{port}}\n http-request return status 200\n")
    title, *rows = say(tmp_path / "stats.sock", "show ssl providers").splitlines()
    assert title == "Loaded providers : "
    assert sorted(rows) == [f"\t- {name}" for name in providers]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_commit_is_what_clients_see(site: Site, proxy: StartProxy, workers: int) -> None:
    running = Running(site, proxy, workers)
    before = site.site.certificate.serial_number
    fresh = issue(site.authority, ["a.example", "*.b.example"])
    assert everywhere(running.port, "a.example", before)
    running.says(f"set ssl cert {site.path('site.pem')}", fresh.pem)
    assert everywhere(running.port, "a.example", before)
    assert running.says(f"commit ssl cert {site.path('site.pem')}").endswith("Success!")
    for port in (running.port, running.listed):
        assert everywhere(port, "a.example", fresh.certificate.serial_number)
    assert running.says("show ssl changes").split(" ")[0] == "cert"


def test_a_worker_that_comes_later_has_it_too(site: Site, proxy: StartProxy) -> None:
    running = Running(site, proxy, 2)
    fresh = issue(site.authority, ["a.example", "*.b.example"])
    new = issue(site.authority, ["new.example"])
    running.says(f"set ssl cert {site.path('site.pem')}", fresh.pem)
    running.says(f"commit ssl cert {site.path('site.pem')}")
    running.says("new ssl cert new.pem")
    running.says("set ssl cert new.pem", new.pem)
    running.says("commit ssl cert new.pem")
    assert "Success!" in running.says(f"add ssl crt-list {site.path('list.txt')} new.pem")
    assert everywhere(running.listed, "new.example", new.certificate.serial_number)
    launcher = running.proxy.program.process.pid
    victims = children(launcher)[1:]
    assert len(victims) == 2
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(children(launcher)) == 3 and not set(victims) & set(children(launcher)), "both are replaced")
    wait_until(lambda: serials(running.listed, "new.example") == {new.certificate.serial_number}, "they serve what was added")
    assert everywhere(running.port, "a.example", fresh.certificate.serial_number)


def serials(port: int, name: str) -> set[int]:
    """What some connections are answered with; nothing while nobody answers."""
    with contextlib.suppress(OSError):
        return {serial(port, name) for _ in range(12)}
    return set()


@pytest.mark.parametrize("workers", [1, 2])
def test_lines_come_and_go(site: Site, proxy: StartProxy, workers: int) -> None:
    running = Running(site, proxy, workers)
    listing = site.path("list.txt")
    new = issue(site.authority, ["new.example"])
    for command, payload in (("new ssl cert new.pem", b""), ("set ssl cert new.pem", new.pem), ("commit ssl cert new.pem", b"")):
        running.says(command, payload)
    default = serial(running.listed, "new.example")
    assert default != new.certificate.serial_number
    # With a policy of its own, which the line had not known before.
    running.says(f"add ssl crt-list {listing}", b"new.pem [ssl-max-ver TLSv1.2] new.example !no.t.example *.t.example")
    assert everywhere(running.listed, "new.example", new.certificate.serial_number)
    assert everywhere(running.listed, "yes.t.example", new.certificate.serial_number)
    assert everywhere(running.listed, "no.t.example", default)
    assert "\tnew.pem\t" in running.says("show ssl sni -f f")
    assert running.says(f"del ssl crt-list {listing} new.pem").startswith("Entry 'new.pem' deleted")
    assert everywhere(running.listed, "new.example", default)
    assert running.says("del ssl cert new.pem") == "Certificate 'new.pem' deleted!"


def test_a_transaction_is_shown_as_far_as_it_is(site: Site, proxy: StartProxy) -> None:
    running = Running(site, proxy)
    pem = site.path("site.pem")
    fresh = issue(site.authority, ["a.example", "*.b.example"])
    serial_line = f"Serial: {fresh.certificate.serial_number:X}"
    running.says(f"set ssl cert {pem}", fresh.certificate_pem)
    shown = running.says(f"show ssl cert *{pem}").splitlines()
    assert shown[:2] == [f"Filename: *{pem}", "Status: Unused"] and shown[2].replace(" 0", " ") == serial_line
    assert "Can't commit" in running.says(f"commit ssl cert {pem}")
    running.says(f"set ssl cert {pem}.issuer", site.authority.certificate_pem)
    response = base64.b64encode(make_response(site.authority, fresh))
    assert "Transaction updated" in running.says(f"set ssl cert {pem}.ocsp", response)
    key = subject_of(site.authority, fresh).id.key
    assert running.says(f"show ssl cert *{pem}").endswith(f"OCSP Response Key: {key}")
    assert running.says(f"show ssl cert *{pem}.ocsp").startswith("OCSP Response Data:")
    running.says(f"set ssl cert {pem}.key", fresh.key_pem)
    assert running.says(f"commit ssl cert {pem}").endswith("Success!")
    assert running.says(f"show ssl cert {pem}").endswith(f"OCSP Response Key: {key}")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("kind", "called"), [("cert", "Certificate"), ("ca-file", "CA file"), ("crl-file", "CRL file")])
def test_what_is_new_and_deleted_leaves_nothing(
    site: Site, proxy: StartProxy, workers: int, kind: str, called: str
) -> None:
    running = Running(site, proxy, workers)
    before = running.says(f"show ssl {kind}")
    running.says(f"new ssl {kind} q.pem")
    assert running.says(f"del ssl {kind} q.pem") == f"{called} 'q.pem' deleted!"
    if kind != "crl-file":
        running.says(f"new ssl {kind} q.pem")
        running.says(f"set ssl {kind} q.pem", site.other.pem)
        assert "*q.pem" in running.says(f"show ssl {kind}")
        assert running.says(f"del ssl {kind} q.pem") == f"{called} 'q.pem' deleted!"
    assert running.says(f"show ssl {kind}") == before
    assert "No ongoing transaction" in running.says(f"commit ssl {kind} q.pem")
    assert running.says("show ssl changes") == ""


def test_an_index_that_is_too_big_shows_nothing(site: Site, proxy: StartProxy) -> None:
    """As the manual has it, for CRL files too (HAProxy 2.6 shows a heading there); and a name may have colons itself."""
    running = Running(site, proxy)
    for name in ("crl.pem", "a:b"):
        running.says(f"new ssl crl-file {name}")
        running.says(f"set ssl crl-file {name}", lists_of(site)[0])
        assert "List #1:" in running.says(f"show ssl crl-file *{name}")
        assert running.says(f"show ssl crl-file *{name}:7") == ""
        running.says(f"commit ssl crl-file {name}")
        assert running.says(f"show ssl crl-file {name}:1") == running.says(f"show ssl crl-file {name}") != ""
        assert [running.says(f"show ssl crl-file {name}:{index}") for index in ("2", "7", "1234567890")] == ["", "", ""]
        assert running.says(f"show ssl crl-file {name}:x") == f"wrong CRL index after colons in '{name}:x'!"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_escaped_asterisk_is_the_names_own(site: Site, proxy: StartProxy, workers: int) -> None:
    """Management manual 9.3: `show ssl cert \\*.local.pem`, also where a transaction of `.local.pem` is under way."""
    running = Running(site, proxy, workers)
    contents = {"cert": site.other.pem, "ca-file": site.authority.certificate_pem, "crl-file": lists_of(site)[0]}
    for kind, content in contents.items():
        for name in ("*.x", ".x"):
            running.says(f"new ssl {kind} {name}")
            running.says(f"set ssl {kind} {name}", content)
            if name == "*.x":
                running.says(f"commit ssl {kind} {name}")
        assert running.says(f"show ssl {kind} \\*.x").startswith("Filename: *.x\nStatus: Unused\n"), kind
        assert running.says(f"abort ssl {kind} .x") == "Transaction aborted for certificate '.x'!"
        assert "Not found" in running.says(f"show ssl {kind} *.x")
        assert running.says(f"show ssl {kind} \\*.x").startswith("Filename: *.x\nStatus: Unused\n"), kind
    for kind in ("ca-file", "crl-file"):
        assert "#1:" in running.says(f"show ssl {kind} \\*.x:1")
    for escaped in ("\\*.x", "\\\\*.x"):
        assert "PRIVATE KEY" in running.says(f"dump ssl cert {escaped}")


@pytest.mark.parametrize("workers", [1, 2])
def test_certificates_of_stores_are_added_to_lists(site: Site, proxy: StartProxy, workers: int) -> None:
    """By alias or by file, and those that were made at run time under such a name."""
    site.write("stored.pem", issue(site.authority, ["stored.example"]))
    text = CONFIG.format(directory=site.directory, second=free_port(), workers=workers, settings="")
    proxy(f"{text}\ncrt-store web\n    crt-base {site.directory}\n    load crt stored.pem alias it\n")
    socket, listing = site.directory / "stats.sock", site.path("list.txt")
    made = issue(site.authority, ["made.example"]).pem
    for command, payload in (("new ssl cert @web/new", b""), ("set ssl cert @web/new", made), ("commit ssl cert @web/new", b"")):
        say(socket, command, payload)
    for name in ("@web/it", "@web/stored.pem", "@web/new"):
        assert say(socket, f"add ssl crt-list {listing} {name}").endswith("Success!")
    shown = say(socket, "show ssl sni")
    assert "\tstored.example\t" in shown and "\tmade.example\t" in shown
    assert "no crt-store loads '@web/nope'" in say(socket, f"add ssl crt-list {listing} @web/nope")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_line_that_is_none_is_refused(site: Site, proxy: StartProxy, workers: int) -> None:
    running = Running(site, proxy, workers)
    listing, other = site.path("list.txt"), site.path("other.pem")
    before = running.says(f"show ssl crt-list -n {listing}")
    answer = running.says(f"add ssl crt-list {listing}", f"{other} one.example\n{other} two.example".encode())
    assert "only one line of a crt-list" in answer
    assert "in a payload only" in running.says(f"add ssl crt-list {listing} {other} [verify required] zzz.example")
    for option, value in (("key", site.path("site.pem")), ("sctl", "/nosuch"), ("ocsp-update", "on")):
        answer = running.says(f"add ssl crt-list {listing}", f"{other} [{option} {value}] zzz.example".encode())
        assert f"is used with different values of '{option}'" in answer
    assert running.says(f"show ssl crt-list -n {listing}") == before


@pytest.mark.parametrize(
    ("line", "defaults"),
    [
        ("crt {site}", ["site.pem"]), ("crt {site} strict-sni", []), ("crt {other} default-crt {site} strict-sni", ["site.pem"]),
        ("crt {other} default-crt {site}", ["other.pem", "site.pem"]),  # of one kind: only the first one serves
    ],
)  # fmt: skip
def test_the_asterisk_stands_for_default_certificates(
    site: Site, proxy: StartProxy, line: str, defaults: list[str]
) -> None:
    bind = line.format(site=site.path("site.pem"), other=site.path("other.pem"))
    socket_line = f"global\n stats socket {site.directory}/stats.sock level admin\n"
    proxy(f"{socket_line}{DEFAULTS}frontend f\n bind 127.0.0.1:{{port}} ssl {bind}\n http-request return status 200\n")
    rows = [row.split("\t") for row in say(site.directory / "stats.sock", "show ssl sni").splitlines()[1:]]
    assert [row[4] for row in rows if row[1] == "*"] == [site.path(name) for name in defaults]
    assert any(row[1] == "a.example" for row in rows)


def test_what_expires_within_thirty_days(site: Site, proxy: StartProxy) -> None:
    """The manual's own example; a timer of HAProxy's could not wait for so long."""
    now = datetime.datetime.now(datetime.UTC)
    site.write("other.pem", issue(site.authority, ["c.example"], not_before=now, not_after=now + datetime.timedelta(days=27)))
    running = Running(site, proxy)
    rows = [row.split("\t") for row in running.says("show ssl sni -A -t 30d").splitlines()[1:]]
    assert [(row[1], row[4]) for row in rows] == [("c.example", site.path("other.pem"))]
    assert running.says("show ssl sni -A -t 25d").count("\n") == 0


@pytest.mark.parametrize(
    ("names", "days", "why"),
    [
        (["a.example", "*.b.example"], (-20, -10), "it has expired"),
        (["a.example", "*.b.example"], (10, 20), "it is not valid before"),
        (["a.example", "*.b.example"], (-90, 90), "it is older than the one in use"),
        (["a.example"], (0, 90), r"it is not valid for \*\.b\.example"),
    ],
)  # fmt: skip
def test_what_would_make_things_worse_is_refused_unless_forced(
    site: Site, proxy: StartProxy, names: list[str], days: tuple[int, int], why: str
) -> None:
    running = Running(site, proxy)
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    worse = issue(site.authority, names, not_before=now + days[0] * day, not_after=now + days[1] * day)
    pem = site.path("site.pem")
    running.says(f"set ssl cert {pem}", worse.pem)
    # Of the two certificates for a.example one that is valid wins; for the other name there is only this one.
    name = "y.b.example" if "*.b.example" in names else "a.example"
    assert re.search(why, running.says(f"commit ssl cert {pem}"))
    assert serial(running.port, name) == site.site.certificate.serial_number
    assert running.says(f"commit ssl cert {pem} force").endswith("Success!")
    assert serial(running.port, name) == worse.certificate.serial_number


def lists_of(site: Site) -> tuple[bytes, bytes, bytes, bytes]:
    """Revocation lists of the site's CA: the one in use, an expired one, an older one, a newer one."""
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    spans = ((-5, 20), (-4, -1), (-9, 20), (-1, 20))
    serving, expired, older, newer = (
        revoke(site.authority, last_update=now + begin * day, next_update=now + end * day) for begin, end in spans
    )
    return serving, expired, older, newer


def expired_authority() -> bytes:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    return make_authority("old CA", not_before=now - 9 * day, not_after=now - day).certificate_pem


@pytest.mark.parametrize("workers", [1, 2])
def test_what_would_lock_clients_out_is_refused_unless_forced(site: Site, proxy: StartProxy, workers: int) -> None:
    running = Running(site, proxy, workers)
    serving, expired, older, newer = lists_of(site)
    running.says("new ssl crl-file crl.pem")
    running.says("set ssl crl-file crl.pem", serving)
    assert running.says("commit ssl crl-file crl.pem").endswith("Success!")
    shown = running.says("show ssl crl-file crl.pem")
    for worse, why in ((expired, "has expired"), (older, "is older than the one in use")):
        running.says("set ssl crl-file crl.pem", worse)
        answer = running.says("commit ssl crl-file crl.pem")
        assert "The CRL file is not installed: the revocation list of CN=" in answer and why in answer
        assert "Write 'force' behind the file name" in answer and "Success" not in answer
        assert running.says("show ssl crl-file crl.pem") == shown
    assert running.says("commit ssl crl-file crl.pem force").endswith("Success!")
    assert running.says("show ssl crl-file crl.pem") != shown
    running.says("set ssl crl-file crl.pem", newer)
    assert running.says("commit ssl crl-file crl.pem").endswith("Success!")
    # Of two CAs one has expired: it is let in by force, and does not keep out what comes later.
    ca = site.path("ca.pem")
    running.says(f"add ssl ca-file {ca}", expired_authority())
    assert "The CA file is not installed: the CA CN=old CA has expired" in running.says(f"commit ssl ca-file {ca}")
    assert running.says(f"commit ssl ca-file {ca} force").endswith("Success!")
    running.says(f"add ssl ca-file {ca}", make_authority("another CA").certificate_pem)
    answer = running.says(f"commit ssl ca-file {ca}")
    assert re.search(r"\nWarning: the CA CN=old CA has expired: [^\n]*\.\nSuccess!$", answer)


def test_a_key_that_does_not_match_is_refused_whatever_is_said(site: Site, proxy: StartProxy) -> None:
    running = Running(site, proxy)
    pem = site.path("site.pem")
    answer = running.says(f"set ssl cert {pem}", site.site.certificate_pem + site.other.key_pem)
    assert "does not match" in answer and "BEGIN" not in answer


def test_a_ca_at_run_time(site: Site, proxy: StartProxy) -> None:
    """A client's certificate of another CA is accepted once that CA was added, and refused again when it is gone."""
    running = Running(site, proxy)
    stranger = make_authority("another CA")
    (site.directory / "client.pem").write_bytes(issue(stranger, ["bob"], client=True).pem)
    ca = site.path("ca.pem")
    assert not accepted(running.port, site.directory / "client.pem")
    running.says(f"add ssl ca-file {ca}", site.authority.certificate_pem)
    running.says(f"add ssl ca-file {ca}", stranger.certificate_pem)
    assert " - 2 certificate(s)" in running.says("show ssl ca-file")
    assert running.says(f"commit ssl ca-file {ca}").endswith("Success!")
    assert accepted(running.port, site.directory / "client.pem")
    running.says(f"set ssl ca-file {ca}", site.authority.certificate_pem)
    running.says(f"commit ssl ca-file {ca}")
    assert not accepted(running.port, site.directory / "client.pem")


def accepted(port: int, certificate: pathlib.Path) -> bool:
    """Whether a request with a client certificate is answered."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificate)
    try:
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as plain, context.wrap_socket(plain) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            return tls.recv(100).startswith(b"HTTP/1.1 200")
    except (ssl.SSLError, ConnectionError):
        return False


# --- over reloads ----------------------------------------------------------------------------------------------------


class Mastered:
    """headgate with a master, to be reloaded."""

    def __init__(self, site: Site, stack: contextlib.ExitStack, settings: str = "", workers: int = 1) -> None:
        self.port, second = free_port(), free_port()
        text = CONFIG.format(directory=site.directory, second=second, workers=workers, settings=settings)
        config = site.directory / "site.cfg"
        config.write_text(text.replace("{port}", str(self.port)))
        self.socket, self.master = site.directory / "stats.sock", site.directory / "master.sock"
        self.program = Program([headgate_command(), "-W", "-S", str(self.master), "-f", str(config)], site.directory, "headgate")
        stack.callback(self.program.stop)
        self.program.await_output("Loading success")

    def install(self, site: Site, issued: Issued) -> str:
        say(self.socket, f"set ssl cert {site.path('site.pem')}", issued.pem)
        answer = say(self.socket, f"commit ssl cert {site.path('site.pem')}")
        assert answer.endswith("Success!")
        return answer

    def shows(self, issued: Issued) -> None:
        """Wait until clients get it: for a moment, processes of before a reload may still take connections."""
        wait_until(lambda: serials(self.port, "a.example") == {issued.certificate.serial_number}, "clients get it")

    def reload(self) -> str:
        answer = say(self.master, "reload")
        assert answer.startswith("Success=1"), answer
        return answer


@pytest.mark.parametrize("workers", [1, 2])
def test_without_a_directory_a_reload_says_what_it_takes_back(
    site: Site, stack: contextlib.ExitStack, workers: int
) -> None:
    running = Mastered(site, stack, workers=workers)
    running.install(site, issue(site.authority, ["a.example", "*.b.example"]))
    answer = running.reload()
    assert re.search(r"certificate '\S+site\.pem' was changed at run time on .* goes back to what its file holds", answer), answer
    running.shows(site.site)
    assert "was changed at run time" not in running.reload()


def test_a_reload_says_nothing_when_the_file_has_followed(site: Site, stack: contextlib.ExitStack) -> None:
    running = Mastered(site, stack)
    fresh = issue(site.authority, ["a.example", "*.b.example"])
    running.install(site, fresh)
    site.write("site.pem", fresh)
    assert "was changed at run time" not in running.reload()
    running.shows(fresh)


@pytest.mark.parametrize("workers", [1, 2])
def test_with_a_directory_a_certificate_outlasts_reload_and_restart(
    site: Site, stack: contextlib.ExitStack, workers: int
) -> None:
    directory = site.directory / "states"
    settings = f"crt-state-dir {directory}"
    running = Mastered(site, stack, settings, workers)
    fresh = issue(site.authority, ["a.example", "*.b.example"])
    running.install(site, fresh)
    assert "was changed at run time" not in running.reload()
    running.shows(fresh)
    (kept,) = directory.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    running.program.stop()
    again = Mastered(site, stack, settings, workers)
    again.shows(fresh)
    # Somebody renews the file: it counts from the next reload on.
    renewed = issue(site.authority, ["a.example", "*.b.example"])
    site.write("site.pem", renewed)
    os.utime(site.path("site.pem"), (time.time() + 5, time.time() + 5))
    assert "its file is newer" in again.reload()
    again.shows(renewed)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_without_the_directory_says_what_it_takes_back(
    site: Site, stack: contextlib.ExitStack, workers: int
) -> None:
    """Also what was installed before the reload before."""
    settings = f"crt-state-dir {site.directory}/states"
    running = Mastered(site, stack, settings, workers)
    running.install(site, issue(site.authority, ["a.example", "*.b.example"]))
    for command in ("new ssl cert /no/file", "set ssl cert /no/file", "commit ssl cert /no/file"):
        say(running.socket, command, site.other.pem if command.startswith("set") else b"")
    before = say(running.socket, "show ssl changes")
    assert before.count("cert kept") == 2
    running.reload()
    wait_until(lambda: "Status: Unused" in say(running.socket, "show ssl cert /no/file"), "the new generation answers")
    assert sorted(say(running.socket, "show ssl changes").splitlines()) == sorted(before.splitlines())
    config = site.directory / "site.cfg"
    config.write_text(config.read_text().replace(settings, ""))
    answer = running.reload()
    assert re.search(r"certificate '\S+site\.pem' was changed at run time on .* goes back to what its file holds", answer), answer
    assert re.search(r"certificate '/no/file' was changed at run time on .* forgets it: no file has it", answer), answer
    running.shows(site.site)
    assert say(running.socket, "show ssl changes") == ""


@pytest.mark.parametrize("keeps", [False, True])
def test_a_chain_that_was_added_outlasts_a_reload_or_is_named(site: Site, stack: contextlib.ExitStack, keeps: bool) -> None:
    """The certificate itself stays the same."""
    between = make_authority("between", parent=site.authority)
    issued = issue(between, ["a.example"])
    (site.directory / "site.pem").write_bytes(issued.certificate_pem + issued.key_pem)
    running = Mastered(site, stack, f"crt-state-dir {site.directory}/states" if keeps else "")
    running.install(site, issued)
    shown = f"show ssl cert {site.path('site.pem')}"
    assert "Chain Subject: /CN=between" in say(running.socket, shown)
    assert ("goes back to what its file holds" in running.reload()) is not keeps
    wait_until(lambda: ("Chain Subject: /CN=between" in say(running.socket, shown)) is keeps, "the new generation answers")
    site.write("site.pem", issued)
    assert "at run time" not in running.reload()


def test_what_could_not_be_kept_is_named(site: Site, stack: contextlib.ExitStack) -> None:
    states = site.directory / "states"
    running = Mastered(site, stack, f"crt-state-dir {states}")
    states.rmdir()  # what is open can't be written to any more
    answer = running.install(site, issue(site.authority, ["a.example", "*.b.example"]))
    assert f"\nWarning: certificate '{site.path('site.pem')}' is not kept: crt-state-dir '{states}' can't be written to" in answer
    assert say(running.socket, "show ssl changes").startswith("cert lost ")
    assert "goes back to what its file holds" in running.reload()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("of_root", [False, True])
def test_the_directory_belongs_to_the_user_that_we_become(
    site: Site, stack: contextlib.ExitStack, workers: int, of_root: bool
) -> None:
    """It is made for that user; one that is there and root's is told of at start, and by the commit."""
    # Not below pytest's directories, which nobody else may enter.
    above = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    above.chmod(0o755)
    states = above / "states"
    if of_root:
        states.mkdir(0o700)
    running = Mastered(site, stack, f"crt-state-dir {states}\n    user nobody", workers)
    assert ("has no right to write to it" in running.program.output) is of_root
    answer = running.install(site, issue(site.authority, ["a.example", "*.b.example"]))
    assert ("\nWarning: certificate" in answer and answer.count("Permission denied") == 1) is of_root
    assert len(list(states.iterdir())) == (0 if of_root else 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_kept_certificate_that_nothing_names_can_be_used_or_forgotten(
    site: Site, stack: contextlib.ExitStack, workers: int
) -> None:
    states = site.directory / "states"
    running = Mastered(site, stack, f"crt-state-dir {states}", workers)
    new = issue(site.authority, ["new.example"])
    for command, payload in (("new ssl cert dyn.pem", b""), ("set ssl cert dyn.pem", new.pem), ("commit ssl cert dyn.pem", b"")):
        say(running.socket, command, payload)
    (kept,) = states.iterdir()
    answer = running.reload()
    assert "'del ssl cert dyn.pem'" in answer and str(kept) in answer
    wait_until(lambda: "Status: Unused" in say(running.socket, "show ssl cert dyn.pem"), "the new generation answers")
    listing = site.path("list.txt")
    assert say(running.socket, f"add ssl crt-list {listing} dyn.pem").endswith("Success!")
    assert "\tnew.example\t" in say(running.socket, "show ssl sni")
    say(running.socket, f"del ssl crt-list {listing} dyn.pem")
    assert say(running.socket, "del ssl cert dyn.pem") == "Certificate 'dyn.pem' deleted!"
    assert list(states.iterdir()) == []
    assert "dyn.pem" not in running.reload()


# --- files that are watched ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_changed_file_takes_effect_and_a_bad_one_does_not(site: Site, proxy: StartProxy, workers: int) -> None:
    running = Running(site, proxy, workers, settings="crt-watch 1s\n    log stderr format raw local0")
    program = running.proxy.program
    fresh = issue(site.authority, ["a.example", "*.b.example"])
    site.write("site.pem", fresh)
    wait_until(lambda: "has changed and is in use now" in program.output, "it is noticed")
    assert everywhere(running.port, "a.example", fresh.certificate.serial_number)
    assert running.says("show ssl changes") == ""
    (site.directory / "site.pem").write_bytes(site.site.certificate_pem)
    wait_until(lambda: "is not put to use: no private key" in program.output, "the half of a file is refused")
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    site.write("site.pem", issue(site.authority, ["a.example"], not_before=now - 9 * day, not_after=now - day))
    wait_until(lambda: "is not put to use: it has expired" in program.output, "an expired one is refused")
    assert everywhere(running.port, "a.example", fresh.certificate.serial_number)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_watched_file_holds_is_no_change(site: Site, proxy: StartProxy, workers: int) -> None:
    """Also when the file comes behind the commit; and nothing is kept then."""
    states = site.directory / "states"
    running = Running(site, proxy, workers, f"crt-watch 1s\n    crt-state-dir {states}\n    log stderr format raw local0")
    fresh = issue(site.authority, ["a.example", "*.b.example"])
    running.says(f"set ssl cert {site.path('site.pem')}", fresh.pem)
    running.says(f"commit ssl cert {site.path('site.pem')}")
    assert running.says("show ssl changes").startswith("cert kept ") and len(list(states.iterdir())) == 1
    site.write("site.pem", fresh)
    wait_until(lambda: running.says("show ssl changes") == "", "the file has followed")
    assert list(states.iterdir()) == []
    (site.directory / "ca.pem").write_bytes(make_authority("another CA").certificate_pem)
    wait_until(lambda: "ca.pem' has changed and is in use now" in running.proxy.program.output, "it is noticed")
    assert running.says("show ssl changes") == ""
    # What a command has deleted is looked for no more.
    running.says(f"del ssl crt-list {site.path('list.txt')} {site.path('other.pem')}")
    assert "deleted!" in running.says(f"del ssl cert {site.path('other.pem')}")
    site.write("other.pem", issue(site.authority, ["c.example"]))
    renewed = issue(site.authority, ["a.example", "*.b.example"])
    site.write("site.pem", renewed)
    wait_until(lambda: serials(running.port, "a.example") == {renewed.certificate.serial_number}, "the other one is noticed")
    assert not re.search(r"KeyError|other\.pem' has changed", running.proxy.program.output)


def matches(program: Program, expression: str) -> bool:
    return re.search(expression, program.output) is not None


@pytest.mark.parametrize("workers", [1, 2])
def test_a_changed_ca_or_list_is_judged_like_a_commit(site: Site, proxy: StartProxy, workers: int) -> None:
    serving, expired, older, newer = lists_of(site)
    crl, ca = site.directory / "crl.pem", site.directory / "ca.pem"
    crl.write_bytes(serving)
    text = CONFIG.replace("verify optional", "verify optional crl-file {directory}/crl.pem")
    settings = "crt-watch 1s\n    log stderr format raw local0"
    running = proxy(text.format(directory=site.directory, second=free_port(), workers=workers, settings=settings))
    program, socket = running.program, site.directory / "stats.sock"
    shown = say(socket, f"show ssl crl-file {crl}")
    for worse, why in ((expired, "has expired"), (older, "is older than the one in use")):
        crl.write_bytes(worse)
        said = rf"crl\.pem' has changed but is not put to use: the revocation list of CN=[^\n]* {why}"
        wait_until(partial(matches, program, said), "it is refused")
        assert say(socket, f"show ssl crl-file {crl}") == shown
    crl.write_bytes(newer)
    wait_until(lambda: "crl.pem' has changed and is in use now" in program.output, "the newer one is taken")
    assert say(socket, f"show ssl crl-file {crl}") != shown
    ca.write_bytes(expired_authority())
    wait_until(lambda: "ca.pem' has changed but is not put to use: the CA CN=old CA has expired" in program.output, "refused")
    assert "old CA" not in say(socket, f"show ssl ca-file {ca}")


def test_files_can_not_be_watched_from_within_a_jail(site: Site, tmp_path: pathlib.Path) -> None:
    config = tmp_path / "bad.cfg"
    config.write_text("global\n crt-watch 5s\n chroot /var/empty\n" + DEFAULTS + "frontend f\n bind :8080\n")
    code, output = check_config("headgate", config)
    assert code == 1 and "can't look at files from within a 'chroot'" in output
