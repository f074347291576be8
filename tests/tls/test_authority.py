"""The demo CA issues what OpenSSL accepts."""

import datetime

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from headgate.tls.authority import issue, make_authority


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_leaf_verifies_through_an_intermediate(kind: str) -> None:
    root = make_authority("root", key=kind)
    intermediate = make_authority("intermediate", parent=root, key=kind)
    leaf = issue(intermediate, ["a.example", "*.b.example"], key=kind)
    assert leaf.chain == (intermediate.certificate,)
    verifier = PolicyBuilder().store(Store([root.certificate])).build_server_verifier(x509.DNSName("x.b.example"))
    assert verifier.verify(leaf.certificate, list(leaf.chain))[0] == leaf.certificate


def test_pem_is_leaf_chain_key() -> None:
    root = make_authority("root")
    intermediate = make_authority("intermediate", parent=root)
    leaf = issue(intermediate, ["127.0.0.1", "localhost"])
    assert x509.load_pem_x509_certificates(leaf.pem) == [leaf.certificate, intermediate.certificate]
    assert leaf.pem.endswith(leaf.key_pem)
    assert "PRIVATE" not in repr(leaf) and "PRIVATE" not in repr(root)


def test_validity_is_as_asked() -> None:
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    end = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
    leaf = issue(make_authority("root"), ["a"], client=True, not_before=begin, not_after=end)
    assert (leaf.certificate.not_valid_before_utc, leaf.certificate.not_valid_after_utc) == (begin, end)


def test_unknown_kind_of_key() -> None:
    with pytest.raises(ValueError, match="ecdsa or rsa"):
        make_authority("root", key="dsa")
