"""Bind and server lines as a whole: configurations are read, their contexts built, and what is found is what was meant."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from headgate.app.prepare import prepare
from headgate.base.diagnostics import Diagnostic, Location, Report
from headgate.base.findings import Findings
from headgate.config.load import load
from headgate.config.model import Config, Global
from headgate.config.predicates import BuildFacts
from headgate.config.tls_options import BindPolicy, BindTls, CertificateFile, CertificateLine, Verify
from headgate.tls.authority import Authority, issue, make_authority
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.lint.lines import lint_tls
from headgate.tls.server_context import SessionCache
from headgate.tls.storage import Entry, Storage
from tests.tls.lint.forge import days, make, must_staple, revocations
from tests.tls.ocsp.ocsp_fixtures import make_response

NOW = datetime.datetime.now(datetime.UTC)
EMPTY = Config(Global(), (), {}, {}, {})
CACHE = SessionCache()
START = "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n mode http\n"


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_authority("Root")


@pytest.fixture(scope="module")
def folder(root: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pki")
    old = {"not_before": days(-99, NOW), "not_after": days(-3, NOW)}
    weak = rsa.generate_private_key(65537, 1024)
    files = {
        "site.pem": issue(root, ["shop.example", "*.shop.example"]).pem,
        "rsa.pem": issue(root, ["rsa.example"], key="rsa").pem,
        "old.pem": issue(root, ["shop.example"], **old).pem,
        "old-too.pem": issue(root, ["other.example"], **old).pem,
        "ca.pem": root.certificate_pem,
        "old-ca.pem": make_authority("Old", **old).certificate_pem,
        "weak-ca.pem": make(root, ["Weak"], key=weak, extensions=[x509.BasicConstraints(True, None)], now=NOW).certificate_pem
        + root.certificate_pem,
        "pinned.pem": issue(root, ["server.example"]).certificate_pem,
        "staple.pem": make(root, ["staple.example"], extensions=[must_staple()], now=NOW).pem,
    }
    for name, data in files.items():
        (path / name).write_bytes(data)
    (path / "updated").write_text(f"{path}/with.pem [ocsp-update on]\n")
    return path


def said(folder: Path, text: str) -> list[Diagnostic]:
    file = folder / "x.cfg"
    file.write_text(START + text.replace("PKI", str(folder)))
    report = Report()
    config = load([str(file)], {}, BuildFacts(), report)
    assert config is not None, report.alerts
    prepare(config, report)
    assert report.alerts == []
    return [item for item in report.items if item.code is not None]


def codes(folder: Path, *lines: str) -> list[str]:
    return [item.code or "" for item in said(folder, frontend(lines))]


def frontend(lines: Sequence[str]) -> str:
    return "backend b\n server s 127.0.0.1:1\nfrontend f\n" + "".join(f" {line}\n" for line in lines) + " default_backend b\n"


BIND = "bind :1 ssl crt PKI/site.pem"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([BIND], []),
        ([BIND + " crt PKI/old.pem"], ["tls-name-twice"]),
        (["bind :1 ssl crt PKI/old.pem crt PKI/site.pem"], ["tls-name-twice"]),
        ([BIND + " crt PKI/old-too.pem"], ["tls-expired"]),
        ([BIND + " crt PKI/old-too.pem", "bind :2 ssl crt PKI/old-too.pem"], ["tls-expired"]),
        ([BIND + " crt PKI/site.pem", "bind :2 ssl crt PKI/site.pem"], []),
        ([BIND + " ca-file PKI/old-ca.pem verify required"], ["tls-expired"]),
        ([BIND + " ca-file PKI/weak-ca.pem verify required"], ["tls-weak-key"]),
        ([BIND + " ca-file PKI/ca.pem ca-verify-file PKI/weak-ca.pem verify required"], ["tls-weak-key"]),
        ([BIND + " ca-file PKI/weak-ca.pem verify required ciphers DEFAULT:@SECLEVEL=0"], []),
        ([BIND + " ca-file PKI/weak-ca.pem verify required ca-ignore-err X509_V_ERR_CA_KEY_TOO_SMALL"], []),
        ([BIND + " ca-file PKI/weak-ca.pem"], []),
        ([BIND + " ca-file PKI/old-ca.pem"], []),  # nothing is verified with it
        ([BIND + " ciphers ECDHE-RSA-AES128-GCM-SHA256 ssl-max-ver TLSv1.2"], ["tls-unusable-ciphers"]),
        ([BIND + " ciphers ECDHE-RSA-AES128-GCM-SHA256"], ["tls-unusable-ciphers"]),
        ([BIND + " ciphers ECDHE-RSA-AES128-GCM-SHA256 ssl-min-ver TLSv1.3"], []),
        ([BIND + " crt PKI/rsa.pem ciphers ECDHE-RSA-AES128-GCM-SHA256"], []),
        ([BIND + " ssl-max-ver TLSv1.1 ciphers DEFAULT:@SECLEVEL=0"], ["tls-old-versions"]),
        ([BIND + " ssl-min-ver TLSv1.0 ciphers DEFAULT:@SECLEVEL=0"], []),
        ([BIND + " ssl-min-ver TLSv1.0"], ["tls-unavailable-version"]),
        ([BIND + " ssl-min-ver TLSv1.1 ciphers HIGH"], ["tls-unavailable-version"]),
        ([BIND + " ssl-min-ver TLSv1.1 ciphers HIGH no-tlsv13"], ["tls-unavailable-version"]),  # the limit goes before
        ([BIND + " ssl-min-ver SSLv3"], ["tls-unavailable-version"]),
        ([BIND + " ssl-min-ver SSLv3 ciphers DEFAULT:@SECLEVEL=0"], ["tls-unavailable-version"]),
        ([BIND + " no-sslv3"], []),
        (["bind :1 ssl crt PKI/staple.pem"], ["tls-must-staple"]),
    ],
)
def test_bind_lines(lines: list[str], found: list[str], folder: Path) -> None:
    assert codes(folder, *lines) == found


def test_no_client_at_all(folder: Path) -> None:
    for more, who in ((" ssl-max-ver TLSv1.2", "no client at all"), ("", "no client with TLS 1.2")):
        (item,) = said(folder, frontend([BIND + " ciphers ECDHE-RSA-AES128-GCM-SHA256" + more]))
        assert f": {who} finds a common one" in item.message


def test_a_response_beside_the_certificate_is_enough(folder: Path, root: Authority) -> None:
    issued = make(root, ["staple.example"], extensions=[must_staple()], now=NOW)
    (folder / "with.pem").write_bytes(issued.pem)
    (folder / "with.pem.issuer").write_bytes(root.certificate_pem)
    for response, found in ((make_response(root, issued, now=NOW.timestamp()), []), (b"", ["tls-must-staple"])):
        (folder / "with.pem.ocsp").write_bytes(response)
        assert codes(folder, "bind :1 ssl crt PKI/with.pem") == found
    assert codes(folder, "bind :1 ssl crt-list PKI/updated") == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("verify required ca-file PKI/ca.pem", ["tls-no-server-name"]),
        ("verify required ca-file @system-ca", ["tls-no-server-name"]),
        ("verify required ca-file PKI/ca.pem verifyhost x.example", []),
        ("verify required ca-file PKI/ca.pem sni str(x.example)", []),
        ("verify required ca-file PKI/pinned.pem", []),  # the server's own certificate: nobody else has one
        ("verify none", []),
        ("verify none ca-file PKI/old-ca.pem", []),
        ("verify required ca-file PKI/old-ca.pem verifyhost x.example", ["tls-expired"]),
        ("verify required ca-file PKI/weak-ca.pem verifyhost x.example", ["tls-weak-key"]),
        ("verify required ca-file PKI/weak-ca.pem verifyhost x.example ciphers DEFAULT:@SECLEVEL=0", []),
        ("verify none ca-file PKI/weak-ca.pem", []),
        ("verify none crt PKI/old.pem", ["tls-expired"]),
        ("verify none ssl-min-ver TLSv1.0", ["tls-unavailable-version"]),
        ("verify none ssl-min-ver SSLv3", ["tls-unavailable-version"]),
        ("verify none ssl-min-ver TLSv1.0 ciphers DEFAULT:@SECLEVEL=0", []),
        ("verify none ciphers HIGH:AES128-GCM-SHA265", ["tls-unknown-algorithm"]),
    ],
)
def test_server_lines(line: str, found: list[str], folder: Path) -> None:
    text = f"listen l\n mode tcp\n bind :1\n server s 127.0.0.1:1 ssl {line}\n"
    items = said(folder, text)
    assert [item.code for item in items] == found
    for item in items:
        assert item.location is not None and " server s " in item.location.text


@pytest.mark.parametrize(
    ("lowest", "message"),
    [
        ("TLSv1.0", "OpenSSL's security level does not allow TLS 1.0 and 1.1: clients can speak TLS 1.2 and up"),
        ("SSLv3", "the TLS library does not contain SSLv3 any more: clients can speak TLS 1.2 and up"),
    ],
)
def test_versions_of_the_global_defaults(lowest: str, message: str, folder: Path) -> None:
    """The manual's own example (3.1 ssl-default-bind-options); what holds for many lines is said once, and there."""
    start = f"global\n ssl-default-bind-options ssl-min-ver {lowest} no-tls-tickets\n"
    (item,) = said(folder, start + frontend([BIND, BIND.replace(":1", ":2")]))
    assert item.message == f"{message} [tls-unavailable-version]" and item.location is not None
    assert item.location.text[item.location.column - 1 :].startswith(f"{lowest} no-tls")


def test_a_list_of_ciphers_in_a_crt_list_has_a_level_of_its_own(folder: Path) -> None:
    (folder / "sites").write_text(f"{folder}/rsa.pem [ciphers HIGH]\n{folder}/site.pem [curves P-256] shop.example\n")
    line = "bind :1 ssl crt-list PKI/sites ssl-min-ver TLSv1.1 ciphers DEFAULT:@SECLEVEL=0"
    (item,) = said(folder, frontend([line]))
    assert item.code == "tls-unavailable-version" and item.location is not None and item.location.text.endswith("[ciphers HIGH]")


def test_in_http_mode_a_server_has_the_name_of_the_request(folder: Path) -> None:
    assert said(folder, "listen l\n bind :1\n server s 127.0.0.1:1 ssl verify required ca-file PKI/ca.pem\n") == []
    (item,) = said(folder, "listen l\n bind :1\n server s 127.0.0.1:1 ssl verify required ca-file PKI/ca.pem no-sni-auto\n")
    assert item.code == "tls-no-server-name"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("shop.example", False), ("SHOP.example", False), ("www.shop.example", False), ("shop.example:8443", False),
        ("192.0.2.1", False), ("192.0.2.1:8443", False), ("localhost", False),
        ("a.b.shop.example", True), ("shop.exmaple", True), ("example", False),
    ],
)  # fmt: skip
def test_names_in_rules(name: str, found: bool, folder: Path) -> None:
    lines = [BIND, f"http-request set-header X-Shop 1 if {{ hdr(host) -i {name} }}"]
    assert codes(folder, *lines) == ["tls-unserved-name"] * found


def test_any_line_of_the_frontend_may_serve_a_name(folder: Path) -> None:
    rule = "http-request set-header X 1 if { ssl_fc_sni rsa.example }"
    assert codes(folder, BIND, rule) == ["tls-unserved-name"]
    assert codes(folder, BIND, "bind :2 ssl crt PKI/rsa.pem", rule) == []


def test_what_is_ignored_is_silent(folder: Path) -> None:
    assert said(folder, "global\n lint-ignore tls-name-twice\n" + frontend([BIND + " crt PKI/old.pem"])) == []


def test_revocation_lists(folder: Path, root: Authority) -> None:
    """What `crl-file` names, as the storage has it."""
    for verify, found in ((Verify.REQUIRED, ["tls-expired"]), (Verify.OPTIONAL, ["tls-expired"]), (Verify.NONE, [])):
        storage = Storage()
        begin, end = (number + (NOW - days(0)).total_seconds() / 86400 for number in (-40, -3.5))
        storage.revocations["old.crl"] = Entry("old.crl", (revocations(root, begin, end),))
        policy = BindPolicy(ca_file=str(folder / "ca.pem"), verify=verify, crl_file="old.crl")
        text = "bind :1 ssl crt site.pem ca-file ca.pem crl-file old.crl"
        line = Location("x.cfg", 3, 9, 3, text)
        file = CertificateFile(str(folder / "site.pem"), line)
        context = build_bind_context(BindTls((CertificateLine(file),), policy, location=line), CACHE, Report(), storage=storage)
        assert context is not None
        findings, report = Findings(), Report()
        lint_tls(EMPTY, {0: context}, findings, NOW)
        findings.tell(report)
        assert [item.code for item in report.items] == found
        for item in report.items:
            assert item.message.startswith("the revocation list of CN=Root in 'old.crl' expired on ")
            assert item.location is not None and item.location.column == text.index("old.crl") + 1
