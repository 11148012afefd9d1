"""Attention against naive loops, complex steps and PyTorch; bits do not depend on the batch."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import naive

from recurrent import LSTM, Attention, Linear, Memory, Sequential
from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.kernels import threads
from recurrent.layers import attention
from recurrent.layers.attention import SCORES

pytestmark = pytest.mark.reference

WIDTHS = [1, 3, 8, 15, 17]


@dataclass(frozen=True)
class Case:
    """An Attention layer and its arrays; the repr shows all that determines them."""

    T: int
    S: int
    N: int
    Q: int
    M: int
    score: str
    output: int | None = None
    dtype: str = "float64"
    blanks: str = "none"
    seed: int = 0

    def build(self):
        rng = np.random.default_rng(self.seed)
        M = self.Q if self.score == "dot" else self.M
        layer = Attention(self.Q, M, self.score, output_size=self.output).initialise(
            rng, self.dtype
        )
        x, values = (
            rng.standard_normal(s).astype(self.dtype)
            for s in ((self.T, self.N, self.Q), (self.S, self.N, M))
        )
        lengths = None
        if self.blanks == "end":
            lengths = rng.integers(0, self.S + 1, self.N)
        elif self.blanks == "anywhere":
            lengths = rng.random((self.S, self.N)) < 0.6
        dy = rng.standard_normal((self.T, self.N, layer.out_features)).astype(self.dtype)
        return layer, x, Memory(values, lengths), dy

    @property
    def terms(self):
        return self.T + self.S + 3 * max(self.Q, self.M, self.output or 1)


def cases(dtype="float64", **fixed):
    sizes = dict(
        T=st.integers(1, 5), S=st.integers(1, 9), N=st.integers(1, 4), Q=st.sampled_from(WIDTHS)
    )
    more = dict(
        M=st.sampled_from(WIDTHS),
        score=st.sampled_from(SCORES),
        output=st.sampled_from([None, 1, 5]),
    )
    blanks = st.sampled_from(["none", "end", "anywhere"])
    return st.builds(
        Case,
        **{
            **sizes,
            **more,
            "blanks": blanks,
            "dtype": st.just(dtype),
            "seed": st.integers(0, 2**16),
            **fixed,
        },
    )


def mask(memory):
    S, N = memory.values.shape[:2]
    lengths = np.full(N, S) if memory.lengths is None else np.asarray(memory.lengths)
    return lengths if lengths.ndim == 2 else np.arange(S)[:, None] < lengths


def expected(layer, x, values, valid, p):
    """Return y and the weights, computed by naive loops."""
    context, weights = naive.attention(layer.score, x, values, valid, p)
    joined = np.concatenate([context, x], axis=2)
    if "weight_output" in p:
        joined = np.tanh(joined @ p["weight_output"].T + p["bias_output"])
    return joined, weights


@given(st.data())
def test_values_and_weights_are_those_of_the_naive_loops(dtype, data):
    case = data.draw(cases(dtype))
    layer, x, memory, _ = case.build()
    y, state, tape = layer.forward(x, memory, record=True)
    wide = [a.astype(float) for a in (x, memory.values)]
    theirs, weights = expected(
        layer, *wide, mask(memory), {n: a.astype(float) for n, a in layer.parameters.items()}
    )
    # A weight is exp(score) up to a factor: an absolute error of the score is a relative one of it.
    scale = max(1.0, *(np.abs(a).max() for a in wide)) ** 2 * case.Q
    assert_close(y, theirs, case.terms, scale)
    assert_close(tape.weights, weights, case.terms, scale)
    assert state is memory
    some = mask(memory).any(axis=0)
    total = tape.weights.sum(axis=2)
    assert_close(total, np.broadcast_to(np.where(some, 1, 0), total.shape).astype(dtype), case.S)
    assert not tape.weights.transpose(2, 1, 0)[~mask(memory)].any()


@given(st.data())
def test_gradients_are_those_of_a_complex_step(data):
    case = data.draw(cases())
    layer, x, memory, dy = case.build()
    valid, p = mask(memory), layer.parameters
    grads = layer.backward(dy, layer.forward(x, memory, record=True)[2])
    found = {"x": grads.dx, "memory": grads.state.values, **grads.params}
    assert not grads.state.values[~valid].any()
    at = {"x": x, "memory": memory.values, **p}
    rng = np.random.default_rng(case.seed)
    for name, a in at.items():
        for k in {tuple(rng.integers(0, n) for n in a.shape) for _ in range(6)} | {None}:
            direction = rng.standard_normal(a.shape) if k is None else np.zeros(a.shape)
            if k is not None:
                direction[k] = 1
            moved = at | {name: a + 1e-30j * direction}
            y, _ = expected(layer, moved["x"], moved["memory"], valid, {n: moved[n] for n in p})
            slope = (y * dy).sum().imag / 1e-30
            sizes = (
                np.abs(dy).max()
                * max(np.abs(b).max() for b in at.values()) ** 3
                * direction.size**0.5
                * case.terms
            )
            bound = tolerance(np.float64, case.terms * case.N, max(1.0, sizes))
            assert abs((found[name] * direction).sum() - slope) <= bound, (
                f"gradient of {name} at {k} in {case}"
            )


@pytest.mark.parametrize(
    "wrong",
    ["x", "memory", "weight_query", "weight_memory", "bias_query", "weight_score", "weight_output"],
)
def test_a_wrong_gradient_would_be_seen(wrong):
    """The tolerance above is far below a relative error of 1/1000."""
    case = Case(3, 5, 2, 3, 4, "additive", 5)
    layer, x, memory, dy = case.build()
    grads = layer.backward(dy, layer.forward(x, memory, record=True)[2])
    found = {"x": grads.dx, "memory": grads.state.values, **grads.params}[wrong]
    at = {"x": x, "memory": memory.values, **layer.parameters}
    sizes = (
        np.abs(dy).max()
        * max(np.abs(b).max() for b in at.values()) ** 3
        * found.size**0.5
        * case.terms
    )
    assert np.abs(found).max() * 1e-3 > tolerance(np.float64, case.terms * case.N, sizes)


@given(st.data())
def test_a_sequence_gives_the_same_bits_alone_and_with_more_padding(dtype, data):
    case = data.draw(cases(dtype))
    layer, x, memory, dy = case.build()
    y, _, tape = layer.forward(x, memory, record=True)
    grads, valid = layer.backward(dy, tape), mask(memory)
    n = data.draw(st.integers(0, case.N - 1))
    own = slice(n, n + 1)
    junk = np.full((3, 1, layer.memory_size), np.nan, dtype)
    values = np.concatenate(
        [np.where(valid[:, own, None], memory.values[:, own], np.nan).astype(dtype), junk]
    )
    longer = np.concatenate([valid[:, own], np.zeros((3, 1), bool)])
    y1, _, tape1 = layer.forward(x[:, own], Memory(values, longer), record=True)
    grads1 = layer.backward(dy[:, own], tape1)
    assert_same_bits(y1, y[:, own])
    assert_same_bits(tape1.weights[..., : case.S], tape.weights[:, own])
    assert_same_bits(grads1.dx, grads.dx[:, own])
    assert_same_bits(grads1.state.values[: case.S], grads.state.values[:, own])
    alone = layer.forward(x[:, n], Memory(memory.values[valid[:, n], n]))[0]
    assert_same_bits(alone, y[:, n]) if valid[:, n].all() else None


@given(st.data())
def test_two_calls_equal_one_longer_call(dtype, data):
    case = data.draw(cases(dtype, T=st.integers(2, 6)))
    layer, x, memory, _ = case.build()
    cut = data.draw(st.integers(1, case.T - 1))
    first, state, _ = layer.forward(x[:cut], memory)
    second, _, _ = layer.forward(x[cut:], state)
    assert_same_bits(np.concatenate([first, second]), layer.forward(x, memory)[0])


@given(st.data())
def test_an_unrecorded_run_does_not_depend_on_the_chunk_size(dtype, data):
    layer, x, memory, _ = data.draw(cases(dtype, N=st.integers(1, 7))).build()
    y, _, _ = layer.forward(x, memory, record=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "CHUNK", data.draw(st.sampled_from([1, 300, 2000, 1 << 20])))
        for again in layer.forward(x, memory)[0], layer.packed()(x, memory)[0]:
            assert_same_bits(again, y)


@pytest.mark.parametrize("score", SCORES)
def test_results_do_not_depend_on_the_number_of_threads(score, dtype):
    layer, x, memory, dy = Case(3, 7, 6, 5, 5, score, 4, dtype, "end").build()

    def results():
        y, _, tape = layer.forward(x, memory, record=True)
        grads = layer.backward(dy, tape)
        return [y, grads.dx, grads.state.values, *grads.params.values()]

    one = results()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "MIN_FLOPS_PER_THREAD", 1e-3)
        patch.setattr(threads, "available", lambda: 3)
        several = results()
    for a, b in zip(one, several, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("blanks", ["none", "anywhere"])
def test_self_attention(score, blanks, dtype):
    """Equals attention with x as memory; the gradient of x is the sum of both."""
    _, x, memory, _ = Case(5, 5, 3, 4, 4, score, None, dtype, blanks).build()
    itself, other = (Attention(4, M, score, output_size=6).initialise(3, dtype) for M in (None, 4))
    y, state, tape = itself.forward(x, lengths=memory.lengths, record=True)
    y2, _, tape2 = other.forward(x, Memory(x, memory.lengths), record=True)
    assert state is None
    assert_same_bits(y, y2)
    dy = np.cos(y)
    grads, grads2 = itself.backward(dy, tape), other.backward(dy, tape2)
    assert_same_bits(grads.dx, grads2.dx + grads2.state.values)
    assert grads.state is None


def test_torch_agrees(dtype):
    """softmax(q m' + mask) m and its gradients equal those of PyTorch's attention."""
    torch = pytest.importorskip(
        "torch", reason="parity with PyTorch needs torch: pip install recurrent-engine[peers]"
    )
    case = Case(4, 6, 3, 5, 5, "dot", None, dtype, "none")
    layer, x, memory, dy = case.build()
    memory = Memory(memory.values, np.array([6, 2, 4]))
    y, _, tape = layer.forward(x, memory, record=True)
    grads = layer.backward(dy, tape)
    q, m = (torch.tensor(a, requires_grad=True) for a in (x, memory.values))
    allowed = torch.tensor(mask(memory).T.copy())[:, None, :].expand(3, 4, 6)
    context = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(0, 1), m.transpose(0, 1), m.transpose(0, 1), attn_mask=allowed, scale=1.0
    )
    theirs = torch.cat([context.transpose(0, 1), q], dim=2)
    (theirs * torch.tensor(dy)).sum().backward()
    scale = 10 * case.Q
    assert_close(y, theirs.detach().numpy(), case.terms, scale)
    assert_close(grads.dx, q.grad.numpy(), case.terms, scale)
    assert_close(grads.state.values, m.grad.numpy(), case.terms, scale)


def test_a_memory_of_no_steps_gives_a_context_of_zeros():
    layer = Attention(3, 2).initialise(0, "float64")
    x = np.ones((2, 1, 3))
    for memory in (Memory(np.zeros((0, 1, 2))), Memory(np.full((4, 1, 2), np.nan), [0])):
        y, _, tape = layer.forward(x, memory, record=True)
        assert np.array_equal(y, np.concatenate([np.zeros((2, 1, 2)), x], axis=2))
        grads = layer.backward(np.ones_like(y), tape)
        assert np.array_equal(grads.dx, x)
        assert not grads.state.values.any()


def test_a_model_records_the_weights():
    model = Sequential(
        LSTM(3, 4, bidirectional=True),
        Attention(8, score="additive", output_size=5),
        Linear(5, 2),
        rng=0,
    )
    x = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)
    recording = model.record(x, lengths=[6, 4])
    weights = recording.layers[1].weights
    assert weights.shape == (6, 2, 6)
    assert not weights[:, 1, 4:].any()
    assert recording.layers[0].weights is None


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: Attention(3, score="product"),
            ValueError,
            "score must be one of dot, general, additive, got 'product'",
        ),
        (
            lambda: Attention(3, 4, "dot"),
            ValueError,
            "score='dot' needs memory_size = query_size = 3, got 4",
        ),
        (
            lambda: Attention(3, 4, score_size=5),
            ValueError,
            "score_size needs score='additive', got 'general'",
        ),
        (lambda: Attention(3, 0), ValueError, "memory_size must be at least 1, got 0"),
        (
            lambda: Attention(3, 4).forward(np.zeros((2, 1, 3), np.float32)),
            ValueError,
            "the memory is missing",
        ),
        (
            lambda: Attention(3).forward(
                np.zeros((2, 1, 3), np.float32), Memory(np.zeros((1, 1, 3), np.float32))
            ),
            ValueError,
            "set memory_size to pass a memory",
        ),
        (
            lambda: Attention(3, 4).forward(
                np.zeros((2, 1, 3), np.float32), Memory(np.zeros((2, 1, 5), np.float32))
            ),
            ValueError,
            r"the memory must be \(T_in, 1, 4\), got \(2, 1, 5\)",
        ),
        (
            lambda: Attention(3, 4).forward(
                np.zeros((2, 1, 3), np.float32), Memory(np.zeros((2, 1, 4)))
            ),
            TypeError,
            "the memory must have the dtype of x, float32, got float64",
        ),
        (
            lambda: Attention(3, 4).forward(
                np.zeros((2, 1, 3), np.float32), Memory(np.zeros((2, 1, 4), np.float32), [3])
            ),
            ValueError,
            "lengths must be between 0 and T = 2, got 3 for sequence 0",
        ),
        (
            lambda: Attention(3).forward(np.zeros((2, 1, 4), np.float32)),
            ValueError,
            r"x must be \(T, N, 3\) or \(T, 3\)",
        ),
        (lambda: Attention(3).stream(), ValueError, "Attention cannot run step by step"),
    ],
)
def test_errors_name_the_mistake(make, error, words):
    with pytest.raises(error, match=words):
        make()
