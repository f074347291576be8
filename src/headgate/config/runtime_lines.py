"""Server lines and backends that are added while running (management manual 9.3 "add server", "add backend").

They are read by the same rows as those of the configuration; what they inherit is found in the drafts that `Config.origin` keeps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from headgate.base.diagnostics import ConfigError, Location, Report, config_error
from headgate.config import mode_checks
from headgate.config.crt_list import parse_crt_list_line
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ConfigDraft, ProxyDraft, ServerDraft, Settings
from headgate.config.keywords.server import SERVER_NAME, parse_server
from headgate.config.model import Config, Mode, Proxy, Server
from headgate.config.registry import BACK, KEYWORDS, Scope, Status
from headgate.config.resolve_bind_tls import policy_options
from headgate.config.resolve_certificates import build_certificates, certificate_line
from headgate.config.resolve_checks import check_rules_fit, names_port, with_healthcheck
from headgate.config.resolve_lines import build_server, has_port, line_defaults
from headgate.config.resolve_proxies import build_proxy
from headgate.config.server_origins import FORMS, find_origin
from headgate.config.tls_options import CertificateFile, CertificateLine

#: Options that make no sense on a server that is added while running: its name is not looked up, and it has no redirects.
_NOT_DYNAMIC = ("init-addr", "redir", "resolve-net", "resolve-opts", "resolve-prefer", "resolvers")
#: Characters that a name may have, as HAProxy says it.
_PERMITTED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-")


def dynamic_options() -> list[str]:
    """The options that `read_server` takes."""
    return [
        name
        for name in KEYWORDS.names(Scope.SERVER)
        if name not in _NOT_DYNAMIC and _row_status(name) in (Status.IMPLEMENTED, Status.NO_EFFECT)
    ]


def _row_status(name: str) -> Status:
    found = KEYWORDS.find(Scope.SERVER, [name])
    assert found is not None
    return found[0].status


def read_server(config: Config, proxy: Proxy, words: Sequence[str], servers: Sequence[Server]) -> tuple[Server, bool]:
    """Read a server as if it stood in a backend.

    Args:
        proxy: the backend.
        words: name, address and options; `from <origin>` may stand in front of the options.
        servers: those that the backend has now.

    Returns:
        The server, with a name and an id of its own, and whether it is to be used at once (`enabled`).

    Raises:
        ConfigError: as for a line of the configuration; the message is the answer.
    """
    if len(words) < 2:
        raise config_error("'server' expects <name> and <addr>[:<port>] as arguments.", None)
    check_server_name(words[0])
    line = _line(["server", *words])
    settings = Settings()
    rest = list(words[2:])
    if rest[:1] == ["from"]:
        if len(rest) < 2:
            raise config_error(f"'from' expects one of {', '.join(FORMS)}.", None)
        settings = _preset(config, proxy, rest[1])
        del line[3:5], rest[:2]
    draft, report = _draft(config, proxy.name), Report()
    scratch = ProxyDraft(Scope.BACKEND, proxy.name, line[0].location, draft)
    scratch.default_server = settings
    server = _read_line(Cursor(line, report, 1), scratch)
    identifier = server.settings.value("id")
    taken = {other.id: other for other in servers}
    if identifier in taken:
        raise config_error(f"'id' : custom id {identifier} already used by server '{taken[identifier].name}'.", None)
    number = next(number for number in range(1, len(taken) + 2) if number not in taken)
    built = build_server(server, number, proxy.mode, line_defaults(draft), report)
    built = with_healthcheck(built, server, draft.healthchecks, report)
    check_rules_fit(built, server, built.check_spec or proxy.check, report)
    if report.alerts:
        raise ConfigError(report.alerts[0])
    if built.check is not None:
        built = replace(built, check=replace(built.check, inherits=False))  # 5.2 check
    _check_port(proxy, built)
    built = _tracking(config, proxy, built, servers)
    enabled = "disabled" in server.settings and not server.settings.is_on("disabled")
    return built, enabled


def check_server_name(name: str) -> None:
    """Raises ConfigError, in HAProxy's words, for what can't be a server's name."""
    if SERVER_NAME.fullmatch(name) is None:
        wrong = next((one for one in name if one not in _PERMITTED), "")
        raise config_error(f"character '{wrong}' is not permitted in server name '{name}'.", None)


def _line(words: Sequence[str]) -> list[Word]:
    """The words with places, so that messages can name them."""
    text = " ".join(words)
    found, column = [], 1
    for word in words:
        found.append(Word(word, Location("<command>", 1, column, max(1, len(word)), text)))
        column += len(word) + 1
    return found


def _read_line(cursor: Cursor, draft: ProxyDraft) -> ServerDraft:
    """Read the line; what is wrong with an option is said in HAProxy's words."""
    try:
        parse_server(cursor, draft)
    except ConfigError as error:
        word = cursor.words[min(cursor.position, len(cursor.words) - 1)].text
        before = cursor.last.text
        if error.diagnostic.message.startswith("unknown option"):
            raise config_error(f"unknown keyword '{word}'.", None) from None
        found = KEYWORDS.find(Scope.SERVER, [before])
        if found is not None and found[0].status is Status.UNSUPPORTED:
            raise config_error(f"'{before}' option is not accepted for dynamic server", None) from None
        raise
    server = draft.servers[0]
    for name in _NOT_DYNAMIC:
        if name in server.settings:
            raise config_error(f"'{name}' option is not accepted for dynamic server", None)
    return server


def _check_port(proxy: Proxy, server: Server) -> None:
    check = server.check
    if check is None or check.port is not None or (check.address is not None and check.address.port) or has_port(server):
        return
    if names_port(proxy, server):
        return
    raise config_error(
        f"config: backend '{proxy.name}': server '{server.name}' has neither service port nor check port nor tcp_check rule"
        " 'connect' with port information.", None,
    )


def _tracking(config: Config, proxy: Proxy, server: Server, servers: Sequence[Server]) -> Server:
    """`track` of a server that is added: the other one must stand in the configuration (else it could be deleted)."""
    if server.track is None:
        return server
    if server.check is not None:
        raise config_error("unable to enable checks and tracking at the same time!", None)
    if server.init_state != "none":
        raise config_error("'init-state' can't be used where another server is tracked.", None)
    backend, name = server.track[0] or proxy.name, server.track[1]
    there = config.proxy(backend, backend=True)
    written = there.servers if there is not None else ()
    known = servers if backend == proxy.name else written
    target = next((other for other in known if other.name == name), None)
    if target is None:
        raise config_error(f"unable to find required server '{backend}/{name}' for tracking.", None)
    if target not in written:
        raise config_error(f"unable to use {backend}/{name} for tracking as it is a dynamic server.", None)
    if target.check is None and target.agent is None and target.track is None:
        raise config_error(f"unable to use {backend}/{name} for tracking as it does not have any check nor agent enabled.", None)
    return replace(server, track=(backend, name))


def _draft(config: Config, name: str) -> ConfigDraft:
    if not isinstance(config.origin, ConfigDraft):
        raise config_error(f"nothing is known of how '{name}' was written", None)
    return config.origin


def _preset(config: Config, proxy: Proxy, name: str) -> Settings:
    """What `from` names, of what the configuration had at its end."""
    source = _draft(config, proxy.name)
    own = next((one for one in source.proxies if one.name == proxy.name and one.scope in BACK), None)
    try:
        return find_origin(name, own or ProxyDraft(Scope.BACKEND, proxy.name, Location("<command>", 1), source))
    except LookupError as missing:
        raise config_error(f"'from': {missing.args[0]}.", None) from None


def defaults_sections(config: Config) -> list[ProxyDraft]:
    """The defaults sections that have a name."""
    return [draft for draft in _draft(config, "").defaults if draft.name]


def default_servers(config: Config, backend: str) -> list[str]:
    """What the `default-server` lines of a backend have set, as `from` names it."""
    for draft in _draft(config, backend).proxies:
        if draft.name == backend and draft.scope in BACK:
            return [f"be:{backend}"] * bool(draft.default_server) + [f"srv:{backend}/{name}" for name in draft.default_servers]
    return []


def read_backend(config: Config, name: str, defaults: str, mode: str | None, identifier: int) -> Proxy:
    """Make a backend of a defaults section.

    Args:
        name: of the backend.
        defaults: of the section.
        mode: "tcp" or "http"; None when the section says it.
        identifier: the backend's id.

    Raises:
        ConfigError: the message is the answer.
    """
    wrong = next((one for one in name if one not in _PERMITTED), None)
    if wrong is not None or not name:
        raise config_error(f"Character '{wrong or ''}' is not permitted in backend name '{name}'.", None)
    found = _draft(config, name).find_defaults(defaults)
    if not found or not defaults:
        raise config_error(f"Cannot find default proxy '{defaults}'.", None)
    if len(found) > 1:
        raise config_error(f"Default proxy '{defaults}' is ambiguous: several sections have this name.", None)
    place = Location("<command>", 1)
    modes = {"tcp": Mode.TCP, "http": Mode.HTTP}
    if mode is None and "mode" not in found[0].settings:
        raise config_error("Mode is required as the default proxy does not define it explicitly.", None)
    if mode is not None and mode not in modes:
        raise config_error("Only TCP and HTTP proxies can be created.", None)
    source = _draft(config, name)
    # Beside the drafts of the configuration, so that these stay what was read.
    scratch = ConfigDraft(
        source.global_, defaults=source.defaults, userlists=source.userlists, rings=source.rings,
        error_sections=source.error_sections, healthchecks=source.healthchecks, mailers=source.mailers,
        named_sections=source.named_sections, path_base=source.path_base, path_bases=source.path_bases,
    )
    draft = scratch.new_proxy(Scope.BACKEND, name, place, found[0], explicit=True)
    if mode is not None:
        draft.settings.put("mode", modes[mode], place)
    if draft.settings.value("mode", Mode.TCP) not in modes.values():
        raise config_error("Only TCP and HTTP proxies can be created.", None)
    report = Report()
    mode_checks.drop_what_mode_ignores(draft, report)
    built = build_proxy(draft, identifier, line_defaults(source), report)
    if report.alerts:
        raise ConfigError(report.alerts[0])
    return replace(built, location=place)


def read_crt_list_line(
    config: Config, text: str, name: str, number: int, certificates: Collection[str] = ()
) -> CertificateLine:
    """A line for a crt-list, as `add ssl crt-list` has it.

    Args:
        config: what its options and file names refer to.
        text: the line.
        name: of the list.
        number: the line's.
        certificates: names of those that are loaded; some may have been made at run time.

    Raises:
        ConfigError: an unknown option, a filter that can't match, more than one line, or nothing at all.
    """
    if len(text.splitlines()) > 1:
        raise config_error("only one line of a crt-list can be added at a time", None)
    report = Report()
    draft = parse_crt_list_line(text, name, number, report)
    if draft is None:
        raise config_error("the line names no certificate", None)
    source = _draft(config, name)
    defaults = line_defaults(source)
    known = build_certificates(source, Report()).at(source.path_base)
    made = {one: CertificateFile(one, draft.location) for one in certificates if one.startswith("@")}
    known = replace(known, stored={**made, **known.stored})
    return certificate_line(draft, known, lambda settings: policy_options(settings, Mode.TCP, defaults, report))
