"""The state of a stream: read, set, reset by rows, copied, pickled; pools give answers so far."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from recurrent import (
    GRU,
    LSTM,
    QRNN,
    RNN,
    Dropout,
    Embedding,
    Engine,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Recurrent,
    Sequential,
)
from recurrent.conformance.tolerance import assert_same_bits

D, H, N, T = 3, 5, 4, 7


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def stack(dtype="float32", **options):
    layers = LSTM(D, H, **options), LayerNorm(H), Dropout(0.3), GRU(H, 2, **options), Linear(2, 3)
    model = Sequential(*layers, rng=1, dtype=dtype)
    for name, a in model.parameters.items():
        if "0" in name[2:] and a.ndim == 1 and not a.any():  # a learned initial state
            a[:] = numbers(a.size, dtype=dtype)
    return model


def assert_same_state(one, other):
    for ours, theirs in zip(one, other, strict=True):
        assert (ours is None) == (theirs is None)
        for a, b in zip(ours or (), theirs or (), strict=True):
            assert_same_bits(np.asarray(a), np.asarray(b))


def run(stream, x):
    return np.stack([stream.step(x_t) for x_t in x])


@pytest.mark.parametrize("rows", [(), (N,)])
@pytest.mark.parametrize("learn_state", [False, True])
def test_a_stream_goes_on_from_the_state_of_forward(rows, learn_state):
    model, x = stack(learn_state=learn_state), numbers(T, *rows, D)
    y, final, _ = model.forward(x)
    _, middle, _ = model.forward(x[:4])
    stream = model.stream(state=middle)
    assert_same_state(stream.state, middle)
    assert_same_bits(run(stream, x[4:]), y[4:])
    assert_same_state(stream.state, final)
    stream.state = middle
    assert_same_bits(run(stream, x[4:]), y[4:])
    stream.state = (None, None, None, middle[3], None)
    start = (None, None, None, middle[3], None)
    if learn_state:  # forward takes the learned state of a layer whose entry is None
        assert stream.state[0] is None
    assert_same_bits(run(stream, x[:3]), model.forward(x[:3], start)[0])
    stream.state = None
    assert_same_bits(run(stream, x), y)
    # The other way: forward goes on from the state of a stream.
    stream.reset()
    run(stream, x[:4])
    assert_same_bits(model.forward(x[4:], stream.state)[0], y[4:])


def test_values_are_copied_and_writes_are_refused():
    model, x = stack(), numbers(T, N, D)
    y, _, _ = model.forward(x)
    _, middle, _ = model.forward(x[:4])
    given = tuple(None if s is None else type(s)(*map(np.copy, s)) for s in middle)
    stream = model.stream(given)
    for s in given:
        for a in s or ():
            a[:] = np.nan
    assert_same_bits(run(stream, x[4:6]), y[4:6])
    with pytest.raises(TypeError, match=r"assign all entries, stream\.state"):
        stream.state[0] = middle[0]
    with pytest.raises(ValueError, match="read-only"):
        stream.state[0].h[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        model.stream(middle).state[0].h[:] = 0
    before = stream.state
    assert_same_bits(stream.step(x[6]), y[6])
    assert_same_state(before, model.forward(x[:6])[1])


@pytest.mark.parametrize("learn_state", [False, True])
@pytest.mark.parametrize("rows", [[3], [0, 2], [], np.array([True, False, True, True])])
def test_reset_of_rows(rows, learn_state):
    """Each row equals the sequence alone, cut where it was reset."""
    model, x = stack(learn_state=learn_state), numbers(T, N, D)
    stream = model.stream()
    first = run(stream, x[:4])
    stream.reset(rows)
    second = run(stream, x[4:])
    chosen = np.arange(N)[rows] if len(rows) else []
    for n in range(N):
        if n in chosen:
            assert_same_bits(second[:, n], model.forward(x[4:, n])[0])
        else:
            whole = model.forward(x[:, n])[0]
            assert_same_bits(np.concatenate([first, second])[:, n], whole)


def test_reset_of_rows_of_a_state_that_was_set():
    model, x = stack(), numbers(T, N, D)
    middle = model.forward(x[:4])[1]
    stream = model.stream(middle)
    stream.reset(rows=[1])
    assert_same_state(model.stream(middle).state, middle)
    y = run(stream, x[4:])
    assert_same_bits(y[:, 1], model.forward(x[4:, 1])[0])
    assert_same_bits(y[:, 0], model.forward(x[:, 0])[0][4:])
    stream.reset(rows=np.zeros(N, bool))
    stream.reset()
    assert_same_bits(run(stream, x[:, :2]), model.forward(x[:, :2])[0])  # N may change


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([4], IndexError, r"rows must be in 0\.\.3, got 4"),
        ([-1], IndexError, r"rows must be in 0\.\.3, got -1"),
        (3, ValueError, r"rows must be a sequence of ints, such as \[3\], got 3"),
        ([0.5], TypeError, "rows must be integers"),
        (np.ones(3, bool), ValueError, r"rows as a mask must be \(N,\) = \(4,\), got \(3,\)"),
    ],
)
def test_rows_that_do_not_exist(rows, error, words):
    stream, x = stack().stream(), numbers(T, N, D)
    stream.step(x[0])
    before = stream.state
    with pytest.raises(error, match=words):
        stream.reset(rows)
    assert_same_state(before, stream.state)
    alone = stack().stream()
    alone.step(x[0, 0])
    with pytest.raises(ValueError, match="rows needs a batch"):
        alone.reset([0])


def test_states_that_do_not_fit():
    model, x = stack(), numbers(T, N, D)
    stream = model.stream()
    stream.step(x[0])
    before = stream.state
    good = model.forward(x)[1]
    h, c = good[0]
    for bad, error, words in [
        (good[0], ValueError, "state must have 5 entries, one per layer, got 2"),
        (7, TypeError, "state must be a tuple with one entry per layer, got int"),
        (((h,), None, None, good[3], None), ValueError, r"layer 0 \(LSTM\): state of lstm"),
        (((h, c[:2]), *good[1:]), ValueError, r"layer 0 \(LSTM\): state.c must be"),
        (((h.astype("d"), c), *good[1:]), TypeError, "state.h must have the dtype of the weights"),
        ((*good[:4], h), ValueError, r"layer 4 \(Linear\): state must be None"),
        (
            (*good[:3], (good[3].h[:2],), None),
            ValueError,
            r"layer 3 \(GRU\): state must have the batch of the layers before, \(4,\), got \(2,\)",
        ),
    ]:
        with pytest.raises(error, match=words):
            stream.state = bad
        with pytest.raises(error, match=words):
            model.stream(bad)
        assert_same_state(before, stream.state)
    stream.state = good
    with pytest.raises(ValueError, match=r"x_t must be \(4, 3\) as the state has, got \(2, 3\)"):
        stream.step(x[0, :2])
    assert_same_state(good, stream.state)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda s: s.copy(), "pickle"])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_copies_go_on_alone(again, steps):
    if again == "pickle":
        again = lambda s: pickle.loads(pickle.dumps(s))  # noqa: E731
    model = Sequential(
        Embedding(9, D), LSTM(D, H), LayerNorm(H), Dropout(0.5), GRU(H, 2), MeanPool(), Linear(2, 1)
    )
    ids = np.random.default_rng(0).integers(0, 9, (T, N))
    stream = model.stream()
    for x_t in ids[:steps]:
        stream.step(x_t)
    twin = again(stream)
    assert_same_state(stream.state, twin.state)
    y = run(stream, ids[steps:])
    assert_same_bits(run(twin, ids[steps:]), y)
    assert_same_bits(y[-1], model.forward(ids)[0])
    twin.reset()
    assert_same_bits(run(twin, ids[:2])[-1], model.forward(ids[:2])[0])
    assert_same_bits(run(stream, ids[:1])[0], model.forward(np.concatenate([ids, ids[:1]]))[0])


POOLS = {"mean": MeanPool, "max": MaxPool, "last": Last}


@pytest.mark.reference
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [(), (1,), (N,)])
def test_pools_answer_for_the_steps_so_far(pool, dtype, rows):
    model = Sequential(RNN(D, H), POOLS[pool](), Linear(H, 2), dtype=dtype)
    x = numbers(T, *rows, D, dtype=dtype)
    stream = model.stream()
    for t in range(T):
        assert_same_bits(stream.step(x[t]), model.forward(x[: t + 1])[0])
    state = stream.state
    assert stream.step(x[0]).shape == (*rows, 2)
    stream.state = state
    assert_same_bits(stream.step(x[1]), model.forward(np.concatenate([x, x[1:2]]))[0])
    with pytest.raises(ValueError, match="continues in a stream only"):
        model.forward(x, state)


@pytest.mark.parametrize("pool", POOLS)
def test_pools_and_special_values(pool):
    """Signed zeros, NaN with payloads, infinities and ties: the bits of the whole sequence."""
    values = np.array([-0.0, 0.0, -np.inf, np.inf, np.nan, -np.nan, 1.0, -1.0], "f")
    payload = np.array([0x7FC00001, 0xFFC00007], np.uint32).view("f")
    x = np.random.default_rng(2).choice(np.concatenate([values, payload]), (9, 2, 400))
    layer = POOLS[pool]()
    stream = layer.stream()
    with np.errstate(invalid="ignore"):
        for t in range(len(x)):
            y, expected = stream.step(x[t]), layer.forward(x[: t + 1])[0]
            if pool == "mean":  # the payload of inf - inf is the processor's
                np.testing.assert_array_equal(y, expected)
            else:
                assert_same_bits(y, expected)
        y[:] = 5
        assert_same_bits(layer.forward(x[:1])[0], layer.stream().step(x[0]))


def test_rows_of_a_pool():
    model, x = Sequential(RNN(D, H), MeanPool(), Linear(H, 2)), numbers(T, N, D)
    stream = model.stream()
    run(stream, x[:3])
    stream.reset(rows=[2])
    y = run(stream, x[3:])[-1]
    assert_same_bits(y[2], model.forward(x[3:, 2])[0])
    assert_same_bits(y[1], model.forward(x[:, 1])[0])


@pytest.mark.parametrize("cell", [LSTM, GRU, QRNN, "mgu"])
def test_a_stepper_and_the_stream_of_a_layer(cell):
    layer = Recurrent(cell, D, H) if isinstance(cell, str) else cell(D, H)
    x = numbers(T, N, D)
    y, final, _ = layer.forward(x)
    middle = layer.forward(x[:4])[1]
    stream = layer.stream(middle)
    stepper = layer.engine.stepper(layer.params, state=middle)
    for one in (stream.step, stepper):
        assert_same_bits(np.stack([one(x_t) for x_t in x[4:]]), y[4:])
    for state in (stream.state, stepper.state):
        assert type(state) is type(final)
        assert_same_state([state], [final])
    stepper.state = middle
    twin = copy.copy(stepper)
    stepper(x[0])
    assert_same_bits(twin(x[4]), y[4])
    stepper.reset(rows=[1])
    assert_same_bits(stepper(x[0])[1], y[0, 1])
    with pytest.raises(ValueError, match="state of"):
        stepper.state = [1, 2, 3]
    with pytest.raises(ValueError, match="state of"):
        layer.stream((1, 2, 3))


def test_a_pickled_stream_loads_in_another_process(tmp_path):
    model = Sequential(Embedding(9, D), GRU(D, H), Linear(H, 2))
    ids = np.random.default_rng(0).integers(0, 9, (T, N))
    stream = model.stream()
    run(stream, ids[:4])
    np.save(tmp_path / "ids.npy", ids[4:])
    (tmp_path / "stream").write_bytes(pickle.dumps(stream))
    program = """
import pickle, sys
from pathlib import Path
import numpy as np
folder = Path(sys.argv[1])
stream = pickle.loads((folder / "stream").read_bytes())
np.save(folder / "y.npy", [stream.step(x_t) for x_t in np.load(folder / "ids.npy")])
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert_same_bits(np.load(tmp_path / "y.npy"), model.forward(ids)[0][4:])


def test_the_engine_of_a_cell_takes_a_state():
    engine = Engine("lstm")
    params, x = engine.init(D, H), numbers(T, D)
    y, final, _ = engine.forward(x, params)
    stepper = engine.stepper(params, state=engine.forward(x[:2], params)[1])
    assert_same_bits(run_stepper(stepper, x[2:]), y[2:])
    assert_same_state([stepper.state], [final])


def run_stepper(stepper, x):
    return np.stack([stepper(x_t) for x_t in x])


def test_a_stream_says_what_it_is():
    stream = stack().stream()
    assert "any batch, 0 steps" in repr(stream)
    stream.step(numbers(N, D))
    assert "layer 0 (LSTM)" in repr(stream)
    assert "batch (4,), 1 steps" in repr(stream)
    assert "one layer" in repr(LSTM(D, H).stream())
