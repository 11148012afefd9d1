"""Changed files of other programs give a model or a one-line error, and never another exception."""

import copy
import json
import random
import zipfile

import numpy as np
import pytest
from oracles.keras import keras

from recurrent import GRU, LSTM, Embedding, Linear, Sequential, from_keras, from_torch, to_torch

pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ODD = [None, True, -1, 0, 3, 10**20, 1.5, float("nan"), "", "tanh", "wrong" * 50, [], [1], {}, [{}]]
ERRORS = (ValueError, TypeError, OSError, MemoryError)


def attempt(read, argument):
    """Read; a failure must be one line."""
    message = ""
    try:
        read(argument)
    except ERRORS as error:
        message = str(error)
    assert "\n" not in message, message


def mutated(value, rng):
    """Return a JSON value with one entry of it replaced or removed."""
    value = copy.deepcopy(value)
    places, stack = [], [value]
    while stack:
        node = stack.pop()
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        places += [(node, k) for k in keys]
        stack += [node[k] for k in keys if isinstance(node[k], (dict, list))]
    node, key = rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = rng.choice(ODD)
    return value


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Return the members of a `.keras` file, by name."""
    layers = keras.layers
    x = keras.Input((5,), dtype="int32")
    y = layers.Bidirectional(layers.GRU(2, return_sequences=True))(layers.Embedding(7, 3)(x))
    y = layers.Conv1D(3, 2, activation="relu")(layers.LayerNormalization()(y))
    model = keras.Model(x, layers.Dense(2)(layers.LSTM(3)(y)))
    path = tmp_path_factory.mktemp("keras") / "a.keras"
    model.save(path)
    from_keras(path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_changed_configurations(archive, tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "a.keras"
    config = json.loads(archive["config.json"])
    for _ in range(5000 if seed else 300):
        with zipfile.ZipFile(path, "w") as file:
            for name, data in archive.items():
                new = json.dumps(mutated(config, rng)) if name == "config.json" else data
                file.writestr(name, new)
        attempt(from_keras, path)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_changed_weights(archive, tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "a.keras"
    for _ in range(5000 if seed else 200):
        data = bytearray(archive["model.weights.h5"])
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        with zipfile.ZipFile(path, "w") as file:
            for name, old in archive.items():
                file.writestr(name, bytes(data) if name == "model.weights.h5" else old)
        attempt(from_keras, path)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_changed_state_dicts(tmp_path, seed):
    from safetensors.numpy import save

    rng, path = random.Random(seed), tmp_path / "a.safetensors"
    layers = Embedding(7, 3), LSTM(3, 4, bidirectional=True), GRU(8, 2), Linear(2, 3)
    state = to_torch(Sequential(*layers))
    good = save(state)
    for _ in range(5000 if seed else 300):
        new = dict(state)
        name = rng.choice(list(new))
        change = rng.randrange(4)
        if change == 0:
            del new[name]
        elif change == 1:
            new[name] = np.zeros([rng.randint(0, 9) for _ in range(rng.randint(0, 3))], "f")
        elif change == 2:
            new[rng.choice(list(new)).replace("l0", "l9").replace("ih", "hh")] = new.pop(name)
        else:
            new[name] = new[name].astype(rng.choice(["f2", "f8", "i4", "c8"]))
        attempt(from_torch, new)
        data = bytearray(good)
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data))
        attempt(from_torch, path)
