"""`dataclass` as in the standard library, but three times cheaper to define and to make an instance of.

The standard one compiles six methods for each frozen class: of a start's time, most that the configuration model took. This one
compiles `__init__` alone and shares the others. What is lost is that assigning to a frozen instance fails at run time; the type
checker, which sees the standard decorator here, still refuses it. Arguments other than `frozen` and `slots` are passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from operator import attrgetter

    def dataclass(cls=None, /, *, frozen=False, slots=False, **options):
        """Make a class of its annotations; see the module."""
        if cls is None:
            return lambda decorated: dataclass(decorated, frozen=frozen, slots=slots, **options)
        own = set(vars(cls))
        if cls.__doc__ is None:
            cls.__doc__ = cls.__name__  # otherwise the signature is written out, which costs more than all the rest
        made = dataclasses.dataclass(cls, slots=slots, eq=False, repr=False, **options)
        if "__repr__" not in own:
            made.__repr__ = _repr
        if "__eq__" not in own:
            compared = [field.name for field in dataclasses.fields(made) if field.compare]
            values = attrgetter(*compared) if compared else _nothing
            made.__eq__ = _equality(values)
            if "__hash__" not in own:
                made.__hash__ = _hashing(values) if frozen else None
        return made

    def _nothing(instance):
        return ()

    def _equality(values):
        def __eq__(self, other):
            if other.__class__ is not self.__class__:
                return NotImplemented
            return values(self) == values(other)

        return __eq__

    def _hashing(values):
        def __hash__(self):
            return hash(values(self))

        return __hash__

    def _repr(self):
        shown = [f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr]
        return f"{self.__class__.__qualname__}({', '.join(shown)})"
