"""`generate-certificates`: names that no certificate is for get one of their own."""

from __future__ import annotations

import datetime
import ssl
import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from headgate.base.diagnostics import Report
from headgate.config.tls_options import BindTls, GenerateCertificates
from headgate.proxy.port import Lost
from headgate.tls.authority import make_authority
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.forging import Forger
from headgate.tls.handshake_record import HandshakeRecord, Step
from headgate.tls.loading import CertificateReader
from headgate.tls.server_context import BindContext, SessionCache
from tests.tls.tls_peers import HERE, Pki, World, lines
from tests.tls.visits import Visit, client


def signer(pki: Pki, name: str = "signer.pem", phrase: bytes | None = None) -> str:


    how = NoEncryption() if phrase is None else BestAvailableEncryption(phrase)
    pem = pki.root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return pki.write(name, pki.root.certificate_pem + pem)


def forging(pki: Pki, *certificates: str, cache: int = 1000, ca_sign_pass: str | None = None, **own: Any) -> BindContext:
    path = signer(pki, "encrypted.pem", ca_sign_pass.encode()) if ca_sign_pass else signer(pki)
    tls = BindTls(
        lines(*map(pki.path, certificates)), generate=GenerateCertificates(path, ca_sign_pass, HERE), location=HERE, **own
    )
    report = Report()
    bind = build_bind_context(tls, SessionCache(generated=cache), report, clock=time.time)
    assert bind is not None, report.items
    return bind


@pytest.mark.parametrize("ca_sign_pass", [None, "secret"])
def test_a_name_without_certificate_gets_one(world: World, pki: Pki, ca_sign_pass: str | None) -> None:
    bind = forging(pki, "a.pem", ca_sign_pass=ca_sign_pass)
    context = client(pki)
    context.check_hostname = True
    made = Visit(world, bind, context, "New.example")
    assert made.error is None and made.certificate is not None
    certificate = x509.load_der_x509_certificate(made.certificate)
    assert certificate.subject.rfc4514_string() == "CN=new.example"
    assert Visit(world, bind, context, "a.example").tls.own_certificate == pki.a.certificate
    assert Visit(world, bind, context, "new.example").certificate == made.certificate


@pytest.mark.parametrize("own", [{}, {"prefer_client_ciphers": True}])
def test_clients_that_know_rsa_only(world: World, pki: Pki, own: dict[str, Any]) -> None:
    bind = forging(pki, "a.pem", **own)
    for ciphers, kind in (("ECDHE+aRSA", rsa.RSAPublicKey), ("ECDHE+aECDSA", ec.EllipticCurvePublicKey)):
        context = client(pki)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        made = Visit(world, bind, context, "new.example")
        assert made.error is None and made.certificate is not None
        assert isinstance(x509.load_der_x509_certificate(made.certificate).public_key(), kind)


def test_whose_certificate_a_record_says_it_is(pki: Pki) -> None:
    bind = forging(pki, "a.pem")
    for name, path in ((b"New.example.", pki.path("signer.pem")), (b"a.example", None), (b"-", None)):
        record = HandshakeRecord(outgoing=False)
        record.sni, record.alert, record.step = name, 48, Step.CERTIFICATE
        record.describe = bind.describe
        assert record.line is not None and record.line.ca_sign_file == path
        assert record.advice.endswith(f" give the clients the CA of ca-sign-file {path}.") is (path is not None)


def test_the_default_where_none_can_be_made(world: World, pki: Pki) -> None:
    bind = forging(pki, "a.pem")
    for name in (None, "not_a-name-"):
        assert Visit(world, bind, client(pki), name).tls.own_certificate == pki.a.certificate
    strict = forging(pki, strict_sni=True)
    assert Visit(world, strict, client(pki), None).server.lost is Lost.HANDSHAKE
    assert Visit(world, strict, client(pki), "x.example").error is None


def test_the_longest_unused_is_forgotten(world: World, pki: Pki) -> None:
    bind = forging(pki, cache=2)
    first = {name: Visit(world, bind, client(pki), name).certificate for name in ("a.x", "b.x")}
    assert Visit(world, bind, client(pki), "a.x").certificate == first["a.x"]
    Visit(world, bind, client(pki), "c.x")
    assert len(bind._contexts) == len(bind._forged) == 2
    assert Visit(world, bind, client(pki), "a.x").certificate == first["a.x"]
    assert Visit(world, bind, client(pki), "b.x").certificate != first["b.x"]


def test_what_is_made(pki: Pki) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ca = make_authority("Short", not_after=now + datetime.timedelta(days=2))
    pem = ca.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    options = GenerateCertificates(pki.write("short.pem", ca.certificate_pem + pem), None, HERE)
    forger = Forger(options, CertificateReader(), now.timestamp)
    made = forger.forge(b"x.example")
    assert [one.kind for one in made] == ["ecdsa", "rsa"]
    for one in made:
        assert one.certificate.not_valid_after_utc == ca.certificate.not_valid_after_utc
        one.certificate.verify_directly_issued_by(ca.certificate)
    long = b".".join([b"a" * 60] * 4)
    for one in forger.forge(long):
        assert not list(one.certificate.subject) and one.names == (long,)
    odd = (b"", b"a..b", b"*.example", b"a b", b"-a.example", b"a" * 64, b"\xc3\xa4.example", b"x\n", b".".join([b"a"] * 200))
    for name in odd:
        assert not forger.forge(name)
    after = Forger(options, CertificateReader(), lambda: now.timestamp() + 3 * 86400)
    assert not after.forge(b"x.example")


def test_who_can_not_sign(pki: Pki) -> None:
    for path, expected in ((pki.path("a.pem"), "not that of a CA"), ("/nowhere", "cannot read"), (pki.ca, "no private key")):
        report = Report()
        tls = BindTls(lines(pki.path("b.pem")), generate=GenerateCertificates(path, None, HERE), location=HERE)
        assert build_bind_context(tls, SessionCache(), report) is None
        assert expected in report.alerts[0].message
    report = Report()
    wrong = GenerateCertificates(signer(pki, "encrypted.pem", b"secret"), "guess", HERE)
    assert build_bind_context(BindTls((), generate=wrong, location=HERE), SessionCache(), report) is None
    assert "does not decrypt" in report.alerts[0].message and "guess" not in report.alerts[0].message + repr(wrong)
