"""Rulesets -> one closure each (manual 4.3, 4.4): rules in order, the first verdict ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from headgate.base.diagnostics import ConfigError, Report, config_error
from headgate.config.actions import Accept, Reject, Rule, Ruleset, SilentDrop, TrackCounter
from headgate.plan import actions, verdicts
from headgate.plan.actions.registry import ACTIONS, Act, Suspending
from headgate.plan.actions.tables import track_failure
from headgate.plan.conditions import compile_condition
from headgate.plan.facts import Stream
from headgate.plan.frontends import Rules, Test
from headgate.plan.scope import Scope, shield
from headgate.plan.verdicts import Verdict

#: Imported for what they register.
REGISTERED: Final = (actions,)

_ENDING: Final = (Accept, Reject, SilentDrop)
_WAITING: Final = frozenset({Ruleset.TCP_REQUEST_CONTENT})


def compile_rules(rules: Sequence[Rule], ruleset: Ruleset, scope: Scope) -> Rules | None:
    """Compile a ruleset; None when it is empty. Errors go to the report, and the rule is left out."""
    compiled: list[tuple[Test | None, Act]] = []
    for rule in rules:
        try:
            compiled.append(compile_rule(rule, scope))
        except ConfigError as error:
            shield(scope.report, error)
    if not compiled:
        return None
    content = ruleset in _WAITING
    join = _waiting if content else _plain
    for index, (_, act) in enumerate(compiled):
        if isinstance(act, Suspending):
            behind = tuple(compiled[index + 1 :])
            act.rest = join(behind) if behind else None
            act.content = content
    return join(tuple(compiled))


def compile_failure_tracking(rules: Sequence[Rule], scope: Scope) -> Rules | None:
    """What `tcp-request session` rules would have tracked, for handshakes that fail: those rules come after them (manual 4.2).

    Only `track-sc*` into tables with `tls_fail_cnt` or `tls_fail_rate` does something, and the rules that end the ruleset end it
    here, too: who is not tracked is not counted. What else rules do belongs to sessions.

    Returns:
        None where nothing would be tracked.
    """
    scope = replace(scope, report=Report())  # errors are those of the ruleset itself, and said there
    acts: list[tuple[Rule, Act]] = []
    tracks = False
    try:
        for rule in rules:
            act = track_failure(rule.action, scope) if isinstance(rule.action, TrackCounter) else None
            if act is not None:
                tracks = True
                acts.append((rule, act))
            elif isinstance(rule.action, _ENDING):
                acts.append((rule, lambda stream: verdicts.ACCEPT))
        if tracks:
            return _plain(tuple((_test(rule, scope), act) for rule, act in acts))
    except ConfigError:
        pass  # and there will be no session
    return None


def _test(rule: Rule, scope: Scope) -> Test | None:
    return None if rule.condition is None else compile_condition(rule.condition, scope)


def compile_rule(rule: Rule, scope: Scope) -> tuple[Test | None, Act]:
    """Compile one rule: its condition (None: always) and its action.

    Raises:
        ConfigError: see `compile_condition` and the actions.
    """
    make = ACTIONS.get(type(rule.action))
    if make is None:
        raise config_error(f"action {type(rule.action).__name__} is not yet supported", rule.location)
    try:
        test = _test(rule, scope)
    except ConfigError as error:
        # The action may be wrong as well: both are said in one run.
        shield(scope.report, error)
        make(rule.action, scope, rule.location)
        return (lambda stream: False), (lambda stream: None)
    return test, make(rule.action, scope, rule.location)


def _plain(rules: tuple[tuple[Test | None, Act], ...]) -> Rules:
    if len(rules) == 1:
        test, act = rules[0]
        if test is None:
            return act

        def single(stream: Stream) -> Verdict | None:
            return act(stream) if test(stream) else None

        return single

    def run(stream: Stream) -> Verdict | None:
        for test, act in rules:
            if test is None or test(stream):
                verdict = act(stream)
                if verdict is not None:
                    return verdict
        return None

    return run


def _waiting(rules: tuple[tuple[Test | None, Act], ...]) -> Rules:
    """Content rules: a condition that can't be decided yet stops the ruleset with WAIT until more bytes come.

    `stream.request_complete` says that no more will: then what is missing counts as absent. The rules run again from the
    first one after each WAIT, so actions in front of the waiting rule must bear repetition, as in HAProxy.
    """

    def run(stream: Stream) -> Verdict | None:
        for test, act in rules:
            stream.need_more = False
            if test is not None:
                holds = test(stream)
                if stream.need_more and not holds and not stream.request_complete:
                    return verdicts.WAIT
                if not holds:
                    continue
                verdict = act(stream)
            else:
                verdict = act(stream)
                if verdict is None and stream.need_more and not stream.request_complete:
                    # `set-var(sess.sni) req.ssl_sni` without a condition: the action itself misses bytes.
                    return verdicts.WAIT
            if verdict is not None:
                return verdict
        return None

    return run
