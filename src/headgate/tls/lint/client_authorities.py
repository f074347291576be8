"""Client authentication that refuses everybody (manual 5.1 ca-file, crl-file): no root is trusted, or a CA has no list.

What `crt-ignore-err` or `ca-ignore-err` forgives is no mistake. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cryptography import x509

from headgate.base.diagnostics import Location
from headgate.base.findings import Findings
from headgate.config.tls_options import BindTls
from headgate.plan.fetches.certificate_names import readable
from headgate.tls.lint.certificates import is_authority, subject_of

#: X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_GET_CRL.
_NO_ISSUER, _NO_LOCAL_ISSUER, _NO_LIST = 2, 20, 3


def forgives(tls: BindTls, *numbers: int) -> bool:
    """Whether a bind line passes over one of these errors, of a client's certificate or of a CA above it."""
    return any(tls.crt_ignore_err.covers(one) or tls.ca_ignore_err.covers(one) for one in numbers)


def lint_roots(
    tls: BindTls, path: str, authorities: Collection[x509.Certificate], place: Location | None, findings: Findings
) -> None:
    """Whether any chain of a client can end in what is trusted: OpenSSL wants to come to a self-signed certificate.

    Args:
        tls: of the bind line, for the errors that it forgives.
        path: of the `ca-file`, for messages.
        authorities: all that the line trusts.
        place: of the file's name.
        findings: where it says what it found.
    """
    if not authorities or any(one.subject == one.issuer for one in authorities) or forgives(tls, _NO_ISSUER, _NO_LOCAL_ISSUER):
        return
    known = next((one for one in authorities if is_authority(one)), None)
    what, remedy = f"'{path}' has no CA in it", "name the file with the CA that issues your client certificates, up to its root"
    if known is not None:
        above = readable(known.issuer)[:120]
        what = f"the CA {subject_of(known)} in '{path}' was issued by '{above}', and no root is there"
        remedy = f"append the certificates above it, up to the root: cat root.pem >> {path}"
    findings.add("tls-no-client-root", f"{what}: all client certificates are refused", place, remedy=remedy)


def lint_missing_lists(
    tls: BindTls,
    path: str,
    lists: Iterable[x509.CertificateRevocationList],
    authorities: Iterable[x509.Certificate],
    place: Location | None,
    findings: Findings,
) -> None:
    """CAs of a `ca-file` whose list is not in the `crl-file`, which wants one for each CA of a chain.

    Args:
        tls: of the bind line, for the errors that it forgives.
        path: of the `crl-file`, for messages.
        lists: those in it.
        authorities: all that the line trusts.
        place: of the file's name.
        findings: where it says what it found.
    """
    if forgives(tls, _NO_LIST):
        return
    issuers = {one.issuer for one in lists}
    for one in authorities:
        if one.subject not in issuers and (is_authority(one) or one.subject == one.issuer):
            findings.add(
                "tls-no-revocation-list",
                f"'{path}' has no revocation list of the CA {subject_of(one)}: all certificates that it issued are refused",
                place, remedy=f"append its list, in PEM form: cat ca.crl.pem >> {path}",
            )
