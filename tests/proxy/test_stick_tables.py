"""Tracking and stickiness as conversations."""

from __future__ import annotations

from pathlib import Path

from headgate.plan.table_layout import REFS
from headgate.proxy.port import Lost
from tests.proxy.playbook import Playbook

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def book(tmp_path: Path, frontend: str = "", backend: str = "") -> Playbook:
    return Playbook(
        "frontend fe\n bind :80\n stick-table type ip size 10 expire 10s store conn_cur,http_req_cnt,bytes_out_cnt\n"
        f"{frontend} default_backend be\nbackend be\n balance roundrobin\n retries 1\n option redispatch\n{backend}"
        " server s1 192.0.2.10:80\n server s2 192.0.2.11:80\n backend learned\n stick-table type ip size 10\n",
        tmp_path,
    )


def value(play: Playbook, name: str) -> int:
    table = play.tables[0]
    ((_, row),) = table.entries()
    number: int = row[table.layout.columns[name].slot]
    return number


def test_an_entry_is_held_as_long_as_the_stream_and_no_longer(tmp_path: Path) -> None:
    play = book(tmp_path, " http-request track-sc0 src\n")
    client = play.client()
    client.sends(GET)
    server = play.server()
    assert value(play, "conn_cur") == 1
    play.clock.advance(15)  # longer than the table's expire
    ((_, row),) = play.tables[0].entries()
    assert row[REFS] == 1
    server.sends(OK)
    assert (value(play, "conn_cur"), value(play, "http_req_cnt"), value(play, "bytes_out_cnt")) == (0, 1, len(OK))
    play.clock.advance(11)
    assert play.tables[0].used() == 0


def test_a_stream_that_the_client_leaves_lets_go(tmp_path: Path) -> None:
    play = book(tmp_path, " http-request track-sc0 src\n")
    client = play.client()
    client.sends(GET)
    play.server()
    client.breaks()
    assert value(play, "conn_cur") == 0


def test_what_learns_is_where_the_request_went_in_the_end(tmp_path: Path) -> None:
    play = book(tmp_path, backend=" stick on src table learned\n")
    client = play.client()
    client.sends(GET)
    first = play.connector.next()
    first.fail(Lost.REFUSED)
    play.clock.advance(1)
    second = play.connector.next()
    while second.server is first.server:
        second.fail(Lost.REFUSED)
        play.clock.advance(1)
        second = play.connector.next()
    channel = second.succeed()
    channel.owner.data_received(OK)
    ((_, row),) = play.tables[1].entries()
    columns = play.tables[1].layout.columns
    assert row[columns["server_key"].slot] == second.server.name.encode()
    assert row[columns["server_id"].slot] == second.server.id
    client.sends(GET)
    assert second.server.sessions == 1
