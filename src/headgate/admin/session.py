"""One connection's conversation with the runtime API: lines in, text out (management manual 9.3). Knows no socket.

Handles what belongs to the connection: its level, `;`, escapes, payloads, prompt modes, timeout. Driven by
`runtime.stats_socket`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headgate.admin.context import Context
from headgate.admin.registry import CommandError, Level, Registry
from headgate.base.units import UnitError, parse_time

#: tune.cli.max-payload-size: 128 kB unless set.
LONGEST_PAYLOAD = 128 * 1024
_LONGEST_PATTERN = 64


def split_line(line: str) -> list[list[str]]:
    """Split a line into commands at `;` and each into words at white space; a backslash makes the next character ordinary."""
    commands: list[list[str]] = [[]]
    word: list[str] | None = None
    characters = iter(line)
    for one in characters:
        if one == "\\":
            word = word or []
            word.append(next(characters, "\\"))
        elif one == ";" or one.isspace():
            if word is not None:
                commands[-1].append("".join(word))
                word = None
            if one == ";":
                commands.append([])
        else:
            word = word or []
            word.append(one)
    if word is not None:
        commands[-1].append("".join(word))
    return [command for command in commands if command]


class CliSession:
    """One connection.

    Args:
        registry: the commands.
        context: what they act on.
        level: the level of the socket.
        timeout: seconds of silence that end the connection.

    Attributes:
        interactive: further lines are read after this one.
        closing: the connection is to be closed once the answer is sent.
    """

    def __init__(self, registry: Registry, context: Context, level: Level, timeout: float = 10.0) -> None:
        self.level = level
        self.timeout = timeout
        self.interactive = False
        self.closing = False
        self._prompting = False
        self._timed = False
        self._registry = registry
        self._context = context
        self._payload: list[str] | None = None
        self._payload_size = 0
        self._payload_end = ""
        self._pending = ""

    def line(self, line: str) -> str:
        """Take one line (without its line feed) and answer it; "" when there is nothing to say yet."""
        if self._payload is not None:
            return self._payload_line(line, self._payload)
        head, mark, pattern = line.rpartition("<<")
        if mark and (not head or head[-1].isspace()) and len(pattern) <= _LONGEST_PATTERN and not _has_space(pattern):
            self._pending, self._payload, self._payload_end, self._payload_size = head, [], pattern, 0
            return "+ " if self._prompting else ""
        return self._run(line, None)

    def _payload_line(self, line: str, payload: list[str]) -> str:
        if line == self._payload_end:
            self._payload = None
            return self._run(self._pending, "\n".join(payload))
        self._payload_size += len(line) + 1
        if self._payload_size > LONGEST_PAYLOAD:
            self.closing = True
            return f"The payload is longer than {LONGEST_PAYLOAD} bytes.\n\n"
        payload.append(line)
        return "+ " if self._prompting else ""

    def _run(self, line: str, payload: str | None) -> str:
        answers = []
        commands = split_line(line)
        for index, words in enumerate(commands):
            last = index == len(commands) - 1
            if last and payload is not None:
                words = [*words, payload]
            answers.append(self._command(words).rstrip("\n"))
            if self.closing:
                break
        if not commands and self._prompting:
            answers.append("")
        if not self.interactive:
            self.closing = True
        text = "".join([f"{answer}\n\n" if answer else "\n" for answer in answers])
        return text + self.prompt()

    def prompt(self) -> str:
        """What stands before the next line."""
        if not self._prompting or self.closing:
            return ""
        if not self._timed:
            return "> "
        seconds = int(self._context.clock() - self._context.started_at)
        return f"[{seconds // 86400}:{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}]> "

    def _command(self, words: Sequence[str]) -> str:
        own = _OWN.get(words[0])
        if own is not None:
            return own(self, words[1:])
        if words[:3] == ["show", "cli", "level"]:
            return self.level.name.lower()
        if words[:3] == ["set", "timeout", "cli"]:
            return self._set_timeout(words[3:])
        found = self._registry.find(words)
        if found is None:
            return self._unknown(words)
        command, arguments = found
        if command.level > self.level:
            return "Permission denied"
        if command.handler is None:
            return f"'{command.name}' is not supported yet."
        try:
            answer = command.handler(arguments, self._context)
        except CommandError as error:
            return str(error)
        if not isinstance(answer, str):
            return f"'{command.name}' goes on and on: not supported yet."
        return answer

    def _unknown(self, words: Sequence[str]) -> str:
        for length in (2, 1):
            usage = self._registry.usage(words[:length], self.level)
            if usage and length <= len(words):
                return f"Unknown command: '{words[-1]}', but maybe one of the following ones is a better match:\n{usage}"
        return f"Unknown command: '{words[0]}'. Please enter one of the following commands only:\n{self._all_usage()}"

    def _all_usage(self) -> str:
        return self._registry.usage((), self.level) + _OWN_USAGE

    # --- commands about the connection itself ------------------------------------------------------------------------

    def _help(self, words: Sequence[str]) -> str:
        if words:
            usage = self._registry.usage(words, self.level)
            if usage:
                return f"The following commands are valid at this level:\n{usage}"
        return f"The following commands are valid at this level:\n{self._all_usage()}"

    def _prompt(self, words: Sequence[str]) -> str:
        if not words:
            # manual: without any option this cycles between prompt mode and non-interactive mode
            self._prompting = self.interactive = not self._prompting
        for word in words:
            if word == "help":
                return "Usage: prompt [help | n | i | p | timed]*\n  n: non-interactive, i: interactive, p: with prompt"
            if word == "timed":
                self._timed = not self._timed
                self._prompting = self.interactive = True
            elif word in ("n", "i", "p"):
                self.interactive = word != "n"
                self._prompting = word == "p"
            else:
                return f"'prompt' knows no '{word}': one of help, n, i, p, timed."
        return ""

    def _quit(self, _: Sequence[str]) -> str:
        self.closing = True
        return ""

    def _lower(self, level: Level) -> str:
        if self.level < level:
            return "Permission denied"
        self.level = level
        return ""

    def _set_timeout(self, words: Sequence[str]) -> str:
        try:
            seconds = parse_time(words[0], "s") if words else 0.0
        except UnitError as error:
            return str(error)
        if seconds <= 0.0:
            return "'set timeout cli' expects a delay in seconds, above zero."
        self.timeout = seconds
        return ""

    def _operator(self, _: Sequence[str]) -> str:
        return self._lower(Level.OPERATOR)

    def _user(self, _: Sequence[str]) -> str:
        return self._lower(Level.USER)

    def _echo(self, words: Sequence[str]) -> str:
        return " ".join(words)


def _has_space(text: str) -> bool:
    return any(one.isspace() for one in text)


_OWN: dict[str, Callable[[CliSession, Sequence[str]], str]] = {
    "help": CliSession._help,
    "prompt": CliSession._prompt,
    "quit": CliSession._quit,
    "operator": CliSession._operator,
    "user": CliSession._user,
    "echo": CliSession._echo,
}

_OWN_USAGE = """
  echo <text> : print some text
  help [<command>] : full or matching commands list
  operator : lower the level of the current session to operator
  prompt [help | n | i | p | timed]* : toggle interactive mode with prompt
  quit : disconnect
  set timeout cli <delay> : change the timeout of this connection, in seconds
  show cli level : display the level of this connection
  user : lower the level of the current session to user"""
