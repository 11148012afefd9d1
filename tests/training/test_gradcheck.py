"""`recurrent.gradcheck` accepts right gradients and names the entry of a wrong one."""

import numpy as np
import pytest

from recurrent import (
    GRU,
    LSTM,
    RNN,
    Attention,
    Dropout,
    Embedding,
    Last,
    Linear,
    MeanPool,
    Seq2Seq,
    Sequential,
    gradcheck,
)
from recurrent.gradcheck import GradientError, central_differences, complex_step
from recurrent.layers.base import Gradients
from recurrent.losses import mean_squared_error, softmax_cross_entropy

pytestmark = pytest.mark.reference

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3, 2))


def test_every_cell_with_an_engine_a_cell_and_a_layer(engine):
    for subject in (engine, engine.cell):
        result = gradcheck(subject, X, lengths=[4, 0, 2], hidden_size=2)
        assert result.ok, str(result)
        assert {f.witness for f in result.findings} == {"central difference", "complex step"}


MODELS = {
    "characters": (
        Sequential(Embedding(5, 3), LSTM(3, 4), Dropout(0.4), GRU(4, 3), Linear(3, 5)),
        softmax_cross_entropy,
    ),
    "both directions": (
        Sequential(LSTM(2, 3, bidirectional=True), Last(bidirectional=True), Linear(6, 2)),
        None,
    ),
    "merged": (
        Sequential(GRU(2, 3, bidirectional=True, merge="mul"), MeanPool(), Linear(3, 2)),
        mean_squared_error,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_with_their_losses_lengths_and_masks(name):
    model, loss = MODELS[name]
    x = RNG.integers(0, 5, (4, 3)) if name == "characters" else X
    targets = {
        softmax_cross_entropy: RNG.integers(0, 5, (4, 3)),
        mean_squared_error: RNG.standard_normal((3, 2)),
    }.get(loss)
    before = model.flat.copy()
    result = gradcheck(model, x, loss, targets=targets, lengths=[4, 2, 0])
    assert result.ok, str(result)
    assert {f.name for f in result.findings} >= set(model.parameters)
    assert np.array_equal(model.flat, before)
    assert model.dtype == np.float32


def test_a_list_of_sequences_and_one_sequence():
    layer = RNN(2, 3).initialise(1)
    assert gradcheck(layer, [X[:, 0], X[:2, 1]])
    assert gradcheck(layer, X[:, 0])


class Wrong(Linear, abstract=True):
    """A Linear whose backward has a planted mistake."""

    def __init__(self, what, factor):
        super().__init__(3, 2)
        self.what, self.factor = what, factor

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None):
        dx, params, state = super().backward(dy, tape, dstate, out, state_gradients)
        if self.what == "dx":
            dx[1, 0, 2] *= self.factor
        else:
            params[self.what][(-1,) * params[self.what].ndim] *= self.factor
        return Gradients(dx, params, state)


@pytest.mark.parametrize(
    ("what", "named"),
    [("weight", r"1\.weight \[1, 2\]"), ("bias", r"1\.bias \[1\]"), ("dx", r"0\.\w+ \[")],
)
@pytest.mark.parametrize("factor", [0.0, 1.001, np.nan])
def test_a_planted_mistake_is_named(what, named, factor):
    model = Sequential(LSTM(2, 3), Wrong(what, factor))
    with pytest.raises(GradientError, match=named):
        gradcheck(model, X)
    assert not gradcheck(model, X, strict=False)


def test_a_mistake_in_one_entry_of_many_is_found_along_a_direction():
    model = Sequential(LSTM(2, 3), Wrong("weight", 2.0))
    found = gradcheck(model, X, entries=1, strict=False)
    assert any(f.index is None and f.name == "1.weight" and not f.ok for f in found.findings)


def test_a_wrong_loss_is_found():
    def loss(y):
        return float(np.sum(y**2)), y

    with pytest.raises(GradientError, match="relative error"):
        gradcheck(LSTM(2, 3), X, loss)
    assert gradcheck(LSTM(2, 3), X, lambda y: (float(np.sum(y**2)), 2 * y))


def test_both_methods_on_a_known_function():
    a = {"a": np.array([0.5, -1.0]), "b": np.array(2.0)}

    def loss(v):
        return np.sum(np.sin(v["a"])) * v["b"]

    for found in (complex_step(loss, a), central_differences(loss, a)):
        np.testing.assert_allclose(found["a"], 2 * np.cos(a["a"]), rtol=1e-9)
        np.testing.assert_allclose(found["b"], np.sum(np.sin(a["a"])), rtol=1e-9)


def test_subjects_and_losses_of_the_wrong_type():
    with pytest.raises(TypeError, match="a model, a layer, an engine or a cell, got ndarray"):
        gradcheck(X, X)
    with pytest.raises(
        TypeError,
        match="loss must return its value and its gradient with respect to y, got float64",
    ):
        gradcheck(LSTM(X.shape[-1], 2), X, lambda y: (y * y).sum(dtype=float))


def seq2seq(source, score, **bridge):
    """Return a model for pairs: from ids or vectors to ids."""
    first = Embedding(5, 3) if source == "ids" else Dropout(0.3)
    encoder = Sequential(first, LSTM(3, 2, bidirectional=True), rng=0)
    attend = [Attention(4, 4, score, output_size=3)] if score else []
    decoder = Sequential(
        Embedding(6, 2),
        LSTM(2, 4, recurrent_dropout=0.3),
        *attend,
        Linear(3 if score else 4, 6),
        rng=1,
    )
    return Seq2Seq(encoder, decoder, **bridge)


@pytest.mark.parametrize(
    ("source", "score"), [("ids", "additive"), ("vectors", "general"), ("vectors", None)]
)
def test_an_encoder_and_a_decoder(source, score):
    """Check with the training loss, with lengths of both sides and with dropout masks in both."""
    net = seq2seq(source, score)
    read = RNG.integers(0, 5, (4, 3)) if source == "ids" else RNG.standard_normal((4, 3, 3))
    written, targets = RNG.integers(0, 6, (2, 3, 3))
    lengths = [4, 1, 3], [3, 2, 0]
    for loss in (None, softmax_cross_entropy):
        result = gradcheck(
            net,
            (read, written),
            loss,
            targets=None if loss is None else targets,
            lengths=lengths,
            entries=10,
        )
        named = {f.name for f in result.findings}
        assert named >= set(net.parameters)
        assert ("x.source" in named) == (source == "vectors")
        assert {n.split(":")[0] for n in named if n.startswith("layer")} == {"layer 1", "layer 3"}


def test_one_pair_and_lists_of_pairs():
    net = seq2seq("ids", "additive")
    read, written = RNG.integers(0, 5, 6), RNG.integers(0, 6, 4)
    assert gradcheck(net, (read, written), entries=4)
    assert gradcheck(net, ([read, read[:2]], [written, written[:3]]), entries=4)
    vector = Seq2Seq(Sequential(Linear(3, 4)), Sequential(Embedding(6, 2), GRU(2, 4), Linear(4, 6)))
    assert gradcheck(
        vector, (RNG.standard_normal((2, 3)), written[:, None].repeat(2, 1)), entries=4
    )


@pytest.mark.parametrize(
    "part", ["encoder.1.weight_ih_l0_reverse", "decoder.1.weight_hh_l0", "decoder.2.weight_memory"]
)
def test_a_mistake_in_either_part_is_named(part, monkeypatch):
    place = []

    def wrong(self, *arguments, **options):
        found = backward(self, *arguments, **options)
        a = found.params[part]
        place[:] = np.unravel_index(np.abs(a).argmax(), a.shape)
        a[tuple(place)] *= 1.001
        return found

    backward = Seq2Seq.backward
    monkeypatch.setattr(Seq2Seq, "backward", wrong)
    read, written = RNG.integers(0, 5, (4, 3)), RNG.integers(0, 6, (3, 3))
    with pytest.raises(GradientError) as error:
        gradcheck(seq2seq("ids", "additive"), (read, written), entries=64)
    assert f"{part} [{place[0]}, {place[1]}]" in str(error.value)
