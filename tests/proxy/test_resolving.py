"""Streams whose rules wait for the address of a name (`do-resolve`): answers, silence, clients that leave or say more."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from headgate.plan.verdicts import Question
from headgate.proxy.services import AddressWaiter
from tests.proxy.playbook import Playbook

RESOLVERS = """
resolvers dns
    nameserver one 192.0.2.53:53
    timeout retry 2s
    resolve_retries 3
"""
GET = b"GET / HTTP/1.1\r\nhost: app.example\r\n\r\n"


class Lookups:
    """Name servers that the test speaks for."""

    def __init__(self, book: Playbook) -> None:
        self.book = book
        self.asked: dict[Question, AddressWaiter] = {}
        self.remembered: dict[str, object] = {}

    def known(self, question: Question) -> object | None:
        return self.remembered.get(question.name)

    def ask(self, question: Question, waiter: AddressWaiter) -> None:
        self.asked[question] = waiter

    def forget(self, question: Question) -> None:
        del self.asked[question]

    @property
    def names(self) -> list[tuple[str, str, int]]:
        return [(one.section, one.name, one.prefer) for one in self.asked]

    def answers(self, address: str | None) -> None:
        """The oldest question is answered."""
        question, waiter = next(iter(self.asked.items()))
        del self.asked[question]
        waiter.resolved(question, None if address is None else ipaddress.ip_address(address))
        self.book.clock.settle()


def http(tmp_path: Path, rules: str, more: str = "") -> tuple[Playbook, Lookups]:
    front = f"frontend fe\n    bind :80\n{rules}\n    default_backend be\n"
    text = RESOLVERS + front + f"backend be\n{more}\n    server s 192.0.2.10:80\n"
    book = Playbook(text, tmp_path)
    lookups = book.shared.lookups = Lookups(book)
    return book, lookups


SHOW = '    http-request return status 200 hdr x-ip "[%[var(txn.ip)]]"\n'
ASK = "    http-request do-resolve(txn.ip,dns,ipv4) req.hdr(host)\n"


def test_a_request_waits_for_the_answer(tmp_path: Path) -> None:
    book, lookups = http(tmp_path, ASK + SHOW)
    client = book.client()
    client.sends(GET)
    assert lookups.names == [("dns", "app.example", 4)]
    assert client.got() == b""
    lookups.answers("192.0.2.99")
    assert b"x-ip: [192.0.2.99]" in client.got()
    client.sends(GET)  # the connection goes on
    lookups.answers("2001:db8::9")
    assert b"x-ip: [2001:db8::9]" in client.got()


@pytest.mark.parametrize("late", [False, True])
def test_without_an_answer_the_variable_stays_as_it_was(tmp_path: Path, late: bool) -> None:
    """Name servers say no, or nothing for `timeout retry` times `resolve_retries`."""
    before = "    http-request set-var(txn.ip) str(before) if { path /before }\n"
    for path, seen in (("/", b"[]"), ("/before", b"[before]")):
        book, lookups = http(tmp_path, before + ASK + SHOW)
        client = book.client()
        client.sends(GET.replace(b" / ", f" {path} ".encode()))
        if late:
            book.clock.advance(5.9)
            assert client.got() == b""
            book.clock.advance(0.2)
            assert not lookups.asked
        else:
            lookups.answers(None)
        assert b"x-ip: " + seen in client.got()


def test_an_answer_that_comes_too_late_is_nobodys(tmp_path: Path) -> None:
    book, lookups = http(tmp_path, ASK + ASK.replace("txn.ip", "txn.two") + SHOW)
    client = book.client()
    client.sends(GET)
    ((question, waiter),) = lookups.asked.items()
    book.clock.advance(6.1)  # the second rule waits by now
    waiter.resolved(question, ipaddress.ip_address("192.0.2.66"))
    assert client.got() == b""
    lookups.answers("192.0.2.99")
    assert b"x-ip: []" in client.got()


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        (b"192.0.2.7", b"[192.0.2.7]"), (b"2001:db8::7", b"[2001:db8::7]"), (b"[2001:db8::7]", b"[2001:db8::7]"), (b"", b"[]"),
        (b"a b", b"[]"), (b"a..b", b"[]"), (b"app.example:80", b"[]"), (b"a" * 64 + b".example", b"[]"),
        (b"\xc3\xa4.example", b"[]"),
        (b".".join([b"a" * 60] * 5), b"[]"), (b".", b"[]"), (b"app\\.example", b"[]"),
    ],
)
def test_what_needs_no_name_server(tmp_path: Path, host: bytes, seen: bytes) -> None:
    book, lookups = http(tmp_path, ASK.replace("host", "x-name") + SHOW)
    client = book.client()
    client.sends(GET.replace(b"\r\n\r\n", b"\r\nx-name: " + host + b"\r\n\r\n"))
    assert not lookups.asked
    assert b"x-ip: " + seen in client.got()


def test_names_are_asked_for_in_one_form(tmp_path: Path) -> None:
    book, lookups = http(tmp_path, "    http-request do-resolve(txn.ip,dns) req.hdr(host)\n" + SHOW)
    book.client().sends(GET.replace(b"app.example", b"APP_1.Example."))
    assert lookups.names == [("dns", "app_1.example", 6)]


def test_what_is_known_is_not_waited_for(tmp_path: Path) -> None:
    book, lookups = http(tmp_path, ASK + SHOW)
    lookups.remembered["app.example"] = ipaddress.ip_address("192.0.2.99")
    client = book.client()
    client.sends(GET)
    assert b"x-ip: [192.0.2.99]" in client.got() and not lookups.asked


def test_rules_behind_can_wait_too_and_the_last_one_goes_on_to_a_server(tmp_path: Path) -> None:
    rules = "    tcp-request content do-resolve(txn.a,dns) req.hdr(host)\n    http-request do-resolve(txn.b,dns) str(b.example)\n"
    more = "    tcp-request content do-resolve(txn.c,dns) str(c.example)\n    http-request do-resolve(txn.d,dns) str(d.example)\n"
    more += '    http-request set-header x-all "%[var(txn.a)] %[var(txn.b)] %[var(txn.c)] %[var(txn.d)]"\n'
    book, lookups = http(tmp_path, rules, more)
    client = book.client()
    client.sends(GET)
    for number, name in enumerate(("app.example", "b.example", "c.example", "d.example"), 1):
        assert lookups.names == [("dns", name, 6)]
        lookups.answers(f"192.0.2.{number}")
    server = book.server()
    assert b"x-all: 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4\r\n" in server.got()
    server.sends(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.got().startswith(b"HTTP/1.1 204")


def test_rules_in_front_are_not_run_again(tmp_path: Path) -> None:
    count = "    http-request add-header x-count 1\n"
    book, lookups = http(tmp_path, count + ASK + "    http-request deny if { var(txn.ip) -m ip 192.0.2.0/24 }\n")
    client, other = book.client(), book.client()
    client.sends(GET)
    lookups.answers("198.51.100.1")
    assert book.server().got().count(b"x-count") == 1
    other.sends(GET)
    lookups.answers("192.0.2.1")
    assert other.got().startswith(b"HTTP/1.1 403")


def test_a_client_that_leaves(tmp_path: Path) -> None:
    book, lookups = http(tmp_path, ASK + SHOW)
    client = book.client()
    client.sends(GET)
    client.breaks()
    assert not lookups.asked
    assert " CR-- " in book.log.lines[0]
    assert not book.shared.live and book.frontends["fe"].sessions == 0


def test_a_client_that_only_shuts_its_half_is_answered(tmp_path: Path) -> None:
    book, lookups = http(tmp_path, ASK + SHOW)
    client = book.client()
    client.sends(GET)
    client.shuts()
    lookups.answers("192.0.2.99")
    assert b"x-ip: [192.0.2.99]" in client.got() and client.channel.fate != "open"


def test_the_body_and_the_next_request_wait_as_well(tmp_path: Path) -> None:
    book, lookups = http(tmp_path, ASK)
    client = book.client()
    client.sends(b"POST / HTTP/1.1\r\nhost: app.example\r\ncontent-length: 6\r\n\r\nabc")
    assert not client.channel.reading
    lookups.answers("192.0.2.99")
    server = book.server()
    client.sends(b"def")
    assert server.got().endswith(b"\r\n\r\nabcdef")


def test_an_administrator_ends_it(tmp_path: Path) -> None:
    from headgate.base.termination import Outcome

    book, lookups = http(tmp_path, ASK + SHOW)
    client = book.client()
    client.sends(GET)
    client.channel.blocked = True  # the error page is not taken at once
    (session,) = book.shared.live
    session.end_stream(Outcome.KILLED_BY_ADMIN)
    assert not lookups.asked


TCP = RESOLVERS + """
frontend fe
    mode tcp
    bind :80
    tcp-request inspect-delay 1s
    tcp-request content do-resolve(txn.ip,dns) str(app.example)
    tcp-request content reject if { var(txn.ip) -m ip 192.0.2.66 }
    tcp-request content accept if { req.len gt 5 }
    tcp-request content reject
    default_backend be
backend be
    mode tcp
    server s 192.0.2.10:80
"""


def relay(tmp_path: Path) -> tuple[Playbook, Lookups]:
    book = Playbook(TCP, tmp_path)
    lookups = book.shared.lookups = Lookups(book)
    return book, lookups


def test_a_relay_waits(tmp_path: Path) -> None:
    book, lookups = relay(tmp_path)
    client = book.client()
    assert lookups.names == [("dns", "app.example", 6)]
    client.sends(b"abc")
    assert not book.connector.attempts and len(lookups.asked) == 1
    lookups.answers("192.0.2.1")
    assert not book.connector.attempts and not lookups.asked  # the rules behind it want more bytes, and nobody asks again
    client.sends(b"defg")
    assert book.server().got() == b"abcdefg"


def test_a_relay_is_refused_by_what_was_found(tmp_path: Path) -> None:
    book, lookups = relay(tmp_path)
    client = book.client()
    lookups.answers("192.0.2.66")
    assert client.channel.fate != "open"


def test_a_relay_goes_on_without_an_answer(tmp_path: Path) -> None:
    """inspect-delay is over by then: what misses bytes is decided with what is there."""
    book, lookups = relay(tmp_path)
    client = book.client()
    client.sends(b"abcdefg")
    book.clock.advance(5.9)
    assert not book.connector.attempts
    book.clock.advance(0.2)
    assert book.server().got() == b"abcdefg" and not lookups.asked


@pytest.mark.parametrize("how", ["breaks", "shuts"])
def test_the_client_of_a_relay_leaves(tmp_path: Path, how: str) -> None:
    book, lookups = relay(tmp_path)
    client = book.client()
    getattr(client, how)()
    assert not lookups.asked and not book.shared.live
