"""Each mistake of a caller gives one line: the argument, what was expected, what was passed."""

import re

import numpy as np
import pytest
from support.strategies import Case

import recurrent
from recurrent import (
    GRU,
    LSTM,
    RNN,
    Dropout,
    Embedding,
    Last,
    Linear,
    MaxPool,
    MeanPool,
    Sequential,
    checks,
)
from recurrent.conformance.tolerance import assert_same_bits

pytestmark = pytest.mark.reference

T, N, D, H = 4, 3, 5, 6


@pytest.fixture
def p(engine):
    return Case(T, N, D, H).build(engine)


def fails(kind, *parts):
    """Return a context that expects an error of one line with all the parts in order."""
    pattern = r"\A[^\n]*" + r"[^\n]*".join(re.escape(part) for part in parts) + r"[^\n]*\Z"
    return pytest.raises(kind, match=pattern)


@pytest.mark.parametrize(
    "shape", [(), (D,), (T, N, D, 1), (T, N, D + 1), (T, N, D - 1), (T, D + 1), (T, N, 0)]
)
def test_x_of_another_shape(p, shape):
    with fails(ValueError, "x must be (T, N, D=5) or (T, D=5), got", str(shape)):
        p.forward(x=np.zeros(shape))


@pytest.mark.parametrize("kind", ["float16", "int64", "bool", "complex128", "complex64", "object"])
def test_x_of_another_dtype(p, kind):
    with fails(TypeError, "x must be float32 or float64, got", kind):
        p.forward(x=p.x.astype(kind))


def test_x_that_is_not_an_array(p):
    for x in (None, "text", [["a"]]):
        with fails(TypeError, "x must be float32 or float64"):
            p.forward(x=x)


def test_mixed_dtypes_are_never_cast(engine, p):
    with fails(TypeError, "x must have the dtype of params, float64, got float32"):
        p.forward(x=p.x.astype(np.float32))
    with fails(TypeError, "W_hh must have the dtype of W_ih, float64, got float32"):
        p.forward(params=p.params._replace(W_hh=p.params.W_hh.astype(np.float32)))
    with fails(TypeError, "state.h must have the dtype of x, float64, got float32"):
        p.forward(state=p.state._replace(h=p.state.h.astype(np.float32)))
    tape = p.forward(record=True)[2]
    with fails(TypeError, "dy must have the dtype of x, float64, got float32"):
        engine.backward(p.dy.astype(np.float32), tape)
    with fails(TypeError, "dstate.h must have the dtype of x, float64, got float32"):
        engine.backward(p.dy, tape, p.dstate._replace(h=p.dstate.h.astype(np.float32)))


def test_params_that_do_not_fit(engine, p):
    with fails(
        ValueError, f"params of {engine.name} must be {', '.join(p.params._fields)}", "got 2 arrays"
    ):
        p.forward(params=p.params[:2])
    with fails(
        ValueError,
        f"b_ih must be ({p.params.b_ih.size},) for {engine.name}",
        f"got ({p.params.b_ih.size + 1},)",
    ):
        p.forward(params=p.params._replace(b_ih=np.zeros(p.params.b_ih.size + 1)))
    with fails(ValueError, "W_hh must be", str(p.params.W_hh.shape)):
        p.forward(params=p.params._replace(W_hh=np.zeros((len(p.params.W_hh) + 1, H))))
    with fails(ValueError, "W_ih and W_hh must have 2 axes"):
        p.forward(params=p.params._replace(W_ih=p.params.W_ih[None]))
    with fails(ValueError, "W_ih must be"):
        p.forward(params=p.params._replace(W_ih=p.params.W_ih[:-1]))


def test_states_that_do_not_fit(engine, p):
    with fails(ValueError, "state of", engine.name, "a tuple of arrays"):
        p.forward(state=p.state.h)
    with fails(ValueError, "state of", engine.name):
        p.forward(state=(*p.state, p.state.h))
    with fails(ValueError, "state.h must be (N, H) = (3, 6), got (4, 6)"):
        p.forward(state=engine.State(*[np.zeros((N + 1, H))] * len(p.state)))
    with fails(ValueError, "state.h must be (H,) = (6,), got (3, 6)"):
        p.forward(x=p.x[:, 0])
    with fails(ValueError, "dstate.h must be (N, H) = (3, 6), got (3, 7)"):
        engine.backward(
            p.dy, p.forward(record=True)[2], engine.State(*[np.zeros((N, H + 1))] * len(p.state))
        )


@pytest.mark.parametrize("state", [5, "h", 1.5])
def test_state_of_the_wrong_type(engine, p, state):
    with fails((TypeError, ValueError), "state"):
        p.forward(state=state)


@pytest.mark.parametrize(
    ("lengths", "kind", "parts"),
    [
        ([1, -1, 2], ValueError, ["lengths must be between 0 and T = 4, got -1 for sequence 1"]),
        ([1, 2, 5], ValueError, ["lengths must be between 0 and T = 4, got 5 for sequence 2"]),
        ([1, 2], ValueError, ["lengths must be (N,) = (3,), got (2,)"]),
        (3, ValueError, ["lengths must be (N,) = (3,), got ()"]),
        ([[1, 2, 3]], ValueError, ["lengths must be (N,) = (3,), got (1, 3)"]),
        ([1.0, 2.0, 3.0], TypeError, ["lengths must be integers, got float64"]),
        ([True, True, False], TypeError, ["lengths must be integers, got bool"]),
        (
            np.array([2**63 + 1, 1, 1], np.uint64),
            ValueError,
            ["lengths must be between 0 and T = 4"],
        ),
    ],
)
def test_lengths(p, lengths, kind, parts):
    with fails(kind, *parts):
        p.forward(lengths=lengths)


def test_lengths_without_a_batch(p):
    with fails(ValueError, "lengths need a batch"):
        p.forward(x=p.x[:, 0], state=None, lengths=[3])


def test_gradients_that_do_not_fit(engine, p):
    tape = p.forward(record=True)[2]
    with fails(ValueError, "dy must be (T, N, H) = (4, 3, 6), got (4, 3, 7)"):
        engine.backward(np.zeros((T, N, H + 1)), tape)
    with fails(ValueError, "dy must be (T, N, H)"):
        engine.backward(p.dy[:-1], tape)
    with fails(ValueError, "record=True"):
        engine.backward(p.dy, None)


def test_steps_of_another_shape(engine, p):
    with fails(ValueError, "x_t must be (N, D) or (D,), got (4, 3, 5)"):
        engine.step(p.x, p.state, p.params)
    with fails(ValueError, "D=5"):
        engine.step(p.x[0, :, :-1], p.state, p.params)
    with fails(TypeError, "float32 or float64, got int64"):
        engine.step(np.ones((N, D), int), p.state, p.params)


@pytest.mark.parametrize(
    "call",
    [lambda e, n: e.init(n, 3), lambda e, n: e.init(3, n)],
    ids=["input_size", "hidden_size"],
)
def test_sizes(engine, call):
    for value in (0, -1):
        with fails(ValueError, "_size must be at least 1, got", str(value)):
            call(engine, value)
    for value in (2.0, "3", None, True):
        with fails(TypeError, "_size must be an int, got", type(value).__name__):
            call(engine, value)
    with fails(TypeError, "dtype must be float32 or float64, got 'float16'"):
        engine.init(2, 3, "float16")
    with fails(TypeError, "dtype must be float32 or float64, got 'nothing'"):
        engine.init(2, 3, "nothing")


def test_empty_batches_and_sequences_are_allowed(engine, p, dtype):
    """Without steps the state comes back; without sequences arrays are empty."""
    p = Case(T, N, D, H, dtype=dtype).build(engine)
    y, final, tape = p.forward(x=p.x[:0], record=True)
    assert y.shape == (0, N, H)
    for a, b in zip(final, p.state, strict=True):
        assert_same_bits(a, b)
    dx, dparams, d_initial = engine.backward(p.dy[:0], tape, p.dstate)
    assert dx.shape == (0, N, D)
    assert not any(g.any() for g in dparams)
    assert_same_bits(d_initial.h, p.dstate.h)
    none = engine.State(*[s[:0] for s in p.state])
    y, final, tape = p.forward(x=p.x[:, :0], state=none, record=True)
    assert y.shape == (T, 0, H)
    assert final.h.shape == (0, H)
    assert not any(g.any() for g in engine.backward(p.dy[:, :0], tape)[1])
    y, final, tape = p.forward(lengths=[0, 0, 0], record=True)
    assert not y.any()
    dx, dparams, d_initial = engine.backward(p.dy, tape, p.dstate)
    assert not dx.any()
    assert not any(g.any() for g in dparams)
    assert_same_bits(d_initial.h, p.dstate.h)


def test_unknown_names_on_a_tape(engine, p):
    with pytest.raises(AttributeError, match="has gates, h"):
        _ = p.forward(record=True)[2].nothing


# Layers and models


@pytest.mark.parametrize(
    ("ids", "kind", "parts"),
    [
        ([[0, 7]], IndexError, ["ids must be in 0..6, got 7 at (0, 1)"]),
        ([-1], IndexError, ["ids must be in 0..6, got -1 at (0,)"]),
        ([0.5], TypeError, ["ids must be integers, got float64"]),
        ([True], TypeError, ["ids must be integers, got bool"]),
        (["a"], TypeError, ["ids must be integers"]),
        (np.array([2**64 - 1], np.uint64), IndexError, ["ids must be in 0..6"]),
    ],
)
def test_ids(ids, kind, parts):
    with fails(kind, *parts):
        Embedding(7, 3).forward(ids)


def test_gradients_of_embedding():
    layer = Embedding(7, 3)
    tape = layer.forward([[0, 1]], record=True)[2]
    with fails(ValueError, "dy must have the shape of y = (1, 2, 3), got (1, 1, 3)"):
        layer.backward(np.zeros((1, 1, 3), np.float32), tape)
    with fails(TypeError, "dy must have the dtype of weight, float32, got float64"):
        layer.backward(np.zeros((1, 2, 3)), tape)


def test_linear():
    layer = Linear(3, 2)
    with fails(ValueError, "x must be (..., 3), got (2, 4)"):
        layer.forward(np.zeros((2, 4), np.float32))
    with fails(TypeError, "x must have the dtype of weight, float32, got float64"):
        layer.forward(np.zeros((2, 3)))
    tape = layer.forward(np.zeros((2, 3), np.float32), record=True)[2]
    with fails(ValueError, "dy must have the shape of y =", "(2, 2), got (2, 3)"):
        layer.backward(np.zeros((2, 3), np.float32), tape)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_dropout_probability(p):
    with fails(ValueError, "p must be at least 0 and below 1, got"):
        Dropout(p)


def test_options_of_layers():
    with fails(TypeError, "p must be a number, got str"):
        Dropout("0.5")
    with fails(
        ValueError,
        "nonlinearity: unknown activation 'tan'; known activations are relu, tanh, sigmoid,",
    ):
        RNN(2, 3, nonlinearity="tan")
    for make in (
        lambda n: LSTM(2, n),
        lambda n: GRU(n, 2),
        lambda n: Linear(n, 2),
        lambda n: Embedding(2, n),
    ):
        with fails(ValueError, "must be at least 1, got 0"):
            make(0)
        with fails(TypeError, "must be an int, got float"):
            make(2.0)


def test_models_that_do_not_fit_together():
    with fails(ValueError, "a model needs at least one layer"):
        Sequential()
    with fails(TypeError, "layer 1 must be a layer, got int"):
        Sequential(LSTM(2, 3), 3)
    with fails(ValueError, "layer 2 (Linear) takes 5 input features, but layer 0 (LSTM) outputs 4"):
        Sequential(LSTM(2, 4), Dropout(0.1), Linear(5, 2))
    layer = LSTM(2, 2)
    with fails(ValueError, "layer 1 (LSTM) is already part of a model"):
        Sequential(layer, layer)
    Sequential(layer)
    with fails(ValueError, "layer 0 (LSTM) is already part of a model"):
        Sequential(layer)
    with fails(TypeError, "layer 0 (LSTM)", "float32"):
        Sequential(LSTM(2, 3).initialise(), dtype="float64")
    with fails(ValueError, "unknown layer type 'Nothing'; known are"):
        Sequential.build({"dtype": "float32", "layers": [{"type": "Nothing", "options": {}}]})


def test_masks(p):
    with fails(ValueError, "lengths as a mask must be (T, N) = (4, 3), got (3, 4)"):
        p.forward(lengths=np.ones((N, T), bool))
    with fails(TypeError, "lengths must be integers, got bool"):
        p.forward(lengths=np.ones(N, bool))
    with fails(ValueError, "lengths must be (N,) = (3,), got (4, 3)"):
        p.forward(lengths=np.ones((T, N), int))
    with fails(ValueError, "lengths need a batch"):
        p.forward(x=p.x[:, 0], state=None, lengths=np.ones((T, 1), bool))


def test_lists_of_arrays():
    layer, x = LSTM(2, 3), [np.zeros((4, 2), np.float32), np.zeros((3, 2), np.float32)]
    with fails(ValueError, "x[1] must be (T, 2) as x[0], got (3, 1)"):
        layer.forward([x[0], x[1][:, :1]])
    with fails(TypeError, "x[1] must have the dtype of x[0], float32, got float64"):
        layer.forward([x[0], x[1].astype(float)])
    with fails(ValueError, "lengths must be None if x is a list of arrays"):
        Sequential(layer).forward(x, lengths=[4, 3])


def test_pooling():
    x = np.zeros((4, 3, 6), np.float32)
    for layer in (Last(), Last(bidirectional=True), MeanPool(), MaxPool()):
        with fails(ValueError, "x must be (T, N, K) or (T, K), got (6,)"):
            layer.forward(x[0, 0])
        with fails(TypeError, "x must be float32 or float64, got int64"):
            layer.forward(x.astype(int))
        with fails(ValueError, "lengths need a batch"):
            layer.forward(x[:, 0], lengths=[4])
        with fails(ValueError, "lengths must be between 0 and T = 4, got 5 for sequence 1"):
            layer.forward(x, lengths=[4, 5, 0])
        tape = layer.forward(x, record=True)[2]
        with fails(ValueError, "dy must have the shape of y = (3, 6), got (4, 3, 6)"):
            layer.backward(x, tape)
        with fails(TypeError, "dy must have the dtype of x, float32, got float64"):
            layer.backward(x[0].astype(float), tape)
        if layer.bidirectional:
            with fails(ValueError, "Last(bidirectional=True) cannot run step by step"):
                layer.stream()
            continue
        stream = layer.stream()
        with fails(ValueError, "x_t must be (N, K) or (K,), got (4, 3, 6)"):
            stream.step(x)
        stream.step(x[0])
        with fails(ValueError, "x_t must have 6 features, got (3, 5)"):
            stream.step(x[0, :, :5])
        with fails(ValueError, "x_t must be (3, 6) as in the steps before, got (2, 6)"):
            stream.step(x[0, :2])
        with fails(TypeError, "x_t must have the dtype of the state, float32, got float64"):
            stream.step(x[0].astype(float))
        with fails(TypeError, "state must be PoolState(total, steps), got 5"):
            stream.state = 5
        with fails(ValueError, "state.steps must be (N,) = (3,), got (2,)"):
            stream.state = (x[0], np.ones(2, int))
    with fails(
        ValueError, "x must have an even number of features, one half per direction, got (4, 3, 5)"
    ):
        Last(bidirectional=True).forward(x[:, :, :5])
    with fails(TypeError, "bidirectional must be True or False, got 1"):
        Last(1)
    with fails(
        ValueError,
        "layer 3 (GRU): its input must be a sequence, but layer 1 (MaxPool) outputs one vector",
    ):
        Sequential(LSTM(2, 3), MaxPool(), Linear(3, 3), GRU(3, 2))
    both = dict(bidirectional=True)
    with fails(
        ValueError, "layer 2 (Last): at the last step the reverse direction has read a single step"
    ):
        Sequential(LSTM(2, 3, **both), Dropout(0.1), Last())
    for layers in (
        (LSTM(2, 3, **both), Linear(6, 4)),
        (LSTM(2, 4, **both, merge="sum"),),
        (LSTM(2, 4),),
    ):
        with fails(
            ValueError,
            "Last(bidirectional=True) must follow a bidirectional layer with merge='concat', got ",
        ):
            Sequential(*layers, Last(**both))


def test_bidirectional_layers():
    with fails(TypeError, "bidirectional must be True or False, got 2"):
        LSTM(2, 3, bidirectional=2)
    with fails(ValueError, "merge='sum' needs bidirectional=True"):
        GRU(2, 3, merge="sum")
    with fails(ValueError, "merge must be one of concat, sum, mul, average, got 'max'"):
        RNN(2, 3, bidirectional=True, merge="max")
    model = Sequential(Linear(2, 2), LSTM(2, 3, bidirectional=True), rng=0)
    with fails(ValueError, "layer 1 (LSTM): a bidirectional layer cannot run step by step"):
        model.stream()
    x = np.zeros((4, 1, 2), np.float32)
    y, (_, state), tape = model.forward(x, record=True)
    with fails(
        ValueError, "layer 1 (LSTM): state of a bidirectional layer must be (forward, reverse)"
    ):
        model.forward(x, (None, (*state, None)))
    with fails(
        ValueError, "layer 1 (LSTM): reverse direction: state.h must be (N, H) = (1, 3), got (1, 2)"
    ):
        model.forward(x, (None, state._replace(reverse=(state.reverse.h[:, :2], state.reverse.c))))
    with fails(ValueError, "layer 1 (LSTM): dy must be (T, N, 2H) = (4, 1, 6), got (4, 1, 3)"):
        model.backward(y[..., :3], tape)
    with fails(TypeError, "layer 1 (LSTM): dy must have the dtype of x, float32, got float64"):
        model.backward(y.astype(float), tape)
    with fails(ValueError, "backward needs a tape"):
        model[1].backward(y, None)
    layer = GRU(2, 3, bidirectional=True, merge="sum")
    with fails(ValueError, "dy must be (T, H) = (4, 3), got (4, 6)"):
        layer.backward(y[:, 0], layer.forward(x[:, 0], record=True)[2])


def test_a_model_names_the_layer():
    model = Sequential(LSTM(3, 4), Linear(4, 2))
    with fails(ValueError, "layer 0 (LSTM): x must be (T, N, D=3)", "got (2, 1, 4)"):
        model.forward(np.zeros((2, 1, 4), np.float32))
    with fails(TypeError, "layer 0 (LSTM): x must have the dtype of params"):
        model.forward(np.zeros((2, 1, 3)))
    with fails(ValueError, "state must have 2 entries, one per layer, got 1"):
        model.forward(np.zeros((2, 1, 3), np.float32), [None])
    with fails(ValueError, "backward needs a tape: call forward with record=True"):
        model.backward(np.zeros((2, 1, 2), np.float32), None)
    tape = model.forward(np.zeros((2, 1, 3), np.float32), record=True)[2]
    with fails(ValueError, "layer 1 (Linear): dy must have the shape of y"):
        model.backward(np.zeros((2, 1, 3), np.float32), tape)
    dy = np.zeros((2, 1, 2), np.float32)
    with fails(ValueError, "dstate must have 2 entries, one per layer, got 1"):
        model.backward(dy, tape, [None])
    with fails(ValueError, "out must have the shape of the result"):
        model.backward(dy, tape, out=np.zeros(3, np.float32))
    with fails(ValueError, "out must be C-contiguous and writeable"):
        model.backward(dy, tape, out=np.zeros(2 * model.size, np.float32)[::2])
    with fails(TypeError, "out must have the dtype of the result, float32, got float64"):
        model.backward(dy, tape, out=np.zeros(model.size))
    with fails(ValueError, "record needs both targets and loss, or neither"):
        model.record(np.zeros((2, 1, 3), np.float32), targets=1)


def test_a_stream_keeps_its_state_when_a_step_fails():
    """A failed step changes nothing: the next one continues where the stream was."""
    model = Sequential(LSTM(3, 4), GRU(4, 2))
    x = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    stream = model.stream()
    stream.step(x[0])
    for bad in (
        np.zeros((1, 3), np.float32),
        np.zeros(4, np.float32),
        x[0].astype(float),
        np.zeros((2, 2, 3), np.float32),
    ):
        with pytest.raises((ValueError, TypeError)):
            stream.step(bad)
    rest = [stream.step(x_t) for x_t in x[1:]]
    assert_same_bits(np.stack(rest), model.forward(x)[0][1:])


def test_a_failed_call_changes_nothing(engine, p):
    """A failed backward leaves the tape as it was."""
    tape = p.forward(record=True)[2]
    with pytest.raises(ValueError, match="dy"):
        engine.backward(p.dy[:-1], tape)
    assert_same_bits(engine.backward(p.dy, tape, p.dstate)[0], p.gradients()["x"])


def test_out_of_the_wrong_kind(engine, p):
    """`out` raises an error if backward cannot write to it in place."""
    tape = p.forward(record=True)[2]
    strided = engine.Params(*[np.zeros((*a.shape, 2))[..., 0] for a in p.params])
    small = engine.Params(*[np.zeros(a.shape[1:]) for a in p.params])
    single = engine.Params(*[np.zeros(a.shape, np.float32) for a in p.params])
    for out, kind in ((strided, ValueError), (small, ValueError), (single, TypeError)):
        with fails(kind, "out.W_ih"):
            engine.backward(p.dy, tape, out=out)


def test_a_tape_of_another_cell():
    x = np.zeros((2, 1, 3))
    tape = recurrent.gru.forward(x, recurrent.gru.init(3, 4, float), record=True)[2]
    with fails(ValueError, "tape", "gru", "lstm"):
        recurrent.lstm.backward(np.zeros((2, 1, 4)), tape)


class Own(IndexError):
    """A user-defined error."""


@pytest.mark.parametrize(
    "error", [ValueError("bad"), TypeError("bad"), IndexError("bad"), Own("bad")], ids=repr
)
def test_errors_from_inside_a_layer_say_which_one(error):
    with fails(type(error), "layer 1: bad"), checks.naming("layer 1"):
        raise error


def test_errors_with_several_arguments():
    """Errors that cannot be rebuilt from a message alone keep their type."""
    with fails(ValueError, "layer 1: 'ascii' codec can't encode"), checks.naming("layer 1"):
        "\u00fc".encode("ascii")
    with pytest.raises(KeyError, match=r"^'bad'$"), checks.naming("layer 1"):
        raise KeyError("bad")


def test_tape_and_params_of_the_wrong_type(engine, p):
    tape = p.forward(record=True)[2]
    with fails(
        TypeError, "tape must be the Tape that forward returns with record=True, got ndarray"
    ):
        engine.backward(tape, p.dy)
    for params in (None, p.params._asdict(), p.params.W_ih):
        with fails(
            TypeError,
            f"params of {engine.name} must be W_ih, W_hh, b_ih",
            f"got {type(params).__name__}",
        ):
            p.forward(params=params)
    count = 1 if len(p.state) > 1 else 3
    with fails(ValueError, f"a tuple of arrays, got a tuple of {count}"):
        p.forward(state=(p.state[0],) * count)


def test_unsupported_dtypes_of_parameters(engine):
    for dtype in (None, ">f8", "int32"):
        with fails(TypeError, "dtype must be float32 or float64, got"):
            engine.init(2, 3, dtype)


def test_an_engine_by_name():
    assert recurrent.Engine("mgu").cell is recurrent.mgu.cell
    with fails(ValueError, "unknown cell 'lstmm'; known cells are"):
        recurrent.Engine("lstmm")


def test_a_loss_that_is_not_callable():
    model, x = Sequential(LSTM(D, H)), np.zeros((T, N, D), np.float32)
    with fails(TypeError, "loss must be a function such as losses.softmax_cross_entropy, got str"):
        model.record(x, x, "mse")
