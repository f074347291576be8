"""`log <target> ...` (4.2 "log")."""

from __future__ import annotations

import pytest

from headgate.base.addresses import Address, Family, Transport
from headgate.base.diagnostics import ConfigError, Location, Report
from headgate.config.cursor import Cursor, Word
from headgate.config.keywords.log_target import parse_log_target
from headgate.config.log_options import LogTarget


def parse(line: str) -> LogTarget:
    words, column = [], 1
    for text in line.split(" "):
        words.append(Word(text, Location("t.cfg", 1, column, len(text), line)))
        column += len(text) + 1
    return parse_log_target(Cursor(words, Report(), 1))


def test_defaults() -> None:
    found = parse("log 127.0.0.1 local0")
    assert found.address == Address(Family.INET, "127.0.0.1", 514, 514, transport=Transport.DATAGRAM)
    assert (found.length, found.format, found.format_by_default) == (1024, "local", True)
    assert (found.facility, found.level, found.minlevel, found.sample) == (16, 7, 0, None)


def test_all_options() -> None:
    found = parse("log stdout len 4096 format raw sample 3,1-2:10 daemon notice err")
    assert found.address.family is Family.STDIO
    assert (found.length, found.format, found.format_by_default) == (4096, "raw", False)
    assert found.sample == (((1, 2), (3, 3)), 10)
    assert (found.facility, found.level, found.minlevel) == (3, 5, 3)


@pytest.mark.parametrize(
    ("target", "family", "host", "transport"),
    [
        ("/dev/log", Family.UNIX, "/dev/log", Transport.DATAGRAM),
        ("fd@2", Family.FD, "2", Transport.DATAGRAM),
        ("ring@buf1", Family.RING, "buf1", Transport.DATAGRAM),
        ("backend@logs", Family.BACKEND, "logs", Transport.DATAGRAM),
        ("tcp@10.0.0.1:514", Family.INET, "10.0.0.1", Transport.STREAM),
        ("loghost", Family.NAME, "loghost", Transport.DATAGRAM),
    ],
)
def test_target(target: str, family: Family, host: str, transport: Transport) -> None:
    address = parse(f"log {target} local0").address
    assert (address.family, address.host, address.transport) == (family, host, transport)


@pytest.mark.parametrize(
    ("line", "message", "column"),
    [
        ("log", "'log' expects a log target (an address, stdout, stderr, fd@<number>, ring@<name> or backend@<name>)", 5),
        ("log 127.0.0.1", "'log' expects syslog facility", 15),
        ("log 127.0.0.1 lokal0", "unknown syslog facility 'lokal0'", 15),
        ("log 127.0.0.1 local0 loud", "unknown log level 'loud'", 22),
        ("log 127.0.0.1 local0 info info x", "'log' does not take 'x' here", 32),
        ("log 127.0.0.1 len 10 local0", "the line length must be from 80 to 65535, not 10", 19),
        ("log 127.0.0.1 format rfc1 local0", "unknown log format 'rfc1'", 22),
        ("log ring@ local0", "a name is missing behind 'ring@'", 5),
        ("log stdout profile p local0", "log profiles are known but not yet supported", 12),
        ("log stdout sample 1-2 local0", "'1-2' must be <ranges>:<sample size>, as in '1-2,5:10'", 19),
        ("log stdout sample 1,x:5 local0", "'x' is not a range: '<number>' or '<low>-<high>'", 21),
        ("log stdout sample 0-1:5 local0", "range '0-1' must run upwards from at least 1", 19),
        ("log stdout sample 1-3,3:5 local0", "sample ranges overlap in '1-3,3:5'", 19),
        ("log stdout sample 1-9:5 local0", "range '1-9' ends beyond the sample size 5", 19),
    ],
)
def test_error(line: str, message: str, column: int) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(line)
    diagnostic = caught.value.diagnostic
    assert diagnostic.message == message
    assert diagnostic.location is not None
    assert diagnostic.location.column == column
