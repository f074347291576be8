"""The statistics page of a proxy (manual 4.2 `stats ...`): which requests ask for it, and who may see it."""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.diagnostics import ConfigError
from headgate.config.actions import Ruleset
from headgate.config.model import Proxy, StatsPage, Userlist
from headgate.plan.choices import compile_any
from headgate.plan.facts import Stream
from headgate.plan.fetches.http_fields import split_target
from headgate.plan.fetches.http_request import basic_credentials
from headgate.plan.frontends import Rules
from headgate.plan.logformat import escape_field
from headgate.plan.replies import page_reply, standard_reply
from headgate.plan.rules import compile_rules
from headgate.plan.scope import Scope, shield
from headgate.plan.services import Service
from headgate.plan.verdicts import Kind, Reply, Verdict

#: What the page answers; other methods go to the servers.
_METHODS = frozenset({b"GET", b"HEAD", b"POST"})


def with_stats_page(rules: Rules | None, proxy: Proxy, scope: Scope) -> Rules | None:
    """The `http-request` rules of a proxy with its statistics page behind them, where it has one.

    A verdict of the rules comes first, but `allow` only ends the rules.
    """
    spec = proxy.stats
    if spec is None:
        return rules
    page = _compile_page(spec, proxy, scope)
    if rules is None:
        return page
    before = rules

    def act(stream: Stream) -> Verdict | None:
        verdict = before(stream)
        if verdict is not None and verdict.kind is not Kind.ACCEPT:
            return verdict
        return page(stream)

    return act


def _compile_page(spec: StatsPage, proxy: Proxy, scope: Scope) -> Rules:
    prefix = spec.uri.encode()
    open_ = Verdict(Kind.SERVICE, service=Service("stats", "<STATS>", spec))
    admin = Verdict(Kind.SERVICE, service=Service("stats", "<STATS>", spec, admin=True))
    is_admin = compile_any(spec.admin, scope)
    access = _access(spec, proxy, scope)

    def act(stream: Stream) -> Verdict | None:
        head = stream.request
        if head is None or head.method not in _METHODS:
            return None
        target = head.target
        if not target.startswith(prefix) and (target[:1] == b"/" or not split_target(target)[1].startswith(prefix)):
            return None
        if access is not None:
            refusal = access(stream)
            if refusal is not None:
                stream.server = open_.service
                return refusal
        return admin if is_admin is not None and is_admin(stream) else open_

    return act


def _access(spec: StatsPage, proxy: Proxy, scope: Scope) -> Callable[[Stream], Verdict | None] | None:
    """Who may look: `stats http-request` rules or `stats auth`; None: everybody."""
    if spec.rules:
        rules = compile_rules(spec.rules, Ruleset.HTTP_REQUEST, scope)

        def ruled(stream: Stream) -> Verdict | None:
            verdict = None if rules is None else rules(stream)
            if verdict is None or verdict.kind is Kind.ACCEPT or verdict.reply is None:
                return None
            reply = verdict.reply
            # An answer of the page, not a denied request: LR, as HAProxy logs it.
            return Verdict(Kind.REPLY, Reply(reply.status, reply.head, reply.body, raw=reply.raw))

        return ruled
    if not spec.users:
        return None
    from headgate.plan.passwords import Checker

    try:
        check = Checker(Userlist("stats auth", spec.users, proxy.location))
    except ConfigError as error:
        shield(scope.report, error)
        return None
    challenge = _challenge(spec, proxy)

    def known(stream: Stream) -> Verdict | None:
        found = basic_credentials(stream)
        return None if found is not None and check.valid(*found) else challenge

    return known


def _challenge(spec: StatsPage, proxy: Proxy) -> Verdict:
    page = proxy.error_pages.get(401)
    reply = standard_reply(401) if page is None else page_reply(401, page)
    if not reply.raw:
        quoted = escape_field(spec.realm.encode("utf-8", "surrogateescape")).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        reply.head += b'www-authenticate: Basic realm="' + quoted + b'"\r\n'
    return Verdict(Kind.REPLY, reply)
