"""Cookie persistence: what the client's cookie leads to, and what the response carries, in every mode."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.balance.backend import BackendState
from headgate.balance.persistence import decode_date, dynamic_value, encode_date
from headgate.balance.server import ServerState
from headgate.config.model import CookiePersistence
from headgate.plan.facts import Stream
from tests.balance.balance_fixtures import NOW, answered, backend, stream

SERVERS: list[dict[str, Any]] = [{"cookie": "a"}, {"cookie": "b"}, {}]


def made(mode: str, **options: Any) -> BackendState:
    return backend(SERVERS, cookie=CookiePersistence("SRV", mode, **options))


def exchange(state: BackendState, cookies: bytes | None, *lines: bytes, method: bytes = b"GET", to: int | None = None) -> Stream:
    """Assign and answer; `to` overrides the server, as a redispatch would."""
    current = stream(cookies, method)
    server = state.assign(current, NOW)
    assert isinstance(server, ServerState) and state.persistence is not None
    if to is not None:
        current.server = state.servers[to]
    state.persistence.write_response(answered(current, *lines), NOW)
    return current


def set_cookies(current: Stream) -> list[bytes]:
    assert current.response is not None
    return current.response.values(b"set-cookie")


def cookies_sent(current: Stream) -> list[bytes]:
    assert current.request is not None
    return current.request.values(b"cookie")


@pytest.mark.parametrize("cookies,state", [
    (None, b"N"), (b"x=1", b"N"), (b"SRVX=a", b"N"), (b"xSRV=a", b"N"), (b"x=SRV=a", b"N"), (b"SRV", b"N"), (b"SRV=a", b"V"),
    (b"x=1; SRV=a; y=2", b"V"), (b"SRV=zzz", b"I"), (b"SRV=", b"I"), (b"srv=a", b"N"), (b"SRV=b", b"D"),
])
def test_states_of_the_request_cookie(cookies: bytes | None, state: bytes) -> None:
    backend_state = made("insert")
    backend_state.set_operational(backend_state.servers[1], False, NOW)
    current = stream(cookies)
    backend_state.assign(current, NOW)
    assert current.cookie_states == state + b"N"


def test_insert() -> None:
    state = made("insert")
    current = exchange(state, None, to=0)
    assert set_cookies(current) == [b"SRV=a; path=/"] and current.cookie_states == b"NI"
    current = exchange(state, b"x=1; SRV=a")
    assert set_cookies(current) == [] and current.cookie_states == b"VN"
    assert cookies_sent(current) == [b"x=1; SRV=a"], "without indirect the server sees it"
    assert current.response is not None and not current.response.edited
    assert set_cookies(exchange(state, b"SRV=a", to=1)) == [b"SRV=b; path=/"]
    current = exchange(state, None, to=2)
    assert set_cookies(current) == [] and current.cookie_states == b"NN", "a server without a cookie sets none"


def test_insert_replaces_the_servers_own_unless_preserve() -> None:
    current = exchange(made("insert"), None, b"Set-Cookie: SRV=mine; path=/app", b"Set-Cookie: other=1", to=0)
    assert set_cookies(current) == [b"other=1", b"SRV=a; path=/"] and current.cookie_states == b"NI"
    current = exchange(made("insert"), b"SRV=a", b"Set-Cookie: SRV=mine")
    assert set_cookies(current) == [] and current.cookie_states == b"VD"
    current = exchange(made("insert", preserve=True), b"SRV=a", b"Set-Cookie: SRV=; path=/")
    assert set_cookies(current) == [b"SRV=; path=/"] and current.cookie_states == b"VP"


@pytest.mark.parametrize("before,after", [
    (b"SRV=a", []), (b"x=1; SRV=a; y=2", [b"x=1; y=2"]), (b"SRV=a; y=2", [b"y=2"]), (b"x=1; SRV=a", [b"x=1"]), (b"x=1", [b"x=1"]),
    (b"SRV=zzz; x=1", [b"x=1"]), (b"SRV=a; SRV=b", []),
])
def test_indirect_hides_the_cookie_from_the_server(before: bytes, after: list[bytes]) -> None:
    assert cookies_sent(exchange(made("insert", indirect=True), before)) == after


def test_several_cookie_fields() -> None:
    state = made("insert", indirect=True)
    current = stream(b"x=1\r\nCookie: SRV=b\r\nCookie: y=2")
    assert state.assign(current, NOW) is state.servers[1]
    assert cookies_sent(current) == [b"x=1", b"y=2"]


def test_a_retry_does_not_read_the_cookie_again() -> None:
    state = made("insert", indirect=True)
    current = stream(b"SRV=b")
    for _ in range(3):
        assert state.assign(current, NOW) is state.servers[1]
    assert current.cookie_states == b"VN"


def test_attributes_nocache_postonly() -> None:
    domains = (".a.example", "b.example")
    state = made("insert", httponly=True, secure=True, domains=domains, attributes=("SameSite=None",), nocache=True)
    current = exchange(state, None, to=0)
    assert set_cookies(current) == [
        b"SRV=a; path=/; domain=.a.example; domain=b.example; HttpOnly; Secure; SameSite=None"
    ]
    assert current.response is not None and current.response.values(b"cache-control") == [b"private"]
    unchanged = exchange(state, b"SRV=a")
    assert unchanged.response is not None and unchanged.response.values(b"cache-control") == []
    state = made("insert", postonly=True)
    assert set_cookies(exchange(state, None, to=0)) == []
    assert set_cookies(exchange(state, None, method=b"POST", to=0)) == [b"SRV=a; path=/"]


def test_rewrite() -> None:
    state = made("rewrite")
    current = exchange(state, b"SRV=b", b"Set-Cookie: SRV=session; path=/; Secure", b"Set-Cookie: x=1")
    assert set_cookies(current) == [b"SRV=b; path=/; Secure", b"x=1"] and current.cookie_states == b"VR"
    current = exchange(state, None)
    assert set_cookies(current) == [] and current.cookie_states == b"NN"
    current = exchange(state, None, b"Set-Cookie: SRV=keep", to=2)
    assert set_cookies(current) == [b"SRV=keep"] and current.cookie_states == b"NP"


def test_prefix() -> None:
    state = made("prefix")
    current = exchange(state, b"x=1; SRV=b~session", b"Set-Cookie: SRV=new; HttpOnly")
    assert current.server is state.servers[1] and cookies_sent(current) == [b"x=1; SRV=session"]
    assert set_cookies(current) == [b"SRV=b~new; HttpOnly"] and current.cookie_states == b"VR"
    current = exchange(state, b"SRV=session")
    assert cookies_sent(current) == [b"SRV=session"] and current.cookie_states == b"IN"
    assert cookies_sent(exchange(state, b"SRV=gone~a~b")) == [b"SRV=a~b"], "an unknown prefix is stripped all the same"
    removed = exchange(made("prefix", indirect=True), b"SRV=b~x", b"Set-Cookie: SRV=new")
    assert set_cookies(removed) == [] and removed.cookie_states == b"VD"


def dated(value: bytes, last: float | None = None, first: float | None = None) -> bytes:
    return b"SRV=" + b"|".join([value, *(encode_date(date) for date in (last, first) if date is not None)])


def test_maxidle() -> None:
    state = made("insert", maxidle=100.0)
    assert set_cookies(exchange(state, None, to=0)) == [b"SRV=a|" + encode_date(NOW) + b"; path=/"]
    for cookie, states in (
        (dated(b"a", NOW), b"VN"), (dated(b"a", NOW - 60), b"VU"), (dated(b"a", NOW - 200), b"EI"), (dated(b"a"), b"VU"),
        (dated(b"a", NOW + 3600), b"VU"), (dated(b"a", NOW + 90000), b"EI"), (b"SRV=a|?????", b"VU"),
    ):
        current = exchange(state, cookie, to=0)
        assert current.cookie_states == states, cookie
        assert bool(set_cookies(current)) is (states != b"VN")


def test_maxlife_keeps_the_first_date() -> None:
    state = made("insert", maxidle=1000.0, maxlife=5000.0)
    current = exchange(state, dated(b"a", NOW - 60, NOW - 4000))
    assert set_cookies(current) == [b"SRV=a|" + encode_date(NOW) + b"|" + encode_date(NOW - 4000) + b"; path=/"]
    assert exchange(state, dated(b"a", NOW, NOW - 6000)).cookie_states == b"OI"
    assert exchange(state, dated(b"a", NOW - 2000, NOW - 6000)).cookie_states == b"EI"
    alone = made("insert", maxlife=5000.0)
    assert exchange(alone, dated(b"a", NOW - 4000, NOW - 4000)).cookie_states == b"VN"
    assert exchange(alone, b"SRV=a").cookie_states == b"VU"


@given(st.integers(0, (1 << 32) - 1))
def test_dates(now: int) -> None:
    assert len(encode_date(now)) == 5 and decode_date(encode_date(now)) == now // 4 * 4


def test_ignored_persistence_sets_nothing() -> None:
    state = backend(SERVERS, cookie=CookiePersistence("SRV", "insert"), ignore_persist=lambda each: True)
    current = exchange(state, b"SRV=b", to=0)
    assert set_cookies(current) == [] and current.cookie_states == b"IN"


def test_shared_values_lead_to_the_first_usable_server() -> None:
    state = backend([{"cookie": "x"}, {"cookie": "x"}], cookie=CookiePersistence("SRV", "insert"))
    assert exchange(state, b"SRV=x").server is state.servers[0]
    state.set_operational(state.servers[0], False, NOW)
    current = exchange(state, b"SRV=x")
    assert current.server is state.servers[1] and current.cookie_states == b"VN"


def test_dynamic_cookies() -> None:
    cookie = CookiePersistence("SRV", "insert", dynamic=True)
    state = backend([{}, {"cookie": "fixed"}], cookie=cookie, dynamic_cookie_key="key")
    first = state.servers[0]
    assert first.cookie == dynamic_value("192.0.2.1", 80, "key") and state.servers[1].cookie == b"fixed"
    assert first.cookie != dynamic_value("192.0.2.1", 81, "key") != dynamic_value("192.0.2.1", 81, "other")
    assert dynamic_value("name.example", 80, "key") is None
    assert dynamic_value("127.0.0.1", 18082, "K") == b"0751a4140bbe2e91"  # what HAProxy makes of the same
    before = first.cookie
    assert state.persistence is not None and before is not None
    state.persistence.address_changed(first, "192.0.2.9", 80)
    assert first.cookie == dynamic_value("192.0.2.9", 80, "key") != before
    assert exchange(state, b"SRV=" + before).cookie_states[:1] == b"I"


def test_answers_of_our_own_are_left_alone() -> None:
    state = made("insert")
    current = answered(stream())
    assert state.persistence is not None
    state.persistence.write_response(current, NOW)
    assert set_cookies(current) == [] and current.cookie_states == b"--"
