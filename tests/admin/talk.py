"""A connection to the runtime API whose answers come as one text: for tests that are not about how they come."""

from __future__ import annotations

import asyncio

from headgate.admin.session import CliSession


class Talk(CliSession):
    """A `CliSession` that is asked line by line, without a loop."""

    def line(self, line: str) -> str:  # type: ignore[override]
        """The whole answer to one line."""
        return asyncio.run(self._all(line))

    async def _all(self, line: str) -> str:
        pieces = super().line(line)
        return "".join([piece async for piece in pieces])
