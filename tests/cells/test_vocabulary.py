"""`help(recurrent.cells)`: its table against the registry of operations, and its lists of cells."""

import pydoc
import re

import numpy as np
import pytest

import recurrent.cells
from recurrent.cells import CELLS, PAPERS, PYTORCH, trace_cell
from recurrent.equations.expressions import CROSS_UNIT, OPS, Expr, evaluate, topological

pytestmark = pytest.mark.reference

TEXT = recurrent.cells.__doc__
VOCABULARY = {n: getattr(recurrent.cells, n) for n in recurrent.cells.__all__}


def rows():
    """Return the expression and the derivatives of each row of the table."""
    table = re.search(r"-{5,}  -{5,}  -{5,}\n(.*?)\n\n", TEXT, re.DOTALL)[1]
    lines = [line for line in table.split("\n") if line[4:5].strip()]
    return [(line[4:25].strip(), line[25:53].strip().split(";")) for line in lines]


ROWS = rows()


def build(text, **symbols):
    """Return the expression that a text of the table means."""
    found = eval(text, {**VOCABULARY, "abs": abs}, symbols)
    return found if isinstance(found, Expr) else Expr("const", value=float(found))


def gradients(text, a, b):
    """Return y, dy/da and dy/db of an expression by the derivatives of the registry."""

    @trace_cell("row", gates="g", states="h", parameters="a b", register=False)
    def cell(x, h, previous, p):
        return dict(g=x.g, h=build(text, a=p.a, b=p.b) + 0 * p.a)

    known = dict(zip(cell.parameter_inputs, (a, b), strict=True))
    (y,) = evaluate(cell.new, known, float)
    known |= {cell.new[0]: y, cell.backward.d_new[0]: np.ones_like(a)}
    found = evaluate(cell.backward.d_parameters, known, float)
    return y, *(np.broadcast_to(d, a.shape) for d in found)


@pytest.mark.parametrize(("text", "derivatives"), ROWS, ids=[row[0] for row in ROWS])
def test_derivatives_of_the_table_are_those_of_the_registry(text, derivatives):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-2, 2, (2, 200))
    a[:3], b[:3] = (0.5, -0.25, 1), (0.5, -0.25, 1)  # equal, where a derivative jumps
    if any(word in text for word in ("log", "sqrt", "** b", "** 0.5")):
        a = np.abs(a) + 0.1
    elif text.startswith(("relu", "abs")):
        a[4] = 0
    elif text.startswith("clip"):
        a[4], a[5] = 0.7, -0.7
    y, *found = gradients(text, a, b)
    assert len(derivatives) == 1 + ("b" in re.findall(r"\b\w+\b", text))
    names = dict(a=a, b=b, y=y)
    symbols = {n: Expr("input", name=n) for n in names}
    known = {symbols[n]: value for n, value in names.items()}
    for derivative, actual in zip(derivatives, found, strict=False):
        expected = evaluate([build(derivative.strip(), **symbols)], known, float)[0]
        np.testing.assert_allclose(actual, np.broadcast_to(expected, a.shape), atol=1e-12)
    if "b" not in text:
        assert not found[1].any()


@pytest.mark.parametrize("text", [row[0] for row in ROWS if ">" not in row[0]])
def test_derivatives_of_the_registry_are_those_of_the_complex_step(text):
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0.1, 2, (2, 200))
    symbols = {n: Expr("input", name=n) for n in "ab"}
    e = build(text, **symbols)
    for k, n in enumerate("ab"):
        known = {symbols["a"]: a + 0j, symbols["b"]: b + 0j}
        known[symbols[n]] = known[symbols[n]] + 1e-30j
        step = evaluate([e], known, complex)[0].imag / 1e-30
        np.testing.assert_allclose(gradients(text, a, b)[1 + k], step, atol=1e-12)


def test_the_table_has_every_operation():
    symbols = {n: Expr("input", name=n) for n in "ab"}
    used = {e.op for text, _ in ROWS for e in topological([build(text, **symbols)])}
    assert used - {"input", "const"} == set(OPS) - {"positive"}  # which is part of derivatives only
    listed = re.findall(r"^    (mean|product|projection)\(", TEXT, re.MULTILINE)
    assert set(listed) == {op for op in CROSS_UNIT if not op.endswith("_t")}


def test_the_page_names_every_function_and_every_cell():
    functions = {n for n, f in VOCABULARY.items() if getattr(f, "__module__", "").endswith("sions")}
    assert functions == {n for n in functions if re.search(rf"\b{n}\(", TEXT)}
    words = set(re.findall(r"\w+", TEXT))
    assert {*PYTORCH, *PAPERS} <= words
    assert {n for n in recurrent.cells.BUILT_IN if n in CELLS} <= words
    page = pydoc.plain(pydoc.render_doc(recurrent.cells))
    assert "NaN for |a| above a million" in page
    assert len(TEXT.split("\n")) <= 70, "one page"
