"""Every cell of the registry and both dtypes, and how many examples Hypothesis draws."""

import os
import signal

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

# A shell starts what it puts in the background with Ctrl-C ignored, and commands under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ENGINES = {name: Engine(cell) for name, cell in CELLS.items()}


# Session scope, because a test by Hypothesis runs many times on one fixture.
PARAMS = [pytest.param(name, marks=() if name in PYTORCH else pytest.mark.slow) for name in ENGINES]


@pytest.fixture(scope="session", params=PARAMS)
def engine(request):
    """The engine of each registered cell; test_cells.py is for the other cells what does not take minutes."""
    return ENGINES[request.param]


@pytest.fixture(scope="session", params=["float32", "float64"])
def dtype(request):
    return request.param


def pytest_sessionfinish(session):
    """Where every peer is installed, as in CI, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("RECURRENT_NO_SKIPS") and reporter.stats.get("skipped"):
        reporter.write_line(
            f"{len(reporter.stats['skipped'])} tests were skipped; RECURRENT_NO_SKIPS allows none",
            red=True,
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
