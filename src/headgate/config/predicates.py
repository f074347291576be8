"""The conditions of `.if`, `.elif` and `-cc` (manual 2.4): an expression in, true or false out.

The whole expression is read before any of it counts, so that a mistake behind `||` is found even when the left side is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headgate.base.diagnostics import ConfigError, Location, config_error
from headgate.base.records import dataclass
from headgate.base.regex import regex
from headgate.config.cursor import Word
from headgate.config.parse_arguments import parse_arguments
from headgate.config.spans import piece_of

#: What `enabled()` may ask about (2.4).
RUNTIME_OPTIONS = (
    "POLL",
    "EPOLL",
    "KQUEUE",
    "EVPORTS",
    "SPLICE",
    "GETADDRINFO",
    "REUSEPORT",
    "FAST-FORWARD",
    "SERVER-SSL-VERIFY-NONE",
)

_VERSION = regex(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?(?:-(dev|pre|rc)?([0-9]{1,9}))?(?:[-+].*)?")
_SSL_VERSION = regex(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?([a-z]*)(?:-.*)?")
_TOKEN = regex(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|&&|\|\||[()!]")
_DEEPEST = 64


def _no_tls_library() -> tuple[str, str]:
    return "", ""


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """What predicates may ask about this program.

    Attributes:
        version: the HAProxy version that we are compatible with.
        features: names that `-vv` lists with a plus.
        tls_library: gives the name of the TLS library, "" without one, and its OpenSSL version number, "3.5.0". Called only when
            it is asked for, since it may have to load the library.
        enabled: those of `RUNTIME_OPTIONS` that are on.
        fips: the TLS library runs in FIPS mode.
        awslc_api: API number when the library is AWS-LC.
    """

    version: str = "3.5.0"
    features: frozenset[str] = frozenset()
    tls_library: Callable[[], tuple[str, str]] = _no_tls_library
    enabled: frozenset[str] = frozenset()
    fips: bool = False
    awslc_api: int | None = None


def evaluate(text: str, facts: BuildFacts, environment: Mapping[str, str], location: Location | None = None) -> bool:
    """Evaluate a condition.

    Args:
        text: the expression; the empty one is false.
        facts: this program.
        environment: for `defined()`.
        location: where the expression stands; by default a place is made up that shows the text itself.

    Raises:
        ConfigError: not an expression, an unknown predicate, or wrong arguments.
    """
    place = location or Location("<condition>", 1, 1, max(1, len(text)), text)
    return _Reader(Word(text, place), facts, environment).read()


class _Reader:
    """Recursive descent: or > and > not > element."""

    def __init__(self, word: Word, facts: BuildFacts, environment: Mapping[str, str]) -> None:
        self.word = word
        self.facts = facts
        self.environment = environment
        self.position = 0
        self.depth = 0

    def read(self) -> bool:
        if not self.word.text.strip():
            return False
        value = self._alternatives()
        if self._peek():
            raise self._wrong(f"unexpected '{self.word.text[self.position :][:40]}'", self.position, allowed=("&&", "||"))
        return value

    def _alternatives(self) -> bool:
        value = self._conjunction()
        while self._take("||"):
            value = self._conjunction() or value
        return value

    def _conjunction(self) -> bool:
        value = self._negation()
        while self._take("&&"):
            value = self._negation() and value
        return value

    def _negation(self) -> bool:
        turned = False
        while self._take("!"):
            turned = not turned
        return self._element() is not turned

    def _element(self) -> bool:
        token, start = self._peek(), self.position
        if token == "(":
            self.position += 1
            self.depth += 1
            if self.depth > _DEEPEST:
                raise self._wrong("parentheses are nested too deeply", start)
            value = self._alternatives()
            if not self._take(")"):
                raise self._wrong("')' is missing for this '('", start, start + 1)
            self.depth -= 1
            return value
        if not token:
            shown = self.word.text[start:][:40]
            problem = f"unexpected '{shown}'" if shown else "condition ends where a predicate is expected"
            raise self._wrong(problem, start)
        if token.isdigit():
            self.position += len(token)
            return int(token) != 0
        if token in ("&&", "||", ")"):
            raise self._wrong(f"a predicate is expected before '{token}'", start, start + len(token))
        return self._predicate(token, start)

    def _predicate(self, name: str, start: int) -> bool:
        predicate = PREDICATES.get(name)
        stop = start + len(name)
        if predicate is None:
            place = piece_of(self.word, start, stop)
            raise config_error(f"unknown predicate '{name}'", place, allowed=tuple(PREDICATES), written=name)
        self.position = stop
        arguments: tuple[str, ...] = ()
        if self.word.text.startswith("(", stop):
            arguments, self.position = parse_arguments(self.word, stop)
        if arguments == ("",) and not predicate.arguments:
            arguments = ()
        if len(arguments) != predicate.arguments:
            count = "one argument" if predicate.arguments == 1 else f"{predicate.arguments or 'no'} arguments"
            raise self._wrong(f"predicate '{name}' takes {count}, not {len(arguments)}", start, self.position)
        try:
            return predicate.test(self.facts, self.environment, *arguments)
        except ValueError as error:
            raise self._wrong(str(error), start, self.position) from None

    def _peek(self) -> str:
        """The next token, "" at the end or before what is none."""
        text = self.word.text
        while self.position < len(text) and text[self.position] in " \t":
            self.position += 1
        match = _TOKEN.match(text, self.position)
        if match is None:
            if self.position < len(text):
                raise self._wrong(f"unexpected '{text[self.position :][:40]}'", self.position)
            return ""
        return match[0]

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self.position += len(token)
        return True

    def _wrong(self, message: str, start: int, stop: int | None = None, allowed: tuple[str, ...] = ()) -> ConfigError:
        end = len(self.word.text) if stop is None else stop
        return config_error(f"{message} in condition", piece_of(self.word, start, end), allowed=allowed)


# --- the predicates --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Predicate:
    """One predicate: how many arguments it takes, and its test. The test raises ValueError for an argument it can't read."""

    arguments: int
    test: Callable[..., bool]


def version_key(text: str) -> tuple[int, ...]:
    """A HAProxy version for comparing: `2.4-dev19` < `2.4-rc1` < `2.4` = `2.4.0` < `2.4.0-12` (commits behind a release).

    Raises:
        ValueError: not a version.
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a version such as '3.5.0' or '3.5-dev1'")
    major, minor, patch, stage, number = match.groups()
    rank = {"dev": 0, "pre": 1, "rc": 2}.get(stage, 3)
    return int(major), int(minor or 0), int(patch or 0), rank, int(number or 0)


def ssl_version_key(text: str) -> tuple[int, int, int, str]:
    """An OpenSSL version for comparing; a letter (`1.1.1w`) counts behind the number.

    Raises:
        ValueError: not a version.
    """
    match = _SSL_VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not an OpenSSL version such as '1.1.1' or '3.5.0'")
    major, minor, patch, letter = match.groups()
    return int(major), int(minor or 0), int(patch or 0), letter


def _ssl_named(facts: BuildFacts, beginning: str) -> bool:
    name = facts.tls_library()[0]
    return bool(name) and name.startswith(beginning)


def _ssl_atleast(facts: BuildFacts, wanted: str) -> bool:
    key = ssl_version_key(wanted)
    version = facts.tls_library()[1]
    return bool(version) and ssl_version_key(version) >= key


def _ssl_before(facts: BuildFacts, wanted: str) -> bool:
    key = ssl_version_key(wanted)
    version = facts.tls_library()[1]
    return bool(version) and ssl_version_key(version) < key


def _api(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"'{text}' is not an AWS-LC API number")
    return int(text)


def _awslc_atleast(facts: BuildFacts, wanted: str) -> bool:
    number = _api(wanted)
    return facts.awslc_api is not None and facts.awslc_api >= number


def _awslc_before(facts: BuildFacts, wanted: str) -> bool:
    number = _api(wanted)
    return facts.awslc_api is not None and facts.awslc_api < number


def _enabled(facts: BuildFacts, option: str) -> bool:
    if option not in RUNTIME_OPTIONS:
        raise ValueError(f"unknown run-time option '{option}' (one of {', '.join(RUNTIME_OPTIONS)})")
    return option in facts.enabled


PREDICATES: dict[str, Predicate] = {
    "awslc_api_atleast": Predicate(1, lambda facts, _, wanted: _awslc_atleast(facts, wanted)),
    "awslc_api_before": Predicate(1, lambda facts, _, wanted: _awslc_before(facts, wanted)),
    "defined": Predicate(1, lambda _, environment, name: name in environment),
    "enabled": Predicate(1, lambda facts, _, option: _enabled(facts, option)),
    "feature": Predicate(1, lambda facts, _, name: name in facts.features),
    "fips_mode": Predicate(0, lambda facts, _: facts.fips),
    "openssl_version_atleast": Predicate(1, lambda facts, _, wanted: _ssl_atleast(facts, wanted)),
    "openssl_version_before": Predicate(1, lambda facts, _, wanted: _ssl_before(facts, wanted)),
    "ssllib_name_startswith": Predicate(1, lambda facts, _, name: _ssl_named(facts, name)),
    "streq": Predicate(2, lambda _facts, _, left, right: left == right),
    "strneq": Predicate(2, lambda _facts, _, left, right: left != right),
    "strstr": Predicate(2, lambda _facts, _, whole, part: part in whole),
    "version_atleast": Predicate(1, lambda facts, _, wanted: version_key(facts.version) >= version_key(wanted)),
    "version_before": Predicate(1, lambda facts, _, wanted: version_key(facts.version) < version_key(wanted)),
}
