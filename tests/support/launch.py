"""Starts programs that share a training: `mpiexec` of the wheel in this environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


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
    return subprocess.run(
        line, capture_output=True, text=True, timeout=timeout, env=environment(), **options
    )
