"""OCSP responses as `show ssl ocsp-response` and `show ssl cert FILE.ocsp` print them (management manual 9.3)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from headgate.admin.context import Context
from headgate.admin.registry import CommandError

if TYPE_CHECKING:  # what reads certificates is loaded only where there are some
    from headgate.tls.ocsp.ledger import Entry

SUFFIX = ".ocsp"


def dump(entry: Entry, now: float, form: str = "text") -> str:
    """The response on hand, as text or base64.

    Raises:
        CommandError: there is none.
    """
    if entry.response is None:
        why = entry.explanation(now)
        raise CommandError(f"There is no OCSP response for '{entry.path}'" + (f": {why}." if why else "."))
    from headgate.tls.ocsp.dump import response_text

    der = entry.response.der
    return response_text(der) if form == "text" else base64.b64encode(der).decode("ascii")


def key_of(name: str, context: Context) -> str:
    """The CertID of the certificate in a file, "" where it takes no part in OCSP."""
    entry = context.ocsp.ledger.of_path(name) if context.ocsp is not None else None
    return entry.key if entry is not None else ""


def of_certificate(name: str, context: Context) -> str:
    """The response of the certificate in a file.

    Raises:
        CommandError: there is none.
    """
    entry = context.ocsp.ledger.of_path(name) if context.ocsp is not None else None
    if entry is None:
        raise CommandError(f"There is no OCSP response for '{name}'.")
    return dump(entry, context.wall())


def of_transaction(name: str, der: bytes | None) -> str:
    """A response that is not committed yet.

    Raises:
        CommandError: there is none, or it is none.
    """
    from headgate.tls.ocsp.dump import response_text

    if not der:
        raise CommandError(f"There is no OCSP response for '*{name}'.")
    try:
        return response_text(der)
    except ValueError:
        raise CommandError("Unable to parse OCSP response.") from None
