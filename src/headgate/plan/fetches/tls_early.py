"""Fetches about a client's early data (manual 7.3.4): `ssl_fc_has_early`, `ssl_fc_early_rcvd`."""

from __future__ import annotations

from headgate.plan.fetches.layer5 import front, when_tls
from headgate.plan.places import SESSION
from headgate.plan.registry import plain
from headgate.plan.samples import Type

# Early data was sent and the handshake is not complete yet.
plain("ssl_fc_has_early", result=Type.BOOL, places=SESSION, run=when_tls(front, lambda tls: tls.early))
# It was seen, also when the handshake has completed since.
plain("ssl_fc_early_rcvd", result=Type.BOOL, places=SESSION, run=when_tls(front, lambda tls: tls.early_received))
