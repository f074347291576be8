"""What a process begins with: the certificates that take part in OCSP, the responses that are at hand, and where they are kept.

Made while the configuration is checked, before anything is given up; `app.ocsp` goes on from there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cryptography import x509

from headgate.base.diagnostics import Report, config_error
from headgate.base.records import dataclass
from headgate.config.model import Config
from headgate.config.ocsp_options import HttpClient, OcspUpdate
from headgate.runtime.ocsp.store import ResponseStore
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.insertion import issuer_in
from headgate.tls.ocsp.ledger import Entry, Ledger
from headgate.tls.ocsp.response import check_response, subject_of
from headgate.tls.ocsp.survey import Loaded, Survey, digest_of
from headgate.tls.storage import Storage

if TYPE_CHECKING:
    import ssl

    from headgate.tls.certified_key import CertifiedKey
    from headgate.tls.server_context import BindContext
    from headgate.tls.store import Served

#: Where responses are kept unless `ocsp-update.directory` says it: below the service's own directory where systemd names one.
_STATE_DIRECTORY = "/var/lib/headgate"


@dataclass(slots=True)
class OcspState:
    """See the module.

    Attributes:
        options, client: as configured.
        storage: the certificates.
        contexts: of the bind lines, which say what is served.
        ledger: what takes part.
        store: the directory; used only when something is updated.
    """

    options: OcspUpdate
    client: HttpClient
    storage: Storage
    contexts: Mapping[int, BindContext]
    ledger: Ledger
    store: ResponseStore

    @property
    def updates(self) -> bool:
        """Whether anything is fetched."""
        return any(entry.updates for entry in self.ledger)

    @property
    def keeps(self) -> bool:
        """Whether responses are kept on disk: those that are fetched, and where a directory is named all of them."""
        return self.updates or self.options.directory is not None

    def survey(self, now: float) -> Survey:
        """Looks at certificates."""
        return Survey(self.options, self.storage.staples, now)

    def served(self) -> Iterator[Served]:
        """All certificates that clients are shown, as often as bind lines name them."""
        for context in dict.fromkeys(self.contexts.values()):
            yield from context.store.served

    def loaded(self) -> Iterator[Loaded]:
        """The same, as they are now."""
        return map(loaded_of, self.served())

    def find(self, digest: str) -> Loaded | None:
        """A certificate that clients are shown."""
        return next((one for one in self.loaded() if digest_of(one.leaf) == digest), None)

    def read_issuer(self, entry: Entry) -> None:
        """Take the issuer that was fetched and stored by an earlier start (`ocsp-update.fetch-issuer`)."""
        der = self.store.read(entry.digest) if entry.subject is None and self.options.fetch_issuer else None
        if der is not None:
            certificate = x509.load_der_x509_certificate(entry.leaf)
            with contextlib.suppress(Failure):
                entry.subject = subject_of(certificate, issuer_in(der, certificate))

    def read_stored(self, entry: Entry, now: float) -> bool:
        """Take the response that is on disk; see `take_stored`."""
        return bool(entry.key) and self.take_stored(entry, self.store.read(entry.key), now)

    def take_stored(self, entry: Entry, der: bytes | None, now: float) -> bool:
        """Take a response that was on disk, if it is valid and newer than the one at hand; whether it was."""
        subject = entry.subject
        if subject is None or der is None:
            return False
        try:
            response = check_response(der, subject, now)
        except Failure:
            return False
        if entry.response is not None and response.this_update <= entry.response.this_update and entry.response.is_valid(now):
            return False
        entry.put(response)
        return True


def loaded_of(served: Served) -> Loaded:
    """A certificate of a bind line."""
    contents: CertifiedKey = served.entry.contents
    update = served.entry.file.files.ocsp_update
    return Loaded(contents.path, served.line.file.location, contents.leaf, lambda: contents.signer, contents.ocsp, update)


def prepare_ocsp(
    config: Config, report: Report, storage: Storage, contexts: Mapping[int, BindContext], now: float
) -> OcspState:
    """Look at all certificates, and take the responses that lie beside them and in the directory.

    Args:
        config: what was read.
        report: where errors and warnings go.
        storage: the certificates.
        contexts: of the bind lines.
        now: seconds since the epoch.
    """
    settings = config.global_
    options = settings.ocsp_update
    store = ResponseStore(options.directory or _default_directory())
    state = OcspState(options, settings.http_client, storage, contexts, Ledger(), store)
    survey = state.survey(now)
    for loaded in state.loaded():
        survey.take(loaded, state.ledger, report)
    survey.conclude(report)
    for entry in state.ledger:
        if state.keeps:
            state.read_issuer(entry)
            state.read_stored(entry, now)
    if state.updates:
        _check_client(settings.http_client, report)
    return state


def _default_directory() -> str:
    return os.path.join(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or _STATE_DIRECTORY, "ocsp")


def _check_client(client: HttpClient, report: Report) -> None:
    """Manual 3.4: a `ca-file` that is written must be there."""
    if client.ca_file is None or not client.verify:
        return
    try:
        tls_context(client)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        report.add(
            config_error(f"'httpclient.ssl.ca-file {client.ca_file}' can't be loaded: {str(reason).lower()}", None).diagnostic
        )


def tls_context(client: HttpClient) -> ssl.SSLContext:
    """For requests over https.

    Raises:
        OSError: the CA certificates can't be read (ssl.SSLError is one).
    """
    import ssl  # most responders speak http

    context = ssl.create_default_context(cafile=client.ca_file)
    if not client.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
