"""Seq2Seq: equal to its two parts, gradients, padding, checkpoints, greedy and beam decoding."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    Memory,
    Seq2Seq,
    Sequential,
    fit,
    optim,
)
from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.data import Batch
from recurrent.losses import softmax_cross_entropy
from recurrent.models.decoding import beam_search, log_softmax
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

pytestmark = pytest.mark.reference

V, E, H = 5, 3, 4
RECURRENT = {"lstm": LSTM, "gru": GRU}


def model(
    dtype="float64",
    cell="lstm",
    both=True,
    bridge="concat",
    score="general",
    layers=1,
    rng=0,
    dropout=0.0,
    end=1,
):
    """Return a model from ids to ids, with sizes that fit the bridge."""
    make, wide = RECURRENT[cell], 2 * H if both else H
    inner = 2 * H if both and bridge == "concat" else H
    encoder = [
        Embedding(V, E),
        *(make(wide if k else E, H, bidirectional=both) for k in range(layers)),
    ]
    decoder = [
        Embedding(V, E),
        *(make(inner if k else E, inner) for k in range(layers)),
        Dropout(dropout),
    ]
    if score:
        decoder += [Attention(inner, wide, score, output_size=H)]
    decoder += [Linear(H if score else inner, V)]
    parts = [
        Sequential(*part, rng=rng + k, dtype=dtype) for k, part in enumerate((encoder, decoder))
    ]
    return Seq2Seq(*parts, bridge=bridge, end=end)


def problem(seed, T=4, S=5, N=3, least=1):
    rng = np.random.default_rng(seed)
    source, target, truth = (rng.integers(0, V, s) for s in ((S, N), (T, N), (T, N)))
    return (source, target), truth, (rng.integers(least, S + 1, N), rng.integers(least, T + 1, N))


OPTIONS = dict(
    cell=st.sampled_from(list(RECURRENT)),
    both=st.booleans(),
    bridge=st.sampled_from(["concat", "sum", "average", None]),
    score=st.sampled_from([None, "general"]),
    layers=st.integers(1, 2),
)


@given(st.fixed_dictionaries(OPTIONS), st.integers(0, 999))
def test_it_equals_running_both_parts_by_hand(options, seed):
    net = model(**options, dtype="float32")
    (source, target), _, (inside, outside) = problem(seed)
    y, state, _ = net.forward((source, target), lengths=(inside, outside))
    memory, left, _ = net.encoder.forward(source, lengths=inside)
    start = [None] * len(net.decoder)
    merge = {
        "concat": lambda s: np.concatenate(s, axis=1),
        "sum": lambda s: s[0] + s[1],
        "average": lambda s: (s[0] + s[1]) / 2,
    }
    for k in range(1, 1 + options["layers"]):
        if options["bridge"] is not None:
            final = left[k]
            halves = (
                [merge[options["bridge"]](s) for s in zip(*final, strict=True)]
                if options["both"]
                else final
            )
            start[k] = tuple(halves)
    if options["score"]:
        start[-2] = Memory(memory, inside)
    y2, after, _ = net.decoder.forward(target, tuple(start), lengths=outside)
    assert_same_bits(y, y2)
    assert len(state) == len(net)
    assert_same_bits(state[-4 if options["score"] else -3][0], after[options["layers"]][0])


@given(st.fixed_dictionaries(OPTIONS), st.integers(0, 999))
def test_gradients_by_central_differences_along_each_array(options, seed):
    net = model(**options)
    x, truth, lengths = problem(seed)

    def loss():
        return softmax_cross_entropy(net.forward(x, lengths=lengths)[0], truth, lengths=lengths[1])[
            0
        ]

    y, _, tape = net.forward(x, lengths=lengths, record=True)
    value, dy = softmax_cross_entropy(y, truth, lengths=lengths[1])
    out = np.full_like(net.flat, np.nan)
    grads = net.backward(dy, tape, out=out)
    assert list(grads.params) == list(net.parameters)
    assert_same_bits(np.concatenate([g.ravel() for g in grads.params.values()]), out)
    step, rng = np.finfo(float).eps ** (1 / 3), np.random.default_rng(seed)
    for name, a in net.parameters.items():
        direction, before = rng.standard_normal(a.shape) / a.size**0.5, a.copy()
        ends = []
        for side in (step, -step):
            a[:] = before + side * direction
            ends.append(loss())
        a[:] = before
        bound = tolerance(np.float64, 500, max(1.0, value)) / step + 100 * step**2
        assert (
            abs((ends[0] - ends[1]) / (2 * step) - (grads.params[name] * direction).sum()) < bound
        ), name


@given(st.sampled_from([None, "general", "additive"]), st.booleans(), st.integers(0, 99))
def test_a_pair_gives_the_same_alone_and_in_a_list(score, both, seed):
    net = model("float32", both=both, score=score)
    (source, target), _, lengths = problem(seed)
    y = net.forward((source, target), lengths=lengths)[0]
    lists = tuple(
        [a[:n, k] for k, n in enumerate(counts)]
        for a, counts in zip((source, target), lengths, strict=True)
    )
    listed, _, _ = net.forward(lists)
    for n, (inside, outside) in enumerate(zip(*lengths, strict=True)):
        alone, _, _ = net.forward((source[:inside, n], target[:outside, n]))
        assert_same_bits(alone, y[:outside, n])
        assert_same_bits(listed[n], alone)


def test_an_encoder_that_outputs_a_vector_sets_the_initial_state():
    rng = np.random.default_rng(0)
    target, vector = rng.integers(0, V, (4, 3)), rng.standard_normal((3, 2))
    decoders = [
        Sequential(Embedding(V, E), LSTM(E, H), Linear(H, V), rng=1, dtype="float64")
        for _ in range(2)
    ]
    net = Seq2Seq(Sequential(Linear(2, H), dtype="float64"), decoders[0])
    y = net.forward((vector, target))[0]
    h = net.encoder.forward(vector)[0]
    assert_same_bits(y, decoders[1].forward(target, (None, (h, np.zeros_like(h)), None))[0])
    pooled = Seq2Seq(Sequential(GRU(2, 3), MeanPool(), Linear(3, H), dtype="float64"), decoders[1])
    x = rng.standard_normal((6, 3, 2)), target
    recording = pooled.record(x, rng.integers(0, V, (4, 3)), softmax_cross_entropy)
    assert all(np.abs(g).max() > 0 for g in recording.gradients.params.values())
    assert recording.gradients.dx.source.shape == (6, 3, 2)
    step, w = 1e-6, pooled.parameters["encoder.0.weight_ih_l0"]

    def at(side):
        w[1, 1] += side
        value = softmax_cross_entropy(pooled.forward(x)[0], recording.targets)[0]
        w[1, 1] -= side
        return value

    slope = (at(step) - at(-step)) / (2 * step)
    assert abs(slope - recording.gradients.params["encoder.0.weight_ih_l0"][1, 1]) < 1e-8


def test_one_vector_of_parameters_and_a_recording_of_every_layer():
    net = model("float32", dropout=0.3)
    x, truth, lengths = problem(0)
    assert net.size == net.flat.size == net.encoder.size + net.decoder.size
    net.flat[:] = np.arange(net.size)
    assert net.encoder.flat[-1] == net.encoder.size - 1
    assert net.decoder.parameters["0.weight"][0, 0] == net.encoder.size
    assert net.parameters["decoder.4.bias"] is not None
    assert net.decoder[1].params.W_ih[0, 0] == net.parameters["decoder.1.weight_ih_l0"][0, 0]
    net = model("float32")
    recording = net.record(x, truth, softmax_cross_entropy, lengths)
    assert len(recording.layers) == len(net)
    weights = recording.layers[5].weights
    T, N, S = weights.shape
    assert (T, N, S) == (4, 3, 5)
    assert_close(weights.sum(axis=2), np.ones((T, N), np.float32), S)
    for n in range(N):
        assert not weights[:, n, lengths[0][n] :].any()
    assert recording.layers[1].dstates["h_reverse"].shape == (5, 3, H)
    assert recording.layers[3].dy is not None
    assert net.layers[3].owner is net
    assert [node.id for node in net.graph().nodes] == [
        "source",
        *(f"layer{k}" for k in (0, 1)),
        "target",
        *(f"layer{k}" for k in range(2, 7)),
        "y",
    ]
    crossing = [(e.source, e.target, e.label) for e in net.graph().edges if e.label and not e.delay]
    assert crossing == [("layer1", "layer5", "memory"), ("layer1", "layer3", "h, c")]


def test_training_and_checkpoint(tmp_path):
    net = model("float32", score="additive", dropout=0.2)
    x, truth, lengths = problem(3)
    batches = [Batch(x, truth, lengths)] * 2
    optimizer = optim.Adam(0.02)
    history = fit(
        net,
        batches,
        softmax_cross_entropy,
        optimizer,
        epochs=25,
        validation=batches,
        progress=False,
    )
    assert history.losses[-1] < history.losses[0] / 2
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, checkpoint.Checkpoint(net, training=TrainingState(optimizer)))
    again = checkpoint.load(path).model
    assert isinstance(again, Seq2Seq)
    assert repr(again) == repr(net)
    assert_same_bits(again.flat, net.flat)
    assert_same_bits(again.forward(x, lengths=lengths)[0], net.forward(x, lengths=lengths)[0])
    assert again.generator.bit_generator.state == net.generator.bit_generator.state


@given(st.booleans(), st.sampled_from([None, "dot", "additive"]), st.integers(0, 99))
def test_greedy_decoding_is_the_argmax_step_by_step(both, score, seed):
    net = model(
        "float32", both=both, score=score and ("general" if score == "dot" else score), rng=seed
    )
    net.flat *= 4
    (source, _), _, (inside, _) = problem(seed, N=4)
    found = net.generate(source, 6, lengths=inside)
    for n in range(4):
        written = [net.start]
        logp = 0.0
        while len(written) < 7 and (len(written) == 1 or written[-1] != net.end):
            y = net.forward((source[: inside[n], n], np.array(written)))[0][-1]
            written.append(int(y.argmax()))
            logp += log_softmax(y).max()
        expected = [k for k in written[1:] if k != net.end]
        assert found.best[n].tolist() == expected
        assert found.lengths[n, 0] == len(written) - 1
        assert abs(found.scores[n, 0] - logp) <= tolerance(np.float64, 10, 10)


@given(st.sampled_from([0.0, 1.0]), st.integers(0, 99))
def test_a_beam_as_wide_as_all_sequences_finds_the_best(power, seed):
    net = model("float64", cell="gru", both=False, rng=seed)
    net.flat *= 4
    (source, _), _, (inside, _) = problem(seed, N=2)
    steps = 3
    found = net.generate(source, steps, beam=V**steps, lengths=inside, length_power=power)
    for n in range(2):
        scores = {}
        for ids in itertools.product(range(V), repeat=steps):
            stop = ids.index(net.end) + 1 if net.end in ids else steps
            y = net.forward((source[: inside[n], n], np.array([net.start, *ids[:-1]])))[0]
            logp = log_softmax(y)[np.arange(steps), ids][:stop].sum()
            scores[ids[:stop]] = logp / stop**power
        best = sorted(scores.values(), reverse=True)
        np.testing.assert_allclose(
            found.scores[n, : len(best)], best, rtol=0, atol=tolerance(np.float64, 50, 20)
        )
        first = tuple(found.ids[: found.lengths[n, 0], n, 0].tolist())
        assert abs(scores[first] - best[0]) <= tolerance(np.float64, 50, 20)
        assert np.isneginf(found.scores[n, len(best) :]).all()


@given(st.integers(1, 6), st.sampled_from([0.0, 0.6]), st.integers(0, 99))
def test_a_source_is_decoded_the_same_alone_and_in_a_batch(beam, power, seed):
    net = model("float32", rng=seed)
    net.flat *= 3
    (source, _), _, (inside, _) = problem(seed, N=4)
    together = net.generate(source, 7, beam, inside, power)
    assert (np.diff(together.scores, axis=1) <= 0).all()
    for n in range(4):
        alone = net.generate([source[: inside[n], n]], 7, beam, length_power=power)
        assert_same_bits(alone.scores, together.scores[n : n + 1])
        for k in range(beam):
            assert np.array_equal(alone.sequence(0, k), together.sequence(n, k))


def test_beam_search_on_a_table():
    """Greedy decoding starts with 1 and misses the more likely pair, which a beam of 2 finds."""
    p = {0: [0.0, 0.6, 0.4, 0.0], 1: [0.4, 0.3, 0.3, 0.0], 2: [0.0, 0.0, 0.1, 0.9], 3: [0.25] * 4}

    def step(ids, state):
        with np.errstate(divide="ignore"):
            return np.log(np.array([p[int(k)] for k in ids])), state

    options = dict(start=0, end=3, max_steps=2)
    greedy = beam_search(step, None, lambda s, rows: s, 1, **options)
    assert greedy.ids[:, 0, 0].tolist() == [1, 0]
    two = beam_search(step, None, lambda s, rows: s, 1, beam=2, **options)
    assert two.ids[:, 0, 0].tolist() == [2, 3]
    assert two.best[0].tolist() == [2]
    np.testing.assert_allclose(np.exp(two.scores[0]), [0.36, 0.24])


def parts(decoder=None, encoder=None):
    return (
        Sequential(*(encoder or [Embedding(V, E), LSTM(E, H)])),
        Sequential(*(decoder or [Embedding(V, E), LSTM(E, H), Linear(H, V)])),
    )


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: Seq2Seq(*parts([Embedding(V, E), LSTM(E, 5)])),
            ValueError,
            r"decoder: layer 1 \(LSTM\) has a state h of size 5, but the one from",
        ),
        (
            lambda: Seq2Seq(*parts([LSTM(E, H, bidirectional=True)])),
            ValueError,
            "bidirectional, but a decoder cannot read steps",
        ),
        (lambda: Seq2Seq(*parts([LSTM(E, H), Last()])), ValueError, "one of its layers pools"),
        (
            lambda: Seq2Seq(*parts([Linear(E, V)])),
            ValueError,
            "the decoder needs a recurrent layer",
        ),
        (
            lambda: Seq2Seq(*parts([LSTM(E, H), Attention(H, 3)])),
            ValueError,
            "has memory_size 3, but the encoder outputs 4 features",
        ),
        (
            lambda: Seq2Seq(*parts([LSTM(E, H), Attention(H, H)], [LSTM(E, H), Last()])),
            ValueError,
            "attends to the steps of the encoder's output, but",
        ),
        (
            lambda: Seq2Seq(*parts(encoder=[LSTM(E, 6), Last()])),
            ValueError,
            "state h of size 4, but the encoder outputs a vector of size 6",
        ),
        (
            lambda: Seq2Seq(*parts(), bridge="mul"),
            ValueError,
            "bridge must be one of concat, sum, average or None, got 'mul'",
        ),
        (
            lambda: Seq2Seq(parts()[0], Linear(2, 2)),
            TypeError,
            "decoder must be a Sequential, got Linear",
        ),
        (
            lambda: Seq2Seq(parts()[0], Sequential(GRU(E, H), dtype="float64")),
            TypeError,
            "decoder must have the dtype of encoder, float32, got float64",
        ),
        (
            lambda: Seq2Seq(Seq2Seq(*parts()).encoder, parts()[1]),
            ValueError,
            "the encoder is already part of a model",
        ),
        (
            lambda: model().forward(np.zeros((3, 2), int)),
            ValueError,
            r"x must be a pair \(source, target\)",
        ),
        (
            lambda: model().forward((np.zeros((3, 2), int),) * 2, lengths=[1, 2, 3]),
            ValueError,
            r"lengths must be a pair \(lengths of source, lengths of target\)",
        ),
        (
            lambda: model().forward((np.zeros((3, 2), int),) * 2, lengths=([1, 4], None)),
            ValueError,
            "encoder: layer 1 .*between 0 and T = 3, got 4",
        ),
        (
            lambda: model().forward((np.zeros((3, 2), int),) * 2, state=()),
            ValueError,
            "state must be None",
        ),
        (
            lambda: model().generate(np.zeros(3, int), 4),
            ValueError,
            "source must be a batch of sequences",
        ),
        (
            lambda: model().generate(np.zeros((3, 1), int), 0),
            ValueError,
            "max_steps must be at least 1",
        ),
        (
            lambda: model().generate(np.zeros((3, 1), int), 3, beam=0),
            ValueError,
            "beam must be at least 1",
        ),
    ],
)
def test_errors_name_the_mistake(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_states_that_the_encoder_lacks_start_from_zeros():
    """A GRU has no c: an LSTM after it starts with c = 0, one before it gets no gradient of c."""
    x, truth, lengths = problem(1)
    for encoder, decoder in ((GRU, LSTM), (LSTM, GRU), (RNN, LSTM)):
        net = Seq2Seq(
            *parts([Embedding(V, E), decoder(E, H), Linear(H, V)], [Embedding(V, E), encoder(E, H)])
        )
        grads = net.record(x, truth, softmax_cross_entropy, lengths).gradients
        assert all(np.isfinite(g).all() for g in grads.params.values())
        assert np.abs(grads.params["encoder.1.weight_hh_l0"]).max() > 0
