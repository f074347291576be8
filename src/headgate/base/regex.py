"""`regex`: a regular expression that is compiled when it is first used.

Of the configuration language's forty expressions a small file uses few, and to compile one takes as long as to import a small
module: three hundredths of a start in all. For expressions of the hot path take `re.compile`: they are used in any case.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from re import compile as regex
else:

    class regex:
        """What `re.compile` gives, later. Its methods become attributes of this object when they are first asked for."""

        def __init__(self, text, flags=0):
            self._text = text
            self._flags = flags

        def __getattr__(self, name):
            # `re` keeps what it has compiled: the second method of the same expression costs nothing.
            found = getattr(re.compile(self._text, self._flags), name)
            setattr(self, name, found)
            return found


__all__ = ["regex"]
