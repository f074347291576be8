"""Bytes <-> events: HTTP/1, PROXY protocol, ClientHello. Knows no configuration, no proxy and no socket."""
