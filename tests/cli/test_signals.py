"""Ctrl-C, SIGTERM and SIGHUP: one line and the exit code 128 + number, wherever they come."""

import os
import signal
import subprocess
import sys

import pytest
import typer
from numba import config

import recurrent.tasks.base
from recurrent.charlm.model import CharLM
from recurrent.cli import runner
from recurrent.cli.commands import main
from recurrent.models import files
from recurrent.training import signals
from viz.cli.commands import main as viz_main

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
TEXT = "sphinx of black quartz, judge my vow! " * 20
SMALL = "--hidden 8 --embedding 4 --seq 6 --batch 4 --updates 50"


@pytest.mark.parametrize("program", ["recurrent", "viz", "bench"])
def test_a_signal_during_the_imports(tmp_path, program):
    """A module in the place of numba stops the imports until the signal comes."""
    (tmp_path / "numba.py").write_text(
        "import os, time\nos.write(1, b'importing')\ntime.sleep(60)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    for signum, words in WORDS.items():
        process = subprocess.Popen(
            [sys.executable, "-m", program, "--help"],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.read(9) == "importing"
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (128 + signum, f"{program}: {words}\n")


def test_signals_are_left_alone_in_other_programs():
    code = (
        "import signal, recurrent; "
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL; "
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", code, "-m", "recurrent"], check=True)


@pytest.fixture
def signal_in_training(monkeypatch):
    """Send a signal to this process after the second update of whatever trains next."""

    def send(signum):
        def after_update(update, history):
            if update == 2:
                signal.raise_signal(signum)

        train, fit = CharLM.train, recurrent.tasks.base.fit

        def train_to_signal(self, *arguments, **options):
            return train(self, *arguments, **options, callback=after_update)

        def fit_to_signal(*arguments, **options):
            return fit(*arguments, **options, callback=after_update)

        monkeypatch.setattr(CharLM, "train", train_to_signal)
        monkeypatch.setattr(recurrent.tasks.base, "fit", fit_to_signal)

    return send


@pytest.mark.parametrize("signum", list(WORDS))
@pytest.mark.parametrize(
    ("run", "command", "done", "written"),
    [
        (
            main,
            f"train text.txt {SMALL}",
            " after update 2; the model is saved in model",
            "model.safetensors",
        ),
        (main, "task waves --out o", " after update 2; the model is saved in o/model", "o"),
        (viz_main, "gallery -o g", "\n", "g"),
    ],
)
def test_a_signal_in_training(
    tmp_path, monkeypatch, capfd, signal_in_training, run, command, done, written, signum
):
    if config.DISABLE_JIT and run is viz_main:
        pytest.skip("64 units on 16 streams take minutes without compiled kernels")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    before = signal.getsignal(signum)
    signal_in_training(signum)
    assert run(command.split()) == 128 + signum
    lines = [s for s in capfd.readouterr().err.splitlines(True) if not s.startswith("update ")]
    assert len(lines) == 1
    program = "viz" if run is viz_main else "recurrent"
    assert lines[0].startswith(f"{program}: {WORDS[signum]}{done}")
    assert sorted(os.listdir(tmp_path)) == sorted(["text.txt", written])
    assert signal.getsignal(signum) == before


def test_the_demo_ends_at_a_signal(tmp_path, monkeypatch, capfd, signal_in_training):
    if config.DISABLE_JIT:
        pytest.skip("2 x 128 units on 50 streams take minutes without compiled kernels")
    monkeypatch.chdir(tmp_path)
    signal_in_training(signal.SIGTERM)
    assert main(["demo"]) == 143
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == (
        "recurrent: terminated after update 2; the model is saved in demo/model.safetensors"
    )
    assert os.listdir(tmp_path / "demo") == ["model.safetensors"]


def test_a_signal_outside_training_removes_the_temporary_file(tmp_path, monkeypatch, capfd):
    """SIGTERM in the middle of a save of a command that does not train."""
    app = typer.Typer()

    @app.command()
    def save():
        files.replace(tmp_path / "a", b"abc")

    @app.command()
    def other():
        """Do nothing: with two commands, each has a name."""

    def killed(*arguments):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(os, "fsync", killed)
    assert runner.run(app, "recurrent", ["save"]) == 143
    assert capfd.readouterr().err == "recurrent: terminated\n"
    assert os.listdir(tmp_path) == []


def test_an_ignored_signal_stays_ignored():
    """As under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raised():
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(signals.Ended):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
