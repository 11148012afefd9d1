"""The training loop: `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import checks, schedules
from ..checks.guided import explained
from ..data import Batch, Windows
from ..data.batches import Shuffled
from ..data.sharding import Shards
from ..layers.quantized import refuse_quantized
from ..losses import Loss
from ..metrics import gives_number
from ..models.base import Model
from ..optim import Optimizer
from .agreement import facts_of
from .bptt import check_continues
from .evaluation import LOSS, by_name, check_model, evaluate
from .history import History
from .loop import Loop
from .monitor import Monitor, direction
from .rates import Rates
from .reader import Reader, check_batches, count_batches
from .shards import ShardRuns
from .state import TrainingState
from .workers import Workers

__all__ = ["evaluate", "fit"]

Callback = Callable[[int, History], Any]


@explained
def fit(
    model: Model,
    batches: Iterable[Batch],
    loss: Loss,
    optimizer: Optimizer | None = None,
    *,
    epochs: int = 1,
    updates: int | None = None,
    validation: Iterable[Batch] | None = None,
    validate_every: int | None = None,
    metrics: Any = None,
    monitor: str = LOSS,
    patience: int | None = None,
    keep_best: bool = True,
    freeze: str | list[str] | dict[str, Any] | None = None,
    lr: dict[str, float | schedules.Schedule] | None = None,
    accumulate: int = 1,
    ema: float | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    progress: Any = True,
    callback: Callback | list[Callback] | None = None,
    look_back: int | None = None,
    checkpoint_every: int | None = None,
    smooth: float = 0.98,
    resume: TrainingState | None = None,
    shards: int | None = None,
    comm: Any = None,
) -> History:
    """Train a model: for each batch forward, loss, backward, gradient clipping, update.

    Ctrl-C, SIGTERM and SIGHUP end training as if it had finished: after the current update, or at
    once during validation, which `resume` then makes first. A second Ctrl-C raises
    KeyboardInterrupt at once. Whenever `fit` raises an error, model and `resume` are those after
    the last whole update, so that training can go on.

    Parameters
    ----------
    model : Model
        Its parameters are modified.
    batches : sized iterable of Batch
        One epoch per iteration, such as `Windows`, `Batches` or a list of `Batch`. It starts at the
        cursor of `resume`, or at its own `cursor`, if it has one.
    loss : callable
        `loss(y, targets, lengths=...)` returns the value and the gradient with respect to y.
    optimizer : Optimizer, optional
        That of `resume` by default.
    epochs : int
        Number of epochs.
    updates : int, optional
        Total number of updates, including those made before `resume`; overrides `epochs`.
    validation : sized iterable of Batch, optional
        Held-out batches, evaluated after each epoch and at the end.
    validate_every : int, optional
        Number of updates between two validations; by default an epoch.
    metrics : callable, str, list or dict, optional
        Metrics that each validation computes, such as `metrics.accuracy` or its name, or several: a
        list, or a dict of them by names of your own. See `recurrent.metrics`.
    monitor : str
        What decides which validation is the best: "loss", or the name of a metric, which says
        whether higher values are better.
    patience : int, optional
        Early stopping: number of validations in a row without a new best that ends training.
    keep_best : bool
        With `validation`, leave the model with the best parameters rather than the latest.
    freeze : str, list of str, or dict of str to ndarray, shape of the parameter, bool, optional
        Parameters whose names begin so stay as they are, as do those of layers whose `trainable` is
        False: ["0."] is the first layer. Their gradient counts as zero. A dict has masks (bool) of
        the entries that stay: {"0.weight_hh_l0": W_hh == 0} keeps a pattern of zeros, such as
        blocks on the diagonal.
    lr : dict of str to float or callable, optional
        Learning rates, or schedules, of the parameters whose names begin so: {"0.": 1e-4}. The
        longest beginning wins; the optimiser has the rate of all others.
    accumulate : int
        Number of batches of an update: its gradient is that of all of them joined, and so is its
        loss. The last update of an epoch takes those that are left.
    ema : float, optional
        Average the parameters: after each update the average keeps this share of itself and takes
        the rest from the parameters, as 0.999. Validations use the average, and `fit` leaves the
        model with it, or with the best one.
    clip_norm : float, optional
        Clip the norm of the gradient to this limit.
    clip_value : float, optional
        Then clip each entry of the gradient to this limit.
    progress : bool or rich.console.Console
        Whether, or where, to show progress.
    callback : callable or list of callable, optional
        `callback(update, history)` runs after each update and its validation. Training ends if it
        returns True. `recurrent.training.logs` has callbacks that write logs: CSV, TensorBoard.
    look_back : int, optional
        How many steps a gradient goes back where batches carry the state, including those of the
        batch; by default only those. See `TruncatedBPTT`.
    checkpoint_every : int, optional
        Keep the state of every that many steps alone and compute the others again in the backward
        pass: little memory for long sequences, the same bits. See `TruncatedBPTT`.
    smooth : float
        Smoothing factor of `history.smoothed`, an exponential moving average of the losses.
    resume : TrainingState, optional
        Continue this training: its optimiser, history, cursor and carried state. The state
        (`recurrent.training.state`) is updated after each update. The model must be as the earlier
        call left it.
    shards : int, optional
        Cut each batch into so many parts of neighbouring sequences, a power of two, and add their
        gradients in one order; 1 by default, or that of `resume`. It is part of the training: other
        numbers give other bits, and other dropout masks. A batch may have fewer sequences.
    comm : mpi4py.MPI.Comm, optional
        Share the shards among the processes of this communicator, such as `MPI.COMM_WORLD` in a
        program that `mpiexec -n 4 python -m mpi4py program.py` starts. Their number divides
        `shards` and changes no bit. Each calls `fit` with equal arguments and reads its own part of
        the data; each ends with the same model, `resume` and history. The first one shows progress,
        validates and runs its callbacks, which must not change the model. An error of one process,
        or a signal, ends `fit` on all of them. If an update fails on one that the others have made,
        `resume` has no optimiser any more: training goes on from a checkpoint.

    Returns
    -------
    History
        Losses and validations, including those of `resume`.

    Raises
    ------
    FloatingPointError
        Before an update whose loss or gradient is not finite; the message says whether x, targets
        or a parameter is not. The update before is the last; the attribute `history` of the error
        holds the history so far.
    ValueError
        If `batches` is empty, an option is out of range, `patience`, `metrics` or a schedule that
        waits for validations is used without `validation`, no parameter's name begins with a
        prefix, `updates` is below the number already made, the best parameters of an earlier call
        are lost, or a schedule ends before training does.
    TypeError
        If `batches` has no length, or an argument has the wrong type.

    Examples
    --------
    >>> from recurrent import LSTM, Linear, Sequential
    >>> from recurrent.data import Windows
    >>> from recurrent.losses import mean_squared_error
    >>> from recurrent.optim import Adam
    >>> wave = np.sin(0.3 * np.arange(401, dtype=np.float32)).reshape(-1, 1, 1)
    >>> model = Sequential(LSTM(1, 8), Linear(8, 1), rng=0)
    >>> windows = Windows(wave[:-1], wave[1:], 20)
    >>> history = fit(model, windows, mean_squared_error, Adam(1e-2), epochs=20, progress=False)
    >>> history.updates, history.losses[0] > 0.3, history.losses[-1] < 0.01
    (400, True, True)
    """
    workers = Workers.of(comm)
    with workers.together():
        state = TrainingState() if resume is None else resume
        checks.instance(state, TrainingState, "resume", "a TrainingState")
        shards = _shards(shards, state)
        own = workers.check_shards(shards)
        rule: Any = state.optimizer if optimizer is None else optimizer
        check_batches(batches, "batches")
        check_model(model, loss)
        refuse_quantized(model.parameters, "fit trains")
        checks.instance(rule, Optimizer, "optimizer", "an Optimizer such as optim.Adam()")
        limits = {"clip_norm": clip_norm, "clip_value": clip_value}
        limits = {k: checks.number(v, k, above=0) for k, v in limits.items() if v is not None}
        epochs = checks.integer(epochs, "epochs", 0)
        keep_best = checks.flag(keep_best, "keep_best")
        smooth = checks.number(smooth, "smooth", 0, below=1)
        accumulate = checks.integer(accumulate, "accumulate", 1)
        if ema is not None:
            ema = checks.number(ema, "ema", 0, below=1)
        if validate_every is not None:
            validate_every = checks.integer(validate_every, "validate_every", 1)
        callbacks = _callbacks(callback)
        named = _metrics_of_validations(metrics, model)
        higher = direction(monitor, named)
        if patience is not None:
            patience = checks.integer(patience, "patience", 1)
        if not isinstance(progress, (bool, np.bool_)) and not hasattr(progress, "print"):
            raise TypeError(
                f"progress must be True, False or a rich Console, got {type(progress).__name__}"
            )
        rates = Rates(model, rule, freeze, lr)
        if validation is not None:
            count_batches(validation, "validation")
        else:
            needing = {
                "patience counts": patience,
                "metrics are computed in": metrics,
                "ReduceOnPlateau waits for": rates.plateaus,
            }
            for words, value in needing.items():
                if value:
                    raise ValueError(
                        f"{words} validations, so it needs validation=batches, got None"
                    )
        keep_best = keep_best and validation is not None
        history = state.history.copy()
        history.stopped = ""
        following = Monitor(history, monitor, higher)
        if keep_best and state.best_is_lost(model, (history.best or (None,))[0]):
            raise ValueError(
                "the best parameters of the training to resume are not kept, because it ran with"
                " another monitor, or without keep_best or validation since: pass keep_best=False"
            )
        count_batches(batches)
        reader = Reader(Shards(batches, own, shards, model), state.cursor)
        if isinstance(batches, Windows) and len(batches) > 1:
            read = batches.shard(own.start, shards) if shards > 1 else batches
            if read.batch(1).carry:
                check_continues(model)
        start = history.updates
        last = start + reader.updates(epochs, accumulate)
        if updates is not None:
            last = checks.integer(updates, "updates", 0)
            if last < start:
                raise ValueError(
                    f"updates counts those made before resume too: it must be at least {start},"
                    f" got {last}"
                )
        for rate in rates.used:
            schedules.check_length(rate, rule.steps, rule.steps + last - start)
        if shards > 1 and state.seed is None:
            state.seed = int(model.generator.integers(2**53))
        state.shards = shards
        carries = shards == 1 or not isinstance(batches, Shuffled)
        loop = Loop(
            model=model,
            loss=loss,
            state=state,
            history=history,
            reader=reader,
            shards=ShardRuns(
                model,
                loss,
                own,
                shards,
                shards > 1 or accumulate > 1,
                state if carries else TrainingState(seed=state.seed),
                look_back=look_back,
                checkpoint_every=checkpoint_every,
            ),
            workers=workers,
            carries=carries,
            rates=rates,
            monitor=following,
            validation=validation,
            metrics=named,
            callbacks=callbacks,
            validate_every=validate_every,
            patience=patience,
            keep_best=keep_best,
            accumulate=accumulate,
            ema=ema,
            limits=limits,
            smooth=smooth,
            last=last,
        )
        if workers.size > 1:
            workers.check_equal(**facts_of(loop))
    return loop.go(progress)


def _shards(shards: Any, state: TrainingState) -> int:
    """Return the number of shards; raise ValueError unless it is that of the training so far."""
    began = state.shards or (1 if state.history.updates else None)
    if shards is None:
        return began or 1
    shards = checks.power_of_two(shards, "shards", 2**20)
    if began not in (None, shards):
        raise ValueError(
            f"resume needs the number of shards that the training began with: {began}, got {shards}"
        )
    return shards


def _callbacks(callback: Any) -> list[Callback]:
    """Return the callbacks as a list; raise TypeError for what is none."""
    given = callback if isinstance(callback, (list, tuple)) else [callback] * (callback is not None)
    for one in given:
        checks.function(one, "callback", "print")
    return list(given)


def _metrics_of_validations(metrics: Any, model: Model) -> dict[str, Any]:
    """Return metrics by name; raise an error for one that gives no number."""
    named = by_name(metrics, model)
    for name, metric in named.items():
        if not gives_number(metric):
            raise TypeError(
                f"metrics of fit must give numbers, and {name} gives an array: pass it to evaluate"
            )
    return named
