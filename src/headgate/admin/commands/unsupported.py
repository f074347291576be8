"""Commands that HAProxy 3.5 registers and that do nothing here yet: each is answered with a line that says so.

A command leaves this list when it is implemented; a test compares the whole with the list of known keywords.
"""

from __future__ import annotations

from headgate.admin.registry import Command, Level

_NAMES = (
    "abort ssl ca-file", "abort ssl cert", "abort ssl crl-file", "acme challenge_ready", "acme renew", "acme status",
    "add ssl ca-file", "add ssl crt-list", "add ssl jwt",
    "clear table", "commit ssl ca-file", "commit ssl cert", "commit ssl crl-file",
    "debug counters", "debug dev abort", "debug dev bug", "debug dev check", "debug dev close", "debug dev deadlock",
    "debug dev delay", "debug dev exit", "debug dev fd", "debug dev hash", "debug dev hex", "debug dev log",
    "debug dev loop", "debug dev panic", "debug dev sched", "debug dev stream", "debug dev sym", "debug dev task",
    "debug dev tkill", "debug dev warn", "debug dev write",
    "del ssl ca-file", "del ssl cert", "del ssl crl-file", "del ssl crt-list", "del ssl jwt",
    "dump ssl cert", "dump stats-file",
    "httpclient", "new ssl ca-file", "new ssl cert",
    "new ssl crl-file", "set anon global-key", "set anon off",
    "set anon on", "set profiling", "set rate-limit",
    "set ssl ca-file", "set ssl cert", "set ssl crl-file", "set ssl ocsp-response", "set ssl tls-key", "set table",
    "show anon", "show cache", "show cli sockets",
    "show dev", "show events", "show fd", "show libs", "show peers", "show profiling", "show quic",
    "show resolvers", "show schema json", "show sess", "show ssl ca-file", "show ssl cert", "show ssl crl-file",
    "show ssl crt-list", "show ssl jwt", "show ssl ocsp-response", "show ssl ocsp-updates", "show ssl providers",
    "show ssl sni", "show startup-logs", "show table", "show tasks", "show threads", "show tls-keys", "show trace",
    "shutdown session", "trace", "update ssl ocsp-response", "wait",
)  # fmt: skip

COMMANDS = tuple(Command(name, "", Level.USER, None) for name in _NAMES)
