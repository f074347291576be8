"""What people are told, for each cause: the sentences themselves, in advice.txt.

After a change of words, look at what this writes and keep it: `python -m tests.tls.test_handshake_advice > tests/tls/advice.txt`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from headgate.base.handshake_causes import Cause, similar_failures
from headgate.config.written_options import WrittenOptions
from headgate.tls.authority import issue, make_authority
from tests.tls.test_handshake_diagnosis import HERE, LINE, ROWS, Found, Step, record

GOLDEN = Path(__file__).with_name("advice.txt")


def written() -> list[str]:
    lines = [f"{cause.code}: {record(**facts).advice}" for cause, facts in ROWS if cause is not Cause.NONE]
    return sorted(set(lines))


def test_the_sentences() -> None:
    assert written() == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_the_certificate_concerned_is_named_with_its_depth() -> None:
    root = make_authority("Some Root")
    leaf = issue(root, ["alice"], client=True).certificate.public_bytes(Encoding.DER)
    found = record(error_number=134, step=Step.CERTIFICATE, findings=Found(20, 0, leaf))
    assert "The client's certificate \"CN=alice\"" in found.advice and 'its issuer "CN=Some Root"' in found.advice
    above = root.certificate.public_bytes(Encoding.DER)
    found = record(error_number=134, findings=Found(10, 1, above))
    assert 'The CA certificate "CN=Some Root", 1 above its own,' in found.advice


def test_how_often() -> None:
    assert similar_failures(312, 4) == "312 such failures from 4 addresses in the last hour."
    assert similar_failures(1, 1) == "1 such failure from 1 address in the last hour."
    found = record(error_number=118, similar=3, sources=1)
    assert found.advice.endswith(" 3 such failures from 1 address in the last hour.")


def test_the_example_of_the_manual() -> None:
    from tests.tls.test_handshake_diagnosis import hello

    said = hello(versions=(0x0301, 0x0302), ciphers=(0xC009,))
    found = record(error_number=258, line=LINE, first_bytes=said, similar=312, sources=4)
    assert found.advice == (
        "The client offers TLS 1.0 and 1.1 only; haproxy.cfg:14 allows TLS 1.2 and up. To serve it anyway: `ssl-min-ver TLSv1.1`"
        " on that bind line and `ciphers DEFAULT:@SECLEVEL=0`. 312 such failures from 4 addresses in the last hour."
    )


def test_only_suites_that_our_keys_can_be_used_with_are_proposed() -> None:
    from tests.tls.test_handshake_diagnosis import hello

    ecdsa, rsa = 0xC02C, 0xC030
    for offered, expected in (
        ((ecdsa, rsa), "add ECDHE-ECDSA-AES256-GCM-SHA384 to `ciphers` on that bind line."),
        ((rsa,), "add one of these to `ciphers` on that bind line and add `crt` with an RSA certificate for the same name."),
        ((ecdsa,), "add one of these to `ciphers` on that bind line."),
    ):
        allowed = ("ECDHE-ECDSA-AES128-GCM-SHA256",)
        line = replace(LINE, ciphers=allowed[0], written=WrittenOptions(HERE, {"ciphers": HERE}))
        found = record(error_number=193, line=line, first_bytes=hello(ciphers=offered), allowed=allowed)
        assert found.cause is Cause.NO_COMMON_CIPHER and found.advice.endswith(expected), found.advice


if __name__ == "__main__":
    print("\n".join(written()))
