"""Vocabularies, streams, sampling filters and their distributions, and small character models."""

import math

import numpy as np
import pytest

from recurrent.charlm import sampling
from recurrent.charlm.model import CharLM
from recurrent.charlm.splits import split
from recurrent.charlm.text import Vocabulary, streams
from recurrent.charlm.training import evaluation_windows
from recurrent.conformance.tolerance import assert_same_bits, tolerance
from recurrent.losses import softmax_cross_entropy
from recurrent.training.fit import evaluate

TEXT = "the quick brown fox jumps over the lazy dog. " * 20


def small(**options):
    return CharLM(TEXT, **{"layers": 2, "hidden": 8, "embedding": 4, "rng": 3, **options})


def train(lm, **options):
    return lm.train(TEXT, **{"seq": 7, "batch": 3, "updates": 8, "progress": False, **options})


@pytest.mark.parametrize("text", ["hello", "Ünï – 漢字 🎉\x00\n", "\ud800 alone"])
def test_a_vocabulary_of_characters_encodes_and_decodes(text):
    v = Vocabulary.of(text)
    ids = v.encode(text)
    assert len(v) == len(set(text))
    assert ids.dtype == np.int32
    assert [v.symbols[k] for k in ids] == list(text)
    assert v.decode(ids) == text
    assert Vocabulary.build(v.describe()) == v


def test_symbols_keep_their_order():
    v = Vocabulary("ba")
    assert v.encode("ab").tolist() == [1, 0]


def test_bytes_encode_any_text_and_raw_data():
    v = Vocabulary.bytes()
    assert len(v) == 256
    assert v.encode("é").tolist() == [0xC3, 0xA9]
    assert v.encode(b"\xff\x00").tolist() == [255, 0]
    assert v.decode(v.encode("naïve 🎉")) == "naïve 🎉"
    assert v.decode([0xC3]) == "\ufffd"
    assert Vocabulary.build(v.describe()) == v


def test_bytes_become_text_as_soon_as_a_character_is_complete():
    consumed = []

    def ids():
        for k in "é!".encode():
            consumed.append(k)
            yield k

    pieces = Vocabulary.bytes().pieces(ids())
    assert next(pieces) == "é"
    assert len(consumed) == 2
    assert list(pieces) == ["!"]


def test_an_unknown_character_is_named_with_its_position():
    with pytest.raises(
        ValueError,
        match=r"^character '€' \(U\+20AC\) at position 2 is not among the 2 in the vocabulary$",
    ):
        Vocabulary.of("ab").encode("ab€")
    for text in ("\x00", "b", "\U0010ffff"):  # before, between and after all that are known
        with pytest.raises(ValueError, match="position 0"):
            Vocabulary.of("ac").encode(text)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Vocabulary.of(""), ValueError, "the text is empty"),
        (lambda: Vocabulary("aba"), ValueError, "must differ"),
        (lambda: Vocabulary.of("a").encode(b"a"), TypeError, "text must be str"),
        (lambda: Vocabulary.of("ab").decode([2]), IndexError, r"0..1, got 2"),
        (lambda: Vocabulary.build({"kind": "words"}), ValueError, "kind 'bytes'"),
    ],
)
def test_bad_vocabularies_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(("n", "N"), [(13, 3), (14, 3), (2, 1), (101, 7)])
def test_streams_are_contiguous_and_every_target_is_the_true_successor(n, N):
    x, y = streams(np.arange(n), N)
    L = (n - 1) // N
    assert x.shape == y.shape == (L, N)
    assert np.array_equal(y, x + 1)
    assert np.array_equal(x.T.reshape(-1), np.arange(N * L))


def test_a_text_shorter_than_a_window_says_both_numbers():
    assert streams(np.zeros(151, int), 3, 50)[0].shape == (50, 3)
    with pytest.raises(
        ValueError,
        match=r"has 150 characters, but at least 151 are needed: 3 streams of 50 steps and the",
    ):
        streams(np.zeros(150, int), 3, 50)
    with pytest.raises(ValueError, match="is empty, but at least 2 are needed"):
        streams(np.zeros(0, int), 1)


def test_split_holds_out_the_end():
    first, last = split(np.arange(100), 0.05)
    assert first.tolist() == list(range(95))
    assert last.tolist() == list(range(95, 100))
    with pytest.raises(ValueError, match="less than the 2"):
        split(np.arange(30), 0.05)


LOGITS = np.log([0.5, 0.05, 0.25, 0.2])


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance(np.float64, 4))


def test_filters_have_exact_distributions():
    p = sampling.probabilities
    close(p(LOGITS), [0.5, 0.05, 0.25, 0.2])
    squares = np.array([0.25, 0.0025, 0.0625, 0.04])
    close(p(sampling.temperature(LOGITS, 0.5)), squares / squares.sum())
    close(p(sampling.top_k(LOGITS, 2)), [2 / 3, 0, 1 / 3, 0])
    close(p(sampling.top_k(LOGITS, 9)), p(LOGITS))
    close(p(sampling.top_p(LOGITS, 0.6)), [2 / 3, 0, 1 / 3, 0])
    close(p(sampling.top_p(LOGITS, 0.76)), np.array([0.5, 0, 0.25, 0.2]) / 0.95)
    close(p(sampling.top_p(LOGITS, 1e-9)), [1, 0, 0, 0])
    close(p(sampling.top_p(LOGITS, 1)), p(LOGITS))
    close(p(sampling.top_k(np.zeros(4), 3)), [1 / 3, 1 / 3, 1 / 3, 0])  # of equal ones the first


def test_filters_do_not_modify_their_argument():
    before = LOGITS.copy()
    for f, a in ((sampling.temperature, 2.0), (sampling.top_k, 1), (sampling.top_p, 0.1)):
        f(LOGITS, a)
    assert_same_bits(LOGITS, before)


@pytest.mark.parametrize(
    ("f", "bad"),
    [("temperature", (0, -1, math.nan, math.inf)), ("top_k", (0,)), ("top_p", (0, 1.5))],
)
def test_filters_reject_what_is_out_of_range(f, bad):
    for value in bad:
        with pytest.raises(ValueError, match=f"^{f} must be "):
            getattr(sampling, f)(LOGITS, value)


def test_samples_follow_the_filtered_distribution():
    rng, samples = np.random.default_rng(0), 4000
    counts = np.bincount(
        [sampling.sample_id(LOGITS, rng, value=2.0, k=3, p=0.9) for _ in range(samples)],
        minlength=4,
    )
    p = np.sqrt([0.5, 0, 0.25, 0.2]) / np.sqrt([0.5, 0, 0.25, 0.2]).sum()
    assert counts[1] == 0
    # Binomial: 5 standard deviations are exceeded with probability 6e-7.
    assert np.all(np.abs(counts - samples * p) <= 5 * np.sqrt(samples * p * (1 - p)))
    assert {sampling.sample_id(LOGITS, rng, greedy=True) for _ in range(9)} == {0}


def test_logits_that_are_not_finite_are_an_error():
    with pytest.raises(FloatingPointError, match="not finite"):
        sampling.sample_id(np.array([0.0, np.nan]), np.random.default_rng(0))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_stack_of_layers(cell):
    lm = small(cell=cell, dropout=0.5)
    names = [type(layer).__name__ for layer in lm.model.layers]
    assert names == ["Embedding", cell.upper(), "Dropout", cell.upper(), "Linear"]
    assert lm.model.out_features == len(lm.vocabulary) == len(set(TEXT))
    assert lm.settings["cell"] == cell


def test_bad_options_of_a_model_are_named():
    for options, words in (
        ({"cell": "rmn"}, "lstm, gru, rnn"),
        ({"layers": 1, "dropout": 0.5}, "2 of them"),
        ({"hidden": 0}, "1"),
    ):
        with pytest.raises(ValueError, match=words):
            small(**options)


def test_bits_per_character_does_not_depend_on_the_windows():
    lm = small()
    ids = lm.ids(TEXT)
    y, _, _ = lm.model.forward(ids[:-1, None])
    nats, _ = softmax_cross_entropy(y, ids[1:, None])
    close(lm.bits_per_character(TEXT), nats / math.log(2))
    whole, cut = (evaluation_windows(lm.vocabulary, ids, 1) for _ in range(2))
    cut.window = 13
    a, b = (evaluate(lm.model, w, softmax_cross_entropy) for w in (whole, cut))
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(np.float32, 1, a))


def test_bits_per_character_in_streams_starts_each_from_zero():
    lm = small()
    ids = lm.ids(TEXT)
    L = (len(ids) - 1) // 3
    parts = [lm.bits_per_character(ids[n * L : (n + 1) * L + 1]) for n in range(3)]
    np.testing.assert_allclose(
        lm.bits_per_character(TEXT, 3),
        np.mean(parts),
        rtol=0,
        atol=tolerance(np.float32, 1, parts[0]),
    )


def test_dropout_does_not_act_in_evaluation_or_sampling():
    lm, plain = small(dropout=0.5), small()
    plain.model.flat[:] = lm.model.flat
    assert lm.bits_per_character(TEXT) == plain.bits_per_character(TEXT)
    assert lm.sample(length=30, seed=1) == plain.sample(length=30, seed=1)


def test_training_lowers_the_loss_and_keeps_the_best():
    lm = small()
    before = lm.bits_per_character(TEXT)
    history = train(lm, updates=60, lr=2e-2, validate_every=15)
    assert lm.bits_per_character(TEXT) < 0.8 * before
    assert [u for u, _ in history.validation] == [15, 30, 45, 60]
    _, held_out = split(lm.ids(TEXT), 0.05)
    value = min(v for _, v in history.validation) / math.log(2)
    np.testing.assert_allclose(
        lm.bits_per_character(held_out), value, rtol=0, atol=tolerance(np.float32, 1, value)
    )


def test_the_best_parameters_are_kept_when_training_gets_worse():
    lm = small()
    history = train(lm, updates=20, lr=lambda step: 1e-2 if step < 10 else 3.0, validate_every=10)
    assert history.best[0] == 10
    only_ten = small()
    train(only_ten, updates=10, lr=1e-2, validate_every=10)
    assert_same_bits(lm.model.flat, only_ten.model.flat)
    assert lm.training.latest is not None


def test_samples_of_a_seed_are_equal_and_others_differ():
    lm = small()
    texts = [lm.sample(length=40, seed=s) for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 40
    assert lm.sample(length=0, seed=1) == ""


def test_a_sample_continues_its_prime():
    lm = small()
    train(lm, updates=5)
    logits = lm.model.forward(lm.ids("the q"))[0][-1]
    assert (lm.sample("the q", 1, greedy=True)) == lm.vocabulary.symbols[int(logits.argmax())]
    greedy = lm.sample("the q", 9, greedy=True)
    assert (
        greedy
        == lm.sample("the q", 9, top_k=1, seed=5)
        == lm.sample("the q", 9, top_p=1e-6, seed=6)
    )


def test_the_first_character_without_a_prime_is_uniform():
    lm = small()
    V, samples = len(lm.vocabulary), 1500
    lm.model.parameters["3.bias"][0] = 50.0  # the model itself would always say symbol 0
    counts = np.bincount(
        [lm.ids(lm.sample(length=1, seed=s))[0] for s in range(samples)], minlength=V
    )
    assert np.all(np.abs(counts - samples / V) <= 5 * np.sqrt(samples / V))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prime": "Q"}, "character 'Q'"),
        ({"temperature": 0}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 2}, "top_p"),
        ({"length": -1}, "length"),
    ],
)
def test_bad_options_of_sampling_are_refused_at_the_call(options, words):
    with pytest.raises(ValueError, match=words):
        small().sample(**options)


def test_a_model_of_bytes_learns_raw_data():
    lm = CharLM(Vocabulary.bytes(), layers=1, hidden=4, embedding=3)
    data = bytes(range(256)) * 2
    history = lm.train(data, seq=5, batch=2, updates=3, progress=False)
    assert history.updates == 3
    assert isinstance(lm.sample(length=20, seed=0), str)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, "empty"),
        ("the", {"validation": 0}, r"has 3 characters, but at least 22 are needed"),
        (TEXT, {"validation": 1.0}, "below 1"),
        (TEXT, {"optimizer": "adamm"}, "sgd, rmsprop, adagrad, adam, adamw"),
        (TEXT, {"seq": 0}, "seq must be at least 1"),
    ],
)
def test_bad_options_of_training_are_named(text, options, words):
    with pytest.raises(ValueError, match=words):
        small().train(text, **{"seq": 7, "batch": 3, "updates": 1, "progress": False, **options})


@pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # the plain NumPy kernels warn of the overflow
def test_a_loss_that_is_not_finite_stops_with_the_best_model_kept():
    lm = small()
    before = None

    def look(update, history):
        nonlocal before
        if update == 4:
            before = lm.model.flat.copy()
            lm.optimizer.lr = 1e38

    with pytest.raises(FloatingPointError, match="update 6"):
        train(lm, updates=9, validate_every=2, callback=look)
    assert_same_bits(lm.model.flat, before)


def test_the_error_names_the_shortest_text_that_can_be_trained_on():
    lm = small()
    with pytest.raises(
        ValueError,
        match=r"has 100 characters, but at least 121 are needed: 9 streams of 12 steps .* 0.1 of",
    ) as error:
        lm.train(TEXT[:100], seq=12, batch=9, validation=0.1, updates=1, progress=False)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="has 120 characters"):
        lm.train(TEXT[:120], seq=12, batch=9, validation=0.1, updates=1, progress=False)
    assert (
        lm.train(TEXT[:121], seq=12, batch=9, validation=0.1, updates=1, progress=False).updates
        == 1
    )


def test_a_sample_is_one_line_and_ends_before_a_text():
    lm = small()
    text = lm.sample("the ", length=200, seed=4)
    assert len(text) == 200
    assert "".join(lm.generate("the ", 200, seed=4)) == text
    for stop in (text[50:52], [text[60:63], text[30:31]], ["no such text", text[7:12]]):
        stops = [stop] if isinstance(stop, str) else stop
        first = min(at for s in stops if (at := text.find(s)) >= 0)
        assert lm.sample("the ", 200, stop=stop, seed=4) == text[:first]
    assert lm.sample("the ", 200, stop="no such text", seed=4) == text
    with pytest.raises(TypeError, match=r"prime must be a str, got int: write length=200"):
        lm.sample(200)
    for wrong in ("", [""], [1], 3):
        with pytest.raises(TypeError, match="stop must be a str that is not empty, or a list"):
            lm.sample(stop=wrong)


@pytest.mark.parametrize("cuts", [1, 2, 3, 7])
def test_a_stop_may_come_in_any_pieces(cuts):
    text = "aabab.ababc.abc"
    pieces = [text[k : k + cuts] for k in range(0, len(text), cuts)]
    for stops in (["abc"], ["abab", "c"], ["x"], ["abc."], ["c", "b.a"]):
        found = [at for s in stops if (at := text.find(s)) >= 0]
        assert "".join(sampling.until(pieces, stops)) == text[: min(found, default=None)]


def test_unknown_characters_are_skipped_or_replaced():
    v = Vocabulary("ab? ")
    assert v.encode("a€b𝄞", unknown="skip").tolist() == [0, 1]
    assert v.encode("a€b𝄞", unknown="replace").tolist() == [0, 2, 1, 2]
    assert Vocabulary("ab \ufffd?").encode("€", unknown="replace").tolist() == [3]
    with pytest.raises(ValueError, match=r"needs U\+FFFD, '\?' or ' ' in the vocabulary"):
        Vocabulary("ab").encode("€", unknown="replace")
    with pytest.raises(ValueError, match="unknown must be one of error, skip, replace"):
        v.encode("a", unknown="drop")


@pytest.mark.parametrize("symbols", [2, 256, 257, 65536, 65537])
def test_ids_take_the_least_memory(symbols):
    v = Vocabulary("".join(map(chr, range(32, 0xD800)))[:symbols])
    if symbols > len(v):
        v = Vocabulary(v.symbols + "".join(map(chr, range(0x10000, 0x10000 + symbols - len(v)))))
    text = v.symbols[::-1] * 2
    least = np.uint8 if symbols <= 256 else np.uint16 if symbols <= 65536 else np.uint32
    ids, _ = v.encode_pieces([text[:5], text[5:]])
    assert ids.dtype == v.dtype == least
    np.testing.assert_array_equal(ids, v.encode(text))
    assert v.decode(ids) == text
    pieces = [text[:1], text[1:300], "", text[300:70_000], text[70_000:]]
    again, ids = Vocabulary.of_pieces(pieces)
    assert again == Vocabulary.of(text)
    assert ids.dtype == least
    np.testing.assert_array_equal(ids, again.encode(text))


def test_ids_of_any_dtype_train_to_the_same_bits():
    flats = []
    for text in (TEXT, small().ids(TEXT), small().ids(TEXT).astype(np.int64)):
        lm = small()
        lm.train(text, seq=7, batch=3, updates=4, progress=False)
        flats.append((lm.model.flat.tobytes(), lm.options["text"]))
    assert flats[0] == flats[1] == flats[2]
