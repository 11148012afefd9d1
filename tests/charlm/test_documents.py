"""Texts of documents: the state is reset between them, and a sample ends where one does."""

import math

import numpy as np
import pytest

from recurrent import CharLM
from recurrent.charlm.documents import END, cut, joined
from recurrent.charlm.text import Vocabulary
from recurrent.charlm.training import training_windows
from recurrent.conformance.tolerance import tolerance
from recurrent.losses import softmax_cross_entropy

NAMES = ["anna", "bo", "", "cleo", "dan", "eva-maria", "f"] * 6


def model(**options):
    return CharLM(NAMES, **dict(layers=2, hidden=8, embedding=4, rng=1) | options)


def train(lm, text=NAMES, **options):
    base = {} if options.get("resume") else dict(seq=7, batch=3)
    return lm.train(text, **base | dict(updates=9, progress=False) | options)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("separator", ["\n", "--", "<e>", "ab", ""])
def test_a_text_is_cut_in_any_pieces(separator, size):
    text = "\n\na\n--\n-b---c<<e>d<e><e>aab-abab\n"
    pieces = [text[k : k + size] for k in range(0, len(text), size)]
    parts = [part for part in (text.split(separator) if separator else [text]) if part]
    assert "".join(cut(pieces, separator)) == joined(parts) == END + END.join(parts) + END


def test_a_text_without_a_document():
    assert "".join(cut(["\n", "\n"], "\n")) == END
    assert "".join(cut([], "\n")) == END
    with pytest.raises(ValueError, match="text must have a document that is not empty"):
        joined(["", ""])
    for call in (lambda: joined(["a", f"b{END}"]), lambda: list(cut([f"b{END}"], "\n"))):
        with pytest.raises(ValueError, match=r"has the character U\+0003, which marks the end"):
            call()


def test_a_list_and_a_text_to_be_cut_are_the_same():
    lm = model()
    assert lm.vocabulary.end == END
    assert Vocabulary.build(lm.vocabulary.describe()) == lm.vocabulary
    assert lm.vocabulary != Vocabulary(lm.vocabulary.symbols)
    results = []
    for text, options in ((NAMES, {}), ("\n".join(NAMES), dict(documents="lines"))):
        lm = model()
        train(lm, text, **options)
        results.append((lm.model.flat.tobytes(), lm.options["text"]))
    assert results[0] == results[1]


def test_the_state_is_reset_before_the_symbol_that_begins_a_document():
    lm = model()
    windows, _ = training_windows(lm.vocabulary, lm.ids(NAMES), lm.recipe.override(seq=5, batch=3))
    resets = [b.resets if b.resets is not None else np.zeros((5, 3), bool) for b in windows]
    x = np.concatenate([b.x for b in windows])
    np.testing.assert_array_equal(np.concatenate(resets), x == lm.vocabulary.end_id)


def nats(lm, document):
    """The sum of the losses of one document alone, and how many symbols count."""
    ids = lm.ids([document])[:, None]
    y, _, _ = lm.model.forward(ids[:-1])
    return softmax_cross_entropy(y, ids[1:])[0] * (len(ids) - 1), len(ids) - 1


def test_each_document_counts_as_if_it_were_alone():
    lm = model()
    train(lm)
    found = [nats(lm, name) for name in NAMES if name]
    expected = sum(a for a, _ in found) / sum(n for _, n in found) / math.log(2)
    for names in (NAMES, NAMES[::-1]):
        np.testing.assert_allclose(
            lm.bits_per_character(names), expected, rtol=0, atol=tolerance(np.float32, 8, expected)
        )


def test_a_sample_ends_where_a_document_does():
    lm = model(hidden=32)
    train(lm, lr=1e-2, updates=300, validation=0)
    texts = [lm.sample(seed=s, length=500) for s in range(30)]
    assert max(map(len, texts)) < 60
    assert not any(END in text for text in texts)
    assert {text for text in texts if text in NAMES}
    assert any(lm.sample("cl", seed=s) == "eo" for s in range(9))
    lm.model.parameters["3.bias"][lm.vocabulary.end_id] = 100.0
    assert lm.sample("cl", seed=0) == ""


def test_training_resumes_with_its_documents(tmp_path):
    text = "\n".join(NAMES)
    whole, part = model(), model()
    train(whole, text, updates=9, documents="lines")
    train(part, text, updates=4, documents="lines", save_to=tmp_path / "m")
    again = CharLM.load(tmp_path / "m")
    assert again.vocabulary == whole.vocabulary
    with pytest.raises(ValueError, match="resume needs the documents that the training began"):
        train(again, text, resume=True, documents="files")
    train(again, text, resume=True)
    assert again.history.losses == whole.history.losses
    assert again.model.flat.tobytes() == whole.model.flat.tobytes()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: CharLM("abc").train(["abc"]), "text has documents, but the vocabulary has no end"),
        (lambda: CharLM("abc").train("abc", documents="lines"), "the vocabulary has no end symbol"),
        (lambda: train(model(), documents=""), "documents must be 'lines' or the text between"),
        (lambda: train(model(), look_back=20), "look_back must be None for a text of documents"),
        (lambda: train(model(), ["anna", 3]), "text must be str, bytes, a list of str or an array"),
        (lambda: CharLM(["a", 3]), r"vocabulary\[1\] must be a str, got int"),
        (lambda: CharLM([""]), "vocabulary must have a document that is not empty"),
        (lambda: Vocabulary("ab", "c"), "end must be one of the symbols, got 'c'"),
    ],
)
def test_bad_input_is_one_clear_line(call, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
