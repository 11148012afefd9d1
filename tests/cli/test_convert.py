"""The command convert: files of PyTorch, Keras and ONNX become files of this package or ONNX."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import recurrent
from recurrent import (
    GRU,
    Attention,
    CharLM,
    Embedding,
    Linear,
    Seq2Seq,
    Sequential,
    from_torch,
    to_onnx,
    to_torch,
)
from recurrent.cli.commands import main

OUT = "out.safetensors"


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
    names = ["first.safetensors", "second.safetensors", "third.safetensors"]
    for name in names[:2]:
        assert run("convert", "torch.safetensors", name)[0] == 0
    recurrent.load(names[0]).save(names[2])
    first, second, third = (Path(name).read_bytes() for name in names)
    assert first == second == third


def test_a_file_of_torch_save_is_read(run):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.LSTM(2, 3).state_dict(), "model.PT")
    assert run("convert", "model.PT", "out.safetensors")[0] == 0
    assert (
        repr(recurrent.load("out.safetensors")) == "Sequential(LSTM(input_size=2, hidden_size=3))"
    )


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras
def test_a_file_of_keras_is_read(run):
    from oracles.keras import keras

    keras.Sequential([keras.Input((None, 2)), keras.layers.GRU(3)]).save("model.keras")
    assert run("convert", "model.keras", "out.safetensors")[0] == 0
    assert repr(recurrent.load("out.safetensors")) == (
        "Sequential(GRU(input_size=2, hidden_size=3), Last(), batch_first=True)"
    )


def test_a_model_becomes_an_onnx_file_and_comes_back(run):
    onnx = pytest.importorskip("onnx")
    code, out, error = run("convert", "torch.safetensors", "model.onnx")
    assert (code, error) == (0, "")
    assert out.startswith("wrote model.onnx: 67 parameters, Sequential(GRU(")
    assert [i.name for i in onnx.load("model.onnx").graph.input] == ["x"]
    assert run("convert", "model.onnx", "back.safetensors")[0] == 0
    model, expected = recurrent.load("back.safetensors"), from_torch("torch.safetensors")
    assert len(model) == 2
    for name, a in expected.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], a)
    # A file of this package may be IN as well.
    assert run("convert", "back.safetensors", "out.onnx", "--lengths", "--states")[0] == 0
    assert [i.name for i in onnx.load("out.onnx").graph.input] == ["x", "lengths", "0.h0"]
    model.quantize("int8").save("int8.safetensors")
    assert run("convert", "int8.safetensors", "int8.onnx")[0] == 0
    assert run("convert", "back.safetensors", "again.safetensors")[0] == 0
    assert repr(recurrent.load("again.safetensors")) == repr(model)


def test_the_network_of_a_character_model_becomes_an_onnx_file(run):
    onnx = pytest.importorskip("onnx")
    CharLM("abc", hidden=3, embedding=2).save("model.safetensors")
    assert run("convert", "model.safetensors", "model.onnx")[0] == 0
    assert "LSTM" in [node.op_type for node in onnx.load("model.onnx").graph.node]


def test_a_warning_of_a_reader_is_one_line(run):
    pytest.importorskip("onnx")
    proto = to_onnx(Sequential(GRU(2, 3, reset_after=False)))
    proto.producer_name = "pytorch"
    with open("model.onnx", "wb") as file:
        file.write(proto.SerializeToString())
    code, _, error = run("convert", "model.onnx", "out.safetensors")
    assert (code, error.count("\n")) == (0, 1)
    assert "was written by PyTorch with linear_before_reset=0" in error


def write_files():
    """Write files that cannot be converted."""
    onnx = pytest.importorskip("onnx")
    save_file({"weight": np.ones((2, 3), np.float16), "bias": np.ones(2, "f")}, "half.safetensors")
    save_file({"weight": np.ones((3, 3), "f")}, "square.safetensors")
    for name in ("text.bin", "text.pt", "text.onnx"):
        with open(name, "w") as file:
            file.write("hello")
    values = [onnx.helper.make_tensor_value_info(name, 1, (2, None, 3)) for name in "xy"]
    nodes = [onnx.helper.make_node("Sinh", ["x"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph, ir_version=8), "network.onnx")
    Path("half.onnx").write_bytes(Path("network.onnx").read_bytes()[:30])
    encoder = Sequential(Embedding(5, 2), GRU(2, 3))
    decoder = Sequential(Embedding(5, 2), GRU(2, 3), Attention(3, 3), Linear(6, 5))
    Seq2Seq(encoder, decoder, start=0, end=1).save("seq2seq.safetensors")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("torch.safetensors", "torch.safetensors"), 2, "OUT must be another file than"),
        (("torch.safetensors", "out.pt"), 2, "OUT must end in .safetensors or .onnx, got out.pt"),
        (("torch.safetensors", OUT, "--states"), 2, "--states cannot be combined with OUT out.s"),
        (("missing.pt", OUT), 1, "missing.pt"),
        (("torch.safetensors", "no/out.onnx"), 1, "there is no folder"),
        (("half.safetensors", OUT), 1, "convert the parameters to float32 first"),
        (("square.safetensors", OUT), 1, "Embedding(3, 3) or Linear(3, 3, bias=False)"),
        (("text.bin", OUT), 1, "must end in .pt, .pth, .safetensors, .keras, .h5, .onnx, got .bin"),
        (("text.pt", OUT), 1, "text.pt: this is a text"),
        (("text.onnx", OUT), 1, "text.onnx: this is a text"),
        (("half.onnx", OUT), 1, "half.onnx: the file is damaged, or no ONNX file"),
        (("network.onnx", OUT), 1, "network.onnx cannot be written as .safetensors, which holds "),
        (("network.onnx", "out.onnx"), 1, "are no layers of this package: Sinh"),
        (("seq2seq.safetensors", "out.onnx"), 1, "to_onnx(model.encoder) writes its encoder"),
    ],
)
def test_what_cannot_be_converted_is_told_in_one_line(run, arguments, code, words, tmp_path):
    write_files()
    found, _, error = run("convert", *arguments)
    assert (found, error.count("\n")) == (code, 1)
    assert words in error
    assert not list(tmp_path.glob("out*"))
