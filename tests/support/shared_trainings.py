"""Trainings that processes share: `mpiexec -n W python -m support.shared_trainings FOLDER`.

Each case trains a small model. The program writes the digests of all that a training leaves, by
case, to a file of JSON for each rank.
"""

import hashlib
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np

import recurrent
from recurrent import (
    CRF,
    GRU,
    LSTM,
    RNN,
    Add,
    CharLM,
    Dropout,
    Embedding,
    Graph,
    Last,
    LayerNorm,
    Linear,
    Recurrent,
    Residual,
    Seq2Seq,
    Sequential,
    fit,
    losses,
    optim,
    schedules,
)
from recurrent.cells import sigmoid, tanh
from recurrent.data import Batch, Batches, Pairs, Windows
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

SHARDS = 8
TEXT = "it is what it is, said the cat to the hat. " * 40
CASES = {}  # for processes
MORE = {}  # for threads in the place of processes, which take less time


@recurrent.cell("shared_forgetful", gates="f g", states="h")
def shared_forgetful(x, h, previous):
    f, g = sigmoid(x.f + h.f), tanh(x.g + h.g)
    return dict(f=f, g=g, h=f * previous.h + (1 - f) * g)


def case(function):
    CASES[function.__name__] = function
    return function


def more(function):
    MORE[function.__name__] = function
    return function


def arrays(T=6, N=21, D=3, M=2, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((T, N, D)), rng.standard_normal((T, N, M))
    return x.astype(np.float32), y.astype(np.float32)


def ragged(N=21, D=3, seed=1):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, N)
    x = [rng.standard_normal((T, D)).astype(np.float32) for T in lengths]
    return x, rng.integers(0, 4, N)


def digest(a):
    return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:16]


def left(model, state, history):
    """Return what a training leaves, without the seconds it took."""
    arrays, facts = history.to_arrays()
    facts.pop("seconds")
    arrays |= {f"optimizer.{name}": a for name, a in state.optimizer.arrays.items()}
    arrays |= {"parameters": model.flat, "average": state.average, "latest": state.latest}
    arrays |= {
        f"carried.{name}": a for name, a in checkpoint._state_arrays(model, state.carried).items()
    }
    arrays |= {"past": state.past}
    found = {name: digest(a) for name, a in arrays.items() if a is not None}
    return found | {
        "facts": repr(facts),
        "cursor": state.cursor,
        "seed": state.seed,
        "losses": history.losses,
        "rng": repr(model.generator.bit_generator.state),
    }


def run(model, batches, comm, loss=losses.mean_squared_error, rule=None, **options):
    state = TrainingState(optim.Adam(1e-2) if rule is None else rule)
    options = dict(updates=6, progress=False, shards=SHARDS) | options
    history = fit(model, batches, loss, resume=state, comm=comm, **options)
    return left(model, state, history)


def windows(L=40, N=11):
    x, y = arrays(L, N)
    return Windows(x, y, 5)


@case
def lstm(comm):
    return run(Sequential(LSTM(3, 5), Linear(5, 2)), Batches(*arrays(), 9), comm)


@case
def gru_of_float64(comm):
    x, y = (a.astype(float) for a in arrays())
    model = Sequential(GRU(3, 5), Linear(5, 2), dtype="float64")
    return run(model, Batches(x, y, 8), comm)


@case
def own_cell(comm):
    return run(
        Sequential(Recurrent(shared_forgetful, 3, 5), Linear(5, 2)), Batches(*arrays(), 8), comm
    )


@case
def fewer_sequences_than_shards(comm):
    return run(Sequential(LSTM(3, 5), Linear(5, 2)), Batches(*arrays(), 3), comm)


@case
def bidirectional_and_ragged(comm):
    x, y = ragged()
    model = Sequential(LSTM(3, 4, bidirectional=True), Last(bidirectional=True), Linear(8, 4))
    return run(model, Batches(x, y, 10), comm, losses.softmax_cross_entropy)


@case
def masks_and_weights(comm):
    x, y = arrays()
    rng = np.random.default_rng(5)
    mask, weight = rng.random((6, 21)) < 0.6, rng.random((6, 21))
    batches = Batches(x, y, 10, lengths=mask, sample_weight=weight)
    return run(Sequential(GRU(3, 5), Linear(5, 2)), batches, comm)


@case
def dropout(comm):
    model = Sequential(
        LSTM(3, 6, recurrent_dropout=0.3, weight_drop=0.2, zoneout=0.1), Dropout(0.5), Linear(6, 2)
    )
    return run(model, Batches(*arrays(), 9), comm)


@case
def carried_state(comm):
    return run(Sequential(LSTM(3, 5), Linear(5, 2)), windows(), comm, updates=11)


@case
def carried_state_and_dropout(comm):
    model = Sequential(GRU(3, 5), Dropout(0.4), LSTM(5, 4, zoneout=0.2), Linear(4, 2))
    return run(model, windows(N=5), comm, updates=11)


@case
def look_back(comm):
    return run(Sequential(RNN(3, 5), Linear(5, 2)), windows(), comm, look_back=12, updates=6)


@case
def segments(comm):
    model = Sequential(LSTM(3, 5), Dropout(0.3), Linear(5, 2))
    return run(model, Batches(*arrays(), 9), comm, checkpoint_every=2)


@case
def joined_batches(comm):
    model = Sequential(LSTM(3, 5), Dropout(0.3), Linear(5, 2))
    return run(model, Batches(*arrays(), 4), comm, accumulate=3)


@case
def clipping(comm):
    model = Sequential(LSTM(3, 5), Linear(5, 2))
    return run(model, Batches(*arrays(), 9), comm, clip_norm=0.05, clip_value=0.01)


@case
def validation(comm):
    rule = optim.Adam(schedules.ReduceOnPlateau(0.1, patience=1, factor=0.5))
    held_out = Batches(*arrays(seed=3), 8)
    model = Sequential(LSTM(3, 5), Linear(5, 2))
    options = dict(validation=held_out, validate_every=2, metrics="mean_absolute_error")
    return run(model, Batches(*arrays(), 9), comm, rule=rule, ema=0.9, updates=9, **options)


@case
def frozen(comm):
    model = Sequential(LSTM(3, 5), Linear(5, 2))
    return run(model, Batches(*arrays(), 9), comm, freeze="0.weight_ih", lr={"1.": 0.1})


@case
def pairs(comm):
    rng = np.random.default_rng(2)
    sources = [rng.integers(0, 5, rng.integers(1, 6)) for _ in range(13)]
    targets = [np.append(rng.integers(2, 6, rng.integers(1, 5)), 1) for _ in range(13)]
    encoder = Sequential(Embedding(5, 4), GRU(4, 5))
    model = Seq2Seq(encoder, Sequential(Embedding(6, 4), GRU(4, 5), Linear(5, 6)))
    return run(model, Pairs(sources, targets, 5), comm, losses.softmax_cross_entropy)


@case
def listed_batches(comm):
    x, y = arrays()
    nodes = {"a": LSTM(3, 4), "b": (GRU(3, 4), "x"), "sum": (Add(), "a", "b"), "out": Linear(4, 2)}
    lengths = np.arange(21) % 7
    batches = [Batch(x[:, :9], y[:, :9], lengths[:9]), (x[:, 9:], y[:, 9:])]
    return run(Graph(nodes, "out"), batches, comm)


@case
def callback_that_ends(comm):
    model = Sequential(LSTM(3, 5), Linear(5, 2))
    return run(model, windows(), comm, callback=lambda update, history: update == 4)


@case
def characters(comm):
    lm = CharLM(TEXT, hidden=8, embedding=4, dropout=0.2)
    lm.train(TEXT, seq=8, batch=11, updates=20, shards=SHARDS, comm=comm, progress=False)
    return left(lm.model, lm.training, lm.history)


@case
def summed_losses_of_documents(comm):
    documents = TEXT.split(". ")
    lm = CharLM(documents, layers=1, hidden=8, embedding=0)
    options = dict(seq=8, batch=10, updates=12, sum_steps=True, optimizer="rmsprop")
    lm.train(documents, shards=SHARDS, comm=comm, progress=False, **options)
    return left(lm.model, lm.training, lm.history)


def of_optimizer(name):
    def train(comm):
        model = Sequential(LSTM(3, 5), Linear(5, 2))
        rule = optim.OPTIMIZERS[name](0.01)
        return run(model, Batches(*arrays(), 9), comm, rule=rule, updates=4)

    return train


for name in ("SGD", "RMSprop", "Adagrad", "AdamW"):
    CASES[f"optimizer_{name}"] = of_optimizer(name)


@more
def residual_with_masks(comm):
    inner = Residual(Dropout(0.4), LSTM(4, 4, zoneout=0.2))
    model = Sequential(Linear(3, 4), inner, LayerNorm(4), Linear(4, 2))
    return run(model, windows(), comm, updates=11)


@more
def tags(comm):
    x, _ = arrays()
    rng = np.random.default_rng(4)
    y, weight = rng.integers(0, 3, (6, 21)), rng.random(21)
    weight[:4] = 0
    batches = Batches(x, y, 9, lengths=np.arange(21) % 7, sample_weight=weight)
    return run(Sequential(LSTM(3, 5), Linear(5, 3), CRF(3)), batches, comm, losses.crf)


@more
def labels_without_alignment(comm):
    rng = np.random.default_rng(3)
    x = [rng.standard_normal((T, 3)).astype(np.float32) for T in rng.integers(6, 12, 19)]
    y = [rng.integers(1, 4, n) for n in rng.integers(0, 4, 19)]
    model = Sequential(LSTM(3, 5, bidirectional=True), Linear(10, 4))
    return run(model, Batches(x, y, 7, per_sequence=True), comm, losses.ctc)


@more
def weights_of_classes(comm):
    x, _ = arrays()
    y = np.random.default_rng(3).integers(0, 4, (6, 21))
    y[:, :5] = -1  # two shards have no valid entry
    loss = partial(losses.softmax_cross_entropy, weight=[0.1, 0.2, 0.7, 1.3], ignore_index=-1)
    return run(Sequential(LSTM(3, 5), Linear(5, 4)), Batches(x, y, 21, None), comm, loss)


@more
def shards_without_weight(comm):
    weight = np.zeros((6, 21))
    weight[:, 20] = 0.3
    batches = Batches(*arrays(), 7, sample_weight=weight)
    return run(Sequential(LSTM(3, 5), Dropout(0.2), Linear(5, 2)), batches, comm)


@more
def two_inputs_and_two_outputs(comm):
    (x, y), ids = arrays(), np.random.default_rng(3).integers(0, 5, (6, 21))
    nodes = {
        "a": (LSTM(3, 4), "x"),
        "b": (Embedding(5, 4), "ids"),
        "sum": (Add(), "a", "b"),
        "p": (Linear(4, 2), "sum"),
        "dropped": (Dropout(0.3), "sum"),
        "q": (Linear(4, 2), "dropped"),
    }

    def loss(outputs, targets, lengths=None):
        found = {k: losses.mean_squared_error(y, targets[k]) for k, y in outputs.items()}
        return sum(value for value, _ in found.values()), {k: dy for k, (_, dy) in found.items()}

    loss.entries = lambda outputs, targets, lengths: targets["p"].size
    batches = [
        Batch({"x": x[:, rows], "ids": ids[:, rows]}, {"p": y[:, rows], "q": -y[:, rows]})
        for rows in (slice(10), slice(10, 21))
    ]
    return run(Graph(nodes, ["p", "q"]), batches, comm, loss)


@more
def tuples_batch_first(comm):
    x, y = (a.swapaxes(0, 1).copy() for a in arrays())
    model = Sequential(LSTM(3, 5), Dropout(0.3), Linear(5, 2), batch_first=True)
    return run(model, [(x[:9], y[:9], np.arange(9) % 7), (x[9:], y[9:])], comm)


@more
def pairs_with_masks(comm):
    rng = np.random.default_rng(2)
    sources = [rng.integers(0, 5, rng.integers(1, 6)) for _ in range(13)]
    targets = [np.append(rng.integers(2, 6, rng.integers(1, 5)), 1) for _ in range(13)]
    encoder = Sequential(Embedding(5, 4), Dropout(0.2), GRU(4, 5))
    decoder = Sequential(Embedding(6, 4), GRU(4, 5, recurrent_dropout=0.3), Linear(5, 6))
    model = Seq2Seq(encoder, decoder)
    return run(model, Pairs(sources, targets, 5), comm, losses.softmax_cross_entropy, accumulate=2)


@more
def episodes(comm):
    resets = np.random.default_rng(1).random((20, 9)) < 0.2
    batches = Windows(*arrays(20, 9), 5, resets=resets, carry="always")
    return run(Sequential(LSTM(3, 5), Linear(5, 2)), batches, comm, updates=11)


@more
def look_back_of_empty_shards(comm):
    model = Sequential(LSTM(3, 5), Linear(5, 2))
    return run(model, windows(N=3), comm, look_back=9, accumulate=2, updates=7)


@more
def frozen_entries_and_rates(comm):
    model = Sequential(LSTM(3, 5), Linear(5, 2))
    freeze = {"0.weight_hh_l0": model.parameters["0.weight_hh_l0"] > 0}
    lr = {"0.": schedules.Exponential(0.1, 0.9), "1.bias": 0.3}
    rule = optim.AdamW(0.1)
    return run(model, Batches(*arrays(), 9), comm, rule=rule, freeze=freeze, lr=lr)


@more
def early_end(comm):
    model, held_out = Sequential(LSTM(3, 5), Linear(5, 2)), Batches(*arrays(seed=3), 8)
    options = dict(validation=held_out, validate_every=1, patience=2, updates=30)
    return run(model, Batches(*arrays(), 9), comm, rule=optim.SGD(0.9), **options)


def everything(comm=None):
    return {name: function(comm) for name, function in CASES.items()}


if __name__ == "__main__":
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    path = Path(sys.argv[1]) / f"{world.rank}-of-{world.size}.json"
    path.write_text(json.dumps(everything(world)))
