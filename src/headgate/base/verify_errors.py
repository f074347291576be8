"""What can be wrong with a certificate, by OpenSSL's numbers and names (x509_vfy.h): one table for options, fetches and messages.

`ca-ignore-err` and `crt-ignore-err` take the numbers, or the names with or without their prefix (manual 5.1); logs and converters
show the names.
"""

from __future__ import annotations

PREFIX = "X509_V_ERR_"
OK = "X509_V_OK"

#: Names without their prefix, from number 1 on.
_NAMES = (
    "UNSPECIFIED", "UNABLE_TO_GET_ISSUER_CERT", "UNABLE_TO_GET_CRL", "UNABLE_TO_DECRYPT_CERT_SIGNATURE",
    "UNABLE_TO_DECRYPT_CRL_SIGNATURE", "UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY", "CERT_SIGNATURE_FAILURE", "CRL_SIGNATURE_FAILURE",
    "CERT_NOT_YET_VALID", "CERT_HAS_EXPIRED", "CRL_NOT_YET_VALID", "CRL_HAS_EXPIRED", "ERROR_IN_CERT_NOT_BEFORE_FIELD",
    "ERROR_IN_CERT_NOT_AFTER_FIELD", "ERROR_IN_CRL_LAST_UPDATE_FIELD", "ERROR_IN_CRL_NEXT_UPDATE_FIELD", "OUT_OF_MEM",
    "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "CERT_CHAIN_TOO_LONG", "CERT_REVOKED", "NO_ISSUER_PUBLIC_KEY", "PATH_LENGTH_EXCEEDED",
    "INVALID_PURPOSE", "CERT_UNTRUSTED", "CERT_REJECTED", "SUBJECT_ISSUER_MISMATCH", "AKID_SKID_MISMATCH",
    "AKID_ISSUER_SERIAL_MISMATCH", "KEYUSAGE_NO_CERTSIGN", "UNABLE_TO_GET_CRL_ISSUER", "UNHANDLED_CRITICAL_EXTENSION",
    "KEYUSAGE_NO_CRL_SIGN", "UNHANDLED_CRITICAL_CRL_EXTENSION", "INVALID_NON_CA", "PROXY_PATH_LENGTH_EXCEEDED",
    "KEYUSAGE_NO_DIGITAL_SIGNATURE", "PROXY_CERTIFICATES_NOT_ALLOWED", "INVALID_EXTENSION", "INVALID_POLICY_EXTENSION",
    "NO_EXPLICIT_POLICY", "DIFFERENT_CRL_SCOPE", "UNSUPPORTED_EXTENSION_FEATURE", "UNNESTED_RESOURCE", "PERMITTED_VIOLATION",
    "EXCLUDED_VIOLATION", "SUBTREE_MINMAX", "APPLICATION_VERIFICATION", "UNSUPPORTED_CONSTRAINT_TYPE",
    "UNSUPPORTED_CONSTRAINT_SYNTAX", "UNSUPPORTED_NAME_SYNTAX", "CRL_PATH_VALIDATION_ERROR", "PATH_LOOP",
    "SUITE_B_INVALID_VERSION", "SUITE_B_INVALID_ALGORITHM", "SUITE_B_INVALID_CURVE", "SUITE_B_INVALID_SIGNATURE_ALGORITHM",
    "SUITE_B_LOS_NOT_ALLOWED", "SUITE_B_CANNOT_SIGN_P_384_WITH_P_256", "HOSTNAME_MISMATCH", "EMAIL_MISMATCH",
    "IP_ADDRESS_MISMATCH", "DANE_NO_MATCH", "EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "INVALID_CALL",
    "STORE_LOOKUP", "NO_VALID_SCTS", "PROXY_SUBJECT_NAME_VIOLATION", "OCSP_VERIFY_NEEDED", "OCSP_VERIFY_FAILED",
    "OCSP_CERT_UNKNOWN", "UNSUPPORTED_SIGNATURE_ALGORITHM", "SIGNATURE_ALGORITHM_MISMATCH", "SIGNATURE_ALGORITHM_INCONSISTENCY",
    "INVALID_CA", "PATHLEN_INVALID_FOR_NON_CA", "PATHLEN_WITHOUT_KU_KEY_CERT_SIGN", "KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA",
    "ISSUER_NAME_EMPTY", "SUBJECT_NAME_EMPTY", "MISSING_AUTHORITY_KEY_IDENTIFIER", "MISSING_SUBJECT_KEY_IDENTIFIER",
    "EMPTY_SUBJECT_ALT_NAME", "EMPTY_SUBJECT_SAN_NOT_CRITICAL", "CA_BCONS_NOT_CRITICAL", "AUTHORITY_KEY_IDENTIFIER_CRITICAL",
    "SUBJECT_KEY_IDENTIFIER_CRITICAL", "CA_CERT_MISSING_KEY_USAGE", "EXTENSIONS_REQUIRE_VERSION_3", "EC_KEY_EXPLICIT_PARAMS",
    "RPK_UNTRUSTED", "OCSP_RESP_INVALID", "OCSP_SIGNATURE_FAILURE", "OCSP_NOT_YET_VALID", "OCSP_HAS_EXPIRED", "OCSP_NO_RESPONSE",
    "CRL_VERIFY_FAILED", "EMPTY_AUTHORITY_KEY_IDENTIFIER", "AKID_ISSUER_SERIAL_NOT_PAIRED",
)  # fmt: skip

#: Number -> full name; 0 is `X509_V_OK`.
VERIFY_ERRORS: dict[int, str] = {0: OK} | {number: PREFIX + name for number, name in enumerate(_NAMES, 1)}
_NUMBERS: dict[str, int] = {name: number for number, name in VERIFY_ERRORS.items()}


def verify_error_name(number: int) -> str:
    """The name of an error, or the number in digits where there is none.

    >>> verify_error_name(10)
    'X509_V_ERR_CERT_HAS_EXPIRED'
    >>> verify_error_name(4711)
    '4711'
    """
    return VERIFY_ERRORS.get(number, str(number))


def verify_error_number(name: str) -> int | None:
    """The number of an error by its name in any case, its name without the prefix, or its digits; None when there is none such.

    >>> verify_error_number("X509_V_ERR_CERT_HAS_EXPIRED"), verify_error_number("cert_revoked"), verify_error_number("12")
    (10, 23, 12)
    """
    if name.isascii() and name.isdecimal() and len(name) < 5:
        return int(name) if int(name) in VERIFY_ERRORS else None
    upper = name.upper()
    number = _NUMBERS.get(upper)
    return _NUMBERS.get(PREFIX + upper) if number is None else number


def verify_error_names() -> tuple[str, ...]:
    """All names, for the operator who wrote one that does not exist."""
    return tuple(_NUMBERS)
