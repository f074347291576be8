"""How servers are checked, as it was written and resolved: the kind of check and its rules (4.2 tcp-check, http-check).

Plain data; `keywords.check_rules` and `keywords.checks` make it, `plan.checks` compiles it. Comments stay rules of their own,
since HAProxy counts them in the step numbers of its messages.
"""

from __future__ import annotations

from headgate.base.addresses import Address
from headgate.base.diagnostics import NOWHERE, Location
from headgate.base.records import dataclass
from headgate.config.actions import SetVar, UnsetVar
from headgate.config.expression import LogFormat, SampleExpression
from headgate.config.tls_options import Protocols

#: Text that is sent or looked for: as it stands, or evaluated for each check.
Text = bytes | LogFormat


@dataclass(frozen=True, slots=True)
class ConnectRule:
    """`connect [default] [port <expr>] [addr <ip>] [send-proxy] [via-socks4] [ssl] [sni <sni>] [alpn <alpn>] [linger] ...`.

    Attributes:
        default: what is not said here is as on the server line.
        alpn: protocols to offer, None for those of the server line.
        proto: "h1" or "none", None where it was not written.
    """

    default: bool = False
    port: int | SampleExpression | None = None
    address: Address | None = None
    send_proxy: bool = False
    via_socks4: bool = False
    ssl: bool = False
    sni: str | None = None
    alpn: Protocols | None = None
    linger: bool = False
    proto: str | None = None
    comment: str = ""
    location: Location = NOWHERE


@dataclass(frozen=True, slots=True)
class SendRule:
    """`tcp-check send`, `send-lf`, `send-binary`, `send-binary-lf`. `hexadecimal`: the format gives hexadecimal digits."""

    data: Text
    hexadecimal: bool = False
    comment: str = ""
    location: Location = NOWHERE


@dataclass(frozen=True, slots=True)
class RequestRule:
    """`http-check send`, and what `option httpchk` says of the request. None: not written."""

    method: str | None = None
    uri: str | LogFormat | None = None
    version: str | None = None
    headers: tuple[tuple[str, LogFormat | str], ...] = ()
    body: Text | None = None
    comment: str = ""
    location: Location = NOWHERE


@dataclass(frozen=True, slots=True)
class FieldPattern:
    """`hdr|fhdr name [-m <meth>] <name> [value [-m <meth>] <value>]`. Methods: str, beg, end, sub, reg."""

    name: Text
    name_method: str = "str"
    value: Text | None = None
    value_method: str = "str"


@dataclass(frozen=True, slots=True)
class ExpectRule:
    """`expect ... [!] <match> <pattern>`.

    Attributes:
        match: string, rstring, string-lf, binary, rbinary, binary-lf, status, rstatus, hdr, fhdr.
        pattern: bytes of `string` and `binary`; the text of a regular expression or of a list of statuses; else as typed.
        min_recv: -1 for none.
        ok_status, error_status, tout_status: words of check statuses, None for the default.
    """

    match: str
    pattern: bytes | str | LogFormat | FieldPattern
    negated: bool = False
    min_recv: int = -1
    ok_status: str | None = None
    error_status: str | None = None
    tout_status: str | None = None
    on_success: LogFormat | None = None
    on_error: LogFormat | None = None
    status_code: SampleExpression | None = None
    comment: str = ""
    location: Location = NOWHERE


@dataclass(frozen=True, slots=True)
class CommentRule:
    """`comment <string>`: said when the rule behind it fails."""

    text: str
    location: Location = NOWHERE


@dataclass(frozen=True, slots=True)
class VariableRule:
    """`set-var`, `set-var-fmt`, `unset-var`."""

    action: SetVar | UnsetVar
    location: Location = NOWHERE


CheckRule = ConnectRule | SendRule | RequestRule | ExpectRule | CommentRule | VariableRule


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """How servers are checked (4.2 `option *-check`, `option *chk`; 12.9).

    Attributes:
        kind: tcp, http, ssl-hello, smtp, mysql, pgsql, redis, ldap, spop or external.
        rules: of a tcp or http check; what is implied (connection, request, expected status) is not among them.
        arguments: of smtp (the command), mysql (user, version), pgsql (user).
        disable_on_404, send_state: of an http check.
        command, path: of an external check.
        log: option log-health-checks.
    """

    kind: str = "tcp"
    rules: tuple[CheckRule, ...] = ()
    arguments: tuple[str, ...] = ()
    disable_on_404: bool = False
    send_state: bool = False
    command: str | None = None
    path: str = ""
    log: bool = False
