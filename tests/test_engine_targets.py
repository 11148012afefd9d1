"""Other vector units than this machine's own: the kernels for AVX2 and for no vector unit at all give right numbers too."""

import os
import platform
import subprocess
import sys

import pytest
from numba import config

CHECK = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from strategies import Case
from tolerance import assert_close
from recurrent.cells import CELLS
from recurrent.conformance import promises
from recurrent.engine import Engine
from recurrent.kernels.target import host
from test_elementwise import RULE, apply, arrays, cross_entropy, plain, squares

print(host())
for name in {cells!r}:
    engine = Engine(CELLS[name])
    for dtype in ("float32", "float64"):
        for case in (Case(3, 7, 5, 17, dtype, ragged=True), Case(2, 13, 3, 33, dtype), Case(4, 1, 9, 8, dtype)):
            p = case.build(engine)
            promises.equals_the_interpreter(p)
            promises.a_row_equals_the_sequence_alone(p, case.N - 1)
for dtype in ("float32", "float64"):
    x, ids = arrays(70, dtype, 0), np.array([0, 34])
    for k, expected in apply(RULE, x, kernels=plain).items():
        assert_close(apply(RULE, x)[k], expected, 1, max(1.0, np.abs(expected).max()))
    assert_close(squares(x["p"], 40), squares(x["p"], 40, plain), 40)
    for a, b in zip(*(cross_entropy(x["p"].reshape(2, 35), ids, **k) for k in ({{}}, {{"kernels": plain}})), strict=True):
        assert_close(a.astype(dtype), b.astype(dtype), 35)
"""


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the names of these processors are x86's")
@pytest.mark.parametrize(("processor", "bytes"), [("x86-64-v3", 32), ("x86-64", 16)])
def test_kernels_for_another_processor(processor, bytes, tmp_path):
    code = CHECK.format(tests=os.path.dirname(__file__), cells=["lstm", "gru"])
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=600)
    assert result.returncode == 0, result.stderr
    assert f"bytes={bytes}" in result.stdout


def pytest_for_avx2(tmp_path, *arguments):
    """Run tests with kernels for a processor that has AVX2 and no more."""
    here = os.path.dirname(__file__)
    environment = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop("RECURRENT_NO_SKIPS", None)  # these files' peers are counted where they run for this machine
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, env=environment, timeout=3600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="haswell is the name of an x86 processor")
compiles = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")


@x86
@compiles
def test_avx2_passes_what_is_most_likely_to_notice(tmp_path):
    pytest_for_avx2(
        tmp_path,
        "test_kernels.py",
        "test_invariants.py",
        "-k",
        "test_kernels or (lstm and float32 and (equal or alone or padding))",
    )


@x86
@compiles
@pytest.mark.slow
def test_avx2_passes_every_test_of_the_engine(tmp_path):
    names = "kernels kernel_edges invariants gradients equations layers model stream threads losses parity_torch textbook"
    pytest_for_avx2(tmp_path, *(f"test_{name}.py" for name in names.split()))
