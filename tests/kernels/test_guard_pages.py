"""No kernel touches memory outside its arrays: beside each lies a page that kills the process."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from numba import config

TESTS = Path(__file__).parents[1]
PROCESSORS = ("x86-64", "x86-64-v3") if platform.machine() in ("x86_64", "AMD64") else ()

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no mprotect"),
    pytest.mark.skipif(bool(config.DISABLE_JIT), reason="there are no compiled kernels"),
]


def run(*arguments, **environment):
    """Return a finished Python that finds the support modules.

    It has one thread, because each call of a kernel gets copies of its own.
    """
    paths = os.pathsep.join(map(str, (TESTS.parent, TESTS)))
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "NUMBA_NUM_THREADS": "1", **environment},
        timeout=3600,
    )


def run_cases(cases, *arguments, **environment):
    """Run cases, each beside a page at either end, and as many of the workspaces and of NumPy."""
    program = TESTS / "support" / "guard_pages.py"
    done = run(program, "--cases", cases, *arguments, **environment)
    last = [line for line in done.stderr.splitlines() if "Case(" in line or "At" in line][-1:]
    assert done.returncode == 0, f"{done.returncode} in {last}\n{done.stderr[-3000:]}"
    assert int(done.stdout) == 2 * cases + 6 * (cases // 4)


def test_no_kernel_touches_a_page_beside_its_arrays():
    run_cases(40, "--cells", "lstm", "gru")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_kernel_of_any_cell_touches_a_page_beside_its_arrays(seed):
    run_cases(1000, "--seed", seed, "--large")


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_no_kernel_for_another_processor_does(processor, tmp_path):
    environment = dict(NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES="")
    run_cases(500, "--large", NUMBA_CACHE_DIR=str(tmp_path), **environment)


WRONG = """
import numpy as np
from numba import njit
from support.guard_pages import AtBeginning, AtEnd
from support.sentinels import guarded

@njit
def wrong(a, b):
    for k in range(b.size):
        {mistake}

guarded(wrong, kind={kind})(np.ones(5, "f"), np.ones(5, "f"))
"""


@pytest.mark.parametrize(
    ("kind", "mistake"),
    [
        ("AtEnd", "b[k] = a[k + 1]"),
        ("AtEnd", "a[k + 1] = b[k]"),
        ("AtBeginning", "b[k] = a[k - a.size - 1]"),  # an index below 0 counts from the end, once
        ("AtBeginning", "a[k - a.size - 1] = b[k]"),
        ("AtEnd", None),
    ],
)
def test_an_access_of_a_neighbour_kills_the_process(kind, mistake):
    """The pages are tested: each of these kernels reads or writes one number outside an array."""
    done = run("-c", WRONG.format(kind=kind, mistake=mistake or "b[k] = a[k]"))
    assert done.returncode == (-signal.SIGSEGV if mistake else 0), done.stderr
