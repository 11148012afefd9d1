"""The commands from the command line: exit codes, one-line errors, pipes, Ctrl-C, the demo."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from numba import config

from recurrent import GRU, LSTM, RNN, Dropout, Embedding, Linear, Sequential, cells
from recurrent.charlm.model import CharLM
from recurrent.charlm.presets import PRESETS
from recurrent.cli import describe
from recurrent.cli.commands import main
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.layers.recurrent import Recurrent

SMALL = ["--hidden", "8", "--embedding", "4", "--seq", "6", "--batch", "4", "--validate-every", "5"]
TEXT = "sphinx of black quartz, judge my vow! " * 20


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a command in a folder that holds text.txt; returns exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "text.txt").write_text(TEXT)

    def call(*arguments):
        code = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


@pytest.fixture
def model(run):
    assert run("train", "text.txt", *SMALL, "--updates", 10)[0] == 0
    return "model.safetensors"


def start(*arguments, **options):
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(
        [sys.executable, "-m", "recurrent", *map(str, arguments)], **{**pipes, **options}
    )


@pytest.mark.parametrize(
    "command",
    [[], ["demo"], ["task"], ["train"], ["sample"], ["eval"], ["score"], ["info"], ["selftest"]],
)
def test_help_fits_80_columns_and_has_examples(run, command):
    code, out, err = run(*command, *(["--help"] if command else []))
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    if command:
        assert f"python -m recurrent {command[0]}" in out.split("Examples:")[1]


def test_train_sample_eval_info(run, model):
    lm = CharLM.load(model)
    assert lm.history.updates == 10
    code, out, err = run("sample", model, "--length", 30, "--seed", 1, "--prime", "judge")
    assert (code, err) == (0, "")
    assert out == "judge" + lm.sample("judge", 30, seed=1) + "\n"
    code, out, err = run("eval", model, "text.txt")
    assert (code, err) == (0, "")
    assert out.startswith(f"{lm.bits_per_character(TEXT):.4f} bits per character")
    code, out, err = run("info", model)
    assert (code, err) == (0, "")
    assert f"{lm.model.size:,} parameters" in out
    for name, a in lm.model.parameters.items():
        assert f"{name.partition('.')[2]} {a.shape}" in out
    assert "\x1b" not in out


def test_the_default_options_are_those_of_char_rnn(run):
    _, out, _ = run("train", "--help")
    found = dict(
        re.findall(
            r"^ --([a-z-]+) (?:(?!^ --).)*?\[default:\s+([^\]]+?)\s*\]",
            out.replace("│", ""),
            re.S | re.M,
        )
    )
    expected = dict(
        cell="lstm",
        layers="2",
        hidden="512",
        embedding="128",
        seq="50",
        batch="50",
        optimizer="adam",
        lr="0.002",
    )
    assert expected | dict(dropout="0.0", clip="5.0", validation="0.05") == {
        k: found[k] for k in [*expected, "dropout", "clip", "validation"]
    }


def test_resuming_continues_bit_for_bit(run, model):
    assert run("train", "text.txt", *SMALL, "--updates", 20, "--resume")[0] == 0
    assert run("train", "text.txt", *SMALL, "--updates", 20, "--out", "whole")[0] == 0
    assert_same_bits(CharLM.load(model).model.flat, CharLM.load("whole").model.flat)
    assert run("train", "text.txt", "--updates", 21, "--resume")[0] == 0, (
        "the options may be left out"
    )
    assert CharLM.load(model).options["validate_every"] == 5
    assert "nothing left to do" in run("train", "text.txt", "--updates", 21, "--resume")[1]


TINY = ["--hidden", "8", "--seq", "6", "--batch", "4"]


@pytest.mark.parametrize("name", ["min-char-rnn", "char-rnn", "torch-rnn"])
def test_options_override_a_preset(run, name):
    """Explicit options override the preset and are kept; --resume continues the training."""
    options = ["text.txt", "--preset", name, *TINY, "--lr", "0.01"]
    code, out, _ = run("train", *options, "--updates", 7)
    assert code == 0
    assert PRESETS[name].source in out
    lm = CharLM.load("model.safetensors")
    assert (lm.settings["preset"], lm.settings["hidden"], lm.options["lr"]) == (name, 8, 0.01)
    for option, value in PRESETS[name].training.items():
        if option not in ("seq", "batch", "lr"):
            assert lm.options[option] == value, option
    assert lm.options["epochs"] == PRESETS[name].training.get("epochs", 10)
    assert run("train", *options, "--updates", 12, "--resume")[0] == 0
    assert run("train", *options, "--updates", 12, "--out", "whole")[0] == 0
    assert_same_bits(CharLM.load("model.safetensors").model.flat, CharLM.load("whole").model.flat)
    code, _, err = run(
        "train",
        "text.txt",
        "--preset",
        "char-rnn" if name != "char-rnn" else "torch-rnn",
        "--resume",
    )
    assert (code, err.count("\n")) == (2, 1)
    assert f"contradicts model.safetensors, which was trained with {name}" in err


def test_every_option_of_a_recipe_is_an_option_of_train(run):
    options = {
        "loader": "torch-rnn",
        "validation": 0.1,
        "test": 0.1,
        "seq": 6,
        "batch": 4,
        "carry": "always",
        "look_back": 11,
        "optimizer": "adam:eps=1e-6",
        "lr": 0.01,
        "schedule": "stepdecay:every=1epoch,factor=0.5",
        "clip": 2.0,
        "clip_value": 0.5,
        "updates": 9,
        "validate_every": 4,
        "patience": 5,
        "smooth": 0.9,
        "shards": 2,
    }
    model = {"cell": "gru", "layers": 1, "hidden": 8, "embedding": 0, "biases": 1, "init": "keras"}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in (options | model).items()]
    assert run("train", "text.txt", *arguments, "--sum-steps")[0] == 0
    lm = CharLM.load("model.safetensors")
    assert {k: v for k, v in lm.options.items() if k not in ("symbols", "text")} == options | {
        "preset": None,
        "epochs": 10,
        "sum_steps": True,
        "documents": None,
        "unknown": "error",
    }
    assert {k: lm.settings[k] for k in model if k != "init"} == {
        k: v for k, v in model.items() if k != "init"
    }
    assert run("train", "text.txt", *arguments[:-6], "--sum-steps", "--resume")[0] == 0, (
        "the same command continues"
    )
    assert run("train", "text.txt", "--epochs", 2, "--resume")[0] == 0
    lm = CharLM.load("model.safetensors")
    assert (lm.options["epochs"], lm.options["updates"]) == (2, None)
    code, _, err = run("train", "text.txt", "--no-sum-steps", "--resume")
    assert code == 2
    assert "--sum-steps False contradicts model.safetensors, which was trained with True" in err


def test_no_sum_steps_overrides_a_preset(run):
    assert (
        run(
            "train",
            "text.txt",
            "--preset",
            "min-char-rnn",
            "--no-sum-steps",
            "--updates",
            1,
            "--hidden",
            8,
        )[0]
        == 0
    )
    assert CharLM.load("model.safetensors").options["sum_steps"] is False


def test_a_folder_and_bytes(run, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "b.md").write_text("zweitens " * 40)
    (tmp_path / "notes" / "a.md").write_text("erstens " * 40)
    (tmp_path / "notes" / "c.bin").write_bytes(b"\0\xff")
    code, out, err = run(
        "train", "notes", *SMALL, "--updates", 2, "--bytes", "--cell", "gru", "--dropout", 0.1
    )
    assert code == 0
    assert out.startswith("680 bytes, 256 symbols")
    assert "skipped, not a text file: notes/c.bin\n" in err
    lm = CharLM.load("model.safetensors")
    assert (lm.settings["bytes"], lm.settings["cell"], lm.settings["dropout"]) == (True, "gru", 0.1)
    assert run("sample", "model.safetensors", "--length", 5)[0] == 0


BAD = {
    "no such command": (["trian"], 2, "No such command 'trian'"),
    "no such option": (["train", "text.txt", "--hiden", 3], 2, "No such option"),
    "no text": (["train"], 2, "Missing argument"),
    "bad number": (["train", "text.txt", "--layers", 0], 2, "'--layers'"),
    "no number": (["train", "text.txt", "--hidden", "x"], 2, "'--hidden'"),
    "bad choice": (["train", "text.txt", "--cell", "lst"], 2, "'lstm', 'gru', 'rnn'"),
    "bad preset": (
        ["train", "text.txt", "--preset", "rnn"],
        2,
        "'--preset': 'rnn' is not one of 'min-char-rnn', 'char-rnn'",
    ),
    "bad optimizer": (
        ["train", "text.txt", "--optimizer", "adamm"],
        2,
        "must be one of sgd, rmsprop, adagrad, adam, adamw",
    ),
    "bad option of an optimizer": (
        ["train", "text.txt", "--optimizer", "adam:beta=1"],
        2,
        "adam has the options eps,",
    ),
    "bad look-back": (
        ["train", "text.txt", "--look-back", 9],
        2,
        "--look-back must be at least the 50 steps of a window, got 9",
    ),
    "text too short for min-char-rnn": (
        ["train", "tiny.txt", "--preset", "min-char-rnn"],
        1,
        "at least 27 are needed",
    ),
    "text too short for char-rnn": (
        ["train", "short.txt", "--preset", "char-rnn"],
        1,
        "at least 5,000 are needed: 50 streams",
    ),
    "text too short for torch-rnn": (
        ["train", "short.txt", "--preset", "torch-rnn"],
        1,
        "at least 3,126 are needed: 50 str",
    ),
    "dropout of 1": (
        ["train", "text.txt", "--dropout", 1],
        2,
        "--dropout must be at least 0 and below 1, got 1.0",
    ),
    "validation of 1": (["train", "text.txt", "--validation", 1], 2, "below 1"),
    "no folder": (["train", "text.txt", "--out", "no/model"], 2, "no such folder"),
    "no file": (["train", "nothing.txt"], 1, "nothing.txt: No such file or directory"),
    "no UTF-8": (["train", "latin.txt"], 1, "latin.txt: not UTF-8 text (byte 0xe9 at position 3)"),
    "empty text": (
        ["train", "empty.txt"],
        1,
        "empty.txt: a vocabulary needs at least one character",
    ),
    "short text": (
        ["train", "short.txt"],
        1,
        "short.txt: the text has 200 characters, but at least 2,632 are needed",
    ),
    "nothing to resume": (
        ["train", "text.txt", "--resume"],
        1,
        "model.safetensors: No such file or directory",
    ),
    "infinite loss": (
        ["train", "text.txt", *SMALL, "--lr", "1e38"],
        1,
        "update 2: the loss is nan",
    ),
    "infinite rate": (
        ["train", "text.txt", *SMALL, "--lr", "inf"],
        2,
        "lr must be finite, got inf",
    ),
    "no checkpoint": (["sample", "text.txt"], 1, "text.txt: this is a text: python -m recurrent"),
    "no model": (["info", "nothing"], 1, "nothing: No such file or directory"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy kernels warn of the overflow
@pytest.mark.parametrize("case", BAD)
def test_a_user_error_is_one_line(run, tmp_path, case):
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("a b " * 50)
    (tmp_path / "tiny.txt").write_text("a b " * 6)
    arguments, expected, message = BAD[case]
    code, _, err = run(*arguments)
    assert code == expected
    lines = [line for line in err.splitlines() if not line.startswith("update ")]
    assert len(lines) == 1
    assert lines[0].startswith("recurrent: ")
    assert message in lines[0]


BAD_LATER = {
    "overwriting": (
        ["train", "text.txt"],
        2,
        "continue it with --resume or overwrite it with --force",
    ),
    "another model": (
        ["train", "text.txt", "--resume", "--hidden", 9],
        2,
        "--hidden 9 contradicts model.safetensors, which was trained with 8",
    ),
    "another text": (["train", "other.txt", "--resume"], 1, "began with: 760 characters, got 800"),
    "unknown prime": (
        ["sample", "model.safetensors", "--prime", "Q"],
        2,
        "character 'Q' (U+0051) at position 0",
    ),
    "temperature": (
        ["sample", "model.safetensors", "--temperature", 0],
        2,
        "temperature must be above 0",
    ),
    "top-p": (["sample", "model.safetensors", "--top-p", 2], 2, "--top-p must be"),
    "unknown character": (
        ["eval", "model.safetensors", "capital.txt"],
        1,
        "capital.txt: character 'S'",
    ),
    "short text": (
        ["eval", "model.safetensors", "one.txt"],
        1,
        "one.txt: the text has 1 character, but at least 2",
    ),
}


def test_user_errors_leave_the_model_unchanged(run, model, tmp_path):
    for name, text in (("other", "a b " * 200), ("capital", "sphinx Sphinx"), ("one", "s")):
        (tmp_path / f"{name}.txt").write_text(text)
    before = (tmp_path / model).read_bytes()
    for case, (arguments, expected, message) in BAD_LATER.items():
        code, _, err = run(*arguments)
        assert code == expected, case
        assert err.startswith("recurrent: "), case
        assert message in err, case
        assert err.count("\n") == 1, case
    assert (tmp_path / model).read_bytes() == before


def test_text_from_standard_input_and_output_without_control_codes(tmp_path):
    with start("train", "-", *SMALL, "--updates", 3, cwd=tmp_path) as process:
        out, err = process.communicate(TEXT)
    assert process.returncode == 0
    assert "\x1b" not in out + err
    assert "\r" not in out + err
    assert (tmp_path / "model.safetensors").exists()


def test_a_closed_pipe_ends_quietly(run, model, tmp_path):
    with start("sample", model, "--length", 10**7, cwd=tmp_path) as process:
        assert process.stdout.read(20)
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60) == 0
    assert err == ""


def test_a_table_into_a_closed_pipe_ends_quietly(run, model, tmp_path):
    with start("info", model, cwd=tmp_path) as process:
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60) == 0
    assert err == ""


def test_sample_prints_as_it_samples(run, model, tmp_path):
    with start("sample", model, "--length", 10**7, cwd=tmp_path) as process:
        assert len(process.stdout.read(5)) == 5
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        process.stdout.close()
        assert process.stderr.read() == "recurrent: interrupted\n"


def test_ctrl_c_saves_and_prints_how_to_resume(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    with start("train", "text.txt", *SMALL, "--updates", 10**6, cwd=tmp_path) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "model.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.splitlines()[-1]
    again = "python -m recurrent train text.txt --resume --out model.safetensors --updates 1000000"
    found = re.fullmatch(
        rf"recurrent: interrupted after update ([\d,]+); the model is saved in model.safetensors; "
        rf"resume with: {again}",
        last,
    )
    assert CharLM.load(tmp_path / "model.safetensors").history.updates == int(
        found[1].replace(",", "")
    )


def test_the_demo(run, tmp_path):
    pytest.importorskip("viz", reason="the demo draws")
    if config.DISABLE_JIT:
        pytest.skip("2 x 128 units on 50 streams take minutes without compiled kernels")
    code, out, _ = run("demo", "--updates", 4)
    assert code == 0
    names = ["history.json", "model.safetensors", "network.svg", "unit.svg", "unrolled.svg"]
    assert sorted(os.listdir("demo")) == names
    for name in names:
        assert f"wrote demo/{name}" in out
    assert len(json.loads((tmp_path / "demo" / "history.json").read_text())["losses"]) == 4
    before, after = map(
        float, re.search(r"character: ([\d.]+) before training, ([\d.]+) after", out).groups()
    )
    assert after < before < 7
    assert run("info", "demo/model.safetensors")[0] == 0


def layers():
    return Embedding(7, 5), LSTM(5, 10), Dropout(0.1), GRU(10, 4), RNN(4, 3), Linear(3, 7)


def test_describe_names_inputs_parameters_and_outputs():
    net = Sequential(*layers())
    texts = [describe.unit(net, k) for k in range(len(net))]
    assert "4 neurons, one per gate (i, f, g, o): each with 5 + 10 = 15 inputs" in texts[1]
    assert "68 parameters (64 with one bias per sum)" in texts[1]
    assert "Its output h is one value per time step, which goes to layer 2 (Dropout)" in texts[1]
    assert "Its c is internal" in texts[1]
    assert "3 neurons, one per gate (r, z, n): each with 10 + 4 = 14 inputs" in texts[3]
    assert "For n the sum over x_t and the sum over h are kept separate" in texts[3]
    assert "48 parameters (46 with" in texts[3]
    assert "A unit is one neuron with 4 + 3 = 7 inputs" in texts[4]
    assert "9 parameters (8 with" in texts[4]
    assert "internal" not in texts[3] + texts[4]
    assert "3 inputs and a bias: 4 parameters" in texts[5]
    assert texts[5].endswith("goes to the model's output.")


@pytest.mark.parametrize(
    ("biases", "counts"),
    [(0, "0 biases = 60"), (1, "4 biases = 64"), (2, "8 biases = 68")],
)
def test_describe_counts_the_biases_of_the_layer(biases, counts):
    """A unit with one bias per gate was once said to have eight, in a sum that was wrong."""
    net = Sequential(LSTM(5, 10, biases=biases))
    text = describe.unit(net, 0)
    assert f"4 x 5 + 4 x 10 weights + {counts} parameters" in text
    assert ("(64 with one bias per sum)" in text) == (biases == 2)
    assert f"= {net.size // 10} parameters" in text
    assert "+ 1 bias = 8 parameters." in describe.unit(Sequential(RNN(3, 4, biases=1)), 0)


def test_describe_handles_a_custom_cell():
    @cells.trace_cell("odd", gates="u w", states="s m", parameters="q", register=False)
    def odd(x, h, previous, p):
        u, w = cells.sigmoid(x.u), cells.tanh(x.w + h.w)
        m = u * previous.m + p.q * w
        return dict(u=u, w=w, m=m, s=m)

    layer = Recurrent(odd, 3, 4)
    text = describe.unit(Sequential(layer), 0)
    assert (
        "2 neurons, one per gate (u, w): w with 3 + 4 = 7 inputs (x_t and s of all 4 units one "
        "time step before); u with 3 inputs (x_t)" in text
    )
    assert "2 x 3 + 1 x 4 weights + 3 biases + 1 other = 14 parameters (13 with" in text
    assert np.isclose(14 * 4, layer.size)


def test_a_schedule_of_the_learning_rate(run):
    options = [*SMALL, "--updates", 10, "--schedule", "cosine:warmup=2,final=0.001"]
    assert run("train", "text.txt", *options)[0] == 0
    lr = CharLM.load("model.safetensors").optimizer.lr
    assert (lr.steps, lr.warmup, lr.final) == (10, 2, 0.001)
    code, _, err = run("train", "text.txt", *SMALL, "--force", "--schedule", "linear")
    assert (code, err) == (
        2,
        "recurrent: --schedule must be one of constant, stepdecay, exponential, cosine, "
        "onecycle, reduceonplateau, got 'linear'\n",
    )
