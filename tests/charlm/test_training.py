"""Training of character models: schedules that follow its length, options, saves that fail."""

import errno
import math
import threading

import numpy as np
import pytest

from recurrent import CharLM, optim
from recurrent.charlm.recipe import Recipe
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.models import files
from recurrent.schedules import Cosine

TEXT = "the cat sat on the mat and the dog lay on the log. " * 12


def model(**options):
    return CharLM(TEXT, **dict(layers=2, hidden=6, embedding=3, dropout=0.2) | options)


def train(lm, updates, **options):
    base = {} if options.get("resume") else dict(seq=6, batch=4, validate_every=3, validation=0.2)
    return lm.train(TEXT, **base | dict(updates=updates, progress=False) | options)


def test_a_schedule_follows_the_length_of_a_resumed_training(tmp_path):
    """By the old length, all updates after the first end would have a rate of 0."""
    lm = model()
    train(lm, 9, schedule="cosine:warmup=2", lr=0.1)
    lm.save(tmp_path / "m")
    for again in (lm, CharLM.load(tmp_path / "m")):
        before = again.model.flat.copy()
        history = train(again, 30, resume=True)
        assert again.optimizer.lr == Cosine(0.1, steps=30, warmup=2)
        assert history.updates == 30
        assert (again.training.latest if again.training.latest is not None else again.model.flat) \
            .tobytes() != before.tobytes()  # fmt: skip
    epochs = model()
    epochs.train(TEXT, seq=6, batch=4, epochs=1, schedule="cosine", progress=False)
    length = epochs.history.updates
    epochs.train(TEXT, resume=True, epochs=3, progress=False)
    assert epochs.optimizer.lr.steps == epochs.history.updates == 3 * length


def test_a_rate_of_ones_own_stays_when_training_is_resumed():
    lm = model()
    train(lm, 4)
    lm.optimizer.lr = 0.5
    train(lm, 6, resume=True)
    assert lm.optimizer.lr == 0.5
    train(lm, 8, resume=True, lr=0.25)
    assert lm.optimizer.lr == 0.25


def test_a_schedule_of_ones_own_that_ends_is_refused():
    lm = model()
    train(lm, 6, lr=Cosine(0.1, 6))
    before, options = lm.model.flat.copy(), dict(lm.options)
    with pytest.raises(
        ValueError, match="ends after update 6, so that the updates from there to 9"
    ):
        train(lm, 9, resume=True)
    assert (lm.history.updates, lm.options) == (6, options)
    assert_same_bits(lm.model.flat, before)
    train(lm, 9, resume=True, lr=0.01)
    own = optim.SGD(0.25)
    train(model(), 6, optimizer=own, schedule="cosine")
    assert own.lr == Cosine(0.25, 6), "the schedule starts at the rate of the optimiser"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            dict(schedule="cosine:warmup=200", updates=100),
            ValueError,
            "schedule cosine:warmup=200: steps must be above warmup.*got steps=100 and warmup=200",
        ),
        (dict(schedule="cosine", lr=lambda k: 1.0), TypeError, "lr must be a number, because the"),
        (dict(seq=2.5), TypeError, "seq must be an int, got float"),
        (dict(batch=True), TypeError, "batch must be an int, got bool"),
        (dict(epochs=None), TypeError, "epochs must not be None"),
        (dict(epochs=0), ValueError, "epochs must be at least 1, got 0"),
        (dict(patience=0), ValueError, "patience must be at least 1, got 0"),
        (dict(patience=2, validation=0), ValueError, "patience counts validations"),
        (dict(validation=math.nan), ValueError, "validation must be at least 0 and below 1"),
        (dict(smooth="0.9"), TypeError, "smooth must be a number, got str"),
        (dict(clip=0), ValueError, "clip must be above 0, got 0"),
        (dict(clip_value=-1), ValueError, "clip_value must be above 0, got -1"),
        (dict(lr="fast"), TypeError, "lr must be a number, got str"),
        (dict(lr=-1), ValueError, "lr must be at least 0, got -1"),
        (dict(sum_steps=1), TypeError, "sum_steps must be True or False, got 1"),
        (dict(optimizer=3), TypeError, "optimizer must be a name or an Optimizer, got int"),
        (dict(carry=None), TypeError, "carry must be one of"),
        (dict(resume="yes"), TypeError, "resume must be True or False, got 'yes'"),
        (dict(callback=3), TypeError, "callback must be a function"),
    ],
)
def test_wrong_options_are_one_clear_line_and_change_nothing(options, error, words):
    lm = model()
    train(lm, 3)
    before, training = lm.model.flat.copy(), lm.training
    with pytest.raises(error, match=words) as caught:
        lm.train(TEXT, **dict(seq=6, batch=4, updates=5, progress=False) | options)
    assert "\n" not in str(caught.value)
    assert_same_bits(lm.model.flat, before)
    assert lm.training is training


def test_numbers_of_numpy_are_options(tmp_path):
    lm = model(hidden=np.int64(6), layers=np.int32(2), dropout=np.float32(0.25))
    options = dict(
        seq=np.int64(6), batch=np.int32(4), updates=np.int16(4), validate_every=np.uint8(3),
        validation=np.float32(0.25), lr=np.float32(0.125), clip=np.float64(2),
        smooth=np.float32(0.5),
        optimizer=optim.SGD(np.float32(0.5), momentum=np.float32(0.25)),
    )  # fmt: skip
    lm.train(TEXT, **options, save_to=tmp_path / "m", progress=False)
    again = CharLM.load(tmp_path / "m")
    assert again.options == lm.options
    assert again.history.updates == 4
    recipe = Recipe(**options)
    kinds = {type(v) for k, v in recipe.to_dict().items() if k in options}
    assert kinds == {int, float, str}


@pytest.mark.parametrize(
    ("path", "options", "error", "words"),
    [
        ("nowhere/m", {}, OSError, "there is no folder"),
        (".", {}, OSError, "is a folder"),
        ("m", dict(lr=lambda step: 0.1), TypeError, "lr must be a number or one of Constant"),
    ],
)
def test_what_makes_saving_impossible_is_found_before_the_first_update(
    tmp_path, path, options, error, words
):
    lm, updates = model(), []
    before = lm.model.flat.copy()
    with pytest.raises(error, match=words):
        train(lm, 3, save_to=tmp_path / path, callback=lambda u, _: updates.append(u), **options)
    assert (updates, list(tmp_path.iterdir()), lm.optimizer) == ([], [], None)
    assert_same_bits(lm.model.flat, before)


def test_a_second_training_on_one_path_is_refused(tmp_path):
    path, errors = tmp_path / "m", []

    def second():
        try:
            train(model(), 3, save_to=path)
        except OSError as error:
            errors.append(str(error))

    def callback(update, history):
        if update == 2:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    train(model(), 3, save_to=path, callback=callback)
    assert len(errors) == 1
    assert str(path) in errors[0]
    train(model(), 3, save_to=path)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("fails", range(1, 6))
def test_a_save_that_fails_loses_nothing(tmp_path, monkeypatch, fails):
    """A full disk at any save: training goes on and is saved elsewhere, with the same bits."""
    whole = model()
    train(whole, 12)
    lm, saves, replace = model(), 0, files.replace

    def full(path, data):
        nonlocal saves
        saves += 1
        if saves == fails:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        replace(path, data)

    monkeypatch.setattr(files, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        train(lm, 12, save_to=tmp_path / "m")
    assert lm.optimizer is not None
    assert lm.history.updates == min(3 * fails, 12)
    lm.save(tmp_path / "elsewhere")
    for again in (CharLM.load(tmp_path / "elsewhere"), lm):
        history = train(again, 12, resume=True, save_to=tmp_path / "other")
        assert history.losses == whole.history.losses
        assert history.validation == whole.history.validation
        assert_same_bits(again.model.flat, whole.model.flat)
    assert_same_bits(CharLM.load(tmp_path / "other").model.flat, whole.model.flat)


def test_training_goes_on_after_a_loss_that_is_not_finite(tmp_path):
    """The file is that of the last save; in memory training resumes from the update before."""
    whole = model()
    train(whole, 12)
    lm = model()

    def spoil(update, history):
        if update == 7:
            lm.model.flat[0] = np.nan

    with pytest.raises(
        FloatingPointError,
        match=r"update 8: the loss is nan; .*; parameter 0.weight has nan at \(0, 0\); .*m holds"
        " the model after update 6$",
    ):
        train(lm, 12, save_to=tmp_path / "m", callback=spoil)
    assert lm.history.updates == 7
    again = CharLM.load(tmp_path / "m")
    train(again, 12, resume=True)
    assert again.history.losses == whole.history.losses
    assert_same_bits(again.model.flat, whole.model.flat)
    latest = lm.model.flat if lm.training.latest is None else lm.training.latest
    assert np.isnan(latest[0])
    latest[0] = 0.0
    assert train(lm, 12, resume=True).updates == 12
