"""Keras as an oracle: padding anywhere, both directions, dropout, initial weights.

Only in float32: on this backend Keras rounds to it, whatever the dtype of a layer.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import keras as keraspeer

from recurrent import GRU, LSTM, RNN, Dropout, Embedding, Hold, Linear, Sequential
from recurrent.conformance.tolerance import assert_close

pytestmark = pytest.mark.reference

LAYERS = {
    "rnn": (RNN, {}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "gru, reset before": (GRU, dict(reset_after=False)),
}
sizes = st.sampled_from([1, 2, 5, 16, 17])


@st.composite
def problems(draw, make, **options):
    """A layer, x (T, N, D), a mask (T, N) or None, an initial state or None."""
    T, N, D, H = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(sizes), draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    layer = make(D, H, **options).initialise(rng)
    x = rng.standard_normal((T, N, D)).astype(np.float32)
    mask = draw(st.sampled_from([None, 0.3, 0.7]))  # the share of valid steps
    mask = None if mask is None else rng.random((T, N)) < mask
    state = None
    if draw(st.booleans()):
        state = layer.state_from(
            {s: rng.standard_normal((N, H)).astype(np.float32) for s in layer.state_delays}
        )
    return layer, x, mask, state


def assert_equal(layer, x, mask, state, ours, theirs):
    (y, final), (their_y, their_final) = ours, theirs
    terms = 2 * len(x) * (layer.input_size + 4 * layer.hidden_size)
    arrays = list(layer.state_arrays(final).values())
    for a, b in zip((y, *arrays), (their_y, *their_final), strict=True):
        assert a.dtype == b.dtype
        assert_close(a, b, terms, max(1.0, np.abs(b).max()))


def states(layer, state):
    return () if state is None else layer.state_arrays(state).values()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("zeros", [False, True], ids=["held", "zeros"])
@given(st.data())
def test_padding_anywhere(name, zeros, data):
    """A layer equals Keras with zero_output_for_mask=True; with Hold after it, Keras's default.

    A masked step keeps the state. Before the first valid step Hold returns zeros, Keras initial h.
    """
    make, options = LAYERS[name]
    layer, x, mask, state = data.draw(problems(make, **options))
    theirs = keraspeer.run(
        keraspeer.layer(layer, zero_output_for_mask=zeros), x, states(layer, state), mask
    )
    y, final, _ = layer.forward(x, state, mask)
    if not zeros:
        y = Hold().forward(y, lengths=mask)[0]
        if state is not None and mask is not None:
            y = np.where(np.logical_or.accumulate(mask)[:, :, None], y, state.h)
    assert_equal(layer, x, mask, state, (y, final), theirs)


@pytest.mark.parametrize("name", LAYERS)
@given(st.data())
def test_both_directions_with_every_merge(name, data):
    make, options = LAYERS[name]
    merge = data.draw(st.sampled_from(list(keraspeer.MERGE)))
    layer, x, mask, state = data.draw(problems(make, bidirectional=True, merge=merge, **options))
    theirs = keraspeer.run(keraspeer.layer(layer), x, states(layer, state), mask)
    y, final, _ = layer.forward(x, state, mask)
    assert_equal(layer, x, mask, state, (y, final), theirs)


@pytest.mark.parametrize("name", LAYERS)
@given(st.data())
def test_go_backwards(name, data):
    """With go_backwards Keras returns y in the order of reading; ours stays aligned with x."""
    make, options = LAYERS[name]
    layer, x, mask, state = data.draw(problems(make, **options))
    theirs = keraspeer.layer(layer, go_backwards=True, zero_output_for_mask=True)
    their_y, their_final = keraspeer.run(theirs, x, states(layer, state), mask)
    y, final, _ = layer.engine.forward(x, layer.params, state, mask, reverse=True)
    assert_equal(layer, x, mask, state, (y, final), (their_y[::-1], their_final))


@pytest.mark.parametrize("name", LAYERS)
@given(st.data())
def test_a_stack_that_ends_in_a_vector(name, data):
    """With a mask, return_sequences=False equals y[-1] after a Hold."""
    make, options = LAYERS[name]
    layer, x, mask, _ = data.draw(problems(make, **options))
    model = Sequential(make(layer.hidden_size, 4, **options), Hold(), rng=1)
    top = keraspeer.layer(model[0])
    top.return_sequences = False
    y = layer.forward(x, None, mask)[0]
    below = keraspeer.run(keraspeer.layer(layer), x, (), mask)[0]
    theirs, *_ = top(below.swapaxes(0, 1), mask=None if mask is None else mask.T)
    assert_close(
        model.forward(y, lengths=mask)[0][-1],
        theirs,
        2 * len(x) * (layer.input_size + 8 * layer.hidden_size),
        1.0,
    )


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_where_recurrent_dropout_acts(name, monkeypatch):
    """On h in the product with W_hh, not on the state that a gate keeps; with our masks."""
    make, options = LAYERS[name]
    layer = make(3, 5, recurrent_dropout=0.4, **options).initialise(2)
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((6, 4, 3), np.float32), rng.random((6, 4)) < 0.7
    y, final, tape = layer.forward(x, None, mask, record=True)
    one_by_one = {} if name == "rnn" else dict(implementation=1)  # a mask for each gate
    theirs = keraspeer.layer(layer, zero_output_for_mask=True, **one_by_one)
    dropped = tape.masks["dropout"]
    monkeypatch.setattr(
        theirs.cell,
        "get_recurrent_dropout_mask",
        lambda h: [dropped] * 4 if one_by_one else dropped,
    )
    assert_equal(
        layer, x, mask, None, (y, final), keraspeer.run(theirs, x, (), mask, training=True)
    )


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_where_dropout_of_the_input_acts(name, monkeypatch):
    """`dropout` in Keras equals Dropout(per="sequence") in front of the layer."""
    make, options = LAYERS[name]
    model = Sequential(Dropout(0.4, per="sequence"), make(3, 5, **options), rng=3)
    x = np.random.default_rng(0).standard_normal((6, 4, 3), np.float32)
    y, final, tape = model.forward(x, record=True)
    theirs = keraspeer.layer(model[1], dropout=0.4)
    monkeypatch.setattr(theirs.cell, "get_dropout_mask", lambda x_t: tape[0][0])
    assert_equal(
        model[1], x, None, None, (y, final[1]), keraspeer.run(theirs, x, (), training=True)
    )


def assert_same_distribution(a, b):
    """Two-sample Kolmogorov-Smirnov test at a level of 10^-6."""
    both = np.sort(np.concatenate([a.ravel(), b.ravel()]))
    shares = [np.searchsorted(np.sort(s.ravel()), both, side="right") / s.size for s in (a, b)]
    assert np.abs(shares[0] - shares[1]).max() < np.sqrt(
        np.log(2e6) / 2 * (1 / a.size + 1 / b.size)
    )


@pytest.mark.parametrize("name", LAYERS)
def test_initial_weights(name):
    """init="keras": kernels of equal distribution, orthonormal on the same side, equal biases."""
    make, options = LAYERS[name]
    layer = make(48, 64, **options).initialise(1, init="keras")
    mine = keraspeer.arrays(keraspeer.layer(layer))
    kind = keraspeer.KERAS[make.__name__][0]
    theirs = kind(64, seed=1, **options)
    theirs.build((1, 1, 48))
    theirs = keraspeer.arrays(theirs)
    for a, b in zip(mine[:2], theirs[:2], strict=True):
        assert_same_distribution(a, b)
    for _, U, _ in (mine, theirs):
        assert_close(U @ U.T, np.eye(64), 64, 1.0, "orthonormal rows of recurrent_kernel")
    assert np.array_equal(mine[2], theirs[2])


def test_initial_weights_of_other_layers():
    mine = Sequential(Embedding(70, 50), Linear(50, 60), init="keras").parameters
    embedding, dense = keraspeer.keras.layers.Embedding(70, 50), keraspeer.keras.layers.Dense(60)
    embedding.build()
    dense.build((1, 50))
    kernel, bias = keraspeer.arrays(dense)
    assert_same_distribution(mine["0.weight"], keraspeer.arrays(embedding)[0])
    assert_same_distribution(mine["1.weight"], kernel)
    assert np.array_equal(mine["1.bias"], bias)
