"""Client certificates as curl shows them, with each fault: refused, or ignored where the configuration says so (manual 5.1).

The same lines, the same clients, the same numbers in the fetches, for headgate and HAProxy.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

from headgate.base.verify_errors import verify_error_number
from headgate.tls.authority import Authority
from tests.interop.conftest import StartProxy
from tests.interop.programs import free_ports
from tests.interop.test_tls_commands import say
from tests.tls.client_certificates import FAULTS, Clients

pytestmark = pytest.mark.needs("curl")

LISTS = sorted({crl for _, crl, _, _ in FAULTS if crl is not None})


class Lines:
    """Bind lines: for no list of revocations and for each, one that forgives nothing and one that forgives everything."""

    def __init__(self, proxy: StartProxy, certificates: pathlib.Path, clients: Clients, more: str = "") -> None:
        self.ports: dict[tuple[str | None, bool], int] = {}
        self.clients = clients
        self.ca = certificates / "ca.pem"
        lines = []
        for crl in (None, *LISTS):
            strict, lenient = free_ports(2)
            self.ports[crl, False], self.ports[crl, True] = strict, lenient
            line = f"ssl crt {certificates}/site.pem verify required ca-file {clients.path('ca.pem')}"
            if crl is not None:
                line += f" crl-file {clients.path(crl)}"
            lines.append(f"bind 127.0.0.1:{strict} {line}")
            lines.append(f"bind 127.0.0.1:{lenient} {line} ca-ignore-err all crt-ignore-err all")
        binds = "\n                ".join(lines)
        self.proxy = proxy(
            f"""
            {more}
            frontend web
                {binds}
                http-request return status 200 hdr x-found "%[ssl_c_err] %[ssl_c_ca_err] %[ssl_c_ca_err_depth] %[ssl_c_verify]"
            """,
            extra_ports=tuple(self.ports.values()),
        )

    def visit(self, certificate: str, crl: str | None, *, lenient: bool, tls: str = "1.3") -> list[int] | None:
        """What the fetches said, None when the handshake failed."""
        done = subprocess.run(
            [
                "curl", "-sS", "--noproxy", "*", "-D", "-", "-o", "/dev/null", "--cacert", str(self.ca), "--max-time", "20",
                f"--tlsv{tls}", "--tls-max", tls, "--cert", self.clients.path(f"{certificate}.pem"),
                f"https://localhost:{self.ports[crl, lenient]}/",
            ],
            capture_output=True, text=True, timeout=60, check=False,
        )
        if done.returncode:
            # The handshake, what is read behind it in TLS 1.3, or curl's idea of an alert about certificates.
            assert done.returncode in (35, 56, 60), done.stderr
            return None
        (found,) = [line.partition(":")[2] for line in done.stdout.splitlines() if line.lower().startswith("x-found:")]
        return [int(number) for number in found.split()]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Clients:
    return Clients(tmp_path_factory.mktemp("clients"))


def test_each_fault(proxy: StartProxy, certificates: pathlib.Path, clients: Clients, subject: str) -> None:
    lines = Lines(proxy, certificates, clients)
    assert lines.visit("good", "crl.pem", lenient=False) == [0, 0, 0, 0]
    for tls in ("1.2", "1.3"):
        for certificate, crl, error, depth in FAULTS:
            number = verify_error_number(error)
            assert lines.visit(certificate, crl, lenient=False, tls=tls) is None, (certificate, crl)
            found = lines.visit(certificate, crl, lenient=True, tls=tls)
            assert found is not None, (certificate, crl)
            expected = [0, number, depth] if depth else [number, 0, 0]
            assert found[:3] == expected, (certificate, crl, tls)
            assert found[3] != 0


@pytest.mark.parametrize(
    ("option", "accepted"),
    [
        ("crt-ignore-err X509_V_ERR_CERT_HAS_EXPIRED", True),
        ("crt-ignore-err CERT_HAS_EXPIRED,23", True),
        ("crt-ignore-err 10", True),
        ("crt-ignore-err 23", False),
        ("ca-ignore-err 10", False),
        ("", False),
    ],
)
def test_names_and_numbers(
    option: str, accepted: bool, proxy: StartProxy, certificates: pathlib.Path, clients: Clients
) -> None:
    lines = Lines.__new__(Lines)
    lines.clients, lines.ca = clients, certificates / "ca.pem"
    started = proxy(
        f"""
        frontend web
            bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem verify optional ca-file {clients.path('ca.pem')} {option}
            http-request return status 200 hdr x-found "%[ssl_c_err]"
        """
    )
    lines.ports = {(None, False): started.port}
    assert lines.visit("expired", None, lenient=False) == ([10] if accepted else None)


@pytest.mark.needs("openssl")
def test_names_of_cas_with_s_client(proxy: StartProxy, certificates: pathlib.Path, clients: Clients, subject: str) -> None:
    """ca-file is told to the client, ca-verify-file is not, and no-ca-names tells nothing."""

    def told(options: str) -> bool:
        started = proxy(
            f"""
            frontend web
                bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem verify optional {options}
                http-request return status 200
            """
        )
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{started.port}", "-servername", "localhost"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        )
        started.program.stop()
        assert "SSL handshake has read" in done.stdout
        return "Clients Intermediate" in done.stdout

    middle, root = clients.path("middle_only.pem"), clients.path("root_only.pem")
    assert told(f"ca-file {middle} ca-verify-file {root}")
    assert not told(f"ca-file {middle} no-ca-names")
    assert not told(f"ca-file {root} ca-verify-file {middle}")


def test_a_list_that_is_replaced_while_running(
    proxy: StartProxy, certificates: pathlib.Path, clients: Clients, tmp_path: pathlib.Path
) -> None:
    crl, stats = tmp_path / "crl.pem", tmp_path / "stats.sock"
    shutil.copy(clients.path("crl_none.pem"), crl)
    lines = Lines.__new__(Lines)
    lines.clients, lines.ca = clients, certificates / "ca.pem"
    verify = f"verify required ca-file {clients.path('ca.pem')} crl-file {crl}"
    started = proxy(
        f"""
        global
            stats socket {stats} level admin
        frontend web
            bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem {verify}
            http-request return status 200 hdr x-found "%[ssl_c_err]"
        """
    )
    lines.ports = {(None, False): started.port}
    assert lines.visit("revoked", None, lenient=False) == [0]
    say(stats, f"set ssl crl-file {crl}", pathlib.Path(clients.path("crl.pem")).read_bytes())
    assert lines.visit("revoked", None, lenient=False) == [0]  # not yet
    assert "Success" in say(stats, f"commit ssl crl-file {crl}")
    assert lines.visit("revoked", None, lenient=False) is None
    assert lines.visit("good", None, lenient=False) == [0]
