"""Models of Keras: `from_keras` reads models in memory and files, without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..engine.bidirectional import REVERSE
from ..layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Conv1d,
    Dropout,
    Embedding,
    Last,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from ..layers.recurrent import NAMES
from ..models.sequential import Sequential
from . import keras_files
from .assemble import Part, array, assembled, filled
from .formats import CUDNN, KERAS

# Keras' classes: ours, the cell, and the format of the arrays.
RECURRENT: dict[str, Any] = {
    "SimpleRNN": (RNN, "rnn", KERAS),
    "LSTM": (LSTM, "lstm", KERAS),
    "GRU": (GRU, "gru", KERAS),
    "CuDNNLSTM": (LSTM, "lstm", CUDNN),
    "CuDNNGRU": (GRU, "gru", CUDNN),
}
MODELS = ("Sequential", "Functional", "Model")
MERGES = {"concat": "concat", "sum": "sum", "mul": "mul", "ave": "average"}
# Activations of Keras: what they are called in cells.
FUNCTIONS = {
    "linear": "affine(1.0, 0.0)",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "relu": "relu",
    "elu": "elu",
    "softplus": "softplus",
    "softsign": "softsign",
    "leaky_relu": "leakyrelu(0.2)",
    "hard_sigmoid": f"hardsigmoid({1 / 6!r}, 0.5)",
}
OLD_FUNCTIONS = {**FUNCTIONS, "hard_sigmoid": "hardsigmoid(0.2, 0.5)"}  # before Keras 3
LAYERS: dict[str, Callable[[], Layer]] = {
    "relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid, "softmax": Softmax,
    "silu": partial(Activation, "silu"), "swish": partial(Activation, "silu"),
}  # fmt: skip


@explained
def from_keras(model: Any) -> Sequential:
    """Make a model from one of Keras: a model in memory, or a file `.keras` or `.h5`.

    Chains of these layers are read: SimpleRNN, LSTM and GRU, also as CuDNN layers of old files,
    Bidirectional, TimeDistributed, Embedding, Dense, LayerNormalization, Conv1D, Dropout,
    SpatialDropout1D, activations and the global pooling layers. The result is batch-first, as Keras
    is. Where Keras masks steps, by `mask_zero` or Masking, pass the mask as `lengths`; padding_idx
    of the Embedding is then 0. Neither Keras nor TensorFlow is needed to read a file.

    Parameters
    ----------
    model : keras.Model, str or os.PathLike
        The model, or the file of one: `.keras`, or `.h5` of a whole model.

    Returns
    -------
    Sequential
        A layer with `return_sequences=False` is followed by `Last`, one with an activation by that,
        and one with `dropout` has Dropout below it.

    Raises
    ------
    TypeError
        If model is neither, or parameters are neither float32 nor float64.
    ValueError
        If a layer or an option has no equal here, layers form no chain, or the file holds something
        else.
    OSError
        If the file cannot be read.
    ImportError
        If h5py is not installed, for a file.
    """
    if isinstance(model, (str, os.PathLike)):
        path = checks.path(model, "model")
        with checks.naming(str(path)):
            config, place, version = keras_files.read(path)
            with keras_files.damage():
                return _converted(config, place, version)
    if isinstance(model, type) or not hasattr(model, "get_config") or not hasattr(model, "layers"):
        raise TypeError(
            f"model must be a model of Keras or the path of a file, got {checks.shown(model)}"
        )
    kind = next((c.__name__ for c in type(model).__mro__ if c.__name__ in MODELS), "")
    if kind in ("", "Model"):
        raise ValueError(
            f"model must be a Sequential or functional model, got {type(model).__name__}: the code "
            "of its call cannot be read"
        )
    config = {"class_name": kind, "config": model.get_config()}
    return _converted(config, keras_files.Live(model), 3)


def _converted(config: dict, place: keras_files.Place, version: int) -> Sequential:
    """Return the model of a configuration and its arrays."""
    functions = FUNCTIONS if version >= 3 else OLD_FUNCTIONS
    return assembled(_parts(config, place, functions), None, True)


def _parts(
    config: dict, place: keras_files.Place, functions: dict[str, str], name: str = ""
) -> Iterator[Part]:
    """Yield the parts of a model, in the order of its layers."""
    layers = _chain(config, name)
    for k, entry in enumerate(layers):
        kind, own = entry["class_name"], entry["config"]
        label = own.get("name", entry.get("name", str(k)))
        full = f"{name}/{label}" if name else str(label)
        inner = place.layer(k, kind, label)
        if kind in MODELS:
            yield from _parts(entry, inner, functions, full)
            continue
        read = partial(_read, kind, own, inner, functions) if kind in READERS else None
        yield Part(full, kind, read, why=f"layers of Keras that are known are {', '.join(READERS)}")


def _chain(config: dict, name: str) -> list[dict]:
    """Return the entries of the layers of a model; raise ValueError unless they form a chain."""
    where = f"{name}: " if name else ""
    kind, own = config.get("class_name"), config.get("config")
    if kind not in MODELS:
        raise ValueError(f"{where}the model must be one of {', '.join(MODELS)}, got {kind!r}")
    layers = own if isinstance(own, list) else own.get("layers") if isinstance(own, dict) else None
    if not isinstance(layers, list):
        raise ValueError(f"{where}the configuration lists no layers")
    for entry in layers:
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("class_name"), str)
            and isinstance(entry.get("config"), dict)
        ):
            raise ValueError(f"{where}each layer must have a class_name and a config")
    if kind == "Sequential":
        return layers
    before = ""
    for entry in layers:
        label = str(entry.get("name", entry["config"].get("name")))
        sources = list(_sources(entry.get("inbound_nodes", [])))
        if sources != [before] * bool(before):
            raise ValueError(
                f"{where}{label} ({entry['class_name']}) reads {' and '.join(sources) or 'nothing'}"
                f", and a chain of layers reads {before or 'one input'} there: models with "
                "branches are not read"
            )
        before = label
    return layers


def _sources(nodes: Any, depth: int = 0) -> Iterator[str]:
    """Yield the names of the layers that a layer reads, as a configuration writes them."""
    if isinstance(nodes, dict):
        history = nodes.get("keras_history")
        if isinstance(history, (list, tuple)) and history:
            yield str(history[0])
            return
        nodes = list(nodes.values())
    elif hasattr(nodes, "_keras_history"):  # of a model in memory
        nodes = [nodes._keras_history]
    if not isinstance(nodes, (list, tuple)) or depth > 12:
        return
    if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
        yield nodes[0]
        nodes = nodes[3:]  # tensors among the named arguments
    for node in nodes:
        yield from _sources(node, depth + 1)


def _read(
    kind: str, config: dict, place: keras_files.Place, functions: dict[str, str]
) -> list[Layer]:
    """Return the layers of a layer of Keras."""
    arrays = [array(a, f"array {k}") for k, a in enumerate(place.arrays(kind, config))]
    made = READERS[kind](kind, config, arrays, functions)
    if config.get("trainable") is False:
        for layer in made:
            layer.trainable = not layer.shapes
    return made


def _option(config: dict, name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """Return an option of a configuration; raise ValueError if it is of another type."""
    value = config.get(name, default)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(
            f"{name} must be {getattr(kind, '__name__', 'a number')}, got {value!r:.60}"
        )
    return value


def _number(config: dict, *names: str, default: float = 0.0) -> float:
    """Return the first of some options that the configuration has, as a float."""
    name = next((n for n in names if config.get(n) is not None), "")
    return float(_option(config, name, (int, float))) if name else default


def _named(values: list[np.ndarray], *names: str) -> dict[str, np.ndarray]:
    """Return the arrays by name; raise ValueError if there are more or fewer."""
    if len(values) != len(names):
        raise ValueError(f"must have {len(names)} arrays ({', '.join(names)}), got {len(values)}")
    return dict(zip(names, values, strict=True))


def _function(config: dict, name: str, functions: dict[str, str], default: str) -> str:
    """Return the name in cells of an activation."""
    value = config.get(name, default)
    value = "linear" if value is None else value
    if not isinstance(value, str) or value not in functions:
        raise ValueError(f"{name} must be one of {', '.join(functions)}, got {value!r:.60}")
    return functions[value]


def _activation(config: dict, functions: dict[str, str]) -> list[Layer]:
    """Return the layer of the activation of a layer; none for a linear one."""
    value = config.get("activation")
    if value in (None, "linear"):
        return []
    if isinstance(value, str) and value in LAYERS:
        return [LAYERS[value]()]
    return [Activation(_function(config, "activation", functions, "linear"))]


def _options(kind: str, config: dict, functions: dict[str, str]) -> dict[str, Any]:
    """Return the options of a recurrent layer that are not the defaults here."""
    if kind.startswith("CuDNN"):
        return {}
    f = _function(config, "activation", functions, "tanh")
    if kind == "SimpleRNN":
        return {} if f == "tanh" else {"nonlinearity": f}
    gate = _function(config, "recurrent_activation", functions, "sigmoid")
    wanted = (gate, f, f) if kind == "LSTM" else (gate, f)
    usual = ("sigmoid", *["tanh"] * (len(wanted) - 1))
    options: dict[str, Any] = {} if wanted == usual else {"activations": wanted}
    if kind == "GRU" and not _option(config, "reset_after", bool, False):
        options["reset_after"] = False
    return options


def _recurrent(
    kind: str,
    config: dict,
    arrays: list[np.ndarray],
    functions: dict[str, str],
    merge: str = "",
) -> list[Layer]:
    """Return the layers of a recurrent layer; with `merge`, of one within Bidirectional."""
    ours, cell, form = RECURRENT[kind]
    H = _option(config, "units", int)
    names = ["kernel", "recurrent_kernel", *["bias"] * bool(config.get("use_bias", True))]
    ends = ("", REVERSE) if merge else ("",)
    if len(arrays) != len(ends) * len(names):
        raise ValueError(f"must have {len(ends) * len(names)} arrays, got {len(arrays)}")
    fields, biases = {}, 0
    for k, end in enumerate(ends):
        own = arrays[k * len(names) : (k + 1) * len(names)]
        read = form.read(cell, H, dict(zip(names, own, strict=True)))
        fields |= {f"{NAMES[field]}_l0{end}": a for field, a in read.items()}
        biases = sum(field.startswith("b_") for field in read)
    options = _options(kind, config, functions)
    if biases != 2:
        options["biases"] = biases
    if merge:
        options |= {"bidirectional": True, "merge": merge}
    if config.get("go_backwards"):
        if config.get("return_sequences", False):
            raise ValueError(
                "go_backwards=True with return_sequences=True returns the steps in reverse, which "
                "no layer here does"
            )
        options["reverse"] = True
    rate, recurrent = _number(config, "dropout"), _number(config, "recurrent_dropout")
    if recurrent:
        options["recurrent_dropout"] = recurrent
    D = fields["weight_ih_l0"].shape[1]
    made: list[Layer] = [Dropout(rate, "sequence")] if rate else []
    made.append(filled(ours(D, H, **options), fields))
    if not config.get("return_sequences", False):
        if merge not in ("", "concat"):
            raise ValueError(
                f"merge_mode={merge!r} without return_sequences merges the last states of both "
                "directions, which no layer here does"
            )
        way = {"bidirectional": True} if merge else {}
        made.append(Last(**way, **({"reverse": True} if "reverse" in options else {})))
    return made


def _bidirectional(kind, config, arrays, functions) -> list[Layer]:
    inner = keras_files.inner_layer(config, "layer")
    kind, own = inner["class_name"], inner["config"]
    if kind not in RECURRENT:
        raise ValueError(f"Bidirectional of {kind} is not known")
    if config.get("backward_layer") is not None:
        backward = keras_files.inner_layer(config, "backward_layer")
        skip = ("name", "go_backwards", "trainable")
        mine, theirs = (
            {
                k: v
                for k, v in c.items()
                if k not in skip and not k.endswith(("izer", "build_config"))
            }
            for c in (own, backward["config"])
        )
        if backward["class_name"] != kind or mine != theirs:
            raise ValueError("backward_layer must have the options of the forward one")
    if own.get("go_backwards"):
        raise ValueError("go_backwards must be False within Bidirectional")
    merge = config.get("merge_mode", "concat")
    if merge not in MERGES:
        raise ValueError(f"merge_mode must be one of {', '.join(MERGES)}, got {merge!r:.60}")
    return _recurrent(kind, own, arrays, functions, MERGES[merge])


def _time_distributed(kind, config, arrays, functions) -> list[Layer]:
    inner = keras_files.inner_layer(config, "layer")
    if inner["class_name"] not in ("Dense", "Activation", "Dropout", "LayerNormalization"):
        raise ValueError(f"TimeDistributed of {inner['class_name']} is not known")
    return READERS[inner["class_name"]](inner["class_name"], inner["config"], arrays, functions)


def _dense(kind, config, arrays, functions) -> list[Layer]:
    bias = bool(config.get("use_bias", True))
    own = _named(arrays, "weight", *["bias"] * bias)
    if own["weight"].ndim != 2:
        raise ValueError(f"kernel must have two axes, got {own['weight'].shape}")
    own["weight"] = own["weight"].T
    M, K = own["weight"].shape
    layer = Linear(K, M) if bias else Linear(K, M, bias=False)
    return [filled(layer, own), *_activation(config, functions)]


def _embedding(kind, config, arrays, functions) -> list[Layer]:
    own = _named(arrays, "weight")
    padding = {"padding_idx": 0} if config.get("mask_zero") else {}
    return [filled(Embedding(*own["weight"].shape, **padding), own)]


def _layer_norm(kind, config, arrays, functions) -> list[Layer]:
    axis = config.get("axis", -1)
    if axis not in (-1, [-1], 2, [2]) or config.get("rms_scaling"):
        raise ValueError(f"must normalise the last axis, axis=-1, got axis={axis!r:.60}")
    used = [("weight", config.get("scale", True)), ("bias", config.get("center", True))]
    own = _named(arrays, *(name for name, given in used if given))
    eps = _number(config, "epsilon", default=1e-3)
    if not own:
        raise ValueError(
            "must have scale=True or center=True, or the number of features is unknown"
        )
    like = next(iter(own.values()))
    plain = {"weight": np.ones_like(like), "bias": np.zeros_like(like)}
    return [filled(LayerNorm(like.size, eps), plain | own)]


def _conv(kind, config, arrays, functions) -> list[Layer]:
    if config.get("data_format") not in (None, "channels_last"):
        raise ValueError("data_format must be 'channels_last'")
    bias = bool(config.get("use_bias", True))
    own = _named(arrays, "weight", *["bias"] * bias)
    if own["weight"].ndim != 3:
        raise ValueError(f"kernel must have three axes, got {own['weight'].shape}")
    own["weight"] = own["weight"].transpose(2, 1, 0)
    M, C, k = own["weight"].shape
    stride, dilation = (_single(config, name) for name in ("strides", "dilation_rate"))
    groups = _option(config, "groups", int, 1)
    padding = config.get("padding", "valid")
    padding = 0 if padding == "valid" else padding
    layer = Conv1d(C * groups, M, k, stride, padding, dilation, groups, bias)
    return [filled(layer, own), *_activation(config, functions)]


def _single(config: dict, name: str) -> int:
    """Return an option that is a number or a list of one."""
    value = config.get(name, 1)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return _option({name: value}, name, int)


def _softmax(kind, config, arrays, functions) -> list[Layer]:
    if config.get("axis", -1) not in (-1, [-1]):
        raise ValueError(f"axis must be -1, got {config['axis']!r:.60}")
    return [Softmax()]


def _relu(kind, config, arrays, functions) -> list[Layer]:
    if config.get("max_value") is not None or _number(config, "threshold"):
        raise ValueError("max_value must be None and threshold 0")
    slope = _number(config, "negative_slope")
    return [Activation(f"leakyrelu({slope!r})") if slope else ReLU()]


def _leaky_relu(kind, config, arrays, functions) -> list[Layer]:
    return [Activation(f"leakyrelu({_number(config, 'negative_slope', 'alpha', default=0.3)!r})")]


def _pooling(kind, config, arrays, functions) -> list[Layer]:
    if config.get("keepdims") or config.get("data_format") not in (None, "channels_last"):
        raise ValueError("must have keepdims=False and data_format='channels_last'")
    return [MaxPool() if kind == "GlobalMaxPooling1D" else MeanPool()]


def _nothing(kind, config, arrays, functions) -> list[Layer]:
    return []


READERS: dict[str, Callable[[str, dict, list[np.ndarray], dict[str, str]], list[Layer]]] = {
    **dict.fromkeys(RECURRENT, _recurrent),
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "Conv1D": _conv,
    "Embedding": _embedding,
    "Dense": _dense,
    "LayerNormalization": _layer_norm,
    "Dropout": lambda kind, config, arrays, functions: [Dropout(_number(config, "rate"))],
    "SpatialDropout1D": lambda kind, config, arrays, functions: [
        Dropout(_number(config, "rate"), "sequence")
    ],
    "Activation": lambda kind, config, arrays, functions: _activation(config, functions),
    "Softmax": _softmax,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "GlobalAveragePooling1D": _pooling,
    "GlobalMaxPooling1D": _pooling,
    "InputLayer": _nothing,
    "Masking": _nothing,
}
