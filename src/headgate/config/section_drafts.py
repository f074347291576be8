"""What the lines of the sections other than proxies are parsed into, while the section is open.

`sections` makes them when the section begins, and model objects of them when it ends.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from headgate.base.diagnostics import Location
from headgate.base.records import dataclass, field
from headgate.config.check_drafts import CheckDraft
from headgate.config.drafts import ConfigDraft, GlobalDraft, ServerDraft, Settings
from headgate.config.mailers import Mailer
from headgate.config.model import ErrorPage
from headgate.config.resolvers import HoldTimes, NameServer


@dataclass(slots=True)
class PathPolicy:
    """`default-path`: where relative file names start (3.1). `kind` is current, config, parent or origin."""

    kind: str = "current"
    origin: str = ""

    def base(self, file: str) -> str:
        """The directory for names written in `file`; "" is the working directory."""
        directory = file.rpartition("/")[0] + "/" if "/" in file else ""
        if self.kind == "config":
            return directory
        if self.kind == "parent":
            return directory + "../"
        return self.origin if self.kind == "origin" else ""


@dataclass(slots=True)
class GlobalSection:
    """What the lines of `global` change: the draft, and what takes effect at once (environment, paths)."""

    draft: GlobalDraft
    config: ConfigDraft
    environment: MutableMapping[str, str]
    file: str
    paths: PathPolicy

    @property
    def settings(self) -> Settings:
        return self.draft.settings


@dataclass(slots=True)
class UserDraft:
    """A user of a userlist in the making. `groups` is None until either side names one."""

    name: str
    location: Location
    password: str = field(default="", repr=False)
    insecure: bool = False
    has_password: bool = False
    groups: list[str] = field(default_factory=list)


@dataclass(slots=True)
class UserlistDraft:
    """A `userlist` section: `members` are the users that group lines name, with the group and its place."""

    name: str
    location: Location
    users: dict[str, UserDraft] = field(default_factory=dict)
    groups: dict[str, Location] = field(default_factory=dict)
    members: list[tuple[str, str, Location]] = field(default_factory=list)
    memberships: list[tuple[str, str, Location]] = field(default_factory=list)


@dataclass(slots=True)
class RingDraft:
    """A `ring` section (12.5)."""

    name: str
    location: Location
    description: str = ""
    format: str = "local"
    maxlen: int = 1024
    size: int = 16384


@dataclass(slots=True)
class ErrorSectionDraft:
    """An `http-errors` section (12.4)."""

    name: str
    location: Location
    config: ConfigDraft
    pages: dict[int, ErrorPage] = field(default_factory=dict)


@dataclass(slots=True)
class ResolversDraft:
    """A `resolvers` section (5.3.2).

    Attributes:
        lines: of name servers that have options, by their names.
    """

    name: str
    location: Location
    name_servers: list[NameServer] = field(default_factory=list)
    lines: dict[str, ServerDraft] = field(default_factory=dict)
    hold: HoldTimes = field(default_factory=HoldTimes)
    payload: int = 512
    retries: int = 3
    timeout_resolve: float = 1.0
    timeout_retry: float = 1.0


@dataclass(slots=True)
class HealthcheckDraft:
    """A `healthcheck` section (12.9)."""

    name: str
    location: Location
    check: CheckDraft = field(default_factory=CheckDraft)


@dataclass(slots=True)
class MailersDraft:
    """A `mailers` section (12.3). `timeout` in seconds."""

    name: str
    location: Location
    mailers: list[Mailer] = field(default_factory=list)
    timeout: float = 10.0
