"""What a record knows of a handshake that failed, as OpenSSL tells it."""

from __future__ import annotations

import ssl

import pytest

from headgate.config.tls_options import TlsVersions
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.server_context import BindContext
from tests.tls.tls_peers import Pki, World, bind_context
from tests.tls.visits import Visit

VERSIONS = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


def strangers(pki: Pki, version: str) -> ssl.SSLContext:
    """A client that knows no CA of ours."""
    context = ssl.create_default_context(cadata=pki.other.certificate_pem.decode())
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
    return context


def failed(world: World, bind: BindContext, context: ssl.SSLContext, name: str) -> HandshakeRecord:
    """The record of a visit that comes to nothing."""
    record = Visit(world, bind, context, name).channel.record
    assert record is not None and not record.completed
    return record


@VERSIONS
def test_the_certificate_is_the_one_that_the_client_has_seen(world: World, pki: Pki, version: str) -> None:
    """A name may have several; which one is OpenSSL's choice."""
    bind = bind_context(pki, "b.pem", "b_rsa.pem", versions=TlsVersions("TLSv1.2", version))
    record = failed(world, bind, strangers(pki, version), "b.example")
    assert record.facts()["chosen"]["certificates"] == [pki.path("b.pem")]
    assert f"the certificate {pki.path('b.pem')} (alert unknown_ca)" in record.advice
    if version == "TLSv1.2":
        context = strangers(pki, version)
        context.set_ciphers("ECDHE+aRSA")
        assert failed(world, bind, context, "b.example").facts()["chosen"]["certificates"] == [pki.path("b_rsa.pem")]


def test_no_certificate_is_shown_where_a_session_goes_on(pki: Pki) -> None:
    record = HandshakeRecord(outgoing=False)
    record.sni = b"b.example"
    record.describe = bind_context(pki, "b.pem", "b_rsa.pem").describe
    assert len(record.facts()["chosen"]["certificates"]) == 2
    record.showed(None, resumed=True)
    assert record.facts()["chosen"]["certificates"] == []
