"""Advice about limits of a bind line, a line of a crt-list or `ssl-f-use`: it names the line where the limit stands, and helps.

As `test_handshake_causes`, without HAProxy: a client that fails, and the configuration changed as the advice says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from headgate.base.handshake_causes import Cause
from headgate.tls.authority import Issued, issue, make_authority
from headgate.tls.dh_parameters import predefined_parameters
from tests.interop.handshake_cases import ANY, BOTH, NEW, OLD, Case, Line
from tests.interop.handshake_clients import NAME, python, s_client
from tests.interop.handshake_scene import Scene

pytestmark = [pytest.mark.xdist_group("handshake-limits"), pytest.mark.needs("openssl")]

#: crt-lists: what each says about the site.
LISTS = {
    "new": "ssl-min-ver TLSv1.3", "any": "ssl-min-ver TLSv1.2", "old": "ssl-max-ver TLSv1.2", "p384": "curves P-384",
    "p384-and-256": "curves P-384:P-256", "aes128": "ciphers ECDHE-ECDSA-AES128-GCM-SHA256",
    "aes": "ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
    "verified": "verify required ca-file clients.pem", "optional": "verify optional ca-file clients.pem",
    "old-too": "ssl-min-ver TLSv1.1", "old-too-weak": "ssl-min-ver TLSv1.1 ciphers ECDHE+aECDSA:@SECLEVEL=0",
    "old-weak": "ssl-min-ver TLSv1.1 ciphers ECDHE+aECDSA",
    "signed": "sigalgs ECDSA+SHA384", "any-signed": "sigalgs ECDSA+SHA384:ecdsa_secp256r1_sha256",
}  # fmt: skip


def listed(name: str) -> Line:
    """A bind line with another certificate and a crt-list."""
    return Line(f"crt-list {{dir}}/{name}.list", crt="other_name.pem")


def rsa(sigalgs: str) -> Line:
    """A frontend with an RSA certificate that has `sigalgs` of its own."""
    return Line("strict-sni", crt="other_name.pem", frontend=f"ssl-f-use crt site_rsa.pem sigalgs {sigalgs}")


def own(options: str) -> Line:
    """A frontend whose certificate has options of its own."""
    return Line("strict-sni", crt="other_name.pem", frontend=f"ssl-f-use crt site.pem {options}")


_OPTIONAL = "verify optional ca-file clients.pem client-sigalgs"
_ANY_CIPHER = "DEFAULT:@SECLEVEL=0"
OLD_CLIENT = s_client("-tls1_1", "-cipher", _ANY_CIPHER, versioned=False)
CASES = (
    Case(
        Cause.NO_COMMON_VERSION, "meets a version of a crt-list", s_client("-tls1_2", versioned=False), listed("new"), ANY,
        ("TLS 1.2 at most; {dir}/new.list:2 allows TLS 1.3 only", "`ssl-min-ver TLSv1.2` on {dir}/new.list:2."), listed("any"),
    ),
    Case(
        Cause.NO_COMMON_VERSION, "meets a version of a crt-list, and there is an RSA certificate as well",
        s_client("-tls1_2", versioned=False), Line("crt-list {dir}/new.list", crt="site_rsa.pem"), ANY,
        ("{dir}/new.list:2 allows TLS 1.3 only", "`ssl-min-ver TLSv1.2` on {dir}/new.list:2."),
        Line("crt-list {dir}/any.list", crt="site_rsa.pem"),
    ),
    Case(
        Cause.NO_COMMON_VERSION, "meets the highest version of a crt-list", s_client("-tls1_3", versioned=False), listed("old"),
        ANY, ("{dir}/old.list:2 allows TLS 1.2 only", "`ssl-max-ver TLSv1.3` on {dir}/old.list:2."), listed("any"),
    ),
    Case(
        Cause.NO_COMMON_VERSION, "meets a version of ssl-f-use", s_client("-tls1_2", versioned=False),
        own("ssl-min-ver TLSv1.3"), ANY, ("allows TLS 1.3 only", "`ssl-min-ver TLSv1.2` on {dir}/headgate.cfg:{next}."),
        own("ssl-min-ver TLSv1.2"),
    ),
    # --- our own fault ---
    Case(
        Cause.CONFIGURATION, "meets client-sigalgs that TLS 1.3 does not have", s_client(), own(f"{_OPTIONAL} RSA+SHA256"), NEW,
        ("{dir}/headgate.cfg:{next} can't serve this", "`client-sigalgs`: add ecdsa_secp256r1_sha256 and rsa_pss_rsae_sha256"),
        own(f"{_OPTIONAL} RSA+SHA256:ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256"), alert="internal_error",
    ),
    Case(
        Cause.CONFIGURATION, "meets no cipher suite of TLS 1.3", s_client(), Line('ciphersuites ""'), NEW,
        ("{line} can't serve this", "Its `ciphersuites` leave none for TLS 1.3"), Line("ciphersuites TLS_AES_256_GCM_SHA384"),
        alert="handshake_failure",
    ),
    # --- no certificate ---
    Case(
        Cause.NO_NAME_SENT, "names no host where certificates are made for names", s_client(name=""),
        Line("generate-certificates ca-sign-file {dir}/signer.pem", crt=""), BOTH,
        ("{line} only has certificates that are made for names (`generate-certificates`)", "or add `crt` with a default"),
        Line("generate-certificates ca-sign-file {dir}/signer.pem crt site.pem", crt=""), s_client(),
    ),
    # --- what a version needs beside its number ---
    Case(
        Cause.NO_COMMON_VERSION, "meets the security level", OLD_CLIENT, Line("ssl-min-ver TLSv1.0"), ANY,
        ("{line} allows TLS 1.0 and up, of which OpenSSL's security level leaves TLS 1.2 and up",
         "To serve it anyway: `ciphers DEFAULT:@SECLEVEL=0` on that bind line."),
        Line("ssl-min-ver TLSv1.0 ciphers DEFAULT:@SECLEVEL=0"), alert="protocol_version",
    ),
    Case(
        Cause.NO_COMMON_VERSION, "meets the security level of ciphers in a crt-list", OLD_CLIENT, listed("old-weak"), ANY,
        ("To serve it anyway: `:@SECLEVEL=0` at the end of `ciphers` on {dir}/old-weak.list:2.",), listed("old-too-weak"),
    ),
    Case(
        Cause.NO_COMMON_VERSION, "meets no-tlsv11, the default and the security level", OLD_CLIENT, Line("no-tlsv11"), ANY,
        ("`ssl-min-ver TLSv1.1` on that bind line, take `no-tlsv11` out of {line} and `ciphers DEFAULT:@SECLEVEL=0`.",),
        Line("ssl-min-ver TLSv1.1 ciphers DEFAULT:@SECLEVEL=0"),
    ),
    Case(
        Cause.NO_COMMON_VERSION, "does not take a forced old version", s_client("-tls1_2", versioned=False),
        Line("force-tlsv10 ciphers DEFAULT:@SECLEVEL=0"), ANY,
        ("TLS 1.2 at most and does not take TLS 1.0; {line} allows TLS 1.0 only.",
         "`ssl-max-ver TLSv1.2` behind `force-tlsv10` on that bind line."),
        Line("force-tlsv10 ciphers DEFAULT:@SECLEVEL=0 ssl-max-ver TLSv1.2"),
    ),
    Case(
        Cause.NO_COMMON_GROUP, "meets curves of a crt-list", s_client("-groups", "P-256"), listed("p384"), NEW,
        ("{dir}/p384.list:2 allows P-384", "add P-256 to `curves` on {dir}/p384.list:2."), listed("p384-and-256"),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "meets ciphers of a crt-list", s_client("-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        listed("aes128"), OLD, ("none of which {dir}/aes128.list:2 allows", "to `ciphers` on {dir}/aes128.list:2."),
        listed("aes"),
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "meets sigalgs of ssl-f-use",
        s_client("-sigalgs", "RSA-PSS+SHA512"), rsa("RSA-PSS+SHA256"), BOTH,
        ("accepts the signature algorithm rsa_pss_rsae_sha512, {dir}/headgate.cfg:{next} has `sigalgs` with rsa_pss_rsae_sha256",
         "add rsa_pss_rsae_sha512 to `sigalgs` on {dir}/headgate.cfg:{next}."),
        rsa("RSA-PSS+SHA256:rsa_pss_rsae_sha512"),
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "meets sigalgs for another kind of key", s_client(),
        Line("sigalgs RSA-PSS+SHA256"), BOTH,
        ("{line} has `sigalgs` with rsa_pss_rsae_sha256, and the certificate {dir}/site.pem has an ECDSA key",
         "add ecdsa_secp256r1_sha256 to `sigalgs` on that bind line."),
        Line("sigalgs RSA-PSS+SHA256:ecdsa_secp256r1_sha256"),
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "meets sigalgs that are not for our RSA key", s_client(),
        Line("sigalgs ECDSA+SHA256", crt="site_rsa.pem"), BOTH, ("add rsa_pss_rsae_sha256 to `sigalgs` on that bind line.",),
        Line("sigalgs ECDSA+SHA256:rsa_pss_rsae_sha256", crt="site_rsa.pem"),
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "meets sigalgs of a crt-list",
        s_client("-sigalgs", "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384"), listed("signed"), NEW,
        ("{dir}/signed.list:2 has `sigalgs` with ecdsa_secp384r1_sha384",  # TLS 1.3 ties it to the curve of the key
         "add ecdsa_secp256r1_sha256 to `sigalgs` on {dir}/signed.list:2."), listed("any-signed"),
    ),
    # --- what certificates and parameters are needed for ---
    Case(
        Cause.NO_COMMON_CIPHER, "offers a cipher that is listed and has no DH parameters",
        s_client("-cipher", "DHE-RSA-AES128-GCM-SHA256"), Line("ciphers DEFAULT:DHE-RSA-AES128-GCM-SHA256", crt="site_rsa.pem"),
        OLD,
        ("offers DHE-RSA-AES128-GCM-SHA256, which {line} allows, but there are no DH parameters.",
         "To serve it anyway: write `tune.ssl.default-dh-param 2048` or `ssl-dh-param-file` into the global section."),
        Line("ciphers DEFAULT:DHE-RSA-AES128-GCM-SHA256", crt="site_dh.pem"),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "offers one that is not listed, without DH parameters",
        s_client("-cipher", "DHE-RSA-AES128-GCM-SHA256"), Line("ciphers ECDHE-RSA-AES128-GCM-SHA256", crt="site_rsa.pem"), OLD,
        ("add one of these to `ciphers` on that bind line and write `tune.ssl.default-dh-param 2048`",),
        Line("ciphers ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256", crt="site_dh.pem"),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "offers ciphers with and without DH parameters",
        s_client("-cipher", "DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
        Line("ciphers ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256", crt="site_rsa.pem"), OLD,
        ("of which {line} allows only DHE-RSA-AES128-GCM-SHA256, but there are no DH parameters",
         "To serve it anyway: add ECDHE-RSA-AES256-GCM-SHA384 to `ciphers` on that bind line."),
        Line("ciphers ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384", crt="site_rsa.pem"),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "offers ciphers without authentication only", s_client("-cipher", "ADH:AECDH:@SECLEVEL=0"),
        Line(), OLD,
        ("The client offers only ciphers without authentication: ", "Let it offer some that encrypt and go with a certificate."),
        repaired=s_client(),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "offers one without authentication as well",
        s_client("-cipher", "AECDH-AES128-SHA:ECDHE-ECDSA-AES256-GCM-SHA384:@SECLEVEL=0"),
        Line("ciphers ECDHE-ECDSA-AES128-GCM-SHA256"), OLD,
        ("add ECDHE-ECDSA-AES256-GCM-SHA384 to `ciphers` on that bind line.",),
        Line("ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "has a key that both sides would have to know", s_client("-cipher", "PSK", "-psk", "1a2b"),
        Line(crt="site_rsa.pem"), OLD,
        ("The client offers only ciphers for keys or passwords that both sides know (PSK, SRP): ",), repaired=s_client(),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "has such a key and RSA ciphers",
        s_client("-cipher", "ECDHE-RSA-AES128-GCM-SHA256:PSK-AES128-CBC-SHA", "-psk", "1a2b"), Line(), OLD,
        ("have only ciphers for RSA keys in common (ECDHE-RSA-AES128-GCM-SHA256), and",), Line(crt="site_rsa.pem"),
    ),
    *(
        Case(
            Cause.NO_COMMON_SIGNATURE_ALGORITHM, f"meets an {key} key, with PKCS 1 in TLS 1.3",
            s_client("-sigalgs", "RSA+SHA256", versioned=False), Line("ssl-min-ver TLSv1.3", crt=crt), NEW,
            ("TLS 1.3 signs with none of these (RSA keys with PSS only). Let it accept", accepted), None,
            s_client("-sigalgs", f"RSA+SHA256:{accepted}", versioned=False),
        )
        for key, crt, accepted in (
            ("ECDSA", "site.pem", "ecdsa_secp256r1_sha256"), ("RSA", "site_rsa.pem", "rsa_pss_rsae_sha384"),
        )
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "wants a signature of another curve", s_client("-sigalgs", "ECDSA+SHA384"), Line(),
        NEW,
        ("has an ECDSA key on P-256, and in TLS 1.3 the curve decides what it signs with.",
         "Have an ECDSA certificate on P-384 in its place on that bind line."), Line(crt="site_p384.pem"),
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "wants a signature of another curve, of an RSA key",
        s_client("-sigalgs", "ECDSA+SHA384"), Line(crt="site_rsa.pem"), NEW,
        ("has an RSA key. Add `crt` with an ECDSA certificate on P-384 for the same name on that bind line.",),
        Line("crt site_p384.pem", crt="site_rsa.pem"),
    ),
    Case(
        Cause.NO_COMMON_GROUP, "has ECDSA ciphers only, and not our curve",
        s_client("-cipher", "ECDHE+aECDSA", "-groups", "P-384"), Line(), OLD,
        ("is on P-256. To serve it anyway: have an ECDSA certificate on P-384 in its place on that bind line.",),
        Line(crt="site_p384.pem"),
    ),
    Case(
        Cause.NO_COMMON_GROUP, "meets ECDSA ciphers only, and not its curve",
        s_client("-groups", "P-384"), Line("ciphers ECDHE+aECDSA"), OLD,
        ("have an ECDSA certificate on P-384 in its place on that bind line.",),
        Line("ciphers ECDHE+aECDSA", crt="site_p384.pem"),
    ),
    Case(
        Cause.NO_COMMON_GROUP, "knows no curve of ECDSA certificates", s_client("-groups", "X25519"),
        Line("ciphers ECDHE+aECDSA"), OLD,
        ("Let the client support P-256: it and the line have no ciphers for RSA keys in common.",),
        repaired=s_client("-groups", "X25519:P-256"),
    ),
    Case(
        Cause.NO_COMMON_GROUP, "has ECDSA ciphers only, and not our curve, and there is an RSA certificate as well",
        s_client("-cipher", "ECDHE+aECDSA", "-groups", "P-384"), Line("crt site_rsa.pem"), OLD,
        ("the key of the certificate {dir}/site.pem is on P-256. To serve it anyway: have an ECDSA certificate on P-384",),
        Line("crt site_rsa.pem", crt="site_p384.pem"),
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "accepts SHA-1 only", s_client("-sigalgs", "RSA+SHA1", "-cipher", _ANY_CIPHER),
        Line(crt="site_rsa.pem"), OLD, ("To serve it anyway: `ciphers DEFAULT:@SECLEVEL=0` on that bind line.",),
        Line("ciphers DEFAULT:@SECLEVEL=0", crt="site_rsa.pem"),
    ),
    Case(
        Cause.NO_COMMON_SIGNATURE_ALGORITHM, "names no host and wants an RSA signature",
        s_client("-sigalgs", "RSA-PSS+SHA256", name=""), Line(), NEW,
        ("Add `default-crt` with an RSA certificate (for clients that name no host) on that bind line.",),
        Line("default-crt site_rsa.pem"),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "names an unknown host and has RSA ciphers only",
        s_client("-cipher", "ECDHE-RSA-AES128-GCM-SHA256", name="unknown.example"), Line(), OLD,
        ("Add `default-crt` with an RSA certificate (for names that no certificate has).",), Line("default-crt site_rsa.pem"),
    ),
    Case(
        Cause.NO_COMMON_CIPHER, "offers one that OpenSSL's level keeps out", s_client("-cipher", "AES128-CCM8:@SECLEVEL=0"),
        Line(crt="site_rsa.pem"), OLD, ("write `ciphers ALL:-COMPLEMENTOFDEFAULT:AES128-CCM8:@SECLEVEL=0` on that bind line.",),
        Line("ciphers ALL:-COMPLEMENTOFDEFAULT:AES128-CCM8:@SECLEVEL=0", crt="site_rsa.pem"),
    ),
    Case(
        Cause.NO_COMMON_VERSION, "meets ciphers of TLS 1.2 as well", OLD_CLIENT, Line("ciphers ECDHE-ECDSA-AES128-GCM-SHA256"),
        ANY,
        ("`ssl-min-ver TLSv1.1` on that bind line and `:ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0` at the end of `ciphers`.",),
        Line("ssl-min-ver TLSv1.1 ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"),
    ),
    Case(
        Cause.CLIENT_CERTIFICATE_MISSING, "meets verify of a crt-list", python(), listed("verified"),
        advice=("{dir}/verified.list:2 has `verify required` with ca-file {dir}/clients.pem",), remedy=listed("optional"),
    ),
    Case(
        Cause.CLIENT_CERTIFICATE_UNKNOWN_CA, "meets a ca-file of a crt-list", python(certificate="stranger.pem"),
        listed("verified"), advice=("ca-file {dir}/clients.pem ({dir}/verified.list:2)",),
        repaired=python(certificate="good.pem"),
    ),
)  # fmt: skip
EVERY = pytest.mark.parametrize(
    ("case", "version"),
    [pytest.param(case, version, id=f"{case.name}-{version}".rstrip("-")) for case in CASES for version in case.versions],
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("limits")
    signer = make_authority("Signer")
    (directory / "signer.pem").write_bytes(Issued(signer.certificate, signer.key).pem)
    root = make_authority("Root")
    on_p384 = issue(root, [NAME], private=ec.generate_private_key(ec.SECP384R1()))
    with_parameters = issue(root, [NAME], key="rsa").pem + predefined_parameters(2048, 2048)
    (directory / "site_p384.pem").write_bytes(on_p384.pem)
    (directory / "site_dh.pem").write_bytes(with_parameters)
    for name, options in LISTS.items():
        (directory / f"{name}.list").write_text(f"# what holds for the site\nsite.pem [{options}] site.example\n")
    with contextlib.ExitStack() as stack:
        yield Scene(directory, stack, ("headgate",), CASES)


@EVERY
def test_the_place_is_named(scene: Scene, case: Case, version: str) -> None:
    advice = scene.run(case, version)["advice"]
    number = scene.headgate.places[case.name, version, False].number
    line = f"{scene.directory}/headgate.cfg:{number}"
    for words in case.advice:
        assert words.format(line=line, dir=scene.directory, next=number + 1) in advice, advice


@EVERY
def test_the_advice_helps(scene: Scene, case: Case, version: str) -> None:
    if case.remedy is not None:
        assert case.client(scene.headgate.visit(case, version, cured=True)), "with the line changed as the advice says"
    if case.repaired is not None:
        assert case.repaired(scene.headgate.visit(case, version)), "with the client changed as the advice says"
