"""Certificates for themselves: dates, keys, signatures, OCSP responses that must be there, and who can read their files.

Pure but for the permissions of files. With ten thousand certificates every look counts: an intermediate is looked at once.
"""

from __future__ import annotations

import datetime
import os
import stat
from collections.abc import Callable, Collection

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.x509.oid import ExtensionOID

from headgate.base.diagnostics import Location
from headgate.base.findings import Findings
from headgate.plan.fetches.certificate_names import readable
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.line_facts import USUAL_LEVEL
from headgate.tls.ocsp import response
from headgate.tls.ocsp.failures import Failure

#: DER of the identifier of the TLS feature extension (RFC 7633): who has not got it need not be taken apart.
_TLS_FEATURE = bytes.fromhex("06082b06010505070118")
#: What is left of a certificate's life when it is spoken of.
SOON = datetime.timedelta(days=30)
#: X509_V_ERR_CRL_NOT_YET_VALID and X509_V_ERR_CRL_HAS_EXPIRED.
_LIST_TOO_EARLY, _LIST_EXPIRED = 11, 12
#: X509_V_ERR_CA_KEY_TOO_SMALL and X509_V_ERR_CA_MD_TOO_WEAK.
_KEY_TOO_SMALL, _HASH_TOO_WEAK = 67, 68
#: The shortest RSA (and DSA) key and elliptic curve that OpenSSL's security levels take, bits (SSL_CTX_set_security_level).
_SHORTEST = ((0, 0), (1024, 160), (2048, 224), (3072, 256), (7680, 384), (15360, 512))
_RENEW = "renew it; look at it with: openssl x509 -noout -dates -subject -in {path}"


class CertificateLint:
    """Looks at certificates one after the other.

    Args:
        findings: where it says what it found.
        now: the time, aware of its zone.
    """

    def __init__(self, findings: Findings, now: datetime.datetime) -> None:
        self._findings = findings
        self._now = now
        self._soon = now + SOON
        self._seen: set[object] = set()
        self._reachable: dict[str, bool] = {}

    def site(
        self, one: CertifiedKey, certificate: x509.Certificate, location: Location | None, *, key: str | None, updated: bool
    ) -> None:
        """What a bind line presents.

        Args:
            one: the certificate with what is above it.
            certificate: `one.certificate`.
            location: where the configuration names its file.
            key: the file of its private key where the configuration names one.
            updated: its OCSP response is fetched (`ocsp-update on`).
        """
        named = f"certificate '{one.path}'"
        self._dates(certificate, named, "clients refuse the connection", one.path, location)
        self._strength(certificate, named, location, "clients refuse it, or soon will")
        if one.others and self._is_new(one.others):
            for above in one.chain:
                if self._is_new(above):
                    what = f"the intermediate {subject_of(above)} in '{one.path}'"
                    self._dates(above, what, "clients can't follow the chain to its root and refuse it", one.path, location)
                    self._strength(above, what, location, "clients refuse the chain, or soon will")
        if not updated and _TLS_FEATURE in one.leaf and must_staple(certificate) and not self._is_stapled(one, certificate):
            has = "its file has none that can be stapled" if one.ocsp else "has none"
            self._findings.add(
                "tls-must-staple",
                f"{named} must come with an OCSP response (RFC 7633) and {has}: clients that mind it refuse the connection",
                location, remedy=f"put the response into '{one.path}.ocsp', or have it fetched: ocsp-update on",
            )
        self.readable(one.path, key, location)

    def client(self, certificate: x509.Certificate, path: str, location: Location | None) -> None:
        """What a server line presents to its server; `path` is its file."""
        named = f"client certificate '{path}'"
        self._dates(certificate, named, "the server refuses us", path, location)
        self._strength(certificate, named, location, "the server may refuse it")
        self.readable(path, None, location)

    def authority(self, certificate: x509.Certificate, path: str, location: Location | None, whose: str) -> None:
        """A CA of a ca-file.

        Args:
            certificate: the CA's.
            path: the file.
            location: where the configuration names it.
            whose: certificates are verified with it: "client" or "server".
        """
        if self._is_new((certificate, whose, path)):
            what = f"the CA {subject_of(certificate)} in '{path}'"
            self._dates(certificate, what, f"the {whose} certificates that it issued are refused", path, location)

    def authority_strength(
        self,
        certificate: x509.Certificate,
        path: str,
        location: Location | None,
        whose: str,
        level: int,
        trusted: Collection[x509.Certificate],
        forgiven: Callable[[int], bool] = lambda number: False,
    ) -> None:
        """Whether a CA of a ca-file is strong enough for those who verify with it: OpenSSL refuses what a weaker one issued.

        Args:
            certificate, path, location, whose: as for `authority`.
            level: OpenSSL's security level on that line.
            trusted: all CAs that the line trusts.
            forgiven: whether certificates are let in that meet this error of OpenSSL's.
        """
        weak = _weakness(certificate, level)
        if weak is not None and not forgiven(_KEY_TOO_SMALL):
            replaced = f"use a CA with {_keys_of(level)}"
            self._refused(certificate, path, location, whose, level, "tls-weak-key", f"has {weak}", replaced)
        algorithm = _hash_of(certificate) if level else None
        if algorithm is None or certificate.issuer == certificate.subject:
            return  # nobody looks how a root is signed
        if not forgiven(_HASH_TOO_WEAK) and not _has_twin(certificate, trusted):
            reissue = "have it issued anew with SHA-256 or better"
            self._refused(certificate, path, location, whose, level, "tls-weak-signature", f"is signed with {algorithm}", reissue)

    def _refused(
        self, certificate: x509.Certificate, path: str, location: Location | None, whose: str, level: int,
        code: str, weakness: str, remedy: str,
    ) -> None:
        """Say once of a CA that nothing it issued is let in."""
        if self._is_new((certificate, path, whose, level, code)):
            self._findings.add(
                code,
                f"the CA {subject_of(certificate)} in '{path}' {weakness}: at OpenSSL's security level {level}, "
                f"the {whose} certificates that it issued are refused",
                location, remedy=f"{remedy}; or, to let them in all the same, write 'ciphers DEFAULT:@SECLEVEL=0'",
            )

    def revocations(
        self,
        crl: x509.CertificateRevocationList,
        path: str,
        location: Location | None,
        forgiven: Callable[[int], bool] = lambda number: False,
    ) -> None:
        """A list of a crl-file; `forgiven` says whether certificates are let in that meet this error of OpenSSL's."""
        what = f"the revocation list of {readable(crl.issuer)} in '{path}'"
        remedy = f"fetch a new one from the CA; look at it with: openssl crl -noout -nextupdate -in {path}"
        end = crl.next_update_utc
        if self._now < crl.last_update_utc and not forgiven(_LIST_TOO_EARLY):
            self._early(what, crl.last_update_utc, "all certificates of this CA are refused until then", location)
        elif end is not None and not forgiven(_LIST_EXPIRED):
            self._end(what, end, "all certificates of this CA are refused, revoked or not", location, remedy)

    def _is_stapled(self, one: CertifiedKey, certificate: x509.Certificate) -> bool:
        """Whether the OCSP response that was loaded may be sent; an empty file only asks for one (manual 5.1 crt)."""
        issuer = one.signer if one.ocsp else None
        if not one.ocsp or issuer is None:
            return False
        try:
            response.check_response(one.ocsp, response.subject_of(certificate, issuer), self._now.timestamp())
        except Failure:
            return False
        return True

    # --- dates ---

    def _dates(
        self, certificate: x509.Certificate, what: str, consequence: str, path: str, location: Location | None
    ) -> None:
        end = certificate.not_valid_after_utc
        if end < self._soon:
            self._end(what, end, consequence, location, _RENEW.format(path=path))
        begin = certificate.not_valid_before_utc
        if begin > self._now:
            self._early(what, begin, consequence, location)

    def _end(self, what: str, end: datetime.datetime, consequence: str, location: Location | None, remedy: str) -> None:
        if end <= self._now:
            ago = _days(self._now - end)
            self._findings.add(
                "tls-expired", f"{what} expired on {end:%Y-%m-%d} ({ago} ago): {consequence}", location, remedy=remedy
            )
        elif end < self._soon:
            left = _days(end - self._now)
            self._findings.add(
                "tls-expires-soon", f"{what} expires on {end:%Y-%m-%d} (in {left}): from then on {consequence}", location,
                remedy=remedy,
            )

    def _early(self, what: str, begin: datetime.datetime, consequence: str, location: Location | None) -> None:
        self._findings.add(
            "tls-not-yet-valid", f"{what} is valid from {begin:%Y-%m-%d %H:%M} UTC on: {consequence}", location,
            remedy="use the one that it is to replace until then; or this machine's clock is wrong: look with date -u",
        )

    # --- strength ---

    def _strength(self, certificate: x509.Certificate, what: str, location: Location | None, consequence: str) -> None:
        weak = _weakness(certificate)
        if weak is not None:
            self._findings.add(
                "tls-weak-key", f"{what} has {weak}: {consequence}", location,
                remedy="have one issued for a key of at least 2048 bits (RSA), or for P-256 (ECDSA)",
            )
        algorithm = _hash_of(certificate)
        if algorithm is not None and certificate.issuer != certificate.subject:
            self._findings.add(
                "tls-weak-signature", f"{what} is signed with {algorithm}: {consequence}", location,
                remedy="have it issued anew: today's CAs sign with SHA-256 or better",
            )

    # --- files ---

    def readable(self, path: str, key: str | None, location: Location | None) -> None:
        """Whether everybody can read a private key: in the file that is named for it, beside the certificate, or in its file."""
        if key is None:
            key = next(filter(os.path.exists, _beside(path)), path)
        self._secret(key, f"the private key in '{key}': who has it can pose as this site", location)

    def ticket_keys(self, path: str, location: Location | None) -> None:
        """Whether everybody can read a file of ticket keys."""
        what = f"the ticket keys in '{path}': who has them can read what was recorded of connections up to TLS 1.2"
        self._secret(path, what, location)

    def _secret(self, path: str, what: str, location: Location | None) -> None:
        """Whether everybody can read a file; `what` is in it, and what follows from that."""
        if self._is_new(path) and self._open_to_all(path):
            self._findings.add(
                "tls-key-readable", f"everybody on this machine can read {what}", location,
                remedy=f"chmod 600 {path} (it is read before rights are given up)",
            )

    def _open_to_all(self, file: str) -> bool:
        try:
            mode = os.stat(file).st_mode
        except OSError:
            return False
        return bool(mode & stat.S_IROTH) and self._passable(os.path.dirname(os.path.abspath(file)))

    def _passable(self, directory: str) -> bool:
        """Whether everybody can pass through a directory and all above it."""
        known = self._reachable.get(directory)
        if known is None:
            try:
                known = bool(os.stat(directory).st_mode & stat.S_IXOTH)
            except OSError:
                known = False
            above = os.path.dirname(directory)
            known = known and (above == directory or self._passable(above))
            self._reachable[directory] = known
        return known

    def _is_new(self, thing: object) -> bool:
        new = thing not in self._seen
        self._seen.add(thing)
        return new


def _beside(path: str) -> list[str]:
    """Where a key may lie beside its certificate (manual 3.1 ssl-load-extra-files, ssl-load-extra-del-ext)."""
    return [f"{path}.key", f"{path[:-4]}.key"] if path.endswith(".crt") else [f"{path}.key"]


def _weakness(certificate: x509.Certificate, level: int = USUAL_LEVEL) -> str | None:
    """What is wrong with a certificate's key at a security level of OpenSSL's, in words."""
    shortest_rsa, shortest_curve = _SHORTEST[level]
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None  # an intermediate's of another kind
    if isinstance(key, (rsa.RSAPublicKey, dsa.DSAPublicKey)) and key.key_size < shortest_rsa:
        return f"a key of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < shortest_curve:
        return f"a key on a curve of {key.curve.key_size} bits"
    return None


def _keys_of(level: int) -> str:
    """The keys that a security level takes, in words."""
    rsa_bits, curve_bits = _SHORTEST[level]
    return f"a key of at least {rsa_bits} bits (RSA), or of {max(curve_bits, 256)} bits (ECDSA)"


def _has_twin(certificate: x509.Certificate, trusted: Collection[x509.Certificate]) -> bool:
    """Whether there is another certificate of a CA, with the same key, that chains may go through."""
    twins = (one for one in trusted if one.subject == certificate.subject and one != certificate and _hash_of(one) is None)
    return any(one.public_key() == certificate.public_key() for one in twins)


def _hash_of(certificate: x509.Certificate) -> str | None:
    """`MD5` or `SHA-1` where a certificate is signed with that."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return "MD5" if isinstance(algorithm, MD5) else "SHA-1" if isinstance(algorithm, SHA1) else None


def must_staple(certificate: x509.Certificate) -> bool:
    """Whether clients are to refuse a certificate without an OCSP response (RFC 7633 status_request)."""
    try:
        feature = certificate.extensions.get_extension_for_oid(ExtensionOID.TLS_FEATURE).value
    except x509.ExtensionNotFound:
        return False
    return isinstance(feature, x509.TLSFeature) and x509.TLSFeatureType.status_request in feature


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it is a CA's; a server's own certificate in a ca-file is a name already."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension):
        return False


def subject_of(certificate: x509.Certificate) -> str:
    """A certificate's subject, short enough for a message."""
    return f"'{readable(certificate.subject)[:120]}'"


def _days(span: datetime.timedelta) -> str:
    return "1 day" if span.days == 1 else f"{span.days} days" if span.days else "less than a day"
