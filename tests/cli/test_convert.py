"""The command convert: files of PyTorch and Keras become files of this package."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import recurrent
from recurrent import GRU, Linear, Sequential, from_torch, to_torch
from recurrent.cli.commands import main


@pytest.fixture
def run(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(to_torch(Sequential(GRU(2, 3), Linear(3, 1))), "torch.safetensors")

    def call(*arguments):
        code = main([str(a) for a in arguments])
        out, error = capfd.readouterr()
        assert "Traceback" not in error
        return code, out, error

    return call


def test_a_state_dict_becomes_a_model(run):
    code, out, error = run("convert", "torch.safetensors", "model.safetensors")
    assert (code, error) == (0, "")
    assert out.startswith("wrote model.safetensors: 67 parameters, Sequential(GRU(")
    model, expected = recurrent.load("model.safetensors"), from_torch("torch.safetensors")
    for name, a in expected.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], a, strict=True)


def test_the_same_file_gives_the_same_bytes(run):
    for name in ("first", "second"):
        assert run("convert", "torch.safetensors", name)[0] == 0
    recurrent.load("first").save("third")
    first, second, third = (Path(name).read_bytes() for name in ("first", "second", "third"))
    assert first == second == third


def test_a_file_of_torch_save_is_read(run):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.LSTM(2, 3).state_dict(), "model.PT")
    assert run("convert", "model.PT", "out")[0] == 0
    assert repr(recurrent.load("out")) == "Sequential(LSTM(input_size=2, hidden_size=3))"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras
def test_a_file_of_keras_is_read(run):
    from oracles.keras import keras

    keras.Sequential([keras.Input((None, 2)), keras.layers.GRU(3)]).save("model.keras")
    assert run("convert", "model.keras", "out")[0] == 0
    assert repr(recurrent.load("out")) == (
        "Sequential(GRU(input_size=2, hidden_size=3), Last(), batch_first=True)"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("torch.safetensors", "torch.safetensors"), 2, "OUT must be another file than"),
        (("missing.pt", "out"), 1, "missing.pt"),
        (("torch.safetensors", "no/out"), 1, "there is no folder"),
        (("half.safetensors", "out"), 1, "convert the parameters to float32 first"),
        (("square.safetensors", "out"), 1, "Embedding(3, 3) or Linear(3, 3, bias=False)"),
        (("text.bin", "out"), 1, "the name must end in .pt, .pth, .safetensors, .keras, .h5, got"),
        (("text.pt", "out"), 1, "text.pt: this is a text"),
    ],
)
def test_what_cannot_be_converted_is_told_in_one_line(run, arguments, code, words, tmp_path):
    save_file({"weight": np.ones((2, 3), np.float16), "bias": np.ones(2, "f")}, "half.safetensors")
    save_file({"weight": np.ones((3, 3), "f")}, "square.safetensors")
    for name in ("text.bin", "text.pt"):
        (tmp_path / name).write_text("hello")
    found, _, error = run("convert", *arguments)
    assert (found, error.count("\n")) == (code, 1)
    assert words in error
    assert not (tmp_path / "out").exists()
