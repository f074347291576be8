"""PEM files with certificate, chain and private key in any order, as `crt` and `ca-file` take them (manual 5.1).

Reads and checks files and keeps nothing. Key material stays inside the key object: no message and no repr shows any of it.
Called by `store`, `server_context` and `client_context` while a configuration is loaded.
"""

from __future__ import annotations

import binascii
import os
import re
import stat
import warnings
from collections.abc import Callable
from dataclasses import replace

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import PublicKeyAlgorithmOID

from headgate.base.diagnostics import ConfigError, Diagnostic, Location, Report, Severity, config_error
from headgate.base.records import dataclass
from headgate.plan.fetches.certificate_names import readable
from headgate.tls.certified_key import PRIVATE_KEYS, CertifiedKey, PrivateKey, kind_of

#: What `cryptography` says of bytes that are no certificate, or no revocation list.
DAMAGED = (
    ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType,
)
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n(.*?)-----END \1-----", re.DOTALL)
#: The parser of `cryptography` names its errors as its own code does.
_ASN1 = re.compile(r"ParseError \{ kind: (\w+)")
_ASN1_TEXTS = {"ShortData": "it ends too early", "ExtraData": "something follows behind its end"}
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE")
_COMBINE = "the file must hold the certificate, its chain and the private key: cat site.crt chain.crt site.key > site.pem"

_CERTIFICATES_ONLY = "the file must hold certificates in PEM form, which begin with -----BEGIN CERTIFICATE-----"
#: Where relative names of files start that do not start at the working directory.
_BASES = {
    "certificate file": "crt-base", "certificate directory": "crt-base", "OCSP response": "crt-base", "issuer file": "crt-base",
    "list of signed certificate timestamps": "crt-base", "private key file": "key-base", "CA file": "ca-base",
    "CRL file": "ca-base",
}  # fmt: skip

#: No sane certificate file comes near; a log file or a disk image given by mistake must not fill the memory.
_LARGEST = 16 * 1024 * 1024


@dataclass(slots=True)
class _Blocks:
    certificates: list[x509.Certificate]
    keys: list[tuple[PrivateKey, bytes]]  # with its DER
    dh_parameters: bytes | None = None


#: Decrypts an encrypted key block of a file: block, path, location -> DER. Raises ConfigError.
Decrypt = Callable[[bytes, str, Location | None], bytes]


def read_certified_key(
    path: str,
    location: Location | None,
    *,
    key_path: str | None = None,
    beside: str | None = "",
    decrypt: Decrypt | None = None,
) -> CertifiedKey:
    """Read a certificate with its chain and key; the key may stand in a file of its own (manual 3.1 ssl-load-extra-files).

    Args:
        path: the PEM file.
        location: where the configuration names it.
        key_path: the file of the key, which counts more than one in `path`; None: not said.
        beside: what a key file beside it is called, without `.key`; "" stands for `path`, None for no such file.
        decrypt: makes encrypted keys readable; None: they are an error.

    Raises:
        ConfigError: the file can't be read, holds no certificate or no usable key, or the key fits none of the certificates.
    """
    blocks = _parse(read_file(path, location, "certificate file"), path, location, decrypt, keys=key_path is None)
    if not blocks.certificates:
        raise config_error(f"no certificate in {path!r}", location, remedy=_COMBINE)
    if not blocks.keys:
        if key_path is None:
            if beside is None:
                raise config_error(f"no private key in {path!r}", location, remedy=_COMBINE)
            key_path = (beside or path) + ".key"
            if not os.path.exists(key_path):
                raise config_error(f"no private key in {path!r}, and there is no file {key_path!r}", location, remedy=_COMBINE)
        blocks.keys = _parse(read_file(key_path, location, "private key file"), key_path, location, decrypt).keys
        if not blocks.keys:
            raise config_error(f"no private key in {path!r} and none in {key_path!r}", location, remedy=_COMBINE)
    return _certified(path, location, blocks, key_path or path)


def certified_key_of(name: str, location: Location | None, data: bytes) -> CertifiedKey:
    """A certificate with its chain and key from the contents of a PEM file; `name` is for messages.

    Raises:
        ConfigError: as `read_certified_key`.
    """
    blocks = _parse(data, name, location)
    if not blocks.certificates:
        raise config_error(f"no certificate in {name!r}", location, remedy=_COMBINE)
    if not blocks.keys:
        raise config_error(f"no private key in {name!r}", location, remedy=_COMBINE)
    return _certified(name, location, blocks, name)


def leaf_of(name: str, location: Location | None, data: bytes) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]]:
    """The certificate of a PEM file that may lack its key, and the other ones in it.

    Returns:
        The one that a key belongs to, else the first one; the others in their order.

    Raises:
        ConfigError: no certificate in it, or something in it is damaged.
    """
    blocks = _parse(data, name, location)
    if not blocks.certificates:
        raise config_error(f"no certificate in {name!r}", location, remedy=_COMBINE)
    found = _match(blocks)
    leaf = found[0] if found is not None else blocks.certificates[0]
    return leaf, tuple(dict.fromkeys(one for one in blocks.certificates if one != leaf))


def check_private_key(name: str, location: Location | None, data: bytes) -> None:
    """Find out whether the contents of a key file are of use.

    Raises:
        ConfigError: no private key in it, or a damaged or encrypted one.
    """
    if not _parse(data, name, location).keys:
        raise config_error(f"no private key in {name!r}", location)


def _certified(path: str, location: Location | None, blocks: _Blocks, key_path: str) -> CertifiedKey:
    found = _match(blocks)
    if found is None:
        raise config_error(
            f"the private key in {key_path!r} does not match the certificate in {path!r}",
            location,
            remedy="the key must be the one that the certificate was requested with: "
            f"{_described(blocks.certificates[0])} has another public key",
        )
    leaf, key, secret = found
    if leaf.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise config_error(
            f"the key of the certificate in {path!r} is for RSA-PSS only, which the TLS library's Python binding reads as a plain"
            " RSA key: no client could be served", location,
            remedy="request a certificate for an RSA or ECDSA key: clients of TLS 1.3 use RSA-PSS with a plain RSA key, too",
        )
    others = tuple(dict.fromkeys(one.public_bytes(serialization.Encoding.DER) for one in blocks.certificates if one is not leaf))
    certified = CertifiedKey(path, location, leaf, others, secret, *kind_of(key))
    certified.dh_parameters = blocks.dh_parameters
    return certified


def read_authorities(path: str, location: Location | None, report: Report | None = None) -> tuple[x509.Certificate, ...]:
    """Read the CA certificates of a `ca-file`: a PEM file, or a directory of `.pem`, `.crt` and `.cer` files (manual 5.1).

    Args:
        path: of the file or directory.
        location: where the configuration names it.
        report: where a directory's files are named that can't be used, and left out; None: they are errors.

    Raises:
        ConfigError: unreadable, or no certificate in it.
    """
    listed = os.path.isdir(path)
    files = [path]
    if listed:
        names = sorted(name for name in list_directory(path, location) if name.endswith((".pem", ".crt", ".cer")))
        files = [os.path.join(path, name) for name in names if not name.startswith(".")]
    found: dict[x509.Certificate, None] = {}
    for file in files:
        try:
            found |= dict.fromkeys(_parse(read_file(file, location, "CA file"), file, location, keys=False).certificates)
        except ConfigError as error:
            if not listed or report is None:
                raise
            report.add(left_out(error))
    if not found:
        raise config_error(f"no CA certificate in {path!r}", location, remedy="ca-file takes CA certificates in PEM form")
    return tuple(found)


def left_out(error: ConfigError) -> Diagnostic:
    """What is said of a bad file in a directory of CAs: the manual (5.1 ca-file, 3.1) has each of them tried."""
    message = f"{error.diagnostic.message}; it is left out, and the other files of the directory are used"
    return replace(error.diagnostic, severity=Severity.WARNING, message=message)


def authorities_of(name: str, location: Location | None, data: bytes) -> tuple[x509.Certificate, ...]:
    """CA certificates from the contents of a PEM file, each once.

    Raises:
        ConfigError: no certificate in it, or a damaged one.
    """
    found = tuple(dict.fromkeys(_parse(data, name, location, keys=False).certificates))
    if not found:
        raise config_error(f"no CA certificate in {name!r}", location, remedy="ca-file takes CA certificates in PEM form")
    return found


def read_certificates(path: str, location: Location | None, what: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, at least one, in their order.

    Raises:
        ConfigError: unreadable, or no certificate in it.
    """
    found = _parse(read_file(path, location, what), path, location, keys=False).certificates
    if not found:
        raise config_error(f"no certificate in {what} {path!r}", location)
    return tuple(found)


def read_file(path: str, location: Location | None, what: str) -> bytes:
    """Read a file as a whole, or say why that failed and as whom we tried.

    Raises:
        ConfigError: it can't be read, or is larger than any PEM file is.
    """
    try:
        # What is no file is told apart before it is read: a pipe that nobody writes to would keep us for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise config_error(f"{what} {path!r} is no regular file", location, remedy="name a file")
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, location, what, error) from None
    if len(data) > _LARGEST:
        raise config_error(f"{what} {path!r} is larger than {_LARGEST >> 20} MB: it can't be a PEM file", location)
    return data


def list_directory(path: str, location: Location | None, what: str = "certificate directory") -> list[str]:
    """Names in a directory of certificates, in lexical order; of pipes, sockets and devices there are none.

    A link that leads nowhere has its name there: whoever reads it says so.

    Args:
        what: for messages.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        with os.scandir(path) as entries:
            return sorted(one.name for one in entries if _leads_nowhere(one) or one.is_file() or one.is_dir())
    except OSError as error:
        raise _unreadable(path, location, what, error) from None


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to something that is not there, or that we can't come to."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def _unreadable(path: str, location: Location | None, what: str, error: OSError | ValueError) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    remedy = None
    if isinstance(error, PermissionError):
        remedy = f"give {_whoami()} the right to read it, or start as root (global `user` drops rights later)"
    elif isinstance(error, FileNotFoundError) and os.path.islink(path):
        remedy = f"it is a link to {os.readlink(path)!r}: put the file there, or remove the link"
    elif isinstance(error, FileNotFoundError) and not os.path.isabs(path):
        remedy = "relative names start at the working directory"
        if what in _BASES:
            remedy += f", or at {_BASES[what]} of the global section"
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


def _parse(
    data: bytes, path: str, location: Location | None, decrypt: Decrypt | None = None, *, keys: bool = True
) -> _Blocks:
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
            blocks.keys.append(_load_key(match, path, location, decrypt))
        elif label == b"DH PARAMETERS":
            blocks.dh_parameters = match[0] + b"\n"
    if not blocks.certificates and not blocks.keys and b"-----BEGIN" not in data:
        shape = "it is empty" if not data.strip() else "it looks like DER" if data[:1] == b"\x30" else "no -----BEGIN line"
        remedy = _COMBINE if keys else _CERTIFICATES_ONLY
        if data[:1] == b"\x30":
            remedy = "convert it: openssl x509 -inform DER -in FILE -out FILE.pem"
        raise config_error(f"{path!r} is not a PEM file: {shape}", location, remedy=remedy)
    return blocks


def _load_certificate(body: bytes, number: int, path: str, location: Location | None) -> x509.Certificate:
    pem = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    try:
        with warnings.catch_warnings(action="ignore"):  # about names that are odd, and no reason to refuse a certificate
            certificate = x509.load_pem_x509_certificate(pem)
            # Parsing is lazy: touch what we use, so that nonsense is found here and not in the data plane.
            certificate.public_key()
            certificate.subject, certificate.issuer, certificate.extensions, certificate.not_valid_before_utc  # noqa: B018
            certificate.not_valid_after_utc  # noqa: B018
    except DAMAGED as error:
        raise config_error(
            f"block {number} of {path!r} is not a valid certificate: {short(error)}", location,
            remedy="look at it with: openssl x509 -in FILE -noout -text",
        ) from None
    return certificate


def _load_key(
    match: re.Match[bytes], path: str, location: Location | None, decrypt: Decrypt | None
) -> tuple[PrivateKey, bytes]:
    encrypted = match[1].startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in match[2]
    if encrypted and decrypt is None:
        raise config_error(
            f"the private key in {path!r} is encrypted: a proxy has nobody to ask for the pass phrase", location,
            remedy="decrypt it: openssl pkey -in FILE -out FILE.key, and protect the file by its permissions",
        )
    try:
        secret = decrypt(match[0] + b"\n", path, location) if encrypted and decrypt else binascii.a2b_base64(match[2])
        # The whole validation of an RSA key takes 40 ms. What counts is compared: its public half with the certificate's.
        key = serialization.load_der_private_key(secret, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's text is not passed on: nothing that was derived from a key belongs in a message.
        raise config_error(f"the private key in {path!r} is damaged or of an unknown kind", location) from None
    if not isinstance(key, PRIVATE_KEYS):
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


def _spki(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _described(certificate: x509.Certificate) -> str:
    return readable(certificate.subject)[:200] or "the certificate"


def short(error: Exception) -> str:
    """What a library says of something that it can't read, in words."""
    text = " ".join(str(error).split())
    kind = _ASN1.search(text)
    return text[:120] or type(error).__name__ if kind is None else _ASN1_TEXTS.get(kind[1], "it is damaged, or something else")
