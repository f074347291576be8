"""`unix-bind [prefix <prefix>] [mode <mode>] [user <user>] [uid <uid>] [group <group>] [gid <gid>]` (manual 3.1).

In the global section: what all unix sockets of bind lines have in common, which `resolve` puts beneath each line's own options.
"""

from __future__ import annotations

from headgate.config.cursor import Cursor
from headgate.config.drafts import BindDraft
from headgate.config.keywords.bind import PERMISSIONS
from headgate.config.keywords.line_options import store, text
from headgate.config.registry import KEYWORDS, Keyword, Scope, Status
from headgate.config.section_drafts import GlobalSection

_OPTIONS = {**PERMISSIONS, "prefix": store("prefix", text("a directory"))}


def _unix_bind(cursor: Cursor, section: GlobalSection) -> None:
    """Store the options as settings under `unix-bind`."""
    line = BindDraft(cursor.keyword.location)
    while cursor.more:
        word = cursor.next("an option")
        if word.text not in _OPTIONS:
            raise cursor.wrong(word, f"unknown option '{word.text}' of 'unix-bind'", allowed=tuple(_OPTIONS))
        _OPTIONS[word.text](cursor, line)
    section.settings.put("unix-bind", line.settings, cursor.keyword.location)


KEYWORDS.add(Keyword("unix-bind", frozenset({Scope.GLOBAL}), Status.IMPLEMENTED, _unix_bind))
