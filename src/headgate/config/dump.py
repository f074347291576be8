"""A resolved configuration as text: one fact a line, `path = value`, in a stable order. For golden tests and `headgate` itself.

Facts that have their default are left out, and so are places and secrets. Not a way to write haproxy.cfg.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from headgate.base.addresses import Address
from headgate.base.diagnostics import Location
from headgate.config.expression import Condition, Criterion, LogFormat, SampleExpression
from headgate.config.model import Config, Proxy

#: Never shown, whatever holds them.
_SECRETS = frozenset({"password", "dynamic_cookie_key", "ca_sign_pass"})
#: They, and mappings of nothing but places.
_HIDDEN = _SECRETS | {"places"}


#: What the path says already.
_OBVIOUS = {"Proxy": ("name", "kind", "mode"), "Rule": ("ruleset",), "Userlist": ("name",), "Ring": ("name",)}


def dump(config: Config) -> str:
    """Write all facts of a configuration that are not defaults."""
    lines = list(_facts("global", config.global_))
    for proxy in config.proxies:
        lines += _facts(f"{proxy.kind.value} {proxy.name}", proxy)
    for kind, sections in (
        ("userlist", config.userlists), ("ring", config.rings), ("http-errors", config.error_sections)
    ):
        for name, section in sections.items():
            lines += _facts(f"{kind} {name}", section)
    return "\n".join(lines) + "\n" if lines else ""


def _facts(path: str, value: Any) -> Iterator[str]:
    """The facts of one dataclass."""
    if isinstance(value, Proxy):
        yield f"{path}.mode = {value.mode.value}"
    for field in fields(value):
        content = getattr(value, field.name)
        if field.name in _HIDDEN or isinstance(content, Location) or _is_default(field, content):
            continue
        if content is None or field.name in _OBVIOUS.get(type(value).__name__, ()):
            continue
        yield from _fact(f"{path}.{field.name}", content)


def _fact(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _fact(f"{path}[{_plain(key)}]", item)
    elif isinstance(value, tuple) and any(is_dataclass(item) for item in value):
        for number, item in enumerate(value):
            yield from _fact(f"{path}[{number}]", item)
    elif is_dataclass(value) and not isinstance(value, Address) and _text(value) is None:
        inner = list(_facts(path, value))
        if not inner or path.endswith(".action"):
            yield f"{path} = {type(value).__name__}"
        yield from inner
    else:
        yield f"{path} = {_plain(value)}"


def _is_default(field: Field[Any], value: Any) -> bool:
    if field.default is not MISSING:
        return bool(value == field.default)
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    return False


def _plain(value: Any) -> str:
    """One value on one line."""
    shown = _text(value)
    if shown is not None:
        return shown
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, bytes):
        return repr(value)
    if isinstance(value, frozenset):
        return " ".join(sorted(str(item) for item in value))
    if isinstance(value, tuple):
        return " ".join(_plain(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _text(value: Any) -> str | None:
    """Syntax trees as they were written."""
    if isinstance(value, SampleExpression | LogFormat):
        return value.text
    if isinstance(value, Criterion):
        return f"{{ {_criterion(value)} }}"
    if isinstance(value, Condition):
        return _condition(value)
    return None


def _criterion(value: Criterion) -> str:
    words = [value.expression.text]
    words += ["-i"] * value.ignore_case + ["-n"] * value.no_resolve
    if value.match_method is not None:
        words += ["-m", value.match_method]
    if value.identifier is not None:
        words += ["-u", str(value.identifier)]
    for flag, files in (("-f", value.pattern_files), ("-M -f", value.map_files)):
        for file in files:
            words += [flag, file.text]
    return " ".join([*words, *(pattern.text for pattern in value.patterns)])


def _condition(value: Condition) -> str:
    alternatives = []
    for terms in value.alternatives:
        words = []
        for term in terms:
            test = _plain(term.test) if isinstance(term.test, Criterion) else term.test.name
            words.append(f"!{test}" if term.negated else test)
        alternatives.append(" ".join(words))
    return ("unless " if value.unless else "if ") + " or ".join(alternatives)
