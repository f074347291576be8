"""PEM files with certificate, chain and private key in any order, as `crt` and `ca-file` take them (manual 5.1).

Reads and checks files and keeps nothing. Key material stays inside the key object: no message and no repr shows any of it.
Called by `store`, `server_context` and `client_context` while a configuration is loaded.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from headgate.base.diagnostics import ConfigError, Location, config_error
from headgate.base.records import dataclass

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
_KEYS = (
    rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, dsa.DSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey,
)

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE")
_COMBINE = "the file must hold the certificate, its chain and the private key: cat site.crt chain.crt site.key > site.pem"

#: No sane certificate file comes near; a log file or a disk image given by mistake must not fill the memory.
_LARGEST = 16 * 1024 * 1024


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
        issuer: DER of the certificate that answers for its OCSP responses, where a file of its own holds it.
        ocsp: an OCSP response, DER; b"" for an empty file, which only asks for stapling; None for none.
        sctl: a SignedCertificateTimestampList (RFC 6962 section 3.3), None for none.
        has_dh_parameters: the file holds a `DH PARAMETERS` block too.
    """

    __slots__ = (
        "_secret", "curve", "has_dh_parameters", "issuer", "kind", "leaf", "location", "names", "not_after", "not_before",
        "ocsp", "others", "path", "sctl",
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
        self.issuer: bytes | None = None
        self.ocsp: bytes | None = None
        self.sctl: bytes | None = None
        self.has_dh_parameters = False

    def __repr__(self) -> str:
        return f"<CertifiedKey {self.path} {self.kind}>"

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf."""
        return x509.load_der_x509_certificate(self.leaf)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The issuers that are sent with it, nearest first; a self-signed root is left out: peers have it or don't trust it."""
        return _ordered_chain(self.certificate, map(x509.load_der_x509_certificate, self.others))

    @property
    def key(self) -> PrivateKey:
        """The private key of the leaf."""
        key = serialization.load_der_private_key(self._secret, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, _KEYS)
        return key


@dataclass(slots=True)
class _Blocks:
    certificates: list[x509.Certificate]
    keys: list[tuple[PrivateKey, bytes]]  # with its DER
    has_dh_parameters: bool = False


def read_certified_key(path: str, location: Location | None) -> CertifiedKey:
    """Read a certificate with its chain and key; the key may stand in `path`.key instead (manual 3.1 ssl-load-extra-files).

    Args:
        path: the PEM file.
        location: where the configuration names it.

    Raises:
        ConfigError: the file can't be read, holds no certificate or no usable key, or the key fits none of the certificates.
    """
    blocks = _parse(read_file(path, location, "certificate file"), path, location)
    if not blocks.certificates:
        raise config_error(f"no certificate in {path!r}", location, remedy=_COMBINE)
    key_path = path
    if not blocks.keys:
        key_path = path + ".key"
        if not os.path.exists(key_path):
            raise config_error(f"no private key in {path!r}, and there is no file {key_path!r}", location, remedy=_COMBINE)
        blocks.keys = _parse(read_file(key_path, location, "private key file"), key_path, location).keys
        if not blocks.keys:
            raise config_error(f"no private key in {path!r} and none in {key_path!r}", location, remedy=_COMBINE)
    found = _match(blocks)
    if found is None:
        raise config_error(
            f"the private key in {key_path!r} does not match the certificate in {path!r}",
            location,
            remedy="the key must be the one that the certificate was requested with: "
            f"{_described(blocks.certificates[0])} has another public key",
        )
    leaf, key, secret = found
    others = tuple(dict.fromkeys(one.public_bytes(serialization.Encoding.DER) for one in blocks.certificates if one is not leaf))
    certified = CertifiedKey(path, location, leaf, others, secret, *_kind(key))
    certified.has_dh_parameters = blocks.has_dh_parameters
    return certified


def read_authorities(path: str, location: Location | None) -> tuple[x509.Certificate, ...]:
    """Read the CA certificates of a `ca-file`: a PEM file, or a directory of `.pem`, `.crt` and `.cer` files (manual 5.1).

    Raises:
        ConfigError: unreadable, or no certificate in it.
    """
    if os.path.isdir(path):
        names = sorted(name for name in list_directory(path, location) if name.endswith((".pem", ".crt", ".cer")))
        files = [os.path.join(path, name) for name in names if not name.startswith(".")]
    else:
        files = [path]
    found: dict[x509.Certificate, None] = {}
    for file in files:
        for certificate in _parse(read_file(file, location, "CA file"), file, location, keys=False).certificates:
            found[certificate] = None
    if not found:
        raise config_error(f"no CA certificate in {path!r}", location, remedy="ca-file takes CA certificates in PEM form")
    return tuple(found)


def read_file(path: str, location: Location | None, what: str) -> bytes:
    """Read a file as a whole, or say why that failed and as whom we tried.

    Raises:
        ConfigError: it can't be read, or is larger than any PEM file is.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, location, what, error) from None
    if len(data) > _LARGEST:
        raise config_error(f"{what} {path!r} is larger than {_LARGEST >> 20} MB: it can't be a PEM file", location)
    return data


def list_directory(path: str, location: Location | None) -> list[str]:
    """Names in a directory of certificates, in lexical order.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        raise _unreadable(path, location, "certificate directory", error) from None


def _unreadable(path: str, location: Location | None, what: str, error: OSError | ValueError) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    remedy = None
    if isinstance(error, PermissionError):
        remedy = f"give {_whoami()} the right to read it, or start as root (global `user` drops rights later)"
    elif isinstance(error, FileNotFoundError):
        remedy = "relative names start at the working directory, or at crt-base or ca-base of the global section"
    elif isinstance(error, IsADirectoryError):
        remedy = "name a file in it"
    return config_error(f"cannot read {what} {path!r}: {reason} (running as {_whoami()})", location, remedy=remedy)


def _whoami() -> str:
    try:
        import getpass

        name = getpass.getuser()
    except (OSError, KeyError):  # a uid without a name: containers
        name = "?"
    return f"user {name}, uid {os.geteuid()}"


def _parse(data: bytes, path: str, location: Location | None, *, keys: bool = True) -> _Blocks:
    """All certificates and keys of a PEM file. Blocks that we don't know, such as EC PARAMETERS, are passed over."""
    blocks = _Blocks([], [])
    for number, match in enumerate(_BLOCK.finditer(data), 1):
        label = match[1]
        if label in _CERTIFICATES:
            blocks.certificates.append(_load_certificate(match[2], number, path, location))
        elif label == b"TRUSTED CERTIFICATE":
            raise config_error(
                f"{path!r} holds an OpenSSL TRUSTED CERTIFICATE, which is not supported", location,
                remedy="convert it: openssl x509 -in FILE -out FILE",
            )
        elif label.endswith(b"PRIVATE KEY") and keys:
            blocks.keys.append(_load_key(match, path, location))
        elif label == b"DH PARAMETERS":
            blocks.has_dh_parameters = True
    if not blocks.certificates and not blocks.keys and b"-----BEGIN" not in data:
        shape = "it is empty" if not data.strip() else "it looks like DER" if data[:1] == b"\x30" else "no -----BEGIN line"
        raise config_error(
            f"{path!r} is not a PEM file: {shape}", location,
            remedy="convert it: openssl x509 -inform DER -in FILE -out FILE.pem" if data[:1] == b"\x30" else _COMBINE,
        )
    return blocks


def _load_certificate(body: bytes, number: int, path: str, location: Location | None) -> x509.Certificate:
    pem = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        # Parsing is lazy: touch what we use, so that nonsense is found here and not in the data plane.
        certificate.public_key()
        certificate.subject, certificate.issuer, certificate.extensions  # noqa: B018
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise config_error(
            f"block {number} of {path!r} is not a valid certificate: {_short(error)}", location,
            remedy="look at it with: openssl x509 -in FILE -noout -text",
        ) from None
    return certificate


def _load_key(match: re.Match[bytes], path: str, location: Location | None) -> tuple[PrivateKey, bytes]:
    if match[1].startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in match[2]:
        raise config_error(
            f"the private key in {path!r} is encrypted: a proxy has nobody to ask for the pass phrase", location,
            remedy="decrypt it: openssl pkey -in FILE -out FILE.key, and protect the file by its permissions",
        )
    try:
        secret = binascii.a2b_base64(match[2])
        # The whole validation of an RSA key takes 40 ms. What counts is compared: its public half with the certificate's.
        key = serialization.load_der_private_key(secret, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's text is not passed on: nothing that was derived from a key belongs in a message.
        raise config_error(f"the private key in {path!r} is damaged or of an unknown kind", location) from None
    if not isinstance(key, _KEYS):
        raise config_error(f"the private key in {path!r} is of a kind that can't sign TLS handshakes", location)
    return key, secret


def _match(blocks: _Blocks) -> tuple[x509.Certificate, PrivateKey, bytes] | None:
    """The first certificate that one of the keys belongs to."""
    publics = [(_spki(key.public_key()), key, secret) for key, secret in blocks.keys]
    for certificate in blocks.certificates:
        public = _spki(certificate.public_key())
        for candidate, key, secret in publics:
            if candidate == public:
                return certificate, key, secret
    return None


def _kind(key: PrivateKey) -> tuple[str, str]:
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


def _spki(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


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


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    if issuer.subject != subject.issuer:
        return False
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False  # two CAs of one name, for instance after a re-key: another certificate may be the issuer
    return True


def _described(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()[:200] or "the certificate"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
