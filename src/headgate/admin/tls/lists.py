"""Which certificates answer to which names, at run time: `show|add|del ssl crt-list`, `show ssl sni` (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from headgate.admin.context import Context, TlsLine, TlsSide
from headgate.admin.registry import CommandError
from headgate.admin.tls.texts import date
from headgate.base.diagnostics import ConfigError
from headgate.base.units import LONGEST_SPAN, UnitError, parse_time
from headgate.config.runtime_lines import read_crt_list_line
from headgate.tls.storage import LoadedLine, LoadedList
from headgate.tls.store import Served
from headgate.tls.transactions import CertificateText, text_of

# --- crt-lists -------------------------------------------------------------------------------------------------------


def _show_list(words: Sequence[str], side: TlsSide, _: Context) -> str:
    numbered = words[:1] == ["-n"]
    rest = words[1:] if numbered else words
    if not rest:
        return "\n".join(sorted(side.storage.lists))
    found = _list(rest[0], side, "didn't find the specified filename")
    return "\n".join([f"# {found.name}", *(_line_text(one, numbered=numbered) for one in found.lines)])


def _list(name: str, side: TlsSide, otherwise: str) -> LoadedList:
    found = side.storage.lists.get(name)
    if found is None:
        raise CommandError(otherwise)
    return found


def _line_text(one: LoadedLine, *, numbered: bool) -> str:
    line = one.line
    parts = [f"{one.entry.name}:{line.line}" if numbered else one.entry.name]
    if line.written:
        parts.append(f"[{line.written}]")
    return " ".join([*parts, *line.filters])


def _add(words: Sequence[str], side: TlsSide, context: Context) -> str:
    """`add ssl crt-list <list> <certificate>`, or with a payload that is a line of a crt-list."""
    if len(words) < 2 or not words[1].strip():
        raise CommandError("'add ssl crt-list' expects a filename and a certificate name")
    if len(words) > 2:
        raise CommandError("'add ssl crt-list' takes options and filters in a payload only: <certificate> [<options>] <filters>")
    name, written = words[0], words[1].strip()
    found = _list(name, side, f"Can't edit the crt-list: crt-list '{name}' does not exist!")
    _insert(found, written, _next_number(found), side)
    dots = sum(1 for line in side.lines if line.uses(name))
    return f"Inserting certificate '{written.split()[0]}' in crt-list '{name}'{'.' * dots}\nSuccess!"


def _next_number(found: LoadedList) -> int:
    return max((one.line.line for one in found.lines), default=0) + 1


def _insert(found: LoadedList, written: str, number: int, side: TlsSide) -> None:
    try:
        line = read_crt_list_line(side.config, written, found.name, number, side.storage.certificates)
        entry = side.storage.known(line.file)
    except ConfigError as error:
        raise CommandError(f"Can't edit the crt-list: {error.diagnostic.message}!") from None
    if entry is None:
        raise CommandError(f"Can't edit the crt-list: certificate '{line.file.path}' does not exist!")
    found.lines.append(LoadedLine(line, entry))
    try:
        side.relist(found.name)
    except ConfigError as error:
        found.lines.pop()
        side.relist(found.name)
        raise CommandError(f"Can't edit the crt-list: {error.diagnostic.message}!") from None


def _told_of_line(words: Sequence[str], side: TlsSide) -> Sequence[str]:
    """The line with its number, and the certificate: a worker that comes later may not know it yet."""
    if len(words) < 2 or words[0] not in side.storage.lists or not words[1].strip():
        return ("insert", "ssl", "crt-list", *words)
    number = _next_number(side.storage.lists[words[0]])
    name = _certificate_of(words[1].strip(), words[0], number, side)
    entry = side.storage.certificates.get(name)
    text = text_of(entry.contents) if entry is not None else CertificateText()
    return ("insert", "ssl", "crt-list", words[0], str(number), words[1], name, text.pem, text.issuer, text.ocsp, text.sctl)


def _certificate_of(written: str, listing: str, number: int, side: TlsSide) -> str:
    """What the certificate of a line is called in the storage: not always as it is written (`crt-base`, aliases)."""
    try:
        return read_crt_list_line(side.config, written, listing, number, side.storage.certificates).file.path
    except ConfigError:
        return ""  # refused here, where it is executed as well


def _inserted(words: Sequence[str], side: TlsSide, _: Context) -> str:
    """`insert ssl crt-list <list> <number> <line> <certificate> <its texts>`: what `add ssl crt-list` becomes everywhere."""
    if len(words) != 8:
        raise CommandError("'insert ssl crt-list' expects a list, a number, a line, a name and four texts")
    found = _list(words[0], side, f"crt-list '{words[0]}' does not exist!")
    certificate = words[3]
    if certificate and certificate not in side.storage.certificates:
        side.transactions.install_certificate(certificate, CertificateText(*words[4:]))
    _insert(found, words[2].strip(), int(words[1]), side)
    return ""


def _delete(words: Sequence[str], side: TlsSide, context: Context) -> str:
    """`del ssl crt-list <list> <certificate>[:<line>]`"""
    if len(words) < 2:
        raise CommandError("'del ssl crt-list' expects a filename and a certificate name")
    found = _list(words[0], side, f"Can't delete the entry: crt-list '{words[0]}' does not exist!")
    name, number = _chosen(words[1], found, side)
    users = [line.place for line in side.lines if line.uses(found.name) and _is_default(line, name, number)]
    if users:
        listed = "".join(f"\t- {place.partition('/')[2]}\n" for place in users)
        raise CommandError(
            f"Can't delete the entry: certificate '{name}' cannot be deleted, it is used as default certificate by the following"
            f" frontends:\n{listed}"
        )
    found.lines = [one for one in found.lines if not (one.entry.name == name and one.line.line == number)]
    side.relist(found.name)
    return f"Entry '{name}' deleted in crtlist '{found.name}'!"


def _is_default(line: TlsLine, name: str, number: int) -> bool:
    """Whether a bind line answers with this line of a list who asks for no name that it knows."""
    defaults = () if line.strict_sni else line.store.default or ()
    return any(one.entry.name == name and one.line.line == number for one in defaults)


def _chosen(written: str, found: LoadedList, side: TlsSide) -> tuple[str, int]:
    """The certificate's name and the line that is meant.

    Raises:
        CommandError: there is no such line, or more than one.
    """
    by_name: dict[str, list[int]] = {}
    for one in found.lines:
        by_name.setdefault(one.entry.name, []).append(one.line.line)
    name, colon, digits = written.rpartition(":")
    if not colon or written in by_name or written in side.storage.certificates:
        name, colon = written, ""
    if colon and not digits.isdecimal():
        raise CommandError(f"Can't delete the entry: wrong line number after colons in '{written}'!")
    numbers = by_name.get(name)
    if numbers is None:
        raise CommandError(f"Can't delete the entry: certificate '{name}' {_why_absent(name, found, side)}!")
    choice = ", ".join(map(str, numbers))
    hint = f"please specify a{' correct' if colon else ''} line number preceded by colons ({choice})!"
    if colon:
        number = int(digits) or (numbers[0] if len(numbers) == 1 else 0)  # 0: whichever it is
        if number in numbers:
            return name, number
        raise CommandError(
            f"Can't delete the entry: found a certificate '{name}' but the line number is incorrect, {hint}"
        )
    if len(numbers) > 1:
        raise CommandError(f"Can't delete the entry: found the certificate '{name}' in several entries, {hint}")
    return name, numbers[0]


def _why_absent(name: str, found: LoadedList, side: TlsSide) -> str:
    """What is said of a certificate that a list does not have."""
    if name in side.storage.certificates:
        return f"can't be found in crt-list '{found.name}'"
    return "is empty" if name in side.transactions.empty else "does not exist"


def _told_of_deletion(words: Sequence[str], side: TlsSide) -> Sequence[str]:
    if len(words) < 2 or words[0] not in side.storage.lists:
        return ("remove", "ssl", "crt-list", *words)
    try:
        name, number = _chosen(words[1], side.storage.lists[words[0]], side)
    except CommandError:
        return ("remove", "ssl", "crt-list", *words)
    return ("remove", "ssl", "crt-list", words[0], name, str(number))


def _removed(words: Sequence[str], side: TlsSide, _: Context) -> str:
    """`remove ssl crt-list <list> <certificate> <number>`: what `del ssl crt-list` becomes everywhere."""
    if len(words) != 3:
        raise CommandError("'remove ssl crt-list' expects a list, a certificate and a number")
    found = _list(words[0], side, f"crt-list '{words[0]}' does not exist!")
    number = int(words[2])
    found.lines = [one for one in found.lines if not (one.entry.name == words[1] and one.line.line == number)]
    side.relist(found.name)
    return ""


# --- names -----------------------------------------------------------------------------------------------------------

_SNI_HEADER = "# Frontend/Bind\tSNI\tNegative Filter\tType\tFilename\tNotAfter\tNotBefore"


def _show_names(words: Sequence[str], side: TlsSide, context: Context) -> str:
    """`show ssl sni [-f <frontend>] [-A] [-t <offset>]`"""
    frontend, expired, offset = _options(words)
    lines: Iterable[TlsLine] = side.lines
    if frontend is not None:
        lines = [line for line in lines if line.frontend == frontend]
        if not lines:
            raise CommandError(f"No such frontend with TLS: '{frontend}'.")
    latest = context.wall() + offset
    rows = [
        "\t".join(row)
        for line in lines
        for one, row in _rows(line)
        if not expired or one.entry.contents.not_after < latest
    ]
    return "\n".join([_SNI_HEADER, *rows])


def _options(words: Sequence[str]) -> tuple[str | None, bool, float]:
    frontend: str | None = None
    expired = False
    offset = 0.0
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "-A":
            expired = True
        elif word in ("-f", "-t") and rest:
            if word == "-f":
                frontend = rest.pop(0)
                continue
            try:
                offset = parse_time(rest.pop(0), "s", longest=LONGEST_SPAN)
            except UnitError as error:
                raise CommandError(f"'show ssl sni -t' expects an offset: {error}") from None
        else:
            raise CommandError("'show ssl sni' takes -f <frontend>, -A and -t <offset>")
    return frontend, expired, offset


def _rows(line: TlsLine) -> Iterator[tuple[Served, list[str]]]:
    """A row for each name of each certificate, then those for the default; with `strict-sni` only where the line names it so."""
    store = line.store
    for one in store.served:
        excluded = " ".join(f"!{name.decode('ascii', 'replace')}" for name in sorted(one.excluded))
        for name in one.names:
            yield one, _row(line, one, name.decode("utf-8", "replace"), excluded if name.startswith(b"*.") and excluded else "-")
    defaults = () if line.strict_sni else store.default or ()
    for one in (one for one in store.served if one.line.is_default or one in defaults):
        yield one, _row(line, one, "*", "-")


def _row(line: TlsLine, one: Served, name: str, excluded: str) -> list[str]:
    contents = one.entry.contents
    return [line.place, name, excluded, one.kind, one.entry.name, date(contents.not_after), date(contents.not_before)]


def _show_changes(_: Sequence[str], side: TlsSide, __: Context) -> str:
    """Our own: a line each: kind, whether a reload keeps it, Unix time, digest, name."""
    return "\n".join(side.changes)


HANDLERS = {
    "show ssl crt-list": _show_list,
    "add ssl crt-list": _add,
    "insert ssl crt-list": _inserted,
    "del ssl crt-list": _delete,
    "remove ssl crt-list": _removed,
    "show ssl sni": _show_names,
    "show ssl changes": _show_changes,
}
TELLERS = {"add ssl crt-list": _told_of_line, "del ssl crt-list": _told_of_deletion}
