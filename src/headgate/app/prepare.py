"""Everything that can fail before a socket is opened: rules compiled, certificates read, names resolved. `-c` stops behind it."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headgate.app.findings import add_findings
from headgate.app.names import ServerAddress, resolve_names
from headgate.app.server_states import StateText, read_state_files
from headgate.base.diagnostics import ConfigError, Diagnostic, Report, Severity
from headgate.base.records import dataclass, field
from headgate.config.model import Config, Mode, Proxy, Server
from headgate.config.tls_options import BindTls, ServerTls, Verify
from headgate.plan.compiler import compile_plan
from headgate.plan.frontends import Plan
from headgate.plan.scope import Surroundings

if TYPE_CHECKING:
    from OpenSSL import SSL

    from headgate.app.ocsp_state import OcspState
    from headgate.tls.client_context import ServerContext
    from headgate.tls.server_context import BindContext
    from headgate.tls.session_context import SessionContexts
    from headgate.tls.storage import Storage
    from headgate.tls.ticket_sealing import TicketSealer
    from headgate.tls.tuning import Tuning


class StartError(Exception):
    """We can't start; `diagnostics` says why, for each reason."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__("; ".join(diagnostic.message for diagnostic in diagnostics))
        self.diagnostics = diagnostics


class ProcessState:
    """What fetches ask about the process, known once it runs."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.began_to_load = time.time()  # what was written to files since then may not have been read
        self.is_stopping = False

    def stopping(self) -> bool:
        """`stopping`: a soft stop is under way."""
        return self.is_stopping

    def uptime(self) -> int:
        """Seconds since the start."""
        return int(time.monotonic() - self.started)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that may run."""

    config: Config
    plan: Plan
    bind_contexts: Mapping[int, BindContext]  # by id() of the Bind: lines are equal where they were written twice
    server_contexts: Mapping[int, ServerContext]  # by id() of the Server
    state: ProcessState
    addresses: Mapping[int, ServerAddress]  # by id() of the Server
    check_contexts: Mapping[int, ServerContext]  # of checks over TLS, by id() of the Server
    states: tuple[StateText, ...] = ()  # load-server-state-from-file
    storage: Storage | None = None  # certificates, where TLS is spoken
    ocsp: OcspState | None = None  # None without TLS on bind lines
    name_server_contexts: Mapping[tuple[str, str], ServerContext] = field(default_factory=dict)  # by section and name


def prepare(config: Config, report: Report, session_contexts: SessionContexts | None = None) -> Prepared | None:
    """Compile rules, build TLS contexts, resolve names.

    Args:
        config: what was read.
        report: where errors and warnings go.
        session_contexts: of the process that outlives reloads (`Heritage.session_context`), for tickets that stay valid.

    Returns:
        None when `report` has alerts.
    """
    state = ProcessState()
    surroundings = Surroundings(
        hostname=socket.gethostname(),
        environment=os.environ,
        process_id=os.getpid,
        stopping=state.stopping,
        uptime=state.uptime,
        read_file=_read_file,
    )
    plan = compile_plan(config, report, surroundings)
    bind_contexts: dict[int, BindContext] = {}
    server_contexts: dict[int, ServerContext] = {}
    check_contexts: dict[int, ServerContext] = {}
    name_server_contexts: dict[tuple[str, str], ServerContext] = {}
    storage: Storage | None = None
    ocsp: OcspState | None = None
    speaks_tls = _speaks_tls(config)
    if speaks_tls or config.global_.ssl_provider or config.global_.ssl_propquery is not None:
        from headgate.tls.providers import apply

        apply(config.global_.ssl_provider, config.global_.ssl_propquery, report)
    if speaks_tls:
        # OpenSSL is loaded only where it is needed: a plain configuration starts in half the time.
        storage = _build_contexts(config, report, bind_contexts, server_contexts, session_contexts)
        if config.global_.nbthread != 1 and config.global_.tls_cache_size:
            _note_private_sessions(bind_contexts, report)
        _build_check_contexts(config, report, server_contexts, check_contexts, storage)
        name_server_contexts = _build_name_server_contexts(config, report, storage)
        storage.reader.forget()
        if bind_contexts:
            from headgate.app.ocsp_state import prepare_ocsp

            ocsp = prepare_ocsp(config, report, storage, bind_contexts, time.time())
    add_findings(config, bind_contexts, report, datetime.now(UTC))
    addresses = resolve_names(config, report)
    report.drop_repeated()
    if report.alerts:
        return None
    states = read_state_files(config, report)
    return Prepared(
        config, plan, bind_contexts, server_contexts, state, addresses, check_contexts, states, storage, ocsp,
        name_server_contexts,
    )  # fmt: skip


#: Longest pattern or map file that is read, bytes.
_LONGEST_FILE = 1 << 28


def _read_file(path: str) -> bytes:
    """A pattern or map file. Raises OSError."""
    with open(path, "rb") as file:
        data = file.read(_LONGEST_FILE + 1)
    if len(data) > _LONGEST_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data


def _speaks_tls(config: Config) -> bool:
    bound = any(bind.tls is not None for proxy in config.proxies for bind in proxy.binds)
    servers = [(proxy, server) for proxy in config.proxies for server in proxy.servers]
    asked = any(section.has_tls for section in config.resolvers.values())
    if bound or asked or config.certificates:
        return True
    return any(server.tls is not None or _checked_over_tls(proxy, server) for proxy, server in servers)


def _checked_over_tls(proxy: Proxy, server: Server) -> bool:
    if server.check is None:
        return False
    from headgate.runtime.checks.plans import needs_tls  # what checks need is loaded where there are any

    return needs_tls(proxy, server)


def _build_contexts(
    config: Config,
    report: Report,
    bind_contexts: dict[int, BindContext],
    server_contexts: dict[int, ServerContext],
    session_contexts: SessionContexts | None,
) -> Storage:
    from headgate.app.certificate_files import certificate_storage
    from headgate.tls.bind_lines import build_bind_context
    from headgate.tls.client_context import build_server_context
    from headgate.tls.server_context import SessionCache
    from headgate.tls.session_store import ServerSessions

    proxies = [proxy for proxy in config.proxies if not proxy.disabled]
    seals = _ticket_seals((bind.tls for proxy in proxies for bind in proxy.binds if bind.tls is not None), session_contexts)
    cache = SessionCache(config.global_.tls_cache_size, config.global_.tls_lifetime, config.global_.tls_generated_size)
    storage = certificate_storage(config, report)
    tuning = _tuning(config, report)
    # A line with several addresses is several binds with the same options: one context, so that sessions resume across them.
    built_for: dict[BindTls, BindContext | None] = {}
    for proxy in config.proxies:
        if proxy.disabled:
            continue
        for bind in proxy.binds:
            if bind.tls is not None:
                if bind.tls not in built_for:
                    origin, sealer = seals[bind.tls]
                    http = proxy.mode is Mode.HTTP
                    built_for[bind.tls] = build_bind_context(
                        bind.tls, cache, report, storage=storage, http=http, origin=origin, sealer=sealer, clock=time.time,
                        tuning=tuning,
                    )
                context = built_for[bind.tls]
                if context is not None:
                    bind_contexts[id(bind)] = context
        for server in proxy.servers:
            if server.tls is not None:
                built = build_server_context(server.tls, report, ServerSessions(f"{proxy.name}/{server.name}"), storage)
                if built is not None:
                    built.tune(tuning)
                    server_contexts[id(server)] = built
    if config.global_.crt_state_dir is not None and not report.alerts:
        from headgate.app.certificate_states import restore_certificates

        restore_certificates(config.global_.crt_state_dir, storage, report)
    storage.reader.forget()
    return storage


def _ticket_seals(
    lines: Iterable[BindTls], session_contexts: SessionContexts | None
) -> dict[BindTls, tuple[SSL.Context | None, TicketSealer | None]]:
    """What seals the tickets of bind lines over reloads: one of the contexts, or a sealer where these do not suffice."""
    from headgate.tls.session_context import session_names
    from headgate.tls.ticket_sealing import sealer_with

    names = session_names(lines)
    if session_contexts is None:
        return dict.fromkeys(names, (None, None))
    origins = session_contexts.assign(names.values())
    return {
        tls: (origins[name], None) if name in origins else (None, sealer_with(session_contexts.ticket_keys(name)))
        for tls, name in names.items()
    }


def _note_private_sessions(bind_contexts: Mapping[int, BindContext], report: Report) -> None:
    """Where OpenSSL can't be told to ask for sessions that other processes made (`tls.cached_sessions`)."""
    from headgate.tls.cached_sessions import sessions_can_be_shared

    if sessions_can_be_shared():
        return
    for tls in dict.fromkeys(context.tls for context in bind_contexts.values() if not context.tls.tickets):
        report.note(
            Severity.NOTICE,
            "no-tls-tickets with several workers: the TLS library can't be given sessions that another process made, so a session"
            " stays with its worker and most clients shake hands anew; with tickets they would not",
            tls.location,
        )


def _tuning(config: Config, report: Report) -> Tuning:
    """What the global section says about all contexts."""
    from headgate.tls.dh_parameters import read_dh_parameters
    from headgate.tls.tuning import Tuning

    settings = config.global_
    parameters = None
    if settings.ssl_dh_param_file is not None:
        try:
            parameters = read_dh_parameters(settings.ssl_dh_param_file.path, settings.ssl_dh_param_file.location)
        except ConfigError as error:
            report.add(error.diagnostic)
    return Tuning(parameters, settings.dh_param_size, settings.tls_keylog, settings.tls_certificate_compression)


def _build_check_contexts(
    config: Config,
    report: Report,
    server_contexts: Mapping[int, ServerContext],
    check_contexts: dict[int, ServerContext],
    storage: Storage,
) -> None:
    for proxy in config.proxies:
        for server in proxy.servers:
            if server.check is None or proxy.disabled or not _checked_over_tls(proxy, server):
                continue
            built = check_context(proxy.name, server, server_contexts.get(id(server)), report, storage)
            if built is not None:
                check_contexts[id(server)] = built


def _build_name_server_contexts(config: Config, report: Report, storage: Storage) -> dict[tuple[str, str], ServerContext]:
    from headgate.tls.client_context import build_server_context
    from headgate.tls.session_store import ServerSessions

    found = {}
    for section in config.resolvers.values():
        for one in section.name_servers:
            if one.tls is not None:
                built = build_server_context(one.tls, report, ServerSessions(f"{section.name}/{one.name}"), storage)
                if built is not None:
                    found[section.name, one.name] = built
    return found


def check_context(
    backend: str, server: Server, traffic: ServerContext | None, report: Report, storage: Storage | None
) -> ServerContext | None:
    """What makes the connections of a server's checks over TLS.

    They use the server's TLS settings with `check-alpn` instead of `alpn`; without any, nothing is verified (5.2). Their sessions
    are kept together with those of traffic, and are offered where nothing differs.

    Args:
        backend: its name.
        server: checked over TLS.
        traffic: what makes the connections of its traffic, None where that is plain.
        report: where errors go.
        storage: of certificates.
    """
    from headgate.tls.client_context import build_server_context
    from headgate.tls.session_store import ServerSessions

    check = server.check
    if check is None or (traffic is not None and not check.alpn):
        return traffic
    options = server.tls or check.tls_options or ServerTls(verify=Verify.NONE, location=server.location)
    sessions = ServerSessions(f"{backend}/{server.name}") if traffic is None else traffic.sessions
    if check.alpn and "check-alpn" in options.places:
        options = replace(options, places={**options.places, "alpn": options.places["check-alpn"]})
    options = replace(options, alpn=check.alpn or options.alpn, allow_0rtt=False)
    return build_server_context(options, report, sessions, storage)
