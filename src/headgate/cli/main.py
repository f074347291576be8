"""The command `headgate`: answers at once what needs no configuration, hands everything else to `run`.

Modules are imported where they are used: `-v` and `-cc` are asked often by scripts and must not wait for OpenSSL or the
event loop to be loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from headgate.cli.options import CommandLineError, Options, parse, usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the program's name; None for those of this process.

    Returns:
        The exit code. 0: done, or the condition of `-cc` holds. 1: an error, or it does not hold. 2: nothing to listen to (as
        HAProxy answers), or the condition can't be evaluated.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words[:1] == ["keywords"]:
            from headgate.cli.keywords import keywords_command

            return keywords_command(words[1:])
        if words[:1] == ["handshake-causes"]:
            from headgate.cli.handshake_causes import causes_command

            return causes_command(words[1:])
        if words[:1] == ["handshakes"]:
            from headgate.cli.handshakes.command import handshakes_command

            return handshakes_command(words[1:])
        if words[:1] == ["failover-config"]:
            from headgate.cli.failover.command import failover_command

            return failover_command(words[1:])
        return _dispatch(parse(words))
    except CommandLineError as error:
        return _misused(str(error))
    except BrokenPipeError:
        # `headgate keywords | head`: the reader has seen enough. Python must not complain again while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(options: Options) -> int:
    if options.version is not None:
        from headgate.cli.version import version_text

        sys.stdout.write(version_text(options.version))
        return 0
    if options.condition is not None:
        from headgate.cli.conditions import condition_command

        return condition_command(options)
    if options.dump_keywords == "help":
        from headgate.cli.keywords import classes_text

        sys.stdout.write(classes_text())
        return 0
    if not options.files:
        return _misused("no configuration file was given ('-f')")
    from headgate.cli.run import run

    return run(options)


def _misused(reason: str) -> int:
    from headgate.cli.version import version_text

    sys.stderr.write(f"headgate: {reason}\n\n{version_text('v')}{usage('headgate')}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
