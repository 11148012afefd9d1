"""Checks that a quantised model gives the bits of its dequantised weights."""

import pickle

import numpy as np

from recurrent.conformance.tolerance import assert_same_bits

KINDS = ["int8", "bfloat16"]


def arrays(state):
    """Return the arrays of a state in order."""
    if state is None or isinstance(state, np.ndarray):
        return [] if state is None else [state]
    return [a for part in state for a in arrays(part)]


def same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert_same_bits(a, b)


def steps(model, x):
    """Return the outputs of a stream."""
    stream = model.stream()
    return np.array([stream.step(x_t) for x_t in x])


def check(model, x, lengths, kind):
    """Check all that a quantised model promises of one without ids."""
    small = model.quantize(kind)
    whole = small.dequantized()
    assert (type(small), repr(small)) == (type(model), repr(model))
    assert (small.weights, whole.weights, small.dtype) == (kind, "float32", np.float32)
    y, state, _ = small.forward(x, lengths=lengths)
    expected = whole.forward(x, lengths=lengths)
    same([y, *arrays(state)], [expected[0], *arrays(expected[1])])
    recorded = small.forward(x, lengths=lengths, record=True, training=False)
    same([y, *arrays(state)], [recorded[0], *arrays(recorded[1])])
    for a in (small, whole):
        a.generator = np.random.default_rng(1)
    dropped = [a.forward(x, lengths=lengths, training=True)[0] for a in (small, whole)]
    assert_same_bits(*dropped)
    same(small.parameters.values(), whole.parameters.values())
    assert_same_bits(small.flat, whole.flat)
    again = pickle.loads(pickle.dumps(small))
    assert_same_bits(again.forward(x, lengths=lengths)[0], y)
    if small.returns_sequence and not any(layer.bidirectional for layer in small.layers):
        assert_same_bits(steps(small, x), whole.forward(x)[0])
        cut = len(x) // 2
        ahead, between, _ = small.forward(x[:cut])
        assert_same_bits(
            np.concatenate([ahead, small.forward(x[cut:], between)[0]]), steps(whole, x)
        )
        run = small.packed()
        later = run(x[cut:], run(x[:cut], None)[1])[0] if cut else run(x, None)[0]
        assert_same_bits(later, whole.forward(x)[0][cut:])
