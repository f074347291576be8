"""`-dC`: the configuration as it was understood: words unquoted, variables expanded, comments gone, lines indented anew.

Lines inside conditional blocks are shown with their `.if` and `.endif`, whether they count or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from headgate.base.diagnostics import ConfigError
from headgate.config.environment import define_variables
from headgate.config.sections import SECTIONS
from headgate.config.source import find_files, read_lines
from headgate.config.words import quote_word, split_line


def dump_configuration(paths: Sequence[str], environment: Mapping[str, str], version: str) -> Iterator[str]:
    """The lines of a dump, without line ends.

    Args:
        paths: files and directories, as behind `-f`.
        environment: after loading, so that `setenv` counts.
        version: for the variables that the language defines.

    Raises:
        ConfigError: a file can't be read.
    """
    variables = dict(environment)
    define_variables(variables, version)
    for file in find_files(paths):
        yield f"# {file}"
        section = ""
        for number, text in read_lines(file):
            try:
                words = split_line(text, file, number, variables, section)
            except ConfigError:
                # The error itself was reported by the loader; the dump shows what stands there.
                yield f"\t{text.strip()}"
                continue
            if not words:
                continue
            is_section = words[0].text in SECTIONS
            if is_section:
                section = " ".join(word.text for word in words[:2])
            yield ("" if is_section else "\t") + " ".join(quote_word(word.text) for word in words)
