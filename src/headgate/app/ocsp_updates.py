"""Updates of OCSP responses, in the process that answers for all: when they are due, what comes of them, who is told."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # behind `chroot` nothing can be imported any more
import random
import socket
import ssl
import time
from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from headgate.app.name_servers import streams_of
from headgate.app.ocsp_state import OcspState, tls_context
from headgate.base.addresses import Family
from headgate.runtime.accepted_families import AcceptedFamilies
from headgate.runtime.logs.emitters import log_event
from headgate.runtime.ocsp.eyeballs import Dialler
from headgate.runtime.ocsp.fetcher import Fetcher, Timing
from headgate.runtime.ocsp.http import HttpAnswer
from headgate.runtime.ocsp.names import Names, resolver_of
from headgate.runtime.ocsp.updater import Updater
from headgate.runtime.workers.messages import OCSP_ENTRY
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.failures import Code, Failure
from headgate.tls.ocsp.insertion import issuer_in, named_in, over_at, response_in
from headgate.tls.ocsp.ledger import Entry
from headgate.tls.ocsp.log_lines import http_line, update_line
from headgate.tls.ocsp.request import HttpRequest, http_request, request_for
from headgate.tls.ocsp.response import Response, Status, Subject, check_response, subject_of
from headgate.tls.ocsp.schedule import Delays, delay_after_failure, delay_after_success
from headgate.tls.ocsp.survey import digest_of, revoked_text

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

    from headgate.app.controller import Member
    from headgate.app.ocsp import Ocsp
    from headgate.app.process import App
    from headgate.runtime.name_server_streams import NameServerStreams

assert concurrent.futures.thread
T = TypeVar("T")
Asked: TypeAlias = "list[tuple[Member, asyncio.Future[tuple[object, ...]]]]"
_ALERT, _WARNING, _NOTICE = 1, 4, 5
_NO_MATCH = "OCSP single response: Certificate ID does not match any certificate or issuer"
_NUMERIC = (Family.INET, Family.INET6)
#: Stored responses that nobody uses are removed when they have been over for this long, seconds.
_KEPT_AFTER_END = 7 * 86400.0


class Updates:
    """See the module.

    Args:
        app: the process.
        state: its certificates.
        ocsp: what is stapled here.
    """

    def __init__(self, app: App, state: OcspState, ocsp: Ocsp) -> None:
        self._app = app
        self._state = state
        self._ocsp = ocsp
        self._fetcher: Fetcher | None = None
        self._streams: Mapping[str, NameServerStreams] = {}
        self._updater: Updater | None = None
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._cannot_write = ""
        self._retired = False
        self._seen: dict[str, float] = {}  # when stored responses were written, as last seen, by digest
        self._delays = Delays(float(state.options.mindelay), float(state.options.maxdelay))

    def load(self) -> None:
        """Make what fetching needs, before files are out of reach."""
        context: ssl.SSLContext | None = None
        secure = any(uri.startswith("https:") for one in self._state.ledger for uri in one.uris)
        if secure or self._app.config.global_.chroot is not None:
            try:
                context = tls_context(self._state.client)
            except OSError as error:
                log_event(self._app.logs.process, _WARNING, f"no https for OCSP: the CA certificates can't be loaded: {error}")
        self._fetcher = self._make_fetcher(context)

    def _make_fetcher(self, context: ssl.SSLContext | None) -> Fetcher:
        client, proxy = self._state.client, self._state.options.httpproxy
        family = socket.AF_INET if client.prefer is Family.INET else socket.AF_INET6
        tls: Callable[[], ssl.SSLContext] = (lambda: tls_context(client)) if context is None else (lambda: context)
        accepted = AcceptedFamilies(self._app.config.global_.dns_accept_family)
        names = Names(self._resolver(), enabled=client.names, accepted=accepted)
        return Fetcher(
            Dialler(names, family, client.connect_timeout),
            retries=client.retries,
            proxy=None if proxy is None else (proxy.host, proxy.port),
            tls=tls,
            random=random.random,
        )

    def _resolver(self) -> Callable[[], Resolver] | None:
        """Of the `resolvers` section that the HTTP client is to use; None: of the system."""
        section = self._app.config.resolvers.get(self._state.client.resolvers)
        if section is None or section.location is None:
            return None
        self._streams = streams_of(self._app, section)
        return resolver_of([one for one in section.name_servers if one.address.family in _NUMERIC], self._streams)

    # --- when ---

    def start(self) -> None:
        """Begin."""
        now = time.time()
        for entry in self._state.ledger:
            response = entry.valid(now)
            if response is not None and response.status is Status.REVOKED:
                log_event(self._app.logs.process, _ALERT, revoked_text(entry, response))
        self._updater = Updater(self._due, time.time, self._app.bug)
        for entry in self._state.ledger:
            if entry.updates:
                self._first(entry, now)  # what is on disk was read when the configuration was
        self._updater.start()
        if self._state.store.is_open:
            keys = [key for one in self._state.ledger for key in (one.key, one.digest) if key]
            limit = now - _KEPT_AFTER_END
            _beside(self._state.store.sweep, keys, lambda der: over_at(der) < limit)

    def soft_stop(self) -> None:
        """Begin no more updates."""
        for entry in self._state.ledger:
            self.drop(entry)
            entry.next_at = None
        self._retired = True

    async def stop(self) -> None:
        """End, and what is under way."""
        if self._updater is not None:
            await self._updater.stop()
        for one in self._streams.values():
            await one.close()

    def begin(self, entry: Entry) -> None:
        """A certificate takes part from now on."""
        if not entry.updates:
            return
        if self._updater is None:
            self.start()  # the first one that is updated
            return
        now = time.time()
        if self._state.read_stored(entry, now):
            self._spread(entry)
        self._first(entry, now)

    def _first(self, entry: Entry, now: float) -> None:
        """Schedule the first update: at once where there is nothing to staple, must-staple certificates first."""
        if entry.key:
            self._seen[entry.digest] = self._state.store.written_at(entry.key)
        if entry.valid(now) is None:
            self._schedule(entry, -1.0 if entry.must_staple else 0.0)
        else:
            self._schedule_renewal(entry, now)

    def drop(self, entry: Entry) -> None:
        """A certificate is not served any more."""
        if self._updater is not None:
            self._updater.drop(entry.digest)
        self._seen.pop(entry.digest, None)

    def _schedule(self, entry: Entry, delay: float) -> None:
        if self._updater is None or not entry.updates or self._retired:
            return
        entry.next_at = time.time() + delay
        self._updater.put(entry.digest, entry.next_at, entry.uris[0].split("/", 3)[2])

    def _schedule_renewal(self, entry: Entry, now: float) -> None:
        assert entry.response is not None
        self._schedule(entry, delay_after_success(entry.response, now, self._delays, random.random()))

    def _schedule_retry(self, entry: Entry, now: float, retry_after: float | None = None) -> None:
        tries, on_hand = max(entry.in_a_row, 1), entry.valid(now)
        self._schedule(
            entry,
            delay_after_failure(
                tries, on_hand, now, self._delays, random.random(), retry_after, urgent=entry.must_staple
            ),
        )

    async def _due(self, digest: str) -> None:
        entry = self._state.ledger.find(digest)
        if entry is None:
            return
        due = entry.next_at
        try:
            if not await self._adopt(entry):
                await self.update(entry)
        finally:
            if entry.next_at == due:
                # It came to no end, ours or that of somebody who has asked for it and left: it is not forgotten.
                self._schedule_retry(entry, time.time())

    async def _adopt(self, entry: Entry) -> bool:
        """Take a response that another machine has fetched meanwhile and put into the same directory."""
        store, key = self._state.store, entry.key
        if not key:
            return False
        written = await _beside(store.written_at, key)
        if not written or written == self._seen.get(entry.digest):
            return False
        self._seen[entry.digest] = written
        der = await _beside(store.read, key)
        now = time.time()
        if self._state.take_stored(entry, der, now):
            self._spread(entry)
            self._schedule_renewal(entry, now)
            return True
        return False

    # --- asking ---

    async def update(self, entry: Entry) -> None:
        """Ask a certificate's responders now; the entry says what came of it. Who asks at the same time shares the update."""
        under_way = self._under_way.get(entry.digest)
        if under_way is not None:
            await asyncio.shield(under_way)
            return
        done = self._under_way[entry.digest] = asyncio.get_running_loop().create_future()
        try:
            result, timing = await self._ask(entry)
            if isinstance(result, Failure):
                self._failed(entry, result, timing)
            else:
                await self._succeeded(entry, result)
        finally:
            del self._under_way[entry.digest]
            done.set_result(None)

    async def _ask(self, entry: Entry) -> tuple[Response | Failure, Timing | None]:
        fetcher = self._fetcher
        if fetcher is None:
            fetcher = self._fetcher = self._make_fetcher(None)  # nothing is updated but by command
        if not entry.uris:
            return Failure(failures.NO_RESPONDER, "the certificate names no OCSP responder"), None
        subject = entry.subject or await self._fetch_issuer(entry, fetcher)
        if isinstance(subject, Failure):
            return subject, None

        def check(answer: HttpAnswer) -> Response:
            return response_in(answer.content_type, answer.body, subject, entry, time.time())

        request = request_for(subject.certificate, subject.issuer)
        return await fetcher.fetch([http_request(uri, request) for uri in entry.uris], check)

    async def _fetch_issuer(self, entry: Entry, fetcher: Fetcher) -> Subject | Failure:
        """The issuer, from where the certificate says (`ocsp-update.fetch-issuer on`)."""
        if not self._state.options.fetch_issuer or not entry.issuer_uris:
            return Failure(failures.NO_ISSUER, "the issuer's certificate is not known")
        certificate = x509.load_der_x509_certificate(entry.leaf)
        requests = [HttpRequest("GET", uri, accept="application/pkix-cert, */*") for uri in entry.issuer_uris]
        found, _ = await fetcher.fetch(requests, lambda answer: issuer_in(answer.body, certificate))
        if isinstance(found, Failure):
            return Failure(found.cause, f"the issuer's certificate could not be fetched: {found.text}", found.retry_after)
        entry.subject = subject_of(certificate, found)
        await self._write(entry.digest, found.public_bytes(Encoding.DER))
        return entry.subject

    # --- what came of it ---

    async def _succeeded(self, entry: Entry, response: Response) -> None:
        now = time.time()
        entry.succeeded(now)
        asked = self._take(entry, response)
        log_event(self._app.logs.process, _NOTICE, update_line(entry))
        self._schedule_renewal(entry, now)
        await self._keep(entry)
        await self._told(asked)

    def _take(self, entry: Entry, response: Response) -> Asked:
        """Staple a response, here and in all workers, whose answers may be waited for."""
        before = entry.response
        entry.put(response)
        if response.status is Status.REVOKED and (before is None or before.status is not Status.REVOKED):
            log_event(self._app.logs.process, _ALERT, revoked_text(entry, response))
        return self._spread(entry)

    def _spread(self, entry: Entry) -> Asked:
        self._ocsp.arrived(entry)
        controller, response = self._app.controller, entry.response
        if controller is None or response is None:
            return []
        what = (OCSP_ENTRY, entry.digest, response.der, response.expires)
        asked = controller.spread((OCSP_ENTRY, entry.digest), what)
        for _, answer in asked:
            answer.add_done_callback(_forget)
        return asked

    async def _told(self, asked: Asked) -> None:
        """All workers have it, or don't answer in time: they will have it when they can."""
        if self._app.controller is not None and asked:
            await self._app.controller.answers(asked)

    async def _keep(self, entry: Entry) -> None:
        """Write the response to disk."""
        if entry.response is not None and await self._write(entry.key, entry.response.der):
            self._seen[entry.digest] = await _beside(self._state.store.written_at, entry.key)

    async def _write(self, key: str, der: bytes) -> bool:
        store = self._state.store
        if not store.is_open:
            return False
        try:
            await _beside(store.write, key, der)
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._cannot_write:
                self._cannot_write = reason
                text = f"OCSP responses can't be written to '{store.path}': {reason}: a restart will have to fetch them again"
                log_event(self._app.logs.process, _WARNING, text)
            return False
        self._cannot_write = ""
        return True

    def _failed(self, entry: Entry, failure: Failure, timing: Timing | None) -> None:
        now = time.time()
        entry.failed(failure)
        on_hand = entry.valid(now)
        self._schedule_retry(entry, now, failure.retry_after)
        log = self._app.logs.process
        log_event(log, _NOTICE, update_line(entry))
        if failure.cause.code is Code.HTTP_ERROR and timing is not None:
            log_event(log, _NOTICE, http_line(timing))
        log_event(log, _WARNING, f"OCSP update of '{entry.path}' failed: {entry.explanation(now)}")
        if entry.must_staple and on_hand is None and self._ocsp.has_waited:
            self._ocsp.alarm(entry)

    # --- by command ---

    async def insert(self, der: bytes) -> Entry:
        """Take a response that an operator brings.

        Raises:
            Failure: it may not be stapled, or is about no certificate that is served.
        """
        serials = named_in(der)
        for entry in self._named(serials):
            if entry.subject is None:
                raise Failure(failures.NO_ISSUER, f"the issuer of the certificate in '{entry.path}' is not known")
            now = time.time()
            response = check_response(der, entry.subject, now)
            on_hand = entry.valid(now)
            if on_hand is not None and response.this_update < on_hand.this_update:
                raise Failure(failures.OLDER, "the response on hand is newer")
            asked = self._take(entry, response)
            self._schedule_renewal(entry, now)
            await self._keep(entry)
            await self._told(asked)
            return entry
        raise Failure(failures.OTHER_CERTIFICATE, _NO_MATCH)

    def _named(self, serials: Container[int]) -> Iterator[Entry]:
        """Certificates with one of these serial numbers; those that took no part so far are looked for last."""
        ledger = self._state.ledger
        yield from [one for one in ledger if one.subject is not None and one.subject.id.serial in serials]
        for loaded in self._state.loaded():
            if x509.load_der_x509_certificate(loaded.leaf).serial_number in serials:
                digest = digest_of(loaded.leaf)
                entry = ledger.find(digest) or self._ocsp.admit(digest)
                if entry is not None:
                    yield entry


def _beside(function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
    """Runs in a thread: a disk, or another machine's, may be slow."""
    return asyncio.get_running_loop().run_in_executor(None, partial(function, *arguments))


def _forget(answer: asyncio.Future[Any]) -> None:
    """Nobody waits for it."""
    if not answer.cancelled():
        answer.exception()
