"""Sessions by ticket: resumed at whichever worker, over a reload, and not under another client policy."""

from __future__ import annotations

import pathlib
import signal
import ssl

import pytest
from cryptography import x509

from headgate.tls.authority import Authority, revoke
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import wait_until
from tests.interop.tls_client import TLS_1_2, TLS_1_3, client_context, visit

ENOUGH = 24  # connections: so many that each of four workers gets some


def start(proxy: StartProxy, certificates: pathlib.Path, options: str = "") -> Proxy:
    started = proxy(
        f"""
        global
            nbthread 4
        frontend web
            bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem {options}
            http-request return status 200
        """,
        arguments=("-W",),
    )
    started.program.await_output("Loading success")
    return started


def reload(started: Proxy) -> None:
    before = started.program.output.count("Loading success")
    started.program.signal(signal.SIGUSR2)
    wait_until(lambda: started.program.output.count("Loading success") > before, "the new generation serves")


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_every_worker_and_the_next_generation_read_a_ticket(
    version: ssl.TLSVersion, proxy: StartProxy, certificates: pathlib.Path
) -> None:
    started = start(proxy, certificates)
    address = ("127.0.0.1", started.port)
    context = client_context(certificates, version=version)
    first = visit(context, address)
    assert not first.resumed
    for _ in range(2):
        assert all(visit(context, address, session=first.session).resumed for _ in range(ENOUGH))
        reload(started)


def test_a_new_revocation_list_ends_old_sessions(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, authority: Authority
) -> None:
    """Whoever is revoked must not come in by a ticket that it was given before."""
    crl = tmp_path / "crl.pem"
    crl.write_bytes(revoke(authority))
    options = f"verify required ca-file {certificates}/ca.pem crl-file {crl}"
    started = start(proxy, certificates, options)
    address = ("127.0.0.1", started.port)
    context = client_context(certificates, certificate="client.pem", version=TLS_1_3)
    first = visit(context, address)
    assert visit(context, address, session=first.session).resumed
    reload(started)
    assert visit(context, address, session=first.session).resumed
    crl.write_bytes(revoke(authority, x509.load_pem_x509_certificate((certificates / "client.pem").read_bytes())))
    reload(started)

    def refused() -> bool:
        try:
            visit(context, address, session=first.session)
        except (ssl.SSLError, ConnectionError):
            return True
        return False  # a worker of the generation before has taken it: they leave one by one

    wait_until(refused, "the ticket is good for nothing any more")
