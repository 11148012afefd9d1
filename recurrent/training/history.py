"""What a training leaves behind: losses, validations, and what the next one goes on from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class History:
    """What happened: all numbers are plain, `to_dict()` goes into JSON."""

    start: int = 0  # updates done before this call
    losses: list[float] = field(default_factory=list)  # of each update, before it
    validation: list[tuple[int, float]] = field(
        default_factory=list
    )  # after which update, mean loss
    metrics: list[tuple[int, float]] = field(default_factory=list)
    best: tuple[int, float] | None = None  # the lowest of `validation`
    seconds: float = 0.0
    stopped: str = ""  # why: "finished", "patience" or "interrupted"
    smoothed: float | None = None  # the losses' running mean, after the last update
    state: Any = field(
        default=None, repr=False
    )  # the model's after the last update; what a carrying batch goes on from
    past: Any = field(
        default=None, repr=False
    )  # with a look-back: the steps from `state` on that gradients go back through

    @property
    def updates(self) -> int:
        """Updates done, those before `start` counted."""
        return self.start + len(self.losses)

    def to_dict(self) -> dict:
        """All but what the next batch goes on from."""
        values = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("state", "past")
        }
        return {k: list(v) if isinstance(v, list) else v for k, v in values.items()} | {
            "updates": self.updates
        }

    @classmethod
    def of(cls, plain: dict) -> History:
        """The history that `to_dict` told, JSON's lists in place of tuples or not."""
        known = {f.name for f in fields(cls)}
        made = cls(**{k: v for k, v in plain.items() if k in known})
        made.validation, made.metrics = (
            [tuple(v) for v in made.validation],
            [tuple(v) for v in made.metrics],
        )
        made.best = None if made.best is None else tuple(made.best)
        return made

    def then(self, now: History) -> History:
        """One history of two trainings, `now` a continuation of this one; without what the next batch goes on from."""
        validation = self.validation + now.validation
        return History(
            start=self.start,
            losses=self.losses + now.losses,
            validation=validation,
            metrics=self.metrics + now.metrics,
            best=min(validation, key=lambda v: v[1], default=None),
            seconds=self.seconds + now.seconds,
            stopped=now.stopped,
            smoothed=now.smoothed,
        )
