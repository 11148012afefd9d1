"""Bidirectional runs: equal bits to two runs of the engine, every merge, gradients, and models."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import naive
from support.gradients import (
    assert_central,
    assert_gradients,
    assert_projection,
    complex_step,
    random_direction,
)
from support.strategies import Case, cases, flat

from recurrent import GRU, LSTM, RNN, Directions, Dropout, Linear, Sequential
from recurrent.cells import PYTORCH
from recurrent.conformance.promises import results, same_results
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.engine.bidirectional import MERGES
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

pytestmark = pytest.mark.reference

merges = st.sampled_from(list(MERGES))
MERGED = {
    "concat": lambda f, r: np.concatenate([f, r], axis=-1),
    "sum": lambda f, r: f + r,
    "mul": lambda f, r: f * r,
    "average": lambda f, r: (f + r) / 2,
}


def flipped(a, lengths):
    """Return an array with the valid part of each sequence reversed."""
    out = a.copy()
    for n, length in enumerate([len(a)] * a.shape[1] if lengths is None else lengths):
        out[:length, n] = a[:length, n][::-1]
    return out


@given(st.data())
def test_the_reverse_direction_is_the_forward_engine_on_flipped_input(engine, dtype, data):
    p = data.draw(cases(dtype, merge=merges)).build(engine)
    before = p.state or Directions(None, None)
    f, final, _ = engine.forward(p.x, p.params.forward, before.forward, p.lengths)
    r, final_reverse, _ = engine.forward(
        flipped(p.x, p.lengths), p.params.reverse, before.reverse, p.lengths
    )
    y, state, _ = p.forward()
    assert_same_bits(y, MERGED[p.case.merge](f, flipped(r, p.lengths)))
    same_results(flat(state), flat(Directions(final, final_reverse)))


@given(st.data())
def test_merged_outputs_equal_the_naive_loops(engine, dtype, data):
    p = data.draw(cases(dtype, merge=merges, small=True)).build(engine)
    before = p.state or Directions(None, None)
    runs = [
        naive.forward(engine.name, p.x, params, state, p.lengths, back)
        for params, state, back in zip(p.params, before, (False, True), strict=True)
    ]
    y, state, _ = p.forward()
    expected = MERGED[p.case.merge](*(y for y, _ in runs))
    size = max(1.0, *(np.abs(y).max() for y, _ in runs)) ** 2
    assert_close(y, expected, p.terms, size)
    for ours, (_, theirs) in zip(state, runs, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b, p.terms, max(1.0, np.abs(b).max()))


@given(st.data())
def test_every_entry_of_the_gradients_by_complex_step(engine, data):
    p = data.draw(
        cases(merge=merges, small=True, scale=1.0, T=st.integers(1, 3), N=st.integers(1, 2))
    ).build(engine)
    assert_gradients(p.gradients(), complex_step(p), p)


@given(st.data())
def test_gradients_along_a_direction(engine, data):
    p = data.draw(cases(merge=merges)).build(engine)
    assert_projection(p.gradients(), p, random_direction(p))


@pytest.mark.parametrize("merge", MERGES)
def test_gradients_by_central_differences(engine, merge):
    p = Case(T=5, N=4, D=3, H=7, ragged=True, merge=merge).build(engine)
    assert_central(p.gradients(), p, random_direction(p))


@pytest.mark.parametrize("engine", PYTORCH, indirect=True)  # the mistakes are made in W_hh
@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("mistake", ["directions swapped", "one direction only", "off by 1.001"])
def test_the_checker_rejects(engine, merge, mistake):
    p = Case(T=3, N=2, D=3, H=4, merge=merge).build(engine)
    expected, g = complex_step(p), p.gradients()
    if mistake == "directions swapped":
        g["W_hh"], g["W_hh_reverse"] = g["W_hh_reverse"], g["W_hh"]
    elif mistake == "one direction only":
        g["x"] = p.gradients(
            params=p.params._replace(
                reverse=p.params.forward._replace(W_ih=0 * p.params.forward.W_ih)
            )
        )["x"]
    else:
        g["W_ih_reverse"] *= 1.001
    with pytest.raises(AssertionError, match="gradient of"):
        assert_gradients(g, expected, p)


@given(st.data())
def test_a_row_of_a_batch_equals_the_sequence_alone(engine, dtype, data):
    p = data.draw(cases(dtype, merge=merges)).build(engine)
    n = data.draw(st.integers(0, p.case.N - 1))
    own = slice(n, n + 1)
    rows = (
        None if p.state is None else Directions(*(type(s)(*[a[own] for a in s]) for s in p.state))
    )
    y, final, tape = p.forward(record=True)
    y1, final1, tape1 = p.forward(
        x=p.x[:, own],
        state=rows,
        lengths=None if p.lengths is None else p.lengths[own],
        record=True,
    )
    same_results([y1, *flat(final1)], [y[:, own], *(a[own] for a in flat(final))])
    dx, dx1 = (p.runner().backward(dy, t)[0] for dy, t in ((p.dy, tape), (p.dy[:, own], tape1)))
    assert_same_bits(dx1, dx[:, own])


@given(st.data())
def test_padding_is_never_read(engine, dtype, data):
    p = data.draw(cases(dtype, merge=merges, ragged=True)).build(engine)
    clean = results(p)
    padding = np.arange(p.case.T)[:, None] >= p.lengths
    assert not clean[0][padding].any()
    p.x[padding], p.dy[padding] = np.nan, np.nan
    same_results(results(p), clean)


@pytest.mark.parametrize("merge", MERGES)
def test_threads_change_no_bit(engine, dtype, merge):
    p = Case(T=30, N=24, D=40, H=64, ragged=True, dtype=dtype, merge=merge).build(engine)
    before, by_threads = numba.get_num_threads(), []
    try:
        for n in sorted(
            {1, 2, numba.config.NUMBA_NUM_THREADS}
            & set(range(1, numba.config.NUMBA_NUM_THREADS + 1))
        ):
            numba.set_num_threads(n)
            by_threads.append(results(p))
    finally:
        numba.set_num_threads(before)
    for other in by_threads[1:]:
        same_results(other, by_threads[0])


@pytest.mark.parametrize("merge", MERGES)
def test_empty_sequences_and_batches(engine, dtype, merge):
    """Without steps or sequences the state comes back and gradients of weights are zero."""
    p = Case(T=3, N=4, D=2, H=5, dtype=dtype, merge=merge).build(engine)
    for changes in (dict(lengths=[0] * 4), dict(x=p.x[:0])):
        y, final, tape = p.forward(**changes, record=True)
        assert not y.any()
        same_results(flat(final), flat(p.state))
        dx, dparams, d_initial = p.runner().backward(p.dy[: len(y)], tape, p.dstate)
        assert not dx.any()
        assert not any(g.any() for g in flat(dparams))
        same_results(flat(d_initial), flat(p.dstate))
    y, final, tape = p.forward(x=p.x[:, :0], state=None, record=True)
    assert y.shape == (3, 0, p.dy.shape[-1])
    assert final.summary.shape == (0, 10)
    assert p.runner().backward(p.dy[:, :0], tape)[0].shape == (3, 0, 2)


@given(st.data())
def test_unbatched_is_a_batch_of_one(engine, dtype, data):
    p = data.draw(cases(dtype, N=1, ragged=False, merge=merges)).build(engine)

    def single(state):
        return None if state is None else Directions(*(type(s)(*[a[0] for a in s]) for s in state))

    y, final, tape = p.forward(record=True)
    y1, final1, tape1 = p.forward(x=p.x[:, 0], state=single(p.state), record=True)
    same_results(
        [y1, *flat(final1), final1.summary],
        [y[:, 0], *(a[0] for a in flat(final)), final.summary[0]],
    )
    dx, _, d_initial = p.runner().backward(p.dy, tape, p.dstate)
    dx1, _, d_initial1 = p.runner().backward(p.dy[:, 0], tape1, single(p.dstate))
    same_results([dx1, *flat(d_initial1)], [dx[:, 0], *(a[0] for a in flat(d_initial))])


def test_the_summary_is_both_ends_and_not_the_last_output(dtype):
    layer = LSTM(3, 4, bidirectional=True).initialise(1, dtype)
    x = np.random.default_rng(0).standard_normal((6, 5, 3)).astype(dtype)
    lengths = np.array([6, 1, 4, 0, 5])
    y, state, _ = layer.forward(x, lengths=lengths)
    assert state.summary.shape == (5, 8)
    for n, length in enumerate(lengths):
        ends = np.concatenate([y[length - 1, n, :4], y[0, n, 4:]]) if length else np.zeros(8, dtype)
        assert_same_bits(state.summary[n], ends)
    assert not np.array_equal(state.summary[0], y[-1, 0])


# Layers and models


def stack(dtype="float64"):
    layers = (
        LSTM(3, 4, bidirectional=True),
        Dropout(0.3),
        GRU(8, 5, bidirectional=True, merge="average"),
        RNN(5, 3),
        Linear(3, 2),
    )
    return Sequential(*layers, rng=1, dtype=dtype)


def test_a_model_by_central_differences():
    """Check all parameters and x along one direction each, on a ragged batch through two layers."""
    model, rng = stack(), np.random.default_rng(2)
    x, dy, lengths = rng.standard_normal((5, 4, 3)), rng.standard_normal((5, 4, 2)), [5, 0, 2, 4]
    grads = model.backward(dy, model.forward(x, lengths=lengths, record=True, training=False)[2])
    step = np.finfo(float).eps ** (1 / 3)
    for name, a, g in [
        ("x", x, grads.dx),
        *((n, a, grads.params[n]) for n, a in model.parameters.items()),
    ]:
        direction, before, losses = rng.standard_normal(a.shape) / np.sqrt(a.size), a.copy(), []
        for s in (step, -step):
            a[:] = before + s * direction
            losses.append((dy * model.forward(x, lengths=lengths)[0]).sum())
        a[:] = before
        assert (
            abs((g * direction).sum() - (losses[0] - losses[1]) / (2 * step))
            < 10 * np.abs(dy).sum() * step**2
        ), name


def test_carried_state_is_given_to_both_directions(dtype):
    model, rng = stack(dtype), np.random.default_rng(0)
    x = rng.standard_normal((4, 2, 3)).astype(dtype)
    state = model.forward(x)[1]
    y = model.forward(x, state)[0]
    for end in ("forward", "reverse"):
        none = state[0]._replace(**{end: None})
        assert not np.array_equal(model.forward(x, (none, *state[1:]))[0], y), end


def test_sizes_flow_and_a_description_builds_an_equal_model():
    model = stack()
    assert [layer.out_features for layer in model.layers] == [8, None, 5, 3, 2]
    again = Sequential.build(model.describe())
    assert repr(again) == repr(model)
    again.flat[:] = model.flat
    x = np.ones((3, 2, 3))
    assert_same_bits(again.forward(x)[0], model.forward(x)[0])
    with pytest.raises(
        ValueError,
        match=r"layer 1 \(Linear\) takes 4 input features, but layer 0 \(LSTM\) outputs 8",
    ):
        Sequential(LSTM(3, 4, bidirectional=True), Linear(4, 2))


@pytest.mark.parametrize("engine", PYTORCH, indirect=True)
def test_initial_weights_are_drawn_direction_by_direction(engine):
    layer = {
        "rnn": RNN,
        "rnn_relu": lambda *a, **o: RNN(*a, nonlinearity="relu", **o),
        "lstm": LSTM,
        "gru": GRU,
    }[engine.name]
    layer = layer(3, 5, bidirectional=True).initialise(rng := 7)
    rng = np.random.default_rng(rng)
    for params in layer.params:
        same_results(params, engine.init(3, 5, rng=rng))


def test_a_checkpoint_keeps_both_states(tmp_path, dtype):
    model = stack(dtype)
    x = np.random.default_rng(0).standard_normal((3, 2, 3)).astype(dtype)
    state = model.forward(x)[1]
    checkpoint.save(
        tmp_path / "m", checkpoint.Checkpoint(model, training=TrainingState(carried=state))
    )
    loaded = checkpoint.load(tmp_path / "m")
    assert_same_bits(loaded.model.flat, model.flat)
    assert_same_bits(
        loaded.model.forward(x, loaded.training.carried)[0], model.forward(x, state)[0]
    )
    for a, b in zip(loaded.training.carried, state, strict=True):
        assert type(a) is type(b)
        same_results(flat(a), flat(b))


def test_a_recording_names_both_directions(dtype):
    model = stack(dtype)
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(dtype)
    recording = model.record(
        x, np.zeros((5, 2, 2), dtype), lambda y, t, lengths=None: (0.0, np.ones_like(y))
    )
    first, second = recording.layers[0], recording.layers[2]
    assert list(first.gates) == [*"ifgo", *(f"{g}_reverse" for g in "ifgo")]
    assert list(first.states) == list(first.dstates) == ["h", "c", "h_reverse", "c_reverse"]
    assert {a.shape for d in (first.gates, first.states, first.dstates) for a in d.values()} == {
        (5, 2, 4)
    }
    assert_same_bits(
        first.y, np.concatenate([first.states["h"], first.states["h_reverse"]], axis=-1)
    )
    later = first.states["c_reverse"][1:]  # the previous state of the reverse direction
    g = {n.removesuffix("_reverse"): a for n, a in first.gates.items() if n.endswith("_reverse")}
    assert_close(
        first.states["c_reverse"][:-1], (g["f"][:-1] * later + g["i"][:-1] * g["g"][:-1]), 4, 4
    )
    # The reverse direction ends at the first step, so its gradient there is its half of dy alone.
    assert_same_bits(second.dstates["h_reverse"][0], second.dy[0] / 2)
    assert_same_bits(second.dstates["h"][-1], second.dy[-1] / 2)


def test_the_graph_has_a_loop_for_each_state_of_each_direction():
    loops = [(e.source, e.label, e.delay, e.shape) for e in stack().graph().edges if e.delay]
    assert loops == [
        ("layer0", "h", 1, ("N", 4)),
        ("layer0", "c", 1, ("N", 4)),
        ("layer0", "h_reverse", -1, ("N", 4)),
        ("layer0", "c_reverse", -1, ("N", 4)),
        ("layer2", "h", 1, ("N", 5)),
        ("layer2", "h_reverse", -1, ("N", 5)),
        ("layer3", "h", 1, ("N", 3)),
    ]
    assert [n.shape[-1] for n in stack().graph().nodes] == [3, 8, 8, 5, 3, 2, 2]
