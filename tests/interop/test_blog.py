"""The two configurations of examples/blog-*.cfg end to end, with Apache and nginx behind: TLS passed through, terminated, with a
client certificate required, and optional with a redirect; also on resumed sessions, where `ssl_fc_has_crt` is false."""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import pathlib
import pwd
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.backends import PeerClosed
from tests.interop.programs import (
    Program,
    check_config,
    free_ports,
    listening_addresses,
    start_apache,
    start_nginx,
    start_subject,
    wait_until,
)
from tests.interop.tls_client import TLS_1_2, TLS_1_3, client_context, visit

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
FORMS = [
    pytest.param(("headgate", "2014"), id="headgate-2014"),
    pytest.param(("headgate", "modern"), id="headgate-modern"),
    pytest.param(("haproxy", "modern"), id="haproxy-modern", marks=pytest.mark.needs("haproxy")),
]
VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["tls1.2", "tls1.3"])
pytestmark = pytest.mark.needs("nginx", "apache2")


@dataclass
class Blog:
    """The running set-up. Ports are those of the frontends, on 127.0.0.2; the servers have the same on 127.0.0.1."""

    program: Program
    certificates: pathlib.Path
    passthrough: int
    termination: int
    required: int
    optional: int

    @staticmethod
    def at(port: int) -> tuple[str, int]:
        return ("127.0.0.2", port)


def _fitted(text: str, ports: dict[str, int], certificates: pathlib.Path) -> str:
    """The file with its addresses moved to this machine, as its own header describes."""
    text = re.sub(r"(bind )\*:(\d+)", lambda match: f"{match[1]}127.0.0.2:{ports[match[2]]}", text)
    text = re.sub(r"([a-z0-9-]*)\.lan(?::(\d+))?", lambda match: "localhost" + (f":{ports[match[2]]}" if match[2] else ""), text)
    text = text.replace("/etc/ssl/private", str(certificates))
    with contextlib.suppress(KeyError):
        if os.geteuid() == 0 and pwd.getpwnam("haproxy"):
            return text
    text = text.replace("user haproxy", f"user {getpass.getuser()}")
    return text.replace("group haproxy", f"group {grp.getgrgid(os.getegid()).gr_name}")


@pytest.fixture(scope="module")
def blog_certificates(certificates: pathlib.Path) -> pathlib.Path:
    """The names that the blog uses."""
    (certificates / "officialcert.pem").write_bytes((certificates / "site.pem").read_bytes())
    (certificates / "private_ca.crt").write_bytes((certificates / "ca.pem").read_bytes())
    return certificates


@pytest.fixture(scope="module", params=FORMS)
def blog(
    request: pytest.FixtureRequest, blog_certificates: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Blog]:
    subject, form = request.param
    directory = tmp_path_factory.mktemp("blog")
    numbers = free_ports(4)
    ports = dict(zip(("443", "8443", "9443", "8080"), numbers, strict=True))
    answer = 'return 200 "$request_uri proto=$http_x_forwarded_proto for=$http_x_forwarded_for connection=$http_connection";'
    listens = " ".join(f"listen 127.0.0.1:{port};" for port in numbers[1:])
    apache = f"""
Listen 127.0.0.1:{ports["443"]}
<VirtualHost *:{ports["443"]}>
SSLEngine on
SSLCertificateFile {blog_certificates}/apache.pem
SSLCertificateKeyFile {blog_certificates}/apache.pem
SSLCACertificateFile {blog_certificates}/ca.pem
SSLVerifyClient require
Header always set X-Client "%{{SSL_CLIENT_S_DN_CN}}s"
</VirtualHost>
"""
    config = _fitted((EXAMPLES / f"blog-{form}.cfg").read_text(), ports, blog_certificates)
    with contextlib.ExitStack() as stack:
        stack.callback(start_nginx(f"server {{ {listens} location / {{ {answer} }} }}", directory, numbers[1:]).stop)
        stack.callback(start_apache(apache, directory, numbers[:1]).stop)
        # Its ports listen on 127.0.0.1 already, so that being ready shows by connecting only.
        program = start_subject(subject, config, directory, ())
        stack.callback(program.stop)
        _await_frontends(program, numbers)
        yield Blog(program, blog_certificates, *numbers)


def _await_frontends(program: Program, ports: list[int]) -> None:
    wanted = {("127.0.0.2", port) for port in ports}
    wait_until(lambda: program.process.poll() is not None or wanted <= listening_addresses(), "the frontends listen")
    assert program.process.poll() is None, program.output


def test_passthrough_shows_apaches_certificate_and_lets_it_authenticate(blog: Blog) -> None:
    context = client_context(blog.certificates, certificate="client.pem")
    seen = visit(context, blog.at(blog.passthrough), name="apache01.lan")
    assert (seen.common_name, seen.response.one("x-client")) == ("apache01.lan", "alice")


@VERSIONS
def test_passthrough_leaves_refusing_to_apache(blog: Blog, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, PeerClosed)):
        visit(client_context(blog.certificates, version=version), blog.at(blog.passthrough), name="apache01.lan")


@VERSIONS
def test_termination(blog: Blog, version: ssl.TLSVersion) -> None:
    context = client_context(blog.certificates, version=version)
    seen = visit(context, blog.at(blog.termination), target="/page")
    assert seen.common_name == "site.example"
    assert seen.response.body == b"/page proto=https for=127.0.0.1 connection=close"
    assert seen.response.one("connection") == "close"  # option httpclose


@VERSIONS
def test_required_lets_nobody_in_without_a_certificate(blog: Blog, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, PeerClosed)):
        visit(client_context(blog.certificates, version=version), blog.at(blog.required))


@VERSIONS
def test_required_refuses_a_strangers_certificate(blog: Blog, version: ssl.TLSVersion) -> None:
    context = client_context(blog.certificates, certificate="stranger.pem", version=version)
    with pytest.raises((ssl.SSLError, ConnectionError, PeerClosed)):
        visit(context, blog.at(blog.required))


@VERSIONS
def test_required_with_a_certificate_full_and_resumed(blog: Blog, version: ssl.TLSVersion) -> None:
    context = client_context(blog.certificates, certificate="client.pem", version=version)
    first = visit(context, blog.at(blog.required), target="/page")
    second = visit(context, blog.at(blog.required), target="/page", session=first.session)
    assert [first.resumed, second.resumed] == [False, True]
    for seen in (first, second):
        assert seen.response.body == b"/page proto=https for=127.0.0.1 connection=close"


@VERSIONS
def test_optional_redirects_from_the_folder_without_a_certificate(blog: Blog, version: ssl.TLSVersion) -> None:
    context = client_context(blog.certificates, version=version)
    first = visit(context, blog.at(blog.optional), target="/ghost/login/")
    again = visit(context, blog.at(blog.optional), target="/ghost/login/", session=first.session)
    assert [first.resumed, again.resumed] == [False, True]
    for seen in (first, again):
        assert (seen.response.status, seen.response.one("location")) == (302, "/")


@VERSIONS
def test_optional_serves_the_rest_to_everybody(blog: Blog, version: ssl.TLSVersion) -> None:
    seen = visit(client_context(blog.certificates, version=version), blog.at(blog.optional), target="/ghostly")
    assert (seen.response.status, seen.response.body.split()[0]) == (200, b"/ghostly")


@VERSIONS
def test_optional_lets_a_certificate_in_also_on_a_resumed_session(blog: Blog, version: ssl.TLSVersion) -> None:
    context = client_context(blog.certificates, certificate="client.pem", version=version)
    first = visit(context, blog.at(blog.optional), target="/ghost/login/")
    again = visit(context, blog.at(blog.optional), target="/ghost/login/", session=first.session)
    assert [first.resumed, again.resumed] == [False, True]
    assert [first.response.status, again.response.status] == [200, 200]


@VERSIONS
def test_a_session_without_a_certificate_opens_nothing_elsewhere(blog: Blog, version: ssl.TLSVersion) -> None:
    """What was agreed where no certificate is asked for must not pass where one is required."""
    context = client_context(blog.certificates, version=version)
    outside = visit(context, blog.at(blog.termination))
    with pytest.raises((ssl.SSLError, ConnectionError, PeerClosed)):
        visit(context, blog.at(blog.required), session=outside.session)


def _check(form: str, directory: pathlib.Path, certificates: pathlib.Path) -> tuple[int, str]:
    ports = {"443": 443, "8443": 8443, "9443": 9443, "8080": 8080}
    path = directory / "blog.cfg"
    path.write_text(_fitted((EXAMPLES / f"blog-{form}.cfg").read_text(), ports, certificates))
    return check_config("headgate", path)


def test_the_old_form_warns_once_for_each_removed_directive(tmp_path: pathlib.Path, blog_certificates: pathlib.Path) -> None:
    code, output = _check("2014", tmp_path, blog_certificates)
    assert code == 0, output
    lines = (EXAMPLES / "blog-2014.cfg").read_text().splitlines()
    removed = [number for number, line in enumerate(lines, 1) if line.strip().startswith("reqadd")]
    assert len(removed) == 2
    warnings = [line for line in output.splitlines() if "reqadd" in line and "WARNING" in line.upper()]
    assert len(warnings) == len(removed), output
    for number in removed:
        assert re.search(rf"blog\.cfg:{number}\b", output), output
    assert output.count("http-request add-header") >= len(removed)
    assert "Configuration file is valid" in output


def test_the_modern_form_gets_no_warning(tmp_path: pathlib.Path, blog_certificates: pathlib.Path) -> None:
    code, output = _check("modern", tmp_path, blog_certificates)
    assert (code, "warning" in output.lower()) == (0, False), output
