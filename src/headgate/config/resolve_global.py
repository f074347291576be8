"""The global section's draft -> `model.Global`. A field takes the keyword of the same name unless the table says otherwise."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from headgate.config.drafts import ConfigDraft
from headgate.config.model import Global
from headgate.config.resolve_ocsp import build_http_client, build_ocsp_update

#: Fields whose keyword is not their name with dashes.
_KEYWORDS = {
    "bufsize": "tune.bufsize",
    "maxrewrite": "tune.maxrewrite",
    "max_headers": "tune.http.maxhdr",
    "tls_cache_size": "tune.ssl.cachesize",
    "tls_lifetime": "tune.ssl.lifetime",
    "tls_capture_size": "tune.ssl.capture-buffer-size",
    "tls_generated_size": "tune.ssl.ssl-ctx-cache-size",
    "tls_certificate_compression": "tune.ssl.certificate-compression",
    "tls_keylog": "tune.ssl.keylog",
    "tls_key_updates": "tune.ssl.keyupdate-rate-limit",
    "tls_record_most": "tune.ssl.hard-maxrecord",
    "tls_record_first": "tune.ssl.maxrecord",
    "idle_timer": "tune.idletimer",
    "dh_param_size": "tune.ssl.default-dh-param",
    "stats_timeout": "stats timeout",
    "stats_maxconn": "stats maxconn",
}
#: Fields that are filled from elsewhere.
_OTHER = frozenset({"log_targets", "stats_sockets", "variables", "tune", "ocsp_update", "http_client"})


def build_global(draft: ConfigDraft) -> Global:
    """Freeze the global section. Integers of `tune.*` that have no field of their own are in `tune`, by their whole name."""
    settings = draft.global_.settings
    values: dict[str, Any] = {}
    for field in fields(Global):
        keyword = _KEYWORDS.get(field.name, field.name.replace("_", "-"))
        if field.name not in _OTHER and keyword in settings:
            values[field.name] = settings.value(keyword)
    own = set(_KEYWORDS.values())
    tune = {
        name: setting.value
        for name, setting in settings.items()
        if name.startswith("tune.") and name not in own and isinstance(setting.value, int)
    }
    return Global(
        log_targets=tuple(draft.global_.log_targets),
        stats_sockets=tuple(draft.global_.stats_sockets),
        variables=tuple(draft.global_.variables),
        tune=tune,
        ocsp_update=build_ocsp_update(settings),
        http_client=build_http_client(settings),
        **values,
    )
