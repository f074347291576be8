"""What keyword parsers fill while the text is read: mutable, incomplete, unchecked. `resolve` turns it into `model`.

A draft's settings are keyed by the keyword as the manual writes it (`timeout client`, `option httplog`) and remember where they
were written, so that every later complaint can name the line. Nothing here is seen below `resolve`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from headgate.base.diagnostics import NOWHERE, Location
from headgate.base.records import dataclass, field
from headgate.config.actions import Rule, Ruleset
from headgate.config.check_drafts import CheckDraft
from headgate.config.checks import CheckSpec
from headgate.config.expression import AclDefinition, Condition
from headgate.config.log_options import CookieCapture, HeaderCapture, LogTarget
from headgate.config.mailers import Mailers
from headgate.config.model import Bind, ErrorPage, ErrorSection, Ring, StatsSocket, UseBackend, User, Userlist, UseServer
from headgate.config.registry import Scope
from headgate.config.resolvers import Resolvers
from headgate.config.stick_tables import StickRule


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it was written. `inherited`: it came from a defaults section, so it may silently not apply."""

    value: Any
    location: Location
    inherited: bool = False


class Settings(dict[str, Setting]):
    """Settings by keyword."""

    def put(self, name: str, value: Any, location: Location) -> None:
        """Record a value; a later line replaces an earlier one, as everywhere in the language."""
        self[name] = Setting(value, location)

    def value(self, name: str, default: Any = None) -> Any:
        """The value behind a keyword, or `default` where it was not written."""
        setting = self.get(name)
        return default if setting is None else setting.value

    def place(self, name: str) -> Location:
        """Where a keyword was written, NOWHERE if it was not."""
        setting = self.get(name)
        return NOWHERE if setting is None else setting.location

    def places(self, names: Collection[str]) -> dict[str, Location]:
        """Where those of some keywords were written that are here."""
        return {name: self[name].location for name in names if name in self}

    def is_on(self, name: str) -> bool:
        """Whether a boolean keyword was written and not negated."""
        setting = self.get(name)
        return setting is not None and setting.value is not False and setting.value is not None

    def inherited(self) -> Settings:
        """A copy for a section that starts from this one."""
        return Settings({
            name: setting if setting.inherited else Setting(setting.value, setting.location, True)
            for name, setting in self.items()
        })


@dataclass(slots=True)
class GlobalDraft:
    """The global section.

    Attributes:
        location: of the first `global` line.
        settings: keyed by the keyword as written (`maxconn`, `tune.bufsize`, `crt-base`, `ssl-default-bind-ciphers`).
            Values are final: seconds, bytes, integers, paths, True/False. `ssl-default-bind-options` and
            `ssl-default-server-options` hold a `Settings` of what their words stored, as on a bind or server line.
            `default-path` is already in `ConfigDraft.path_base`.
        log_targets, stats_sockets, variables: what may stand several times.
    """

    location: Location = NOWHERE
    settings: Settings = field(default_factory=Settings)
    log_targets: list[LogTarget] = field(default_factory=list)
    stats_sockets: list[StatsSocket] = field(default_factory=list)
    variables: list[tuple[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class CertificateDraft:
    """A certificate as a line names it: `crt`, `default-crt`, a line of a crt-list, `ssl-f-use`, or `load` in a crt-store.

    Attributes:
        path: as written.
        settings: options of the line, by keyword.
        written: what stood between the brackets of a crt-list line.
        is_whole: all of the line could be read; nothing is concluded from what another one lacks.
    """

    path: str
    location: Location
    settings: Settings = field(default_factory=Settings)
    filters: tuple[str, ...] = ()
    is_default: bool = False
    written: str = ""
    line: int = 0
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class CrtListFile:
    """`crt-list FILE` on a bind line; the file is read when the line is resolved."""

    path: str
    location: Location


@dataclass(slots=True)
class BindDraft:
    """A bind line: one `Bind` an address, and the options of its `ssl` part, which the global section still completes.

    `is_whole`: see `CertificateDraft`.
    """

    location: Location
    addresses: list[Bind] = field(default_factory=list)
    settings: Settings = field(default_factory=Settings)
    is_whole: bool = True


@dataclass(slots=True)
class ServerDraft:
    """A server line (or `default-server`): `settings` by option name, `default-server` already beneath them.

    `is_whole`: see `CertificateDraft`.
    """

    name: str
    location: Location
    address: Any = None  # base.addresses.Address
    settings: Settings = field(default_factory=Settings)
    is_whole: bool = True


@dataclass(slots=True)
class ProxyDraft:
    """A defaults, frontend, backend or listen section.

    Attributes:
        scope: Scope.DEFAULTS, FRONTEND, BACKEND or LISTEN.
        name: "" for an anonymous defaults section.
        location: of the section line.
        config: the whole draft, for file paths and other sections.
        inherits: the defaults section that it started from.
        explicit: `from` was written.
        default_server, default_servers: what `default-server` lines have set so far, without a name and by name.
    """

    scope: Scope
    name: str
    location: Location
    config: ConfigDraft = field(repr=False)
    inherits: ProxyDraft | None = field(default=None, repr=False)
    explicit: bool = False
    settings: Settings = field(default_factory=Settings)
    default_server: Settings = field(default_factory=Settings)
    default_servers: dict[str, Settings] = field(default_factory=dict)
    binds: list[BindDraft] = field(default_factory=list)
    servers: list[ServerDraft] = field(default_factory=list)
    acls: list[AclDefinition] = field(default_factory=list)
    rules: dict[Ruleset, list[Rule]] = field(default_factory=dict)
    denials: list[Rule] = field(default_factory=list)  # of removed `block`, which ran before http-request
    edits: list[Rule] = field(default_factory=list)  # of removed req* keywords, which ran behind http-request
    redirects: list[Rule] = field(default_factory=list)  # of `redirect`, which runs behind them
    use_backends: list[UseBackend] = field(default_factory=list)
    use_servers: list[UseServer] = field(default_factory=list)
    stick_rules: list[StickRule] = field(default_factory=list)
    monitor_fail: list[Condition] = field(default_factory=list)
    force_persist: list[Condition] = field(default_factory=list)
    ignore_persist: list[Condition] = field(default_factory=list)
    stats_users: list[User] = field(default_factory=list)
    stats_scopes: list[str] = field(default_factory=list)
    stats_rules: list[Rule] = field(default_factory=list)
    stats_admin: list[Condition] = field(default_factory=list)
    log_targets: list[LogTarget] = field(default_factory=list)
    log_global: Location | None = None  # `log global` was written here
    error_pages: dict[int, Setting] = field(default_factory=dict)  # status -> ErrorPage
    error_sections: list[tuple[str, tuple[int, ...], Location]] = field(default_factory=list)  # errorfiles
    request_captures: list[HeaderCapture] = field(default_factory=list)
    response_captures: list[HeaderCapture] = field(default_factory=list)
    declared_captures: list[tuple[str, int]] = field(default_factory=list)
    cookie_capture: CookieCapture | None = None
    frontend_certificates: list[CertificateDraft] = field(default_factory=list)  # ssl-f-use
    check: CheckDraft = field(default_factory=CheckDraft)
    latest_rule: tuple[int, str] = (0, "")  # of the rules so far, the one that is evaluated last

    @property
    def is_frontend(self) -> bool:
        """Whether it takes connections (a listen section does)."""
        return self.scope in (Scope.FRONTEND, Scope.LISTEN)

    @property
    def is_backend(self) -> bool:
        """Whether it has servers (a listen section does)."""
        return self.scope in (Scope.BACKEND, Scope.LISTEN)

    @property
    def is_defaults(self) -> bool:
        return self.scope is Scope.DEFAULTS

    @property
    def title(self) -> str:
        """`frontend 'www'`, for messages."""
        return f"{self.scope.value} '{self.name}'" if self.name else f"anonymous {self.scope.value} section"

    def set_error_page(self, status: int, page: ErrorPage, location: Location) -> None:
        """Record what is sent for a status; the last line wins."""
        self.error_pages[status] = Setting(page, location)


@dataclass(slots=True)
class CrtStoreDraft:
    """A `crt-store` section (12.7). `settings` has its crt-base and key-base."""

    name: str
    location: Location
    settings: Settings = field(default_factory=Settings)
    loads: list[CertificateDraft] = field(default_factory=list)


@dataclass(slots=True)
class ConfigDraft:
    """Everything that was read.

    Attributes:
        proxies: frontend, backend and listen sections, in order; `defaults` the defaults sections.
        path_base: directory that relative file names of the file being read start from (`default-path`); "" is the working one.
        path_bases: the same for each file.
        named_sections: (section keyword, name) -> place, for every section that has a name, for cross references.
        name_server_lines: (resolvers section, name) -> the line of a name server that has options.
    """

    global_: GlobalDraft = field(default_factory=GlobalDraft)
    proxies: list[ProxyDraft] = field(default_factory=list)
    defaults: list[ProxyDraft] = field(default_factory=list)
    userlists: dict[str, Userlist] = field(default_factory=dict)
    rings: dict[str, Ring] = field(default_factory=dict)
    error_sections: dict[str, ErrorSection] = field(default_factory=dict)
    resolvers: dict[str, Resolvers] = field(default_factory=dict)
    name_server_lines: dict[tuple[str, str], ServerDraft] = field(default_factory=dict)
    healthchecks: dict[str, CheckSpec] = field(default_factory=dict)
    mailers: dict[str, Mailers] = field(default_factory=dict)
    named_sections: dict[tuple[str, str], Location] = field(default_factory=dict)
    crt_stores: list[CrtStoreDraft] = field(default_factory=list)
    path_base: str = ""
    path_bases: dict[str, str] = field(default_factory=dict)

    def start_paths(self, file: str, base: str) -> None:
        """From here on, relative names in `file` start at `base`."""
        self.path_base = self.path_bases[file] = base

    def path(self, written: str) -> str:
        """A file name as it must be opened."""
        return os.path.join(self.path_base, written) if self.path_base else written

    def new_proxy(
        self, scope: Scope, name: str, location: Location, inherits: ProxyDraft | None = None, *, explicit: bool = False
    ) -> ProxyDraft:
        """Begin a proxy or defaults section and record it.

        Args:
            scope: DEFAULTS, FRONTEND, BACKEND or LISTEN.
            name: "" for anonymous defaults.
            location: of the section line.
            inherits: the defaults section to start from; None for none. A defaults section inherits only with `from` (4).
            explicit: `from` was written.
        """
        draft = ProxyDraft(scope, name, location, self, inherits, explicit)
        if inherits is not None:
            _inherit(draft, inherits)
        (self.defaults if scope is Scope.DEFAULTS else self.proxies).append(draft)
        return draft

    def latest_defaults(self) -> ProxyDraft | None:
        """What a section without `from` starts from."""
        return self.defaults[-1] if self.defaults else None

    def find_defaults(self, name: str) -> list[ProxyDraft]:
        """All defaults sections called `name`: a reference needs exactly one."""
        return [draft for draft in self.defaults if draft.name == name]


def _inherit(draft: ProxyDraft, parent: ProxyDraft) -> None:
    """Start from a defaults section. Rules and ACLs stay there: `resolve` puts them in front, with the ACLs they see."""
    draft.settings = parent.settings.inherited()
    draft.default_server = parent.default_server.inherited()
    draft.default_servers = {name: settings.inherited() for name, settings in parent.default_servers.items()}
    draft.log_targets = list(parent.log_targets)
    draft.log_global = parent.log_global
    draft.error_pages = {status: replace(page, inherited=True) for status, page in parent.error_pages.items()}
    draft.error_sections = list(parent.error_sections)
    draft.check = parent.check.copy()
    draft.stats_users = list(parent.stats_users)
    draft.stats_scopes = list(parent.stats_scopes)
