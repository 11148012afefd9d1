"""How a character model is trained, as data: every option of `CharLM.train` that decides what is learned."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from .. import checks, optim, schedules
from ..data import CARRIES
from . import splits

# What cannot change in the course of a training.
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
)

LONG = 10**9  # updates: for a schedule that is only read, before it is known how many there are


@dataclass(frozen=True)
class Recipe:
    """What is learned from a text, and how.

    The text: `loader` (a name of `loading.LOADERS`) makes `batch` streams of it, read in windows of `seq` steps; the fraction
    `validation` is held out, and so is `test`, which is left to others. `carry`: where the state is zero, a name of
    `data.CARRIES`. `look_back`: how many steps gradients go back, those of the window counted; no further than the window if
    None.

    The update: `optimizer`, a name with options ("rmsprop:alpha=0.95") or one itself, its rate `lr`, and a `schedule` of that
    in words, such as "cosine:warmup=100" or "stepdecay:every=5epochs,factor=0.5", over all updates of the training.
    Gradients are those of the mean over the steps and streams of a window; of the sum over its steps with `sum_steps`. Their
    norm is clipped to `clip`, then each entry to `clip_value`; None for neither.

    The end: after `epochs` passes or, if given, `updates`, or after `patience` validations without a best one. Validations are
    made after each epoch, or every `validate_every` updates. `smooth`: the loss shown is `smooth` times itself plus
    (1 - smooth) times the last loss, from ln V on; if None with 0.98, from the first loss on. `preset`: where this is from.
    """

    preset: str | None = None
    loader: str = "even"
    validation: float = 0.05
    test: float = 0.0
    seq: int = 50
    batch: int = 50
    carry: str = "epoch"
    look_back: int | None = None
    optimizer: str | optim.Optimizer = "adam"
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

    def __post_init__(self):
        for name in ("seq", "batch", "epochs", "updates", "validate_every", "look_back"):
            if getattr(self, name) is not None:
                checks.size(getattr(self, name), name)
        for name in ("validation", "test", "smooth"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation and test must leave something to learn from, got {self.validation} and {self.test}"
            )
        if self.look_back is not None and self.look_back < self.seq:
            raise ValueError(
                f"look_back must be at least the {self.seq} steps of a window, got {self.look_back}"
            )
        if self.carry not in CARRIES:
            raise ValueError(f"carry must be one of {', '.join(CARRIES)}, got {self.carry!r}")
        if self.look_back is not None and self.carry == "never":
            raise ValueError("a look-back needs a state that is carried, got carry 'never'")
        splits.named(self.loader)
        if isinstance(self.optimizer, str):
            optim.parse(self.optimizer, 0.0)
        if self.schedule is not None:
            schedules.parse(self.schedule, 0.0, LONG, LONG)

    def but(self, **options: Any) -> Recipe:
        """The same with other options; `epochs` alone takes the place of `updates`. Raises TypeError for unknown ones."""
        unknown = [name for name in options if name not in OPTIONS]
        if unknown:
            raise TypeError(f"train has no option {unknown[0]!r}; it has {', '.join(OPTIONS)}")
        if "epochs" in options:
            options = {"updates": None} | options
        return replace(self, **options)

    @property
    def plain(self) -> dict[str, Any]:
        """What can be stored of it: an optimiser by its name, a rate if it is a number."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        if isinstance(self.optimizer, optim.Optimizer):
            told["optimizer"] = type(self.optimizer).__name__.lower()
        if not isinstance(self.lr, (int, float)):
            del told["lr"]
        return told

    @classmethod
    def of(cls, plain: dict) -> Recipe:
        """The recipe that `plain` told of; options that were not there yet have their defaults."""
        return cls(**{k: v for k, v in plain.items() if k in OPTIONS})

    def new_optimizer(self) -> optim.Optimizer:
        """The optimiser before its first update. Raises ValueError for an unknown name or option."""
        return (
            self.optimizer
            if isinstance(self.optimizer, optim.Optimizer)
            else optim.parse(self.optimizer, self.lr)
        )


OPTIONS = tuple(f.name for f in fields(Recipe))
