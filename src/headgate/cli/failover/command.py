"""The command line of `headgate failover-config`."""

from __future__ import annotations

import argparse
import ipaddress
import os
import shlex
import sys
from collections.abc import Sequence

from headgate.cli.configuration import configuration_of
from headgate.cli.console import Console
from headgate.cli.failover.interfaces import Interface, NoInterfaces, read_interfaces
from headgate.cli.failover.plan import FailoverError, FailoverPlan, Host, Wishes, plan_failover
from headgate.cli.failover.texts import CHECK, CONFIGURATION, check_script, keepalived_configuration

_DIRECTORY = "/etc/keepalived"


def failover_command(words: Sequence[str]) -> int:
    """Write keepalived's configuration and its check script, or print the configuration.

    Returns:
        The exit code: 0, or 1 with the reason on stderr.
    """
    arguments = _parser().parse_args(words)
    config = configuration_of(arguments.files)
    if config is None:
        return 1
    wishes = Wishes(
        tuple(arguments.address), arguments.interface, tuple(arguments.peer), arguments.priority, arguments.router_id,
        arguments.interval, arguments.preempt,
    )
    try:
        plan = plan_failover(config, wishes, _interfaces(arguments.interface is None or not arguments.address))
    except (FailoverError, NoInterfaces) as error:
        sys.stderr.write(f"headgate failover-config: {error}\n")
        return 1
    Console(quiet=False, diagnostics=False).show(plan.remarks)
    configuration = keepalived_configuration(plan, arguments.directory or _DIRECTORY, arguments.script_user)
    if arguments.directory is None:
        sys.stdout.write(configuration)
        sys.stderr.write(f"With --directory {_DIRECTORY}, this and {CHECK} are written there.\n")
        return 0
    try:
        _write(os.path.join(arguments.directory, CONFIGURATION), configuration, 0o644)
        _write(os.path.join(arguments.directory, CHECK), check_script(plan), 0o755)
    except OSError as error:
        sys.stderr.write(f"headgate failover-config: can't write {error.filename}: {error.strerror}\n")
        return 1
    _say_what_is_left(plan, arguments)
    return 0


def _interfaces(needed: bool) -> list[Interface]:
    return read_interfaces() if needed else []


def _write(path: str, text: str, mode: int) -> None:
    """Replace a file at once: keepalived may read it any time."""
    fresh = f"{path}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(fresh, mode)
    os.replace(fresh, path)


def _say_what_is_left(plan: FailoverPlan, arguments: argparse.Namespace) -> None:
    other = plan.wishes.priority - 50 if plan.wishes.priority > 50 else plan.wishes.priority + 50
    addresses = [word for one in plan.floating for word in ("--address", str(one.host))]
    files = [word for file in arguments.files for word in ("-f", file)]
    command = ["headgate", "failover-config", *files, *addresses, "--router-id", str(plan.router_id), "--priority", str(other)]
    command += ["--preempt"] if plan.wishes.preempt else []
    command += ["--interval", f"{plan.wishes.interval:g}", *(["--peer", "THIS_MACHINE"] if plan.wishes.peers else [])]
    sys.stdout.write(
        f"Written: {arguments.directory}/{CONFIGURATION} and {CHECK}.\n"
        f"On the other machine: {shlex.join([*command, '--directory', arguments.directory])}\n"
        "Then on both: systemctl restart keepalived\n"
    )


def _address(text: str) -> Host:
    return ipaddress.ip_address(text.partition("/")[0])


def _within(lowest: int, highest: int) -> type[int]:
    def number(text: str) -> int:
        value = int(text)
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{value} is not between {lowest} and {highest}")
        return value

    return number  # type: ignore[return-value]  # argparse takes any callable


def _interval(text: str) -> float:
    value = float(text)
    if not 0.05 <= value <= 40.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.05 and 40 seconds")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headgate failover-config",
        description="Write a keepalived configuration that moves the addresses of this configuration between two machines.",
    )
    add = parser.add_argument
    add("-f", dest="files", action="append", required=True, metavar="FILE", help="configuration of headgate; may be repeated")
    add("--address", action="append", default=[], type=_address, help="an address that moves; default: those of the bind lines "
        "that this machine does not have for itself")
    add("--interface", help="where the addresses are added; default: the interface whose network they are in")
    add("--peer", action="append", default=[], type=_address, help="address of the other machine, where there is no multicast")
    add("--priority", type=_within(1, 254), default=100, help="1 to 254; the highest one has the addresses (default: 100)")
    add("--router-id", type=_within(1, 255), help="VRRP identifier, equal on both machines (default: from the address)")
    add("--interval", type=_interval, default=0.3, help="seconds between advertisements; three are waited for (0.3)")
    add("--preempt", action="store_true", help="the machine of the higher priority takes the addresses back when it returns")
    add("--script-user", default="root", help="whom the check runs as; must be able to open the stats socket (root)")
    add("--directory", help=f"write {CONFIGURATION} and {CHECK} there; without it the configuration is printed")
    return parser
