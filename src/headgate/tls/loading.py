"""Reads certificates for the storage: the file itself, the files beside it, its key's pass phrase, its chain.

What is read is in `pem`; here is which files, and what global keywords say about them (manual 3.1 ssl-load-extra-files,
ssl-load-extra-del-ext, ssl-passphrase-cmd, issuers-chain-path). One of these reads all of a configuration; pass phrases are
forgotten when it is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from headgate.base.diagnostics import ConfigError, Location, Report, config_error
from headgate.base.records import dataclass, field
from headgate.config.model import EXTRA_FILES
from headgate.config.tls_options import CertificateFile, NamedFile
from headgate.tls.certified_key import CertifiedKey, IssuerChains
from headgate.tls.dummy_certificates import make_dummy
from headgate.tls.pem import Decrypt, left_out, list_directory, read_certificates, read_certified_key, read_file

#: Suffixes of files that are read with a certificate (manual 3.1 ssl-load-extra-files), but for the OCSP response.
_BESIDE = ("", ".key", ".issuer", ".sctl")


class PassPhrases(Protocol):
    """`ssl-passphrase-cmd`, as `app.pass_phrases` runs it."""

    def ask(self, path: str) -> bytearray:
        """The pass phrase of the key in a file. Raises OSError or ValueError, with a reason that tells nothing of it."""


@dataclass(frozen=True, slots=True)
class Loading:
    """What the global section says about reading certificates.

    Attributes:
        extra: of "bundle", "sctl", "ocsp", "issuer" and "key", what is looked for beside a certificate.
        del_ext: those files have their suffix in the place of `.crt`, not behind it.
        skip_bad: a wrong file in a directory or crt-list is a warning, and the others serve.
    """

    extra: frozenset[str] = EXTRA_FILES
    del_ext: bool = False
    skip_bad: bool = False


@dataclass(slots=True)
class CertificateReader:
    """Reads `CertifiedKey`s.

    Attributes:
        loading: how.
        pass_phrases: who knows those of encrypted keys; None: nobody.
        issuers: the chains of `issuers-chain-path`.
    """

    loading: Loading = Loading()
    pass_phrases: PassPhrases | None = None
    issuers: IssuerChains | None = None
    _known: list[bytearray] = field(default_factory=list, repr=False)
    _interned: dict[bytes, bytes] = field(default_factory=dict, repr=False)  # the intermediates of thousands are few

    def read(self, file: CertificateFile) -> CertifiedKey:
        """A certificate and all that belongs to it.

        Raises:
            ConfigError: one of its files is wrong.
        """
        if file.dummy is not None:
            return make_dummy(file, file.dummy)
        path, location, files = file.source or file.path, file.location, file.files
        base = self._base(path)
        certified = read_certified_key(
            path, location, key_path=files.key, beside=base if self._looks_for("key", file) else None, decrypt=self.decrypt
        )
        certified.others = tuple(self._interned.setdefault(one, one) for one in certified.others)
        certified.issuers = self.issuers
        sctl = files.sctl or self._beside(base, "sctl", file)
        if sctl is not None:
            certified.sctl = _read_sctl(sctl, location)
        issuer = files.issuer or self._beside(base, "issuer", file)
        if issuer is not None:
            first = read_certificates(issuer, location, "issuer file")[0]
            certified.issuer = first.public_bytes(serialization.Encoding.DER)
        ocsp = files.ocsp or self._beside(base, "ocsp", file)
        if ocsp is not None:
            certified.ocsp = read_file(ocsp, location, "OCSP response")
            if certified.signer is None and not _self_signed(certified):
                raise config_error(
                    f"{ocsp!r} can't be used: the issuer of the certificate in {path!r} is not known", location,
                    remedy=f"add the issuer to {path}, or put it in {base}.issuer",
                )
        return certified

    def paths(self, file: CertificateFile) -> tuple[str, ...]:
        """The files that may have a part of a certificate, there or not; not its OCSP response, which is renewed by itself."""
        path, files = file.source or file.path, file.files
        named = [one for one in (files.key, files.issuer, files.sctl) if one is not None]
        return tuple(dict.fromkeys([path, *(self._base(path) + suffix for suffix in _BESIDE), *named]))

    def response_path(self, file: CertificateFile) -> str:
        """The file that may have its OCSP response, there or not."""
        return file.files.ocsp or f"{self._base(file.source or file.path)}.ocsp"

    def _base(self, path: str) -> str:
        """What files beside a certificate are called, without their suffix."""
        return path[:-4] if self.loading.del_ext and path.endswith(".crt") else path

    def forget(self) -> None:
        """Wipe the pass phrases that were learned."""
        for phrase in self._known:
            phrase[:] = bytes(len(phrase))
        self._known.clear()

    def decrypt_with(self, phrase: str) -> Decrypt:
        """What decrypts key blocks with a pass phrase from the configuration (`ca-sign-pass`)."""

        def decrypt(block: bytes, path: str, location: Location | None) -> bytes:
            secret = _decrypted(block, bytearray(phrase, "utf-8"))
            if secret is None:
                raise config_error(f"the pass phrase does not decrypt the private key in {path!r}", location)
            return secret

        return decrypt

    def _looks_for(self, kind: str, file: CertificateFile) -> bool:
        return file.detect and kind in self.loading.extra

    def _beside(self, base: str, kind: str, file: CertificateFile) -> str | None:
        """The extra file of a kind, if there is one and it is wanted."""
        if not self._looks_for(kind, file):
            return None
        path = f"{base}.{kind}"
        return path if os.path.exists(path) else None

    def decrypt(self, block: bytes, path: str, location: Location | None) -> bytes:
        """An encrypted key block -> the key, DER. Known pass phrases are tried before the command is asked (3.1)."""
        for phrase in self._known:
            secret = _decrypted(block, phrase)
            if secret is not None:
                return secret
        if self.pass_phrases is None:
            raise config_error(
                f"the private key in {path!r} is encrypted, and nobody is there to ask for the pass phrase", location,
                remedy="name a program that prints it: global ssl-passphrase-cmd; or decrypt the key: openssl pkey -in FILE",
            )
        try:
            phrase = self.pass_phrases.ask(path)
        except (OSError, ValueError) as error:
            raise config_error(f"ssl-passphrase-cmd gives no pass phrase for {path!r}: {error}", location) from None
        secret = _decrypted(block, phrase)
        if secret is None:
            phrase[:] = bytes(len(phrase))
            raise config_error(
                f"the pass phrase from ssl-passphrase-cmd does not decrypt the private key in {path!r}", location,
                remedy="the command is called with that path as its first argument",
            )
        self._known.append(phrase)
        return secret


def _decrypted(block: bytes, phrase: bytearray) -> bytes | None:
    try:
        # Not bytes: a copy could not be wiped.
        key = serialization.load_pem_private_key(block, phrase, unsafe_skip_rsa_key_validation=True)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _self_signed(certified: CertifiedKey) -> bool:
    certificate = certified.certificate
    return certificate.issuer == certificate.subject


def _read_sctl(path: str, location: Location | None) -> bytes:
    data = read_file(path, location, "list of signed certificate timestamps")
    check_timestamps(path, location, data)
    return data


def check_timestamps(name: str, location: Location | None, data: bytes) -> None:
    """Find out whether this is a SignedCertificateTimestampList: two bytes of length, then timestamps with two each.

    RFC 6962 section 3.3.

    Raises:
        ConfigError: it is not.
    """
    at = 2
    while at + 2 < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        if not size:
            break
        at += 2 + size
    if len(data) < 4 or int.from_bytes(data[:2], "big") != len(data) - 2 or at != len(data):
        raise config_error(f"{name!r} is not a list of signed certificate timestamps as RFC 6962 has it", location)


def read_issuers(directory: NamedFile, report: Report) -> IssuerChains:
    """The chains of `issuers-chain-path`: each file of the directory is one, nearest issuer first (3.1).

    Args:
        directory: which.
        report: where errors go, and warnings about files that can't be used and are left out.
    """
    chains: list[tuple[x509.Certificate, ...]] = []
    try:
        names: Iterable[str] = list_directory(directory.path, directory.location, "directory of issuers-chain-path")
    except ConfigError as error:
        report.add(error.diagnostic)
        names = ()
    for name in names:
        full = os.path.join(directory.path, name)
        if name.startswith(".") or os.path.isdir(full):
            continue
        try:
            chains.append(read_certificates(full, directory.location, "file of issuers-chain-path"))
        except ConfigError as error:
            report.add(left_out(error))
    return IssuerChains(chains)
