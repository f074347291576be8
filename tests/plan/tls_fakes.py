"""A TLS connection that is nothing but its facts, and a certificate to put into it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headgate.base.connection_errors import ConnectionFailure


@dataclass
class Tls:
    """Implements `plan.facts.TlsFacts`."""

    established: bool = True
    error: int = 0
    error_text: str = ""
    failure: ConnectionFailure = ConnectionFailure.SSL_HANDSHAKE
    version: str = "TLSv1.3"
    cipher: str = "TLS_AES_256_GCM_SHA384"
    cipher_bits: int = 256
    cipher_algorithm_bits: int = 256
    group: bytes | None = b"X25519MLKEM768"
    sni: bytes | None = b"www.example.com"
    alpn: bytes | None = b"http/1.1"
    resumed: bool = False
    session_id: bytes = b"\x01\x02"
    session_key: bytes = b"\x03\x04"
    client_random: bytes = b"c" * 32
    server_random: bytes = b"s" * 32
    unique_id: bytes = b"finished"
    client_certificate_sent: bool = False
    peer_certificate: object | None = None
    peer_chain: Sequence[bytes] = ()
    root_certificate: object | None = None
    own_certificate: object | None = None
    own_certificate_name: bytes | None = b"/etc/certs/site.pem"
    verify_error: int = 0
    certificate_error: int = 0
    authority_error: int = 0
    authority_error_depth: int = 0

    def cipher_name(self, number: int) -> str:
        return {0x1301: "TLS_AES_128_GCM_SHA256", 0xC02F: "ECDHE-RSA-AES128-GCM-SHA256"}.get(number, "")


#: Facts of a handshake that ended before OpenSSL knew more than what it did not like.
FAILED = Tls(
    established=False, error=0x0A0000C1, error_text="error:0A0000C1:SSL routines::no shared cipher", cipher="(NONE)",
    cipher_bits=0, cipher_algorithm_bits=0, group=None, sni=None, alpn=None, session_id=b"", session_key=b"",
    server_random=b"", unique_id=b"", own_certificate_name=None,
)  # fmt: skip


@cache
def certificate(
    *names: str, policies: tuple[str, ...] = (), serial: int = 0x80, issuer: str = "Some CA", unit: str | None = None
) -> x509.Certificate:
    """A self-made certificate: common names in order, and organizational units between country and name."""
    key = ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")]
    if unit is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    parts += [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(parts))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime.datetime(2026, 1, 2, 3, 4, 5))
        .not_valid_after(datetime.datetime(2050, 1, 2, 3, 4, 5))
    )
    if policies:
        numbers = [x509.PolicyInformation(x509.ObjectIdentifier(number), None) for number in policies]
        builder = builder.add_extension(x509.CertificatePolicies(numbers), critical=False)
    return builder.sign(key, hashes.SHA256())
