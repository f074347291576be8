"""`trace` and `show trace` (management manual 9.3): live traces, in all workers at once.

The settings are the same in every process, so what is asked is answered here; an event starts, pauses or stops the trace of the
worker in which it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Scope
from headgate.admin.tracing import LEVELS, LOCKS, VERBOSITIES, Source, State

_STATES = "(.=stopped, w=waiting, R=running)"
_WORDS = {
    "event": "list/enable/disable source-specific event reporting",
    "level": "list/set trace reporting level",
    "lock": "automatic lock on backend/frontend/session/...",
    "pause": "pause and automatically restart after a specific event",
    "sink": "list/set event sinks",
    "start": "start immediately or after a specific event",
    "stop": "stop immediately or after a specific event",
    "verbosity": "list/set trace output verbosity",
}
_ACTIONS = {"start": State.RUNNING, "stop": State.STOPPED, "pause": State.WAITING}


def show_trace(words: Sequence[str], context: Context) -> str:
    sources = context.inspection.tracing.sources
    if not words:
        lines = [
            f" [{one.state.value}] {one.name:<10} -> {one.sink} [drp {one.dropped}]  [{one.description}]"
            for one in sources.values()
        ]
        return "\n".join([f"Supported trace sources and states {_STATES} :", *lines])
    source = _source(words[0], context)
    lines = [f"Trace status for {source.name}:", f"  - sink: {source.sink} [{source.dropped} dropped]"]
    lines.append("  - event name   :     report    start    stop    pause")
    for event in source.events:
        marks = ["+" if event in chosen else "-" for chosen in (source.report, source.start, source.stop, source.pause)]
        lines.append(f"    {event:<12} :        {marks[0]}        {marks[1]}        {marks[2]}       {marks[3]}")
    return "\n".join(lines)


def trace(words: Sequence[str], context: Context) -> str:
    tracing = context.inspection.tracing
    if not words:
        lines = [f" [{one.state.value}] {one.name:<10} : {one.description}" for one in tracing.sources.values()]
        stop_all = f" [.] {'0':<10} : not a source, will immediately stop all traces"
        return "\n".join([f"Supported trace sources and states {_STATES} :", stop_all, *lines])
    if words[0] == "0":
        for source in tracing.sources.values():
            source.switch(State.STOPPED)
        tracing.changed()
        return "All traces now stopped"
    chosen = list(tracing.sources.values()) if words[0] == "all" else [_source(words[0], context)]
    if len(words) == 1:
        return "\n".join(["Supported commands:", *[f"  {word:<9} : {meaning}" for word, meaning in _WORDS.items()]])
    rest = list(words[1:])
    answers: list[str] = []
    while rest:
        word = rest.pop(0)
        take = _SETTINGS.get(word)
        if take is None:
            raise CommandError(_unknown(word))
        value = rest.pop(0) if rest else None
        for source in chosen:
            answer = take(source, value, context)
            if answer:
                answers.append(answer)
    tracing.changed()
    return "\n".join(answers)


def _unknown(word: str) -> str:
    if word == "follow":
        return "'follow' is not available: lock both sources on the same thing instead ('trace <source> lock ...')."
    return f"Unknown command '{word}': one of {', '.join(_WORDS)}."


def _source(name: str, context: Context) -> Source:
    source = context.inspection.tracing.sources.get(name)
    if source is None:
        raise CommandError("No such trace source")
    return source


# --- settings: each answers with a list when no value is given ----------------------------------------------------------------


def _choices(title: str, choices: Mapping[str, str], current: str) -> str:
    lines = [f"  {'*' if name == current else ' '} {name:<10} : {meaning}" for name, meaning in choices.items()]
    return "\n".join([title, *lines])


def _level(source: Source, value: str | None, _: Context) -> str:
    if value is None:
        return _choices(f"Supported trace levels for source {source.name}:", LEVELS, source.level)
    if value not in LEVELS:
        raise CommandError(f"No such trace level '{value}': one of {', '.join(LEVELS)}.")
    source.level = value
    return ""


def _verbosity(source: Source, value: str | None, _: Context) -> str:
    if value is None:
        return _choices(f"Supported trace verbosities for source {source.name}:", VERBOSITIES, source.verbosity)
    if value not in VERBOSITIES:
        raise CommandError(f"No such trace verbosity '{value}': one of {', '.join(VERBOSITIES)}.")
    source.verbosity = value
    return ""


def _sink(source: Source, value: str | None, context: Context) -> str:
    sinks = {"none": "no sink"} | {sink.name: sink.description for sink in context.inspection.sinks}
    if value is None:
        return _choices(f"Supported sinks for source {source.name} (*=current):", sinks, source.sink)
    if value not in sinks:
        raise CommandError("No such trace sink")
    source.sink = value
    return ""


def _lock(source: Source, value: str | None, _: Context) -> str:
    if value is None:
        return _choices(f"Supported lock-on criteria for source {source.name}:", LOCKS, source.lock)
    if value not in LOCKS:
        raise CommandError(f"Unsupported lock-on criterion '{value}': one of {', '.join(LOCKS)}.")
    source.lock = value
    source.locked = None
    return ""


def _events(source: Source, chosen: set[str], first: Sequence[str]) -> Iterator[str]:
    yield f"Supported events for source {source.name} (+=enabled, -=disabled):"
    yield from first
    yield "  - none         : disable all event types"
    yield "  - any          : enable all event types"
    for event, meaning in source.events.items():
        yield f"  {'+' if event in chosen else '-'} {event:<12} : {meaning}"


def _toggle(source: Source, chosen: set[str], value: str) -> None:
    sign, name = (value[0], value[1:]) if value[:1] in ("+", "-", "!") else ("+", value)
    if name == "none":
        chosen.clear()
    elif name == "any":
        chosen |= set(source.events)
    elif name not in source.events:
        raise CommandError(f"No such trace event '{name}': one of {', '.join(source.events)}.")
    elif sign == "+":
        chosen.add(name)
    else:
        chosen.discard(name)


def _event(source: Source, value: str | None, _: Context) -> str:
    if value is None:
        return "\n".join(_events(source, source.report, ()))
    _toggle(source, source.report, value)
    return ""


def _action(word: str) -> Callable[[Source, str | None, Context], str]:
    def take(source: Source, value: str | None, _: Context) -> str:
        chosen: set[str] = getattr(source, word)
        if value is None:
            return "\n".join(_events(source, chosen, ("  - now          : don't wait for events, immediately change the state",)))
        if value == "now":
            source.switch(_ACTIONS[word])
            return ""
        _toggle(source, chosen, value)
        if word == "start" and chosen and source.state is State.STOPPED:
            source.switch(State.WAITING)
        return ""

    return take


_SETTINGS: Mapping[str, Callable[[Source, str | None, Context], str]] = {
    "event": _event, "level": _level, "lock": _lock, "sink": _sink, "verbosity": _verbosity,
    "start": _action("start"), "stop": _action("stop"), "pause": _action("pause"),
}  # fmt: skip


COMMANDS: tuple[Command, ...] = (
    Command("show trace", "[<module>] : show live tracing state", Level.OPERATOR, show_trace),
    Command(
        "trace",
        "[<module>|0] [cmd [args...]] : manage live tracing (empty to list, 0 to stop all)",
        Level.OPERATOR,
        trace,
        Scope.EVERYWHERE,
        key=lambda words: ("trace",) if words[:1] == ["0"] else ("trace", *words),
    ),
)
