"""Linux capabilities over a change of user: `setcap` (management manual 13.1), capabilities(7).

The C library has no call for this that Python knows: capget(2), capset(2) and prctl(2) through ctypes.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

NUMBERS = {
    "cap_dac_override": 1,
    "cap_dac_read_search": 2,
    "cap_net_bind_service": 10,
    "cap_net_admin": 12,
    "cap_net_raw": 13,
    "cap_sys_chroot": 18,
    "cap_sys_admin": 21,
}
_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_SET_CHILD_SUBREAPER = 36


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def permitted() -> int:
    """The capabilities that this process may have, as bits.

    Raises:
        OSError: the system refuses to say.
    """
    sets = (_Set * 2)()
    _call("capget", ctypes.byref(_Header(_VERSION_3, 0)), sets)
    return int(sets[0].permitted) | int(sets[1].permitted) << 32


def bits(names: Iterable[str]) -> int:
    """Names to bits."""
    return sum(1 << NUMBERS[name] for name in set(names))


def names(mask: int) -> list[str]:
    """Bits to names, of those that have a name here."""
    return [name for name, number in NUMBERS.items() if mask >> number & 1]


def keep_over_setuid(keep: bool) -> None:
    """Whether setuid() leaves the permitted set alone. Raises OSError."""
    _call("prctl", _PR_SET_KEEPCAPS, int(keep), 0, 0, 0)


def reduce_to(mask: int, effective: int | None = None) -> None:
    """Have these capabilities and no others.

    Args:
        mask: what is permitted from now on.
        effective: those of them that are in effect; None for all.

    Raises:
        OSError: one of them is not permitted.
    """
    sets = (_Set * 2)()
    for index in range(2):
        sets[index].permitted = mask >> 32 * index & 0xFFFFFFFF
        sets[index].effective = (mask if effective is None else mask & effective) >> 32 * index & 0xFFFFFFFF
    _call("capset", ctypes.byref(_Header(_VERSION_3, 0)), sets)


def adopt_orphans() -> None:
    """Be the parent of all descendants whose own parent dies. Raises OSError."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
