"""Sessions with servers: which is offered, and why a handshake was a full one; real handshakes, no clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from headgate.base.diagnostics import NOWHERE
from headgate.config.tls_options import CertificateFile, ServerTls, TlsVersions, Verify
from headgate.observe.counters import ServerCounters
from headgate.observe.full_handshakes import REMEDIES, TEXTS, Cause
from headgate.observe.key_exchanges import KeyExchanges, count_traffic
from headgate.runtime.tls_channel import TlsChannel
from headgate.runtime.tls_openers import Dialler
from headgate.tls import session_store
from headgate.tls.client_context import ServerContext
from headgate.tls.server_context import BindContext
from headgate.tls.session_der import read_form
from headgate.tls.session_store import ServerSessions
from headgate.tls.shared_sessions import SharedSessions
from tests.tls.test_tls_channel import die
from tests.tls.tls_peers import HERE, Pki, Recorder, World, bind_context

ONLY_12 = TlsVersions(highest="TLSv1.2")
ONLY_13 = TlsVersions(lowest="TLSv1.3")
VERSIONS = pytest.mark.parametrize("versions", [ONLY_12, ONLY_13], ids=["1.2", "1.3"])
WHERE = ("192.0.2.1", 443)


class Visits:
    """Connections of one server line, one after the other, with what was counted."""

    def __init__(self, world: World, bind: BindContext, sessions: ServerSessions | None = None, **options: Any) -> None:
        self.world = world
        self.bind = bind
        self.sessions = sessions if sessions is not None else ServerSessions("app/s1")
        self.context = self.line(**options)
        self.counters = ServerCounters()

    def line(self, **options: Any) -> ServerContext:
        return ServerContext(ServerTls(**{"verify": Verify.NONE, "location": HERE} | options), self.sessions)

    def begin(self, name: bytes = b"a.example", where: object = WHERE, context: ServerContext | None = None) -> Visit:
        return Visit(self, name, where, context or self.context)

    def cause(self, *arguments: Any, **options: Any) -> Cause | None:
        """One whole connection: why its handshake was a full one."""
        return self.begin(*arguments, **options).established().exchange().close()


class Visit:
    def __init__(self, visits: Visits, name: bytes, where: object, context: ServerContext) -> None:
        self.visits = visits
        near, far = visits.world.pair()
        self.before = list(visits.counters.tls_causes)
        self.near, self.far = Recorder(), Recorder()
        self.client = Dialler(context, visits.counters).open(visits.world.reactor, near, name, where, self.near)
        self.client.begin()
        self.server = TlsChannel(visits.world.reactor, far, visits.bind.connection(far), visits.bind, self.far)

    def established(self) -> Visit:
        self.visits.world.wait(lambda: self.near.completed and self.far.completed)
        return self

    def exchange(self) -> Visit:
        self.client.send(b"q")
        self.visits.world.wait(lambda: self.far.data == b"q")
        self.server.send(b"r")
        self.visits.world.wait(lambda: self.near.data == b"r")
        return self

    @property
    def cause(self) -> Cause | None:
        changed = [now - then for now, then in zip(self.visits.counters.tls_causes, self.before, strict=True)]
        assert sum(changed) <= 1
        return Cause(changed.index(1)) if any(changed) else None

    def close(self) -> Cause | None:
        self.client.close()
        self.visits.world.wait(lambda: self.far.eof)
        assert not self.server.truncated
        self.server.close()
        self.visits.world.wait(lambda: self.client.sock.fileno() < 0)
        return self.cause


@pytest.fixture
def visits(world: World, pki: Pki) -> Visits:
    return Visits(world, bind_context(pki, "a.pem"))


@VERSIONS
def test_resumed_after_first_contact(world: World, pki: Pki, versions: TlsVersions) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=versions)
    assert [visits.cause() for _ in range(4)] == [Cause.FIRST_CONTACT, None, None, None]
    assert (visits.counters.tls_full, visits.counters.tls_reused) == (1, 3)


@VERSIONS
def test_never_offered_to_another_name(world: World, pki: Pki, versions: TlsVersions) -> None:
    visits = Visits(world, bind_context(pki, "a.pem", "b.pem"), versions=versions)
    assert visits.cause(b"a.example") is Cause.FIRST_CONTACT
    assert visits.cause(b"b.example") is Cause.OTHER_NAME
    assert [visits.cause(name) for name in (b"a.example", b"b.example")] == [None, None]


def test_never_offered_at_another_address_or_under_other_options(visits: Visits, pki: Pki) -> None:
    assert visits.cause() is Cause.FIRST_CONTACT
    assert visits.cause(where=("192.0.2.2", 443)) is Cause.OTHER_ADDRESS
    assert visits.cause(context=visits.line(alpn=("http/1.1",))) is Cause.OTHER_ALPN
    strict = visits.line(verify=Verify.REQUIRED, ca_file=pki.ca)
    assert visits.cause(context=strict) is Cause.OTHER_POLICY
    assert visits.cause(context=visits.line(certificate=CertificateFile(pki.path("client.pem"), NOWHERE))) is Cause.OTHER_POLICY
    assert visits.cause() is None and visits.cause(context=strict) is None


def test_a_new_ca_under_the_old_name_is_another_policy(world: World, pki: Pki, tmp_path: Path) -> None:
    file = tmp_path / "trusted.pem"
    file.write_bytes(Path(pki.ca).read_bytes())
    visits = Visits(world, bind_context(pki, "a.pem"), verify=Verify.REQUIRED, ca_file=str(file))
    assert visits.cause() is Cause.FIRST_CONTACT
    file.write_bytes(file.read_bytes() + pki.other.certificate_pem)
    reloaded = visits.line(verify=Verify.REQUIRED, ca_file=str(file))
    assert visits.cause(context=reloaded) is Cause.OTHER_POLICY


@VERSIONS
def test_refused(world: World, pki: Pki, versions: TlsVersions) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=versions)
    visits.cause()
    visits.bind = bind_context(pki, "a.pem")  # the server was restarted: other ticket keys
    assert [visits.cause() for _ in range(3)] == [Cause.REFUSED, None, None]


def test_a_server_that_does_not_keep_what_it_gives(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", tickets=False)
    bind._session.set_session_cache_mode(SSL.SESS_CACHE_SERVER | SSL.SESS_CACHE_NO_INTERNAL)
    visits = Visits(world, bind, versions=ONLY_12)
    assert [visits.cause() for _ in range(3)] == [Cause.FIRST_CONTACT, Cause.REFUSED, Cause.REFUSED]


def test_switched_off(world: World, pki: Pki) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), reuse=False)
    assert [visits.cause() for _ in range(2)] == [Cause.DISABLED, Cause.DISABLED]


def test_evicted(visits: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "KEYS_MOST", 2)
    for name in (b"1.wild.example", b"2.wild.example", b"3.wild.example"):
        visits.cause(name)
    assert visits.cause(b"1.wild.example") is Cause.EVICTED
    assert visits.cause(b"3.wild.example") is None


@VERSIONS
def test_expired_sessions_are_not_offered(
    world: World, pki: Pki, versions: TlsVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=versions)
    visits.cause()
    (record,) = visits.sessions._records.values()
    assert 0 < read_form(session_store.encode_session(record.sessions[0].pointer, 1 << 14) or b"").lifetime <= 86400
    for session in record.sessions:
        session.stored_at -= 8 * 86400
    assert [visits.cause(), visits.cause()] == [Cause.EXPIRED, None]


@pytest.mark.parametrize("who", [Cause.UNCLEAN_BY_US, Cause.UNCLEAN_BY_SERVER])
def test_a_session_lost_by_an_unclean_close(world: World, pki: Pki, who: Cause) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=ONLY_12)
    visit = visits.begin().established().exchange()
    if who is Cause.UNCLEAN_BY_US:
        die(visit.client)
        world.wait(lambda: visit.far.lost)
    else:
        die(visit.server)
        world.wait(lambda: visit.near.lost)
    visits.bind = bind_context(pki, "a.pem")  # a server that throws the session away for that
    assert [visits.cause(), visits.cause()] == [who, None]


def leave_rudely(visit: Visit) -> None:
    """The server closes without close_notify."""
    visit.server._notified = True  # it has nothing to say
    visit.server.close()
    visit.visits.world.wait(lambda: visit.near.eof)
    assert visit.client.truncated
    visit.client.close()
    visit.visits.world.wait(lambda: visit.client.sock.fileno() < 0)


@VERSIONS
def test_a_server_that_never_says_close_notify(world: World, pki: Pki, versions: TlsVersions) -> None:
    """Many servers don't, and take their sessions all the same."""
    visits = Visits(world, bind_context(pki, "a.pem"), versions=versions)
    causes = []
    for _ in range(4):
        visit = visits.begin().established().exchange()
        leave_rudely(visit)
        causes.append(visit.cause)
    assert causes == [Cause.FIRST_CONTACT, None, None, None]


def test_a_server_that_has_resumed_sessions_after_such_an_end_refuses_for_another_reason(world: World, pki: Pki) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=ONLY_12)
    for expected in (Cause.FIRST_CONTACT, None):
        visit = visits.begin().established().exchange()
        leave_rudely(visit)
        assert visit.cause is expected
    visits.bind = bind_context(pki, "a.pem")  # its cache is gone
    assert [visits.cause(), visits.cause()] == [Cause.REFUSED, None]


def test_sessions_of_connections_that_go_on(world: World, pki: Pki) -> None:
    """One of those that share a session ends without close_notify, while another one resumes it."""
    visits = Visits(world, bind_context(pki, "a.pem"), versions=ONLY_12)
    visits.cause()
    rude = visits.begin().established().exchange()
    other = visits.begin()
    leave_rudely(rude)
    assert other.established().exchange().close() is None
    assert visits.cause() is None


def test_an_abort_is_clean(visits: Visits) -> None:
    """Given up in the middle of an answer: the server hears close_notify, and keeps the session."""
    visit = visits.begin().established().exchange()
    visit.server.send(b"x" * 10_000)
    visit.client.abort()
    visits.world.wait(lambda: visit.far.eof)
    assert not visit.server.truncated and visit.far.lost is None
    visit.server.close()
    visits.world.wait(lambda: visit.client.sock.fileno() < 0)
    assert visits.cause() is None


@VERSIONS
def test_an_abort_in_the_handshake_lets_it_end(world: World, pki: Pki, versions: TlsVersions) -> None:
    """A server that loses a connection in its handshake may throw away the session that was to be resumed."""
    visits = Visits(world, bind_context(pki, "a.pem"), versions=versions)
    visit = visits.begin()
    visit.client.abort()
    world.wait(lambda: visit.far.eof)
    assert visit.far.completed and not visit.server.truncated and not visit.near.events
    visit.server.close()
    world.wait(lambda: visit.client.sock.fileno() < 0)
    assert visit.cause is Cause.FIRST_CONTACT
    if versions is ONLY_12:  # a ticket of TLS 1.3 comes behind the handshake, too late
        assert visits.cause() is None


def test_an_abort_in_the_handshake_does_not_wait_for_ever(visits: Visits) -> None:
    near, far = visits.world.pair()
    owner = Recorder()
    channel = Dialler(visits.context).open(visits.world.reactor, near, b"a.example", WHERE, owner)
    channel.begin()
    channel.abort()
    assert channel.deadline and channel.sock.fileno() >= 0
    channel.timed_out()
    assert channel.sock.fileno() < 0 and not owner.events
    far.close()


def test_an_abort_finishes_the_record_that_was_begun(visits: Visits) -> None:
    visit = visits.begin().established().exchange()
    visit.server.pause()
    while not visit.client.blocked:
        visit.client.send(b"u" * 100_000)
    visit.client.abort()
    assert len(visit.client._pending) <= 16384
    visit.server.resume()
    visits.world.wait(lambda: visit.far.eof)
    assert not visit.server.truncated


def test_an_abort_does_not_wait_for_ever(visits: Visits) -> None:
    visit = visits.begin().established().exchange()
    visit.server.pause()
    while not visit.client.blocked:
        visit.client.send(b"u" * 100_000)
    visit.client.abort()
    assert visit.client.deadline
    visit.client.timed_out()
    assert visit.client.sock.fileno() < 0


def test_what_a_server_sends_behind_an_abort_is_bounded(visits: Visits) -> None:
    visit = visits.begin().established().exchange()
    visit.client.abort()
    visit.server.send(b"x" * (4 << 20))
    visits.world.wait(lambda: visit.client.sock.fileno() < 0)


# --- TLS 1.3 tickets ---


def test_tickets_are_used_once_where_there_are_several(world: World, pki: Pki) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=ONLY_13)
    visits.cause()
    (record,) = visits.sessions._records.values()
    assert len(record.sessions) == 2  # OpenSSL's servers give two
    several = [visits.begin() for _ in range(3)]
    assert [session.uses for session in record.sessions] == [2]  # the last one stays, rather than a full handshake
    for visit in several:
        assert visit.established().exchange().close() is None
    assert [session.uses for session in record.sessions] == [0] * 3  # and each brought a new one


def test_kept_tickets_are_bounded_and_the_newest(world: World, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "TICKETS_MOST", 3)
    visits = Visits(world, bind_context(pki, "a.pem"), versions=ONLY_13)
    several = [visits.begin() for _ in range(4)]
    for visit in several:
        visit.established().exchange().client.close()
    (record,) = visits.sessions._records.values()
    times = [session.stored_at for session in record.sessions]
    assert len(times) == 3 and times == sorted(times)


def test_a_connection_that_reads_nothing_has_its_ticket(world: World, pki: Pki) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=ONLY_13)
    visit = visits.begin().established()  # the server has sent its tickets then
    assert visit.close() is Cause.FIRST_CONTACT
    assert visits.cause() is None


def test_long_sessions_are_not_kept(visits: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "SESSION_MOST", 100)
    visits.cause()
    assert visits.cause() is not None and visits.sessions.dropped


# --- shared by all processes ---


class Processes:
    """As many processes as there are names: each with the same server line, over one store."""

    def __init__(self, world: World, pki: Pki, directory: Path, **options: Any) -> None:
        self.stores: list[SharedSessions] = []
        self.world, self.directory, self.options = world, directory, options
        self.bind = bind_context(pki, "a.pem", "b.pem")

    def start(self, **options: Any) -> Visits:
        # LMDB opens a file once in a process: these share what they have open.
        if not self.stores:
            self.stores.append(SharedSessions(str(self.directory)))
        sessions = ServerSessions("app/s1")
        sessions.shared = self.stores[0]
        return Visits(self.world, self.bind, sessions, **self.options | options)


@pytest.fixture(params=[ONLY_12, ONLY_13], ids=["1.2", "1.3"])
def processes(world: World, pki: Pki, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    processes = Processes(world, pki, tmp_path, versions=request.param)
    yield processes
    for store in processes.stores:
        store.close()


def test_another_process_resumes(processes: Processes) -> None:
    first, second = processes.start(), processes.start()
    assert [first.cause(), second.cause(), first.cause(), second.cause()] == [Cause.FIRST_CONTACT, None, None, None]


def test_resumed_right_after_a_reload(processes: Processes) -> None:
    old = processes.start()
    names = [b"%d.wild.example" % number for number in range(10)]
    for name in names:
        old.cause(name)
    new = processes.start()
    assert [new.cause(name) for name in names] == [None] * 10
    assert new.cause(b"a.example") is Cause.OTHER_NAME


def test_a_reload_with_another_policy_offers_nothing(processes: Processes) -> None:
    processes.start().cause()
    assert processes.start(ciphers="ECDHE+AESGCM").cause() is Cause.OTHER_POLICY


def test_refused_sessions_are_nobodys(processes: Processes, pki: Pki) -> None:
    first, second = processes.start(), processes.start()
    first.cause()
    first.bind = second.bind = bind_context(pki, "a.pem")
    assert first.cause() is Cause.REFUSED
    assert second.cause() is None  # with the new one


def test_what_a_process_has_is_handed_over(processes: Processes) -> None:
    first = processes.start()
    first.cause()
    shared = first.sessions.shared
    assert shared is not None
    (record,) = first.sessions._records.values()
    shared.forget(record.digest)
    first.sessions.hand_over(processes.world.reactor.now)
    assert processes.start().cause() is None


class Given:
    """Counts what others are given."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, digest: bytes, now: float) -> None:
        return None

    def give(self, digest: bytes, stored_at: float, encoded: bytes, *, several: bool) -> None:
        self.count += 1

    def forget(self, digest: bytes) -> None:
        return None

    def last_key(self, server: bytes) -> None:
        return None

    def note_key(self, server: bytes, fields: tuple[bytes, ...]) -> None:
        return None


def test_the_only_ticket_of_a_connection_is_seldom_given_away(world: World, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes each ticket once, and gives one for it, would soon refuse what is left."""
    monkeypatch.setattr(session_store, "GIVE_EVERY", 0.0)
    visits = Visits(world, bind_context(pki, "a.pem", versions=ONLY_13))
    visits.sessions.shared = given = Given()
    assert visits.begin().exchange().close() is Cause.FIRST_CONTACT
    first = given.count  # OpenSSL's servers give two with a full handshake, and one with each that resumes
    assert first >= 1
    assert [visits.begin().exchange().close() for _ in range(4)] == [None] * 4
    assert given.count == first
    monkeypatch.setattr(session_store, "GIVE_SCARCE_EVERY", 0.0)
    assert visits.begin().exchange().close() is None
    assert given.count == first + 1


def test_only_we_can_read_the_file(processes: Processes) -> None:
    processes.start().cause()
    files = [path for path in processes.directory.iterdir() if path.name.startswith("sessions")]
    assert len(files) == 2 and all(path.stat().st_mode & 0o777 == 0o600 for path in files)


# --- counting ---


@given(st.lists(st.none() | st.sampled_from(Cause)))
def test_causes_sum_to_the_full_handshakes(causes: list[Cause | None]) -> None:
    traffic, checks = ServerCounters(), KeyExchanges()
    for cause in causes:
        count_traffic(traffic, cause)
        checks.count(cause)
    assert sum(traffic.tls_causes) == traffic.tls_full == checks.full
    assert traffic.tls_full + traffic.tls_reused == len(causes) == checks.full + checks.resumed


def test_every_cause_has_its_words() -> None:
    assert set(TEXTS) == set(Cause) and REMEDIES.keys() <= set(Cause)
    assert len({cause.word for cause in Cause}) == len(Cause)
