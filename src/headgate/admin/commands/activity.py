"""`show activity|threads|tasks|pools|profiling`, `set profiling` (management manual 9.3): what the processes do and hold.

The fields are those that a Python process has; a worker takes the place of HAProxy's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headgate.admin.context import Context
from headgate.admin.gathering import added_up, gathered
from headgate.admin.registry import Command, CommandError, Level, Scope

_MOST_LINES = 1024
#: Averages, not sums, make the first column of these.
_AVERAGES = frozenset({"loop_us_avg"})

# --- show activity ---------------------------------------------------------------------------------------------------


def _activity(words: Sequence[str], context: Context) -> dict[str, Any]:
    column = _column(words)
    if column > context.threads:
        raise CommandError(f"There are {context.threads} workers: a number from 1 to that, 0 for the sums, or -1.")
    return {"now": context.wall(), "numbers": dict(context.inspection.activity())}


def _column(words: Sequence[str]) -> int:
    if not words:
        return -1
    if not (words[0].isdecimal() and len(words[0]) < 6) and words[0] != "-1":
        raise CommandError("Expects -1, 0 or the number of a worker.")
    return int(words[0])


def _write_activity(words: Sequence[str], facts: Mapping[int, dict[str, Any]]) -> str:
    column = _column(words)
    workers = sorted(facts)
    lines = [
        f"thread_id: {column if column > 0 else workers[0]} (1..{workers[-1]})",
        f"date_now: {max(one['now'] for one in facts.values()):.6f}",
    ]
    numbers = {worker: facts[worker]["numbers"] for worker in workers}
    for name, total in added_up(numbers).items():
        if name in _AVERAGES:
            total = int(total / len(workers))
        values = [numbers[worker].get(name, 0) for worker in workers]
        if column > 0:
            lines.append(f"{name}: {numbers.get(column, {}).get(name, 0)}")
        elif column == 0 or len(workers) == 1:
            lines.append(f"{name}: {total}")
        else:
            lines.append(f"{name}: {total} [ {' '.join([str(value) for value in values])} ]")
    return "\n".join(lines)


# --- show threads, show tasks ----------------------------------------------------------------------------------------


def _threads(_: Sequence[str], context: Context) -> dict[str, Any]:
    inspection = context.inspection
    return {
        "pid": context.pid,
        "sessions": len(inspection.sessions),
        "activity": dict(inspection.activity()),
        "profiling": inspection.profiler.tasks,
        "threads": [list(one) for one in inspection.threads()],
    }


def _write_threads(_: Sequence[str], facts: Mapping[int, dict[str, Any]]) -> str:
    lines = []
    for worker, one in facts.items():
        activity = one["activity"]
        for position, (identifier, name, stack) in enumerate(one["threads"]):
            star = "*" if position == 0 and worker == min(facts) else " "
            lines.append(
                f"{star} Thread {worker} : id=0x{identifier:x} name={name} pid={one['pid']} act={int(one['sessions'] > 0)}"
                f" sess={one['sessions']} tl={activity.get('timers', 0)} prof={int(one['profiling'])}"
            )
            if position == 0:
                user, system = activity.get("cpu_user_ms", 0), activity.get("cpu_system_ms", 0)
                lines.append(f"             cpu_ms: user={user} system={system}")
            lines += [f"             {line}" for line in stack.splitlines() if line]
    return "\n".join(lines)


def _tasks(_: Sequence[str], context: Context) -> dict[str, int]:
    return dict(context.inspection.tasks())


def _write_tasks(_: Sequence[str], facts: Mapping[int, dict[str, int]]) -> str:
    sums = added_up(facts)
    total = int(sum(sums.values()))
    plural = "s" if len(facts) > 1 else ""
    lines = [
        f"Running tasks: {total} ({len(facts)} thread{plural})",
        "  function                     places     %    lat_tot   lat_avg",
    ]
    for name, places in sorted(sums.items(), key=lambda pair: (-pair[1], pair[0])):
        lines.append(f"  {name:<26} {int(places):8} {places * 100 / total:5.1f}          -         -")
    return "\n".join(lines)


# --- show pools ------------------------------------------------------------------------------------------------------


def _pools(words: Sequence[str], context: Context) -> dict[str, Any]:
    _pool_order(words)
    activity = context.inspection.activity()
    return {
        "pools": [[pool.name, pool.size, pool.allocated, pool.used] for pool in context.inspection.pools()],
        "memory": {name: activity.get(name, 0) for name in ("rss_kb", "gc_objects", "gc_collections")},
    }


#: One pool: name, size of an object, allocated, used.
_PoolRow = tuple[str, int, int, int]


def _pool_order(words: Sequence[str]) -> tuple[Callable[[_PoolRow], Any] | None, str, int, bool]:
    """How to sort, the prefix of names, how many, and whether the details are wanted."""
    key: Callable[[_PoolRow], Any] | None = None
    prefix, most, detailed = "", _MOST_LINES, False
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in _POOL_KEYS:
            key = _POOL_KEYS[word]
        elif word == "detailed":
            detailed = True
        elif word == "match" and rest:
            prefix = rest.pop(0)
        elif word.isdecimal() and len(word) < 6:
            most = int(word)
        else:
            raise CommandError("Expects [byname|bysize|byusage] [detailed] [match <pfx>] [<nb>].")
    return key, prefix, most, detailed


_POOL_KEYS: Mapping[str, Callable[[_PoolRow], Any]] = {
    "byname": lambda row: row[0],
    "bysize": lambda row: -row[1],
    "byusage": lambda row: -row[1] * row[2],
}


def _write_pools(words: Sequence[str], facts: Mapping[int, dict[str, Any]]) -> str:
    key, prefix, most, detailed = _pool_order(words)
    sums: dict[str, list[int]] = {}
    for one in facts.values():
        for name, size, allocated, used in one["pools"]:
            row = sums.setdefault(name, [size, 0, 0])
            row[1] += allocated
            row[2] += used
    rows: list[_PoolRow] = [(name, *row) for name, row in sums.items() if name.startswith(prefix)]  # type: ignore[misc]
    if key is not None:
        rows.sort(key=key)
    if key is _POOL_KEYS["byusage"]:
        rows = [row for row in rows if row[2]]
    shown = rows[:most]
    lines = ["Dumping pools usage. Python's allocator has no pools: these are the objects of the data plane."]
    for name, size, allocated, used in shown:
        lines.append(f"  - Pool {name} ({size} bytes) : {allocated} allocated ({size * allocated} bytes), {used} used")
    total, in_use = sum(row[1] * row[2] for row in shown), sum(row[1] * row[3] for row in shown)
    lines.append(f"Total: {len(shown)} pools, {total} bytes allocated, {in_use} used.")
    memory = added_up({worker: one["memory"] for worker, one in facts.items()})
    lines.append(f"Processes: {len(facts)}, {int(memory['rss_kb']) * 1024} bytes resident.")
    if detailed:
        for worker, one in facts.items():
            memory = one["memory"]
            lines.append(
                f"  - Worker {worker} : {memory['rss_kb'] * 1024} bytes resident, {memory['gc_objects']} objects tracked by the"
                f" garbage collector, {memory['gc_collections']} collections"
            )
    return "\n".join(lines)


# --- profiling -------------------------------------------------------------------------------------------------------

_SECTIONS = ("all", "status", "tasks", "memory")
_ORDERS = ("byaddr", "bytime", "byctx", "aggr")


def _profile(words: Sequence[str], context: Context) -> dict[str, Any]:
    section, _, most = _profile_wanted(words)
    profiler = context.inspection.profiler
    facts: dict[str, Any] = {"tasks": profiler.tasks, "memory": profiler.memory, "calls": {}, "allocations": []}
    if section in ("all", "tasks"):
        facts["calls"] = {name: list(spent) for name, spent in profiler.calls().items()}
    if section in ("all", "memory") and profiler.memory:
        facts["allocations"] = [list(one) for one in profiler.allocations(most)]
    return facts


def _profile_wanted(words: Sequence[str]) -> tuple[str, str, int]:
    section, order, most = "all", "", 100
    for word in words:
        if word in _SECTIONS:
            section = word
        elif word in _ORDERS:
            order = word
        elif word.isdecimal() and len(word) < 6:
            most = int(word)
        else:
            raise CommandError("Expects [{all | status | tasks | memory}] [byaddr|bytime|byctx|aggr|<max_lines>]*.")
    return section, order, most


def _write_profile(words: Sequence[str], facts: Mapping[int, dict[str, Any]]) -> str:
    section, order, most = _profile_wanted(words)
    any_one = facts[min(facts)]
    lines = []
    if section in ("all", "status"):
        for what, name in (("Per-task CPU profiling", "tasks"), ("Memory usage profiling", "memory")):
            state = "on" if any_one[name] else "off"
            lines.append(f"{what:<36}: {state:<14}# set profiling {name} {{on|off}}")
    if section in ("all", "tasks"):
        lines += ["Tasks activity:", "  function                      calls   cpu_tot   cpu_avg   lat_tot   lat_avg"]
        lines += _call_lines(facts, order)[:most]
    if section == "memory" or (section == "all" and any_one["memory"]):
        lines += ["Alloc/Free statistics by call place:", "         Calls         |         Tot Bytes           |       Caller"]
        lines += _allocation_lines(facts)[:most]
    return "\n".join(lines)


def _call_lines(facts: Mapping[int, dict[str, Any]], order: str) -> list[str]:
    sums: dict[str, list[float]] = {}
    for one in facts.values():
        for name, (calls, seconds) in one["calls"].items():
            row = sums.setdefault(name, [0, 0.0])
            row[0] += calls
            row[1] += seconds
    keys: dict[str, Callable[[tuple[str, list[float]]], Any]] = {
        "bytime": lambda pair: -pair[1][1],
        "byaddr": lambda pair: pair[0],
    }
    rows = sorted(sums.items(), key=keys.get(order, lambda pair: -pair[1][0]))
    return [
        f"  {name:<26} {int(calls):8} {_time(seconds):>9} {_time(seconds / calls if calls else 0.0):>9}         -         -"
        for name, (calls, seconds) in rows
    ]


def _allocation_lines(facts: Mapping[int, dict[str, Any]]) -> list[str]:
    sums: dict[str, list[int]] = {}
    for one in facts.values():
        for place, count, size in one["allocations"]:
            row = sums.setdefault(place, [0, 0])
            row[0] += count
            row[1] += size
    rows = sorted(sums.items(), key=lambda pair: -pair[1][1])
    return [f"{count:15} {'':7} {size:15} {'':13} {place}" for place, (count, size) in rows]


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3f}{unit}"
    return f"{seconds * 1e9:.0f}ns"


def set_profiling(words: Sequence[str], context: Context) -> str:
    profiler = context.inspection.profiler
    if not words or words[0] not in ("tasks", "memory"):
        raise CommandError("Expects either 'tasks' or 'memory'.")
    value = words[1] if len(words) > 1 else ""
    if words[0] == "memory":
        if value not in ("on", "off"):
            raise CommandError("Expects either 'on' or 'off'.")
        profiler.switch_memory(value == "on")
    elif value in ("lock", "no-lock", "memory", "no-memory"):
        raise CommandError(f"'{value}' has no meaning here: workers share no locks of threads; see 'set profiling memory'.")
    elif value == "auto":
        raise CommandError("'auto' has no meaning here: a measurement costs as much whatever the load is. Use 'on' or 'off'.")
    elif value not in ("on", "off"):
        raise CommandError("Expects 'on' or 'off'.")
    else:
        profiler.switch_tasks(value == "on")
    return ""


COMMANDS: tuple[Command, ...] = (
    gathered(
        "show activity",
        "[-1|0|thread_num] : show per-thread activity stats (for support/developers)",
        Level.USER,
        _activity,
        _write_activity,
    ),
    gathered("show threads", ": show some threads debugging information", Level.OPERATOR, _threads, _write_threads),
    gathered("show tasks", ": show running tasks", Level.OPERATOR, _tasks, _write_tasks),
    gathered(
        "show pools",
        "[by*] [detailed] [match <pfx>] [nb] : report information about the memory pools usage",
        Level.USER,
        _pools,
        _write_pools,
    ),
    gathered(
        "show profiling",
        "[<what>|<#lines>|<opts>]* : show profiling state (all,status,tasks,memory)",
        Level.OPERATOR,
        _profile,
        _write_profile,
    ),
    Command(
        "set profiling",
        "<what> {on|off} : enable/disable resource profiling (tasks,memory)",
        Level.ADMIN,
        set_profiling,
        Scope.EVERYWHERE,
        key=lambda words: ("profiling", *words[:1]),
    ),
)
