"""Limits of descriptors and memory. They are lowered in processes of their own."""

from __future__ import annotations

import subprocess
import sys

_HEAD = (
    "import os, resource; from headgate.runtime.process.limits import raise_descriptor_limit, limit_memory; "
    "{privileges}; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); "
)
_UNPRIVILEGED = "os.geteuid() == 0 and os.setuid(65534)"


def python(code: str, soft: int = 256, hard: int = 1024) -> str:
    head = _HEAD.format(privileges=_UNPRIVILEGED, soft=soft, hard=hard)
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_soft_limit_is_raised_to_what_maxconn_needs() -> None:
    said = python("print(raise_descriptor_limit(300, 10)); print(resource.getrlimit(resource.RLIMIT_NOFILE))")
    assert said == "DescriptorBudget(maxconn=300, descriptors=642, warning=None)\n(642, 1024)"


def test_a_limit_that_is_high_enough_stays() -> None:
    assert python("print(raise_descriptor_limit(10, 10).descriptors)") == "256"


def test_a_limit_that_cannot_be_raised_is_said_with_the_remedy() -> None:
    said = python("budget = raise_descriptor_limit(2000, 0); print(budget.descriptors, budget.warning)")
    assert said.startswith("1024 cannot raise the limit of open files to 4032, it is 1024")
    assert said.endswith("or set 'maxconn 496'")


def test_without_maxconn_the_limit_decides() -> None:
    assert python("print(raise_descriptor_limit(None, 92))") == "DescriptorBudget(maxconn=450, descriptors=1024, warning=None)"


def test_ulimit_n_is_obeyed() -> None:
    assert python("print(raise_descriptor_limit(100, 0, 500).descriptors)") == "500"


def test_memory_is_limited() -> None:
    code = "limit_memory(512)\ntry: bytearray(1 << 30)\nexcept MemoryError: print('refused')"
    assert python(code) == "refused"
