"""Mails: the message and the dialogue with every kind of mail server."""

from __future__ import annotations

from email import message_from_bytes

import pytest

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import NOWHERE
from headgate.config.checks import CheckSpec
from headgate.config.mailers import EmailAlert, Mailer, Mailers
from headgate.health import mail
from headgate.health.programs import Script
from tests.health.checks import Server

MAILER = Mailer("m1", Address(Family.INET, "127.0.0.1", 25, 25), NOWHERE)
ALERT = EmailAlert(Mailers("team", (MAILER,), NOWHERE), "lb@example.com", "ops@example.com")
CONTENT = mail.message(ALERT, "Server app/s1 is DOWN.", 1233922454.6, "lb1")


def test_message() -> None:
    assert CONTENT.endswith(b"\r\n\r\nServer app/s1 is DOWN.\r\n.\r\n")
    read = message_from_bytes(CONTENT)
    assert read["From"], read["To"] == ("lb@example.com", "ops@example.com")
    assert read["Subject"] == "[HAProxy Alert] Server app/s1 is DOWN."
    assert read["Date"] == "Fri, 06 Feb 2009 12:14:14 +0000"
    assert "@lb1>" in read["Message-ID"]


def test_what_a_server_says_can_t_add_headers_or_end_the_mail() -> None:
    content = mail.message(ALERT, "bad\r\n.\r\nBcc: x@example.com\r\n\r\n\xff", 1.0, "lb1")
    head, _, body = content.partition(b"\r\n\r\n")
    assert b"\r\nBcc" not in head and body == b"bad . Bcc: x@example.com ?\r\n.\r\n"


def test_a_line_that_begins_with_a_dot_is_stuffed() -> None:
    assert mail.message(ALERT, ".hidden", 1.0, "lb1").endswith(b"\r\n..hidden\r\n.\r\n")


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answers", "status", "code", "commands"),
    [
        ([b"220 hi\r\n", b"250 a\r\n", b"250 b\r\n", b"250 c\r\n", b"354 go\r\n", b"250 queued\r\n"], "L7OK", 250, 6),
        ([b"220 hi\r\n", b"250 a\r\n", b"550 no such sender\r\n"], "L7STS", 550, 2),
        ([b"220 hi\r\n", b"250 a\r\n", b"250 b\r\n", b"250 c\r\n", b"250 what\r\n"], "L7STS", 250, 4),
        ([b"220 hi\r\n", b"250 a\r\n", b"250 b\r\n", b"250 c\r\n", b"354 go\r\n", b"452 full\r\n"], "L7STS", 452, 5),
        ([b"hello\r\n"], "L7RSP", None, 0),
    ],
)
def test_dialogue(answers: list[bytes], status: str, code: int | None, commands: int, step: int) -> None:
    server = Server(answers, step=step)
    result = server.run(Script(CheckSpec(kind="mail"), mail.steps(ALERT, CONTENT, "lb1")))
    assert result is not None and (result.status.word, result.shown_code) == (status, code)
    everything = [
        b"HELO lb1\r\n", b"MAIL FROM:<lb@example.com>\r\n", b"RCPT TO:<ops@example.com>\r\n", b"DATA\r\n", CONTENT, b"QUIT\r\n",
    ]
    assert server.sent == everything[:commands]
