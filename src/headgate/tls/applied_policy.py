"""A `BindPolicy` as OpenSSL is told of it: once for each context, and for connections that were created from another one.

Called by `server_context`, which has one of these for each policy on its bind line. What a *context* has of its own is set in
`dress`. OpenSSL copies some of it to a connection when that is created, from the bind line's session context, and does not look
again when the connection is switched: `adjust` sets these on the connection, before its handshake begins.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from OpenSSL import SSL

from headgate.config.tls_options import BindPolicy, BindTls
from headgate.config.written_options import WrittenOptions
from headgate.tls.client_auth import ClientAuth
from headgate.tls.line_facts import signature_names
from headgate.tls.openssl import SSL_set1_curves_list, SSL_set_options, ffi, lib
from headgate.tls.policy import alpn_wire, enabled_versions, new_context, set_algorithms, set_versions, version_mask
from headgate.tls.storage import Storage
from headgate.wire.tls_names import SIGNATURES, cipher_key_type

_OK: Final = 0
_NOACK: Final = 3


class AppliedPolicy:
    """One policy of a bind line.

    Attributes:
        policy: what was written.
        alpn: the protocols it agrees to, best first; empty: no ALPN.
        session_id: session id context: equal for equal client-certificate policies only, so that a session that was made
            without asking for a certificate can't be resumed where one is required.
        suites: cipher suites up to TLS 1.2 that are enabled, by number, and the kind of key that each needs.
        signatures: the algorithms that `sigalgs` allows, by number; None for all.
        newest: TLS 1.3 is enabled.
        entries: of the storage that it was made of (CA files and the like).
    """

    __slots__ = (
        "_alpn_callback", "_auth", "_curves", "_mask", "alpn", "entries", "newest", "policy", "session_id",
        "signatures", "suites",
    )  # fmt: skip

    def __init__(self, policy: BindPolicy, tls: BindTls, storage: Storage, alpn: tuple[str, ...]) -> None:
        """Check everything that can be wrong with it.

        Raises:
            ConfigError: OpenSSL can't follow it, or a file that it names is wrong.
        """
        self.policy = policy
        self.alpn = alpn
        self._alpn_callback = alpn_selector(alpn) if alpn else None
        self._mask = version_mask(policy.versions)
        self._curves = policy.curves.encode() if policy.curves is not None and policy.curves != tls.policy.curves else None
        scratch = new_context(SSL.TLS_SERVER_METHOD)
        set_versions(scratch, policy.versions, policy.ciphers, tls.written)
        self._set_algorithms(scratch, tls)
        self._auth = ClientAuth(policy, tls, storage)
        self.entries = self._auth.entries
        self.session_id = self._auth.digest
        self.newest = "TLSv1.3" in enabled_versions(policy.versions)
        self.suites = Suites(scratch)
        names = signature_names(policy.sigalgs)
        self.signatures = frozenset(number for number, name in SIGNATURES.items() if name in names) if names else None

    def _set_algorithms(self, context: SSL.Context, tls: BindTls) -> None:
        policy = self.policy
        set_algorithms(
            context, policy.ciphers, policy.ciphersuites, policy.curves, tls.written, sigalgs=policy.sigalgs,
            client_sigalgs=policy.client_sigalgs,
        )

    def dress(self, context: SSL.Context, tls: BindTls) -> None:
        """Set everything but certificates in an empty context."""
        policy = self.policy
        set_versions(context, policy.versions, policy.ciphers, tls.written)
        self._set_algorithms(context, tls)
        self._auth.put_on(context)
        context.set_session_id(self.session_id)
        if self._alpn_callback is not None:
            lib.SSL_CTX_set_alpn_select_cb(context._context, self._alpn_callback, ffi.NULL)

    def scratch(self) -> SSL.Context:
        """An empty context with its algorithms and security level, for trying what OpenSSL takes."""
        context = new_context(SSL.TLS_SERVER_METHOD)
        set_algorithms(context, self.policy.ciphers, None, None, WrittenOptions())
        return context

    def adjust(self, ssl: Any) -> None:
        """Give a connection what OpenSSL took from the context that it was created from, before its handshake."""
        SSL_set_options(ssl, self._mask)
        self._auth.put_on_connection(ssl)
        if self._curves is not None:
            SSL_set1_curves_list(ssl, self._curves)


class Suites(dict[int, str]):
    """Cipher suites of a context by number, as far as they were asked for: the kind of key that each needs.

    "" for those that are not enabled, and for those of TLS 1.3, which go with any.

    Attributes:
        enabled: OpenSSL's names of those that are enabled, up to TLS 1.2, in their order.
    """

    def __init__(self, context: SSL.Context) -> None:
        super().__init__()
        self._ssl = ffi.gc(lib.SSL_new(context._context), lib.SSL_free)
        self.enabled: list[bytes] = []
        position = 0
        while name := lib.SSL_get_cipher_list(self._ssl, position):
            position += 1
            if not (text := ffi.string(name)).startswith(b"TLS_"):
                self.enabled.append(text)

    def __missing__(self, number: int) -> str:
        if number > 0xFFFF:  # of an SSLv2 hello
            return ""
        cipher = lib.SSL_CIPHER_find(self._ssl, number.to_bytes(2, "big"))
        name = ffi.string(lib.SSL_CIPHER_get_name(cipher)) if cipher else b""
        kind = ""
        if name in self.enabled and b"PSK" not in name:
            kind = cipher_key_type(name.decode())
        self[number] = kind
        return kind


def put_ecdsa_first(context: SSL.Context) -> None:
    """Where OpenSSL chooses among certificates, by the order of suites up to TLS 1.2: ECDSA is preferred (manual 5.1 crt)."""
    names = sorted(Suites(context).enabled, key=lambda name: b"ECDSA" not in name)
    if names:
        context.set_cipher_list(b":".join(names))


@cache
def alpn_selector(protocols: tuple[str, ...]) -> Any:
    """OpenSSL's ALPN callback: the first of `protocols` that the client offers, or go on without (RFC 7301 section 3.2).

    Kept for ever: contexts that are no longer in use here may still be in that of a handshake.
    """
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
