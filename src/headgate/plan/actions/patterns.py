"""Actions that change the lists that ACLs and maps look into: `set-map`, `del-map`, `add-acl`, `del-acl` (manual 4.4).

The change holds in this process at once; the other workers are told through `References.repeat`.
"""

from __future__ import annotations

from headgate.base.diagnostics import ConfigError, Location
from headgate.config.actions import ChangePatterns
from headgate.plan.actions.registry import Act, action
from headgate.plan.facts import Stream
from headgate.plan.logformat import Use, compile_format
from headgate.plan.scope import Scope


@action(ChangePatterns)
def change_patterns(rule: ChangePatterns, scope: Scope, location: Location) -> Act:
    references = scope.references
    find = references.wanted(rule.name, rule.location)
    key_of = compile_format(rule.key, scope, Use.PLAIN)
    if rule.verb.startswith("del"):

        def drop(stream: Stream) -> None:
            reference = find()
            key = key_of(stream)
            if reference is not None and reference.drop(key):
                references.repeat("del", reference, key)

        return drop
    value_of = None if rule.value is None else compile_format(rule.value, scope, Use.PLAIN)
    verb = rule.verb[:3]

    def put(stream: Stream) -> None:
        reference = find()
        if reference is None:
            return
        key, value = key_of(stream), None if value_of is None else value_of(stream)
        if value is None and reference.has_values:
            return  # an ACL that looks into a map: what is put there must have a value
        try:
            changed = reference.put(key, value if reference.has_values else None)
        except ConfigError:
            return  # the key is no pattern of this kind, or the value not of the type: the rule does nothing, as in HAProxy
        if changed:
            references.repeat(verb, reference, key, value)

    return put
