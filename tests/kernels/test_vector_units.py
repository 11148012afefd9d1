"""Kernels for AVX2 and for SSE2 alone give correct results, whatever this machine has."""

import os
import platform
import subprocess
import sys

import pytest
from numba import config

TESTS = os.path.dirname(os.path.dirname(__file__))

CHECK = """
import sys
sys.path[:0] = [{tests!r}, {tests!r} + '/kernels']
import numpy as np
from support.kernel_work import quantised
from support.strategies import Case
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.cells import CELLS
from recurrent.conformance import promises
from recurrent.engine import Engine
from recurrent.kernels.codegen.target import host
from test_elementwise import RULE, apply, arrays, cross_entropy, reference, squares

print(host())
for name in {cells!r}:
    engine = Engine(CELLS[name])
    for dtype in ("float32", "float64"):
        ragged = Case(3, 7, 5, 17, dtype, ragged=True)
        for case in (ragged, Case(2, 13, 3, 33, dtype), Case(4, 1, 9, 8, dtype)):
            p = case.build(engine)
            promises.equals_the_interpreter(p)
            promises.a_row_equals_the_sequence_alone(p, case.N - 1)
            if dtype == "float32":
                for a, b in zip(quantised(p), quantised(p, rounded=True), strict=True):
                    assert_same_bits(a, b)
for dtype in ("float32", "float64"):
    x, ids = arrays(70, dtype, 0), np.array([0, 34])
    for k, expected in apply(RULE, x, kernels=reference).items():
        assert_close(apply(RULE, x)[k], expected, 1, max(1.0, np.abs(expected).max()))
    assert_close(squares(x["p"], 40), squares(x["p"], 40, reference), 40)
    logits = x["p"].reshape(2, 35)
    both = cross_entropy(logits, ids), cross_entropy(logits, ids, kernels=reference)
    for a, b in zip(*both, strict=True):
        assert_close(a.astype(dtype), b.astype(dtype), 35)
"""


pytestmark = [
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "AMD64"), reason="these are names of x86 processors"
    ),
    pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off"),
]


def run(tmp_path, processor, *arguments, **options):
    """Run Python with kernels for another processor; return the finished process."""
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    # The outer run counts the tests that the peers' absence skips.
    environment.pop("RECURRENT_NO_SKIPS", None)
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, **options
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done


@pytest.mark.parametrize(
    ("cell", "processor", "bytes"),
    [
        ("gru", "x86-64", 16),
        pytest.param("lstm", "x86-64", 16, marks=pytest.mark.ci),
        pytest.param("gru", "x86-64-v3", 32, marks=pytest.mark.ci),
        pytest.param("lstm", "x86-64-v3", 32, marks=pytest.mark.ci),
    ],
)
def test_kernels_for_another_processor(cell, processor, bytes, tmp_path):
    code = CHECK.format(tests=TESTS, cells=[cell])
    assert f"bytes={bytes}" in run(tmp_path, processor, "-c", code, timeout=600).stdout


def pytest_for_avx2(tmp_path, *arguments):
    """Run tests with kernels for a processor with AVX2, without AVX-512."""
    command = ("-m", "pytest", "-n0", "-x", "-p", "no:cacheprovider", *arguments)
    run(tmp_path, "haswell", *command, cwd=TESTS, timeout=3600)


@pytest.mark.ci
def test_avx2_passes_the_most_sensitive_tests(tmp_path):
    pytest_for_avx2(
        tmp_path,
        "kernels/test_kernels.py",
        "engine/test_invariants.py",
        "-k",
        "test_kernels or (lstm and float32 and (equal or alone or padding))",
    )


@pytest.mark.slow
def test_avx2_passes_every_test_of_the_engine(tmp_path):
    files = """
        kernels/test_kernels kernels/test_kernel_edges kernels/test_threads engine/test_invariants
        engine/test_gradients engine/test_parity_torch equations/test_equations layers/test_layers
        layers/test_stream models/test_sequential training/test_losses conformance/test_textbook
    """
    pytest_for_avx2(tmp_path, *(f"{name}.py" for name in files.split()))
