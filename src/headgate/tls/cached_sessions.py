"""Sessions with clients that are held in memory, as opposed to those that are in a ticket: all processes have them in one cache.

OpenSSL asks for a session that a client names (SSL_CTX_sess_set_get_cb(3)) and checks what it is given: its time, and that it was
made under the same policy for client certificates (`applied_policy`). What a handshake leaves is put into the cache behind it,
not by OpenSSL's other callback, which would tell of each ticket too. Called by `runtime.tls_channel`.

In TLS 1.3 OpenSSL would give two sessions behind a full handshake, and `SSL_get_session` shows the last one only; it is told to
give one (`session_context.give_sessions`).
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from OpenSSL import SSL

from headgate.tls.client_sessions import ClientSessions
from headgate.tls.openssl import SSL_get_session, SSL_session_reused, SSL_version, ffi
from headgate.tls.session_der import TLS_1_3, encode_session, read_session_id, session_pointer
from headgate.tls.unbound import Unreachable, function

#: Longest session that is looked at, bytes.
_MOST: Final = 1 << 14
#: Longest number of a session (RFC 5246 section 7.4.1.2), and of what sets those of one line apart from others', bytes.
_ID_MOST: Final = 32
_LINE: Final = 8
#: SSL_SESS_CACHE_SERVER and SSL_SESS_CACHE_NO_INTERNAL of ssl.h.
_MODE: Final = SSL.SESS_CACHE_SERVER | SSL.SESS_CACHE_NO_INTERNAL



def sessions_can_be_shared() -> bool:
    """Whether OpenSSL can be told to ask for sessions; else each process has those that it made."""
    try:
        function("SSL_CTX_sess_set_get_cb")
    except Unreachable:
        return False
    return True


class CachedSessions:
    """The sessions with the clients of one bind line.

    Args:
        cache: of all lines and processes.
        line: what makes it the same line in another process, or after a reload (`session_context.session_names`).
        tickets: the line gives tickets.

    Raises:
        Unreachable: OpenSSL can't be told to ask for sessions.
    """

    __slots__ = ("_cache", "_callback", "_line", "_put", "_tickets")

    def __init__(self, cache: ClientSessions, line: str, *, tickets: bool) -> None:
        self._put = function("SSL_CTX_sess_set_get_cb")
        self._cache = cache
        self._line = hashlib.blake2b(line.encode("utf-8", "surrogateescape"), digest_size=_LINE).digest()
        self._tickets = tickets
        self._callback = ffi.callback("SSL_SESSION *(*)(SSL *, unsigned char *, int, int *)", self._find, error=ffi.NULL)

    def put_on(self, context: SSL.Context) -> None:
        """Have the connections that are created from a context ask here; must live as long as that does."""
        context.set_session_cache_mode(_MODE)
        self._put(context._context, self._callback)

    def keep(self, ssl: Any, now: float) -> None:
        """Keep what a handshake left, unless it is in a ticket, or was there before.

        Args:
            ssl: a server's connection behind its handshake.
            now: monotonic seconds.
        """
        # TLS 1.3 makes a new session at each resumption, TLS 1.2 goes on with the old one.
        if self._tickets if SSL_version(ssl) >= TLS_1_3 else SSL_session_reused(ssl):
            return
        key, encoded = self._session_of(ssl)
        if key:
            self._cache.put(key, encoded, now)

    def distrust(self, ssl: Any) -> None:
        """A fatal alert ended a connection: its session is resumed no more (RFC 5246 section 7.2.2)."""
        if not self._tickets or SSL_version(ssl) < TLS_1_3:
            key, _ = self._session_of(ssl)
            if key:
                self._cache.forget(key)

    def _session_of(self, ssl: Any) -> tuple[bytes, bytes]:
        """The key and the DER form of a connection's session; b"" twice when it has none that is held in memory."""
        encoded = encode_session(SSL_get_session(ssl), _MOST)
        named = read_session_id(encoded) if encoded else b""
        return (self._line + named, encoded) if encoded and named else (b"", b"")

    def _find(self, _ssl: Any, name: Any, size: int, copy: Any) -> Any:
        """OpenSSL's call: the session of a number that a client has sent."""
        copy[0] = 0  # what is returned becomes OpenSSL's
        encoded = self._cache.find(self._line + bytes(ffi.buffer(name, size))) if 0 < size <= _ID_MOST else None
        return ffi.NULL if encoded is None else session_pointer(encoded)
