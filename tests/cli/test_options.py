"""The table of command line options."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.cli.options import TABLE, CommandLineError, Options, parse, usage


def changed(options: Options) -> dict[str, Any]:
    fresh = Options()
    return {name: getattr(options, name) for name in Options.__slots__ if getattr(options, name) != getattr(fresh, name)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", {}),
        ("-f a.cfg -f b", {"files": ["a.cfg", "b"]}),
        ("-f a.cfg -q -- b.cfg -c", {"files": ["a.cfg", "b.cfg", "-c"], "quiet": True}),
        ("-C /etc -c", {"directory": "/etc", "check": True}),
        ("-c --strict", {"check": True, "strict": True}),
        ("--strict -c", {"check": True, "strict": True}),
        ("-cc streq(a,b)", {"condition": "streq(a,b)"}),
        ("-v", {"version": "v"}),
        ("-vv", {"version": "vv"}),
        ("-vqb", {"version": "vqb"}),
        ("-D -W", {"daemon": True, "master_worker": True}),
        ("-Ws", {"master_worker": True, "notify_systemd": True}),
        ("-d", {"debug": True, "foreground": True}),
        ("-db -V", {"foreground": True, "verbose": True}),
        ("-n 100 -N 50 -m 256", {"maxconn": 100, "proxy_maxconn": 50, "memory_megabytes": 256}),
        ("-L peer1 -p /run/h.pid -4", {"local_peer": "peer1", "pidfile": "/run/h.pid", "ipv4_only": True}),
        ("-sf 1 2 -st 3 -q", {"finish_pids": [1, 2], "terminate_pids": [3], "quiet": True}),
        ("-sf", {}),
        ("-st -q", {"quiet": True}),
        ("-dr -dV -dW -dD", {"ignore_resolution": True, "no_server_verify": True, "zero_warning": True, "diagnostics": True}),
        ("-dS", {"no_splice": True}),
        ("-dZ", {"no_splice": True}),
        ("-dR", {"no_reuse_port": True}),
        ("-dC", {"dump_configuration": ""}),
        ("-dKall", {"dump_keywords": "all"}),
        ("-dK", {"dump_keywords": "help"}),
        ("-x /dev/null", {"inherit_from": "/dev/null"}),
    ],
)
def test_options_are_read(line: str, expected: dict[str, Any]) -> None:
    assert changed(parse(line.split())) == expected


def test_a_list_of_pids_may_come_as_one_word_or_an_empty_one() -> None:
    assert parse(["-sf", "1 2\n3", "-q"]).finish_pids == [1, 2, 3]
    assert parse(["-sf", "", "-q"]).finish_pids == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--strict", "'--strict' belongs to '-c'"),
        ("-zz", "unknown option '-zz'"),
        ("--check", "unknown option '--check'"),
        ("-dX", "unknown option '-dX'"),
        ("a.cfg", "unexpected argument 'a.cfg'"),
        ("-f", "option '-f' expects a configuration file"),
        ("-n", "option '-n' expects a number of connections"),
        ("-n many", "option '-n' expects a number of connections, not 'many'"),
        ("-n -1", "not '-1'"),
        ("-sf x", "option '-sf' expects process ids, not 'x'"),
        ("-sf 0", "not '0'"),
        ("-dC12345", "anonymised dumps are not yet supported"),
    ],
)
def test_mistakes_are_named(line: str, said: str) -> None:
    with pytest.raises(CommandLineError) as caught:
        parse(line.split())
    assert said in str(caught.value)


@pytest.mark.parametrize("line", ["-dt", "-dt h1:user", "-dL", "-dA/tmp/x", "-dG"])
def test_what_can_not_be_honoured_is_said(line: str) -> None:
    options = parse([*line.split(), "-q"])
    assert len(options.remarks) == 1
    assert "not yet supported" in options.remarks[0] or "can't be taken over" in options.remarks[0]
    assert options.quiet


@pytest.mark.parametrize("flag", ["-dM", "-dM0x50,no-merge", "-de", "-dp", "-dk", "-dv", "-dI", "-dT", "-dc"])
def test_what_means_nothing_here_is_accepted_with_its_reason(flag: str) -> None:
    (said,) = parse([flag]).without_effect
    assert said.startswith(f"'{flag}' has no effect: ")


def test_every_option_of_the_manual_is_there() -> None:
    manual = (
        "-- -f -C -D -L -N -V -W -Ws -4 -c -cc -d -dA -dC -dD -dF -dG -dI -dK -dL -dM -dR -dS -dT -dV -dW -dZ -db -dc -de -dk "
        "-dp -dr -dt -dv -m -n -p -q -S -sf -st -v -vv -x"
    )
    flags = [row.flag for row in TABLE]
    assert len(set(flags)) == len(flags)
    assert set(manual.split()) <= set(flags)


def test_the_usage_text_comes_from_the_table() -> None:
    text = usage("headgate")
    for row in TABLE:
        if row.usage:
            assert row.usage in text
    assert max(map(len, text.splitlines())) < 120


@given(st.lists(st.one_of(st.sampled_from([row.flag for row in TABLE]), st.text(max_size=8)), max_size=8))
def test_any_line_is_read_or_refused(words: list[str]) -> None:
    try:
        parse(words)
    except CommandLineError as error:
        assert str(error)
