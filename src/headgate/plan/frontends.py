"""The compiled plan of a frontend and of a backend: what the data plane reads, nothing to parse or look up.

Built by `compiler`, read by `proxy` and `runtime`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from headgate.base.records import dataclass, field
from headgate.config.model import Bind, CookiePersistence, Proxy, Server
from headgate.plan.facts import Stream, Value
from headgate.plan.references import References
from headgate.plan.verdicts import Reply, Verdict

if TYPE_CHECKING:
    from headgate.config.stick_tables import StickTable
    from headgate.plan.additions import Additions
    from headgate.plan.checks import CheckProgram
    from headgate.plan.sticking import StickPlan

#: A compiled ruleset: runs the rules in order, edits the stream, answers the first verdict or None.
Rules = Callable[[Stream], Verdict | None]
#: A compiled condition.
Test = Callable[[Stream], bool]
#: A compiled log format.
Formatter = Callable[[Stream], bytes]


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """A server with what is evaluated per connection."""

    spec: Server
    sni: Callable[[Stream], bytes | None] | None = None  # the `sni` expression
    connection_name: Callable[[Stream], bytes | None] | None = None  # the `pool-conn-name` expression
    check: CheckProgram | None = None  # of its own `healthcheck` section


@dataclass(frozen=True, slots=True)
class BackendPlan:
    """A backend, compiled. Rulesets are None where there is no rule, so that the data plane skips them for free."""

    spec: Proxy
    name: str
    servers: tuple[ServerPlan, ...]
    tcp_request_content: Rules | None
    tcp_response_content: Rules | None
    http_request: Rules | None
    http_response: Rules | None
    http_after_response: Rules | None
    use_server: Callable[[Stream], str | None] | None
    force_persist: Test | None
    ignore_persist: Test | None
    balance_key: Callable[[Stream], bytes | None] | None  # what hash-based algorithms hash; None for the others
    cookie: CookiePersistence | None
    error_replies: Mapping[int, Reply]
    #: addresses (ipaddress networks) behind `option forwardfor except`, and the header's name; None: option is off
    forwardfor: Callable[[Stream], bytes | None] | None  # the complete field line to add, or None for none
    originalto: Callable[[Stream], bytes | None] | None
    stick: StickPlan | None = None  # `stick` rules
    check: CheckProgram | None = None  # None: connecting is all that a check does


@dataclass(frozen=True, slots=True)
class FrontendPlan:
    """A frontend, compiled."""

    spec: Proxy
    name: str
    binds: tuple[Bind, ...]
    tcp_request_connection: Rules | None
    tcp_request_session: Rules | None
    failure_tracking: Rules | None  # what those rules would track of a client whose TLS handshake failed
    tcp_request_content: Rules | None
    http_request: Rules | None
    http_response: Rules | None
    http_after_response: Rules | None
    tcp_response_content: Rules | None
    choose_backend: Callable[[Stream], BackendPlan | None]  # use_backend rules, then default_backend
    monitor_fail: Test | None
    capture_request: Callable[[Stream], None] | None  # fills captures from the request head; None: nothing to capture
    capture_response: Callable[[Stream], None] | None
    log_line: Formatter | None  # None: no target wants lines
    error_log_line: Formatter | None
    structured_data: Formatter | None
    unique_id: Formatter | None
    error_replies: Mapping[int, Reply]
    forwardfor: Callable[[Stream], bytes | None] | None
    originalto: Callable[[Stream], bytes | None] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything compiled."""

    frontends: tuple[FrontendPlan, ...]
    backends: Mapping[str, BackendPlan]
    #: `set-var` and `set-var-fmt` of the global section: key and value, evaluated once at start with any stream.
    process_variables: tuple[tuple[bytes, Callable[[Stream], Value]], ...] = ()
    #: the lists of patterns that ACLs and maps look into
    references: References = field(default_factory=References)
    #: the stick tables, in the order of `World.tables`
    tables: tuple[StickTable, ...] = ()
    #: compiles what is added while running; None in plans that were not compiled
    additions: Additions | None = None
    #: backends that content switching passes over (`unpublish backend`)
    unpublished: set[str] = field(default_factory=set)
