"""`generate-dummy` of a crt-store (manual 12.7.1): a key and a certificate that it signs itself, for those who have none yet."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from headgate.config.tls_options import CertificateFile, DummyKey
from headgate.tls.certified_key import CertifiedKey, kind_of

#: Those of `curves`, by the names that the manual and OpenSSL have for them.
CURVES: Final[Mapping[str, type[ec.EllipticCurve]]] = {
    "P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1, "prime256v1": ec.SECP256R1, "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1, "secp521r1": ec.SECP521R1,
}  # fmt: skip
_LIFETIME: Final = datetime.timedelta(days=365)
#: A client's clock may be behind ours.
_BEFORE: Final = datetime.timedelta(hours=1)
_LONGEST_NAME: Final = 64


def make_dummy(file: CertificateFile, dummy: DummyKey) -> CertifiedKey:
    """The certificate that a line asks for; its common name is what the line calls it."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if dummy.key_type == "RSA":
        key = rsa.generate_private_key(65537, dummy.bits)
    else:
        key = ec.generate_private_key(CURVES[dummy.curve]())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, os.path.basename(file.source or file.path)[:_LONGEST_NAME])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _LIFETIME)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return CertifiedKey(file.path, file.location, certificate, (), secret, *kind_of(key))
