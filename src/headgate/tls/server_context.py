"""The TLS side of a bind line: one session context that creates every connection, one context per certificate to switch to.

Session tickets and cached sessions belong to the context that a connection was created from. So that a client may resume
whatever name it asks for, all connections of a bind line are created from its *session context*, and the server name callback
switches them to the context of the certificate. The session id context keeps lines with different client-certificate policies
apart: a session that was made without asking for a certificate can't be resumed where one is required.
"""

from __future__ import annotations

import hashlib
import os
import socket
from difflib import get_close_matches
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, Report, Severity, config_error
from headgate.base.records import dataclass
from headgate.config.tls_options import BindTls, Verify
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.line_facts import LineFacts, ShownCertificate, group_names
from headgate.tls.openssl import OP_PRIORITIZE_CHACHA, Handle, error_text, ffi, lib, new_ssl
from headgate.tls.pem import CertifiedKey
from headgate.tls.policy import (
    SYSTEM_CA,
    alpn_wire,
    enabled_versions,
    load_trust,
    new_context,
    set_algorithms,
    set_common,
    set_versions,
    share_trust,
)
from headgate.tls.store import CertificateStore, Choice, key_type, load_store, names_of

_VERIFY = {
    Verify.NONE: SSL.VERIFY_NONE,
    Verify.OPTIONAL: SSL.VERIFY_PEER,
    Verify.REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}
#: Capacity of OpenSSL's session cache; the binding has no call to change it.
LIBRARY_CACHE_SIZE = 20480
#: Names that are compared with one that nothing matches, for a message.
_NAMES_MOST = 2000
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
        alpn: the protocols it agrees to, best first; empty: no ALPN.
    """

    __slots__ = (
        "_alpn_callback", "_authorities", "_contexts", "_name_callback", "_names", "_session", "_session_id", "_switches", "alpn",
        "store", "tls",
    )

    def __init__(
        self,
        tls: BindTls,
        cache: SessionCache,
        store: CertificateStore,
        alpn: tuple[str, ...],
        origin: SSL.Context | None = None,
    ) -> None:
        self.tls = tls
        self.store = store
        self.alpn = alpn
        self._authorities: tuple[x509.Certificate, ...] = ()
        self._contexts: dict[tuple[int, ...], SSL.Context] = {}
        self._names: dict[x509.Certificate, str] = {}
        self._switches: dict[bytes, Any] = {}
        self._alpn_callback = _alpn_selector(alpn) if alpn else None
        session = self._policy_context(origin)
        if tls.ca_file is not None:
            self._authorities = load_trust(session, tls.ca_file, tls.location)
        self._session_id = self._policy_digest()
        self._session = session
        self._complete(session, store.default)
        self._set_cache(session, cache)
        self._name_callback = ffi.callback("int (*)(SSL *, int *, void *)", self._choose, error=_FATAL)
        lib.SSL_CTX_set_tlsext_servername_callback(session._context, self._name_callback)
        # OpenSSL calls back into this object as long as a connection lives, also after a reload dropped the bind line.
        session.set_app_data(self)
        self._build_early()

    def connection(self, sock: socket.socket) -> Handle:
        """A connection for an accepted, non-blocking socket, ready for its handshake."""
        ssl = new_ssl(self._session._context, sock.fileno())
        _set_accept_state(ssl)
        return Handle(ssl)

    def describe(self, record: HandshakeRecord) -> None:
        """Say in a handshake record what applied on our side."""
        tls = self.tls
        name = record.name.encode("ascii", "replace").lower().rstrip(b".")
        choice = self.store.find(name) or self.store.default
        record.line = LineFacts(
            tls.location,
            tuple(enabled_versions(tls.versions)),
            group_names(tls.curves),
            self.alpn,
            tls.strict_sni,
            tls.verify is Verify.REQUIRED,
            tls.ca_file,
            certificates=tuple(map(shown, choice.certificates.values())) if choice is not None else (),
            near=self._near,
        )

    def _near(self, name: str) -> tuple[str, ...]:
        """The names that are served and most resemble one."""
        served = [one.decode("ascii", "replace") for one in self.store.names()[:_NAMES_MOST]]
        return tuple(get_close_matches(name, served, 3, 0.6))

    def certificate_name(self, certificate: x509.Certificate) -> str:
        """What the configuration calls one of our certificates, "" when it is none of them (`ssl_fc_crtname`)."""
        if not self._names:
            self._names = {one.certificate: one.path for one in self.store.certificates}
        return self._names.get(certificate, "")

    def remember(self, handle: Handle) -> None:
        """Nothing to do: OpenSSL keeps the sessions of servers."""

    def _build_early(self) -> None:
        """Contexts that can't wait: DH parameters are read from the file again, which may be out of reach after `chroot`."""
        for choice in self.store.choices():
            if any(one.has_dh_parameters for one in choice.certificates.values()):
                self._context_for(choice)

    # --- contexts ---

    def _policy_context(self, context: SSL.Context | None = None) -> SSL.Context:
        """A context with everything but trust and certificate: the bare one given, or a new one."""
        tls = self.tls
        if context is None:
            context = new_context(SSL.TLS_SERVER_METHOD)
        else:
            set_common(context)
        set_versions(context, tls.versions, tls.ciphers, tls.location)
        set_algorithms(context, tls.ciphers, tls.ciphersuites, tls.curves, tls.location)
        if not tls.prefer_client_ciphers:
            context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | OP_PRIORITIZE_CHACHA)
        if not tls.tickets:
            context.set_options(SSL.OP_NO_TICKET)
        context.set_verify(_VERIFY[tls.verify])
        return context

    def _complete(self, context: SSL.Context, choice: Choice | None) -> None:
        """Add what the context must have of its own to be switched to: certificates, CA names, ALPN, session id context."""
        tls = self.tls
        if choice is not None:
            install(context, tuple(choice.certificates.values()))
        if tls.verify is not Verify.NONE:
            for authority in self._authorities:
                context.add_client_ca(authority)
        context.set_session_id(self._session_id)
        if self._alpn_callback is not None:
            lib.SSL_CTX_set_alpn_select_cb(context._context, self._alpn_callback, ffi.NULL)

    def _policy_digest(self) -> bytes:
        """Session id context: equal for equal client-certificate policies only."""
        digest = hashlib.sha256(self.tls.verify.value.encode())
        if self.tls.verify is not Verify.NONE:
            digest.update((self.tls.ca_file or "").encode("utf-8", "surrogateescape"))
            for authority in self._authorities:
                digest.update(authority.fingerprint(SHA256()))
        return digest.digest()

    def _set_cache(self, context: SSL.Context, cache: SessionCache) -> None:
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER if cache.size else SSL.SESS_CACHE_OFF)
        context.set_timeout(max(1, int(cache.lifetime)))

    def _context_for(self, choice: Choice) -> SSL.Context:
        """The context of these certificates, built when a client first asks for them."""
        identity = choice.identity
        context = self._contexts.get(identity)
        if context is None:
            context = self._policy_context()
            if self.tls.ca_file is not None:
                share_trust(self._session, context)
            self._complete(context, choice)
            self._contexts[identity] = context
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
            default = self.store.default
            context = self._session if default and choice.identity == default.identity else self._context_for(choice)
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
    tls: BindTls, cache: SessionCache, report: Report, *, http: bool = True, origin: SSL.Context | None = None
) -> BindContext | None:
    """Build the TLS side of a bind line; certificates and options are checked now, not with the first client.

    Args:
        tls: the `ssl` options of the line.
        cache: tune.ssl.cachesize and tune.ssl.lifetime.
        report: where errors and warnings go.
        http: the frontend is in HTTP mode, where ALPN has a default (manual 5.1 alpn).
        origin: a bare context whose ticket keys are to be used (`tls.session_context`); None: keys of its own.

    Returns:
        The context, or None when something is wrong with it (`report` says what).
    """
    before = len(report.alerts)
    store = load_store(tls.certificates, strict_sni=tls.strict_sni, location=tls.location, report=report)
    alpn = _negotiable(tls, report, http=http)
    if cache.size > LIBRARY_CACHE_SIZE:
        report.note(
            Severity.NOTICE,
            f"tune.ssl.cachesize {cache.size}: the TLS library caches at most {LIBRARY_CACHE_SIZE} sessions a bind line",
        )
    if tls.verify is not Verify.NONE and tls.ca_file is None:
        report.add(
            config_error(
                f"verify {tls.verify.value} is set but there is no ca-file to verify client certificates with", tls.location,
                remedy="add ca-file FILE with the CA that issues your client certificates",
            ).diagnostic
        )
    if tls.ca_file == SYSTEM_CA and tls.verify is not Verify.NONE:
        report.warn(
            "ca-file @system-ca on a bind line accepts client certificates of every public CA", tls.location,
            remedy="name the CA that issues your client certificates",
        )
    if len(report.alerts) > before:
        return None
    try:
        context = BindContext(tls, cache, store, alpn, origin)
        _try_certificates(store)
    except ConfigError as error:
        report.add(error.diagnostic)
        return None
    return context


def shown(one: CertifiedKey) -> ShownCertificate:
    """What advice says about a certificate."""
    certificate = one.certificate
    return ShownCertificate(
        one.path, key_type(one), tuple(name.decode("utf-8", "replace") for name in names_of(certificate)),
        certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp(), len(one.chain),
        certificate.issuer == certificate.subject,
    )  # fmt: skip


def _negotiable(tls: BindTls, report: Report, *, http: bool) -> tuple[str, ...]:
    """The protocols to agree to. Only what we speak is offered in HTTP mode; in TCP mode the protocol is not our business."""
    if not http:
        return tls.alpn
    wanted = tls.alpn or ("http/1.1",)
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
    for one in store.certificates:
        install(scratch, (one,), chain=False)


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


def _alpn_selector(protocols: tuple[str, ...]) -> Any:
    """OpenSSL's ALPN callback: the first of `protocols` that the client offers, or go on without (RFC 7301 section 3.2)."""
    wire = alpn_wire(protocols)
    # OpenSSL copies the answer after the callback: it must lie in memory that stays. Pointers into it don't keep it alive.
    memory = ffi.new("unsigned char[]", wire)
    places: dict[bytes, tuple[int, int]] = {}
    offset = 0
    for name in protocols:
        places[name.encode("ascii")] = (offset + 1, len(name))
        offset += 1 + len(name)

    def select(_ssl: Any, out: Any, out_length: Any, offered: Any, length: int, _argument: Any) -> int:
        theirs = set(_split(ffi.unpack(ffi.cast("char *", offered), length)))
        for name, (start, size) in places.items():
            if name in theirs:
                out[0] = memory + start
                out_length[0] = size
                return _OK
        return _NOACK

    return ffi.callback(
        "int (*)(SSL *, unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)", select, error=_NOACK
    )


def _split(wire: bytes) -> list[bytes]:
    names = []
    at = 0
    while at < len(wire):
        size = wire[at]
        names.append(wire[at + 1 : at + 1 + size])
        at += 1 + size
    return names
