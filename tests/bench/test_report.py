"""A benchmark run is told as it was measured: figures, files, words."""

import doctest
import io
import math
import re
import xml.etree.ElementTree as ET
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
from bench.report import chart, compare, goals, markdown, plot, readme, roofline, table
from bench.report import format as words
from bench.report.format import label
from bench.results import OURS, geometric_mean, read, write
from viz.draw.svg import SVG


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


def test_the_peak_beside_a_row_counts_before_the_one_at_the_start():
    r = row(peak=[70.0, 80.0, 200.0], bytes=1e5)
    assert run(r).share_of_fma(r) == pytest.approx(50 / 80)
    assert run(r).roof(r) == (80.0, "compute")
    assert run(r, peaks={}).share_of_fma(r) == pytest.approx(50 / 80)


def test_a_peak_that_is_none_is_refused(tmp_path):
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
def test_geometric_mean_is_that_of_the_ratios(ratios):
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
def test_a_run_comes_back_from_its_file(tmp_path_factory, samples, threads):
    path = tmp_path_factory.mktemp("run") / "a.jsonl"
    rounded = [float(f"{s:.4g}") for s in samples]
    first = run(
        row(samples={OURS: samples}, threads=threads, notes={"jax": "no"}),
        row("b", error="wrong", samples={}),
    )
    write(path, first)
    again = read(path)
    assert again == replace(
        first, rows=(replace(first.rows[0], samples={OURS: rounded}), first.rows[1])
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [], "line 1: expected a JSON object"),
        (lambda lines: lines[1:], "line 1: expected a line of kind \"run\", got 'row'"),
        (
            lambda lines: [lines[0].replace('"format": 1', '"format": 7'), *lines[1:]],
            "expected format 1, got 7",
        ),
        (
            lambda lines: [*lines, lines[-1]],
            "line 3: lstm-forward-N1-T100-D32-H64 at 1 thread(s) is there twice",
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


def printed(width, what, *arguments):
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    what(*arguments, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_tells_every_row(width):
    told = printed(width, table.show, synthetic())
    for said in (
        "▲ 2.00",
        "▼ 0.996",
        "error: torch: result 2 differs by 1.0e-01",
        "no peer: recurrent 4.50 s",
        "openvino is left out",
    ):
        assert said in told
    for r in synthetic().rows:
        assert f"  {label(r)}  " in told, f"{r.name} is not in the table"
    assert "1 of 4 rows are behind the best peer; 1 with an error; 1 without a peer" in told
    body = told[: told.index("1 of 4 rows")].splitlines()
    assert max(len(line) for line in body) <= width
    assert "…" not in told[: told.index("targets")] or width < 100


def test_targets_are_met_missed_or_not_in_the_run():
    verdicts = {(v.target.what, v.threads): v for v in goals.check(synthetic())}
    every = "every forward and training row, best peer's time / ours"
    assert verdicts[every, 1].met is False
    assert "is an error" in verdicts[every, 1].found
    assert verdicts[every, 2].met is True
    cold = verdicts["first forward call, cold cache", 1]
    assert (cold.word, cold.found) == ("missed", "4.50 s, 12 % off: lstm-forward-cold")
    assert verdicts["peak memory in training, PyTorch / ours", 1].met is True
    assert verdicts["float64, PyTorch / ours", None].met is None
    assert {t for t, _ in verdicts} == {t.what for t in goals.TARGETS}


def test_targets_that_set_two_rows_side_by_side():
    odd = row("lstm-forward-N7-T33-D13-H50", group="odd", samples={OURS: [1.3e-3]}, flops=1e6)
    even = row("lstm-forward-N7-T33-D16-H64", group="odd", samples={OURS: [2e-3]}, flops=2e6)
    full = row("lstm-forward-full-N64-T100", group="ragged", samples={OURS: [1e-3]}, flops=1e6)
    tail = row(
        "lstm-forward-tail-N64-T100",
        group="ragged",
        samples={OURS: [2e-4], "torch": [1.2e-3]},
        flops=2.5e5,
    )
    verdicts = {v.target.what: v for v in goals.check(run(odd, even, full, tail))}
    assert verdicts["odd sizes, time per FLOP / that of the next multiples of 16"].found.startswith(
        "1.30, 4 % off: " + odd.name
    )
    assert (
        verdicts["ragged batches, time per valid step / the full batch's"].found
        == "0.80: " + tail.name
    )
    assert verdicts["ragged batches, PyTorch's packed sequences / ours"].met is True


def test_rows_side_by_side_count_at_the_speed_that_the_machine_had():
    odd = row(
        "lstm-forward-N7-T33-D13-H50", group="odd", samples={OURS: [2.6e-3]}, flops=1e6, peak=[40.0]
    )
    even = row(
        "lstm-forward-N7-T33-D16-H64", group="odd", samples={OURS: [2e-3]}, flops=2e6, peak=[80.0]
    )
    verdict = next(v for v in goals.check(run(odd, even)) if v.target.what.startswith("odd sizes"))
    assert verdict.found == "1.30, 4 % off: " + odd.name


@pytest.mark.parametrize("module", [words, goals, plot, markdown])
def test_bench_doctests(module):
    assert not doctest.testmod(module).failed


ROOT = Path(__file__).parents[2]


def parsed(svg):
    return ET.fromstring(svg)


@pytest.mark.parametrize("draw", [chart.draw, roofline.draw])
def test_pictures_are_svg_with_words_for_both_modes(draw):
    r = synthetic()
    picture = draw(replace(r, peaks={**r.peaks, "2": r.peaks["1"]}))
    root = parsed(picture.svg())
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == picture.title
    assert root.find(f"{SVG}desc").text == picture.description
    assert "prefers-color-scheme:dark" in root.find(f"{SVG}style").text
    width, height = picture.size
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height


def test_the_chart_has_every_row_and_marks_those_behind_twice():
    root = parsed(chart.draw(synthetic()).svg())
    marks = {p.find(f"{SVG}title").text: p for p in root.iter(f"{SVG}path")}
    behind = next(
        p
        for tip, p in marks.items()
        if tip.startswith("lstm-forward-N64-T50-D512-H512, 1 thread: 0.996")
    )
    ahead = next(
        p
        for tip, p in marks.items()
        if tip.startswith("lstm-forward-N1-T100-D32-H64, 1 thread: 2.00")
    )
    assert "s-red" in behind.get("class")
    assert "s-blue" in ahead.get("class")
    assert "a4 4" in ahead.get("d")  # a circle; the other is none
    assert "a4 4" not in behind.get("d")
    told = [t.text for t in root.iter(f"{SVG}text")]
    for r in synthetic().rows:
        assert label(r) in told
    assert {"error", "no peer", "▼ 0.996"} <= set(told)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5), st.floats(1.01, 10))
def test_equal_ratios_are_equally_far_apart(values, step):
    axis = plot.LogAxis(values, 10, 500)
    assert all(10 <= axis(v) <= 500 for v in values)
    there, further = (axis(values[0] * step**k) - axis(values[0] * step ** (k - 1)) for k in (1, 2))
    assert math.isclose(there, further, rel_tol=1e-6)


def test_a_roofline_needs_peaks():
    with pytest.raises(ValueError, match="needs peaks"):
        roofline.draw(run(row(), peaks={}))


def test_names_in_the_roofline_do_not_cover_each_other():
    rows = [
        row(f"lstm-forward-N{k}", flops=1e8 * (1 + k / 9), bytes=1e6 * (k + 1)) for k in range(9)
    ]
    root = parsed(roofline.draw(run(*rows)).svg())
    names = [t for t in root.iter(f"{SVG}text") if t.text.startswith("lstm forward N")]
    assert len(names) >= 2
    places = [(t.get("x"), t.get("y")) for t in names]
    assert len(set(places)) == len(places)


def test_what_changed_between_two_runs():
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
    assert verdicts == {"slower": "slower", "noise": "as the peers", "same": "in the spread"}
    assert [c.before.name for c in compare.changes(a, b)] == ["slower", "noise", "same"]
    assert {c.before.name: c.verdict for c in compare.changes(b, a)}["slower"] == "faster"
    told = printed(100, lambda console: compare.compare(a, b, console))
    assert "3 rows, geometric mean" in told
    assert "! gone, 1 thread: not compared; in B: error: x" in told
    assert "! new, 1 thread: only in B" in told


def test_a_report_tells_every_row(tmp_path):
    path = markdown.report(synthetic(), tmp_path / "new")
    told = path.read_text(encoding="utf-8")
    for r in synthetic().rows:
        assert f"`{r.name}`" in told
    assert (
        told.index("## Rows behind")
        < told.index("## Geometric means")
        < told.index("## forward, 1 thread")
    )
    for picture in re.findall(r"\]\((\S+)\)", told):
        parsed((tmp_path / "new" / picture).read_text(encoding="utf-8"))
    assert read(tmp_path / "new" / "run.jsonl").select(threads=2)
    columns = {
        line.count("|")
        for line in told.split("## forward, 1 thread")[1].split("##")[0].splitlines()
        if line
    }
    assert len(columns) == 1, "a row of the table has too few or too many cells"
    assert "No roofline" in markdown.report(run(row(), peaks={}), tmp_path).read_text(
        encoding="utf-8"
    )


def test_the_readme_says_what_the_stored_run_says():
    """`python -m bench readme RUN` writes both; until then there is neither."""
    found = readme.stored((ROOT / "README.md").read_text(encoding="utf-8"))
    runs = [p.relative_to(ROOT).as_posix() for p in commands.RUNS.glob("*.jsonl")]
    assert (found is None) == (not runs)
    if found:
        name, told = found
        assert name in runs
        assert told == readme.speed(read(ROOT / name))


def test_a_table_is_written_into_a_readme(tmp_path):
    path, kept = tmp_path / "README.md", tmp_path / "bench" / "a.jsonl"
    kept.parent.mkdir()
    write(kept, synthetic())
    path.write_text("before\n\n<!-- speed: -->\n<!-- /speed -->\n\nafter\n")
    assert readme.stored(path.read_text()) is None
    for _ in range(2):  # writing again changes nothing
        readme.readme(kept, path)
        text = path.read_text()
        assert text.startswith("before\n\n<!-- speed: bench/a.jsonl -->\n")
        assert text.endswith("<!-- /speed -->\n\nafter\n")
        assert readme.stored(text) == ("bench/a.jsonl", readme.speed(synthetic()))
        assert "| `lstm-forward-N64-T50-D512-H512` | 1 | 100 ms | torch 99.6 ms | ▼ 0.996 |" in text
    path.write_text("nothing to replace")
    with pytest.raises(ValueError, match="expected once"):
        readme.readme(kept, path)
    with pytest.raises(ValueError, match="stored beneath"):
        readme.readme(kept, tmp_path / "bench" / "deep" / "README.md")


def command(*arguments):
    app = typer.Typer()
    commands.add(app)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_commands_read_stored_runs(tmp_path, monkeypatch):
    a, readme_file = tmp_path / "a.jsonl", tmp_path / "README.md"
    write(a, synthetic())
    readme_file.write_text("<!-- speed: -->\n<!-- /speed -->\n")
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
    parsed(picture.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["show", "compare", "report", "roofline", "readme"])
def test_commands_refuse_bad_files_in_one_line(tmp_path, name):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}")
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe")
    expected = {
        bad: 'expected a line of kind "run"',
        binary: "expected JSON lines",
        tmp_path / "none": "No such file",
    }
    for path, words_ in expected.items():
        result = command(name, *[path] * (2 if name == "compare" else 1))
        assert result.exit_code == 2
        assert words_ in result.output
        assert len(result.output.splitlines()) == 1


def test_the_benchmark_has_the_commands(tmp_path):
    """Through `python -m bench` itself, which must not measure anything then."""
    write(tmp_path / "a.jsonl", synthetic())
    result = CliRunner().invoke(bench_app, ["show", str(tmp_path / "a.jsonl")])
    assert result.exit_code == 0, result.output
    assert "1 of 4 rows are behind the best peer" in result.output
