"""`ssl-passphrase-cmd`: what the program is called with, what it may print, and how long it may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.app.pass_phrases import LONGEST, PassPhraseCommand


def script(folder: Path, text: str) -> str:
    path = folder / "phrase"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_key_first_then_arguments(tmp_path: Path) -> None:
    command = PassPhraseCommand([script(tmp_path, 'echo "$# $1 $2 $3"'), "--vault", "a b"])
    assert command.ask("/keys/x.pem") == b"3 /keys/x.pem --vault a b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("printf 'a b'", b"a b"), ("printf 'one\\r\\ntwo\\n'", b"one"), ("printf '%1024s' x", b" " * (LONGEST - 1) + b"x")],
)
def test_what_it_prints(tmp_path: Path, text: str, expected: bytes) -> None:
    assert PassPhraseCommand([script(tmp_path, text)]).ask("k") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exit 3", "ended with status 3"),
        ("echo secret; exit 3", "ended with status 3"),
        ("true", "printed nothing"),
        ("echo", "printed nothing"),
        ("yes secret", "printed more than 1024 bytes"),
        ("printf secret; exec sleep 60", "printed no pass phrase within 0.2 s"),
        ("printf secret; exec >&-; exec sleep 60", "did not end within 0.2 s"),
    ],
)
def test_what_it_must_not_do(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as raised:
        PassPhraseCommand([script(tmp_path, text)], patience=5.0 if "60" not in text else 0.2).ask("k")
    assert "secret" not in str(raised.value)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(OSError, match="No such file"):
        PassPhraseCommand(["/nowhere/phrase"]).ask("k")
