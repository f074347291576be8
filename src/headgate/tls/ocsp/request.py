"""What is sent to a responder (RFC 6960 section 4.1 and appendix A.1, RFC 5019 section 5)."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from headgate.base.records import dataclass

#: A request up to this many bytes, URI and encoding included, is sent with GET: caches can answer it (RFC 5019 section 5).
LONGEST_GET = 255
CONTENT_TYPE = "application/ocsp-request"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request.

    Attributes:
        method: GET or POST.
        uri: absolute, http or https.
        body: b"" for GET.
        content_type: of the body, "" without one.
        accept: the type of response that is wanted.
    """

    method: str
    uri: str
    body: bytes = b""
    content_type: str = ""
    accept: str = "application/ocsp-response"


def request_for(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """The OCSPRequest for one certificate in DER, without a nonce: a response that is to be stapled can't have one."""
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA1()).build()
    return request.public_bytes(Encoding.DER)


def http_request(uri: str, request: bytes) -> HttpRequest:
    """The request as HTTP: GET where it is short enough, else POST."""
    parts = urlsplit(uri)
    encoded = quote(b64encode(request), safe="")
    if not parts.query and not parts.fragment:
        short = f"{uri}{encoded}" if uri.endswith("/") else f"{uri}/{encoded}"
        if len(short) <= LONGEST_GET:
            return HttpRequest("GET", short)
    return HttpRequest("POST", uri, request, CONTENT_TYPE)
