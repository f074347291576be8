"""Limits that the kernel sets to a process: descriptors (management manual 5) and memory (`-m`)."""

from __future__ import annotations

import resource

from headgate.base.diagnostics import config_error
from headgate.base.records import dataclass

#: Descriptors besides those of connections: logs, the event loop, standard streams, some in reserve.
_RESERVE = 32

#: What an unlimited number of descriptors is taken for: the kernel's own default ceiling (fs.nr_open).
_UNLIMITED = 1 << 20


@dataclass(frozen=True, slots=True)
class DescriptorBudget:
    """How many connections the process may carry, and how many descriptors that takes.

    Attributes:
        maxconn: connections, at least 1.
        descriptors: the soft limit that is in force now.
        warning: what the operator should know, or None.
    """

    maxconn: int
    descriptors: int
    warning: str | None = None


def raise_descriptor_limit(
    maxconn: int | None, fixed: int, ulimit_n: int | None = None, ceiling: int | None = None
) -> DescriptorBudget:
    """Raise the limit of open descriptors to what the configuration needs.

    A connection takes two: the client's and the server's.

    Args:
        maxconn: `maxconn` of the global section or `-n`; None: as many as the limit allows.
        fixed: listeners, checks and other descriptors that don't depend on connections.
        ulimit_n: `ulimit-n` of the global section.
        ceiling: `fd-hard-limit`: no more than this without `ulimit-n` or `maxconn`, whatever the system allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = _UNLIMITED
    overhead = fixed + _RESERVE
    if maxconn is None:
        # Without a limit on connections, the system's limit on descriptors decides; no more than it gives without privileges.
        limit = _set_limit(ulimit_n or min(hard, ceiling or _UNLIMITED), soft, hard)
        return DescriptorBudget(max(1, (limit - overhead) // 2), limit)
    wanted = ulimit_n or 2 * maxconn + overhead
    limit = _set_limit(wanted, soft, hard) if wanted > soft or ulimit_n else soft
    if limit >= wanted:
        return DescriptorBudget(maxconn, limit)
    return DescriptorBudget(
        maxconn,
        limit,
        f"cannot raise the limit of open files to {wanted}, it is {limit}: not all of maxconn {maxconn} can be used. "
        f"Raise it ('ulimit -n {wanted}', LimitNOFILE= in systemd) or set 'maxconn {max(1, (limit - overhead) // 2)}'",
    )


def _set_limit(wanted: int, soft: int, hard: int) -> int:
    """Set the soft limit as near to `wanted` as the system allows; what it is then."""
    for new in ((wanted, max(hard, wanted)), (min(wanted, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, new)
        except (OSError, ValueError):
            continue
        return new[0]
    return soft


def limit_memory(megabytes: int) -> None:
    """Limit the address space (`-m`).

    Raises:
        ConfigError: the system refuses.
    """
    size = megabytes << 20
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (OSError, ValueError) as error:
        raise config_error(f"'-m {megabytes}': the memory limit can't be set: {error}", None) from None
