"""PEM files as they are found in the wild: any order, and every way to be wrong."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError, Report, Severity
from headgate.tls.authority import issue, make_authority
from headgate.tls.pem import list_directory, read_authorities, read_certified_key
from tests.tls.tls_peers import HERE, Pki

#: `openssl ecparam -genkey` writes this in front of the key.
EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
LABELS = [b"CERTIFICATE", b"PRIVATE KEY", b"EC PRIVATE KEY", b"RSA PRIVATE KEY", b"DH PARAMETERS"]


def read(path: Path, data: bytes | None = None) -> object:
    if data is not None:
        path.write_bytes(data)
    return read_certified_key(str(path), HERE)


def error(path: Path, data: bytes | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path, data)
    assert caught.value.diagnostic.location == HERE
    return caught.value.diagnostic.message


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order(pki: Pki, tmp_path: Path, order: tuple[int, ...]) -> None:
    parts = [pki.a.certificate_pem, pki.a.chain_pem, pki.root.certificate_pem, pki.a.key_pem]
    found = read(tmp_path / "x.pem", b"".join(parts[one] for one in order))
    assert found.certificate == pki.a.certificate  # type: ignore[attr-defined]
    assert found.chain == (pki.intermediate.certificate,)  # type: ignore[attr-defined]
    assert found.key.private_numbers() == pki.a.key.private_numbers()  # type: ignore[attr-defined]


def test_long_chain_is_ordered_by_issuer(tmp_path: Path) -> None:
    authorities = [make_authority("root")]
    for number in range(4):
        authorities.append(make_authority(f"ca {number}", parent=authorities[-1]))
    leaf = issue(authorities[-1], ["x"])
    shuffled = b"".join(authorities[one].certificate_pem for one in (2, 4, 1, 3, 0, 2))
    found = read(tmp_path / "x.pem", leaf.key_pem + shuffled + leaf.certificate_pem)
    assert found.chain == tuple(one.certificate for one in reversed(authorities[1:]))  # type: ignore[attr-defined]


def test_unrelated_certificates_are_left_out(pki: Pki, tmp_path: Path) -> None:
    found = read(tmp_path / "x.pem", pki.other.certificate_pem + pki.b.certificate_pem + pki.a.pem)
    assert found.certificate == pki.a.certificate and found.chain == (pki.intermediate.certificate,)  # type: ignore[attr-defined]


def test_re_keyed_authority_of_the_same_name(tmp_path: Path) -> None:
    root = make_authority("root")
    old, new = make_authority("ca", parent=root), make_authority("ca", parent=root)
    leaf = issue(new, ["x"])
    found = read(tmp_path / "x.pem", leaf.certificate_pem + old.certificate_pem + new.certificate_pem + leaf.key_pem)
    assert found.chain == (new.certificate,)  # type: ignore[attr-defined]


def test_text_around_the_blocks(pki: Pki, tmp_path: Path) -> None:
    data = b"Bag Attributes\n  x: y\n" + pki.a.certificate_pem.replace(b"\n", b"\r\n") + b"\n\nsubject=...\n" + pki.a.key_pem
    assert read(tmp_path / "x.pem", data).certificate == pki.a.certificate  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8])
def test_forms_of_keys(pki: Pki, tmp_path: Path, form: serialization.PrivateFormat) -> None:
    for issued in (pki.b, pki.b_rsa):
        key = issued.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        read(tmp_path / "x.pem", EC_PARAMETERS + key + issued.certificate_pem)


def test_key_beside_the_certificate(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "x.pem.key").write_bytes(pki.a.key_pem)
    assert read(tmp_path / "x.pem", pki.a.certificate_pem).certificate == pki.a.certificate  # type: ignore[attr-defined]


# --- wrong files ---


def test_missing(tmp_path: Path) -> None:
    message = error(tmp_path / "none.pem")
    assert "No such file or directory" in message and f"uid {os.geteuid()}" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "x.pem"
    path.write_bytes(pki.a.pem)
    path.chmod(0)
    assert "Permission denied" in error(path)


def test_directory_and_odd_names(tmp_path: Path) -> None:
    assert "Is a directory" in error(tmp_path)
    with pytest.raises(ConfigError, match="null"):
        read_certified_key("a\0b", HERE)


def test_no_key(pki: Pki, tmp_path: Path) -> None:
    assert "no private key" in error(tmp_path / "x.pem", pki.a.certificate_pem)
    (tmp_path / "x.pem.key").write_bytes(pki.a.certificate_pem)
    assert "and none in" in error(tmp_path / "x.pem")


def test_no_certificate(pki: Pki, tmp_path: Path) -> None:
    assert "no certificate in" in error(tmp_path / "x.pem", pki.a.key_pem)


def test_foreign_key(pki: Pki, tmp_path: Path) -> None:
    assert "does not match the certificate" in error(tmp_path / "x.pem", pki.a.certificate_pem + pki.b.key_pem)


@pytest.mark.parametrize("form", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8])
def test_encrypted_key(pki: Pki, tmp_path: Path, form: serialization.PrivateFormat) -> None:
    key = pki.b_rsa.key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret"))
    assert "is encrypted" in error(tmp_path / "x.pem", pki.b_rsa.certificate_pem + key)


def test_damaged(pki: Pki, tmp_path: Path) -> None:
    broken = pki.a.certificate_pem.replace(b"M", b"N", 3)
    assert "block 1 of" in error(tmp_path / "x.pem", broken + pki.a.key_pem)
    key = pki.a.key_pem.replace(b"MIG", b"MIH", 1)
    message = error(tmp_path / "x.pem", pki.a.certificate_pem + key)
    assert "damaged" in message
    assert key.splitlines()[1][:20].decode() not in message


def test_key_that_cannot_sign(pki: Pki, tmp_path: Path) -> None:
    key = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert "can't sign" in error(tmp_path / "x.pem", pki.a.certificate_pem + key)


@pytest.mark.parametrize(("data", "hint"), [(b"", "empty"), (b"\x30\x82\x01", "DER"), (b"hello", "no -----BEGIN")])
def test_not_pem(tmp_path: Path, data: bytes, hint: str) -> None:
    assert hint in error(tmp_path / "x.pem", data)


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.pem"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    assert "larger than 16 MB" in error(path)


def test_trusted_certificate(pki: Pki, tmp_path: Path) -> None:
    data = pki.a.certificate_pem.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE")
    assert "TRUSTED CERTIFICATE" in error(tmp_path / "x.pem", data)


def test_key_is_not_in_reprs(pki: Pki) -> None:
    found = read_certified_key(pki.path("a.pem"), HERE)
    assert "key=" not in repr(found)


# --- CA files ---


def test_authorities_of_a_file_and_of_a_directory(pki: Pki, tmp_path: Path) -> None:
    both = pki.root.certificate_pem + pki.other.certificate_pem + pki.root.certificate_pem
    (tmp_path / "one.pem").write_bytes(both)
    assert read_authorities(str(tmp_path / "one.pem"), HERE) == (pki.root.certificate, pki.other.certificate)
    (tmp_path / "two.crt").write_bytes(pki.intermediate.certificate_pem)
    (tmp_path / ".hidden.pem").write_bytes(b"junk")
    (tmp_path / "notes.txt").write_bytes(b"junk")
    found = read_authorities(str(tmp_path), HERE)
    assert set(found) == {pki.root.certificate, pki.other.certificate, pki.intermediate.certificate}


def test_one_bad_file_among_authorities(pki: Pki, tmp_path: Path) -> None:
    """It is named, and the others are used; without a report, and where it is not one of a directory, it is an error."""
    (tmp_path / "bad.pem").write_bytes(b"junk")
    (tmp_path / "good.pem").write_bytes(pki.root.certificate_pem)
    (tmp_path / "link.pem").symlink_to("/nowhere")
    report = Report()
    assert read_authorities(str(tmp_path), HERE, report) == (pki.root.certificate,)
    item, link = report.items
    assert item.severity is link.severity is Severity.WARNING and item.location == HERE
    assert f"'{tmp_path}/link.pem': No such file" in link.message
    assert f"'{tmp_path}/bad.pem' is not a PEM file" in item.message and "it is left out" in item.message
    for path, where in ((tmp_path, None), (tmp_path / "bad.pem", report)):
        with pytest.raises(ConfigError, match="not a PEM file"):
            read_authorities(str(path), HERE, where)
    (tmp_path / "good.pem").unlink()
    with pytest.raises(ConfigError, match="no CA certificate"):
        read_authorities(str(tmp_path), HERE, report)


def test_ca_file_with_a_key_is_read_without_it(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_bytes(pki.b.pem)
    assert read_authorities(str(tmp_path / "x.pem"), HERE) == (pki.b.certificate,)


def test_ca_file_without_certificate(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_bytes(pki.b.key_pem)
    with pytest.raises(ConfigError, match="no CA certificate"):
        read_authorities(str(tmp_path / "x.pem"), HERE)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="no CA certificate"):
        read_authorities(str(empty), HERE)


# --- anything at all ---


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # the library says so of some of what comes out
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_never_anything_but_config_error(pki: Pki, tmp_path: Path, data: st.DataObject) -> None:
    whole = pki.a.pem
    kind = data.draw(st.sampled_from(["random", "cut", "flip", "mix"]))
    if kind == "random":
        content = data.draw(st.binary(max_size=300))
    elif kind == "cut":
        begin = data.draw(st.integers(0, len(whole)))
        content = whole[begin : data.draw(st.integers(begin, len(whole)))]
    elif kind == "flip":
        content = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        content = bytes(content)
    else:
        label = data.draw(st.sampled_from(LABELS))
        body = data.draw(st.binary(max_size=120))
        content = b"-----BEGIN " + label + b"-----\n" + body + b"\n-----END " + label + b"-----\n" + whole
    path = tmp_path / "fuzzed.pem"
    path.write_bytes(content)
    for reader in (read_certified_key, read_authorities):
        try:
            reader(str(path), HERE)
        except ConfigError as caught:
            assert "PRIVATE KEY-----" not in caught.diagnostic.message


def test_keys_for_rsa_pss_only_are_refused(tmp_path: Path) -> None:
    """They would be read as plain RSA keys, which OpenSSL does not accept for the certificate."""
    path = tmp_path / "pss.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-nodes", "-subj", "/CN=pss"]
    subprocess.run([*make, "-keyout", str(path), "-out", str(tmp_path / "c.pem")], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "c.pem").read_bytes())
    with pytest.raises(ConfigError, match="RSA-PSS only"):
        read_certified_key(str(path), HERE)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pem")
    with pytest.raises(ConfigError, match="no regular file"):
        read_certified_key(str(tmp_path / "pipe.pem"), HERE)
    assert list_directory(str(tmp_path), HERE) == []
