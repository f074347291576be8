"""Bind lines that nobody can connect to; `tests.interop.test_unreachable_lines` has real clients try."""

from __future__ import annotations

import pytest

from headgate.base.diagnostics import Location, Report
from headgate.base.findings import Findings
from headgate.config.model import Config, Global
from headgate.config.option_places import OptionPlaces
from headgate.config.tls_options import BindPolicy, TlsVersions, Verify
from headgate.tls.lint.unreachable import Key, lint_unreachable, usable_with

HERE = Location("x.cfg", 3, 9, 3, "bind :1 ssl crt x.pem")
RSA, ECDSA, EDDSA, DSA = Key("rsa"), Key("ecdsa", "secp256r1"), Key("eddsa", "ed25519"), Key("dsa")
P384 = Key("ecdsa", "secp384r1")
RSA_DHE, DSA_DHE = RSA._replace(dhe=True), DSA._replace(dhe=True)
OLD, NEW, BOTH = TlsVersions(None, "TLSv1.2"), TlsVersions("TLSv1.3", None), TlsVersions()


@pytest.mark.parametrize(
    ("text", "keys", "usable"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", [RSA], False),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", [ECDSA], True),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", [EDDSA], True),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", [RSA, ECDSA], True),
        ("ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA", [ECDSA], False),
        ("AES128-SHA", [RSA], True),
        ("ECDHE+aECDSA", [RSA], False),
        ("HIGH", [RSA], True),
        ("DEFAULT", [ECDSA], True),
        ("DHE-RSA-AES256-GCM-SHA384", [RSA], False),
        ("DHE-RSA-AES256-GCM-SHA384", [RSA_DHE], True),
        ("DHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384", [RSA], True),
        (None, [RSA], True),
        (None, [DSA_DHE], False),
        ("ALL", [DSA_DHE], True),
        ("ALL", [DSA], False),
        ("ALL:@SECLEVEL=0", [DSA], True),
        ("PSK", [RSA], False),
    ],
)
def test_ciphers_and_certificates(text: str | None, keys: list[Key], usable: bool) -> None:
    assert usable_with(text, keys) is usable


@pytest.mark.parametrize(
    ("policy", "keys", "said"),
    [
        (BindPolicy(), [], ""),
        (BindPolicy(), [RSA], ""),
        (BindPolicy(ciphers="DHE-RSA-AES256-GCM-SHA384", versions=OLD), [RSA_DHE], ""),
        (BindPolicy(ciphers="DHE-RSA-AES256-GCM-SHA384", versions=NEW), [RSA], ""),
        (
            BindPolicy(ciphers="DHE-RSA-AES256-GCM-SHA384", versions=OLD), [RSA],
            "the ciphers for a certificate that has an RSA key are all for DHE, without DH parameters: no client at all finds a"
            " common one [tls-unusable-ciphers]",
        ),
        (
            BindPolicy(ciphers="DHE-RSA-AES256-GCM-SHA384"), [RSA],
            "the ciphers for a certificate that has an RSA key are all for DHE, without DH parameters: no client with TLS 1.2"
            " finds a common one [tls-unusable-ciphers]",
        ),
        (
            BindPolicy(), [DSA],
            "none of the default ciphers can be used with a certificate that has a DSA key: no client at all finds a common one"
            " [tls-unusable-ciphers]",
        ),
        (BindPolicy(), [DSA, RSA], ""),
        (BindPolicy(ciphers="ALL", versions=OLD), [DSA_DHE], ""),
        (
            BindPolicy(ciphers="ALL"), [DSA_DHE],
            "TLS 1.3 has no signatures for a certificate that has a DSA key: no client with TLS 1.3 can connect"
            " [tls-unusable-ciphers]",
        ),
        (
            BindPolicy(sigalgs="ECDSA+SHA256"), [RSA],
            "none of these signatures can be made with a certificate that has an RSA key: no client at all can connect"
            " [tls-unusable-sigalgs]",
        ),
        (
            BindPolicy(sigalgs="RSA-PSS+SHA256"), [ECDSA],
            "none of these signatures can be made with a certificate that has an ECDSA key: no client at all can connect"
            " [tls-unusable-sigalgs]",
        ),
        (
            BindPolicy(sigalgs="RSA+SHA256"), [RSA],
            "none of these signatures can be made with a certificate that has an RSA key: no client with TLS 1.3 can connect"
            " [tls-unusable-sigalgs]",
        ),
        (
            BindPolicy(sigalgs="ECDSA+SHA256"), [P384],
            "none of these signatures can be made with a certificate that has an ECDSA key: no client with TLS 1.3 can connect"
            " [tls-unusable-sigalgs]",
        ),
        (BindPolicy(sigalgs="RSA+SHA256:RSA-PSS+SHA256"), [RSA], ""),
        (BindPolicy(sigalgs="ECDSA+SHA256:ecdsa_secp384r1_sha384"), [ECDSA, P384], ""),
        (BindPolicy(sigalgs="ed25519"), [EDDSA], ""),
        (
            BindPolicy(curves="X25519MLKEM768"), [ECDSA],
            "all of these groups are for TLS 1.3 alone: no client with TLS 1.2 can agree on a key [tls-unusable-groups]",
        ),
        (BindPolicy(curves="X25519MLKEM768", versions=NEW), [ECDSA], ""),
        (BindPolicy(curves="X25519MLKEM768"), [RSA], ""),
        (
            BindPolicy(ciphersuites=""), [ECDSA],
            "there are no cipher suites of TLS 1.3, which is allowed: no client at all can connect [tls-unusable-ciphers]",
        ),
        (BindPolicy(ciphersuites="", versions=OLD), [ECDSA], ""),
        (
            BindPolicy(client_sigalgs="RSA+SHA256", verify=Verify.REQUIRED), [ECDSA],
            "TLS 1.3 can't ask for a certificate with any of these signatures: no client with TLS 1.3 can connect, with one or"
            " without [tls-unusable-sigalgs]",
        ),
        (BindPolicy(client_sigalgs="RSA+SHA256"), [ECDSA], ""),
    ],
)
def test_what_is_said(policy: BindPolicy, keys: list[Key], said: str) -> None:
    findings, report = Findings(), Report()
    lint_unreachable(policy, keys, HERE, OptionPlaces(Config(Global(), (), {}, {}, {})), findings)
    findings.tell(report)
    assert [item.message for item in report.items] == ([said] if said else [])
