"""`http-request wait-for-handshake` (manual 4.4): rules go on once the client's TLS handshake is over: it was no replay."""

from __future__ import annotations

from headgate.base.diagnostics import Location
from headgate.config.actions import WaitForHandshake
from headgate.plan.actions.registry import Act, action
from headgate.plan.facts import Stream
from headgate.plan.frontends import Rules
from headgate.plan.scope import Scope
from headgate.plan.verdicts import Kind, Verdict


@action(WaitForHandshake)
def wait_for_handshake(rule: WaitForHandshake, scope: Scope, location: Location) -> Act:
    return waiting_act(None)


def waiting_act(rest: Rules | None) -> Act:
    """The action with the rules behind it, which are run when the handshake is over."""
    verdict = Verdict(Kind.HANDSHAKE, rest=rest)

    def act(stream: Stream) -> Verdict | None:
        tls = stream.session.tls
        return verdict if tls is not None and tls.early else None

    return act
