"""What a PROXY header tells a server about the client's TLS connection (PROXY protocol 2.2.6, manual 5.2 proxy-v2-options)."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from headgate.plan.facts import TlsFacts
from headgate.plan.fetches.certificates import FIELDS
from headgate.wire.proxy_protocol import CLIENT_CERT_CONN, CLIENT_CERT_SESS, CLIENT_SSL, TlsInfo

_NOT_VERIFIED: Final = 1

_signature_algorithm: Final = FIELDS["sig_alg"][1]


def tls_info(tls: TlsFacts) -> TlsInfo:
    """All that is known for the SSL TLV; which parts of it are sent is the encoder's choice.

    The certificate's algorithms are those of our own certificate, the common name is the client's.
    """
    client = CLIENT_SSL
    verify = _NOT_VERIFIED
    common_name = encoded = None
    peer = tls.peer_certificate
    if isinstance(peer, x509.Certificate):
        client |= CLIENT_CERT_SESS | (CLIENT_CERT_CONN if tls.client_certificate_sent else 0)
        verify = tls.verify_error
        common_name = _common_name(peer)
        encoded = peer.public_bytes(Encoding.DER)
    own = tls.own_certificate
    signature = key = None
    if isinstance(own, x509.Certificate):
        named = _signature_algorithm(own)
        signature = named if isinstance(named, bytes) else None
        key = _key_name(own)
    return TlsInfo(
        client,
        verify,
        version=tls.version.encode(),
        cn=common_name,
        cipher=tls.cipher.encode(),
        sig_alg=signature,
        key_alg=key,
        group=tls.group,
        client_cert=encoded,
    )


def _common_name(certificate: x509.Certificate) -> bytes | None:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not found:
        return None
    value = found[-1].value
    return value if isinstance(value, bytes) else value.encode("utf-8", "replace")


def _key_name(certificate: x509.Certificate) -> bytes | None:
    """`RSA2048`, `EC256`, `DSA2048`; None for kinds without a size in their name."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return b"RSA%d" % key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return b"EC%d" % key.key_size
    return b"DSA%d" % key.key_size if isinstance(key, dsa.DSAPublicKey) else None
