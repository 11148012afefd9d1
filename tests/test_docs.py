"""README's examples run, doctests pass, and docstrings document the parameters of the signature."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import is_typeddict

import pytest
from support.public_names import documented

from recurrent import Engine

DOCUMENTED = documented()
ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SOURCES = [p for package in ("recurrent", "viz") for p in sorted((ROOT / package).rglob("*.py"))]


def blocks():
    """Return the line and the text of every python block of the README."""
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    return [
        (text.count("\n", 0, m.start()) + 2, m[1])
        for m in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)
    ]


def test_readme_examples_run(tmp_path, monkeypatch):
    """All blocks share one namespace, in order, so that an example may use earlier ones."""
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
    """Yield the public functions, classes and methods of a module.

    With each comes the set of names that its docstring may explain: parameters, fields, attributes.
    """
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
            # A subclass may explain inherited names too.
            yield node, fields if bases <= {"NamedTuple", ""} else None
            yield from ((f, parameters(f)) for f in methods if not f.name.startswith("_"))


def parameters(f):
    a = f.args
    named = (*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg)
    return [a.arg for a in named if a is not None and a.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_documented_parameters_are_those_of_the_signature(path):
    """Both in a Parameters section and where a sentence explains "`name`: ..."."""
    for node, names in public(path):
        doc = ast.get_docstring(node) or ""
        explained = set(re.findall(r"`(\w+)`(?: \([^)]*\))?:", doc))
        assert names is None or explained <= set(names), (
            f"{path.name}: {node.name} has no {', '.join(sorted(explained - set(names)))}"
        )
        if isinstance(node, ast.FunctionDef) and (listed := [name for name, _ in entries(doc)]):
            assert listed == parameters(node), f"{path.name}: {node.name} documents {listed}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_have_docstrings(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.M)


def entries(doc):
    """Yield (name without stars, type and description) of each parameter in a docstring."""
    _, *rest = HEADING.split(doc)
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    text = sections.get("Parameters", sections.get("Attributes", ""))
    for names, meaning in re.findall(r"^(\S.*?) *(?:: (.*(?:\n(?: .*|$))*))?$", text, re.M):
        yield from ((name.strip("* "), meaning) for name in names.split(","))


def arguments(value):
    """Names in the signature of a function or of a class's constructor, without self and cls."""
    if is_typeddict(value):
        return list(value.__annotations__)
    try:
        names = list(inspect.signature(value).parameters)
    except ValueError:  # an exception with the constructor of its base class
        return []
    return [name for name in names if name not in ("self", "cls")]


def flaw(value):
    """Return the flaw of a public docstring, or None."""
    doc = inspect.getdoc(value) or ""
    summary, *rest = doc.splitlines() or [""]
    if not summary.endswith((".", "?", "!")) or (rest and rest[0]):
        return "needs a summary of one line, which ends with a full stop"
    found = list(entries(doc))
    if [name for name, _ in found] != arguments(value):
        return f"documents {[name for name, _ in found]}, the signature has {arguments(value)}"
    for name, meaning in found:
        if not meaning:
            return f"gives no type of {name}"
        if re.search(r"\b(?:nd)?array\b", meaning.splitlines()[0]) and "shape" not in meaning:
            return f"gives no shape of the array {name}"
    returns = None if inspect.isclass(value) else inspect.signature(value).return_annotation
    if returns not in (None, "None") and not re.search(r"^(Returns|Yields)\n-", doc, re.M):
        return f"does not document the value that it returns, {returns}"
    return None


@pytest.mark.parametrize("name", DOCUMENTED)
def test_public_docstrings_are_numpydoc(name):
    wrong = flaw(DOCUMENTED[name])
    assert not wrong, f"{name} {wrong}"


@pytest.mark.parametrize("name", ["init", "forward", "backward", "step"])
def test_engine_functions_are_typed(name):
    """The fixed interface: each argument of an engine function has a type."""
    signature = inspect.signature(getattr(Engine, name))
    for argument in [*signature.parameters.values()][1:]:
        assert argument.annotation is not argument.empty, (
            f"Engine.{name}: {argument.name} has no type"
        )
    assert signature.return_annotation is not signature.empty
