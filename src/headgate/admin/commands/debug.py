"""`debug dev ...`, `debug counters`, `httpclient` (management manual 9.3): for those who look for a fault.

Of HAProxy's developer commands those are here that mean something in Python and can be undone; the others answer why not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from headgate.admin.anonymous import hashed
from headgate.admin.context import Context
from headgate.admin.gathering import added_up, gathered
from headgate.admin.registry import Command, CommandError, Handler, Level, Mode
from headgate.admin.session import CliSession

#: The longest that `delay` and `loop` hold the process up, seconds, and the most that `write` answers, bytes.
_LONGEST = 10.0
_MOST_WRITTEN = 1 << 20


def _milliseconds(words: Sequence[str]) -> float:
    if not words or not words[0].isdecimal() or not 0 < int(words[0][:9]) <= _LONGEST * 1000:
        raise CommandError(f"Expects a number of milliseconds up to {int(_LONGEST * 1000)}.")
    return int(words[0]) / 1000


async def _delay(words: Sequence[str], context: Context) -> AsyncIterator[str]:
    await context.inspection.pause(_milliseconds(words))
    yield ""


def loop(words: Sequence[str], context: Context) -> str:
    context.inspection.block(_milliseconds(words))
    return ""


def leave(words: Sequence[str], context: Context) -> str:
    if words and not (words[0].isdecimal() and int(words[0][:4]) < 256):
        raise CommandError("Expects an exit code up to 255.")
    context.inspection.leave(int(words[0]) if words else 0)
    return ""


def log(words: Sequence[str], context: Context) -> str:
    context.inspection.log(" ".join(words))
    return ""


def write(words: Sequence[str], _: Context) -> str:
    if not words or not words[0].isdecimal() or int(words[0][:9]) > _MOST_WRITTEN:
        raise CommandError(f"Expects a number of bytes up to {_MOST_WRITTEN}.")
    return ("." * 63 + "\n") * (int(words[0]) // 64) + "." * (int(words[0]) % 64)


def hash_text(words: Sequence[str], session: CliSession) -> str:
    """The text as the anonymised mode would write it."""
    text = " ".join(words)
    return hashed(text, session.anonymous_key) if session.anonymous_key else text


def _rogue(_: Sequence[str], context: Context) -> list[str]:
    worker = context.inspection.worker or 1
    return [
        f"gid={worker} fd={one.number} type={one.kind} {one.local or one.belongs_to}".rstrip()
        for one in context.inspection.descriptors()
        if one.suspicious
    ]


def _all_lines(_: Sequence[str], facts: Mapping[int, list[str]]) -> str:
    return "\n".join([line for lines in facts.values() for line in lines])


# --- debug counters --------------------------------------------------------------------------------------------------

_COUNTED = frozenset({"show", "bug", "all"})
_NOT_COUNTED = frozenset({"reset", "on", "off", "chk", "cnt", "glt"})


def _counters(words: Sequence[str], context: Context) -> dict[str, int]:
    for word in words:
        if word in _NOT_COUNTED:
            raise CommandError(f"'{word}' has no meaning here: the only counters are those of unexpected errors (BUG).")
        if word not in _COUNTED:
            raise CommandError("Expects [show|bug|all]*.")
    return dict(context.inspection.bugs)


def _write_counters(_: Sequence[str], facts: Mapping[int, dict[str, int]]) -> str:
    return "\n".join([f"{int(count):<10} BUG {place}" for place, count in added_up(facts).items()])


# --- httpclient ------------------------------------------------------------------------------------------------------


def httpclient(words: Sequence[str], context: Context) -> AsyncIterator[str]:
    if words[:1] == ["--htx"]:
        raise CommandError("'--htx' shows HAProxy's inner form of a message; headgate has none.")
    if len(words) != 2:
        raise CommandError("Expects a method and an URI: httpclient <method> <URI>.")
    return _fetch(words[0], words[1], context)


async def _fetch(method: str, uri: str, context: Context) -> AsyncIterator[str]:
    yield await context.inspection.fetch(method, uri)


# --- what is not here ------------------------------------------------------------------------------------------------

_REFUSED = {
    "abort": "it would end the process for nothing but a core file; 'debug dev exit' ends it",
    "bug": "it would crash the process; unexpected errors are counted, see 'debug counters'",
    "check": "there are no CHECK_IF() statements; unexpected errors are counted, see 'debug counters'",
    "close": "closing a descriptor under the event loop would let its number be used for another connection",
    "deadlock": "there are no locks of threads; 'debug dev loop' holds the process up for a bounded time",
    "hex": "memory addresses of Python objects say nothing; see 'show sess' and 'show pools'",
    "panic": "it would crash the process; 'debug dev exit' ends it",
    "sched": "there is no scheduler of tasks to stress",
    "stream": "a stream's flags can't be changed from outside; see 'show sess <id>' and 'shutdown session <id>'",
    "sym": "there are no symbols to look up; 'show threads' has names and lines",
    "task": "there are no tasks with addresses; see 'show tasks'",
    "tkill": "workers are processes: send them signals with kill(1)",
    "warn": "there are no WARN_ON() statements; unexpected errors are counted, see 'debug counters'",
}  # fmt: skip


def _refuse(name: str, words: Sequence[str], context: Context) -> str:
    raise CommandError(f"'debug dev {name}' is not available: {_REFUSED[name]}.")


def _dev(name: str, usage: str, handler: Handler) -> Command:
    return Command(f"debug dev {name}", usage, Level.ADMIN, handler, requires=Mode.EXPERT)


COMMANDS: tuple[Command, ...] = (
    _dev("delay", "[ms] : sleep this long", _delay),
    _dev("exit", "[code] : immediately exit the process", leave),
    _dev("log", "[msg] ... : send this msg to global logs", log),
    _dev("loop", "[ms] : loop this long", loop),
    _dev("write", "[size] : write that many bytes in return", write),
    Command("debug dev hash", "[msg] : return msg hashed if anon is set", Level.ADMIN, None, requires=Mode.EXPERT, own=hash_text),
    gathered("debug dev fd", ": scan for rogue/unhandled FDs", Level.ADMIN, _rogue, _all_lines, Mode.EXPERT),
    *[_dev(name, ": not available here", partial(_refuse, name)) for name in _REFUSED],
    gathered(
        "debug counters", "[all|bug|show]* : dump the counters of unexpected errors", Level.ADMIN, _counters, _write_counters
    ),
    Command(
        "httpclient",
        "<method> <URI> : launch an HTTP request",
        Level.ADMIN,
        httpclient,
        requires=Mode.EXPERT,
    ),
)  # fmt: skip
