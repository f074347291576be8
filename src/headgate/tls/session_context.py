"""What keeps session tickets valid over a reload: OpenSSL contexts that are made before any configuration is read.

The keys of tickets belong to the context that a connection was created from, and the binding can't set them. So the process
that outlives a reload makes a set of bare contexts, each with keys of its own, and every process that it forks finds the same
ones: a bind line that takes the same context as its predecessor did reads the predecessor's tickets. Nothing is ever configured
in the process that made them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from typing import Final

from OpenSSL import SSL

from headgate.base.diagnostics import Bug
from headgate.config.tls_options import BindTls, CrtList
from headgate.tls.openssl import ffi
from headgate.tls.ticket_keys import COUNT, NAME, SIZES, TicketKeys
from headgate.tls.unbound import Unreachable, function

#: How many bind lines can have a context of their own; 64 of them take 15 ms and 2.5 MB. Tickets of other lines are sealed by us,
#: which takes longer.
SESSION_CONTEXTS: Final = 64
#: Bytes of the secret that keys of tickets are derived from.
_SECRET: Final = 64
#: SSL_CTRL_SET_SESS_CACHE_SIZE of ssl.h.
_SET_CACHE_SIZE: Final = 42


class SessionContexts:
    """Bare contexts with ticket keys, to be handed to bind lines once in every process that was forked since.

    Args:
        count: how many.
    """

    __slots__ = ("_contexts", "_maker", "_secret")

    def __init__(self, count: int = SESSION_CONTEXTS) -> None:
        self._maker = os.getpid()
        self._secret = os.urandom(_SECRET)
        self._contexts = [SSL.Context(SSL.TLS_SERVER_METHOD) for _ in range(count)]

    def assign(self, names: Iterable[str]) -> dict[str, SSL.Context]:
        """Give each name a context of its own: the same one as long as the names are (nearly) the same.

        Each name has a place of its own among the contexts; where two have the same, the one that sorts first keeps it. Names
        beyond the number of contexts get none: for them there is `ticket_keys`.

        Raises:
            Bug: this is the process that made them: what is configured here would reach all later ones.
        """
        if os.getpid() == self._maker:
            raise Bug("session contexts are for processes that were forked after they were made")
        taken: dict[int, str] = {}
        count = len(self._contexts)
        for name in sorted(set(names))[:count]:
            place = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big") % count
            while place in taken:
                place = (place + 1) % count
            taken[place] = name
        return {name: self._contexts[place] for place, name in taken.items()}

    def ticket_keys(self, name: str) -> TicketKeys:
        """Keys for the tickets of a line that has none of the contexts: the same ones in every process that was forked since."""
        encoded = name.encode("utf-8", "surrogateescape")

        def derived(purpose: bytes, size: int) -> bytes:
            return hashlib.blake2b(encoded, digest_size=size, key=self._secret, person=purpose).digest()

        return (derived(b"name", NAME) + derived(b"keys", SIZES[-1] - NAME),) * COUNT


def limit_cache(context: SSL.Context, sessions: int) -> None:
    """Keep so many sessions at most in a context's memory (tune.ssl.cachesize), where OpenSSL can be told."""
    if cache_size_is_heeded():
        function("SSL_CTX_ctrl")(context._context, _SET_CACHE_SIZE, sessions, ffi.NULL)


def cache_size_is_heeded() -> bool:
    """Whether OpenSSL can be told; else it keeps 20480 sessions of each context."""
    try:
        function("SSL_CTX_ctrl")
    except Unreachable:
        return False
    return True


def give_sessions(context: SSL.Context, count: int) -> None:
    """Give TLS 1.3 clients so many sessions behind a full handshake, not two, where OpenSSL can be told.

    For contexts without tickets: one, since of the sessions in memory others know the last one only (`cached_sessions`), or none
    where none is kept.
    """
    with contextlib.suppress(Unreachable):
        function("SSL_CTX_set_num_tickets")(context._context, count)


def make_session_context() -> SessionContexts:
    """For the process that outlives reloads; call it once, before forking."""
    return SessionContexts()


def session_name(tls: BindTls) -> str:
    """What makes a bind line the same one after a reload, as far as its tickets go: the client policy and the first certificate.

    Those behind it come and go: that is what most reloads are for.
    """
    first = next(iter(tls.certificates), None)
    named = "" if first is None else first.name if isinstance(first, CrtList) else first.file.path
    return f"{tls.policy.verify.value}|{tls.policy.ca_file or ''}|{named}"


def session_names(lines: Iterable[BindTls]) -> dict[BindTls, str]:
    """The names of all lines of a configuration, in its order: a context can carry one line only, so equal names get a number."""
    found: dict[BindTls, str] = {}
    known: dict[str, int] = {}
    for tls in dict.fromkeys(lines):
        name = session_name(tls)
        number = known[name] = known.get(name, -1) + 1
        found[tls] = f"{name}|{number}" if number else name
    return found
