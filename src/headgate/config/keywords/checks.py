"""How servers are checked (manual 4.2): `option httpchk`, `ssl-hello-chk`, `tcp-check`, `http-check send|expect|disable-on-404`.

One request and one expectation are supported; scripts of `http-check connect` and `tcp-check` rules are not yet.
"""

from __future__ import annotations

import re

from headgate.base.regex import regex
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft
from headgate.config.expression import Literal
from headgate.config.keywords.replies import header_name
from headgate.config.parse_logformat import parse_logformat
from headgate.config.registry import BACK, KEYWORDS, Keyword, Parser, Status

_STATUSES = regex(r"\d{3}(?:-\d{3})?(?:,\d{3}(?:-\d{3})?)*")
_MATCHES = ("status", "rstatus", "string", "rstring")
_UNSUPPORTED_MATCHES = ("hdr", "fhdr", "string-lf")
_UNSUPPORTED_OPTIONS = (
    "min-recv", "comment", "ok-status", "error-status", "tout-status", "on-success", "on-error", "status-code",
)


def _kind(kind: str) -> Parser:
    """`option ssl-hello-chk`, `option tcp-check`: without arguments."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        cursor.finish()
        draft.settings.put("check kind", kind, cursor.keyword.location)

    return parse


def _constant(cursor: Cursor, word: Word) -> str:
    """A log format that is only text: checks run outside of streams, so little else would make sense."""
    form = parse_logformat(word)
    if any(not isinstance(item, Literal) for item in form.items):
        raise cursor.wrong(word, "log format items in health checks are known but not yet supported")
    return "".join(item.text for item in form.items if isinstance(item, Literal))


def _httpchk(cursor: Cursor, draft: ProxyDraft) -> None:
    """`option httpchk`, `... <uri>`, `... <method> <uri>`, `... <method> <uri> <version>`, `... <version> <host>`.

    Before HAProxy 2.2 headers were written behind the version, with escaped line ends; they are still understood.
    """
    place = cursor.keyword.location
    words = cursor.take_all()
    draft.settings.put("check kind", "http", place)
    if len(words) > 4:
        raise cursor.wrong(words[4], f"'option httpchk' does not take '{words[4].text}' here")
    if len(words) == 1:
        draft.settings.put("check uri", words[0].text, place)
        return
    for key, word in zip(("check method", "check uri"), words, strict=False):
        draft.settings.put(key, word.text, place)
    if len(words) > 2:
        _version(cursor, draft, words[2])
    if len(words) > 3:
        draft.check_headers.append(("Host", _constant(cursor, words[3])))


def _version(cursor: Cursor, draft: ProxyDraft, word: Word) -> None:
    version, *lines = word.text.replace("\r\n", "\n").split("\n")
    if not re.fullmatch(r"HTTP/\d\.\d", version):
        raise cursor.wrong(word, f"'{version}' is not an HTTP version", allowed=("HTTP/1.0", "HTTP/1.1"))
    draft.settings.put("check version", version, word.location)
    headers = [line for line in lines if line]
    for line in headers:
        name, colon, value = line.partition(":")
        if not colon:
            raise cursor.wrong(word, f"'{line}' is not a header line")
        draft.check_headers.append((name.strip(), value.strip()))
    if headers:
        remedy = " ".join(["http-check send", *(f'hdr {line.replace(":", "", 1)}' for line in headers)])
        cursor.report.warn("headers behind the version of 'option httpchk' are the form before HAProxy 2.2", word.location,
                           remedy=f"write '{remedy}'")


def _send(cursor: Cursor, draft: ProxyDraft) -> None:
    """`http-check send [meth <method>] [uri <uri>] [ver <version>] [hdr <name> <fmt>]* [body <string>]`."""
    headers: list[tuple[str, str]] = []
    while cursor.more:
        word = cursor.next("an option")
        if word.text == "meth":
            draft.settings.put("check method", cursor.next("a method").text, word.location)
        elif word.text in ("uri", "uri-lf"):
            value = cursor.next("a URI")
            draft.settings.put("check uri", value.text if word.text == "uri" else _constant(cursor, value), word.location)
        elif word.text == "ver":
            _version(cursor, draft, cursor.next("an HTTP version"))
        elif word.text == "hdr":
            name = header_name(cursor)
            headers.append((name, _constant(cursor, cursor.next("a header value"))))
        elif word.text in ("body", "body-lf"):
            value = cursor.next("a body")
            text = value.text if word.text == "body" else _constant(cursor, value)
            draft.settings.put("check body", text.encode("utf-8", "surrogateescape"), word.location)
        elif word.text == "comment":
            cursor.next("a comment")
        else:
            raise cursor.wrong(word, f"unknown option '{word.text}'", allowed=("meth", "uri", "ver", "hdr", "body", "comment"))
    draft.check_headers.extend(headers)


def _expect(cursor: Cursor, draft: ProxyDraft) -> None:
    """`http-check expect [!] <match> <pattern>`."""
    place = cursor.keyword.location
    negated = False
    word = cursor.next("what to expect (status, rstatus, string or rstring)")
    if word.text in _UNSUPPORTED_OPTIONS:
        raise cursor.wrong(word, f"'http-check expect {word.text}' is known but not yet supported")
    match = word.text
    if match.startswith("!"):
        negated = True
        match = match[1:] or cursor.next("what to expect").text
    if match in _UNSUPPORTED_MATCHES:
        raise cursor.wrong(word, f"'http-check expect {match}' is known but not yet supported", allowed=_MATCHES)
    if match not in _MATCHES:
        raise cursor.wrong(word, f"unknown match '{match}'", allowed=_MATCHES)
    pattern = cursor.next("a pattern")
    cursor.finish()
    if match == "status" and not _STATUSES.fullmatch(pattern.text):
        remedy = "write for example '200,204' or '200-399'"
        raise cursor.wrong(pattern, f"'{pattern.text}' is not a list of statuses", remedy=remedy)
    if match in ("rstatus", "rstring"):
        try:
            re.compile(pattern.text)
        except (re.error, RecursionError, OverflowError) as error:
            raise cursor.wrong(pattern, f"'{pattern.text}' is not a regular expression: {error}") from None
    if "check expect" in draft.settings and not draft.settings["check expect"].inherited:
        raise cursor.wrong(word, "more than one 'http-check expect' is known but not yet supported")
    draft.settings.put("check expect", (negated, match, pattern.text), place)


def _disable_on_404(cursor: Cursor, draft: ProxyDraft) -> None:
    """`http-check disable-on-404`."""
    cursor.finish()
    draft.settings.put("http-check disable-on-404", True, cursor.keyword.location)


KEYWORDS.add(
    Keyword("option httpchk", BACK, Status.IMPLEMENTED, _httpchk),
    Keyword("option ssl-hello-chk", BACK, Status.IMPLEMENTED, _kind("ssl-hello")),
    Keyword("option tcp-check", BACK, Status.IMPLEMENTED, _kind("tcp")),
    Keyword("http-check send", BACK, Status.IMPLEMENTED, _send),
    Keyword("http-check expect", BACK, Status.IMPLEMENTED, _expect),
    Keyword("http-check disable-on-404", BACK, Status.IMPLEMENTED, _disable_on_404),
)
