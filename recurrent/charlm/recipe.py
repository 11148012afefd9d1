"""The training recipe: every option of `CharLM.train` that affects the trained model."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from .. import checks
from ..optim import Optimizer
from ..schedules import Schedule
from ..training import spec
from . import splits
from .presets import CARRIES
from .text import UNKNOWN

# Options that cannot change when training is resumed.
FIXED = (
    "loader",
    "validation",
    "test",
    "seq",
    "batch",
    "carry",
    "look_back",
    "sum_steps",
    "optimizer",
    "documents",
    "unknown",
    "shards",
)

LONG = 10**9  # updates, to check a schedule before it is known how many there are


@dataclass(frozen=True)
class Recipe:
    """The options that determine how a character model is trained.

    Parameters
    ----------
    preset : str, optional
        Name of the preset that the recipe comes from.
    loader : str
        How the text is cut into streams and held-out text: a name of `splits.SPLITS`.
    validation : float
        Fraction of the text that is held out for validation; below 1.
    test : float
        Fraction of the text that is left unread for a test; below 1.
    seq : int
        Number of time steps of a window.
    batch : int
        Number of streams side by side.
    carry : str
        Which windows start from a zero hidden state: a key of `presets.CARRIES`.
    look_back : int, optional
        How many steps gradients go back, including those of the window; by default only those.
    optimizer : str or Optimizer
        Name and options, such as "rmsprop:alpha=0.95", or an optimiser.
    lr : float or callable
        Learning rate, or a schedule. An `optimizer` that is an object has its own.
    schedule : str, optional
        Learning-rate schedule over all updates of the training, such as "cosine:warmup=100" or
        "stepdecay:every=5epochs,factor=0.5".
    sum_steps : bool
        Use the gradient of the sum of the losses over the steps of a window, not of their mean.
    clip : float, optional
        Clip the norm of the gradient to this limit.
    clip_value : float, optional
        Then clip each entry of the gradient to this limit.
    epochs : int
        Number of epochs, including those before training was resumed.
    updates : int, optional
        Number of updates; overrides `epochs`.
    validate_every : int, optional
        Number of updates between two validations; by default an epoch.
    patience : int, optional
        Early stopping: number of validations in a row without a new best loss that ends training.
    smooth : float, optional
        Smoothing factor of the displayed loss, which then starts at ln V. By default the factor is
        0.98 and the displayed loss starts at the first loss.
    documents : str, optional
        Where a text is cut into documents: "lines", or the text that stands between two. The state
        is reset between them. The vocabulary must have an end symbol.
    unknown : {"error", "skip", "replace"}
        What becomes of characters that are not in the vocabulary; see `Vocabulary.encode`.
    shards : int
        Number of parts of each batch, a power of two, whose gradients are added in one order; see
        `fit`.

    Raises
    ------
    ValueError
        If an option is out of range or unknown, or two options exclude each other.
    TypeError
        If an option has the wrong type.
    """

    preset: str | None = None
    loader: str = "even"
    validation: float = 0.05
    test: float = 0.0
    seq: int = 50
    batch: int = 50
    carry: str = "epoch"
    look_back: int | None = None
    optimizer: str | Optimizer = "adam"
    lr: Any = 2e-3
    schedule: str | None = None
    sum_steps: bool = False
    clip: float | None = 5.0
    clip_value: float | None = None
    epochs: int = 1
    updates: int | None = None
    validate_every: int | None = None
    patience: int | None = None
    smooth: float | None = None
    documents: str | None = None
    unknown: str = "error"
    shards: int = 1

    def __post_init__(self):
        def convert(check: Callable, *names: str, **limits: float) -> None:
            for name in names:
                if getattr(self, name) is not None:
                    object.__setattr__(self, name, check(getattr(self, name), name, **limits))

        convert(checks.size, "seq", "batch", "look_back", "epochs", "validate_every", "patience")
        convert(checks.integer, "updates", least=1)
        convert(checks.power_of_two, "shards")
        convert(checks.number, "validation", "test", "smooth", least=0, below=1)
        convert(checks.number, "clip", "clip_value", above=0)
        convert(checks.flag, "sum_steps")
        if not callable(self.lr):
            convert(checks.number, "lr", least=0)
        for name in ("seq", "batch", "epochs", "validation", "test", "sum_steps", "lr", "shards"):
            if getattr(self, name) is None:
                raise TypeError(f"{name} must not be None")
        if self.validation + self.test >= 1:
            raise ValueError(
                "validation + test must be below 1, to leave some text to train on,"
                f" got {self.validation} and {self.test}"
            )
        if self.look_back is not None and self.look_back < self.seq:
            raise ValueError(
                f"look_back must be at least the {self.seq} steps of a window, got {self.look_back}"
            )
        if self.shards > self.batch:
            raise ValueError(
                f"shards must be at most the {self.batch} streams of a batch, got {self.shards}"
            )
        checks.choice(self.carry, "carry", CARRIES)
        if self.look_back is not None and self.carry == "never":
            raise ValueError("look_back needs a hidden state that is carried, got carry 'never'")
        if self.patience is not None and self.validation == 0:
            raise ValueError(
                "patience counts validations: it needs validation above 0,"
                f" got patience {self.patience} and validation 0"
            )
        if self.documents is not None and not checks.text(self.documents, "documents"):
            raise ValueError("documents must be 'lines' or the text between documents, got ''")
        checks.choice(self.unknown, "unknown", UNKNOWN)
        splits.find(checks.text(self.loader, "loader"))
        if isinstance(self.optimizer, str):
            spec.parse_optimizer(self.optimizer, 0.0)
        else:
            checks.instance(self.optimizer, Optimizer, "optimizer", "a name or an Optimizer")
        if self.schedule is not None:
            schedule = checks.text(self.schedule, "schedule")
            if callable(self.lr):
                raise TypeError(
                    f"lr must be a number, because the schedule is {schedule!r}; got a function"
                )
            # How many updates an epoch has is known later, when the text is.
            exact = self.updates is not None and "epoch" not in schedule
            updates = self.updates if exact and self.updates else LONG
            spec.parse_schedule(schedule, 0.0, updates, in_updates(LONG))

    def override(self, **overrides: Any) -> Recipe:
        """Return this recipe with other options.

        Parameters
        ----------
        **overrides : object
            Options of `Recipe`; `epochs` without `updates` sets `updates` to None.

        Returns
        -------
        Recipe

        Raises
        ------
        TypeError
            If there is no such option.
        ValueError
            If the options make no recipe.
        """
        unknown = [name for name in overrides if name not in OPTIONS]
        if unknown:
            raise TypeError(f"train has no option {unknown[0]!r}; it has {', '.join(OPTIONS)}")
        if "epochs" in overrides:
            overrides = {"updates": None} | overrides
        return replace(self, **overrides)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain data.

        Returns
        -------
        dict
            An optimiser is given by its name; a learning rate that is a function is left out.
        """
        options = {f.name: getattr(self, f.name) for f in fields(self)}
        if isinstance(self.optimizer, Optimizer):
            options["optimizer"] = type(self.optimizer).__name__.lower()
        if callable(self.lr):
            del options["lr"]
        return options

    @classmethod
    def from_dict(cls, options: dict) -> Recipe:
        """Build a recipe from the result of `to_dict`.

        Parameters
        ----------
        options : dict
            Missing options have their defaults; unknown names are ignored.

        Returns
        -------
        Recipe
        """
        return cls(**{k: v for k, v in options.items() if k in OPTIONS})

    def new_optimizer(self) -> Optimizer:
        """Return the optimiser before its first update.

        Returns
        -------
        Optimizer
        """
        if isinstance(self.optimizer, Optimizer):
            return self.optimizer
        return spec.parse_optimizer(self.optimizer, self.lr)

    def total_updates(self, epoch: int) -> int:
        """Return the number of updates of the training.

        Parameters
        ----------
        epoch : int
            Number of updates of an epoch.

        Returns
        -------
        int
        """
        return self.epochs * epoch if self.updates is None else self.updates

    def learning_rate(self, epoch: int, lr: float | Schedule | None = None) -> float | Schedule:
        """Return the learning rate or its schedule.

        Parameters
        ----------
        epoch : int
            Number of updates of an epoch.
        lr : float, optional
            Initial learning rate, if not that of the recipe.

        Returns
        -------
        float or callable

        Raises
        ------
        ValueError
            If the schedule is unknown or its options do not fit.

        Examples
        --------
        >>> Recipe(schedule="stepdecay:every=2epochs,factor=0.5", lr=0.1).learning_rate(epoch=50)
        StepDecay(lr=0.1, every=100, factor=0.5, first=None)
        """
        first: Any = self.lr if lr is None else lr
        if self.schedule is None:
            return first
        if callable(first):
            raise ValueError(f"the schedule {self.schedule!r} needs a number as lr, got {first!r}")
        updates = self.total_updates(epoch)
        return spec.parse_schedule(self.schedule, first, updates, in_updates(epoch))


OPTIONS = tuple(f.name for f in fields(Recipe))


def in_updates(epoch: int) -> Callable[[str], int]:
    """Return a reader of whole numbers that may be given in epochs: "10epochs", "4epochs-1".

    Parameters
    ----------
    epoch : int
        Number of updates of an epoch.

    Returns
    -------
    callable
        Converts text to a number of updates; raises ValueError for anything else.

    Examples
    --------
    >>> in_updates(50)("4epochs-1")
    199
    """

    def read(text: str) -> int:
        epochs = re.fullmatch(r"(\d+) ?epochs? ?([+-] ?\d+)?", text)
        if not epochs:
            return int(text)
        return int(epochs[1]) * epoch + int((epochs[2] or "0").replace(" ", ""))

    return read
