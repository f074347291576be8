from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from headgate.base.diagnostics import Location, Report
from headgate.config.ocsp_options import OcspUpdate, WithoutStaple
from headgate.tls.authority import Issued, make_authority
from headgate.tls.ocsp.ledger import Entry, Ledger
from headgate.tls.ocsp.stapling import Staples
from headgate.tls.ocsp.survey import Loaded, Survey
from tests.tls.ocsp.ocsp_fixtures import NOW, make_leaf, make_response

CA = make_authority("test CA")
HERE = Location("test.cfg", 1)
URI = "http://ocsp.example"
ON, OFF = OcspUpdate(mode=True), OcspUpdate()


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def loaded(leaf: Issued, issuer: x509.Certificate | None = None, path: str = "/site.pem", **more: object) -> Loaded:
    return Loaded(path, HERE, der(leaf.certificate), lambda: issuer, **more)  # type: ignore[arg-type]


def survey(options: OcspUpdate, *several: Loaded) -> tuple[list[Entry], list[str], Staples]:
    staples, ledger, report = Staples(), Ledger(), Report()
    made = Survey(options, staples, NOW)
    for one in several:
        made.take(one, ledger, report)
    made.conclude(report)
    assert not report.alerts
    return list(ledger), [item.message for item in report.warnings], staples


def test_who_takes_part() -> None:
    leaf = make_leaf(CA, URI)
    assert survey(OFF, loaded(leaf, CA.certificate))[0] == []
    assert [one.updates for one in survey(ON, loaded(leaf, CA.certificate))[0]] == [True]
    assert [one.updates for one in survey(OFF, loaded(leaf, CA.certificate, update=True))[0]] == [True]
    assert survey(ON, loaded(leaf, CA.certificate, update=False))[0] == []
    assert survey(OcspUpdate(mode=True, disabled=True), loaded(leaf, CA.certificate, update=True))[0] == []
    assert [one.updates for one in survey(OFF, loaded(leaf, CA.certificate, ocsp=b""))[0]] == [False]


def test_without_an_issuer_nothing_can_be_asked_and_that_is_said() -> None:
    (entry,), (warning,), _ = survey(ON, loaded(make_leaf(CA, URI)))
    assert not entry.updates and entry.subject is None
    assert "'/site.pem'" in warning and "issuer's certificate is not known" in warning


def test_an_issuer_may_be_fetched() -> None:
    leaf = make_leaf(CA, URI, issuers=["http://ca.example/ca.der"])
    (entry,), warnings, _ = survey(OcspUpdate(mode=True, fetch_issuer=True), loaded(leaf))
    assert entry.updates and entry.issuer_uris == ("http://ca.example/ca.der",) and entry.key == "" and not warnings


def test_a_mixed_list_updates_what_can_be_and_says_the_rest_once() -> None:
    bare = [make_leaf(CA, crls=["http://crl.example/1.crl"]) for _ in range(8)]
    good = make_leaf(CA, URI)
    several = [loaded(one, CA.certificate, path=f"/{number}.pem") for number, one in enumerate(bare)]
    entries, warnings, _ = survey(ON, *several, loaded(good, CA.certificate))
    assert [one.path for one in entries if one.updates] == ["/site.pem"]
    assert len(warnings) == 1
    assert "'/0.pem', '/1.pem', '/2.pem', '/3.pem', '/4.pem' and 3 more" in warnings[0]
    assert "nothing to staple" in warnings[0] and "http://crl.example/1.crl" in warnings[0]


def test_one_certificate_in_two_files_is_one_entry() -> None:
    leaf = make_leaf(CA, URI)
    (entry,), _, _ = survey(ON, loaded(leaf, CA.certificate, path="/a.pem"), loaded(leaf, CA.certificate, path="/b.pem"))
    assert entry.paths == ["/a.pem", "/b.pem"]


def test_a_response_beside_the_certificate() -> None:
    leaf = make_leaf(CA, URI)
    response = make_response(CA, leaf)
    (entry,), warnings, staples = survey(OFF, loaded(leaf, CA.certificate, ocsp=response))
    assert entry.response is not None and entry.response.der == response and not warnings
    assert staples.of(der(leaf.certificate)).der == response


def test_a_response_that_may_not_be_stapled_is_left_out_and_said() -> None:
    leaf = make_leaf(CA, URI)
    expired = make_response(CA, leaf, begins=-7200, ends=-3600)
    (entry,), (warning,), staples = survey(OFF, loaded(leaf, CA.certificate, ocsp=expired))
    assert entry.response is None and not staples.of(der(leaf.certificate)).der
    assert "OCSP response of '/site.pem'" in warning and "expired" in warning


def test_a_revoked_one_is_stapled_and_said_loudly() -> None:
    leaf = make_leaf(CA, URI)
    revoked = make_response(CA, leaf, status=ocsp.OCSPCertStatus.REVOKED)
    (entry,), (warning,), _ = survey(OFF, loaded(leaf, CA.certificate, ocsp=revoked))
    assert entry.state(NOW) == "revoked" and "was revoked" in warning and "keyCompromise" in warning


def test_must_staple() -> None:
    leaf = make_leaf(CA, URI, must_staple=True)
    (entry,), warnings, _ = survey(OFF, loaded(leaf, CA.certificate))
    assert entry.must_staple and not entry.staple.required and not entry.updates and not warnings, "that is a finding of the lint"
    (entry,), warnings, _ = survey(OcspUpdate(mode=True, must_staple=WithoutStaple.REFUSE), loaded(leaf, CA.certificate))
    assert entry.staple.required and entry.updates and not warnings
