"""Many documents at once have the bits per character that each has alone."""

import tracemalloc

import numpy as np
import pytest

from recurrent import CharLM
from recurrent.charlm import scoring, training
from recurrent.charlm.scoring import score_documents
from recurrent.charlm.text import Vocabulary

TEXT = "to be, or not to be: that is the question.\n" * 3
MODELS = {
    "lstm": CharLM(TEXT, layers=2, hidden=6, embedding=4),
    "one-hot gru": CharLM(TEXT, cell="gru", layers=1, hidden=5, embedding=0, dtype="float64"),
    "documents": CharLM([TEXT, "so"], layers=1, hidden=5, embedding=3),
    "bytes": CharLM(Vocabulary.bytes(), layers=1, hidden=5, embedding=3),
}
MODELS["int8"] = MODELS["lstm"].quantize("int8")


def documents(lm, n=30, seed=0):
    """Return texts of very different lengths."""
    rng, symbols = np.random.default_rng(seed), sorted(set(TEXT) | {lm.vocabulary.end or " "})
    lengths = [2, 3, *np.exp(rng.uniform(1, 6, n)).astype(int)]
    return ["".join(rng.choice(symbols, length)) for length in rng.permutation(lengths)]


def alone(lm, texts):
    return [(lm.bits_per_character(text), len(lm.ids(text))) for text in texts]


@pytest.mark.parametrize("limit", [2**20, 1500, 40])  # of logits: one, a few and many windows
@pytest.mark.parametrize("name", MODELS)
def test_each_document_has_the_value_that_it_has_alone(name, limit, monkeypatch):
    monkeypatch.setattr(training, "LARGEST_LOGITS", limit)
    monkeypatch.setattr(scoring, "LARGEST_LOGITS", limit)
    lm = MODELS[name]
    texts = documents(lm)
    expected = alone(lm, texts)
    for batch in (1, 7, 64):
        assert score_documents(lm, texts, batch) == expected


def test_jobs_files_and_iterators(tmp_path):
    lm = MODELS["documents"]
    lm.save(tmp_path / "lm")
    texts = documents(lm)
    expected = alone(lm, texts)
    assert list(score_documents(lm, iter(texts), 4)) == expected
    assert list(score_documents(tmp_path / "lm", iter(texts), 4, n_jobs=2)) == expected
    assert score_documents(lm, texts, 4, n_jobs=2) == expected
    assert list(score_documents(lm, iter([]))) == []


def test_kinds_of_documents():
    lm = MODELS["documents"]
    several = ["to be", "", "or"]
    kinds = ["to be", lm.ids("to be"), several]
    assert score_documents(lm, kinds) == alone(lm, kinds)
    lm = MODELS["bytes"]
    assert score_documents(lm, [b"\xff\x00!", "é"]) == alone(lm, [b"\xff\x00!", "é"])


@pytest.mark.parametrize("unknown", ["skip", "replace"])
def test_unknown_characters(unknown):
    lm = MODELS["lstm"]
    (score,) = score_documents(lm, ["to & be"], unknown=unknown)
    assert score.bits == lm.bits_per_character("to & be", unknown=unknown)


def test_a_long_document_takes_no_more_memory_than_a_short_one(monkeypatch):
    monkeypatch.setattr(scoring, "LARGEST_LOGITS", 2**12)
    lm, peaks = MODELS["lstm"], []
    for n in (5_000, 5_000, 50_000):
        many = [np.zeros(n, np.uint8), np.zeros(n // 2, np.uint8)]
        tracemalloc.start()
        scoring._side_by_side(lm.model, many, None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 100_000  # the losses would take 540,000 more, the logits 6,750,000


WRONG = {
    "a text": ("to be", TypeError, "documents must be an iterable of documents, got 'to be'"),
    "no iterable": (3, TypeError, "documents must be an iterable"),
    "unknown": (["to", "b&"], ValueError, r"documents\[1\]: character '&' .* is not among"),
    "short": (["to", "b"], ValueError, r"documents\[1\]: the text has 1 character, but at least 2"),
    "empty": (["to", ""], ValueError, r"documents\[1\]: the text is empty"),
    "type": (["to", 3], TypeError, r"documents\[1\]: text must be str"),
    "ids": ([np.array([0, 99])], IndexError, r"documents\[0\]: text, as ids, must be in 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_documents(name):
    given, kind, words = WRONG[name]
    with pytest.raises(kind, match=words):
        score_documents(MODELS["lstm"], given)


def test_wrong_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MODELS["lstm"].model.save("plain")

    def untouched():
        pytest.fail("read before the check")
        yield

    for model, options, kind, words in (
        ("nothing", {}, OSError, "nothing"),
        ("plain", {}, ValueError, "plain must hold a character model, got a Sequential"),
        (3, {}, TypeError, "model must be a CharLM, or the path of its file"),
        (MODELS["lstm"].model, {}, TypeError, "got Sequential"),
        (MODELS["lstm"], dict(batch=0), ValueError, "batch"),
        (MODELS["lstm"], dict(n_jobs=0), ValueError, "n_jobs"),
        (MODELS["lstm"], dict(unknown="drop"), ValueError, "unknown must be one of"),
    ):
        with pytest.raises(kind, match=words):
            score_documents(model, untouched(), **options)
