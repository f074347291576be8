"""`cookie <name> [rewrite | insert | prefix] ...` (manual 4.2): persistence by cookie, and `appsession`, which was removed."""

from __future__ import annotations

from typing import Any

from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.model import CookiePersistence
from headgate.config.registry import BACK, KEYWORDS, PROXY, Keyword, Status

_MODES = ("rewrite", "insert", "prefix")
_FLAGS = ("indirect", "nocache", "postonly", "preserve", "httponly", "secure", "dynamic")
_VALUES = ("domain", "maxidle", "maxlife", "attr")


def _cookie(cursor: Cursor, draft: ProxyDraft) -> None:
    """`cookie <name> [mode] [indirect] [nocache] [postonly] [preserve] [httponly] [secure] [domain <d>]* [maxidle <t>]
    [maxlife <t>] [dynamic] [attr <value>]*`."""
    name = cursor.next("a cookie name").text
    mode: str | None = None
    fields: dict[str, Any] = {}
    lists: dict[str, list[str]] = {"domain": [], "attr": []}
    while cursor.more:
        word = cursor.next("an option")
        if word.text in _MODES:
            if mode is not None and mode != word.text:
                raise cursor.wrong(word, f"'{word.text}' and '{mode}' exclude each other")
            mode = word.text
        elif word.text in _FLAGS:
            fields[word.text] = True
        elif word.text in ("maxidle", "maxlife"):
            fields[word.text] = cursor.time(f"{word.text} of the cookie", "s")
        elif word.text in lists:
            value = cursor.next("a value")
            if any(ord(char) < 32 or char in ";\x7f" for char in value.text):
                raise cursor.wrong(value, "control characters and ';' can't stand in a cookie's attribute")
            lists[word.text].append(value.text)
        else:
            raise cursor.wrong(word, f"unknown cookie option '{word.text}'", allowed=_MODES + _FLAGS + _VALUES)
    cookie = CookiePersistence(name, mode or "rewrite", domains=tuple(lists["domain"]), attributes=tuple(lists["attr"]), **fields)
    if cookie.mode != "insert" and (cookie.maxidle is not None or cookie.maxlife is not None):
        raise cursor.wrong(cursor.keyword, "'maxidle' and 'maxlife' need 'insert' mode")
    draft.settings.put("cookie", cookie, cursor.keyword.location)


def _dynamic_key(cursor: Cursor, draft: ProxyDraft) -> None:
    """`dynamic-cookie-key <string>`: the secret that dynamic cookies are made with."""
    key = cursor.next("a secret")
    cursor.finish()
    draft.settings.put("dynamic-cookie-key", key.text, cursor.keyword.location)


KEYWORDS.add(
    Keyword("cookie", BACK, Status.IMPLEMENTED, _cookie),
    Keyword("dynamic-cookie-key", BACK, Status.IMPLEMENTED, _dynamic_key),
    Keyword(
        "appsession", PROXY, Status.REMOVED,
        note="write 'stick-table type string len 64 size 100k expire 30m' and 'stick on req.cook(<name>)'",
    ),
)
