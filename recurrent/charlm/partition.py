"""Scores the rows of data frames where they are: in Spark, Dask and Ray Data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..models.jobs import Jobs
from ..models.loading import load
from ..models.predict import outputs
from .model import CharLM
from .scoring import score_ids
from .text import UNKNOWN


@explained
def score_partition(
    frames: Any,
    model: Any,
    column: str,
    output: str = "score",
    batch: int = 256,
    *,
    unknown: str = "error",
) -> Any:
    """Add the output of a model to data frames, as a column: the scores of the rows of a partition.

    The bits are those of `predict`, or of `CharLM.bits_per_character`, in any partition.
    Spark passes an iterator of frames, Dask and Ray Data a frame:

        from functools import partial
        from recurrent import score_partition

        score = partial(score_partition, model="/shared/model.safetensors", column="text")
        spark_frame.mapInPandas(score, "id long, text string, score double")

        meta = dask_frame._meta.assign(score=0.0)
        dask_frame.map_partitions(score, meta=meta)

        ray_dataset.map_batches(score, batch_format="pandas")

    The column of a model other than a character model is "array<float>" or "array<array<float>>"
    for Spark, and `assign(score=None)` for Dask, which must keep lists as they are:
    `dask.config.set({"dataframe.convert-string": False})`. Each process opens a file once. Its
    threads use all processors of the machine, unless its environment has NUMBA_NUM_THREADS=1.

    Parameters
    ----------
    frames : pandas.DataFrame or iterable of pandas.DataFrame
        The rows.
    model : Sequential, CharLM, str or os.PathLike
        The model, or the file of one, by a path that holds on every machine.
    column : str
        The column of the sequences: texts for a character model, otherwise lists or arrays of
        numbers, (T_i, D), or (T_i,) for ids and for D = 1. Numbers are converted to the dtype of
        the model.
    output : str, default "score"
        The column to add.
    batch : int, default 256
        Number of sequences of a batch.
    unknown : {"error", "skip", "replace"}
        What becomes of characters that are not in the vocabulary of a character model; see
        `Vocabulary.encode`.

    Returns
    -------
    pandas.DataFrame or iterator of pandas.DataFrame
        The frames with the new column: the bits per character, float64, NaN for a text of fewer
        than 2 symbols; for another model the output of each row, a list of K numbers or of T_i
        lists of them. A missing sequence, such as None, has NaN or None.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or holds no model, or a sequence does not fit the model: the
        error names its row.
    KeyError
        If there is no such column.
    TypeError
        If an argument or a sequence has the wrong type.
    IndexError
        If an id is out of range.

    Examples
    --------
    >>> import pandas as pd
    >>> from recurrent import CharLM
    >>> lm = CharLM("to be or not to be", layers=1, hidden=8, embedding=4)
    >>> frame = score_partition(pd.DataFrame({"text": ["to be", "t"]}), lm, "text")
    >>> bool(frame["score"][0] == lm.bits_per_character("to be"))
    True
    >>> float(frame["score"][1])
    nan
    """
    if isinstance(model, (str, os.PathLike)):
        path = checks.path(model, "model").absolute()
        status = path.stat()
        model = _loaded(path, status.st_size, status.st_mtime_ns)
    Jobs(model)  # raises an error for what is no model of one sequence
    checks.text(column, "column")
    checks.text(output, "output")
    checks.choice(unknown, "unknown", UNKNOWN)
    batch = checks.size(batch, "batch")
    if _is_frame(frames):
        return _scored(frames, model, column, output, batch, unknown)
    checks.iterable(frames, "frames", "a pandas DataFrame or an iterable of them")
    return _each(frames, model, column, output, batch, unknown)


@lru_cache(maxsize=2)
def _loaded(path: Any, size: int, time: int) -> Any:
    """Return the model of a file of this size and time of change."""
    return load(path)


def _is_frame(frame: Any) -> bool:
    """Return whether an object is a frame of pandas, which is not imported for it."""
    return all(hasattr(frame, name) for name in ("columns", "index", "assign"))


def _each(frames: Iterable, *options: Any) -> Iterator[Any]:
    """Yield each frame with its scores."""
    for frame in frames:
        if not _is_frame(frame):
            raise TypeError(
                f"frames must be a pandas DataFrame or an iterable of them, got one of "
                f"{checks.shown(frame)}"
            )
        yield _scored(frame, *options)


def _scored(frame: Any, model: Any, column: str, output: str, batch: int, unknown: str) -> Any:
    """Return a frame with the scores of its rows."""
    if column not in frame.columns:
        known = ", ".join(map(str, frame.columns))
        raise KeyError(f"column must be one of {known}, got {column!r}")
    cells, index = frame[column], frame.index
    text = isinstance(model, CharLM)
    convert = _ids if text else _numbers
    kept, rows = [], []
    for n, cell in enumerate(cells):
        if _missing(cell):
            continue
        with checks.naming(f"{column}[{checks.shown(index[n])}]"):
            sequence = convert(model, cell, unknown)
        if not text or len(sequence) > 1:
            kept.append(sequence)
            rows.append(n)

    def name(n: int) -> str:
        return f"{column}[{checks.shown(index[rows[n]])}]"

    values: Any = np.full(len(cells), np.nan) if text else [None] * len(cells)
    if text:
        scores: Any = score_ids(model, model, kept, batch, 1, len(kept), name)
    else:
        scores = outputs(Jobs(model), kept, batch, name, len(kept))
    for n, score in zip(rows, scores, strict=True):
        values[n] = score.bits if text else score.tolist()
    made = type(cells)(values, index=index, dtype="float64" if text else object)
    return frame.assign(**{output: made})


def _missing(cell: Any) -> bool:
    """Return whether a cell is empty: None, NaN or NA."""
    nan = isinstance(cell, float) and cell != cell
    return cell is None or nan or type(cell).__name__ == "NAType"


def _ids(lm: CharLM, cell: Any, unknown: str) -> np.ndarray:
    """Return the ids of a text."""
    return lm._ids(cell, unknown)


def _numbers(model: Any, cell: Any, unknown: str) -> np.ndarray:
    """Return a cell as an array (T, D), or (T,) of ids: Spark has arrays of arrays in it."""
    first = getattr(model, "model", model).layers[0]
    a = checks.as_array(cell, "the cell")
    if a.dtype == object:
        a = checks.as_array([checks.as_array(row, "a row") for row in a], "the cell")
    if first.gives_lookup:
        return a if a.size else a.astype(np.int64)
    if a.dtype.kind not in "fiub" or a.ndim not in (1, 2):
        raise TypeError(f"expected numbers (T, D) or (T,), got {checks.shown(cell)}")
    a = a if a.size else a.reshape(0, first.in_features)
    return (a if a.ndim == 2 else a[:, None]).astype(getattr(model, "model", model).dtype)
