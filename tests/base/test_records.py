"""The cheap `dataclass` behaves as the standard one does, but for the guard against assignment."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from headgate.base.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Point:
    """A place."""

    x: int
    y: int = 0
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)
    items: list[int] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class Other:
    x: int
    y: int = 0


@dataclass(slots=True)
class Draft:
    name: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """No fields."""


@dataclass(frozen=True, slots=True)
class Own:
    x: int

    def __repr__(self) -> str:
        return "own"

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


def test_defaults_and_slots() -> None:
    point = Point(1)
    assert (point.x, point.y, point.items) == (1, 0, [])
    assert point.items is not Point(1).items
    with pytest.raises(AttributeError):
        point.other = 1  # type: ignore[attr-defined]


def test_equality_looks_at_class_and_compared_fields() -> None:
    assert Point(1, 2) == Point(1, 2, note="x")
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 0) != Other(1, 0)
    assert Nothing() == Nothing()
    assert Point(1) != 1


def test_frozen_ones_are_hashable_and_others_not() -> None:
    assert hash(Point(1, 2)) == hash(Point(1, 2, note="x"))
    assert len({Nothing(), Nothing()}) == 1
    with pytest.raises(TypeError):
        hash(Draft("a"))


def test_repr_leaves_secrets_out() -> None:
    assert repr(Point(1, 2, secret="s3cret")) == "Point(x=1, y=2, note='', items=[])"
    assert repr(Nothing()) == "Nothing()"


def test_methods_of_the_class_win() -> None:
    assert repr(Own(1)) == "own"
    assert Own(1) == Own(2)


def test_tools_of_the_standard_library_work() -> None:
    point = Point(1, 2)
    assert dataclasses.replace(point, y=5) == Point(1, 5)
    assert [one.name for one in dataclasses.fields(Other)] == ["x", "y"]
    assert pickle.loads(pickle.dumps(point)) == point
    match Other(1, 2):
        case Other(x, y):
            assert (x, y) == (1, 2)


def test_the_standard_field_is_refused() -> None:
    with pytest.raises(TypeError, match="field"):

        @dataclass(slots=True)
        class Wrong:
            items: list[int] = dataclasses.field(default_factory=list)


def test_the_first_instance_is_as_good_as_the_next() -> None:
    @dataclass(frozen=True, slots=True)
    class Fresh:
        x: int
        y: int = 2

    with pytest.raises(TypeError, match=r"Fresh\.__init__.*'z'"):
        Fresh(1, z=3)  # type: ignore[call-arg]
    assert (Fresh(1).y, Fresh(1, y=3).y, Fresh(x=4).x) == (2, 3, 4)
    shown = dataclasses.fields(Point)
    assert [(one.repr, one.compare) for one in shown] == [(True, True), (True, True), (False, True), (True, False), (True, False)]
    assert shown[4].default_factory is list
