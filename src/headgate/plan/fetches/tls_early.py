"""Fetches about a client's early data (manual 7.3.4): `ssl_fc_has_early`, `ssl_fc_early_rcvd`."""

from __future__ import annotations

from headgate.plan.facts import Stream, Value
from headgate.plan.places import SESSION
from headgate.plan.registry import plain
from headgate.plan.samples import Type


def _has_early(stream: Stream) -> Value:
    """Early data was sent and the handshake is not complete yet."""
    tls = stream.session.tls
    return None if tls is None else tls.early


def _early_received(stream: Stream) -> Value:
    """Early data was seen, also when the handshake has completed since."""
    tls = stream.session.tls
    return None if tls is None else tls.early_received


plain("ssl_fc_has_early", result=Type.BOOL, places=SESSION, run=_has_early)
plain("ssl_fc_early_rcvd", result=Type.BOOL, places=SESSION, run=_early_received)
