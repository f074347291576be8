"""Finds and reads configuration files: `-f` arguments in, numbered lines out (management guide, 3).

Memory is bounded whatever is given to us: lines are read one at a time, none may be longer than `LONGEST_LINE`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from headgate.base.diagnostics import Location, config_error

#: Bytes in a line. HAProxy's own limit is far lower (2 kB, or 64 words).
LONGEST_LINE = 65536
_SUFFIX = ".cfg"


def find_files(paths: Sequence[str]) -> Iterator[str]:
    """Expand `-f` arguments: a directory stands for its `*.cfg` files in C order; hidden files don't count.

    Raises:
        ConfigError: nothing there, not readable, or a directory without such files. The iterator can go on behind none.
    """
    for path in paths:
        try:
            mode = os.stat(path).st_mode
            names = sorted(os.listdir(path), key=os.fsencode) if stat.S_ISDIR(mode) else None
        except (OSError, ValueError) as error:
            raise config_error(f"cannot open configuration file '{path}': {_reason(error)}", None) from None
        if names is None:
            yield path
            continue
        found = [name for name in names if name.endswith(_SUFFIX) and not name.startswith(".")]
        files = [file for file in (os.path.join(path, name) for name in found) if not os.path.isdir(file)]
        if not files:
            raise config_error(f"directory '{path}' has no file that ends in '{_SUFFIX}'", None)
        yield from files


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers from 1, without line ends. Bytes that are not UTF-8 become surrogate escapes.

    Raises:
        ConfigError: the file can't be read, or what it holds can't be a configuration (a NUL byte, an endless line).
    """
    try:
        with open(path, "rb") as file:
            if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
                raise config_error(f"'{path}' is a directory", None)
            number = 0
            while raw := file.readline(LONGEST_LINE + 2):
                number += 1
                line = raw.rstrip(b"\r\n")
                if len(line) > LONGEST_LINE:
                    place = Location(path, number, 1, 1, _shown(line))
                    raise config_error(f"line is longer than {LONGEST_LINE} bytes; the rest of the file was not read", place)
                if b"\0" in line:
                    place = Location(path, number, line.index(b"\0") + 1)
                    raise config_error("NUL byte: this is not a text file; the rest of it was not read", place)
                yield number, line.decode("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        raise config_error(f"cannot read configuration file '{path}': {_reason(error)}", None) from None


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _shown(line: bytes) -> str:
    return line[:120].decode("utf-8", "replace")
