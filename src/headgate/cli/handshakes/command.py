"""The command line of `headgate handshakes`: asks, shows, waits, until somebody presses Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console as Terminal
from rich.live import Live

from headgate.base.addresses import Address
from headgate.base.handshake_causes import BY_CODE
from headgate.cli.configuration import configuration_of
from headgate.cli.handshakes.asking import CannotAsk, Group, Wanted, Watch, as_json, asker, chosen_socket, named_socket
from headgate.cli.handshakes.view import page

_INTERVAL = 2.0
#: Where nobody says how wide it is (a pipe), columns.
_WIDTH = 80


def handshakes_command(words: Sequence[str]) -> int:
    """Show failed handshakes and probes by cause: live in a terminal, once otherwise.

    Returns:
        The exit code: 0, or 1 with the reason on stderr.
    """
    arguments = _parser().parse_args(words)
    try:
        address = named_socket(arguments.socket) if arguments.socket else _of_configuration(arguments.files)
        if address is None:
            return 1
        watch = Watch(asker(address), Wanted(arguments.failed, arguments.cause or "", arguments.frontend))
        source = address.host if not address.port else f"{address.host}:{address.port}"
        groups = watch.look(time.monotonic())
        if arguments.frontend and not groups:
            watch.check_frontend()
        if arguments.json:
            _print_json(watch, groups, arguments.interval)
        elif arguments.once or not sys.stdout.isatty():
            _print(groups, source)
        else:
            _live(watch, groups, source, arguments.interval or _INTERVAL)
    except CannotAsk as error:
        sys.stderr.write(f"headgate handshakes: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _of_configuration(files: Sequence[str]) -> Address | None:
    config = configuration_of(files)
    return chosen_socket(config) if config is not None else None


def _print(groups: Sequence[Group], source: str) -> None:
    terminal = Terminal(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    with terminal.capture() as captured:
        terminal.print(page(groups, source=source, wall=time.time()))
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _print_json(watch: Watch, groups: Sequence[Group], interval: float | None) -> None:
    while True:
        sys.stdout.write(as_json(groups) + "\n")
        sys.stdout.flush()
        if interval is None:
            return
        time.sleep(interval)
        groups = watch.look(time.monotonic())


def _live(watch: Watch, groups: Sequence[Group], source: str, interval: float) -> None:
    """A page that is drawn anew; a process that goes away (a restart) is waited for."""
    terminal = Terminal(highlight=False)
    trouble = ""
    with Live(console=terminal, screen=True, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            shown = page(groups, source=source, wall=time.time(), trouble=trouble, interval=interval)
            live.update(shown, refresh=True)
            time.sleep(interval)
            try:
                groups, trouble = watch.look(time.monotonic()), ""
            except CannotAsk as error:
                trouble = str(error)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.2 <= value <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.2 and 3600 seconds")
    return value


def _cause(text: str) -> str:
    if text not in BY_CODE:
        raise argparse.ArgumentTypeError(f"unknown cause '{text}': `headgate handshake-causes` lists them")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headgate handshakes",
        description="Why TLS handshakes fail, by cause, with the newest example and what to change: live in a terminal.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", metavar="PATH", help="the stats socket of the running process, or HOST:PORT")
    where.add_argument(
        "-f", dest="files", action="append", metavar="FILE", help="its configuration, which names the socket; may be repeated"
    )
    add = parser.add_argument
    add("--failed", action="store_true", help="leave out probes")
    add("--cause", type=_cause, help="only this cause")
    add("--frontend", default="", help="only this frontend")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--once", action="store_true", help="print once and leave, as it does without a terminal")
    when.add_argument("--interval", type=_seconds, metavar="SECONDS", help=f"between two looks ({_INTERVAL:g})")
    add("--json", action="store_true", help="JSON, once; with --interval again and again, a line each time")
    return parser
