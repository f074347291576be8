"""What is kept of handshakes has an end: rings, tallies of an hour, log lines."""

from __future__ import annotations

from headgate.base.handshake_causes import Cause, similar_failures, without_similar
from headgate.observe import handshakes
from headgate.observe.handshakes import ADDRESSES_KEPT, FOLDING_PERIOD, LINES_MOST, Folding, HandshakeLog, Ring, Tally


class Record:
    """A record, as far as it matters here."""

    def __init__(self, cause: Cause = Cause.NOT_TLS, client: bytes = b"192.0.2.1", size: int = 100) -> None:
        self.cause, self.client, self.size = cause, client, size
        self.proxy, self.line_name = "web", "tls"
        self.number = self.similar = self.sources = 0


def test_a_ring_is_bounded_by_number_and_by_bytes() -> None:
    ring = Ring(3)
    kept = [Record() for _ in range(5)]
    for one in kept:
        ring.add(one)
    assert list(ring) == kept[2:] and len(ring) == 3
    ring.discard(kept[3])
    ring.discard(kept[0])
    assert list(ring) == [kept[2], kept[4]]
    large = Record(size=handshakes.BYTES_KEPT)
    ring.add(large)
    assert list(ring) == [large]


def test_an_hour_is_counted_by_minutes() -> None:
    tally = Tally()
    tally.add(b"a", 60.0)
    tally.add(b"b", 119.0)
    tally.add(b"a", 3000.0)
    assert tally.hour(3000.0) == (3, (b"b", b"a"))
    assert tally.hour(60.0 * 61) == (1, (b"a",)) and tally.total == 3
    assert tally.hour(100_000.0) == (0, ())
    for number in range(1000):
        tally.add(b"%d" % number, 100_000.0)
    count, addresses = tally.hour(100_000.0)
    assert count == 1000 and len(addresses) == ADDRESSES_KEPT and addresses[-1] == b"999"


def test_more_addresses_than_are_kept_are_not_called_that_many() -> None:
    tally = Tally()
    for number in range(ADDRESSES_KEPT):
        tally.add(b"%d" % number, 6000.0)
    assert tally.similar(6000.0) == (ADDRESSES_KEPT, ADDRESSES_KEPT) and not tally.overflows(6000.0)
    tally.add(b"other", 6060.0)
    assert tally.similar(6060.0) == (ADDRESSES_KEPT + 1, ADDRESSES_KEPT + 1)
    assert similar_failures(*tally.similar(6060.0)) == "129 such failures from more than 128 addresses in the last hour."
    assert tally.similar(6000.0 + 3600) == (1, 1), "those of the other minute are too long ago"
    folding = Folding()
    for number in range(LINES_MOST + 3 * ADDRESSES_KEPT):
        folding.admits(b"%d" % number, 100.0)
    assert folding.take(100.0) == (3 * ADDRESSES_KEPT, ADDRESSES_KEPT + 1)
    assert without_similar("Do this. 300 such failures from more than 128 addresses in the last hour.") == "Do this."


def test_time_that_goes_back_breaks_nothing() -> None:
    tally = Tally()
    tally.add(b"a", 7200.0)
    tally.add(b"a", 60.0)
    assert tally.hour(7200.0)[0] == 2


def test_a_flood_is_folded() -> None:
    folding = Folding()
    assert [folding.admits(b"a", 100.0) for _ in range(LINES_MOST + 2)] == [True] * LINES_MOST + [False] * 2
    assert not folding.admits(b"b", 100.0 + FOLDING_PERIOD), "what was folded is said first"
    assert folding.take(111.0) == (3, 2)
    assert folding.admits(b"a", 111.0) and folding.folded == 0


def test_few_failures_are_never_folded() -> None:
    folding = Folding()
    assert all(folding.admits(b"a", float(second)) for second in range(0, 1000, 2))


def test_failures_know_how_many_there_were_like_them_and_probes_do_not() -> None:
    log = HandshakeLog()
    for client in (b"a", b"b", b"a"):
        last = Record(client=client)
        log.failed(last, 1000.0)
    assert (last.similar, last.sources, last.number) == (3, 2, 3)
    other = Record(Cause.PLAIN_HTTP)
    log.failed(other, 1000.0)
    assert other.similar == 1
    probe = Record(Cause.CLOSED_BEFORE_ANY_BYTE)
    log.failed(probe, 1000.0)
    assert probe.similar == 0 and len(log.failures) == 5
    log.succeeded(Record(Cause.NONE))
    assert log.number == 6 and len(log.successes) == 1
    assert {(line, cause): tally.total for (_, line, cause), tally in log.tallies.items()} == {
        ("tls", Cause.NOT_TLS): 3, ("tls", Cause.PLAIN_HTTP): 1, ("tls", Cause.CLOSED_BEFORE_ANY_BYTE): 1,
    }  # fmt: skip
    assert log.folding(probe) is not log.folding(other)
    log.clear()
    assert not log.tallies
