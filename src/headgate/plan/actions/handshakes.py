"""`http-request wait-for-handshake` (manual 4.4): rules go on once the client's TLS handshake is over: it was no replay."""

from __future__ import annotations

from headgate.base.diagnostics import Location
from headgate.config.actions import WaitForHandshake
from headgate.plan.actions.registry import Act, Suspending, action
from headgate.plan.facts import Stream
from headgate.plan.scope import Scope
from headgate.plan.verdicts import Kind, Verdict


class _Await(Suspending):
    __slots__ = ()

    def __call__(self, stream: Stream) -> Verdict | None:
        tls = stream.session.tls
        return Verdict(Kind.HANDSHAKE, rest=self.rest) if tls is not None and tls.early else None


@action(WaitForHandshake)
def wait_for_handshake(rule: WaitForHandshake, scope: Scope, location: Location) -> Act:
    return _Await()
