"""What the command line changes in a configuration: it always has precedence over the files (management manual, 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from headgate.base.addresses import Address, Family
from headgate.cli.options import Options
from headgate.config.log_options import Logging
from headgate.config.model import Config, Global, Proxy, Server
from headgate.config.tls_options import Verify


def apply_options(config: Config, options: Options) -> Config:
    """The configuration as the command line wants it.

    Args:
        config: as loaded.
        options: the command line.
    """
    proxies = tuple(_proxy(proxy, options) for proxy in config.proxies)
    return replace(config, global_=_global(config.global_, options), proxies=proxies)


def _global(settings: Global, options: Options) -> Global:
    background = not options.foreground
    return replace(
        settings,
        maxconn=settings.maxconn if options.maxconn is None else options.maxconn,
        daemon=(settings.daemon or options.daemon) and background,
        master_worker=(settings.master_worker or options.master_worker) and background,
        pidfile=options.pidfile or settings.pidfile,
        quiet=(settings.quiet or options.quiet) and not options.verbose,
        dns_accept_family=("ipv4",) if options.ipv4_only else settings.dns_accept_family,
        zero_warning=settings.zero_warning or options.zero_warning,
        # What is skipped at a start is an error to whoever checks the file.
        ssl_skip_bad_certificates=settings.ssl_skip_bad_certificates and not options.check,
    )


def _proxy(proxy: Proxy, options: Options) -> Proxy:
    if options.proxy_maxconn is not None and proxy.is_frontend and proxy.maxconn is None:
        proxy = replace(proxy, maxconn=options.proxy_maxconn)
    for wanted, change in _SERVER_CHANGES:
        if wanted(options):
            proxy = replace(proxy, servers=tuple(change(server) for server in proxy.servers))
    if options.ipv4_only:
        proxy = replace(proxy, logging=_ipv4_logging(proxy.logging))
    return proxy


def _without_resolution(server: Server) -> Server:
    return server if "none" in server.init_addr else replace(server, init_addr=(*server.init_addr, "none"))


def _without_verification(server: Server) -> Server:
    return server if server.tls is None else replace(server, tls=replace(server.tls, verify=Verify.NONE))


def _ipv4(address: Address) -> Address:
    return replace(address, prefer=Family.INET) if address.family is Family.NAME else address


def _ipv4_server(server: Server) -> Server:
    return replace(server, address=_ipv4(server.address))


def _ipv4_logging(logging: Logging) -> Logging:
    return replace(logging, targets=tuple(replace(target, address=_ipv4(target.address)) for target in logging.targets))


#: Option -> what it does to each server: -dr, -dV, -4.
_SERVER_CHANGES: tuple[tuple[Callable[[Options], bool], Callable[[Server], Server]], ...] = (
    (lambda options: options.ignore_resolution, _without_resolution),
    (lambda options: options.no_server_verify, _without_verification),
    (lambda options: options.ipv4_only, _ipv4_server),
)
