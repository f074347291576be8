"""Who has signed a certificate, as far as files tell: what OCSP needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.config.tls_options import CertificateFile
from headgate.tls.authority import issue, make_authority
from headgate.tls.certified_key import CertifiedKey, IssuerChains
from headgate.tls.loading import CertificateReader
from tests.tls.tls_peers import HERE

ROOT = make_authority("root")
CA = make_authority("test CA", parent=ROOT)
OTHER = make_authority("test CA", parent=ROOT)  # of the same name
LEAF, OF_ROOT = issue(CA, ["a.example"]), issue(ROOT, ["b.example"])


def read(folder: Path, data: bytes, reader: CertificateReader | None = None) -> CertifiedKey:
    path = folder / "site.pem"
    path.write_bytes(data)
    return (reader or CertificateReader()).read(CertificateFile(str(path), HERE))


def test_behind_the_certificate(tmp_path: Path) -> None:
    alone = LEAF.certificate_pem + LEAF.key_pem
    assert read(tmp_path, alone).signer is None
    assert read(tmp_path, alone + OTHER.certificate_pem + CA.certificate_pem).signer == CA.certificate
    root_leaf = OF_ROOT.certificate_pem + OF_ROOT.key_pem
    assert read(tmp_path, root_leaf + ROOT.certificate_pem).signer == ROOT.certificate


def test_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "site.pem.issuer").write_bytes(CA.certificate_pem)
    assert read(tmp_path, LEAF.certificate_pem + LEAF.key_pem).signer == CA.certificate


def test_in_issuers_chain_path(tmp_path: Path) -> None:
    chains = IssuerChains([[OTHER.certificate], [CA.certificate, ROOT.certificate], [ROOT.certificate]])
    reader = CertificateReader(issuers=chains)
    assert read(tmp_path, LEAF.certificate_pem + LEAF.key_pem, reader).signer == CA.certificate
    found = read(tmp_path, OF_ROOT.certificate_pem + OF_ROOT.key_pem, reader)
    assert found.signer == ROOT.certificate and found.chain == (), "a root is not sent"


def test_a_response_needs_a_signer_which_may_be_a_root(tmp_path: Path) -> None:
    (tmp_path / "site.pem.ocsp").write_bytes(b"response")
    assert read(tmp_path, OF_ROOT.certificate_pem + OF_ROOT.key_pem + ROOT.certificate_pem).ocsp == b"response"
    with pytest.raises(ConfigError, match="issuer of the certificate"):
        read(tmp_path, LEAF.certificate_pem + LEAF.key_pem)
