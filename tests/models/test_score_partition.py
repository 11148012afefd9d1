"""`score_partition` adds the bits of `predict` to frames, a partition or an iterator of them."""

import numpy as np
import pandas as pd
import pytest

from recurrent import (
    GRU,
    LSTM,
    CharLM,
    Embedding,
    Last,
    Linear,
    Seq2Seq,
    Sequential,
    predict,
    score_partition,
)
from recurrent.charlm import partition

LM = CharLM("to be or not to be", layers=1, hidden=8, embedding=4)
TEXTS = ["to be", "or not to be", "no", "e" * 50]
STEPS = Sequential(LSTM(2, 3), Linear(3, 4), rng=0)
ONE = Sequential(GRU(1, 3), Last(), Linear(3, 2), rng=0)
IDS = Sequential(Embedding(7, 2), GRU(2, 3), Last(), rng=0)


def lists(D, n=9, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(T, D) if D else (T,) for T in rng.integers(1, 9, n)]
    return [rng.standard_normal(shape, np.float32).tolist() for shape in shapes]


def test_texts_have_the_bits_that_they_have_alone():
    frame = pd.DataFrame({"id": range(4), "text": TEXTS}, index=list("abcd"))
    before = frame.copy()
    out = score_partition(frame, LM, "text")
    assert list(out.columns) == ["id", "text", "score"]
    assert out.score.dtype == np.float64
    assert out.score.tolist() == [LM.bits_per_character(text) for text in TEXTS]
    pd.testing.assert_frame_equal(out[["id", "text"]], before)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("batch", [1, 4, 256])
@pytest.mark.parametrize("kind", ["lists", "arrays", "arrays of arrays"])
@pytest.mark.parametrize("name", ["steps", "one", "ids"])
def test_numbers_have_the_bits_of_predict(name, kind, batch):
    model = {"steps": STEPS, "one": ONE, "ids": IDS}[name]
    rows = lists(2 if name == "steps" else 0)
    if name == "ids":
        rows = [[int(abs(k)) for k in row] for row in rows]
    dtype = np.int64 if name == "ids" else np.float32
    x = [np.array(row, dtype) for row in rows]
    expected = predict(model, [a[:, None] for a in x] if name == "one" else x)
    if kind == "arrays":  # float64, as lists of Python floats are
        rows = [np.array(row) for row in rows]
    elif kind == "arrays of arrays" and name == "steps":  # as Spark has them
        rows = [np.array([*map(np.array, row), None], object)[:-1] for row in rows]
    out = score_partition(pd.DataFrame({"x": pd.Series(rows)}), model, "x", "y", batch)
    assert [np.array(y, np.float32).tobytes() for y in out.y] == [y.tobytes() for y in expected]
    assert all(type(y) is list for y in out.y)


def test_an_iterator_gives_an_iterator():
    frames = [pd.DataFrame({"text": TEXTS[:2]}), pd.DataFrame({"text": TEXTS[2:]})]
    read = []
    out = score_partition((read.append(1) or frame for frame in frames), LM, "text")
    assert read == []
    parts = list(out)
    whole = score_partition(pd.DataFrame({"text": TEXTS}), LM, "text")
    assert [s for part in parts for s in part.score] == whole.score.tolist()


def test_missing_and_short_sequences():
    frame = pd.DataFrame({"text": ["to be", None, "t", "", float("nan"), pd.NA]})
    out = score_partition(frame, LM, "text").score
    assert out.isna().tolist() == [False, True, True, True, True, True]
    out = score_partition(pd.DataFrame({"x": [[1.0], None, []]}), ONE, "x").score
    assert out[1] is None
    assert len(out[0]) == len(out[2]) == 2
    for model, dtype in ((LM, np.float64), (ONE, object)):
        empty = score_partition(pd.DataFrame({"x": []}), model, "x")
        assert (len(empty), empty.score.dtype) == (0, dtype)


def test_a_file_is_opened_once(tmp_path, monkeypatch):
    opened, load = [], partition.load
    monkeypatch.setattr(partition, "load", lambda path: opened.append(path) or load(path))
    frame = pd.DataFrame({"text": TEXTS})
    LM.save(tmp_path / "m")
    expected = score_partition(frame, LM, "text")
    for _ in range(3):
        pd.testing.assert_frame_equal(score_partition(frame, tmp_path / "m", "text"), expected)
    assert len(opened) == 1
    other = CharLM("to be or not to be", layers=1, hidden=9, embedding=4)
    other.save(tmp_path / "m")  # a new file is another model
    pd.testing.assert_frame_equal(
        score_partition(frame, str(tmp_path / "m"), "text"), score_partition(frame, other, "text")
    )
    assert len(opened) == 2


PAIR = Seq2Seq(
    Sequential(Embedding(5, 2), GRU(2, 3)),
    Sequential(Embedding(5, 2), GRU(2, 3), Linear(3, 5)),
)
FRAME = pd.DataFrame({"text": ["to be", "to & be"], "x": [[1.0], [[1.0, 2.0]]]}, index=[7, 8])


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: score_partition(FRAME, LM, "text"), ValueError, r"text\[8\]: character '&'"),
        (lambda: score_partition(FRAME, LM, "x"), TypeError, r"x\[7\]: text "),
        (lambda: score_partition(FRAME, ONE, "x"), ValueError, r"x\[8\]: layer 0 .* D=1"),
        (lambda: score_partition(FRAME, ONE, "text"), TypeError, r"text\[7\]: expected numbers"),
        (lambda: score_partition(FRAME, LM, "y"), KeyError, "column must be one of text, x, got"),
        (lambda: score_partition(3, LM, "x"), TypeError, "frames must be a pandas DataFrame"),
        (lambda: list(score_partition([3], LM, "x")), TypeError, "frames .* got one of 3"),
        (lambda: score_partition([], "nothing", "x"), OSError, "nothing"),
        (lambda: score_partition([], 3, "x"), TypeError, "model must be a model"),
        (lambda: score_partition([], ONE, 3), TypeError, "column must be a str"),
        (lambda: score_partition([], ONE, "x", batch=0), ValueError, "batch must be"),
        (lambda: score_partition([], PAIR, "x"), TypeError, "got a Seq2Seq"),
    ],
)
def test_wrong_calls(call, kind, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words):
        call()
