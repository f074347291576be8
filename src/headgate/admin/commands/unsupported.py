"""Commands that HAProxy 3.5 registers and that do nothing here yet: each is answered with a line that says so.

A command leaves this list when it is implemented; a test compares the whole with the list of known keywords.
"""

from __future__ import annotations

from headgate.admin.registry import Command, Level

_NAMES = (
    "acme challenge_ready", "acme renew", "acme status", "add ssl jwt", "del ssl jwt", "dump stats-file", "show ssl jwt",
)  # fmt: skip

COMMANDS = tuple(Command(name, "", Level.USER, None) for name in _NAMES)
