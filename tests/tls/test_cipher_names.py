"""Lists of ciphers and suites of which nothing is left: the name that is wrong, the one that was meant, and what shows more."""

from __future__ import annotations

import pytest

from headgate.base.diagnostics import Diagnostic, Location
from headgate.config.written_options import WrittenOptions
from headgate.tls.cipher_names import SUITES, known_words, refused_ciphers, refused_suites, unknown_ciphers, unknown_suites

LINE = Location("x.cfg", 1, 13, 7, "bind :1 ssl ciphers HIGHT:ECDHE-RSA-AES128-GCM-SHA265")


def ciphers(value: str) -> Diagnostic:
    return refused_ciphers(value, WrittenOptions(LINE, {"ciphers": LINE}), "no cipher match").diagnostic


@pytest.mark.parametrize(
    ("value", "wrong", "near"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA265", "ECDHE-ECDSA-AES128-GCM-SHA265", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("HIGHT:ECDHE-RSA-AES128-GCM-SHA265", "HIGHT", "HIGH"), ("!aNULL:HIHG", "HIHG", "HIGH"),
    ],
)  # fmt: skip
def test_the_cipher_that_was_meant(value: str, wrong: str, near: str) -> None:
    found = ciphers(value)
    assert found.message == f"ciphers {value!r} selects nothing: there is no {wrong!r}"
    assert found.nearest == near and found.allowed == ()


def test_the_wrong_cipher_is_underlined() -> None:
    place = ciphers("ECDHE-RSA-AES128-GCM-SHA265").location
    assert place is not None and place.underlined == "ECDHE-RSA-AES128-GCM-SHA265"


def test_a_suite_of_tls_1_3_is_no_cipher() -> None:
    found = ciphers(SUITES[0])
    assert f"{SUITES[0]!r} is a cipher suite of TLS 1.3" in found.message
    assert found.remedy is not None and "'ciphersuites'" in found.remedy


def test_a_list_that_takes_everything_out() -> None:
    found = ciphers("!ALL")
    assert found.message == "ciphers '!ALL' selects nothing: no cipher match"
    assert found.remedy == "see what OpenSSL makes of a list with: openssl ciphers -v '!ALL'"


def test_the_suite_that_was_meant() -> None:
    found = refused_suites("TLS_AES_128_GCM_SHA265", WrittenOptions(), "no cipher match").diagnostic
    assert found.message == "ciphersuites 'TLS_AES_128_GCM_SHA265' selects nothing: there is no 'TLS_AES_128_GCM_SHA265'"
    assert found.nearest == "TLS_AES_128_GCM_SHA256" and found.allowed == SUITES
    assert found.remedy is not None
    assert found.remedy.endswith("openssl ciphers -v -tls1_3 -ciphersuites 'TLS_AES_128_GCM_SHA265'")
    assert refused_suites(":", WrittenOptions(), "no cipher match").diagnostic.message.endswith(": no cipher match")


def test_the_library_knows_what_we_propose() -> None:
    assert list(unknown_suites(":".join(SUITES))) == []
    assert list(unknown_ciphers(":".join(known_words()))) == []


def test_suite_b_has_no_effect_on_other_names() -> None:
    assert list(unknown_ciphers("SUITEB128:AESGMC")) == ["AESGMC"]
