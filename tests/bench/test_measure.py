"""The measurements of the benchmark: frozen names, engines that agree, errors, and the command."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numba import config

from bench import results
from bench.engines import ENGINES, installed
from bench.engines.engine import Engine
from bench.measure import cold_start, peaks, processes, runner, timing
from bench.workloads import catalogue
from bench.workloads.catalogue import Workload
from bench.workloads.models import Attending, CharModel, Sampling, StreamedModel, Translation

NAMES = Path(__file__).parents[1] / "golden" / "bench_workloads.txt"
AT_ONCE = timing.Pace(0, 1)
ROOT = Path(__file__).parents[2]
QUANTIZED, STEPS = ("lstm", "gru"), (("step", 1), ("forward", 5))


@pytest.fixture(scope="module")
def engines():
    return installed(1)[0]


def tiny():
    """Return one small workload of each kind; D, H and N are no multiples of a vector's length."""
    kinds = [
        ("", "float32"),
        ("", "float64"),
        ("tail", "float32"),
        ("bidirectional", "float32"),
        ("denormal", "float32"),
    ]
    sequences = [
        Workload(c, t, 3, 17, 4, 6, kind=k, dtype=d)
        for c in catalogue.CELLS
        for t in catalogue.TASKS
        for k, d in kinds
        if (c, k) != ("rnn", "bidirectional")
    ]
    steps = [Workload(c, "step", 1, 1, 8, 8, per="step") for c in catalogue.CELLS]
    more = [
        Workload(c, t, 3, 7, 4, 6)
        for c, t in (("sru", "train"), ("mgu", "forward"), ("indrnn", "forward"))
    ]
    more += [Workload(c, t, 3, 7, 4, 8) for c in catalogue.OPTIONS for t in catalogue.TASKS]
    # Each of these cells is compiled for this test alone.
    more = [pytest.param(workload, marks=pytest.mark.ci) for workload in more]
    more += [Workload(c, t, 3, n, 4, 6, weights="int8") for c in QUANTIZED for t, n in STEPS]
    more += [StreamedModel(3, 6)]
    more += [
        Attending(c, t, 3, 4, 6, 8)
        for c, t in (("dot", "forward"), ("general", "train"), ("additive", "train"))
    ]
    more += [Translation("update", 3, 6, 4, 8, k, V=5, E=4) for k in ("", "ragged")]
    return [
        *sequences,
        *steps,
        *more,
        CharModel(8, N=3, T=4, V=5, E=4),
        Sampling(8, T=4, V=5, E=4),
        Translation("greedy", 3, 6, 4, 8, V=5, E=4),
    ]


@pytest.mark.parametrize("workload", tiny(), ids=lambda w: w.name)
def test_every_installed_engine_agrees(workload, engines):
    row = timing.measure(workload, engines, AT_ONCE, 1)
    assert row.error is None
    assert results.OURS in row.samples
    assert all(len(s) == 1 and s[0] > 0 for s in row.samples.values())
    # It has neither float64 nor a GRU of int8.
    lacking = workload.dtype == "float64" or (workload.weights and workload.cell == "gru")
    assert set(row.notes) <= ({"onnxruntime"} if lacking else set())
    own = set(results.OWN) if workload.weights else {results.OURS}
    assert own == row.samples.keys() & set(results.OWN)
    assert row.errors.keys() == (row.samples.keys() if workload.weights else set())


class Wrong(Engine):
    """Recurrent's engine with its results changed, or raising an error."""

    name = package = module = "wrong"

    def __init__(self, change):
        super().__init__(1)
        self.ours, self.change = ENGINES[results.OURS](1), change

    def prepare(self, workload, data):
        made = self.ours.prepare(workload, data)
        return lambda: self.change(made())


def shifted(result):
    y, *others = result
    others[1] = others[1] + 1e-3
    return y, *others


def unsupported(result):
    raise NotImplementedError("not this one\nand more")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shifted, "result 2 of call 0 differs by 1.0e-03"),
        (lambda r: (r[0][:-1], *r[1:]), "result 0 has shape"),
    ],
)
def test_a_wrong_engine_makes_its_row_an_error(change, message):
    row = timing.measure(
        Workload("lstm", "train", 3, 5, 4, 6), [ENGINES[results.OURS](1), Wrong(change)], AT_ONCE, 1
    )
    assert row.error.startswith(f"wrong: {message}")
    assert row.samples == {}


def test_a_wrong_later_loss_makes_its_row_an_error():
    losses = iter([0, 0, 0, 0, 1e-2])
    row = timing.measure(
        CharModel(8, N=3, T=4, V=5, E=4),
        [ENGINES[results.OURS](1), Wrong(lambda r: r + next(losses))],
        AT_ONCE,
        1,
    )
    assert "of call 4" in row.error


def test_an_engine_that_raises_is_left_out_and_ours_is_an_error():
    workload = Workload("lstm", "forward", 3, 5, 4, 6)
    row = timing.measure(workload, [ENGINES[results.OURS](1), Wrong(unsupported)], AT_ONCE, 1)
    assert (list(row.samples), row.notes, row.error) == (
        [results.OURS],
        {"wrong": "not this one"},
        None,
    )
    ours = Wrong(unsupported)
    ours.name = results.OURS
    assert timing.measure(workload, [ours], AT_ONCE, 1).error == f"{results.OURS}: not this one"


INT8 = Workload("lstm", "forward", 3, 5, 4, 6, weights="int8")


@pytest.mark.parametrize("name", results.OWN)
def test_our_quantised_results_are_those_of_the_rounded_weights(name, engines):
    """An error as large as that of rounding is found."""
    wrong = Wrong(lambda y: y + 1e-3)
    wrong.name, wrong.ours = name, next(e for e in engines if e.name == name)
    row = timing.measure(INT8, [wrong], AT_ONCE, 1)
    assert row.error.startswith(f"{name}: result 0 of call 0 differs by 1.0e-03")


def test_errors_of_quantised_peers_are_shown_up_to_a_limit():
    row = timing.measure(INT8, [ENGINES[results.OURS](1), Wrong(lambda y: y + 0.05)], AT_ONCE, 1)
    assert row.errors["wrong"] == pytest.approx([0.05, 0.05], abs=0.02)
    assert 0 < row.errors[results.OURS][1] < row.errors[results.OURS][0] < 0.02
    row = timing.measure(INT8, [ENGINES[results.OURS](1), Wrong(lambda y: y + 0.15)], AT_ONCE, 1)
    assert row.error.startswith("wrong: result 0 of call 0 differs by 1.")


def test_distances_are_the_greatest_and_the_mean_of_all_results():
    exact = [[np.zeros((2, 2)), np.ones(2)], [np.zeros(2)]]
    outputs = [[np.full((2, 2), 0.5), np.ones(2)], [np.array([1.0, -3.0])]]
    assert timing.distances(exact, outputs) == [3.0, 0.75]


def test_quantised_weights_are_fewer_bytes():
    """A step of N = 1 moves a quarter of the weights, and x and y as before."""
    int8 = Workload("lstm", "step", 1, 1, 512, 512, weights="int8")
    weights = 2 * 4 * 512 * 512
    assert replace(int8, weights="").bytes - int8.bytes == 3 * weights
    assert int8.name.endswith("-D512-H512-int8")


class Clock:
    """Stands for the module `time`; processes use `used` seconds in each second of sleep."""

    def __init__(self, *used):
        self.now, self.process, self.used = 0.0, 0.0, list(used)

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.process

    def sleep(self, seconds):
        self.now += seconds
        self.process += seconds * self.used.pop(0)


@pytest.mark.parametrize(
    ("used", "left"), [([0.0, 9.0], 1), ([1.0, 0.5, 0.01, 9.0], 1), ([1.0] * 100, 75)]
)
def test_an_engine_is_timed_once_the_threads_of_others_rest(monkeypatch, used, left):
    clock = Clock(*used)
    monkeypatch.setattr(timing, "time", clock)
    timing.settle()
    assert len(clock.used) == left
    assert clock.now <= timing.SETTLE + timing.PAUSE


def test_the_number_of_rounds():
    pace = timing.Pace(0.5, 9)
    assert timing.unfinished(8, 0.6, pace)  # too few
    assert timing.unfinished(9, 0.4, pace)  # too short
    assert not timing.unfinished(9, 0.6, pace)
    assert not timing.unfinished(5, 4.6, pace)  # calls that take long
    assert timing.unfinished(4, 4.6, pace)
    assert not timing.unfinished(1, 0.0, AT_ONCE)


def test_names_are_frozen():
    """New names are appended to the file; none may disappear."""
    frozen, now = NAMES.read_text().split(), [w.name for w in catalogue.WORKLOADS]
    assert len(now) == len(set(now))
    assert set(frozen) == set(now)


def test_sizes_of_the_work():
    one = Workload("lstm", "forward", 2, 10, 3, 5)
    assert one.flops == 2 * 2 * 10 * 4 * 5 * (3 + 5)
    # W_ih, W_hh, y, x: all weights fit in the first-level cache.
    assert one.bytes == 4 * (20 * 3 + 20 * 5 + 20 * 5 + 20 * 3)
    assert (
        replace(one, task="train").flops
        == replace(one, kind="bidirectional").flops * 1.5
        == 3 * one.flops
    )
    assert replace(one, H=100).bytes > 4 * 10 * 400 * 100  # these do not fit: once per time step
    for kind in ("uniform", "tail"):
        ragged = Workload("lstm", "forward", 64, 100, 3, 5, kind=kind)
        assert ragged.flops * 6400 == replace(ragged, kind="full").flops * ragged.lengths.sum()
        assert 1 <= ragged.lengths.min() <= ragged.lengths.max() <= 100
    streamed = Workload("lstm", "forward", 1, 1000, 8, 8, kind="many", per="step")
    assert streamed.flops == Workload("lstm", "step", 1, 1, 8, 8, per="step").flops


def test_the_work_of_a_character_is_that_of_its_layers():
    model = CharModel(8, V=5, E=4)
    layers = [Workload("lstm", "train", 1, 1, D, 8).flops for D in (4, 8)]
    assert model.flops == sum(layers) + 3 * 2 * 8 * 5 == 3 * Sampling(8, V=5, E=4).flops


def test_the_work_of_attention_and_translation():
    one = Attending("dot", "forward", 2, 3, 4, 5)
    pairs, output = 3 * int(one.lengths.sum()), 2 * (2 * 3) * 10 * 5
    assert one.flops == 2 * 2 * pairs * 5 + output
    general, additive = (replace(one, cell=c).flops - one.flops for c in ("general", "additive"))
    assert general == 2 * 6 * 5 * 5
    assert additive == general + 2 * int(one.lengths.sum()) * 5 * 5
    assert replace(one, task="train").flops == 3 * one.flops
    full, ragged = (Translation("update", 4, 6, 3, 8, k, V=5, E=4) for k in ("", "ragged"))
    lstm = Workload("lstm", "train", 4, 6, 4, 8).flops + Workload("lstm", "train", 4, 3, 4, 8).flops
    attending = replace(one, cell="general", task="train", N=4, T=3, S=6, H=8)
    padding = 6 * 2 * (4 * 6 - int(attending.lengths.sum())) * 3 * 8
    assert full.flops * full.tokens == lstm + attending.flops + padding + 3 * 2 * 12 * 8 * 5
    assert ragged.tokens == ragged.lengths[1].sum() < full.tokens == 12
    assert replace(full, task="greedy").flops * 3 == full.flops


def test_modes_grow_and_patterns_choose():
    quick, default, full = ([w.name for w in catalogue.choose("*", m)] for m in catalogue.MODES)
    assert set(quick) < set(default) < set(full)
    assert len(full) == len(catalogue.WORKLOADS)
    assert {w.cell for w in catalogue.choose("gru-*", "full")} == {"gru"}
    assert catalogue.choose("H1024", "default")
    assert not catalogue.choose("bidirectional", "default")


def test_engines_far_behind_are_not_timed_further():
    samples = {results.OURS: [9.0], "best": [1.0], "near": [2.9], "far": [3.1]}
    assert timing.contenders(samples) == [results.OURS, "best", "near"]
    variants = {name: [9.0] for name in results.VARIANTS}
    assert timing.contenders(samples | variants) == [results.OURS, "best", "near", *variants]


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="peaks are measured by compiled code")
def test_peak_kernels_do_the_work_they_claim(monkeypatch):
    """The kernels' results prove the number of multiply-adds and reads; peaks are positive."""
    for dtype in (np.float32, np.float64):
        t = peaks.target(np.dtype(dtype))
        numbers = np.zeros((peaks.chains(t) + 2, t.lanes), dtype)
        numbers[0], numbers[1] = 1, 1  # x -> x * 1 + 1
        peaks.compute(t, numbers.reshape(-1), 7)
        assert (numbers[2:] == 7).all()
        values, sums = np.arange(24 * t.lanes, dtype=dtype), np.zeros(8 * t.lanes, dtype)
        peaks.read(t, values, 2, sums)
        assert (sums == values.reshape(3, -1).sum(0)).all()
    peaks.meter.cache_clear()
    monkeypatch.setattr(peaks, "SECONDS", 1e-4)
    monkeypatch.setattr(peaks, "MEMORY", 2**20)
    found = peaks.measure(2)
    assert set(found) == {"float32", "float64", "cache_bandwidth", "memory_bandwidth"}
    assert all(0 < v < 1e6 for v in found.values())


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="peaks are measured by compiled code")
def test_the_peak_is_measured_with_every_round_of_a_long_call(monkeypatch):
    workload, ours = Workload("lstm", "forward", 3, 5, 4, 6), ENGINES[results.OURS](1)
    assert timing.measure(workload, [ours], AT_ONCE, 1).peak == []
    monkeypatch.setattr(timing, "LONG", workload.flops)
    row = timing.measure(workload, [ours], AT_ONCE._replace(rounds=4), 1)
    assert len(row.peak) == len(row.samples[results.OURS]) == 4
    assert all(0 < p < 1e6 for p in row.peak)


def test_a_worker_that_dies_costs_one_row(monkeypatch):
    """Its current row is an error; another worker measures the rest."""
    names = [w.name for w in catalogue.choose("rnn-forward-N1-*", "full")[:3]]

    def json_lines(arguments, threads, request):
        for name in request["names"]:
            if name == names[1]:
                raise processes.ProcessFailed("segmentation fault")
            yield {
                "row": dataclasses.asdict(
                    results.Row(
                        **catalogue.find(name).facts(),
                        threads=threads,
                        samples={results.OURS: [1.0]},
                    )
                )
            }

    monkeypatch.setattr(processes, "json_lines", json_lines)
    planned = runner.plan([catalogue.find(n) for n in names], [1])
    rows = list(runner.collect(planned, AT_ONCE, {}, {}))
    assert [r.name for r in rows] == names
    assert [r.error for r in rows] == [None, "its process failed: segmentation fault", None]


def test_a_warm_start_follows_a_process_that_fills_the_cache(monkeypatch):
    engines = []

    def ask(probed, engine, threads, cache):
        engines.append(engine)
        return 5.0 if engines.count(engine) == 1 and engine == results.OURS else 0.1

    monkeypatch.setattr(cold_start, "ask", ask)
    warm = next(w for w in catalogue.WORKLOADS if getattr(w, "task", "") == "warm")
    row = cold_start.measure(warm, AT_ONCE, 1)
    assert row.error is None
    assert row.samples == {engine: [0.1] for engine in ENGINES}


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(),
    reason="the peak of memory is read from Linux's /proc",
)
def test_memory_includes_temporary_arrays_of_an_update():
    """An update that allocates and frees 64 MB is measured at 64 MB."""
    size = 64 * 2**20

    def prepare(workload, data):
        return (lambda: np.ones(size // 8).sum()) if workload.H > 4 else lambda: None

    found = cold_start.memory(prepare, Workload("lstm", "train", 1, 1, 8, 8))
    # The system counts pages in batches of up to 64 per processor.
    assert 0.98 * size <= found <= 1.25 * size


def test_the_command_measures_and_writes(tmp_path):
    """A tiny run with whatever is installed, at one thread: rows, peaks and the table."""
    file = tmp_path / "run.jsonl"
    name = "lstm-forward-N1-T1-D32-H32"
    arguments = [
        "-m",
        "bench",
        "--only",
        name,
        "--threads",
        "1",
        "--seconds",
        "0",
        "--out",
        str(file),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    found = results.read(file)
    assert [r.key for r in found.rows] == [(name, 1)]
    assert found.rows[0].error is None
    assert set(found.peaks) == {"1"}
    assert results.OURS in found.versions
    assert json.loads(file.read_text().splitlines()[0])["mode"] == "default"
    assert "1/1 rows" in result.stderr
    resumed = [*arguments[:2], "--resume", *arguments[2:]]
    resumed[resumed.index(name)] = "[lr]*-forward-N1-T1-D32-H32"
    result = subprocess.run(
        [sys.executable, *resumed], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    before, found = found, results.read(file)
    assert [r.key[0][:4] for r in found.rows] == ["lstm", "rnn-"]
    assert (found.rows[0], found.date, found.peaks) == (before.rows[0], before.date, before.peaks)
    results.write(file, dataclasses.replace(found, versions=found.versions | {"torch": "0.1"}))
    result = subprocess.run(
        [sys.executable, *resumed], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert (result.returncode, results.read(file).rows) == (2, found.rows)
    assert "torch 0.1" in result.stderr
    results.write(file, found)
    shown = subprocess.run(
        [sys.executable, "-m", "bench", "show", str(file)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "lstm forward" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "expected 1 to"),
        (["--threads", "x"], "expected numbers"),
        (["--only", "nothing"], "no row"),
        (["--quick", "--full"], "not both"),
        (["--only", "lstm-forward-N1-T1-*", "--out", "."], "is a folder"),
        (["compare", "one.jsonl"], "Missing argument 'B'"),
    ],
)
def test_wrong_usage_is_a_one_line_error(arguments, message):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    result = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.startswith("bench: ")
    assert result.stderr.count("\n") == 1
