"""The conditions of `.if` and `-cc` (manual 2.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError
from headgate.config.predicates import BuildFacts, evaluate, ssl_version_key, version_key

FACTS = BuildFacts(
    version="3.5.0",
    features=frozenset({"OPENSSL", "LINUX_SPLICE"}),
    tls_library=lambda: ("OpenSSL 3.5.1 1 Jul 2025", "3.5.1"),
    enabled=frozenset({"EPOLL", "SPLICE"}),
)


def holds(text: str) -> bool:
    return evaluate(text, FACTS, {"HOME": "/root", "EMPTY": ""})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", False),
        ("   ", False),
        ("0", False),
        ("00", False),
        ("1", True),
        ("42", True),
        ("!0", True),
        ("!!1", True),
        ("! 1", False),
        ("(1)", True),
        ("!(0 || 0)", True),
        ("1 && 0", False),
        ("1&&1", True),
        ("0 || 1", True),
        # && binds closer: (1 && 0) || (1 && 1), and 1 || (0 && 0)
        ("1 && 0 || 1 && 1", True),
        ("1 || 0 && 0", True),
        ("(1 || 0) && 0", False),
        ("defined(HOME)", True),
        ("defined(EMPTY)", True),
        ("defined( HOME )", False),
        ("!defined(NONE)", True),
        ("feature(OPENSSL)", True),
        ("feature(QUIC)", False),
        ("feature(OPENSSL) && (streq(a,b) || streq(a,a))", True),
        ("streq(a,a)", True),
        ("streq(a, a)", False),
        ("streq(,)", True),
        ('streq("a,b",a\\,b)', True),
        ("strneq(a,b)", True),
        ("strstr(abc,bc)", True),
        ("strstr(bc,abc)", False),
        ("version_atleast(3.5)", True),
        ("version_atleast(3.5.0)", True),
        ("version_atleast(2.4-dev19)", True),
        ("version_atleast(3.5.1)", False),
        ("version_before(3.6-dev1)", True),
        ("version_before(3.5)", False),
        ("openssl_version_atleast(1.1.1)", True),
        ("openssl_version_atleast(3.5.2)", False),
        ("openssl_version_before(3.5.2)", True),
        ("ssllib_name_startswith(OpenSSL)", True),
        ("ssllib_name_startswith(wolfSSL)", False),
        ("awslc_api_atleast(1)", False),
        ("awslc_api_before(99)", False),
        ("fips_mode()", False),
        ("fips_mode", False),
        ("enabled(EPOLL)", True),
        ("enabled(KQUEUE)", False),
    ],
)
def test_value(text: str, value: bool) -> None:
    assert holds(text) is value


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("foo(1)", "unknown predicate 'foo'", 1),
        ("1 && versoin_atleast(1)", "unknown predicate 'versoin_atleast'", 6),
        ("1 || foo", "unknown predicate 'foo'", 6),
        ("1 1", "unexpected '1' in condition", 3),
        ("1 &&", "condition ends where a predicate is expected in condition", 5),
        ("&& 1", "a predicate is expected before '&&' in condition", 1),
        ("(1", "')' is missing for this '(' in condition", 1),
        ("1)", "unexpected ')' in condition", 2),
        ("1 & 1", "unexpected '& 1' in condition", 3),
        ("streq(a)", "predicate 'streq' takes 2 arguments, not 1 in condition", 1),
        ("defined", "predicate 'defined' takes one argument, not 0 in condition", 1),
        ("fips_mode(1)", "predicate 'fips_mode' takes no arguments, not 1 in condition", 1),
        ("version_atleast(x)", "'x' is not a version such as '3.5.0' or '3.5-dev1' in condition", 1),
        ("openssl_version_before(x)", "'x' is not an OpenSSL version such as '1.1.1' or '3.5.0' in condition", 1),
        ("awslc_api_before(x)", "'x' is not an AWS-LC API number in condition", 1),
        ("(" * 100, "parentheses are nested too deeply in condition", 65),
    ],
)
def test_error(text: str, message: str, column: int) -> None:
    with pytest.raises(ConfigError) as caught:
        holds(text)
    diagnostic = caught.value.diagnostic
    assert diagnostic.message == message
    assert diagnostic.location is not None
    assert diagnostic.location.column == column


def test_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown run-time option 'TURBO'"):
        holds("enabled(TURBO)")


def test_nearest_predicate_is_proposed() -> None:
    with pytest.raises(ConfigError) as caught:
        holds("versoin_atleast(1)")
    assert caught.value.diagnostic.nearest == "version_atleast"


def test_versions_in_order() -> None:
    versions = ["2.4-dev1", "2.4-dev19", "2.4-rc1", "2.4", "2.4.0-12", "2.4.1", "2.10", "3.0"]
    assert sorted(versions, key=version_key) == versions
    assert version_key("3.5") == version_key("3.5.0")
    assert version_key("2.4.1-1ppa1~focal") > version_key("2.4")


def test_openssl_versions_in_order() -> None:
    versions = ["1.0.2", "1.1.1", "1.1.1a", "1.1.1w", "3.0.2", "3.5.0"]
    assert sorted(versions, key=ssl_version_key) == versions


def test_without_a_tls_library() -> None:
    bare = BuildFacts()
    for text in ("openssl_version_atleast(0)", "openssl_version_before(99)", "ssllib_name_startswith(OpenSSL)"):
        assert evaluate(text, bare, {}) is False


def test_awslc_numbers() -> None:
    facts = BuildFacts(awslc_api=30)
    assert evaluate("awslc_api_atleast(30) && awslc_api_before(31) && !awslc_api_before(30)", facts, {})


@given(st.text(alphabet="01!&|() abdefinstreq,'\"\\", max_size=40))
def test_only_config_errors(text: str) -> None:
    try:
        assert holds(text) in (True, False)
    except ConfigError:
        pass
