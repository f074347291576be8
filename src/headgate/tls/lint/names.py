"""Names on a bind line: two certificates for one, two sets of options, and SNI filters that their certificate does not cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headgate.base.diagnostics import Location
from headgate.base.findings import Findings
from headgate.tls.store import CertificateStore, Choice, Served


def lint_rivals(store: CertificateStore, findings: Findings, now: float) -> set[Served]:
    """Two certificates of one kind of key for one name: which one is used, and why.

    The same one twice is nobody's mistake, unless the lines say different things to its clients.

    Args:
        store: of the bind line.
        findings: where it says what it found.
        now: Unix time.

    Returns:
        The certificates that no client comes to, since others have all their names.
    """
    losers: set[Served] = set()
    first: dict[tuple[bytes, str], Served] = {}
    told: set[tuple[Served, Served]] = set()
    for one in store.served:
        for name in one.names:
            other = first.setdefault((name, one.kind), one)
            same = other.entry.contents.leaf == one.entry.contents.leaf
            if other is one or (same and other.policy == one.policy):
                continue
            chosen = _chosen(store, name)
            winner, loser = (one, other) if one in chosen else (other, one)
            first[name, one.kind] = winner
            if winner not in chosen or (winner, loser) in told:
                continue  # another filter decides for that name, or it has been said for another one
            told.add((winner, loser))
            if same:
                if not _is_for_the_rest(store, winner, loser):
                    _add_options_twice(name, winner, loser, findings)
                continue
            losers.add(loser)
            why = "the other one has expired" if loser.entry.contents.not_after < now else "the first of the two"
            findings.add(
                "tls-name-twice",
                f"'{name.decode('ascii', 'replace')}' stands in two certificates with the same kind of key ({one.kind}): "
                f"'{winner.entry.contents.path}' is used, {why}, and '{loser.entry.contents.path}' is not",
                loser.line.location or loser.line.file.location,
                remedy="take the one that is not wanted out of the configuration or of the directory",
            )
    default = store.default or ()
    return {one for one in losers if one not in default and not any(one in _chosen(store, name) for name in one.names)}


def lint_defaults(store: CertificateStore, findings: Findings) -> None:
    """What is written as a default certificate and never serves as one."""
    for one in store.served:
        if not one.line.is_default or one in (store.default or ()):
            continue
        first = next((other for other in store.default or () if other.kind == one.kind), None)
        if first is not None and first.entry.contents.leaf != one.entry.contents.leaf:
            implicit = "" if first.line.is_default else ", since it is the first of the line"
            findings.add(
                "tls-name-twice",
                f"'{one.entry.contents.path}' is a default certificate, and who asks for no name gets"
                f" '{first.entry.contents.path}'{implicit}: it has the same kind of key ({one.kind})",
                one.line.location or one.line.file.location, remedy="take one of them out, or put the one that is wanted first",
            )


def _is_for_the_rest(store: CertificateStore, winner: Served, loser: Served) -> bool:
    """Whether a line without filters is for the names of its certificate that a line with filters has not taken."""
    if loser.line.filters or not winner.line.filters:
        return False
    return loser in (store.default or ()) or any(loser in _chosen(store, name) for name in loser.names)


def _add_options_twice(name: bytes, winner: Served, loser: Served, findings: Findings) -> None:
    holds = winner.line.location or winner.line.file.location
    findings.add(
        "tls-name-twice",
        f"'{name.decode('ascii', 'replace')}' stands twice with certificate '{loser.entry.contents.path}', and with different "
        f"options: those of {holds.short} hold, and these do not",
        loser.line.location or loser.line.file.location,
        remedy="write the name once, with the options that are meant",
    )


def _chosen(store: CertificateStore, name: bytes) -> Choice:
    """What a name is answered with, a wildcard's by one that nothing else matches."""
    return store.find(b"any" + name[1:] if name.startswith(b"*.") else name) or ()


def lint_filters(store: CertificateStore, findings: Findings) -> None:
    """SNI filters of crt-lists (manual 5.1 crt-list) that their certificate is not valid for."""
    for one in store.served:
        for written in one.line.filters:
            name = written.lower()
            if name == "*" or name.startswith("!"):
                continue
            names = [known.decode("utf-8", "replace") for known in one.entry.contents.names]
            if name in names or "*." + name.partition(".")[2] in names:
                continue
            path = one.entry.contents.path
            message = f"the filter '{written}' names something that certificate '{path}' is not valid for"
            wildcard = next((known for known in names if known.startswith("*.") and name.endswith(known[1:])), None)
            if wildcard is not None:
                message += f" ('{wildcard}' stands for one label, not for several)"
            findings.add(
                "tls-filter-not-covered", f"{message}: clients that ask for it get this certificate and refuse it",
                _place_of(written, one.line.location or one.line.file.location),
                remedy=f"use a certificate for it; this one is valid for {_shown(names)}",
            )


def _place_of(word: str, line: Location) -> Location:
    at = line.text.find(word, line.column + line.width - 1)
    return line if at < 0 else replace(line, column=at + 1, width=len(word))


def _shown(names: Sequence[str], most: int = 4) -> str:
    listed = ", ".join(names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed or "no name"
