"""The tracer: cells defined in the tests run forward and backward like the built-in ones."""

import pytest
from oracles.onnx_cases import blocks, conformance
from support.cells import OWN, exponential, peephole, split
from support.gradients import assert_gradients, complex_step
from support.strategies import Case

from recurrent.cells import CELLS, trace_cell
from recurrent.conformance import promises
from recurrent.conformance.tolerance import assert_close
from recurrent.engine.engine import Engine
from recurrent.equations.expressions import exp, tanh

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module", params=OWN, ids=[c.name for c in OWN])
def own(request):
    return Engine(request.param)


# In float32 the short profile compiles the cell with an exponential and one that another test uses.
PAIRS = [
    pytest.param(
        c,
        dtype,
        id=f"{dtype}-{c.name}",
        marks=() if dtype == "float64" or c in (exponential, peephole) else pytest.mark.ci,
    )
    for dtype in ("float32", "float64")
    for c in OWN
]


@pytest.mark.parametrize(
    "case",
    [Case(T=3, N=3, D=3, H=4), Case(T=4, N=3, D=2, H=3, ragged=True, seed=3)],
    ids=["full", "ragged"],
)
def test_gradients_of_user_cells(own, case):
    p = case.build(own)
    assert_gradients(p.gradients(), complex_step(p), p)


@pytest.mark.parametrize(("own_cell", "dtype"), PAIRS)
@pytest.mark.parametrize("H", [1, 15, 17, 33])
def test_user_cells_equal_the_interpreter(own_cell, dtype, H):
    p = Case(T=3, N=7, D=5, H=H, dtype=dtype).build(Engine(own_cell))
    promises.equals_the_interpreter(p)


@pytest.mark.parametrize(("own_cell", "dtype"), PAIRS)
def test_rows_of_user_cells_are_independent(own_cell, dtype):
    p = Case(T=4, N=9, D=5, H=17, dtype=dtype).build(Engine(own_cell))
    for n in range(9):
        promises.a_row_equals_the_sequence_alone(p, n)


def test_test_cells_are_not_registered():
    assert not {c.name for c in OWN} & set(CELLS)


def test_peephole_equals_onnx_data():
    """Compare with ONNX's conformance case, whose P holds the peepholes of i, o, f."""
    _, _, inputs, expected = conformance()["test_lstm_with_peepholes"]
    order = [0, 2, 3, 1]
    W, R, b, P = (inputs[n][0] for n in ("W", "R", "B", "P"))
    p_i, p_o, p_f = P.reshape(3, -1)
    engine = Engine(peephole)
    params = engine.Params(*[blocks(a, order) for a in (W, R, *b.reshape(2, -1))], p_i, p_f, p_o)
    state = engine.State(inputs["initial_h"][0], inputs["initial_c"][0])
    final = engine.forward(inputs["X"], params, state, inputs["sequence_lens"])[1]
    assert_close(final.h, expected["Y_h"][0], W.shape[1] + 4 * R.shape[1], 1.0)


def test_shared_sums_take_one_accumulator():
    """Each gate has one dot product, except the GRU's candidate and the gates of `split`."""
    assert [a.gate for a in CELLS["lstm"].accumulators] == ["i", "f", "g", "o"]
    assert [(a.gate, a.x, a.h) for a in CELLS["gru"].accumulators] == [
        ("r", True, True),
        ("z", True, True),
        ("n", True, False),
        ("n", False, True),
    ]
    assert [(a.gate, a.x, a.h) for a in split.accumulators] == [
        ("a", True, False),
        ("b", True, False),
        ("a", False, True),
        ("b", False, True),
    ]


def test_adjacent_gates_are_one_product():
    """Runs of (accumulator, gate, count): the candidate of the GRU has its h part by itself."""
    assert [(CELLS[name].x_runs, CELLS[name].h_runs) for name in ("lstm", "gru", "qrnn")] == [
        (((0, 0, 4),), ((0, 0, 4),)),
        (((0, 0, 3),), ((0, 0, 2), (3, 2, 1))),
        (((0, 0, 3),), ()),
    ]


def test_equal_equations_have_equal_digests():
    def make(slope):
        @trace_cell("digest_test", gates="n", states="h", register=False)
        def c(x, h, previous):
            return dict(n=tanh(x.n + h.n), h=slope * previous.h + tanh(x.n + h.n))

        return c

    assert make(0.5).digest == make(0.5).digest
    assert make(0.5).digest != make(0.25).digest
    assert len({c.digest for c in (*CELLS.values(), *OWN)}) == len(CELLS) + len(OWN)


def test_equal_expressions_are_computed_once():
    """Equations are the same whether an expression is repeated or given a name."""

    @trace_cell("again", gates="f", states="h m", register=False)
    def again(x, h, previous):
        return dict(f=x.f + h.f, h=exp(-(x.f + h.f)) * previous.h, m=exp(-(x.f + h.f)) + previous.m)

    @trace_cell("named", gates="f", states="h m", register=False)
    def named(x, h, previous):
        f = x.f + h.f
        e = exp(-f)
        return dict(f=f, h=e * previous.h, m=e + previous.m)

    assert again.digest == named.digest
    assert len(again.accumulators) == 1
    assert sum(n.kind == "exp" for n in again.graph().nodes) == 1


def test_equations_that_cannot_be_traced_raise():
    with pytest.raises(TypeError, match="cannot branch on a value"):

        @trace_cell("branch_test", gates="n", states="h", register=False)
        def branch(x, h, previous):
            return dict(n=x.n, h=x.n if x.n else h.n)

    with pytest.raises(ValueError, match="return no value for h"):

        @trace_cell("missing_test", gates="n", states="h", register=False)
        def missing(x, h, previous):
            return dict(n=x.n + h.n)

    with pytest.raises(TypeError, match="expressions of them or numbers, got str"):

        @trace_cell("type_test", gates="n", states="h", register=False)
        def wrong(x, h, previous):
            return dict(n=x.n + h.n, h=x.n * "2")


def test_the_graph_of_a_unit_is_connected(engine):
    """Every gate and state has a node, named after it or its sum; nodes come after their inputs."""
    g = engine.cell.graph()
    ids = [n.id for n in g.nodes]
    assert len(set(ids)) == len(ids)
    assert set(g.values) >= {*engine.cell.gates, *engine.cell.states}
    for name, node in g.values.items():
        assert node == (f"sum:{name}" if g.node(node).kind == "sum" else name)
    for e in g.edges:
        assert {e.source, e.target} <= set(ids), e
        assert e.delay or ids.index(e.source) < ids.index(e.target), e
    assert sum(n.kind == "sum" for n in g.nodes) == len(engine.cell.accumulators)


@pytest.mark.parametrize("use", [lambda a: a[0], lambda a: a @ a, lambda a: [*a], len])
def test_units_have_no_axes(use):
    with pytest.raises(TypeError, match=r"describe one unit, .* len, indices and @ do not apply"):
        trace_cell("axes_test", gates="n", states="h", register=False)(
            lambda x, h, previous: dict(n=x.n, h=use(x.n))
        )


def test_invalid_declarations_raise():
    with pytest.raises(
        TypeError,
        match=r"cell f: the equations must be a function of \(x, h, previous\), got \(x, h\)",
    ):
        trace_cell("f", gates="n", states="h", register=False)(lambda x, h: {})
    with pytest.raises(TypeError, match=r"of \(x, h, previous, p\), got \(x, h, previous\)"):
        trace_cell("f", gates="n", states="h", parameters="b", register=False)(
            lambda x, h, previous: {}
        )
    with pytest.raises(
        TypeError,
        match=r"cell f: gates must be a str of names separated by spaces, such as 'i f', got list",
    ):
        trace_cell("f", gates=["n"], states="h", register=False)
    with pytest.raises(ValueError, match=r"cell f: states must name at least one state"):
        trace_cell("f", gates="n", states="", register=False)
