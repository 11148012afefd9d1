"""`RecurrentClassifier`: a class, or several, for each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from .. import checks, metrics
from ..checks.guided import explained
from ..layers import Sigmoid, Softmax
from ..losses import binary_cross_entropy, softmax_cross_entropy
from .base import RecurrentEstimator, answers, sample_weights
from .sequences import named


class EachOutput:
    """Softmax cross-entropy of several outputs side by side: the mean over the outputs.

    Parameters
    ----------
    sizes : list of int
        Number of classes of each output.
    """

    def __init__(self, sizes: list[int]):
        ends = np.cumsum(sizes).tolist()
        self.parts = [slice(b - size, b) for b, size in zip(ends, sizes, strict=True)]

    def __call__(self, y, targets, lengths=None, *, sample_weight=None):
        value, dy = 0.0, np.empty_like(y)
        for m, part in enumerate(self.parts):
            logits = np.ascontiguousarray(y[:, part])
            one, dy[:, part] = softmax_cross_entropy(
                logits, targets[:, m], sample_weight=sample_weight
            )
            value += one / len(self.parts)
        dy /= len(self.parts)
        return value, dy

    def entries(self, y, targets, lengths=None, sample_weight=None):
        """Count the samples, or add up their weights."""
        return len(y) if sample_weight is None else float(np.sum(sample_weight))

    def accuracy(self, y, targets, lengths=None):
        """Return the share of samples all of whose outputs are right."""
        found = np.stack([y[:, part].argmax(axis=1) for part in self.parts], axis=1)
        return float((found == targets).all(axis=1).mean())


class RecurrentClassifier(ClassifierMixin, RecurrentEstimator):
    """Classifies sequences with a recurrent network.

    X is an array (n, T, D), a table (n, T) of univariate series, or a list of arrays (T_i, D) of
    different lengths; an array of padded sequences comes with `lengths`. The network computes in
    float32. y holds a class for each sequence, or (n, M): a yes or no for each of M labels, or one
    class for each of M outputs.

    Parameters
    ----------
    cell : str or Cell, default "lstm"
        The cell: "lstm", "gru", "rnn", or another of `recurrent.cells`.
    hidden_size : int, default 64
        Number of units of a layer, and of each direction.
    num_layers : int, default 1
        Number of recurrent layers.
    bidirectional : bool, default False
        Whether each layer also runs from the last time step to the first.
    pooling : {"last", "mean", "max", "attention"}, default "last"
        How the steps of a sequence become one vector: the last valid one, the mean or the maximum
        of all, or the mean after attention of each step to all.
    dropout : float, default 0.0
        Share of the values dropped between layers and before the last one, in training.
    scale : {"standard", "minmax"} or None, default "standard"
        How each feature is scaled, by its statistics over the valid steps of the training data.
    optimizer : str or Optimizer, default "adam"
        Name, with options if you like: "rmsprop:alpha=0.95". An Optimizer has a rate of its own.
    lr : float or callable, default 0.001
        Learning rate, or a schedule of `recurrent.schedules`.
    batch_size : int, default 32
        Number of sequences of an update.
    max_epochs : int, default 100
        Number of epochs of `fit`.
    clip_norm : float or None, default 1.0
        Limit of the norm of the gradient.
    early_stopping : bool, default False
        Whether to set samples aside for validation, to end when their loss no longer falls, and to
        keep the parameters that were best.
    validation_fraction : float, default 0.1
        Share of the samples set aside.
    n_iter_no_change : int, default 10
        Number of epochs in a row without a better loss that ends training.
    class_weight : dict, list of dict, "balanced" or None, default None
        Weights of the classes in the loss, as scikit-learn takes them.
    layout : {"ntd", "ndt"}, default "ntd"
        Order of the axes of X: "ndt" is that of sktime and aeon, (n, D, T).
    warm_start : bool, default False
        Whether another `fit` goes on from the parameters, the scaling and the state of the
        optimiser that the earlier one left.
    random_state : int, RandomState or None, default None
        Seed of the initial parameters, of dropout and of the order of the samples.
    verbose : bool, default False
        Whether to show progress.

    Attributes
    ----------
    classes_ : ndarray, shape (K,), or list of ndarray
        The classes; a list with those of each output if there are several.
    model_ : Sequential
        The network, for pictures, files and streams of your own; x is scaled before it.
    scaler_ : Scaler or None
        The scaling of X.
    n_features_in_ : int
        Number of columns of a table X; else number of features, D.
    n_iter_ : int
        Number of epochs.
    loss_curve_ : list of float
        Mean loss of each epoch.
    validation_scores_ : list of float or None
        Accuracy on the samples set aside, after each epoch.
    history_ : History
        Losses of all updates, and validations.
    training_ : TrainingState
        What `partial_fit` and `warm_start` continue.

    Notes
    -----
    A sequence has the same output, bit for bit, alone, in any batch and in any order.

    `sample_weight` weighs the losses of a batch. Samples of weight 0 are left out before anything
    else. A sample of weight 2 is drawn once, with twice the gradient, and two equal samples are
    drawn in two batches: so the one is not exactly the other, and of scikit-learn's
    `check_estimator` that check alone is expected to fail.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(T, 2)).cumsum(axis=0) for T in rng.integers(5, 30, 60)]
    >>> y = np.array(["up" if x[-1, 0] > x[0, 0] else "down" for x in X])
    >>> classifier = RecurrentClassifier(hidden_size=8, lr=0.02, max_epochs=30, random_state=0)
    >>> classifier.fit(X, y).score(X, y) > 0.9
    True
    >>> classifier.predict_proba(X[:3]).shape, classifier.model_
    ((3, 2), Sequential(LSTM(input_size=2, hidden_size=8), Last(), Linear(in_features=8, \
out_features=2)))
    """

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
        class_weight=None,
        layout="ntd",
        warm_start=False,
        random_state=None,
        verbose=False,
    ):
        super().__init__(
            cell=cell,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            pooling=pooling,
            dropout=dropout,
            scale=scale,
            optimizer=optimizer,
            lr=lr,
            batch_size=batch_size,
            max_epochs=max_epochs,
            clip_norm=clip_norm,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            layout=layout,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X, y, sample_weight=None, lengths=None):
        """Train on sequences and their classes.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences.
        y : ndarray, shape (n,) or (n, M)
            The classes.
        sample_weight : ndarray, shape (n,), optional
            Weights of the samples in the loss.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array; what follows them does not matter.

        Returns
        -------
        RecurrentClassifier
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If an option is out of range, or the arrays do not fit each other; the estimator is as
            it was.
        """
        return self._fit(X, y, sample_weight, lengths, self.warm_start, self.max_epochs)

    def partial_fit(self, X, y, classes=None, sample_weight=None, lengths=None):
        """Train for one epoch on these samples, from where the training stands.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences. Those of the first call decide the scaling.
        y : ndarray, shape (n,) or (n, M)
            The classes.
        classes : ndarray, shape (K,), or list of ndarray, optional
            All classes of later calls too; by default those of y in the first call.
        sample_weight : ndarray, shape (n,), optional
            Weights of the samples in the loss.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array.

        Returns
        -------
        RecurrentClassifier
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As by `fit`; also if y has a class that the first call did not know.
        """
        self._refuse_in_parts(self.class_weight == "balanced", 'class_weight="balanced"')
        return self._fit(X, y, sample_weight, lengths, True, 1, classes)

    def _targets(self, y, weights, more, classes):
        with named("y"):
            check_classification_targets(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        kind = {"multilabel-indicator": "labels", "multiclass-multioutput": "outputs"}.get(
            type_of_target(y, input_name="y"), "classes"
        )
        if more:
            kind = self._kind if (self._kind == "classes") == (y.ndim == 1) else kind
        columns = [y] if y.ndim == 1 else list(y.T)
        if kind == "labels":
            known: Any = np.arange(y.shape[1])
            found, size = y.astype(np.float32), y.shape[1]
        else:
            listed = None if classes is None else [classes] if kind == "classes" else classes
            if more:
                listed = self.classes_ if self._kind == "outputs" else [self.classes_]
            every = [
                np.unique(column if listed is None else listed[m])
                for m, column in enumerate(columns)
            ]
            found = np.stack(
                [_indices(c, every[m], m, kind) for m, c in enumerate(columns)], axis=1
            )
            size = sum(len(one) for one in every)
            known = every if kind == "outputs" else every[0]
            found = found if kind == "outputs" else found[:, 0]
        if more and (kind != self._kind or size != self.model_[-1].out_features):
            raise ValueError(
                f"y must have the form of the training that goes on, with {self.n_outputs_} "
                f"outputs, got {y.shape}"
            )
        if self.class_weight is not None:
            kinds: Any = (str, dict, list)
            checks.instance(self.class_weight, kinds, "class_weight", '"balanced" or a dict')
            with named("class_weight"):
                own = compute_sample_weight(self.class_weight, y)
            weights = own if weights is None else own * weights
        self.classes_, self._kind, self.n_outputs_ = known, kind, len(columns)
        return found, weights, size

    def _loss(self):
        if self._kind == "outputs":
            return EachOutput([len(one) for one in self.classes_])
        return binary_cross_entropy if self._kind == "labels" else softmax_cross_entropy

    def _score_metric(self):
        loss = self._loss()
        if isinstance(loss, EachOutput):
            return loss.accuracy
        return all_right if self._kind == "labels" else metrics.accuracy

    def _strata(self, targets):
        return targets if self._kind == "classes" else None

    def decision_function(self, X, lengths=None):
        """Return the outputs of the network before the softmax.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array.

        Returns
        -------
        ndarray, shape (n, K), or (n,) of two classes, or list of ndarray (n, K_m)
            Logits; of two classes the second minus the first; of several outputs a list.
        """
        return self._answer("decision_function", self._outputs(X, lengths))

    def _logits(self, y: np.ndarray) -> Any:
        """Return outputs of the network, (n, K), as `decision_function` does."""
        if self._kind == "outputs":
            return [y[:, part] for part in self._loss().parts]
        if self._kind == "labels" or y.shape[1] > 2:
            return y
        return y[:, 1] - y[:, 0] if y.shape[1] == 2 else y[:, 0]

    def predict_proba(self, X, lengths=None):
        """Return the probability of each class.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array.

        Returns
        -------
        ndarray, shape (n, K) or (n, M), float64, or list of ndarray (n, K_m)
            In the order of `classes_`; of yes or no for M labels that of yes; of several outputs a
            list.
        """
        return self._answer("predict_proba", self._outputs(X, lengths))

    def _probabilities(self, y: np.ndarray) -> Any:
        """Return the probabilities of logits (n, K)."""
        y = y.astype(np.float64)
        if self._kind == "labels":
            return Sigmoid().forward(y)[0]
        if self._kind == "classes":
            return Softmax().forward(y)[0]
        parts = self._loss().parts
        return [Softmax().forward(np.ascontiguousarray(y[:, part]))[0] for part in parts]

    def predict(self, X, lengths=None):
        """Return the most probable class of each sequence.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array.

        Returns
        -------
        ndarray, shape (n,) or (n, M)
            Classes, in the form of y.
        """
        return self._answer("predict", self._outputs(X, lengths))

    def _labels(self, y: np.ndarray) -> np.ndarray:
        """Return the classes of logits (n, K)."""
        if self._kind == "labels":
            return (y > 0).astype(int)
        if self._kind == "classes":
            return self.classes_[y.argmax(axis=1)]
        pairs = zip(self.classes_, self._loss().parts, strict=True)
        return np.stack([known[y[:, part].argmax(axis=1)] for known, part in pairs], axis=1)

    def _answer(self, method, y):
        ways = {
            "predict": self._labels,
            "predict_proba": self._probabilities,
            "decision_function": self._logits,
        }
        return ways[method](y)

    def stream(self, method="predict"):
        """Return a stream, which predicts after every step of a sequence.

        Parameters
        ----------
        method : {"predict", "predict_proba", "decision_function"}, default "predict"
            What each step returns.

        Returns
        -------
        PredictionStream
            `stream.step(x_t)` has the bits of the method for the steps so far.

        Raises
        ------
        ValueError
            If the network needs the whole sequence: both directions, or attention.
        """
        return self._stream(method, ("predict", "predict_proba", "decision_function"))

    def _behind(self):
        if self._kind == "outputs":
            raise ValueError(
                f"to_onnx writes one softmax, and y has {self.n_outputs_} outputs: "
                "recurrent.to_onnx(estimator.model_) writes the network before them"
            )
        return Sigmoid() if self._kind == "labels" else Softmax()

    def score(self, X, y, sample_weight=None, lengths=None):
        """Return the accuracy: the share of sequences all of whose outputs are right.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences.
        y : ndarray, shape (n,) or (n, M)
            The right classes.
        sample_weight : ndarray, shape (n,), optional
            Weights of the samples.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array.

        Returns
        -------
        float
        """
        found = self.predict(X, lengths=lengths)
        right, weights = answers(y, len(found)), sample_weights(sample_weight, len(found))
        if right.size != found.size:
            raise ValueError(f"y must be {found.shape} as what is predicted, got {right.shape}")
        same = found == right.reshape(found.shape)
        same = same.all(axis=1) if same.ndim == 2 else same
        return float(np.average(same, weights=weights))


def all_right(y, targets, lengths=None):
    """Return the share of rows (n, M) of logits all of whose signs are right."""
    return float(((y > 0) == (targets > 0.5)).all(axis=1).mean())


def _indices(column: np.ndarray, known: np.ndarray, m: int, kind: str) -> np.ndarray:
    """Return the place of each entry among the known classes."""
    place = np.searchsorted(known, column).clip(0, len(known) - 1)
    for n in np.flatnonzero(known[place] != column)[:1]:
        where = f"y[{n}]" if kind == "classes" else f"y[{n}, {m}]"
        raise ValueError(
            f"{where} must be one of the classes {known.tolist()[:20]}, got "
            f"{checks.shown(column[n : n + 1].tolist()[0])}; classes="
            " of the first partial_fit names those to come"
        )
    return place.astype(np.int64)
