"""`python -m recurrent selftest` prints a table and each failure, and needs no test dependency."""

import subprocess
import sys

import pytest

from recurrent.cli.commands import main
from recurrent.engine.engine import Engine

pytestmark = pytest.mark.reference


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_all_promises_hold(capsys):
    assert main(["selftest", "gru"]) == 0
    out = capsys.readouterr().out
    assert "all 9 checks passed" in out
    assert "FAILED" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_broken_promise_is_one_line_and_exit_code_1(monkeypatch, capsys):
    right = Engine.backward

    def wrong(self, dy, tape, *more):
        dx, dparams, d_initial = right(self, dy, tape, *more)
        if self.kernels is Engine(self.cell).kernels and dy.shape[:2] == (4, 3):
            dparams.W_hh[0, 1] *= 1.001
        return dx, dparams, d_initial

    monkeypatch.setattr(Engine, "backward", wrong)
    assert main(["selftest", "rnn"]) == 1
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert len(lines) == 1
    assert "gradients equal complex step" in lines[0]
    assert "(rnn, float64): GradientError" in lines[0]
    assert "weight_hh_l0 [0, 1]" in lines[0]
    assert "1 of 10 checks failed" in out


def test_an_unknown_cell_is_named(capsys):
    assert main(["selftest", "lstn"]) == 2
    assert "unknown cell 'lstn'" in capsys.readouterr().err


def test_it_imports_no_test_dependency():
    code = """
import sys
for name in ("pytest", "hypothesis", "onnx", "onnxruntime", "torch", "jax"):
    sys.modules[name] = None
import recurrent.conformance.selftest
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
