"""What a compile function may look at: the configuration around the expression, and the world at start-up.

`Surroundings` is what the composition root passes in so that this package stays pure; `Scope` travels with every compile call.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING

from headgate.base.diagnostics import ConfigError, Location, Report, config_error
from headgate.base.records import dataclass, field
from headgate.config.expression import AclDefinition
from headgate.config.model import Config, Proxy
from headgate.plan.places import Place
from headgate.plan.references import References

if TYPE_CHECKING:
    from headgate.plan.table_layout import Layout


def _no_files(path: str) -> bytes:
    raise FileNotFoundError(2, "no files can be read here", path)


def _zero() -> int:
    return 0


def _false() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Facts of the process and the machine.

    Attributes:
        hostname: of this machine, for `hostname` and `%H`.
        environment: for `env()`.
        process_id: asked at run time, since workers are forked later.
        stopping: whether a soft stop is under way.
        uptime: whole seconds since the start.
        read_file: contents of a pattern or map file, given its path. Raises OSError.
        draw: answers an integer in [0, n).
        draw_bytes: answers n random bytes, for `uuid`.
        timezone: of local dates in logs; None is the machine's.
    """

    hostname: str = "localhost"
    environment: Mapping[str, str] = field(default_factory=dict)
    process_id: Callable[[], int] = _zero
    stopping: Callable[[], bool] = _false
    uptime: Callable[[], int] = _zero
    read_file: Callable[[str], bytes] = _no_files
    draw: Callable[[int], int] = random.randrange
    draw_bytes: Callable[[int], bytes] = random.randbytes
    timezone: tzinfo | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Where something is compiled.

    Attributes:
        place: which ruleset, log format or choice.
        acls: definitions of the proxy's ACLs, by name.
        files: contents of pattern and map files that were read already; shared by all scopes of one compilation.
        references: the lists of patterns; shared in the same way.
        tables: the stick tables, in the order of `World.tables`.
    """

    config: Config
    report: Report
    surroundings: Surroundings
    proxy: Proxy
    place: Place
    acls: Mapping[str, tuple[AclDefinition, ...]]
    files: dict[str, bytes] = field(default_factory=dict)
    references: References = field(default_factory=References)
    tables: tuple[Layout, ...] = ()

    def at(self, place: Place) -> Scope:
        """The same scope in another place."""
        return replace(self, place=place)

    def read(self, path: str, location: Location | None = None) -> bytes:
        """A file's contents.

        Raises:
            ConfigError: it can't be read.
        """
        # HAProxy's prefixes for names of maps (2.7): "file@" is a file, "opt@" may be missing, "virt@" never exists.
        kind, at, name = path.partition("@")
        if not at or kind not in ("file", "opt", "virt"):
            kind, name = "file", path
        if kind == "virt":
            return b""
        if location is not None:
            name = os.path.join(self.config.path_bases.get(location.file, ""), name)
        if name not in self.files:
            try:
                self.files[name] = self.surroundings.read_file(name)
            except OSError as error:
                if kind == "opt" and isinstance(error, FileNotFoundError):
                    return b""
                raise config_error(f"can't read '{name}': {error.strerror or error}", location) from None
        return self.files[name]


def shield(report: Report, error: ConfigError) -> None:
    """Record an error that stops the compilation of one rule or format but not of the others."""
    report.add(error.diagnostic)
