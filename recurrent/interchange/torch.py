"""Models of PyTorch: `from_torch` reads modules, state dicts and files, `to_torch` gives arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import cells, checks
from ..checks.guided import explained
from ..engine.bidirectional import REVERSE
from ..layers import CRF, Conv1d, Dropout, Embedding, Layer, LayerNorm, Linear, Recurrent
from ..models.sequential import Sequential
from . import modules, state_dict
from .assemble import assembled
from .damage import damage


@explained
def from_torch(
    module: Any, layers: dict[str, Any] | None = None, batch_first: bool | None = None
) -> Sequential:
    """Make a model from one of PyTorch: a module, a state dict, or a file of either.

    Layers of `torch.nn` with an equal here are read: RNN, LSTM and GRU of any depth, their cells,
    Embedding, Linear, LayerNorm, Conv1d, Dropout, Identity and activations, in `nn.Sequential` or
    as attributes of a module, in the order of the attributes; and the CRF of pytorch-crf. What
    `forward` does between them cannot be seen: name it in `layers`. A Conv1d here has its channels
    in the last axis.

    Parameters have the same values, and those that modules share are tied. A file of `torch.save`
    needs PyTorch, nothing else does.

    Parameters
    ----------
    module : torch.nn.Module, dict of str to ndarray of any shape, str or os.PathLike
        The module; or its state dict, of tensors or arrays; or a file `.pt`, `.pth` or
        `.safetensors` with a state dict.
        A state dict does not say some options: an RNN is read with tanh, a LayerNorm with
        eps=1e-5, and neither Dropout nor activations are in it.
    layers : dict of str to (Layer, ... or None), optional
        All layers in order, by the names of the parts that hold their arrays. `...` stands for the
        part as it would be read, None leaves it out. A layer gets the arrays of its part; one whose
        name is no part, such as "last", is put in as it is.
    batch_first : bool, optional
        Whether the model's arrays are (N, T, ...). By default as the module's recurrent layers say;
        False for a state dict.

    Returns
    -------
    Sequential
        Its layers are numbered, and those of a stack have numbers of their own. Layers of which no
        parameter requires a gradient are not trainable.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or parameters are neither float32 nor float64.
    ValueError
        If a part has no equal here; the message shows the mapping to write. Or if sizes of layers
        do not fit, or the file holds something else.
    OSError
        If the file cannot be read.
    ImportError
        If a file needs PyTorch, which is not installed.

    Examples
    --------
    >>> from recurrent import LSTM, Last, Linear, Sequential, to_torch
    >>> state = to_torch(Sequential(LSTM(2, 3), Linear(3, 1)))
    >>> from_torch(state)
    Sequential(LSTM(input_size=2, hidden_size=3), Linear(in_features=3, out_features=1))
    >>> from_torch(state, {"0": ..., "last": Last(), "1": ...}, batch_first=True)(
    ...     np.zeros((5, 7, 2), np.float32)
    ... ).shape
    (5, 1)
    """
    if batch_first is not None:
        batch_first = checks.flag(batch_first, "batch_first")
    if layers is not None:
        checks.instance(layers, dict, "layers", "a dict of layers by the name of a part")
    if isinstance(module, (str, os.PathLike)):
        with damage():
            state = state_dict.from_file(checks.path(module, "module"))
            return assembled(state_dict.parts(state), layers, bool(batch_first))
    if isinstance(module, Mapping):
        with damage():
            state = state_dict.checked(module, "module")
            return assembled(state_dict.parts(state), layers, bool(batch_first))
    if not (hasattr(module, "_modules") and hasattr(module, "named_parameters")):
        raise TypeError(
            "module must be a module of PyTorch, a state dict or the path of a file, "
            f"got {checks.shown(module)}"
        )
    if batch_first is None:
        batch_first = modules.layout(module)
    return assembled(modules.parts(module), layers, batch_first)


@explained
def to_torch(model: Sequential, stacked: bool = False) -> dict[str, np.ndarray]:
    """Return the parameters of a model by the names of PyTorch's state dict.

    With `state = {n: torch.from_numpy(a) for n, a in to_torch(model).items()}` the equal
    `torch.nn.Sequential` takes them: `module.load_state_dict(state)`.
    `safetensors.numpy.save_file(to_torch(model), path)` writes a file for it.

    Parameters
    ----------
    model : Sequential
        The model. Layers without parameters count, but have no arrays.
    stacked : bool, default False
        For a model of equal recurrent layers, and Dropout between them: the names of one
        `torch.nn.LSTM(..., num_layers=n)`, `GRU` or `RNN`.

    Returns
    -------
    dict of str to ndarray
        Copies of the arrays, of the dtype of the model.

    Raises
    ------
    TypeError
        If model is no Sequential or has quantised weights.
    ValueError
        If PyTorch has no layer that equals one of the model, or the layers are no stack.

    Examples
    --------
    >>> from recurrent import GRU, Sequential
    >>> model = Sequential(GRU(2, 3), GRU(3, 3))
    >>> list(to_torch(model))[::4], list(to_torch(model, stacked=True))[::4]
    (['0.weight_ih_l0', '1.weight_ih_l0'], ['weight_ih_l0', 'weight_ih_l1'])
    """
    checks.instance(model, Sequential, "model", "a Sequential")
    stacked = checks.flag(stacked, "stacked")
    if model.weights != model.dtype.name:
        raise TypeError(
            f"model has {model.weights} weights, which PyTorch does not take: write "
            "to_torch(model.dequantized())"
        )
    arrays = []
    for k, layer in enumerate(model.layers):
        with checks.naming(model.where(k)):
            arrays.append(_torch_arrays(layer))
    if stacked:
        return _one_stack(model, arrays)
    return {
        f"{name}.{n}": a
        for name, own in zip(model.names, arrays, strict=True)
        for n, a in own.items()
    }


def _torch_arrays(layer: Layer) -> dict[str, np.ndarray]:
    """Return copies of the arrays of a layer by PyTorch's names."""
    if isinstance(layer, Conv1d) and layer.padding == "causal":
        raise ValueError("PyTorch's Conv1d pads both sides alike, got padding='causal'")
    if layer.shapes and type(layer) not in (CRF, Conv1d, Embedding, Linear, LayerNorm):
        _check_recurrent(layer)
    arrays = {name: a.copy() for name, a in (layer.parameters if layer.shapes else {}).items()}
    if layer.cell is not None and layer.cell.biases == 1:  # PyTorch has two or none
        for name, a in list(arrays.items()):
            if name.startswith("bias_ih"):
                arrays[name.replace("ih", "hh")] = np.zeros_like(a)
    return arrays


def _check_recurrent(layer: Layer) -> None:
    """Raise ValueError unless PyTorch has a layer with the equations of this one."""
    if not isinstance(layer, Recurrent):
        raise ValueError(f"PyTorch has no layer like {type(layer).__name__}")
    cell, biases = layer.cell, layer.cell.biases
    equal = (
        cells.rnn_cell(biases=biases),
        cells.rnn_cell(biases=biases, nonlinearity="relu"),
        cells.lstm_cell(biases=biases, projection=cell.has_projection),
        cells.gru_cell(biases=biases),
    )
    if cell.digest not in [c.digest for c in equal]:
        raise ValueError(
            f"PyTorch has no cell {cell.name}; it has RNN with tanh or relu, LSTM with or without "
            "projection, and GRU with reset_after=True"
        )
    refused = {
        "merge": layer.merge not in (None, "concat"),
        "learn_state": bool(layer.initial),
        "reverse": layer.options.get("reverse", False),
    }
    for option in (name for name, given in refused.items() if given):
        raise ValueError(f"PyTorch's layers have no {option}={layer.options[option]!r}")


def _one_stack(model: Sequential, arrays: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of the layers by the names of one module with several layers."""
    layers = [layer for layer in model.layers if layer.cell is not None]
    between = [layer for layer in model.layers if layer.cell is None]
    alike = {
        (a.cell.digest, a.hidden_size, a.bidirectional, a.sizes.P)
        for a in layers
        if isinstance(a, Recurrent)
    }
    ends = (model.layers[0], model.layers[-1])
    if (
        len(alike) != 1
        or any(layer.cell is None for layer in ends)
        or any(type(layer) is not Dropout for layer in between)
        or len({layer.p for layer in between if isinstance(layer, Dropout)}) > 1
        or len(between) not in (0, len(layers) - 1)
    ):
        raise ValueError(
            "stacked=True needs recurrent layers that are alike but for the first one's "
            f"input_size, and equal Dropout between all of them or none, got {model!r}"
        )
    found = {}
    stack = [own for own, layer in zip(arrays, model.layers, strict=True) if layer.cell is not None]
    for k, own in enumerate(stack):
        for name, a in own.items():
            base = name.removesuffix(REVERSE)
            found[f"{base[: -len('_l0')]}_l{k}{name[len(base) :]}"] = a
    return found
