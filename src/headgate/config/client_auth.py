"""Errors of client certificates that a bind line forgives (manual 5.1 ca-ignore-err, crt-ignore-err): see `tls_options`."""

from __future__ import annotations

from headgate.base.records import dataclass


@dataclass(frozen=True, slots=True)
class IgnoredErrors:
    """Numbers of verification errors (see `base.verify_errors`), or all of them."""

    numbers: frozenset[int] = frozenset()
    everything: bool = False

    def covers(self, number: int) -> bool:
        """Whether this error is ignored."""
        return self.everything or number in self.numbers

    def __str__(self) -> str:
        return "all" if self.everything else ",".join([str(one) for one in sorted(self.numbers)])


NOTHING_IGNORED = IgnoredErrors()
