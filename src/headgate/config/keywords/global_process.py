"""Process management and security in the global section (manual 3.1): user, log targets, stats socket, variables."""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.diagnostics import config_error
from headgate.base.regex import regex
from headgate.config.addresses import parse_address
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import BindDraft
from headgate.config.keywords import line_options
from headgate.config.keywords.global_rows import implemented, removed, switch, value, without_effect
from headgate.config.keywords.log_target import parse_log_target
from headgate.config.model import StatsSocket, UnixPermissions
from headgate.config.parse_expression import read_expression
from headgate.config.parse_logformat import read_logformat
from headgate.config.registry import KEYWORDS, Keyword, Parser, Scope, Status
from headgate.config.section_drafts import GlobalSection

#: What `setcap` may keep (management manual, 13.1).
CAPABILITIES = ("cap_net_admin", "cap_net_bind_service", "cap_net_raw", "cap_sys_admin")
#: The most workers, as HAProxy's threads on a 64-bit system.
MOST_WORKERS = 64
#: Of `dns-accept-family`.
_FAMILIES = ("ipv4", "ipv6", "auto")

_NODE = regex(r"[A-Za-z0-9_-]+")
_VARIABLE = regex(r"[A-Za-z_][A-Za-z0-9_]*")
_PROC_VARIABLE = regex(r"proc\.[A-Za-z0-9_.]+")
_LARGEST = 0x7FFFFFFF


def parse_log(cursor: Cursor, section: GlobalSection) -> None:
    """`log <target> ...`, `no log`"""
    if cursor.prefix:
        cursor.finish()
        section.draft.log_targets.clear()
        return
    section.draft.log_targets.append(parse_log_target(cursor))


def parse_log_send_hostname(cursor: Cursor, section: GlobalSection) -> None:
    """`log-send-hostname [<string>]`; without a string the host's own name, which `""` stands for."""
    name = cursor.next("a host name").text if cursor.more else ""
    cursor.finish()
    section.settings.put("log-send-hostname", name, cursor.keyword.location)


def parse_chroot(cursor: Cursor, section: GlobalSection) -> None:
    """`chroot <jail dir>`"""
    word = cursor.next("a directory")
    if word.text == "auto":
        raise cursor.wrong(word, "'chroot auto' is known but not yet supported", remedy="name an empty directory")
    cursor.finish()
    section.settings.put("chroot", word.text, cursor.keyword.location)


def parse_node(cursor: Cursor, section: GlobalSection) -> None:
    """`node <name>`"""
    word = cursor.next("a node name")
    if _NODE.fullmatch(word.text) is None:
        raise cursor.wrong(word, f"node name '{word.text}' may have letters, digits, '-' and '_' only")
    cursor.finish()
    section.settings.put("node", word.text, cursor.keyword.location)


def parse_description(cursor: Cursor, section: GlobalSection) -> None:
    """`description <text>`: all words of the line."""
    cursor.next("a description")
    cursor.take_all()
    section.settings.put("description", " ".join(word.text for word in cursor.words[1:]), cursor.keyword.location)


def parse_external_check(cursor: Cursor, section: GlobalSection) -> None:
    """`external-check [preserve-env]`"""
    word = cursor.take("preserve-env")
    cursor.finish()
    section.settings.put("external-check", "" if word is None else word.text, cursor.keyword.location)


def parse_nbproc(cursor: Cursor, section: GlobalSection) -> None:
    """`nbproc <number>`: several processes without anything in common, until HAProxy 2.5."""
    number = cursor.integer("a number of processes", 1)
    cursor.finish()
    if number > 1:
        raise config_error(
            "'nbproc' was removed by HAProxy 2.5: processes that share nothing are not made any more", cursor.keyword.location,
            remedy=f"write 'nbthread {number}'",
        )
    cursor.report.warn("'nbproc' was removed by HAProxy 2.5", cursor.keyword.location, remedy="leave it out")


def parse_master_worker(cursor: Cursor, section: GlobalSection) -> None:
    """`master-worker [no-exit-on-failure]`"""
    lasting = cursor.take("no-exit-on-failure") is not None
    cursor.finish()
    section.settings.put("master-worker", True, cursor.keyword.location)
    if lasting:
        section.settings.put("keeps-after-crash", True, cursor.keyword.location)


def parse_setcap(cursor: Cursor, section: GlobalSection) -> None:
    """`setcap <name>[,<name>...]`"""
    word = cursor.next("names of capabilities, separated by commas")
    cursor.finish()
    names = tuple(dict.fromkeys(word.text.split(",")))
    for name in names:
        if name not in CAPABILITIES:
            raise cursor.wrong(word, f"unknown capability '{name}'", allowed=CAPABILITIES)
    section.settings.put("setcap", names, cursor.keyword.location)


def parse_accept_family(cursor: Cursor, section: GlobalSection) -> None:
    """`dns-accept-family <family>[,...]`"""
    word = cursor.next(f"address families ({', '.join(_FAMILIES)}), separated by commas")
    cursor.finish()
    found = tuple(dict.fromkeys(word.text.split(",")))
    for family in found:
        if family not in _FAMILIES:
            raise cursor.wrong(Word(family, word.location), f"unknown address family '{family}'", allowed=_FAMILIES)
    section.settings.put("dns-accept-family", found, cursor.keyword.location)


def read_spread(cursor: Cursor) -> float:
    """A time, or `infinite`."""
    return float("inf") if cursor.take("infinite") is not None else cursor.time("a time or 'infinite'")


def parse_default_path(cursor: Cursor, section: GlobalSection) -> None:
    """`default-path { current | config | parent | origin <path> }`"""
    kinds = ("current", "config", "parent", "origin")
    section.paths.kind = cursor.choice("path policy", {kind: kind for kind in kinds})
    if section.paths.kind == "origin":
        section.paths.origin = cursor.next("a directory").text
    cursor.finish()
    section.config.start_paths(section.file, section.paths.base(section.file))


# --- environment (2.3) -----------------------------------------------------------------------------------------------


def _variable(cursor: Cursor) -> str:
    word = cursor.next("a variable name")
    if _VARIABLE.fullmatch(word.text) is None:
        raise cursor.wrong(word, f"'{word.text}' is not a variable name: letters, digits and '_', not beginning with a digit")
    return word.text


def parse_setenv(cursor: Cursor, section: GlobalSection) -> None:
    """`setenv <name> <value>`"""
    name = _variable(cursor)
    text = cursor.next("a value").text
    cursor.finish()
    section.environment[name] = text


def parse_presetenv(cursor: Cursor, section: GlobalSection) -> None:
    """`presetenv <name> <value>`: only when it is not set."""
    name = _variable(cursor)
    text = cursor.next("a value").text
    cursor.finish()
    section.environment.setdefault(name, text)


def parse_unsetenv(cursor: Cursor, section: GlobalSection) -> None:
    """`unsetenv [<name> ...]`"""
    while cursor.more:
        section.environment.pop(_variable(cursor), None)


def parse_resetenv(cursor: Cursor, section: GlobalSection) -> None:
    """`resetenv [<name> ...]`: removes all but the named ones."""
    kept = set()
    while cursor.more:
        kept.add(_variable(cursor))
    for name in [name for name in section.environment if name not in kept]:
        del section.environment[name]


def parse_localpeer(cursor: Cursor, section: GlobalSection) -> None:
    """`localpeer <name>`: also sets HAPROXY_LOCALPEER."""
    name = cursor.next("a peer name").text
    cursor.finish()
    section.settings.put("localpeer", name, cursor.keyword.location)
    section.environment["HAPROXY_LOCALPEER"] = name


# --- variables of the process ----------------------------------------------------------------------------------------


def _set_variable(read: Callable[[Cursor], object]) -> Parser:
    def parse(cursor: Cursor, section: GlobalSection) -> None:
        word = cursor.next("a variable of the process, such as 'proc.name'")
        if _PROC_VARIABLE.fullmatch(word.text) is None:
            raise cursor.wrong(word, f"'{word.text}' is not a variable of the process", remedy="its name begins with 'proc.'")
        expression = read(cursor)
        cursor.finish()
        section.draft.variables.append((word.text, expression))

    return parse


# --- stats socket ----------------------------------------------------------------------------------------------------


def parse_stats_socket(cursor: Cursor, section: GlobalSection) -> None:
    """`stats socket [<address:port>|<path>] [param*]`"""
    address = parse_address(cursor.next("a path or an address with its port"), port="mandatory")
    line = BindDraft(cursor.keyword.location)
    line_options.read_options(cursor, Scope.STATS_SOCKET, line)
    settings = line.settings
    permissions = UnixPermissions(settings.value("mode"), settings.value("user"), settings.value("group"))
    level = settings.value("level", "operator")
    exposed = settings.value("expose-fd") == "listeners"
    section.draft.stats_sockets.append(StatsSocket(address, level, permissions, cursor.keyword.location, exposed))


def read_mode(cursor: Cursor) -> int:
    """Read the octal permissions of a socket file."""
    word = cursor.next("an octal mode such as 660")
    try:
        mode = int(word.text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise cursor.wrong(word, f"mode must be octal, from 0 to 7777, not '{word.text}'")
    return mode


_PERMISSIONS: dict[str, Parser] = {
    "mode": line_options.store("mode", read_mode),
    "user": line_options.store("user", line_options.text("a user name")),
    "uid": line_options.store("user", lambda cursor: str(cursor.integer("a user id", 0, _LARGEST))),
    "group": line_options.store("group", line_options.text("a group name")),
    "gid": line_options.store("group", lambda cursor: str(cursor.integer("a group id", 0, _LARGEST))),
}
_LEVELS = {level: level for level in ("user", "operator", "admin")}

KEYWORDS.add(
    *line_options.rows(Scope.STATS_SOCKET, _PERMISSIONS),
    *line_options.rows(
        Scope.STATS_SOCKET, {"level": line_options.store("level", line_options.one_of("access level", _LEVELS))}
    ),
    *line_options.rows(
        Scope.STATS_SOCKET,
        {"expose-fd": line_options.store("expose-fd", line_options.one_of("kind of descriptors", {"listeners": "listeners"}))},
    ),
    line_options.without_effect(
        Scope.STATS_SOCKET, "process", "one process answers on the socket", line_options.text("a set of processes"),
    ),
    line_options.without_effect(
        Scope.STATS_SOCKET, "thread", "one process answers on the socket", line_options.text("a set of threads"),
    ),
    line_options.without_effect(Scope.STATS_SOCKET, "shards", "one process answers on the socket", line_options.shards),
    line_options.without_effect(
        Scope.STATS_SOCKET, "name", "nothing refers to the socket by its name", line_options.text("a name"),
    ),
    *line_options.unsupported(
        Scope.STATS_SOCKET, "accept-proxy backlog interface maxconn namespace severity-output ssl crt ca-file verify v4v6 v6only"
    ),
)


# --- rows ------------------------------------------------------------------------------------------------------------


def _word(what: str) -> Callable[[Cursor], str]:
    return lambda cursor: cursor.next(what).text


def _count(what: str, low: int = 0) -> Callable[[Cursor], int]:
    return lambda cursor: cursor.integer(what, low, _LARGEST)


def _milliseconds(what: str) -> Callable[[Cursor], float]:
    return lambda cursor: cursor.time(what)


KEYWORDS.add(
    value("anonkey", lambda cursor: cursor.integer("a key", 0, (1 << 32) - 1)),
    implemented("chroot", parse_chroot),
    value("close-spread-time", read_spread),
    switch("daemon"),
    implemented("default-path", parse_default_path),
    implemented("description", parse_description),
    implemented("dns-accept-family", parse_accept_family),
    value("fd-hard-limit", _count("a number of file descriptors", 1)),
    value("gid", _count("a group id")),
    value("grace", _milliseconds("a time")),
    value("group", _word("a group name")),
    value("hard-stop-after", _milliseconds("a time")),
    implemented("localpeer", parse_localpeer),
    implemented("log", parse_log, negatable=True),
    implemented("log-send-hostname", parse_log_send_hostname),
    value("log-tag", _word("a tag")),
    implemented("master-worker", parse_master_worker),
    value("mworker-max-reloads", _count("a number of reloads")),
    value("nbthread", lambda cursor: cursor.integer("a number of workers", 1, MOST_WORKERS)),
    implemented("node", parse_node),
    value("pidfile", _word("a file")),
    implemented("presetenv", parse_presetenv),
    switch("quiet"),
    implemented("resetenv", parse_resetenv),
    value("server-state-base", _word("a directory")),
    value("server-state-file", _word("a file")),
    implemented("setcap", parse_setcap),
    implemented("set-var", _set_variable(read_expression)),
    implemented("set-var-fmt", _set_variable(read_logformat)),
    implemented("setenv", parse_setenv),
    value("stats maxconn", _count("a number of connections", 1)),
    implemented("stats socket", parse_stats_socket),
    value("stats timeout", _milliseconds("a time")),
    value("uid", _count("a user id")),
    value("ulimit-n", _count("a number of file descriptors", 1)),
    implemented("unsetenv", parse_unsetenv),
    value("user", _word("a user name")),
    switch("zero-warning"),
    *without_effect(
        "workers are processes, which the kernel spreads over the CPUs; 'nbthread' says how many there are",
        *"cpu-affinity cpu-map cpu-policy cpu-set max-threads-per-group numa-cpu-mapping".split(),
        *"thread-group thread-groups thread-hard-limit".split(),
    ),
    *without_effect(
        "everything that is supported is available", "expose-deprecated-directives", "expose-experimental-directives"
    ),
    *without_effect("no such protection is set up", "insecure-fork-wanted", "insecure-setuid-wanted"),
    implemented("external-check", parse_external_check),
    *without_effect("core dumps follow the limits of the system", "set-dumpable"),
    *without_effect("limits that can't be raised are always reported", "strict-limits"),
    *without_effect("QUIC is not served yet", "limited-quic", "harden.reject-privileged-ports.quic"),
    *without_effect("HTTP/2 is not served yet", "h2-workaround-bogus-websocket-clients"),
    *without_effect(
        "a tool for the developers of HAProxy",
        *"debug.counters force-cfg-parser-pause stress-level profiling.memory profiling.tasks warn-blocked-traffic-after".split(),
    ),
    Keyword("nbproc", frozenset({Scope.GLOBAL}), Status.REMOVED, parse_nbproc, "write 'nbthread' instead"),
    *removed("start with '-d' instead", "debug"),
    *removed("leave it out: one process answers for all workers", "stats bind-process"),
)
