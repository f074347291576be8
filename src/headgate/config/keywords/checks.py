"""How servers are checked (manual 4.2): `option httpchk`, `tcp-check`, `smtpchk` and their kin, `external-check`.

The rules of `tcp-check` and `http-check` are read by `check_rules`, the options of server lines by `server`. The same words make
the `type` of a `healthcheck` section (12.9).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headgate.config.check_drafts import CheckDraft, merged
from headgate.config.checks import RequestRule
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft
from headgate.config.keywords.check_rules import HasCheck, method, version_and_lines
from headgate.config.parse_logformat import parse_logformat
from headgate.config.registry import BACK, KEYWORDS, Keyword, Parser, Scope, Status
from headgate.config.section_drafts import HealthcheckDraft

#: Reads what stands behind the name of a kind of check.
_Reader = Callable[[Cursor, CheckDraft], None]


def _plain(kind: str) -> _Reader:
    """Without arguments."""

    def read(cursor: Cursor, draft: CheckDraft) -> None:
        cursor.finish()
        draft.choose(kind, cursor.keyword.location)

    return read


def _httpchk(cursor: Cursor, draft: CheckDraft) -> None:
    """`httpchk`, `... <uri>`, `... <method> <uri>`, `... <method> <uri> <version>`, `... <version> <host>`."""
    words = cursor.take_all()
    if len(words) > 4:
        raise cursor.wrong(words[4], f"'option httpchk' does not take '{words[4].text}' here")
    request = _request_line(cursor, words)
    draft.choose("http", cursor.keyword.location)
    if "http" in draft.inherited:
        draft.own("http")
    before = draft.request
    # A later line says it anew, but what an `http-check send` between them has taken over stays.
    sent = any(isinstance(rule, RequestRule) for rule in draft.rules.get("http", ()))
    draft.request = merged(before, request) if before is not None and sent else request


def _request_line(cursor: Cursor, words: Sequence[Word]) -> RequestRule:
    if len(words) == 1:
        return RequestRule(uri=words[0].text)
    if not words:
        return RequestRule()
    verb, uri = method(cursor, words[0]), words[1].text
    version, headers = version_and_lines(cursor, words[2]) if len(words) > 2 else (None, ())
    line = RequestRule(verb, uri, version, headers)
    return merged(line, RequestRule(headers=(("Host", parse_logformat(words[3])),))) if len(words) > 3 else line


def _smtpchk(cursor: Cursor, draft: CheckDraft) -> None:
    """`smtpchk [<hello> <domain>]`: any other word than EHLO means HELO."""
    hello = "HELO localhost"
    if cursor.more:
        command = cursor.next("HELO or EHLO").text
        domain = cursor.next("a domain name")
        if any(ord(char) <= 32 or ord(char) == 127 for char in domain.text) or not domain.text:
            raise cursor.wrong(domain, f"'{domain.text}' is not a domain name")
        hello = f"{'EHLO' if command == 'EHLO' else 'HELO'} {domain.text}"
    cursor.finish()
    draft.choose("smtp", cursor.keyword.location, (hello,))


def _user(cursor: Cursor) -> str:
    word = cursor.next("a user name")
    if "\0" in word.text or len(word.text) > 255 or not word.text:
        raise cursor.wrong(word, f"'{word.text}' can't be a user name")
    return word.text


_MYSQL_VERSIONS = ("post-41", "pre-41", "post-80")


def _mysql(cursor: Cursor, draft: CheckDraft) -> None:
    """`mysql-check [user <username> [post-41 | pre-41 | post-80]]`."""
    arguments: tuple[str, ...] = ()
    if cursor.more:
        cursor.choice("option", {"user": "user"})
        user = _user(cursor)
        version = cursor.choice("kind of client", {name: name for name in _MYSQL_VERSIONS}) if cursor.more else "post-41"
        arguments = (user, version)
    cursor.finish()
    draft.choose("mysql", cursor.keyword.location, arguments)


def _pgsql(cursor: Cursor, draft: CheckDraft) -> None:
    """`pgsql-check user <username>`."""
    cursor.choice("option", {"user": "user"})
    user = _user(cursor)
    cursor.finish()
    draft.choose("pgsql", cursor.keyword.location, (user,))


_KINDS: Mapping[str, _Reader] = {
    "tcp-check": _plain("tcp"),
    "httpchk": _httpchk,
    "ssl-hello-chk": _plain("ssl-hello"),
    "smtpchk": _smtpchk,
    "mysql-check": _mysql,
    "pgsql-check": _pgsql,
    "redis-check": _plain("redis"),
    "ldap-check": _plain("ldap"),
    "spop-check": _plain("spop"),
}


def _option(read: _Reader) -> Parser:
    def parse(cursor: Cursor, draft: HasCheck) -> None:
        read(cursor, draft.check)

    return parse


def _external(cursor: Cursor, draft: ProxyDraft) -> None:
    """`option external-check`: `external-check` in the global section must allow it."""
    cursor.finish()
    draft.check.choose("external", cursor.keyword.location)


def _command(cursor: Cursor, draft: ProxyDraft) -> None:
    """`external-check command <command>`."""
    word = cursor.next("a command")
    cursor.finish()
    if not word.text:
        raise cursor.wrong(word, "the command has no name")
    draft.check.command = word.text
    draft.check.written["external-check command"] = "external", cursor.keyword.location


def _path(cursor: Cursor, draft: ProxyDraft) -> None:
    """`external-check path <path>`."""
    draft.check.path = cursor.next("a list of directories").text
    cursor.finish()
    draft.check.written["external-check path"] = "external", cursor.keyword.location


def _type(cursor: Cursor, draft: HealthcheckDraft) -> None:
    """`type <type>`, with the arguments of the option of that name."""
    if draft.check.kind is not None:
        raise cursor.wrong(cursor.keyword, "a healthcheck section has one type")
    cursor.choice("type of check", _KINDS)(cursor, draft.check)


KEYWORDS.add(
    *[Keyword(f"option {name}", BACK, Status.IMPLEMENTED, _option(read)) for name, read in _KINDS.items()],
    Keyword("option external-check", BACK, Status.IMPLEMENTED, _external),
    Keyword("external-check command", BACK, Status.IMPLEMENTED, _command),
    Keyword("external-check path", BACK, Status.IMPLEMENTED, _path),
    Keyword("type", frozenset({Scope.HEALTHCHECK}), Status.IMPLEMENTED, _type),
)
