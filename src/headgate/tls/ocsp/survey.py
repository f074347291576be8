"""Which certificates take part in OCSP, and what is to be said about them at the start.

Looks at what was loaded and makes entries of the ledger; reads nothing and asks nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from cryptography import x509

from headgate.base.diagnostics import Location, Report
from headgate.base.records import dataclass, field
from headgate.config.ocsp_options import OcspUpdate, WithoutStaple
from headgate.tls.ocsp import certificate_id as ids
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.ledger import Entry, Ledger
from headgate.tls.ocsp.response import Response, Status, check_response, moment_text, subject_of
from headgate.tls.ocsp.stapling import Staples

#: Files that a warning names one by one.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """A certificate that clients are shown.

    Attributes:
        path: its file; location: where the configuration names it.
        leaf: DER.
        issuer: looks for whoever has signed it; None where that is not known.
        ocsp: a response, DER; b"" for an empty file, None for none.
        update: `ocsp-update`, None where it does not say.
    """

    path: str
    location: Location | None
    leaf: bytes
    issuer: Callable[[], x509.Certificate | None]
    ocsp: bytes | None = None
    update: bool | None = None


@dataclass(slots=True)
class _Remarks:
    """What several certificates have in common is said once."""

    no_responder: list[tuple[Loaded, tuple[str, ...]]] = field(default_factory=list)
    no_issuer: list[Loaded] = field(default_factory=list)


class Survey:
    """Fills a ledger.

    Args:
        options: `ocsp-update.*`.
        staples: what handshakes use.
        now: seconds since the epoch.
    """

    def __init__(self, options: OcspUpdate, staples: Staples, now: float) -> None:
        self._options = options
        self._staples = staples
        self._now = now
        self._remarks = _Remarks()

    def take(self, loaded: Loaded, ledger: Ledger, report: Report) -> Entry | None:
        """Look at one certificate.

        Returns:
            Its entry, None when it takes no part: nobody wants it updated, no file comes with it, and it does not insist.
        """
        digest = digest_of(loaded.leaf)
        known = ledger.find(digest)
        if known is not None:
            if loaded.path not in known.paths:
                known.paths.append(loaded.path)
            return known
        certificate = x509.load_der_x509_certificate(loaded.leaf)
        wanted = self._wants_updates(loaded)
        insists = ids.must_staple(certificate)
        if not wanted and loaded.ocsp is None and not insists:
            return None
        entry = self.entry(loaded, certificate)
        ledger.add(entry)
        self._remark(loaded, entry, certificate, wanted)
        if loaded.ocsp:
            self._take_file(loaded, entry, report)
        return entry

    def _wants_updates(self, loaded: Loaded) -> bool:
        return not self._options.disabled and (self._options.mode if loaded.update is None else loaded.update)

    def entry(self, loaded: Loaded, certificate: x509.Certificate) -> Entry:
        """The entry of a certificate, whatever its part is."""
        issuer, subject = loaded.issuer(), None
        if issuer is not None:
            subject = subject_of(certificate, issuer)
        entry = Entry(
            digest_of(loaded.leaf),
            [loaded.path],
            loaded.leaf,
            subject,
            ids.responder_uris(certificate),
            ids.issuer_uris(certificate),
            ids.must_staple(certificate),
            staple=self._staples.of(loaded.leaf),
        )
        can_be_asked = bool(entry.uris) and (subject is not None or (self._options.fetch_issuer and bool(entry.issuer_uris)))
        entry.updates = self._wants_updates(loaded) and can_be_asked
        entry.staple.required = entry.must_staple and self._options.must_staple is WithoutStaple.REFUSE
        return entry

    def _remark(self, loaded: Loaded, entry: Entry, certificate: x509.Certificate, wanted: bool) -> None:
        if wanted and not entry.uris:
            self._remarks.no_responder.append((loaded, ids.crl_uris(certificate)))
        elif (wanted or loaded.ocsp) and entry.subject is None and not entry.updates:
            self._remarks.no_issuer.append(loaded)

    def _take_file(self, loaded: Loaded, entry: Entry, report: Report) -> None:
        """The response that lies beside the certificate."""
        assert loaded.ocsp is not None
        if entry.subject is None:
            return
        try:
            response = check_response(loaded.ocsp, entry.subject, self._now)
        except Failure as failure:
            remedy = "it is fetched now" if entry.updates else "fetch another one, or write 'ocsp-update on'"
            message = f"OCSP response of '{loaded.path}': {failure.text}: its content is ignored"
            report.warn(message, loaded.location, remedy=remedy)
            return
        if entry.response is not None and response.this_update < entry.response.this_update:
            return  # the one on hand is newer
        entry.put(response)
        if response.status is Status.REVOKED:
            report.warn(revoked_text(entry, response), loaded.location, remedy="replace the certificate")

    def renew(self, loaded: Loaded, entry: Entry, report: Report) -> None:
        """A certificate was loaded again: its issuer may be known now, and a response may lie beside it."""
        issuer = loaded.issuer() if entry.subject is None else None
        if issuer is not None:
            entry.subject = subject_of(x509.load_der_x509_certificate(loaded.leaf), issuer)
        if loaded.ocsp:
            self._take_file(loaded, entry, report)

    def conclude(self, report: Report) -> None:
        """Say what several certificates have in common."""
        without = self._remarks.no_responder
        if without:
            first, _ = without[0]
            points = list(dict.fromkeys(uri for _, uris in without for uri in uris))
            lists = f"; revocation lists are at {', '.join(points[:3])}" if points else "; no revocation list either"
            report.warn(
                f"'ocsp-update' has nothing to staple for {_files([one for one, _ in without])}: they name no OCSP responder "
                f"(some CAs, Let's Encrypt among them, have ended OCSP){lists}",
                first.location,
                remedy="write 'ocsp-update off' for them; clients that care look at revocation lists",
            )
        if self._remarks.no_issuer:
            report.warn(
                f"OCSP responses of {_files(self._remarks.no_issuer)} can't be used: the issuer's certificate is not known",
                self._remarks.no_issuer[0].location,
                remedy="put it behind the certificate in its file, in FILE.issuer or in 'issuers-chain-path', or write "
                "'ocsp-update.fetch-issuer on'",
            )


def _files(several: Sequence[Loaded]) -> str:
    names = list(dict.fromkeys(one.path for one in several))
    more = len(names) - _NAMED
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def digest_of(leaf: bytes) -> str:
    """What processes call a certificate among themselves."""
    return hashlib.sha256(leaf).hexdigest()


def revoked_text(entry: Entry, response: Response) -> str:
    """The alarm for a certificate that is revoked."""
    when = f" at {moment_text(response.revoked_at)}" if response.revoked_at is not None else ""
    reason = f" ({response.reason})" if response.reason else ""
    return f"the certificate in '{entry.path}' was revoked{when}{reason}: clients that look at its status refuse it"
