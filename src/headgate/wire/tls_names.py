"""Names of the numbers in a ClientHello: cipher suites, groups, signature algorithms, extensions (IANA's TLS registries).

Cipher suites have OpenSSL's names, those that `ciphers` and `ciphersuites` take. Only for showing and for comparing names with
what a line allows; nothing is negotiated by these tables. A number without a name is shown in hexadecimal.
"""

from __future__ import annotations

import functools
from typing import Final

CIPHERS: Final = {
    0x0001: "NULL-MD5", 0x0002: "NULL-SHA", 0x0003: "EXP-RC4-MD5", 0x0004: "RC4-MD5", 0x0005: "RC4-SHA",
    0x0006: "EXP-RC2-CBC-MD5", 0x0007: "IDEA-CBC-SHA", 0x0008: "EXP-DES-CBC-SHA", 0x0009: "DES-CBC-SHA", 0x000A: "DES-CBC3-SHA",
    0x0012: "EDH-DSS-DES-CBC-SHA", 0x0013: "EDH-DSS-DES-CBC3-SHA", 0x0014: "EXP-EDH-RSA-DES-CBC-SHA",
    0x0015: "EDH-RSA-DES-CBC-SHA", 0x0016: "EDH-RSA-DES-CBC3-SHA", 0x0018: "ADH-RC4-MD5", 0x001B: "ADH-DES-CBC3-SHA",
    0x002C: "PSK-NULL-SHA", 0x002D: "DHE-PSK-NULL-SHA", 0x002E: "RSA-PSK-NULL-SHA", 0x002F: "AES128-SHA",
    0x0032: "DHE-DSS-AES128-SHA", 0x0033: "DHE-RSA-AES128-SHA", 0x0034: "ADH-AES128-SHA", 0x0035: "AES256-SHA",
    0x0038: "DHE-DSS-AES256-SHA", 0x0039: "DHE-RSA-AES256-SHA", 0x003A: "ADH-AES256-SHA", 0x003B: "NULL-SHA256",
    0x003C: "AES128-SHA256", 0x003D: "AES256-SHA256", 0x0040: "DHE-DSS-AES128-SHA256", 0x0041: "CAMELLIA128-SHA",
    0x0044: "DHE-DSS-CAMELLIA128-SHA", 0x0045: "DHE-RSA-CAMELLIA128-SHA", 0x0046: "ADH-CAMELLIA128-SHA",
    0x0067: "DHE-RSA-AES128-SHA256", 0x006A: "DHE-DSS-AES256-SHA256", 0x006B: "DHE-RSA-AES256-SHA256",
    0x006C: "ADH-AES128-SHA256", 0x006D: "ADH-AES256-SHA256", 0x0084: "CAMELLIA256-SHA", 0x0087: "DHE-DSS-CAMELLIA256-SHA",
    0x0088: "DHE-RSA-CAMELLIA256-SHA", 0x0089: "ADH-CAMELLIA256-SHA", 0x008A: "PSK-RC4-SHA", 0x008B: "PSK-3DES-EDE-CBC-SHA",
    0x008C: "PSK-AES128-CBC-SHA", 0x008D: "PSK-AES256-CBC-SHA", 0x0090: "DHE-PSK-AES128-CBC-SHA",
    0x0091: "DHE-PSK-AES256-CBC-SHA", 0x0094: "RSA-PSK-AES128-CBC-SHA", 0x0095: "RSA-PSK-AES256-CBC-SHA", 0x0096: "SEED-SHA",
    0x009A: "DHE-RSA-SEED-SHA", 0x009C: "AES128-GCM-SHA256", 0x009D: "AES256-GCM-SHA384", 0x009E: "DHE-RSA-AES128-GCM-SHA256",
    0x009F: "DHE-RSA-AES256-GCM-SHA384", 0x00A2: "DHE-DSS-AES128-GCM-SHA256", 0x00A3: "DHE-DSS-AES256-GCM-SHA384",
    0x00A6: "ADH-AES128-GCM-SHA256", 0x00A7: "ADH-AES256-GCM-SHA384", 0x00A8: "PSK-AES128-GCM-SHA256",
    0x00A9: "PSK-AES256-GCM-SHA384", 0x00AA: "DHE-PSK-AES128-GCM-SHA256", 0x00AB: "DHE-PSK-AES256-GCM-SHA384",
    0x00AC: "RSA-PSK-AES128-GCM-SHA256", 0x00AD: "RSA-PSK-AES256-GCM-SHA384", 0x00AE: "PSK-AES128-CBC-SHA256",
    0x00AF: "PSK-AES256-CBC-SHA384", 0x00B0: "PSK-NULL-SHA256", 0x00B1: "PSK-NULL-SHA384", 0x00B2: "DHE-PSK-AES128-CBC-SHA256",
    0x00B3: "DHE-PSK-AES256-CBC-SHA384", 0x00B4: "DHE-PSK-NULL-SHA256", 0x00B5: "DHE-PSK-NULL-SHA384",
    0x00B6: "RSA-PSK-AES128-CBC-SHA256", 0x00B7: "RSA-PSK-AES256-CBC-SHA384", 0x00B8: "RSA-PSK-NULL-SHA256",
    0x00B9: "RSA-PSK-NULL-SHA384", 0x00BA: "CAMELLIA128-SHA256", 0x00BD: "DHE-DSS-CAMELLIA128-SHA256",
    0x00BE: "DHE-RSA-CAMELLIA128-SHA256", 0x00BF: "ADH-CAMELLIA128-SHA256", 0x00C0: "CAMELLIA256-SHA256",
    0x00C3: "DHE-DSS-CAMELLIA256-SHA256", 0x00C4: "DHE-RSA-CAMELLIA256-SHA256", 0x00C5: "ADH-CAMELLIA256-SHA256",
    0x00FF: "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", 0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256", 0x1304: "TLS_AES_128_CCM_SHA256", 0x1305: "TLS_AES_128_CCM_8_SHA256",
    0x5600: "TLS_FALLBACK_SCSV", 0xC002: "ECDH-ECDSA-RC4-SHA", 0xC003: "ECDH-ECDSA-DES-CBC3-SHA",
    0xC004: "ECDH-ECDSA-AES128-SHA", 0xC005: "ECDH-ECDSA-AES256-SHA", 0xC006: "ECDHE-ECDSA-NULL-SHA",
    0xC007: "ECDHE-ECDSA-RC4-SHA", 0xC008: "ECDHE-ECDSA-DES-CBC3-SHA", 0xC009: "ECDHE-ECDSA-AES128-SHA",
    0xC00A: "ECDHE-ECDSA-AES256-SHA", 0xC00C: "ECDH-RSA-RC4-SHA", 0xC00D: "ECDH-RSA-DES-CBC3-SHA",
    0xC00E: "ECDH-RSA-AES128-SHA", 0xC00F: "ECDH-RSA-AES256-SHA", 0xC010: "ECDHE-RSA-NULL-SHA", 0xC011: "ECDHE-RSA-RC4-SHA",
    0xC012: "ECDHE-RSA-DES-CBC3-SHA", 0xC013: "ECDHE-RSA-AES128-SHA", 0xC014: "ECDHE-RSA-AES256-SHA", 0xC015: "AECDH-NULL-SHA",
    0xC016: "AECDH-RC4-SHA", 0xC017: "AECDH-DES-CBC3-SHA", 0xC018: "AECDH-AES128-SHA", 0xC019: "AECDH-AES256-SHA",
    0xC01D: "SRP-AES-128-CBC-SHA", 0xC01E: "SRP-RSA-AES-128-CBC-SHA", 0xC01F: "SRP-DSS-AES-128-CBC-SHA",
    0xC020: "SRP-AES-256-CBC-SHA", 0xC021: "SRP-RSA-AES-256-CBC-SHA", 0xC022: "SRP-DSS-AES-256-CBC-SHA",
    0xC023: "ECDHE-ECDSA-AES128-SHA256", 0xC024: "ECDHE-ECDSA-AES256-SHA384", 0xC027: "ECDHE-RSA-AES128-SHA256",
    0xC028: "ECDHE-RSA-AES256-SHA384", 0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256", 0xC030: "ECDHE-RSA-AES256-GCM-SHA384", 0xC035: "ECDHE-PSK-AES128-CBC-SHA",
    0xC036: "ECDHE-PSK-AES256-CBC-SHA", 0xC037: "ECDHE-PSK-AES128-CBC-SHA256", 0xC038: "ECDHE-PSK-AES256-CBC-SHA384",
    0xC039: "ECDHE-PSK-NULL-SHA", 0xC03A: "ECDHE-PSK-NULL-SHA256", 0xC03B: "ECDHE-PSK-NULL-SHA384",
    0xC050: "ARIA128-GCM-SHA256", 0xC051: "ARIA256-GCM-SHA384", 0xC052: "DHE-RSA-ARIA128-GCM-SHA256",
    0xC053: "DHE-RSA-ARIA256-GCM-SHA384", 0xC056: "DHE-DSS-ARIA128-GCM-SHA256", 0xC057: "DHE-DSS-ARIA256-GCM-SHA384",
    0xC05C: "ECDHE-ECDSA-ARIA128-GCM-SHA256", 0xC05D: "ECDHE-ECDSA-ARIA256-GCM-SHA384", 0xC060: "ECDHE-ARIA128-GCM-SHA256",
    0xC061: "ECDHE-ARIA256-GCM-SHA384", 0xC06A: "PSK-ARIA128-GCM-SHA256", 0xC06B: "PSK-ARIA256-GCM-SHA384",
    0xC06C: "DHE-PSK-ARIA128-GCM-SHA256", 0xC06D: "DHE-PSK-ARIA256-GCM-SHA384", 0xC06E: "RSA-PSK-ARIA128-GCM-SHA256",
    0xC06F: "RSA-PSK-ARIA256-GCM-SHA384", 0xC072: "ECDHE-ECDSA-CAMELLIA128-SHA256", 0xC073: "ECDHE-ECDSA-CAMELLIA256-SHA384",
    0xC076: "ECDHE-RSA-CAMELLIA128-SHA256", 0xC077: "ECDHE-RSA-CAMELLIA256-SHA384", 0xC094: "PSK-CAMELLIA128-SHA256",
    0xC095: "PSK-CAMELLIA256-SHA384", 0xC096: "DHE-PSK-CAMELLIA128-SHA256", 0xC097: "DHE-PSK-CAMELLIA256-SHA384",
    0xC098: "RSA-PSK-CAMELLIA128-SHA256", 0xC099: "RSA-PSK-CAMELLIA256-SHA384", 0xC09A: "ECDHE-PSK-CAMELLIA128-SHA256",
    0xC09B: "ECDHE-PSK-CAMELLIA256-SHA384", 0xC09C: "AES128-CCM", 0xC09D: "AES256-CCM", 0xC09E: "DHE-RSA-AES128-CCM",
    0xC09F: "DHE-RSA-AES256-CCM", 0xC0A0: "AES128-CCM8", 0xC0A1: "AES256-CCM8", 0xC0A2: "DHE-RSA-AES128-CCM8",
    0xC0A3: "DHE-RSA-AES256-CCM8", 0xC0A4: "PSK-AES128-CCM", 0xC0A5: "PSK-AES256-CCM", 0xC0A6: "DHE-PSK-AES128-CCM",
    0xC0A7: "DHE-PSK-AES256-CCM", 0xC0A8: "PSK-AES128-CCM8", 0xC0A9: "PSK-AES256-CCM8", 0xC0AA: "DHE-PSK-AES128-CCM8",
    0xC0AB: "DHE-PSK-AES256-CCM8", 0xC0AC: "ECDHE-ECDSA-AES128-CCM", 0xC0AD: "ECDHE-ECDSA-AES256-CCM",
    0xC0AE: "ECDHE-ECDSA-AES128-CCM8", 0xC0AF: "ECDHE-ECDSA-AES256-CCM8", 0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305", 0xCCAA: "DHE-RSA-CHACHA20-POLY1305", 0xCCAB: "PSK-CHACHA20-POLY1305",
    0xCCAC: "ECDHE-PSK-CHACHA20-POLY1305", 0xCCAD: "DHE-PSK-CHACHA20-POLY1305", 0xCCAE: "RSA-PSK-CHACHA20-POLY1305",
}  # fmt: skip

GROUPS: Final = {
    19: "P-192", 21: "P-224", 22: "secp256k1", 23: "P-256", 24: "P-384", 25: "P-521", 26: "brainpoolP256r1",
    27: "brainpoolP384r1", 28: "brainpoolP512r1", 29: "X25519", 30: "X448", 31: "brainpoolP256r1tls13",
    32: "brainpoolP384r1tls13", 33: "brainpoolP512r1tls13",
    41: "curveSM2", 256: "ffdhe2048", 257: "ffdhe3072", 258: "ffdhe4096", 259: "ffdhe6144",
    260: "ffdhe8192", 512: "MLKEM512", 513: "MLKEM768", 514: "MLKEM1024", 4587: "SecP256r1MLKEM768", 4588: "X25519MLKEM768",
    4589: "SecP384r1MLKEM1024", 25497: "X25519Kyber768Draft00",
}  # fmt: skip
_LEFT_BEHIND: Final = frozenset(
    {"P-192", "P-224", "secp256k1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "X25519Kyber768Draft00"}
)
#: Other names that `curves` takes for the same groups.
GROUP_ALIASES: Final = {
    "secp192r1": "P-192", "prime192v1": "P-192", "secp224r1": "P-224", "secp256r1": "P-256", "prime256v1": "P-256",
    "secp384r1": "P-384", "secp521r1": "P-521", "x25519": "X25519", "x448": "X448",
}  # fmt: skip

SIGNATURES: Final = {
    0x0201: "rsa_pkcs1_sha1", 0x0203: "ecdsa_sha1", 0x0202: "dsa_sha1", 0x0301: "rsa_pkcs1_sha224", 0x0303: "ecdsa_sha224",
    0x0302: "dsa_sha224", 0x0401: "rsa_pkcs1_sha256", 0x0403: "ecdsa_secp256r1_sha256", 0x0402: "dsa_sha256",
    0x0501: "rsa_pkcs1_sha384", 0x0503: "ecdsa_secp384r1_sha384", 0x0502: "dsa_sha384", 0x0601: "rsa_pkcs1_sha512",
    0x0603: "ecdsa_secp521r1_sha512", 0x0602: "dsa_sha512", 0x0101: "rsa_pkcs1_md5", 0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512", 0x0807: "ed25519", 0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256", 0x080A: "rsa_pss_pss_sha384", 0x080B: "rsa_pss_pss_sha512",
    0x081A: "ecdsa_brainpoolP256r1tls13_sha256", 0x081B: "ecdsa_brainpoolP384r1tls13_sha384",
    0x081C: "ecdsa_brainpoolP512r1tls13_sha512", 0x0904: "mldsa44", 0x0905: "mldsa65", 0x0906: "mldsa87",
}  # fmt: skip

#: Those that TLS 1.3 has (RFC 8446 section 4.2.3) for keys on a curve: one for each. For RSA it has PSS, for DSA nothing.
_OF_CURVES: Final = {"P-256": 0x0403, "P-384": 0x0503, "P-521": 0x0603, "ed25519": 0x0807, "ed448": 0x0808}
RSA_PSS: Final = frozenset({0x0804, 0x0805, 0x0806})

#: What OpenSSL's own spellings (`RSA-PSS+SHA256`) begin with.
_SIGNATURE_SPELLINGS: Final = {
    "rsa": "rsa_pkcs1_", "rsa-pss": "rsa_pss_rsae_", "pss": "rsa_pss_rsae_", "ecdsa": "ecdsa_", "dsa": "dsa_",
}  # fmt: skip
_TLS13_ONLY: Final = "TLS_"


def cipher_name(number: int) -> str:
    """`ECDHE-RSA-AES128-GCM-SHA256` for 0xC02F."""
    return CIPHERS.get(number) or f"0x{number:04x}"


def group_name(number: int) -> str:
    """`X25519` for 29."""
    return GROUPS.get(number) or f"0x{number:04x}"


def signature_name(number: int) -> str:
    """`ecdsa_secp256r1_sha256` for 0x0403."""
    return SIGNATURES.get(number) or f"0x{number:04x}"


def is_tls13_cipher(name: str) -> bool:
    """Whether a cipher suite belongs to TLS 1.3, which has ciphers of its own."""
    return name.startswith(_TLS13_ONLY)


def cipher_key_type(name: str) -> str:
    """The type of our key that a cipher suite up to TLS 1.2 needs: `rsa`, `ecdsa`, `dsa`; "" for any, or for none."""
    if is_tls13_cipher(name) or name.startswith(("ADH-", "AECDH-", "PSK-", "DHE-PSK-", "ECDHE-PSK-", "SRP-")):
        return ""
    if "-ECDSA-" in name:
        return "ecdsa"
    return "dsa" if "-DSS-" in name else "rsa"


def is_anonymous(name: str) -> bool:
    """Whether a cipher suite up to TLS 1.2 goes without authentication: nobody can tell who answers."""
    return name.startswith(("ADH-", "AECDH-"))


def needs_secret(name: str) -> bool:
    """Whether a cipher suite is for keys or passwords that both sides know (PSK, SRP): there are none here."""
    return "PSK-" in name or name.startswith("SRP-")


def is_unencrypted(name: str) -> bool:
    """Whether a cipher suite only authenticates what is sent, and hides nothing (RFC 5246 appendix C)."""
    return "NULL-" in name


def is_weak_suite(name: str) -> bool:
    """Whether OpenSSL's security level 1 keeps a cipher suite out that encrypts: its tags have but 64 bits (RFC 6655)."""
    return name.endswith(("CCM8", "CCM_8_SHA256"))


def suite_serves(name: str, version: str) -> bool:
    """Whether a cipher suite is one of a TLS version ("TLSv1.2"): those before TLS 1.2 have SHA-1 and MD5 only (RFC 5246 A.5)."""
    if is_tls13_cipher(name) or version == "TLSv1.3":
        return is_tls13_cipher(name) and version == "TLSv1.3"
    return not name.startswith("IDEA-") if version == "TLSv1.2" else name.endswith(("-SHA", "-MD5"))


def needs_parameters(name: str) -> bool:
    """Whether a cipher suite up to TLS 1.2 needs DH parameters."""
    return name.startswith(("DHE-", "ADH-"))


def suite_key_type(kind: str) -> str:
    """What cipher suites call a type of key: EdDSA goes with those for ECDSA (RFC 8422 section 5.10)."""
    return "ecdsa" if kind == "eddsa" else kind


def cipher_needs_group(name: str) -> bool:
    """Whether a cipher suite up to TLS 1.2 agrees on keys over an elliptic curve, and so needs a common group."""
    return name.startswith(("ECDHE-", "AECDH-"))


def signature_of(written: str) -> str:
    """The name of what `sigalgs` lists, which takes names and OpenSSL's spellings: `rsa_pss_rsae_sha256` for `RSA-PSS+SHA256`."""
    key, plus, digest = written.lower().partition("+")
    if not plus:
        return written
    start = _SIGNATURE_SPELLINGS.get(key, "-")
    return next((one for one in SIGNATURES.values() if one.startswith(start) and one.endswith(f"_{digest}")), written)


def signature_key_type(number: int) -> str:
    """The type of key that makes a signature: `rsa`, `ecdsa`, `dsa`, `eddsa`; "" for what is not known."""
    return signature_kind(SIGNATURES.get(number, ""))


def signature_kind(name: str) -> str:
    """The same for the name of a signature algorithm."""
    for start, kind in (("rsa", "rsa"), ("ecdsa", "ecdsa"), ("dsa", "dsa"), ("ed", "eddsa")):
        if name.startswith(start):
            return kind
    return ""


def curve_of_signature(number: int) -> str:
    """The curve whose keys make a signature in TLS 1.3: `P-384` for ecdsa_secp384r1_sha384; "" where there is none such."""
    return next((curve for curve, one in _OF_CURVES.items() if one == number), "")


def is_newest_signature(name: str) -> bool:
    """Whether handshakes of TLS 1.3 may be signed with it: not with PKCS #1, DSA, SHA-1 or SHA-224 (RFC 8446 section 4.2.3)."""
    return not name.startswith(("rsa_pkcs1", "dsa")) and not name.endswith(("md5", "sha1", "sha224"))


def is_old_group(name: str) -> bool:
    """Whether TLS 1.2 can agree on keys in a group: not in those of ML-KEM, nor in those that came with TLS 1.3."""
    return not ("MLKEM" in name or "Kyber" in name or name.startswith("ffdhe") or name.endswith("tls13") or name == "curveSM2")


def is_new_group(name: str) -> bool:
    """Whether TLS 1.3 can: not in the curves that it left behind (RFC 8446 section 4.2.7), whose place others have taken."""
    return name not in _LEFT_BEHIND


def group_serves(name: str, version: str) -> bool:
    """Whether a TLS version ("TLSv1.2") can agree on keys in a group."""
    return is_new_group(name) if version == "TLSv1.3" else is_old_group(name)


@functools.cache
def newest_signatures(kind: str, curve: str) -> frozenset[int]:
    """The signature algorithms that a key can sign with in TLS 1.3.

    Args:
        kind: see `signature_key_type`.
        curve: of the key, by OpenSSL's name or ours; "" for any.
    """
    if kind == "rsa":
        return RSA_PSS
    curve = GROUP_ALIASES.get(curve, curve)
    found = _OF_CURVES.values() if not curve else [_OF_CURVES[curve]] if curve in _OF_CURVES else []
    return frozenset(number for number in found if signature_key_type(number) == kind)
