"""What a command line calls a model: a checkpoint's file, or layers written down for people who have none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from recurrent import CharLM, Sequential, checkpoint
from recurrent.layer import LAYERS
from recurrent.losses import softmax_cross_entropy
from recurrent.recording import Recording

_LAYER = re.compile(r"[A-Za-z]+(:[0-9.]+)*")


def model(name: str) -> Any:
    """A CharLM or Sequential of a checkpoint, or a new Sequential of a specification such as "LSTM:5:10,Linear:10:1".

    Raises OSError and ValueError for a file that is no checkpoint, ValueError for a specification that makes no model.
    """
    if Path(name).exists() or not all(_LAYER.fullmatch(part) for part in name.split(",")):
        loaded = checkpoint.load(name)
        return CharLM.load(name) if loaded.about.get("kind") == "CharLM" else loaded.model
    return Sequential(*(_layer(part) for part in name.split(",")), rng=0)


def _layer(part):
    kind, *sizes = part.split(":")
    known = {name.lower(): made for name, made in LAYERS.items() if name != "Recurrent"}
    if kind.lower() not in known:
        raise ValueError(f"{part}: no such file, and no layer of this kind; known are {', '.join(LAYERS)}")
    try:
        return known[kind.lower()](*(float(s) if "." in s else int(s) for s in sizes))
    except TypeError as error:
        raise ValueError(f"{part}: {error}; write a layer as LSTM:5:10, its sizes after its name") from None


def layers_of(made: Any) -> Sequential:
    """The stack of a character model, or the stack itself."""
    return made.model if hasattr(made, "vocabulary") else made


def recording(made: Any, text: str | None, steps: int, last: bool = False) -> Recording:
    """A run with gradients: over a text, or over `steps` steps of random input where there is none.

    `last`: the loss is that of the last step alone, so that a gradient at step 0 has come all the way.
    """
    stack = layers_of(made)
    if text is not None:
        if stack is made:
            raise ValueError("--text needs a character model, a file written by python -m recurrent train")
        ids = made.ids(text)
        if len(ids) < 2:
            raise ValueError("--text must have at least 2 characters")
        return stack.record(ids[:-1, None], ids[1:, None], _loss(softmax_cross_entropy, last))
    rng, first = np.random.default_rng(0), stack.layers[0]
    if first.inputs is None and "weight" in first.shapes:
        x = rng.integers(0, first.shapes["weight"][0], (steps, 1))
    else:
        x = rng.standard_normal((steps, 1, first.inputs or 1)).astype(stack.dtype)
    return stack.record(x, 0.0, _loss(_square, last))


def _square(y, targets, lengths=None):
    dy = 2 * (y - y.dtype.type(targets)) / y.dtype.type(y.size)
    return float(np.square(y - targets).mean()), dy


def _loss(loss, last):
    def of_last(y, targets, lengths=None):
        value, dy = loss(y, targets, lengths=lengths)
        dy[:-1] = 0
        return value, dy

    return of_last if last else loss
