"""Modules of PyTorch, recognised by the names of their classes: PyTorch is not imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..layers import (
    Activation,
    Conv1d,
    Dropout,
    Layer,
    LayerNorm,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from . import state_dict
from .assemble import Part, array, filled

_CONTAINERS = ("Module", "Sequential", "ModuleList", "ModuleDict")


def parts(module: Any, name: str = "") -> Iterator[Part]:
    """Yield the parts of a module, in the order of its attributes.

    Parameters
    ----------
    module : torch.nn.Module
        The module.
    name : str, default ""
        Its name.

    Yields
    ------
    Part
    """
    kind = _kind(module)
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    if kind in _CONTAINERS and module._modules and not own:
        for inner, child in module._modules.items():
            if child is not None:
                yield from parts(child, f"{name}.{inner}" if name else inner)
        return
    arrays = _arrays(module) if kind in _READERS else dict(module.named_parameters())
    words = type(module).__name__
    if kind not in _READERS:
        yield Part(name, words, None, arrays)
        return
    yield Part(name, words, partial(_read, kind, module, arrays), arrays)


def layout(module: Any) -> bool:
    """Return whether arrays are (N, T, ...), as the recurrent layers of a module say.

    Raises ValueError if they differ.
    """
    found = {m.batch_first for m in module.modules() if _kind(m) in state_dict.RECURRENT}
    if len(found) > 1:
        raise ValueError(
            "recurrent layers of the module differ in batch_first: pass batch_first=True or False"
        )
    return found == {True}


def _kind(module: Any) -> str:
    """Return the class of `torch.nn` whose `forward` a module has; "Module" for another one."""
    for cls in type(module).__mro__:
        if cls.__module__.startswith("torch.nn.modules."):
            same = type(module).forward is cls.forward
            return cls.__name__ if same or cls.__name__ in _CONTAINERS else ""
    return ""


def _arrays(module: Any) -> dict[str, Any]:
    """Return the parameters of a layer by their names; parametrised ones as they are in use."""
    names = getattr(module, "_flat_weights_names", None) or (
        "weight", "bias", "weight_ih", "weight_hh", "bias_ih", "bias_hh",
    )  # fmt: skip
    values = {name: getattr(module, name, None) for name in names}
    return {name: a for name, a in values.items() if hasattr(a, "detach")}


def _read(kind: str, module: Any, arrays: dict[str, Any]) -> list[Layer]:
    """Return the layers of a module of a known class."""
    made = _READERS[kind](module, arrays)
    held = list(module.parameters())
    if held and not any(p.requires_grad for p in held):
        for layer in made:
            layer.trainable = False
    return made


def _recurrent(kind: str, module: Any, arrays: dict[str, Any]) -> list[Layer]:
    options = {}
    if kind == "RNN" and module.nonlinearity != "tanh":
        options["nonlinearity"] = module.nonlinearity
    dropout = float(getattr(module, "dropout", 0.0))
    values = {name: array(a, name) for name, a in arrays.items()}
    return state_dict.stack(kind, values, dropout, **options)


def _embedding(module: Any, arrays: dict[str, Any]) -> list[Layer]:
    if module.max_norm is not None:
        raise ValueError(f"max_norm must be None, got {module.max_norm}: it changes rows in use")
    return state_dict.embedding(arrays, module.padding_idx)


def _layer_norm(module: Any, arrays: dict[str, Any]) -> list[Layer]:
    shape = tuple(module.normalized_shape)
    if len(shape) != 1:
        raise ValueError(f"normalized_shape must be the size of the last axis, got {shape}")
    if not arrays:
        return [LayerNorm(*shape, module.eps)]  # a model initialises it to ones and zeros
    zeros = np.zeros_like(array(arrays["weight"], "weight"))
    return state_dict.layer_norm({"bias": zeros} | arrays, module.eps)


def _conv(module: Any, arrays: dict[str, Any]) -> list[Layer]:
    if module.padding_mode != "zeros":
        raise ValueError(f"padding_mode must be 'zeros', got {module.padding_mode!r}")
    padding = module.padding
    if not isinstance(padding, str):
        (padding,) = padding
    layer = Conv1d(
        module.in_channels,
        module.out_channels,
        *module.kernel_size,
        *module.stride,
        padding=0 if padding == "valid" else padding,
        dilation=module.dilation[0],
        groups=module.groups,
        bias="bias" in arrays,
    )
    return [filled(layer, {name: array(a, name) for name, a in arrays.items()})]


def _gelu(module: Any, arrays: dict[str, Any]) -> list[Layer]:
    if module.approximate != "tanh":
        raise ValueError(f"approximate must be 'tanh', got {module.approximate!r}")
    return [Activation("gelu_tanh")]


def _softmax(module: Any, arrays: dict[str, Any]) -> list[Layer]:
    if module.dim != -1:
        raise ValueError(f"dim must be -1, the last axis, got {module.dim}")
    return [Softmax()]


def _softplus(module: Any, arrays: dict[str, Any]) -> list[Layer]:
    if module.beta != 1:
        raise ValueError(f"beta must be 1, got {module.beta}")
    return [Activation("softplus")]


def _named(name: str, *numbers: str) -> Callable[[Any, dict], Any]:
    """Return a reader of an activation whose numbers are these attributes of the module."""

    def read(module, arrays):
        values = ", ".join(repr(float(getattr(module, n))) for n in numbers)
        return [Activation(f"{name}({values})" if numbers else name)]

    return read


_READERS: dict[str, Callable[[Any, dict], Any]] = {
    **{kind: partial(_recurrent, kind) for kind in state_dict.RECURRENT},
    **{f"{kind}Cell": partial(_recurrent, kind) for kind in state_dict.RECURRENT},
    "Embedding": _embedding,
    "Linear": lambda module, arrays: state_dict.linear(arrays),
    "LayerNorm": _layer_norm,
    "Conv1d": _conv,
    "Dropout": lambda module, arrays: [Dropout(float(module.p))],
    "Identity": lambda module, arrays: [],
    "ReLU": lambda module, arrays: [ReLU()],
    "Tanh": lambda module, arrays: [Tanh()],
    "Sigmoid": lambda module, arrays: [Sigmoid()],
    "SiLU": lambda module, arrays: [Activation("silu")],
    "GELU": _gelu,
    "Softmax": _softmax,
    "Softplus": _softplus,
    "Softsign": _named("softsign"),
    "LeakyReLU": _named("leakyrelu", "negative_slope"),
    "ELU": _named("elu", "alpha"),
}
