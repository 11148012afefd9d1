"""`trainable` of layers and models, and attributes that do not exist."""

import copy
import pickle

import numpy as np
import pytest

from recurrent import LSTM, Dropout, Embedding, Linear, Seq2Seq, Sequential, fit
from recurrent.layers import Gradients, Layer
from recurrent.layers.base import LAYERS
from recurrent.losses import softmax_cross_entropy
from recurrent.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState


def small():
    return Sequential(Embedding(5, 3), LSTM(3, 4), Dropout(0.1), Linear(4, 2), rng=0)


def test_the_mask_is_false_for_the_parameters_of_frozen_layers():
    model = small()
    assert model.trainable_mask().all()
    assert model.frozen == []
    model[1].trainable = False
    assert model.frozen == [f"1.{n}" for n in model[1].shapes]
    mask = model.trainable_mask()
    assert mask.shape == model.flat.shape
    assert mask.dtype == bool
    first = model[0].size
    assert not mask[first : first + model[1].size].any()
    assert mask.sum() == model.size - model[1].size
    assert not model.trainable
    model.trainable = False
    assert not model.trainable_mask().any()
    model.trainable = True
    assert model.trainable
    assert model.trainable_mask().all()


def test_a_seq2seq_has_the_masks_of_its_parts_in_order():
    model = Seq2Seq(Sequential(LSTM(2, 3)), Sequential(LSTM(2, 3), Linear(3, 2)))
    model.decoder[1].trainable = False
    assert model.frozen == ["decoder.1.weight", "decoder.1.bias"]
    assert not model.trainable_mask()[-8:].any()
    assert model.trainable_mask()[:-8].all()


def test_copies_and_descriptions_keep_it():
    model = small()
    model[3].trainable = False
    for again in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        Sequential.build(model.describe()),
    ):
        assert [layer.trainable for layer in again.layers] == [True, True, True, False]
        again.trainable = True
    assert not model[3].trainable
    assert "trainable" not in small().describe()["layers"][3]


OPTIMIZERS = {
    "sgd": lambda: SGD(0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda: Adam(0.1, weight_decay=0.1),
    "adamw": lambda: AdamW(0.1, weight_decay=0.1),
    "rmsprop": lambda: RMSprop(0.1, weight_decay=0.1, momentum=0.5),
    "adagrad": lambda: Adagrad(0.1, weight_decay=0.1),
}
IDS = np.random.default_rng(0).integers(0, 5, (6, 3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimiser_changes_a_frozen_layer(name):
    model, rule = small(), OPTIMIZERS[name]()
    model[1].trainable = False
    before, mask = model.flat.copy(), model.trainable_mask()
    fit(model, [(IDS, IDS % 2)], softmax_cross_entropy, rule, epochs=3, progress=False, clip_norm=1)
    assert np.array_equal(model.flat[~mask], before[~mask])
    assert (model.flat[mask] != before[mask]).mean() > 0.9
    for slot, a in rule.arrays.items():  # as if the layer had just been added
        assert (a[~mask] == rule.slots[slot]).all()


def test_a_frozen_model_is_trained_on_as_from_a_file(tmp_path):
    whole = Sequential(
        Embedding.from_pretrained(np.eye(5, 3, dtype="f")), LSTM(3, 4), Linear(4, 2), rng=0
    )
    model, batches = copy.deepcopy(whole), [(IDS, IDS % 2)]

    def train(model, updates, state):
        fit(model, batches, softmax_cross_entropy, updates=updates, resume=state, progress=False)

    train(whole, 4, TrainingState(Adam(0.05)))
    state = TrainingState(Adam(0.05))
    train(model, 2, state)
    checkpoint.save(tmp_path / "a", checkpoint.Checkpoint(model, training=state))
    loaded = checkpoint.load(tmp_path / "a")
    train(loaded.model, 4, loaded.training)
    assert np.array_equal(loaded.model.flat, whole.flat)
    assert np.array_equal(whole.parameters["0.weight"], np.eye(5, 3))
    loaded.model.trainable = True
    train(loaded.model, 6, loaded.training)
    assert not np.array_equal(loaded.model.parameters["0.weight"], np.eye(5, 3))


def test_a_shared_array_is_frozen_with_either_layer():
    for k in (0, 2):
        model = Sequential(
            Embedding(5, 3), LSTM(3, 3), Linear(3, 5), tie={"2.weight": "0.weight"}, rng=0
        )
        model[k].trainable = False
        assert model.frozen[0] == "0.weight"
        before = model.parameters["0.weight"].copy()
        fit(model, [(IDS, IDS)], softmax_cross_entropy, AdamW(0.1), epochs=2, progress=False)
        assert np.array_equal(model.parameters["0.weight"], before)


def test_only_a_bool_is_accepted():
    model = small()
    for owner in (model, model[0]):
        with pytest.raises(TypeError, match=r"\Atrainable must be True or False, got 'no'\Z"):
            owner.trainable = "no"
    assert model.trainable


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (lambda: Linear(2, 1), "trainble", "; did you mean 'trainable'?"),
        (small, "foo", ""),
        (small, "Layers", "; did you mean 'layers'?"),
        (lambda: copy.deepcopy(small()), "foo", ""),
        (lambda: copy.copy(small()[1]), "foo", ""),
        (lambda: Seq2Seq(Sequential(LSTM(2, 3)), Sequential(LSTM(2, 3))), "begin", ""),
    ],
)
def test_unknown_attributes_are_refused(make, name, words):
    subject = make()
    with pytest.raises(AttributeError) as caught:
        setattr(subject, name, 1)
    assert str(caught.value) == f"{type(subject).__name__} has no attribute {name!r}{words}"
    assert not hasattr(subject, name)


def test_a_layer_of_ones_own_has_the_attributes_of_its_class_and_constructor():
    try:

        class Scaled(Layer):
            calls = 0

            def __init__(self, factor: float):
                super().__init__(factor=factor)
                self.factor = np.float32(factor)

            def forward(self, x, *_, **__):
                self.calls += 1
                self.factor = self.factor * 1
                self._last = x
                return x * self.factor, None, None

            def backward(self, dy, tape, *_, **__):
                return Gradients(dy * self.factor, {}, None)

        class Twice(Scaled):
            def __init__(self):
                super().__init__(2.0)
                self.more = 1

        layer = Twice()
        assert layer.forward(np.ones(2, "f"))[0].tolist() == [2, 2]
        assert layer.calls == 1
        layer.more = 2
        with pytest.raises(AttributeError, match="no attribute 'mor'; did you mean 'more'"):
            layer.mor = 3
    finally:
        LAYERS.pop("Scaled", None), LAYERS.pop("Twice", None)
