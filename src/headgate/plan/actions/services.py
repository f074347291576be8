"""`use-service` (manual 4.4): the request is answered by a service of our own."""

from __future__ import annotations

from typing import Final

from headgate.base.diagnostics import Location
from headgate.config.actions import UseService
from headgate.plan.actions.registry import Act, action
from headgate.plan.facts import Stream
from headgate.plan.scope import Scope
from headgate.plan.services import Service
from headgate.plan.verdicts import Kind, Verdict

#: How services are called in logs, as HAProxy does.
_LOGGED: Final = {"prometheus-exporter": "<PROMEX>"}


@action(UseService)
def use_service(rule: UseService, scope: Scope, location: Location) -> Act:
    verdict = Verdict(Kind.SERVICE, service=Service(rule.name, _LOGGED[rule.name]))

    def act(stream: Stream) -> Verdict:
        return verdict

    return act
