"""The log lines of updates (manual 12.7.1 "ocsp-update")."""

from __future__ import annotations

import datetime
from typing import Protocol

from headgate.tls.ocsp.failures import STATUS_TEXTS
from headgate.tls.ocsp.ledger import Entry


class Exchange(Protocol):
    """An HTTP exchange that failed; `runtime.ocsp.fetcher.Timing`."""

    @property
    def method(self) -> str: ...

    @property
    def uri(self) -> str: ...

    @property
    def began(self) -> float: ...

    @property
    def connected(self) -> int: ...

    @property
    def answered(self) -> int: ...

    @property
    def total(self) -> int: ...

    @property
    def status(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def retries(self) -> int: ...


def update_line(entry: Entry) -> str:
    """`<OCSP-UPDATE> <path> <status> "<text>" <failures> <successes>`: behind each update."""
    text = STATUS_TEXTS[entry.code].replace('"', '\\"')
    return f'<OCSP-UPDATE> {entry.path} {int(entry.code)} "{text}" {entry.failures} {entry.successes}'


def http_line(exchange: Exchange) -> str:
    """The HTTP log line of an exchange that failed, in the format of manual 8.2.3."""
    moment = datetime.datetime.fromtimestamp(exchange.began).astimezone()  # local time, as in all log lines
    date = moment.strftime("%d/%b/%Y:%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
    # As for any stream: no connection, no response, or a response that is not what was wanted.
    state = "SC--" if exchange.connected < 0 else "sH--" if exchange.status == 0 else "----"
    status = exchange.status or 503
    timers = f"0/0/{exchange.connected}/{exchange.answered}/{exchange.total}"
    return (
        f"-:- [{date}] <OCSP-UPDATE> -/- {timers} {status} {exchange.size} - - {state} 0/0/0/0/{exchange.retries} 0/0 {{}} "
        f'"{exchange.method} {exchange.uri} HTTP/1.1"'
    )
