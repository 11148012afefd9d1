"""`python -m recurrent task`: train and evaluate an example task, save its pictures."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..layers import Attention
from ..models import files
from ..tasks.base import Prediction, Task, accuracy
from ..training.history import History
from .options import make_folder
from .runner import trained


def run(task: Task, out: Path, updates: int | None, console: Console) -> int:
    """Train, evaluate and draw `task`, write to the folder `out`; return the exit code."""
    path, history_path = out / "model.safetensors", out / "history.json"
    make_folder(path)
    console.print(task.summary)
    console.print(
        f"{task.model.size:,} parameters; examples: {task.training.N:,} for training, "
        f"{task.validation.N:,} for validation, {task.held_out.N:,} held out.\n"
    )
    console.file.flush()  # the progress bar goes to standard error

    def train() -> History:
        """Train and save."""
        history = task.train(updates, console if console.is_terminal else True)
        task.save(path)
        files.replace(history_path, json.dumps(history.to_dict()).encode())
        return history

    history = trained(
        train, lambda history: f" after update {history.updates:,}; the model is saved in {path}"
    )
    predictions = task.predict(task.model)
    console.print(predictions_table(predictions))
    console.print(
        f"{accuracy(predictions):.2%} of {len(predictions):,} held-out examples are exactly right "
        f"after {history.updates:,} updates."
    )
    for file in [path, history_path, *draw(task, history, out)]:
        console.print(f"wrote {file}")
    return 0


def draw(task: Task, history: History, out: Path) -> list[Path]:
    """Draw the network, the training curve and, if the model has attention, its weights."""
    import viz

    pictures = {"network.svg": viz.network(task.model), "curve.svg": viz.curve(history)}
    if any(isinstance(layer, Attention) for layer in task.model.layers):
        x, lengths = task.example
        recording = task.model.record(x, lengths=lengths)
        inputs, outputs = task.example_text
        pictures["attention.svg"] = viz.attention(
            task.model, recording, inputs=inputs, outputs=outputs
        )
    for name, picture in pictures.items():
        picture.save(out / name)
    return [out / name for name in pictures]


def predictions_table(predictions: list[Prediction], rows: int = 8) -> Table:
    """Show some held-out predictions; at most half of the rows are wrong ones."""
    wrong = [p for p in predictions if p.predicted != p.expected][: rows // 2]
    right = [p for p in predictions if p.predicted == p.expected][: rows - len(wrong)]
    table = Table("input", "prediction", "correct", title="Held-out examples", title_justify="left")
    for p in (*right, *wrong):
        correct = p.predicted == p.expected
        mark = Text("yes", "green") if correct else Text(f"no, expected {p.expected}", "red")
        table.add_row(Text(p.input), Text(p.predicted), mark)
    return table
