"""One connection's conversation with the runtime API: lines in, text out (management manual 9.3). Knows no socket.

Handles what belongs to the connection: its level and modes, `;`, escapes, payloads, prompts, timeout. Driven by
`runtime.stats_socket`; the commands about the connection itself are in `admin.commands.connection`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

from headgate.admin.context import Context
from headgate.admin.executor import Executor, LocalExecutor
from headgate.admin.registry import Command, CommandError, Escaped, Level, Mode, Registry

#: tune.cli.max-payload-size: 128 kB unless set.
LONGEST_PAYLOAD = 128 * 1024
_LONGEST_PATTERN = 64
_SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def split_line(line: str) -> list[list[str]]:
    """Split a line into commands at `;` and each into words at white space; a backslash makes the next character ordinary.

    Words that begin with one are `Escaped`.
    """
    commands: list[list[str]] = [[]]
    word: list[str] | None = None
    kind: type[str] = str
    characters = iter(line)
    for one in characters:
        if one == "\\":
            kind = Escaped if word is None else kind
            word = word or []
            word.append(next(characters, "\\"))
        elif one == ";" or one.isspace():
            if word is not None:
                commands[-1].append(kind("".join(word)))
                word, kind = None, str
            if one == ";":
                commands.append([])
        else:
            word = word or []
            word.append(one)
    if word is not None:
        commands[-1].append(kind("".join(word)))
    return [command for command in commands if command]


class CliSession:
    """One connection.

    Args:
        registry: the commands.
        context: what they act on.
        level: the level of the socket.
        timeout: seconds of silence that end the connection.
        executor: runs commands where they belong; here unless given.
        longest_payload: tune.cli.max-payload-size, characters.

    Attributes:
        interactive: further lines are read after this one.
        prompting, timed: they are asked for with a prompt, with the uptime in it.
        closing: the connection is to be closed once the answer is sent.
        modes: what was switched on (`expert-mode`, `experimental-mode`).
        severity_output: "none", "number" or "string": what stands before messages.
        anonymous_key: hides names and addresses in answers (`set anon`); 0 for not.
        watching: the command that runs ends as soon as the client sends something or closes its side.
        on_bug: told of an exception that nobody expected; the client is told in one line.
    """

    def __init__(
        self,
        registry: Registry,
        context: Context,
        level: Level,
        timeout: float = 10.0,
        executor: Executor | None = None,
        longest_payload: int = LONGEST_PAYLOAD,
    ) -> None:
        self.registry = registry
        self.context = context
        self.level = level
        self.timeout = timeout
        self.interactive = False
        self.prompting = False
        self.timed = False
        self.closing = False
        self.modes: set[Mode] = set()
        self.severity_output = "none"
        self.anonymous_key = 0
        self.watching = False
        self.on_bug: Callable[[Exception], None] = _unheard
        self._executor: Executor = executor if executor is not None else LocalExecutor()
        self._longest_payload = longest_payload
        self._payload: list[str] | None = None
        self._payload_size = 0
        self._payload_end = ""
        self._pending = ""

    async def line(self, line: str) -> AsyncGenerator[str, None]:
        """Take one line (without its line feed) and answer it piece by piece; nothing when there is nothing to say yet.

        To be closed (`aclose`) when the client is gone before the end: the command that runs hears of it.
        """
        if self._payload is not None:
            if line != self._payload_end:
                yield self._payload_line(line, self._payload)
                return
            line, payload, self._payload = self._pending, "\n".join(self._payload), None
        else:
            head, mark, pattern = line.rpartition("<<")
            if mark and (not head or head[-1].isspace()) and len(pattern) <= _LONGEST_PATTERN and not _has_space(pattern):
                self._pending, self._payload, self._payload_end, self._payload_size = head, [], pattern, 0
                yield "+ " if self.prompting else ""
                return
            payload = None
        running = self._run(line, payload)
        try:
            async for piece in running:
                yield piece
        finally:
            await running.aclose()

    def _payload_line(self, line: str, payload: list[str]) -> str:
        self._payload_size += len(line) + 1
        if self._payload_size > self._longest_payload:
            self.closing = True
            return f"The payload is longer than {self._longest_payload} bytes.\n\n"
        payload.append(line)
        return "+ " if self.prompting else ""

    async def _run(self, line: str, payload: str | None) -> AsyncGenerator[str, None]:
        commands = split_line(line)
        for index, words in enumerate(commands):
            if payload is not None and index == len(commands) - 1:
                words = [*words, payload]
            answer = self._answer(words)
            if isinstance(answer, str):
                yield _terminated(answer)
            else:
                try:
                    async for piece in answer:
                        yield piece
                finally:
                    await answer.aclose()
            if self.closing:
                break
        if not commands and self.prompting:
            yield "\n"
        if not self.interactive:
            self.closing = True
        yield self.prompt()

    def prompt(self) -> str:
        """What stands before the next line."""
        if not self.prompting or self.closing:
            return ""
        if not self.timed:
            return "> "
        seconds = int(self.context.clock() - self.context.started_at)
        return f"[{seconds // 86400}:{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}]> "

    def _answer(self, words: Sequence[str]) -> str | AsyncGenerator[str, None]:
        """Begin one command: its whole answer, or the pieces of a terminated one."""
        try:
            command, arguments = self._find(words)
            if command.own is not None:
                return command.own(arguments, self)
            answer = self._executor.execute(command, arguments, self.context)
        except CommandError as error:
            return self.message(error)
        except Exception as error:
            return self._broke(error)
        return self._shown(command, answer) if isinstance(answer, str) else self._pieces(command, answer)

    def _shown(self, command: Command, text: str) -> str:
        """An answer as this connection wants to see it."""
        if not self.anonymous_key:
            return text
        from headgate.admin.anonymous import hide

        return hide(command.name, text, self.anonymous_key)

    def _find(self, words: Sequence[str]) -> tuple[Command, Sequence[str]]:
        found = self.registry.find(words)
        if found is None:
            raise CommandError(self._unknown(words), 6)
        command, arguments = found
        if command.level > self.level:
            raise CommandError("Permission denied")
        if command.requires is not None and command.requires not in self.modes:
            raise CommandError(f"This command is restricted to {command.requires.value} mode only.")
        if not command.supported:
            raise CommandError(f"'{command.name}' is not supported yet.")
        return command, arguments

    async def _pieces(self, command: Command, answer: Awaitable[str] | AsyncIterator[str]) -> AsyncGenerator[str, None]:
        """What a command says over time, each piece at once, with an empty line at the end and none before."""
        ended = "\n"  # what makes an empty line of it: one line feed behind a line feed, two behind text
        self.watching = command.watches
        try:
            if isinstance(answer, Awaitable):
                yield _terminated(self._shown(command, await answer))
                return
            async for piece in answer:
                piece = self._shown(command, piece)
                text = piece.rstrip("\n")
                if text:
                    ended = "\n" if text != piece else "\n\n"
                    yield text if text == piece else f"{text}\n"
        except CommandError as error:
            yield self.message(error)
            ended = "\n\n"
        except Exception as error:
            yield self._broke(error)
            ended = "\n\n"
        finally:
            self.watching = False
            if isinstance(answer, AsyncGenerator):
                await answer.aclose()
        yield ended

    def _broke(self, error: Exception) -> str:
        self.on_bug(error)
        return self.message(CommandError(f"Internal error ({type(error).__name__}): please report it with the log."))

    def message(self, error: CommandError) -> str:
        """A message as this connection wants to see it (`set severity-output`)."""
        if self.severity_output == "none":
            return str(error)
        severity = error.severity if self.severity_output == "number" else _SEVERITIES[error.severity]
        return f"[{severity}]: {error}"

    def _unknown(self, words: Sequence[str]) -> str:
        for length in (2, 1):
            usage = self.usage(words[:length])
            if usage and length <= len(words):
                return f"Unknown command: '{words[-1]}', but maybe one of the following ones is a better match:\n{usage}"
        return f"Unknown command: '{words[0]}'. Please enter one of the following commands only:\n{self.usage(())}"

    def usage(self, words: Sequence[str]) -> str:
        """The lines of `help` for what this connection may use now and what begins with `words`."""
        return self.registry.usage(words, self.level, self.modes)


def _terminated(answer: str) -> str:
    answer = answer.rstrip("\n")
    return f"{answer}\n\n" if answer else "\n"


def _unheard(_: Exception) -> None:
    return None


def _has_space(text: str) -> bool:
    return any(one.isspace() for one in text)
