"""The direction of imports: HOUSE's floor plan, read from the source of both packages."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room imports rooms of earlier lines only; rooms on one line do not import each other.
FLOORS = (
    "checks graph progress schedules",
    "equations",
    "kernels cells initialisers",
    "engine optim losses",
    "layers data",
    "models",
    "training gradcheck warmup",
    "charlm conformance user_cells",
    "tasks __init__",
    "cli",
    "__main__",
)
FLOOR = {room: k for k, rooms in enumerate(FLOORS) for room in rooms.split()}


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules(package):
    return {module(path): path for path in files(package)}


@cache
def imports(path):
    """Modules that a file imports anywhere, in functions and under TYPE_CHECKING too; with what it takes from outside."""
    here, package = module(path), module(path).split(".")[0]
    parent = here.split(".") if path.name == "__init__.py" else here.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = parent[: len(parent) - node.level + 1] if node.level else []
            base = ".".join([*up, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in modules(package) else base)
    return found


def room(name):
    """The part of `recurrent` that a module belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", files("recurrent"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downwards(path):
    mine = room(module(path))
    for name in imports(path):
        if name.split(".")[0] == "recurrent" and room(name) != mine:
            theirs = room(name)
            assert FLOOR[theirs] < FLOOR[mine], (
                f"{module(path)} imports {name}: {theirs} is not below {mine}"
            )


@pytest.mark.parametrize("package", ["recurrent", "viz", "bench"])
def test_no_circle(package):
    """Depth-first search over the imports of one package; names the circle that it finds."""
    known, done, path = modules(package), set(), []

    def visit(name):
        if name in path:
            pytest.fail(" -> ".join([*path[path.index(name) :], name]))
        if name not in done:
            path.append(name)
            for other in sorted(imports(known[name]) & known.keys()):
                if other != name:
                    visit(other)
            done.add(path.pop())

    for name in known:
        visit(name)


@pytest.mark.parametrize(("name", "room"), [("llvmlite", "kernels.codegen"), ("viz", "cli")])
def test_one_room_imports_it(name, room):
    using = {
        module(path)
        for path in files("recurrent")
        if any(other.split(".")[0] == name for other in imports(path))
    }
    assert using
    assert all(other.startswith(f"recurrent.{room}.") for other in using), using


@pytest.mark.parametrize(("package", "most"), [("recurrent", 26), ("viz", 10), ("bench", 9)])
def test_few_names_at_the_top(package, most):
    names = [p.name for p in (ROOT / package).iterdir() if p.name != "__pycache__"]
    assert len(names) <= most, sorted(names)
