"""Kills, signals and full disks: no checkpoint is lost, and resuming gives the same bits.

Each test ends a training many times at random moments, half of them inside a save, and resumes it.
At the end the training must equal one that nothing disturbed, and no temporary file may be left.
The small versions are seeded; `pytest -m slow tests/cli/test_kills.py` runs the full numbers.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest
from numba import config
from support.checkpoints import training_state

from recurrent.charlm.model import CharLM

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="the reference is too slow to be killed")

OPTIONS = ["--hidden", "8", "--embedding", "4", "--seq", "6", "--batch", "4", "--dropout", "0.1"]
OPTIONS += ["--validate-every", "5"]
TEXT = "sphinx of black quartz, judge my vow! " * 20
MANY = 10**6
# Makes a save long enough to be hit: it waits before the data is on disk and before the rename.
SLOW_SAVES = """
import os, sys, time
def slow(function):
    def call(*arguments, **options):
        time.sleep(0.004)
        return function(*arguments, **options)
    return call
os.fsync, os.replace = slow(os.fsync), slow(os.replace)
from recurrent.cli.commands import main
sys.exit(main())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def start(folder, *arguments, slow_saves=False):
    program = ["-c", SLOW_SAVES] if slow_saves else ["-m", "recurrent"]
    return subprocess.Popen(
        [sys.executable, *program, "train", "text.txt", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(folder, updates, out="m"):
    """Start a training, or continue it if there is a checkpoint."""
    more = ["--resume"] if (folder / out).exists() else OPTIONS
    return [*more, "--updates", updates, "--out", out]


def stamp(path):
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns, path.stat().st_ino


def end(folder, signum, rng, slow_saves=False):
    """Run the training until a random moment; return its exit code and its error output."""
    model = folder / "m"
    before = stamp(model)
    process = start(folder, *train(folder, MANY), slow_saves=slow_saves)
    if rng.random() < 0.8:  # otherwise at any moment from the start of the process on
        while stamp(model) == before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
    else:
        time.sleep(rng.uniform(0.1, 1.0))
    process.send_signal(signum)
    err = process.communicate(timeout=120)[1]
    return process.returncode, err


def leftovers(folder):
    return sorted({p.name for p in folder.iterdir()} - {"m", "whole", "text.txt"})


def assert_equals_the_undisturbed_training(folder):
    """Train on to a round number of updates, and once more without a break; compare."""
    updates = (CharLM.load(folder / "m").history.updates // 5 + 2) * 5
    for out in ("m", "whole"):
        process = start(folder, *train(folder, updates, out))
        assert (process.communicate()[1].count("recurrent:"), process.returncode) == (0, 0)
    assert leftovers(folder) == []
    arrays, numbers = training_state(folder / "m")
    whole_arrays, whole_numbers = training_state(folder / "whole")
    assert numbers == whole_numbers
    assert arrays == whole_arrays


def updates_done(folder):
    """Return the number of updates in the checkpoint, which must be readable."""
    return CharLM.load(folder / "m").history.updates if (folder / "m").exists() else 0


@pytest.mark.parametrize("times", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_a_kill_loses_no_checkpoint(folder, times):
    rng, done, inside = random.Random(times), 0, 0
    for k in range(times):
        code, _ = end(folder, signal.SIGKILL, rng, slow_saves=k % 2 == 0)
        assert code == -signal.SIGKILL
        assert updates_done(folder) >= done
        done = updates_done(folder)
        inside += any(name.endswith(".tmp") for name in leftovers(folder))
    print(f"{times} kills, {inside} of them inside a save; {done} updates")
    assert_equals_the_undisturbed_training(folder)


SIGNALS = {signal.SIGINT: 100, signal.SIGTERM: 50, signal.SIGHUP: 50}
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}


@pytest.mark.parametrize("times", [1, pytest.param(None, marks=pytest.mark.slow)])
def test_a_signal_ends_a_training_with_everything_saved(folder, times):
    rng, endings = random.Random(0), Counter()
    for signum in [s for s, most in SIGNALS.items() for _ in range(times or most)]:
        before = updates_done(folder)
        code, err = end(folder, signum, rng)
        lines = [line for line in err.splitlines() if not line.startswith("update ")]
        if code == -signum:  # before Python had read the first line of this package
            endings["before the program began"] += 1
        else:
            assert code == 128 + signum, err
            assert len(lines) == 1, err
            assert lines[0].startswith(f"recurrent: {WORDS[signum]}"), err
            after = updates_done(folder)
            endings["in training" if "after update" in lines[0] else "before training"] += 1
            if "after update" in lines[0]:
                assert f"after update {after:,};" in lines[0]
            assert after >= before
        assert leftovers(folder) == []
    print(dict(endings))
    assert_equals_the_undisturbed_training(folder)


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_full_disk_loses_no_checkpoint(folder, times):
    """A limit on the size of files makes saves fail, as a full disk does, at growing sizes."""
    process = start(folder, *train(folder, 10))
    process.communicate()
    assert process.returncode == 0
    size, rng = (folder / "m").stat().st_size, random.Random(0)
    for _ in range(times):
        before, limit = (folder / "m").read_bytes(), rng.randrange(1, size)
        process = start(folder, *train(folder, MANY))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        err = process.communicate(timeout=120)[1]
        lines = [line for line in err.splitlines() if not line.startswith("update ")]
        assert (process.returncode, lines) == (1, ["recurrent: m: File too large"])
        assert (folder / "m").read_bytes() == before
        assert leftovers(folder) == []
    assert_equals_the_undisturbed_training(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_full_file_system_loses_no_checkpoint(folder):
    process = start(folder, *train(folder, 10))
    process.communicate()
    size = (folder / "m").stat().st_size
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={3 * size}", "tmpfs", disk])
    if mounted.returncode:
        pytest.skip("this system mounts no tmpfs")
    try:
        (disk / "text.txt").write_text(TEXT)
        (disk / "m").write_bytes((folder / "m").read_bytes())
        room = os.statvfs(disk)
        filler = disk / "filler"
        for k in range(10):
            free = os.statvfs(disk).f_bavail * room.f_frsize
            filler.write_bytes(b"x" * max(0, free - k * 4096 % size))
            before = (disk / "m").read_bytes()
            process = start(disk, *train(disk, MANY))
            err = process.communicate(timeout=120)[1]
            lines = [line for line in err.splitlines() if not line.startswith("update ")]
            assert process.returncode == 1
            assert len(lines) == 1
            assert "No space left on device" in lines[0]
            assert (disk / "m").read_bytes() == before
            assert leftovers(disk) == ["filler"]
            filler.unlink()
        (folder / "m").write_bytes((disk / "m").read_bytes())
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()
    assert_equals_the_undisturbed_training(folder)
