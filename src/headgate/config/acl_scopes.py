"""Which ACLs a proxy sees (manual 4.2 "acl", 7.4): its own, the predefined ones it uses, and none of its defaults section.

Rules that come from a defaults section keep seeing that section's ACLs: these move along under names that can't be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from headgate.config.actions import Rule, Ruleset
from headgate.config.drafts import ProxyDraft
from headgate.config.expression import AclDefinition, AclReference, Condition
from headgate.config.model import UseBackend, UseServer
from headgate.config.parse_condition import predefined_acls


def references(condition: Condition | None) -> Iterator[AclReference]:
    """The named ACLs of a condition."""
    if condition is not None:
        for terms in condition.alternatives:
            for term in terms:
                if isinstance(term.test, AclReference):
                    yield term.test


def conditions_of(draft: ProxyDraft, rules: Mapping[Ruleset, Sequence[Rule]]) -> Iterator[Condition]:
    """Every condition of a proxy."""
    for items in rules.values():
        for rule in items:
            if rule.condition is not None:
                yield rule.condition
    chosen: list[UseBackend | UseServer] = [*draft.use_backends, *draft.use_servers]
    for item in chosen:
        if item.condition is not None:
            yield item.condition
    yield from (rule.condition for rule in draft.stats_rules if rule.condition is not None)
    for stick in draft.stick_rules:
        if stick.condition is not None:
            yield stick.condition
    yield from (*draft.monitor_fail, *draft.force_persist, *draft.ignore_persist, *draft.stats_admin)


def privately(parent: ProxyDraft) -> tuple[list[AclDefinition], dict[Ruleset, list[Rule]]]:
    """A defaults section's ACLs and rules, with the ACLs renamed so that no proxy sees them."""
    names = {acl.name: f"{parent.name}/{acl.name}" for acl in parent.acls}
    hidden = [replace(acl, name=names[acl.name]) for acl in parent.acls]
    moved = {
        ruleset: [replace(rule, condition=_renamed(rule.condition, names)) for rule in rules]
        for ruleset, rules in parent.rules.items()
    }
    return hidden, moved


def _renamed(condition: Condition | None, names: Mapping[str, str]) -> Condition | None:
    if condition is None:
        return None
    alternatives = tuple(
        tuple(
            replace(term, test=replace(term.test, name=names.get(term.test.name, term.test.name)))
            if isinstance(term.test, AclReference)
            else term
            for term in terms
        )
        for terms in condition.alternatives
    )
    return replace(condition, alternatives=alternatives)


def with_predefined(
    acls: Iterable[AclDefinition], draft: ProxyDraft, rules: Mapping[Ruleset, Sequence[Rule]]
) -> tuple[AclDefinition, ...]:
    """The proxy's ACLs and, of the predefined ones, those that it uses and does not define itself."""
    found = list(acls)
    known = {acl.name for acl in found}
    for condition in conditions_of(draft, rules):
        for reference in references(condition):
            if reference.name not in known and reference.name in predefined_acls():
                known.add(reference.name)
                found.append(predefined_acls()[reference.name])
    return tuple(found)
