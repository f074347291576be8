"""Every keyword that HAProxy knows, by where it stands: what tells "not yet supported" and "wrong section" from a misspelling.

The names lie in `known_keywords.txt`, which is read when the first complaint (or `headgate keywords`) asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache

from headgate.base.diagnostics import ConfigError, config_error
from headgate.config.cursor import Word
from headgate.config.registry import KEYWORDS, Scope

#: Headings of the file that are no scope of the configuration language.
OTHER_CLASSES = ("section", "acl", "fetch", "converter", "filter", "cli")
#: Words in the longest name, `tcp-request connection expect-proxy layer4`.
_LONGEST = 4


@cache
def known_names() -> dict[str, frozenset[str]]:
    """Names by class: the value of a `Scope`, or one of `OTHER_CLASSES`."""
    found: dict[str, set[str]] = {}
    classes: list[str] = []
    with open(os.path.join(os.path.dirname(__file__), "known_keywords.txt"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    for line in lines:
        if line.startswith("["):
            classes = line[1:-1].split(" ")
        elif not line.startswith("#"):
            for name in classes:
                found.setdefault(name, set()).add(line)
    return {name: frozenset(words) for name, words in found.items()}


def known_in(scope: Scope) -> frozenset[str]:
    """The names that HAProxy knows in a scope."""
    return known_names().get(scope.value, frozenset())


def complaint(scope: Scope, words: Sequence[Word]) -> ConfigError:
    """The error for a line that no row of the registry takes.

    Args:
        scope: the section that the line stands in.
        words: its words, the prefixes `no` and `default` removed.
    """
    texts = [word.text.partition("(")[0] if index else word.text for index, word in enumerate(words[:_LONGEST])]
    registered = KEYWORDS.names(scope)
    names = known_in(scope).union(registered)
    for word, text in zip(words, texts, strict=False):
        if text.startswith("lua."):
            return config_error("Lua is known but not yet supported", word.location)
    for count in range(len(texts), 0, -1):
        name = " ".join(texts[:count])
        if name in names and not _following(names, name):
            return config_error(f"'{name}' is known but not yet supported", words[count - 1].location)
    for count in range(min(len(texts), _LONGEST - 1), 0, -1):
        name = " ".join(texts[:count])
        if _following(names, name):
            return _bad_second_word(scope, words, count, name, registered, names)
    return _unknown(scope, words[0], texts, registered)


def _following(names: Iterable[str], name: str) -> list[str]:
    """The words that may follow `name` in longer names."""
    start = name + " "
    return sorted({known[len(start) :].split(" ")[0] for known in names if known.startswith(start)})


def _bad_second_word(
    scope: Scope, words: Sequence[Word], count: int, name: str, registered: Sequence[str], names: Iterable[str]
) -> ConfigError:
    allowed = _following(registered, name)
    if len(words) == count:
        last = words[-1].location
        return config_error(f"'{name}' expects one more word", last, allowed=allowed)
    written = words[count]
    if written.text.partition("(")[0] in _following(names, name):
        return config_error(f"'{name} {written.text}' expects one more word", written.location)
    message = f"unknown '{name} {written.text}' in section '{scope.value}'"
    return config_error(message, written.location, allowed=allowed, written=written.text)


def _unknown(scope: Scope, word: Word, texts: Sequence[str], registered: Sequence[str]) -> ConfigError:
    for count in range(len(texts), 0, -1):
        elsewhere = _sections_with(" ".join(texts[:count]))
        if elsewhere:
            name = " ".join(texts[:count])
            message = f"'{name}' may not stand in section '{scope.value}'"
            return config_error(message, word.location, remedy=f"it belongs into: {', '.join(elsewhere)}")
    first_words = sorted({name.split(" ")[0] for name in registered})
    message = f"unknown keyword '{word.text}' in section '{scope.value}'"
    # A section may begin anywhere, so its keyword may be what was meant.
    allowed = (*first_words, *sorted(known_names()["section"]))
    return config_error(message, word.location, allowed=allowed, written=word.text)


def stands_somewhere(word: str) -> bool:
    """Whether a line of some section may begin with `word`."""
    return word in ("no", "default") or bool(_sections_with(word))


_LINE_SCOPES = frozenset({Scope.BIND, Scope.SERVER, Scope.STATS_SOCKET, Scope.CRT_LIST})


def _sections_with(name: str) -> list[str]:
    """The sections in which a name, or longer names that begin with it, may stand."""
    found = []
    for scope in Scope:
        if scope in _LINE_SCOPES:
            continue
        names = known_in(scope).union(KEYWORDS.names(scope))
        if name in names or _following(names, name):
            found.append(scope.value)
    return found
