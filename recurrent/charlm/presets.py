"""Published character models as presets: model, way of cutting the text, and training.

Each preset reproduces its program in every detail that changes a number, oddities included. Random
numbers are NumPy's. Two things differ: validation of torch-rnn, which also sets the state to zero,
does not touch the state here, and characters are numbered by code point. Dropout acts between
layers.

min-char-rnn sees a zero state once per epoch, and its units saturate. Some seeds give a model that
predicts well from the state carried in training (`CharLM.training.carried`), from which the program
itself samples, and badly from zero, where `sample` and `bits_per_character` start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .. import checks
from ..data import batches
from ..optim import Adam
from ..schedules import Schedule, StepDecay
from ..training import checkpoint

# torch-rnn resets the state one window early: before the last window of each epoch.
CARRIES = {**batches.CARRIES, "torch-rnn": lambda k, n: k == 0 or k % n == n - 1}


class TorchRnnAdam(Adam):
    """Adam as in torch-rnn: Torch 7's `optim.adam`, reset whenever the learning rate decays.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule.
    betas : tuple of two floats
        Decay rates of the running means, below 1.
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty.
    amsgrad : bool
        Use the maximum of all v so far in place of v.
    eps_hat : bool
        Add eps to sqrt(v) before the bias correction, as at the end of section 2 of the paper and
        in Torch 7.
    restart : bool
        Reset m and v at each decay of a `StepDecay`.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        eps_hat: bool = True,
        restart: bool = True,
    ):
        super().__init__(lr, betas, eps, weight_decay, amsgrad)
        flags = {"eps_hat": eps_hat, "restart": restart}
        self.options |= {k: checks.flag(v, k, "TorchRnnAdam: ") for k, v in flags.items()}

    @property
    def age(self):
        return self.steps - (last_decay(self.lr, self.steps) if self.options["restart"] else 0)

    def numbers(self, lr):
        numbers = super().numbers(lr)
        if self.options["eps_hat"]:
            numbers["eps"] = self.options["eps"] / numbers["root"]
        return numbers


def last_decay(lr: float | Schedule, step: int) -> int:
    """Return the first update with the learning rate of update `step`."""
    if not isinstance(lr, StepDecay) or lr.decays(step) == 0:
        return 0
    return (lr.every if lr.first is None else lr.first) + (lr.decays(step) - 1) * lr.every


def upgrade(metadata: dict[str, Any]) -> None:
    """Rename the optimiser of earlier checkpoints: Adam with an option of `TorchRnnAdam`.

    Parameters
    ----------
    metadata : dict
        The decoded metadata of a checkpoint; modified.
    """
    rare = {"eps_hat", "restart"}
    optimizer = metadata["optimizer"]
    if optimizer and optimizer["type"] == "Adam" and rare & optimizer["options"].keys():
        optimizer["type"] = TorchRnnAdam.__name__
        optimizer["options"] = dict.fromkeys(sorted(rare), False) | optimizer["options"]
    options = metadata["training"].get("options", {})
    text = options.get("optimizer")
    name, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    pairs: dict[str, str] = dict(re.findall(r"(\w+) *= *([^, ]+)", rest))
    if name.strip().lower() == "adam" and rare & pairs.keys():
        pairs = dict.fromkeys(sorted(rare), "false") | pairs
        text = ",".join(f"{key}={value}" for key, value in pairs.items())
        options["optimizer"] = f"{TorchRnnAdam.__name__.lower()}:{text}"


checkpoint.UPGRADES.append(upgrade)


@dataclass(frozen=True)
class Preset:
    """A published model: options of `CharLM` and of `CharLM.train`, and where they come from.

    Parameters
    ----------
    source : str
        Author, program and year.
    model : dict
        Options of `CharLM`.
    training : dict
        Options of `CharLM.train`.
    """

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
            # The program adds 1e-8 under the root to a sum that starts at 0, which is the same.
            optimizer="adagrad:initial_accumulator_value=1e-8,eps=0",
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
            # The program does not divide by the number of steps, which matters to the clipping.
            sum_steps=True,
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
            optimizer="torchrnnadam",
            lr=2e-3,
            # The rate decays before the last update of the 4th, 9th, ... epoch.
            schedule="stepdecay:factor=0.5,every=5epochs,first=4epochs-1",
            clip=None,
            clip_value=5.0,
            epochs=50,
            validate_every=1000,
        ),
    ),
}


def find(name: str) -> Preset:
    """Return a preset by its name.

    Parameters
    ----------
    name : str
        "min-char-rnn", "char-rnn" or "torch-rnn".

    Returns
    -------
    Preset

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    return PRESETS[checks.choice(name, "preset", PRESETS)]
