"""The resolved configuration: frozen, typed, cross-checked. Built by `resolve`, read by `plan`, `tls` and `runtime`.

After `resolve` an illegal configuration can't be represented: names point to things that exist, defaults are merged in, times are
seconds, sizes are bytes. A `listen` section is split into what a frontend and a backend need: it appears as one `Proxy` that
has both `binds` and `servers`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from headgate.base.addresses import Address
from headgate.base.diagnostics import Location
from headgate.base.records import dataclass, field
from headgate.config.actions import Rule, Ruleset
from headgate.config.checks import CheckSpec
from headgate.config.expression import AclDefinition, Condition, LogFormat, SampleExpression
from headgate.config.log_options import Logging, LogTarget
from headgate.config.mailers import EmailAlert
from headgate.config.ocsp_options import HttpClient, OcspUpdate
from headgate.config.resolvers import Resolution, Resolvers
from headgate.config.stick_tables import StickRule, StickTable
from headgate.config.tls_options import BindTls, CertificateFile, NamedFile, PropertyQuery, Provider, ServerTls


class Mode(enum.Enum):
    TCP = "tcp"
    HTTP = "http"
    LOG = "log"
    SPOP = "spop"


class ProxyKind(enum.Enum):
    FRONTEND = "frontend"
    BACKEND = "backend"
    LISTEN = "listen"


# --- bind and server lines -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UnixPermissions:
    """`mode`, `user`/`uid`, `group`/`gid` of a unix socket; names are looked up when the socket is made."""

    mode: int | None = None
    user: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Bind:
    """One address of a bind line (a line with several addresses makes several)."""

    address: Address
    location: Location
    name: str | None = None
    id: int | None = None
    accept_proxy: bool = False
    maxconn: int | None = None
    backlog: int | None = None
    interface: str | None = None
    v4v6: bool = False
    v6only: bool = False
    permissions: UnixPermissions = UnixPermissions()
    transparent: bool = False
    tcp_ut: float | None = None
    defer_accept: bool = False
    tfo: bool = False
    mss: int | None = None
    nice: int = 0
    tls: BindTls | None = None


@dataclass(frozen=True, slots=True)
class ProxyProtocolSend:
    """`send-proxy`, `send-proxy-v2*` and `proxy-v2-options` (5.2).

    Attributes:
        version: 1 or 2.
        options: of "ssl", "cert-cn", "ssl-cipher", "cert-sig", "cert-key", "authority", "crc32c", "unique-id".
    """

    version: int
    options: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServerCheck:
    """`check` and its timing on a server line (5.2), seconds. None of fastinter/downinter: as `inter`."""

    inter: float = 2.0
    fastinter: float | None = None
    downinter: float | None = None
    rise: int = 2
    fall: int = 3
    address: Address | None = None
    port: int | None = None
    inherits: bool = True  # TLS and the PROXY header, as far as nothing is said of them here; dynamic servers have to say all
    tls: bool | None = None  # check-ssl / no-check-ssl; None: as the traffic unless port or addr is set
    sni: str | None = None
    sni_auto: bool = True  # check-sni-auto: the name in the Host of HTTP checks, where there is no check-sni
    alpn: tuple[str, ...] = ()
    send_proxy: bool = False
    tls_options: ServerTls | None = None  # the line's TLS options for checks over TLS (also where the traffic is plain)
    via_socks4: bool = False
    reuse_pool: bool = False  # check-reuse-pool, where no other option says how to connect
    pool_name: str | None = None  # check-pool-conn-name
    observe: str | None = None  # "layer4", "layer7": traffic counts, too
    on_error: str = "fail-check"  # "fastinter", "fail-check", "sudden-death", "mark-down"
    error_limit: int = 10


@dataclass(frozen=True, slots=True)
class AgentCheck:
    """`agent-check` and its options on a server line (5.2). `inter` in seconds; no address: the server's."""

    port: int
    inter: float = 2.0
    address: Address | None = None
    send: bytes = b""


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """`source <addr>[:<port>] [interface <name>] [usesrc ...]`."""

    address: Address
    interface: str | None = None
    usesrc: str | None = None  # "clientip", "client", or an address text


@dataclass(frozen=True, slots=True)
class Server:
    """A server line, `default-server` merged in."""

    name: str
    address: Address
    location: Location
    id: int
    id_forced: bool = False  # it was written
    weight: int = 1
    backup: bool = False
    disabled: bool = False
    cookie: str | None = None
    check: ServerCheck | None = None
    tls: ServerTls | None = None
    send_proxy: ProxyProtocolSend | None = None
    maxconn: int = 0
    minconn: int = 0
    maxqueue: int = 0
    max_reuse: int = -1
    pool_max_conn: int = -1
    pool_purge_delay: float = 5.0
    pool_conn_name: SampleExpression | None = None
    slowstart: float = 0.0
    redir: str | None = None
    source: SourceAddress | None = None
    tcp_ut: float | None = None
    hash_key: str = "id"
    init_addr: tuple[str, ...] = ("last", "libc")
    on_marked_down: str | None = None  # "shutdown-sessions"
    on_marked_up: str | None = None  # "shutdown-backup-sessions"
    non_stick: bool = False  # its connections are never put into stick tables
    resolution: Resolution | None = None  # its name is resolved while running
    agent: AgentCheck | None = None
    track: tuple[str, str] | None = None  # backend and server whose state it follows
    init_state: str = "none"  # "fully-up", "up", "down", "fully-down"
    check_spec: CheckSpec | None = None  # of its own `healthcheck` section
    socks4: Address | None = None

    @property
    def is_of_record(self) -> bool:
        """Whether SRV records, which begin with an underscore, say where it is (5.3.1)."""
        return self.resolution is not None and self.address.host.startswith("_")


# --- balancing and persistence ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Balance:
    """`balance <algorithm> [arguments]`.

    Attributes:
        algorithm: roundrobin, static-rr, leastconn, first, source, uri, url_param, hdr, random, rdp-cookie, hash.
        argument: header, parameter or cookie name.
        expression: for `hash <expression>`.
        options: of the algorithm: "use_domain_only", "whole", "path-only", "check_post".
        length, depth: of `uri`.
        draws: of `random(<draws>)`.
    """

    algorithm: str = "random"
    argument: str | None = None
    expression: SampleExpression | None = None
    options: frozenset[str] = frozenset()
    length: int | None = None
    depth: int | None = None
    draws: int = 2


@dataclass(frozen=True, slots=True)
class HashType:
    """`hash-type <method> <function> <modifier>`; `balance_factor` is `hash-balance-factor` in percent, 0: off."""

    method: str = "map-based"
    function: str = "sdbm"
    avalanche: bool = False
    balance_factor: int = 0


@dataclass(frozen=True, slots=True)
class CookiePersistence:
    """`cookie <name> ...` of a backend (4.2). `mode` is rewrite, insert or prefix."""

    name: str
    mode: str
    indirect: bool = False
    nocache: bool = False
    postonly: bool = False
    preserve: bool = False
    httponly: bool = False
    secure: bool = False
    domains: tuple[str, ...] = ()
    maxidle: float | None = None
    maxlife: float | None = None
    dynamic: bool = False
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UseBackend:
    """`use_backend <name|format> [if ...]`. `name` is set when it is a plain word that was resolved."""

    name: str | None
    format: LogFormat | None
    condition: Condition | None
    location: Location


@dataclass(frozen=True, slots=True)
class UseServer:
    name: str | None
    format: LogFormat | None
    condition: Condition | None
    location: Location


# --- error pages, options, timeouts ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """What is sent for an error status: `raw` bytes of a complete HTTP message (`errorfile`), or a location (`errorloc*`).

    `raw` b"" means: close without a word (an empty errorfile, /dev/null).
    """

    raw: bytes | None = None
    redirect: str | None = None
    redirect_code: int = 302


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All `timeout` keywords of 4.2, in seconds; None is unset, which means no limit (or the fall-back the manual names)."""

    check: float | None = None
    client: float | None = None
    client_fin: float | None = None
    client_hs: float | None = None
    connect: float | None = None
    http_keep_alive: float | None = None
    http_request: float | None = None
    queue: float | None = None
    server: float | None = None
    server_fin: float | None = None
    tarpit: float | None = None
    tunnel: float | None = None


class ConnectionMode(enum.Enum):
    """`option http-keep-alive`, `http-server-close`, `httpclose`."""

    KEEP_ALIVE = "http-keep-alive"
    SERVER_CLOSE = "http-server-close"
    CLOSE = "httpclose"


@dataclass(frozen=True, slots=True)
class AddressHeader:
    """`option forwardfor|originalto [except <net>] [header <name>] [if-none]`."""

    name: str
    except_networks: tuple[str, ...] = ()
    if_none: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """The boolean `option` keywords that are implemented, by their names in the manual."""

    abortonclose: bool | None = None
    allbackups: bool = False
    clitcpka: bool = False
    srvtcpka: bool = False
    http_buffer_request: bool = False
    http_ignore_probes: bool = False
    http_pretend_keepalive: bool = False
    nolinger: bool = False
    persist: bool = False
    socket_stats: bool = False
    idle_close_on_response: bool = False
    restrict_header_names: str | None = None  # "preserve", "delete", "reject"


@dataclass(frozen=True, slots=True)
class StatsPage:
    """The statistics page of a proxy (4.2 `stats ...`).

    Attributes:
        uri: prefix of the request targets that ask for it.
        users: of `stats auth`; without any, everybody may look.
        refresh: seconds between two loads that browsers are asked for, 0.0 for none.
        scope: names of the proxies that are shown; empty for all.
        description, node: what is shown; "" for that of the global section, None for nothing.
        rules: of `stats http-request`.
        admin: who may change servers: any of these holds.
    """

    uri: str = "/haproxy?stats"
    realm: str = "HAProxy Statistics"
    users: tuple[User, ...] = ()
    refresh: float = 0.0
    scope: tuple[str, ...] = ()
    show_version: bool = False
    description: str | None = None
    node: str | None = None
    show_legends: bool = False
    show_modules: bool = False
    rules: tuple[Rule, ...] = ()
    admin: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A frontend, backend or listen section with its defaults merged in (4)."""

    name: str
    kind: ProxyKind
    id: int
    location: Location
    mode: Mode = Mode.TCP
    disabled: bool = False
    description: str | None = None
    binds: tuple[Bind, ...] = ()
    servers: tuple[Server, ...] = ()
    acls: tuple[AclDefinition, ...] = ()
    rules: Mapping[Ruleset, tuple[Rule, ...]] = field(default_factory=dict)
    use_backends: tuple[UseBackend, ...] = ()
    default_backend: str | None = None
    use_servers: tuple[UseServer, ...] = ()
    monitor_uri: str | None = None
    monitor_fail: tuple[Condition, ...] = ()
    stats: StatsPage | None = None
    request_inspect_delay: float = 0.0
    balance: Balance = Balance()
    hash_type: HashType = HashType()
    cookie: CookiePersistence | None = None
    dynamic_cookie_key: str | None = field(default=None, repr=False)
    force_persist: tuple[Condition, ...] = ()
    ignore_persist: tuple[Condition, ...] = ()
    logging: Logging = Logging()
    error_pages: Mapping[int, ErrorPage] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    options: Options = Options()
    connection_mode: ConnectionMode = ConnectionMode.KEEP_ALIVE
    http_reuse: str = "safe"
    forwardfor: AddressHeader | None = None
    originalto: AddressHeader | None = None
    maxconn: int | None = None
    fullconn: int | None = None
    backlog: int | None = None
    retries: int = 3
    retry_on: frozenset[str] = frozenset({"conn-failure"})
    redispatch: int = 0  # 0: off; N: redispatch every Nth retry; -1: on the last (option redispatch)
    check: CheckSpec = CheckSpec()
    email_alert: EmailAlert | None = None
    source: SourceAddress | None = None
    send_name_header: str | None = None
    load_server_state: str = "none"  # load-server-state-from-file: global, local
    server_state_file_name: str | None = None  # None: the backend's name
    id_forced: bool = False  # the id was written
    rate_limit_sessions: int = 0
    stick_table: StickTable | None = None
    stick_rules: tuple[StickRule, ...] = ()

    @property
    def is_frontend(self) -> bool:
        return self.kind is not ProxyKind.BACKEND

    @property
    def is_backend(self) -> bool:
        return self.kind is not ProxyKind.FRONTEND


# --- the other sections ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class User:
    """A userlist's user. `password` is a crypt hash, or clear text when `insecure`; never printed."""

    name: str
    password: str = field(repr=False)
    insecure: bool = False
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Userlist:
    name: str
    users: tuple[User, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Ring:
    """A `ring` section (12.5): a bounded buffer of log lines, forwarded to `servers` where there are some."""

    name: str
    description: str = ""
    format: str = "raw"
    maxlen: int = 1024
    size: int = 16384
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class ErrorSection:
    """An `http-errors` section (12.4)."""

    name: str
    pages: Mapping[int, ErrorPage]
    location: Location


@dataclass(frozen=True, slots=True)
class StatsSocket:
    """A `stats socket` line of the global section (3.1)."""

    address: Address
    level: str = "operator"
    permissions: UnixPermissions = UnixPermissions()
    location: Location | None = None
    expose_listeners: bool = False  # expose-fd listeners


#: What `ssl-load-extra-files` may look for (3.1).
EXTRA_FILES = frozenset({"bundle", "sctl", "ocsp", "issuer", "key"})


@dataclass(frozen=True, slots=True)
class Global:
    """The global section (3). Times in seconds."""

    maxconn: int | None = None
    daemon: bool = False
    master_worker: bool = False
    keeps_after_crash: bool = False  # master-worker no-exit-on-failure
    mworker_max_reloads: int = 50
    nbthread: int | None = None  # workers; None: one for each CPU
    pidfile: str | None = None
    user: str | None = None
    group: str | None = None
    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None
    setcap: tuple[str, ...] = ()
    hard_stop_after: float | None = None
    grace: float | None = None
    anonkey: int = 0  # of the anonymised mode of the stats socket; 0: a random one
    close_spread_time: float | None = None  # inf: connections are not closed by a soft stop
    ulimit_n: int | None = None
    fd_hard_limit: int | None = None
    node: str | None = None
    description: str | None = None
    dns_accept_family: tuple[str, ...] = ("auto",)  # "ipv4", "ipv6", "auto": IPv6 where it has a route
    log_tag: str = "haproxy"
    log_send_hostname: str | None = None
    log_targets: tuple[LogTarget, ...] = ()
    stats_sockets: tuple[StatsSocket, ...] = ()
    stats_timeout: float = 10.0
    stats_maxconn: int = 10
    bufsize: int = 16384
    maxrewrite: int = 1024
    max_headers: int = 101
    maxconnrate: int = 0  # connections, sessions and TLS sessions a second, 0 for any number
    maxsessrate: int = 0
    maxsslrate: int = 0
    maxsslconn: int = 0  # TLS connections with clients and to servers, 0 for any number
    spread_checks: int = 0
    max_spread_checks: float | None = None  # seconds between the first and the last check of a start
    external_check: str | None = None  # "" when allowed, "preserve-env"
    nosplice: bool = False  # never forward with splice()
    quiet: bool = False
    zero_warning: bool = False
    lint_ignore: frozenset[str] = frozenset()  # kinds of findings, of `base.findings`
    server_state_base: str | None = None
    server_state_file: str | None = None
    variables: tuple[tuple[str, SampleExpression | LogFormat], ...] = ()  # set-var proc.x
    pp2_never_send_local: bool = False
    tls_cache_size: int = 20000
    tls_lifetime: float = 300.0
    tls_capture_size: int | None = None  # bytes of a ClientHello that fetches may tell; None: all
    tls_certificate_compression: bool = True
    tls_keylog: bool = False
    tls_key_updates: int = 100  # a second and connection; 0: any number
    tls_record_most: int = 0  # bytes of data in a record at any time, and in the first ones; 0: as many as fit
    tls_record_first: int = 0
    idle_timer: float = 1.0  # seconds after which a connection begins with small records again
    ssl_dh_param_file: NamedFile | None = None
    dh_param_size: int = 0  # bits; 0: no DHE without parameters of one's own
    ssl_load_extra_files: frozenset[str] = EXTRA_FILES
    ssl_load_extra_del_ext: bool = False
    issuers_chain_path: NamedFile | None = None
    ssl_passphrase_cmd: tuple[str, ...] = ()
    ssl_provider: tuple[Provider, ...] = ()
    ssl_propquery: PropertyQuery | None = None
    ssl_skip_bad_certificates: bool = False
    crt_state_dir: str | None = None  # certificates that are installed at run time are kept here
    crt_watch: float | None = None  # seconds between two looks at the files of certificates
    tls_generated_size: int = 1000  # tune.ssl.ssl-ctx-cache-size
    tune: Mapping[str, int] = field(default_factory=dict)
    ocsp_update: OcspUpdate = OcspUpdate()
    http_client: HttpClient = HttpClient()


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration, checked. `warnings` were reported already; the count is for the closing line of `-c`.

    Attributes:
        certificates: of crt-stores.
        path_bases: directory that relative names of pattern files and maps start from, by configuration file (`default-path`).
        origin: what the sections were parsed into, for servers and backends that are added while running (see `runtime_lines`).
    """

    global_: Global
    proxies: tuple[Proxy, ...]
    userlists: Mapping[str, Userlist]
    rings: Mapping[str, Ring]
    error_sections: Mapping[str, ErrorSection]
    resolvers: Mapping[str, Resolvers] = field(default_factory=dict)
    certificates: tuple[CertificateFile, ...] = ()
    path_bases: Mapping[str, str] = field(default_factory=dict, repr=False)
    origin: object = field(default=None, repr=False, compare=False)

    def proxy(self, name: str, *, backend: bool) -> Proxy | None:
        """The backend (or frontend) side called `name`; a listen section is both."""
        for proxy in self.proxies:
            if proxy.name == name and (proxy.is_backend if backend else proxy.is_frontend):
                return proxy
        return None
