"""Imports run in one direction, without circles, and the top level of each package is small."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A part imports parts of earlier lines only; parts on one line do not import each other.
LEVELS = (
    "checks graph progress",
    "schedules equations",
    "kernels cells initialisers",
    "engine optim",
    "losses layers data",
    "models metrics",
    "training gradcheck warmup interchange",
    "charlm conformance user_cells sklearn",
    "tasks __init__",
    "cli",
    "__main__",
)
LEVEL = {part: k for k, parts in enumerate(LEVELS) for part in parts.split()}


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
    """Return the names of all modules that a file imports.

    Imports inside functions and under TYPE_CHECKING count too.
    """
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


def part(name):
    """Return the part of `recurrent` that a module belongs to."""
    return [*name.split("."), "__init__"][1]


@pytest.mark.parametrize("path", files("recurrent"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downwards(path):
    importing = part(module(path))
    for name in imports(path):
        if name.split(".")[0] == "recurrent" and part(name) != importing:
            assert LEVEL[part(name)] < LEVEL[importing], (
                f"{module(path)} imports {name}: {part(name)} is not below {importing}"
            )


@pytest.mark.parametrize("package", ["recurrent", "viz", "bench"])
def test_no_circle(package):
    """Search the imports of one package depth first; the failure names the circle."""
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


# `explain` of an estimator returns a page of `viz`.
@pytest.mark.parametrize(
    ("name", "where"), [("llvmlite", ["kernels.codegen"]), ("viz", ["cli", "sklearn"])]
)
def test_few_parts_import_it(name, where):
    using = {
        module(path)
        for path in files("recurrent")
        if any(other.split(".")[0] == name for other in imports(path))
    }
    assert using
    folders = tuple(f"recurrent.{one}." for one in where)
    assert all(other.startswith(folders) for other in using), using


# 26 of the plan of the tree, `interchange`: models from and to other programs, and `sklearn`.
@pytest.mark.parametrize(("package", "most"), [("recurrent", 28), ("viz", 10), ("bench", 10)])
def test_few_names_at_the_top(package, most):
    names = [p.name for p in (ROOT / package).iterdir() if p.name != "__pycache__"]
    assert len(names) <= most, sorted(names)
