"""Checkpoints: a round trip, resuming bit for bit, bad files, and files of earlier versions."""

import copy
import json
import math
import os
import resource
import threading
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.checkpoints import parts, write

from recurrent import (
    GRU,
    LSTM,
    RNN,
    Attention,
    Dropout,
    Embedding,
    Linear,
    Recurrent,
    Seq2Seq,
    Sequential,
    fit,
    optim,
)
from recurrent.cells import BUILT_IN, CELLS, PAPERS, sigmoid, tanh, trace_cell
from recurrent.charlm.model import CharLM
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Windows
from recurrent.layers import Layer
from recurrent.losses import softmax_cross_entropy
from recurrent.models import storage
from recurrent.training import checkpoint
from recurrent.training.checkpoint import Checkpoint
from recurrent.training.history import History
from recurrent.training.state import TrainingState

TEXT = "pack my box with five dozen liquor jugs; " * 20
GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"


def model(dtype="float32"):
    layers = (
        Embedding(5, 3),
        LSTM(3, 4),
        Dropout(0.5),
        GRU(4, 4),
        RNN(4, 2, nonlinearity="relu"),
        Linear(2, 5),
    )
    return Sequential(*layers, rng=7, dtype=dtype)


def trained(dtype="float32"):
    """A model after two updates, with everything that a checkpoint can hold."""
    net, adam, ids = model(dtype), optim.Adam(0.1), np.arange(6).reshape(3, 2) % 5
    for _ in range(2):
        y, state, tape = net.forward(ids, record=True)
        net.backward(np.ones_like(y), tape, out=(gradient := np.empty_like(net.flat)))
        adam.update(net.flat, gradient)
    history = History(losses=[2.0, 1.0], validation=[(2, 1.5)], best=(2, 1.5), smoothed=1.9)
    training = TrainingState(adam, history, 3, state, ids, net.flat * 2)
    return Checkpoint(net, {"a": [1, "ü"]}, {"lr": 0.1}, training)


def same(a, b):
    assert a.model.describe() == b.model.describe()
    assert_same_bits(a.model.flat, b.model.flat)
    assert a.model.generator.bit_generator.state == b.model.generator.bit_generator.state
    assert (a.about, a.options) == (b.about, b.options)
    a, b = a.training, b.training
    assert (a.history, a.cursor) == (b.history, b.cursor)
    assert_same_bits(a.latest, b.latest)
    assert_same_bits(a.past, b.past)
    assert a.optimizer.describe() == b.optimizer.describe()
    assert a.optimizer.arrays.keys() == b.optimizer.arrays.keys() == {"m", "v"}
    for name in a.optimizer.arrays:
        assert_same_bits(a.optimizer.arrays[name], b.optimizer.arrays[name])
    for before, after in zip(a.carried, b.carried, strict=True):
        assert type(before) is type(after)
        for p, q in zip(before or (), after or (), strict=True):
            assert_same_bits(p, q)


def test_a_round_trip_keeps_everything(tmp_path, dtype):
    saved = trained(dtype)
    checkpoint.save(tmp_path / "m", saved)
    loaded = checkpoint.load(tmp_path / "m")
    same(saved, loaded)
    outputs = [c.model.forward(np.zeros((4, 1), int), record=True)[0] for c in (saved, loaded)]
    assert_same_bits(*outputs, "dropout continues from the state of the generator")


def test_a_model_without_training(tmp_path):
    checkpoint.save(tmp_path / "m", Checkpoint(model()))
    loaded = checkpoint.load(tmp_path / "m")
    assert (loaded.about, loaded.options, loaded.training) == ({}, {}, None)


@pytest.mark.parametrize("bits", ["PCG64", "MT19937", "Philox", "SFC64"])
def test_any_generator_of_numpy(tmp_path, bits):
    rng = np.random.Generator(getattr(np.random, bits)(5))
    net = Sequential(Linear(2, 2), Dropout(0.5), rng=rng)
    checkpoint.save(tmp_path / "m", Checkpoint(net))
    loaded = checkpoint.load(tmp_path / "m").model
    assert loaded[1].generator is loaded.generator
    assert_same_bits(loaded.generator.random(5), rng.random(5))


def test_the_file_is_plain_data_with_the_names_of_the_parameters(tmp_path):
    checkpoint.save(tmp_path / "m", trained())
    tensors, metadata = parts(tmp_path / "m")
    names = set(tensors)
    assert set(model().parameters) < names
    assert {"optimizer.m", "state.1.c", "state.3.h", "latest"} < names
    assert all(
        json.loads(metadata[k]) is not None
        for k in ("model", "generator", "optimizer", "about", "training")
    )


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def rewrite(change, digest=True):
    """Return a damage that rewrites the file, and its digest, after `change(tensors, metadata)`."""

    def damage(path):
        tensors, metadata = parts(path)
        change(tensors, metadata)
        write(path, tensors, metadata, digest)

    return damage


def set_model(key, value):
    return rewrite(lambda t, m: m.update(model=json.dumps(json.loads(m["model"]) | {key: value})))


LINEAR = {"type": "Linear", "options": {"in_features": 1, "out_features": 1}}

DAMAGES = {
    "cut off": (cut, r"not a complete .safetensors file \([\d,]+ bytes\)"),
    "empty": (lambda p: p.write_bytes(b""), r"not a complete .safetensors file \(0 bytes\)"),
    "text": (
        lambda p: p.write_text("Once upon a time there was"),
        "this is a text: python -m recurrent train trains a model on a text",
    ),
    "another's": (
        lambda p: save_file({"a": np.zeros(1)}, p),
        r"this is a .safetensors file of 1 array \(a, ...\) without a model: write "
        "recurrent.from_torch",
    ),
    "no metadata": (rewrite(lambda t, m: m.pop("training")), "checkpoint lacks training"),
    "no JSON": (rewrite(lambda t, m: m.update(model="{")), "the metadata model is not JSON"),
    "newer": (
        rewrite(lambda t, m: m.update(version="99")),
        "has version 99; this program reads versions 1 and 2",
    ),
    "array gone": (
        rewrite(lambda t, m: t.pop("3.weight_hh_l0")),
        r"3.weight_hh_l0 is missing, expected \(12, 4\) float32",
    ),
    "array's shape": (
        rewrite(lambda t, m: t.update({"5.bias": np.zeros(6, np.float32)})),
        r"array 5.bias must be \(5,\) float32, got \(6,\) float32",
    ),
    "array's dtype": (
        rewrite(lambda t, m: t.update({"5.bias": np.zeros(5)})),
        "5.bias must be .* got .* float64",
    ),
    "array too many": (
        rewrite(lambda t, m: t.update({"9.bias": np.zeros(5)})),
        "the model has no arrays called '9.bias'",
    ),
    "optimiser's array gone": (
        rewrite(lambda t, m: t.pop("optimizer.m")),
        "state of Adam must be m, v, got v",
    ),
    "state's array gone": (rewrite(lambda t, m: t.pop("state.1.c")), "array state.1.c is missing"),
    "layer unknown": (
        set_model("layers", [{"type": "Magic", "options": {}}]),
        "unknown layer type 'Magic'",
    ),
    "layer's option": (set_model("layers", [LINEAR | {"options": {"size": 1}}]), "size"),
    "other layers": (set_model("layers", [LINEAR]), "array 0.weight must be"),
    "huge": (
        set_model("layers", [LINEAR | {"options": {"in_features": 10**9, "out_features": 10**9}}]),
        r"0.weight must be \(1000000000, 1000000000\) float32, got \(5, 3\)",
    ),
    "dtype": (
        set_model("dtype", "int8"),
        "dtype must be one of float32, float64, got 'int8'",
    ),
    "no model": (rewrite(lambda t, m: m.update(model="[]")), "model must be a dict, got list"),
    "generator": (
        rewrite(lambda t, m: m.update(generator='{"bit_generator": "os"}')),
        "unknown random generator 'os'",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_file_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, trained())
    harm, words = DAMAGES[damage]
    harm(path)
    with pytest.raises(ValueError, match=words) as error:
        checkpoint.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("where", ["write", "rename"])
def test_a_save_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, where):
    path = tmp_path / "m"
    checkpoint.save(path, trained())
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync" if where == "write" else "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, Checkpoint(model()))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "m")
    checkpoint.save(tmp_path / "link", Checkpoint(model()))
    assert (tmp_path / "link").is_symlink()
    checkpoint.load(tmp_path / "m")


def character_model(cell="lstm"):
    return CharLM(TEXT, cell=cell, layers=2, hidden=6, embedding=3, dropout=0.4, rng=11)


def learn(lm, updates, **options):
    defaults = dict(seq=6, batch=4, validate_every=4, lr=2e-2, progress=False)
    return lm.train(TEXT, updates=updates, **{**defaults, **options})


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("first", [4, 7, 33])  # at a validation, between two, in the second epoch
def test_a_resumed_training_has_the_same_bits(tmp_path, optimizer, first):
    path, whole, part = tmp_path / "m", character_model(), character_model()
    history = learn(whole, 44, optimizer=optimizer)
    learn(part, first, optimizer=optimizer, save_to=path)
    again = CharLM.load(path)
    resumed = learn(again, 44, resume=True, save_to=path)
    assert resumed.losses == history.losses
    assert_same_bits(again.optimizer.arrays.get("m", 0), whole.optimizer.arrays.get("m", 0))
    for a, b in zip(again.training.carried, whole.training.carried, strict=True):
        for p, q in zip(a or (), b or (), strict=True):
            assert_same_bits(p, q)
    latest = [
        lm.model.flat if lm.training.latest is None else lm.training.latest for lm in (again, whole)
    ]
    assert_same_bits(*latest, "the parameters after the last update")
    assert CharLM.load(path).history == again.history


def test_a_checkpoint_in_the_middle_can_be_resumed_too(tmp_path):
    path, whole, copy = tmp_path / "m", character_model("gru"), tmp_path / "copy"
    learn(
        whole,
        12,
        save_to=path,
        callback=lambda u, _: copy.write_bytes(path.read_bytes()) if u == 8 else None,
    )
    again = CharLM.load(copy)
    assert again.history.updates == 8
    learn(again, 12, resume=True)
    assert_same_bits(again.model.flat, whole.model.flat)
    assert again.history.validation == whole.history.validation


def test_a_file_holds_the_best_parameters_and_resumes_from_the_latest(tmp_path):
    lm = character_model()
    history = learn(
        lm,
        12,
        lr=lambda step: 1e-2 if step < 4 else 3.0,
        optimizer=optim.SGD(lambda step: 1e-2 if step < 4 else 50.0),
    )
    assert history.best[0] == 4
    lm.optimizer.lr = 1e-2  # a function cannot be written down
    lm.save(tmp_path / "m")
    loaded = CharLM.load(tmp_path / "m")
    assert_same_bits(loaded.model.flat, lm.model.flat)
    assert_same_bits(loaded.training.latest, lm.training.latest)
    assert not np.array_equal(loaded.training.latest, loaded.model.flat)
    learn(loaded, 13, resume=True)
    assert loaded.history.best[0] == 4
    assert_same_bits(loaded.model.flat, lm.model.flat, "the best is still the best")


def test_resuming_with_another_text_or_window_is_refused(tmp_path):
    lm = character_model()
    with pytest.raises(ValueError, match="cannot resume"):
        learn(lm, 4, resume=True)
    learn(lm, 4)
    with pytest.raises(ValueError, match="the seq that the training began with: 6, got 7"):
        learn(lm, 8, resume=True, seq=7)
    with pytest.raises(ValueError, match=r"began with: 820 characters, got 819"):
        lm.train(TEXT[:-1], resume=True, seq=6, batch=4, updates=8, progress=False)


def test_ctrl_c_saves_and_can_be_resumed(tmp_path):
    path, whole, part = tmp_path / "m", character_model(), character_model()
    learn(whole, 12)

    def interrupt(update, _):
        if update == 6:
            raise KeyboardInterrupt

    history = learn(part, 12, save_to=path, callback=interrupt)
    assert (history.stopped, history.updates) == ("interrupted", 6)
    again = CharLM.load(path)
    assert learn(again, 12, resume=True).losses == whole.history.losses
    assert_same_bits(again.model.flat, whole.model.flat)


def test_other_models_are_not_character_models(tmp_path):
    checkpoint.save(tmp_path / "m", trained())
    with pytest.raises(ValueError, match=r"not a character model: .* got Sequential"):
        CharLM.load(tmp_path / "m")
    lm = character_model()
    lm.vocabulary = type(lm.vocabulary)("abc")
    lm.save(tmp_path / "m")
    with pytest.raises(ValueError, match="vocabulary and model differ: 3 symbols"):
        CharLM.load(tmp_path / "m")


BAD_TRAININGS = {
    "batch": (dict(batch=5), r"have a batch of 5, but the carried state has the shape \(4, ...\)"),
    "carry": (dict(carry=[]), "carry must be one of"),
    "text": (dict(text=3), "text must be a str, got int"),
    "seq": (dict(seq="6"), "seq must be an int, got str"),
    "no symbols": (dict(symbols=None), "symbols must be an int, got NoneType"),
}


@pytest.mark.parametrize("case", BAD_TRAININGS)
def test_options_that_no_training_can_resume_with_are_refused(tmp_path, case):
    change, words = BAD_TRAININGS[case]
    lm, path = character_model(), tmp_path / "m"
    learn(lm, 4, save_to=path)
    lm.options |= change
    lm.save(path)
    with pytest.raises(ValueError, match=f"^{path}: .*{words}"):
        CharLM.load(path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write m to"):
        checkpoint.save(tmp_path / "nowhere" / "m", trained())


@pytest.mark.parametrize(("name", "updates"), [("torch-rnn", 120), ("look-back", 40)])
def test_a_file_of_the_version_before_resumes_to_the_same_losses(tmp_path, name, updates):
    """Two files resume to the same losses as in the older version that wrote them.

    `optim.Adam` still had the options of torch-rnn when it wrote the first, which stops two updates
    after Adam's restart; the second has a look-back and stops after the best validation.
    """
    text = "to be or not to be, that is the question. " * 12
    expected = json.loads((GOLDEN / "resumed.json").read_text())[name]
    lm = CharLM.load(GOLDEN / f"{name}.safetensors")
    assert_same_bits(checkpoint.load(GOLDEN / f"{name}.safetensors").model.flat, lm.model.flat)
    begun = lm.history.updates
    assert lm.history.losses == expected["losses"][:begun]
    lm.save(tmp_path / "again")
    again = CharLM.load(tmp_path / "again")
    histories = [m.train(text, updates=updates, resume=True, progress=False) for m in (lm, again)]
    assert histories[0].losses == histories[1].losses
    for loss, other in zip(histories[0].losses, expected["losses"], strict=True):
        assert loss == pytest.approx(other, rel=1e-9)
    assert histories[0].best == pytest.approx(expected["best"], rel=1e-9)
    assert histories[0].smoothed == pytest.approx(expected["smoothed"], rel=1e-9)
    assert np.ravel(histories[0].validation) == pytest.approx(
        np.ravel(expected["validation"]), rel=1e-9
    )
    assert_same_bits(lm.model.flat, again.model.flat)
    if name == "torch-rnn":
        assert lm.optimizer.options["restart"]
        assert lm.settings["optimizer"] == "torchrnnadam:eps_hat=true,restart=true"


def test_a_flipped_bit_and_exchanged_arrays_are_found(tmp_path):
    """Every 37th byte is changed; then every pair of arrays of one shape is exchanged."""
    path = tmp_path / "m"
    checkpoint.save(path, trained())
    data, refused = path.read_bytes(), 0
    length = 8 + int.from_bytes(data[:8], "little")
    for k in range(length, len(data), 37):
        path.write_bytes(data[:k] + bytes([data[k] ^ 1 << k % 8]) + data[k + 1 :])
        with pytest.raises(ValueError, match="damaged or changed after it was saved"):
            checkpoint.load(path)
    path.write_bytes(data)
    tensors, metadata = parts(path)
    for a, b in combinations(tensors, 2):
        one, other = tensors[a], tensors[b]
        if (one.shape, one.dtype) == (other.shape, other.dtype) and not np.array_equal(one, other):
            write(path, {**tensors, a: other, b: one}, metadata, digest=False)
            with pytest.raises(ValueError, match="damaged or changed"):
                checkpoint.load(path)
            refused += 1
    assert refused > 10
    for name in metadata.keys() - {"format", "digest", "version"}:
        write(path, tensors, {**metadata, name: metadata[name] + " "}, digest=False)
        with pytest.raises(ValueError, match="damaged or changed"):
            checkpoint.load(path)
    write(path, tensors, {**metadata, "version": "1"}, digest=False)
    with pytest.raises(ValueError, match="version 1, but a digest"):
        checkpoint.load(path)


def test_metadata_stay_small_however_long_a_training_is(tmp_path):
    """A million updates, and 20,000 validations of which one has no loss."""
    losses = np.random.default_rng(0).random(1_000_000).tolist()
    validation = [(50 * k, 1.0 + k) for k in range(20_000)]
    history = History(
        losses=losses, validation=validation, metrics={"a": validation[:-1]}, best=(0, 1.0)
    )
    history.validation[7] = (350, math.nan)
    training = TrainingState(optim.Adam(), history)
    checkpoint.save(tmp_path / "m", Checkpoint(model(), training=training))
    _, metadata = parts(tmp_path / "m")
    assert sum(map(len, metadata.values())) < 3000
    again = checkpoint.load(tmp_path / "m").training.history
    assert str(again.validation.pop(7)) == str(history.validation.pop(7))
    assert again == history
    assert type(again.losses) is list
    assert type(again.losses[0]) is float


def test_numbers_of_numpy_are_saved_as_numbers(tmp_path):
    options = {"seq": np.int64(10), "clip": np.float32(0.5), "sum": np.True_, "a": np.arange(2)}
    net = Sequential(LSTM(np.int64(3), np.int32(4), proj_size=np.int64(2)), Linear(np.int8(2), 1))
    sgd = optim.SGD(np.float32(0.1), momentum=np.float32(0.9))
    sgd.update(net.flat, np.ones_like(net.flat))
    checkpoint.save(tmp_path / "m", Checkpoint(net, options, options, TrainingState(sgd)))
    again = checkpoint.load(tmp_path / "m")
    assert again.options == again.about == {"seq": 10, "clip": 0.5, "sum": True, "a": [0, 1]}
    assert_same_bits(again.model.flat, net.flat)
    assert again.model[0].sizes == (3, 4, 2)
    results = []
    for optimizer in (sgd, again.training.optimizer):
        optimizer.update(flat := np.ones_like(net.flat), flat / 3)
        results.append(flat)
    assert_same_bits(*results, "momentum is a number of the next update too")


UNSAVEABLE = {
    "a function as learning rate": (
        lambda c: setattr(c.training, "optimizer", optim.SGD(lambda step: 0.1)),
        "lr must be a number or one of Constant, StepDecay",
    ),
    "about": (lambda c: c.about.update(a={1, 2}), "about must be data that JSON can hold"),
    "options": (lambda c: c.options.update(a=np.float64), "training must be data that JSON can"),
    "deep": (lambda c: c.about.update(a=json.loads("[" * 40 + "]" * 40)), "about must be nested"),
    "long": (lambda c: c.about.update(a="x" * 8_000_001), r"at most 8,000,000 .* of them in about"),
    "cursor": (lambda c: setattr(c.training, "cursor", -1), "training.cursor must be at least 0"),
}


@pytest.mark.parametrize("case", UNSAVEABLE)
def test_what_cannot_be_saved_is_found_beforehand(tmp_path, case):
    change, words = UNSAVEABLE[case]
    saved = trained()
    checkpoint.check_saveable(saved)
    change(saved)
    for fail in (checkpoint.check_saveable, lambda c: checkpoint.save(tmp_path / "m", c)):
        with pytest.raises((TypeError, ValueError), match=words):
            fail(saved)
    assert os.listdir(tmp_path) == []


def test_a_model_in_place_of_a_checkpoint_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"must be a Checkpoint, such as .*, got Sequential"):
        checkpoint.save(tmp_path / "m", model())


def minimal(name="mine", register=True, slope=1.0):
    @trace_cell(name, gates="f g", states="h", register=register)
    def cell(x, h, previous):
        f, g = sigmoid(x.f + h.f), tanh(slope * (x.g + h.g))
        return dict(f=f, g=g, h=f * previous.h + (1 - f) * g)

    return cell


@pytest.fixture
def mine():
    yield minimal()
    CELLS.pop("mine", None)


def test_a_cell_with_other_equations_is_refused(tmp_path, mine):
    path, net = tmp_path / "m", Sequential(Recurrent(mine, 2, 3, zoneout=0.1), Linear(3, 1))
    checkpoint.save(path, Checkpoint(net))
    minimal()  # the same equations again, as in another process
    assert_same_bits(checkpoint.load(path).model.flat, net.flat)
    minimal(slope=1.5)
    with pytest.raises(ValueError, match="cell 'mine' has other equations now than when the file"):
        checkpoint.load(path)
    del CELLS["mine"]
    with pytest.raises(ValueError, match=r"unknown cell 'mine': declare it with recurrent.cell"):
        checkpoint.load(path)
    with pytest.raises(TypeError, match="mine is not: register it"):
        checkpoint.save(path, Checkpoint(net))
    tensors, metadata = parts(path)
    write(path, tensors, {**metadata, "cells": "{}"})
    minimal()
    with pytest.raises(ValueError, match="equations of the cell 'mine' have no digest"):
        checkpoint.load(path)


def test_an_optimiser_with_other_equations_is_refused(tmp_path):
    path = tmp_path / "m"

    def define(factor):
        class Own(optim.Optimizer):
            def equations(self, a, k):
                return dict(p=a.p - factor * k.lr * a.g)

        return Own

    try:
        training = TrainingState(define(1)(0.1))
        checkpoint.save(path, Checkpoint(model(), training=training))
        checkpoint.load(path)
        define(2)
        with pytest.raises(ValueError, match="optimizer Own has other equations now than when"):
            checkpoint.load(path)
    finally:
        del optim.OPTIMIZERS["Own"]


def test_digests_of_equations_are_those_of_other_machines():
    """The file holds the digests of all cells and optimisers: files of today must load tomorrow.

    Where equations change on purpose, `checkpoint.load` must still read files with the old ones.
    """
    found = {name: storage.equations_digest(CELLS[name]) for name in {*BUILT_IN, *PAPERS}}
    found |= {
        name: optim.OPTIMIZERS[name]().digest
        for name in ("SGD", "RMSprop", "Adagrad", "Adam", "AdamW", "TorchRnnAdam")
    }
    assert found == json.loads((GOLDEN / "equations.json").read_text())


def test_loading_draws_nothing_and_keeps_the_state_of_the_generator(tmp_path, monkeypatch):
    saved = trained()
    checkpoint.save(tmp_path / "m", saved)
    monkeypatch.setattr(Layer, "initialise", None)
    for kind in (Embedding, LSTM, GRU, RNN, Linear):
        monkeypatch.setattr(kind, "reset_parameters", None)
    assert_same_bits(checkpoint.load(tmp_path / "m").model.flat, saved.model.flat)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([{"type": "LSTM", "options": {"input_size": 8000, "hidden_size": 8000}}], "weight_ih_l0"),
        ([LINEAR] * 100_000, "model.layers must have 1 to 2,048 entries, got 100,000"),
        ([{"type": "Hold", "options": {}}] * 2000 + [LINEAR], "array 2000.weight is missing"),
        (
            [
                {"type": "GRU", "options": {"input_size": 1, "hidden_size": 1, "clip": 1 + k / 7}}
                for k in range(2000)
            ],
            "array 0.weight_ih_l0 is missing",
        ),
    ],
)
def test_sizes_are_compared_with_the_file_before_anything_is_made(tmp_path, layers, words):
    """Of these descriptions, the models took a minute and gigabytes."""
    path = tmp_path / "m"
    checkpoint.save(path, Checkpoint(model()))
    set_model("layers", layers)(path)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=words):
        checkpoint.load(path)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_many_different_cells_are_refused(tmp_path):
    """Each cell is traced: a file of a few kilobytes must not make a process trace hundreds."""
    layers = [GRU(1, 1, clip=1 + k / 7) for k in range(70)]
    with pytest.raises(ValueError, match="at most 64 different cells"):
        checkpoint.check_saveable(Checkpoint(Sequential(*layers)))


@pytest.mark.parametrize(("kind", "make"), [("FIFO", os.mkfifo), ("device", None)])
def test_a_fifo_and_a_device_are_refused_at_once(tmp_path, kind, make):
    path = tmp_path / "m" if make else "/dev/zero"
    if make:
        make(path)
    with pytest.raises(OSError, match=f"is a {kind}; expected the name of a file"):
        checkpoint.load(path)


def test_the_training_of_an_encoder_and_a_decoder_is_saved(tmp_path):
    """Its carried state holds the memory of an Attention, from which no batch continues."""
    encoder = Sequential(Embedding(5, 2), GRU(2, 3))
    decoder = Sequential(Embedding(5, 2), GRU(2, 3), Attention(3, 3), Linear(6, 5))
    net, ids = Seq2Seq(encoder, decoder), np.arange(6).reshape(3, 2) % 5
    batches, state = [((ids, ids), ids)], TrainingState(optim.Adam())
    fit(net, batches, softmax_cross_entropy, updates=2, resume=state, progress=False)
    checkpoint.save(tmp_path / "m", Checkpoint(net, training=state))
    again = checkpoint.load(tmp_path / "m")
    for model_, training in ((net, state), (again.model, again.training)):
        fit(model_, batches, softmax_cross_entropy, updates=4, resume=training, progress=False)
    assert_same_bits(again.model.flat, net.flat)
    assert again.training.history.losses == state.history.losses


@pytest.mark.parametrize("look_back", [None, 6])
@pytest.mark.parametrize("shape", [(41,), (41, 2)])
@pytest.mark.parametrize("first", [Embedding(5, 3), LSTM(3, 3)])
def test_a_single_sequence_and_a_batch_resume_with_the_same_bits(tmp_path, first, shape, look_back):
    """The carried state of a single sequence has no axis N."""
    ids = np.arange(math.prod(shape)).reshape(shape) % 5
    x = ids if isinstance(first, Embedding) else np.cos(ids[..., None] + np.arange(3)).astype("f")
    kind = type(first)
    net = Sequential(kind(**first.options), LSTM(3, 4), Linear(4, 5))
    whole, state = copy.deepcopy(net), TrainingState(optim.Adam())
    options = dict(loss=softmax_cross_entropy, look_back=look_back, progress=False)

    def windows():
        return Windows(x[:-1], ids[1:], 4)

    expected = fit(whole, windows(), optimizer=optim.Adam(), updates=13, **options)
    fit(net, windows(), updates=7, resume=state, **options)
    checkpoint.save(tmp_path / "m", Checkpoint(net, training=state))
    again = checkpoint.load(tmp_path / "m")
    history = fit(again.model, windows(), updates=13, resume=again.training, **options)
    assert history.losses == expected.losses
    assert_same_bits(again.model.flat, whole.flat)


def test_readers_see_whole_checkpoints_while_threads_save(tmp_path):
    path, saved, seen = tmp_path / "m", [trained(), Checkpoint(model())], []
    checkpoint.save(path, saved[0])
    threads = [
        threading.Thread(target=lambda c=c: [checkpoint.save(path, c) for _ in range(10)])
        for c in saved
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.append(checkpoint.load(path).training is None)
    for thread in threads:
        thread.join()
    assert seen
    assert os.listdir(tmp_path) == ["m"]
