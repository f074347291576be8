"""The `ssl` part of a bind line -> `tls_options.BindTls`: the defaults of the global section, file paths, what must go together.

Called by `resolve_lines`; knows one line at a time.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from headgate.base.diagnostics import Report
from headgate.base.records import dataclass, field
from headgate.config.drafts import BindDraft, Settings
from headgate.config.keywords.tls_options import VERSIONS
from headgate.config.model import Mode
from headgate.config.tls_options import BindPolicy, BindTls, CertificateLine, CrtList, PolicyOptions, TlsVersions, Verify

#: What ALPN may offer so far.
SUPPORTED_PROTOCOLS = ("http/1.1", "http/1.0")


@dataclass(frozen=True, slots=True)
class LineDefaults:
    """What the global section says about all lines: `ssl-default-*` and `unix-bind` as settings, and base directories."""

    bind: Settings
    server: Settings
    crt_base: str = ""
    ca_base: str = ""
    server_verify: Verify = Verify.REQUIRED
    unix: Settings = field(default_factory=Settings)


#: Options that `BindPolicy` has as they were written, by keyword.
_AS_WRITTEN = {
    "allow-0rtt": "allow_0rtt", "ciphers": "ciphers", "ciphersuites": "ciphersuites", "client-sigalgs": "client_sigalgs",
    "curves": "curves", "no-ca-names": "no_ca_names", "sigalgs": "sigalgs", "verify": "verify",
}
#: Those that name files below `ca-base`.
_FILES = {"ca-file": "ca_file", "ca-verify-file": "ca_verify_file", "crl-file": "crl_file"}


def bind_tls(draft: BindDraft, mode: Mode, defaults: LineDefaults, report: Report) -> BindTls | None:
    """What follows `ssl` on a bind line; None when it can't work, which was reported then."""
    settings = Settings({**defaults.bind, **draft.settings})
    place = draft.settings.place("ssl")
    certificates: tuple[CertificateLine | CrtList, ...] = settings.value("crt", ())
    strict = settings.is_on("strict-sni")
    if not certificates and not strict:
        report.alert("'ssl' is set and no certificate is: the bind line needs 'crt'", place, remedy="write 'ssl crt <file>'")
        return None
    policy = BindPolicy(versions=tls_versions(settings, report)).overlaid(policy_options(settings, mode, defaults, report))
    if "alpn" not in settings and mode is Mode.HTTP:
        policy = replace(policy, alpn=("http/1.1",))
    if policy.verify is not Verify.NONE and policy.ca_file is None:
        report.alert(
            f"'verify {policy.verify.value}' needs 'ca-file': there is nothing to verify with", settings.place("verify")
        )
    return BindTls(
        tuple(_placed(item, defaults) for item in certificates),
        policy,
        strict_sni=strict,
        tickets=settings.value("tls-tickets", True),
        prefer_client_ciphers=settings.is_on("prefer-client-ciphers"),
        ca_ignore_err=settings.value("ca-ignore-err", ()),
        crt_ignore_err=settings.value("crt-ignore-err", ()),
        location=place,
    )


def _placed(item: CertificateLine | CrtList, defaults: LineDefaults) -> CertificateLine | CrtList:
    """A certificate with `crt-base` in front of its path."""
    if isinstance(item, CrtList):
        return item
    return replace(item, file=replace(item.file, path=based(item.file.path, defaults.crt_base) or ""))


def policy_options(settings: Settings, mode: Mode, defaults: LineDefaults, report: Report) -> PolicyOptions:
    """What the options written on a bind line, a crt-list line or an `ssl-f-use` line set in a `BindPolicy`.

    Versions that are left out (`no-tlsv10`) are no part of it: only bind lines can say that.
    """
    options: list[tuple[str, Any]] = [
        (field, settings.value(keyword)) for keyword, field in _AS_WRITTEN.items() if keyword in settings
    ]
    options += [
        (field, based(settings.value(keyword), defaults.ca_base)) for keyword, field in _FILES.items() if keyword in settings
    ]
    if "alpn" in settings:
        options.append(("alpn", _alpn(settings, mode, report)))
    ends = (("ssl-min-ver", "lowest"), ("ssl-max-ver", "highest"))
    options += [(end, settings.value(keyword)) for keyword, end in ends if keyword in settings]
    return tuple(options)


def _alpn(settings: Settings, mode: Mode, report: Report) -> tuple[str, ...]:
    """What is offered of what was written."""
    written: tuple[str, ...] = settings.value("alpn")
    place = settings.place("alpn")
    if mode is not Mode.HTTP:
        return written
    offered = tuple(name for name in written if name in SUPPORTED_PROTOCOLS)
    if written and not offered:
        report.alert(f"ALPN '{','.join(written)}': none of these protocols is supported yet", place, allowed=SUPPORTED_PROTOCOLS)
    elif len(offered) < len(written):
        left_out = ", ".join(name for name in written if name not in offered)
        report.warn(f"ALPN {left_out} is not yet supported and not offered: clients use {offered[0]}", place)
    return offered


def tls_versions(settings: Settings, report: Report) -> TlsVersions:
    """`ssl-min-ver`, `ssl-max-ver`, `no-*` and `force-*` of a line."""
    lowest, highest = settings.value("ssl-min-ver"), settings.value("ssl-max-ver")
    if lowest and highest and VERSIONS.index(lowest) > VERSIONS.index(highest):
        report.alert(f"no TLS version is left between {lowest} and {highest}", settings.place("ssl-min-ver"))
    return TlsVersions(lowest, highest, settings.value("excluded versions", frozenset()))


def based(path: str | None, base: str) -> str | None:
    """A file name with `crt-base` or `ca-base` in front, unless it is absolute or names no file (`@system-ca`)."""
    if path is None or not base or path.startswith(("/", "@")):
        return path
    return os.path.join(base, path)
