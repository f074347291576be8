"""The actions of rules as data (manual 4.3, 4.4), one small class each. `plan` compiles them to closures.

Only what is implemented has a class; the registry answers for the other names ("known but not yet supported").
"""

from __future__ import annotations

import enum

from headgate.base.diagnostics import Location
from headgate.base.records import dataclass
from headgate.config.expression import Condition, LogFormat, SampleExpression


class Ruleset(enum.Enum):
    """Where rules are evaluated, in the order of a stream's life."""

    TCP_REQUEST_CONNECTION = "tcp-request connection"
    TCP_REQUEST_SESSION = "tcp-request session"
    TCP_REQUEST_CONTENT = "tcp-request content"
    TCP_RESPONSE_CONTENT = "tcp-response content"
    HTTP_REQUEST = "http-request"
    HTTP_RESPONSE = "http-response"
    HTTP_AFTER_RESPONSE = "http-after-response"


@dataclass(frozen=True, slots=True)
class Accept:
    """`accept`, `allow`: stop evaluating this ruleset."""


@dataclass(frozen=True, slots=True)
class Reject:
    """`reject`: close the connection without a word."""


@dataclass(frozen=True, slots=True)
class SilentDrop:
    """`silent-drop`: forget the connection; the client is not told when the kernel allows."""

    rst_ttl: int | None = None


@dataclass(frozen=True, slots=True)
class HeaderArgument:
    """A header of a `return`/`deny` reply."""

    name: str
    value: LogFormat


@dataclass(frozen=True, slots=True)
class ReplySpec:
    """The reply of `deny`, `tarpit` and `return`: status, content and headers (4.4 "return").

    Attributes:
        status: HTTP status, None for the action's default.
        content_type: Content-Type of the body, or None.
        body: literal body bytes (already read for `file`), or None.
        body_format: log-format body (`lf-string`, `lf-file`), or None.
        raw: a complete pre-built HTTP message (`errorfile`), or None.
        error_section: http-errors section to take the page from (`errorfiles`), or None.
        default_errorfiles: use the proxy's own error page for the status.
        headers: extra headers (`hdr <name> <fmt>`).
    """

    status: int | None = None
    content_type: str | None = None
    body: bytes | None = None
    body_format: LogFormat | None = None
    raw: bytes | None = None
    error_section: str | None = None
    default_errorfiles: bool = False
    headers: tuple[HeaderArgument, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    reply: ReplySpec


@dataclass(frozen=True, slots=True)
class Tarpit:
    reply: ReplySpec


@dataclass(frozen=True, slots=True)
class Return:
    reply: ReplySpec


@dataclass(frozen=True, slots=True)
class Redirect:
    """`redirect location|prefix|scheme <fmt> [code N] [drop-query] [append-slash] [ignore-empty] [set-cookie...] ...`."""

    kind: str
    target: LogFormat
    code: int = 302
    drop_query: bool = False
    keep_query: bool = False
    append_slash: bool = False
    ignore_empty: bool = False
    set_cookie: str | None = None
    clear_cookie: str | None = None


@dataclass(frozen=True, slots=True)
class SetHeader:
    name: str
    value: LogFormat


@dataclass(frozen=True, slots=True)
class AddHeader:
    name: str
    value: LogFormat


@dataclass(frozen=True, slots=True)
class DeleteHeader:
    """`del-header <name> [-m str|beg|end|sub|reg]`."""

    name: str
    match_method: str = "str"


@dataclass(frozen=True, slots=True)
class ReplaceHeader:
    """`replace-header <name> <regex> <fmt>`: on the whole field; `replace-value` on each comma-separated value."""

    name: str
    pattern: str
    replacement: LogFormat
    each_value: bool = False


@dataclass(frozen=True, slots=True)
class SetRequestPart:
    """`set-method`, `set-path`, `set-pathq`, `set-query`, `set-uri`: `part` is the word behind `set-`."""

    part: str
    value: LogFormat


@dataclass(frozen=True, slots=True)
class ReplaceRequestPart:
    """`replace-path`, `replace-pathq`, `replace-uri`: `part` is the word behind `replace-`."""

    part: str
    pattern: str
    replacement: LogFormat


@dataclass(frozen=True, slots=True)
class SetStatus:
    code: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class SetVar:
    """`set-var(scope.name[,conditions]) <expression>` or `set-var-fmt(...) <format>`."""

    scope: str
    name: str
    conditions: tuple[str, ...]
    value: SampleExpression | LogFormat


@dataclass(frozen=True, slots=True)
class DoResolve:
    """`do-resolve(scope.name,<resolvers>[,ipv4|ipv6]) <expression>`.

    Attributes:
        resolvers: the section's name; `location`: where it stands.
        prefer: 4 or 6: the family that is asked for first.
        value: the host's name.
    """

    scope: str
    name: str
    resolvers: str
    prefer: int
    value: SampleExpression
    location: Location


@dataclass(frozen=True, slots=True)
class UnsetVar:
    scope: str
    name: str


@dataclass(frozen=True, slots=True)
class SetLogLevel:
    """`set-log-level`: 0 (emerg) to 7 (debug), or -1 for `silent`."""

    level: int


@dataclass(frozen=True, slots=True)
class Capture:
    """`capture <expression> len <n>` or `id <n>`."""

    expression: SampleExpression
    length: int | None
    slot: int | None


@dataclass(frozen=True, slots=True)
class SetTimeout:
    """`set-timeout client|server|tunnel <time|expression>`: seconds, or an expression in milliseconds."""

    which: str
    value: float | SampleExpression


@dataclass(frozen=True, slots=True)
class SetRetries:
    value: int | SampleExpression


@dataclass(frozen=True, slots=True)
class DisableL7Retry:
    """`disable-l7-retry`."""


@dataclass(frozen=True, slots=True)
class WaitForHandshake:
    """`wait-for-handshake`."""


@dataclass(frozen=True, slots=True)
class SetDestination:
    """`set-dst <expression>`, `set-dst-port <expression>`: `part` is "address" or "port"."""

    part: str
    value: SampleExpression


@dataclass(frozen=True, slots=True)
class Auth:
    """`auth [realm <realm>]`."""

    realm: str | None


@dataclass(frozen=True, slots=True)
class ChangePatterns:
    """`set-map`, `del-map`, `add-acl`, `del-acl`: a change of the list called `name`; `verb` is the action's name."""

    verb: str
    name: str
    key: LogFormat
    value: LogFormat | None
    location: Location


@dataclass(frozen=True, slots=True)
class UseService:
    """`use-service <name>`: one of `SERVICES`."""

    name: str


#: What `use-service` knows.
SERVICES = ("prometheus-exporter",)

@dataclass(frozen=True, slots=True)
class TrackCounter:
    """`track-sc<n> <key> [table <table>]`: from here on, what happens is counted in the entry of this key."""

    slot: int
    expression: SampleExpression
    table: str | None
    location: Location


@dataclass(frozen=True, slots=True)
class ChangeCounter:
    """`sc-inc-gpc`, `sc-add-gpc`, `sc-set-gpt` and their older forms, on the entry that a sticky counter tracks.

    Attributes:
        verb: inc, add or set.
        what: gpc, gpt (arrays), gpc0, gpc1 or gpt0.
        index: into the array.
        slot: the sticky counter.
        value: what is added or set.
    """

    verb: str
    what: str
    index: int
    slot: int
    value: int | SampleExpression


Action = (
    Accept | Reject | SilentDrop | Deny | Tarpit | Return | Redirect | SetHeader | AddHeader | DeleteHeader | ReplaceHeader
    | SetRequestPart | ReplaceRequestPart | SetStatus | SetVar | UnsetVar | SetLogLevel | Capture | SetTimeout | SetRetries
    | DisableL7Retry | Auth | ChangePatterns | UseService | TrackCounter | ChangeCounter
    | WaitForHandshake | DoResolve | SetDestination
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what to do, and when."""

    ruleset: Ruleset
    action: Action
    condition: Condition | None
    location: Location
