"""Event lines, word for word."""

from __future__ import annotations

from dataclasses import replace

from headgate.balance.server import Admin
from headgate.health import events
from headgate.health.events import Event, Farm
from headgate.health.results import CheckResult, CheckStatus, printable
from headgate.health.tracking import Following, follow_line

REFUSED = CheckResult(CheckStatus.L4CON, None, "Connection refused", 0.0004)


def test_down() -> None:
    assert events.down("app", "s1", False, REFUSED.reason, Farm(1, 0)) == Event(
        events.ALERT,
        'Server app/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms. '
        "1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
        mail_level=events.ALERT,
    )


def test_down_leaves_only_backups() -> None:
    event = events.down("app", "s1", False, REFUSED.reason, Farm(0, 1, 3, 2, 1), was_stopping=True)
    assert event.level == event.mail_level == events.NOTICE
    assert event.text.endswith(
        "0 active and 1 backup servers left. Running on backup. 3 sessions active, 2 requeued, 1 remaining in queue."
    )


def test_up_of_a_backup_server() -> None:
    result = CheckResult(CheckStatus.L7OK, 200, "OK", 0.0125)
    assert events.up("app", "b1", True, result.reason, Farm(2, 1)) == Event(
        events.NOTICE,
        'Backup Server app/b1 is UP, reason: Layer7 check passed, code: 200, info: "OK", check duration: 12ms. '
        "2 active and 1 backup servers online. 0 sessions requeued, 0 total in queue.",
        mail_level=events.NOTICE,
    )


def test_no_server_is_an_emergency() -> None:
    assert events.no_server("app") == Event(0, "backend app has no server available!")


def test_check_changed() -> None:
    result = CheckResult(CheckStatus.L4TOUT, None, "", 2.001)
    assert events.check_changed("app", "s1", False, result, "2/3 UP") == Event(
        events.NOTICE,
        "Health check for server app/s1 failed, reason: Layer4 timeout, check duration: 2001ms, status: 2/3 UP.",
        mail_level=events.INFO,
    )


def test_what_a_peer_says_is_made_harmless() -> None:
    assert printable('a"b\r\n\x1bc') == "a.b...c"
    assert len(printable("x" * 5000)) == 400


def test_with_the_one_that_is_tracked() -> None:
    assert events.down_via("trk", "t", False, "app/s1", Farm(1, 0)) == Event(
        events.ALERT,
        "Server trk/t is DOWN via app/s1. 1 active and 0 backup servers left. "
        "0 sessions active, 0 requeued, 0 remaining in queue.",
        mail_level=events.ALERT,
    )
    up = events.up_via("trk", "t", True, "app/s1", Farm(1, 1))
    assert up.text.startswith("Backup Server trk/t is UP via app/s1. 1 active ")
    assert events.stopping_via("trk", "t", False, "app/s1", Farm(0, 0)) == Event(
        events.NOTICE,
        "Server trk/t is stopping via app/s1. 0 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
    )


def test_agents_and_traffic() -> None:
    result = CheckResult(CheckStatus.L7STS, None, "via agent : down", 0.2)
    assert events.check_changed("app", "s1", False, result, "0/1 DOWN", "Agent") == Event(
        events.NOTICE,
        'Agent check for server app/s1 failed, reason: Layer7 wrong status, code: 0, info: "via agent : down", '
        "check duration: 200ms, status: 0/1 DOWN.",
        mail_level=events.INFO,
    )
    assert CheckResult(CheckStatus.HANA, None, "Detected 2").reason == 'Health analyze, info: "Detected 2"'


def test_one_that_tracks_a_server_that_answered_404_is_worth_a_notice() -> None:
    stopping = Following(True, True, Admin.READY)
    down = Following(False, False, Admin.READY)
    for before, level in ((stopping, events.NOTICE), (replace(stopping, admin=Admin.DRAIN), events.ALERT)):
        event = follow_line("trk", "t", False, "app/s1", before, replace(down, admin=before.admin), Farm(0, 0))
        assert (event.level, event.mail_level) == (level, level) and "is DOWN via app/s1. " in event.text
