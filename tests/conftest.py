"""What all tests share: the `needs` and `slow` markers."""

from __future__ import annotations

import glob
import os
import shutil

import pytest

# Debian keeps daemons in /usr/sbin, which is not on every user's path.
os.environ["PATH"] += ":/usr/sbin:/sbin"
# ... and PostgreSQL where several versions can stand beside each other.
os.environ["PATH"] += "".join(f":{path}" for path in sorted(glob.glob("/usr/lib/postgresql/*/bin")))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        wanted = [str(program) for marker in item.iter_markers("needs") for program in marker.args]
        missing = sorted({program for program in wanted if shutil.which(program) is None})
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"needs {' and '.join(missing)}, not installed"))
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))
