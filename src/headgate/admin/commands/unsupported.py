"""Commands that HAProxy 3.5 registers and that do nothing here yet: each is answered with a line that says so.

A command leaves this list when it is implemented; a test compares the whole with the list of known keywords.
"""

from __future__ import annotations

from headgate.admin.registry import Command, Level

_NAMES = (
    "abort ssl ca-file", "abort ssl cert", "abort ssl crl-file", "acme challenge_ready", "acme renew", "acme status",
    "add ssl ca-file", "add ssl crt-list", "add ssl jwt", "commit ssl ca-file", "commit ssl cert",
    "commit ssl crl-file", "del ssl ca-file", "del ssl cert", "del ssl crl-file", "del ssl crt-list", "del ssl jwt",
    "dump ssl cert", "dump stats-file", "new ssl ca-file", "new ssl cert", "new ssl crl-file", "set ssl ca-file",
    "set ssl cert", "set ssl crl-file", "set ssl ocsp-response", "set ssl tls-key", "show ssl ca-file",
    "show ssl cert", "show ssl crl-file", "show ssl crt-list", "show ssl jwt", "show ssl ocsp-response",
    "show ssl ocsp-updates", "show ssl providers", "show ssl sni", "show tls-keys", "update ssl ocsp-response",
)  # fmt: skip

COMMANDS = tuple(Command(name, "", Level.USER, None) for name in _NAMES)
