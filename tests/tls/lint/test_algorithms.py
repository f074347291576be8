"""Lists of ciphers: misspelt names, names of long ago, and lists that no certificate fits."""

from __future__ import annotations

import pytest

from headgate.base.diagnostics import Location, Report
from headgate.base.findings import Findings
from headgate.config.model import Config, Global
from headgate.config.option_places import OptionPlaces
from headgate.tls.cipher_names import cipher_names, unknown_ciphers, unknown_suites
from headgate.tls.lint.algorithms import unknown_algorithms

#: Mozilla's "old" list of some years ago, and words from the manual of openssl-ciphers.
OLD_LIST = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:DHE-RSA-AES256-GCM-SHA384"
    ":kEDH+AESGCM:ECDHE-RSA-AES128-SHA:DHE-DSS-AES128-SHA256:DHE-DSS-AES256-SHA:ECDHE-RSA-DES-CBC3-SHA:EDH-RSA-DES-CBC3-SHA"
    ":AES128-SHA:DES-CBC3-SHA:RC4-SHA:HIGH:SEED:!aNULL:!eNULL:!EXPORT:!DES:!RC4:!MD5:!PSK:!aECDH:!EDH-DSS-DES-CBC3-SHA"
    ":!KRB5-DES-CBC3-SHA:!SRP:-SSLv2:+RC4:!LOW:!EXP:!CAMELLIA:!3DES:!IDEA:!DSS:EECDH+ECDSA+AESGCM:ECDH+3DES:!kDHd:@STRENGTH"
)


@pytest.mark.parametrize(
    "text",
    [
        "", "DEFAULT", "DEFAULT@SECLEVEL=0", "DEFAULT:@SECLEVEL=1", "HIGH:!aNULL:!MD5", "ALL:!COMPLEMENTOFDEFAULT",
        "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM", "ECDHE-RSA-AES128-GCM-SHA256,ECDHE-RSA-AES256-GCM-SHA384 AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", OLD_LIST,
    ],
)  # fmt: skip
def test_known_ciphers(text: str) -> None:
    assert list(unknown_ciphers(text)) == []


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("HIGH:ECDHE-RSA-AES128-GCM-SHA265", ["ECDHE-RSA-AES128-GCM-SHA265"]),
        ("HIGH:!aNUL:-MD6", ["aNUL", "MD6"]),
        ("HIGH:ECDHE+AESGMC", ["AESGMC"]),
        ("HIGH:TLS_AES_128_GCM_SHA256", ["TLS_AES_128_GCM_SHA256"]),
        ("HIGHT@SECLEVEL=1:HIGH", ["HIGHT"]),
    ],
)
def test_unknown_ciphers(text: str, unknown: list[str]) -> None:
    assert list(unknown_ciphers(text)) == unknown


def test_unknown_suites() -> None:
    assert list(unknown_suites("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA348")) == ["TLS_AES_256_GCM_SHA348"]
    assert list(unknown_suites("TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256")) == []
    assert list(unknown_suites("")) == []


def test_each_name_is_underlined_and_has_a_neighbour() -> None:
    ciphers, suites = "HIGH:ECDHE-RSA-AES128-GCM-SHA265", "TLS_AES_128_GCM_SHA265:TLS_AES_128_GCM_SHA256"
    text = f"bind :1 ssl crt x.pem ciphers {ciphers} ciphersuites {suites}"
    line = Location("x.cfg", 4, 9, 3, text)
    findings, report = Findings(), Report()
    places = OptionPlaces(Config(Global(), (), {}, {}, {}))
    unknown_algorithms(ciphers, suites, line, places, findings)
    unknown_algorithms("TLS_AES_256_GCM_SHA384:HIGH", None, line, places, findings)
    findings.tell(report)
    first, second, third = report.items
    assert first.nearest == "ECDHE-RSA-AES128-GCM-SHA256" and second.nearest == "TLS_AES_128_GCM_SHA256"
    for item, word in ((first, "ECDHE-RSA-AES128-GCM-SHA265"), (second, "TLS_AES_128_GCM_SHA265")):
        assert item.location is not None
        start = item.location.column - 1
        assert text[start : start + item.location.width] == word
    assert "is a cipher suite of TLS 1.3: in 'ciphers' it has no effect" in third.message


def test_names_of_a_list() -> None:
    assert cipher_names("ECDHE-RSA-AES128-GCM-SHA256") == ("ECDHE-RSA-AES128-GCM-SHA256",)
    assert cipher_names("nonsense") == ()
    assert len(cipher_names()) > 50
