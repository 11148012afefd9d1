"""Wrong command lines of the three programs: one line each, and nothing is left behind.

`WRONG` has the words of each kind of mistake. The sweeps below it give every option every hostile
value, and every command every hostile file, and expect one line within seconds.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from bench.__main__ import app as bench_app
from recurrent.charlm.model import CharLM
from recurrent.charlm.recipe import Recipe
from recurrent.charlm.text import Vocabulary
from recurrent.cli import memory, runner
from recurrent.cli.commands import app as recurrent_app
from recurrent.cli.commands import main
from recurrent.models.files import writer_lock
from viz.cli.commands import app as viz_app
from viz.cli.commands import main as viz_main

SMALL = ["--hidden", "8", "--embedding", "4", "--seq", "6", "--batch", "4", "--updates", "2"]
TRAIN = ["train", "text.txt", *SMALL]
TEXT = "sphinx of black quartz, judge my vow! " * 20
PATIENCE = 5.0  # seconds for any of them: most take milliseconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model m and files of all kinds."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "text.txt").write_text(TEXT)
    (folder / "empty").touch()
    (folder / "latin").write_bytes("café".encode("latin-1"))
    (folder / "binary").write_bytes(bytes(range(256)) * 4)
    (folder / "void").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "list.json").write_text("[1, 2")
    (folder / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    (folder / "deep.jsonl").write_text("[" * 100_000 + "]" * 100_000)
    (folder / "loop").symlink_to("loop")
    np.savez(folder / "arrays.npz", a=np.ones(3))
    assert main(["train", str(folder / "text.txt"), *SMALL, "--out", str(folder / "m")]) == 0
    return folder


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """Run a command; returns the exit code and the error's only line, "" if there is none."""
    monkeypatch.chdir(folder)

    def bench_main(arguments):
        return runner.run(bench_app, "bench", arguments)

    mains = {"recurrent": main, "viz": viz_main, "bench": bench_main}

    def call(program, *arguments):
        capfd.readouterr()
        before = sorted(os.listdir(folder))
        start = time.perf_counter()
        code = mains[program]([str(a) for a in arguments])
        assert time.perf_counter() - start < PATIENCE
        err = capfd.readouterr().err
        lines = [s for s in err.splitlines() if not s.startswith(("update ", "skipped"))]
        assert code in (0, 1, 2)
        assert len(lines) == (code != 0), err
        assert all(line.startswith(f"{program}: ") and len(line) < 1100 for line in lines)
        assert not [name for name in os.listdir(folder) if name.startswith(".")]
        if code:
            assert sorted(os.listdir(folder)) == before
        else:
            for name in set(os.listdir(folder)) - set(before):
                (folder / name).unlink()
        return code, "".join(lines)

    return call


LARGE = "9" * 400
RESUME = ["train", "text.txt", "--resume", "--out", "m"]
WRONG = [
    # Sizes beyond the text or the machine: found before anything large is allocated.
    ("recurrent", [*TRAIN, "--seq", 99999999], 1, "the text has 760 characters, but at least"),
    ("recurrent", [*TRAIN, "--batch", 99999999], 1, "the text has 760 characters, but at least"),
    ("recurrent", [*TRAIN, "--validation", 0.999999], 1, "at least 24,000,001 are needed"),
    (
        "recurrent",
        [*TRAIN, "--validation", 0.999999, "--loader", "char-rnn"],
        1,
        "but at least 24,000,",
    ),
    ("recurrent", [*TRAIN, "--layers", 10**20], 2, "'--layers': expected at most 92233720368547"),
    ("recurrent", [*TRAIN, "--layers", 10**12], 1, "training this model needs about"),
    ("recurrent", [*TRAIN, "--hidden", 2**31 - 1], 1, "not enough memory"),
    ("recurrent", [*TRAIN, "--hidden", 2**31], 2, "hidden must be at most 2147483647"),
    ("recurrent", [*TRAIN, "--hidden", LARGE], 2, "got a number of more than 30 digits"),
    ("recurrent", [*TRAIN, "--embedding", 2**31 - 1], 1, "not enough memory"),
    ("recurrent", ["eval", "m", "text.txt", "--batch", 10**9], 1, "at least 1,000,000,001"),
    ("viz", ["network", "LSTM:99999:99999"], 1, "needs about 320.0 GB, but this machine has"),
    ("viz", ["unrolled", "LSTM:5:10", "--steps", 99999999], 2, "'--steps'"),
    ("viz", ["explore", "LSTM:5:10", "--steps", 99999999], 2, "'--steps'"),
    # Options that would be ignored.
    ("recurrent", [*RESUME, "--init", "keras"], 2, "--init cannot be combined with --resume"),
    ("recurrent", [*RESUME, "--seed", 1], 2, "--seed cannot be combined with --resume"),
    ("recurrent", [*RESUME, "--force"], 2, "--force cannot be combined with --resume"),
    ("recurrent", [*RESUME, "--bytes"], 2, "--bytes True contradicts m"),
    ("recurrent", [*RESUME, "--loader", "torch-rnn"], 2, "--loader torch-rnn contradicts m"),
    ("recurrent", [*TRAIN, "--epochs", 2], 2, "--epochs cannot be combined with --updates"),
    ("recurrent", [*TRAIN, "--patience", 2, "--validation", 0], 2, "--patience counts"),
    ("recurrent", [*TRAIN, "--layers", 1, "--dropout", 0.5], 2, "needs at least 2 of them, got 1"),
    ("recurrent", ["sample", "m", "--greedy", "--top-k", 3], 2, "--top-k cannot be combined"),
    ("recurrent", ["sample", "m", "--greedy", "--top-p", 0.5], 2, "--top-p cannot be combined"),
    ("recurrent", ["sample", "m", "--greedy", "--temperature", 2], 2, "--temperature cannot be"),
    ("recurrent", ["task", "--updates", 3], 2, "give the NAME of one"),
    ("viz", ["cell", "m", "--text", "judge", "--steps", 3], 2, "--steps cannot be combined with"),
    ("viz", ["explore", "m", "--text", "judge", "--steps", 3], 2, "--steps cannot be combined"),
    ("viz", ["text", "m", "judge", "--like", "digit", "--unit", 1], 2, "leave out --unit"),
    ("bench", ["--quick", "show", "m"], 2, "--quick cannot be combined with show"),
    ("bench", ["--quick", "--full"], 2, "expected --quick or --full, not both"),
    ("bench", ["--resume"], 2, "needs --out, the file to continue"),
    # Texts.
    ("recurrent", ["train", "fifo"], 1, "fifo: expected a text file or a folder, got a FIFO; pass"),
    ("recurrent", ["train", "/dev/zero"], 1, "/dev/zero: expected a text file or a folder, got a"),
    ("recurrent", ["train", "void"], 1, "void: no text files in this folder"),
    ("recurrent", ["train", "nothing"], 1, "nothing: No such file or directory"),
    ("recurrent", ["train", ""], 1, "'': No such file or directory"),
    ("recurrent", ["train", "/proc/self/mem"], 1, "/proc/self/mem: Input/output error"),
    ("recurrent", ["train", "latin", *SMALL], 1, "latin: not UTF-8 text (byte 0xe9 at position 3)"),
    (
        "recurrent",
        ["train", "empty", *SMALL, "--bytes"],
        1,
        "empty: the text is empty, but at",
    ),
    ("recurrent", ["eval", "m", "binary"], 1, "binary: not UTF-8 text (byte 0x80 at position 128)"),
    # Checkpoints and other files to read.
    ("recurrent", ["info", "empty"], 1, "not a complete .safetensors file (0 bytes)"),
    ("recurrent", ["info", "void"], 1, "void: expected a file, got a folder"),
    ("recurrent", ["sample", "fifo"], 1, "fifo: expected a file, got a FIFO"),
    ("recurrent", ["sample", "arrays.npz"], 1, "arrays.npz: this is a file of NumPy's arrays"),
    ("viz", ["network", "/dev/zero"], 1, "/dev/zero: expected a file, got a device"),
    ("viz", ["curve", "list.json"], 1, "list.json is not a history: it is not JSON"),
    ("viz", ["curve", "deep.json"], 1, "deep.json is not a history: it is nested too deeply"),
    ("bench", ["show", "deep.jsonl"], 2, "deep.jsonl"),
    ("bench", ["show", "fifo"], 2, "fifo: expected a run file, got a FIFO"),
    ("bench", ["report", "/dev/zero"], 2, "/dev/zero: expected a run file, got a device"),
    ("bench", ["compare", "loop", "loop"], 2, "loop: Too many levels of symbolic links"),
    # Files to write.
    ("recurrent", [*TRAIN, "--out", "void"], 1, "void is a folder; expected the name of a file"),
    ("recurrent", [*TRAIN, "--out", "fifo"], 1, "fifo is a FIFO; expected the name of a file"),
    ("recurrent", [*TRAIN, "--out", "/dev/null"], 1, "/dev/null is a device; expected the name"),
    ("recurrent", [*TRAIN, "--out", "no/m"], 2, "--out: no such folder"),
    ("recurrent", [*TRAIN, "--out", "m"], 2, "m exists: continue it with --resume or overwrite"),
    ("recurrent", [*TRAIN, "--out", "/proc/m"], 1, "/proc/m: No such file or directory"),
    ("recurrent", ["demo", "--out", "text.txt"], 1, "text.txt is not a folder"),
    ("recurrent", ["task", "waves", "--out", "text.txt"], 1, "text.txt is not a folder"),
    ("viz", ["gallery", "-o", "text.txt"], 1, "text.txt is not a folder"),
    ("viz", ["gallery", "-o", "/proc/g"], 1, "/proc/g: No such file or directory"),
    ("viz", ["network", "LSTM:5:10", "-o", "no/a.svg"], 1, "there is no folder"),
    ("bench", ["--quick", "--out", "void"], 2, "void is a folder; expected the name of a file"),
    # Values.
    ("recurrent", [*TRAIN, "--lr", "nan"], 2, "'--lr'"),
    ("recurrent", [*TRAIN, "--dropout", "nan"], 2, "'--dropout'"),
    ("recurrent", [*TRAIN, "--clip", "nan"], 2, "'--clip'"),
    ("recurrent", ["sample", "m", "--temperature", "nan"], 2, "'--temperature'"),
    ("recurrent", ["sample", "m", "--prime", "Q"], 2, "character 'Q' (U+0051) at position 0"),
    ("recurrent", ["selftest", "x"], 2, "unknown cell 'x'; known are"),
    ("recurrent", ["task", "x"], 2, "task must be one of ring, "),
    ("recurrent", [*TRAIN, "--cell", "x" * 5000], 2, " ... "),
    ("viz", ["network", "LSTM"], 1, "expected LSTM:input_size:hidden_size, got 0 sizes"),
    ("viz", ["network", "LSTM:5"], 1, "expected LSTM:input_size:hidden_size, got 1 sizes"),
    ("viz", ["network", "LSTM:5:ten"], 1, "LSTM:5:ten: expected numbers, got 'ten'"),
    ("viz", ["network", "LSTM:5:10,"], 1, "'': no such file, and no such layer"),
    ("viz", ["unit", "m", "--layer", 0], 1, "--layer must be a recurrent layer, one of 1, 2, got"),
    ("viz", ["cell", "m", "--text", ""], 1, "--text must have at least 2 characters, got 0"),
    ("bench", ["--threads", "0"], 2, "expected 1 to "),
    ("bench", ["--only", "zzz"], 2, "no row of this mode matches 'zzz'"),
]


@pytest.mark.parametrize(
    ("program", "arguments", "code", "words"),
    WRONG,
    ids=[f"{p} {' '.join(map(str, a)):.60}" for p, a, _, _ in WRONG],
)
def test_a_wrong_command_line_is_one_line(run, program, arguments, code, words):
    found, line = run(program, *arguments)
    assert found == code, line
    assert words in line


APPS = {"recurrent": recurrent_app, "viz": viz_app}
BEGINNINGS = {
    "train": TRAIN,
    "sample": ["sample", "m", "--length", "3"],
    "eval": ["eval", "m", "text.txt"],
    "task": ["task", "waves"],
    "attention": ["attention", "LSTM:5:8,Attention:8,Linear:16:2", "-o", "p.gv"],
    "text": ["text", "m", "judge", "-o", "p.gv"],
    "explore": ["explore", "LSTM:2:3", "-o", "p.html"],
}
NUMBERS = ["-1", "x", "nan", "1.5.1", LARGE, "", "0x10"]


def numeric_options():
    """Yield program, command, option for all options with a number."""
    for program, app in APPS.items():
        for command in app.registered_commands:
            name = command.name or command.callback.__name__
            for parameter in runner.typer.main.get_command(app).commands[name].params:
                if parameter.param_type_name == "option" and parameter.metavar in ("N", "X"):
                    yield program, name, parameter.opts[-1]


@pytest.mark.parametrize(("program", "command", "option"), list(numeric_options()))
def test_a_wrong_number_is_one_line_of_usage(run, program, command, option):
    beginning = BEGINNINGS.get(command)
    if beginning is None:
        beginning = [command] if command in ("demo", "gallery") else [command, "LSTM:5:10"]
        beginning += [] if command in ("demo", "gallery") else ["-o", "p.gv"]
    for value in NUMBERS:
        code, line = run(program, *beginning, option, value)
        assert code in (1, 2), (option, value, line)
        assert code == 2 or value == LARGE, (option, value, line)


FILES = ["nothing", "empty", "latin", "binary", "void", "fifo", "list.json", "arrays.npz"]
FILES += ["/dev/zero", "/dev/full", "loop", "text.txt/x", "", "a\0b", "x" * 300, "/proc/self/mem"]
READING = [
    ("recurrent", ["train", None, *SMALL]),
    ("recurrent", ["train", None, *SMALL, "--bytes", "--seq", "2000"]),
    ("recurrent", [*RESUME[:4], None]),
    ("recurrent", ["sample", None]),
    ("recurrent", ["eval", None, "text.txt"]),
    ("recurrent", ["eval", "m", None]),
    ("recurrent", ["info", None]),
    *[
        ("viz", [view, None])
        for view in ("network", "unrolled", "cell", "layer", "unit", "weights", "attention")
    ],
    ("viz", ["gradients", None]),
    ("viz", ["explore", None]),
    ("viz", ["curve", None]),
    ("viz", ["text", None, "abc"]),
    ("viz", ["task", "many-to-one", None]),
    ("bench", ["show", None]),
    ("bench", ["compare", None, "m"]),
    ("bench", ["report", None]),
    ("bench", ["roofline", None]),
    ("bench", ["readme", None]),
    ("bench", ["--resume", "--only", "lstm-train-*", "--threads", "1", "--out", None]),
]
WRITING = [
    ("recurrent", [*TRAIN, "--out", None]),
    ("viz", ["network", "LSTM:2:3", "-o", None]),
    ("viz", ["explore", "LSTM:2:3", "-o", None]),
]
UNWRITABLE = ["void", "fifo", "/dev/zero", "loop", "text.txt/x", "", "a\0b", "x" * 300, "/proc/x"]


@pytest.mark.parametrize(
    ("program", "command", "files"),
    [(*c, FILES) for c in READING] + [(*c, UNWRITABLE) for c in WRITING],
    ids=lambda x: " ".join(map(str, x))[:40] if isinstance(x, list) else str(x),
)
def test_a_wrong_file_is_one_line(run, program, command, files):
    for name in files:
        if name == "nothing" and "--out" in command and program == "bench":
            continue  # a run that begins
        code, line = run(program, *(name if part is None else part for part in command))
        assert code in (1, 2), (name, line)


def test_an_unwritable_folder_is_refused_before_training(folder):
    command = [sys.executable, "-m", "recurrent", *TRAIN, "--out", "void/m"]
    if os.geteuid() == 0:  # root may write everywhere, unless it gives that up
        command = ["setpriv", "--bounding-set", "-dac_override", *command]
    (folder / "void").chmod(0o500)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    finally:
        (folder / "void").chmod(0o700)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_second_training_on_the_same_out_says_so(run, folder, capfd):
    with writer_lock(folder / "text.txt"):
        code = main([*TRAIN, "--out", "text.txt", "--force"])
    assert code == 1
    assert "text.txt is being written by another training" in capfd.readouterr().err


def test_the_memory_of_a_deep_model_is_that_of_its_plan():
    """Three layers are planned; the fourth and fifth are added."""
    vocabulary, recipe = Vocabulary.of(TEXT), Recipe(seq=20, batch=8)
    for layers in (1, 2, 3, 5, 8):
        model = dict(layers=layers, hidden=32, embedding=16, dropout=0.1 if layers > 1 else 0.0)
        planned = CharLM(vocabulary, **model).model.plan(20, 8, optimizer=recipe.new_optimizer())
        assert memory.training(vocabulary, model, recipe) == planned.total


def test_what_is_right_is_not_refused(run, folder):
    (folder / "h.json").write_text(json.dumps({"losses": [1.0, 0.5], "start": 0}))
    assert run("viz", "curve", "h.json", "-o", "p.gv") == (0, "")
    assert run("recurrent", *TRAIN, "--out", "new") == (0, "")
    assert run("recurrent", "eval", "m", "text.txt", "--batch", "5") == (0, "")


@pytest.mark.parametrize(
    ("name", "value", "lines"),
    [("PMI_SIZE", "2", 1), ("MPI_LOCALRANKID", "0", 1), ("MPI_LOCALRANKID", "1", 0)],
)
def test_a_launcher_without_mpi4py_is_one_line_a_machine(
    monkeypatch, tmp_path, capsys, name, value, lines
):
    """Whether mpi4py is installed or not: here it cannot be imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for variable, number in {"PMI_RANK": "1", "PMI_SIZE": "2", name: value}.items():
        monkeypatch.setenv(variable, number)
    try:
        code = main([*TRAIN, "--shards", "2"])
    except SystemExit as error:
        code = error.code
    assert code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == lines
    if lines:
        assert said.startswith(
            "recurrent: the launcher has started 2 processes, which need mpi4py to share a"
            " training: pip install 'recurrent-engine[mpi]'"
        )
    assert list(tmp_path.iterdir()) == [tmp_path / "text.txt"]
