"""Cells with a projection: an LSTM (Sak et al., 2014), compared with PyTorch, and user cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gradients import assert_gradients, complex_step
from support.strategies import Case, cases

import recurrent
from recurrent import LSTM, Embedding, Engine, Linear, Seq2Seq, Sequential
from recurrent.cells import lstm_cell, product, projection, sigmoid, tanh, trace_cell
from recurrent.conformance import promises
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.kernels import threads
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

pytestmark = pytest.mark.reference

FIELDS = {
    "weight_ih": "W_ih",
    "weight_hh": "W_hh",
    "bias_ih": "b_ih",
    "bias_hh": "b_hh",
    "weight_hr": "W_hr",
}


@trace_cell("projected_test", gates="z n", states="h s m", parameters="w", register=False)
def projected(x, h, previous, p):
    """The projected output is used within the step and by another state of P values, s."""
    z = sigmoid(x.z + h.z)
    n = tanh(x.n + h.n)
    m = (1 - z) * previous.m + p.w * z * n
    out = projection(m * previous.m)
    return dict(z=z, n=n, m=m, h=out + 0.5 * previous.s, s=tanh(previous.h) * out)


CELLS = {
    "lstm": lstm_cell(projection=True),
    "peephole": lstm_cell(projection=True, peephole=True, coupled=True, biases=1, cell_clip=0.7),
    "normalised": lstm_cell(projection=True, layer_norm=True),
    "own": projected,
}
LAYOUTS = [
    Case(T=3, N=2, D=3, H=4),
    Case(T=4, N=3, D=2, H=3, ragged=True, seed=3),
    Case(T=3, N=3, D=2, H=5, reverse=True),
]


@pytest.mark.parametrize("case", LAYOUTS, ids=["plain", "ragged", "reverse"])
@pytest.mark.parametrize("name", CELLS)
def test_every_entry_by_complex_step(name, case):
    p = case.build(Engine(CELLS[name]))
    assert_gradients(p.gradients(p.engine.reference), complex_step(p), p)


@pytest.mark.parametrize("name", ["lstm", pytest.param("own", marks=pytest.mark.slow)])
@given(st.data())
def test_the_engine_equals_the_interpreter(name, data):
    promises.equals_the_interpreter(data.draw(cases("float64")).build(Engine(CELLS[name])))


@given(cases("float64"))
def test_a_row_equals_the_sequence_alone(case):
    p = case.build(Engine(CELLS["lstm"]))
    promises.a_row_equals_the_sequence_alone(p, case.N - 1)


@given(cases("float64", ragged=False, reverse=False))
def test_steps_and_chunks_equal_forward(case):
    p = case.build(Engine(CELLS["lstm"]))
    promises.steps_equal_forward(p)
    promises.two_chunks_equal_one_call(p)


@given(st.data())
def test_threads_change_no_bit(data):
    """Threads split the rows or the units, both the H units and the P projected ones."""
    p = data.draw(cases("float64", H=st.sampled_from([17, 65, 150]))).build(Engine(CELLS["lstm"]))
    alone = promises.results(p)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1.0)
        patch.setattr(threads, "MIN_FLOPS_PER_BARRIER", 1.0)
        patch.setattr(threads, "available", lambda: data.draw(st.integers(2, 5)))
        together = promises.results(p)
    for a, b in zip(alone, together, strict=True):
        assert_same_bits(b, a)


@pytest.mark.slow
def test_float32_equals_the_interpreter():
    for case in (
        Case(5, 7, 9, 33, "float32"),
        Case(4, 2, 3, 17, "float32", ragged=True, reverse=True),
    ):
        promises.equals_the_interpreter(case.build(Engine(CELLS["lstm"])))


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@given(data=st.data())
def test_stacks_equal_pytorch(both, data):
    torch = pytest.importorskip(
        "torch", reason="the oracle is torch.nn.LSTM: pip install recurrent-engine[peers]"
    )
    from oracles.torch import run

    case = data.draw(cases("float64", H=st.sampled_from([2, 3, 5, 17, 33])))
    T, N, D, H, rng = case.T, case.N, case.D, case.H, np.random.default_rng(case.seed)
    P, ways = (H + 1) // 2, 1 + both
    model = Sequential(
        *[LSTM(d, H, proj_size=P, bidirectional=both) for d in (D, ways * P)],
        rng=case.seed,
        dtype="float64",
    )
    theirs = torch.nn.LSTM(D, H, 2, proj_size=P, bidirectional=both).double()
    with torch.no_grad():
        for name, a in theirs.named_parameters():
            field, _, rest = name.rpartition("_l")
            a.copy_(torch.tensor(model.parameters[f"{rest[0]}.{field}_l0{rest[1:]}"]))
    x = rng.standard_normal((T, N, D))
    lengths = rng.integers(1, T + 1, N) if case.ragged else None
    h, c, dh, dc = (rng.standard_normal((2 * ways, N, size)) for size in (P, H, P, H))
    dy = rng.standard_normal((T, N, ways * P))

    def ours(h, c):
        pairs = [model[0].engine.State(*pair) for pair in zip(h, c, strict=True)]
        return [recurrent.Both(*pairs[k : k + 2]) for k in (0, 2)] if both else pairs

    y, final, tape = model.forward(x, ours(h, c), lengths, record=True)
    grads = model.backward(dy, tape, ours(dh, dc))
    their_y, their_final, their_dx, their_d = run(theirs, x, [h, c], lengths, dy, [dh, dc])

    def flat(states):
        ends = [one for state in states for one in (state if both else [state])]
        return [np.stack([getattr(s, n) for s in ends]) for n in "hc"]

    terms = T * (D + 4 * H) * 4
    for a, b in zip([y, *flat(final)], [their_y, *their_final], strict=True):
        assert_close(a, b, terms, max(1.0, np.abs(b).max()))
    for a, b in zip([grads.dx, *flat(grads.state)], [their_dx, *their_d], strict=True):
        assert_close(a, b, terms, max(1.0, np.abs(b).max()))
    for name, a in theirs.named_parameters():
        field, _, rest = name.rpartition("_l")
        g = a.grad.numpy()
        assert_close(
            grads.params[f"{rest[0]}.{field}_l0{rest[1:]}"],
            g,
            terms + T * N,
            max(1.0, np.abs(g).max()),
            name,
        )


def test_parameters_are_named_as_in_pytorch():
    layer = LSTM(5, 10, proj_size=3, bidirectional=True)
    names = [f"{n}_l0{end}" for end in ("", "_reverse") for n in FIELDS]
    assert list(layer.shapes) == names
    assert layer.shapes["weight_hh_l0"] == (40, 3)
    assert layer.shapes["weight_hr_l0_reverse"] == (3, 10)
    assert layer.out_features == 6
    layer.initialise(0)
    assert 0.9 < np.abs(layer.parameters["weight_hr_l0"]).max() * np.sqrt(10) <= 1
    assert layer.params.forward._fields == tuple(FIELDS.values())


def test_it_is_used_like_any_layer(tmp_path):
    model = Sequential(
        LSTM(
            3,
            8,
            proj_size=4,
            learn_state=True,
            recurrent_dropout=0.3,
            weight_drop=0.2,
            zoneout={"h": 0.2, "c": 0.3},
        ),
        LSTM(4, 6, proj_size=2, bidirectional=True, merge="sum"),
        Linear(2, 1),
        rng=0,
        dtype="float64",
    )
    assert model.parameters["0.h0"].shape == (4,)
    assert model.parameters["0.c0"].shape == (8,)
    x = np.random.default_rng(0).standard_normal((5, 3, 3))
    assert recurrent.gradcheck(model, x, lengths=[5, 2, 4])
    masks = model.forward(x, record=True)[2][0].masks
    assert {n: a.shape for n, a in masks.items()} == {
        "zoneout_h": (5, 3, 4),
        "zoneout_c": (5, 3, 8),
        "dropout": (3, 4),
        "weight_hh": (32, 4),
    }
    recording = model.record(
        x, targets=np.zeros((5, 3, 1)), loss=lambda y, t, lengths: ((y**2).sum() / 2, y)
    )
    one = recording.layers[0]
    assert {n: a.shape for n, a in one.states.items()} == {"h": (5, 3, 4), "c": (5, 3, 8)}
    assert {n: a.shape for n, a in one.dstates.items()} == {"h": (5, 3, 4), "c": (5, 3, 8)}
    assert {a.shape for a in (*one.gates.values(), *one.preactivations.values())} == {(5, 3, 8)}
    y, state, _ = model.forward(x)
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, checkpoint.Checkpoint(model, training=TrainingState(carried=state)))
    again = checkpoint.load(path)
    assert_same_bits(again.model.forward(x)[0], y)
    assert_same_bits(again.training.carried[0].c, state[0].c)
    stream = Sequential(model[0].__class__(**model[0].options), rng=0, dtype="float64").stream()
    assert stream.step(x[0]).shape == (3, 4)
    assert [s.shape for s in stream.state[0]] == [(3, 4), (3, 8)]


def test_an_encoder_hands_both_states_to_a_decoder():
    encoder = Sequential(LSTM(3, 6, proj_size=2, bidirectional=True), rng=0, dtype="float64")
    decoder = Sequential(
        Embedding(5, 3), LSTM(3, 12, proj_size=4), Linear(4, 5), rng=1, dtype="float64"
    )
    model = Seq2Seq(encoder, decoder, start=0, end=1)
    rng = np.random.default_rng(0)
    y, _, tape = model.forward((rng.standard_normal((4, 2, 3)), np.ones((3, 2), int)), record=True)
    found = model.backward(y, tape).params["encoder.0.weight_hr_l0"]
    assert found.shape == (2, 6)
    assert found.any()
    assert {e.shape for e in model.graph().edges if e.label in ("h", "c")} >= {("N", 4), ("N", 12)}
    encoder = Sequential(LSTM(3, 6, proj_size=2, bidirectional=True))
    with pytest.raises(ValueError, match="a state h of size 3, but the one from encoder"):
        Seq2Seq(
            encoder,
            Sequential(Embedding(5, 3), LSTM(3, 12, proj_size=3), Linear(3, 5)),
            start=0,
            end=1,
        )


def test_a_user_cell_may_project():
    @recurrent.cell("own_projection_test", gates="n", states="h")
    def own(x, h, previous):
        return dict(n=tanh(x.n + h.n), h=projection(tanh(x.n + h.n)))

    layer = recurrent.Recurrent("own_projection_test", 3, 5, proj_size=2)
    assert layer.out_features == 2
    reference = layer.engine.reference
    assert reference.init(3, 5, proj_size=2).W_hh.shape == (5, 2)
    assert recurrent.cells.CELLS.pop("own_projection_test") is own


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: LSTM(2, 3, proj_size=4),
            ValueError,
            "proj_size must be at most hidden_size=3, got 4",
        ),
        (lambda: LSTM(2, 3, proj_size=-1), ValueError, "proj_size must be at least 0, got -1"),
        (lambda: LSTM(2, 3, proj_size=1.5), TypeError, "proj_size must be an int, got float"),
        (lambda: recurrent.GRU(2, 3, proj_size=2), TypeError, "GRU has no option 'proj_size'"),
        (
            lambda: recurrent.Recurrent("gru", 2, 3, proj_size=2),
            ValueError,
            "gru has no projection: proj_size must be 0, got 2",
        ),
        (
            lambda: LSTM(2, 3, projection=True),
            TypeError,
            "LSTM has no option 'projection'; write `proj_size=`",
        ),
        (
            lambda: Engine(CELLS["lstm"]).init(2, 3),
            ValueError,
            "proj_size must be at least 1, got 0",
        ),
        (
            lambda: LSTM(2, 3, proj_size=2).forward(
                np.zeros((4, 1, 2), "f4"), (np.zeros((1, 3), "f4"),) * 2
            ),
            ValueError,
            r"state.h must be \(N, P\).*\(1, 2\).*\(1, 3\)",
        ),
    ],
)
def test_invalid_sizes_raise(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    ("equations", "text"),
    [
        (
            lambda x, h, previous, p: dict(n=x.n, m=tanh(x.n + previous.h), h=projection(x.n)),
            r"cell w_test: add combines H values \(one per unit\) with P projected values",
        ),
        (
            lambda x, h, previous, p: dict(n=x.n, m=projection(x.n), h=x.n),
            "one projection, which must give its first state h; got 1 elsewhere",
        ),
        (
            lambda x, h, previous, p: dict(n=x.n, m=projection(x.n * p.w), h=projection(x.n)),
            "one projection, which must give its first state h; got 2",
        ),
        (
            lambda x, h, previous, p: dict(n=x.n, m=x.n, h=projection(projection(x.n))),
            r"projection needs a vector of H values \(one per unit\), got P values",
        ),
        (
            lambda x, h, previous, p: dict(n=x.n, m=product("n", tanh(x.n)), h=projection(x.n)),
            r"product\('n', ...\) needs a vector of P values, .* got H values",
        ),
        (
            lambda x, h, previous, p: dict(n=x.n, m=x.n, h=p.w * projection(x.n)),
            r"the parameter w has a value for each unit \(H\) and cannot be combined",
        ),
    ],
)
def test_invalid_equations_raise(equations, text):
    declare = trace_cell("w_test", gates="n", states="h m", parameters="w", register=False)
    with pytest.raises(ValueError, match=text):
        declare(equations)
