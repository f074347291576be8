"""`tune.ssl.keylog` (manual 3.2): the secrets of a connection's keys, for the fetches that make an SSLKEYLOGFILE of them.

They are held with the connection and shown by those fetches only; no log line, dump or message has them unless the configuration
writes such a fetch. Without `tune.ssl.keylog on` OpenSSL is never asked.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL

from headgate.tls.openssl import address_of, ffi, lib

#: Labels of an SSLKEYLOGFILE for which there are fetches. That of TLS 1.2, CLIENT_RANDOM, has others.
LABELS: Final = (
    "CLIENT_EARLY_TRAFFIC_SECRET", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET", "EARLY_EXPORTER_SECRET",
)  # fmt: skip
_WANTED: Final = {label.encode(): label for label in LABELS}


class Secrets(dict[str, bytes]):
    """Secrets in hexadecimal, by label; never printed."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


#: Of connections whose facts were not made yet, by the address of their `SSL`.
_kept: Final[dict[int, Secrets]] = {}


def keep_secrets(context: SSL.Context) -> None:
    """Let a context hand out the secrets of its connections."""
    lib.SSL_CTX_set_keylog_callback(context._context, _take_line)


def secrets_of(ssl: Any) -> Secrets | None:
    """The secrets of a connection so far, for its facts to hold; None when they are not kept. More may come into them."""
    return _kept.get(address_of(ssl)) if _kept else None


def forget_secrets(ssl: Any) -> None:
    """The connection is about to go, or no more of them will come."""
    if _kept:
        _kept.pop(address_of(ssl), None)


@ffi.callback("void (*)(SSL *, char *)")  # type: ignore[untyped-decorator]  # of a binding without types
def _take_line(ssl: Any, line: Any) -> None:
    """OpenSSL's callback: `LABEL CLIENT-RANDOM SECRET`."""
    label, _, rest = ffi.string(line).partition(b" ")
    name = _WANTED.get(label)
    if name is not None:
        _kept.setdefault(address_of(ssl), Secrets())[name] = rest.rpartition(b" ")[2]
