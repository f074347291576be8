"""Certificates and OCSP responses for tests: leaves that name responders, and answers that are right or wrong in one way."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from OpenSSL import SSL

from headgate.tls.authority import Authority, Issued, issue
from headgate.tls.ocsp import response
from headgate.tls.ocsp.response import Subject

#: Seconds since the epoch; certificates of tests are valid then.
NOW = float(int(datetime.datetime.now(datetime.UTC).timestamp()))


def make_leaf(
    authority: Authority,
    *uris: str,
    names: Sequence[str] = ("site.example",),
    key: str = "ecdsa",
    must_staple: bool = False,
    issuers: Sequence[str] = (),
    crls: Sequence[str] = (),
) -> Issued:
    """A server certificate that names these responders."""
    extensions: list[x509.ExtensionType] = []
    places = [(AuthorityInformationAccessOID.OCSP, uri) for uri in uris]
    places += [(AuthorityInformationAccessOID.CA_ISSUERS, uri) for uri in issuers]
    if places:
        extensions.append(
            x509.AuthorityInformationAccess(
                [x509.AccessDescription(method, x509.UniformResourceIdentifier(uri)) for method, uri in places]
            )
        )
    if crls:
        points = [x509.DistributionPoint([x509.UniformResourceIdentifier(uri)], None, None, None) for uri in crls]
        extensions.append(x509.CRLDistributionPoints(points))
    if must_staple:
        extensions.append(x509.TLSFeature([x509.TLSFeatureType.status_request]))
    return issue(authority, names, key=key, extensions=extensions)


def make_delegate(
    authority: Authority,
    *,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.OCSP_SIGNING,
    age: float = 0.0,
    padding: int = 0,
) -> Issued:
    """A certificate that signs responses for the CA.

    Args:
        authority: who appoints it.
        purpose: what it is for.
        age: it has expired that many seconds ago, 0: it has not.
        padding: bytes that make it longer.
    """
    extra = [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.5.5.7.1"), b"x" * padding)] if padding else []
    end = None if not age else _moment(NOW - age)
    begin = None if not age else _moment(NOW - age - 86400)
    return issue(authority, ["responder"], purpose=purpose, not_before=begin, not_after=end, extensions=extra)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def subject_of(authority: Authority, leaf: Issued) -> Subject:
    """What responses for a leaf are checked against."""
    return response.subject_of(leaf.certificate, authority.certificate)


def make_response(
    authority: Authority,
    leaf: Issued,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    now: float = NOW,
    begins: float = -60.0,
    ends: float | None = 3600.0,
    signer: Issued | Authority | None = None,
    with_certificate: bool = True,
    by_key: bool = False,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A response in DER.

    Args:
        authority, leaf: about whom.
        status: good, revoked or unknown.
        now: what `begins` (thisUpdate) and `ends` (nextUpdate; None: none) are relative to.
        signer: whose key signs; by default the CA.
        with_certificate: a signer that is not the CA brings its certificate.
        by_key: the signer is named by the hash of its key.
        algorithm: of the CertID.
    """
    signer = signer or authority
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf.certificate,
        issuer=authority.certificate,
        algorithm=algorithm or hashes.SHA1(),
        cert_status=status,
        this_update=_moment(now + begins),
        next_update=None if ends is None else _moment(now + ends),
        revocation_time=_moment(now - 3600) if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    how = ocsp.OCSPResponderEncoding.HASH if by_key else ocsp.OCSPResponderEncoding.NAME
    builder = builder.responder_id(how, signer.certificate)
    if signer is not authority and with_certificate:
        builder = builder.certificates([signer.certificate])
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def make_error(status: ocsp.OCSPResponseStatus) -> bytes:
    """A response that only says why there is none."""
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def asking_context() -> tuple[SSL.Context, list[bytes]]:
    """A client's context, and where the responses end up that its connections are given."""
    seen: list[bytes] = []

    def look(_connection: object, response: bytes, _data: object) -> bool:
        seen.append(response)
        return True

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_ocsp_client_callback(look)
    return context, seen


def asking_client(context: SSL.Context, sock: socket.socket, name: str, *, asks: bool = True) -> SSL.Connection:
    """A client on a connected socket, before its handshake, that asks for a response (or does not)."""
    client = SSL.Connection(context, sock)
    client.set_tlsext_host_name(name.encode())
    if asks:
        client.request_ocsp()
    client.set_connect_state()
    return client
