"""headgate: a TLS-terminating load balancer that reads haproxy.cfg and explains itself."""

__version__ = "0.1.0"

#: The HAProxy release whose configuration language is spoken; what `version_atleast()` compares with.
COMPATIBLE_VERSION = "3.5.0"
