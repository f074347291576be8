"""What agents say: every word of the manual, combinations, and rubbish."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.config.checks import CheckSpec
from headgate.health import agent
from headgate.health.programs import Script
from headgate.health.results import CheckStatus
from tests.health.checks import Server

AGENT = Script(CheckSpec(kind="agent"), agent.steps(b""))


@pytest.mark.parametrize(
    ("line", "status", "info", "wishes"),
    [
        (b"up\n", "L7OK", "via agent : up", (None, None, None)),
        (b"UP # fine\r\nmore", "L7OK", "via agent : up (fine)", (None, None, None)),
        (b"down # sick of it\n", "L7STS", "via agent : down (sick of it)", (None, None, None)),
        (b"stopped#maint window\n", "L7STS", "via agent : stopped (maint window)", (None, None, None)),
        (b"fail\n", "L7STS", "via agent : fail", (None, None, None)),
        (b"drain\n", "CHECKED", "", ("drain", None, None)),
        (b"maint\n", "CHECKED", "", ("maint", None, None)),
        (b"ready\n", "CHECKED", "", ("ready", None, None)),
        (b"75%\n", "CHECKED", "", (None, "75%", None)),
        (b"weight:120\n", "CHECKED", "", (None, "120", None)),
        (b"weight:50%\n", "CHECKED", "", (None, "50%", None)),
        (b"weight:257\n", "CHECKED", "agent reports an error : weight:257", (None, None, None)),
        (b"maxconn:30\n", "CHECKED", "", (None, None, 30)),
        (b"maxconn:abc\n", "CHECKED", "agent warns : maxconn string empty or preceded by garbage", (None, None, None)),
        (b"maxconn:3x\n", "CHECKED", "agent warns : Trailing garbage in maxconn string", (None, None, None)),
        (b"up,ready\t10% maxconn:5\n", "L7OK", "via agent : up", ("ready", "10%", 5)),
        (b"\n", "CHECKED", "", (None, None, None)),
        (b"failed\n", "CHECKED", "agent reports an error : failed", (None, None, None)),
        (b"-5%\n", "CHECKED", "agent reports an error : -5%", (None, None, None)),
        (b"up <script>\x00\xff\n", "L7OK", "via agent : up (<script>.\ufffd)", (None, None, None)),
        (
            b"up 50%,maxconn:abc\n", "L7OK", "via agent : up (maxconn string empty or preceded by garbage)",
            (None, "50%", None),
        ),
        (b"weight:257 up\n", "L7OK", "via agent : up (weight:257)", (None, None, None)),
        (b"down flat # sick\n", "L7STS", "via agent : down (flat; sick)", (None, None, None)),
    ],
)
def test_words(line: bytes, status: str, info: str, wishes: tuple[object, ...]) -> None:
    reply = agent.read(line)
    assert (reply.result.status.word, reply.result.info) == (status, info)
    assert (reply.admin, reply.weight, reply.maxconn) == wishes


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("answer", "status", "info"),
    [
        (b"up\n", "L7OK", ""),
        (b"", "L7RSP", "TCPCHK got an empty response at step 2"),
        (b"75", "L7TOUT", "Ignoring incomplete line from agent"),
        (b"x" * 100_000, "L7TOUT", "Ignoring incomplete line from agent"),
    ],
)
def test_a_line_is_fetched(answer: bytes, status: str, info: str, step: int) -> None:
    result = Server([answer], step=step and 1000).run(AGENT)
    assert result is not None and (result.status.word, result.info) == (status, info)


def test_agent_send_and_a_line_that_never_ends_in_time() -> None:
    server = Server([b"", b"75"], close=False)
    assert server.run(Script(CheckSpec(kind="agent"), agent.steps(b"hello\n"))) is None
    assert server.sent == [b"hello\n"]
    assert server.machine.timed_out().info == "Ignoring incomplete line from agent"
    silent = Server([], close=False)
    assert silent.run(AGENT) is None
    assert (silent.machine.timed_out().status, silent.machine.timed_out().info) == (CheckStatus.L7TOUT, "")


@given(st.binary(max_size=300))
def test_rubbish_is_survived(line: bytes) -> None:
    reply = agent.read(line)
    assert reply.result.info.isprintable() and '"' not in reply.result.info
    assert reply.maxconn is None or reply.maxconn >= 0
