"""The `ssl` part of a bind line -> `tls_options.BindTls`: the defaults of the global section, file paths, what must go together.

Called by `resolve_lines`; knows one line at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from headgate.base.diagnostics import ConfigError, Location, Report
from headgate.base.records import dataclass, field
from headgate.config.alpn import offered
from headgate.config.client_auth import NOTHING_IGNORED
from headgate.config.drafts import BindDraft, CertificateDraft, CrtListFile, Settings
from headgate.config.model import Mode
from headgate.config.resolve_certificates import (
    Certificates,
    FrontendCertificates,
    based,
    certificate_line,
    certificate_lines,
    crt_list,
)
from headgate.config.tls_options import (
    BindPolicy,
    BindTls,
    CertificateLine,
    CrtList,
    GenerateCertificates,
    NamedFile,
    PolicyOptions,
    TlsVersions,
    Verify,
)
from headgate.config.version_limits import limits_in_words
from headgate.config.written_options import EXCLUSIONS, TOLD, VERSIONS, WrittenOptions, exclusion_of


@dataclass(frozen=True, slots=True)
class LineDefaults:
    """What the global section says about all lines: `ssl-default-*` and `unix-bind` as settings, and base directories.

    `path_bases`: where relative names start that no other option gives a directory, by configuration file (`default-path`).
    """

    bind: Settings
    server: Settings
    certificates: Certificates = field(default_factory=Certificates)
    ca_base: str = ""
    server_verify: Verify = Verify.REQUIRED
    unix: Settings = field(default_factory=Settings)
    security_level: int | None = None
    path_bases: Mapping[str, str] = field(default_factory=dict)
    path_base: str = ""

    def at(self, place: Location) -> LineDefaults:
        """The same for a line, with what `default-path` says where it stands."""
        base = self.path_bases.get(place.file, "")
        if not base:
            return self
        return replace(self, ca_base=self.ca_base or base, certificates=self.certificates.at(base), path_base=base)


#: Options that `BindPolicy` has as they were written, by keyword.
_AS_WRITTEN = {
    "allow-0rtt": "allow_0rtt", "ciphersuites": "ciphersuites", "client-sigalgs": "client_sigalgs",
    "curves": "curves", "no-ca-names": "no_ca_names", "sigalgs": "sigalgs", "verify": "verify",
}
#: Those that name files below `ca-base`.
_FILES = {"ca-file": "ca_file", "ca-verify-file": "ca_verify_file", "crl-file": "crl_file"}


def bind_tls(
    draft: BindDraft, mode: Mode, defaults: LineDefaults, report: Report, frontend: FrontendCertificates = ("", ())
) -> BindTls | None:
    """What follows `ssl` on a bind line; None when it can't work, which was reported then.

    Args:
        draft: the line.
        mode: of its frontend.
        defaults: of the global section.
        report: where errors and warnings go.
        frontend: name of the frontend, and its `ssl-f-use` lines.
    """
    settings = Settings({**defaults.bind, **_with_default_curves(draft.settings, defaults, report)})
    place = draft.settings.place("ssl")
    strict = settings.is_on("strict-sni")
    name, shared = frontend
    if "crt" not in settings and not shared and not strict and not settings.is_on("generate-certificates"):
        report.alert("'ssl' is set and no certificate is: the bind line needs 'crt'", place, remedy="write 'ssl crt <file>'")
        return None
    ciphers = at_security_level(None, defaults.security_level)
    policy = BindPolicy(ciphers=ciphers, versions=tls_versions(settings, place, report))
    policy = policy.overlaid(policy_options(settings, mode, defaults, report))
    if "alpn" not in settings and mode is Mode.HTTP:
        policy = replace(policy, alpn=("http/1.1",))
    certificates = _certificates(settings, defaults, report)
    if shared:
        whole = [line for line in shared if line.is_whole]
        lines = certificate_lines(whole, defaults.certificates, _options_of_lines(defaults, report), report)
        certificates.append(CrtList(f"@{name}", lines, shared[0].location))
    _check_verify(policy, certificates, settings, report)
    return BindTls(
        tuple(certificates),
        policy,
        strict_sni=strict,
        tickets=settings.value("tls-tickets", True),
        prefer_client_ciphers=settings.is_on("prefer-client-ciphers"),
        ca_ignore_err=settings.value("ca-ignore-err", NOTHING_IGNORED),
        crt_ignore_err=settings.value("crt-ignore-err", NOTHING_IGNORED),
        generate=_generate(settings, defaults, report),
        ticket_keys=_ticket_keys(settings, defaults, report),
        location=place,
        places=settings.places(TOLD),
        twice=frozenset(word for word in EXCLUSIONS if draft.settings.is_on(word) and defaults.bind.is_on(word)),
    )


def _with_default_curves(own: Settings, defaults: LineDefaults, report: Report) -> Settings:
    """A line's settings without an `ecdhe` that has no effect: `curves` go before it, those of the global section too (5.1)."""
    if own.place("curves").underlined != "ecdhe" or "curves" not in defaults.bind:
        return own
    report.warn("'ecdhe' has no effect beside 'ssl-default-bind-curves'", own.place("curves"), remedy="leave it out")
    return Settings({name: setting for name, setting in own.items() if name != "curves"})


def _ticket_keys(settings: Settings, defaults: LineDefaults, report: Report) -> NamedFile | None:
    path = settings.value("tls-ticket-keys")
    if path is None:
        return None
    place = settings.place("tls-ticket-keys")
    if not settings.value("tls-tickets", True):
        report.warn("'tls-ticket-keys' has no effect with 'no-tls-tickets'", place, remedy="leave one of them out")
    return NamedFile(os.path.join(defaults.path_base, path), place)


def _certificates(settings: Settings, defaults: LineDefaults, report: Report) -> list[CertificateLine | CrtList]:
    """What `crt`, `default-crt` and `crt-list` name."""
    found: list[CertificateLine | CrtList] = []
    items: Sequence[CertificateDraft | CrtListFile] = settings.value("crt", ())
    options = _options_of_lines(defaults, report)
    for item in items:
        try:
            if isinstance(item, CrtListFile):
                found.append(crt_list(item, defaults.certificates, options, report))
            else:
                found.append(certificate_line(item, defaults.certificates, options))
        except ConfigError as error:
            report.add(error.diagnostic)
    return found


def _options_of_lines(defaults: LineDefaults, report: Report) -> Callable[[Settings], PolicyOptions]:
    # One list serves bind lines of frontends in different modes: what of its ALPN can be spoken is looked at later.
    return lambda settings: policy_options(settings, Mode.TCP, defaults, report)


_NEEDS_CA = "write 'ca-file <file>', with the CA that issues your client certificates"


def _check_verify(
    policy: BindPolicy, certificates: Iterable[CertificateLine | CrtList], settings: Settings, report: Report
) -> None:
    """`verify` without a CA: on the line itself, and on the lines of its lists."""
    if policy.verify is not Verify.NONE and not policy.authority_files:
        report.alert(
            f"'verify {policy.verify.value}' needs 'ca-file': there is nothing to verify with", settings.place("verify"),
            remedy=_NEEDS_CA,
        )
        return
    policies = [policy]
    for item in certificates:
        for line in item.lines if isinstance(item, CrtList) else ():
            own = policy.overlaid(line.options)
            policies.append(own)
            if own.verify is not Verify.NONE and not own.authority_files:
                message = f"'verify {own.verify.value}' needs 'ca-file': there is nothing to verify with"
                report.alert(message, WrittenOptions(line.location, line.places).of("verify"), remedy=_NEEDS_CA)
    if all(one.verify is Verify.NONE for one in policies):
        _warn_unverified(settings, report)


#: Options that say how client certificates are verified: nothing without `verify`.
_VERIFYING = ("ca-file", "ca-verify-file", "crl-file", "ca-ignore-err", "crt-ignore-err")


def _warn_unverified(settings: Settings, report: Report) -> None:
    for name in _VERIFYING:
        if name in settings:
            report.warn(
                f"'{name}' has no effect without 'verify': no client certificate is asked for", settings.place(name),
                remedy="write 'verify optional' or 'verify required'",
            )


def _generate(settings: Settings, defaults: LineDefaults, report: Report) -> GenerateCertificates | None:
    """`generate-certificates` with `ca-sign-file` and `ca-sign-pass`."""
    if not settings.is_on("generate-certificates"):
        if "ca-sign-file" in settings:
            report.warn(
                "'ca-sign-file' has no effect without 'generate-certificates'", settings.place("ca-sign-file"),
                remedy="write 'generate-certificates' too, or leave it out; CAs of client certificates stand behind 'ca-file'",
            )
        return None
    place = settings.place("generate-certificates")
    path = based(settings.value("ca-sign-file"), defaults.ca_base)
    if path is None:
        report.alert("'generate-certificates' needs 'ca-sign-file': the CA that signs them", place)
        return None
    return GenerateCertificates(path, settings.value("ca-sign-pass"), place)


def policy_options(settings: Settings, mode: Mode, defaults: LineDefaults, report: Report) -> PolicyOptions:
    """What the options written on a bind line, a crt-list line or an `ssl-f-use` line set in a `BindPolicy`.

    Versions that are left out (`no-tlsv10`) are no part of it: only bind lines can say that.
    """
    options: list[tuple[str, Any]] = []
    if "ciphers" in settings:
        options.append(("ciphers", at_security_level(settings.value("ciphers"), defaults.security_level)))
    options += [(field, settings.value(keyword)) for keyword, field in _AS_WRITTEN.items() if keyword in settings]
    options += [
        (field, based(settings.value(keyword), defaults.ca_base)) for keyword, field in _FILES.items() if keyword in settings
    ]
    if "alpn" in settings:
        options.append(("alpn", _alpn(settings, mode, report)))
    ends = (("ssl-min-ver", "lowest"), ("ssl-max-ver", "highest"))
    options += [(end, settings.value(keyword)) for keyword, end in ends if keyword in settings]
    return tuple(options)


def at_security_level(ciphers: str | None, level: int | None) -> str | None:
    """A cipher list with `ssl-security-level` (3.1) in OpenSSL's words, unless it names a level of its own.

    >>> at_security_level(None, 3), at_security_level("HIGH", 3), at_security_level("HIGH:@SECLEVEL=1", 3)
    ('DEFAULT:@SECLEVEL=3', 'HIGH:@SECLEVEL=3', 'HIGH:@SECLEVEL=1')
    """
    if level is None or (ciphers is not None and "@SECLEVEL=" in ciphers):
        return ciphers
    return f"{ciphers or 'DEFAULT'}:@SECLEVEL={level}"


def _alpn(settings: Settings, mode: Mode, report: Report) -> tuple[str, ...]:
    """What is offered of what was written."""
    written: tuple[str, ...] = settings.value("alpn")
    if mode is not Mode.HTTP:
        return written
    return offered(written, WrittenOptions(None, settings.places(TOLD)), report)


def tls_versions(settings: Settings, place: Location, report: Report) -> TlsVersions:
    """`ssl-min-ver`, `ssl-max-ver`, `no-*` and `force-*` of the line of `place`, and of the global section for it.

    As in HAProxy, a limit on either makes all `no-*` of both count for nothing.
    """
    lowest, highest = settings.value("ssl-min-ver"), settings.value("ssl-max-ver")
    if lowest and highest and VERSIONS.index(lowest) > VERSIONS.index(highest):
        message = f"no TLS version is left between {lowest} and {highest}: nobody could connect"
        remedy = f"write 'ssl-min-ver {highest} ssl-max-ver {lowest}', or leave one of them out"
        first, second = settings.place("ssl-min-ver"), settings.place("ssl-max-ver")
        limits, chosen = limits_in_words(TlsVersions(lowest, highest), WrittenOptions(place, settings.places(TOLD)))
        if (first.file, first.line) != (second.file, second.line):
            message, remedy = f"{message}: {limits}", "change one of them, or leave it out"
        report.alert(message, chosen, remedy=remedy)
    excluded = frozenset(version for word, version in EXCLUSIONS.items() if settings.is_on(word))
    if not lowest and not highest:
        return TlsVersions(excluded=excluded)
    _warn_ignored(TlsVersions(lowest, highest, excluded), WrittenOptions(place, settings.places(TOLD)), report)
    return TlsVersions(lowest, highest)


def _warn_ignored(versions: TlsVersions, written: WrittenOptions, report: Report) -> None:
    """Say which `no-*` would have left something out of what the limits allow."""
    start, end = versions.lowest or VERSIONS[0], versions.highest or VERSIONS[-1]
    span = VERSIONS[VERSIONS.index(start) : VERSIONS.index(end) + 1]
    ignored = versions.excluded.intersection(span)
    if not ignored:
        return
    left = [one for one in span if one not in ignored]
    remedy = "a version alone, or one between others, can't be left out: remove these words, or change the limits"
    if left and len(left) == VERSIONS.index(left[-1]) - VERSIONS.index(left[0]) + 1:
        ends = (("ssl-min-ver", start, left[0]), ("ssl-max-ver", end, left[-1]))
        remedy = f"write '{' '.join(f'{word} {new}' for word, old, new in ends if new != old)}' instead"
    words = " and ".join(f"'{exclusion_of(one)}'" for one in VERSIONS if one in ignored)
    limits, place = limits_in_words(replace(versions, excluded=ignored), written)
    verb = "is" if len(ignored) == 1 else "are"
    report.warn(f"{words} {verb} ignored where 'ssl-min-ver' or 'ssl-max-ver' stands: {limits}", place, remedy=remedy)
