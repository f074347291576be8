"""A check while its lines are read, of a proxy or of a `healthcheck` section, and what becomes of it: `checks.CheckSpec`.

Rules of a defaults section are taken over whole or not at all: the first rule (or `option ... chk`) of a section's own replaces
them, as HAProxy does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from headgate.base.diagnostics import NOWHERE, Location, Report
from headgate.base.records import dataclass, field
from headgate.config.checks import (
    CheckRule,
    CheckSpec,
    CommentRule,
    ConnectRule,
    ExpectRule,
    RequestRule,
    VariableRule,
)

#: What `option httpchk` checks for when nothing else is said (4.2 http-check expect).
IMPLIED_EXPECT = ExpectRule("status", "200-399")
#: Kinds whose scripts are written as rules, and the rows that these are.
RULED = {"http": "http-check", "tcp": "tcp-check"}
#: The options that choose kinds of which there is more to say.
OPTIONS = {"http": "option httpchk", "tcp": "option tcp-check", "external": "option external-check"}


@dataclass(slots=True)
class CheckDraft:
    """See the module.

    Attributes:
        kind: None until one was written; `location` is where.
        arguments: of smtp, mysql, pgsql.
        request: of `option httpchk`, None until it was written.
        rules: by kind ("tcp", "http").
        inherited: kinds whose rules (and request) are those of a defaults section.
        written: what the section's own lines say besides rules: keywords, for which kind, and where.
    """

    kind: str | None = None
    location: Location = NOWHERE
    arguments: tuple[str, ...] = ()
    request: RequestRule | None = None
    rules: dict[str, list[CheckRule]] = field(default_factory=dict)
    inherited: set[str] = field(default_factory=set)
    disable_on_404: bool = False
    send_state: bool = False
    command: str | None = None
    path: str = ""
    written: dict[str, tuple[str, Location]] = field(default_factory=dict)

    def copy(self) -> CheckDraft:
        """For a section that starts from this one."""
        copied = replace(self, rules={kind: list(rules) for kind, rules in self.rules.items()}, written={})
        copied.inherited = {kind for kind in RULED if copied.rules.get(kind) or (kind == "http" and copied.request is not None)}
        return copied

    def choose(self, kind: str, location: Location, arguments: tuple[str, ...] = ()) -> None:
        """`option <kind>`."""
        self.kind, self.location, self.arguments = kind, location, arguments

    def own(self, kind: str) -> list[CheckRule]:
        """The section's own rules of a kind: what was inherited of it is gone."""
        if kind in self.inherited:
            self.inherited.discard(kind)
            self.rules.pop(kind, None)
            if kind == "http":
                self.request = None
        return self.rules.setdefault(kind, [])

    def unheeded(self) -> Iterator[tuple[str, str, Location]]:
        """Own lines that are for checks of another kind: what is ignored, the kind, where. What was inherited may not apply."""
        for kind, rules in self.rules.items():
            if rules and kind != self.kind and kind not in self.inherited:
                yield f"'{RULED[kind]}' rules are ignored", kind, rules[0].location
        for keyword, (kind, place) in self.written.items():
            # Servers that track others have no checks, but have to agree with these on what a 404 means (5.2 track).
            if kind != self.kind and not (kind == "http" and self.kind is None):
                yield f"'{keyword}' is ignored", kind, place

    def freeze(self, report: Report, *, log: bool = False) -> CheckSpec:
        """Check the order of the rules, put in what is implied, and freeze."""
        kind = self.kind or "tcp"
        rules = self.rules.get(kind, []) if self.kind is not None else []
        _check_order(kind, rules, report)
        return CheckSpec(
            kind=kind,
            rules=tuple(_completed(rules, self.request or RequestRule()) if kind == "http" else rules),
            arguments=self.arguments,
            disable_on_404=self.disable_on_404,
            send_state=self.send_state,
            command=self.command,
            path=self.path,
            log=log,
        )


def _check_order(kind: str, rules: list[CheckRule], report: Report) -> None:
    """4.2: with a `connect` anywhere one must come first; a request belongs to each connection."""
    acting = [rule for rule in rules if not isinstance(rule, (CommentRule, VariableRule))]
    if any(isinstance(rule, ConnectRule) for rule in acting) and not isinstance(acting[0], ConnectRule):
        report.alert(
            f"the first rule of a sequence with 'connect' must be a 'connect', not this '{RULED[kind]}'", acting[0].location,
            remedy=f"write '{RULED[kind]} connect' in front; only set-var, unset-var and comment may come before it",
        )
    if kind == "http":
        _check_requests(acting, report)

def _check_requests(acting: Sequence[CheckRule], report: Report) -> None:
    """4.2 http-check: a connection serves one request; only that of the first one may be implied, by `option httpchk`."""
    requested = not any(isinstance(rule, RequestRule) for rule in acting)
    for index, rule in enumerate(acting):
        if isinstance(rule, ConnectRule):
            requested = requested and index == 0
        elif isinstance(rule, RequestRule):
            if requested:
                remedy = "write 'http-check connect' in front of it: each connection serves one request"
                report.alert("a second 'http-check send' needs a 'connect' rule before it", rule.location, remedy=remedy)
            requested = True
        elif isinstance(rule, ExpectRule) and not requested:
            remedy = "write the 'http-check send' of this connection in front of it"
            report.alert("nothing is requested before this 'http-check expect'", rule.location, remedy=remedy)

def _completed(rules: list[CheckRule], request: RequestRule) -> list[CheckRule]:
    """An HTTP check with the request that `option httpchk` says and the status that is expected when nothing else is (4.2)."""
    done = list(rules)
    at = next((index for index, rule in enumerate(done) if isinstance(rule, RequestRule)), None)
    if at is None:
        first = next((index for index, rule in enumerate(done) if isinstance(rule, ConnectRule)), -1)
        done.insert(first + 1, replace(request, location=NOWHERE))
    else:
        sent = done[at]
        assert isinstance(sent, RequestRule)
        done[at] = merged(request, sent)
    last = max(index for index, rule in enumerate(done) if isinstance(rule, RequestRule))
    if not any(isinstance(rule, ExpectRule) for rule in done[last:]):
        done.insert(last + 1, IMPLIED_EXPECT)
    return done

def merged(first: RequestRule, second: RequestRule) -> RequestRule:
    """A request of which `second` says more, or otherwise. It has one Host (RFC 9110 7.2): two are refused by servers."""
    renamed = any(name.lower() == "host" for name, _ in second.headers)
    kept = [(name, value) for name, value in first.headers if not (renamed and name.lower() == "host")]
    return RequestRule(
        second.method or first.method,
        second.uri if second.uri is not None else first.uri,
        second.version or first.version,
        (*kept, *second.headers),
        second.body if second.body is not None else first.body,
        second.comment or first.comment,
        second.location,
    )

