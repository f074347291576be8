"""Master-worker mode (`-W`, `-Ws`, `-S`): puts the master together out of the command line and the first configuration."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from headgate import COMPATIBLE_VERSION, __version__
from headgate.admin.registry import Level
from headgate.base.addresses import Family
from headgate.base.diagnostics import ConfigError, Report, Severity
from headgate.cli.console import Console
from headgate.cli.generations import Generations
from headgate.cli.options import Options
from headgate.config.addresses import parse_address
from headgate.config.cursor import Cursor
from headgate.config.drafts import BindDraft
from headgate.config.keywords import line_options
from headgate.config.model import Bind, Config, UnixPermissions
from headgate.config.registry import Scope
from headgate.config.words import split_line
from headgate.runtime.listening import STATS_BACKLOG
from headgate.runtime.process.identity import Identity, resolve_identity
from headgate.runtime.process.master import Master
from headgate.runtime.process.master_cli import CliListener, MasterCli
from headgate.runtime.process.memory_directory import SHARED_MEMORY, MemoryDirectory
from headgate.runtime.process.systemd import SystemdNotifier
from headgate.runtime.sockets import open_listeners

_FAILED = 1
#: Options of stats sockets that the master could only ignore.
_NOT_FOR_THE_MASTER = {
    "expose-fd": "listening sockets are not given out over the master CLI",
    **dict.fromkeys(("process", "thread", "shards"), "the master alone answers there"),
    "name": "nothing shows it",
}
_LEVELS = {"user": Level.USER, "operator": Level.OPERATOR, "admin": Level.ADMIN}


def supervise(
    config: Config,
    options: Options,
    report: Report,
    environment: Mapping[str, str],
    console: Console,
    on_ready: Callable[[], None],
    inherited: dict[str, socket.socket],
) -> int:
    """Be the master until everything has ended.

    Args:
        config, report: of the first generation; its items were shown.
        options: the command line.
        environment: as it was before the configuration was read.
        console: shows messages.
        on_ready: called when the first generation serves.
        inherited: listening sockets of an older process.

    Returns:
        The exit code.
    """
    try:
        cli = MasterCli(open_master_sockets(options.master_sockets), f"{COMPATIBLE_VERSION}-headgate-{__version__}")
        identity = resolve_identity(config.global_)
    except ConfigError as error:
        console.show([error.diagnostic])
        return _FAILED
    notifier = SystemdNotifier(os.environ.get("NOTIFY_SOCKET") if options.notify_systemd else None)
    memory = MemoryDirectory(_owner(identity))
    private = MemoryDirectory()
    if private.path is None:
        private = MemoryDirectory(parent=Path(tempfile.gettempdir()))
    if private.path is None:
        console.say(Severity.ALERT, f"neither {SHARED_MEMORY} nor {tempfile.gettempdir()} can be written to")
        return _FAILED
    try:
        master = Master(
            Generations(options, config, report, environment, console),
            console.say,
            notifier,
            on_ready,
            cli=cli,
            inherited=inherited,
            private=private.path,
            tables=memory.path,
            make_session_context=_make_session_context,
            speaks_tls=any(bind.tls is not None for proxy in config.proxies for bind in proxy.binds),
        )
        return master.run()
    finally:
        memory.remove()
        private.remove()


def _owner(identity: Identity) -> tuple[int | None, int | None]:
    return (identity.uid, identity.gid) if os.geteuid() == 0 else (None, None)


def _make_session_context() -> object:
    from headgate.tls.session_context import make_session_context  # OpenSSL, only where there is TLS

    return make_session_context()


def open_master_sockets(texts: Sequence[str]) -> list[CliListener]:
    """Bind the `-S` options: an address, then options of a stats socket, all separated by commas.

    Raises:
        ConfigError: one can't be understood or bound.
    """
    opened: list[CliListener] = []
    try:
        for text in texts:
            opened.append(_open_master_socket(text))  # noqa: PERF401 - what is open must be closed again
    except ConfigError:
        for one in opened:
            one.sock.close()
        raise
    return opened


def _open_master_socket(text: str) -> CliListener:
    words = split_line(f"-S {text.replace(',', ' ')}", "command line", 0, {})
    report = Report()
    cursor = Cursor(words, report, 1)
    address = parse_address(cursor.next("an address for the master CLI"), port="mandatory")
    draft = BindDraft(words[0].location)
    for word in cursor.rest:
        if word.text in _NOT_FOR_THE_MASTER:
            raise cursor.wrong(word, f"option '{word.text}' on a '-S' line is not supported: {_NOT_FOR_THE_MASTER[word.text]}")
    line_options.read_options(cursor, Scope.STATS_SOCKET, draft)
    settings = draft.settings
    permissions = UnixPermissions(settings.value("mode"), settings.value("user"), settings.value("group"))
    bind = Bind(address, words[0].location, permissions=permissions)
    sock = open_listeners(bind, STATS_BACKLOG)[0]
    return CliListener(sock, _LEVELS[settings.value("level", "admin")], address.host if address.family is Family.UNIX else None)


