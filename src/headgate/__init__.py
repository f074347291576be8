"""headgate: a TLS-terminating load balancer that reads haproxy.cfg and explains itself."""

__version__ = "0.1.0"
#: Of this version, as `show info` has it.
RELEASE_DATE = "2026/11/21"

#: The HAProxy release whose configuration language is spoken; what `version_atleast()` compares with.
COMPATIBLE_VERSION = "3.5.0"
