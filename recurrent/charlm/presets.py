"""The character models of the literature as settings of this one: what is built, how its text is read, how it learns.

What their programs do is matched to the last detail that changes a number, oddities included; random numbers are NumPy's. A
program's validation has no part in it: torch-rnn's, which also sets the state to zero, leaves the state alone here. Ids are
numbered by code point, dropout acts between layers.

A model trained by min-char-rnn sees a zero state once a pass, and its units saturate: some seeds give one that predicts well
from the state of training (`CharLM.state`), from which that program samples, and badly from zero, where `sample` and
`bits_per_character` start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Options of `CharLM` and of `CharLM.train`, and where they are from."""

    source: str
    model: dict[str, Any]
    training: dict[str, Any]


PRESETS = {
    "min-char-rnn": Preset(
        "Karpathy, min-char-rnn.py, 2015: a vanilla RNN in a hundred lines of NumPy",
        model=dict(cell="rnn", layers=1, hidden=100, embedding=0, biases=1, init="min-char-rnn"),
        training=dict(
            loader="min-char-rnn",
            validation=0.0,
            seq=25,
            batch=1,
            optimizer="adagrad:initial_accumulator_value=1e-8,eps=0",  # the same as memory from 0 and 1e-8 added in the root
            lr=1e-1,
            sum_steps=True,
            clip=None,
            clip_value=5.0,
            smooth=0.999,
        ),
    ),
    "char-rnn": Preset(
        "Karpathy, char-rnn, 2015: train.lua with its defaults",
        model=dict(cell="lstm", layers=2, hidden=128, embedding=0, biases=2, init="char-rnn"),
        training=dict(
            loader="char-rnn",
            validation=0.05,
            seq=50,
            batch=50,
            carry="always",
            optimizer="rmsprop:alpha=0.95",
            lr=2e-3,
            schedule="stepdecay:factor=0.97,every=1epoch,first=10epochs",
            sum_steps=True,  # its division by the steps is left out, as of no effect on RMSprop; the clipping notices
            clip=None,
            clip_value=5.0,
            epochs=50,
            validate_every=1000,
        ),
    ),
    "torch-rnn": Preset(
        "Johnson, torch-rnn, 2016: train.lua and preprocess.py with their defaults",
        model=dict(cell="lstm", layers=2, hidden=128, embedding=64, biases=1, init="torch-rnn"),
        training=dict(
            loader="torch-rnn",
            validation=0.1,
            test=0.1,
            seq=50,
            batch=50,
            carry="torch-rnn",
            optimizer="adam:eps_hat=true,restart=true",  # optim.adam; a new rate comes with a new, empty optimiser
            lr=2e-3,
            schedule="stepdecay:factor=0.5,every=5epochs,first=4epochs-1",  # before the last update of the 4th, 9th, ... epoch
            clip=None,
            clip_value=5.0,
            epochs=50,
            validate_every=1000,
        ),
    ),
}


def named(name: str) -> Preset:
    """A preset by its name. Raises ValueError for another."""
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
