"""The class of all tasks: data, a model, training, and predictions for held-out examples."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..charlm.text import Vocabulary
from ..data import BatchSource
from ..losses import Loss, softmax_cross_entropy
from ..models import storage
from ..models.base import Model
from ..optim import Adam
from ..schedules import Cosine
from ..training.fit import fit
from ..training.history import History


class Prediction(NamedTuple):
    """One held-out example as text: the input, the expected output and the model's output."""

    input: str
    expected: str
    predicted: str


@dataclass
class Task:
    """A model with its training and test data; it reaches `goal` within `updates` updates."""

    model: Model
    training: BatchSource
    validation: BatchSource  # selects the best parameters; the task was tuned on it as well
    held_out: BatchSource  # evaluated once, after training
    predict: Callable[[Model], list[Prediction]]  # for all held-out examples
    example: tuple[Any, Any]  # x and lengths of the example to draw, as Model.record takes them
    example_text: tuple[str, str] = ("", "")  # its input and output, for the axes of attention
    vocabularies: tuple[Vocabulary, Vocabulary] | None = None  # the encoder's and the decoder's
    loss: Loss = softmax_cross_entropy
    updates: int = 500
    lr: float = 5e-3
    goal: float = 0.99  # fraction of predictions that are exactly right
    name: str = ""
    kind: str = ""  # one-to-one, one-to-many, many-to-one, many-to-many, encoder-decoder
    summary: str = ""  # a single line

    def train(self, updates: int | None = None, progress: Any = True) -> History:
        """Train with Adam, a cosine schedule and gradient clipping at 1."""
        updates = updates or self.updates
        return fit(
            self.model,
            self.training,
            self.loss,
            Adam(Cosine(self.lr, updates)),
            updates=updates,
            validation=self.validation,
            validate_every=max(1, updates // 10),
            clip_norm=1.0,
            progress=progress,
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write the model and the vocabularies; `recurrent.load` reads them."""
        names = zip(("reads", "writes"), self.vocabularies or (), strict=False)
        vocabularies = {name: vocabulary.describe() for name, vocabulary in names}
        storage.save(path, self.model, {"kind": "Task", "task": self.name, **vocabularies})


class Split(NamedTuple):
    """The examples used for training, for validation, and held out."""

    training: slice
    validation: slice
    held_out: slice

    @classmethod
    def of(cls, training: int, validation: int, held_out: int) -> Split:
        """Split examples into consecutive parts of these sizes."""
        first, second = training, training + validation
        return cls(slice(first), slice(first, second), slice(second, second + held_out))


def accuracy(predictions: list[Prediction]) -> float:
    """Return the fraction of predictions that are exactly right."""
    return sum(p.predicted == p.expected for p in predictions) / len(predictions)
