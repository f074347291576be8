"""The TLS side of a bind line: one session context that creates every connection, and contexts to switch to for what it serves.

Session tickets and cached sessions belong to the context that a connection was created from. So that a client may resume whatever
name it asks for, at any worker and after a reload, all connections of a bind line are created from its *session context*, which
holds no certificate, and are then switched to the context of their certificate and policy. Such contexts are built when a client
first asks for them. The session id context keeps client-certificate policies apart: a session that was made without asking for a
certificate can't be resumed where one is required.

When the switch happens depends on the line. With one certificate there is nothing to wait for. Where one policy holds for all
names, and OpenSSL can choose among the certificates of a name, the server name callback does it: nothing is parsed twice, and it
works however the ClientHello arrives. But by then OpenSSL has chosen the version, looked for the session and for extensions of
ours. So a line with several policies, with certificates of one name that have different chains, or with signed certificate
timestamps is *selective*: the ClientHello, which the listener has peeked, is read first, and the connection is switched and
adjusted before its handshake begins. The callback then only confirms that OpenSSL saw a name of the same policy, and ends the
handshake otherwise: whoever hides the name from us (a hello that did not come in whole) gets no policy but its own.

Measured (CPU time of connection and first flight, TLS 1.3, ECDSA): 218 us where the callback switches, 240 us on a selective
line. Of these 3 are for finding the name (`wire.hello_extensions`), the rest for the early switch and the second callback.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from headgate.base.diagnostics import NOWHERE
from headgate.base.records import dataclass
from headgate.config.tls_options import BindPolicy, BindTls, CertificateFile, CertificateLine, CrtList, Verify
from headgate.tls.applied_policy import AppliedPolicy, put_ecdsa_first
from headgate.tls.cached_sessions import CachedSessions
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.cipher_names import cipher_names
from headgate.tls.early_data import allow_early_data, sends_early_data
from headgate.tls.forging import Forger
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.installing import install
from headgate.tls.key_choice import alike, choose
from headgate.tls.line_facts import LineFacts, group_names, listed_options, shown, signature_names
from headgate.tls.openssl import (
    OP_PRIORITIZE_CHACHA,
    Handle,
    SSL_get_servername,
    SSL_set_accept_state,
    SSL_set_SSL_CTX,
    ffi,
    lib,
    new_ssl,
    string,
    take_any_name,
)
from headgate.tls.policy import enabled_versions, new_context, set_common, span_versions, version_limits
from headgate.tls.session_context import give_sessions, limit_cache
from headgate.tls.storage import CertificateEntry, Entry, Storage
from headgate.tls.store import CertificateStore, Choice, Served
from headgate.tls.ticket_sealing import TicketSealer
from headgate.tls.tuning import UNTUNED, Tuning
from headgate.wire.client_hello import parse_client_hello
from headgate.wire.errors import ProtocolViolation
from headgate.wire.hello_extensions import server_name
from headgate.wire.tls_names import needs_parameters

#: tune.ssl.cachesize where it is not set.
USUAL_CACHE_SIZE: Final = 20000
#: Names that are compared with one that nothing matches, for a message.
_COMPARED_MOST: Final = 300
#: Names whose context is remembered: clients choose the names that a wildcard covers, so the table needs an end.
_NAMES_MOST: Final = 65536
_UNRECOGNIZED_NAME: Final = 112  # alert, RFC 6066 section 3
_OK: Final = 0
_FATAL: Final = 2



def _seen(choice: Choice, record: HandshakeRecord) -> Choice:
    """Those of a choice that the client of a record has seen; where that is not known, those that it could have seen."""
    if record.resumed:
        return ()  # a session stands for them (RFC 8446 section 2.2)
    return tuple(one for one in choice if one.entry.contents.leaf == record.shown) or choice


@dataclass(frozen=True, slots=True)
class SessionCache:
    """`tune.ssl.cachesize` (sessions; 0: none are cached), `tune.ssl.lifetime` (seconds) and `tune.ssl.ssl-ctx-cache-size`."""

    size: int = USUAL_CACHE_SIZE
    lifetime: float = 300.0
    generated: int = 1000


class BindContext:
    """Makes the server side of TLS connections for one bind line.

    Attributes:
        tls: the options it was built from.
        store: its certificates.
        storage: where they come from.
        policies: all policies on the line; the line's own is `policies[tls.policy]`.
        selective: connections are switched to their context before the handshake: see the module.
        early_data: one of the policies allows it.
        http: the frontend is in HTTP mode.
        sessions: those that are in no ticket; None: OpenSSL has them, in this process's memory.
    """

    __slots__ = (
        "_caches",
        "_callbacks",
        "_contexts",
        "_forged",
        "_forged_most",
        "_forger",
        "_membership",
        "_nameless",
        "_names",
        "_sealer",
        "_session",
        "_switches",
        "_tuning",
        "early_data",
        "http",
        "policies",
        "selective",
        "sessions",
        "storage",
        "store",
        "tls",
    )  # fmt: skip

    def __init__(
        self,
        tls: BindTls,
        cache: SessionCache,
        store: CertificateStore,
        storage: Storage,
        policies: dict[BindPolicy, AppliedPolicy],
        origin: SSL.Context | None = None,
        forger: Forger | None = None,
        http: bool = True,
        tuning: Tuning = UNTUNED,
        sealer: TicketSealer | None = None,
    ) -> None:
        """See `bind_lines.build_bind_context`, which has checked everything."""
        self.http = http
        self.sessions: CachedSessions | None = None
        self._tuning = tuning
        self.tls = tls
        self.store = store
        self.storage = storage
        self._contexts: dict[Choice, SSL.Context] = {}
        self._switches: dict[bytes, tuple[AppliedPolicy, Any]] = {}
        self.policies = policies
        self._names: dict[bytes, str] = {}
        self._forger = forger
        self._forged: OrderedDict[bytes, Choice] = OrderedDict()
        self._forged_most = cache.generated
        self._caches = cache.size > 0
        self.selective = len(self.policies) > 1 or self._needs_hello(store)
        # OpenSSL may call them as long as a connection or a context lives: they are never taken back.
        self._callbacks: dict[BindPolicy | None, Any] = {}
        self.early_data = False
        self._nameless = False  # there is one answer, whatever name is asked for
        self._session = self._session_context(cache, origin)
        self._heed_names()
        self._sealer = sealer
        if sealer is not None:
            sealer.put_on(self._session)
        self._allow_early_data()
        self._membership = storage.join(self)

    @property
    def alpn(self) -> tuple[str, ...]:
        """The protocols that the line agrees to where nothing else is said, best first; empty: no ALPN."""
        return self.policies[self.tls.policy].alpn

    def share_sessions(self, sessions: CachedSessions) -> None:
        """Have other processes resume the sessions that are in no ticket, and resume theirs. Not for lines that cache none."""
        self.sessions = sessions
        sessions.put_on(self._session)

    def connection(self, sock: socket.socket, hello: bytes = b"") -> Handle:
        """A connection for an accepted, non-blocking socket, ready for its handshake; `hello` is what was peeked of it."""
        ssl = new_ssl(self._session._context, sock.fileno())
        SSL_set_accept_state(ssl)
        self.settle(ssl, hello)
        return Handle(ssl)

    def settle(self, ssl: Any, hello: bytes) -> None:
        """Switch a new connection before its handshake, as far as what it will serve is known then."""
        if self._nameless:
            SSL_set_SSL_CTX(ssl, (self._switches.get(b"") or self._switch(b"", self.store.default or ()))[1])
        elif self.selective:
            self._select(ssl, hello)

    def takes_early_data(self, hello: bytes) -> bool:
        """Whether a client that begins with these bytes sends early data, and asks for a name that allows it."""
        if not self.early_data:
            return False
        try:
            parsed = parse_client_hello(hello)
        except ProtocolViolation:
            return False
        if parsed is None or not sends_early_data(parsed):
            return False
        choice = self._answer(parsed.sni or b"")
        return choice is not None and choice[0].policy.allow_0rtt

    def describe(self, record: HandshakeRecord) -> None:
        """Say in a handshake record what applied on our side."""
        tls = self.tls
        name = record.name.encode("ascii", "replace").lower().rstrip(b".")
        choice = self._answer(name)
        seen = _seen(choice or (), record)
        one = seen[0] if len(seen) == 1 else self._applied(choice, record.first_bytes) if choice else None
        policy = one.policy if one is not None else tls.policy
        offers_dhe = any(self.offers_dhe(one.entry.contents) for one in choice or ())
        record.line = LineFacts(
            tls.location,
            tuple(enabled_versions(policy.versions)),
            group_names(policy.curves),
            self.policies[policy].alpn if policy in self.policies else (),
            tls.strict_sni,
            policy.verify is Verify.REQUIRED,
            policy.ca_file,
            policy.crl_file,
            certificates=tuple(shown(one.entry.contents) for one in seen),
            near=self._near,
            listed=listed_options(one.line) if one is not None else None,
            ca_sign_file=tls.generate.ca_sign_file if tls.generate is not None and name in self._forged else None,
            named_by=one.line.location if one is not None and one.line.filters and one in (self.store.find(name) or ()) else None,
            signatures=signature_names(policy.sigalgs),
            asked_signatures=signature_names(policy.client_sigalgs) if policy.verify is not Verify.NONE else (),
            limits=version_limits(policy.versions, policy.ciphers),
            ciphers=policy.ciphers,
            offers_dhe=offers_dhe,
            withheld=() if offers_dhe else tuple(filter(needs_parameters, cipher_names(policy.ciphers or "DEFAULT"))),
            written=tls.written,
            twice=tls.twice,
            by_default=choice is not None and self._is_default(record.name),
            elsewhere=tuple(other.entry.contents.path for other in choice or () if other.policy != policy),
        )

    def _is_default(self, name: str) -> bool:
        """Whether no certificate is for a name, or there is none: then the default ones are the answer."""
        return not name or (self._forger is None and self.store.find(name.lower().rstrip(".").encode("ascii", "replace")) is None)

    def _applied(self, choice: Choice, data: bytes) -> Served:
        """The one of a choice whose policy held for a client that began with these bytes."""
        return self._usable(choice, data) if self.selective and len(choice) > 1 else choice[0]

    def _near(self, name: str) -> tuple[str, ...]:
        """The names that are served and most resemble one."""
        name = name.lower()
        served = self.store.names()
        if len(served) > _COMPARED_MOST:
            domain = name.partition(".")[2].encode("ascii", "replace")
            served = [one for one in served if one.endswith(domain)][:_COMPARED_MOST]
        return tuple(get_close_matches(name, [one.decode("ascii", "replace") for one in served], 3, 0.6))

    def certificate_name(self, certificate: x509.Certificate) -> str:
        """What the configuration calls one of our certificates, "" when it is none of them (`ssl_fc_crtname`)."""
        if not self._names:
            self._names = {one.entry.contents.leaf: one.entry.name for one in self.store.served}
        return self._names.get(certificate.public_bytes(Encoding.DER), "")

    def replaced(self, entry: Entry[Any]) -> None:
        """See `storage.StorageUser`: contexts are built again when a client next asks for them."""
        touched = [policy for policy, applied in self.policies.items() if entry in applied.entries]
        if touched or any(one.entry is entry for one in self.store.served):
            anew = {
                policy: AppliedPolicy(policy, self.tls, self.storage, self.policies[policy].alpn) for policy in touched
            }
            self.serve(CertificateStore(self.store.served, self.store.now), {**self.policies, **anew})

    def serve(self, store: CertificateStore, policies: dict[BindPolicy, AppliedPolicy]) -> None:
        """Serve other certificates from now on, under these policies; see `relist`."""
        self.store = store
        self.policies = policies
        # What was built for one that has become another: whoever asks next gets it anew.
        self._contexts.clear()
        self._switches.clear()
        self._names.clear()
        if not self.selective and (len(policies) > 1 or self._needs_hello(store)):
            self.selective = True
        if self.selective:
            span_versions(self._session, [policy.versions for policy in policies])
        self._session.set_session_id(policies[self.tls.policy].session_id)
        self._heed_names()
        self._allow_early_data()

    def _heed_names(self) -> None:
        """Have OpenSSL ask us for a name's certificate, unless all names have the same."""
        self._nameless = not (self.selective or self.tls.strict_sni or self._forger) and len(self.store.served) == 1
        callback = take_any_name if self._nameless else self._callback(None, self._choose)
        lib.SSL_CTX_set_tlsext_servername_callback(self._session._context, callback)

    def _allow_early_data(self) -> None:
        if not self.early_data and any(policy.allow_0rtt for policy in self.policies):
            self.early_data = True
            allow_early_data(self._session)

    def offers_dhe(self, contents: CertifiedKey) -> bool:
        """Whether DHE cipher suites can be used with a certificate."""
        return contents.dh_parameters is not None or self._tuning.offers_dhe

    def entries(self) -> set[Entry[Any]]:
        """All of the storage that the line uses."""
        return {one.entry for one in self.store.served} | {one for applied in self.policies.values() for one in applied.entries}

    def uses_list(self, name: str) -> bool:
        """Whether the line serves what a crt-list or a directory names."""
        return any(name == (item.name if isinstance(item, CrtList) else item.file.path) for item in self.tls.certificates)

    # --- contexts ---

    def _session_context(self, cache: SessionCache, context: SSL.Context | None) -> SSL.Context:
        """What creates all connections: the bare context given, or a new one. It has ticket keys and sessions, no certificate."""
        if context is None:
            context = new_context(SSL.TLS_SERVER_METHOD)
        else:
            set_common(context)
        self._common(context)
        self.policies[self.tls.policy].dress(context, self.tls)
        if self.selective:
            span_versions(context, [policy.versions for policy in self.policies])
        if cache.size not in (0, USUAL_CACHE_SIZE):
            limit_cache(context, cache.size)
        if not self.tls.tickets:
            give_sessions(context, int(self._caches))
        lib.SSL_CTX_set_timeout(context._context, max(1, int(cache.lifetime)))
        # OpenSSL calls back into this object as long as a connection lives, also after a reload dropped the bind line.
        context.set_app_data(self)
        return context

    def _common(self, context: SSL.Context) -> None:
        """What holds for the whole line."""
        # Clients that leave without close_notify may resume all the same (RFC 5246 section 7.2.1), as with HAProxy: otherwise
        # OpenSSL takes its absence for an error, and forgets the session.
        context.set_options(lib.SSL_OP_IGNORE_UNEXPECTED_EOF)
        if not self.tls.prefer_client_ciphers:
            context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | OP_PRIORITIZE_CHACHA)
        if not self.tls.tickets:
            context.set_options(SSL.OP_NO_TICKET)
        # Of the context of a certificate OpenSSL asks this too, before it gives a session a number.
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER if self._caches else SSL.SESS_CACHE_OFF)
        self._tuning.put_on(context)

    def _context_for(self, choice: Choice) -> SSL.Context:
        """The context of certificates that may share one, built when a client first asks for them."""
        context = self._contexts.get(choice)
        if context is None:
            context = new_context(SSL.TLS_SERVER_METHOD)
            self._common(context)
            policy = choice[0].policy
            self.policies[policy].dress(context, self.tls)
            certificates = tuple(one.entry.contents for one in choice)
            install(context, certificates, self.storage.staples)
            if all(one.dh_parameters is None for one in certificates):
                self._tuning.offer_dhe(context, certificates[0].key, policy.ciphers)
            if len(choice) > 1:
                put_ecdsa_first(context)
            if self.selective:
                callback = self._callback(policy, partial(self._confirm, policy))
                lib.SSL_CTX_set_tlsext_servername_callback(context._context, callback)
            self._contexts[choice] = context
        return context

    def _callback(self, policy: BindPolicy | None, function: Callable[[Any, Any, Any], int]) -> Any:
        callback = self._callbacks.get(policy)
        if callback is None:
            callback = ffi.callback("int (*)(SSL *, int *, void *)", function, error=_FATAL)
            self._callbacks[policy] = callback
        return callback

    def _answer(self, name: bytes) -> Choice | None:
        """What a server name is answered with, b"" for none: its certificates, or the default ones unless `strict-sni`."""
        if name:
            name = name.lower().rstrip(b".")
            found = self.store.find(name)
            if found is None and self._forger is not None:
                found = self._forge(name, self._forger)
            if found is not None:
                return found
        return None if self.tls.strict_sni else self.store.default

    def _forge(self, name: bytes, forger: Forger) -> Choice | None:
        """Certificates made for a name; those that were not asked for longest are forgotten (tune.ssl.ssl-ctx-cache-size)."""
        known = self._forged.get(name)
        if known is not None:
            self._forged.move_to_end(name)
            return known
        made = forger.forge(name)
        if not made:
            return None
        file = CertificateFile(made[0].path, self.tls.location or NOWHERE)
        line = CertificateLine(file)
        choice = tuple(Served(CertificateEntry(file, contents), self.tls.policy, line) for contents in made)
        self._forged[name] = choice
        while len(self._forged) > max(1, self._forged_most):
            _, oldest = self._forged.popitem(last=False)
            for together in (oldest, *((one,) for one in oldest)):
                self._contexts.pop(together, None)
        return choice

    # --- before a handshake ---

    def _select(self, ssl: Any, data: bytes) -> None:
        """Switch a new connection to the context that its hello asks for. The callbacks end what this can't decide."""
        name = server_name(data) or b""
        switch = self._switches.get(name)
        if switch is None:
            choice = self._answer(name)
            if choice is None:
                return
            one = choice[0] if len(choice) == 1 else self._usable(choice, data)
            switch = self.policies[one.policy], self._context_for(self._group(choice, one))._context
            if len(choice) == 1:
                self._remember(name, switch)
        switch[0].adjust(ssl)
        SSL_set_SSL_CTX(ssl, switch[1])

    def _usable(self, choice: Choice, data: bytes) -> Served:
        try:
            hello = parse_client_hello(data)
        except ProtocolViolation:
            hello = None
        return choice[0] if hello is None else choose(choice, hello, self.policies)

    # --- OpenSSL's callbacks, once a handshake ---

    def _choose(self, ssl: Any, alert: Any, _argument: Any) -> int:
        """Switch to the context of the name that was asked for."""
        pointer = SSL_get_servername(ssl, 0)
        name = string(pointer) if pointer else b""
        # Selective: `_select` had nothing for the connection, and no policy was applied to it.
        switch = None if self.selective else self._switches.get(name)
        if switch is None:
            choice = self._answer(name)
            if choice is None or self.selective:
                alert[0] = _UNRECOGNIZED_NAME
                return _FATAL
            switch = self._switch(name, choice)
        SSL_set_SSL_CTX(ssl, switch[1])
        return _OK

    def _switch(self, name: bytes, choice: Choice) -> tuple[AppliedPolicy, Any]:
        """What a connection is switched to whose name is answered with a choice."""
        switch = self.policies[choice[0].policy], self._context_for(choice)._context
        self._remember(name, switch)
        return switch

    def _confirm(self, policy: BindPolicy, ssl: Any, alert: Any, _argument: Any) -> int:
        """Go on if the name that OpenSSL read belongs to the policy that was applied."""
        pointer = SSL_get_servername(ssl, 0)
        name = string(pointer) if pointer else b""
        switch = self._switches.get(name.lower())
        if switch is not None and switch[0].policy is policy:
            return _OK
        choice = self._answer(name)
        if choice is None or all(one.policy != policy for one in choice):
            alert[0] = _UNRECOGNIZED_NAME
            return _FATAL
        return _OK

    def _group(self, choice: Choice, one: Served) -> Choice:
        """Those of a choice that may share a context with one of them; OpenSSL chooses among them."""
        return choice if len(choice) == 1 else tuple(other for other in choice if other is one or self._together(one, other))

    def _together(self, one: Served, other: Served) -> bool:
        """Whether OpenSSL may choose: by the client's order of suites it would take RSA where the client can use ECDSA."""
        return not self.tls.prefer_client_ciphers and alike(one, other)

    def _needs_hello(self, store: CertificateStore) -> bool:
        """Whether there are certificates whose context must be that of a connection before its handshake begins."""
        if any(one.entry.contents.sctl is not None for one in store.served):
            return True  # OpenSSL looks for such extensions before it calls back
        return any(not self._together(choice[0], other) for choice in store.choices() for other in choice[1:])

    def _remember(self, name: bytes, switch: tuple[AppliedPolicy, Any]) -> None:
        """Spare the next client of a name the search; what was generated is forgotten by other rules."""
        if self._forger is None and len(self._switches) < _NAMES_MOST:
            self._switches[name] = switch


