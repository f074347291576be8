"""Bind and server drafts -> `model.Bind` and `model.Server`: options, the TLS defaults of the global section, file paths.

Called by `resolve_proxies`; knows one line at a time and no other section.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headgate.base.addresses import Family
from headgate.base.diagnostics import ConfigError, Report
from headgate.config.cursor import Word
from headgate.config.drafts import BindDraft, ConfigDraft, ServerDraft, Settings
from headgate.config.model import Bind, Mode, ProxyProtocolSend, Server, UnixPermissions
from headgate.config.parse_expression import parse_expression
from headgate.config.resolve_bind_tls import LineDefaults, at_security_level, bind_tls, tls_versions
from headgate.config.resolve_certificates import Certificates, FrontendCertificates, based, certificate_file
from headgate.config.resolve_checks import build_agent, build_check
from headgate.config.resolvers import Resolution
from headgate.config.tls_options import CertificateFile, ServerTls, Verify
from headgate.config.written_options import EXCLUSIONS, TOLD, WrittenOptions


def line_defaults(draft: ConfigDraft) -> LineDefaults:
    """Collect them from the global section's settings (3.1)."""
    settings = draft.global_.settings
    return LineDefaults(
        _side_defaults(settings, "bind"),
        _side_defaults(settings, "server"),
        Certificates(settings.value("crt-base", "") or "", settings.value("key-base", "") or ""),
        settings.value("ca-base", "") or "",
        settings.value("ssl-server-verify", Verify.REQUIRED),
        settings.value("unix-bind", Settings()),
        settings.value("ssl-security-level"),
        draft.path_bases,
    )


def _side_defaults(settings: Settings, side: str) -> Settings:
    found = Settings()
    for name in ("ciphers", "ciphersuites", "client-sigalgs", "curves", "sigalgs"):
        setting = settings.get(f"ssl-default-{side}-{name}")
        if setting is not None:
            found[name] = setting
    found.update(settings.value(f"ssl-default-{side}-options", {}))
    return found


def build_binds(
    draft: BindDraft, mode: Mode, defaults: LineDefaults, report: Report, frontend: FrontendCertificates = ("", ())
) -> list[Bind]:
    """One `Bind` for each address of the line; `frontend`: see `resolve_bind_tls.bind_tls`."""
    settings, defaults = draft.settings, defaults.at(draft.location)
    if not draft.is_whole:
        return list(draft.addresses)
    tls = bind_tls(draft, mode, defaults, report, frontend) if settings.is_on("ssl") else None
    if not settings.is_on("ssl"):
        _warn_without_ssl(settings, report)
    identifier = settings.value("id")
    if identifier is not None and len(draft.addresses) > 1:
        report.alert("'id' can't stand on a bind line with several addresses", settings.place("id"))
    fields: Mapping[str, Any] = {
        "name": settings.value("name"),
        "id": identifier,
        "accept_proxy": settings.is_on("accept-proxy"),
        "maxconn": settings.value("maxconn") or None,
        "backlog": settings.value("backlog") or None,
        "interface": settings.value("interface"),
        "v4v6": settings.is_on("v4v6"),
        "v6only": settings.is_on("v6only"),
        "transparent": settings.is_on("transparent"),
        "tcp_ut": settings.value("tcp-ut"),
        "defer_accept": settings.is_on("defer-accept"),
        "tfo": settings.is_on("tfo"),
        "mss": settings.value("mss"),
        "nice": settings.value("nice", 0),
        "tls": tls,
    }
    return [_unix(replace(bind, **fields), settings, defaults.unix) for bind in draft.addresses]


#: Options of bind lines that say nothing without `ssl`, by the names of settings.
_OF_TLS = (
    "allow-0rtt", "alpn", "ca-file", "ca-ignore-err", "ca-sign-file", "ca-sign-pass", "ca-verify-file", "ciphers", "ciphersuites",
    "client-sigalgs", "crl-file", "crt", "crt-ignore-err", "curves", "generate-certificates", "no-ca-names", *EXCLUSIONS,
    "prefer-client-ciphers", "sigalgs", "ssl-max-ver", "ssl-min-ver", "strict-sni", "tls-ticket-keys", "verify",
)  # fmt: skip


def _warn_without_ssl(settings: Settings, report: Report) -> None:
    places = {name: place for name, place in settings.places(_OF_TLS).items() if settings.value(name)}
    written = WrittenOptions(None, places)
    # The place of `crt` is that of the file.
    words = {name: name if name == "crt" else written.word(name) for name in places}
    names = {words[name]: places[name] for name in sorted(places, key=lambda name: places[name].column)}
    if names:
        listed = ", ".join(f"'{name}'" for name in names)
        have = "has" if len(names) == 1 else "have"
        place = next(iter(names.values()))
        report.warn(f"{listed} {have} no effect without 'ssl' on the bind line", place, remedy="write 'ssl crt <file> ...'")


def _unix(bind: Bind, settings: Settings, common: Settings) -> Bind:
    """Permissions of a unix socket, and what `unix-bind` says for all of them (3.1)."""
    if bind.address.family is not Family.UNIX:
        return bind
    merged = Settings({**common, **settings})
    path = common.value("prefix", "") + bind.address.host
    permissions = UnixPermissions(merged.value("mode"), merged.value("user"), merged.value("group"))
    return replace(bind, address=replace(bind.address, host=path), permissions=permissions)


def build_server(draft: ServerDraft, number: int, mode: Mode, defaults: LineDefaults, report: Report) -> Server:
    """A server of a backend; `number` is its automatic id."""
    settings, defaults = draft.settings, defaults.at(draft.location)
    tls = _server_tls(draft, mode, defaults, report)
    check = build_check(draft, tls, mode, report)
    optional = {
        "weight": "weight", "cookie": "cookie", "maxconn": "maxconn", "minconn": "minconn", "maxqueue": "maxqueue",
        "max_reuse": "max-reuse", "pool_max_conn": "pool-max-conn", "pool_purge_delay": "pool-purge-delay",
        "slowstart": "slowstart", "redir": "redir", "source": "source", "tcp_ut": "tcp-ut", "hash_key": "hash-key",
        "init_addr": "init-addr", "on_marked_down": "on-marked-down", "on_marked_up": "on-marked-up",
        "track": "track", "init_state": "init-state", "socks4": "socks4",
        "pool_conn_name": "pool-conn-name",
    }
    fields = {name: settings.value(key) for name, key in optional.items() if key in settings}
    maxconn, minconn = fields.get("maxconn", 0), fields.get("minconn", 0)
    if minconn > maxconn:
        # 5.2 "minconn": the limit then simply is minconn.
        fields["maxconn"] = minconn if not maxconn else maxconn
        fields["minconn"] = min(minconn, fields["maxconn"])
    return Server(
        name=draft.name,
        address=draft.address,
        location=draft.location,
        id=settings.value("id", number),
        id_forced="id" in settings,
        backup=settings.is_on("backup"),
        disabled=settings.is_on("disabled"),
        non_stick=settings.is_on("non-stick"),
        check=check,
        agent=build_agent(draft, report),
        tls=tls if settings.is_on("ssl") else None,
        send_proxy=_send_proxy(settings),
        resolution=_resolution(settings) if draft.address.family is Family.NAME else None,
        **fields,
    )


def _resolution(settings: Settings) -> Resolution | None:
    """Only with `resolvers`: the other options say nothing without it."""
    name = settings.value("resolvers")
    if name is None:
        return None
    options = settings.value("resolve-opts", ())
    return Resolution(
        name,
        settings.value("resolve-prefer", 6),
        settings.value("resolve-net", ()),
        # The last of the two that contradict each other holds.
        allow_duplicates=[one for one in options if one.endswith("-dup-ip")][-1:] == ["allow-dup-ip"],
        ignore_weight="ignore-weight" in options,
        location=settings.place("resolvers"),
    )


def _send_proxy(settings: Settings) -> ProxyProtocolSend | None:
    send: ProxyProtocolSend | None = settings.value("send-proxy")
    options = frozenset(settings.value("proxy-v2-options", ()))
    if send is None or send.version == 1 or not options:
        return send
    return ProxyProtocolSend(2, send.options | options)


def _server_tls(draft: ServerDraft, mode: Mode, defaults: LineDefaults, report: Report) -> ServerTls | None:
    settings = Settings({**defaults.server, **draft.settings})
    check_only = settings.is_on("check") and settings.is_on("check-ssl")
    if not draft.is_whole or (not settings.is_on("ssl") and not check_only):
        return None
    place = settings.place("ssl") if settings.is_on("ssl") else settings.place("check-ssl")
    verify = settings.value("verify", defaults.server_verify)
    ca_file = based(settings.value("ca-file"), defaults.ca_base)
    if verify is Verify.REQUIRED and ca_file is None:
        report.alert(
            f"server '{draft.name}': 'verify required' (the default) needs 'ca-file'", place,
            remedy="write 'ca-file <file>' or 'ca-file @system-ca'; 'verify none' trusts whoever answers",
        )
    if verify is Verify.NONE and "crl-file" in settings:
        report.warn(
            "'crl-file' has no effect without 'verify required': no certificate is verified", settings.place("crl-file"),
            remedy="write 'verify required' and 'ca-file <file>'",
        )
    sni = settings.value("sni")
    if sni is None and mode is Mode.HTTP and settings.value("sni-auto", True):
        sni = parse_expression(Word("req.hdr(host),field(1,:)", place))
    return ServerTls(
        verify=verify,
        ca_file=ca_file,
        crl_file=based(settings.value("crl-file"), defaults.ca_base),
        verify_host=settings.value("verifyhost"),
        sni=sni,
        certificate=_presented(settings, defaults, report),
        versions=tls_versions(settings, place, report),
        ciphers=at_security_level(settings.value("ciphers"), defaults.security_level),
        ciphersuites=settings.value("ciphersuites"),
        curves=settings.value("curves"),
        sigalgs=settings.value("sigalgs"),
        client_sigalgs=settings.value("client-sigalgs"),
        alpn=settings.value("alpn", ()),
        allow_0rtt=settings.is_on("allow-0rtt"),
        reuse=settings.value("ssl-reuse", True),
        tickets=settings.value("tls-tickets", True),
        renegotiate=settings.value("renegotiate", True),
        location=place,
        places=settings.places(TOLD),
    )


def _presented(settings: Settings, defaults: LineDefaults, report: Report) -> CertificateFile | None:
    """`crt`: the certificate that servers are shown when they ask for one."""
    if settings.value("crt") is None:
        return None
    try:
        return certificate_file(settings.value("crt"), settings.place("crt"), defaults.certificates)
    except ConfigError as error:
        report.add(error.diagnostic)
        return None


def has_port(server: Server) -> bool:
    """Whether connections to a server know their port without a client's connection."""
    address = server.address
    if address.family in (Family.INET, Family.INET6, Family.NAME):
        return server.is_of_record or (bool(address.port) and not address.port_is_offset)
    return True
