"""Faults of a training that processes share: all end within seconds, and nothing is lost.

Ranks are killed, fail, get signals, start late and find no room on the disk. Afterwards no process
is left, the checkpoint loads, and the training goes on, with any number of processes, to the bits
of one that nothing disturbed and that ran without MPI. The small versions are seeded;
`pytest -m slow tests/training/test_worker_faults.py` runs the full numbers.
"""

import random
import resource
import signal
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from numba import config
from support.checkpoints import training_state
from support.launch import Launch

from recurrent.charlm.model import CharLM

pytestmark = [
    pytest.mark.skipif(find_spec("mpi4py") is None, reason="mpi4py connects the processes"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="/proc shows what is left"),
    pytest.mark.skipif(config.DISABLE_JIT, reason="the reference is too slow to be killed"),
]

TEXT = "sphinx of black quartz, judge my vow! " * 30
OPTIONS = ["--hidden", "8", "--embedding", "4", "--seq", "6", "--batch", "8", "--dropout", "0.1"]
OPTIONS += ["--validate-every", "5", "--shards", "8"]
MANY = 10**6
START = 60  # seconds until a program has written a checkpoint
LIMIT = 10  # seconds in which all processes are gone after a fault

# A program that begins like this knows its rank before it imports anything of MPI.
RANK = """
import os, sys, time
rank = int(os.environ.get("PMI_RANK", 0))
"""
MAIN = """
from recurrent.cli.commands import main
sys.exit(main())
"""
# Makes a save long enough to be hit: it waits before the data is on disk and before the rename.
SLOW_SAVES = """
def slow(function):
    def call(*arguments, **options):
        time.sleep(0.01)
        return function(*arguments, **options)
    return call
os.fsync, os.replace = slow(os.fsync), slow(os.replace)
"""
BAD_SHARD = """
from recurrent.charlm.training import TextWindows
read = TextWindows.batch
def batch(self, k):
    if rank == 1 and k == 7:
        raise {error}
    return read(self, k)
TextWindows.batch = batch
"""
# Each rank reads a text of its own.
OWN_TEXT = """
sys.argv[2] = f"{rank}.txt"
"""
SCRIPT = """
import numpy as np
from mpi4py import MPI
from recurrent import LSTM, Linear, Sequential, data, fit, losses, optim

class Source(data.Windows):
    def batch(self, k):
        if rank == 1 and k == 3:
            raise ValueError("no such file on this machine")
        return super().batch(k)

x = np.ones((40, 8, 2), "float32")
model = Sequential(LSTM(2, 3), Linear(3, 2))
batches = Source(x, x, 4)
options = dict(updates=9, optimizer=optim.SGD(0.1), comm=MPI.COMM_WORLD, shards=4, progress=False)
fit(model, batches, losses.mean_squared_error, **options)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def start(folder, size, updates, *options, out="m", fault=""):
    """Start a training, or continue it if there is a checkpoint; `size` None needs no MPI."""
    program = ["-c", RANK + fault + MAIN] if fault else ["-m", "recurrent"]
    more = ["--resume"] if (folder / out).exists() else OPTIONS
    arguments = ["train", "text.txt", *more, "--updates", updates, "--out", out, *options]
    return Launch(size, [*program, *arguments], folder)


def train(folder, size, updates, out="m", fault=""):
    """Train up to a number of updates."""
    with start(folder, size, updates, out=out, fault=fault) as launch:
        launch.gone(2 * START)
    assert (launch.process.returncode, errors(launch)) == (0, [])


def errors(launch):
    """Return the lines of the program on standard error that are no progress."""
    return [line for line in launch.lines() if not line.startswith("update ")]


def updates_done(folder):
    """Return the number of updates in the checkpoint, which must be readable."""
    return CharLM.load(folder / "m").history.updates if (folder / "m").exists() else 0


def stamp(folder):
    with suppress(FileNotFoundError):
        status = (folder / "m").stat()
        return status.st_mtime_ns, status.st_ino


def wait_for_a_save(launch, folder):
    """Wait until the launch has written the checkpoint, or has ended."""
    end, before = time.monotonic() + START, stamp(folder)
    while stamp(folder) == before and launch.running():
        assert time.monotonic() < end, launch.err()
        time.sleep(0.005)


def ending(launch, since):
    """Assert that all processes are gone soon after a moment; return the lines of the program."""
    print(f"gone after {launch.gone(LIMIT) - since:.2f} s, code {launch.process.returncode}")
    return errors(launch)


def assert_equals_the_undisturbed_training(folder, size=None):
    """Train on in so many processes, and once more without MPI and without a break; compare."""
    updates = (updates_done(folder) // 5 + 2) * 5
    train(folder, size, updates)
    train(folder, None, updates, out="whole")
    assert {p.name for p in folder.iterdir()} == {"m", "whole", "text.txt"}
    arrays, numbers = training_state(folder / "m")
    whole_arrays, whole_numbers = training_state(folder / "whole")
    assert numbers == whole_numbers
    assert arrays == whole_arrays


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_rank_ends_all_and_is_named(folder, times):
    """Half of the kills hit saves made long; one in five may come before training begins."""
    rng, done = random.Random(times), 0
    for k in range(times):
        size = rng.choice([2, 4, 8] if times > 3 else [2, 4])
        with start(folder, size, MANY, fault=SLOW_SAVES if k % 2 == 0 else "") as launch:
            early = rng.random() < 0.2
            if early:
                while len(launch.ranks()) < size:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, 2))
            else:
                wait_for_a_save(launch, folder)
                time.sleep(rng.uniform(0, 0.3))
            victim = rng.randrange(size)
            lines = ending(launch, launch.send(signal.SIGKILL, victim))
        assert launch.process.returncode == signal.SIGKILL
        assert lines == [f"recurrent: rank {victim} of {size} was killed"] or (early and not lines)
        assert updates_done(folder) >= done
        done = updates_done(folder)
    assert_equals_the_undisturbed_training(folder, rng.choice([None, 1, 2, 4]))


ENDINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("signum", ENDINGS)
def test_a_signal_to_the_launcher_saves_everything(folder, signum, times):
    rng = random.Random(signum)
    for _ in range(times):
        with start(folder, rng.choice([2, 4]), MANY) as launch:
            wait_for_a_save(launch, folder)
            time.sleep(rng.uniform(0, 0.3))
            (line,) = ending(launch, launch.send(signum))
        assert launch.process.returncode == 128 + signum
        assert line.startswith(
            f"recurrent: {ENDINGS[signum]} after update {updates_done(folder):,}"
        )
    assert_equals_the_undisturbed_training(folder, 4)


@pytest.mark.parametrize("wait", [0, pytest.param(0.4, marks=pytest.mark.slow)])
def test_a_signal_while_one_rank_is_late_ends_all(folder, wait):
    late = """
if rank == 1:
    time.sleep(30)
"""
    with start(folder, 2, MANY, fault=late) as launch:
        time.sleep(2 + wait)
        ending(launch, launch.send(signal.SIGTERM))
    assert launch.process.returncode != 0
    assert stamp(folder) is None


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_signal_while_the_ranks_start_ends_all(folder, times):
    rng = random.Random(times)
    for _ in range(times):
        with start(folder, 4, MANY) as launch:
            time.sleep(rng.uniform(0, 4))
            lines = ending(launch, launch.send(signal.SIGTERM))
        assert launch.process.returncode > 0
        assert len(lines) <= 1  # none before the program has begun
        assert all(line.startswith("recurrent: ") and "terminated" in line for line in lines)
        updates_done(folder)


def test_a_signal_to_one_rank_ends_all(folder):
    with start(folder, 4, MANY) as launch:
        wait_for_a_save(launch, folder)
        (line,) = ending(launch, launch.send(signal.SIGTERM, 2))
    assert launch.process.returncode == 128 + signal.SIGTERM
    assert line.startswith(f"recurrent: terminated after update {updates_done(folder):,}")
    assert_equals_the_undisturbed_training(folder, 2)


def test_a_signal_ends_all_though_one_rank_hangs(folder):
    with start(folder, 2, MANY) as launch:
        wait_for_a_save(launch, folder)
        launch.send(signal.SIGSTOP, 1)
        lines = ending(launch, launch.send(signal.SIGTERM))
    assert launch.process.returncode > 0
    assert lines == ["recurrent: rank 0 of 2: TimeoutError: rank 1 does not answer"]
    assert updates_done(folder) >= 5


def test_no_rank_survives_the_launcher(folder):
    with start(folder, 4, MANY) as launch:
        wait_for_a_save(launch, folder)
        ending(launch, launch.send(signal.SIGKILL))
    assert_equals_the_undisturbed_training(folder)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("OSError(5, 'Input/output error', 'shard')", "Input/output error"),
        ("MemoryError()", "not enough memory"),
        ("FloatingPointError('the loss is nan')", "the loss is nan"),
    ],
)
def test_an_error_of_one_rank_ends_all_and_is_said_once(folder, error, words):
    with start(folder, 2, MANY, fault=BAD_SHARD.format(error=error)) as launch:
        wait_for_a_save(launch, folder)
        (line,) = ending(launch, time.monotonic())
    assert launch.process.returncode == 1
    assert line.startswith("recurrent: ")
    assert words in line
    assert "rank 1" in line
    assert updates_done(folder) >= 5
    if words == "the loss is nan":
        assert_equals_the_undisturbed_training(folder, 2)


@pytest.mark.parametrize("module", [[], ["-m", "mpi4py"]])
def test_an_error_in_a_program_names_the_rank(folder, module):
    (folder / "program.py").write_text(RANK + SCRIPT)
    with Launch(4, [*module, "program.py"], folder) as launch:
        launch.gone(START)
    assert launch.process.returncode == 1
    text = launch.err()
    assert "ValueError: no such file on this machine" in text
    assert "rank 1 of 4" in text


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_full_disk_of_the_first_rank_ends_all(folder, times):
    """A limit on the size of files makes saves fail, as a full disk does, at growing sizes."""
    train(folder, 2, 10)
    size, rng = (folder / "m").stat().st_size, random.Random(0)
    for _ in range(times):
        limit = rng.randrange(1, size)
        with start(folder, 4, MANY, fault=SLOW_SAVES) as launch:
            wait_for_a_save(launch, folder)
            resource.prlimit(launch.ranks()[0], resource.RLIMIT_FSIZE, (limit, limit))
            (line,) = ending(launch, time.monotonic())
        assert launch.process.returncode == 1
        assert line.startswith("recurrent: ")
        assert "m: File too large" in line
        assert "rank 0" in line
    assert_equals_the_undisturbed_training(folder, 4)


def test_a_rank_that_starts_late_changes_nothing(folder):
    train(folder, 2, 10, fault="time.sleep(3 * (rank == 1))")
    assert_equals_the_undisturbed_training(folder, 4)


def test_a_rank_that_is_stopped_for_a_while_changes_nothing(folder):
    with start(folder, 4, 60) as launch:
        wait_for_a_save(launch, folder)
        launch.send(signal.SIGSTOP, 1)
        time.sleep(2)
        launch.send(signal.SIGCONT, 1)
        launch.gone(START)
    assert (launch.process.returncode, errors(launch)) == (0, [])
    assert updates_done(folder) == 60
    assert_equals_the_undisturbed_training(folder)


@pytest.mark.parametrize(
    ("size", "options", "words"),
    [
        (2, ["--hidden", "0"], "--hidden"),
        (2, ["--shards", "3"], "power of two"),
        (4, ["--shards", "2"], "4 processes"),
        (3, ["--shards", "8"], "got 3"),
        (2, ["--batch", "4"], "shards must be at most the 4 streams of a batch, got 8"),
        (2, ["--validation", "0.99"], "characters"),
    ],
)
def test_a_bad_option_is_said_once(folder, size, options, words):
    with start(folder, size, 10, *options) as launch:
        launch.gone(START)
    (line,) = launch.lines()
    assert line.startswith("recurrent: ")
    assert words in line
    assert launch.process.returncode in (1, 2)
    assert stamp(folder) is None


@pytest.mark.parametrize("texts", [[TEXT, TEXT[1:]], [TEXT, None], [None, TEXT]])
def test_a_text_that_a_rank_lacks_is_said_once(folder, texts):
    for rank, text in enumerate(texts):
        if text is not None:
            (folder / f"{rank}.txt").write_text(text)
    with start(folder, 2, 10, fault=OWN_TEXT) as launch:
        launch.gone(START)
    (line,) = launch.lines()
    assert line.startswith("recurrent: ")
    assert "rank" in line or "text" in line
    assert launch.process.returncode in (1, 2)
    assert stamp(folder) is None


def test_a_model_that_a_rank_lacks_is_said_once(folder):
    """Reading the options fails, before the ranks have met."""
    fault = "sys.argv[sys.argv.index('text.txt', 3)] = 'none' if rank else 'm'"
    arguments = ["train", "text.txt", "--init-from", "text.txt", "--out", "n", "--updates", 5]
    arguments += ["--seq", 6, "--batch", 8, "--shards", 8]
    train(folder, None, 5)
    with Launch(2, ["-c", RANK + fault + MAIN, *arguments], folder) as launch:
        ending(launch, time.monotonic())
    (line,) = launch.lines()
    assert line.startswith("recurrent: on rank 1 of 2: ")
    assert "none" in line
    assert launch.process.returncode in (1, 2)
