"""Benchmark reports: derived figures, run files, tables, Markdown and commands."""

import doctest
import io
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.bench_runs import row, run, synthetic
from typer.testing import CliRunner

from bench import commands
from bench.__main__ import app as bench_app
from bench.report import compare, format, goals, markdown, quantized, readme, table
from bench.report.format import label
from bench.results import OURS, geometric_mean, read, write


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


def test_a_peak_measured_with_the_row_replaces_the_one_of_the_run():
    r = row(peak=[70.0, 80.0, 200.0], bytes=1e5)
    assert run(r).share_of_fma(r) == pytest.approx(50 / 80)
    assert run(r).roof(r) == (80.0, "compute")
    assert run(r, peaks={}).share_of_fma(r) == pytest.approx(50 / 80)


def test_a_peak_of_zero_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    write(path, run(row(peak=[0.0])))
    with pytest.raises(
        ValueError, match=r"line 2: peak must be positive finite numbers, got \[0.0\]"
    ):
        read(path)


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
def test_geometric_mean_of_the_ratios(ratios):
    rows = [
        row(f"r{k}", samples={OURS: [1.0], "torch": [q], "numpy": [2 * q]})
        for k, q in enumerate(ratios)
    ]
    mean, count = geometric_mean(rows)
    assert count == len(ratios)
    assert math.isclose(mean, np.prod(ratios) ** (1 / len(ratios)), rel_tol=1e-12)
    assert math.isclose(geometric_mean(rows, "numpy")[0], 2 * mean, rel_tol=1e-12)
    assert [r.ratio for r in run(*rows).losing] == sorted(q for q in ratios if q < 1)


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=5), st.integers(1, 64))
def test_writing_and_reading_a_run_gives_the_same_run(tmp_path_factory, samples, threads):
    path = tmp_path_factory.mktemp("run") / "a.jsonl"
    rounded = [float(f"{s:.4g}") for s in samples]
    first = run(
        row(
            samples={OURS: samples},
            threads=threads,
            notes={"jax": "no"},
            errors={OURS: [2.5e-3, 0.0]},
        ),
        row("b", error="wrong", samples={}),
    )
    write(path, first)
    again = read(path)
    assert again == replace(
        first, rows=(replace(first.rows[0], samples={OURS: rounded}), first.rows[1])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], "line 1: expected a JSON object"),
        (lambda lines: lines[1:], "line 1: expected a line of kind \"run\", got 'row'"),
        (
            lambda lines: [lines[0].replace('"format": 1', '"format": 7'), *lines[1:]],
            "expected format 1, got 7",
        ),
        (
            lambda lines: [*lines, lines[-1]],
            "line 3: lstm-forward-N1-T100-D32-H64 at 1 thread(s) appears twice",
        ),
        (lambda lines: [*lines, lines[-1][:50]], "line 3: expected a JSON object"),
        (
            lambda lines: [lines[0], lines[1].replace('"dtype"', '"type"')],
            "line 2: the row lacks dtype",
        ),
        (
            lambda lines: [lines[0], lines[1].replace("0.001", "-1")],
            "line 2: samples of recurrent must be positive",
        ),
        (
            lambda lines: [lines[0], lines[1].replace("0.001", "NaN")],
            "line 2: samples of recurrent must be positive",
        ),
        (
            lambda lines: [lines[0], lines[1].replace('"threads": 1', '"threads": 0')],
            "line 2: threads must be",
        ),
        (
            lambda lines: [lines[0], lines[1].replace('"quantity": "seconds"', '"quantity": "s"')],
            "line 2: quantity must be",
        ),
        (
            lambda lines: [lines[0], lines[1].replace('"errors": {}', '"errors": {"jax": [1]}')],
            "line 2: errors of jax must be two numbers of at least 0, got [1]",
        ),
        (lambda lines: ["[" * 10**5], "line 1: expected a JSON object"),
        (
            lambda lines: [lines[0].replace('"machine": {', '"machine": 3, "x": {'), *lines[1:]],
            "line 1: machine must be a dict, got int",
        ),
        (
            lambda lines: [lines[0], lines[1].replace('"notes": {}', '"notes": [[]]')],
            "line 2: notes must be a dict, got list",
        ),
        (
            lambda lines: [lines[0], lines[1].replace('"group": "forward"', '"group": {}')],
            "line 2: group must be a str, got dict",
        ),
    ],
)
def test_a_bad_run_file_raises_a_one_line_error(tmp_path, change, message):
    path = tmp_path / "bad.jsonl"
    write(path, run(row()))
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        read(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def printed(width, function, *arguments):
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    function(*arguments, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_has_every_row(width):
    output = printed(width, table.show, synthetic())
    for text in (
        "▲ 2.00",
        "▼ 0.996",
        "error: torch: result 2 differs by 1.0e-01",
        "no peer: recurrent 4.50 s",
        "openvino was not measured",
    ):
        assert text in output
    for r in synthetic().rows:
        assert f"  {label(r)}  " in output, f"{r.name} is not in the table"
    assert "1 of 4 rows are behind the best peer; 1 with an error; 1 without a peer" in output
    body = output[: output.index("1 of 4 rows")].splitlines()
    assert max(len(line) for line in body) <= width
    assert "…" not in output[: output.index("goals")] or width < 100


def quantised(name="lstm-step-N1-T1-D512-H512-int8", **changes):
    """Return a row of int8 weights: four times as fast as float32, and ahead of torch."""
    fields = dict(
        group="quantized",
        task="step",
        samples={
            OURS: [1e-4],
            "recurrent-bfloat16": [2e-4],
            "recurrent-float32": [4e-4],
            "torch": [1.5e-4],
        },
        errors={
            OURS: [3.1e-3, 4.2e-4],
            "recurrent-bfloat16": [1e-3, 2e-4],
            "recurrent-float32": [1.2e-7, 1.1e-8],
            "torch": [0.0121, 2.2e-3],
        },
    )
    return row(name, **fields | changes)


def test_other_weights_of_ours_are_no_peers():
    r = quantised()
    assert (r.best_peer, r.against("recurrent-float32")) == ("torch", 4.0)
    assert run(row(), r).peers == ["torch", "onnxruntime"]
    alone = quantised(samples={OURS: [1.0], "recurrent-float32": [0.5]})
    assert alone.best_peer is None
    assert not run(alone).losing


@pytest.mark.parametrize("width", [100, 140])
def test_the_table_of_quantised_weights_has_times_and_errors(width):
    other = quantised("gru-step-N1-T1-D128-H128-int8", cell="gru")
    output = printed(width, table.show, run(row(), quantised(), other, row(threads=2)))
    assert output.count("int8 weights: medians; greatest") == 1
    body = output[output.index("int8 weights") :].split("geometric means")[0]
    assert "…" not in body
    lines = body.splitlines()
    at = next(k for k, line in enumerate(lines) if "N1 T1 D512 H512" in line)
    times = "100 µs 200 µs 400 µs 150 µs 4.00 ▲ 1.50"
    assert " ".join(lines[at].split()[4:]) == times
    errors = "3.1e-3 1.0e-3 1.2e-7 1.2e-2"
    if width == 140:
        errors = "3.1e-3 (4.2e-4) 1.0e-3 (2.0e-4) 1.2e-7 (1.1e-8) 1.2e-2 (2.2e-3)"
    assert " ".join(lines[at + 1].split()) == errors
    assert "int8 weights" not in printed(width, table.show, run(row()))


def test_the_report_of_quantised_weights():
    text = markdown.markdown(run(quantised()))
    assert "| workload | recurrent | bfloat16 | float32 | torch | float32 / int8 |" in text
    assert "| 100 µs; 3.1e-3 (4.2e-4) | 200 µs; 1.0e-3 (2.0e-4) |" in text
    failed = markdown.markdown(run(quantised(error="recurrent: wrong", errors={})))
    assert "recurrent: wrong" in failed
    assert "int8 weights" not in failed


def test_goals_of_quantised_weights():
    small = quantised("lstm-step-N1-T1-D128-H128-int8", samples={OURS: [1.0], "torch": [0.1]})
    gru = quantised("gru-forward-N1-T20-D1024-H1024-int8", cell="gru", task="forward")
    worse = quantised(
        "lstm-forward-N1-T20-D512-H512-int8",
        samples={OURS: [2e-4], "recurrent-float32": [4e-4], "torch": [1e-4]},
        errors={OURS: [0.02, 0.01], "torch": [0.01, 0.01]},
    )
    found = {v.goal.what: v for v in goals.check(run(quantised(), small, gru))}
    ours = [v for what, v in found.items() if what.startswith("int8, ")]
    assert [v.met for v in ours] == [True] * 3
    assert ours[0].reason.endswith("2 of 2 rows meet it")
    found = {v.goal.what: v for v in goals.check(run(quantised(), worse))}
    reasons = [v.reason for what, v in found.items() if what.startswith("int8, ")]
    assert [r.split(",")[0] for r in reasons] == ["2.00", "0.50", "0.50"]
    assert all(worse.name in r for r in reasons)


def test_goals_that_count_rows():
    rows = [row(f"lstm-forward-N1-T9-D9-H{H}") for H in range(64, 73)]
    close = row("lstm-forward-N1-T9-D9-H32", samples={OURS: [1.0], "torch": [1.05]})
    what = "forward and training rows that are at least 1.10 times as fast as the best peer"
    alone = "forward, N = 1, H from 64 to 512: best peer's time / recurrent's"
    found = {v.goal.what: v for v in goals.check(run(*rows, close))}
    assert (found[what].met, found[what].reason) == (True, "90.0 %: 9 of 10 rows")
    assert found[alone].reason.endswith("9 of 9 rows meet it")
    failed = row("lstm-forward-N1-T9-D9-H512", error="torch: wrong")
    found = {v.goal.what: v for v in goals.check(run(*rows, close, failed))}
    assert (found[what].met, found[alone].met) == (False, False)


def test_goals_are_met_missed_or_not_in_the_run():
    verdicts = {(v.goal.what, v.threads): v for v in goals.check(synthetic())}
    every = "every forward and training row: best peer's time / recurrent's"
    assert verdicts[every, 1].met is False
    assert "is an error" in verdicts[every, 1].reason
    assert verdicts[every, 2].met is True
    cold = verdicts["first forward call, cold cache", 1]
    assert (cold.word, cold.reason) == ("missed", "4.50 s, 12 % off: lstm-forward-cold")
    assert verdicts["peak memory in training: PyTorch / recurrent", 1].met is True
    assert verdicts["float64: PyTorch / recurrent", None].met is None
    assert {t for t, _ in verdicts} == {t.what for t in goals.GOALS}


def test_goals_that_compare_two_rows():
    odd = row("lstm-forward-N7-T33-D13-H50", group="odd", samples={OURS: [1.3e-3]}, flops=1e6)
    even = row("lstm-forward-N7-T33-D16-H64", group="odd", samples={OURS: [2e-3]}, flops=2e6)
    full = row("lstm-forward-full-N64-T100", group="ragged", samples={OURS: [1e-3]}, flops=1e6)
    tail = row(
        "lstm-forward-tail-N64-T100",
        group="ragged",
        samples={OURS: [2e-4], "torch": [1.2e-3]},
        flops=2.5e5,
    )
    verdicts = {v.goal.what: v for v in goals.check(run(odd, even, full, tail))}
    assert verdicts[
        "odd sizes: time per FLOP / that of the next multiples of 16"
    ].reason.startswith("1.30, 4 % off: " + odd.name)
    assert (
        verdicts["ragged batches: time per valid step / that of the full batch"].reason
        == "0.80: " + tail.name
    )
    assert verdicts["ragged batches: PyTorch's packed sequences / recurrent"].met is True


def test_compared_rows_are_scaled_by_the_peaks_measured_with_them():
    odd = row(
        "lstm-forward-N7-T33-D13-H50", group="odd", samples={OURS: [2.6e-3]}, flops=1e6, peak=[40.0]
    )
    even = row(
        "lstm-forward-N7-T33-D16-H64", group="odd", samples={OURS: [2e-3]}, flops=2e6, peak=[80.0]
    )
    verdict = next(v for v in goals.check(run(odd, even)) if v.goal.what.startswith("odd sizes"))
    assert verdict.reason == "1.30, 4 % off: " + odd.name


@pytest.mark.parametrize("module", [format, goals, markdown, quantized])
def test_bench_doctests(module):
    assert not doctest.testmod(module).failed


ROOT = Path(__file__).parents[2]


def test_changes_between_two_runs():
    slow = {OURS: [2.0, 2.1, 2.2], "torch": [2.0, 2.0, 2.0]}
    a = run(
        *(
            row(n, samples={OURS: [1.0, 1.05, 1.1], "torch": [2.0, 2.0, 2.0]})
            for n in ("same", "slower", "noise", "gone")
        )
    )
    noise = {OURS: [1.2, 1.26, 1.32], "torch": [3.0, 3.0, 3.0]}
    b = run(
        row("same"),
        row("slower", samples=slow),
        row("noise", samples=noise),
        row("gone", error="x"),
        row("new"),
    )
    b = replace(b, rows=(a.rows[0], *b.rows[1:]))
    verdicts = {c.before.name: c.verdict for c in compare.changes(a, b)}
    assert verdicts == {"slower": "slower", "noise": "like the peers", "same": "within the spread"}
    assert [c.before.name for c in compare.changes(a, b)] == ["slower", "noise", "same"]
    assert {c.before.name: c.verdict for c in compare.changes(b, a)}["slower"] == "faster"
    output = printed(100, lambda console: compare.compare(a, b, console))
    assert "3 rows, geometric mean" in output
    assert "! gone, 1 thread: not compared; in B: error: x" in output
    assert "! new, 1 thread: only in B" in output


def test_a_report_has_every_row(tmp_path):
    pytest.importorskip("matplotlib", reason="the report has charts")
    path = markdown.report(synthetic(), tmp_path / "new")
    text = path.read_text(encoding="utf-8")
    for r in synthetic().rows:
        assert f"`{r.name}`" in text
    assert (
        text.index("## Rows behind")
        < text.index("## Geometric means")
        < text.index("## forward, 1 thread")
    )
    for picture in re.findall(r"\]\((\S+)\)", text):
        assert "<svg" in (tmp_path / "new" / picture).read_text(encoding="utf-8")
    assert read(tmp_path / "new" / "run.jsonl").select(threads=2)
    columns = {
        line.count("|")
        for line in text.split("## forward, 1 thread")[1].split("##")[0].splitlines()
        if line
    }
    assert len(columns) == 1, "a row of the table has too few or too many cells"
    assert "No roofline" in markdown.report(run(row(), peaks={}), tmp_path).read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("block", readme.WRITTEN)
def test_the_readme_shows_the_stored_run(block):
    """`python -m bench readme RUN` writes both; before that, neither exists."""
    stored = readme.stored((ROOT / "README.md").read_text(encoding="utf-8"), block)
    runs = [p.relative_to(ROOT).as_posix() for p in commands.RUNS.glob("*.jsonl")]
    assert (stored is None) == (not runs)
    if stored:
        name, text = stored
        assert name in runs
        assert text == readme.WRITTEN[block](read(ROOT / name))


def test_each_row_is_shown_at_the_most_threads_it_was_measured_at():
    rows = [row("import", threads=1), row("step", threads=2), row("step", threads=1)]
    assert [(r.name, r.threads) for r in run(*rows).most_threads()] == [("import", 1), ("step", 2)]


def test_a_table_is_written_into_a_readme(tmp_path):
    path, kept = tmp_path / "README.md", tmp_path / "bench" / "a.jsonl"
    kept.parent.mkdir()
    write(kept, synthetic())
    blocks = "<!-- why: -->\n<!-- /why -->\n\n<!-- speed: -->\n<!-- /speed -->"
    path.write_text(f"before\n\n{blocks}\n\nafter\n")
    assert readme.stored(path.read_text()) is None
    for _ in range(2):  # writing again changes nothing
        readme.readme(kept, path)
        text = path.read_text()
        assert text.startswith("before\n\n<!-- why: bench/a.jsonl -->\n* **Fast.**")
        assert text.endswith("<!-- /speed -->\n\nafter\n")
        assert readme.stored(text) == ("bench/a.jsonl", readme.speed(synthetic()))
        assert "| `lstm-forward-N64-T50-D512-H512` | 1 | 100 ms | torch 99.6 ms | ▼ 0.996 |" in text
    path.write_text("nothing to replace")
    with pytest.raises(ValueError, match="once, followed by"):
        readme.readme(kept, path)
    with pytest.raises(ValueError, match="expected a run stored in"):
        readme.readme(kept, tmp_path / "bench" / "deep" / "README.md")


def command(*arguments):
    app = typer.Typer()
    commands.add(app)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_commands_read_stored_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="two of the commands draw charts")
    a, readme_file = tmp_path / "a.jsonl", tmp_path / "README.md"
    write(a, synthetic())
    blocks = "<!-- why: -->\n<!-- /why -->\n<!-- speed: -->\n<!-- /speed -->\n"
    readme_file.write_text(blocks)
    monkeypatch.setattr(commands, "README", readme_file)
    monkeypatch.setattr(commands, "RUNS", tmp_path / "runs")
    picture = tmp_path / "r.svg"
    early = command("roofline", "-o", picture)
    assert early.exit_code == 2
    assert "no stored run yet" in early.output
    for arguments in (
        ["show", a],
        ["compare", a, a],
        ["report", a, "-o", tmp_path / "report"],
        ["readme", a],
    ):
        result = command(*arguments)
        assert result.exit_code == 0, result.output
    assert readme.stored(readme_file.read_text())[0] == "runs/a.jsonl"
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    assert command("roofline", "-o", picture).exit_code == 0
    assert "<svg" in picture.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["show", "compare", "report", "roofline", "readme"])
def test_commands_report_bad_files_in_one_line(tmp_path, name):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}")
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe")
    expected = {
        bad: 'expected a line of kind "run"',
        binary: "expected JSON lines",
        tmp_path / "none": "No such file",
    }
    for path, message in expected.items():
        result = command(name, *[path] * (2 if name == "compare" else 1))
        assert result.exit_code == 2
        assert message in result.output
        assert len(result.output.splitlines()) == 1


def test_the_app_has_the_commands(tmp_path):
    """The app of `python -m bench` runs a command without measuring anything."""
    write(tmp_path / "a.jsonl", synthetic())
    result = CliRunner().invoke(bench_app, ["show", str(tmp_path / "a.jsonl")])
    assert result.exit_code == 0, result.output
    assert "1 of 4 rows are behind the best peer" in result.output


COMMANDS = (["--help"], ["show", "RUN"], ["compare", "RUN", "RUN"], ["report", "--help"])


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_matplotlib_is_imported_for_charts_only(tmp_path, arguments):
    write(tmp_path / "run.jsonl", synthetic())
    code = (
        "import sys; from recurrent.cli import runner; from bench.__main__ import app; "
        "code = runner.run(app, 'bench'); sys.exit(code or 'matplotlib' in sys.modules)"
    )
    names = [str(tmp_path / "run.jsonl") if a == "RUN" else a for a in arguments]
    result = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["report", "roofline"])
def test_missing_matplotlib_is_a_one_line_error(tmp_path, name):
    write(tmp_path / "run.jsonl", synthetic())
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    result = subprocess.run(
        [sys.executable, "-m", "bench", name, str(tmp_path / "run.jsonl"), "-o", "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert re.fullmatch(
        r"bench: charts need matplotlib, which is not installed: .*\n", result.stderr
    )
