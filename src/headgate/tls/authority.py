"""A small certificate authority for demonstrations and tests: CA, server leaves, client certificates, combined PEM files.

Not for production: keys are made in memory, there is no revocation and no serial book-keeping. Called by `headgate demo-ca`
and by the tests; the data plane never imports it.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headgate.base.records import dataclass, field

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _pem_of_key(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key and the intermediates up to, and without, the root.

    Attributes:
        certificate: the leaf.
        key: its private key.
        chain: the intermediate certificates, nearest issuer first.
    """

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        """Certificate, chain and key in one file, as `crt` takes it (manual 5.1)."""
        return self.certificate_pem + self.chain_pem + self.key_pem

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in self.chain)

    @property
    def key_pem(self) -> bytes:
        return _pem_of_key(self.key)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: a root, or an intermediate when `chain` is not empty."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def certificate_pem(self) -> bytes:
        """The CA certificate alone, as `ca-file` takes it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def make_authority(
    name: str,
    *,
    parent: Authority | None = None,
    key: str = "ecdsa",
    path_length: int | None = None,
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
) -> Authority:
    """Make a CA.

    Args:
        name: its common name.
        parent: the CA that signs it; None makes a self-signed root.
        key: "ecdsa" (P-256) or "rsa" (2048 bits).
        path_length: how many CAs may stand between it and a leaf; None: any number.
        not_before, not_after: validity, timezone-aware; by default from an hour ago for ten years.
    """
    private = make_key(key)
    subject = _name(name)
    issuer = subject if parent is None else parent.certificate.subject
    signer = private if parent is None else parent.key
    begin, end = _validity(not_before, not_after, days=3650)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )
    builder = (
        _builder(subject, issuer, private, signer, begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
    )
    certificate = builder.sign(signer, hashes.SHA256())
    # The chain that a leaf of this CA is sent with: this CA and those above it, but never the root.
    chain = () if parent is None else (certificate, *parent.chain)
    return Authority(certificate, private, chain)


def issue(
    authority: Authority,
    names: Sequence[str],
    *,
    key: str = "ecdsa",
    private: PrivateKey | None = None,
    client: bool = False,
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
    purpose: x509.ObjectIdentifier | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> Issued:
    """Issue a leaf certificate.

    Args:
        authority: who signs.
        names: DNS names (wildcards too) or IP addresses; the first is the common name too. For a client certificate the
            first is the common name only.
        key: "ecdsa" (P-256) or "rsa" (2048 bits).
        private: a key that there is already, in the place of a new one.
        client: a client certificate instead of a server's.
        not_before, not_after: validity, timezone-aware; by default from an hour ago for 825 days.
        purpose: what it is for, in the place of server or client authentication.
        extensions: further ones: where its status is found (authority information access), must-staple (TLS feature).
    """
    private = private or make_key(key)
    begin, end = _validity(not_before, not_after, days=825)
    encipherment = isinstance(private, rsa.RSAPrivateKey)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=encipherment, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )
    purpose = purpose or (ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        _builder(_name(names[0]), authority.certificate.subject, private, authority.key, begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )
    if not client:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_alternative_name(one) for one in names]), critical=False
        )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Issued(builder.sign(authority.key, hashes.SHA256()), private, authority.chain)


def revoke(
    authority: Authority,
    *revoked: x509.Certificate,
    last_update: datetime.datetime | None = None,
    next_update: datetime.datetime | None = None,
) -> bytes:
    """A certificate revocation list in PEM form, as `crl-file` takes it.

    Args:
        authority: who issued what is revoked, and signs.
        revoked: the certificates; none makes an empty list.
        last_update, next_update: timezone-aware; by default from an hour ago for 30 days.
    """
    begin, end = _validity(last_update, next_update, days=30)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(begin)
        .next_update(end)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(begin)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_key(kind: str) -> PrivateKey:
    """A fresh private key: "ecdsa" is P-256, "rsa" has 2048 bits."""
    if kind == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    raise ValueError(f"unknown kind of key {kind!r}: ecdsa or rsa")


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    private: PrivateKey,
    signer: PrivateKey,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _validity(
    not_before: datetime.datetime | None, not_after: datetime.datetime | None, *, days: int
) -> tuple[datetime.datetime, datetime.datetime]:
    # An hour back: the clocks of two machines differ.
    begin = not_before or datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return begin, not_after or begin + datetime.timedelta(days=days)
