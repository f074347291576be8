"""Lists of ciphers and of TLS 1.3 suites: which of their names the library does not know, and what was meant.

OpenSSL takes a list as long as one name of it selects something. Here each name is tried alone. Called by `policy` for lists that
OpenSSL refuses, and by `lint.algorithms` for those that it takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, Diagnostic, Severity, config_error, nearest_word
from headgate.config.written_options import WrittenOptions
from headgate.tls.openssl import lib

#: Words of cipher lists that select nothing in the library of today and are no mistake (openssl-ciphers(1), older ones too).
_PAST = frozenset(
    "SSLv2 SSLv3 TLSv1 TLSv1.0 TLSv1.1 TLSv1.2 LOW EXP EXPORT EXPORT40 EXPORT56 DES 3DES RC2 RC4 IDEA SEED MD5 NULL eNULL aNULL"
    " KRB5 FZA kFZA aFZA eFZA SRP kSRP aSRP DSS aDSS kDHr kDHd kDH aDH DH kECDH kECDHr kECDHe aECDH ADH AECDH PSK kPSK aPSK"
    " kRSAPSK kECDHEPSK kDHEPSK GOST kGOST kGOST18 aGOST aGOST01 aGOST12 GOST94 GOST89MAC GOST89MAC12 CAMELLIA CAMELLIA128"
    " CAMELLIA256 ARIA ARIA128 ARIA256 ARIAGCM AESCCM AESCCM8 FIPS COMPLEMENTOFALL COMPLEMENTOFDEFAULT".split()
)
#: Whole names of ciphers that were: their algorithm is none of today's.
_PAST_NAME = re.compile(r"(^|[-_])(RC4|RC2|3?DES|EXP(1024)?|NULL|SEED|IDEA|CAMELLIA\d*|DSS|KRB5|SRP|GOST\w*|MD5|FZA)([-_]|$)")
_ALIASES = (
    "DEFAULT HIGH MEDIUM ALL kRSA aRSA RSA kEECDH kECDHE ECDHE EECDH ECDH kEDH kDHE DHE EDH aECDSA ECDSA AES AES128 AES256 AESGCM"
    " CHACHA20 SHA SHA1 SHA256 SHA384 CBC SUITEB128 SUITEB128ONLY SUITEB192"
).split()
SUITES = (
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)  # fmt: skip


def known_words() -> tuple[str, ...]:
    """What a list of ciphers may have been meant to say."""
    return (*cipher_names(), *_ALIASES, *sorted(_PAST))


def unknown_ciphers(text: str) -> Iterator[str]:
    """The words of a cipher list that mean nothing to the library, and never did.

    >>> list(unknown_ciphers("ECDHE-RSA-AES128-GCM-SHA265:HIGH:!RC4"))
    ['ECDHE-RSA-AES128-GCM-SHA265']
    """
    for element in re.split(r"[:,; @]+", text):
        word = element.lstrip("!-+")
        if not word or word == "STRENGTH" or word.startswith("SECLEVEL=") or _selects(word):
            continue
        for part in word.split("+"):  # ECDHE+AESGCM: both
            if part not in _PAST and not _PAST_NAME.search(part) and not _selects(part):
                yield part


def unknown_suites(text: str) -> Iterator[str]:
    """The names of a list of TLS 1.3 suites that the library does not know."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    for name in text.split(":"):
        if name and lib.SSL_CTX_set_ciphersuites(context._context, name.encode()) != 1:
            lib.ERR_clear_error()
            yield name


@cache
def _selects(word: str) -> bool:
    # Each in a context of its own: one that was told SUITEB128 takes any list from then on, and keeps to that.
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    if lib.SSL_CTX_set_cipher_list(context._context, word.encode()) == 1:
        return True
    lib.ERR_clear_error()
    return False


@cache
def cipher_names(text: str = "ALL:COMPLEMENTOFALL") -> tuple[str, ...]:
    """What a list selects, up to TLS 1.2; nothing where it is not a list."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    if lib.SSL_CTX_set_cipher_list(context._context, text.encode()) != 1:
        lib.ERR_clear_error()
        return ()
    return tuple(name for name in SSL.Connection(context).get_cipher_list() if not name.startswith("TLS_"))


def refused_ciphers(value: str, written: WrittenOptions, reason: str) -> ConfigError:
    """The error for a `ciphers` that selects nothing, about the first of its names that means nothing.

    Args:
        value: the list.
        written: where it stands.
        reason: what OpenSSL says.
    """
    wrong = next(unknown_ciphers(value), None)
    said = f"{written.word('ciphers')} {value!r} selects nothing"
    if wrong is None:
        remedy = f"see what OpenSSL makes of a list with: openssl ciphers -v '{value}'"
        return config_error(f"{said}: {reason}", written.of("ciphers", value), remedy=remedy)
    place = written.of("ciphers", wrong)
    if wrong in SUITES:
        remedy = "write it behind 'ciphersuites', or leave it out: TLS 1.3 offers it by default"
        return config_error(f"{said}: {wrong!r} is a cipher suite of TLS 1.3", place, remedy=remedy)
    # There are too many to list them as what is allowed.
    near = nearest_word(wrong, known_words())
    remedy = "see what there is with: openssl ciphers -v ALL"
    return ConfigError(Diagnostic(Severity.ALERT, f"{said}: there is no {wrong!r}", place, nearest=near, remedy=remedy))


def refused_suites(value: str, written: WrittenOptions, reason: str) -> ConfigError:
    """The error for a `ciphersuites` that OpenSSL refuses; see `refused_ciphers`."""
    wrong = next(unknown_suites(value), None)
    word = written.word("ciphersuites")
    return config_error(
        f"{word} {value!r} selects nothing: " + (f"there is no {wrong!r}" if wrong is not None else reason),
        written.of("ciphersuites", wrong or value), allowed=SUITES, written=wrong,
        remedy=f"see what OpenSSL makes of a list with: openssl ciphers -v -tls1_3 -ciphersuites '{value}'",
    )
