"""The training history: the loss of every update, validations and metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import Guided
from ..models import schema

LISTS = ("losses", "validation", "metrics")
UNNAMED = "metric"  # the name of the metric of an older file

_count = schema.whole(0, 2**53)


def _any_number(value: Any, name: str) -> None:
    """Accept a number, NaN and infinity included: a validation may give one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {checks.shown(value)}")


def _pair(value: Any, name: str) -> None:
    """Accept a number of updates and a number, such as the loss of a validation."""
    checks.instance(value, list, name, "a list")
    if len(value) != 2:
        raise ValueError(f"{name} must have 2 entries, got {len(value):,}")
    _count(value[0], f"{name}[0]")
    _any_number(value[1], f"{name}[1]")


def _metrics(value: Any, name: str) -> None:
    """Accept metrics by name, or the list of a metric without a name that older files have."""
    check = schema.items(_pair)
    (check if isinstance(value, list) else schema.mapping(check))(value, name)


# The fields that are no lists, and those of them that older files lack.
LATER: dict[str, schema.Schema] = {
    "monitor": schema.text(200),
    "lr": schema.optional(checks.number),
}
FACTS: dict[str, schema.Schema] = {
    "start": _count,
    "best": schema.optional(_pair),
    "seconds": checks.number,
    "stopped": schema.text(200),
    "smoothed": schema.optional(checks.number),
}

# What `History.to_dict` returns, after a round trip through JSON; every entry may be missing.
HISTORY = schema.record(
    {
        "losses": schema.items(_any_number),
        "validation": schema.items(_pair),
        "metrics": _metrics,
        "updates": _count,
        **FACTS,
        **LATER,
    }
)


@dataclass
class History(Guided):
    """The losses, validations and metrics of a training run, all plain numbers.

    Parameters
    ----------
    start : int
        Number of updates made before the first of `losses`.
    losses : list of float
        Loss of each update, computed before the parameters change.
    validation : list of (int, float)
        Number of updates made and mean validation loss, for each validation.
    metrics : dict of str to list of (int, float)
        For each metric by name, number of updates made and value, for each validation.
    best : (int, float), optional
        Number of updates and value of the best validation; NaN is never the best.
    seconds : float
        Wall-clock time spent in `fit`.
    stopped : str
        Why training ended: "finished", "patience", "callback" or "interrupted"; empty while it
        runs.
    smoothed : float, optional
        Exponential moving average of the losses.
    monitor : str
        What `best` is the best of: "loss", or the name of a metric.
    lr : float, optional
        Learning rate of the last update.
    """

    start: int = 0
    losses: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    best: tuple[int, float] | None = None
    seconds: float = 0.0
    stopped: str = ""
    smoothed: float | None = None
    monitor: str = "loss"
    lr: float | None = None

    @property
    def updates(self) -> int:
        """Number of updates made, including those before `start`."""
        return self.start + len(self.losses)

    def __repr__(self):
        words = []
        if self.losses:
            words.append(f"loss {self.losses[0]:.4g} to {self.losses[-1]:.4g}")
        if self.validation:
            words.append(f"validation {self.validation[-1][1]:.4g}")
        if self.best is not None:
            words.append(f"best {self.best[1]:.4g} after update {self.best[0]:,}")
        words += [f"{self.seconds:.3g} s", self.stopped]
        return f"<History of {self.updates:,} updates: {', '.join(filter(None, words))}>"

    def copy(self) -> History:
        """Return a history with lists of its own.

        Returns
        -------
        History
        """
        return replace(
            self,
            losses=list(self.losses),
            validation=list(self.validation),
            metrics={name: list(values) for name, values in self.metrics.items()},
        )

    def to_frame(self) -> Any:
        """Return the history as a table with a row for each update.

        Returns
        -------
        pandas.DataFrame
            Its index is the number of updates made; its columns are loss, validation and the
            metrics by name, NaN where an update has none.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-not-found,import-untyped]
        except ImportError:
            raise ImportError(
                "to_frame needs pandas: pip install recurrent-engine[pandas]"
            ) from None
        first = self.start + 1
        losses = pandas.Series(self.losses, range(first, first + len(self.losses)), np.float64)
        columns = {"loss": losses}
        for name, pairs in {"validation": self.validation, **self.metrics}.items():
            columns[name] = pandas.Series(dict(pairs), dtype=np.float64)
        frame = pandas.DataFrame(columns)
        frame.index = frame.index.astype(np.int64).rename("update")
        return frame

    def to_dict(self) -> dict:
        """Return the history as a dictionary that can be written as JSON.

        Returns
        -------
        dict
            The fields by name, and "updates".
        """
        copied = self.copy()
        values = {f.name: getattr(copied, f.name) for f in fields(self)}
        return values | {"updates": self.updates}

    @classmethod
    def from_dict(cls, values: dict) -> History:
        """Build a history from the result of `to_dict`, also after a round trip through JSON.

        Parameters
        ----------
        values : dict
            Unknown names are ignored.

        Returns
        -------
        History
        """
        known = {f.name for f in fields(cls)}
        history = cls(**{k: v for k, v in values.items() if k in known})
        history.validation = [(update, loss) for update, loss in history.validation]
        metrics: Any = history.metrics
        if isinstance(metrics, list):  # of an older file
            metrics = {UNNAMED: metrics} if metrics else {}
        history.metrics = {
            name: [(update, value) for update, value in pairs] for name, pairs in metrics.items()
        }
        if history.best is not None:
            history.best = history.best[0], history.best[1]
        return history

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict]:
        """Return the history as arrays, whatever its length, and as a few values for JSON.

        Returns
        -------
        arrays : dict of str to ndarray, each of shape (n,)
            "losses"; "validation.updates" and "validation.values"; the same of each metric, such as
            "metrics.accuracy.updates".
        values : dict
            The other fields by name.
        """
        arrays: dict[str, np.ndarray] = {"losses": np.array(self.losses, np.float64)}
        lists = {f"metrics.{name}": pairs for name, pairs in self.metrics.items()}
        for name, pairs in {"validation": self.validation, **lists}.items():
            arrays[f"{name}.updates"] = np.array([update for update, _ in pairs], np.int64)
            arrays[f"{name}.values"] = np.array([value for _, value in pairs], np.float64)
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in LISTS}
        return arrays, values | {"best": None if self.best is None else list(self.best)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], values: dict) -> History:
        """Build a history from the result of `to_arrays`.

        Parameters
        ----------
        arrays : dict of str to ndarray, each of shape (n,)
            The arrays.
        values : dict
            The other fields, also after a round trip through JSON.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            If an array is missing, or has another dtype or shape than it would have.
        """
        dtypes = {"updates": "int64", "values": "float64"}
        names = {name.rpartition(".")[0] for name in arrays} - {""} | {"validation"}
        expected = {f"{name}.{part}": dtype for name in names for part, dtype in dtypes.items()}
        expected["losses"] = "float64"
        for name in expected.keys() | arrays.keys():
            known = name in expected and re.fullmatch(
                r"losses|(validation|metrics(\..*)?)\.\w+", name
            )
            if name not in arrays or not known:
                what = "is missing" if known else "is unknown"
                raise ValueError(f"array history.{name} {what}")
            a, dtype = arrays[name], expected[name]
            if a.ndim != 1 or a.dtype != dtype:
                raise ValueError(
                    f"array history.{name} must be (n,) {dtype}, got {a.shape} {a.dtype.name}"
                )
        lists: dict[str, Any] = {"losses": arrays["losses"].tolist(), "metrics": {}}
        for name in sorted(names):
            updates, numbers = (arrays[f"{name}.{part}"] for part in dtypes)
            if updates.shape != numbers.shape or (updates.size and updates.min() < 0):
                raise ValueError(
                    f"arrays history.{name} must be updates from 0 and as many values, got "
                    f"{updates.shape} and {numbers.shape}"
                )
            pairs = list(zip(updates.tolist(), numbers.tolist(), strict=True))
            field_name, _, metric = name.partition(".")
            if field_name == "validation":
                lists["validation"] = pairs
            elif metric:
                lists["metrics"][metric] = pairs
            elif pairs:  # of an older file
                lists["metrics"][UNNAMED] = pairs
        return cls.from_dict({**values, **lists})
