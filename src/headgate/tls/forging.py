"""`generate-certificates` (manual 5.1): a certificate for each name that none of the bind line's is for, signed by a CA of ours.

Makes certificates; which names get one, and how many contexts are kept, is up to `server_context`. A name gets two, with an ECDSA
key, and with an RSA key for clients that know no other. All have the same keys, made at the start: making keys for each name
would cost more than the signatures and protect nobody better.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headgate.base.diagnostics import config_error
from headgate.config.tls_options import GenerateCertificates
from headgate.tls.certified_key import CertifiedKey, kind_of
from headgate.tls.loading import CertificateReader
from headgate.tls.pem import read_certified_key

#: What a certificate may be made for: names come from the network (RFC 1123 section 2.1; underscores occur).
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: A client's clock may be behind ours, and what is older than 13 months is refused by some.
_RSA_BITS = 2048
_BEFORE, _AFTER = datetime.timedelta(hours=1), datetime.timedelta(days=365)


class Forger:
    """Makes certificates for one bind line.

    Args:
        options: the CA.
        reader: reads it; it knows pass phrases.
        clock: Unix time.

    Raises:
        ConfigError: the CA can't be read, or is none.
    """

    __slots__ = ("_authority", "_clock", "_key", "_location", "_private")

    def __init__(self, options: GenerateCertificates, reader: CertificateReader, clock: Callable[[], float]) -> None:
        path, place = options.ca_sign_file, options.location
        decrypt = reader.decrypt_with(options.ca_sign_pass) if options.ca_sign_pass is not None else reader.decrypt
        authority = read_certified_key(path, place, decrypt=decrypt)
        certificate = authority.certificate
        try:
            is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_authority = certificate.issuer == certificate.subject
        if not is_authority:
            raise config_error(
                f"the certificate in {path!r} is not that of a CA: nobody accepts what it signs", place,
                remedy="ca-sign-file takes a CA certificate and its private key",
            )
        if authority.kind == "dsa":
            raise config_error(f"the CA in {path!r} has a DSA key, which clients no longer accept", place)
        self._authority = authority
        self._location = place
        self._clock = clock
        self._key = authority.key
        self._private = (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, _RSA_BITS))

    def forge(self, name: bytes) -> tuple[CertifiedKey, ...]:
        """The certificates for a server name (lower case); none when no host can have it, or the CA has expired."""
        text = name.decode("latin-1")
        if _NAME.fullmatch(text) is None:
            return ()
        now = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        if now >= self._authority.certificate.not_valid_after_utc:
            return ()
        return tuple(self._certified(text, now, private) for private in self._private)

    def _certified(
        self, text: str, now: datetime.datetime, private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    ) -> CertifiedKey:
        issuer = self._authority.certificate
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if len(text) <= 64 else []))
            .issuer_name(issuer.subject)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - _BEFORE, issuer.not_valid_before_utc))
            .not_valid_after(min(now + _AFTER, issuer.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(text)]), critical=len(text) > 64)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        algorithm = None if isinstance(self._key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
        certificate = builder.sign(self._key, algorithm)
        # An intermediate CA is sent along: clients trust its root.
        others = () if issuer.issuer == issuer.subject else (self._authority.leaf, *self._authority.others)
        secret = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return CertifiedKey(f"<generated for {text}>", self._location, certificate, others, secret, *kind_of(private))
