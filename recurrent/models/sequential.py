"""Sequential: a model of layers applied one after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from .. import checks, initialisers
from ..layers.base import Layer
from ..layers.stack import check_layer
from .layered import Layered, Named
from .wiring import Wiring


class Sequential(Layered):
    """A model of layers applied one after the other.

    A model among the arguments stands for its layers, which keep their values: `model[k]` counts
    all layers, and the parameters have the names of the nested PyTorch module, "1.0.weight". The
    inner model stays in use; it shares its parameters with the outer one.

    Parameters
    ----------
    *layers : Layer or Sequential
        The layers. Those with parameter values keep them; each may be part of one model only.
    rng : int or numpy.random.Generator, default 0
        Seed or generator of the initial parameters and of dropout.
    dtype : {"float32", "float64"}, default "float32"
        Dtype of the parameters.
    init : str or callable, default "pytorch"
        Initialisation scheme: a name in `recurrent.initialisers`, or a function.
    tie : dict of str to str, optional
        Weight tying: parameters that share the array of another one of the same shape, as in
        {"2.weight": "0.weight"}. Their gradients are summed; `parameters` and files have the array
        once, under the name after the colon, and so has it the initial values of that parameter.

    batch_first : bool, default False
        Whether arrays are (N, T, ...) rather than (T, N, ...): x, y, masks, dy and dx, and targets
        in `fit` and `evaluate`. States and recordings are time-major, and so is what losses and
        metrics are called with. A `data.Batch` is time-major, a plain tuple (x, targets) is not.

    Attributes
    ----------
    names : list of str
        What precedes the names of each layer's parameters: "0", "1.0", "1.1".

    Raises
    ------
    TypeError
        If an argument is not a layer, or a layer has values of another dtype.
    ValueError
        If the sizes of neighbouring layers do not fit, a layer is part of a model, or `tie` does
        not fit the parameters.

    Examples
    --------
    >>> from recurrent import LSTM, Embedding, Linear
    >>> encoder = Sequential(Embedding(7, 4), LSTM(4, 4))
    >>> model = Sequential(encoder, Linear(4, 7), tie={"1.weight": "0.0.weight"})
    >>> len(model), list(model.parameters)[::4]
    (3, ['0.0.weight', '0.1.bias_hh_l0'])
    """

    def __init__(
        self,
        *layers: Layer | Sequential,
        rng: Any = 0,
        dtype: Any = "float32",
        init: Any = "pytorch",
        tie: dict[str, str] | None = None,
        batch_first: bool = False,
    ):
        if len(layers) == 1 and isinstance(layers[0], list):
            layers = tuple(layers[0])  # as Keras' Sequential
        if not layers:
            raise ValueError("a model needs at least one layer, got none")
        self.dtype = checks.dtype(dtype)
        rng, scheme = checks.generator(rng), initialisers.named(init)
        self.batch_first = checks.flag(batch_first, "batch_first")
        self._flatten(layers)
        self._wiring = Wiring.chain(len(self.layers))
        self._assemble(rng, scheme, tie)

    def _flatten(self, arguments) -> None:
        """Set the layers, their names and the inner models; raise an error for anything else."""
        self.layers, self.names = [], []
        self._models = []
        for k, item in enumerate(arguments):
            if isinstance(item, Sequential):
                self._check_inner(item, f"argument {k}")
                owner, new = item, list(zip(item.names, item.layers, strict=True))
                self._models.append((range(len(self.layers), len(self.layers) + len(new)), item))
                new = [(f"{k}.{name}", layer) for name, layer in new]
            else:
                owner, new = None, [item if isinstance(item, Named) else (str(k), item)]
            for name, layer in new:
                number = len(self.layers)
                check_layer(layer, number)
                taken = layer.owner is not owner or any(layer is other for other in self.layers)
                self.layers.append(layer)
                self.names.append(name)
                if taken:
                    raise ValueError(
                        f"{self.where(number)} is already part of a model; "
                        "make a new layer, or pass the whole model: Sequential(model, ...)"
                    )

    def __repr__(self):
        options = [f"tie={self.tie!r}"] if self._tie else []
        options += ["batch_first=True"] if self.batch_first else []
        return f"Sequential({', '.join([*_nested(self.names, self.layers), *options])})"

    @staticmethod
    def _described_name(description, k):
        name = checks.text(description.get("name", str(k)), f"name of layer {k} of description")
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", name) or len(name) > 200:
            raise ValueError(
                f"name of layer {k} of description must be numbers with dots, "
                f"got {checks.shown(name)}"
            )
        return name

    @classmethod
    def _of(cls, layers, description, **options):
        named: Any = layers
        return cls(*named, **options)


def _nested(names: Sequence[str], layers: Sequence[Layer]) -> list[str]:
    """Return the reprs of layers, those of inner models as one."""
    found = []
    for _, group in groupby(zip(names, layers, strict=True), lambda item: item[0].split(".")[0]):
        inner = [(name.partition(".")[2], layer) for name, layer in group]
        if inner[0][0]:
            found.append(f"Sequential({', '.join(_nested(*zip(*inner, strict=True)))})")
        else:
            found.append(repr(inner[0][1]))
    return found
