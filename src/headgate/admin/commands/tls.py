"""The commands about certificates, CA files, CRL files and crt-lists as rows (management manual 9.3); `admin.tls` does the work.

That is loaded when the first of them is used: it loads the TLS library, which a process that speaks no TLS does without.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Scope

_NO_TLS = "No TLS is configured: there are no certificates, CA files, CRL files or crt-lists."


def _handled(name: str, words: Sequence[str], context: Context) -> str:
    """Run a command; what is refused becomes its answer."""
    if context.tls is None:
        raise CommandError(_NO_TLS)
    from headgate.admin.tls import HANDLERS
    from headgate.tls.transactions import Refused

    try:
        return HANDLERS[name](words, context.tls, context)
    except Refused as refusal:
        hint = " Write 'force' behind the file name to install it all the same." if refusal.by_force else ""
        raise CommandError(f"{refusal}{hint}") from None


def _told(name: str, words: Sequence[str], context: Context) -> Sequence[str]:
    if context.tls is None:
        return (*name.split(), *words)
    from headgate.admin.tls import TELLERS

    return TELLERS[name](words, context.tls)


def _row(name: str, usage: str, level: Level) -> Command:
    return Command(name, usage, level, lambda words, context: _handled(name, words, context))


def _change(name: str, usage: str, about: str = "", *, tells: bool = False, listed: bool = True) -> Command:
    """A change that reaches all processes.

    Args:
        about: what it is about, with the first argument: a later change of the same makes it meaningless. "": it counts for ever.
        tells: the others are told something else (`admin.tls.TELLERS`).
        listed: `help` shows it; not what only processes say to each other.
    """
    return Command(
        name,
        usage,
        Level.ADMIN,
        lambda words, context: _handled(name, words, context),
        Scope.EVERYWHERE,
        key=lambda words: (about, words[0]) if about and words else None,
        tells=(lambda words, context: _told(name, words, context)) if tells else None,
        listed=listed,
    )


def _show_keys(words: Sequence[str], context: Context) -> str:
    """Without TLS there are no keys, which is no error."""
    return _handled("show tls-keys", words, context) if context.tls is not None else "# id (file)"


def _show_providers(_: Sequence[str], context: Context) -> str:
    from headgate.tls.providers import names
    from headgate.tls.unbound import Unreachable

    try:
        return "\n".join(["Loaded providers : ", *(f"\t- {name}" for name in names())])
    except Unreachable as why:
        raise CommandError(f"The providers can't be told: {why}.") from None


def _of_files(word: str, called: str) -> tuple[Command, ...]:
    """The commands that CA files and CRL files have in common."""
    return (
        _row(
            f"show ssl {word}", f"[<{word}>[:<index>]] : display the SSL {called}s used in memory, or the details of one",
            Level.OPERATOR,
        ),
        _row(f"new ssl {word}", f"<{word}> : create a new {called} to be used in a crt-list", Level.ADMIN),
        _row(f"set ssl {word}", f"<{word}> <payload> : replace a {called}", Level.ADMIN),
        _change(f"commit ssl {word}", f"<{word}> [force] : commit a {called}", word, tells=True),
        _change(f"install ssl {word}", f"<{word}> <text> : put a {called} into effect", word, listed=False),
        _row(f"abort ssl {word}", f"<{word}> : abort a transaction for a {called}", Level.ADMIN),
        _change(f"del ssl {word}", f"<{word}> : delete an unused {called}", word, tells=True),
        _change(f"remove ssl {word}", f"<{word}> : put the removal of a {called} into effect", word, listed=False),
    )


_IN_MEMORY = "[<certfile>] : display the SSL certificates used in memory, or the details of a file"
_NEW = "<certfile> : create a new certificate file to be used in a crt-list or a directory"
_LISTS = "[-n] [<list>] : show the list of crt-lists or the content of a crt-list file <list>"
_ADD = "<list> {<cert>|<payload>} : add to crt-list file <list> a certificate, or a line with options and filters"
_DELETE = "<list> <cert[:line]> : delete a line <cert> from crt-list file <list>"
_KEYS = "[id|*] : show tls keys references or dump tls ticket keys when id specified"
_KEY = "[id|file] <key> : set the next TLS key for the <id> or <file> listener to <key>"

COMMANDS: tuple[Command, ...] = (
    _row("show ssl cert", _IN_MEMORY, Level.OPERATOR),
    _row("new ssl cert", _NEW, Level.ADMIN),
    _row("set ssl cert", "<certfile> <payload> : replace a certificate file", Level.ADMIN),
    _change("commit ssl cert", "<certfile> [force] : commit a certificate file", "certificate", tells=True),
    _change("install ssl cert", "<certfile> <texts> : put a certificate into effect", "certificate", listed=False),
    _row("abort ssl cert", "<certfile> : abort a transaction for a certificate file", Level.ADMIN),
    _change("del ssl cert", "<certfile> : delete an unused certificate file", "certificate", tells=True),
    _change("remove ssl cert", "<certfile> : put the removal of a certificate into effect", "certificate", listed=False),
    _row("dump ssl cert", "<certfile> : dump the SSL certificates in PEM format", Level.ADMIN),
    *_of_files("ca-file", "CA file"),
    _row("add ssl ca-file", "<cafile> <payload> : add a certificate into the CA file", Level.ADMIN),
    *_of_files("crl-file", "CRL file"),
    _row("show ssl crt-list", _LISTS, Level.OPERATOR),
    _change("add ssl crt-list", _ADD, tells=True),
    _change("insert ssl crt-list", "<list> <line> : put a line of a crt-list into effect", listed=False),
    _change("del ssl crt-list", _DELETE, tells=True),
    _change("remove ssl crt-list", "<list> <cert> <line> : put the removal of a line into effect", listed=False),
    _row("show ssl sni", "[-f <frontend>] [-A] [-t <offset>] : display the SNI in use, or those that expire", Level.OPERATOR),
    _row("show ssl changes", ": certificates, CA files, CRL files and crt-lists that differ from their files", Level.OPERATOR),
    Command("show tls-keys", _KEYS, Level.ADMIN, _show_keys),
    _change("set ssl tls-key", _KEY, "ticket keys", tells=True),
    _change("install ssl tls-keys", "<file> <keys> : put keys of session tickets into effect", "ticket keys", listed=False),
    Command("show ssl providers", ": show loaded SSL providers", Level.OPERATOR, _show_providers),
)
