"""OCSP of one process: what is stapled here, and which certificates insist on it.

Responses are fetched by the process that answers for all (`app.ocsp_updates`); to workers they come as changes (`OCSP_ENTRY` in
the journal), so a worker that starts later has them too. What is decided is decided in `tls.ocsp`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cryptography import x509

from headgate.app.ocsp_state import OcspState, loaded_of
from headgate.base.diagnostics import Report
from headgate.runtime.logs.emitters import log_event
from headgate.runtime.process.place import Role
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.ledger import Entry, Ledger
from headgate.tls.ocsp.response import check_response
from headgate.tls.ocsp.survey import Loaded, Survey, digest_of
from headgate.tls.storage import Entry as StorageEntry

if TYPE_CHECKING:
    from headgate.app.ocsp_updates import Updates
    from headgate.app.process import App
    from headgate.app.siblings import Result

_ALERT, _WARNING = 1, 4


class Ocsp:
    """See the module. Implements `admin.context.Ocsp`.

    Attributes:
        has_waited: the start has given must-staple certificates their time.
    """

    def __init__(self, app: App, state: OcspState) -> None:
        self._app = app
        self._state = state
        self._arrived = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._alarmed: set[str] = set()
        self.has_waited = False
        self._updates: Updates | None = None
        self._membership = state.storage.join(self)

    @property
    def fetches(self) -> bool:
        """Whether this process is the one that fetches."""
        return self._app.place.role is not Role.WORKER

    @property
    def updates(self) -> Updates | None:
        """Fetches; None in a worker. What it needs is loaded at the first use: it would hold up a start."""
        if self._updates is None and self.fetches:
            from headgate.app.ocsp_updates import Updates

            self._updates = Updates(self._app, self._state, self)
        return self._updates

    def load(self) -> None:
        """Load what updates need, if there are some, before files are out of reach."""
        if self._state.updates and self.updates is not None:
            self.updates.load()

    @property
    def ledger(self) -> Ledger:
        """What takes part."""
        return self._state.ledger

    async def start(self) -> None:
        """Begin to update where that is done, and return when clients may be served: must-staple certificates have a response,
        or have waited for one long enough."""
        if self._state.updates and self.updates is not None:
            self.updates.start()
        if self._app.place.role is Role.CONTROLLER:
            self._watching = asyncio.ensure_future(self._first_responses())  # nobody is served here: it has time
        else:
            await self._first_responses()

    def soft_stop(self) -> None:
        """Nobody new is served: renewals are the business of who comes next."""
        if self._updates is not None:
            self._updates.soft_stop()

    async def stop(self) -> None:
        """End all updates."""
        if self._watching is not None:
            self._watching.cancel()
        if self._updates is not None:
            await self._updates.stop()

    # --- responses arrive ---

    def apply(self, digest: str, der: bytes, until: float) -> Result:
        """A change: this response is stapled from now on. The one who sent it has checked it."""
        entry = self.ledger.find(digest) or self.admit(digest)
        if entry is None:
            return False, "no such certificate"
        entry.staple.der, entry.staple.until = der, until
        if entry.subject is not None:
            try:
                entry.put(check_response(der, entry.subject, time.time()))
            except Failure:
                pass  # over since: a process that has just come is told of what was long ago
        self.arrived(entry)
        return True, ""

    def arrived(self, entry: Entry) -> None:
        """A response is stapled from now on."""
        self._alarmed.discard(entry.digest)
        self._arrived.set()

    def admit(self, digest: str) -> Entry | None:
        """Let a certificate take part that did not so far: a response is set for it. None when nobody is shown it."""
        return self._admit(self._state.find(digest))

    def admit_path(self, path: str) -> Entry | None:
        """The same, by file."""
        return self._admit(next((one for one in self._state.loaded() if one.path == path), None))

    def _admit(self, loaded: Loaded | None) -> Entry | None:
        if loaded is None:
            return None
        entry = self._state.survey(time.time()).entry(loaded, x509.load_der_x509_certificate(loaded.leaf))
        self.ledger.add(entry)
        return entry

    # --- certificates are replaced ---

    def replaced(self, entry: StorageEntry[Any]) -> None:
        """See `tls.storage.StorageUser`: a new certificate is looked at, the one before it is forgotten."""
        lines = [one for one in self._state.served() if one.entry is entry]
        if not lines:
            return
        loaded = loaded_of(lines[0])
        fresh = digest_of(loaded.leaf)
        for known in [one for one in self.ledger if loaded.path in one.paths and one.digest != fresh]:
            if len(known.paths) > 1:
                known.paths.remove(loaded.path)
            else:
                self.ledger.remove(known.digest)
                if self._updates is not None:
                    self._updates.drop(known)
        report = Report()
        survey = self._state.survey(time.time())
        same = self.ledger.find(fresh)
        if same is not None:
            survey.renew(loaded, same, report)
            self.arrived(same)
        self._take([loaded], survey, report)

    def relisted(self) -> None:
        """Lists of certificates have changed: those that are shown for the first time are looked at."""
        known = {path for entry in self.ledger for path in entry.paths}
        fresh = {one.leaf: one for one in self._state.loaded() if one.path not in known}
        self._take(fresh.values(), self._state.survey(time.time()), Report())

    def _take(self, several: Iterable[Loaded], survey: Survey, report: Report) -> None:
        for loaded in several:
            is_new = self.ledger.find(digest_of(loaded.leaf)) is None
            found = survey.take(loaded, self.ledger, report)
            if found is not None and is_new and found.updates and self.updates is not None:
                self.updates.begin(found)
        survey.conclude(report)
        for item in report.items if self.fetches else ():
            log_event(self._app.logs.process, _WARNING, item.message)

    # --- must-staple ---

    def lacking(self) -> list[Entry]:
        """Certificates that insist on a response and have none."""
        now = time.time()
        return [one for one in self.ledger if one.must_staple and not (one.staple.der and now < one.staple.until)]

    async def _first_responses(self) -> None:
        try:
            async with asyncio.timeout(self._state.options.must_staple_wait):
                while any(one.updates for one in self.lacking()):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            pass
        self.has_waited = True
        for entry in self.lacking():
            self.alarm(entry)

    def alarm(self, entry: Entry) -> None:
        """Say, once until there is a response again, that a certificate lacks the one that it insists on."""
        if not self.fetches or entry.digest in self._alarmed:
            return
        self._alarmed.add(entry.digest)
        why = entry.explanation(time.time()) or "nothing provides one"
        effect = "clients that ask for one are refused" if entry.staple.required else "clients that insist on it refuse it"
        text = f"the certificate in '{entry.path}' demands a stapled OCSP response (must-staple), and there is none"
        log_event(self._app.logs.process, _ALERT, f"{text}: {effect}: {why}")
