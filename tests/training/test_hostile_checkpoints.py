"""Files of unknown origin: documented errors alone, little time and memory, nothing changed.

Every case of the mutator is a file that differs from a good one. It is refused by a ValueError of
one line that names it, or it is read; a file of version 2 is read only if nothing that it holds has
changed, or if its digest was computed anew. What is read can be trained, or is quantised and runs.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from support.mutations import Mutator

import recurrent
from recurrent import (
    GRU,
    LSTM,
    QRNN,
    Attention,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    MeanPool,
    Residual,
    Seq2Seq,
    Sequential,
    Softmax,
    Tanh,
    kernels,
    optim,
    schedules,
)
from recurrent.charlm.model import CharLM
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.kernels import reference
from recurrent.training import checkpoint
from recurrent.training.checkpoint import Checkpoint
from recurrent.training.history import History
from recurrent.training.state import TrainingState

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
TEXT = "to be or not to be, that is the question. " * 12
SECONDS, BYTES = 1.0, 200e6  # the limits of a case; of the processor, which others use too


def character_model(path):
    lm = CharLM(TEXT, layers=2, hidden=4, embedding=3, dropout=0.4, rng=11)
    options = dict(seq=6, batch=4, look_back=12, validate_every=4, lr=2e-2, schedule="cosine")
    lm.train(TEXT, updates=7, progress=False, **options)
    lm.history.seconds = 1.0  # so that every run has the same files
    lm.save(path)


def with_training(model, path, optimizer, x):
    y, state, tape = model.forward(x, record=True)
    gradient = np.empty_like(model.flat)
    model.backward(np.ones_like(y), tape, out=gradient)
    optimizer.update(model.flat, gradient)
    history = History(losses=[1.0], validation=[(1, 2.0)], metrics={"a": [(1, 3.0)]}, best=(1, 2.0))
    training = TrainingState(optimizer, history, 1, state, None, model.flat * 2)
    checkpoint.save(path, Checkpoint(model, {"kind": "x", "a": [1, {"b": None}]}, {}, training))


def sequential(path):
    layers = (
        LayerNorm(3),
        QRNN(3, 2, bidirectional=True, zoneout=0.2, window=2),
        GRU(4, 3, activations=("sigmoid", "leakyrelu(0.2)"), clip=2.0, weight_drop=0.1),
        Attention(3, score="additive", output_size=2),
        LSTM(2, 4, proj_size=2, learn_state=True, recurrent_dropout=0.3, zoneout={"c": 0.1}),
        MeanPool(),
    )
    rng = np.random.Generator(np.random.MT19937(3))
    x = np.ones((4, 2, 3))
    adam = optim.Adam(schedules.StepDecay(0.1, every=3, factor=0.5), amsgrad=True)
    with_training(Sequential(*layers, rng=rng, dtype="float64"), path, adam, x)


def seq2seq(path):
    encoder = Sequential(Embedding(5, 2), GRU(2, 3, bidirectional=True))
    decoder = Sequential(Embedding(4, 2), Dropout(0.1), GRU(2, 6), Attention(6, 6), Linear(12, 4))
    model = Seq2Seq(encoder, decoder, end=1)
    ids = np.arange(6).reshape(3, 2)
    with_training(model, path, optim.RMSprop(momentum=0.5, centered=True), (ids % 5, ids % 4))


def nested(path):
    inner = Sequential(Residual(GRU(4, 2), Tanh(), Linear(2, 4, bias=False)), Linear(4, 4))
    tie = {"2.weight": "1.1.weight"}
    model = Sequential(Linear(3, 4), inner, Linear(4, 4), Softmax(), tie=tie, batch_first=True)
    model[0].trainable = False
    with_training(model, path, optim.AdamW(), np.ones((2, 4, 3), "f"))


def quantised(path):
    layers = LSTM(3, 4, bidirectional=True), LayerNorm(8), Residual(Linear(8, 8)), Linear(8, 2)
    Sequential(*layers, rng=2).quantize("int8").save(path)


FIRST = ("torch-rnn", "look-back")


@pytest.fixture(scope="module", autouse=True)
def interpreted():
    """Interpret equations: mutated options make new cells, which would be compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "backend", reference)
        yield


@pytest.fixture(scope="module")
def originals(tmp_path_factory, interpreted):
    """Good files by name, the last two of version 1."""
    return good_files(tmp_path_factory.mktemp("originals"))


def good_files(folder):
    found = {}
    for make in (character_model, sequential, seq2seq, nested, quantised):
        make(folder / make.__name__)
        found[make.__name__] = (folder / make.__name__).read_bytes()
    return found | {name: (GOLDEN / f"{name}.safetensors").read_bytes() for name in FIRST}


def peak() -> int:
    """Return the largest resident size since the last call, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            size = int(line.split()[1]) * 1024
    Path("/proc/self/clear_refs").write_text("5")
    return size


def contents(loaded):
    """Return all that a checkpoint holds, as data that compares equal."""
    t = loaded.training or TrainingState(optim.SGD(0.1))
    arrays = {**loaded.model.parameters, **t.optimizer.arrays, "latest": t.latest, "past": t.past}
    arrays |= checkpoint._state_arrays(loaded.model, t.carried)
    arrays = {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items() if a is not None}
    about = loaded.about, loaded.options, loaded.model.describe(), t.optimizer.describe()
    bits = str(loaded.model.generator.bit_generator.state)
    return json.dumps(about), bits, arrays, str(t.history.to_dict()), t.cursor


def read(path):
    """Read a file as the programs do: a character model as such."""
    loaded = checkpoint.load(path)
    return recurrent.load(path) if loaded.about.get("kind") == "CharLM" else loaded


def train(read_):
    """Make an update of what was read; an error is one that the file could not tell."""
    if isinstance(read_, CharLM):
        try:
            if read_.optimizer is not None:
                last = read_.history.updates + 1
                read_.train(TEXT, updates=last, resume=True, progress=False)
            read_.sample(length=3, seed=1)
        except FloatingPointError:
            pass
        except ValueError as error:
            # The file is in order, but this text, or so few updates more, are not what it needs.
            if not any(
                words in str(error) for words in ("the text", "vocabulary", "schedule", "keep_best")
            ):
                raise
        return
    model, training = read_.model, read_.training
    x = inputs(model)
    if model.weights in ("int8", "bfloat16"):
        assert_same_bits(model.forward(x)[0], model.dequantized().forward(x)[0])
        return
    y, _, tape = model.forward(x, record=True)
    gradient = np.empty_like(model.flat)
    model.backward(np.ones_like(y), tape, out=gradient)
    if training is not None and training.optimizer is not None:
        training.optimizer.update(model.flat, gradient)


def inputs(model):
    if isinstance(model, Seq2Seq):
        return inputs(model.encoder), inputs(model.decoder)
    first = model.layers[0]
    if isinstance(first, Embedding):
        return np.zeros((3, 2), int)
    width = next((a.in_features for a in model.layers if a.in_features is not None), 2)
    return np.ones((3, 2, width), model.dtype)


def check_refusal(error, path, where):
    """Raise AssertionError unless an error is a documented one, in one line that names the file."""
    if isinstance(error, OSError):
        return
    text = str(error)
    assert type(error) is ValueError, f"{where}: {error!r}"
    assert text.startswith(f"{path}: "), f"{where}: {text}"
    assert text.isprintable(), f"{where}: {text}"
    assert len(text) < 1000, where


class Attack:
    """Mutated files, read one after the other; counts of what became of them."""

    def __init__(self, originals, path, seed):
        self.originals, self.path, self.seed, self.cases = originals, path, seed, 0
        self.mutator, self.good = Mutator(seed), {}
        for name, data in originals.items():
            path.write_bytes(data)
            self.good[name] = contents(checkpoint.load(path))
        self.counts = dict(refused=0, unchanged=0, trained=0)
        self.longest, self.largest = (0.0, ""), (0, "")

    def case(self):
        """Try one file; raise AssertionError if it does what no file may do."""
        name = self.mutator.random.choice(list(self.originals))
        mutated, path = self.mutator.mutate(self.originals[name]), self.path
        path.write_bytes(mutated.data)
        where = f"case {self.cases} of seed {self.seed}: {name}, {mutated.what}"
        self.cases += 1
        peak()
        before, began, loaded = peak(), time.process_time(), None
        try:
            loaded = read(path)
        except BaseException as error:
            check_refusal(error, path, where)
        self.longest = max(self.longest, (time.process_time() - began, where))
        self.largest = max(self.largest, (peak() - before - len(mutated.data), where))
        if loaded is None:
            self.counts["refused"] += 1
        elif mutated.digest or name in FIRST:  # files of version 1 have no digest
            try:
                with np.errstate(all="ignore"):
                    train(loaded)
            except Exception as error:
                raise AssertionError(f"{where}: read, but not trained: {error!r}") from error
            self.counts["trained"] += 1
        else:
            now = contents(checkpoint.load(path))
            assert now == self.good[name], f"{where}: read, but changed"
            self.counts["unchanged"] += 1


def test_a_few_hundred_mutated_files(originals, tmp_path):
    attack = Attack(originals, tmp_path / "m", seed=1)
    for _ in range(400):
        attack.case()
    assert attack.counts["refused"] > 200
    assert attack.counts["trained"] > 20
    assert attack.longest[0] < 5 * SECONDS, attack.longest  # other tests run beside
    assert attack.largest[0] < BYTES, attack.largest


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_hundred_thousand_mutated_files(originals, tmp_path, seed):
    attack = Attack(originals, tmp_path / "m", seed)
    for _ in range(5000):
        attack.case()
    print(attack.counts, attack.longest, attack.largest)
    assert attack.longest[0] < SECONDS, attack.longest
    assert attack.largest[0] < BYTES, attack.largest
