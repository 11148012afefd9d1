"""`RecurrentForecaster`: the next values of one series or many, with intervals."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import checks
from ..checks.guided import explained
from ..optim import Optimizer
from ..training.spec import parse_optimizer
from .features import BASELINES, Features
from .fitted import Fitted, calibrated
from .frames import Panel, read, read_future, read_more, write_forecast, write_table
from .learning import LOSSES, Options, exogenous, held_out, train
from .network import network
from .rolling import rolling_forecasts

STRATEGIES = ("direct", "recursive")
SEEDS = np.iinfo(np.int32).max


class RecurrentForecaster(BaseEstimator):
    """Forecasts the next values of one series, or of many with one network, with intervals.

    y is an array (L,), an array (L, N) of N series, a list of arrays (L_i,), a Series of pandas or
    polars, or a long frame with the columns `unique_id`, `ds` and `y`. Forecasts come in the same
    kind, their dates go on. NaN is a missing value: the network reads a flag in its place, and the
    loss leaves it out. The names of columns are Nixtla's: `yhat`, `yhat-lo-80`, `yhat-hi-80`.

    The network reads a value at each step and keeps its state, so that `update` takes a new value
    in constant time. It computes in float32, in the units of each series.

    Parameters
    ----------
    horizon : int
        Number of steps to forecast.
    strategy : {"direct", "recursive"}, default "direct"
        Whether the network forecasts all steps at once, or one, from which the next one follows.
    lags : int or tuple of int, default ()
        Seasonal lags, such as 12 for months: the network is told the value so many steps before
        each target.
    baseline : {"last", "seasonal"} or None, default "last"
        What the output of the network is added to: the last value, the value the first lag before
        the target, or nothing.
    past_only : tuple of str or int, default ()
        Columns of X that are not known ahead; numbers if X is an array.
    calibration_fraction : float or None, default 0.2
        Share of the steps at the end of each series that residuals are measured on, at least
        `horizon` of them. None measures none: then there are no intervals.
    refit : bool, default True
        Whether to train another network after that, with all steps: with early stopping, for the
        number of epochs that was best for the first one.
    window : int, optional
        Number of steps of a training sequence; by default 64, or twice the horizon or the largest
        lag if that is more.
    loss : {"squared_error", "absolute_error", "huber"}, default "squared_error"
        What training minimises.
    cell : str or Cell, default "lstm"
        The cell: "lstm", "gru", "rnn", or another of `recurrent.cells`.
    hidden_size : int, default 64
        Number of units of a layer.
    num_layers : int, default 1
        Number of recurrent layers.
    dropout : float, default 0.0
        Share of the values dropped between layers and before the last one, in training.
    scale : {"standard", "robust"} or None, default "standard"
        How each series is scaled, relative to its baseline: by mean and standard deviation, or by
        median and quartiles.
    optimizer : str or Optimizer, default "adam"
        Name, with options if you like: "rmsprop:alpha=0.95". An Optimizer has a rate of its own.
    lr : float or callable, default 0.001
        Learning rate, or a schedule of `recurrent.schedules`.
    batch_size : int, default 32
        Number of windows of an update.
    max_epochs : int, default 100
        Number of epochs.
    clip_norm : float or None, default 1.0
        Limit of the norm of the gradient.
    early_stopping : bool, default True
        Whether to set the last steps of each series aside for validation (of those before the
        calibration part), to end when their loss no longer falls, and to keep the parameters that
        were best.
    validation_fraction : float, default 0.1
        Share of the steps set aside.
    n_iter_no_change : int, default 10
        Number of epochs in a row without a better loss that ends training.
    random_state : int, RandomState or None, default None
        Seed of the initial parameters, of dropout and of the order of the windows.
    verbose : bool, default False
        Whether to show progress.

    Attributes
    ----------
    model_ : Sequential
        The network, for pictures and files.
    series_ : tuple
        The ids of the series, in the order of forecasts.
    residuals_ : list of ndarray, shape (n_k,), or None
        Absolute residuals of each step ahead, in units of the series' scale, ascending.
    n_iter_ : int
        Number of epochs.
    loss_curve_ : list of float
        Mean loss of each epoch.
    history_ : History
        Losses of all updates, and validations.

    Notes
    -----
    Intervals are conformal: they hold their share of the values to come if residuals stay as they
    are in the calibration part, whatever their distribution. They do not if the series changes.

    A series has the same forecast, bit for bit, alone and among others, and whether its values came
    one by one or at once. Dates must be regular: steps of a fixed length, months, month ends or
    business days. Those of a time zone may be regular in local time or in UTC.

    Examples
    --------
    >>> import numpy as np
    >>> from recurrent.sklearn import RecurrentForecaster
    >>> wave = np.sin(np.arange(206) * 2 * np.pi / 12)
    >>> forecaster = RecurrentForecaster(6, hidden_size=16, lr=0.01, max_epochs=10, random_state=0)
    >>> forecast = forecaster.fit(wave[:200]).predict(level=None)
    >>> forecast.shape, bool(abs(forecast - wave[200:]).max() < 0.2)
    ((6,), True)
    >>> forecaster.update(wave[200]).predict(level=80).shape
    (6, 3)
    """

    @explained
    def __init__(
        self,
        horizon: int,
        *,
        strategy: str = "direct",
        lags: Any = (),
        baseline: str | None = "last",
        past_only: Any = (),
        calibration_fraction: float | None = 0.2,
        refit: bool = True,
        window: int | None = None,
        loss: str = "squared_error",
        cell: Any = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
        scale: str | None = "standard",
        optimizer: Any = "adam",
        lr: Any = 1e-3,
        batch_size: int = 32,
        max_epochs: int = 100,
        clip_norm: float | None = 1.0,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.horizon = horizon
        self.strategy = strategy
        self.lags = lags
        self.baseline = baseline
        self.past_only = past_only
        self.calibration_fraction = calibration_fraction
        self.refit = refit
        self.window = window
        self.loss = loss
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
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
        self.random_state = random_state
        self.verbose = verbose

    @explained
    def fit(self, y: Any, X: Any = None) -> RecurrentForecaster:
        """Train the network, and measure how far it misses on steps that it has not seen.

        Parameters
        ----------
        y : ndarray, shape (L,) or (L, N), list of ndarray, shape (L_i,), Series or frame
            The series, NaN where a value is missing. A long frame has the columns `unique_id`, `ds`
            and `y`; others are taken as X.
        X : ndarray, shape (L, F) or (L, N, F), list of ndarray, shape (L_i, F), or frame, optional
            Exogenous columns, at the steps of y.

        Returns
        -------
        RecurrentForecaster
            This one.

        Raises
        ------
        ValueError, TypeError
            If an option or a shape does not fit, dates are not regular, or a series is too short.
        """
        options = self._checked_options()
        panel = read(y, X)
        features = self._features(panel)
        self._check_lengths(panel, features)
        run = self._learn(panel, features, options)
        self._run, self.model_, self.series_ = run, run.trained.model, panel.form.ids
        self.residuals_ = None if run.intervals is None else run.intervals.residuals
        self.history_, self.loss_curve_ = run.trained.history, run.trained.loss_curve
        self.n_iter_ = len(self.loss_curve_)
        return self

    @explained
    def predict(self, X: Any = None, level: Any = (80, 95)) -> Any:
        """Forecast the next `horizon` values of each series.

        Parameters
        ----------
        X : ndarray, shape (horizon, F) or (horizon, N, F), list of ndarray, or frame, optional
            The columns that are known ahead, at the steps to forecast.
        level : float, sequence of float or None, default (80, 95)
            Levels of the intervals, in percent; None forecasts values alone.

        Returns
        -------
        ndarray, shape (horizon,), (horizon, C), (horizon, N) or (horizon, N, C), list or frame
            Forecasts, in the kind of y. With levels there are C columns: the value, then the lower
            and the upper end of each interval.

        Raises
        ------
        ValueError, TypeError
            If the forecaster is not fitted, X does not fit, or there are no residuals for a level.
        """
        run = self._fitted()
        levels = _levels(level, run.intervals)
        wanted = tuple(run.form.columns[k] for k in run.trained.features.ahead)
        future = read_future(X, run.form, run.ends, wanted, run.horizon)
        values = run.forecast(future, levels)
        return write_forecast(run.form, run.ends, values, _names(levels))

    @explained
    def update(self, y_new: Any, X: Any = None) -> RecurrentForecaster:
        """Take new values, which follow those known: the state goes on, the network stays.

        It takes constant time for each value. The scale of a series stays that of `fit`, and so do
        the residuals.

        Parameters
        ----------
        y_new : float, ndarray, shape (L,) or (L, N), list of ndarray, shape (L_i,), Series or frame
            New values in the kind of y; a float for a single array. A long frame has rows of the
            series that have new values. NaN is a missing value.
        X : ndarray, shape (L, F) or (L, N, F), list of ndarray, shape (L_i, F), or frame, optional
            All exogenous columns at the new steps.

        Returns
        -------
        RecurrentForecaster
            This one.

        Raises
        ------
        ValueError, TypeError
            If the forecaster is not fitted, or values or dates do not go on from those known.
        """
        run = self._fitted()
        panel = read_more(y_new, X, run.form, run.ends)
        run.advance(panel)
        return self

    @explained
    def cross_validate(
        self,
        y: Any,
        X: Any = None,
        windows: int = 3,
        step: int | None = None,
        level: Any = (80, 95),
        refit: bool = False,
    ) -> Any:
        """Forecast from several steps of the past, as `predict` would have done there.

        The forecaster itself stays as it is. No forecast sees a value after its cutoff.

        Parameters
        ----------
        y : ndarray, shape (L,) or (L, N), list of ndarray, shape (L_i,), Series or frame
            The series, as `fit` takes them.
        X : ndarray, shape (L, F) or (L, N, F), list of ndarray, shape (L_i, F), or frame, optional
            Exogenous columns.
        windows : int, default 3
            Number of forecasts of each series; the last one ends with it.
        step : int, optional
            Number of steps from one cutoff to the next; by default the horizon.
        level : float, sequence of float or None, default (80, 95)
            Levels of the intervals, in percent.
        refit : bool, default False
            Whether to train at each cutoff, or at the first one alone.

        Returns
        -------
        frame, or ndarray of records
            A row for each forecast value: `unique_id` where there are several series, `ds`,
            `cutoff`, the date of the last value that was known, `y`, `yhat` and the ends of the
            intervals. Dates of arrays are numbers of steps.

        Raises
        ------
        ValueError, TypeError
            If an option or a shape does not fit, dates are not regular, or a series is too short.
        """
        options = self._checked_options()
        windows = checks.integer(windows, "windows", 1, checks.LARGEST)
        refit = checks.flag(refit, "refit")
        step = self.horizon if step is None else checks.integer(step, "step", 1, checks.LARGEST)
        levels = _levels(level, self.calibration_fraction)
        panel = read(y, X)
        features = self._features(panel)
        used = (windows - 1) * step + self.horizon
        self._check_lengths(panel, features, used)
        ends = [len(a) - used for a in panel.y]
        found = []
        for k in range(windows):
            if k == 0 or refit:
                cut = [end + k * step for end in ends]
                run = self._learn(panel.until(cut), features, options)
                x = [run.trained.scaled(a) for a in exogenous(panel)]
                rolling = rolling_forecasts(
                    run.runner, panel.y, x, cut, self.horizon, 1 if refit else windows, step
                )
            _, forecast = next(rolling)
            found.append(run.with_intervals(forecast, levels))
        return _table(panel, ends, step, found, levels)

    def _fitted(self) -> Fitted:
        """Return what fit learned; raise an error before it."""
        if not hasattr(self, "_run"):  # quicker than the check alone
            check_is_fitted(self, "model_")
        return self._run

    def _checked_options(self) -> Options:
        """Return the options of training; raise an error for one that is out of range."""
        checks.integer(self.horizon, "horizon", 1, checks.LARGEST)
        checks.choice(self.strategy, "strategy", STRATEGIES)
        checks.choice(self.loss, "loss", LOSSES)
        if self.baseline is not None:
            checks.choice(self.baseline, "baseline", BASELINES, also=" or None")
        if self.baseline == "seasonal" and not self._lags():
            raise ValueError("baseline='seasonal' needs lags, such as lags=12, got none")
        if self.scale is not None:
            checks.choice(self.scale, "scale", ("standard", "robust"), also=" or None")
        checks.flag(self.refit, "refit")
        if self.calibration_fraction is not None:
            checks.number(self.calibration_fraction, "calibration_fraction", above=0, below=1)
        fraction = checks.number(self.validation_fraction, "validation_fraction", above=0, below=1)
        early = checks.flag(self.early_stopping, "early_stopping")
        window, verbose = self.window, self.verbose
        if isinstance(verbose, (int, np.integer)):  # 0 and 1, too
            verbose = bool(verbose)
        if isinstance(self.optimizer, Optimizer):
            optimizer = copy.deepcopy(self.optimizer)
        else:
            optimizer = parse_optimizer(checks.text(self.optimizer, "optimizer"), self.lr)
        random = check_random_state(self.random_state)
        options = Options(
            network=dict(
                cell=self.cell,
                hidden_size=checks.size(self.hidden_size, "hidden_size"),
                num_layers=self.num_layers,
                dropout=self.dropout,
            ),
            optimizer=optimizer,
            loss=LOSSES[self.loss],
            scale=self.scale,
            window=None if window is None else checks.integer(window, "window", 1, checks.LARGEST),
            batch_size=checks.size(self.batch_size, "batch_size"),
            max_epochs=checks.integer(self.max_epochs, "max_epochs", 1),
            clip_norm=self.clip_norm,
            validation=fraction if early else None,
            patience=checks.integer(self.n_iter_no_change, "n_iter_no_change", 1),
            seed=int(random.randint(SEEDS)),
            verbose=checks.flag(verbose, "verbose"),
        )
        # Its errors come before the data are read.
        network(input_size=1, output_size=1, pooling=None, **options.network)
        return options

    def _lags(self) -> tuple[int, ...]:
        """Return the lags, checked."""
        return tuple(checks.integer(k, "lags", 1, checks.LARGEST) for k in _several(self.lags))

    def _features(self, panel: Panel) -> Features:
        """Return what the network reads of a panel."""
        columns = panel.form.columns
        past = _several(self.past_only)
        for name in past:
            if not isinstance(name, (str, int, np.integer)) or name not in columns:
                raise ValueError(
                    f"past_only must name columns of X, {', '.join(map(str, columns)) or 'none'}, "
                    f"got {checks.shown(name)}"
                )
        direct = self.strategy == "direct"
        if past and not direct:
            raise ValueError(
                "past_only must be empty with strategy='recursive', which needs all columns ahead, "
                f"got {checks.shown(past)}"
            )
        ahead = tuple(k for k, name in enumerate(columns) if name not in past)
        return Features(
            self.horizon if direct else 1, self._lags(), self.baseline, len(columns), ahead
        )

    def _check_lengths(self, panel: Panel, features: Features, more: int = 0) -> None:
        """Raise ValueError for a series with too few steps, or without values."""
        calibration, horizon = self.calibration_fraction, self.horizon
        validation = self.validation_fraction if self.early_stopping else None
        needed = _enough(features, horizon, calibration, validation) + more
        longest = max(len(y) for y in panel.y)
        for lag in features.lags:
            if lag >= longest:
                raise ValueError(f"lags must be below the {longest} steps of y, got {lag}")
        for n, y in enumerate(panel.y):
            name = panel.form.owner(n, "y")
            if len(y) < needed:
                of = f" and the {more} steps of the windows" if more else ""
                less = _enough(features, horizon, None, validation) + more
                advice = f"; {less} are enough with calibration_fraction=None"
                if panel.form.kind == "matrix" and len(panel.y) >= needed:
                    less, advice = 0, "; y is (L, N), so pass y.T if its rows are series"
                raise ValueError(
                    f"{name} must have at least {needed} steps for horizon={horizon}{of}, "
                    f"got {len(y)}{advice if less < needed else ''}"
                )
            first = len(y) - more
            first -= held_out(first, calibration, horizon)
            if np.count_nonzero(~np.isnan(y[:first])) < 2:
                raise ValueError(
                    f"{name} must have at least 2 values in its first {first} steps, which the "
                    "network is trained with, got fewer: the others are NaN"
                )

    def _learn(self, panel: Panel, features: Features, options: Options) -> Fitted:
        """Train, and measure how far the network misses."""
        recursive, intervals, trained = self.strategy == "recursive", None, None
        if self.calibration_fraction is not None:
            counts = [held_out(len(a), self.calibration_fraction, self.horizon) for a in panel.y]
            ends = [len(a) - c for a, c in zip(panel.y, counts, strict=True)]
            trained = train(panel.until(ends), features, options, recursive)
            intervals = calibrated(trained, panel, ends, max(counts), self.horizon)
            if options.validation is not None:  # the next network needs no steps to find this
                options = options._replace(validation=None, max_epochs=trained.best_epochs)
        if trained is None or self.refit:
            trained = train(panel, features, options, recursive)
        return Fitted(panel, trained, intervals, self.horizon)


def _enough(
    features: Features, horizon: int, calibration: float | None, validation: float | None
) -> int:
    """Return the number of steps that a series needs."""
    least = features.targets + 1 + (features.lags[0] if features.baseline == "seasonal" else 0)
    n = least = max(least, features.lead + 2)
    while True:
        left = n - held_out(n, calibration, horizon)
        if left - held_out(left, validation, 1) >= least:
            return n
        n += 1


def _several(value: Any) -> list[Any]:
    """Return the entries of a list, and anything else as the only one."""
    if isinstance(value, (list, tuple, range)) or (isinstance(value, np.ndarray) and value.ndim):
        return list(value)
    return [value]


def _levels(level: Any, intervals: Any) -> tuple[float, ...]:
    """Return levels in percent; raise an error for one out of range, or without residuals."""
    if level is None:
        return ()
    levels = tuple(checks.number(v, "level", above=0, below=100) for v in _several(level))
    if levels and intervals is None:
        raise ValueError(
            "level must be None, because calibration_fraction=None measures no residuals, got "
            f"{checks.shown(level)}"
        )
    return levels


def _names(levels: Sequence[float]) -> list[str]:
    """Return the names of the columns of forecasts."""
    return ["yhat", *(f"yhat-{end}-{level:g}" for level in levels for end in ("lo", "hi"))]


def _table(panel: Panel, ends: list[int], step: int, found: list, levels: tuple) -> Any:
    """Return forecasts of cross-validation as rows: by series, then by cutoff."""
    horizon, rows, dates, cutoffs, y, values = len(found[0]), [], [], [], [], []
    for n, end in enumerate(ends):
        for k, forecast in enumerate(found):
            first = end + k * step
            part = slice(first, first + horizon)
            rows.append(np.full(horizon, n))
            dates.append(panel.dates[n][part])
            cutoffs.append(np.repeat(panel.dates[n][first - 1 : first], horizon))
            y.append(panel.y[n][part])
            values.append(forecast[:, n])
    table = np.concatenate(values)
    return write_table(
        panel.form,
        np.concatenate(rows),
        {"ds": np.concatenate(dates), "cutoff": np.concatenate(cutoffs)},
        {"y": np.concatenate(y)} | {name: table[:, k] for k, name in enumerate(_names(levels))},
    )
