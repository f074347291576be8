"""The first session with a server: who goes ahead, who had better wait, and when the wait is over. Real handshakes, no clock."""

from __future__ import annotations

from headgate.observe.full_handshakes import Cause
from headgate.runtime.tls_openers import Dialler
from headgate.tls.first_contact import PATIENCE
from headgate.tls.unbound import function
from tests.tls.test_session_store import ONLY_12, ONLY_13, VERSIONS, WHERE, Visits, leave_rudely
from tests.tls.tls_peers import Pki, Recorder, World, bind_context


class Follower:
    """A connection that may wait.

    Attributes:
        told: how often it was told to go on.
        waits: it was to wait when it began.
    """

    def __init__(self, visits: Visits, name: bytes = b"a.example") -> None:
        near, self.far = visits.world.pair()
        self.told = 0
        owner = Recorder()
        channel = Dialler(visits.context, visits.counters).open(
            visits.world.reactor, near, name, WHERE, owner, self.go_on
        )
        self.waits = channel is None
        if channel is not None:
            channel.abort()
        near.close()

    def go_on(self) -> None:
        self.told += 1


@VERSIONS
def test_others_wait_for_the_session_of_the_first(world: World, pki: Pki, versions: object) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=versions)
    first = visits.begin()
    followers = [Follower(visits) for _ in range(3)]
    assert all(one.waits and not one.told for one in followers)
    first.established().exchange()
    world.wait(lambda: all(one.told for one in followers))
    first.close()
    assert [one.told for one in followers] == [1, 1, 1]
    assert not Follower(visits).waits and visits.cause() is None


def test_no_wait_for_a_session_of_another_name(world: World, pki: Pki) -> None:
    visits = Visits(world, bind_context(pki, "a.pem", "b.pem"))
    visits.begin()
    assert not Follower(visits, b"b.example").waits and Follower(visits).waits


def test_the_first_gives_up(world: World, pki: Pki) -> None:
    """Its owner has left, and the server does not answer in time."""
    visits = Visits(world, bind_context(pki, "a.pem"))
    first = visits.begin()
    follower = Follower(visits)
    first.client.abort()
    assert not follower.told
    first.client.timed_out()
    world.wait(lambda: follower.told)


def test_the_first_fails(world: World, pki: Pki) -> None:
    visits = Visits(world, bind_context(pki, "a.pem", versions=ONLY_12), versions=ONLY_13)
    first = visits.begin()
    follower = Follower(visits)
    world.wait(lambda: first.near.lost)
    world.wait(lambda: follower.told)


def test_a_server_that_gives_none(world: World, pki: Pki) -> None:
    """In TLS 1.3 it is known with the first data, and remembered with the end: nobody waits any more."""
    visits = Visits(world, bind_context(pki, "a.pem"), versions=ONLY_13)
    function("SSL_CTX_set_num_tickets")(visits.bind._session._context, 0)
    first = visits.begin()
    follower = Follower(visits)
    first.established()
    assert not follower.told
    first.exchange()
    world.wait(lambda: follower.told)
    assert first.close() is Cause.FIRST_CONTACT
    visits.begin()
    assert not Follower(visits).waits


def test_the_wait_has_an_end(world: World, pki: Pki) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"))
    first = visits.begin()
    world.reactor.unwatch(first.server.fd)  # it says nothing
    follower = Follower(visits)
    begun = world.reactor.now
    world.wait(lambda: follower.told)
    assert world.reactor.now - begun >= PATIENCE * 0.9
    assert not Follower(visits).waits  # it goes ahead in its turn


def test_one_that_breaks_has_brought_its_session(world: World, pki: Pki) -> None:
    visits = Visits(world, bind_context(pki, "a.pem"), versions=ONLY_13)
    first = visits.begin().established()
    follower = Follower(visits)
    leave_rudely(first.exchange())
    world.wait(lambda: follower.told)
