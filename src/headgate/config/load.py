"""Reads a whole configuration: files -> lines -> conditional blocks -> sections -> keyword rows -> drafts -> `resolve`.

Each line's error is caught once and reading goes on, so that one run shows all errors. Called by `cli` and by `app` on reload.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import replace

import headgate.config.keywords  # noqa: F401  (fills KEYWORDS)
from headgate.base.diagnostics import ConfigError, Report, Severity, config_error
from headgate.config.conditionals import Blocks
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ConfigDraft
from headgate.config.environment import define_variables, drop_format_variables
from headgate.config.known import complaint, stands_somewhere
from headgate.config.log_options import LogTarget
from headgate.config.model import Config
from headgate.config.predicates import BuildFacts
from headgate.config.registry import KEYWORDS, Keyword, Scope, Status
from headgate.config.resolve import resolve
from headgate.config.section_drafts import PathPolicy
from headgate.config.sections import SECTIONS, Opening, OpenSection
from headgate.config.source import find_files, read_lines
from headgate.config.words import split_line

#: Errors beyond this many are not looked for: a file that isn't a configuration has one on each line.
MOST_ERRORS = 200


def load(
    paths: Sequence[str], environment: MutableMapping[str, str], facts: BuildFacts, report: Report
) -> Config | None:
    """Read configuration files.

    Args:
        paths: the `-f` arguments: files and directories, in order.
        environment: variables; `setenv` and its like change it, and the variables of 2.3 are added.
        facts: what conditions may ask about this program.
        report: where errors and warnings go.

    Returns:
        The resolved configuration, or None when there is an error.
    """
    define_variables(environment, facts.version)
    try:
        drafts = _Loader(environment, facts, report).read(paths)
    finally:
        drop_format_variables(environment)
    config = resolve(drafts, report)
    report.drop_repeated()
    return None if report.alerts else config


class _TooManyErrors(Exception):
    """Reading stops."""


class _Loader:
    """Reads all files into one draft."""

    def __init__(self, environment: MutableMapping[str, str], facts: BuildFacts, report: Report) -> None:
        self.environment = environment
        self.report = report
        self.drafts = ConfigDraft()
        self.paths = PathPolicy()
        self.blocks = Blocks(facts, environment)
        self.section: OpenSection | None = None
        self.statements = 0
        self.errors = 0

    def read(self, paths: Sequence[str]) -> ConfigDraft:
        try:
            for path in paths:
                self._read_argument(path)
        except _TooManyErrors:
            self.report.alert(f"more than {MOST_ERRORS} errors: the rest was not read")
        if not self.statements and not self.errors:
            names = ", ".join(f"'{path}'" for path in paths)
            self.report.alert(f"no configuration was found: {names} is empty", remedy="at least one section must be there")
        _name_hosts_in_logs(self.drafts)
        return self.drafts

    def _read_argument(self, path: str) -> None:
        """Read one `-f` argument: a file, or the files of a directory."""
        try:
            for file in find_files([path]):
                self._read_file(file)
        except ConfigError as error:
            self._complain(error)

    def _read_file(self, file: str) -> None:
        self.drafts.start_paths(file, self.paths.base(file))
        try:
            for number, text in read_lines(file):
                self._read_line(text, file, number)
        except ConfigError as problem:
            self._complain(problem)
        self._close_section()
        for unclosed in self.blocks.end_of_file():
            self._complain(unclosed)

    def _complain(self, error: ConfigError) -> None:
        self.report.add(error.diagnostic)
        self.errors += 1
        if self.errors > MOST_ERRORS:
            raise _TooManyErrors

    def _read_line(self, text: str, file: str, number: int) -> None:
        start = text.lstrip(" \t")
        if not start or start[0] == "#":
            return
        if self.blocks.skipping and start[0] != ".":
            return
        section = self.section.name if self.section is not None else ""
        try:
            words = split_line(text, file, number, self.environment, section)
            if not words:
                return
            self.statements += 1
            if words[0].text.startswith(".") and self.blocks.directive(words, self.report):
                return
            if not self.blocks.skipping:
                self._statement(words, file)
        except ConfigError as error:
            self._complain(error)

    def _statement(self, words: list[Word], file: str) -> None:
        row = SECTIONS.get(words[0].text)
        if row is not None:
            self._close_section()
            self._open_section(words, file)
        elif self.section is None:
            self._outside(words[0])
        elif not self.section.skip:
            self._keyword(words, self.section)

    def _outside(self, word: Word) -> None:
        """A statement before the first section of a file: said once, then passed over up to the next section."""
        self.section = OpenSection(Scope.GLOBAL, "", None, skip=True)
        if not stands_somewhere(word.text):
            raise config_error(f"unknown section '{word.text}'", word.location, allowed=tuple(SECTIONS), written=word.text)
        remedy = "each file must begin with a section, such as 'global' or 'frontend'"
        raise config_error(f"'{word.text}' stands before the first section of the file", word.location, remedy=remedy)

    def _open_section(self, words: list[Word], file: str) -> None:
        keyword = words[0]
        row = SECTIONS[keyword.text]
        self.section = OpenSection(row.scope, "", None, skip=True)
        if row.open is None:
            if row.removed:
                raise config_error(f"there are no '{keyword.text}' sections any more", keyword.location, remedy=row.removed)
            raise config_error(f"section '{keyword.text}' is known but not yet supported", keyword.location)
        opening = Opening(self.drafts, self.environment, self.report, file, self.paths)
        self.section = row.open(Cursor(words, self.report, 1), opening)

    def _close_section(self) -> None:
        section, self.section = self.section, None
        if section is not None and section.close is not None:
            section.close(self.report)

    def _keyword(self, words: list[Word], section: OpenSection) -> None:
        prefix = ""
        if words[0].text in ("no", "default") and len(words) > 1:
            prefix = words[0].text
            words = words[1:]
        found = KEYWORDS.find(section.scope, [word.text for word in words[:4]])
        if found is None:
            raise complaint(section.scope, words)
        row, count = found
        if prefix and not row.negatable:
            raise config_error(f"'{row.name}' can't be prefixed with '{prefix}'", words[0].location)
        cursor = Cursor(words, self.report, count, prefix)
        _RUN[row.status](row, cursor, section)


def _implemented(row: Keyword, cursor: Cursor, section: OpenSection) -> None:
    assert row.parse is not None
    row.parse(cursor, section.draft)


def _without_effect(row: Keyword, cursor: Cursor, section: OpenSection) -> None:
    if row.parse is not None:
        row.parse(cursor, section.draft)
    cursor.report.note(Severity.DIAG, f"'{row.name}' has no effect here: {row.note}", cursor.keyword.location)


def _unsupported(row: Keyword, cursor: Cursor, section: OpenSection) -> None:
    raise config_error(f"'{row.name}' is known but not yet supported", cursor.keyword.location, remedy=row.note or None)


def _removed(row: Keyword, cursor: Cursor, section: OpenSection) -> None:
    if row.parse is None:
        raise config_error(f"'{row.name}' was removed by HAProxy", cursor.keyword.location, remedy=row.note or None)
    row.parse(cursor, section.draft)


_RUN = {
    Status.IMPLEMENTED: _implemented,
    Status.NO_EFFECT: _without_effect,
    Status.UNSUPPORTED: _unsupported,
    Status.REMOVED: _removed,
}


def _name_hosts_in_logs(drafts: ConfigDraft) -> None:
    """`log-send-hostname` turns the default format `local` into `rfc3164`, which has the host's name (4.2 "log")."""
    if not drafts.global_.settings.is_on("log-send-hostname"):
        return

    def named(targets: list[LogTarget]) -> list[LogTarget]:
        return [replace(target, format="rfc3164") if target.format_by_default else target for target in targets]

    drafts.global_.log_targets = named(drafts.global_.log_targets)
    for proxy in (*drafts.proxies, *drafts.defaults):
        proxy.log_targets = named(proxy.log_targets)
