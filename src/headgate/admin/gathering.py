"""Commands that ask every worker: each collects facts, and one answer is written from the facts of all.

The workers' answers travel as JSON, so that who writes the answer adds up numbers instead of parsing text. A process that has
no workers beside it collects and writes in one go.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Mode, Scope

#: Facts of one process: anything that JSON can carry.
Facts = Any
#: Gets the words behind the command's name; raises CommandError when they make no sense. What takes long answers later, and lets
#: the process go on meanwhile.
Collect = Callable[[Sequence[str], Context], Facts]
#: Gets the words, and the facts of each process by the number of the worker (1 where there is only one).
Render = Callable[[Sequence[str], Mapping[int, Facts]], str]

_NOBODY = "No worker answered."


def gathered(
    name: str, usage: str, level: Level, collect: Collect, render: Render, requires: Mode | None = None, *, checks: bool = False
) -> Command:
    """A command of scope WORKERS.

    Args:
        name, usage, level, requires: see `Command`.
        collect: makes the facts, in each worker.
        render: writes the answer, once.
        checks: the process that makes the health checks has facts, too; it is number 0.
    """

    def part(words: Sequence[str], context: Context) -> str:
        return json.dumps({"worker": 0, "words": list(words), "facts": collect(words, context)})

    def handler(words: Sequence[str], context: Context) -> str | AsyncIterator[str]:
        facts = collect(words, context)
        if isinstance(facts, Awaitable):
            return later(words, context, facts)
        return written(words, context, facts)

    async def later(words: Sequence[str], context: Context, facts: Awaitable[Facts]) -> AsyncIterator[str]:
        yield written(words, context, await facts)

    def written(words: Sequence[str], context: Context, facts: Facts) -> str:
        worker = context.inspection.worker
        if not worker:
            return render(words, {1: facts})
        return json.dumps({"worker": worker, "words": list(words), "facts": facts})

    def merge(answers: Sequence[str]) -> str:
        parts = [json.loads(answer) for answer in answers]
        if not parts:
            raise CommandError(_NOBODY)
        facts = {int(part["worker"]): part["facts"] for part in parts}
        return render(parts[0]["words"], dict(sorted(facts.items())))

    return Command(name, usage, level, handler, Scope.WORKERS, merge, requires, part=part if checks else None)


def added_up(facts: Mapping[int, Mapping[str, int | float]]) -> dict[str, int | float]:
    """The sum of numbers by name, in the order of the first worker's."""
    sums: dict[str, int | float] = {}
    for numbers in facts.values():
        for name, number in numbers.items():
            sums[name] = sums.get(name, 0) + number
    return sums
