"""`RecurrentRegressor`: a number, or several, for each sequence."""

from __future__ import annotations

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from ..data import Scaler
from ..losses import mean_squared_error
from .base import RecurrentEstimator, answers, sample_weights
from .sequences import named


class RecurrentRegressor(RegressorMixin, RecurrentEstimator):
    """Predicts a number, or several, from each sequence with a recurrent network.

    X is an array (n, T, D), a table (n, T) of univariate series, or a list of arrays (T_i, D) of
    different lengths; an array of padded sequences comes with `lengths`. The network computes in
    float32 and minimises the squared error. y is (n,), or (n, M) for M numbers.

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
        How each feature is scaled, by its statistics over the valid steps of the training data;
        each column of y likewise.
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
    model_ : Sequential
        The network, for pictures, files and streams of your own; x is scaled before it, and y is
        scaled back behind it.
    scaler_, target_scaler_ : Scaler or None
        The scaling of X and that of y.
    n_features_in_ : int
        Number of columns of a table X; else number of features, D.
    n_iter_ : int
        Number of epochs.
    loss_curve_ : list of float
        Mean loss of each epoch, in the units of scaled y.
    validation_scores_ : list of float or None
        R2 on the samples set aside, after each epoch.
    history_ : History
        Losses of all updates, and validations.
    training_ : TrainingState
        What `partial_fit` and `warm_start` continue.

    Notes
    -----
    A sequence has the same output, bit for bit, alone, in any batch and in any order.

    `sample_weight` weighs the losses of a batch, as `RecurrentClassifier` says: of scikit-learn's
    `check_estimator` the check that compares weights with repeated samples is expected to fail.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(T, 1)) for T in rng.integers(3, 12, 60)]
    >>> y = np.array([100 + 5 * x.mean() for x in X])
    >>> options = dict(cell="gru", hidden_size=8, pooling="mean", lr=0.02, random_state=0)
    >>> regressor = RecurrentRegressor(max_epochs=30, **options).fit(X, y)
    >>> regressor.score(X, y) > 0.9
    True
    """

    def fit(self, X, y, sample_weight=None, lengths=None):
        """Train on sequences and their numbers.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences.
        y : ndarray, shape (n,) or (n, M)
            The numbers.
        sample_weight : ndarray, shape (n,), optional
            Weights of the samples in the loss.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array; what follows them does not matter.

        Returns
        -------
        RecurrentRegressor
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If an option is out of range, or the arrays do not fit each other; the estimator is as
            it was.
        """
        return self._fit(X, y, sample_weight, lengths, self.warm_start, self.max_epochs)

    def partial_fit(self, X, y, sample_weight=None, lengths=None):
        """Train for one epoch on these samples, from where the training stands.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences. Those of the first call decide the scaling, of y too.
        y : ndarray, shape (n,) or (n, M)
            The numbers.
        sample_weight : ndarray, shape (n,), optional
            Weights of the samples in the loss.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array.

        Returns
        -------
        RecurrentRegressor
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As by `fit`.
        """
        self._refuse_in_parts(False, "")
        return self._fit(X, y, sample_weight, lengths, True, 1)

    def _targets(self, y, weights, more, classes):
        if y.dtype.kind not in "fiu":
            with named("y"):
                y = y.astype(np.float64)
        rows = y.reshape(len(y), -1)
        if more and (self._column, self.n_outputs_) != (y.ndim == 1, rows.shape[1]):
            expected = "(n,)" if self._column else f"(n, {self.n_outputs_})"
            raise ValueError(f"y must be {expected} as in the earlier training, got {y.shape}")
        if not more:
            used = rows if weights is None else rows[weights > 0]
            self.target_scaler_ = None if self.scale is None else Scaler(self.scale).fit(used)
            self._column, self.n_outputs_ = y.ndim == 1, rows.shape[1]
        if self.target_scaler_ is not None:
            rows = self.target_scaler_.transform(rows)
        with np.errstate(over="ignore"):
            rows = rows.astype(np.float32)
        if not np.isfinite(rows).all():
            raise ValueError('y is too large for float32: pass scale="standard"')
        return rows, weights, rows.shape[1]

    def _loss(self):
        return mean_squared_error

    def _score_metric(self):
        return R2()

    def _strata(self, targets):
        return None

    def predict(self, X, lengths=None):
        """Return the number, or the numbers, of each sequence.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array.

        Returns
        -------
        ndarray, shape (n,) or (n, M), float64
            Numbers, in the form and the units of y.
        """
        return self._answer("predict", self._outputs(X, lengths))

    def _answer(self, method, y):
        y = y.astype(np.float64)
        if self.target_scaler_ is not None:
            y = self.target_scaler_.inverse_transform(y)
        return y[:, 0] if self._column else y

    def stream(self):
        """Return a stream, which predicts after every step of a sequence.

        Returns
        -------
        PredictionStream
            `stream.step(x_t)` has the bits of `predict` for the steps so far.

        Raises
        ------
        ValueError
            If the network needs the whole sequence: both directions, or attention.
        """
        return self._stream("predict", ("predict",))

    def _behind(self):
        return self.target_scaler_

    def score(self, X, y, sample_weight=None, lengths=None):
        """Return R2, the coefficient of determination; of several outputs their mean.

        Parameters
        ----------
        X : ndarray, shape (n, T, D) or (n, T), or list of n arrays (T_i, D)
            The sequences.
        y : ndarray, shape (n,) or (n, M)
            The right numbers.
        sample_weight : ndarray, shape (n,), optional
            Weights of the samples.
        lengths : ndarray, shape (n,), int, optional
            Number of valid steps of each sequence of an array.

        Returns
        -------
        float
            1 is best; a constant, the mean of y, has 0.
        """
        found = self.predict(X, lengths=lengths)
        right, weights = answers(y, len(found)), sample_weights(sample_weight, len(found))
        if right.size != found.size:
            raise ValueError(f"y must be {found.shape} as what is predicted, got {right.shape}")
        with named("y"):
            return r2_score(right, found, sample_weight=weights)


class R2:
    """R2 as a metric of `fit`, the mean over the outputs.

    Its counts are, for each output, the number of rows, the sums of y and y squared, and the
    squared error.
    """

    higher_is_better = True

    def __call__(self, y, targets, lengths=None):
        return self.value(self.counts(y, targets))

    def counts(self, y, targets, lengths=None):
        """Return what is added up over batches, (4, M)."""
        t = targets.astype(np.float64)
        ones = np.full(t.shape[1], float(len(t)))
        return np.stack([ones, t.sum(axis=0), (t * t).sum(axis=0), ((y - t) ** 2).sum(axis=0)])

    def value(self, counts):
        """Return R2 of all rows; an output that is constant counts as 1 if it is met, else 0."""
        n, total, squares, error = counts
        spread = squares - total * total / n
        each = np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), error == 0)
        return float(each.mean())
