"""Printing never ends a training: closed, full and broken streams; input that has no end."""

import io
import os
import shlex
import subprocess
import sys
import time

import numpy as np
import pytest
from rich.console import Console

from recurrent import LSTM, Linear, Sequential, fit
from recurrent.charlm.model import CharLM
from recurrent.cli import memory
from recurrent.cli.source import read_text
from recurrent.cli.streams import Output
from recurrent.data import Windows
from recurrent.losses import mean_squared_error
from recurrent.optim import Adam
from recurrent.progress import Progress, track

OPTIONS = "--hidden 8 --embedding 4 --seq 6 --batch 4 --validate-every 5 --updates 12"
TEXT = "sphinx of black quartz, judge my vow! " * 20
FULL = "recurrent: standard output: No space left on device\n"


@pytest.fixture
def shell(tmp_path):
    """Run a command of the shell, RECURRENT for `python -m recurrent`: exit code, output, error."""
    (tmp_path / "text.txt").write_text(TEXT)

    def call(command):
        command = command.replace("RECURRENT", f"{shlex.quote(sys.executable)} -m recurrent")
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.mark.parametrize(
    ("streams", "code", "error"),
    [
        ("| true", 0, ""),
        ("2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        (">/dev/full", 1, FULL),
    ],
)
def test_a_training_outlives_its_streams(shell, tmp_path, streams, code, error):
    found, _, err = shell(f"RECURRENT train text.txt {OPTIONS} --out m {streams}")
    lines = [line for line in err.splitlines(True) if not line.startswith("update ")]
    assert (found, "".join(lines)) == (code, error)
    assert CharLM.load(tmp_path / "m").history.updates == 12
    assert sorted(os.listdir(tmp_path)) == ["m", "text.txt"]


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("--help >/dev/full", 1, FULL),
        ("--help | true", 0, ""),
        ("info nothing 2>/dev/full", 1, ""),
    ],
)
def test_a_command_that_only_prints(shell, command, code, error):
    found, _, err = shell(f"RECURRENT {command}")
    assert (found, err) == (code, error)


def test_a_device_or_nothing_as_standard_input(shell):
    for source, words in (
        ("- <&-", "standard input"),
        ("- </dev/zero", "standard input: expected a text, got a device without an end"),
    ):
        code, out, err = shell(f"RECURRENT train {source}")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert words in err


class Endless(io.RawIOBase):
    """Standard input that never ends."""

    buffer = property(lambda self: self)

    def read(self, size=-1):
        return b"a" * size


def test_endless_standard_input_ends_at_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "total", lambda: 10**9)
    monkeypatch.setattr(sys, "stdin", Endless())
    with pytest.raises(MemoryError, match=r"standard input: a text of .* needs about 1.0 GB"):
        list(read_text("-").pieces)


def test_a_text_larger_than_the_memory_is_not_read(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(memory.total())
    start = time.perf_counter()
    for path in (tmp_path / "sparse", tmp_path):
        with pytest.raises(MemoryError, match=r"a text of .* bytes needs about .*; use a part of"):
            read_text(str(path))
    assert time.perf_counter() - start < 2


class Broken(io.StringIO):
    """A stream that fails at every write."""

    def __init__(self, error, terminal=False):
        super().__init__()
        self.broken, self.terminal = error, terminal

    def write(self, text):
        raise self.broken

    def flush(self):
        raise self.broken

    def isatty(self):
        return self.terminal


ERRORS = (BrokenPipeError(32, "Broken pipe"), OSError(28, "No space"), ValueError("closed file"))


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_progress_on_a_broken_stream_ends_no_training(monkeypatch, error, terminal):
    """Training from a program of one's own, without the command line's guarded streams."""
    monkeypatch.setattr(Progress, "REFRESH", (0.0, 0.0))
    stream = Broken(error, terminal)
    x = np.sin(0.3 * np.arange(101, dtype=np.float32)).reshape(-1, 1, 1)
    monkeypatch.setattr(sys, "stderr", stream)
    model = Sequential(LSTM(1, 4), Linear(4, 1), rng=0)
    windows = Windows(x[:-1], x[1:], 20)
    history = fit(model, windows, mean_squared_error, Adam(1e-2), epochs=2, progress=True)
    assert (history.updates, history.stopped) == (10, "finished")


def test_track_on_a_broken_stream_yields_every_item(monkeypatch):
    monkeypatch.setattr("recurrent.progress.PATIENCE", -1.0)
    console = Console(file=Broken(ERRORS[1], True), force_terminal=True)
    assert list(track([1, 2, 3], str, console)) == [1, 2, 3]


def test_an_output_remembers_its_first_error():
    class File(Broken):
        def fileno(self):
            raise io.UnsupportedOperation

    out = Output(File(ERRORS[1]), "standard output", raising=False)
    assert out.write("abc") == 3
    out.flush()
    assert out.error is ERRORS[1]
    out.raising = True
    with pytest.raises(OSError, match="No space"):
        print("abc", file=out)
