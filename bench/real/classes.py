"""Real data sets of sequences, classified beside a baseline, PyTorch and published figures.

The data are scikit-learn's digits, row by row, and series that the package aeon ships. Its pins
exclude newer versions of what is needed here: `pip install --no-deps --target DIR aeon`, and DIR
in PYTHONPATH. Training and test sets are the published ones. Seeds vary the initial weights and
the order of the samples. The PyTorch network has the same initial weights, batches, loss,
optimiser and clipping.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurrent import MaxPool, MeanPool
from recurrent.sklearn import RecurrentClassifier, RecurrentRegressor
from recurrent.sklearn.base import SEEDS

from .tables import heading


class Split(NamedTuple):
    """Sequences (T_i, D) and their classes or numbers."""

    x: list[np.ndarray]
    y: np.ndarray
    x_test: list[np.ndarray]
    y_test: np.ndarray


@dataclass(frozen=True)
class Problem:
    """Holds a data set, the options of the network, and published figures by method."""

    name: str
    options: dict[str, Any]
    published: dict[str, float]
    read: Callable[[str], Split] = field(default=lambda name: of_aeon(name))
    regression: bool = False


class Row(NamedTuple):
    """Holds the accuracy, or the root mean squared error, of a method for each seed."""

    method: str
    scores: list[float]
    seconds: list[float]


def of_aeon(name: str) -> Split:
    """Return a data set that aeon ships, without importing aeon."""
    found = find_spec("aeon")
    if found is None or found.origin is None:
        raise ImportError(
            "the series of aeon are needed: pip install --no-deps --target DIR aeon, and DIR in"
            " PYTHONPATH"
        )
    folder = Path(found.origin).parent / "datasets" / "data" / name
    parts = [read_ts(folder / f"{name}_{part}.ts") for part in ("TRAIN", "TEST")]
    return Split(*parts[0], *parts[1])


def read_ts(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Return sequences (T_i, D) and answers of a .ts file: numbers if all are, else text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(k for k, line in enumerate(lines) if line.strip().lower() == "@data")
    x, y = [], []
    for line in filter(None, map(str.strip, lines[start + 1 :])):
        *channels, answer = line.split(":")
        x.append(np.array([c.split(",") for c in channels], np.float64).T)
        y.append(answer)
    answers = np.array(y)
    numbers = "@targetlabel" in "".join(lines[:start]).lower()
    return x, answers.astype(np.float64) if numbers else answers


def digits(name: str) -> Split:
    """Return scikit-learn's digits as 8 steps of 8 pixels, a quarter of them for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data: Any = load_digits()
    x, x_test, y, y_test = train_test_split(
        list(data.images), data.target, test_size=0.25, random_state=0, stratify=data.target
    )
    return Split(x, np.array(y), x_test, np.array(y_test))


NETWORK = dict(hidden_size=64, bidirectional=True, pooling="mean", lr=3e-3, max_epochs=100)
LONG = {**NETWORK, "cell": "gru"}
PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem(
            "JapaneseVowels",
            # The better of two settings by cross-validation of the training set; but the test
            # accuracies of both were seen, and that of a third, mean pooling and dropout 0.2: .971.
            {**NETWORK, "pooling": "max", "dropout": 0.3},
            {"1-NN DTW": 0.949, "ROCKET": 0.962, "LSTM": 0.797, "LSTNet": 0.981, "TimesNet": 0.984},
        ),
        Problem("digits", NETWORK, {"k-NN": 0.98}, digits),
        Problem(
            "ItalyPowerDemand",
            NETWORK,
            {"1-NN DTW": 0.950, "ROCKET": 0.970, "InceptionTime": 0.966, "HC2": 0.970},
        ),
        Problem(
            "BasicMotions",
            NETWORK,
            {"1-NN DTW": 0.975, "ROCKET": 1.0, "InceptionTime": 1.0, "HC2": 1.0},
        ),
        Problem(
            "GunPoint",
            LONG,
            {"1-NN DTW": 0.907, "ROCKET": 1.0, "InceptionTime": 1.0, "HC2": 1.0},
        ),
        Problem(
            "ArrowHead",
            LONG,
            {"1-NN DTW": 0.703, "ROCKET": 0.823, "InceptionTime": 0.863, "HC2": 0.869},
        ),
        Problem(
            "OSULeaf",
            LONG,
            {"1-NN DTW": 0.591, "ROCKET": 0.942, "InceptionTime": 0.921, "HC2": 0.967},
        ),
        Problem(
            "Covid3Month",
            {**NETWORK, "hidden_size": 16, "dropout": 0.2},
            {"1-NN": 0.0522, "ROCKET": 0.0389, "InceptionTime": 0.0547, "FreshPRINCE": 0.0402},
            regression=True,
        ),
    )
}


def measure(problem: Problem, seeds: int = 5) -> list[Row]:
    """Return what each method reaches; the first fit, which may compile kernels, does not count."""
    data = problem.read(problem.name)
    start = time.perf_counter()
    nearest = np.array([dtw(a, data.x).argmin() for a in data.x_test])
    score = error if problem.regression else accuracy
    took = time.perf_counter() - start
    rows = [Row("1-NN DTW, measured here", [score(data.y[nearest], data.y_test)], [took])]
    kinds: list[tuple[str, Any]] = [("recurrent", RecurrentClassifier), ("PyTorch", InPyTorch)]
    if problem.regression:
        rows.append(Row("mean of y", [score(np.full(len(data.y_test), data.y.mean()), data.y_test)],
                        [0.0]))  # fmt: skip
        kinds = [("recurrent", RecurrentRegressor), ("PyTorch", RegressorInPyTorch)]
    for name, kind in kinds:
        kind(**{**problem.options, "max_epochs": 1}).fit(data.x, data.y)
        scores, seconds = [], []
        for seed in range(seeds):
            model = kind(**problem.options, random_state=seed)
            start = time.perf_counter()
            model.fit(data.x, data.y)
            seconds.append(time.perf_counter() - start)
            scores.append(score(model.predict(data.x_test), data.y_test))
        rows.append(Row(name, scores, seconds))
    return rows


def accuracy(found: np.ndarray, right: np.ndarray) -> float:
    """Return the share of right answers."""
    return float((found == right).mean())


def error(found: np.ndarray, right: np.ndarray) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(((found - right) ** 2).mean()))


def dtw(a: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Return the squared distances of a (T, D) from others by dynamic time warping, no window.

    Diagonal after diagonal of the tables of all others at once.
    """
    T, ends = len(a), np.array([len(b) for b in others]) - 1
    padded = np.zeros((len(others), ends.max() + 1, a.shape[1]))
    for row, b in zip(padded, others, strict=True):
        row[: len(b)] = b
    squares = (a * a).sum(axis=1)[:, None] + (padded * padded).sum(axis=2)[:, None]
    cost = (squares - 2 * a @ padded.swapaxes(1, 2)).clip(0)  # (n, T, S)
    S, i = cost.shape[2], np.arange(T)
    before = np.full((2, len(others), T), np.inf)  # of the last diagonal, and of the one before
    found = np.empty(len(others))
    for k in range(T + S - 1):
        last, older = before
        way = np.minimum(last, np.minimum(shifted(last), shifted(older)))
        if k == 0:
            way[:, 0] = 0
        inside = (k - i >= 0) & (k - i < S)
        way = np.where(inside, way + cost[:, i, (k - i).clip(0, S - 1)], np.inf)
        before = np.stack([way, last])
        done = ends == k - (T - 1)
        found[done] = way[done, T - 1]
    return found


def shifted(a: np.ndarray) -> np.ndarray:
    """Return the entries one row above: those of i - 1 at i."""
    return np.concatenate([np.full_like(a[:, :1], np.inf), a[:, :-1]], axis=1)


class Trained:
    """Trains the network of an estimator by PyTorch instead."""

    def _train(self: Any, samples, epochs, options):
        import torch

        network, classes = self.model_, isinstance(self, RecurrentClassifier)
        modules = torch.nn.ModuleList(module_of(torch, layer) for layer in network.layers)
        modules.load_state_dict({n: torch.tensor(a) for n, a in network.parameters.items()})
        optimizer = torch.optim.Adam(modules.parameters(), lr=self.lr)
        loss = torch.nn.functional.cross_entropy if classes else torch.nn.functional.mse_loss
        torch.manual_seed(int(self._rng.randint(SEEDS)))  # of dropout, and of the order here
        batches = samples.batches(options["batch_size"], torch.initial_seed())
        for _ in range(epochs):
            for batch in batches:
                lengths = torch.as_tensor(batch.lengths)
                x = torch.from_numpy(batch.x)
                y = run(torch, zip(network.layers, modules, strict=True), x, lengths)
                optimizer.zero_grad()
                loss(y, torch.from_numpy(batch.targets)).backward()
                torch.nn.utils.clip_grad_norm_(modules.parameters(), self.clip_norm)
                optimizer.step()
        network.parameters.update({n: p.detach().numpy() for n, p in modules.state_dict().items()})


def module_of(torch: Any, layer: Any) -> Any:
    """Return the module of PyTorch that equals a layer."""
    name = type(layer).__name__
    if name in ("LSTM", "GRU"):
        kind = getattr(torch.nn, name)
        return kind(layer.input_size, layer.hidden_size, bidirectional=layer.bidirectional)
    if name == "Linear":
        return torch.nn.Linear(layer.in_features, layer.out_features)
    return torch.nn.Dropout(layer.p) if name == "Dropout" else torch.nn.Identity()


def run(torch: Any, pairs: Any, x: Any, lengths: Any) -> Any:
    """Return the outputs of modules for padded sequences (T, N, D), packed by their lengths."""
    utilities = torch.nn.utils.rnn
    inside = (torch.arange(len(x))[:, None] < lengths)[:, :, None]
    for layer, module in pairs:
        if layer.cell is not None:
            packed = utilities.pack_padded_sequence(x, lengths, enforce_sorted=False)
            x = utilities.pad_packed_sequence(module(packed)[0])[0]
        elif type(layer) is MeanPool:
            x = (x * inside).sum(dim=0) / lengths[:, None]
        elif type(layer) is MaxPool:
            x = torch.where(inside, x, -torch.inf).amax(dim=0)
        else:
            x = module(x)
    return x


class InPyTorch(Trained, RecurrentClassifier):
    """The classifier, trained by PyTorch."""


class RegressorInPyTorch(Trained, RecurrentRegressor):
    """The regressor, trained by PyTorch."""


def title(seeds: int) -> str:
    """Return a title with what is compared, on which machine and with which versions."""
    words = f"mean of {seeds} seeds, lowest and highest; median seconds of training"
    packages = ("numpy", "numba", "torch", "scikit-learn", "aeon")
    return heading("Classes of real sequences", f"classes --seeds {seeds}", packages, words)


def markdown(problem: Problem, rows: list[Row]) -> str:
    """Return a table in Markdown."""
    measured = "root mean squared error" if problem.regression else "accuracy"
    options = ", ".join(f"{k}={v!r}" for k, v in problem.options.items())
    lines = [
        f"### {problem.name}",
        "",
        f"Network: {options}.",
        "",
        f"| method | {measured} | lowest to highest | seconds |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        mean, several = statistics.mean(row.scores), len(row.scores) > 1
        spread = f"{min(row.scores):.3f} to {max(row.scores):.3f}" if several else ""
        seconds = f"{statistics.median(row.seconds):.2g}"
        lines.append(f"| {row.method} | {mean:.{4 if problem.regression else 3}f} | {spread} | "
                     f"{seconds} |")  # fmt: skip
    for method, value in problem.published.items():
        lines.append(f"| {method}, published | {value:.{4 if problem.regression else 3}f} | | |")
    return "\n".join([*lines, ""])
