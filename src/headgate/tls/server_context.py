"""The TLS side of a bind line: one session context that creates every connection, one context per certificate to switch to.

Session tickets and cached sessions belong to the context that a connection was created from. So that a client may resume
whatever name it asks for, all connections of a bind line are created from its *session context*, and the server name callback
switches them to the context of the certificate. The session id context keeps lines with different client-certificate policies
apart: a session that was made without asking for a certificate can't be resumed where one is required.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from cryptography import x509
from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, Report, Severity, config_error
from headgate.base.records import dataclass
from headgate.config.tls_options import BindPolicy, BindTls, Verify
from headgate.tls.applied_policy import AppliedPolicy
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.openssl import OP_PRIORITIZE_CHACHA, Handle, error_text, ffi, lib, new_ssl
from headgate.tls.pem import CertifiedKey
from headgate.tls.policy import SYSTEM_CA, enabled_versions, new_context, set_common
from headgate.tls.storage import Entry, Storage
from headgate.tls.store import CertificateStore, Choice, load_store

#: Capacity of OpenSSL's session cache; the binding has no call to change it.
LIBRARY_CACHE_SIZE = 20480
_UNRECOGNIZED_NAME = 112  # alert, RFC 6066 section 3
_OK, _FATAL, _NOACK = 0, 2, 3  # SSL_TLSEXT_ERR_*
_set_accept_state = lib.SSL_set_accept_state
#: What we can speak behind TLS today, in HTTP mode.
_SPOKEN = ("http/1.1", "http/1.0")


@dataclass(frozen=True, slots=True)
class SessionCache:
    """`tune.ssl.cachesize` (sessions; 0: none are cached) and `tune.ssl.lifetime` (seconds)."""

    size: int = 20000
    lifetime: float = 300.0


class BindContext:
    """Makes the server side of TLS connections for one bind line.

    Attributes:
        tls: the options it was built from.
        store: its certificates.
        storage: where they come from.
        policies: all policies on the line; the line's own is `policies[tls.policy]`.
    """

    __slots__ = (
        "__weakref__", "_contexts", "_http", "_name_callback", "_session", "_switches", "policies", "storage", "store", "tls",
    )

    def __init__(
        self,
        tls: BindTls,
        cache: SessionCache,
        store: CertificateStore,
        storage: Storage,
        alpn: Callable[[BindPolicy], tuple[str, ...]],
        origin: SSL.Context | None = None,
    ) -> None:
        self.tls = tls
        self.store = store
        self.storage = storage
        self._contexts: dict[Choice, SSL.Context] = {}
        self._switches: dict[bytes, Any] = {}
        wanted = dict.fromkeys((tls.policy, *(one.policy for one in store.served)))
        self.policies = {policy: AppliedPolicy(policy, tls, storage, alpn(policy)) for policy in wanted}
        session = self._context(self.policies[tls.policy], store.default, origin)
        self._session = session
        self._set_cache(session, cache)
        self._name_callback = ffi.callback("int (*)(SSL *, int *, void *)", self._choose, error=_FATAL)
        lib.SSL_CTX_set_tlsext_servername_callback(session._context, self._name_callback)
        # OpenSSL calls back into this object as long as a connection lives, also after a reload dropped the bind line.
        session.set_app_data(self)
        storage.join(self)
        self._build_early()

    @property
    def alpn(self) -> tuple[str, ...]:
        """The protocols that the line agrees to where nothing else is said, best first; empty: no ALPN."""
        return self.policies[self.tls.policy].alpn

    def connection(self, sock: socket.socket) -> Handle:
        """A connection for an accepted, non-blocking socket, ready for its handshake."""
        ssl = new_ssl(self._session._context, sock.fileno())
        _set_accept_state(ssl)
        return Handle(ssl)

    def describe(self, record: HandshakeRecord) -> None:
        """Say in a handshake record what applied on our side."""
        record.location = self.tls.location
        record.lowest = enabled_versions(self.tls.policy.versions)[0]

    def remember(self, handle: Handle) -> None:
        """Nothing to do: OpenSSL keeps the sessions of servers."""

    def replaced(self, entry: Entry[Any]) -> None:
        """See `storage.StorageUser`: contexts are built again when a client next asks for them."""
        self._contexts.clear()
        self._switches.clear()

    def _build_early(self) -> None:
        """Contexts that can't wait: DH parameters are read from the file again, which may be out of reach after `chroot`."""
        for choice in self.store.choices():
            if any(one.entry.contents.has_dh_parameters for one in choice):
                self._context_for(choice)

    # --- contexts ---

    def _context(self, policy: AppliedPolicy, choice: Choice | None, context: SSL.Context | None = None) -> SSL.Context:
        """A context with everything in it, made of the bare one given, or of a new one."""
        tls = self.tls
        if context is None:
            context = new_context(SSL.TLS_SERVER_METHOD)
        else:
            set_common(context)
        policy.dress(context, tls)
        if not tls.prefer_client_ciphers:
            context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | OP_PRIORITIZE_CHACHA)
        if not tls.tickets:
            context.set_options(SSL.OP_NO_TICKET)
        if choice is not None:
            install(context, tuple(one.entry.contents for one in choice))
        return context

    def _set_cache(self, context: SSL.Context, cache: SessionCache) -> None:
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER if cache.size else SSL.SESS_CACHE_OFF)
        context.set_timeout(max(1, int(cache.lifetime)))

    def _context_for(self, choice: Choice) -> SSL.Context:
        """The context of these certificates, built when a client first asks for them."""
        context = self._contexts.get(choice)
        if context is None:
            context = self._contexts[choice] = self._context(self.policies[choice[0].policy], choice)
        return context

    # --- OpenSSL's callback, once a handshake ---

    def _choose(self, ssl: Any, alert: Any, _argument: Any) -> int:
        pointer = lib.SSL_get_servername(ssl, 0)
        if not pointer:
            return self._unknown(alert)
        name = ffi.string(pointer)
        switch = self._switches.get(name)
        if switch is None:
            choice = self.store.find(name.lower().rstrip(b"."))
            if choice is None:
                return self._unknown(alert)
            context = self._session if choice == self.store.default else self._context_for(choice)
            switch = context._context
            if len(self._switches) < 65536:  # wildcards: clients choose the names, so the table needs an end
                self._switches[name] = switch
        if switch is not self._session._context:
            lib.SSL_set_SSL_CTX(ssl, switch)
        return _OK

    def _unknown(self, alert: Any) -> int:
        """No name, or one that nothing matches: the default certificate, or the end (strict-sni)."""
        if self.tls.strict_sni or self.store.default is None:
            alert[0] = _UNRECOGNIZED_NAME
            return _FATAL
        return _NOACK


def build_bind_context(
    tls: BindTls,
    cache: SessionCache,
    report: Report,
    *,
    storage: Storage | None = None,
    http: bool = True,
    origin: SSL.Context | None = None,
    now: float | None = None,
) -> BindContext | None:
    """Build the TLS side of a bind line; certificates and options are checked now, not with the first client.

    Args:
        tls: the `ssl` options of the line.
        cache: tune.ssl.cachesize and tune.ssl.lifetime.
        report: where errors and warnings go.
        storage: the process's, which all bind lines share; None: one of its own.
        http: the frontend is in HTTP mode, where ALPN has a default (manual 5.1 alpn).
        origin: a bare context whose ticket keys are to be used (`tls.session_context`); None: keys of its own.
        now: Unix time, see `store.CertificateStore`.

    Returns:
        The context, or None when something is wrong with it (`report` says what).
    """
    before = len(report.alerts)
    storage = storage if storage is not None else Storage()
    store = load_store(tls, storage, report, now)
    if cache.size > LIBRARY_CACHE_SIZE:
        report.note(
            Severity.NOTICE,
            f"tune.ssl.cachesize {cache.size}: the TLS library caches at most {LIBRARY_CACHE_SIZE} sessions a bind line",
        )
    protocols = {}
    for policy in dict.fromkeys((tls.policy, *(one.policy for one in store.served))):
        protocols[policy] = _negotiable(policy, tls, report, http=http)
        _check_trust(policy, tls, report)
    if len(report.alerts) > before:
        return None
    try:
        context = BindContext(tls, cache, store, storage, protocols.__getitem__, origin)
        _try_certificates(store)
    except ConfigError as error:
        report.add(error.diagnostic)
        return None
    return context


def _check_trust(policy: BindPolicy, tls: BindTls, report: Report) -> None:
    if policy.verify is not Verify.NONE and policy.ca_file is None:
        report.add(
            config_error(
                f"verify {policy.verify.value} is set but there is no ca-file to verify client certificates with", tls.location,
                remedy="add ca-file FILE with the CA that issues your client certificates",
            ).diagnostic
        )
    if policy.ca_file == SYSTEM_CA and policy.verify is not Verify.NONE:
        report.warn(
            "ca-file @system-ca on a bind line accepts client certificates of every public CA", tls.location,
            remedy="name the CA that issues your client certificates",
        )


def _negotiable(policy: BindPolicy, tls: BindTls, report: Report, *, http: bool) -> tuple[str, ...]:
    """The protocols to agree to. Only what we speak is offered in HTTP mode; in TCP mode the protocol is not our business."""
    if not http:
        return policy.alpn
    wanted = policy.alpn or ("http/1.1",)
    spoken = tuple(one for one in wanted if one in _SPOKEN)
    unspoken = [one for one in wanted if one not in _SPOKEN]
    if not spoken:
        report.alert(
            f"alpn {','.join(unspoken)}: not supported yet, and nothing else is offered", tls.location, remedy="use alpn http/1.1"
        )
    elif unspoken:
        report.warn(
            f"alpn {','.join(unspoken)}: not supported yet, clients get {','.join(spoken)}", tls.location,
            remedy="nothing breaks: clients that offer h2 offer http/1.1 too",
        )
    return spoken


def _try_certificates(store: CertificateStore) -> None:
    """Hand each certificate to OpenSSL once: what it refuses (a weak key, say) must show at the start."""
    scratch = new_context(SSL.TLS_SERVER_METHOD)
    for one in store.served:
        install(scratch, (one.entry.contents,), chain=False)


def install(context: SSL.Context, certificates: tuple[CertifiedKey, ...], *, chain: bool = True) -> None:
    """Put certificates with their keys and chains into a context; at most one of each type of key.

    Raises:
        ConfigError: OpenSSL refuses one.
    """
    sent: set[x509.Certificate] = set()
    for one in certificates:
        try:
            context.use_certificate(one.certificate)
            context.use_privatekey(one.key)
            context.check_privatekey()
            # OpenSSL keeps these per context: certificates of two key types with different chains send both.
            for above in one.chain if chain else ():
                if above not in sent:
                    sent.add(above)
                    context.add_extra_chain_cert(above)
        except SSL.Error as error:
            raise config_error(
                f"OpenSSL refuses the certificate in {one.path!r}: {error_text(error)}", one.location,
                remedy="a key of at least 2048 bits (RSA) or P-256 (ECDSA), signed with SHA-256 or better",
            ) from None
        if one.has_dh_parameters:
            _load_dh_parameters(context, one)


def _load_dh_parameters(context: SSL.Context, one: CertifiedKey) -> None:
    try:
        context.load_tmp_dh(os.fsencode(one.path))
    except SSL.Error as error:
        raise config_error(
            f"OpenSSL refuses the DH parameters in {one.path!r}: {error_text(error)}", one.location,
            remedy="remove them (ECDHE needs none), or make new ones: openssl dhparam 2048",
        ) from None
