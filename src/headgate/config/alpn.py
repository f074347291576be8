"""`alpn` of bind lines in HTTP mode (manual 5.1): what of a list can be agreed to, and what is said of the rest.

Called by `resolve_bind_tls`, and by `tls.bind_lines` for the lines of crt-lists, which serve frontends in either mode.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.base.diagnostics import Diagnostic, Report, Severity, nearest_word
from headgate.config.written_options import WrittenOptions

#: What we speak behind TLS so far.
SPOKEN = ("http/1.1", "http/1.0")
#: What others speak (IANA's registry of protocol IDs, and what the manual names).
_OTHERS = ("h2", "h2c", "h3", "hq-interop", "http/0.9", "spdy/1", "spdy/2", "spdy/3", "spdy/3.1", "acme-tls/1")


def offered(names: Sequence[str], written: WrittenOptions, report: Report) -> tuple[str, ...]:
    """The protocols of a list that we speak, best first.

    Args:
        names: the list.
        written: where it stands.
        report: where it is said what is left out: an error where nothing is left.
    """
    spoken = tuple(name for name in names if name in SPOKEN)
    unknown = [name for name in names if name not in SPOKEN and name not in _OTHERS]
    unspoken = [name for name in names if name in _OTHERS]
    severity = Severity.WARNING if spoken else Severity.ALERT
    outcome = f"clients get {','.join(spoken)}" if spoken else "and nothing else is offered"
    word, allowed = written.word("alpn"), () if spoken else SPOKEN
    for name in unknown:
        near = nearest_word(name.lower(), (*SPOKEN, *_OTHERS))
        message = f"{word}: there is no protocol '{name}', {outcome}"
        report.add(Diagnostic(severity, message, written.of("alpn", name), allowed, near))
    if unspoken:
        listed = ",".join(unspoken)
        remedy = "use alpn http/1.1" if not spoken else "nothing breaks: clients that offer h2 offer http/1.1 too"
        message = f"{word} {listed}: not supported yet, {outcome}"
        place = written.of("alpn", unspoken[0])
        report.add(Diagnostic(severity, message, place, allowed, remedy=remedy))
    return spoken
