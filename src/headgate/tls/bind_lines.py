"""Builds the contexts of bind lines: certificates and options are checked now, not with the first client.

The same checks hold when a line's lists change while it serves (`relist`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from OpenSSL import SSL

from headgate.base.diagnostics import ConfigError, Report, Severity, config_error
from headgate.config.alpn import offered
from headgate.config.tls_options import BindPolicy, BindTls, Verify
from headgate.tls.applied_policy import AppliedPolicy
from headgate.tls.forging import Forger
from headgate.tls.installing import check_acceptable
from headgate.tls.policy import SYSTEM_CA
from headgate.tls.server_context import USUAL_CACHE_SIZE, BindContext, SessionCache
from headgate.tls.session_context import cache_size_is_heeded
from headgate.tls.storage import Storage
from headgate.tls.store import CertificateStore, Served, load_served, skipped
from headgate.tls.ticket_sealing import TicketSealer, sealer_for
from headgate.tls.tuning import UNTUNED, Tuning


def build_bind_context(
    tls: BindTls,
    cache: SessionCache,
    report: Report,
    *,
    storage: Storage | None = None,
    http: bool = True,
    origin: SSL.Context | None = None,
    sealer: TicketSealer | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    tuning: Tuning = UNTUNED,
) -> BindContext | None:
    """Build the TLS side of a bind line; certificates and options are checked now, not with the first client.

    Args:
        tls: the `ssl` options of the line.
        cache: tune.ssl.cachesize and tune.ssl.lifetime.
        report: where errors and warnings go.
        storage: the process's, which all bind lines share; None: one of its own.
        http: the frontend is in HTTP mode, where ALPN has a default (manual 5.1 alpn).
        origin: a bare context whose ticket keys are to be used (`tls.session_context`); None: keys of its own.
        sealer: for the tickets of a line without `tls-ticket-keys`; None: OpenSSL seals them.
        clock: Unix time; 0: unknown, nothing has expired.
        tuning: what the global section says about all contexts.

    Returns:
        The context, or None when something is wrong with it (`report` says what).
    """
    before = len(report.alerts)
    if cache.size not in (0, USUAL_CACHE_SIZE) and not cache_size_is_heeded():
        report.note(
            Severity.NOTICE, f"tune.ssl.cachesize {cache.size}: the TLS library can't be told, it keeps 20480 sessions a line"
        )
    storage = storage if storage is not None else Storage()
    forger: Forger | None = None
    try:
        if tls.generate is not None:
            forger = Forger(tls.generate, storage.reader, clock)
        if tls.ticket_keys is not None:
            sealer = sealer_for(tls.ticket_keys, storage)
    except ConfigError as error:
        report.add(error.diagnostic)
    checked = _checked(tls, storage, report, http=http)
    if checked is None or len(report.alerts) > before:
        return None
    served, policies = checked
    if not served and not tls.strict_sni and forger is None:
        report.add(
            config_error(
                "ssl is enabled but there is no certificate", tls.location,
                remedy="add `crt FILE` (certificate, chain and key in PEM form), or `strict-sni` to start without any",
            ).diagnostic
        )
        return None
    store = CertificateStore(served, clock())
    _compare_verification(store, report)
    return BindContext(tls, cache, store, storage, policies, origin, forger, http, tuning, sealer)


def relist(bind: BindContext, report: Report, now: float) -> bool:
    """Let a bind line serve what its lists hold now: for the runtime API, when it has changed `storage.lists`.

    Args:
        bind: the line.
        report: where errors go.
        now: Unix time.

    Returns:
        False when something is wrong; the line then serves what it served before.
    """
    checked = _checked(bind.tls, bind.storage, report, http=bind.http)
    if checked is None:
        return False
    served, policies = checked
    bind.serve(CertificateStore(served, now), policies)
    return True


def _checked(
    tls: BindTls, storage: Storage, report: Report, *, http: bool
) -> tuple[list[Served], dict[BindPolicy, AppliedPolicy]] | None:
    """The certificates of a line and their policies; None when one of them can't work, which was reported then."""
    before = len(report.alerts)
    served = load_served(tls, storage, report)
    policies = {}
    # A policy that a crt-list line has made is wrong on that line.
    lines = {tls.policy: tls}
    for one in served:
        if one.policy not in lines:
            lines[one.policy] = replace(tls, location=one.line.location, places={**tls.places, **one.line.places})
    for policy, line in lines.items():
        alpn = _negotiable(policy, line, report, http=http)
        _check_trust(policy, line, report)
        try:
            policies[policy] = AppliedPolicy(policy, line, storage, alpn)
        except ConfigError as error:
            report.add(error.diagnostic)
    if len(report.alerts) > before:
        return None
    served = _acceptable(served, policies, storage, report)
    return None if len(report.alerts) > before else (served, policies)


def _compare_verification(store: CertificateStore, report: Report) -> None:
    """Say where a client may choose whether it must show a certificate."""
    for choice in store.choices():
        first = choice[0]
        for one in choice[1:]:
            if one.kind != first.kind and _verification(one.policy) != _verification(first.policy):
                report.warn(
                    f"{one.entry.name!r} and {first.entry.name!r} answer to one name and differ in 'verify': by the kind of key"
                    " that it can use, a client chooses whether it must show a certificate",
                    one.line.location, remedy="give both the same 'verify' and 'ca-file'",
                )


def _verification(policy: BindPolicy) -> tuple[object, ...]:
    return policy.verify, policy.ca_file, policy.ca_verify_file, policy.crl_file


def _check_trust(policy: BindPolicy, tls: BindTls, report: Report) -> None:
    if policy.verify is not Verify.NONE and not policy.authority_files:
        report.add(
            config_error(
                f"verify {policy.verify.value} is set but there is no ca-file to verify client certificates with",
                tls.written.of("verify"),
                remedy="add ca-file FILE with the CA that issues your client certificates",
            ).diagnostic
        )
    for option, path in policy.authority_files:
        if path == SYSTEM_CA and policy.verify is not Verify.NONE:
            report.warn(
                f"{option} @system-ca on a bind line accepts client certificates of every public CA",
                tls.written.of(option, SYSTEM_CA), remedy="name the CA that issues your client certificates",
            )


def _negotiable(policy: BindPolicy, tls: BindTls, report: Report, *, http: bool) -> tuple[str, ...]:
    """The protocols to agree to. Only what we speak is offered in HTTP mode; in TCP mode the protocol is not our business."""
    if not http or not policy.alpn:  # `no-alpn`: what is on without a word is in the policy already
        return policy.alpn
    return offered(policy.alpn, tls.written, report)


def _acceptable(
    served: list[Served], policies: Mapping[BindPolicy, AppliedPolicy], storage: Storage, report: Report
) -> list[Served]:
    """Those that OpenSSL takes; the others are reported."""
    contexts = {policy: applied.scratch() for policy, applied in policies.items()}
    found = []
    for one in served:
        try:
            check_acceptable(contexts[one.policy], one.entry.contents)
        except ConfigError as error:
            report.add(skipped(error) if storage.reader.loading.skip_bad and one.listed else error.diagnostic)
            continue
        found.append(one)
    return found
