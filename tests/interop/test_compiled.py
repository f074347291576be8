"""The form of the program that the other tests here run: interpreted by `make test`, compiled by `make test-compiled`."""

from __future__ import annotations

import os
import subprocess

from tests.interop.programs import headgate_command

EXPECTED = "compiled by mypyc" if os.environ.get("HEADGATE_TEST_COMPILED") else "interpreted"


def test_the_program_says_what_it_is() -> None:
    said = subprocess.run([headgate_command(), "-vv"], capture_output=True, text=True, check=True, timeout=20)
    assert f"\nHot path : {EXPECTED}" in said.stdout
