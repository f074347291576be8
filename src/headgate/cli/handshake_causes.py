"""`headgate handshake-causes`: the closed list of reasons why TLS handshakes fail, as text or as a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from headgate.cli.options import CommandLineError


def causes_command(words: Sequence[str]) -> int:
    """`headgate handshake-causes [--markdown]`.

    Raises:
        CommandLineError: other words.
    """
    from headgate.base.handshake_causes import CAUSES, causes_page

    if list(words) == ["--markdown"]:
        sys.stdout.write(causes_page())
    elif words:
        raise CommandLineError(f"'handshake-causes' takes '--markdown' or nothing, not '{' '.join(words)}'")
    else:
        sys.stdout.write("".join([f"{one.number:>3}  {one.code:<38}  {one.meaning}\n" for one in CAUSES[1:]]))
    return 0
