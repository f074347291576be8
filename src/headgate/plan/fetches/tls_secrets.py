"""The secrets of a TLS connection's keys (manual 3.2 tune.ssl.keylog, 7.3.4 `ssl_fc_*_secret`), for those who record traffic.

No sample without `tune.ssl.keylog on`, which is said where it is forgotten.
"""

from __future__ import annotations

from typing import Final

from headgate.plan.facts import Stream, Value
from headgate.plan.places import RESPONSE_MEMORY, SESSION, Place
from headgate.plan.registry import fetch
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope

#: Labels of an SSLKEYLOGFILE; fetches have their names in lower case.
_LABELS: Final = (
    "CLIENT_EARLY_TRAFFIC_SECRET", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET", "EARLY_EXPORTER_SECRET",
)  # fmt: skip


def _secret(name: str, label: str, places: Place, *, front: bool) -> None:
    @fetch(name, result=Type.STR, places=places)
    def compile_secret(scope: Scope) -> Run:
        if not scope.config.global_.tls_keylog:
            scope.report.warn(
                f"'{name}' never gives anything here: the secrets of TLS connections are not kept", scope.proxy.location,
                remedy="write 'tune.ssl.keylog on' in the global section",
            )

        def run(stream: Stream) -> Value:
            tls = stream.session.tls if front else stream.server_tls
            secrets = None if tls is None else tls.secrets
            return None if secrets is None else secrets.get(label)

        return run


for _label in _LABELS:
    _secret(f"ssl_fc_{_label.lower()}", _label, SESSION, front=True)
    _secret(f"ssl_bc_{_label.lower()}", _label, RESPONSE_MEMORY, front=False)
