"""Starts programs that share a training: `mpiexec` of the wheel in this environment.

`run` waits for a program. `Launch` runs beside the test, which signals single ranks and asserts
that no process is left. All processes of a launch carry a mark in their environment, by which they
are found even where the launcher puts each into a session of its own or has died before them.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

TESTS = Path(__file__).parents[1]
MARK = "RECURRENT_LAUNCH"
# What the launcher prints itself, by the beginning of a line.
NOISE = ("=====", "=  ", "YOUR APPLICATION TERMINATED", "This typically refers", "Please see the")
NOISE += ("[mpiexec@", "[proxy:", "Ctrl-C caught", "Abort(")


def command(size, *arguments):
    """Return the command that starts a Python program in so many processes."""
    beside = Path(sys.executable).with_name("mpiexec")
    program = str(beside) if beside.exists() else shutil.which("mpiexec")
    return [program, "-n", str(size), sys.executable, *map(str, arguments)]


def environment(**more):
    """Return the variables of a process that imports the package and the tests' helpers."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **more}


def run(size, *arguments, timeout=300, **options):
    """Run a program in so many processes to its end, or, for None, in a single one without MPI."""
    line = [sys.executable, *map(str, arguments)] if size is None else command(size, *arguments)
    options = {"env": environment(), **options}
    return subprocess.run(line, capture_output=True, text=True, timeout=timeout, **options)


class Launch:
    """A program that runs in some processes, or for None in one without MPI.

    Parameters
    ----------
    size : int or None
        Number of ranks.
    arguments : list
        Arguments of Python.
    folder : Path
        Where it runs.
    """

    def __init__(self, size, arguments, folder):
        self.mark = uuid.uuid4().hex
        self.file, self.text = tempfile.TemporaryFile(), ""  # noqa: SIM115 - of standard error
        line = [sys.executable, *map(str, arguments)]
        self.process = subprocess.Popen(
            line if size is None else command(size, *arguments),
            cwd=folder,
            env=environment(**{MARK: self.mark}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.file,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.text = self.err()
        self.file.close()

    def left(self):
        """Return the environments of the processes that still run, by process id."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError):
                    lines = (folder / "environ").read_bytes().split(b"\0")
                    if f"{MARK}={self.mark}".encode() in lines:
                        pairs = (line.decode(errors="replace").partition("=") for line in lines)
                        found[int(folder.name)] = {name: value for name, _, value in pairs}
        return found

    def ranks(self):
        """Return the process ids of the ranks that run, by rank, without their own children."""
        processes, found = self.left(), {}
        for pid, variables in sorted(processes.items()):
            rank = variables.get("PMI_RANK")
            if rank is not None and rank != processes.get(_parent(pid), {}).get("PMI_RANK"):
                found.setdefault(int(rank), pid)
        return found

    def send(self, signum, rank=None):
        """Send a signal to a rank, or to the launcher; return the moment."""
        with suppress(ProcessLookupError, KeyError):
            os.kill(self.process.pid if rank is None else self.ranks()[rank], signum)
        return time.monotonic()

    def running(self):
        """Return whether the launcher, or the only process, still runs."""
        return self.process.poll() is None

    def gone(self, limit):
        """Wait until no process is left; return the moment, or fail after `limit` seconds."""
        end = time.monotonic() + limit
        while self.running() or self.left():
            assert time.monotonic() < end, f"after {limit} s: {self.ranks()}; {self.err()}"
            time.sleep(0.02)
        return time.monotonic()

    def err(self):
        """Return what was written to standard error so far."""
        if self.file.closed:
            return self.text
        return os.pread(self.file.fileno(), 2**20, 0).decode(errors="replace")

    def lines(self):
        """Return the lines on standard error that come from the program."""
        lines = (line for line in self.err().splitlines() if line.strip())
        return [line for line in lines if not line.startswith(NOISE)]


def _parent(pid):
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0
