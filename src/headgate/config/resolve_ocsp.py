"""The `ocsp-update.*` and `httpclient.*` lines of the global section -> `ocsp_options`."""

from __future__ import annotations

from headgate.base.addresses import Family
from headgate.base.diagnostics import Report
from headgate.config.drafts import Settings
from headgate.config.ocsp_options import LONGEST_DELAY, SHORTEST_DELAY, HttpClient, OcspUpdate, WithoutStaple
from headgate.config.resolve_certificates import based
from headgate.config.resolvers import DEFAULT_RESOLVERS


def build_ocsp_update(settings: Settings) -> OcspUpdate:
    """The `ocsp-update.*` settings of a global section."""
    return OcspUpdate(
        disabled=settings.value("ocsp-update.disable", False),
        mode=settings.value("ocsp-update.mode", False),
        mindelay=settings.value("ocsp-update.mindelay", SHORTEST_DELAY),
        maxdelay=settings.value("ocsp-update.maxdelay", LONGEST_DELAY),
        httpproxy=settings.value("ocsp-update.httpproxy"),
        directory=settings.value("ocsp-update.directory"),
        fetch_issuer=settings.value("ocsp-update.fetch-issuer", False),
        must_staple=settings.value("ocsp-update.must-staple", WithoutStaple.SERVE),
        must_staple_wait=settings.value("ocsp-update.must-staple-wait", 5.0),
    )


def build_http_client(settings: Settings) -> HttpClient:
    """The `httpclient.*` settings of a global section."""
    ca_file = settings.value("httpclient.ssl.ca-file")
    return HttpClient(
        names=not settings.value("httpclient.resolvers.disabled", False),
        resolvers=settings.value("httpclient.resolvers.id", DEFAULT_RESOLVERS),
        prefer=settings.value("httpclient.resolvers.prefer", Family.INET6),
        retries=settings.value("httpclient.retries", 3),
        ca_file=None if ca_file == "@system-ca" else based(ca_file, settings.value("ca-base", "") or ""),
        verify=settings.value("httpclient.ssl.verify", True),
        connect_timeout=settings.value("httpclient.timeout.connect", 5.0),
    )


def check_delays(settings: Settings, report: Report) -> None:
    """The manual: mindelay must be lower than maxdelay."""
    options = build_ocsp_update(settings)
    if options.mindelay >= options.maxdelay:
        written = "ocsp-update.mindelay" if "ocsp-update.mindelay" in settings else "ocsp-update.maxdelay"
        report.alert(
            f"ocsp-update.mindelay ({options.mindelay} s) must be lower than ocsp-update.maxdelay ({options.maxdelay} s)",
            settings.place(written),
        )
