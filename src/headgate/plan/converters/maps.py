"""Map converters (manual 7.3.1 "map"): `map_<match>[_<output>](file[,default])`.

Files are read once, when the configuration is compiled; from then on the list of a file is live (see `plan.references`). Exact
strings, prefixes and addresses are found by hashing; the other methods try their keys in the order of the list.
"""

from __future__ import annotations

from typing import Final

from headgate.base.diagnostics import Location
from headgate.plan.facts import Value
from headgate.plan.registry import Argument, converter
from headgate.plan.samples import Convert, Type
from headgate.plan.scope import Scope
from headgate.plan.views import OUTPUTS, View, map_view

#: Match methods, and what they take.
_METHODS: Final = {
    "str": Type.STR, "beg": Type.STR, "dir": Type.STR, "dom": Type.STR, "end": Type.STR, "sub": Type.STR, "reg": Type.STR,
    "regm": Type.STR, "int": Type.SINT, "ip": Type.ADDR,
}  # fmt: skip


def _look_up(view: View, otherwise: Value) -> Convert:
    """The converter: its index is in a cell that is set anew when the list has another one."""
    find = view.look

    def change() -> None:
        nonlocal find
        find = view.look

    view.watchers.append(change)
    if otherwise is None:
        return lambda value: find(value)
    return lambda value: otherwise if (found := find(value)) is None else found


def _register(name: str, method: str, output: str) -> None:
    kind = OUTPUTS[output]
    takes = _METHODS[method]

    @converter(name, takes=takes, result=kind.type, arguments=(Argument.FILE, Argument.STRING), required=1)
    def compile_(scope: Scope, file: tuple[str, Location], default: bytes | None) -> Convert:
        otherwise = None if default is None else kind.parse(default, Location("<default value>", 0))
        reference = scope.references.file(*file, scope.read, with_values=True, is_map=True)
        return _look_up(map_view(reference, method, output), otherwise)


_register("map", "str", "str")
for _method in _METHODS:
    _register(f"map_{_method}", _method, "str")
    for _output in ("int", "ip") if _method != "regm" else ():
        _register(f"map_{_method}_{_output}", _method, _output)
