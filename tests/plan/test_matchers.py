"""Match methods against the manual's tables (7.1.2 to 7.1.6)."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError
from headgate.plan.matchers import METHODS, Matcher, Networks, Text, match_integers, parse_network


def matcher(method: str, *patterns: str, ignore_case: bool = False) -> Matcher:
    make = METHODS[method].make
    assert make is not None
    return make([Text(pattern.encode(), ignore_case, None) for pattern in patterns])


@pytest.mark.parametrize(
    ("method", "patterns", "value", "expected"),
    [
        ("str", ["a", "b"], b"b", True),
        ("str", ["a"], b"A", False),
        ("beg", ["/static", "/img"], b"/img/x", True),
        ("end", [".gif", ".png"], b"x.png", True),
        ("end", [".gif"], b"x.gif?", False),
        ("sub", ["bc"], b"abcd", True),
        ("sub", ["x", "y", "z", "v", "bc"], b"abcd", True),
        ("len", ["3:5"], b"abcd", True),
        ("len", ["3"], b"abcd", False),
        ("reg", ["^/x[0-9]+$"], b"/x12", True),
        ("reg", ["[[:digit:]]{2}"], b"a1b", False),
        ("bin", ["48656c6c6f0a"], b"Hello\n", True),
        *[
            ("dir", [pattern], b"/images/png/logo/32x32.png", True)
            for pattern in ("/images", "/images/png", "images/png", "/png/logo", "logo/32x32.png", "32x32.png")
        ],
        ("dir", ["32x32"], b"/images/png/logo/32x32.png", False),
        *[
            ("dom", [pattern], b"http://www1.dc-eu.example.com:80/blah", True)
            for pattern in (
                "http",
                "www1",
                ".www1",
                "dc-eu",
                "example",
                "com",
                "80",
                "dc-eu.example",
                "blah",
                ":www1:",
                "example.com:80",
            )
        ],
        ("dom", ["eu"], b"http://www1.dc-eu.example.com:80/blah", False),
        ("dom", ["dc"], b"http://www1.dc-eu.example.com:80/blah", False),
    ],
)
def test_text(method: str, patterns: list[str], value: bytes, expected: bool) -> None:
    assert matcher(method, *patterns)(value) is expected


@pytest.mark.parametrize("method", ["str", "beg", "end", "sub", "reg", "dir", "dom"])
def test_case_is_ignored_on_request(method: str) -> None:
    assert matcher(method, "eXample", ignore_case=True)(b"ExAMPLE")
    assert not matcher(method, "eXample")(b"ExAMPLE")


def test_both_kinds_of_case_in_one_criterion() -> None:
    make = METHODS["str"].make
    assert make is not None
    match = make([Text(b"Exact", False, None), Text(b"Any", True, None)])
    assert [match(value) for value in (b"Exact", b"exact", b"ANY")] == [True, False, True]


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        (["5"], [5], [4, 6]),
        (["1024:65535"], [1024, 65535], [1023, 65536]),
        (["1024:"], [1024, 10**9], [1023]),
        ([":1023"], [0, 1023], [1024]),
        (["lt", "0"], [-1], [0]),
        (["ge", "3"], [3, 4], [2]),
        (["gt", "3"], [4], [3]),
        (["le", "3"], [3], [4]),
        (["eq", "3", "5"], [3, 5], [4]),
        (["1:3", "9", "lt", "-4"], [1, 3, 9, -5], [4, -4]),
    ],
)
def test_integers(patterns: list[str], inside: list[int], outside: list[int]) -> None:
    match = match_integers([Text(pattern.encode(), False, None) for pattern in patterns])
    assert all(match(value) for value in inside)
    assert not any(match(value) for value in outside)


def test_versions_with_a_dot() -> None:
    match = match_integers([Text(b"3:3.1", False, None)], dotted=True)
    assert match(3 << 16)
    assert match(3 << 16 | 1)
    assert not match(3 << 16 | 3)


@pytest.mark.parametrize("pattern", ["x", "", ":", "5:4", "1:2:3"])
def test_wrong_integers(pattern: str) -> None:
    with pytest.raises(ConfigError):
        match_integers([Text(pattern.encode(), False, None)])


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.168.0.1", "192.168.0.1/32"),
        ("192.168.1", "192.168.0.1/32"),
        ("10.12", "10.0.0.12/32"),
        ("127.1/8", "127.0.0.0/8"),
        ("192.168.1/22", "192.168.0.0/22"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_networks_are_written_so(text: str, network: str) -> None:
    expected = ipaddress.ip_network(network)
    number = int(expected.network_address) >> (expected.max_prefixlen - expected.prefixlen)
    assert parse_network(text, None) == (expected.version, expected.prefixlen, number)


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "2002:a01:203::", True),
        ("10.0.0.0/8", "::10.1.2.3", True),
        ("10.0.0.0/8", "2001:db8::a01:203", False),
        ("::ffff:0:0/96", "10.1.2.3", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_families_meet(pattern: str, address: str, expected: bool) -> None:
    assert (ipaddress.ip_address(address) in Networks([parse_network(pattern, None)])) is expected


@pytest.mark.parametrize("pattern", ["localhost", "10.0.0.0/33", "1.2.3.4.5", "::/200"])
def test_wrong_networks(pattern: str) -> None:
    with pytest.raises(ConfigError):
        parse_network(pattern, None)


@given(st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), max_size=8), st.ip_addresses(v=4))
def test_networks_agree_with_the_library(pairs: list[tuple[ipaddress.IPv4Address, int]], address: ipaddress.IPv4Address) -> None:
    networks = [
        ipaddress.IPv4Network((int(base) >> (32 - length) << (32 - length) if length else 0, length)) for base, length in pairs
    ]
    table = Networks([parse_network(str(network), None) for network in networks])
    assert (address in table) is any(address in network for network in networks)


@pytest.mark.parametrize("pattern", ["(", r"\h", "a{2,1}", "[[:nothing:]]"])
def test_wrong_expressions_are_errors(pattern: str) -> None:
    with pytest.raises(ConfigError):
        matcher("reg", pattern)
