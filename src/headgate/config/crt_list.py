"""A crt-list file (manual 5.1 "crt-list"): `<crtfile> [\\[<sslbindconf> ...\\]] [[!]<snifilter> ...]` on each line.

Text to drafts; files are not opened here. The runtime API reads the lines of `add ssl crt-list` with it too.
"""

from __future__ import annotations

from collections.abc import Iterable

from headgate.base.diagnostics import ConfigError, Location, Report, config_error
from headgate.base.regex import regex
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import CertificateDraft
from headgate.config.keywords.line_options import read_options
from headgate.config.registry import Scope

#: A file, up to a bracket or a blank; a filter; an option, or the bracket behind the last one.
_FILE = regex(r"[^ \t\[]+|\S+")
_WORD = regex(r"[^ \t]+")
_IN_BRACKETS = regex(r"[^ \t\]]+|\]")


def read_crt_list(lines: Iterable[tuple[int, str]], file: str, report: Report) -> list[CertificateDraft]:
    """All lines of a crt-list; wrong ones are reported and left out.

    Args:
        lines: with their numbers.
        file: its name, for places.
        report: where errors and warnings go.
    """
    found = []
    for number, text in lines:
        try:
            draft = parse_crt_list_line(text, file, number, report)
        except ConfigError as error:
            report.add(error.diagnostic)
            continue
        if draft is not None:
            found.append(draft)
    return found


def parse_crt_list_line(text: str, file: str, number: int, report: Report) -> CertificateDraft | None:
    """One line; None for an empty one or a comment.

    Raises:
        ConfigError: an unknown option, a bracket that is not closed, or a filter that can't match.
    """
    if not text.strip() or text.lstrip().startswith("#"):
        return None
    path = _FILE.search(text)
    assert path is not None
    draft = CertificateDraft(path[0], _place(path.start(), path[0], text, file, number), line=number)
    rest = path.end()
    opening = _WORD.search(text, rest)
    if opening is not None and opening[0].startswith("["):
        rest = _options(draft, text, opening.start(), file, number, report)
    filters = []
    for match in _WORD.finditer(text, rest):
        place = _place(match.start(), match[0], text, file, number)
        if match[0].startswith("!*"):
            report.warn(f"filter '{match[0]}' is ignored: only names can be excluded, not wildcards", place)
        elif "[" in match[0] or "]" in match[0]:
            raise config_error("options in brackets stand between the file and the filters", place)
        elif match[0] == "!":
            report.warn("a '!' without a name excludes nothing", place, remedy="leave it out")
        else:
            if "*" in match[0] and match[0] != "*" and (not match[0].startswith("*.") or "*" in match[0][1:]):
                message = f"filter '{match[0]}' can't match: a wildcard stands for the first label only"
                report.warn(message, place, remedy="as in *.example.org")
            filters.append(match[0])
    draft.filters = tuple(filters)
    draft.is_default = "*" in filters
    if any(name.startswith("!") for name in filters) and not any(name.startswith("*.") for name in filters):
        report.warn("negative filters without a wildcard on the same line have no effect", draft.location)
    return draft


def _options(draft: CertificateDraft, text: str, start: int, file: str, number: int, report: Report) -> int:
    """Read what stands in brackets from `start` on; answers the position behind them."""
    words = [Word("crt-list", draft.location)]
    for match in _IN_BRACKETS.finditer(text, start + 1):
        if match[0] == "]":
            draft.written = text[start + 1 : match.start()].strip()
            if len(words) > 1:
                read_options(Cursor(words, report, 1), Scope.CRT_LIST, draft)
            if "crt" in draft.settings:
                raise config_error("'crt' can't stand in a crt-list: the line begins with the file", draft.settings.place("crt"))
            return match.end()
        words.append(Word(match[0], _place(match.start(), match[0], text, file, number)))
    raise config_error("'[' without ']'", _place(start, "[", text, file, number))


def _place(start: int, word: str, text: str, file: str, number: int) -> Location:
    return Location(file, number, start + 1, len(word), text)
