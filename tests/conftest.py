"""Fixtures for every cell of the registry and both dtypes; Hypothesis profiles; parallel runs.

`pytest` runs the short profile in one process per processor. Two markers keep tests out of it:

    ci    what takes long and seldom finds what shorter tests miss; `.ci/run` runs it: `pytest -m ci`
    slow  trains to convergence, or draws many examples: `pytest -m slow`
"""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from numba import config
from support.browser import browser, open_any  # noqa: F401

from recurrent.cells import CELLS, PYTORCH
from recurrent.engine.engine import Engine

# No deadline: the first call of a kernel compiles it.
common = dict(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
few = 15 if config.DISABLE_JIT else None
settings.register_profile("dev", max_examples=few or 15, **common)
settings.register_profile("ci", max_examples=few or 30, derandomize=True, **common)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# A shell starts background jobs with Ctrl-C ignored, and the commands under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
    """Workers of `-n auto`: one per processor; none for a single file, whose tests share kernels."""
    files = {argument.split("::")[0] for argument in config.args}
    if len(files) == 1 and Path(*files).suffix == ".py":
        return 0
    return min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(), 8
    )


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
