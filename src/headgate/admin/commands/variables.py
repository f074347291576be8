"""Process-wide variables, and the secret of dynamic cookies (management manual 9.3 "get var", "set var")."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Mode, Scope
from headgate.base.addresses import ip_text
from headgate.base.diagnostics import ConfigError, Location
from headgate.config.cursor import Word
from headgate.config.parse_expression import parse_expression
from headgate.config.parse_logformat import parse_logformat
from headgate.plan.facts import Session, Stream, Value
from headgate.plan.variables import check_name, put, read_back

_PLACE = Location("<command>", 0)


def _type_of(value: Value) -> tuple[str, str]:
    """The type of a sample in HAProxy's words, and its text."""
    if isinstance(value, bool):
        return "bool", str(int(value))
    if isinstance(value, int):
        return "sint", str(value)
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return f"ipv{value.version}", ip_text(value)
    assert isinstance(value, bytes)
    return "str", value.decode("utf-8", "surrogateescape")


def get_var(words: Sequence[str], context: Context) -> str:
    if not words:
        raise CommandError("Missing process-wide variable identifier.")
    value = context.variables.get(words[0].encode("utf-8", "surrogateescape"))
    if value is None:
        raise CommandError("Variable not found.")
    type_, text = _type_of(value)
    return f"{words[0]}: type={type_} value=<{text}>"


def set_var(words: Sequence[str], context: Context) -> str:
    """`set var <name> [expr] <expression>` and `set var <name> fmt <format>`."""
    if not words:
        raise CommandError("Missing process-wide variable identifier.")
    try:
        scope, key = check_name(words[0], _PLACE)
    except ConfigError as error:
        raise CommandError(error.diagnostic.message) from None
    if scope != "proc":
        raise CommandError(f"'set var': cannot set variable '{words[0]}', only scope 'proc' is permitted here.")
    is_format = words[1:2] == ["fmt"]
    rest = words[2:] if words[1:2] in (["fmt"], ["expr"]) else words[1:]
    if not rest:
        raise CommandError("Missing either 'expr', 'fmt' or expression.")
    additions = context.plan.additions
    if additions is None:
        raise CommandError("Expressions can't be compiled in this process.")
    try:
        word = Word(" ".join(rest) if is_format else rest[0], _PLACE)
        run = additions.value(parse_logformat(word, merge_spaces=False) if is_format else parse_expression(word))
    except ConfigError as error:
        raise CommandError(error.diagnostic.message) from None
    frontend = next(iter(context.frontends.values()), None)
    if frontend is None:
        raise CommandError("There is no frontend, so nothing can look at variables.")
    value = run(Stream(Session(context.world, frontend.plan)))
    if value is None:
        raise CommandError("The expression has no value here: the variable stays as it was.")
    put(context.variables, key, value)
    return ""


def repeat_var(words: Sequence[str], context: Context) -> str:
    """`repeat var <name> <value>`: what a rule of another process set."""
    try:
        scope, key = check_name(words[0], _PLACE)
        value = read_back(words[1])
    except (ConfigError, IndexError, ValueError):
        raise CommandError("'repeat var' is what processes tell each other: use 'set var'.") from None
    if scope != "proc":
        raise CommandError("Only the variables of the process are shared.")
    put(context.variables, key, value)
    return "Repeated."


# --- dynamic cookies -------------------------------------------------------------------------------------------------


def set_dynamic_cookie_key(words: Sequence[str], context: Context) -> str:
    backend = targets.named_backend(words, context)
    if len(words) < 2:
        raise CommandError("String value expected.")
    backend.dynamic_cookie_key = words[1]
    persistence = backend.state.persistence
    if persistence is not None and persistence.dynamic_key is not None:
        persistence.set_dynamic_key(words[1])
    return ""


def enable_dynamic_cookie(words: Sequence[str], context: Context) -> str:
    backend = targets.named_backend(words, context)
    if backend.state.persistence is not None and backend.dynamic_cookie_key is not None:
        backend.state.persistence.set_dynamic_key(backend.dynamic_cookie_key)
    return ""


def disable_dynamic_cookie(words: Sequence[str], context: Context) -> str:
    backend = targets.named_backend(words, context)
    if backend.state.persistence is not None:
        backend.state.persistence.set_dynamic_key(None)
    return ""


def _variable(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("var", words[0]) if words else None


def _cookies(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("dynamic-cookie", words[0], "on") if words else None


def _key(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("dynamic-cookie", words[0], "key") if words else None


COMMANDS = (
    Command("get var", "<name> : retrieve contents of a process-wide variable", Level.OPERATOR, get_var),
    Command(
        "set var", "<name> [fmt|expr] {<fmt>|<expr>} : set variable from an expression/format", Level.OPERATOR, set_var,
        Scope.EVERYWHERE, requires=Mode.EXPERIMENTAL, key=_variable,
    ),
    Command(
        "repeat var", "<name> <value> : for processes", Level.ADMIN, repeat_var, Scope.EVERYWHERE, key=_variable, listed=False
    ),
    Command(
        "set dynamic-cookie-key backend", "<backend> <value> : change a backend secret key for dynamic cookies", Level.ADMIN,
        set_dynamic_cookie_key, Scope.EVERYWHERE, key=_key,
    ),
    Command(
        "enable dynamic-cookie backend", "<backend> : enable dynamic cookies on a specific backend", Level.ADMIN,
        enable_dynamic_cookie, Scope.EVERYWHERE, key=_cookies,
    ),
    Command(
        "disable dynamic-cookie backend", "<backend> : disable dynamic cookies on a specific backend", Level.ADMIN,
        disable_dynamic_cookie, Scope.EVERYWHERE, key=_cookies,
    ),
)
