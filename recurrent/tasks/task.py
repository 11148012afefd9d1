"""What all tasks have in common: train, answer what was held out, show it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..charlm.text import Vocabulary
from ..data import Source
from ..layers.attention import Attention
from ..losses import softmax_cross_entropy
from ..models.base import Model
from ..optim import Adam
from ..schedules import Cosine
from ..training import checkpoint
from ..training.fit import History, fit


class Answer(NamedTuple):
    """One held-out example in words: what was given, what is right, what the model said."""

    given: str
    right: str
    said: str


@dataclass
class Task:
    """A model, what it learns from, and how it is asked. `updates` are enough to reach `goal`."""

    model: Model
    training: Source
    validation: Source  # what the best parameters are chosen by, and what the task was tuned on
    held_out: Source  # asked once, at the end
    answers: Callable[[Model], list[Answer]]  # to all that is held out
    example: tuple[Any, Any]  # x and lengths, as `record` takes them: what is drawn
    words: tuple[str, str] = ("", "")  # the example's, for the axes of its attention
    alphabets: tuple[Vocabulary, Vocabulary] | None = (
        None  # of an encoder and a decoder: what they read and write
    )
    updates: int = 500
    lr: float = 5e-3
    goal: float = 0.99  # of the answers, exactly right
    name: str = ""
    kind: str = ""  # one-to-one, one-to-many, many-to-one, many-to-many, encoder-decoder
    about: str = ""  # one line

    def train(self, updates: int | None = None, progress: Any = True) -> History:
        """Learn: softmax cross-entropy, Adam, a learning rate that falls to zero, the gradient's norm clipped to 1."""
        updates = updates or self.updates
        return fit(
            self.model,
            self.training,
            softmax_cross_entropy,
            Adam(Cosine(self.lr, updates)),
            updates=updates,
            validation=self.validation,
            validate_every=max(1, updates // 10),
            clip_norm=1.0,
            progress=progress,
        )

    def run(self, out: Path, updates: int | None, console: Console) -> int:
        """Train, answer, draw; the model and its pictures go to the folder `out`. Returns the exit code."""
        out.mkdir(parents=True, exist_ok=True)
        console.print(self.about)
        sizes = f"{self.training.N:,} examples to learn from, {self.validation.N:,} to validate, {self.held_out.N:,} held out"
        console.print(f"{self.model.size:,} parameters; {sizes}.\n")
        console.file.flush()  # the progress bar goes to standard error
        history = self.train(updates, console if console.is_terminal else True)
        answers = self.answers(self.model)
        console.print(table(answers))
        share = exact(answers)
        console.print(
            f"{share:.2%} of {len(answers):,} held out are exactly right, after {history.updates:,} updates."
        )
        path = out / "model.safetensors"
        names = zip(("reads", "writes"), self.alphabets or (), strict=False)
        known = {name: alphabet.describe() for name, alphabet in names}
        checkpoint.save(
            path, checkpoint.Checkpoint(self.model, {"kind": "Task", "task": self.name, **known})
        )
        told = out / "history.json"
        told.write_text(json.dumps(history.to_dict()))
        for file in [path, told, *self.draw(history, out)]:
            console.print(f"wrote {file}")
        return 130 if history.stopped == "interrupted" else 0

    def draw(self, history: History, out: Path) -> list[Path]:
        """The model, its training curve and, where it attends, to what."""
        import viz

        pictures = {"network.svg": viz.network(self.model), "curve.svg": viz.curve(history)}
        if any(isinstance(layer, Attention) for layer in self.model.layers):
            x, lengths = self.example
            recording = self.model.record(x, lengths=lengths)
            inputs, outputs = self.words
            pictures["attention.svg"] = viz.attention(
                self.model, recording, inputs=inputs, outputs=outputs
            )
        for name, picture in pictures.items():
            picture.save(out / name)
        return [out / name for name in pictures]


class Parts(NamedTuple):
    """Which of the examples are learned from, which validate, which are held out."""

    training: slice
    validation: slice
    held_out: slice

    @classmethod
    def of(cls, learn: int, validate: int, hold: int) -> Parts:
        """So many of each, one part after the other."""
        return cls(
            slice(learn),
            slice(learn, learn + validate),
            slice(learn + validate, learn + validate + hold),
        )


def exact(answers: list[Answer]) -> float:
    """The share of answers that are exactly right."""
    return sum(a.right == a.said for a in answers) / len(answers)


def table(answers: list[Answer], rows: int = 8) -> Table:
    """A few answers, the wrong ones first: at most half of the rows."""
    wrong = [a for a in answers if a.right != a.said][: rows // 2]
    right = [a for a in answers if a.right == a.said][: rows - len(wrong)]
    shown = Table("given", "answer", "right", title="Held out", title_justify="left")
    for a in (*right, *wrong):
        mark = Text("yes", "green") if a.right == a.said else Text(f"no: {a.right}", "red")
        shown.add_row(Text(a.given), Text(a.said), mark)
    return shown
