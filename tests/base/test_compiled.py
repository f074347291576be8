"""The modules that `setup.py` compiles: mypyc takes them as they are, and none has what it would take and get wrong."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

TOP = pathlib.Path(__file__).parents[2]
TRANSLATE = "import runpy, sys; runpy.run_path('setup.py')['extensions'](sys.argv[1])"


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("headgate_setup", TOP / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SOURCES = TOP / "src"
    return module


def test_mypyc_translates_them(setup: ModuleType, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRANSLATE, str(tmp_path)], cwd=TOP, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("__native_headgate___*.c"))) == len(setup.modules())


def classes(paths: list[str]) -> dict[str, tuple[str, ast.ClassDef]]:
    return {
        node.name: (path, node)
        for path in paths
        for node in ast.walk(ast.parse(pathlib.Path(path).read_text()))
        if isinstance(node, ast.ClassDef)
    }


def bases(name: str, known: dict[str, tuple[str, ast.ClassDef]]) -> Iterator[str]:
    """Those of a class, and theirs."""
    for base in known[name][1].bases:
        if isinstance(base, ast.Name):
            yield base.id
            if base.id in known:
                yield from bases(base.id, known)


def slots(node: ast.ClassDef) -> set[str]:
    for part in node.body:
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name) and part.targets[0].id == "__slots__":
            return {one.value for one in ast.walk(part.value) if isinstance(one, ast.Constant)}
    return set()


def properties(node: ast.ClassDef) -> set[str]:
    functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    return {one.name for one in functions if any(ast.unparse(decorator) == "property" for decorator in one.decorator_list)}


def test_no_property_takes_the_place_of_an_attribute(setup: ModuleType) -> None:
    """Compiled code that knows the class above reads the attribute where it lies."""
    known = classes(setup.modules())
    assert len(known) > 200
    for name, (path, node) in known.items():
        for base in bases(name, known):
            if base in known:
                assert not properties(node) & slots(known[base][1]), (path, name, base)


def test_families_are_compiled_together(setup: ModuleType) -> None:
    """An interpreted class can't extend a compiled one; protocols are no classes to it."""
    known = classes(setup.modules())
    compiled = {name for name, (_, node) in known.items() if "Protocol" not in set(bases(name, known))}
    others = [str(path) for path in (TOP / "src").rglob("*.py") if str(path) not in setup.modules()]
    for name, (path, node) in classes(others).items():
        extended = {base.id for base in node.bases if isinstance(base, ast.Name)} & compiled
        # Some names are in use twice: what counts is the one that the module imports.
        imported = pathlib.Path(path).read_text()
        for base in extended:
            module = str(pathlib.Path(known[base][0]).relative_to(TOP / "src").with_suffix("")).replace("/", ".")
            assert f"from {module} import" not in imported, (path, name, base)


def assigned(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Names that a module gives a value, with the statement."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Name):
                    yield part.id, node


def is_final(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).startswith("Final")


def test_constants_are_final(setup: ModuleType) -> None:
    """Compiled code has these at hand; any other name of a module is looked up in its dictionary each time."""
    found = 0
    for path in setup.modules():
        tree = ast.parse(pathlib.Path(path).read_text())
        changed = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
        for name, node in assigned(tree):
            if name.isupper() and not name.startswith("__") and name not in changed and len(name) > 2:  # T, _T: types
                # What is read once, when a module is loaded, may come in pairs.
                pairs = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
                assert is_final(node) or pairs, (path, name)
                found += 1
    assert found > 400


#: Calls that may be made twice.
PURE = frozenset({"len", "min", "max", "int", "find", "rfind", "index", "start", "end", "split_target"})


def called(part: ast.expr | None) -> set[str]:
    """Names of the functions and methods that an expression calls."""
    calls = [node.func for node in ast.walk(part) if isinstance(node, ast.Call)] if part is not None else []
    return {ast.unparse(one).rpartition(".")[2] for one in calls}


def test_bounds_of_slices_do_nothing(setup: ModuleType) -> None:
    """Compiled code works out the bounds of a bytearray's or a memoryview's slice twice (mypyc 2.4)."""
    found = 0
    for path in setup.modules():
        for node in ast.walk(ast.parse(pathlib.Path(path).read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load):
                bounds = called(node.slice.lower) | called(node.slice.upper)
                assert bounds <= PURE, (path, node.lineno, bounds)
                found += 1
    assert found > 100
