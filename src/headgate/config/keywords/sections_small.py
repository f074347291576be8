"""The lines of `userlist` (12.2), `http-errors` (12.4) and `ring` (12.5) sections."""

from __future__ import annotations

from headgate.config.cursor import Cursor
from headgate.config.keywords.log_target import FORMATS
from headgate.config.keywords.replies import error_status, read_http_file
from headgate.config.model import ErrorPage
from headgate.config.registry import KEYWORDS, Keyword, Parser, Scope, Status
from headgate.config.section_drafts import ErrorSectionDraft, RingDraft, UserDraft, UserlistDraft

_SMALLEST_RING = 1024
_LARGEST_RING = 1 << 30


def parse_user(cursor: Cursor, draft: UserlistDraft) -> None:
    """`user <username> [password|insecure-password <password>] [groups <group>,<group>,(...)]`"""
    word = cursor.next("a user name")
    if word.text in draft.users:
        earlier = draft.users[word.text].location
        raise cursor.wrong(word, f"user '{word.text}' is defined twice: first in {earlier.short}")
    user = UserDraft(word.text, word.location)
    while cursor.more:
        option = cursor.next("an option")
        if option.text in ("password", "insecure-password"):
            if user.has_password:
                raise cursor.wrong(option, f"user '{word.text}' has two passwords")
            user.password = cursor.next("a password").text
            user.insecure = option.text == "insecure-password"
            user.has_password = True
        elif option.text == "groups":
            for group in _names(cursor, "group names, separated by commas"):
                user.groups.append(group)
                draft.memberships.append((user.name, group, cursor.last.location))
        else:
            message = f"unknown option '{option.text}' of a user"
            raise cursor.wrong(option, message, allowed=("password", "insecure-password", "groups"))
    draft.users[user.name] = user


def _names(cursor: Cursor, what: str) -> list[str]:
    word = cursor.next(what)
    names = [name for name in word.text.split(",") if name]
    if not names:
        raise cursor.wrong(word, f"'{cursor.keyword.text}' expects {what}")
    return names


def parse_group(cursor: Cursor, draft: UserlistDraft) -> None:
    """`group <groupname> [users <user>,<user>,(...)]`"""
    word = cursor.next("a group name")
    if word.text in draft.groups:
        raise cursor.wrong(word, f"group '{word.text}' is defined twice: first in {draft.groups[word.text].short}")
    draft.groups[word.text] = word.location
    if cursor.take("users") is not None:
        for user in _names(cursor, "user names, separated by commas"):
            draft.members.append((user, word.text, cursor.last.location))
    cursor.finish()


def parse_errorfile(cursor: Cursor, draft: ErrorSectionDraft) -> None:
    """`errorfile <code> <file>`"""
    status = error_status(cursor)
    draft.pages[status] = ErrorPage(read_http_file(cursor, draft.config))
    cursor.finish()


def parse_description(cursor: Cursor, draft: RingDraft) -> None:
    """`description <text>`"""
    draft.description = cursor.next("a description").text
    cursor.finish()


def parse_format(cursor: Cursor, draft: RingDraft) -> None:
    """`format <format>`"""
    draft.format = cursor.choice("log format", FORMATS)
    cursor.finish()


def parse_maxlen(cursor: Cursor, draft: RingDraft) -> None:
    """`maxlen <length>`"""
    draft.maxlen = cursor.integer("the longest message", 80, 65535)
    cursor.finish()


def parse_size(cursor: Cursor, draft: RingDraft) -> None:
    """`size <size>`"""
    word = cursor.rest[0] if cursor.more else None
    size = cursor.size("the size of the ring")
    if word is not None and not _SMALLEST_RING <= size <= _LARGEST_RING:
        raise cursor.wrong(word, f"the size of a ring must be from {_SMALLEST_RING} bytes to 1 GB, not {size}")
    draft.size = size
    cursor.finish()


def _row(scope: Scope, name: str, parse: Parser) -> Keyword:
    return Keyword(name, frozenset({scope}), Status.IMPLEMENTED, parse)


KEYWORDS.add(
    _row(Scope.USERLIST, "user", parse_user),
    _row(Scope.USERLIST, "group", parse_group),
    _row(Scope.HTTP_ERRORS, "errorfile", parse_errorfile),
    _row(Scope.RING, "description", parse_description),
    _row(Scope.RING, "format", parse_format),
    _row(Scope.RING, "maxlen", parse_maxlen),
    _row(Scope.RING, "size", parse_size),
)
