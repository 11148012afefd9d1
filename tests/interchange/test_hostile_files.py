"""Damaged files of other programs give a model or an error of one line, in bounded memory and time.

Files with a certain fault are in `test_hostile_onnx.py`; here are many at random.
"""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from support.damage import FORMATS

import recurrent
from recurrent import GRU, LSTM, Embedding, Linear, Sequential, to_torch

TESTS = Path(__file__).parents[1]


def keras_files(folder):
    pytest.importorskip("h5py")
    from oracles.keras import keras

    layers = keras.layers
    x = keras.Input((5,), dtype="int32")
    y = layers.Bidirectional(layers.GRU(2, return_sequences=True))(layers.Embedding(7, 3)(x))
    y = layers.Conv1D(3, 2, activation="relu")(layers.LayerNormalization()(y))
    chain = keras.Model(x, layers.Dense(2)(layers.LSTM(3)(y)))
    a, b = keras.Input((5, 3), name="a"), keras.Input((5, 3), name="b")
    inner = keras.Sequential([layers.Dense(3), layers.Dropout(0.1)])
    cell = layers.LSTM(3, return_sequences=True)
    u, v = inner(cell(a)), inner(cell(b))
    ends = [layers.Dense(1)(layers.Concatenate()([u, v])), layers.Add()([u, a])]
    graph = keras.Model([a, b], ends)
    for suffix in (".keras", ".h5"):
        chain.save(folder / f"chain{suffix}")
        graph.save(folder / f"graph{suffix}")


def torch_files(folder):
    torch = pytest.importorskip("torch")
    from safetensors.numpy import save_file

    layers = Embedding(7, 3), LSTM(3, 4, bidirectional=True), GRU(8, 2), Linear(2, 3)
    state = to_torch(Sequential(*layers))
    save_file(state, folder / "a.safetensors")
    torch.save({n: torch.from_numpy(a) for n, a in state.items()}, folder / "a.pt")


def onnx_files(folder):
    """Write six exports of PyTorch and one of this package, and inputs for each."""
    torch, _ = pytest.importorskip("torch"), pytest.importorskip("onnx")
    nn = torch.nn

    class Tail(nn.Module):
        """Runs a stack of layers: a recurrent one returns its states too."""

        def __init__(self, *layers, last=False):
            super().__init__()
            self.layers, self.last = nn.ModuleList(layers), last

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
                x = x[0] if isinstance(x, tuple) else x
            return x[:, -1] if self.last else x

    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(4, 3, batch_first=True)

        def forward(self, x, lengths):
            pack = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            return nn.utils.rnn.pad_packed_sequence(self.rnn(pack)[0], batch_first=True)[0]

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv1d(4, 3, 3, padding=1), nn.GRU(3, 3, batch_first=True)

        def forward(self, x):
            y = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
            return y + torch.softmax(self.rnn(y)[0], dim=-1)

    class Loop(nn.Module):
        def forward(self, x):
            h = torch.zeros_like(x[0])
            for k in range(x.shape[0]):
                h = torch.tanh(x[k] + h) if k % 2 == 0 else h * 0.5
            return h

    x, ids = torch.randn(5, 2, 4), torch.zeros(2, 5, dtype=torch.int64)
    lengths = torch.tensor([5, 5])
    cases = {
        "lstm": (Tail(nn.LSTM(4, 3)), (x,)),
        "states": (nn.GRU(4, 3, bidirectional=True), (x, torch.zeros(2, 2, 3))),
        "words": (Tail(nn.Embedding(7, 4), nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2),
                       last=True), (ids,)),
        "packed": (Packed(), (x.transpose(0, 1).contiguous(), lengths)),
        "branches": (Branches(), (x.transpose(0, 1).contiguous(),)),
        "loop": (Loop(), (x,)),
    }  # fmt: skip
    for name, (module, arguments) in cases.items():
        names = ["x", "more"][: len(arguments)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.jit.script(module) if name == "loop" else module.eval()
            torch.onnx.export(
                module, arguments, folder / f"{name}.onnx", dynamo=False, input_names=names,
                dynamic_axes={"x": {0: "a", 1: "b"}},
            )  # fmt: skip
        arrays = {n: a.numpy() for n, a in zip(names, arguments, strict=True)}
        np.savez(folder / f"{name}.npz", **arrays)
    scan = Sequential(recurrent.Recurrent("mgu", 4, 3), Linear(3, 2))
    proto = recurrent.to_onnx(scan, folder / "scan.onnx")
    np.savez(folder / "scan.npz", **{i.name: x.numpy() for i in proto.graph.input})


MAKERS = {
    "keras": keras_files,
    "h5": keras_files,
    "safetensors": torch_files,
    "pt": torch_files,
    "onnx": onnx_files,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the folder of the good files of a format, which are made once."""
    made = {}

    def folder(name):
        maker = MAKERS[name]
        if maker not in made:
            made[maker] = tmp_path_factory.mktemp(name)
            maker(made[maker])
        return made[maker]

    return folder


def run(name, folder, seed, count):
    """Return the outcomes of damaged files; raise an error for any fault."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "support.damage", name, str(folder), str(seed), str(count)],
        capture_output=True, text=True, timeout=60 + count, check=False,
        env=dict(os.environ, PYTHONPATH=path, NUMBA_NUM_THREADS="1"),
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert not found["faults"], "\n".join(found["faults"][:10])
    return found["outcomes"]


def test_every_format_has_files():
    assert MAKERS.keys() == FORMATS.keys()


COUNTS = [40, pytest.param(500, marks=pytest.mark.ci), pytest.param(5000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_damaged_files(name, count, folders):
    counts = [count] * (4 if name == "onnx" and count == 5000 else 1)
    for seed, n in enumerate(counts):
        outcomes = run(name, folders(name), seed, n)
        assert sum(outcomes.values()) == n
        assert any("Error" in outcome for outcome in outcomes)
        assert any("Error" not in outcome for outcome in outcomes)
