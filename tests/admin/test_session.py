"""The conversation: splitting, levels, prompt modes, payloads, unknown commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.admin.commands import all_commands, connection
from headgate.admin.registry import Command, CommandError, Escaped, Level, Mode, Registry
from headgate.admin.session import LONGEST_PAYLOAD, CliSession, split_line
from tests.admin.talk import Talk

REGISTRY = all_commands()


def session(process: Any, level: Level = Level.ADMIN) -> Talk:
    return Talk(REGISTRY, process, level)


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("", []),
        (" ; ;", []),
        ("show info;show  stat -1 4 -1", [["show", "info"], ["show", "stat", "-1", "4", "-1"]]),
        (r"set var proc.x str(a\ b\;c\\)", [["set", "var", "proc.x", r"str(a b;c\)"]]),
        ("echo \\", [["echo", "\\"]]),
    ],
)
def test_lines_are_split(line: str, commands: list[list[str]]) -> None:
    assert split_line(line) == commands


def test_a_word_with_an_escaped_beginning_is_marked() -> None:
    """Whether an asterisk there is a sign is for commands to know."""
    ((command, *words),) = split_line(r"show \*a *a a\*")
    assert words == ["*a", "*a", "a*"]
    assert [isinstance(word, Escaped) for word in (command, *words)] == [False, True, False, False]


@given(st.text(max_size=80))
def test_any_line_is_split_and_escaping_restores_words(text: str) -> None:
    split_line(text)
    if text:
        escaped = "".join(["\\" + one for one in text])
        assert split_line(escaped) == [[text]]


def test_one_line_then_the_end(process: Any) -> None:
    cli = session(process)
    assert cli.line("show version;show cli level").endswith("\n\nadmin\n\n")
    assert cli.closing


def test_prompt_modes(process: Any) -> None:
    cli = session(process)
    assert cli.line("prompt") == "\n> "
    assert cli.line("show cli level") == "admin\n\n> "
    assert cli.line("") == "\n> "
    assert cli.line("prompt timed") == "\n[1:01:01:01]> "
    assert cli.line("prompt i") == "\n"
    assert cli.line("show cli level") == "admin\n\n"
    assert not cli.closing
    assert cli.line("quit") == "\n"
    assert cli.closing


def test_levels_only_go_down(process: Any) -> None:
    cli = session(process)
    cli.line("prompt i")
    assert cli.line("operator;show cli level") == "\noperator\n\n"
    assert cli.line("disable server app/s1") == "Permission denied\n\n"
    assert cli.line("user;operator") == "\nPermission denied\n\n"
    assert cli.line("show env") == "Permission denied\n\n"
    assert "web" in cli.line("show stat")


def test_unknown_commands_say_what_there_is(process: Any) -> None:
    assert session(process).line("frob").startswith(
        "Unknown command: 'frob'. Please enter one of the following commands only:\n  abort ssl ca-file "
    )
    answer = session(process).line("show servers")
    assert answer.startswith("Unknown command: 'servers', but maybe one of the following ones is a better match:")
    assert [line.split(" [")[0].strip() for line in answer.splitlines()[1:3]] == ["show servers conn", "show servers state"]


def test_help_lists_what_the_level_may_use(process: Any) -> None:
    assert "disable server" in session(process).line("help")
    text = session(process, Level.USER).line("help")
    assert "disable server" not in text and "show stat" in text
    assert session(process).line("help get weight").count("\n  ") == 1


def test_known_but_unsupported(process: Any) -> None:
    cli = Talk(Registry([Command("show later", "", Level.USER, None)]), process, Level.USER)
    assert cli.line("show later all") == "'show later' is not supported yet.\n\n"


def test_payloads_are_read_to_their_end_and_bounded(process: Any) -> None:
    cli = session(process)
    assert cli.line("echo <<%E%") == ""
    assert cli.line("one") == cli.line("") == ""
    assert cli.line("%E%") == "one\n\n"
    cli = session(process)
    cli.line("set ssl cert x <<")
    answers = [cli.line("x" * 1000) for _ in range(LONGEST_PAYLOAD // 1000 + 1)]
    assert answers[-1].startswith("The payload is longer than")
    assert cli.closing


def test_the_longest_payload_is_a_setting(process: Any) -> None:
    cli = Talk(REGISTRY, process, Level.ADMIN, longest_payload=10)
    cli.line("echo <<")
    assert (cli.line("123456789"), cli.line("1")) == ("", "The payload is longer than 10 bytes.\n\n")


@pytest.mark.parametrize(("words", "timeout"), [("30", 30.0), ("2m", 120.0), ("0", 10.0), ("x", 10.0), ("", 10.0)])
def test_timeout_of_this_connection(process: Any, words: str, timeout: float) -> None:
    cli = session(process)
    answer = cli.line(f"set timeout cli {words}")
    assert cli.timeout == timeout
    assert (answer == "\n") is (timeout != 10.0)


def test_every_command_of_haproxy_is_known() -> None:
    from importlib import resources

    text = resources.files("headgate.config").joinpath("known_keywords.txt").read_text()
    names = text.split("[cli]\n", 1)[1].split("\n[", 1)[0].splitlines()
    own = {"help", "prompt", "quit", "operator", "user", "echo", "show cli level", "set timeout"}
    missing = {name for name in names if name[0] not in "@_" and name not in own and REGISTRY.find(name.split()) is None}
    # these four belong to the master's command line
    assert missing <= {"hard-reload", "mcli-debug-mode", "reload", "show proc"}


# --- modes and messages ------------------------------------------------------------------------------------------------


def dangerous(_: object, __: object) -> str:
    return "done"


def failing(_: object, __: object) -> str:
    raise CommandError("No such server.")


def broken(_: object, __: object) -> str:
    raise ZeroDivisionError


COMMANDS = (
    *connection.COMMANDS,
    Command("do it", ": expert", Level.ADMIN, dangerous, requires=Mode.EXPERT),
    Command("try it", ": experimental", Level.ADMIN, dangerous, requires=Mode.EXPERIMENTAL),
    Command("fail", ": fails", Level.USER, failing),
    Command("break", ": breaks", Level.USER, broken),
)


def test_modes_open_what_is_dangerous_until_the_level_falls(process: Any) -> None:
    cli = Talk(Registry(COMMANDS), process, Level.ADMIN)
    cli.line("prompt i")
    assert cli.line("do it") == "This command is restricted to expert mode only.\n\n"
    assert cli.line("try it") == "This command is restricted to experimental mode only.\n\n"
    assert "do it" not in cli.line("help")
    assert cli.line("expert-mode;expert-mode on;expert-mode;do it") == (
        "expert-mode is OFF\n\n\nexpert-mode is ON\n\ndone\n\n"
    )
    assert "do it" in cli.line("help") and "try it" not in cli.line("help")
    assert "expert-mode" not in cli.line("help")  # "purposely not listed"
    assert cli.line("experimental-mode on;try it;expert-mode off;do it").startswith("\ndone\n\n\nThis command")
    assert cli.line("operator;experimental-mode on;try it") == "\nPermission denied\n\nPermission denied\n\n"
    assert cli.modes == set()


def test_severity_stands_before_messages(process: Any) -> None:
    cli = Talk(Registry(COMMANDS), process, Level.ADMIN)
    cli.line("prompt i")
    assert cli.line("fail") == "No such server.\n\n"
    assert cli.line("set severity-output number;fail;echo x") == "\n[3]: No such server.\n\nx\n\n"
    assert cli.line("set severity-output string;fail") == "\n[err]: No such server.\n\n"
    assert cli.line("frob").startswith("[info]: Unknown command")
    assert cli.line("set severity-output x").startswith("[err]: one of 'none', 'number', 'string' is a required argument")


def test_a_command_that_breaks_says_so_and_the_next_one_runs(process: Any) -> None:
    cli = Talk(Registry(COMMANDS), process, Level.ADMIN)
    bugs: list[Exception] = []
    cli.on_bug = bugs.append
    assert cli.line("break;echo on") == "Internal error (ZeroDivisionError): please report it with the log.\n\non\n\n"
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]


# --- answers that come over time ----------------------------------------------------------------------------------------


class Source:
    """A command's pieces; knows whether it was closed before its end."""

    def __init__(self, *pieces: str, error: Exception | None = None) -> None:
        self.pieces, self.error = pieces, error
        self.ended = "never"

    async def __call__(self) -> AsyncGenerator[str, None]:
        try:
            for piece in self.pieces:
                yield piece
                await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            self.ended = "at its end"
        except GeneratorExit:
            self.ended = "early"
            raise


def streaming(source: Source) -> Registry:
    return Registry((*connection.COMMANDS, Command("flow", ": flows", Level.USER, lambda *_: source(), watches=True)))


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ((), "\n"),
        (("",), "\n"),
        (("a",), "a\n\n"),
        (("a\n", "b\n"), "a\nb\n\n"),
        (("a", "b\n\n\n"), "ab\n\n"),
        (("a\n", "\n", "b"), "a\nb\n\n"),
    ],
)
def test_pieces_end_in_one_empty_line(process: Any, pieces: tuple[str, ...], text: str) -> None:
    source = Source(*pieces)
    assert Talk(streaming(source), process, Level.USER).line("flow;echo next") == f"{text}next\n\n"
    assert source.ended == "at its end"


def test_an_error_on_the_way_is_said_behind_what_came(process: Any) -> None:
    cli = Talk(streaming(Source("a\n", error=CommandError("It is gone."))), process, Level.USER)
    assert cli.line("flow;echo next") == "a\nIt is gone.\n\nnext\n\n"


def test_a_client_that_leaves_closes_the_command(process: Any) -> None:
    source = Source("a\n", "b\n", "c\n")

    async def leave() -> bool:
        cli = CliSession(streaming(source), process, Level.USER)
        pieces = cli.line("flow")
        assert await anext(pieces) == "a\n"
        watching = cli.watching
        await pieces.aclose()
        assert not cli.watching
        return watching

    assert asyncio.run(leave())
    assert source.ended == "early"
