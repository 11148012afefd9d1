"""`model.plan` estimates the memory of training steps and forward passes within 5 %."""

import gc
import tracemalloc

import numpy as np
import pytest
from numba import config

from recurrent import (
    CRF,
    GRU,
    LSTM,
    RNN,
    Activation,
    Attention,
    Conv1d,
    Dropout,
    Embedding,
    Hold,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Residual,
    Seq2Seq,
    Sequential,
    Softmax,
    Tanh,
)
from recurrent.data import Batch, Pair
from recurrent.kernels import memory
from recurrent.kernels.blocking import shortest_pieces
from recurrent.losses import crf, softmax_cross_entropy
from recurrent.optim import SGD, Adam
from recurrent.training.fit import fit

WITHIN = 0.05

MODELS = {
    "characters": lambda: [
        Embedding(65, 128),
        LSTM(128, 128),
        Dropout(0.2),
        LSTM(128, 128),
        Linear(128, 65),
    ],
    "vectors": lambda: [LSTM(64, 128), GRU(128, 200), Linear(200, 65)],
    "dropped": lambda: [Dropout(0.2), LSTM(64, 128), Linear(128, 65)],
    "words": lambda: [Embedding(3000, 64), Dropout(0.1), LSTM(64, 64), Linear(64, 65)],
    "both ways": lambda: [Embedding(65, 64), GRU(64, 128, bidirectional=True), Linear(256, 65)],
    "last": lambda: [LSTM(64, 128, bidirectional=True), Last(bidirectional=True), Linear(256, 65)],
    "largest": lambda: [Embedding(65, 64), LSTM(64, 256), MaxPool(), Linear(256, 65)],
    "normalised": lambda: [LSTM(64, 128), LayerNorm(128), Linear(128, 65)],
    "mean": lambda: [LSTM(64, 128), MeanPool()],
    "in stages": lambda: [
        LSTM(64, 128, proj_size=96),
        GRU(96, 128, reset_after=False),
        LSTM(128, 64, layer_norm=True),
        Linear(64, 65),
    ],
    "both ways merged": lambda: [
        RNN(64, 128),
        LSTM(128, 128, bidirectional=True, merge="mul"),
        Dropout(0.5),
        Linear(128, 65),
    ],
    "masked": lambda: [
        Embedding(65, 64),
        LSTM(64, 128, zoneout=0.1),
        GRU(128, 96, recurrent_dropout=0.2, weight_drop=0.3),
    ],
    "masked both ways": lambda: [
        LSTM(64, 64, zoneout={"c": 0.2}, bidirectional=True),
        Linear(128, 65),
    ],
    "activated": lambda: [
        LSTM(64, 128),
        Tanh(),
        Linear(128, 65, bias=False),
        Activation("relu"),
        Linear(65, 65),
        Softmax(),
    ],
    "tied": lambda: [
        Sequential(
            Embedding(65, 256), LSTM(256, 256), Linear(256, 65), tie={"2.weight": "0.weight"}
        )
    ],
    "residual": lambda: [
        LSTM(64, 128),
        Residual(LSTM(128, 128), Dropout(0.2), Linear(128, 128)),
        Linear(128, 65),
    ],
    "convolved": lambda: [
        Conv1d(64, 96, 3, padding="causal"),
        Conv1d(96, 64, 3, padding=1, groups=2),
        LSTM(64, 64, reverse=True),
        Linear(64, 65),
    ],
    "tagged": lambda: [LSTM(64, 128), Linear(128, 65), CRF(65)],
    "held": lambda: [LSTM(64, 128), Hold(), Linear(128, 65)],
    "attending": lambda: [
        LSTM(64, 64, bidirectional=True),
        Attention(128, output_size=96),
        Linear(96, 65),
    ],
}
SLOW = {"in stages", "masked both ways"}  # compile cells that no other test uses
PAIRS = {
    score: (Attention(64, 128, score, output_size=48), 48) for score in ("general", "additive")
} | {"none": (None, 64)}


def translator(score):
    attention, width = PAIRS[score]
    encoder = Sequential(Embedding(65, 32), LSTM(32, 64, bidirectional=True))
    above = [Attention(**attention.options)] if attention else []
    return Seq2Seq(
        encoder,
        Sequential(Embedding(65, 32), LSTM(32, 64), *above, Linear(width, 65)),
        bridge="sum",
    )


def problem(name, T, N):
    """Return a model, its input and its targets."""
    model, rng = Sequential(*MODELS[name](), rng=0), np.random.default_rng(0)
    D = next(layer.in_features for layer in model.layers if layer.in_features is not None)
    ids = rng.integers(0, 65, (T, N))
    x = ids if isinstance(model[0], Embedding) else rng.standard_normal((T, N, D), dtype=np.float32)
    return model, x, ids if model.returns_sequence else ids[0]


def peak(work):
    """Return the peak of the memory that work() allocates, in bytes."""
    work()  # compiles
    gc.collect()
    memory.release()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the interpreter allocates as NumPy does")
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MODELS]
)
def test_training_takes_the_planned_memory(name, ragged):
    model, x, targets = problem(name, T=50, N=40)
    batch = Batch(x, targets, np.full(40, 50) if ragged else None)
    optimizer, loss = Adam(), crf if name == "tagged" else softmax_cross_entropy

    def train():
        fit(model, [batch], loss, optimizer, updates=2, progress=False)

    before = model.flat.nbytes * (1 + len(optimizer.slots))  # allocated before `peak` starts
    plan = model.plan(50, 40, ragged=ragged)
    assert plan.total == pytest.approx(peak(train) + before, rel=WITHIN), plan


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the interpreter allocates as NumPy does")
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("score", PAIRS)
def test_encoder_and_decoder_take_the_planned_memory(score, ragged):
    model, rng, optimizer = translator(score), np.random.default_rng(0), Adam()
    source, target = rng.integers(0, 65, (40, 30)), rng.integers(0, 65, (30, 30))
    lengths = (np.full(30, 40), np.full(30, 30)) if ragged else None
    batch = Batch(Pair(source, target), target, Pair(*lengths) if ragged else None)

    def train():
        fit(model, [batch], softmax_cross_entropy, optimizer, updates=2, progress=False)

    before = model.flat.nbytes * (1 + len(optimizer.slots))
    plan = model.plan((40, 30), 30, ragged=ragged)
    assert plan.total == pytest.approx(peak(train) + before, rel=WITHIN), plan
    forward = model.plan((40, 30), 30, training=False, ragged=ragged)
    taken = peak(lambda: model.forward((source, target), lengths=lengths))
    assert forward.total == pytest.approx(taken + model.flat.nbytes, rel=WITHIN), forward


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the interpreter allocates as NumPy does")
@pytest.mark.parametrize("name", ["characters", "vectors", "largest", "attending"])
@pytest.mark.parametrize(("T", "N"), [(40, 50), (1000, 2)])
def test_a_forward_pass_takes_the_planned_memory(name, T, N):
    model, x, _ = problem(name, T, N)
    plan = model.plan(T, N, training=False)
    assert plan.total == pytest.approx(
        peak(lambda: model.forward(x)) + model.flat.nbytes, rel=WITHIN
    ), plan
    assert plan.tape == plan.gradients == plan.optimizer == 0


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the interpreter allocates as NumPy does")
@pytest.mark.parametrize(("T", "N"), [(40, 50), (1000, 2)])
def test_sums_of_weights_that_are_read_in_pieces_are_planned(T, N):
    """As those of large layers are, on processors with a small first cache."""
    with shortest_pieces():
        test_a_forward_pass_takes_the_planned_memory("characters", T, N)


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="the interpreter allocates as NumPy does")
def test_an_update_frees_its_tape_before_the_next_one():
    model, x, targets = problem("characters", T=50, N=40)
    once, often = (
        peak(
            lambda n=n: fit(
                model, [Batch(x, targets)], softmax_cross_entropy, SGD(), updates=n, progress=False
            )
        )
        for n in (1, 4)
    )
    assert often < once + model.plan(50, 40).tape / 10


def test_planning_allocates_little_memory():
    model = Sequential(Embedding(65, 8), LSTM(8, 16), Linear(16, 65))
    tracemalloc.start()
    try:
        plan = model.plan(T=10**6, N=10**6)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    assert plan.total > 1e14


def test_str_of_a_plan():
    model = Sequential(LSTM(128, 512), Linear(512, 65))
    plan = model.plan(50, 50, optimizer=SGD())
    assert plan.total == sum(plan)
    assert str(plan).startswith(f"{plan.total / 1e6:.1f} MB: parameters 5.4, gradients 5.4, tape ")
    assert "optimizer" not in str(plan)
    assert "optimizer 10.8" in str(model.plan(50, 50))


def test_bad_sizes_and_layers():
    with pytest.raises(ValueError, match="T must be at least 1, got 0"):
        Sequential(LSTM(2, 3)).plan(0, 3)
    with pytest.raises(
        ValueError,
        match=r"layer 1 \(Attention\): the memory of this Attention comes from an encoder: use",
    ):
        Sequential(LSTM(2, 3), Attention(3, 4)).plan(2, 3)
    with pytest.raises(ValueError, match="T must be"):
        translator("none").plan(30, 3)
