"""Sample fetches, by the layer they look at. Importing this package fills `registry.FETCHES`."""

from headgate.plan.fetches import http_heads, http_request, internal, layer4, layer5, payload, transaction

__all__ = ["http_heads", "http_request", "internal", "layer4", "layer5", "payload", "transaction"]
