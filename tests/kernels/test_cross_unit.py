"""Cells whose units interact within a step: products with vectors other than h, and means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gradients import assert_gradients, complex_step
from support.strategies import Case, cases, replace

from recurrent import GRU, LSTM, Engine, Linear, Sequential
from recurrent.cells import gru_cell, lstm_cell, mean, product, sigmoid, tanh, trace_cell
from recurrent.conformance import promises
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.kernels import schedule, threads

pytestmark = pytest.mark.reference


@trace_cell("deep_test", gates="a b n", states="h m", parameters="w", register=False)
def deep(x, h, previous, p):
    """Products of products, means of them, and a second state."""
    a = tanh(x.a + h.a)
    b = tanh(product("b", a * previous.m) - mean(a))
    n = tanh(x.n + product("n", b - mean(p.w * b * previous.h)))
    return dict(a=a, b=b, n=n, h=n + 0.5 * previous.h, m=sigmoid(b) * previous.m)


CELLS = {
    "reset-before": gru_cell(reset_after=False),
    "normalised gru": gru_cell(layer_norm=True),
    "normalised, reset before": gru_cell(layer_norm=True, reset_after=False),
    "normalised lstm": lstm_cell(layer_norm=True, peephole=True, coupled=True),
    "deep": deep,
}
LAYOUTS = [
    Case(T=3, N=2, D=3, H=4),
    Case(T=4, N=3, D=2, H=3, ragged=True, seed=3),
    Case(T=3, N=3, D=2, H=5, reverse=True),
]


@pytest.fixture(scope="module", params=CELLS)
def interacting(request):
    return Engine(CELLS[request.param])


@pytest.mark.parametrize("case", LAYOUTS, ids=["plain", "ragged", "reverse"])
def test_every_entry_by_complex_step(interacting, case):
    p = case.build(interacting)
    assert_gradients(p.gradients(interacting.reference), complex_step(p), p)


SINGLE = pytest.param("float32", marks=pytest.mark.slow)  # each cell compiles for seconds


@pytest.mark.parametrize("dtype", ["float64", SINGLE])
@pytest.mark.parametrize(
    "case", [Case(3, 7, 5, 17), Case(4, 5, 3, 33, ragged=True), Case(3, 1, 2, 8)]
)
def test_the_engine_equals_the_interpreter(interacting, case, dtype):
    p = replace(case, dtype=dtype).build(interacting)
    y, final, tape = p.forward(record=True)
    their_y, their_final, their_tape = p.forward(interacting.reference, record=True)
    for a, b in zip((y, *final), (their_y, *their_final), strict=True):
        assert_close(a, b, 4 * p.terms, max(1.0, np.abs(b).max()))
    for name, a in tape.gates.items():
        assert_close(a, their_tape.gates[name], 4 * p.terms, max(1.0, np.abs(a).max()), name)
    assert_same_bits(p.forward()[0], y)
    assert_gradients(p.gradients(), p.gradients(interacting.reference), p)


@pytest.mark.parametrize("dtype", ["float64", SINGLE])
def test_steps_rows_and_padding_change_no_bit(interacting, dtype):
    p = Case(T=5, N=7, D=3, H=17, dtype=dtype, initial=False).build(interacting)
    y = p.forward()[0]
    stepper = interacting.stepper(p.params)
    assert_same_bits(np.stack([stepper(x_t) for x_t in p.x]), y)
    assert_same_bits(p.forward(x=p.x[:, 2:3])[0][:, 0], y[:, 2])
    lengths = np.array([5, 3, 0, 5, 1, 2, 4])
    cut = p.forward(lengths=lengths)[0]
    for n, length in enumerate(lengths):
        assert_same_bits(cut[:length, n], y[:length, n])
        assert not cut[length:, n].any()


@given(st.data())
def test_threads_change_no_bit(interacting, data):
    """Threads share rows, or units with barriers between the stages of a step."""
    p = data.draw(cases("float64", H=st.sampled_from([17, 65, 150]))).build(interacting)
    alone = promises.results(p)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1.0)
        patch.setattr(threads, "MIN_FLOPS_PER_BARRIER", 1.0)
        patch.setattr(threads, "available", lambda: data.draw(st.integers(2, 5)))
        together = promises.results(p)
    for a, b in zip(alone, together, strict=True):
        assert_same_bits(b, a)


@given(st.data())
def test_a_row_equals_the_sequence_alone(interacting, data):
    p = data.draw(cases("float64")).build(interacting)
    promises.a_row_equals_the_sequence_alone(p, p.case.N - 1)


def test_the_tape_saves_the_argument_of_a_mean_not_the_mean():
    saved = lstm_cell(layer_norm=True).backward.saved
    assert [n for n, _ in saved] == [*"ifgo", *(f"{part}.{g}" for part in "xh" for g in "ifgo")]


@pytest.mark.parametrize("name", ["normalised lstm", "normalised gru"])
def test_equations_after_the_products_go_row_by_row(name):
    """They form one group, whose planes hold one row; a product needs the rows of all sequences."""
    for direction in (schedule.forward, schedule.backward):
        found = direction(CELLS[name])[1]
        assert len(found.groups) == 1
        assert found.lasting == {a.input for a in CELLS[name].accumulators} & found.planes.keys()
    assert len(schedule.forward(CELLS["deep"])[1].groups) == 3


def naive_normalised(name, torch, x, h, c, p):
    """One step after Ba et al., 2016, with torch's own layer_norm."""
    norm = torch.nn.functional.layer_norm

    def ln(a, gates, part):
        gain = torch.cat([p[f"gain_{part}_{g}"] for g in gates])
        bias = torch.cat([p[f"bias_{g}"] for g in gates]) if part == "x" else None
        return norm(a, a.shape[-1:], gain, bias)

    a, u = x @ p["W_ih"].T, h @ p["W_hh"].T
    H = h.shape[-1]
    if name == "lstm":
        i, f, g, o = (ln(a, "ifgo", "x") + ln(u, "ifgo", "h")).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * norm(c, c.shape[-1:], p["gain_c"], p["bias_c"]).tanh(), c
    r, z = (ln(a[:, : 2 * H], "rz", "x") + ln(u[:, : 2 * H], "rz", "h")).sigmoid().chunk(2, -1)
    if name == "gru before":
        n = (ln(a[:, 2 * H :], "n", "x") + ln((r * h) @ p["W_hh"][2 * H :].T, "n", "h")).tanh()
    else:
        n = (ln(a[:, 2 * H :], "n", "x") + r * ln(u[:, 2 * H :], "n", "h")).tanh()
    return (1 - z) * n + z * h, c


@pytest.mark.parametrize("name", ["lstm", "gru", "gru before"])
def test_layer_normalisation_equals_torch(name):
    torch = pytest.importorskip(
        "torch", reason="the oracle is torch's layer_norm: pip install recurrent-engine[peers]"
    )
    options = {"reset_after": False} if name == "gru before" else {}
    made = (lstm_cell if name == "lstm" else gru_cell)(layer_norm=True, **options)
    p = Case(T=4, N=3, D=5, H=8).build(Engine(made))
    rng = np.random.default_rng(1)
    p.params = p.params._replace(**{n: rng.standard_normal(8) for n in p.engine.cell.parameters})
    arguments = {n: torch.tensor(a, requires_grad=True) for n, a in p.arguments().items()}
    h, c, total, ys = arguments["h"], arguments.get("c"), 0.0, []
    for t in range(4):
        h, c = naive_normalised(name, torch, arguments["x"][t], h, c, arguments)
        ys.append(h)
        total = total + (h * torch.tensor(p.dy[t])).sum()
    for s, d in zip((h, c), p.dstate, strict=False):
        total = total + (s * torch.tensor(d)).sum()
    total.backward()
    assert_close(p.forward()[0], torch.stack(ys).detach().numpy(), 4 * p.terms)
    assert_gradients(p.gradients(), {n: a.grad.numpy() for n, a in arguments.items()}, p)


def test_layers_with_cross_unit_operations_are_used_like_others():
    model = Sequential(
        GRU(3, 5, reset_after=False, bidirectional=True),
        LSTM(10, 4, layer_norm=True),
        Linear(4, 1),
        rng=0,
    )
    assert model.parameters["1.gain_x_i_l0"].tolist() == [1, 1, 1, 1]
    assert not model.parameters["1.bias_c_l0"].any()
    x = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)
    y, _, tape = model.forward(x, lengths=[6, 4], record=True)
    model.flat -= 0.01 * np.concatenate(
        [g.ravel() for g in model.backward(2 * y, tape).params.values()]
    )
    assert (model.forward(x, lengths=[6, 4])[0] ** 2).sum() < (y**2).sum()
    assert {n.kind for n in model[1].graph().nodes} >= {"mean"}


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        ("q", r"product\('q', ...\) must name one of the gates n"),
        ("n", r"product\('n', ...\) must be the only use of the rows of gate n in W_hh"),
    ],
)
def test_a_product_needs_rows_of_its_own(gate, text):
    with pytest.raises(ValueError, match=text):

        @trace_cell("rows_test", gates="n", states="h", register=False)
        def wrong(x, h, previous):
            return dict(n=x.n, h=tanh(x.n + h.n + product(gate, x.n)))
