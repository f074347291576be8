"""The facts about this program that conditions of the configuration language ask for (manual 2.4)."""

from __future__ import annotations

from headgate import COMPATIBLE_VERSION
from headgate.cli.build import enabled, features, openssl_name_and_version
from headgate.cli.options import Options
from headgate.config.predicates import BuildFacts


def build_facts(options: Options) -> BuildFacts:
    """What this program is and can do, with the switches of its command line.

    Args:
        options: `-dS` and `-dR` turn run-time options off, `-dV` turns one on.
    """
    off = [name for name, is_off in (("SPLICE", options.no_splice), ("REUSEPORT", options.no_reuse_port)) if is_off]
    on = enabled(off) | ({"SERVER-SSL-VERIFY-NONE"} if options.no_server_verify else frozenset())
    return BuildFacts(version=COMPATIBLE_VERSION, features=features(), tls_library=openssl_name_and_version, enabled=on)
