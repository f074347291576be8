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


#: Programs that are no command, and what is there when they are (scripts/test-programs looks for the same).
_FILES = {"jetty9": "/usr/share/jetty9/start.jar"}


def _installed(program: str) -> bool:
    return os.path.exists(_FILES[program]) if program in _FILES else shutil.which(program) is not None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        wanted = [str(program) for marker in item.iter_markers("needs") for program in marker.args]
        missing = sorted({program for program in wanted if not _installed(program)})
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"needs {' and '.join(missing)}, not installed"))
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))
