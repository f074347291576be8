"""`-cc <condition>`: evaluates a condition of the configuration language (manual 2.4) for scripts."""

from __future__ import annotations

import os
import sys

from headgate.base.diagnostics import ConfigError
from headgate.cli.facts import build_facts
from headgate.cli.messages import of_diagnostic
from headgate.cli.options import Options
from headgate.config.environment import define_variables
from headgate.config.predicates import evaluate

_TRUE, _FALSE, _ERROR = 0, 1, 2


def condition_command(options: Options) -> int:
    """Evaluate the condition of `-cc`.

    Returns:
        The exit code: 0 when it is true, 1 when it is false, 2 when it can't be evaluated.
    """
    condition = options.condition or ""
    facts = build_facts(options)
    environment = dict(os.environ)
    define_variables(environment, facts.version)
    try:
        return _TRUE if evaluate(condition, facts, environment) else _FALSE
    except ConfigError as error:
        if not options.quiet or options.verbose:
            sys.stderr.write(of_diagnostic(error.diagnostic, os.getpid()) + "\n")
        return _ERROR
