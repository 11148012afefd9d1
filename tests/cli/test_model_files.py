"""The commands take every model file, or say in words what they need."""

import os

import numpy as np
import pytest

import recurrent
from recurrent import GRU, LSTM, CharLM, Linear, Sequential
from recurrent.charlm.text import Vocabulary
from recurrent.charlm.translator import Translator
from recurrent.cli.commands import main
from recurrent.models.seq2seq import Seq2Seq
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState
from viz.cli.commands import main as viz_main

LETTERS = Vocabulary.of("abcdefgh")


def pair():
    layer = recurrent.Embedding
    encoder = Sequential(layer(8, 2), GRU(2, 3), rng=0)
    decoder = Sequential(layer(8, 2), GRU(2, 3), Linear(3, 8), rng=1)
    return Seq2Seq(encoder, decoder, start=1, end=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    model = Sequential(LSTM(2, 3), Linear(3, 1), rng=0)
    model.save(folder / "Sequential")
    x = np.zeros((4, 3, 2), np.float32)
    data, optimizer = recurrent.data.Batches(x, x[..., :1], 3), recurrent.optim.Adam(0.01)
    loss = recurrent.losses.mean_squared_error
    history = recurrent.fit(model, data, loss, optimizer, updates=3, progress=False)
    state = TrainingState(optimizer, history)
    checkpoint.save(folder / "checkpoint", checkpoint.Checkpoint(model, training=state))
    pair().save(folder / "Seq2Seq")
    Translator(pair(), LETTERS, LETTERS).save(folder / "Translator")
    lm = CharLM("to be or not to be " * 9, layers=1, hidden=4, embedding=2)
    lm.train("to be or not to be " * 9, seq=5, batch=2, updates=2, progress=False)
    lm.save(folder / "CharLM")
    os.mkdir(folder / "demo")
    model.save(folder / "demo" / "model.safetensors")
    (folder / "text").write_text("To be or not to be.\n")
    (folder / "onnx").write_bytes(b"\x08\x08\x12\x01p:\x02\n\0B\x02\x10\x11")
    np.save(folder / "array.npy", np.ones(3))
    return folder


@pytest.fixture
def run(folder, monkeypatch, capfd, tmp_path):
    """Run a command of either program; returns its exit code, its output and its error."""
    monkeypatch.chdir(folder)

    def run(program, *arguments):
        capfd.readouterr()
        code = {"recurrent": main, "viz": viz_main}[program]([*map(str, arguments)])
        return code, *capfd.readouterr()

    return run


MODELS = ("Sequential", "checkpoint", "Seq2Seq", "Translator", "CharLM")


@pytest.mark.parametrize("name", MODELS)
def test_info_takes_every_model(name, run):
    code, out, err = run("recurrent", "info", name)
    assert (code, err) == (0, "")
    made = recurrent.load(name)
    net = getattr(made, "model", made)
    flat = " ".join(out.split())
    assert f"{name}: {type(made).__name__}, {net.size:,} parameters" in flat
    for parameter, a in net.parameters.items():
        assert f"{parameter.rpartition('.')[2]} {a.shape}" in out
    for line in net.summary().splitlines()[2:-1]:
        layer, kind = line.split()[:2]
        assert f"{layer} {kind.partition('(')[0]}. " in out
    assert ("reads 8 characters, writes 8 characters" in flat) == (name == "Translator")
    assert ("vocabulary of" in flat) == (name == "CharLM")


def test_info_describes_any_layer(run, tmp_path):
    Sequential(GRU(2, 3), recurrent.MeanPool()).save(tmp_path / "m")
    out = " ".join(run("recurrent", "info", tmp_path / "m")[1].split())
    assert "1 MeanPool. Takes the mean of each feature over the valid time steps. No param" in out


@pytest.mark.parametrize("view", ["network", "explore", "gradients"])
@pytest.mark.parametrize("name", MODELS)
def test_pictures_of_every_model(view, name, run, tmp_path):
    out = tmp_path / ("a.html" if view == "explore" else "a.gv")
    code, _, err = run("viz", view, name, "-o", out)
    assert (code, err) == (0, "")
    assert out.exists()


def test_a_curve_of_every_training(run, tmp_path):
    for name in ("checkpoint", "CharLM"):
        assert run("viz", "curve", name, "-o", tmp_path / "a.gv")[0] == 0
    for name in ("Sequential", "Seq2Seq", "Translator"):
        code, _, err = run("viz", "curve", name)
        assert code == 1
        assert f"{name} holds a model without its training: name the history.json" in err


def test_a_sample_of_a_translator_is_its_answer(run):
    expected = recurrent.load("Translator").translate("abba")
    assert run("recurrent", "sample", "Translator", "--prime", "abba") == (0, f"{expected}\n", "")
    short = recurrent.load("Translator").translate("abba", 2)
    found = run("recurrent", "sample", "Translator", "--prime", "abba", "--length", 2)
    assert found == (0, f"{short}\n", "")


WRONG = [
    (["recurrent", "sample", "Sequential"], 1, "Sequential holds a Sequential, and this command"),
    (["recurrent", "sample", "checkpoint"], 1, "needs a character model, which python -m"),
    (["recurrent", "sample", "Seq2Seq"], 1, "Seq2Seq holds a Seq2Seq, and this command needs"),
    (["recurrent", "eval", "Translator", "text"], 1, "holds a Translator, and this command needs"),
    (["recurrent", "sample", "Translator"], 2, "give the text to read by --prime"),
    (["recurrent", "sample", "Translator", "--prime", "a", "--seed", 1], 2, "--seed cannot be"),
    (["recurrent", "sample", "Translator", "--prime", "xyz"], 2, "character 'x' (U+0078)"),
    (["viz", "explore", "Seq2Seq", "--text", "a"], 1, "--text needs a character model"),
    (["viz", "text", "Sequential", "to be"], 1, "model"),
    (["viz", "unrolled", "Sequential", "--text", "a"], 1, "--text needs a character model"),
]
for program, command in (("recurrent", "info"), ("recurrent", "sample"), ("viz", "network")):
    WRONG += [
        ([program, command, "onnx"], 1, "onnx: this is an ONNX file: "),
        ([program, command, "array.npy"], 1, "array.npy: this is an array of NumPy (.npy): "),
        ([program, command, "text"], 1, "text: this is a text: "),
        ([program, command, "demo"], 1, "got a folder; did you mean demo/model.safetensors?"),
    ]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG)
def test_what_a_command_cannot_take_is_said_in_one_line(arguments, code, words, run):
    found, out, err = run(*arguments)
    assert found == code
    assert words in err
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("program", ["recurrent", "viz"])
def test_the_version(program, run):
    assert run(program, "--version") == (0, f"recurrent {recurrent.__version__}\n", "")
    assert run(program, "--version", "nonsense")[:2] == (0, f"recurrent {recurrent.__version__}\n")


def test_the_version_of_the_benchmark(capfd):
    from bench.__main__ import app
    from recurrent.cli import runner

    assert runner.run(app, "bench", ["--version"]) == 0
    assert capfd.readouterr().out == f"recurrent {recurrent.__version__}\n"


@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
def test_a_model_is_quantised_and_used(run, tmp_path, kind):
    small = tmp_path / "small"
    code, out, _ = run("recurrent", "quantize", "CharLM", small, "--weights", kind)
    assert code == 0
    assert out.startswith(f"wrote {small}: ")
    assert f"parameters, {kind}, " in out
    assert "; they were float32, " in out
    code, out, _ = run("recurrent", "info", small)
    assert code == 0
    assert f"{kind}, " in " ".join(out.split())
    code, text, _ = run("recurrent", "sample", small, "--length", 20, "--seed", 1, "--prime", "to")
    lm = recurrent.load(small)
    assert (code, text) == (0, f"to{lm.dequantized().sample('to', 20, seed=1)}\n")
    code, out, _ = run("recurrent", "eval", small, "text", "--unknown", "skip")
    assert code == 0
    assert "bits per character" in out


def test_every_kind_of_file_is_quantised(run, tmp_path):
    for name in ("Sequential", "checkpoint", "Seq2Seq", "Translator"):
        assert run("recurrent", "quantize", name, tmp_path / name)[0] == 0
        made = recurrent.load(tmp_path / name)
        assert getattr(made, "model", made).weights == "int8"


def test_wrong_uses_of_quantised_files_are_told_in_one_line(run, tmp_path):
    small = tmp_path / "small"
    run("recurrent", "quantize", "CharLM", small)
    Sequential(LSTM(2, 3), dtype="float64").save(tmp_path / "doubles")
    fixed = f"{small} has int8 weights, which cannot be trained: train the model that it was"
    for arguments, code, words in [
        (("quantize", "CharLM", "CharLM"), 2, "OUT must be another file than CharLM, which can"),
        (("quantize", small, tmp_path / "x"), 1, f"{small}: quantize needs float32 weights, and"),
        (("quantize", tmp_path / "doubles", tmp_path / "x"), 1, "those of this model are float64"),
        (("quantize", "CharLM", tmp_path / "x", "--weights", "int4"), 2, "--weights"),
        (("quantize", "CharLM", tmp_path / "no" / "x"), 1, "there is no folder"),
        (("train", "text", "--resume", "--out", small), 1, fixed),
        (("train", "text", "--init-from", small, "--out", tmp_path / "x"), 1, fixed),
    ]:
        found, _, error = run("recurrent", *arguments)
        assert found == code
        assert words in error
        assert error.count("\n") == 1
        assert not (tmp_path / "x").exists()


def test_pictures_show_the_dequantised_weights(run, tmp_path):
    small = recurrent.load("Sequential").quantize("int8")
    small.save(tmp_path / "small")
    small.dequantized().save(tmp_path / "whole")
    for view, *options in (
        ("network",), ("cell", "--layer", 0), ("layer", "--layer", 0), ("unit", "--layer", 0),
        ("weights", "--layer", 0), ("unrolled",),
    ):  # fmt: skip
        drawn = []
        for name in ("small", "whole"):
            code, _, error = run("viz", view, tmp_path / name, *options, "-o", tmp_path / "p.gv")
            assert (code, error) == (0, "")
            drawn.append((tmp_path / "p.gv").read_text())
        assert drawn[0] == drawn[1]
