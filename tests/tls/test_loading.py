"""Files beside a certificate, encrypted keys, chains of issuers-chain-path."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from headgate.base.diagnostics import ConfigError, Report, Severity
from headgate.config.tls_options import CertificateFile, LoadFiles, NamedFile
from headgate.tls.authority import Issued, issue, make_authority
from headgate.tls.loading import CertificateReader, Loading, read_issuers
from tests.tls.tls_peers import HERE, Pki

SCT = b"\x00\x05\x00\x03abc"


def write(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)


def leaf(one: Issued) -> bytes:
    return one.certificate.public_bytes(Encoding.PEM)


def key(one: Issued, phrase: bytes | None = None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    how = serialization.NoEncryption() if phrase is None else BestAvailableEncryption(phrase)
    return one.key.private_bytes(Encoding.PEM, form, how)


def file(path: Path, *, detect: bool = True, **files: str) -> CertificateFile:
    return CertificateFile(str(path), HERE, LoadFiles(**files), detect=detect)  # type: ignore[arg-type]


def test_files_beside_it(pki: Pki, tmp_path: Path) -> None:
    one = issue(pki.root, ["x.example"])
    write(tmp_path, x_crt=leaf(one), x_crt_key=key(one), x_crt_sctl=SCT, x_crt_issuer=pki.root.certificate_pem, x_crt_ocsp=b"")
    found = CertificateReader().read(file(tmp_path / "x.crt"))
    assert found.key.private_numbers() == one.key.private_numbers()  # type: ignore[union-attr]
    assert found.sctl == SCT and found.ocsp == b""
    assert found.issuer == pki.root.certificate.public_bytes(Encoding.DER)


def test_only_what_is_wanted(pki: Pki, tmp_path: Path) -> None:
    one = issue(pki.root, ["x.example"])
    write(tmp_path, x_crt=one.pem, x_crt_sctl=b"junk", x_crt_ocsp=b"junk", x_crt_issuer=b"junk")
    found = CertificateReader(Loading(frozenset({"key"}))).read(file(tmp_path / "x.crt"))
    assert found.sctl is found.ocsp is found.issuer is None
    found = CertificateReader().read(file(tmp_path / "x.crt", detect=False))
    assert found.sctl is None
    write(tmp_path, y_crt=leaf(one), y_crt_key=key(one))
    with pytest.raises(ConfigError, match="no private key"):
        CertificateReader(Loading(frozenset())).read(file(tmp_path / "y.crt"))


def test_suffix_in_the_place_of_crt(pki: Pki, tmp_path: Path) -> None:
    one = issue(pki.root, ["x.example"])
    write(tmp_path, x_crt=leaf(one), x_key=key(one), x_sctl=SCT, y_pem=leaf(one), y_pem_key=key(one))
    reader = CertificateReader(Loading(del_ext=True))
    assert reader.read(file(tmp_path / "x.crt")).sctl == SCT
    reader.read(file(tmp_path / "y.pem"))
    with pytest.raises(ConfigError, match="no private key"):
        CertificateReader().read(file(tmp_path / "x.crt"))


def test_named_files_count_more_than_those_beside_it(pki: Pki, tmp_path: Path) -> None:
    one = issue(pki.root, ["x.example"])
    write(tmp_path, x_crt=leaf(one) + key(pki.b), right_key=key(one), x_crt_key=key(pki.b), s=SCT)
    found = CertificateReader().read(file(tmp_path / "x.crt", key=str(tmp_path / "right.key"), sctl=str(tmp_path / "s")))
    assert found.names == (b"x.example",) and found.sctl == SCT
    with pytest.raises(ConfigError, match="does not match"):
        CertificateReader().read(file(tmp_path / "x.crt"))


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0", b"\0\x05\0\x03ab", b"\0\x05\0\x04abc", b"\0\x02\0\0", SCT + b"x"])
def test_bad_timestamps(pki: Pki, tmp_path: Path, data: bytes) -> None:
    write(tmp_path, x_pem=pki.a.pem, x_pem_sctl=data)
    with pytest.raises(ConfigError, match="not a list of signed certificate timestamps"):
        CertificateReader().read(file(tmp_path / "x.pem"))


def test_response_needs_an_issuer(pki: Pki, tmp_path: Path) -> None:
    write(tmp_path, b_pem=pki.b.pem, b_pem_ocsp=b"", a_pem=pki.a.pem, a_pem_ocsp=b"")
    with pytest.raises(ConfigError, match=r"issuer .* is not known"):
        CertificateReader().read(file(tmp_path / "b.pem"))
    assert CertificateReader().read(file(tmp_path / "a.pem")).ocsp == b""  # its chain has the issuer


# --- pass phrases ---


class Asked:
    """Knows phrases by the name of the key."""

    def __init__(self, **phrases: bytes) -> None:
        self.phrases = phrases
        self.asked: list[str] = []
        self.given: list[bytearray] = []

    def ask(self, path: str) -> bytearray:
        name = Path(path).name
        self.asked.append(name)
        if name not in self.phrases:
            raise ValueError("'phrase' ended with status 1")
        self.given.append(bytearray(self.phrases[name]))
        return self.given[-1]


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_encrypted_keys(pki: Pki, tmp_path: Path, form: PrivateFormat) -> None:
    one, two, three = (issue(pki.root, [f"{name}.example"]) for name in "abc")
    for name, issued, phrase in (("a", one, b"first"), ("b", two, b"first"), ("c", three, b"second")):
        (tmp_path / name).write_bytes(leaf(issued) + key(issued, phrase, form))
    asked = Asked(a=b"first", c=b"second")
    reader = CertificateReader(pass_phrases=asked)
    for name, issued in (("a", one), ("b", two), ("c", three)):
        assert reader.read(file(tmp_path / name)).key.public_key() == issued.key.public_key()
    assert asked.asked == ["a", "c"]  # the first one opens b too
    assert b"first" in map(bytes, asked.given)
    reader.forget()
    assert set(b"".join(asked.given)) == {0}
    assert "first" not in repr(reader)


def test_pass_phrases_that_do_not_help(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(leaf(pki.a) + key(pki.a, b"right"))
    cases = ((None, "nobody is there to ask"), (Asked(a=b"wrong"), "does not decrypt"), (Asked(), "gives no pass phrase"))
    for asked, expected in cases:
        with pytest.raises(ConfigError, match=expected) as raised:
            CertificateReader(pass_phrases=asked).read(file(tmp_path / "a"))
        assert "wrong" not in str(raised.value)
        if asked is not None:
            assert all(not any(phrase) for phrase in asked.given)


# --- chains ---


def test_chain_is_completed(pki: Pki, tmp_path: Path) -> None:
    top = make_authority("Top", parent=pki.root)
    low = make_authority("Low", parent=top)
    one = issue(low, ["x.example"])
    issuers = tmp_path / "issuers"
    issuers.mkdir()
    pem = [ca.certificate.public_bytes(Encoding.PEM) for ca in (low, top, pki.root)]
    (issuers / "low.pem").write_bytes(b"".join(pem))
    (issuers / "other.pem").write_bytes(pki.other.certificate_pem)
    (tmp_path / "bare.pem").write_bytes(leaf(one) + key(one))
    report = Report()
    reader = CertificateReader(issuers=read_issuers(NamedFile(str(issuers), HERE), report))
    assert not report.items
    assert reader.read(file(tmp_path / "bare.pem")).chain == (low.certificate, top.certificate)
    # A chain of its own stays as it is, and who was issued by others gets none.
    (tmp_path / "own.pem").write_bytes(leaf(one) + pem[0] + key(one))
    assert reader.read(file(tmp_path / "own.pem")).chain == (low.certificate,)
    assert reader.read(CertificateFile(pki.path("stranger.pem"), HERE)).chain == ()


def test_broken_directory_of_chains(tmp_path: Path) -> None:
    report = Report()
    read_issuers(NamedFile("/nowhere", HERE), report)
    assert [one.location for one in report.alerts] == [HERE]


def test_one_bad_file_among_chains(pki: Pki, tmp_path: Path) -> None:
    """It is named, and the others are used."""
    one = issue(pki.intermediate, ["x.example"])
    (tmp_path / "bare.pem").write_bytes(leaf(one) + key(one))
    chains = tmp_path / "chains"
    chains.mkdir()
    (chains / "bad.pem").write_bytes(b"junk")
    (chains / "good.pem").write_bytes(pki.intermediate.certificate_pem)
    (chains / "link.pem").symlink_to("/nowhere")
    report = Report()
    reader = CertificateReader(issuers=read_issuers(NamedFile(str(chains), HERE), report))
    item, link = report.items
    assert item.severity is link.severity is Severity.WARNING and item.location == HERE
    assert f"'{chains}/link.pem': No such file" in link.message
    assert f"'{chains}/bad.pem' is not a PEM file" in item.message and "it is left out" in item.message
    assert reader.read(file(tmp_path / "bare.pem")).chain == (pki.intermediate.certificate,)
