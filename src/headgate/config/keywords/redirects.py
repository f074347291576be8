"""`redirect {location | prefix | scheme} <to> [code <code>] <option> ...` (manual 4.2), as keyword and as action.

The keyword takes its target as it stands, the action as a log format.
"""

from __future__ import annotations

from typing import Any

from headgate.config.actions import Redirect, Rule, Ruleset
from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.expression import LogFormat
from headgate.config.keywords.rule_order import check_order
from headgate.config.parse_condition import read_condition
from headgate.config.parse_logformat import literal_format, read_logformat
from headgate.config.registry import KEYWORDS, NOT_DEFAULTS, Keyword, Status

_KINDS = ("location", "prefix", "scheme")
_FLAGS = {
    "drop-query": "drop_query", "keep-query": "keep_query", "append-slash": "append_slash", "ignore-empty": "ignore_empty",
}
_WORDS = (*_KINDS, "code", *_FLAGS, "set-cookie", "clear-cookie", "set-cookie-fmt")
_CODES = {str(code): code for code in (301, 302, 303, 307, 308)}


def read_redirect(cursor: Cursor, *, formatted: bool) -> Redirect:
    """Read what stands behind `redirect`; a condition is left on the line.

    Args:
        cursor: stands behind `redirect`.
        formatted: the target is a log format.
    """
    kind: str | None = None
    target: LogFormat | None = None
    fields: dict[str, Any] = {}
    while (word := cursor.take(*_WORDS)) is not None:
        if word.text in _KINDS:
            kind = word.text
            if formatted:
                target = read_logformat(cursor, "where to redirect to")
            else:
                written = cursor.next("where to redirect to")
                target = literal_format(written.text, written)
        elif word.text == "code":
            fields["code"] = cursor.choice("redirection code", _CODES)
        elif word.text == "set-cookie-fmt":
            raise cursor.wrong(word, "'set-cookie-fmt' is known but not yet supported")
        elif word.text in ("set-cookie", "clear-cookie"):
            fields[word.text.replace("-", "_")] = cursor.next("a cookie: <name>[=<value>]").text
        else:
            fields[_FLAGS[word.text]] = True
    if kind is None or target is None:
        written = cursor.next("'location', 'prefix' or 'scheme'")
        raise cursor.wrong(written, f"'redirect' does not take '{written.text}' here", allowed=_WORDS)
    return Redirect(kind, target, **fields)


def _redirect(cursor: Cursor, draft: ProxyDraft) -> None:
    """`redirect ...` in a proxy: evaluated behind all `http-request` rules."""
    check_order(cursor, draft, "redirect")
    redirect = read_redirect(cursor, formatted=False)
    condition = read_condition(cursor)
    draft.redirects.append(Rule(Ruleset.HTTP_REQUEST, redirect, condition, cursor.keyword.location))


KEYWORDS.add(Keyword("redirect", NOT_DEFAULTS, Status.IMPLEMENTED, _redirect))
