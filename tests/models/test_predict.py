"""`predict` gives each sequence the bits that it has alone, in the order of the input."""

import numpy as np
import pytest

import recurrent
from recurrent import (
    GRU,
    LSTM,
    Attention,
    CharLM,
    Dropout,
    Embedding,
    Hold,
    Last,
    Linear,
    MeanPool,
    Residual,
    Seq2Seq,
    Sequential,
    predict,
)

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


MODELS = {
    "steps": lambda: Sequential(LSTM(2, 3), Dropout(0.5), Linear(3, 4), rng=0),
    "both directions": lambda: Sequential(GRU(2, 3, bidirectional=True), rng=0),
    "attention": lambda: Sequential(GRU(2, 4), Attention(4), Linear(8, 2), rng=0),
    "last": lambda: Sequential(LSTM(2, 3), Last(), Linear(3, 4), rng=0),
    "mean": lambda: Sequential(GRU(2, 3), MeanPool(), Linear(3, 4), rng=0),
    "hold": lambda: Sequential(LSTM(2, 3), Hold(), rng=0),
    "residual": lambda: Sequential(Sequential(Linear(2, 3)), Residual(GRU(3, 3)), rng=0),
    "ids": lambda: Sequential(Embedding(7, 2), LSTM(2, 3), Linear(3, 7), rng=0),
}


def sequences(name, counts):
    if name == "ids":
        return [RNG.integers(0, 7, T) for T in counts]
    return [floats(T, 2) for T in counts]


@pytest.mark.parametrize("batch", [1, 3, 256])
@pytest.mark.parametrize("name", MODELS)
def test_a_list_has_the_bits_of_each_sequence_alone(name, batch):
    model = MODELS[name]()
    x = sequences(name, [3, 9, 1, 4, 4, 12, 2, 9])
    ys = predict(model, x, batch)
    assert len(ys) == len(x)
    assert isinstance(ys, list) == model.returns_sequence
    for a, y in zip(x, ys, strict=True):
        assert y.tobytes() == model.forward(a[:, None])[0].tobytes()


@pytest.mark.parametrize("kind", ["full", "lengths", "mask"])
@pytest.mark.parametrize("name", MODELS)
def test_an_array_has_the_bits_of_one_call(name, kind):
    model, x = MODELS[name](), np.stack(sequences(name, [6] * 7), axis=1)
    counts = np.array([6, 0, 3, 1, 6, 2, 5])
    lengths = {"full": None, "lengths": counts, "mask": RNG.random((6, 7)) < 0.6}[kind]
    if kind == "mask" and name in ("last", "mean", "hold"):
        lengths[:, 2] = False  # a sequence without a valid step
    expected = model.forward(x, lengths=lengths)[0]
    for batch in (1, 2, 3, 7, 50):
        y = predict(model, x, batch, lengths=lengths)
        assert y.shape == expected.shape
        assert y.tobytes() == expected.tobytes()


def test_a_single_sequence_and_no_sequence():
    model = MODELS["steps"]()
    x = floats(5, 2)
    assert predict(model, x).tobytes() == model.forward(x)[0].tobytes()
    assert predict(model, floats(5, 0, 2)).shape == (5, 0, 4)
    assert [y.shape for y in predict(model, [floats(0, 2), floats(0, 2)], 1)] == [(0, 4)] * 2


def test_files_and_character_models(tmp_path):
    model, x = MODELS["steps"](), floats(4, 5, 2)
    model.save(tmp_path / "m")
    expected = predict(model, x)
    assert predict(tmp_path / "m", x, 2).tobytes() == expected.tobytes()
    assert predict(str(tmp_path / "m"), x, 2).tobytes() == expected.tobytes()
    lm = CharLM("to be or not", layers=1, hidden=4, embedding=2)
    ids = lm.ids("to be")[:, None].repeat(3, 1)
    assert predict(lm, ids, 2).tobytes() == lm.model.forward(ids)[0].tobytes()


def test_it_keeps_no_tape_and_draws_no_dropout():
    model, x, calls = MODELS["steps"](), floats(4, 5, 2), []
    run, before = model.forward, model.generator.bit_generator.state
    object.__setattr__(model, "forward", lambda *a, **k: calls.append(k) or run(*a, **k))
    predict(model, x, 2)
    assert len(calls) == 3
    assert not any(k.get("record") for k in calls)
    assert model.generator.bit_generator.state == before


def encoder_decoder():
    return Seq2Seq(
        Sequential(Embedding(5, 2), GRU(2, 3)),
        Sequential(Embedding(5, 2), GRU(2, 3), Linear(3, 5)),
    )


WRONG = {
    "seq2seq": (lambda: predict(encoder_decoder(), np.zeros((3, 2), int)), TypeError, "generate"),
    "no model": (lambda: predict(3, floats(2, 2, 2)), TypeError, "model must be a model, such as"),
    "class": (lambda: predict(LSTM(2, 3), floats(2, 2, 2)), TypeError, "got LSTM"),
    "no file": (lambda: predict("nothing", floats(2, 2, 2)), OSError, "nothing"),
    "batch": (lambda: predict(MODELS["steps"](), floats(2, 2, 2), 0), ValueError, "batch must be"),
    "float64": (
        lambda: predict(MODELS["steps"](), np.zeros((2, 3, 2)), 2),
        TypeError,
        "float32",
    ),
    "width of the list": (
        lambda: predict(MODELS["steps"](), [floats(2, 2), floats(2, 3)], 1),
        ValueError,
        r"x\[1\] must be \(T, 2\) as x\[0\]",
    ),
    "lengths": (
        lambda: predict(MODELS["steps"](), floats(4, 6, 2), 2, lengths=[1, 2, 3, 4, 4, 4, 4]),
        ValueError,
        r"lengths must be \(N,\) = \(6,\)",
    ),
    "lengths of a list": (
        lambda: predict(MODELS["steps"](), [floats(2, 2)], lengths=[2]),
        ValueError,
        "lengths must be None",
    ),
    "id in an array": (
        lambda: predict(MODELS["ids"](), np.array([[0, 1, 2, 9], [0, 0, 0, 0]]), 2),
        IndexError,
        r"layer 0 \(Embedding\): ids must be in 0..6, got 9 at \(0, 3\)",
    ),
    "id in a list": (
        lambda: predict(MODELS["ids"](), [np.array([1, 2]), np.array([3, 4, 7])], 1),
        IndexError,
        r"x\[1\]: ids must be in 0..6, got 7 at \(2,\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, kind, words = WRONG[name]
    with pytest.raises(kind, match=words):
        call()


def test_progress_is_shown_after_two_seconds(monkeypatch):
    import io

    from rich.console import Console

    from recurrent import progress

    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    track = progress.track
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(
        recurrent.models.predict, "track", lambda items, describe: track(items, describe, console)
    )
    predict(MODELS["steps"](), floats(3, 10, 2), 2)
    assert "sequence 4 of 10" in text.getvalue()
