"""What becomes of handshakes that fail: counted, logged, in a flood folded into one line; and of clients that ask for nothing."""

from __future__ import annotations

import ipaddress
import pathlib
from typing import Any

import pytest

from headgate.base.connection_errors import ConnectionFailure
from headgate.base.handshake_causes import Cause
from headgate.observe.handshakes import FOLDING_PERIOD, LINES_MOST
from headgate.plan.facts import Stream
from headgate.proxy.handshakes import handshake_completed, handshake_failed, write_due
from headgate.tls.handshake_record import HandshakeRecord, Step
from headgate.tls.openssl import TlsError
from tests.proxy.playbook import Client, Playbook

CONFIG = """
frontend fe
    bind :80 name tls {options}
    {lines}
    http-request return status 200
"""
TCP = "mode tcp\n    tcp-request inspect-delay 5s\n    tcp-request content accept if { req.len gt 0 }"
RELAY = f"{TCP}\n    default_backend be"
SERVER = "backend be\n    mode tcp\n    server s 192.0.2.9:80\n"


class Scene:
    """A frontend and what its clients' handshakes come to."""

    def __init__(self, directory: pathlib.Path, lines: str = "", *, options: str = "", others: str = "") -> None:
        config = CONFIG.replace("{lines}", lines).replace("{options}", options) + others
        if lines in (TCP, RELAY):
            config = config.replace("http-request return status 200", "")
        self.book = Playbook(config, directory)
        self.side = self.book.frontends["fe"]
        self.lines = self.book.log.lines

    def record(self, **facts: Any) -> HandshakeRecord:
        record = HandshakeRecord(outgoing=False)
        record.proxy, record.line_name, record.client = "fe", "tls", b"192.0.2.7"
        for name, value in facts.items():
            setattr(record, name, value)
        return record

    def fail(self, **facts: Any) -> None:
        session: Any = self.book.client().channel.owner
        record = self.record(**facts)
        handshake_failed(self.side, session, record, ConnectionFailure.SSL_HANDSHAKE, None)

    def connected(self) -> tuple[Client, HandshakeRecord]:
        """A client whose handshake is through."""
        client = self.book.client()
        record = self.record(completed=True, step=Step.ESTABLISHED, version="TLSv1.3")
        handshake_completed(self.side, record)
        session: Any = client.channel.owner
        session.handshake = record
        return client, record

    def total(self, cause: Cause) -> int:
        tally = self.book.shared.handshakes.tallies.get(("fe", "tls", cause))
        return tally.total if tally is not None else 0


def test_a_failure_is_counted_and_logged(tmp_path: pathlib.Path) -> None:
    scene = Scene(tmp_path)
    scene.fail(error_number=118, step=Step.NEGOTIATION)
    assert scene.side.counters.tls_failed == scene.book.shared.counters.tls_failures == 1
    (line,) = scene.lines
    assert line.startswith("192.0.2.7:4711 [") and "fe/0: SSL handshake failure (no-common-signature-algorithm: " in line


def test_a_flood_is_one_line_with_a_count(tmp_path: pathlib.Path) -> None:
    scene = Scene(tmp_path)
    for _ in range(LINES_MOST + 30):
        scene.fail(first_bytes=b"EHLO x\r\n", closed=True)
    scene.fail(error_number=118)
    assert len(scene.lines) == LINES_MOST + 1, "another cause has lines of its own"
    scene.book.clock.advance(FOLDING_PERIOD + 1)
    assert scene.lines[-1].startswith("fe/tls: SSL handshake failure: 30 more in the last 10 s from 1 address (not-tls: ")
    assert scene.lines[-1].count("such failures") == 1 and "50 such failures from 1 address" in scene.lines[-1]
    scene.fail(first_bytes=b"EHLO x\r\n", closed=True)
    assert len(scene.lines) == LINES_MOST + 3
    assert scene.side.counters.tls_failed == LINES_MOST + 32


def test_what_is_folded_is_said_when_the_process_ends(tmp_path: pathlib.Path) -> None:
    scene = Scene(tmp_path)
    for _ in range(LINES_MOST + 30):
        scene.fail(first_bytes=b"EHLO x\r\n", closed=True)
    scene.book.clock.advance(2.5)
    write_due(scene.book.shared.handshakes)
    assert scene.lines[-1].startswith("fe/tls: SSL handshake failure: 30 more in the last 3 s from 1 address (not-tls: ")
    write_due(scene.book.shared.handshakes)
    scene.book.clock.advance(FOLDING_PERIOD)
    assert len(scene.lines) == LINES_MOST + 1, "it is said once"


def test_a_flood_of_wrong_headers_is_called_that(tmp_path: pathlib.Path) -> None:
    scene = Scene(tmp_path)
    bad = ConnectionFailure.PRX_BAD_HDR
    for number in range(LINES_MOST + 300):
        session: Any = scene.book.client().channel.owner
        record = scene.record(step=Step.PROXY_HEADER, header="bad address", client=b"client%d" % number)
        record.first_bytes = b"PROXY TCP4 x"
        handshake_failed(scene.side, session, record, bad, None)
    scene.book.clock.advance(FOLDING_PERIOD + 1)
    said = f"fe/tls: {bad.message}: 300 more in the last 10 s from more than 128 addresses (proxy-header-invalid: "
    assert scene.lines[-1].startswith(said)


def test_probes_are_no_failures(tmp_path: pathlib.Path) -> None:
    for lines, logged in (("", 1), ("option dontlognull", 0)):
        scene = Scene(tmp_path, lines)
        scene.fail(closed=True)
        scene.fail(errno=32, step=Step.ESTABLISHED)
        assert len(scene.lines) == logged, "only the null connection, and only without dontlognull"
        assert scene.side.counters.tls_failed == scene.book.shared.counters.tls_failures == 0
        assert scene.total(Cause.CLOSED_BEFORE_ANY_BYTE) == scene.total(Cause.CLOSED_WITHOUT_REQUEST) == 1


@pytest.mark.parametrize("lines", ["", TCP], ids=["http", "tcp"])
def test_a_handshake_without_a_request_is_a_probe(tmp_path: pathlib.Path, lines: str) -> None:
    scene = Scene(tmp_path, lines)
    for leave in (Client.shuts, Client.breaks):
        client, record = scene.connected()
        leave(client)
        assert record.cause is Cause.CLOSED_WITHOUT_REQUEST
    assert scene.total(Cause.CLOSED_WITHOUT_REQUEST) == 2 and scene.side.counters.tls_failed == 0
    assert not [line for line in scene.lines if "SSL" in line]


@pytest.mark.parametrize("lines", ["", TCP], ids=["http", "tcp"])
def test_an_alert_before_any_request_is_a_failed_handshake(tmp_path: pathlib.Path, lines: str) -> None:
    scene = Scene(tmp_path, lines)
    client, record = scene.connected()
    record.late = TlsError("tlsv1 alert unknown ca", 1048, alert=48)
    client.breaks()
    assert record.cause is Cause.CLIENT_REJECTED_UNKNOWN_CA and scene.side.counters.tls_failed == 1
    assert "client-rejected-certificate-unknown-ca: " in scene.lines[0] and "BADREQ" not in "".join(scene.lines)
    log = scene.book.shared.handshakes
    assert list(log.failures) == [record] and not list(log.successes)


@pytest.mark.parametrize("lines", ["", RELAY], ids=["http", "tcp"])
@pytest.mark.parametrize("request_first", [False, True])
def test_a_refused_renegotiation_is_one_always(tmp_path: pathlib.Path, lines: str, request_first: bool) -> None:
    scene = Scene(tmp_path, lines, others=SERVER)
    client, record = scene.connected()
    record.version = "TLSv1.2"
    if request_first:
        client.sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        if lines:
            scene.book.server()
    record.late = TlsError("tls alert handshake failure", 1040, alert=40)
    session: Any = client.channel.owner
    client.breaks()
    assert record.cause is Cause.RENEGOTIATION_REFUSED and scene.side.counters.tls_failed == 1
    assert session.error_code == ConnectionFailure.SSL_RENEG.number == 29
    said = [line for line in scene.lines if "renegotiation" in line]
    assert len(said) == 1 and f"fe/0: {ConnectionFailure.SSL_RENEG.message} (renegotiation-refused: " in said[0]
    log = scene.book.shared.handshakes
    assert list(log.failures) == [record] and not list(log.successes)
    assert scene.total(Cause.RENEGOTIATION_REFUSED) == 1 and not scene.total(Cause.CLOSED_WITHOUT_REQUEST)


def test_who_asked_for_something_was_no_probe(tmp_path: pathlib.Path) -> None:
    scene = Scene(tmp_path)
    client, record = scene.connected()
    client.sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    record.late = TlsError("tls alert user cancelled", 1090, alert=90)
    client.breaks()
    assert record.cause is Cause.NONE and not scene.book.shared.handshakes.tallies


OTHER_TABLE = "backend other\n    stick-table type ip size 10 store conn_cnt\n"
TRACKING = "stick-table type ip size 10 store conn_cnt,sess_cnt,tls_fail_cnt"


@pytest.mark.parametrize(("rules", "counts"), [
    ("tcp-request session track-sc0 src", {"192.0.2.7": 2}),
    ("tcp-request session accept if { src 192.0.2.0/24 }\n    tcp-request session track-sc0 src", {}),
    ("tcp-request session track-sc0 dst\n    tcp-request session track-sc0 src", {"192.0.2.1": 2}),
    ("tcp-request session track-sc1 src if { src 198.51.100.1 }", {}),
    ("tcp-request session track-sc0 src table other", None),
])  # fmt: skip
def test_rules_for_sessions_say_where_failures_count(tmp_path: pathlib.Path, rules: str, counts: dict[str, int] | None) -> None:
    scene = Scene(tmp_path, f"{TRACKING}\n    {rules}", options="ssl crt site.pem", others=OTHER_TABLE)
    if counts is None:
        assert scene.side.plan.failure_tracking is None, "nothing would be counted"
        return
    session: Any = scene.book.client().channel.owner
    session.source, session.destination = b"192.0.2.7", b"192.0.2.1"
    for track in (True, True, False):
        record = scene.record(error_number=118)
        handshake_failed(scene.side, session, record, ConnectionFailure.SSL_HANDSHAKE, None, track=track)
        scene.side.session_over(session)
    table = scene.book.tables[0]
    columns = table.layout.columns
    found = {str(ipaddress.ip_address(key)): columns["tls_fail_cnt"].read(row, 0) for key, row in table.entries()}
    assert found == counts
    assert not any(columns[name].read(row, 0) for name in ("conn_cnt", "sess_cnt") for _, row in table.entries())


def test_entries_of_stick_tables_count_failures(tmp_path: pathlib.Path) -> None:
    table_line = "stick-table type ip size 10 store tls_fail_cnt,tls_fail_rate(10s)"
    scene = Scene(tmp_path, f"{table_line}\n    tcp-request session track-sc0 src")
    (table,) = scene.book.tables
    rules = scene.side.plan.tcp_request_session
    assert rules is not None
    session: Any = scene.book.client().channel.owner
    rules(Stream(session))
    for _ in range(3):
        handshake_failed(scene.side, session, scene.record(error_number=118), ConnectionFailure.SSL_HANDSHAKE, None)
    column = table.layout.columns["tls_fail_cnt"]
    assert [column.read(row, 0) for _, row in table.entries()] == [3]
