"""Lists of ciphers: names that OpenSSL passes over in silence, and lists that fit no certificate of the line.

OpenSSL takes a list as long as one name of it selects something. Here each name is tried alone. Lists of curves and of signature
algorithms with an unknown name are errors already (`tls.policy`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache

from OpenSSL import SSL

from headgate.base.diagnostics import Location, nearest_word
from headgate.base.findings import Findings
from headgate.config.option_places import OptionPlaces
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
_SUITES = (
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
)  # fmt: skip


def unknown_algorithms(
    ciphers: str | None,
    ciphersuites: str | None,
    line: Location | None,
    places: OptionPlaces,
    findings: Findings,
    *,
    side: str = "bind",
) -> None:
    """Names in `ciphers` and `ciphersuites` that the library passes over.

    Args:
        ciphers, ciphersuites: the lists, None where there is none.
        line: of the bind or server line.
        places: finds the words again.
        findings: where they go.
        side: bind or server.
    """
    for name in unknown_ciphers(ciphers or ""):
        place = places.find(line, "ciphers", name, side=side)
        if name in _SUITES:
            findings.add(
                "tls-unknown-algorithm", f"'{name}' is a cipher suite of TLS 1.3: in 'ciphers' it has no effect", place,
                remedy="TLS 1.3 offers it by default; a choice of its suites is written behind 'ciphersuites'",
            )
        else:
            _add_unknown("ciphers", name, (*cipher_names(), *_ALIASES, *sorted(_PAST)), place, findings)
    for name in unknown_suites(ciphersuites or ""):
        _add_unknown("ciphersuites", name, _SUITES, places.find(line, "ciphersuites", name, side=side), findings)


def _add_unknown(
    option: str, name: str, known: Collection[str], place: Location | None, findings: Findings
) -> None:
    findings.add(
        "tls-unknown-algorithm",
        f"the TLS library knows no '{name}' and passes over it in silence: only the other names of '{option}' count", place,
        nearest=nearest_word(name, known), remedy="correct the name or take it out",
    )


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
    context = _scratch()
    for name in text.split(":"):
        if name and lib.SSL_CTX_set_ciphersuites(context._context, name.encode()) != 1:
            lib.ERR_clear_error()
            yield name


@cache
def _scratch() -> SSL.Context:
    return SSL.Context(SSL.TLS_SERVER_METHOD)


@cache
def _selects(word: str) -> bool:
    if lib.SSL_CTX_set_cipher_list(_scratch()._context, word.encode()) == 1:
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


def usable_with(text: str, kinds: Collection[str]) -> bool:
    """Whether a cipher list has a cipher that certificates of these kinds of key can be used with, up to TLS 1.2.

    Args:
        text: the list.
        kinds: of `ecdsa`, `rsa`, `dsa`, `eddsa`.
    """
    return any(not (needs := _certificate_of(name)) or needs & set(kinds) for name in cipher_names(text))


def _certificate_of(cipher: str) -> frozenset[str]:
    """The kinds of keys that a cipher authenticates with; none for those that need no certificate."""
    if "ECDSA" in cipher:
        return frozenset({"ecdsa", "eddsa"})
    if "DSS" in cipher:
        return frozenset({"dsa"})
    if cipher.startswith(("ADH-", "AECDH-", "PSK-", "ECDHE-PSK-", "DHE-PSK-", "SRP-AES")):
        return frozenset()
    return frozenset({"rsa"})
