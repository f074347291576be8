"""A certificate with its private key and chain, as the storage keeps it.

Reads no files: `pem` and `loading` make these. Key material stays inside: no message and no repr shows any of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from headgate.base.diagnostics import Location

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
#: The classes of them, for isinstance.
PRIVATE_KEYS = (
    rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, dsa.DSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey,
)


class CertifiedKey:
    """A certificate, what belongs above it and its private key: checked, and kept as it is encoded.

    A storage holds thousands of these, and few are asked for in a day: objects are made of the encoded forms when wanted.

    Attributes:
        path: the file it came from, for messages.
        location: where the configuration names that file.
        leaf: the certificate, DER.
        others: the other certificates of its file, DER, in the order of the file.
        kind: `ecdsa`, `rsa`, `dsa` or `eddsa`: OpenSSL keeps one certificate of each kind in a context.
        curve: of an ECDSA key, `secp256r1` and the like, or `ed25519` and `ed448`; "" for others.
        names: the server names in it, lower case; see `names_of`.
        not_before, not_after: its validity, Unix time.
        issuers: what completes its chain where its file holds none, None for nothing.
        issuer: DER of the certificate that answers for its OCSP responses, where a file of its own holds it.
        ocsp: an OCSP response, DER; b"" for an empty file, which only asks for stapling; None for none.
        sctl: a SignedCertificateTimestampList (RFC 6962 section 3.3), None for none.
        dh_parameters: the `DH PARAMETERS` block of the file, PEM, None for none.
    """

    __slots__ = (
        "_secret", "curve", "dh_parameters", "issuer", "issuers", "kind", "leaf", "location", "names", "not_after",
        "not_before", "ocsp", "others", "path", "sctl",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        location: Location | None,
        certificate: x509.Certificate,
        others: tuple[bytes, ...],
        secret: bytes,
        kind: str,
        curve: str = "",
    ) -> None:
        """`secret` is the private key, DER, which is seen nowhere but in `key`."""
        self.path = path
        self.location = location
        self.leaf = certificate.public_bytes(serialization.Encoding.DER)
        self.others = others
        self._secret = secret
        self.kind = kind
        self.curve = curve
        self.names = tuple(names_of(certificate))
        self.not_before = certificate.not_valid_before_utc.timestamp()
        self.not_after = certificate.not_valid_after_utc.timestamp()
        self.issuers: IssuerChains | None = None
        self.issuer: bytes | None = None
        self.ocsp: bytes | None = None
        self.sctl: bytes | None = None
        self.dh_parameters: bytes | None = None

    def __repr__(self) -> str:
        return f"<CertifiedKey {self.path} {self.kind}>"

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf."""
        return x509.load_der_x509_certificate(self.leaf)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The issuers that are sent with it, nearest first; a self-signed root is left out: peers have it or don't trust it."""
        leaf = self.certificate
        return chain_among(leaf, map(x509.load_der_x509_certificate, self.others), self.issuers)

    @property
    def signer(self) -> x509.Certificate | None:
        """Who has issued the leaf, a root too, as far as files tell: its own, the one for that, `issuers-chain-path`."""
        leaf = self.certificate
        ders = [*self.others, *([self.issuer] if self.issuer is not None else [])]
        return signer_among(leaf, map(x509.load_der_x509_certificate, ders), self.issuers)

    @property
    def key(self) -> PrivateKey:
        """The private key of the leaf."""
        key = serialization.load_der_private_key(self._secret, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, PRIVATE_KEYS)
        return key

    @property
    def pem(self) -> bytes:
        """Private key, leaf and chain, as `dump ssl cert` has them. With a key in it: for those only who may have it."""
        return self._pem_with(self.chain)

    @property
    def file_pem(self) -> bytes:
        """What `pem` has, but all certificates of its file in the place of the chain, and the DH parameters."""
        return self._pem_with(map(x509.load_der_x509_certificate, self.others)) + (self.dh_parameters or b"")

    def _pem_with(self, above: Iterable[x509.Certificate]) -> bytes:
        encoding = serialization.Encoding.PEM
        key = self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return b"".join([key, *(one.public_bytes(encoding) for one in (self.certificate, *above))])


class IssuerChains:
    """The chains of `issuers-chain-path`, by whom they can stand above: each begins with the issuer (manual 3.1).

    Args:
        chains: each nearest issuer first.
    """

    __slots__ = ("_chains", "_first")

    def __init__(self, chains: Iterable[Sequence[x509.Certificate]]) -> None:
        self._chains: dict[x509.Name, list[tuple[x509.Certificate, ...]]] = {}
        self._first: dict[x509.Name, list[x509.Certificate]] = {}
        for chain in chains:
            if chain:
                self._first.setdefault(chain[0].subject, []).append(chain[0])
            sent = tuple(one for one in chain if one.issuer != one.subject)
            if sent:
                self._chains.setdefault(sent[0].subject, []).append(sent)

    def of(self, leaf: x509.Certificate) -> tuple[x509.Certificate, ...]:
        """The chain whose first certificate issued `leaf`; empty without one."""
        return next((chain for chain in self._chains.get(leaf.issuer, ()) if _issued(chain[0], leaf)), ())

    def signer_of(self, leaf: x509.Certificate) -> x509.Certificate | None:
        """The certificate that issued `leaf`, a root too; None without one."""
        return next((one for one in self._first.get(leaf.issuer, ()) if _issued(one, leaf)), None)


def kind_of(key: PrivateKey) -> tuple[str, str]:
    """`CertifiedKey.kind` and `curve`."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ecdsa", key.curve.name
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa", ""
    if isinstance(key, dsa.DSAPrivateKey):
        return "dsa", ""
    return "eddsa", "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "ed448"


def names_of(certificate: x509.Certificate) -> list[bytes]:
    """The server names that a certificate answers to: its alternative DNS names and its common names, in lower case."""
    found: dict[bytes, None] = {}
    try:
        alternative = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        alternative = None
    if isinstance(alternative, x509.SubjectAlternativeName):
        for name in alternative.get_values_for_type(x509.DNSName):
            found[name.lower().encode("utf-8", "replace")] = None
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        value = attribute.value
        found[(value if isinstance(value, bytes) else value.encode("utf-8", "replace")).lower()] = None
    return list(found)


def _ordered_chain(leaf: x509.Certificate, certificates: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The issuers of `leaf`, nearest first. Certificates that don't lead upwards from it are left out."""
    rest = [one for one in dict.fromkeys(certificates) if one != leaf]
    chain: list[x509.Certificate] = []
    current = leaf
    while current.issuer != current.subject:
        above = next((one for one in rest if _issued(one, current)), None)
        if above is None or above.subject == above.issuer:
            break
        chain.append(above)
        rest.remove(above)
        current = above
    return tuple(chain)


def chain_among(
    leaf: x509.Certificate, certificates: Iterable[x509.Certificate], issuers: IssuerChains | None
) -> tuple[x509.Certificate, ...]:
    """The issuers of `leaf` among these, nearest first; where none is, those of `issuers-chain-path`."""
    chain = _ordered_chain(leaf, certificates)
    return chain if chain or issuers is None else issuers.of(leaf)


def signer_among(
    leaf: x509.Certificate, candidates: Iterable[x509.Certificate], issuers: IssuerChains | None
) -> x509.Certificate | None:
    """Which of these has issued `leaf`, or who of `issuers-chain-path` has; None without one."""
    found = next((one for one in candidates if _issued(one, leaf)), None)
    return found if found is not None or issuers is None else issuers.signer_of(leaf)


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    if issuer.subject != subject.issuer:
        return False
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False  # two CAs of one name, for instance after a re-key: another certificate may be the issuer
    return True
