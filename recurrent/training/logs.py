"""Callbacks of `fit` that write the course of a training to files.

>>> from recurrent.training.logs import CSVLog
>>> history = fit(model, batches, loss, Adam(1e-3), callback=CSVLog("log.csv"))  # doctest: +SKIP
"""

from __future__ import annotations

import csv
import io
import os
import time
from typing import Any

from .. import checks
from ..models import files
from .history import History


def last_values(history: History, update: int) -> dict[str, float | None]:
    """Return the validation loss and the metrics of an update by name; None if it has none."""
    columns = {"validation": history.validation, **history.metrics}
    return {
        name: pairs[-1][1] if pairs and pairs[-1][0] == update else None
        for name, pairs in columns.items()
    }


class CSVLog:
    """Writes a CSV file with a row for each update.

    The columns are update, loss, lr, validation, the metrics by name, and seconds. If the file
    exists, the rows of earlier updates stay, so that a resumed training continues it; a new
    training writes it anew.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Examples
    --------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
    >>> CSVLog(path)(1, History(losses=[0.5], lr=0.01, seconds=2.0))
    >>> print(checks.path(path).read_text(), end="")
    update,loss,lr,validation,seconds
    1,0.5,0.01,,2.0
    """

    def __init__(self, path: str | os.PathLike):
        self.path = checks.path(path)
        self.columns: list[str] = []

    def __call__(self, update: int, history: History) -> None:
        """Write the row of an update.

        Parameters
        ----------
        update : int
            Number of updates made.
        history : History
            The history up to this update.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the file has other columns.
        """
        update = checks.integer(update, "update", 1)
        checks.instance(history, History, "history", "a History")
        values = {"update": update, "loss": history.losses[-1], "lr": history.lr}
        values |= {**last_values(history, update), "seconds": round(history.seconds, 3)}
        if not self.columns:
            self._begin(list(values), update)
        row = ["" if v is None else v for v in (values.get(name) for name in self.columns)]
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(row)

    def _begin(self, columns: list[str], update: int) -> None:
        """Write the names of the columns and the rows of earlier updates."""
        rows = []
        if update > 1 and self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                found = list(csv.reader(file))
            if found and found[0] != columns:
                raise ValueError(
                    f"{self.path} has the columns {', '.join(found[0])[:200]}, and this training"
                    f" {', '.join(columns)[:200]}: choose another path"
                )
            rows = [r for r in found[1:] if r and r[0].isdigit() and int(r[0]) < update]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        files.replace(self.path, text.getvalue().encode())
        self.columns = columns


class TensorBoardLog:
    """Writes an event file for TensorBoard: losses, learning rate and metrics by update.

    It needs the package tensorboardX: `pip install recurrent-engine[tensorboard]`.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder, one for each training; it is made if need be.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike):
        folder = checks.path(folder, "folder")
        try:
            from tensorboardX.event_file_writer import EventsWriter  # type: ignore[import-not-found]
            from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-not-found]
        except ImportError:
            raise ImportError(
                "TensorBoardLog needs tensorboardX: pip install recurrent-engine[tensorboard]"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        self.event: Any = Event
        # Not a SummaryWriter: its thread would lose what it has not written at the end.
        self.writer: Any = EventsWriter(os.path.join(folder, "events"))

    def __call__(self, update: int, history: History) -> None:
        """Write the numbers of an update.

        Parameters
        ----------
        update : int
            Number of updates made.
        history : History
            The history up to this update.
        """
        update = checks.integer(update, "update", 1)
        checks.instance(history, History, "history", "a History")
        numbers = {"loss/training": history.losses[-1], "lr": history.lr}
        for name, value in last_values(history, update).items():
            numbers["loss/validation" if name == "validation" else f"metrics/{name}"] = value
        event = self.event(wall_time=time.time(), step=update)
        for name, value in numbers.items():
            if value is not None:
                event.summary.value.add(tag=name, simple_value=value)
        self.writer.write_event(event)
        self.writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()
