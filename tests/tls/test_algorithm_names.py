"""Lists of groups and signature algorithms that OpenSSL refuses: the name that it does not know, and the one that was meant."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from headgate.base.diagnostics import Location
from headgate.config.written_options import WrittenOptions
from headgate.tls.algorithm_names import CURVES, SIGNATURES, unknown_name
from headgate.tls.openssl import lib


def takes_curves(names: bytes) -> bool:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    accepted = lib.SSL_CTX_set1_curves_list(context._context, names) == 1
    lib.ERR_clear_error()
    return accepted


def takes_signatures(names: bytes) -> bool:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    accepted = lib.SSL_CTX_set1_sigalgs_list(context._context, names) == 1
    lib.ERR_clear_error()
    return accepted


def test_the_library_knows_what_we_propose() -> None:
    assert [name for name in CURVES if not takes_curves(name.encode())] == []
    assert [name for name in SIGNATURES if not takes_signatures(name.encode())] == []


@pytest.mark.parametrize(
    ("value", "wrong", "near"), [("X25519:P-265", "P-265", "P-256"), ("P-384:X25591", "X25591", "X25519"), ("?:", "?:", None)]
)
def test_curves(value: str, wrong: str, near: str | None) -> None:
    diagnostic = unknown_name("curves", value, WrittenOptions(), CURVES, takes_curves).diagnostic
    assert diagnostic.message == f"curves {value!r}: OpenSSL does not know all of them: there is no {wrong!r}"
    assert diagnostic.nearest == near and diagnostic.allowed == CURVES


def test_the_word_is_underlined() -> None:
    line = Location("x.cfg", 2, 19, 7, "bind :1 ssl crt x sigalgs RSA+SHA256:RSA+SHA265")
    written = WrittenOptions(None, {"sigalgs": line})
    diagnostic = unknown_name("sigalgs", "RSA+SHA256:RSA+SHA265", written, SIGNATURES, takes_signatures).diagnostic
    assert diagnostic.nearest == "RSA+SHA256" and diagnostic.location is not None
    start = diagnostic.location.column - 1
    assert line.text[start : start + diagnostic.location.width] == "RSA+SHA265"
