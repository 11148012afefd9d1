"""What is written is true: README's examples run, doctests hold, documented parameters are the signature's."""

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SOURCES = [p for package in ("recurrent", "viz") for p in sorted((ROOT / package).rglob("*.py"))]


def blocks():
    """Every python block of the README, and the line it starts in."""
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    return [
        (text.count("\n", 0, m.start()) + 2, m[1])
        for m in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)
    ]


def test_readme_examples_run(tmp_path, monkeypatch):
    """In order, in one namespace: a reader may go on from one example to the next."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    for line, code in blocks():
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(
                code, namespace, f"README line {line}", str(README), line
            )
            assert not doctest.DocTestRunner().run(test, clear_globs=False).failed, (
                f"README.md, line {line}"
            )
            namespace.update(test.globs)
        else:
            exec(compile("\n" * (line - 1) + code, str(README), "exec"), namespace)


def modules():
    for package in ("recurrent", "viz"):
        root = importlib.import_module(package)
        yield package
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not info.name.endswith("__main__"):
                yield info.name


@pytest.mark.parametrize("name", list(modules()))
def test_doctests(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert not doctest.testmod(
        module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    ).failed


def public(path):
    """Public functions and methods of a module, with the names a docstring may explain: parameters, fields, attributes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, parameters(node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = [f for f in node.body if isinstance(f, ast.FunctionDef)]
            fields = {a.target.id for a in node.body if isinstance(a, ast.AnnAssign)}
            fields |= {
                a.attr for f in methods for a in ast.walk(f) if isinstance(a, ast.Attribute)
            } | {f.name for f in methods}
            fields |= {
                a for f in methods if f.name in ("__init__", "__new__") for a in parameters(f)
            }
            bases = {getattr(b, "id", "") for b in node.bases}
            yield (
                node,
                fields if bases <= {"NamedTuple", ""} else None,
            )  # a subclass explains what it inherits too
            yield from ((f, parameters(f)) for f in methods if not f.name.startswith("_"))


def parameters(f):
    named = (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs, f.args.vararg, f.args.kwarg)
    return {a.arg for a in named if a is not None}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_documented_parameters_are_those_of_the_signature(path):
    """What a docstring explains by "`name`: ..." is there to be given."""
    for node, names in public(path):
        explained = set(re.findall(r"`(\w+)`(?: \([^)]*\))?:", ast.get_docstring(node) or ""))
        assert names is None or explained <= names, (
            f"{path.name}: {node.name} has no {', '.join(sorted(explained - names))}"
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_say_what_they_are(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path.name} has no docstring"


def test_engine_functions_are_documented_and_typed():
    """The fixed interface: each argument of an engine function is named in its docstring and has a type."""
    tree = ast.parse((ROOT / "recurrent" / "engine" / "engine.py").read_text(encoding="utf-8"))
    engine = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Engine")
    for f in engine.body:
        if isinstance(f, ast.FunctionDef) and f.name in ("init", "forward", "backward", "step"):
            doc = ast.get_docstring(f) or ""
            common = {
                "self",
                "params",
                "tape",
                "dtype",
                "record",
            }  # said once for the class, or the word itself
            for a in f.args.args:
                assert a.arg in common or re.search(rf"\b{a.arg}\b", doc), (
                    f"Engine.{f.name} does not document {a.arg}"
                )
                assert a.arg == "self" or a.annotation is not None, (
                    f"Engine.{f.name}: {a.arg} has no type"
                )
