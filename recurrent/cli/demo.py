"""`python -m recurrent demo`: train a small LSTM on Python's help texts, sample it, draw it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from ..charlm.model import CharLM
from ..charlm.splits import split
from ..losses import softmax_cross_entropy
from ..models import files
from .options import make_folder
from .runner import trained
from .source import demo_text


def run(out: Path, updates: int, seed: int, console: Console) -> int:
    """Train, evaluate, sample and draw a model, write to the folder `out`; return the exit code."""
    path, text = out / "model.safetensors", demo_text()
    make_folder(path)
    lm = CharLM(text, layers=2, hidden=128, embedding=128, rng=seed)
    ids = lm.ids(text)
    _, held_out = split(ids, 0.05)
    console.print(
        f"Text: the topics of Python's help(), {len(ids):,} characters, "
        f"{len(lm.vocabulary)} distinct."
    )
    console.print(f"Model: 2 LSTM layers of 128 units, {lm.model.size:,} parameters.")
    console.file.flush()  # the progress bar goes to standard error
    before = lm.bits_per_character(held_out)
    every = max(1, updates // 4)
    history = trained(
        lambda: lm.train(ids, updates=updates, validate_every=every, save_to=path),
        lambda history: f" after update {history.updates:,}; the model is saved in {path}",
    )
    after = lm.bits_per_character(held_out)
    files.replace(out / "history.json", json.dumps(history.to_dict()).encode())
    console.print(f"\nTraining loss in nats, averaged: {_averages(history.losses)}")
    console.print(
        f"Held-out text (last 5 %), bits per character: {before:.3f} before training, "
        f"{after:.3f} after"
    )
    console.print('\nSample for the prompt "The ", temperature 0.7:\n\nThe ', end="")
    for piece in lm.generate("The ", 400, temperature=0.7, seed=seed):
        console.file.write(piece)
        console.file.flush()
    console.print("\n")
    for file in [path, out / "history.json", *draw(lm, held_out[:200], out)]:
        console.print(f"wrote {file}")
    console.print(f'Next: python -m recurrent sample {path} --prime "The "')
    return 0


def _averages(losses: list[float]) -> str:
    """Average the losses over up to six equal parts of the training, first to last."""
    parts = min(6, len(losses))
    cuts = [k * len(losses) // parts for k in range(parts + 1)] if parts else []
    return " -> ".join(f"{sum(losses[a:b]) / (b - a):.2f}" for a, b in pairwise(cuts))


def draw(lm: CharLM, ids, out: Path) -> list[Path]:
    """Draw the network, the network unrolled, and its most active unit while reading `ids` (n,)."""
    import viz

    recording = lm.model.record(ids[:-1, None], ids[1:, None], softmax_cross_entropy)
    unit = int(recording.layers[1].y.std(axis=(0, 1)).argmax())
    pictures = {
        "network.svg": viz.network(lm.model),
        "unrolled.svg": viz.unrolled(lm.model, steps=4),
        "unit.svg": viz.unit(lm.model[1], unit, recording=recording),
    }
    for name, picture in pictures.items():
        picture.save(out / name)
    return [out / name for name in pictures]
