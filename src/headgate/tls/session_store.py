"""Sessions with servers, kept to be resumed: which one a new connection offers, and why it has none to offer.

One `ServerSessions` for each server, which its traffic and its checks share. A session belongs to a `Key`, and is never offered
under another one: another name, address, ALPN list, certificate or CA makes another key. What this process has comes first; a
store that all processes of all generations share (`shared_sessions`) is asked when it has nothing, and given the newest once in
a while, not with each connection.

A TLS 1.3 ticket is used once where there are more of them, so that connections can't be linked (RFC 8446 appendix C.4); the last
one stays until a newer one comes, since a full handshake would cost far more. Called by `client_context`; time is an argument.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final, NamedTuple, Protocol

from headgate.config.tls_options import Protocols
from headgate.observe.full_handshakes import Cause
from headgate.tls.first_contact import EXPECTED, FirstContact
from headgate.tls.openssl import (
    ERR_clear_error,
    Handle,
    SSL_get0_group_name,
    SSL_get1_session,
    SSL_get_session,
    SSL_SESSION_free,
    SSL_session_reused,
    SSL_set_session,
    SSL_version,
    ffi,
    lib,
)
from headgate.tls.session_der import TLS_1_3, decode_session, encode_session, read_form

#: Keys that have sessions, for each server. Names can come from requests, so the table needs an end.
KEYS_MOST: Final = 256
#: TLS 1.3 tickets for one key: as many connections can begin at a time without a full handshake.
TICKETS_MOST: Final = 8
#: Longest session that is kept, bytes: a client certificate or a long ticket can be in it.
SESSION_MOST: Final = 16384
#: How often other processes are given a ticket of a key, seconds: one that a connection brought beside another, or its only one.
#: A server that takes a ticket once and gives one for it (Java's do) leaves no more of them than there are connections.
GIVE_EVERY: Final = 1.0
GIVE_SCARCE_EVERY: Final = 60.0
#: For how long a server that did not take early data is sent none, seconds, unless it knows no session of ours any more.
EARLY_AGAIN: Final = 600.0
#: How old a session must be before its lifetime is looked up, seconds: none is shorter.
_YOUNG: Final = 1.0
#: Keys of which is remembered that they were evicted, and how many of the latest are compared with a new one.
_EVICTED_MOST: Final = 1024
_COMPARED: Final = 32


#: Numbers of groups (RFC 8446 section 4.2.7 and the IANA registry) and OpenSSL's names for them.
_GROUPS: Final = {
    0x0017: b"secp256r1", 0x0018: b"secp384r1", 0x0019: b"secp521r1", 0x001D: b"x25519", 0x001E: b"x448",
    0x11EC: b"x25519mlkem768",
}  # fmt: skip


class Key(NamedTuple):
    """What must be equal for a session to be offered.

    Attributes:
        policy: digest of the line's TLS options, its CAs, CRLs and client certificate.
        alpn: the protocols that are offered, as they are sent.
        where: the address that is connected to.
        name: the server name (SNI), b"" for none.
    """

    policy: bytes
    alpn: bytes
    where: Hashable
    name: bytes


#: Which field of a key differs -> why its sessions can't be used. The first that differs counts.
_DIFFERENT: Final = (
    (0, Cause.OTHER_POLICY), (2, Cause.OTHER_ADDRESS), (1, Cause.OTHER_ALPN), (3, Cause.OTHER_NAME),
)  # fmt: skip


class Shared(Protocol):
    """Sessions that all processes share, in DER; `shared_sessions.SharedSessions`."""

    def take(self, digest: bytes, now: float) -> tuple[float, bytes, bool] | None:
        """A session: since when it is kept, its DER form, and whether others may use it too. The last one stays."""

    def give(self, digest: bytes, stored_at: float, encoded: bytes, *, several: bool) -> None:
        """Keep a session; with `several` beside those that are there, otherwise in their place."""

    def forget(self, digest: bytes) -> None:
        """Drop the sessions of a key: the server does not take them."""

    def last_key(self, server: bytes) -> tuple[bytes, ...] | None:
        """Digests of the fields of the key under which a session of a server was last given."""

    def note_key(self, server: bytes, fields: tuple[bytes, ...]) -> None:
        """Note it."""


class Session:
    """One session.

    Attributes:
        pointer: the `SSL_SESSION*`.
        stored_at: monotonic seconds.
        uses: connections that offered it.
        ticket: of TLS 1.3: to be used once.
        unclean: a connection that had it ended without close_notify, on this side.
        group: name of the key exchange group that the server chose, b"" when it is not known.
    """

    __slots__ = ("_lifetime", "group", "pointer", "stored_at", "ticket", "unclean", "uses")

    def __init__(self, pointer: Any, stored_at: float, group: bytes, *, ticket: bool, uses: int = 0) -> None:
        self.pointer = pointer
        self.group = group
        self.stored_at = stored_at
        self.ticket = ticket
        self.uses = uses
        self.unclean: Cause | None = None
        self._lifetime = -1

    def expired(self, now: float) -> bool:
        """Whether the server has surely forgotten it."""
        age = now - self.stored_at
        if age < _YOUNG:
            return False
        if self._lifetime < 0:
            encoded = encode_session(self.pointer, SESSION_MOST)
            self._lifetime = read_form(encoded).lifetime if encoded is not None else 0
        return age > self._lifetime

    def __repr__(self) -> str:
        return f"<Session uses={self.uses}>"  # never what is in it


class _Record:
    """What is known of one key: its sessions, the newest last, and why there would be none.

    `early_from`: until then there is no early data, on the monotonic clock; see `ServerSessions.early_data_refused`.
    `first`: a connection that is about to bring the first session, None before there was one.
    """

    __slots__ = ("absence", "digest", "early_from", "first", "given_at", "key", "sessions")

    def __init__(self, key: Key, digest: bytes, absence: Cause) -> None:
        self.key = key
        self.digest = digest
        self.absence = absence
        self.sessions: list[Session] = []
        self.given_at = float("-inf")
        self.early_from = float("-inf")
        self.first: FirstContact | None = None


class Dialled(Handle):
    """A connection to a server, before and while a channel drives it.

    Attributes:
        protocols: ALPN protocols that this connection offers, None for those of the context.
        awaits_ticket: a session may still come behind the handshake (TLS 1.3): look for it after reads.
        brings: what this connection brings with its session, if anybody waits for it; None where it is not the first.
        behind: the first contact under way, whose session this connection had better wait for; None as a rule.
    """

    __slots__ = (
        "_absence", "_begun", "_offered", "_record", "_seen", "_tied", "awaits_ticket", "behind", "brings", "protocols",
    )  # fmt: skip

    def __init__(self, ssl: Any, name: bytes) -> None:
        super().__init__(ssl, name)
        self.awaits_ticket = False
        self.brings: FirstContact | None = None
        self.behind: FirstContact | None = None
        self.protocols: Protocols | None = None
        self._record: _Record | None = None
        self._offered: Session | None = None
        self._begun: Any = None  # the `SSL_SESSION*` that was offered; the session may have another one meanwhile
        self._absence = Cause.DISABLED
        self._seen: Any = None
        self._tied: list[Session] = []  # sessions that an unclean end of this connection may cost

    @property
    def group(self) -> bytes:
        """The key exchange group that the server chose when it gave the session that is offered; b"" where that is not known."""
        return self._offered.group if self._offered is not None else b""

    def new_ticket(self, now: float) -> Any:
        """The `SSL_SESSION*` that is offered, where early data may go with it; else None.

        A ticket that was offered before can't be told from a replay (RFC 8446 section 8.1): servers that look would refuse it.
        """
        offered, record = self._offered, self._record
        if offered is None or record is None or not offered.ticket or offered.uses > 1:
            return None
        return offered.pointer if now >= record.early_from else None


class ServerSessions:
    """The sessions with one server.

    Args:
        server: its name, with the backend's: the same after a reload.

    Attributes:
        shared: what all processes share; None for nothing.
        dropped: sessions that were too long to be kept.
    """

    __slots__ = ("_evicted", "_forgiving", "_records", "_server", "dropped", "shared")

    def __init__(self, server: str) -> None:
        self._server = hashlib.blake2b(server.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        self._records: OrderedDict[Key, _Record] = OrderedDict()
        self._evicted: OrderedDict[Key, None] = OrderedDict()
        self._forgiving = False  # it has resumed a session whose connection it had ended without close_notify: that costs none
        self.shared: Shared | None = None
        self.dropped = 0

    # --- before the handshake ---

    def offer(self, handle: Dialled, key: Key, now: float) -> None:
        """Let a connection offer a session of its key, if there is one."""
        records = self._records
        record = records.get(key)
        if record is None:
            record = self._open(key)
        else:
            records.move_to_end(key)
        handle._record = record
        session = self._take(record, now)
        if session is None:
            handle._absence = record.absence
            if record.absence in EXPECTED:
                self._be_first(handle, record, now)
        elif SSL_set_session(handle.ssl, session.pointer) == 1:
            session.uses += 1
            handle._offered = session
            handle._begun = session.pointer
        else:
            ERR_clear_error()
            record.sessions.clear()
            handle._absence = Cause.OTHER_POLICY  # of a version that is not spoken any more

    def _be_first(self, handle: Dialled, record: _Record, now: float) -> None:
        """Go ahead to get a session, unless another connection just does."""
        first = record.first
        if first is None or first.over or now >= first.until:
            handle.brings = record.first = FirstContact(now)
        else:
            handle.behind = first

    def came(self, handle: Dialled) -> None:
        """A connection has brought its session, or will bring none: nobody needs to wait for it any more."""
        if handle.brings is not None:
            handle.brings.end()
            handle.brings = None

    def _take(self, record: _Record, now: float) -> Session | None:
        sessions = record.sessions
        while sessions:
            newest = sessions[-1]
            if newest.expired(now):
                sessions.pop()
                record.absence = Cause.EXPIRED
                continue
            if newest.ticket and len(sessions) > 1:
                sessions.pop()
            return newest
        return self._fetch(record, self.shared, now) if self.shared is not None else None

    def _fetch(self, record: _Record, shared: Shared, now: float) -> Session | None:
        found = shared.take(record.digest, now)
        if found is None:
            return None
        stored_at, encoded, common = found
        pointer = decode_session(encoded)
        if pointer is None:
            return None
        form = read_form(encoded)
        if now - stored_at > form.lifetime:
            record.absence = Cause.EXPIRED
            shared.forget(record.digest)
            return None
        # One that others may use too counts as used, and makes place for the first that comes for us.
        group = _GROUPS.get(form.group, b"")
        session = Session(pointer, stored_at, group, ticket=form.version >= TLS_1_3, uses=int(common))
        record.sessions.append(session)
        return session

    def _open(self, key: Key) -> _Record:
        """A record for a key that has none; the one that was used least recently may have to go."""
        record = _Record(key, self._digest(key), self._why_none(key))
        records = self._records
        if len(records) >= KEYS_MOST:
            oldest, _ = records.popitem(last=False)
            evicted = self._evicted
            evicted[oldest] = None
            if len(evicted) > _EVICTED_MOST:
                evicted.popitem(last=False)
        records[key] = record
        return record

    def _digest(self, key: Key) -> bytes:
        parts = (key.policy, key.alpn, repr(key.where).encode("utf-8", "surrogateescape"), key.name)
        digest = hashlib.blake2b(self._server, digest_size=16)
        for part in parts:
            digest.update(len(part).to_bytes(4, "big") + part)
        return digest.digest()

    def _why_none(self, key: Key) -> Cause:
        """Why a key has no session yet: something else about this server has, or nothing has."""
        if key in self._evicted:
            del self._evicted[key]
            return Cause.EVICTED
        best: tuple[int, Cause] | None = None
        for known, _ in zip(reversed(self._records), range(_COMPARED), strict=False):
            found = _difference(key, known)
            if best is None or found[0] < best[0]:
                best = found
        if best is None and self.shared is not None:
            former = self.shared.last_key(self._server)
            if former is not None:
                best = _difference(_fields(key), former)
        return Cause.FIRST_CONTACT if best is None or not best[0] else best[1]

    # --- after it ---

    def established(self, handle: Dialled, now: float) -> Cause | None:
        """The handshake is through.

        Returns:
            Why it was a full one; None when it resumed a session.
        """
        record, offered, ssl = handle._record, handle._offered, handle.ssl
        current = SSL_get_session(ssl)
        resumed = bool(SSL_session_reused(ssl))
        cause = None if resumed else handle._absence
        if record is None:
            return cause
        if not resumed:
            record.early_from = float("-inf")
        if offered is not None and resumed:
            self._forgiving = self._forgiving or offered.unclean is Cause.UNCLEAN_BY_SERVER
        elif offered is not None:
            cause = self._why_not(offered, now)
            self._refused(record, offered, cause)
        if SSL_version(ssl) >= TLS_1_3:
            handle._seen = current
            handle.awaits_ticket = True
        elif offered is None or current != handle._begun:
            self._keep(handle, record, now, ticket=False)
        elif resumed:
            handle._tied.append(offered)
        if not handle.awaits_ticket:
            self.came(handle)
        return cause

    def look(self, handle: Dialled, now: float) -> bool:
        """Keep the session that a TLS 1.3 server may have given meanwhile; whether there was one."""
        record = handle._record
        current = SSL_get_session(handle.ssl)
        if record is None or current == handle._seen:
            return False
        handle._seen = current
        self._keep(handle, record, now, ticket=True)
        self.came(handle)
        return True

    def settled(self, handle: Dialled) -> None:
        """A TLS 1.3 server has given what it gives behind the handshake, as a rule: a session, or none."""
        record = handle._record
        if record is not None and not handle._tied and not record.sessions:
            record.absence = Cause.NO_SESSION
        self.came(handle)

    def early_data_refused(self, handle: Dialled, now: float) -> None:
        """A server did not take a connection's early data, or the handshake failed: none is sent, for a while.

        A server may have been told to take none any more. Then its tickets don't permit any, but in OpenSSL a session that comes
        of a resumed one inherits the permission; so only those of full handshakes can be believed. Or it has become one that
        knows nothing of early data, or of TLS 1.3, and can't say so but by ending the connection (RFC 8446 appendix D.3).
        """
        if handle._record is not None:
            handle._record.early_from = now + EARLY_AGAIN

    def truncated(self, handle: Dialled) -> None:
        """The server has ended a connection without close_notify.

        OpenSSL forbids to resume what this connection has, as TLS 1.0 does (RFC 2246 section 7.2.1) and no later version
        (RFC 4346 section 7.2.1). It is for the server to say, and a copy of a session is not forbidden.
        """
        for session in {handle._offered, *handle._tied}:
            encoded = encode_session(session.pointer, SESSION_MOST) if session is not None else None
            pointer = decode_session(encoded) if encoded is not None else None
            if session is not None and pointer is not None:
                session.pointer = pointer

    def ended(self, handle: Dialled, unclean: Cause | None, now: float) -> None:
        """An established connection is over.

        Args:
            handle: of the connection.
            unclean: who did not say close_notify, None when it was said as it should be.
            now: monotonic seconds.
        """
        record = handle._record
        if record is None:
            return
        if handle._seen is not None:
            self.look(handle, now)
            self.settled(handle)
        if unclean is not None:
            for session in handle._tied:
                session.unclean = unclean
        handle._record = None

    def _why_not(self, offered: Session, now: float) -> Cause:
        """Why the server did not resume a session."""
        if offered.expired(now):
            return Cause.EXPIRED
        if offered.unclean is Cause.UNCLEAN_BY_SERVER and self._forgiving:
            return Cause.REFUSED
        return offered.unclean or Cause.REFUSED

    def _refused(self, record: _Record, offered: Session, cause: Cause) -> None:
        """The server did not know it, and so nothing that is older."""
        record.sessions = [one for one in record.sessions if one is not offered and one.stored_at > offered.stored_at]
        record.absence = cause
        record.given_at = float("-inf")
        if self.shared is not None:
            self.shared.forget(record.digest)

    def _keep(self, handle: Dialled, record: _Record, now: float, *, ticket: bool) -> None:
        encoded = None
        every = GIVE_EVERY if handle._tied or not ticket else GIVE_SCARCE_EVERY
        if not ticket or (self.shared is not None and now - record.given_at >= every):
            encoded = encode_session(SSL_get_session(handle.ssl), SESSION_MOST)
            too_long = encoded is None
        else:
            too_long = not 0 < lib.i2d_SSL_SESSION(SSL_get_session(handle.ssl), ffi.NULL) <= SESSION_MOST
        if too_long:
            self.dropped += 1
            return
        if encoded is not None and not read_form(encoded).resumable:
            if not record.sessions:
                record.absence = Cause.NO_SESSION
            return
        name = SSL_get0_group_name(handle.ssl)
        group = ffi.string(name).lower() if name else b""
        session = Session(ffi.gc(SSL_get1_session(handle.ssl), SSL_SESSION_free), now, group, ticket=ticket)
        handle._tied.append(session)
        if encoded is not None and self._give(record, session, encoded, now):
            return
        if ticket:
            record.sessions = [one for one in record.sessions if one.ticket and not one.uses][1 - TICKETS_MOST :]
            record.sessions.append(session)
        else:
            record.sessions = [session]

    # --- for others ---

    def _give(self, record: _Record, session: Session, encoded: bytes, now: float) -> bool:
        """Give a session to other processes; whether it is theirs alone now, since we have others."""
        shared = self.shared
        if shared is None:
            return False
        record.given_at = now
        ours = session.ticket and any(not one.uses for one in record.sessions)
        shared.give(record.digest, session.stored_at, encoded, several=session.ticket)
        shared.note_key(self._server, _fields(record.key))
        return ours

    def hand_over(self, now: float) -> None:
        """This process ends: what it knows goes to those that are left and those that come."""
        for record in self._records.values():
            if record.sessions and not record.sessions[-1].expired(now):
                encoded = encode_session(record.sessions[-1].pointer, SESSION_MOST)
                if encoded is not None:
                    self._give(record, record.sessions[-1], encoded, now)


def _fields(key: Key) -> tuple[bytes, ...]:
    """The fields of a key as short digests, to be compared in another process."""
    return tuple(hashlib.blake2b(repr(part).encode("utf-8", "surrogateescape"), digest_size=8).digest() for part in key)


def _difference(key: tuple[object, ...], other: tuple[object, ...]) -> tuple[int, Cause]:
    """In how many fields two keys differ, and what the most important of them means."""
    different = [cause for at, cause in _DIFFERENT if key[at] != other[at]]
    return len(different), different[0] if different else Cause.FIRST_CONTACT
