"""Gives the estimators their common part: options, scaling, training, outputs of the model."""

from __future__ import annotations

import copy
import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from .. import checks
from ..checks.guided import explained
from ..data import Batches, Scaler
from ..models.predict import predict
from ..optim import Optimizer
from ..training.fit import fit
from ..training.spec import parse_optimizer
from ..training.state import TrainingState
from .exporting import whole_onnx
from .network import POOLINGS, network
from .sequences import named, sequence, sequences
from .streaming import PredictionStream
from .warming import warm

SEEDS = np.iinfo(np.int32).max
PREDICTED = 256  # sequences of a batch
# The options of what a training that goes on has: the scaler, the network and the optimiser.
LASTING = (
    *("cell", "hidden_size", "num_layers", "bidirectional", "pooling", "dropout"),
    *("scale", "optimizer", "lr"),
)


class Samples(NamedTuple):
    """Sequences with their targets and weights."""

    x: Any  # (n, T, D), or a list of (T_i, D)
    targets: np.ndarray  # (n,) or (n, M)
    weights: np.ndarray | None  # (n,)

    def take(self, rows: np.ndarray) -> Samples:
        """Return some of the samples."""
        x = [self.x[n] for n in rows] if isinstance(self.x, list) else self.x[rows]
        return Samples(x, self.targets[rows], None if self.weights is None else self.weights[rows])

    def batches(self, size: int, rng: Any) -> Batches:
        """Return them in batches; rng None keeps their order."""
        return Batches(
            self.x,
            self.targets,
            min(size, len(self.targets)),
            rng,
            per_sequence=True,
            batch_first=not isinstance(self.x, list),
            dtype="float32",
            sample_weight=self.weights,
        )


class RecurrentEstimator(BaseEstimator):
    """Base class of the classifier and the regressor.

    A subclass implements `_targets`, `_loss`, `_score_metric` and `_strata`.
    """

    model_: Any
    training_: TrainingState
    n_features_in_: int
    _from_table: bool  # whether X of `fit` was 2-D
    _lasting: dict[str, Any]  # the options that the training began with

    @explained
    def __init__(
        self,
        cell="lstm",
        hidden_size=64,
        num_layers=1,
        *,
        bidirectional=False,
        pooling="last",
        dropout=0.0,
        scale="standard",
        optimizer="adam",
        lr=1e-3,
        batch_size=32,
        max_epochs=100,
        clip_norm=1.0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        layout="ntd",
        warm_start=False,
        random_state=None,
        verbose=False,
    ):
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.scale = scale
        self.optimizer = optimizer
        self.lr = lr
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.clip_norm = clip_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.layout = layout
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y, weights, more, classes) -> tuple[np.ndarray, np.ndarray | None, int]:
        """Return targets for the loss, the weights of the samples, and the number of outputs."""
        raise NotImplementedError

    def _loss(self) -> Any:
        """Return the loss."""
        raise NotImplementedError

    def _score_metric(self) -> Any:
        """Return the metric of validations."""
        raise NotImplementedError

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the classes whose shares a split keeps, if there are any."""
        raise NotImplementedError

    def _fit(self, X, y, sample_weight, lengths, more, epochs, classes=None) -> Any:
        """Train; `more` goes on from the earlier training if there is one.

        After an error the estimator is as it was.
        """
        before = dict(vars(self))
        try:
            self._fit_checked(X, y, sample_weight, lengths, more, epochs, classes)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _fit_checked(self, X, y, sample_weight, lengths, more, epochs, classes):
        options = self._checked_options()
        more = hasattr(self, "model_") and bool(more)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        for name, before in self._lasting.items() if more else ():
            if (now := getattr(self, name)) is not before and now != before:
                raise ValueError(
                    f"{name} must stay {checks.shown(before)} in a training that goes on, got "
                    f"{checks.shown(now)}: sklearn.base.clone(estimator) begins another"
                )
        x = sequences(self, X, lengths, reset=not more)
        y = answers(y, len(x))
        weights = sample_weights(sample_weight, len(y))
        targets, weights, size = self._targets(y, weights, more, classes)
        samples = Samples(x, targets, weights)
        if sample_weight is not None:
            samples = samples.take(np.flatnonzero(np.asarray(sample_weight) != 0))
        if not more:
            self._begin(samples, size)
        self._train(samples._replace(x=self._scaled(samples.x)), epochs, options)

    def _refuse_in_parts(self, chosen: bool, option: str) -> None:
        """Raise ValueError for an option that needs all samples at once."""
        chosen, option = (True, "early_stopping=True") if self.early_stopping else (chosen, option)
        if chosen:
            raise ValueError(f"partial_fit cannot have {option}, which needs all samples at once")

    def _checked_options(self) -> dict[str, Any]:
        """Return the options of training; raise an error for one that is out of range."""
        flags = {
            name: checks.flag(getattr(self, name), name)
            for name in ("early_stopping", "warm_start")
        }
        if self.scale is not None:
            checks.choice(self.scale, "scale", ("standard", "minmax"), also=" or None")
        checks.choice(self.pooling, "pooling", POOLINGS)
        checks.integer(self.max_epochs, "max_epochs", 1)
        fraction = checks.number(self.validation_fraction, "validation_fraction", above=0, below=1)
        return flags | dict(
            batch_size=checks.size(self.batch_size, "batch_size"),
            clip_norm=self.clip_norm,
            fraction=fraction,
            patience=checks.integer(self.n_iter_no_change, "n_iter_no_change", 1),
            optimizer=self._optimizer(),
            progress=_shows(self.verbose),
        )

    def _optimizer(self) -> Optimizer:
        """Return a new optimiser."""
        if isinstance(self.optimizer, Optimizer):
            return copy.deepcopy(self.optimizer)
        if callable(self.lr) and not isinstance(self.lr, type):
            checks.number(self.lr(0), "lr(0)", 0)
        return parse_optimizer(checks.text(self.optimizer, "optimizer"), self.lr)

    def _begin(self, samples: Samples, size: int) -> None:
        """Make a new model and a new scaler."""
        seeds: Any = (type(None), int, np.integer, np.random.RandomState)
        checks.instance(self.random_state, seeds, "random_state", "an int, a RandomState or None")
        with named("random_state"):
            self._rng = check_random_state(self.random_state)
        self.scaler_ = None if self.scale is None else Scaler(self.scale)
        if self.scaler_ is not None:
            listed = isinstance(samples.x, list)
            self.scaler_.fit(samples.x, **({} if listed else dict(batch_first=True)))
        self.model_ = network(
            self.cell,
            self._width,
            self.hidden_size,
            size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            dropout=self.dropout,
            rng=int(self._rng.randint(SEEDS)),
        )
        self.training_ = TrainingState()
        self._lasting = {name: getattr(self, name) for name in LASTING}
        self.n_iter_, self.loss_curve_ = 0, []
        self.validation_scores_: Any = None

    def _scaled(self, x: Any) -> Any:
        """Return sequences in the units of the network, as float32."""
        if self.scaler_ is not None:
            x = self.scaler_.transform(x)
        one = [x] if isinstance(x, np.ndarray) else x
        with np.errstate(over="ignore"):
            found = [a.astype(np.float32, copy=False) for a in one]
        for a in found:
            if not np.isfinite(a).all():
                raise ValueError(
                    'X is too large for float32: scale it, by scale="standard" for example'
                )
        return found[0] if isinstance(x, np.ndarray) else found

    def _train(self, samples: Samples, epochs: int, options: dict[str, Any]) -> None:
        """Run epochs of training, and add them to what is known of the training."""
        validation, metrics = None, None
        if options["early_stopping"]:
            rows, held_out = self._split(samples.targets, options["fraction"])
            validation = samples.take(held_out).batches(PREDICTED, None)
            samples, metrics = samples.take(rows), {"score": self._score_metric()}
        batches = samples.batches(options["batch_size"], int(self._rng.randint(SEEDS)))
        state = self.training_
        state.cursor = None  # the order of these batches starts at its beginning
        done = state.history.updates
        first = samples.take(np.arange(min(2, len(samples.targets)))).batches(2, None).batch(0)
        warm(self.model_, first, self._loss(), options["optimizer"], clip_norm=self.clip_norm)
        history = fit(
            self.model_,
            batches,
            self._loss(),
            options["optimizer"] if state.optimizer is None else None,
            epochs=epochs,
            validation=validation,
            metrics=metrics,
            patience=options["patience"] if validation is not None else None,
            keep_best=validation is not None,
            clip_norm=options["clip_norm"],
            progress=options["progress"],
            resume=state,
        )
        if history.stopped == "interrupted":
            warnings.warn("training was interrupted before its end", stacklevel=4)
        losses = history.losses[done - history.start :]
        each = len(batches)
        self.loss_curve_ = [
            *self.loss_curve_,
            *(float(np.mean(losses[k : k + each])) for k in range(0, len(losses), each)),
        ]
        self.n_iter_ = len(self.loss_curve_)
        self.history_ = history
        if validation is not None:
            self.validation_scores_ = [value for _, value in history.metrics["score"]]

    def _split(self, targets: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows to train with and those to validate with."""
        n = len(targets)
        if n < 2:
            raise ValueError("early_stopping needs at least 2 samples, got 1: one to validate with")
        held_out = min(max(1, round(fraction * n)), n - 1)
        strata = self._strata(targets)
        if strata is not None:
            counts = np.unique(strata, return_counts=True)[1]
            if counts.min() < 2 or len(counts) > min(held_out, n - held_out):
                strata = None
        seed = int(self._rng.randint(SEEDS))
        rows, others = train_test_split(
            np.arange(n), test_size=held_out, random_state=seed, stratify=strata
        )
        return np.sort(rows), np.sort(others)

    def _outputs(self, X: Any, lengths: Any) -> np.ndarray:
        """Return the outputs of the network, (n, K) float32."""
        check_is_fitted(self)
        x = self._scaled(sequences(self, X, lengths, reset=False))
        return predict(self.model_, x if isinstance(x, list) else x.swapaxes(0, 1), PREDICTED)

    @property
    def _width(self) -> int:
        """Number of features of the network's input, D."""
        return 1 if self._from_table else self.n_features_in_

    def _answer(self, method: str, y: np.ndarray) -> Any:
        """Return what a method returns for outputs of the network, (n, K)."""
        raise NotImplementedError

    def _stream(self, method: str, methods: tuple[str, ...]) -> PredictionStream:
        """Return a stream whose steps return what a method returns."""
        check_is_fitted(self)
        checks.choice(method, "method", methods)
        wrong = "bidirectional=True" if self.bidirectional else 'pooling="attention"'
        if self.bidirectional or self.pooling == "attention":
            raise ValueError(f"stream() predicts before a sequence ends, and {wrong} needs its end")
        fixed = copy.copy(self)  # another `fit` of this one does not change the stream
        return PredictionStream(
            self.model_.stream(), self.scaler_, self._width, partial(fixed._answer, method)
        )

    def explain(self, x, y=None):
        """Return the page of one sequence: what every gate, state and weight had at every step.

        Parameters
        ----------
        x : ndarray, shape (T, D) or (T,)
            The sequence.
        y : Any, optional
            The right answer, an entry of y in `fit`; with it the page shows gradients too.

        Returns
        -------
        viz.page.explore.Page
            A page of `viz.explore`: `page.save("sample.html")`; a notebook shows it.

        Raises
        ------
        TypeError, ValueError
            If x or y does not fit the training.
        """
        import viz

        check_is_fitted(self)
        one = sequence(x, "x", self.layout)
        if one.shape[1] != self._width:
            raise ValueError(f"x must have {self._width} features, got {one.shape[1]}")
        (one,), targets = self._scaled([one]), None
        if y is not None:
            y = answers(checks.as_array(y, "y")[None], 1)
            targets = copy.copy(self)._targets(y, None, True, None)[0]
        loss = None if y is None else self._loss()
        return viz.explore(self.model_, self.model_.record(one[:, None], targets, loss))

    def to_onnx(self, path=None, lengths=False):
        """Write the estimator as an ONNX graph: scaling, network and what follows it.

        Parameters
        ----------
        path : str or os.PathLike, optional
            A file to write.
        lengths : bool, default False
            Whether the graph has an input "lengths", (n,) of int32.

        Returns
        -------
        onnx.ModelProto
            The graph of "x", (T, n, D) float32 in the units of X, and "y", (n, K): what
            `predict_proba` of a classifier or `predict` of a regressor returns, up to rounding.

        Raises
        ------
        ValueError
            If ONNX has no equal of a layer, or y has several classes for each of several outputs.
        ImportError
            If the package onnx is not installed.
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self)
        return whole_onnx(self.model_, self.scaler_, self._behind(), path, lengths)

    def _behind(self) -> Any:
        """Return what follows the network: a layer, the scaling of y, or None."""
        raise NotImplementedError


def _shows(verbose: Any) -> bool:
    """Return whether to show progress; 0 and 1 say so too, as in scikit-learn."""
    if isinstance(verbose, (bool, np.bool_)):
        return bool(verbose)
    return checks.integer(verbose, "verbose", 0) > 0


def answers(value: Any, n: int) -> np.ndarray:
    """Return y of n samples as an array (n,) or (n, M) of any dtype."""
    y, kept = checks.as_array(value, "y"), None
    if y.ndim not in (1, 2) or y.shape[-1] == 0:
        raise ValueError(f"y must be (n,) or (n, M), got {y.shape}")
    with named("y"):
        y = check_array(y, ensure_2d=False, dtype=kept, input_name="y")  # type: ignore[arg-type]
    if len(y) != n:
        raise ValueError(f"X and y must have the same number of samples, got {n} and {len(y)}")
    return y


def sample_weights(value: Any, n: int) -> np.ndarray | None:
    """Return sample weights as float64 (n,); raise an error unless they are usable."""
    if value is None:
        return None
    a = checks.as_array(value, "sample_weight")
    if a.dtype.kind not in "fiub":
        raise TypeError(f"sample_weight must be numbers, got {a.dtype.name}")
    checks.shape(a, "sample_weight", (n,), "(n,)")
    a = a.astype(np.float64)
    if not (np.isfinite(a) & (a >= 0)).all():
        raise ValueError("sample_weight must be finite and at least 0 everywhere")
    if not a.any():
        raise ValueError("sample_weight must have a weight that is not zero, got zeros alone")
    return a
