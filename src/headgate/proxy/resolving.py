"""A stream whose rules may wait for the address of a name (`do-resolve`); beyond that, see `seeking`."""

from __future__ import annotations

from headgate.plan.verdicts import Question, Verdict
from headgate.proxy.seeking import Seeking
from headgate.proxy.services import Lookups


class Resolving(Seeking):
    """What HTTP exchange and TCP relay do alike. Implements `proxy.services.AddressWaiter`.

    Attributes:
        pending_verdict: what is carried out, or gone on with, when what it waits for has come. Set by those who extend this.
    """

    __slots__ = ("pending_verdict",)

    pending_verdict: Verdict | None

    def lookups(self) -> Lookups | None:
        """Who finds addresses; None where the configuration has no `do-resolve`."""
        raise NotImplementedError

    def go_on(self, verdict: Verdict) -> None:
        """Carry on behind the rule that had to wait."""
        raise NotImplementedError

    def suspend(self, verdict: Verdict) -> bool:
        """Have a name resolved; False when there is nothing to wait for: the address, if there is one, is where it belongs."""
        lookups = self.lookups()
        question = verdict.question
        if lookups is None or question is None:
            return False
        address = lookups.known(question)
        if address is not None:
            question.put(self, address)
            return False
        self.pending_verdict = verdict
        self.wait(question.patience)
        lookups.ask(question, self)
        return True

    def resolved(self, question: Question, address: object | None) -> None:
        """See `proxy.services.AddressWaiter`."""
        verdict = self.pending_verdict
        if verdict is None or verdict.question is not question:
            return  # it took too long, or the client has left
        self.pending_verdict = None
        if address is not None:
            question.put(self, address)
        self.go_on(verdict)

    def give_up_resolving(self) -> Verdict | None:
        """Wait for the address no longer. Answers what has waited for it."""
        verdict = self.pending_verdict
        if verdict is None or verdict.question is None:
            return None
        self.pending_verdict = None
        lookups = self.lookups()
        if lookups is not None:
            lookups.forget(verdict.question)
        return verdict
