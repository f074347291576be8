"""`dataclass` and `field` as in the standard library, but ten times cheaper to define.

The standard decorator compiles six methods for each frozen class: with more than a hundred classes, a sixth of a start's time.
This one compiles `__init__` alone, when the first instance is made (most classes get none in one start), shares the other
methods and makes `dataclasses.Field` objects when `fields` or `replace` ask for them. What is lost is that assigning to a frozen
instance fails at run time; the type checker, which sees the standard decorator here, still refuses it. Only what the project uses
is there: `frozen`, `slots` (which must be true), no inheritance of fields; of `field` its defaults, `repr` and `compare`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
else:
    from operator import attrgetter

    _MISSING = object()

    class field:
        """What is to be known of one field beside its annotation."""

        __slots__ = ("compare", "default", "default_factory", "repr")

        def __init__(self, *, default=_MISSING, default_factory=_MISSING, repr=True, compare=True):
            self.default = default
            self.default_factory = default_factory
            self.repr = repr
            self.compare = compare

    def dataclass(cls=None, /, *, frozen=False, slots=False):
        """Make a class of its annotations; see the module."""
        if cls is None:
            return lambda decorated: dataclass(decorated, frozen=frozen, slots=slots)
        if not slots:
            raise TypeError(f"{cls.__name__}: say slots=True")
        own = dict(vars(cls))
        fields = {name: _own_field(own.pop(name, _MISSING)) for name in own.get("__annotations__", ())}
        methods = _methods(own, fields, frozen)
        if "__mypyc_attrs__" in own:  # compiled: it has its slots, and the decorator is there to change it
            for name, value in methods.items():
                setattr(cls, name, value)
            return cls
        for name in ("__dict__", "__weakref__"):
            own.pop(name, None)
        own["__slots__"] = tuple(fields)
        own["__qualname__"] = cls.__qualname__
        # Slots can't be added to a class that exists: it is made anew, as the standard decorator does.
        return type(cls)(cls.__name__, cls.__bases__, own | methods)

    def _methods(own, fields, frozen):
        made = {"__match_args__": tuple(fields), "__dataclass_fields__": _Fields(fields), "__init__": _initialiser(fields)}
        if "__repr__" not in own:
            made["__repr__"] = _repr
        if "__eq__" not in own:
            compared = [name for name, one in fields.items() if one.compare]
            values = attrgetter(*compared) if compared else _nothing
            made["__eq__"] = _equality(values)
            if "__hash__" not in own:
                made["__hash__"] = _hashing(values) if frozen else None
        return made

    def _own_field(default):
        if type(default).__module__ == "dataclasses":
            raise TypeError("take `field` from here")
        return default if isinstance(default, field) else field(default=default)

    class _Fields:
        """`__dataclass_fields__`, by which the standard library knows what it has before it: made when it is asked for."""

        __slots__ = ("_fields", "_made")

        def __init__(self, fields):
            self._fields = fields
            self._made = None

        def __get__(self, instance, owner):
            if self._made is None:
                self._made = _standard_fields(owner, self._fields)
            return self._made

    def _standard_fields(owner, fields):
        # Loading it costs more than what `headgate -cc` has to do.
        import dataclasses

        class Described:
            __annotations__ = owner.__annotations__

        for name, one in fields.items():
            shown = {"repr": one.repr, "compare": one.compare}
            if one.default is not _MISSING:
                shown["default"] = one.default
            if one.default_factory is not _MISSING:
                shown["default_factory"] = one.default_factory
            setattr(Described, name, dataclasses.field(**shown))
        return dataclasses.dataclass(Described, init=False, repr=False, eq=False).__dataclass_fields__

    def _initialiser(fields):
        """An `__init__` that takes the place of itself with a compiled one when it is called for the first time."""

        def __init__(self, *arguments, **named):
            cls = type(self)
            cls.__init__ = _compile(fields, cls.__qualname__)
            cls.__init__(self, *arguments, **named)

        return __init__

    def _compile(fields, owner):
        names = {"_MISSING": _MISSING}
        parameters = []
        lines = []
        for name, one in fields.items():
            value = name
            if one.default_factory is not _MISSING:
                names[f"_make_{name}"] = one.default_factory
                value = f"_make_{name}() if {name} is _MISSING else {name}"
                parameters.append(f"{name}=_MISSING")
            elif one.default is not _MISSING:
                names[f"_default_{name}"] = one.default
                parameters.append(f"{name}=_default_{name}")
            else:
                parameters.append(name)
            lines.append(f" self.{name} = {value}\n")
        exec(f"def __init__({', '.join(('self', *parameters))}):\n{''.join(lines) or ' pass'}", names)
        made = names["__init__"]
        made.__qualname__ = f"{owner}.__init__"
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
        shown = [f"{name}={getattr(self, name)!r}" for name, one in _declared(self) if one.repr]
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    def _declared(instance):
        return type(instance).__dict__["__dataclass_fields__"]._fields.items()
