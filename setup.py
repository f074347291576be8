"""Compiles the hot path with mypyc where HEADGATE_COMPILE=1 is set; else headgate is installed as plain Python.

What is compiled, and why the rest is not: docs/decisions/2026-11-28-a-compiled-hot-path.md. Everything else about the project
stands in pyproject.toml.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import tomllib

from setuptools import Extension, setup

SOURCES = pathlib.Path("src")

#: Modules from accept to log line and of health checks, as patterns below src/headgate. A class is compiled together with those
#: that extend it and those that it extends.
COMPILED = (
    "app/doors.py", "app/live.py",
    "balance/*.py",
    "observe/cells.py", "observe/counters.py", "observe/handshakes.py", "observe/key_exchanges.py", "observe/syslog.py",
    "plan/actions/*.py", "plan/converters/*.py", "plan/fetches/*.py",
    "plan/address_headers.py", "plan/balance_keys.py", "plan/captures.py", "plan/checks.py", "plan/conditions.py",
    "plan/expressions.py", "plan/facts.py", "plan/logformat.py", "plan/matchers.py", "plan/patterns.py", "plan/replies.py",
    "plan/rules.py", "plan/samples.py", "plan/sticking.py", "plan/string_hashes.py", "plan/table_values.py",
    "plan/tables.py", "plan/variables.py", "plan/verdicts.py",
    "proxy/*.py",
    "runtime/arrival.py", "runtime/channel.py", "runtime/connector.py", "runtime/early_*.py",
    "runtime/listener.py", "runtime/proxy_header.py", "runtime/reactor.py", "runtime/splice.py", "runtime/tls_*.py",
    "health/http_answer.py", "health/machine.py", "health/state.py",
    "runtime/checks/checked.py", "runtime/checks/connection.py", "runtime/checks/exchange.py", "runtime/checks/plans.py",
    "runtime/checks/pool.py", "runtime/checks/runner.py", "runtime/checks/tls_connection.py", "runtime/checks/turns.py",
    "runtime/logs/*.py",
    "runtime/workers/listener.py", "runtime/workers/sections.py",
    "tables/*.py",
    "tls/alerts.py", "tls/algorithm_names.py", "tls/applied_policy.py", "tls/cached_sessions.py",
    "tls/certificate_requests.py", "tls/client_auth.py", "tls/client_context.py", "tls/client_sessions.py",
    "tls/early_data.py", "tls/facts.py", "tls/first_contact.py", "tls/handshake_facts.py", "tls/handshake_record.py",
    "tls/key_choice.py", "tls/key_log.py", "tls/key_updates.py", "tls/openssl.py", "tls/peer.py", "tls/server_context.py",
    "tls/server_early_data.py", "tls/server_verification.py", "tls/session_context.py", "tls/session_der.py",
    "tls/session_store.py", "tls/shared_sessions.py",
    "wire/client_hello.py", "wire/der.py", "wire/errors.py", "wire/fingerprints.py", "wire/hello_*.py", "wire/proxy_protocol.py",
    "wire/tls_names.py", "wire/http1/*.py",
)  # fmt: skip


def modules() -> list[str]:
    """Paths of the modules to compile."""
    package = SOURCES / "headgate"
    return sorted({str(path) for pattern in COMPILED for path in package.glob(pattern) if path.name != "__init__.py"})


def extensions(directory: str = "build") -> list[Extension]:
    """Translate the modules to C, in `directory`.

    Raises:
        SystemExit: mypyc can't take one of them as it is; the reasons were printed.
    """
    from mypyc.build import mypycify

    options = ["--config-file=pyproject.toml", *modules()]
    found: list[Extension] = mypycify(options, opt_level="3", debug_level="0", multi_file=True, target_dir=directory)
    for one in found:
        # The modules are in one library, and only their functions for Python are called from outside.
        one.extra_compile_args.append("-fvisibility=hidden")
    return found


def build() -> None:
    """Hand over to setuptools."""
    if os.environ.get("HEADGATE_COMPILE", "") != "1":
        setup()
    elif importlib.util.find_spec("mypyc") is None:
        # The first of two calls, in which setuptools asks what is needed. mypy reads the types of the dependencies, too.
        project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
        mypy = [one for one in project["optional-dependencies"]["dev"] if one.startswith("mypy")]
        setup(setup_requires=[*project["dependencies"], *mypy])
    else:
        setup(ext_modules=extensions())


if __name__ == "__main__":
    build()
