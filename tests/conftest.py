"""Fixtures for all registered cells and both dtypes; Hypothesis profiles; parallel runs.

`pytest` runs the short profile with one worker per processor. A worker starts with the first or
the last half of the tests and takes over tests of the other when it has finished; workers share
compiled kernels through Numba's cache on disk. Two markers keep tests out of the short profile:

ci
    Tests whose kernels nothing else needs, at several seconds of compilation each. `.ci/run`
    runs them by `pytest -m 'ci and not slow'`:

    kernels/test_vector_units.py   AVX2 by name, and the LSTM for SSE2: most machines have AVX2
    equations/test_equations.py    four of the six cells of the tests in float32
    cells/test_papers.py, training/test_segments.py   eight or more cells of papers
    viz/test_page_browser.py       cells whose pictures take seconds, as in cells/test_papers.py
    viz/test_accessibility.py,     every level of the page, and the gallery: axe-core takes seconds
    viz/test_gallery.py            for a page
    engine/test_dropout.py         recurrent dropout in float64; zoneout alone of GRU and RNN
    interchange/                   layers without biases or with projection, in both dtypes;
                                   exporters of PyTorch and Keras, at a second a file; 500
                                   damaged files of each format
    kernels/test_chain.py          a step of a chain of layers, for every cell
    sklearn_api/test_parallel.py   processes of a grid search that start without compiled kernels
    sklearn_api/test_checks.py     scikit-learn's checks of a second network
    bench/test_measure.py          workloads of the less common cells, which few peers have
slow
    Tests that train to convergence or draw many examples: `pytest -m slow`, by hand.
"""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from numba import config
from support.browser import browser, open_any  # noqa: F401

from recurrent.cells import CELLS, PYTORCH
from recurrent.engine.engine import Engine

# No deadline: the first call of a kernel compiles it.
common = dict(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
if os.environ.get("RECURRENT_FIRST_FAILURE"):  # support/mutation.py: no smaller example is needed
    common["phases"] = [Phase.explicit, Phase.generate]
few = 15 if config.DISABLE_JIT else None
settings.register_profile("dev", max_examples=few or 15, **common)
settings.register_profile("ci", max_examples=few or 30, derandomize=True, **common)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# A shell starts background jobs with Ctrl-C ignored, which commands under test would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:  # as under nohup
        signal.signal(number, signal.SIG_DFL)

ENGINES = {name: Engine(cell) for name, cell in CELLS.items()}


# Session scope, because a test by Hypothesis runs many times on one fixture.
PARAMS = [pytest.param(name, marks=() if name in PYTORCH else pytest.mark.slow) for name in ENGINES]


@pytest.fixture(scope="session", params=PARAMS)
def engine(request):
    """The engine of each registered cell; only PyTorch's cells are in the short profile."""
    return ENGINES[request.param]


@pytest.fixture(scope="session", params=["float32", "float64"])
def dtype(request):
    return request.param


def pytest_xdist_auto_num_workers(config):
    """Use one worker per processor, at most 8; none for a single file, which is quicker alone."""
    files = {argument.split("::")[0] for argument in config.args}
    if len(files) == 1 and Path(*files).suffix == ".py":
        return 0
    return min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(), 8
    )


def pytest_runtest_setup(item):
    """Give a module's RNG its first numbers again: no test depends on those that ran before it."""
    if hasattr(item.module, "RNG"):
        item.module.RNG = np.random.default_rng(0)


def pytest_sessionfinish(session):
    """Fail the run if tests were skipped where RECURRENT_NO_SKIPS is set, as in CI.

    With several workers only the controlling process has a terminal reporter, which counts for all.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("RECURRENT_NO_SKIPS") and skipped:
        reporter.write_line(
            f"{len(skipped)} tests were skipped; RECURRENT_NO_SKIPS allows none", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
