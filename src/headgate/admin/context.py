"""What the runtime API needs from the process that it is part of. `app` implements it; tests have a fake.

The commands read live objects directly (frontends, backends, counters); whatever must *happen* goes through a method here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from headgate.admin.inspection import Inspection
from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address
from headgate.config.model import Config, Global, Proxy, Server, StatsSocket
from headgate.health.farm import Availability
from headgate.health.state import Health, ServerStatus
from headgate.observe.counters import ProcessCounters
from headgate.observe.history import History
from headgate.observe.key_exchanges import CheckKeys
from headgate.plan.facts import Stream, Value, World
from headgate.plan.frontends import Plan
from headgate.plan.references import References
from headgate.proxy.sides import Backend, Frontend
from headgate.proxy.tls_connections import TlsConnections
from headgate.tables.table import Table

if TYPE_CHECKING:
    # OpenSSL is loaded only where TLS is spoken.
    from headgate.tls.ocsp.ledger import Entry as OcspEntry
    from headgate.tls.ocsp.ledger import Ledger
    from headgate.tls.storage import Entry, Storage
    from headgate.tls.store import CertificateStore
    from headgate.tls.transactions import CertificateText, Transactions


class Checked(Protocol):
    """One checked server; `runtime.checks.runner.CheckedServer`."""

    @property
    def health(self) -> Health: ...

    @property
    def enabled(self) -> bool: ...

    @property
    def in_progress(self) -> bool: ...


class CheckedAgent(Checked, Protocol):
    """One server's agent; `runtime.checks.checked.CheckedAgent`."""

    @property
    def drained(self) -> bool: ...


class Checks(Protocol):
    """The check runner; `runtime.checks.runner.CheckRunner`."""

    @property
    def checked(self) -> Mapping[ServerState, Checked]: ...

    @property
    def agents(self) -> Mapping[ServerState, CheckedAgent]: ...

    @property
    def availability(self) -> Mapping[str, Availability]: ...

    def admin_changed(self, backend: BackendState, server: ServerState, before: Admin, reason: str = "") -> None:
        """Say that a server's administrative state was changed, and why where it was not the administrator."""

    def survey(self, backend: BackendState) -> None:
        """Say that a backend's servers were changed otherwise, by a weight for instance."""

    def add_backend(self, backend: BackendState) -> None:
        """Say that a backend was added."""

    def remove_backend(self, backend: BackendState) -> None:
        """Say that a backend was removed."""

    def add(self, backend: BackendState, server: ServerState) -> None:
        """Say that a server was added; it is not checked before `enable_health`."""

    def remove(self, server: ServerState) -> None:
        """Say that a server was removed."""

    def retarget(self, server: ServerState) -> None:
        """Say that `server.check` or `server.agent` has another address or port, or that the agent is sent something else."""

    def enable_health(self, server: ServerState, enabled: bool) -> bool:
        """Begin or cease to check; False when the server has no checks."""

    def force(self, backend: BackendState, server: ServerState, status: ServerStatus) -> None:
        """Set the health until checks say otherwise."""

    def enable_agent(self, server: ServerState, enabled: bool) -> bool:
        """Begin or cease to ask the agent; False when the server has none."""

    def force_agent(self, server: ServerState, up: bool) -> bool:
        """Set what the agent is taken to have said; False when the server has none."""


class Certificate(Protocol):
    """A certificate that clients are shown.

    Attributes:
        names: that it answers to; file: where it came from.
        used_by: the frontends.
        not_after: seconds since the epoch.
    """

    names: Sequence[str]
    file: str
    not_after: float

    @property
    def used_by(self) -> Sequence[str]: ...


class TlsLine(Protocol):
    """A line of the configuration that uses certificates, CA files or CRL files."""

    @property
    def frontend(self) -> str:
        """Name of its proxy."""

    @property
    def place(self) -> str:
        """`frontend/file:line`."""

    @property
    def strict_sni(self) -> bool:
        """Whether a name that no certificate matches is answered with none."""

    @property
    def store(self) -> CertificateStore:
        """The certificates by name."""

    def entries(self) -> Collection[Entry[Any]]:
        """All of the storage that it uses."""

    def instances(self, entry: Entry[Any]) -> int:
        """How many of its certificates are this one, or are used with this CA file or CRL file."""

    def uses(self, name: str) -> bool:
        """Whether it serves what the crt-list or directory of that name lists."""


class TlsSide(Protocol):
    """The certificates of a process, to be looked at and changed.

    Attributes:
        config: for lines of crt-lists.
        storage: everything that was loaded.
        transactions: what is being put together.
    """

    @property
    def config(self) -> Config: ...

    @property
    def storage(self) -> Storage: ...

    @property
    def transactions(self) -> Transactions: ...

    @property
    def lines(self) -> Sequence[TlsLine]:
        """The bind lines."""

    def relist(self, name: str) -> None:
        """A crt-list has other lines: serve what it names now. Raises ConfigError when a line can't follow."""

    def installed(self, name: str, text: CertificateText) -> str | None:
        """A certificate was put into effect: keep it over a reload where that is wanted. Says why that failed."""

    def text_installed(self, kind: str, name: str) -> None:
        """The same for a CA file (`ca-file`), CRL file (`crl-file`) or file of ticket keys (`tls-keys`)."""

    def followed(self, kind: str, name: str) -> None:
        """What is in effect of any of these kinds, or of a certificate (`cert`), is what its file holds."""

    def deleted(self, kind: str, name: str) -> None:
        """A certificate (`cert`), CA file (`ca-file`) or CRL file (`crl-file`) was removed."""

    @property
    def changes(self) -> Sequence[str]:
        """What differs from the files, a line each, for `show ssl changes`."""


class OcspUpdates(Protocol):
    """Fetches OCSP responses; `app.ocsp_updates.Updates`."""

    async def update(self, entry: OcspEntry) -> None:
        """Ask a certificate's responders now; the entry says what came of it."""

    async def insert(self, der: bytes) -> OcspEntry:
        """Staple a response from now on; raises `tls.ocsp.failures.Failure` where it may not be."""


class Ocsp(Protocol):
    """OCSP of the process; `app.ocsp.Ocsp`."""

    @property
    def ledger(self) -> Ledger:
        """The certificates that take part."""

    @property
    def updates(self) -> OcspUpdates | None:
        """None where another process fetches."""

    def lacking(self) -> Sequence[OcspEntry]:
        """Certificates that insist on a response and have none."""

    def admit_path(self, path: str) -> OcspEntry | None:
        """Let the certificate of a file take part; None when nobody is shown it."""


class Context(Protocol):
    """The process.

    Attributes:
        global_: the global section.
        inspection: the inside of the process.
        frontends, backends: live, by name.
        config, plan: as they were read and compiled.
        tables: stick tables.
        references: the lists of patterns that ACLs and maps look into.
        variables: the process-wide ones, by full name.
        checks: the check runner.
        counters: of the process.
        check_keys: TLS handshakes of health checks, which `counters` does not have.
        tls_connections: those that there are now, of all workers, and their limit.
        sessions: client connections now.
        maxconn: the process-wide limit now; `initial_maxconn` is the one it started with.
        started_at: seconds, on the clock of `clock`.
        pid: process identifier.
        threads: workers (`nbthread`).
        workers: process identifiers of the workers, by number from 1.
        stats_sockets: the `stats socket` lines.
        stopping: a soft stop is on.
        dropped_logs: lines that no log target took.
        descriptor_limit: file descriptors that the process may have.
        memory_limit: bytes, of `-m`; 0 for none.
        host_name: of the machine.
        environment: the process's environment variables.
        world: what sample fetches look at.
        catching_up: changes that were made before this process was there are being repeated: each was allowed once.
    """

    @property
    def global_(self) -> Global: ...

    @property
    def inspection(self) -> Inspection: ...

    @property
    def frontends(self) -> Mapping[str, Frontend]: ...

    @property
    def backends(self) -> Mapping[str, Backend]: ...

    @property
    def tables(self) -> Sequence[Table]: ...

    @property
    def config(self) -> Config: ...

    @property
    def plan(self) -> Plan: ...

    @property
    def references(self) -> References: ...

    @property
    def variables(self) -> dict[bytes, Value]: ...

    @property
    def checks(self) -> Checks: ...

    @property
    def counters(self) -> ProcessCounters: ...

    @property
    def check_keys(self) -> CheckKeys: ...

    @property
    def sessions(self) -> int: ...

    @property
    def tls_connections(self) -> TlsConnections: ...

    @property
    def maxconn(self) -> int: ...

    @property
    def initial_maxconn(self) -> int: ...

    @property
    def started_at(self) -> float: ...

    @property
    def pid(self) -> int: ...

    @property
    def threads(self) -> int: ...

    @property
    def workers(self) -> Mapping[int, int]: ...

    @property
    def stats_sockets(self) -> Sequence[StatsSocket]: ...

    @property
    def stopping(self) -> bool: ...

    @property
    def dropped_logs(self) -> int: ...

    @property
    def descriptor_limit(self) -> int: ...

    @property
    def memory_limit(self) -> int: ...

    @property
    def host_name(self) -> str: ...

    @property
    def environment(self) -> Mapping[str, str]: ...

    @property
    def history(self) -> History:
        """The last minutes of each proxy."""

    @property
    def resolvers(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """The counters of all name servers, by section and name."""

    @property
    def tls(self) -> TlsSide | None:
        """Certificates, CA files and CRL files; None where no TLS is spoken."""

    @property
    def certificates(self) -> Sequence[Certificate]:
        """Of all frontends."""

    @property
    def ocsp(self) -> Ocsp | None:
        """None where no bind line has certificates."""

    def clock(self) -> float:
        """Monotonic seconds: the clock of the rate meters, of health states and of `started_at`."""

    def wall(self) -> float:
        """Seconds since the epoch: the clock of `BackendState` (slowstart)."""

    def resume(self, backend: Backend, streams: Sequence[Stream]) -> None:
        """Let streams go on that a change of a server took out of the queue (see `BackendState.set_operational`)."""

    def taken_out(self, backend: Backend, server: ServerState) -> None:
        """A server has gone into maintenance: its idle connections go, and its streams where it is `on-marked-down`."""

    def set_global_maxconn(self, limit: int) -> None:
        """Change the process-wide connection limit; connections that waited are accepted."""

    def set_frontend_maxconn(self, frontend: Frontend, limit: int) -> None:
        """Change a frontend's connection limit; connections that waited are accepted."""

    def disable_frontend(self, frontend: Frontend) -> None:
        """Stop listening and release the ports."""

    def enable_frontend(self, frontend: Frontend) -> str | None:
        """Listen again; the reason when an address can't be bound."""

    def shut_frontend(self, frontend: Frontend) -> None:
        """Stop listening for good."""

    @property
    def world(self) -> World: ...

    @property
    def catching_up(self) -> bool: ...

    def accept_again(self) -> None:
        """A limit was raised: connections that waited are accepted."""

    def add_server(self, backend: Backend, server: Server, admin: Admin) -> ServerState:
        """Add a server to a backend; raises ConfigError when its expressions or certificates are wrong."""

    def remove_server(self, backend: Backend, server: ServerState) -> None:
        """Remove a server that is in maintenance and serves nobody."""

    def rename_server(self, backend: Backend, server: ServerState, name: str) -> None:
        """Give a server another name, which no other one has."""

    def set_server_address(self, backend: Backend, server: ServerState, address: Address) -> None:
        """Connect to another address from now on."""

    def set_server_tls(self, backend: Backend, server: ServerState, enabled: bool) -> bool:
        """Connect over TLS or not; False when no TLS options are known for the server."""

    def add_backend(self, proxy: Proxy) -> Backend:
        """Add a backend without servers, unpublished; raises ConfigError when its rules are wrong."""

    def remove_backend(self, backend: Backend) -> None:
        """Remove a backend without servers and streams."""

    def shutdown_sessions(self, backend: Backend, server: ServerState) -> None:
        """End all streams of a server (termination state K)."""
