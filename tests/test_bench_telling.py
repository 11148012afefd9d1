"""A benchmark run is told as it was measured: figures, files, words."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.run import OURS, Row, Run, geometric_mean, read, write

PEAKS = {"1": {"float32": 100.0, "float64": 50.0, "cache_bandwidth": 80.0, "memory_bandwidth": 20.0}}


def row(name="lstm-forward-N1-T100-D32-H64", **changes):
    """Ours takes 1, 2, 3 ms and torch twice as long, onnxruntime three times."""
    given = dict(
        name=name,
        group="forward",
        cell="lstm",
        task="forward",
        threads=1,
        dtype="float32",
        samples={OURS: [1e-3, 2e-3, 3e-3], "torch": [2e-3, 4e-3, 6e-3], "onnxruntime": [3e-3, 6e-3, 9e-3]},
        flops=1e8,
        bytes=1e6,
    )
    return Row(**given | changes)


def run(*rows, **changes):
    machine = {"processor": "A CPU", "cpus": 2, "vector": "AVX2", "system": "Linux x86_64", "memory_bytes": 8 << 30}
    versions = {"python": "3.11.7", "recurrent": "0.1.0", "torch": "2.13.0"}
    given = dict(date="2026-01-02T03:04:05Z", command="python -m bench", mode="full", machine=machine, versions=versions)
    return Run(**given | dict(missing={"openvino": "No module named 'openvino'"}, peaks=PEAKS, rows=rows) | changes)


def test_figures_of_a_row():
    r = row()
    assert r.median() == 2e-3
    assert r.best_peer == "torch"
    assert r.ratio == 2.0
    assert r.against("onnxruntime") == 3.0
    assert r.spread() == pytest.approx((1.2e-3, 2.8e-3))
    assert r.gflops == pytest.approx(50.0)
    assert r.intensity == 100.0
    assert run(r).share_of_fma(r) == pytest.approx(0.5)


def test_a_roof_is_the_lower_of_compute_and_bandwidth():
    compute, bandwidth = row(bytes=1e6), row(bytes=1e8)
    assert run().roof(compute) == (100.0, "compute")
    assert run().roof(bandwidth) == (80.0, "bandwidth")
    assert run().share_of_peak(bandwidth) == pytest.approx(50 / 80)
    assert run().roof(row(dtype="float64", bytes=1e6)) == (50.0, "compute")
    assert run(peaks={}).share_of_peak(compute) is None
    assert run().share_of_peak(row(flops=None)) is None


@pytest.mark.parametrize(
    "r",
    [
        row(error="torch: result 2 differs by 1.0e-01"),
        row(samples={OURS: [1e-3]}),
        row(samples={"torch": [1e-3]}),
        row(samples={}),
    ],
)
def test_rows_without_a_comparison_have_no_ratio_and_stay(r):
    assert r.ratio is None
    assert r.best_peer is None
    assert run(r).rows == (r,)
    assert not run(r).losing
    assert geometric_mean([r]) is None
    assert geometric_mean([r, row()]) == (pytest.approx(2.0), 1)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_geometric_mean_is_that_of_the_ratios(ratios):
    rows = [row(f"r{k}", samples={OURS: [1.0], "torch": [q], "numpy": [2 * q]}) for k, q in enumerate(ratios)]
    mean, count = geometric_mean(rows)
    assert count == len(ratios)
    assert math.isclose(mean, np.prod(ratios) ** (1 / len(ratios)), rel_tol=1e-12)
    assert math.isclose(geometric_mean(rows, "numpy")[0], 2 * mean, rel_tol=1e-12)
    assert [r.ratio for r in run(*rows).losing] == sorted(q for q in ratios if q < 1)


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=5), st.integers(1, 64))
def test_a_run_comes_back_from_its_file(tmp_path_factory, samples, threads):
    path = tmp_path_factory.mktemp("run") / "a.jsonl"
    rounded = [float(f"{s:.4g}") for s in samples]
    first = run(row(samples={OURS: samples}, threads=threads, notes={"jax": "no"}), row("b", error="wrong", samples={}))
    write(path, first)
    again = read(path)
    assert again == replace(first, rows=(replace(first.rows[0], samples={OURS: rounded}), first.rows[1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [], "line 1: expected a JSON object"),
        (lambda lines: lines[1:], "line 1: expected a line of kind \"run\", got 'row'"),
        (lambda lines: [lines[0].replace('"format": 1', '"format": 7'), *lines[1:]], "expected format 1, got 7"),
        (lambda lines: [*lines, lines[-1]], "line 3: lstm-forward-N1-T100-D32-H64 at 1 thread(s) is there twice"),
        (lambda lines: [*lines, lines[-1][:50]], "line 3: expected a JSON object"),
        (lambda lines: [lines[0], lines[1].replace('"dtype"', '"type"')], "line 2: the row lacks dtype"),
        (lambda lines: [lines[0], lines[1].replace("0.001", "-1")], "line 2: samples of recurrent must be positive"),
        (lambda lines: [lines[0], lines[1].replace("0.001", "NaN")], "line 2: samples of recurrent must be positive"),
        (lambda lines: [lines[0], lines[1].replace('"threads": 1', '"threads": 0')], "line 2: threads must be"),
        (lambda lines: [lines[0], lines[1].replace('"quantity": "seconds"', '"quantity": "s"')], "line 2: quantity must be"),
    ],
)
def test_a_file_that_is_not_a_run_is_one_clear_line(tmp_path, change, words):
    path = tmp_path / "bad.jsonl"
    write(path, run(row()))
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        read(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
