"""The benchmark of the exchange: what it measures, its tables, and the model of scaling."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.measure import exchange, processes
from bench.measure.exchange import Measured, Pace, Training, checked, kinds, line, train
from bench.measure.rank import Rank, Timed
from bench.report import exchange as report
from bench.report import scaling, sheet
from bench.report.scaling import Terms, computing, exchange_seconds
from recurrent import CharLM
from recurrent.training.workers import Workers

ROOT = Path(__file__).parents[2]
TEXT = "it is what it is, said the cat to the hat. " * 9


def bench(*arguments, folder=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "bench", "exchange", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        cwd=folder,
        timeout=300,
    )


def test_the_command_measures_and_writes(tmp_path):
    pytest.importorskip("mpi4py")
    file = tmp_path / "exchange.md"
    done = bench("--quick", "--processes", 2, "-o", file, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = file.read_text()
    for words in (
        "`python -m bench exchange --quick --processes 2 -o ", "mpi4py", "## An exchange of 2 p",
        "| a meeting alone |", "| 4.00 KiB |", "| 1.00 MiB |", "## An update of the 2 x 64",
        "| (a) one process |", "| (b) one process, 2 shards |", "| (c) 2 processes |",
        "bit for bit", "## Model, not a measurement: weak", "## Model, not a measurement: strong",
        "https://", "| 1,024 |",
    ):  # fmt: skip
        assert words in text
    assert "(c) 2 processes" in done.stdout
    assert "exchanges of 4,096 bytes" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes", 3], "processes must be a power of two, got 3: pass --processes 4"),
        (["--processes", 1], "greater than or equal to 2"),
        (["-o", "."], "is a folder"),
    ],
)
def test_wrong_usage_of_the_exchange_is_a_one_line_error(arguments, message):
    done = bench(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert (done.stderr.count("\n"), done.stderr[:7]) == (1, "bench: ")


def test_the_number_of_processes_is_that_of_the_processors(monkeypatch):
    for count, expected in ((2, 2), (3, 2), (8, 8)):
        monkeypatch.setattr(exchange, "processors", lambda n=count: n)
        assert checked(None) == expected
    monkeypatch.setattr(exchange, "processors", lambda: 1)
    with pytest.raises(ValueError, match="needs two processors, got 1: pass --processes 2"):
        checked(None)
    assert checked(4) == 4


def test_mpi_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(exchange, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'recurrent-engine\[mpi\]'"):
        exchange._launcher(2)
    monkeypatch.undo()
    monkeypatch.setattr(exchange.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ImportError, match="mpiexec and mpi4py are needed"):
        exchange._launcher(2)


def test_a_program_that_ends_early_is_named():
    echo = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    with processes.conversation([sys.executable, "-c", echo]) as ask:
        assert ask(a=1) == {"a": 1}
        assert ask(b=[2]) == {"b": [2]}
    noise = "print('== KILLED ==')\nprint(input())"
    with processes.conversation([sys.executable, "-c", noise]) as ask:
        assert ask(a=1) == {"a": 1}
    with pytest.raises(processes.ProcessFailed, match=r"^KILLED$"):  # noqa: SIM117
        with processes.conversation(
            [sys.executable, "-c", "print('==\\n= KILLED\\n= FAQ')"]
        ) as ask:
            ask(a=1)
    fails = "import sys; print('ValueError: no', file=sys.stderr); print('Abort', file=sys.stderr)"
    with pytest.raises(processes.ProcessFailed, match=r"^ValueError: no$"):  # noqa: SIM117
        with processes.conversation([sys.executable, "-c", fails]) as ask:
            ask(a=1)
    with pytest.raises(ValueError, match="a process of the benchmark failed: ImportError: no"):  # noqa: SIM117
        with exchange._asking([sys.executable, "-c", "raise ImportError('no')"]) as ask:
            ask(measure="threads")


# What is measured


def test_timed_workers_keep_each_sum_and_change_no_bit():
    found = []
    for comm in (None, Timed()):
        lm = CharLM(TEXT, hidden=4, embedding=2)
        lm.train(TEXT, seq=5, batch=4, updates=6, shards=2, comm=comm, progress=False)
        found.append(lm.model.flat)
    assert np.array_equal(*found)
    ends, meetings, sums = np.array(comm.sums).T
    assert len(comm.sums) == 6
    assert (np.diff(ends) > sums[1:] + meetings[1:]).all()
    assert (meetings > 0).all()


def test_updates_are_counted_and_go_on(monkeypatch):
    rank = Rank()
    first, second = (rank.train(4, 2, 6, 3) for _ in range(2))
    for found in (first, second):
        assert [len(found[name]) for name in ("seconds", "meeting", "waiting", "sum")] == [3] * 4
        assert found["waiting"] == [0, 0, 0]
        assert (len(found["bits"][1]), found["bytes"] > 0) == (4, True)
    assert first["bits"] != second["bits"]
    assert first["bits"] == Rank().train(4, 2, 6, 3)["bits"]
    assert first["bits"] != Rank().train(4, 1, 6, 3)["bits"]


def answers(shared=()):
    """A function that asks nobody: updates take as many seconds as the batch has sequences."""
    asked = []

    def ask(measure, hidden, shards, batch, updates):
        asked.append((shards, batch, updates))
        times = [float(batch)] * updates
        bits = shared[min(len(asked), len(shared)) - 1] if shared else "equal"
        return dict(seconds=times, meeting=times, waiting=times, sum=times, bits=bits, bytes=8)

    ask.asked = asked
    return ask


def test_rounds_change_their_order_and_the_first_does_not_count():
    alone, shared = answers(), answers()
    found = train(alone, shared, 4, 64, Pace((), 0, {64: 3}, 2))
    assert shared.asked == [(4, 50, 1), (4, 50, 3), (4, 50, 3)]
    assert alone.asked[:3] == [(1, 50, 1), (4, 50, 1), (1, 25, 1)]
    assert alone.asked[3:6] == [(4, 50, 3), (1, 25, 3), (1, 50, 3)]
    assert found.times["c"]["sum"] == [50.0] * 6
    assert (found.median("d"), found.error, found.size) == (25.0, "", 8)


def test_other_bits_are_an_error_without_times():
    found = train(answers(), answers(["equal", "other"]), 2, 64, Pace((), 0, {64: 1}, 9))
    assert found.times == {}
    assert found.error == "2 processes do not train to the bits of one process"
    sheets = report.tables(measured([found]))
    assert sheets[1].rows == [(found.error,)]
    assert len(sheets) == 2


def test_the_line_has_the_least_relative_errors():
    exact = line({size: 2e-6 + size / 5e8 for size in (10, 1000, 10**6, 10**8)})
    assert exact == pytest.approx((2e-6, 5e8, 0), rel=1e-6, abs=1e-9)
    off = line({10: 1e-6, 20: 1e-6, 10**8: 1.0, 2 * 10**8: 2.2})
    assert off.error == pytest.approx(0.05, abs=0.01)


# Tables


def measured(trainings, processes=2):
    return Measured(
        processes, [1] * processes, 2, [1e-5] * 5, {4096: [2e-5] * 5, 2**20: [1e-3] * 5},
        {t.size: [1e-3] * 5 for t in trainings}, trainings,
    )  # fmt: skip


def training(**seconds):
    """A model whose ways take so many seconds an update."""
    more = dict(meeting=[0.01] * 3, waiting=[0.04] * 3, sum=[0.02] * 3)
    return Training(64, 2**20, {k: dict(seconds=[s] * 3) | more for k, s in seconds.items()})


def test_losing_rows_are_shown():
    sheets = report.tables(measured([training(a=0.2, b=0.25, c=0.4, d=0.1)]))
    rows = {row[0]: row[1:] for row in sheets[1].rows}
    assert rows["(c) 2 processes"] == ("1 + 1", "2", "50", "400 ms", "400–400", "▼ 0.50")
    assert rows["(b) one process, 2 shards"][-1] == "▼ 0.80"
    assert "2 processes need 2.000 times as long as (a) one process." in sheets[1].notes
    parts = {row[0]: row[-1] for row in sheets[2].rows}
    assert list(parts.values()) == ["2.50 %", "5.00 %", "10.00 %"]
    text = sheet.text(sheets)
    assert "▼ 0.50" in text
    assert "versubscribed" not in text


def test_more_processes_than_processors_are_marked(monkeypatch):
    for module in (exchange, report):
        monkeypatch.setattr(module, "processors", lambda: 2)
    sheets = report.tables(measured([training(a=0.2, b=0.2, c=0.1, d=0.1)], processes=4))
    for one in sheets[:3]:
        assert "(oversubscribed)" in one.title
    assert "Oversubscribed: 4 processes share 2 processors." in sheets[0].notes
    assert "4 processes need 0.500 of the time of (a) one process." in sheets[1].notes


def test_the_ways_to_train():
    found = [tuple(way)[1:] for way in kinds(4).values()]
    assert found == [(False, 1, 50), (False, 4, 50), (True, 4, 50), (False, 1, 25)]


# The model


class Counted(Workers):
    """A worker of so many that counts its messages, and the bytes of vectors."""

    def __init__(self, rank, size):
        none = dict.fromkeys(("Isend", "Irecv", "allgather"))
        super().__init__(SimpleNamespace(rank=rank, size=size, **none))
        self.sent = []

    def _swap(self, given, taken, distance):
        self.sent.append(given.nbytes)
        taken[:] = 0


@pytest.mark.parametrize("W", [1, 2, 8, 64])
def test_the_model_counts_what_an_exchange_sends(W):
    vector = np.ones(4 * 64, np.float32)
    for rank in {0, W - 1}:
        worker = Counted(rank, W)
        worker.meet()
        meeting = sum(worker.sent)
        worker.add(vector)
        terms = Terms("", 1.0, math.inf, math.inf, "")
        assert exchange_seconds(terms, vector.nbytes, W) == len(worker.sent)
        terms = Terms("", 0.0, 1.0, math.inf, "")
        assert exchange_seconds(terms, vector.nbytes, W) == sum(worker.sent) - meeting
    added = sum(vector.nbytes >> k for k in range(1, W.bit_length()))
    assert exchange_seconds(Terms("", 0.0, math.inf, 1.0, ""), vector.nbytes, W) == added


def test_weak_and_strong_scaling():
    terms = Terms("", 0.0, 1.0, math.inf, "")
    weak = scaling.scaling(terms, 3, whole=8.0, own=4.0, workers=2)
    assert weak == (3.0, 3 / 7, 4 / 7)
    strong = scaling.scaling(terms, 3, whole=4.0, own=2.0, workers=2)
    assert strong == (3.0, 3 / 5, 2 / 5)


def test_computing_is_the_line_through_a_batch_and_half_of_it():
    found = training(a=0.11, d=0.06)
    for n, seconds in ((50, 0.11), (25, 0.06), (0, 0.01), (100, 0.21)):
        assert computing(found, 50, n) == pytest.approx(seconds)
    noisy = training(a=0.1, d=0.04)
    assert computing(noisy, 50, 0) == 0
    assert computing(noisy, 50, 25) == pytest.approx(0.05)


def test_the_terms_of_this_machine_give_its_exchange():
    found = measured([training(a=0.2, b=0.2, c=0.2, d=0.1)], processes=8)
    found.exchanges[2**24] = [1.0] * 5  # far from the line
    own, *networks = scaling.terms_of(found, 2**20)
    assert exchange_seconds(own, 2**20, 8) == pytest.approx(1e-3)
    assert exchange_seconds(own, 0, 8) == pytest.approx(found.line.seconds)
    assert [t.name for t in networks] == list(scaling.NETWORKS)
    for terms in networks:
        assert terms.latency > own.latency
        assert terms.adding == pytest.approx(2**20 / 1e-3)
        assert "<http" in terms.source
