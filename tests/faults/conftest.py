"""The fixtures of tests/interop serve here too."""

from tests.interop.conftest import authority, backend, certificates, logs, proxy, stack, subject

__all__ = ["authority", "backend", "certificates", "logs", "proxy", "stack", "subject"]
