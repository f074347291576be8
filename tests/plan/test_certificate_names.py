"""Names in certificates, in the words of the `openssl` program."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
from cryptography import x509

from headgate.plan.fetches.certificate_names import alternative_names, oneline, rfc2253

_REQUEST = """
[req]
distinguished_name=dn
x509_extensions=extensions
prompt=no
utf8=yes
[dn]
C=FR
postalCode=75001
O=Ünïcode, Inc.
title=Dr
SN=Sur
GN=Gi
CN=\\#zoé <x>;+ {odd}
+UID=7
emailAddress=a@b.c
serialNumber=42
1.2.3.4.5=odd
OU=" x "
[extensions]
subjectAltName=DNS:odd.lan,IP:2001:db8::1,IP:10.0.0.1,dirName:dir,RID:1.2.3.4,otherName:msUPN;UTF8:upn@x,\
otherName:1.2.3.5;UTF8:zz,email:q@r.s,URI:http://x/
[dir]
C=FR
CN=in dir
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("names")
    (folder / "request").write_text(_REQUEST)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem"]
    subprocess.run([*command, "-out", "certificate.pem", "-config", "request"], cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem"


def printed(path: pathlib.Path, *options: str) -> str:
    command = ["openssl", "x509", "-in", str(path), "-noout", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_names_are_those_of_openssl(path: pathlib.Path) -> None:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    written = rfc2253(certificate.subject)
    assert written is not None
    assert written.decode("ascii") == printed(path, "-subject", "-nameopt", "rfc2253").removeprefix("subject=")
    line = oneline(certificate.subject)
    assert line is not None and line.startswith("/C=FR/postalCode=75001/O=Ünïcode, Inc./title=Dr/SN=Sur/GN=Gi/".encode())


def test_alternative_names_are_those_of_openssl(path: pathlib.Path) -> None:
    names = alternative_names(x509.load_pem_x509_certificate(path.read_bytes()))
    assert names is not None and ", ".join(names) == printed(path, "-ext", "subjectAltName").splitlines()[-1].strip()


def test_a_zero_byte_is_not_believed() -> None:
    bad = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bank.example\0.evil.example")])
    assert oneline(bad) is None and rfc2253(bad) is None
