"""HAProxy's command line (management manual, chapter 3) as a table, and its parser.

The syntax is HAProxy's own and not getopt's: `-db` is one option, `-sf` takes process ids up to the next dash, `--` takes
files. Nothing is imported here, since `headgate -v` and `-cc` must answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class CommandLineError(Exception):
    """The command line can't be understood; the message says why."""


class Options:
    """What the command line asks for.

    Attributes:
        files: configuration files and directories, in order (`-f`, `--`).
        directory: `-C`.
        check: `-c`.
        strict: `--strict`: with `-c`, warnings fail the check.
        condition: `-cc`.
        version: None, or which of `-v`, `-vv`, `-vq`, `-vqs`, `-vqb` was given, without the dash.
        daemon, master_worker, notify_systemd: `-D`, `-W`, `-Ws`.
        foreground: `-d` or `-db`: stay in the foreground whatever the configuration says.
        debug: `-d`.
        verbose, quiet: `-V`, `-q`; `-V` wins.
        maxconn, proxy_maxconn, memory_megabytes: `-n`, `-N`, `-m`; None when not given.
        local_peer, pidfile: `-L`, `-p`.
        finish_pids, terminate_pids: `-sf`, `-st`.
        inherit_from: `-x`.
        master_sockets: `-S`.
        ignore_resolution: `-dr`.
        ipv4_only: `-4`.
        no_server_verify: `-dV`.
        zero_warning: `-dW`.
        diagnostics: `-dD`.
        no_splice, no_reuse_port: `-dS` (`-dF`, `-dZ`), `-dR`.
        dump_configuration: the key behind `-dC` ("" without one), or None.
        dump_keywords: the classes behind `-dK`, or None.
        remarks: things the operator should know about options that can't be honoured.
        without_effect: options that were accepted and mean nothing here, with the reason; shown with `-V`.
    """

    __slots__ = (
        "check", "condition", "daemon", "debug", "diagnostics", "directory", "dump_configuration", "dump_keywords", "files",
        "finish_pids", "foreground", "ignore_resolution", "inherit_from", "ipv4_only", "local_peer", "master_sockets",
        "master_worker", "maxconn", "memory_megabytes", "no_reuse_port", "no_server_verify", "no_splice", "notify_systemd",
        "pidfile", "proxy_maxconn", "quiet", "remarks", "strict", "terminate_pids", "verbose", "version", "without_effect",
        "zero_warning",
    )  # fmt: skip

    def __init__(self) -> None:
        self.files: list[str] = []
        self.directory: str | None = None
        self.check = False
        self.strict = False
        self.condition: str | None = None
        self.version: str | None = None
        self.daemon = False
        self.master_worker = False
        self.notify_systemd = False
        self.foreground = False
        self.debug = False
        self.verbose = False
        self.quiet = False
        self.maxconn: int | None = None
        self.proxy_maxconn: int | None = None
        self.memory_megabytes: int | None = None
        self.local_peer: str | None = None
        self.pidfile: str | None = None
        self.finish_pids: list[int] = []
        self.terminate_pids: list[int] = []
        self.inherit_from: str | None = None
        self.master_sockets: list[str] = []
        self.ignore_resolution = False
        self.ipv4_only = False
        self.no_server_verify = False
        self.zero_warning = False
        self.diagnostics = False
        self.no_splice = False
        self.no_reuse_port = False
        self.dump_configuration: str | None = None
        self.dump_keywords: str | None = None
        self.remarks: list[str] = []
        self.without_effect: list[str] = []


#: Reads one option: the options so far, what follows its letters in the same word, and the words behind it. Answers how many
#: of those words it has used.
Reader = Callable[[Options, str, Sequence[str]], int]


class Row:
    """One option: its letters, how it is read, and its line of the usage text ("" for none).

    `suffix` says that more text may follow in the same word: `-dM0x50,no-merge`.
    """

    __slots__ = ("argument", "flag", "read", "suffix", "usage")

    def __init__(self, flag: str, read: Reader, usage: str = "", argument: str = "", suffix: bool = False) -> None:
        self.flag = flag
        self.read = read
        self.usage = usage
        self.argument = argument
        self.suffix = suffix


def _sets(*names: str) -> Reader:
    def read(options: Options, suffix: str, words: Sequence[str]) -> int:
        for name in names:
            setattr(options, name, True)
        return 0

    return read


def _version(which: str) -> Reader:
    def read(options: Options, suffix: str, words: Sequence[str]) -> int:
        options.version = which
        return 0

    return read


def _argument(flag: str, what: str, words: Sequence[str]) -> str:
    if not words:
        raise CommandLineError(f"option '{flag}' expects {what}")
    return words[0]


def _text(flag: str, name: str, what: str) -> Reader:
    def read(options: Options, suffix: str, words: Sequence[str]) -> int:
        setattr(options, name, _argument(flag, what, words))
        return 1

    return read


def _number(flag: str, name: str, what: str) -> Reader:
    def read(options: Options, suffix: str, words: Sequence[str]) -> int:
        text = _argument(flag, what, words)
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise CommandLineError(f"option '{flag}' expects {what}, not '{text}'")
        setattr(options, name, int(text))
        return 1

    return read


def _file(options: Options, suffix: str, words: Sequence[str]) -> int:
    options.files.append(_argument("-f", "a configuration file or directory", words))
    return 1


def _files(options: Options, suffix: str, words: Sequence[str]) -> int:
    options.files.extend(words)
    return len(words)


def _pids(flag: str, name: str) -> Reader:
    def read(options: Options, suffix: str, words: Sequence[str]) -> int:
        pids: list[int] = getattr(options, name)
        used = 0
        for word in words:
            if word.startswith("-"):
                break
            # `-sf "$(cat pidfile)"` gives one word with several numbers, or an empty one.
            for text in word.split():
                if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
                    raise CommandLineError(f"option '{flag}' expects process ids, not '{text}'")
                pids.append(int(text))
            used += 1
        return used

    return read


def _master_socket(options: Options, suffix: str, words: Sequence[str]) -> int:
    options.master_sockets.append(_argument("-S", "an address for the master CLI", words))
    return 1


def _inherit(options: Options, suffix: str, words: Sequence[str]) -> int:
    options.inherit_from = _argument("-x", "the stats socket of the old process", words)
    return 1


def _no_effect(flag: str, reason: str) -> Reader:
    def read(options: Options, suffix: str, words: Sequence[str]) -> int:
        options.without_effect.append(f"'{flag}{suffix}' has no effect: {reason}")
        return 0

    return read


def _unavailable(flag: str, what: str) -> Reader:
    def read(options: Options, suffix: str, words: Sequence[str]) -> int:
        options.remarks.append(f"'{flag}{suffix}': {what} is not yet supported; the option is ignored")
        return 0

    return read


def _traces(options: Options, suffix: str, words: Sequence[str]) -> int:
    options.remarks.append("'-dt': traces are not yet supported; the option is ignored")
    return 1 if words and not words[0].startswith("-") else 0


def _dump_configuration(options: Options, suffix: str, words: Sequence[str]) -> int:
    if suffix and suffix != "0":
        # Going on without hashing would print the very names that the operator asked to hide.
        raise CommandLineError(f"'-dC{suffix}': anonymised dumps are not yet supported; '-dC' dumps without hashing")
    options.dump_configuration = ""
    return 0


def _dump_keywords(options: Options, suffix: str, words: Sequence[str]) -> int:
    options.dump_keywords = suffix or "help"
    return 0


_MEMORY = "memory is Python's, there are no pools to poison or check"
_POLLERS = "the event loop is built on epoll"

#: All options. Longer ones win over their prefixes; only rows with `suffix` accept more letters.
TABLE = (
    Row("-f", _file, "reads a configuration file, or the *.cfg files of a directory; may be repeated", "<cfgfile|cfgdir>"),
    Row("--", _files, "all that follows are configuration files", "<cfgfile>*"),
    Row("-C", _text("-C", "directory", "a directory"), "changes to <dir> before loading files", "<dir>"),
    Row("-c", _sets("check"), "check mode: only checks the configuration and exits"),
    Row("--strict", _sets("strict"), "with -c: warnings and findings fail the check"),
    Row("-cc", _text("-cc", "condition", "a condition"), "evaluates a condition: exit code 0 is true, 1 false", "<condition>"),
    Row("-v", _version("v"), "displays the version"),
    Row("-vv", _version("vv"), "displays version, features and library versions"),
    Row("-vq", _version("vq"), "displays only the number of the HAProxy version whose language is spoken"),
    Row("-vqs", _version("vqs")),
    Row("-vqb", _version("vqb")),
    Row("-D", _sets("daemon"), "goes daemon"),
    Row("-W", _sets("master_worker"), "master-worker mode"),
    Row("-Ws", _sets("master_worker", "notify_systemd"), "master-worker mode that tells systemd (Type=notify)"),
    Row("-S", _master_socket, "master CLI, in master-worker mode", "<bind>[,<option>...]"),
    Row("-p", _text("-p", "pidfile", "a file"), "writes the pids to this file", "<file>"),
    Row("-q", _sets("quiet"), "quiet mode: no messages"),
    Row("-V", _sets("verbose"), "verbose mode: ends quiet mode"),
    Row("-n", _number("-n", "maxconn", "a number of connections"), "sets the maximum number of connections", "<limit>"),
    Row("-N", _number("-N", "proxy_maxconn", "a number of connections"), "sets the default maxconn of proxies", "<limit>"),
    Row("-m", _number("-m", "memory_megabytes", "a number of megabytes"), "limits the memory, in megabytes", "<limit>"),
    Row("-L", _text("-L", "local_peer", "a name"), "sets the local peer's name ($HAPROXY_LOCALPEER)", "<name>"),
    Row("-4", _sets("ipv4_only"), "resolves names to IPv4 addresses only, whatever dns-accept-family says"),
    Row("-sf", _pids("-sf", "finish_pids"), "asks old processes to finish, once we listen", "<pid>*"),
    Row("-st", _pids("-st", "terminate_pids"), "ends old processes, once we listen", "<pid>*"),
    Row("-x", _inherit, "takes over the listening sockets of an old process", "<unix_socket>"),
    Row("-d", _sets("debug", "foreground"), "debug mode: stays in the foreground"),
    Row("-db", _sets("foreground"), "stays in the foreground"),
    Row("-dr", _sets("ignore_resolution"), "ignores server address resolution failures"),
    Row("-dV", _sets("no_server_verify"), "does not verify the certificates of servers"),
    Row("-dW", _sets("zero_warning"), "refuses to start when there is any warning"),
    Row("-dD", _sets("diagnostics"), "diagnostic mode: says more about suspicious statements"),
    Row("-dS", _sets("no_splice"), "does not use splice()"),
    Row("-dF", _sets("no_splice")),
    Row("-dZ", _sets("no_splice")),
    Row("-dR", _sets("no_reuse_port"), "does not use SO_REUSEPORT"),
    Row("-dC", _dump_configuration, "dumps the configuration without comments", suffix=True),
    Row("-dK", _dump_keywords, "dumps the table of keywords ('help' lists the classes)", "{class[,...]}", suffix=True),
    Row("-dA", _unavailable("-dA", "dumping libraries"), suffix=True),
    Row("-dL", _unavailable("-dL", "listing libraries")),
    Row("-dG", _unavailable("-dG", "resolving without getaddrinfo()")),
    Row("-dt", _traces),
    Row("-dM", _no_effect("-dM", _MEMORY), suffix=True),
    Row("-dI", _no_effect("-dI", "nothing that it would allow is forbidden here")),
    Row("-dT", _no_effect("-dT", "kernel TLS is not used")),
    Row("-dc", _no_effect("-dc", "threads are not bound to CPUs")),
    Row("-de", _no_effect("-de", _POLLERS)),
    Row("-dp", _no_effect("-dp", _POLLERS)),
    Row("-dk", _no_effect("-dk", "there is no kqueue on this system")),
    Row("-dv", _no_effect("-dv", "there are no event ports on this system")),
)

_BY_FLAG = {row.flag: row for row in TABLE}


def _find(word: str) -> tuple[Row, str] | None:
    """The row of an option word, and what follows its letters."""
    row = _BY_FLAG.get(word)
    if row is not None:
        return row, ""
    for row in TABLE:
        if row.suffix and word.startswith(row.flag):
            return row, word[len(row.flag) :]
    return None


def parse(words: Sequence[str]) -> Options:
    """Read a command line.

    Args:
        words: the arguments, without the program's name.

    Raises:
        CommandLineError: an option is unknown, or its argument is missing or wrong.
    """
    options = Options()
    position = 0
    while position < len(words):
        word = words[position]
        found = _find(word)
        if found is None:
            what = "unknown option" if word.startswith("-") else "unexpected argument"
            raise CommandLineError(f"{what} '{word}'")
        row, suffix = found
        position += 1 + row.read(options, suffix, words[position + 1 :])
    if options.strict and not options.check:
        raise CommandLineError("'--strict' belongs to '-c'; a start that refuses warnings is '-dW', or 'zero-warning'")
    return options


def usage(program: str) -> str:
    """The help page."""
    lines = [
        f"Usage : {program} [-f <cfgfile|cfgdir>]* [ options ] [-- <cfgfile>*]",
        f"        {program} keywords [--markdown]",
        f"        {program} failover-config -f <cfgfile> [--address <address>] [--help]",
    ]
    for row in TABLE:
        if row.usage:
            left = f"{row.flag}{row.argument}" if row.suffix else f"{row.flag} {row.argument}".rstrip()
            lines.append(f"        {left:<24} {row.usage}")
    return "\n".join(lines) + "\n"
