"""Names of groups and signature algorithms: which of a list the library does not know, and what was meant.

OpenSSL refuses a whole list for one unknown name and does not say which. Called by `policy`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, config_error
from headgate.config.written_options import WrittenOptions
from headgate.tls.openssl import lib

#: What `curves` may list (`openssl list -tls-groups`), by the names that the manual and browsers use.
CURVES: Final = (
    "X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "X25519", "X448", "P-256", "P-384", "P-521", "prime256v1",
    "secp256r1", "secp384r1", "secp521r1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "ffdhe2048", "ffdhe3072",
    "ffdhe4096", "ffdhe6144", "ffdhe8192",
)  # fmt: skip
#: What `sigalgs` may list (RFC 8446 section 4.2.3), and OpenSSL's own spellings.
SIGNATURES: Final = (
    "ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512", "rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512", "rsa_pss_pss_sha256", "rsa_pss_pss_sha384", "rsa_pss_pss_sha512", "rsa_pkcs1_sha256",
    "rsa_pkcs1_sha384", "rsa_pkcs1_sha512", "ed25519", "ed448", "mldsa44", "mldsa65", "mldsa87", "ECDSA+SHA256", "ECDSA+SHA384",
    "ECDSA+SHA512", "RSA+SHA256", "RSA+SHA384", "RSA+SHA512", "RSA-PSS+SHA256", "RSA-PSS+SHA384", "RSA-PSS+SHA512",
)  # fmt: skip


def unknown_name(
    option: str, value: str, written: WrittenOptions, known: tuple[str, ...], takes: Callable[[bytes], bool]
) -> ConfigError:
    """The error for a list that OpenSSL has refused, about the first name that it refuses alone.

    Args:
        option: the keyword.
        value: the list.
        written: where it stands.
        known: names for the nearest one.
        takes: whether OpenSSL takes a list.
    """
    names = [name for name in re.split(r"[:/]", value) if name.strip("?*-")]
    wrong = next((name for name in names if not takes(name.encode("utf-8"))), value)
    return config_error(
        f"{written.word(option)} {value!r}: OpenSSL does not know all of them: there is no {wrong!r}", written.of(option, wrong),
        written=wrong, allowed=known, remedy=f"a colon-separated list such as {':'.join(known[:4:3])}",
    )


@cache
def knows_group(name: str) -> bool:
    """Whether the library has a group: old ones are left out of newer libraries, and drafts were never in them."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    if lib.SSL_CTX_set1_curves_list(context._context, name.encode()) == 1:
        return True
    lib.ERR_clear_error()
    return False
