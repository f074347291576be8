"""The master CLI (`-S`; management manual 9.4): commands about the master, and a way to the runtime API of each generation.

Runs on the master's selector: nothing here may wait. What a connection sends and is to be sent is bounded, and so is its silence.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from headgate.admin.registry import Level
from headgate.base.records import dataclass
from headgate.runtime.process.generation import GenerationRecord
from headgate.runtime.process.mcli_commands import COMMANDS, Reply, wanted
from headgate.runtime.sockets import file_identity

if TYPE_CHECKING:
    from headgate.runtime.process.master import Master

MOST_CONNECTIONS = 32
LONGEST_LINE = 16384
LONGEST_PAYLOAD = 1 << 20
#: Bytes that a client has not taken yet before its generation's answer is no longer read.
_ENOUGH = 65536
#: Seconds without a byte until a connection is closed: between commands, and while a generation answers.
IDLE_LIMIT, ANSWER_LIMIT = 300.0, 900.0
_PIECE = 16384


@dataclass(frozen=True, slots=True)
class CliListener:
    """One `-S` option, bound.

    Attributes:
        sock: listening.
        level: of those who connect.
        path: of its file, None where it has none.
    """

    sock: socket.socket
    level: Level
    path: str | None = None


class MasterCli:
    """All listeners and connections.

    Args:
        listeners: open.
        version: as `show version` and `show proc` tell it.
    """

    def __init__(self, listeners: list[CliListener], version: str) -> None:
        self.version = version
        self._listeners = listeners
        self._files = {one.path: file_identity(one.path) for one in listeners if one.path is not None}
        self.connections: set[Connection] = set()

    def start(self, master: Master) -> None:
        """Accept connections from now on."""
        for listener in self._listeners:
            listener.sock.setblocking(False)
            master.selector.register(listener.sock, selectors.EVENT_READ, self._acceptor(master, listener))

    def _acceptor(self, master: Master, listener: CliListener) -> Callable[[int], None]:
        def accept(_: int) -> None:
            try:
                sock, _address = listener.sock.accept()
            except OSError:
                return
            if len(self.connections) >= MOST_CONNECTIONS:
                sock.close()
                return
            sock.setblocking(False)
            self.connections.add(Connection(self, master, sock, listener.level))

        return accept

    def look(self, now: float) -> None:
        """Close what has been silent for too long."""
        for connection in list(self.connections):
            if now - connection.active > (ANSWER_LIMIT if connection.busy else IDLE_LIMIT):
                connection.close()

    def close(self, *, unlink: bool) -> None:
        """Close all sockets.

        Args:
            unlink: remove the files as well, unless somebody else's are in their place.
        """
        for connection in list(self.connections):
            if unlink:
                connection.close()
            else:
                connection.abandon()
        for listener in self._listeners:
            listener.sock.close()
            path = listener.path
            if unlink and path is not None and file_identity(path) == self._files[path]:
                with contextlib.suppress(OSError):
                    os.unlink(path)


def split_commands(line: str) -> list[str]:
    """Cut a line at each `;` that no backslash stands before."""
    parts = [""]
    escaped = False
    for one in line:
        if one == ";" and not escaped:
            parts.append("")
        else:
            parts[-1] += one
        escaped = one == "\\" and not escaped
    return [part.strip() for part in parts if part.strip()]


class Connection:
    """One client of the master CLI.

    Attributes:
        master, cli: whom it talks to.
        level: what it may do.
        prompting: it is asked for commands with a prompt, and stays open between lines.
        target: the generation that commands go to, None for the master itself.
        modes: of "x" and "e" (experimental, expert).
        busy: an answer is under way.
        active: when something last moved, monotonic seconds.
    """

    def __init__(self, cli: MasterCli, master: Master, sock: socket.socket, level: Level) -> None:
        self.cli = cli
        self.master = master
        self.level = level
        self.prompting = False
        self.target: GenerationRecord | None = None
        self.modes: set[str] = set()
        self.busy = False
        self.active = time.monotonic()
        self.closing = False
        self._sock = sock
        self._in = b""
        self._out = bytearray()
        self._queue: deque[str] = deque()
        self._payload: tuple[str, str, list[str]] | None = None
        self._payload_size = 0
        self._eof = False
        self._relay: Relay | None = None
        self._mask = 0
        self.watch()

    # --- the client's socket ---

    def watch(self) -> None:
        """Be told of what is of interest now."""
        raw = self._relay is not None and self._relay.raw
        reads = not self._eof and not self.closing and (raw or not self.busy) and len(self._out) < _ENOUGH
        mask = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._out else 0)
        if mask == self._mask or self._sock.fileno() < 0:
            return
        if not self._mask:
            self.master.selector.register(self._sock, mask, self._event)
        elif mask:
            self.master.selector.modify(self._sock, mask, self._event)
        else:
            self.master.selector.unregister(self._sock)
        self._mask = mask

    def _event(self, events: int) -> None:
        self.active = time.monotonic()
        if events & selectors.EVENT_WRITE and self._out:
            self._flush()
            if self._relay is not None:
                self._relay.watch()
        if events & selectors.EVENT_READ and self._sock.fileno() >= 0 and not self._eof:
            self._read()
        self._go_on()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._eof = True
            if self._relay is not None:
                self._relay.client_eof()
        elif self._relay is not None and self._relay.raw:
            self._relay.send(data)
        else:
            self._in += data

    def _drain(self) -> None:
        """Take what the client has sent already: unread bytes would make the close destroy our answer."""
        with contextlib.suppress(OSError):
            for _ in range(LONGEST_PAYLOAD // _PIECE):
                if not self._sock.recv(_PIECE):
                    break

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._out[:sent]

    def write(self, data: bytes) -> None:
        """Send to the client, in its own time."""
        self._out += data
        self._flush()

    @property
    def has_room(self) -> bool:
        """Whether the client takes what it is sent."""
        return len(self._out) < _ENOUGH

    def close(self) -> None:
        """End it."""
        if self._sock.fileno() < 0:
            return
        if self._mask:
            self.master.selector.unregister(self._sock)
            self._mask = 0
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()
        self._sock.close()
        self.cli.connections.discard(self)

    def abandon(self) -> None:
        """Close the descriptors in a process that was just forked."""
        self._sock.close()
        if self._relay is not None:
            self._relay.abandon()

    # --- lines and commands ---

    def _go_on(self) -> None:
        """Do what can be done now: the next command, the next line, or the end."""
        while not self.busy and not self.closing and self._sock.fileno() >= 0:
            if self._queue:
                self._run(self._queue.popleft())
                if not self._queue and not self.busy and not self.closing:
                    self._line_done()
            elif not self._next_line():
                break
        if self._sock.fileno() < 0:
            return
        if self.closing and not self._out and not self.busy:
            self.close()
        else:
            self.watch()

    def _next_line(self) -> bool:
        """Take a line out of what has come. False when there is none."""
        end = self._in.find(b"\n")
        if end < 0 and self._eof:
            if not self._in:
                self.closing = True
                return False
            end = len(self._in)
        if end < 0:
            if len(self._in) > LONGEST_LINE:
                self.write(b"The line is longer than %d bytes.\n\n" % LONGEST_LINE)
                self.closing = True
                self._drain()
            return False
        line = self._in[:end].rstrip(b"\r").decode("utf-8", "surrogateescape")
        self._in = self._in[end + 1 :]
        self._take_line(line)
        return True

    def _take_line(self, line: str) -> None:
        if self._payload is not None:
            head, pattern, lines = self._payload
            if line != pattern:
                self._payload_size += len(line) + 1
                if self._payload_size > LONGEST_PAYLOAD:
                    self.write(b"The payload is longer than %d bytes.\n\n" % LONGEST_PAYLOAD)
                    self.closing = True
                lines.append(line)
                return
            self._payload = None
            self._enqueue(head, "\n" + "\n".join([*lines, pattern]))
            return
        head, mark, pattern = line.rpartition("<<")
        if mark and not any(one.isspace() for one in pattern) and (not head or head[-1].isspace()):
            self._payload = (line, pattern, [])
            self._payload_size = 0
            return
        self._enqueue(line, "")

    def _enqueue(self, line: str, payload: str) -> None:
        if line.lstrip().startswith("@@"):
            commands = [line.strip()]
        else:
            commands = split_commands(line)
        if commands:
            commands[-1] += payload
            self._queue.extend(commands)
        else:
            self._line_done()

    def _line_done(self) -> None:
        if self.prompting:
            self.write(self.prompt().encode())
        else:
            self.closing = True

    def prompt(self) -> str:
        """`master> `, `master[ReloadFailed](xe)> `, `1234> `"""
        flags = "".join(flag for flag in "xe" if flag in self.modes)
        name = str(self.target.pid) if self.target is not None else "master"
        if self.target is None and self.master.failed:
            name += "[ReloadFailed]"
        return f"{name}({flags})> " if flags else f"{name}> "

    def _run(self, command: str) -> None:
        target = self.target
        if command.startswith("@"):
            raw = command.startswith("@@")
            name, _, command = command.lstrip("@").partition(" ")
            try:
                target = self._find(name)
            except LookupError as error:
                self.answer(str(error))
                return
            command = command.lstrip()  # an empty line at the end is the end of a payload
            if not command and not raw:
                self.target = target
                return
            if raw and target is not None:
                self._start_relay(target, command, raw=True)
                return
        found = wanted(command, own_only=target is not None)
        if found is not None and (target is None or found.is_of_connection):
            self._run_own(found.run, found.level, command[len(found.name) :].split())
        elif target is not None:
            self._start_relay(target, command, raw=False)
        else:
            names = ", ".join(f"'{one.name}'" for one in COMMANDS)
            first = command.partition("\n")[0]  # a payload may be a private key
            self.answer(f"Unknown command of the master: '{first}'. It knows {names}; '@1 {first}' asks the worker.")

    def _run_own(self, run: Callable[[Connection, list[str]], Reply], level: Level, words: list[str]) -> None:
        if self.level < level:
            self.answer("Permission denied")
            return
        text = run(self, words)
        if text is not None:
            self.answer(text)

    def answer(self, text: str) -> None:
        """Answer a command: its text, and an empty line."""
        if text and not text.endswith("\n"):
            text += "\n"
        self.write(f"{text}\n".encode("utf-8", "surrogateescape"))

    def finish(self, text: str) -> None:
        """The answer to a command that took its time, after which the connection is closed."""
        if self._sock.fileno() >= 0:
            self.busy = False
            self.closing = True
            self.answer(text)
            self._go_on()

    def _find(self, name: str) -> GenerationRecord | None:
        """The generation that `1`, `!pid` or `master` names; None for the master."""
        if name in ("", "0", "master"):
            return None
        current = self.master.current
        if name == "1" and current is not None:
            return current
        for record in self.master.records:
            if name == f"!{record.pid}" and record.is_ready:
                return record
        raise LookupError(f"Can't find the target PID matching the prefix '@{name}'")

    # --- the way to a generation ---

    def _start_relay(self, target: GenerationRecord, command: str, *, raw: bool) -> None:
        self.busy = True
        try:
            self._relay = Relay(self, target, command, raw=raw)
        except OSError as error:
            self.busy = False
            self.answer(f"Process {target.pid} does not answer: {error.strerror}")
            return
        if raw:  # what came along with the command is for the worker, too
            rest, self._in = self._in, b""
            self._relay.send(rest)
            if self._eof:
                self._relay.client_eof()

    def relay_over(self) -> None:
        """The generation has answered."""
        self._relay = None
        self.busy = False
        if not self._queue:
            self._line_done()
        self._go_on()

    def preparations(self) -> Iterator[str]:
        """What a generation's session is told first, so that it may do no more than this one."""
        if self.level < Level.ADMIN:
            yield self.level.name.lower()
        if "x" in self.modes:
            yield "experimental-mode on"
        if "e" in self.modes:
            yield "expert-mode on"


class Relay:
    """One command that a generation answers, or a conversation with it (`@@`).

    Args:
        client: whose it is.
        target: whom it goes to.
        command: its text; "" for a conversation.
        raw: all that the client sends goes on as well, until the generation ends it.

    Raises:
        OSError: the generation can't be reached.
    """

    def __init__(self, client: Connection, target: GenerationRecord, command: str, *, raw: bool) -> None:
        self.raw = raw
        self._client = client
        self._selector = client.master.selector
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.setblocking(False)
            self._sock.connect(target.cli)
        except OSError:
            self._sock.close()
            raise
        preparations = list(client.preparations())
        self._skip = len(preparations)  # each is answered by an empty line
        if not command:
            preparations.append("prompt p" if client.prompting else "prompt i")
        line = "; ".join([*preparations, *([command] if command else [])])
        self._out = bytearray(f"{line}\n".encode("utf-8", "surrogateescape"))
        self._ends = not raw  # the input of a single command is closed behind it (9.4.1)
        self._mask = 0
        self._flush()
        self.watch()

    def watch(self) -> None:
        """Be told of what is of interest now; called as well when the client has taken something."""
        mask = (selectors.EVENT_READ if self._client.has_room else 0) | (selectors.EVENT_WRITE if self._out else 0)
        if mask == self._mask or self._sock.fileno() < 0:
            return
        if not self._mask:
            self._selector.register(self._sock, mask, self._event)
        elif mask:
            self._selector.modify(self._sock, mask, self._event)
        else:
            self._selector.unregister(self._sock)
        self._mask = mask

    def _event(self, events: int) -> None:
        self._client.active = time.monotonic()
        if events & selectors.EVENT_WRITE and self._out:
            self._flush()
        if events & selectors.EVENT_READ and self._client.has_room:
            try:
                data = self._sock.recv(_PIECE)
            except BlockingIOError:
                data = None
            except OSError:
                data = b""
            if data == b"":
                self.close()
                self._client.relay_over()
                return
            while data and self._skip and data[:1] == b"\n":
                data, self._skip = data[1:], self._skip - 1
            if data:
                self._client.write(data)
                self._client.watch()
        self.watch()

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self._out.clear()  # the end of its answer is read next
            return
        del self._out[:sent]
        if self._ends and not self._out:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        """What the client of a conversation says."""
        if len(self._out) > LONGEST_PAYLOAD:
            self._client.close()
            return
        self._out += data
        self._flush()
        self.watch()

    def client_eof(self) -> None:
        """The client of a conversation says no more."""
        self._ends = True
        self._flush()

    def close(self) -> None:
        """End it."""
        if self._sock.fileno() >= 0:
            if self._mask:
                self._selector.unregister(self._sock)
                self._mask = 0
            self._sock.close()

    def abandon(self) -> None:
        """Close the descriptor in a process that was just forked."""
        self._sock.close()
