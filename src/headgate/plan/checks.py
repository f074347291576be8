"""Check rules -> steps: what a check sends and expects, compiled once (manual 4.2 tcp-check, http-check; 12.9).

`health.machine` runs the steps; the protocols that need no rules (`option redis-check` and its kin) make steps of the same kinds.
A step sees a `CheckStream`, so that samples and log formats work as they do in rules, in the place `CHECK`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, cast

from headgate.base.diagnostics import ConfigError, config_error
from headgate.base.records import dataclass
from headgate.config.actions import SetVar
from headgate.config.checks import (
    CheckRule,
    CheckSpec,
    CommentRule,
    ConnectRule,
    ExpectRule,
    FieldPattern,
    RequestRule,
    SendRule,
    Text,
    VariableRule,
)
from headgate.config.expression import LogFormat, SampleExpression
from headgate.plan.actions.settings import set_var, unset_var
from headgate.plan.expressions import compile_as
from headgate.plan.facts import Session, Stream
from headgate.plan.fetches.http_fields import split_list
from headgate.plan.logformat import Use, compile_format, constant_of
from headgate.plan.places import Place
from headgate.plan.samples import Run, Type, parse_address
from headgate.plan.scope import Scope, shield


class CheckStream(Stream):
    """One run of a check, as samples see it. `response_buffer` is what the server has sent since the last time that something was
    sent to it; of an HTTP answer its body.

    Attributes:
        state: the value of X-Haproxy-Server-State, b"" where it is not sent.
        disable_on_404: an HTTP answer with status 404 asks for no new sessions, whatever else is expected.
        keeps: the connection is kept for the next check, where the server agrees.
    """

    __slots__ = ("disable_on_404", "keeps", "state")

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.state = b""
        self.disable_on_404 = False
        self.keeps = False


#: A text that is evaluated for each check; None: it can't be made.
Make = Callable[[CheckStream], bytes | None]


@dataclass(frozen=True, slots=True)
class ConnectStep:
    """Open a connection. `port` None: the check's own; `label` is how messages call the step, "" for one that is implied."""

    number: int
    rule: ConnectRule
    port: Callable[[CheckStream], int | None] | None = None
    label: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class SendStep:
    """Send bytes. `method` is that of an HTTP request, b"" otherwise: the answer is read as HTTP then."""

    number: int
    data: Make
    method: bytes = b""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ExpectStep:
    """Look at what arrives.

    Attributes:
        matches: whether it is there; a text where the pattern itself can't be made, which says why.
        subject: "content", "body", "status" or "header".
        least: bytes without which there is nothing to look for.
        missed, unwanted: what messages say of an answer that does not match, or that does behind a `!`.
        label: how messages call the step.
        on_success, on_error, code: of the options of that name, None without.
    """

    number: int
    rule: ExpectRule
    matches: Callable[[CheckStream], bool | str]
    subject: str
    least: Callable[[CheckStream], int]
    missed: str = ""
    unwanted: str = ""
    label: str = ""
    on_success: Make | None = None
    on_error: Make | None = None
    code: Callable[[CheckStream], int | None] | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ActStep:
    """Set or forget a variable."""

    number: int
    act: Callable[[Stream], object]


RuleStep = ConnectStep | SendStep | ExpectStep | ActStep


@dataclass(frozen=True, slots=True)
class CheckProgram:
    """A check, compiled.

    Attributes:
        steps: those of its rules: kinds without rules have none here.
        host: the host that an HTTP check asks for, where nothing says how to connect: the name in TLS (5.2 check-sni-auto).
    """

    spec: CheckSpec
    steps: tuple[RuleStep, ...] = ()
    host: Make | None = None


def compile_check(spec: CheckSpec, scope: Scope) -> CheckProgram:
    """Compile the rules of a check; errors go to the report, each with its place.

    Args:
        scope: of the backend, or of the backend of the server that has a check of its own.
    """
    here = scope.at(Place.CHECK)
    steps: list[RuleStep] = []
    comment = ""
    number = 0
    for rule in spec.rules:
        # What is implied was not written: it has no number.
        number += 1 if rule.location.line else 0
        if isinstance(rule, CommentRule):
            comment = rule.text
            continue
        try:
            step = _STEPS[type(rule)](rule, number if rule.location.line else 0, comment, spec, here)
        except ConfigError as error:
            shield(scope.report, error)
        else:
            steps.append(step)
        if not isinstance(rule, VariableRule):
            comment = ""
    return CheckProgram(spec, tuple(steps), _host(spec, here))


def _host(spec: CheckSpec, scope: Scope) -> Make | None:
    """5.2 check-sni-auto: "based on the host header value", "only if there is no http-check connect rule"."""
    if any(isinstance(rule, ConnectRule) for rule in spec.rules):
        return None
    headers = [header for rule in spec.rules if isinstance(rule, RequestRule) for header in rule.headers]
    value = next((value for name, value in headers if name.lower() == "host"), None)
    if value is None:
        return None
    try:
        make = _text(value, scope, Use.HEADER)
    except ConfigError:
        return None  # said where the request was compiled

    def host(stream: CheckStream) -> bytes | None:
        name = (make(stream) or b"").partition(b":")[0]
        # An address is no server name (RFC 6066 3), and in brackets it is one of IPv6.
        return name if name and not name.startswith(b"[") and parse_address(name) is None else None

    return host


# --- pieces ----------------------------------------------------------------------------------------------------------


def _text(text: Text | str, scope: Scope, use: Use = Use.PLAIN) -> Make:
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogateescape")
    if isinstance(text, LogFormat):
        constant = constant_of(text)
        if constant is None:
            return cast(Make, compile_format(text, scope, use))
        text = constant
    fixed: bytes = text
    return lambda stream: fixed


def _from_hexadecimal(make: Make) -> Make:
    def convert(stream: CheckStream) -> bytes | None:
        try:
            return bytes.fromhex((make(stream) or b"").decode("ascii"))
        except ValueError:
            return None

    return convert


def _integer(expression: SampleExpression | None, scope: Scope) -> Callable[[CheckStream], int | None] | None:
    if expression is None:
        return None
    run: Run = compile_as(expression, Type.SINT, scope)

    def value(stream: CheckStream) -> int | None:
        found = run(stream)
        return found if isinstance(found, int) else None

    return value


# --- steps -----------------------------------------------------------------------------------------------------------


def _connect(rule: ConnectRule, number: int, comment: str, spec: CheckSpec, scope: Scope) -> ConnectStep:
    port: Callable[[CheckStream], int | None] | None = None
    label = "connect"
    if isinstance(rule.port, int):
        fixed = rule.port
        port = lambda stream: fixed  # noqa: E731
        label += f" port {fixed}"
    elif rule.port is not None:
        port = _integer(rule.port, scope)
        label += " port (expression)"
    return ConnectStep(number, rule, port, label, rule.comment or comment)


def _send(rule: SendRule, number: int, comment: str, spec: CheckSpec, scope: Scope) -> SendStep:
    make = _text(rule.data, scope)
    return SendStep(number, _from_hexadecimal(make) if rule.hexadecimal else make, b"", rule.comment or comment)


#: What stands around the authority of an absolute URI (RFC 3986 3.2): the scheme and a user, and the path behind it.
_AUTHORITY: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?)[^/?#]*")


def _with_authority(method: bytes, target: bytes, host: bytes) -> bytes:
    """4.2 http-check send: "the Host header and the request authority, when both defined, are automatically synchronized"."""
    if not host:
        return target
    if method == b"CONNECT":
        return host
    match = _AUTHORITY.match(target)
    return target if match is None else match[1] + host + target[match.end() :]


def _request(rule: RequestRule, number: int, comment: str, spec: CheckSpec, scope: Scope) -> SendStep:
    """The request of an HTTP check. A check's connection serves one exchange, unless the next check has it (check-reuse-pool)."""
    method = (rule.method or "OPTIONS").encode("ascii")
    version = (rule.version or "HTTP/1.0").encode("ascii")
    uri = _text(rule.uri if rule.uri is not None else "/", scope)
    fields = [(name.encode("latin-1"), _text(value, scope, Use.HEADER)) for name, value in rule.headers]
    body = None if rule.body is None else _text(rule.body, scope, Use.BODY)
    implied = all(name.lower() != b"connection" for name, _ in fields)
    closed = (b"connection: close",)
    kept = (b"connection: keep-alive",) if version == b"HTTP/1.0" else ()

    def request(stream: CheckStream) -> bytes | None:
        target = uri(stream) or b""
        if not target or any(byte <= 32 or byte == 127 for byte in target):
            return None
        evaluated = [(name, value(stream) or b"") for name, value in fields]
        for name, value in evaluated:
            if name.lower() == b"host":
                target = _with_authority(method, target, value)
        lines = [b"%b %b %b" % (method, target, version)]
        lines += [b"%b: %b" % field for field in evaluated]
        if stream.state:
            lines.append(b"X-Haproxy-Server-State: " + stream.state)
        content = b"" if body is None else body(stream) or b""
        if content or method in (b"POST", b"PUT", b"PATCH"):
            lines.append(b"content-length: %d" % len(content))
        if implied:
            lines += kept if stream.keeps else closed
        return b"\r\n".join(lines) + b"\r\n\r\n" + content

    return SendStep(number, request, method, rule.comment or comment)


def _variable(rule: VariableRule, number: int, comment: str, spec: CheckSpec, scope: Scope) -> ActStep:
    if isinstance(rule.action, SetVar):
        return ActStep(number, set_var(rule.action, scope, rule.location))
    return ActStep(number, unset_var(rule.action, scope, rule.location))


# --- expect ----------------------------------------------------------------------------------------------------------

_Matches = Callable[[CheckStream], bool | str]

#: Why a pattern can't be made. One that is nothing would be found everywhere.
_EMPTY: Final = "log-format string evaluated to an empty string"
_NOT_HEXADECIMAL: Final = "Failed to parse hexastring resulting of eval of a log-format string"


def _compiled(pattern: str, scope: Scope, rule: ExpectRule) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern.encode("utf-8", "surrogateescape"))
    except (re.error, RecursionError, OverflowError) as error:
        raise config_error(f"'{pattern}' is not a regular expression: {error}", rule.location) from None


def _nothing(stream: CheckStream) -> int:
    return 0


def _string(rule: ExpectRule, scope: Scope) -> tuple[_Matches, Callable[[CheckStream], int]]:
    make = _text(cast(Text, rule.pattern), scope)
    if rule.match == "binary-lf":
        make = _from_hexadecimal(make)
    is_format = rule.match.endswith("-lf")

    def matches(stream: CheckStream) -> bool | str:
        wanted = make(stream)
        if wanted is None:
            return _NOT_HEXADECIMAL
        return _EMPTY if is_format and not wanted else wanted in stream.response_buffer

    def least(stream: CheckStream) -> int:
        return len(make(stream) or b"")

    return matches, least


def _regex(rule: ExpectRule, scope: Scope) -> tuple[_Matches, Callable[[CheckStream], int]]:
    search = _compiled(cast(str, rule.pattern), scope, rule).search
    if rule.match == "rbinary":
        return (lambda stream: search(stream.response_buffer.hex().upper().encode()) is not None), _nothing
    return (lambda stream: search(stream.response_buffer) is not None), _nothing


def _status(rule: ExpectRule, scope: Scope) -> tuple[_Matches, Callable[[CheckStream], int]]:
    pattern = cast(str, rule.pattern)
    if rule.match == "rstatus":
        search = _compiled(pattern, scope, rule).search
        return (lambda stream: search(b"%d" % stream.status) is not None), _nothing
    ranges = []
    for part in pattern.split(","):
        low, dash, high = part.partition("-")
        ranges.append(range(int(low), int(high if dash else low) + 1))
    return (lambda stream: any(stream.status in one for one in ranges)), _nothing


#: Whether a header's name or value matches.
_FieldTest = Callable[[bytes], object]


def _field_test(way: str, pattern: Text, scope: Scope, *, name: bool) -> Callable[[CheckStream], _FieldTest | None]:
    """Makes the test for one run; None where the pattern is nothing then. Names are compared without regard to case."""
    if way == "reg":
        assert isinstance(pattern, bytes)
        search = re.compile(pattern, re.IGNORECASE if name else 0).search
        return lambda stream: search
    make = _text(pattern, scope)
    compare, is_format = _WAYS[way], isinstance(pattern, LogFormat)

    def test(stream: CheckStream) -> _FieldTest | None:
        evaluated = make(stream) or b""
        wanted = evaluated.lower() if name else evaluated
        return None if is_format and not wanted else lambda value: compare(value, wanted)

    return test


_WAYS: Final[dict[str, Callable[[bytes, bytes], bool]]] = {
    "str": lambda value, wanted: value == wanted,
    "beg": lambda value, wanted: value.startswith(wanted),
    "end": lambda value, wanted: value.endswith(wanted),
    "sub": lambda value, wanted: wanted in value,
}


def _header(rule: ExpectRule, scope: Scope) -> tuple[_Matches, Callable[[CheckStream], int]]:
    pattern = cast(FieldPattern, rule.pattern)
    name_test = _field_test(pattern.name_method, pattern.name, scope, name=True)
    value_test = None if pattern.value is None else _field_test(pattern.value_method, pattern.value, scope, name=False)
    split = rule.match == "hdr"

    def matches(stream: CheckStream) -> bool | str:
        named = name_test(stream)
        valued = None if value_test is None else value_test(stream)
        if named is None or (valued is None and value_test is not None):
            return _EMPTY
        head = stream.response
        for field in head.fields if head is not None else ():
            if named(field.name):
                if valued is None:
                    return True
                values = split_list(field.value) if split else [field.value]
                if any(valued(value) for value in values):
                    return True
        return False

    return matches, _nothing


_JUDGES: Final = {
    "string": _string, "string-lf": _string, "binary": _string, "binary-lf": _string, "rstring": _regex, "rbinary": _regex,
    "status": _status, "rstatus": _status, "hdr": _header, "fhdr": _header,
}
#: How messages call what did not match.
_CONTENTS: Final = {
    "rstring": " (regex)", "binary": " (binary)", "rbinary": " (binary regex)", "string-lf": " (log-format string)",
    "binary-lf": " (log-format binary)",
}


def _shown(pattern: object) -> str:
    return pattern.decode("utf-8", "replace") if isinstance(pattern, bytes) else str(getattr(pattern, "text", pattern))


def _expect(rule: ExpectRule, number: int, comment: str, spec: CheckSpec, scope: Scope) -> ExpectStep:
    matches, least = _JUDGES[rule.match](rule, scope)
    comment = rule.comment or comment
    if spec.kind == "http":
        subject = "status" if rule.match.endswith("status") else "header" if rule.match.endswith("hdr") else "body"
        missed, unwanted = "HTTP content check did not match", "HTTP check matched unwanted content"
        behind = f" comment: {comment}" if comment else ""
    else:
        subject = "content"
        what = _CONTENTS.get(rule.match) or f" '{_shown(rule.pattern)}'"
        missed, unwanted = f"TCPCHK did not match content{what}", f"TCPCHK matched unwanted content{what}"
        behind = f" at step {number}" + (f" comment: {comment}" if comment else "")
    return ExpectStep(
        number, rule, matches, subject, least, missed + behind, unwanted + behind,
        f"expect {rule.match} '{_shown(rule.pattern)}'" if rule.match == "string" else f"expect {rule.match}",
        None if rule.on_success is None else _text(rule.on_success, scope),
        None if rule.on_error is None else _text(rule.on_error, scope),
        _integer(rule.status_code, scope),
        comment,
    )


_STEPS: Final[dict[type[CheckRule], Callable[..., RuleStep]]] = {
    ConnectRule: _connect, SendRule: _send, RequestRule: _request, ExpectRule: _expect, VariableRule: _variable,
}
