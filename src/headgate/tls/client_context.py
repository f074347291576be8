"""The TLS side of a server line: connections to a server, whose certificate is verified, with sessions that are resumed.

Called by the connector and by health checks. One context a server line, and another one for its checks where they differ; what
differs by connection is the name and the address. Which sessions there are is `session_store`'s business.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import re
import socket
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL

from headgate.base.diagnostics import Bug, ConfigError, Location, Report, Severity, config_error
from headgate.config.tls_options import Protocols, ServerTls, Verify
from headgate.observe.full_handshakes import Cause
from headgate.tls.certificate_requests import CertificateRequests
from headgate.tls.handshake_facts import note_failure
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.installing import install
from headgate.tls.line_facts import LineFacts, ShownCertificate, group_names, shown
from headgate.tls.openssl import (
    MODE,
    SSL_clear_mode,
    SSL_set1_curves_list,
    SSL_set_alpn_protos,
    SSL_set_connect_state,
    SSL_set_mode,
    SSL_set_tlsext_host_name,
    TlsError,
    ffi,
    lib,
    new_ssl,
)
from headgate.tls.policy import (
    SYSTEM_CA,
    alpn_wire,
    enabled_versions,
    load_trust,
    new_context,
    set_algorithms,
    set_versions,
    version_limits,
)
from headgate.tls.revocation import add_revocations, check_revocations
from headgate.tls.server_early_data import ServerEarlyData
from headgate.tls.server_verification import ServerVerification
from headgate.tls.session_store import Dialled, Key, ServerSessions
from headgate.tls.storage import AuthoritiesEntry, Entry, RevocationsEntry, Storage
from headgate.tls.tuning import Tuning
from headgate.tls.unbound import Unreachable

#: What may be sent and verified as a name. Names can come from requests: one with a NUL in it, say, would be cut by OpenSSL and
#: verified as something else, so it becomes a name that no certificate is valid for (RFC 6761 section 6.4). So does, when it is
#: verified, what OpenSSL takes for no host name.
_NAME: Final = re.compile(rb"[!-~]{1,253}")
_NOBODY: Final = b"unusable-name.invalid"
#: What OpenSSL offers when `curves` is not set, in its order.
_GROUPS: Final = "X25519MLKEM768:x25519:secp256r1:x448:secp384r1:secp521r1"
_ALIASES: Final = {b"p-256": b"secp256r1", b"p-384": b"secp384r1", b"p-521": b"secp521r1", b"prime256v1": b"secp256r1"}
#: OpenSSL's reasons for what is no TLS (WRONG_VERSION_NUMBER, HTTP_REQUEST), and how much of it is shown.
_NOT_TLS: Final = (267, 156)
_REST: Final = 128
#: First bytes of TLS: a handshake message, an alert.
_TLS_RECORDS: Final = (b"\x16", b"\x15", b"")
_AUTO_RETRY: Final[int] = lib.SSL_MODE_AUTO_RETRY
#: X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: `*.example` matches, `f*.example` does not (RFC 6125 section 6.4.3).
_NO_PARTIAL_WILDCARDS: Final = 0x4


class ServerContext:
    """Makes the client side of TLS connections for one server line.

    Args:
        tls: the options of the line.
        sessions: those with the server, which all contexts for it share; None for sessions of this context alone.
        storage: has the files, and tells when one is replaced; None: they are read for this context alone.

    Attributes:
        early_data: knows what may be sent early; None where nothing may.
        tls: the options it was built from.
        sessions: see there.

    Raises:
        ConfigError: an option or a file can't be used.
    """

    __slots__ = (
        "_alpn", "_authorities", "_certificate", "_context", "_foretold", "_membership", "_pointer", "_policy",
        "_protocols", "_requests", "_revocations", "_shown", "_tuning", "_verification", "early_data", "sessions", "tls",
    )  # fmt: skip

    def __init__(self, tls: ServerTls, sessions: ServerSessions | None = None, storage: Storage | None = None) -> None:
        self.tls = tls
        self.sessions = sessions if sessions is not None else ServerSessions("")
        storage = storage if storage is not None else Storage()
        self._certificate = None if tls.certificate is None else storage.certificate(tls.certificate)
        self._authorities: AuthoritiesEntry | None = None
        self._revocations: RevocationsEntry | None = None
        # Also where nothing is verified: a file that can't be loaded is an error in any case, as it is in HAProxy.
        if tls.ca_file is not None and tls.ca_file != SYSTEM_CA:
            self._authorities = storage.authority(tls.ca_file, tls.written.of("ca-file"))
        if tls.crl_file is not None:
            self._revocations = storage.revocation(tls.crl_file, tls.written.of("crl-file"))
        self._verification = ServerVerification()
        self._requests = CertificateRequests()
        self._alpn = alpn_wire(tls.alpn)
        self._protocols = frozenset(one.encode("ascii") for one in tls.alpn)
        self.early_data: ServerEarlyData | None = None
        self._foretold: dict[bytes, bytes] = {}
        self._tuning: Tuning | None = None
        self._build()
        self._membership = storage.join(self)

    def _build(self) -> None:
        """Make OpenSSL's context of the options and of what the files hold now. Connections that there are keep the old one."""
        tls = self.tls
        context = _client_method() if tls.renegotiate else new_context(SSL.TLS_CLIENT_METHOD)
        set_versions(context, tls.versions, tls.ciphers, tls.written)
        set_algorithms(
            context, tls.ciphers, tls.ciphersuites, tls.curves, tls.written, sigalgs=tls.sigalgs,
            client_sigalgs=tls.client_sigalgs,
        )
        if not tls.tickets:
            context.set_options(SSL.OP_NO_TICKET)
        if tls.alpn:
            context.set_alpn_protos([one.encode("ascii") for one in tls.alpn])
        files: list[x509.Certificate | x509.CertificateRevocationList] = []
        self._shown: tuple[ShownCertificate, ...] = ()
        if self._certificate is not None:
            own = self._certificate.contents
            install(context, (own,))
            self._shown = (shown(own),)
            files += (own.certificate, *own.chain)
        if tls.verify is Verify.REQUIRED:
            trusted = () if self._authorities is None else self._authorities.contents
            load_trust(context, tls.ca_file or SYSTEM_CA, trusted)
            files += trusted
            if self._revocations is not None:
                store = lib.SSL_CTX_get_cert_store(context._context)
                add_revocations(store, self._revocations.contents)
                check_revocations(store)
                files += self._revocations.contents
            self._verification.put_on(context._context)
        # Sessions are kept by `sessions`; OpenSSL's own cache is of no use to clients.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self._context = context
        self._pointer = context._context
        self._policy = _policy_digest(tls, files)
        if self._tuning is not None:
            self._tuning.put_on(context)

    def entries(self) -> set[Entry[Any]]:
        """All of the storage that the line uses."""
        return {one for one in (self._certificate, self._authorities, self._revocations) if one is not None}

    @property
    def policy(self) -> bytes:
        """A digest of all that decides whether the server would be taken anew for who it should be."""
        return self._policy

    def tune(self, tuning: Tuning) -> None:
        """Follow what the global section says about all contexts."""
        self._tuning = tuning
        tuning.put_on(self._context)

    def replaced(self, entry: Entry[Any]) -> None:
        """See `storage.StorageUser`. Sessions that were made under what was there before are not offered any more."""
        if entry in self.entries():
            self._build()

    def dial(
        self, sock: socket.socket, sni: bytes | None, where: Hashable, now: float, protocols: Protocols | None = None
    ) -> Dialled:
        """A connection over a connected, non-blocking socket, ready for its handshake.

        Args:
            sock: connected to the server.
            sni: the name to ask for (an IP address is not sent, RFC 6066 section 3); with `verify required` the server's
                certificate must be valid for it, or for `verifyhost` when there is none (manual 5.2 verify).
            where: the address that it is connected to; sessions are not offered at another one.
            now: monotonic seconds.
            protocols: to offer by ALPN in place of those of the line.

        Raises:
            MemoryError: OpenSSL could not make it.
        """
        ssl = new_ssl(self._pointer, sock.fileno())
        SSL_set_connect_state(ssl)
        tls = self.tls
        empty = sni is not None and not sni  # a Host field without a value: then no name is sent (5.2 sni-auto)
        sni = None if empty and (tls.verify_host or tls.verify is Verify.NONE) else _usable(sni)
        if sni is not None and not empty and not _is_address(sni):
            SSL_set_tlsext_host_name(ssl, sni)
        if tls.verify is Verify.REQUIRED:
            _expect_name(ssl, self._expected(sni or b""))
        handle = Dialled(ssl, sni or b"")
        alpn = self._alpn
        if protocols is not None:
            handle.protocols, alpn = protocols, alpn_wire(protocols.names)
            if SSL_set_alpn_protos(ssl, alpn, len(alpn)) != 0:  # it answers 0 when all is well
                raise MemoryError("OpenSSL could not take an ALPN list")
        if tls.reuse:
            # Each ticket is to be seen: without this one read would go through all of them, and only the last would be left.
            SSL_clear_mode(ssl, _AUTO_RETRY)
            self.sessions.offer(handle, Key(self._policy, alpn, where, handle.name), now)
            group = handle.group
            if group:
                self._foretell(ssl, group)
        return handle

    def _expected(self, name: bytes) -> bytes:
        """What the server's certificate must be valid for: the name that is sent, and `verifyhost` where none is (5.2).

        An address is not sent.
        """
        static = self.tls.verify_host
        return _relative(static.encode()) if static and (not name or _is_address(name)) else name

    def _foretell(self, ssl: Any, group: bytes) -> None:
        """With a session, make a key for the group alone that the server chose last time; all others are still listed.

        A post-quantum key costs more than all the rest of a resumed handshake, and most servers would not use it.
        """
        listed = self._foretold.get(group)
        if listed is None:
            listed = self._foretold[group] = _with_key_for(group, self.tls.curves)
        if listed and SSL_set1_curves_list(ssl, listed) != 1:
            lib.ERR_clear_error()  # as always, then

    def early_most(self, handle: Dialled, now: float, wall: float) -> int:
        """How much early data a connection may send that was dialled with the protocols of the line, bytes; 0 for none.

        Args:
            handle: before its handshake.
            now: monotonic seconds.
            wall: Unix time.
        """
        session = handle.new_ticket(now)
        if self.early_data is None or session is None:
            return 0
        return self.early_data.most(handle.ssl, session, self._protocols, wall)

    def early_data_refused(self, handle: Dialled, now: float) -> None:
        """See `ServerSessions.early_data_refused`."""
        self.sessions.early_data_refused(handle, now)

    def heed_request(self, handle: Dialled) -> None:
        """Note whether the server asks this connection for a certificate, for `asked`."""
        self._requests.watch(handle.ssl)

    def asked(self, handle: Dialled) -> bool:
        """Whether the server has asked for a certificate; once."""
        return self._requests.take(handle.ssl)

    def established(self, handle: Dialled, now: float) -> Cause | None:
        """The handshake is through: why it was a full one; None when it resumed a session."""
        return self.sessions.established(handle, now)

    def look(self, handle: Dialled, now: float) -> bool:
        """Keep a session that came behind the handshake; whether there was one."""
        return self.sessions.look(handle, now)

    def settled(self, handle: Dialled) -> None:
        """Data has come, and what the server gives comes before that: reads need not stop at tickets any more."""
        handle.awaits_ticket = False
        SSL_set_mode(handle.ssl, _AUTO_RETRY)
        self.sessions.settled(handle)

    def explain(self, handle: Dialled, sock: socket.socket, error: TlsError, first_bytes: bytes) -> HandshakeRecord:
        """The record of a handshake that failed.

        Args:
            handle: of the connection, as the failing call left it.
            sock: still open.
            error: what the failing call says.
            first_bytes: what the server sent first: it is kept only where it is no TLS.
        """
        record = HandshakeRecord(outgoing=True)
        if not first_bytes and error.number in _NOT_TLS:
            # It came while OpenSSL had the socket already, and its beginning is gone.
            with contextlib.suppress(OSError):
                first_bytes = b"..." + sock.recv(_REST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        if first_bytes[:1] not in _TLS_RECORDS:
            record.first_bytes = first_bytes
        record.describe = self.describe if handle.protocols is None else partial(self.describe, protocols=handle.protocols)
        note_failure(record, handle.ssl, sock, error)
        record.findings = self._verification.take(handle.ssl)
        record.expected = self._expected(handle.name)
        if record.alert is not None:
            handle.awaits_ticket = False  # that a server which does not take us gives no session says nothing of its sessions
        return record

    def given_up(self, handle: Dialled) -> None:
        """The handshake has failed, or nobody waits for it any more."""
        self.sessions.came(handle)

    def truncated(self, handle: Dialled) -> None:
        """The server has ended a connection without close_notify; see `ServerSessions.truncated`."""
        self.sessions.truncated(handle)

    def ended(self, handle: Dialled, unclean: Cause | None, now: float) -> None:
        """An established connection is over; see `ServerSessions.ended`."""
        self.sessions.ended(handle, unclean, now)

    def describe(self, record: HandshakeRecord, protocols: Protocols | None = None) -> None:
        """Say in a handshake record what applied on our side."""
        tls = self.tls
        location, alpn = (tls.location, tls.alpn) if protocols is None else (protocols.location, protocols.names)
        record.line = LineFacts(
            location, tuple(enabled_versions(tls.versions)), group_names(tls.curves), alpn, ca_file=tls.ca_file,
            crl_file=tls.crl_file, certificates=self._shown,
            limits=version_limits(tls.versions, tls.ciphers), ciphers=tls.ciphers, written=tls.written,
        )  # fmt: skip


def _client_method() -> SSL.Context:
    """As `new_context`, for servers that renegotiate (in order to ask for a certificate, for instance)."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_options(SSL.OP_ALL | SSL.OP_NO_COMPRESSION)
    context.set_mode(MODE)
    return context


def _policy_digest(tls: ServerTls, files: Iterable[x509.Certificate | x509.CertificateRevocationList]) -> bytes:
    """What decides whether a server and we would take each other anew: a session is good for as long as this stays the same."""
    digest = hashlib.sha256()
    options = (
        tls.verify.value, tls.ca_file, tls.crl_file, tls.verify_host,
        tls.certificate.path if tls.certificate is not None else None, enabled_versions(tls.versions), tls.ciphers,
        tls.ciphersuites, tls.curves, tls.sigalgs, tls.client_sigalgs, tls.tickets, tls.renegotiate,
    )  # fmt: skip
    digest.update(repr(options).encode("utf-8", "surrogateescape"))
    for one in files:
        digest.update(one.fingerprint(SHA256()))
    return digest.digest()[:16]


def _with_key_for(group: bytes, curves: str | None) -> bytes:
    """The list of groups with a key share for one of them only (SSL_CTX_set1_groups_list(3)); b"" where that can't be said."""
    names = (curves or _GROUPS).lower().encode().split(b":")
    if any(not name.replace(b"-", b"").isalnum() for name in names):
        return b""  # it has marks of its own
    marked = [b"?*" + name if _ALIASES.get(name, name) == group else b"?" + name for name in names]
    return b":".join(marked) if any(b"*" in name for name in marked) else b""


def _usable(sni: bytes | None) -> bytes | None:
    """The name to ask for and to verify: "without a trailing dot" (RFC 6066 section 3), which a Host field may have."""
    if sni is None:
        return None
    sni = _relative(sni)
    return sni if _NAME.fullmatch(sni) else _NOBODY


def _relative(name: bytes) -> bytes:
    """A host name without the dot that makes it absolute; certificates have none (RFC 5280 section 4.2.1.6)."""
    return name[:-1] if name.endswith(b".") and len(name) > 1 and not name.endswith(b"..") else name


def build_server_context(
    tls: ServerTls, report: Report, sessions: ServerSessions | None = None, storage: Storage | None = None
) -> ServerContext | None:
    """Build the TLS side of a server line; files and options are checked now, not with the first request.

    Args:
        tls: the `ssl` options of the line.
        report: where errors go.
        sessions, storage: see `ServerContext`.

    Returns:
        The context, or None when something is wrong with it (`report` says what).
    """
    try:
        if tls.verify is Verify.REQUIRED and tls.ca_file is None:
            raise _no_ca(tls.written.of("verify"))
        if tls.verify_host and not _can_be_verified(tls.verify_host):
            raise config_error(
                f"verifyhost {tls.verify_host!r}: no certificate can be valid for this name",
                tls.written.of("verifyhost"),
                remedy="write a host name of the certificate in full, without a dot at its beginning, or an address",
            )  # fmt: skip
        unspoken = [one for one in tls.alpn if one == "h2"]
        if unspoken:
            raise config_error(
                f"{tls.written.word('alpn')} h2: HTTP/2 to servers is not supported yet", tls.written.of("alpn", "h2"),
                remedy="use alpn http/1.1, or none",
            )
        context = ServerContext(tls, sessions, storage)
    except ConfigError as error:
        report.add(error.diagnostic)
        return None
    if tls.allow_0rtt:
        _allow_early_data(context, report)
    return context


def _allow_early_data(context: ServerContext, report: Report) -> None:
    """`allow-0rtt`. Where it can't be followed all is well, only later: so that is no error."""
    try:
        context.early_data = ServerEarlyData()
    except Unreachable as why:
        report.note(
            Severity.NOTICE, f"'allow-0rtt' can't be followed: {why}; requests wait for the handshake", context.tls.location
        )


def _no_ca(location: Location | None) -> ConfigError:
    return config_error(
        "verify is enabled but there is no ca-file to verify the server's certificate with",
        location,
        remedy="add `ca-file FILE`, or `ca-file @system-ca` for public CAs, or `verify none` to trust anybody who answers",
    )


def _expect_name(ssl: Any, name: bytes) -> None:
    """Let verification check the server's certificate against a name or an address."""
    if not name:
        return
    param: Any = lib.SSL_get0_param(ssl)
    if _is_address(name):
        packed = ipaddress.ip_address(name.decode("ascii")).packed
        accepted = lib.X509_VERIFY_PARAM_set1_ip(param, packed, len(packed))
    else:
        lib.X509_VERIFY_PARAM_set_hostflags(param, _NO_PARTIAL_WILDCARDS)
        accepted = _expect_host(param, name) or _expect_host(param, _NOBODY)
    if accepted != 1:
        raise Bug(f"OpenSSL takes no name to verify: {name!r}")  # going on would mean not to verify it


def _expect_host(param: Any, name: bytes) -> int:
    """Set a name to verify; 0 when it is none: OpenSSL decides, except that it takes `.example` to mean whatever is below it."""
    accepted: int = 0 if name.startswith(b".") else lib.X509_VERIFY_PARAM_set1_host(param, name, len(name))
    if accepted != 1:
        lib.ERR_clear_error()
    return accepted


def _can_be_verified(name: str) -> bool:
    """Whether there can be a certificate that is valid for a name."""
    encoded = _relative(name.encode("utf-8", "surrogateescape"))
    if _is_address(encoded):
        return True
    param = ffi.gc(lib.X509_VERIFY_PARAM_new(), lib.X509_VERIFY_PARAM_free)
    return _expect_host(param, encoded) == 1


def _is_address(name: bytes) -> bool:
    try:
        ipaddress.ip_address(name.decode("ascii"))
    except ValueError:
        return False
    return True
