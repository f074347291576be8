"""The section keywords: what each opens, and what its lines are parsed into (manual 3, 4, 12).

A section that HAProxy knows and we don't is one error; its lines are then passed over without further noise.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from headgate.base.diagnostics import ConfigError, Location, Report, config_error
from headgate.base.records import dataclass
from headgate.base.regex import regex
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ConfigDraft, CrtStoreDraft, ProxyDraft
from headgate.config.mailers import Mailers
from headgate.config.model import ErrorSection, Ring, User, Userlist
from headgate.config.registry import Scope
from headgate.config.resolvers import Resolvers
from headgate.config.section_drafts import (
    ErrorSectionDraft,
    GlobalSection,
    HealthcheckDraft,
    MailersDraft,
    PathPolicy,
    ResolversDraft,
    RingDraft,
    UserlistDraft,
)

_NAME = regex(r"[A-Za-z0-9_.:-]+")


@dataclass(frozen=True, slots=True)
class OpenSection:
    """The section that lines now belong to. `name` is what `.SECTION` says."""

    scope: Scope
    name: str
    draft: Any
    close: Callable[[Report], None] | None = None
    skip: bool = False


@dataclass(slots=True)
class Opening:
    """What the openers need besides the line."""

    config: ConfigDraft
    environment: MutableMapping[str, str]
    report: Report
    file: str
    paths: PathPolicy


Opener = Callable[[Cursor, Opening], OpenSection]


def _open_global(cursor: Cursor, opening: Opening) -> OpenSection:
    cursor.finish()
    draft = opening.config.global_
    if not draft.location.line:
        draft.location = cursor.keyword.location
    section = GlobalSection(draft, opening.config, opening.environment, opening.file, opening.paths)
    return OpenSection(Scope.GLOBAL, "global", section)


def _proxy_name(cursor: Cursor) -> Word:
    word = cursor.next("a name")
    if _NAME.fullmatch(word.text) is None:
        message = f"'{word.text}' is not a name: letters, digits, '-', '_', '.' and ':' are allowed"
        raise cursor.wrong(word, message)
    return word


def _inherited(cursor: Cursor, opening: Opening) -> ProxyDraft | None:
    """The section behind `from`, or None without one. A wrong reference is reported, and the section goes on without it."""
    if cursor.take("from") is None:
        return None
    try:
        return _named_defaults(cursor, opening.config)
    except ConfigError as error:
        opening.report.add(error.diagnostic)
        return None


def _named_defaults(cursor: Cursor, config: ConfigDraft) -> ProxyDraft:
    word = cursor.next("the name of a defaults section")
    found = config.find_defaults(word.text)
    if not found:
        names = [draft.name for draft in config.defaults if draft.name]
        message = f"defaults section '{word.text}' is defined nowhere above"
        raise config_error(message, word.location, allowed=names, written=word.text)
    if len(found) > 1:
        places = " and ".join(draft.location.short for draft in found)
        raise config_error(f"defaults section '{word.text}' is ambiguous: it is defined in {places}", word.location)
    return found[0]


def _open_proxy(scope: Scope) -> Opener:
    def open_section(cursor: Cursor, opening: Opening) -> OpenSection:
        config = opening.config
        anonymous = scope is Scope.DEFAULTS and cursor.peek() in (None, "from")
        name = "" if anonymous else _proxy_name(cursor).text
        parent = _inherited(cursor, opening)
        explicit = parent is not None
        if parent is None and scope is not Scope.DEFAULTS:
            parent = config.latest_defaults()
        draft = config.new_proxy(scope, name, cursor.keyword.location, parent, explicit=explicit)
        if cursor.more and draft.is_frontend:
            word = cursor.next("nothing")
            remedy = f"write 'bind {word.text}' on a line of its own"
            message = f"a '{cursor.keyword.text}' line takes no address since HAProxy 1.7"
            opening.report.add(cursor.wrong(word, message, remedy=remedy).diagnostic)
            cursor.take_all()
        cursor.finish()
        return OpenSection(scope, name or scope.value, draft)

    return open_section


def _unique_name(cursor: Cursor, config: ConfigDraft) -> tuple[str, Location]:
    """A section's name, which no other section of the kind may have."""
    word = _proxy_name(cursor)
    cursor.finish()
    key = (cursor.keyword.text, word.text)
    earlier = config.named_sections.get(key)
    if earlier is not None:
        message = f"{key[0]} '{key[1]}' is defined twice: first in {earlier.short}"
        raise config_error(message, word.location)
    config.named_sections[key] = cursor.keyword.location
    return word.text, cursor.keyword.location


def _open_userlist(cursor: Cursor, opening: Opening) -> OpenSection:
    name, location = _unique_name(cursor, opening.config)
    draft = UserlistDraft(name, location)

    def close(report: Report) -> None:
        opening.config.userlists[name] = _userlist(draft, report)

    return OpenSection(Scope.USERLIST, name, draft, close)


def _userlist(draft: UserlistDraft, report: Report) -> Userlist:
    """Join what `user ... groups` and `group ... users` say."""
    for user_name, group, place in draft.members:
        user = draft.users.get(user_name)
        if user is None:
            report.alert(
                f"user '{user_name}' of group '{group}' is not in userlist '{draft.name}'",
                place,
                allowed=tuple(draft.users),
                written=user_name,
            )
        elif group not in user.groups:
            user.groups.append(group)
    for user_name, group, place in draft.memberships:
        if group not in draft.groups:
            report.alert(
                f"group '{group}' of user '{user_name}' is not in userlist '{draft.name}'",
                place,
                allowed=tuple(draft.groups),
                written=group,
            )
    users = [User(user.name, user.password, user.insecure, tuple(user.groups)) for user in draft.users.values()]
    return Userlist(draft.name, tuple(users), draft.location)


def _open_ring(cursor: Cursor, opening: Opening) -> OpenSection:
    name, location = _unique_name(cursor, opening.config)
    draft = RingDraft(name, location)

    def close(report: Report) -> None:
        if draft.maxlen > draft.size:
            report.warn(f"ring '{name}': maxlen {draft.maxlen} is lowered to its size {draft.size}", location)
        opening.config.rings[name] = Ring(
            name, draft.description or name, draft.format, min(draft.maxlen, draft.size), draft.size, location
        )

    return OpenSection(Scope.RING, name, draft, close)


def _open_http_errors(cursor: Cursor, opening: Opening) -> OpenSection:
    name, location = _unique_name(cursor, opening.config)
    draft = ErrorSectionDraft(name, location, opening.config)

    def close(report: Report) -> None:
        opening.config.error_sections[name] = ErrorSection(name, draft.pages, location)

    return OpenSection(Scope.HTTP_ERRORS, name, draft, close)


def _open_resolvers(cursor: Cursor, opening: Opening) -> OpenSection:
    name, location = _unique_name(cursor, opening.config)
    draft = ResolversDraft(name, location)

    def close(report: Report) -> None:
        if not draft.name_servers:
            report.warn(
                f"resolvers '{name}' has no name server: nothing can be resolved with it", location,
                remedy="add 'nameserver <name> <address>' or 'parse-resolv-conf'",
            )
        opening.config.name_server_lines.update({(name, server): line for server, line in draft.lines.items()})
        opening.config.resolvers[name] = Resolvers(
            name, tuple(draft.name_servers), draft.hold, draft.payload, draft.retries, draft.timeout_resolve,
            draft.timeout_retry, location,
        )

    return OpenSection(Scope.RESOLVERS, name, draft, close)


def _open_crt_store(cursor: Cursor, opening: Opening) -> OpenSection:
    """`crt-store [<name>]`; several without a name are one."""
    if cursor.more:
        name, location = _unique_name(cursor, opening.config)
    else:
        name, location = "", cursor.keyword.location
    draft = CrtStoreDraft(name, location)
    opening.config.crt_stores.append(draft)
    return OpenSection(Scope.CRT_STORE, name or "crt-store", draft)


def _open_healthcheck(cursor: Cursor, opening: Opening) -> OpenSection:
    name, location = _unique_name(cursor, opening.config)
    draft = HealthcheckDraft(name, location)

    def close(report: Report) -> None:
        if draft.check.kind is None:
            report.alert(f"healthcheck '{name}' has no 'type'", location, remedy="write for example 'type httpchk'")
        else:
            for ignored, _, place in draft.check.unheeded():
                report.warn(f"{ignored} in healthcheck '{name}' of another type", place)
        opening.config.healthchecks[name] = draft.check.freeze(report)

    return OpenSection(Scope.HEALTHCHECK, name, draft, close)


def _open_mailers(cursor: Cursor, opening: Opening) -> OpenSection:
    name, location = _unique_name(cursor, opening.config)
    draft = MailersDraft(name, location)

    def close(report: Report) -> None:
        if not draft.mailers:
            remedy = "write 'mailer <name> <ip>:<port>'"
            report.warn(f"mailers '{name}' has no mailer: nothing can be sent", location, remedy=remedy)
        opening.config.mailers[name] = Mailers(name, tuple(draft.mailers), location, draft.timeout)

    return OpenSection(Scope.MAILERS, name, draft, close)


@dataclass(frozen=True, slots=True)
class SectionRow:
    """One section keyword. Without an opener it is known but not yet supported, or `removed` says why it is gone."""

    scope: Scope
    open: Opener | None = None
    removed: str = ""


SECTIONS: dict[str, SectionRow] = {
    "global": SectionRow(Scope.GLOBAL, _open_global),
    "defaults": SectionRow(Scope.DEFAULTS, _open_proxy(Scope.DEFAULTS)),
    "frontend": SectionRow(Scope.FRONTEND, _open_proxy(Scope.FRONTEND)),
    "backend": SectionRow(Scope.BACKEND, _open_proxy(Scope.BACKEND)),
    "listen": SectionRow(Scope.LISTEN, _open_proxy(Scope.LISTEN)),
    "userlist": SectionRow(Scope.USERLIST, _open_userlist),
    "http-errors": SectionRow(Scope.HTTP_ERRORS, _open_http_errors),
    "ring": SectionRow(Scope.RING, _open_ring),
    "acme": SectionRow(Scope.ACME),
    "cache": SectionRow(Scope.CACHE),
    "crt-store": SectionRow(Scope.CRT_STORE, _open_crt_store),
    "fcgi-app": SectionRow(Scope.FCGI_APP),
    "healthcheck": SectionRow(Scope.HEALTHCHECK, _open_healthcheck),
    "log-forward": SectionRow(Scope.LOG_FORWARD),
    "log-profile": SectionRow(Scope.LOG_PROFILE),
    "mailers": SectionRow(Scope.MAILERS, _open_mailers),
    "peers": SectionRow(Scope.PEERS),
    "program": SectionRow(
        Scope.PROGRAM, removed="HAProxy 3.3 removed it: let systemd or another supervisor start the program as a unit of its own"
    ),
    "resolvers": SectionRow(Scope.RESOLVERS, _open_resolvers),
    "traces": SectionRow(Scope.TRACES),
}
