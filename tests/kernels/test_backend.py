"""Both backends implement the protocol that stands in recurrent/kernels/__init__.py."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from numba import config

import recurrent
from recurrent import kernels
from recurrent.kernels import Backend, reference

FUNCTIONS = {n: f for n, f in vars(Backend).items() if inspect.isfunction(f) and n[0] != "_"}
FUNCTIONS = {n: f for n, f in FUNCTIONS.items() if f.__module__ == Backend.__module__}
BACKENDS = ["reference"]
if not config.DISABLE_JIT:
    BACKENDS.append("compiled")


def parameters(function):
    """Return names and defaults of parameters, in order, without self."""
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.default) for p in found if p.name != "self"]


def called():
    """Return the names that the package reads from a backend, outside of recurrent/kernels."""
    root, found = Path(recurrent.__file__).parent, set()
    for path in root.rglob("*.py"):
        if "kernels" in path.relative_to(root).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value)
                if owner == "kernels" or owner.endswith((".kernels", "kernels.backend")):
                    found.add(node.attr)
    return found - {"backend", "reference", "Backend"}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_implements_the_protocol(name):
    module = getattr(kernels, name)
    assert isinstance(module.DTYPES, tuple)
    for function, declared in FUNCTIONS.items():
        assert parameters(getattr(module, function)) == parameters(declared), function
        assert inspect.getdoc(getattr(module, function)), function


def test_the_protocol_has_what_the_package_calls_and_no_more():
    assert called() == FUNCTIONS.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_has_a_type_and_every_array_a_shape_and_a_dtype(name):
    text = inspect.getdoc(FUNCTIONS[name])
    section = text.split("Parameters\n----------\n")[1]
    entries = re.findall(r"^(\w+) : (.+)$", section, re.M)
    assert [n for n, _ in entries] == [n for n, _ in parameters(FUNCTIONS[name])]
    for argument, kind in entries:
        if "ndarray" in kind and "NamedTuple" not in kind:
            assert re.search(r"shape \(.*\)", kind), argument
        if "ndarray" in kind:
            assert re.search(r"\b(real|int64|float64|bool|any integer dtype)\b", kind), argument


def test_a_missing_function_or_another_order_would_be_seen():
    assert parameters(reference.linear) != parameters(FUNCTIONS["linear_backward"])
    assert parameters(lambda weights, x, y: None) != parameters(FUNCTIONS["linear"])
