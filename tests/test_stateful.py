"""The public API in any order: build, train, save, load, stream, convert, record, draw, copy.

Hypothesis draws the order, the models and the data. A shadow of every model, its parameters as
they must be, is compared with the model after each call: only a training, an assignment and an
initialisation may change them, and each of them only its own model. What is computed must be what
a new model with these parameters computes, to the last bit.
"""

import copy
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.models import batches, stacks

import viz
from recurrent import CharLM, Sequential, TruncatedBPTT, evaluate, fit, losses, optim
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Batch
from recurrent.layers.recurrent import Recurrent
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

MOST = 3  # models at once
TEXT = "the cat sat on the mat; the dog sat on the log. " * 6
OPTIMISERS = {
    "sgd": lambda: optim.SGD(0.05, momentum=0.9),
    "rmsprop": lambda: optim.RMSprop(0.01),
    "adagrad": lambda: optim.Adagrad(0.05),
    "adam": lambda: optim.Adam(0.01),
}
WRONG = (ValueError, TypeError, IndexError)

models = st.integers(0, MOST - 1)


@dataclass
class Kept:
    """A model, its parameters as they must be, and data that fit it."""

    model: Sequential
    flat: np.ndarray
    x: np.ndarray
    lengths: np.ndarray | None

    def twin(self) -> Sequential:
        """Return a new model with these parameters, which shares nothing with the old one."""
        twin = Sequential.build(self.model.describe())
        twin.flat = self.flat
        return twin

    def targets(self) -> np.ndarray:
        y = self.model.forward(self.x, lengths=self.lengths)[0]
        return np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)

    @property
    def trainable(self) -> bool:
        """Whether a step is valid."""
        return self.lengths is None or bool(np.any(self.lengths))


def arrays(state):
    """Return the arrays of a state by layer and name."""
    found = []
    for s in state:
        if s is not None:
            found += [*s.forward, *s.reverse] if hasattr(s, "summary") else list(s)
    return found


def same(actual, expected, what):
    for a, b in zip(actual, expected, strict=True):
        assert_same_bits(a, b, what)


class Session(RuleBasedStateMachine):
    """What a user may do with some models and one character model."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.models, self.files, self.lm = [], set(), None

    def teardown(self):
        assert {p.name for p in Path(self.folder.name).iterdir()} == self.files
        self.folder.cleanup()

    def path(self, name):
        self.files.add(name)
        return Path(self.folder.name) / name

    def keep(self, model, x, lengths):
        kept = Kept(model, model.flat.copy(), x, lengths)
        if len(self.models) < MOST:
            self.models.append(kept)
        else:
            self.models[0] = kept

    def pick(self, k):
        return self.models[k % len(self.models)]

    # Models

    @initialize(data=st.data())
    def first(self, data):
        self.build(data)

    @rule(data=st.data())
    def build(self, data):
        model = data.draw(stacks(cell_options=False))
        self.keep(model, *data.draw(batches(model)))

    @rule(k=models, data=st.data())
    def take_other_data(self, k, data):
        kept = self.pick(k)
        kept.x, kept.lengths = data.draw(batches(kept.model))

    @rule(k=models, way=st.sampled_from(["pickle", "deepcopy", "describe"]))
    def copy(self, k, way):
        kept = self.pick(k)
        if way == "pickle":
            twin = pickle.loads(pickle.dumps(kept.model))
        else:
            twin = copy.deepcopy(kept.model) if way == "deepcopy" else kept.twin()
        assert repr(twin) == repr(kept.model)
        self.keep(twin, kept.x, kept.lengths)

    @rule(
        k=models, seed=st.integers(0, 9), init=st.sampled_from(["pytorch", "keras", "orthogonal"])
    )
    def initialise(self, k, seed, init):
        kept = self.pick(k)
        twin = kept.twin().initialise(seed, init)
        kept.model.initialise(seed, init)
        assert_same_bits(kept.model.flat, twin.flat, "initialised")
        kept.flat = twin.flat.copy()

    # Numbers in and out

    @rule(k=models, scale=st.sampled_from([-1.0, 0.5, 1.0]))
    def assign_parameters(self, k, scale):
        kept = self.pick(k)
        state_dict = {
            name: (scale * a).astype(a.dtype) for name, a in kept.model.parameters.items()
        }
        kept.model.parameters.update(state_dict)
        kept.flat = np.concatenate([a.ravel() for a in state_dict.values()])

    @rule(k=models)
    def step_by_hand(self, k):
        kept = self.pick(k)
        change = 0.1 * np.sin(np.arange(kept.flat.size)).astype(kept.flat.dtype)
        kept.model.flat -= change
        kept.flat = kept.flat - change

    @rule(k=models)
    def convert_dtype(self, k):
        """float32 fits in float64, and comes back as it was."""
        kept = self.pick(k)
        wide = Sequential.build(kept.model.describe() | {"dtype": "float64"})
        wide.flat = kept.flat.astype("float64")
        narrow = Sequential.build(kept.model.describe() | {"dtype": kept.flat.dtype.name})
        narrow.flat = wide.flat.astype(kept.flat.dtype)
        assert_same_bits(narrow.flat, kept.flat)
        x = kept.x.astype("float64")
        y = wide.forward(x, lengths=kept.lengths)[0]
        near = narrow.forward(kept.x, lengths=kept.lengths)[0]
        # A bound for any parameters would be far wider; a wrong conversion misses this one too.
        assert np.allclose(near, y, rtol=1e-2, atol=1e-2)

    # Promises of a forward pass

    @rule(k=models)
    def run_rows_alone(self, k):
        kept = self.pick(k)
        y = kept.model.forward(kept.x, lengths=kept.lengths)[0]
        for n in range(kept.x.shape[1]):
            own = None if kept.lengths is None else kept.lengths[..., n : n + 1]
            alone = kept.model.forward(kept.x[:, n : n + 1], lengths=own)[0]
            assert_same_bits(alone[..., 0, :], y[..., n, :], f"row {n}")

    @rule(k=models)
    def run_on_one_thread(self, k):
        kept, threads = self.pick(k), numba.get_num_threads()
        y = kept.model.forward(kept.x, lengths=kept.lengths)[0]
        try:
            numba.set_num_threads(1)
            assert_same_bits(kept.model.forward(kept.x, lengths=kept.lengths)[0], y)
        finally:
            numba.set_num_threads(threads)

    @rule(k=models, cut=st.integers(0, 5))
    def run_in_chunks_and_stream(self, k, cut):
        kept = self.pick(k)
        both = any(layer.reads_ahead for layer in kept.model.layers)
        if both or not kept.model.returns_sequence:
            with pytest.raises(WRONG):
                kept.model.stream()
            return
        y, final, _ = kept.model.forward(kept.x)
        cut = min(cut, len(kept.x) - 1)
        if cut:
            first, between, _ = kept.model.forward(kept.x[:cut])
            second, after, _ = kept.model.forward(kept.x[cut:], between)
            assert_same_bits(np.concatenate([first, second]), y, "two chunks")
            same(arrays(after), arrays(final), "state after two chunks")
        stream = kept.model.stream()
        for _ in range(2):
            assert_same_bits(np.stack([stream.step(x_t) for x_t in kept.x]), y, "stream")
            same(arrays(stream.state), arrays(final), "state of the stream")
            stream.reset()

    @rule(k=models)
    def call_wrongly(self, k):
        kept = self.pick(k)
        for call in (
            lambda: kept.model.forward(kept.x[..., :0]),
            lambda: kept.model.forward(kept.x.astype("float16")),
            lambda: kept.model.forward(kept.x, lengths=[99] * kept.x.shape[1]),
            lambda: kept.model.backward(kept.x, None),
            lambda: kept.model.parameters.update({"none": kept.flat}),
            lambda: setattr(kept.model, "flat", kept.flat[:-1]),
            lambda: kept.model.plan(0, 1),
            lambda: viz.network(kept.model, kept.x),
        ):
            with pytest.raises((*WRONG, KeyError)) as caught:
                call()
            assert "\n" not in str(caught.value)

    # Training

    def batch(self, kept):
        return Batch(kept.x, kept.targets(), kept.lengths)

    @rule(k=models, name=st.sampled_from(sorted(OPTIMISERS)), n=st.integers(1, 3))
    def train_save_load_and_resume(self, k, name, n):
        """The same bits without a break, and with a file in between."""
        kept = self.pick(k)
        if not kept.trainable:
            return
        data, loss = [self.batch(kept)] * 2, losses.mean_squared_error
        run = dict(validation=data[:1], keep_best=False, clip_norm=5.0, progress=False)
        whole = copy.deepcopy(kept.model)
        history = fit(whole, data, loss, OPTIMISERS[name](), updates=2 * n, **run)

        state = TrainingState(OPTIMISERS[name]())
        fit(kept.model, data, loss, updates=n, resume=state, **run)
        path = self.path("training.safetensors")
        checkpoint.save(path, checkpoint.Checkpoint(kept.model, training=state))
        loaded = checkpoint.load(path)
        assert_same_bits(loaded.model.flat, kept.model.flat, "saved")
        fit(kept.model, data, loss, updates=2 * n, resume=state, **run)
        again = loaded.model
        fit(again, data, loss, updates=2 * n, resume=loaded.training, **run)
        for model, found in ((kept.model, state.history), (again, loaded.training.history)):
            assert_same_bits(model.flat, whole.flat, "resumed")
            assert_same_bits(np.array(found.losses), np.array(history.losses), "losses")
        kept.flat = whole.flat.copy()

    @rule(k=models)
    def evaluate(self, k):
        kept = self.pick(k)
        if not kept.trainable:
            return
        batch, loss = self.batch(kept), losses.mean_squared_error
        y = kept.model.forward(kept.x, lengths=kept.lengths)[0]
        expected = loss(y, batch.targets, lengths=kept.model.output_lengths(kept.lengths))[0]
        assert np.isclose(evaluate(kept.model, [batch], loss), expected, rtol=1e-6)

    @rule(k=models)
    def backward(self, k):
        """Gradients depend on nothing that was there before: not on old tapes, not on `out`."""
        kept = self.pick(k)
        dy, seen = kept.targets(), []
        for model in (kept.model, kept.twin()):
            model.generator = np.random.default_rng(1)
            _, _, tape = model.forward(kept.x, lengths=kept.lengths, record=True)
            out = np.full_like(model.flat, np.nan)
            gradients = model.backward(dy, tape, out=out)
            seen.append([out, gradients.dx])
        same(*seen, "gradients")

    @rule(k=models)
    def back_propagate_through_a_carried_state(self, k):
        kept = self.pick(k)
        both = any(layer.reads_ahead for layer in kept.model.layers)
        if both or not kept.model.returns_sequence:
            return
        seen = []
        for model in (kept.model, kept.twin()):
            model.generator = np.random.default_rng(1)
            run, out = TruncatedBPTT(model), np.full_like(model.flat, np.nan)
            for _ in range(2):
                run.gradient(kept.x, kept.targets(), losses.mean_squared_error, None, out)
            seen.append([out, *arrays(run.carried)])
        same(*seen, "truncated gradients")

    # Files, pictures, plans

    @rule(k=models)
    def save_and_load(self, k):
        kept = self.pick(k)
        path = self.path("model.safetensors")
        checkpoint.save(path, checkpoint.Checkpoint(kept.model, {"note": "ü"}))
        loaded = checkpoint.load(path)
        assert loaded.about == {"note": "ü"}
        assert loaded.training is None
        self.keep(loaded.model, kept.x, kept.lengths)

    @rule(k=models, at=st.floats(0, 0.999), bit=st.integers(0, 7))
    @precondition(lambda self: "model.safetensors" in self.files)
    def load_a_damaged_file(self, k, at, bit):
        path = self.path("model.safetensors")
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[int(at * len(whole))] ^= 1 << bit
        path.write_bytes(damaged)
        with pytest.raises((ValueError, OSError)) as caught:
            checkpoint.load(path)
        assert "\n" not in str(caught.value)
        path.write_bytes(whole)

    @rule(k=models, learn=st.booleans())
    def record_and_draw(self, k, learn):
        kept = self.pick(k)
        learn = learn and kept.trainable
        more = dict(targets=kept.targets(), loss=losses.mean_squared_error) if learn else {}
        recording = kept.model.record(kept.x, lengths=kept.lengths, **more)
        y = kept.model.forward(kept.x, lengths=kept.lengths)[0]
        assert_same_bits(recording.y, y, "recorded")
        layer = next(layer for layer in kept.model.layers if isinstance(layer, Recurrent))
        for draw in (
            lambda: viz.network(kept.model, recording),
            lambda: viz.unrolled(kept.model, 3),
            lambda: viz.cell(layer),
            lambda: viz.unit(layer, 1),
            lambda: viz.unit(layer, 0, recording=recording),
            lambda: viz.layer(layer),
            lambda: viz.weights(layer),
            *([lambda: viz.gradients(kept.model, recording)] if learn else []),
        ):
            source = draw().source
            assert source.startswith("digraph ")
            assert "nan" not in source
            assert draw().source == source

    @rule(k=models, T=st.integers(1, 1000), N=st.integers(1, 100))
    def plan(self, k, T, N):
        model, optimizer = self.pick(k).model, optim.Adam()
        plan = model.plan(T, N, optimizer=optimizer)
        assert plan.total == sum(plan)
        assert plan.parameters == model.flat.nbytes
        assert plan.optimizer == 2 * model.flat.nbytes
        assert model.plan(T, N, training=False).total < plan.total
        assert model.plan(T + 1, N, optimizer=optimizer).total >= plan.total

    # A character model

    @rule(
        cell=st.sampled_from(["lstm", "gru"]),
        embedding=st.sampled_from([0, 3]),
        dropout=st.sampled_from([0.0, 0.3]),
        dtype=st.sampled_from(["float32", "float64"]),
    )
    def build_a_character_model(self, cell, embedding, dropout, dtype):
        self.lm = CharLM(
            TEXT,
            cell=cell,
            layers=2 if dropout else 1,
            hidden=5,
            embedding=embedding,
            dropout=dropout,
            rng=3,
            dtype=dtype,
        )

    @precondition(lambda self: self.lm is not None)
    @rule(n=st.integers(1, 3))
    def train_a_character_model(self, n):
        """Training goes on where it stopped, in memory or from a file."""
        lm, path = self.lm, self.path("lm.safetensors")
        before = lm.history.updates
        options = dict(progress=False, updates=before + n)
        options |= dict(resume=True) if before else dict(seq=6, batch=4, validation=0)
        lm.save(path)
        twin = CharLM.load(path)
        lm.train(TEXT, save_to=path, **options)
        twin.train(TEXT, **options)
        for other in (twin, CharLM.load(path)):
            assert_same_bits(other.model.flat, lm.model.flat, "trained")
            assert other.history.losses == lm.history.losses
        assert lm.history.updates == before + n

    @precondition(lambda self: self.lm is not None)
    @rule(
        seed=st.integers(0, 9),
        prime=st.sampled_from(["", "the c"]),
        options=st.sampled_from([{}, dict(top_k=3), dict(top_p=0.9), dict(greedy=True)]),
    )
    def sample(self, seed, prime, options):
        path = self.path("lm.safetensors")
        self.lm.save(path)
        again = CharLM.load(path)
        text = self.lm.sample(prime, 12, seed=seed, **options)
        assert text == again.sample(prime, 12, seed=seed, **options)
        assert set(text) <= set(TEXT)
        assert again.bits_per_character(TEXT) == self.lm.bits_per_character(TEXT)
        self.lm = again

    # What holds after every call

    @invariant()
    def every_model_is_as_it_must_be(self):
        for kept in self.models:
            assert_same_bits(kept.model.flat, kept.flat, "parameters")
            assert all(np.shares_memory(kept.model.flat, a) for a in kept.model.parameters.values())
            ours, theirs = (
                model.forward(kept.x, lengths=kept.lengths) for model in (kept.model, kept.twin())
            )
            assert_same_bits(ours[0], theirs[0], "y")
            same(arrays(ours[1]), arrays(theirs[1]), "state")


class TestSession(Session.TestCase):
    settings = settings(max_examples=6, stateful_step_count=20, derandomize=True)


@pytest.mark.slow
class TestLongSession(Session.TestCase):
    settings = settings(max_examples=400, stateful_step_count=50)
