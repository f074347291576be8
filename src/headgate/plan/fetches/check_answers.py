"""Fetches of the body that a server answered to an HTTP check (manual 7.3.6 res.body), in check rules only."""

from __future__ import annotations

from headgate.plan.places import Place
from headgate.plan.registry import plain
from headgate.plan.samples import Type

plain("res.body", result=Type.BIN, places=Place.CHECK, run=lambda stream: stream.response_buffer)
plain("res.body_len", "res.body_size", result=Type.SINT, places=Place.CHECK, run=lambda stream: len(stream.response_buffer))
