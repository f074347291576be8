"""The PROXY header that a new server connection begins with (5.2 send-proxy, send-proxy-v2, proxy-v2-options)."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from headgate.config.model import ProxyProtocolSend
from headgate.plan.facts import Stream, TlsFacts
from headgate.wire import proxy_protocol
from headgate.wire.proxy_protocol import TlsInfo

#: Bits of the client field (proxy-protocol.txt 2.2.6).
_CLIENT_SSL = 1
_CLIENT_CERT_CONN = 2
_CLIENT_CERT_SESS = 4


def encode_header(send: ProxyProtocolSend, stream: Stream) -> bytes:
    """The header for a connection that is made on behalf of `stream`'s client."""
    session = stream.session
    source, destination = session.source, session.destination
    if send.version == 1:
        return proxy_protocol.encode_v1(source, session.source_port, destination, session.destination_port)
    tls = session.tls
    tlvs = proxy_protocol.tlvs_for(
        send.options,
        tls=_tls_info(tls) if tls is not None else None,
        alpn=tls.alpn if tls is not None else None,
        authority=tls.sni if tls is not None else None,
        unique_id=stream.unique_id,
    )
    crc32c = "crc32c" in send.options
    return proxy_protocol.encode_v2(
        source, session.source_port, destination, session.destination_port, tlvs, crc32c=crc32c
    )


def _tls_info(tls: TlsFacts) -> TlsInfo:
    flags = _CLIENT_SSL
    certificate = tls.peer_certificate
    name = key = signature = encoded = None
    if isinstance(certificate, x509.Certificate):
        flags |= _CLIENT_CERT_SESS | (_CLIENT_CERT_CONN if tls.client_certificate_sent else 0)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(names[0].value).encode() if names else None
        key = _key_algorithm(certificate)
        signature = certificate.signature_algorithm_oid._name.encode()
        encoded = certificate.public_bytes(serialization.Encoding.DER)
    return TlsInfo(
        client=flags,
        verify=tls.verify_error if encoded is not None else 1,
        version=tls.version.encode(),
        cn=name,
        cipher=tls.cipher.encode(),
        sig_alg=signature,
        key_alg=key,
        client_cert=encoded,
    )


def _key_algorithm(certificate: x509.Certificate) -> bytes:
    """As HAProxy writes it: RSA2048, EC256."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return b"RSA%d" % key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return b"EC%d" % key.key_size
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return b"ED25519" if isinstance(key, ed25519.Ed25519PublicKey) else b"ED448"
    return b"UNKNOWN"
