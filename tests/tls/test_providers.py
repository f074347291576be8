"""Providers of OpenSSL. They belong to the process, so each test has one of its own."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from tests.interop.programs import headgate_command

CONFIG = """
global
    {lines}
frontend web
    mode http
    timeout client 1s
    bind 127.0.0.1:1
    http-request return status 200
"""


def checked(directory: pathlib.Path, *lines: str) -> tuple[int, str]:
    """What `-c` answers and says of a global section."""
    path = directory / "haproxy.cfg"
    path.write_text(CONFIG.format(lines="\n    ".join(lines)))
    done = subprocess.run([headgate_command(), "-c", "-f", str(path)], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


def test_built_in_ones_load(tmp_path: pathlib.Path) -> None:
    assert checked(tmp_path, "ssl-provider legacy", "ssl-provider base", "ssl-propquery ?provider=base") == (0, "")


@pytest.mark.parametrize(
    ("lines", "place", "said"),
    [
        (["ssl-provider nowhere"], "column 18", "provider 'nowhere' can't be loaded: could not load the shared library"),
        (["ssl-provider-path /none", "ssl-provider x"], "column 18", "provider 'x' can't be loaded in '/none': could not load"),
        (["ssl-propquery fips=yes"], "column 19", "with the query 'fips=yes' no provider is left that TLS could use"),
        (["ssl-propquery fips=yes"], "column 19", "'?fips=yes' prefers such a provider"),
        (["ssl-propquery ="], "column 19", "'=' is no query of properties"),
    ],
)
def test_what_can_not_be_followed_is_an_error_with_its_place(
    lines: list[str], place: str, said: str, tmp_path: pathlib.Path
) -> None:
    code, errors = checked(tmp_path, *lines)
    assert code == 1 and place in errors and said in errors


REPEATED = """
from headgate.base.diagnostics import NOWHERE, Report
from headgate.config.tls_options import PropertyQuery, Provider
from headgate.tls.providers import apply, names
report = Report()
before = names()
assert before == ["default", "legacy"], before
for query in (PropertyQuery("?provider=base", NOWHERE), None):
    apply((Provider("base", None, NOWHERE),), query, report)
    assert not report.items and names() == ["base", *before], names()
apply((), PropertyQuery("provider=base", NOWHERE), report)
assert "no provider is left" in report.items[0].message
from headgate.tls.openssl import lib
assert lib.SSL_CTX_new(lib.TLS_method())  # what was refused has no effect
"""


def test_a_process_that_reads_another_configuration() -> None:
    done = subprocess.run([sys.executable, "-c", REPEATED], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
