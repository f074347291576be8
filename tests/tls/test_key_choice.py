"""Which certificate a client can use, by what it offers."""

from __future__ import annotations

import pytest

from headgate.base.diagnostics import Report
from headgate.config.tls_options import BindPolicy, BindTls
from headgate.tls.applied_policy import AppliedPolicy
from headgate.tls.key_choice import choose
from headgate.tls.storage import Storage
from headgate.tls.store import Served, load_served
from headgate.wire.client_hello import ClientHello
from tests.tls.tls_peers import HERE, Pki, lines

ECDHE_ECDSA, ECDHE_RSA, RSA, AES_1_3 = 0xC02B, 0xC02F, 0x009C, 0x1301
P256, P384, X25519 = 23, 24, 29
ECDSA_P256, ECDSA_P384, RSA_PSS, RSA_PKCS1, ECDSA_SHA1 = 0x0403, 0x0503, 0x0804, 0x0401, 0x0203


@pytest.fixture(scope="module")
def both(pki: Pki) -> tuple[Served, ...]:
    """b.example with RSA and ECDSA (P-256)."""
    tls = BindTls(lines(pki.path("b_rsa.pem"), pki.path("b.pem")), location=HERE)
    return tuple(load_served(tls, Storage(), Report()))


Numbers = tuple[int, ...]


def chosen(
    both: tuple[Served, ...], *, versions: Numbers = (0x0303,), ciphers: Numbers = (ECDHE_ECDSA, ECDHE_RSA),
    groups: Numbers = (X25519, P256), signatures: Numbers = (ECDSA_P256, RSA_PSS, RSA_PKCS1), ours: str | None = None,
    signing: str | None = None,
) -> str:  # fmt: skip
    hello = ClientHello(0x0301, 0x0303, 100)
    hello.versions, hello.ciphers, hello.groups, hello.signature_algorithms = versions, ciphers, groups, signatures
    applied = AppliedPolicy(BindPolicy(ciphers=ours, sigalgs=signing), BindTls((), location=HERE), Storage(), ())
    return choose(both, hello, {one.policy: applied for one in both}).kind


def test_tls_1_3_looks_at_signature_schemes_only(both: tuple[Served, ...]) -> None:
    newest = (0x0304, 0x0303)
    assert chosen(both, versions=newest, ciphers=(AES_1_3,)) == "ecdsa"
    assert chosen(both, versions=newest, ciphers=(AES_1_3,), signatures=(RSA_PSS,)) == "rsa"
    assert chosen(both, versions=newest, ciphers=(AES_1_3,), signatures=(ECDSA_P384, RSA_PSS)) == "rsa"  # of another curve
    assert chosen(both, versions=newest, ciphers=(AES_1_3,), signatures=(ECDSA_P256,)) == "ecdsa"


def test_tls_1_2_looks_at_suites_signatures_and_curves(both: tuple[Served, ...]) -> None:
    assert chosen(both) == "ecdsa"
    assert chosen(both, ciphers=(ECDHE_RSA,)) == chosen(both, ciphers=(RSA,)) == "rsa"
    assert chosen(both, ciphers=(ECDHE_ECDSA,)) == "ecdsa"
    assert chosen(both, signatures=(RSA_PKCS1,)) == chosen(both, signatures=(RSA_PSS,)) == "rsa"
    assert chosen(both, signatures=(ECDSA_SHA1, RSA_PKCS1)) == "ecdsa"
    assert chosen(both, groups=(P384, X25519)) == "rsa"
    assert chosen(both, groups=(), signatures=()) == "ecdsa"  # very old: nothing is said


def test_our_own_list_counts(both: tuple[Served, ...]) -> None:
    assert chosen(both, ours="ECDHE-RSA-AES128-GCM-SHA256") == "rsa"


def test_our_own_signatures_count(both: tuple[Served, ...]) -> None:
    for versions, ciphers in (((0x0304,), (AES_1_3,)), ((0x0303,), (ECDHE_ECDSA, ECDHE_RSA))):
        assert chosen(both, versions=versions, ciphers=ciphers, signing="RSA-PSS+SHA256:RSA+SHA256") == "rsa"
        assert chosen(both, versions=versions, ciphers=ciphers, signing="ecdsa_secp256r1_sha256:RSA+SHA256") == "ecdsa"
        assert chosen(both, versions=versions, ciphers=ciphers, signing="ECDSA+SHA384:rsa_pss_rsae_sha256") == "rsa"


def test_where_nothing_fits_the_handshake_will_say_so(both: tuple[Served, ...]) -> None:
    assert chosen(both, ciphers=(0x0005,)) == "rsa"
    assert chosen(both, ciphers=(0xFFFF, 0x010080)) == "rsa"
