"""PyTorch's arrays by name: which layers they are, told by names and shapes alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from .. import checks
from ..engine.bidirectional import REVERSE
from ..layers import CRF, GRU, LSTM, RNN, Dropout, Embedding, Layer, LayerNorm, Linear
from ..layers.recurrent import NAMES
from ..models import files, foreign
from .assemble import Part, array, filled, layers_of
from .formats import TORCH

RECURRENT: dict[str, Any] = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
# The name of the layer by the number of blocks of rows.
_KINDS = {len(TORCH.gates[kind.lower()].split()): kind for kind in RECURRENT}
_NAME = re.compile(rf"({'|'.join(TORCH.fields)})(?:_l(\d{{1,4}})({REVERSE})?)?")
_NESTED = ("state_dict", "model_state_dict", "model")  # where a checkpoint holds a state dict


def stack(
    kind: str, arrays: Mapping[str, np.ndarray], dropout: float = 0.0, **options: Any
) -> list[Layer]:
    """Return the layers of an `nn.LSTM` or the like, of any depth.

    Parameters
    ----------
    kind : str
        "RNN", "LSTM" or "GRU".
    arrays : dict of str to ndarray
        The parameters by PyTorch's names; those of a cell have no number.
    dropout : float, default 0.0
        Probability of Dropout between the layers.
    **options : Any
        Further options of each layer.

    Returns
    -------
    list of Layer

    Raises
    ------
    ValueError
        If names are missing or shapes do not fit.
    """
    by_layer: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for name, a in arrays.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{checks.shown(name)} is no parameter of PyTorch's {kind}")
        field, number, end = match.groups("")
        by_layer.setdefault(int(number or 0), {}).setdefault(end, {})[field] = a
    made: list[Layer] = []
    for k in range(len(by_layer)):
        if k not in by_layer:
            raise ValueError(f"the parameters of layer {k} of {len(by_layer)} are missing")
        if made and dropout:
            made.append(Dropout(dropout))
        made.append(_one(kind, by_layer[k], options))
    return made


def _one(kind: str, directions: dict[str, dict[str, np.ndarray]], options: dict) -> Layer:
    """Return one recurrent layer of the arrays of each direction, "" and "_reverse"."""
    own = directions.get("", {})
    for name in ("weight_ih", "weight_hh"):
        if name not in own or own[name].ndim != 2:
            raise ValueError(f"a {kind} needs {name}, an array of two axes")
    cell = kind.lower()
    G = len(TORCH.gates[cell].split())
    rows, D = own["weight_ih"].shape
    H, odd = divmod(rows, G)
    if odd:
        raise ValueError(f"weight_ih of a {kind} must have {G} rows for each unit, got {rows}")
    options = dict(options)
    if "weight_hr" in own:
        options["proj_size"] = len(own["weight_hr"])
    biases = sum(name in own for name in ("bias_ih", "bias_hh"))
    if biases != 2:
        options["biases"] = biases
    if REVERSE in directions:
        options["bidirectional"] = True
    layer = RECURRENT[kind](D, H, **options)
    fields = {
        f"{NAMES[field]}_l0{end}": a
        for end, named in directions.items()
        for field, a in TORCH.read(cell, H, named).items()
    }
    return filled(layer, fields)


def parts(state: Mapping[str, Any]) -> list[Part]:
    """Return the parts of a state dict, in its order.

    Parameters
    ----------
    state : dict of str to (tensor or ndarray)
        The arrays by name. What precedes the last dot of a name is the name of a part.

    Returns
    -------
    list of Part
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        part, _, own = name.rpartition(".")
        groups.setdefault(part, {})[own] = value
    shapes = [{n: tuple(np.shape(a)) for n, a in own.items()} for own in groups.values()]
    found = []
    for k, (name, own) in enumerate(groups.items()):
        words = ", ".join(f"{n} {shape}" for n, shape in list(shapes[k].items())[:3])
        words += ", ..." * (len(own) > 3)
        kind, why = _kind(shapes[k], shapes[k + 1 :], k == 0)
        read = partial(_READERS[kind], own) if kind else None
        found.append(Part(name, words, read, own, why))
    return found


def _kind(shapes: dict[str, tuple], after: list[dict[str, tuple]], first: bool) -> tuple[str, str]:
    """Return the layer that arrays of these shapes are, or "" and why it is none."""
    names, weight = set(shapes), shapes.get("weight", ())
    if names and all(map(_NAME.fullmatch, names)):
        ih, hh = (_first(shapes, f"weight_{n}") for n in ("ih", "hh"))
        H = _first(shapes, "weight_hr")[1:2] or hh[1:2]
        blocks = ih[0] / H[0] if len(ih) == 2 and H and H[0] else 0
        kind = _KINDS.get(blocks, "")  # type: ignore[arg-type]
        return kind, "" if kind else "weight_hh must have 1, 3 or 4 rows for each unit"
    if names == {"start_transitions", "end_transitions", "transitions"}:
        return "CRF", ""
    if names == {"weight", "bias"} and len(weight) in (1, 2):
        return ("LayerNorm" if len(weight) == 1 else "Linear"), ""
    if names == {"weight"} and len(weight) == 2:
        if not first:
            return "Linear", ""
        # Only the first layer reads ids. The width that the next one takes may tell.
        width = _width(after[0]) if after else None
        if weight[0] != weight[1] and width in weight:
            return ("Embedding" if width == weight[1] else "Linear"), ""
        a, b = weight
        return "", f"Embedding({a}, {b}) or Linear({b}, {a}, bias=False)"
    if names in ({"weight"}, {"weight", "bias"}) and len(weight) == 3:
        return "", "perhaps a Conv1d, whose stride and padding are not in a state dict"
    return "", ""


def _first(shapes: dict[str, tuple], start: str) -> tuple:
    """Return the shape of the first array whose name begins so; () if there is none."""
    return next((shape for name, shape in shapes.items() if name.startswith(start)), ())


def _width(shapes: dict[str, tuple]) -> int | None:
    """Return how many features the layer of these arrays takes, if its weight says so."""
    return (_first(shapes, "weight_ih") or shapes.get("weight", ()) or (None,))[-1]


def _arrays(own: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: array(value, name) for name, value in own.items()}


def _recurrent(kind: str, own: Mapping[str, Any]) -> list[Layer]:
    return stack(kind, _arrays(own))


def embedding(own: Mapping[str, Any], padding_idx: int | None = None) -> list[Layer]:
    """Return an Embedding with the array "weight"."""
    arrays = _arrays(own)
    return [filled(Embedding(*arrays["weight"].shape, padding_idx=padding_idx), arrays)]


def linear(own: Mapping[str, Any]) -> list[Layer]:
    """Return a Linear with the arrays "weight" and, unless it has none, "bias"."""
    arrays = _arrays(own)
    M, K = arrays["weight"].shape
    return [filled(Linear(K, M, **({} if "bias" in arrays else {"bias": False})), arrays)]


def layer_norm(own: Mapping[str, Any], eps: float = 1e-5) -> list[Layer]:
    """Return a LayerNorm with the arrays "weight" and "bias"."""
    arrays = _arrays(own)
    return [filled(LayerNorm(len(arrays["weight"]), eps), arrays)]


def crf(own: Mapping[str, Any]) -> list[Layer]:
    """Return a CRF with the arrays of a module of pytorch-crf, which has the same names."""
    arrays = _arrays(own)
    return [filled(CRF(arrays["start_transitions"].size), arrays)]


_READERS: dict[str, Any] = {
    "CRF": crf,
    **{kind: partial(_recurrent, kind) for kind in RECURRENT},
    "Embedding": embedding,
    "Linear": linear,
    "LayerNorm": layer_norm,
}


def recurrent_layers(state: Mapping[str, Any]) -> dict[str, Layer]:
    """Return the recurrent layers of a state dict, whatever else it holds.

    Parameters
    ----------
    state : dict of str to (tensor or ndarray)
        The arrays by name.

    Returns
    -------
    dict of str to Layer
        By the names of the parts, in the order of the state dict.
    """
    found, named = {}, parts(state)
    for part in named:
        with suppress(TypeError, ValueError):  # arrays of another dtype, an unknown part
            for layer in layers_of(part, named):
                if layer.cell is not None:
                    found[layer.origin or "the module"] = layer
    return found


def checked(value: Mapping, name: str) -> dict[str, Any]:
    """Return the state dict that a mapping is, or the one that it holds.

    Parameters
    ----------
    value : dict
        A state dict, or a checkpoint with one under "state_dict" or the like.
    name : str
        What to call it in errors.

    Returns
    -------
    dict of str to Any

    Raises
    ------
    TypeError, ValueError
        If there is none, or it is empty.
    """
    found = dict(value)
    nested = [key for key in _NESTED if isinstance(found.get(key), Mapping)]
    if nested:
        found, name = dict(found[nested[0]]), f"{name}[{nested[0]!r}]"
    if not found:
        raise ValueError(f"{name} has no arrays")
    for key, a in found.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} must have names for keys, got {checks.shown(key)}")
        if not hasattr(a, "shape") or not hasattr(a, "dtype"):
            raise TypeError(f"{name}[{key!r}] must be an array, got {checks.shown(a)}")
    return found


def from_file(path: Path) -> dict[str, Any]:
    """Return the state dict in a file of `torch.save` or safetensors.

    Parameters
    ----------
    path : Path
        The file, of whatever name.

    Returns
    -------
    dict of str to (tensor or ndarray)

    Raises
    ------
    OSError, ValueError, ImportError
        If it cannot be read, holds something else, or needs PyTorch, which is not installed.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(foreign.folder(path))
    files.check_readable(path)
    with open(path, "rb") as stream:
        head = stream.read(4)
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return checked(_torch_file(path), "its state dict")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            if (file.metadata() or {}).get("format") == "recurrent":
                raise ValueError(
                    f"{path} is a model of this package: write recurrent.load(path), or "
                    "to_torch(recurrent.load(path)) for PyTorch's names"
                )
            return checked({name: file.get_tensor(name) for name in file.keys()}, "the file")  # noqa: SIM118
    except SafetensorError as error:
        words = foreign.file(path) or f"this is neither a .pt nor a .safetensors file: {error}"
        raise ValueError(f"{path}: {words}") from None
    except TypeError as error:  # an entry type that NumPy does not have
        raise ValueError(f"{path}: its arrays must be float32 or float64: {error}") from None


def _torch_file(path: Path) -> Mapping:
    """Return what a file of `torch.save` holds, without running code of it."""
    try:
        import torch  # type: ignore[import-not-found,import-untyped]
    except ImportError:
        raise ImportError(
            f"{path} needs PyTorch to be read: pip install recurrent-engine[torch], or write a "
            ".safetensors file where PyTorch is"
        ) from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive, a pickle of other objects: whatever it finds
        raise ValueError(
            f"{path} holds more than arrays, or is damaged: write it by torch.save("
            f"module.state_dict(), path) ({type(error).__name__})"
        ) from None
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} must hold a state dict, got {checks.shown(found)}")
    return found
