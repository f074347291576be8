"""Advice that can be followed to the letter: which option is named, where it stands, and what the TLS library can do at all.

Configurations are read and their contexts say what applied; `tests.interop.test_where_limits_stand` has real clients try.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headgate.base.diagnostics import Report
from headgate.base.handshake_causes import Cause
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.tls.algorithm_names import knows_group
from headgate.tls.authority import issue, make_authority
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.handshake_remedies import known_groups
from headgate.tls.server_context import SessionCache
from headgate.wire.tls_names import group_name
from tests.tls.test_handshake_diagnosis import hello, record

RSA, ECDSA = "crt PKI/rsa.pem", "crt PKI/ec.pem"
#: Of `ciphers` where the test does not say what is enabled.
ENABLED = ("TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256")
CIPHER, GROUP, SIGNATURE, VERSION = 193, 193, 118, 258
TLS13: dict[str, Any] = {"versions": (0x0304,), "ciphers": (0x1301,)}
LISTED = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
DEFAULTS = "X25519MLKEM768:X25519:P-256:X448:P-384:P-521:ffdhe2048:ffdhe3072"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pki")
    root = make_authority("Root")
    for name, key in (("ec.pem", "ecdsa"), ("rsa.pem", "rsa"), ("pair.pem.ecdsa", "ecdsa"), ("pair.pem.rsa", "rsa")):
        (path / name).write_bytes(issue(root, ["site.example"], key=key).pem)
    return path


def advice(folder: Path, options: str, said: bytes, number: int, *, settings: str = "", frontend: str = "") -> str:
    """What is said about a client that says this to `bind ... ssl OPTIONS`; paths without their directory."""
    file = folder / "x.cfg"
    text = f"global\n {settings}\ndefaults\n mode http\n timeout client 1s\nfrontend f\n bind :1 ssl {options}\n {frontend}\n"
    file.write_text(text.replace("PKI", str(folder)))
    report = Report()
    config = load([str(file)], {}, BuildFacts(), report)
    assert config is not None, report.alerts
    tls = config.proxies[0].binds[0].tls
    assert tls is not None
    context = build_bind_context(tls, SessionCache(), report)
    assert context is not None, report.alerts
    made = record(error_number=number, first_bytes=said, allowed=ENABLED)
    context.describe(made)
    return made.reason.replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("options", "settings", "said", "number", "expected"),
    [
        # lists of the global section
        (RSA, "ssl-default-bind-curves X25519", hello(groups=(24,), **TLS13), 101,
         "x.cfg:2 allows X25519. To serve it anyway: add P-384 to `ssl-default-bind-curves` in the global section."),
        (RSA, f"ssl-default-bind-ciphers {LISTED}", hello(ciphers=(0xC028,)), CIPHER,
         "add one of these to `ssl-default-bind-ciphers` in the global section."),
        (RSA, "ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256", hello(**TLS13 | {"ciphers": (0x1302,)}), CIPHER,
         "x.cfg:2 allows. To serve it anyway: add one of these to `ssl-default-bind-ciphersuites` in the global section."),
        (RSA, "ssl-default-bind-sigalgs RSA-PSS+SHA256", hello(signatures=(0x0805,)), SIGNATURE,
         "add rsa_pss_rsae_sha384 to `ssl-default-bind-sigalgs` in the global section."),
        (RSA, "ssl-default-bind-options ssl-min-ver TLSv1.3", hello(), VERSION,
         "x.cfg:2 allows TLS 1.3 only. To serve it anyway: `ssl-min-ver TLSv1.2` on that bind line in the place of the global"
         " section's."),
        # the line's own
        ("crt PKI/rsa.pem curves X25519", "ssl-default-bind-curves P-521", hello(groups=(24,), **TLS13), 101,
         "x.cfg:7 allows X25519. To serve it anyway: add P-384 to `curves` on that bind line."),
        ("crt PKI/rsa.pem ecdhe X25519", "", hello(groups=(24,), **TLS13), 101,
         "write `curves X25519:P-384` in the place of `ecdhe` on that bind line."),
        # none is written
        (RSA, "", hello(groups=(31,), **TLS13), 101,
         f"write `curves {DEFAULTS}:brainpoolP256r1tls13` on that bind line."),
        (RSA, "", hello(ciphers=(0xC09C,)), CIPHER, "write `ciphers ALL:-COMPLEMENTOFDEFAULT:AES128-CCM` on that bind line."),
        # versions before TLS 1.2
        (RSA, f"ssl-default-bind-ciphers {LISTED}", hello(legacy=0x0302, ciphers=(0xC013, 0x002F)), VERSION,
         "`ssl-min-ver TLSv1.1` on that bind line and `:ECDHE-RSA-AES128-SHA:@SECLEVEL=0` at the end of"
         " `ssl-default-bind-ciphers` in the global section."),
        (f"crt PKI/rsa.pem ciphers {LISTED}", "", hello(legacy=0x0302, ciphers=(0xC02F, 0x002F)), VERSION,
         "`ssl-min-ver TLSv1.1` on that bind line and `:AES128-SHA:@SECLEVEL=0` at the end of `ciphers`."),
        ("crt PKI/ec.pem ciphers ECDHE+AESGCM", "", hello(legacy=0x0302, ciphers=(0x002F,)), VERSION,
         "`ssl-min-ver TLSv1.1` on that bind line, `:AES128-SHA:@SECLEVEL=0` at the end of `ciphers` and add `crt` with an RSA"
         " certificate for the same name."),
        ("crt PKI/rsa.pem force-tlsv13", "", hello(), VERSION,
         "To serve it anyway: `ssl-min-ver TLSv1.2` behind `force-tlsv13` on that bind line."),
        (RSA, "", hello(legacy=0x0302, ciphers=(0x0005, 0xC02F)), VERSION,
         "and it offers no cipher for TLS 1.1. Nothing that this TLS library still has: the client must be updated."),
        ("crt PKI/rsa.pem no-tlsv12", "ssl-default-bind-options no-tlsv12", hello(), VERSION,
         "take `no-tlsv12` out of x.cfg:7 and of `ssl-default-bind-options`."),
        ("crt PKI/rsa.pem no-tlsv12", "", hello(), VERSION, "take `no-tlsv12` out of x.cfg:7."),
        (RSA, "ssl-default-bind-options no-tlsv12", hello(), VERSION,
         "take `no-tlsv12` out of `ssl-default-bind-options`."),
        # what the library does not have, or its level refuses, or nobody should allow
        (RSA, "", hello(ciphers=(0x0005, 0x000A, 0xC00E, 0x00EE)), CIPHER,
         "none of which x.cfg:7 allows. Nothing that this TLS library still has: the client must be updated."),
        (RSA, "", hello(ciphers=(0x0005, 0xC0A0)), CIPHER,
         "write `ciphers ALL:-COMPLEMENTOFDEFAULT:AES128-CCM8:@SECLEVEL=0` on that bind line."),
        ("crt PKI/rsa.pem ciphers HIGH:!aNULL:!AESCCM:!MD5", "", hello(ciphers=(0xC09C, 0xC09D)), CIPHER,
         "add AES128-CCM to `ciphers` with `!AESCCM` taken out of it on that bind line."),
        (RSA, "ssl-default-bind-ciphers DEFAULT:!SHA1", hello(ciphers=(0xC09C,)), CIPHER,
         "add AES128-CCM to `ssl-default-bind-ciphers` with `DEFAULT` replaced by `ALL:-COMPLEMENTOFDEFAULT` in the global"
         " section."),
        (f"crt PKI/rsa.pem ciphers {LISTED}", "", hello(ciphers=(0xC0A0, 0xC09C)), CIPHER,
         "add AES128-CCM to `ciphers` on that bind line."),
        ("crt PKI/rsa.pem ciphersuites TLS_AES_256_GCM_SHA384", "", hello(**TLS13 | {"ciphers": (0x1305,)}), CIPHER,
         "add TLS_AES_128_CCM_8_SHA256 to `ciphersuites` on that bind line and write `ciphers DEFAULT:@SECLEVEL=0` on that bind"
         " line."),
        (RSA, "", hello(ciphers=(0x003B, 0x0002)), CIPHER, "only ciphers without encryption: NULL-SHA256 and NULL-SHA."),
        (RSA, "", hello(groups=(25497, 19), ciphers=(0xC02F,)), GROUP,
         "None of them is one that this TLS library has for TLS 1.2: the client must be updated."),
        ("crt PKI/rsa.pem curves P-521", "", hello(groups=(25497, 4588, 23), ciphers=(0xC02F,)), GROUP,
         "add P-256 to `curves` on that bind line."),
        ("crt PKI/rsa.pem curves P-521", "", hello(groups=(26, 31), **TLS13), 101,
         "add brainpoolP256r1tls13 to `curves` on that bind line."),
        # SHA-1
        (RSA, "", hello(signatures=(), ciphers=(0xC02F, 0x002F)), SIGNATURE,
         "names no signature algorithms, which in TLS 1.2 stands for SHA-1, and the certificate rsa.pem has an RSA key. To"
         " serve it anyway: `ciphers DEFAULT:@SECLEVEL=0` on that bind line."),
        (RSA, "", hello(signatures=(0x0201,)), SIGNATURE,
         "To serve it anyway: `ciphers DEFAULT:@SECLEVEL=0` on that bind line."),
        ("crt PKI/rsa.pem sigalgs RSA-PSS+SHA256", f"ssl-default-bind-ciphers {LISTED}", hello(signatures=(0x0201,)), SIGNATURE,
         "To serve it anyway: `:@SECLEVEL=0` at the end of `ssl-default-bind-ciphers` in the global section and add"
         " rsa_pkcs1_sha1 to `sigalgs` on that bind line."),
        (ECDSA, "", hello(signatures=(0x0203, 0x0804)), SIGNATURE,
         "Add `crt` with an RSA certificate for the same name on that bind line."),
        # the default certificate answers
        (ECDSA, "", hello(b"", signatures=(0x0804,), **TLS13), SIGNATURE,
         "Add `default-crt` with an RSA certificate (for clients that name no host) on that bind line."),
        (ECDSA, "", hello(b"other.example", ciphers=(0xC02F,)), CIPHER,
         "Add `default-crt` with an RSA certificate (for names that no certificate has)."),
        (RSA, "", hello(b"", groups=(29, 24), ciphers=(0xC02B,)), CIPHER,
         "Add `default-crt` with an ECDSA certificate on P-384 (for clients that name no host)."),
        # ALPN
        (ECDSA, "", hello(alpn=(b"h2", b"a\nb")), 235,
         "The client offers the ALPN protocols h2 and a?b; x.cfg:7 agrees to http/1.1 only. Nothing else is spoken here: let the"
         " client take http/1.1 or http/1.0. In `mode tcp`, `alpn` may name what the servers speak."),
        (ECDSA, "", hello(alpn=(b"h2", b"http/1.0")), 235,
         "To serve it anyway: `alpn http/1.1,http/1.0` on that bind line."),
    ],
)  # fmt: skip
def test_the_option_to_write(folder: Path, options: str, settings: str, said: bytes, number: int, expected: str) -> None:
    found = advice(folder, options, said, number, settings=settings)
    assert expected in found, found


def test_options_of_one_certificate_say_nothing_of_another(folder: Path) -> None:
    lines = "ssl-f-use crt PKI/pair.pem.rsa sigalgs RSA-PSS+SHA256\n ssl-f-use crt PKI/pair.pem.ecdsa ssl-max-ver TLSv1.2"
    found = advice(folder, "", hello(signatures=(0x0403,), **TLS13), SIGNATURE, frontend=lines)
    assert "pair.pem.ecdsa has options of its own" in found and "add " not in found, found


@pytest.mark.parametrize(
    ("options", "said", "number", "cause", "expected"),
    [
        # what can't be used for ECDHE in TLS 1.2, or no groups at all
        (RSA, hello(groups=(256,), ciphers=(0xC02F,)), 193, Cause.NO_COMMON_GROUP,
         "It is none that this TLS library has"),
        (RSA, hello(groups=(4588,), ciphers=(0xC02F,)), 193, Cause.NO_COMMON_GROUP, "allows X25519, P-256, X448"),
        (RSA, hello(groups=(), ciphers=(0xC02F,)), 193, Cause.NO_COMMON_GROUP,
         "Let the client send the extension supported_groups."),
        (f"crt PKI/rsa.pem ciphers {LISTED}", hello(groups=(), ciphers=(0xC02F, 0x002F)), 193, Cause.NO_COMMON_GROUP,
         "supported_groups, or add AES128-SHA to `ciphers` on that bind line."),
        # the curve of the one key that the ciphers are for
        ("crt PKI/rsa.pem crt PKI/ec.pem", hello(groups=(24,), ciphers=(0xC02B,)), 193, Cause.NO_COMMON_GROUP,
         "the key of the certificate ec.pem is on P-256. To serve it anyway: have an ECDSA certificate on P-384 in its place"),
        (ECDSA, hello(signatures=(), ciphers=(0xC02B,)), 193, Cause.NO_COMMON_SIGNATURE_ALGORITHM,
         "`ciphers DEFAULT:@SECLEVEL=0` on that bind line."),
        (ECDSA, hello(signatures=(), ciphers=(0xC02F,)), 193, Cause.NO_COMMON_CIPHER, "only ciphers for RSA keys in common"),
        (ECDSA, hello(groups=(29,), **TLS13), 101, Cause.MISSING_EXTENSION, ""),
        (ECDSA, hello(groups=(26,), **TLS13), 101, Cause.NO_COMMON_GROUP,
         "It is none that this TLS library has for TLS 1.3"),
    ],
)  # fmt: skip
def test_the_true_cause(folder: Path, options: str, said: bytes, number: int, cause: Cause, expected: str) -> None:
    found = advice(folder, options, said, number)
    assert found.startswith(f"{cause.code}: ") and expected in found, found


def test_the_library_is_not_asked_for_groups_without_a_name() -> None:
    """A client may offer as many as a ClientHello holds, and each question takes a context."""
    before = knows_group.cache_info().currsize
    assert known_groups([*map(group_name, range(0x7000, 0x7400)), "X25519"], "TLSv1.3") == ["X25519"]
    assert knows_group.cache_info().currsize <= before + 1
