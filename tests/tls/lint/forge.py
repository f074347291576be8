"""Certificates that no decent CA issues."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from headgate.tls.authority import Authority, Issued, issue

NOW = datetime.datetime(2031, 3, 1, 12, tzinfo=datetime.UTC)
#: RSA with SHA-256 in DER, whose last byte chooses the hash: 4 is MD5, 5 SHA-1, 11 SHA-256 (RFC 8017 appendix A.2.4).
_RSA_WITH = bytes.fromhex("06092a864886f70d0101")


def days(number: float, now: datetime.datetime = NOW) -> datetime.datetime:
    return now + datetime.timedelta(days=number)


def valid(authority: Authority, names: Sequence[str], begin: float = -10, end: float = 400, key: str = "ecdsa") -> Issued:
    """A leaf whose days are counted from NOW."""
    return issue(authority, names, key=key, not_before=days(begin), not_after=days(end))


def make(
    authority: Authority,
    names: Sequence[str],
    *,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    begin: float = -10,
    end: float = 400,
    now: datetime.datetime = NOW,
) -> Issued:
    """A leaf with a key and extensions of one's choice."""
    private = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
        .issuer_name(authority.certificate.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(days(begin, now))
        .not_valid_after(days(end, now))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Issued(builder.sign(authority.key, hashes.SHA256()), private, authority.chain)


def must_staple() -> x509.TLSFeature:
    return x509.TLSFeature([x509.TLSFeatureType.status_request])


def issuer_at(url: str) -> x509.AuthorityInformationAccess:
    place = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)])


def issued_by(name: x509.Name) -> x509.AuthorityKeyIdentifier:
    """Says that the issuer was issued by `name`."""
    return x509.AuthorityKeyIdentifier(bytes(range(20)), [x509.DirectoryName(name)], 7)


def signed_with(number: int, certificate: x509.Certificate) -> x509.Certificate:
    """A certificate of an RSA CA that says it was signed with another hash, so that its signature no longer holds."""
    der = certificate.public_bytes(Encoding.DER)
    assert der.count(_RSA_WITH + b"\x0b") >= 2
    return x509.load_der_x509_certificate(der.replace(_RSA_WITH + b"\x0b", _RSA_WITH + bytes([number])))


def revocations(authority: Authority, begin: float, end: float) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder(authority.certificate.subject, days(begin), days(end))
    return builder.sign(authority.key, hashes.SHA256())


