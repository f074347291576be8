"""`mailers` sections (manual 12.3) and `email-alert` in proxies (4.2)."""

from __future__ import annotations

from headgate.base.regex import regex
from headgate.config.addresses import parse_address
from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.keywords.log_target import LEVELS
from headgate.config.mailers import Mailer
from headgate.config.registry import KEYWORDS, PROXY, Keyword, Parser, Scope, Status
from headgate.config.section_drafts import MailersDraft

#: What may stand between the angle brackets of MAIL FROM and RCPT TO (RFC 5321 4.1.2), kept simple: no spaces, no brackets.
_MAILBOX = regex(r"[^\s<>\x00-\x1f\x7f]+@[^\s<>@\x00-\x1f\x7f]+|[^\s<>@\x00-\x1f\x7f]+")
_HOST = regex(r"[A-Za-z0-9_.:\[\]-]+")


def _mailer(cursor: Cursor, draft: MailersDraft) -> None:
    """`mailer <mailername> <ip>:<port>`."""
    name = cursor.next("a name")
    address = parse_address(cursor.next("an address"), port="mandatory")
    cursor.finish()
    if any(mailer.name == name.text for mailer in draft.mailers):
        raise cursor.wrong(name, f"mailer '{name.text}' stands twice in mailers '{draft.name}'")
    draft.mailers.append(Mailer(name.text, address, name.location))


def _timeout(cursor: Cursor, draft: MailersDraft) -> None:
    """`timeout mail <time>`."""
    word = cursor.rest[0] if cursor.more else None
    seconds = cursor.time("a time")
    cursor.finish()
    if word is not None and seconds <= 0.0:
        raise cursor.wrong(word, "a mail needs some time", remedy="write for example '10s'")
    draft.timeout = seconds


def _mailbox(name: str) -> Parser:
    """`email-alert from|to <emailaddr>`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        word = cursor.next("a mail address")
        cursor.finish()
        if _MAILBOX.fullmatch(word.text) is None:
            raise cursor.wrong(word, f"'{word.text}' is not a mail address")
        draft.settings.put(f"email-alert {name}", word.text, word.location)

    return parse


def _level(cursor: Cursor, draft: ProxyDraft) -> None:
    """`email-alert level <level>`."""
    level = cursor.choice("log level", LEVELS)
    cursor.finish()
    draft.settings.put("email-alert level", level, cursor.keyword.location)


def _section(cursor: Cursor, draft: ProxyDraft) -> None:
    """`email-alert mailers <mailersect>`."""
    word = cursor.next("the name of a mailers section")
    cursor.finish()
    draft.settings.put("email-alert mailers", word.text, word.location)


def _host_name(cursor: Cursor, draft: ProxyDraft) -> None:
    """`email-alert myhostname <hostname>`."""
    word = cursor.next("a host name")
    cursor.finish()
    if _HOST.fullmatch(word.text) is None:
        raise cursor.wrong(word, f"'{word.text}' is not a host name")
    draft.settings.put("email-alert myhostname", word.text, word.location)


_MAILERS = frozenset({Scope.MAILERS})

KEYWORDS.add(
    Keyword("mailer", _MAILERS, Status.IMPLEMENTED, _mailer),
    Keyword("timeout mail", _MAILERS, Status.IMPLEMENTED, _timeout),
    Keyword("email-alert from", PROXY, Status.IMPLEMENTED, _mailbox("from")),
    Keyword("email-alert to", PROXY, Status.IMPLEMENTED, _mailbox("to")),
    Keyword("email-alert level", PROXY, Status.IMPLEMENTED, _level),
    Keyword("email-alert mailers", PROXY, Status.IMPLEMENTED, _section),
    Keyword("email-alert myhostname", PROXY, Status.IMPLEMENTED, _host_name),
)
