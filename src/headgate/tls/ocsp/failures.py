"""Why there is no response that could be stapled: one row for each cause, with what to do about it.

The label is what metrics count by, so there are only as many as there are rows. Fetcher and checks raise `Failure`.
"""

from __future__ import annotations

import enum

from headgate.base.records import dataclass


class Code(enum.IntEnum):
    """Update status of management manual 9.3, `show ssl ocsp-updates`."""

    UNKNOWN = 0
    SUCCESSFUL = 1
    HTTP_ERROR = 2
    MISSING_HEADER = 3
    CHECK_FAILURE = 4
    INSERTION_ERROR = 5


#: The manual's words for them.
STATUS_TEXTS = {
    Code.UNKNOWN: "Unknown",
    Code.SUCCESSFUL: "Update successful",
    Code.HTTP_ERROR: "HTTP error",
    Code.MISSING_HEADER: 'Missing "ocsp-response" header',
    Code.CHECK_FAILURE: "OCSP response check failure",
    Code.INSERTION_ERROR: "Error during insertion",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of failure.

    Attributes:
        label: for metrics.
        code: as HAProxy counts it.
        advice: what the operator can do.
    """

    label: str
    code: Code
    advice: str


_RESPONDER = "nothing to do here but wait: it is the CA's responder"
_OTHER_RESPONDER = "tell the CA; a response fetched by other means can be set with 'set ssl ocsp-response'"
_ISSUER = "check that the issuer beside the certificate is the right one"
_INTERCEPTED = "what answers is no responder: is there a captive portal or a proxy in between?"
_NETWORK = "check routes, firewall and, where a proxy is the way out, 'ocsp-update.httpproxy'"

DNS = Cause("dns", Code.HTTP_ERROR, "check the name servers in /etc/resolv.conf, or name a proxy with 'ocsp-update.httpproxy'")
CONNECT = Cause("connect", Code.HTTP_ERROR, _NETWORK)
TIMEOUT = Cause("timeout", Code.HTTP_ERROR, _NETWORK)
TLS = Cause("tls", Code.HTTP_ERROR, "check 'httpclient.ssl.ca-file' and 'httpclient.ssl.verify'")
BROKEN = Cause("connection_broken", Code.HTTP_ERROR, _RESPONDER)
PROTOCOL = Cause("http_invalid", Code.HTTP_ERROR, "what answers speaks no HTTP: is there a captive portal or a proxy in between?")
HTTP_STATUS = Cause("http_status", Code.HTTP_ERROR, _RESPONDER)
REDIRECTS = Cause("redirects", Code.HTTP_ERROR, _OTHER_RESPONDER)
TOO_LARGE = Cause("too_large", Code.HTTP_ERROR, _INTERCEPTED)
CONTENT_TYPE = Cause("content_type", Code.MISSING_HEADER, _INTERCEPTED)
GARBAGE = Cause("garbage", Code.CHECK_FAILURE, _INTERCEPTED)
TRY_LATER = Cause("try_later", Code.CHECK_FAILURE, _RESPONDER)
INTERNAL = Cause("responder_error", Code.CHECK_FAILURE, _RESPONDER)
MALFORMED = Cause("malformed_request", Code.CHECK_FAILURE, _OTHER_RESPONDER)
SIGNED_REQUEST = Cause("signature_required", Code.CHECK_FAILURE, _OTHER_RESPONDER)
UNAUTHORIZED = Cause(
    "unauthorized", Code.CHECK_FAILURE,
    "the responder does not know the certificate: it was issued minutes ago, or has expired, or the CA has ended OCSP",
)  # fmt: skip
OTHER_CERTIFICATE = Cause("other_certificate", Code.CHECK_FAILURE, _ISSUER)
BAD_SIGNATURE = Cause("bad_signature", Code.CHECK_FAILURE, _ISSUER)
BAD_RESPONDER = Cause("bad_responder", Code.CHECK_FAILURE, _OTHER_RESPONDER)
EXPIRED = Cause("expired", Code.CHECK_FAILURE, "check this machine's clock; if it is right, the responder's answers are stale")
NOT_YET_VALID = Cause("not_yet_valid", Code.CHECK_FAILURE, "check this machine's clock: it seems to be behind")
STATUS_UNKNOWN = Cause(
    "status_unknown", Code.CHECK_FAILURE, "the CA does not know the certificate: it was issued minutes ago, or by another CA"
)
OLDER = Cause("older", Code.INSERTION_ERROR, "a response that is newer is on hand already")
NO_RESPONDER = Cause("no_responder", Code.UNKNOWN, "the CA has no OCSP for this certificate: there is nothing to staple")
NO_ISSUER = Cause(
    "no_issuer", Code.UNKNOWN,
    "put the issuer's certificate behind the certificate in its file, in FILE.issuer or in 'issuers-chain-path', or let it be "
    "fetched with 'ocsp-update.fetch-issuer on'",
)  # fmt: skip

#: All of them: the values that the metric's label may have.
CAUSES = tuple(value for value in vars().values() if isinstance(value, Cause))


class Failure(Exception):
    """There is no response.

    Args:
        cause: the row.
        text: what happened, in words that go on from "the update failed:".
        retry_after: seconds that the responder asked to wait, None if it did not.
    """

    def __init__(self, cause: Cause, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.cause = cause
        self.text = text
        self.retry_after = retry_after
