"""Logs of a training: CSV, TensorBoard, and the history as a table."""

import csv
import struct
import sys

import numpy as np
import pytest

from recurrent import LSTM, Embedding, Linear, Sequential, fit, optim
from recurrent.data import Windows
from recurrent.losses import softmax_cross_entropy
from recurrent.training.history import History
from recurrent.training.logs import CSVLog, TensorBoardLog
from recurrent.training.state import TrainingState

V = 5


def train(state, model, **options):
    ids = np.arange(40)[:, None] + np.arange(2)
    windows = Windows(ids % V, (ids + 1) % V, 10)
    return fit(
        model, windows, softmax_cross_entropy, resume=state, validation=windows, validate_every=2,
        metrics="accuracy", progress=False, **options,
    )  # fmt: skip


def tagger():
    return Sequential(Embedding(V, 3), LSTM(3, 4), Linear(4, V), rng=0)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_log_has_a_row_for_each_update_and_continues(tmp_path):
    path, state, model = tmp_path / "log.csv", TrainingState(optim.Adam(1e-2)), tagger()
    train(state, model, updates=3, callback=CSVLog(path))
    history = train(state, model, updates=6, callback=CSVLog(path))
    found = rows(path)
    assert list(found[0]) == ["update", "loss", "lr", "validation", "accuracy", "seconds"]
    assert [int(row["update"]) for row in found] == [1, 2, 3, 4, 5, 6]
    assert [float(row["loss"]) for row in found] == history.losses
    held = [(int(r["update"]), float(r["validation"])) for r in found if r["validation"]]
    assert held == history.validation
    scores = [(int(r["update"]), float(r["accuracy"])) for r in found if r["accuracy"]]
    assert scores == history.metrics["accuracy"]
    assert {row["lr"] for row in found} == {"0.01"}


def test_rows_of_updates_that_are_made_again_are_replaced(tmp_path):
    path, log = tmp_path / "log.csv", CSVLog(tmp_path / "log.csv")
    for update in range(1, 6):
        log(update, History(losses=[float(update)] * update))
    CSVLog(path)(4, History(losses=[9.0] * 4))
    assert [float(row["loss"]) for row in rows(path)] == [1, 2, 3, 9]
    CSVLog(path)(1, History(losses=[7.0]))
    assert [float(row["loss"]) for row in rows(path)] == [7]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has the columns a, b, and this training update, loss"):
        CSVLog(path)(2, History(losses=[1.0, 1.0]))
    assert path.read_text() == "a,b\n1,2\n"


def scalars(folder):
    """Read the scalars of an event file: records of a length, a checksum and a message."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    data, found, place = path.read_bytes(), {}, 0
    while place < len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        event = Event.FromString(data[place + 12 : place + 12 + size])
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
        place += 12 + size + 4
    return found


def test_tensorboard_finds_all_numbers(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX writes the event files")
    log = TensorBoardLog(tmp_path / "run")
    history = train(TrainingState(optim.Adam(1e-2)), tagger(), updates=4, callback=log)
    found = scalars(tmp_path / "run")  # before it is closed
    log.close()
    float32 = {tag: [(step, np.float32(v)) for step, v in pairs] for tag, pairs in found.items()}

    def expected(pairs):
        return [(step, np.float32(value)) for step, value in pairs]

    assert float32 == {
        "loss/training": expected(enumerate(history.losses, 1)),
        "loss/validation": expected(history.validation),
        "metrics/accuracy": expected(history.metrics["accuracy"]),
        "lr": expected((k, 0.01) for k in range(1, 5)),
    }


def test_without_the_packages_one_line_says_what_to_install(tmp_path, monkeypatch):
    for name in ("tensorboardX", "tensorboardX.event_file_writer", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install recurrent-engine\[tensorboard\]$"):
        TensorBoardLog(tmp_path / "run")
    with pytest.raises(
        ImportError, match=r"to_frame needs pandas: pip install recurrent-engine\[pandas\]$"
    ):
        History().to_frame()
    assert not (tmp_path / "run").exists()


def test_a_history_as_a_table():
    pandas = pytest.importorskip("pandas", reason="pandas makes the table")
    history = train(TrainingState(optim.Adam(1e-2)), tagger(), updates=5)
    frame = history.to_frame()
    assert list(frame.columns) == ["loss", "validation", "accuracy"]
    assert frame.index.tolist() == [1, 2, 3, 4, 5]
    assert frame.index.name == "update"
    assert frame["loss"].tolist() == history.losses
    held = frame["validation"].dropna()
    assert list(zip(held.index, held, strict=True)) == history.validation
    later = History(start=3, losses=[1.0, 2.0]).to_frame()
    assert later.index.tolist() == [4, 5]
    assert isinstance(History().to_frame(), pandas.DataFrame)
