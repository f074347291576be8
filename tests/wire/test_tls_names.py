"""What the names of TLS tell about keys."""

from __future__ import annotations

import pytest

from headgate.wire.tls_names import newest_signatures, signature_name


@pytest.mark.parametrize(
    ("kind", "curve", "names"),
    [
        ("rsa", "", {"rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384", "rsa_pss_rsae_sha512"}),
        ("ecdsa", "secp384r1", {"ecdsa_secp384r1_sha384"}),
        ("ecdsa", "P-256", {"ecdsa_secp256r1_sha256"}),
        ("ecdsa", "P-224", set()),
        ("ecdsa", "", {"ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512"}),
        ("eddsa", "ed25519", {"ed25519"}),
        ("eddsa", "", {"ed25519", "ed448"}),
        ("dsa", "", set()),
    ],
)
def test_what_a_key_signs_with_in_tls_1_3(kind: str, curve: str, names: set[str]) -> None:
    assert {signature_name(one) for one in newest_signatures(kind, curve)} == names
