"""Rules that are valid and surely not meant: backends that nothing reaches, tests that can't hold, certificates nobody looks at.

Reads the resolved configuration alone; what needs certificates is in `tls.lint`. Called by `app.prepare`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from headgate.base.diagnostics import Location, where
from headgate.base.findings import Findings
from headgate.base.records import dataclass
from headgate.config.actions import Accept, Deny, Redirect, Reject, Return, Rule, Ruleset, SilentDrop, Tarpit
from headgate.config.drafts import ConfigDraft
from headgate.config.expression import AclReference, Call, Condition, Criterion, Term
from headgate.config.model import Config, Proxy, UseBackend
from headgate.config.option_places import OptionPlaces
from headgate.config.tls_options import BindPolicy, BindTls, CrtList, Verify

#: What the first bytes of a connection are asked for; where TLS is terminated these never hold a ClientHello.
_OF_HELLO = ("req.ssl_", "req_ssl_")
#: Fetches of the client's TLS connection.
_OF_TLS = ("ssl_fc", "ssl_c_", "ssl_f_")
_BOOLEAN = frozenset(
    "ssl_fc ssl_fc_has_crt ssl_fc_has_early ssl_fc_has_sni ssl_fc_is_resumed ssl_c_used ssl_c_verify".split()
)
#: What a request meets before a backend is chosen, in this order, and the actions that end it there.
_BEFORE_BACKENDS = (
    Ruleset.TCP_REQUEST_CONNECTION, Ruleset.TCP_REQUEST_SESSION, Ruleset.TCP_REQUEST_CONTENT, Ruleset.HTTP_REQUEST,
)
_FINAL = {
    Deny: "deny", Redirect: "redirect", Reject: "reject", Return: "return", SilentDrop: "silent-drop", Tarpit: "tarpit",
}  # fmt: skip
_HOST = frozenset({"hdr", "req.hdr", "req.fhdr"})
#: Converters behind which a host is still a host.
_HOST_CONVERTERS = frozenset({"lower", "host_only", "field"})


def lint_rules(config: Config, findings: Findings) -> None:
    """Look through all frontends.

    Args:
        config: resolved.
        findings: where it says what it found.
    """
    for proxy in config.proxies:
        if proxy.disabled or not proxy.is_frontend or not proxy.binds:
            continue
        front = _Front(config, proxy)
        _unreachable(front, findings)
        if front.terminates:
            _impossible(front, findings)
        if any(policy.verify is not Verify.NONE for policy, _ in front.policies):
            _unused_verify(front, findings)
            if config.global_.tls_cache_size or any(bind.tls is not None and bind.tls.tickets for bind in proxy.binds):
                _has_crt(front, findings)


class _Front:
    """A frontend with all that its connections meet.

    Attributes:
        proxy: the frontend.
        plain, terminates: all of its bind lines are without TLS, or with TLS.
        policies: of all bind lines and crt-list lines, with their places.
    """

    def __init__(self, config: Config, proxy: Proxy) -> None:
        self.config = config
        self.proxy = proxy
        self.plain = all(bind.tls is None for bind in proxy.binds)
        self.terminates = all(bind.tls is not None for bind in proxy.binds)
        self.acls = _acls(proxy)
        self.policies = [item for bind in proxy.binds if bind.tls is not None for item in _policies(bind.tls)]

    def sides(self) -> list[Proxy]:
        """The frontend, and the backends that it may choose."""
        chosen = {use.name for use in self.proxy.use_backends} | {self.proxy.default_backend}
        anywhere = any(use.name is None for use in self.proxy.use_backends)
        others = [one for one in self.config.proxies if one.is_backend and one is not self.proxy]
        return [self.proxy, *(one for one in others if anywhere or one.name in chosen)]

    def known(self, criterion: Criterion) -> bool | None:
        """Whether a criterion always holds (True) or never (False) here; None when that depends."""
        name = criterion.expression.fetch.name
        if (always := _constant(criterion)) is not None:
            return always
        if self.terminates and name.startswith(_OF_HELLO):
            return False
        if self.plain and name.startswith(_OF_TLS) and (name not in _BOOLEAN or _is_plain(criterion)):
            return False
        return None


def _is_plain(criterion: Criterion) -> bool:
    """Whether it is a fetch alone."""
    return not (criterion.patterns or criterion.pattern_files or criterion.map_files or criterion.expression.converters)


def _constant(criterion: Criterion) -> bool | None:
    """Of `always_true` and `always_false`, what they say; None of others."""
    name = criterion.expression.fetch.name
    return name == "always_true" if name in ("always_true", "always_false") and _is_plain(criterion) else None


def _policies(tls: BindTls) -> Iterator[tuple[BindPolicy, Location | None]]:
    """What a bind line says of client certificates, and where; lines of crt-lists may say otherwise."""
    yield tls.policy, tls.location
    for item in tls.certificates:
        for line in item.lines if isinstance(item, CrtList) else ():
            if any(name == "verify" for name, _ in line.options):
                yield tls.policy.overlaid(line.options), line.location or line.file.location


def _acls(proxy: Proxy) -> dict[str, list[Criterion]]:
    found: dict[str, list[Criterion]] = {}
    for definition in proxy.acls:
        found.setdefault(definition.name, []).append(definition.criterion)
    return found


# --- backends that nothing reaches -----------------------------------------------------------------------------------


def _unreachable(front: _Front, findings: Findings) -> None:
    default = _written_default(front)
    last = _ending(front)
    if last is not None:
        for use in front.proxy.use_backends:
            _never_comes(last, f"use_backend {_name(use)}", use.location, findings)
        if default is not None:
            _never_comes(last, f"default_backend {front.proxy.default_backend}", default, findings)
        return
    taken: UseBackend | None = None
    for use in front.proxy.use_backends:
        holds = True if use.condition is None else _truth(use.condition, front.acls, front.known)
        if taken is not None:
            _behind(taken, f"use_backend {_name(use)}", use.location, findings)
        elif holds is False:
            findings.add(
                "unreachable-backend", f"'use_backend {_name(use)}' is never used: its condition can't hold{_because(front)}",
                use.location, remedy=_why_never(use, front),
            )
        elif holds and use.name is not None:
            taken = use
    if taken is not None and default is not None:
        _behind(taken, f"default_backend {front.proxy.default_backend}", default, findings)


def _ending(front: _Front) -> Rule | None:
    """The rule that ends all requests before a backend is chosen, None for none.

    What holds only since the frontend has TLS, or has none, is a condition: such a rule is written for both kinds.
    """
    for ruleset in _BEFORE_BACKENDS:
        for rule in front.proxy.rules.get(ruleset, ()):
            action, condition = rule.action, rule.condition
            if isinstance(action, Accept) and (condition is None or _truth(condition, front.acls, front.known) is not False):
                break  # the rules behind it in this set are not for all
            always = condition is None or _truth(condition, front.acls, _constant) is True
            if always and type(action) in _FINAL and not (isinstance(action, Redirect) and action.ignore_empty):
                return rule
    return None


def _never_comes(last: Rule, what: str, place: Location, findings: Findings) -> None:
    line, word = where(last.location, place), _FINAL[type(last.action)]
    rule = word if last.location.underlined == word else f"{last.ruleset.value} {word}"  # `redirect` is a keyword, too
    findings.add(
        "unreachable-backend", f"'{what}' is never used: '{rule}' ({line}) ends everything before", place,
        remedy=f"give {line} a condition, or take this one out",
    )


def _behind(taken: UseBackend, what: str, place: Location, findings: Findings) -> None:
    line = where(taken.location, place)
    findings.add(
        "unreachable-backend", f"'{what}' is never used: 'use_backend {taken.name}' ({line}) takes everything before", place,
        remedy=f"give {line} a condition, move it behind the others, or take this one out",
    )


def _name(use: UseBackend) -> str:
    return use.name if use.name is not None else use.format.text if use.format is not None else "?"


def _because(front: _Front) -> str:
    named = f"{front.proxy.kind.value} '{front.proxy.name}'"
    return f", since {named} terminates TLS" if front.terminates else f", since {named} has no TLS" if front.plain else ""


def _why_never(use: UseBackend, front: _Front) -> str:
    names = sorted({call.name for call in _calls_of(use.condition, front.acls)})
    if front.terminates and any(name.startswith(_OF_HELLO) for name in names):
        return "write 'ssl_fc_sni': 'req.ssl_*' reads the ClientHello where TLS is passed through, not decrypted"
    if front.plain and any(name.startswith(_OF_TLS) for name in names):
        return "write 'ssl crt <file>' on the bind line or take this out; where TLS is passed through, 'req.ssl_sni' has the name"
    return "correct the condition, or take the line out"


def _written_default(front: _Front) -> Location | None:
    """Where the frontend's own section says `default_backend`."""
    origin = front.config.origin
    if isinstance(origin, ConfigDraft):
        for draft in origin.proxies:
            if draft.name == front.proxy.name:
                setting = draft.settings.get("default_backend")
                return None if setting is None or setting.inherited else setting.location
    return None


def _truth(
    condition: Condition, acls: Mapping[str, list[Criterion]], known: Callable[[Criterion], bool | None]
) -> bool | None:
    """Whether a condition always holds, never, or (None) now and then."""

    def criterion(term: Term) -> bool | None:
        if isinstance(term.test, AclReference):
            found = acls.get(term.test.name)
            holds = None if not found else _any(known(one) for one in found)
        else:
            holds = known(term.test)
        return holds if holds is None or not term.negated else not holds

    holds = _any(_all(criterion(term) for term in terms) for terms in condition.alternatives)
    return holds if holds is None or not condition.unless else not holds


def _any(values: Iterable[bool | None]) -> bool | None:
    found = set(values)
    return True if True in found else None if None in found else False


def _all(values: Iterable[bool | None]) -> bool | None:
    found = set(values)
    return False if False in found else None if None in found else True


# --- tests that can't hold -------------------------------------------------------------------------------------------


def _impossible(front: _Front, findings: Findings) -> None:
    rules = [(rule.condition, rule.location) for rule in _rules(front.proxy)]
    rules += [
        (use.condition, use.location)
        for use in front.proxy.use_backends
        if use.condition is not None and _truth(use.condition, front.acls, front.known) is not False
    ]
    for call in _once(call for condition, _ in rules for call in _calls_of(condition, front.acls)):
        if call.name.startswith(_OF_HELLO):
            findings.add(
                "impossible-condition",
                f"'{call.name}' finds nothing: {front.proxy.kind.value} '{front.proxy.name}' terminates TLS, so its rules see "
                "what is decrypted, no ClientHello",
                call.location,
                remedy="write 'ssl_fc_sni' for the name that the client asked for, and leave out what waits for a ClientHello",
            )


# --- client certificates ---------------------------------------------------------------------------------------------


def _unused_verify(front: _Front, findings: Findings) -> None:
    lines = dict.fromkeys(place for policy, place in front.policies if policy.verify is Verify.OPTIONAL)
    if not lines or _looks_at_certificates(front):
        return
    places = OptionPlaces(front.config)
    for line in lines:
        findings.add(
            "tls-verify-unused",
            "'verify optional' lets clients in with and without a certificate, and no rule looks whether one came: "
            "it protects nothing",
            places.find(line, "verify", "optional"),
            remedy="deny what needs one, 'http-request deny unless { ssl_c_used }', or write 'verify required'",
        )


def _looks_at_certificates(front: _Front) -> bool:
    for proxy in front.sides():
        names = {call.name for call in _calls_of(_without_acls(proxy), _acls(proxy))}
        if any(name.startswith("ssl_c_") or name == "ssl_fc_has_crt" for name in names):
            return True
        if any(server.send_proxy is not None and server.send_proxy.options for server in proxy.servers):
            return True  # the server is told
    return False


def _has_crt(front: _Front, findings: Findings) -> None:
    found: list[Call] = []
    for proxy in front.sides():
        acls = _acls(proxy)
        conditions = [rule.condition for rule in _rules(proxy)] + [use.condition for use in proxy.use_backends]
        for condition in conditions:
            for terms in condition.alternatives if condition is not None else ():
                calls = list(_calls_of(terms, acls))
                if not any(call.name == "ssl_c_used" for call in calls):  # both: resumed sessions are told apart
                    found += [call for call in calls if call.name == "ssl_fc_has_crt"]
    for call in _once(found):
        findings.add(
            "tls-has-crt",
            "'ssl_fc_has_crt' is false when a TLS session is resumed: a client with a certificate is let in once and turned away "
            "on its next connection",
            call.location, remedy="write 'ssl_c_used', which also holds on resumed sessions",
        )


# --- names -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskedName:
    """A server name that a rule compares with: lower case; `fetch` is what is compared."""

    name: str
    fetch: str
    location: Location


def asked_names(proxy: Proxy) -> list[AskedName]:
    """The server names that a frontend's rules single out, but for those that they turn away.

    The Host header counts where all lines of the frontend terminate TLS.
    """
    acls = _acls(proxy)
    hosts = all(bind.tls is not None for bind in proxy.binds)
    found: dict[tuple[str, Location], AskedName] = {}
    refusing = (Deny, Reject, SilentDrop, Tarpit)
    uses = [rule.condition for rule in _rules(proxy) if not isinstance(rule.action, refusing)]
    uses += [use.condition for use in proxy.use_backends]
    for condition in uses:
        if condition is None or condition.unless:
            continue
        for terms in condition.alternatives:
            for term in terms:
                if not term.negated:
                    for criterion in [term.test] if isinstance(term.test, Criterion) else acls.get(term.test.name, ()):
                        for asked in _literals(criterion, hosts=hosts):
                            found[asked.name, asked.location] = asked
    return list(found.values())


def _literals(criterion: Criterion, *, hosts: bool) -> Iterator[AskedName]:
    call = criterion.expression.fetch
    is_host = call.name in _HOST and call.arguments[:1] and call.arguments[0].lower() == "host"
    if not (call.name == "ssl_fc_sni" or (hosts and is_host)) or criterion.match_method not in (None, "str"):
        return
    if any(converter.name not in _HOST_CONVERTERS for converter in criterion.expression.converters):
        return
    for pattern in criterion.patterns:
        name = pattern.text.lower().rstrip(".")
        if is_host:
            name = name.rpartition(":")[0] if name.rpartition(":")[2].isdecimal() else name
        yield AskedName(name, criterion.expression.text, pattern.location)


# --- walking through the model ---------------------------------------------------------------------------------------


def _rules(proxy: Proxy) -> list[Rule]:
    return [rule for rules in proxy.rules.values() for rule in rules]


def _without_acls(proxy: Proxy) -> list[Any]:
    return [getattr(proxy, name) for name in type(proxy).__slots__ if name != "acls"]


def _calls_of(value: Any, acls: Mapping[str, list[Criterion]]) -> Iterator[Call]:
    """The fetches and converters in any part of the model, those of the ACLs that are named in it too."""
    if isinstance(value, Call):
        yield value
    elif isinstance(value, AclReference):
        for criterion in acls.get(value.name, ()):
            yield from _calls_of(criterion, {})
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _calls_of(item, acls)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _calls_of(item, acls)
    elif type(value).__module__.startswith("headgate.config") and not isinstance(value, enum.Enum):
        for name in getattr(type(value), "__slots__", ()):
            yield from _calls_of(getattr(value, name), acls)


def _once(calls: Iterable[Call]) -> list[Call]:
    return list({call.location: call for call in calls}.values())
