"""What has to be said in the source for the compiled form of it (see `setup.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar


def slots_of(cls: type) -> list[str]:
    """Names of the attributes that instances of a slotted class have; a compiled class knows them by another name."""
    return [name for kind in cls.__mro__ for name in vars(kind).get("__slots__") or vars(kind).get("__mypyc_attrs__") or ()]


_Method = TypeVar("_Method", bound=Callable[..., Any])

#: Qualified names of all methods that may be wrapped.
traceables: set[str] = set()


def traceable(method: _Method) -> _Method:
    """Mark a method that `app.tracing` wraps while a trace source is awake.

    A compiled class calls its own methods without looking them up: a wrapper that is put into the class would never be called. A
    decorated method is looked up there too, but can't be one that overrides another.
    """
    traceables.add(method.__qualname__)
    return method
