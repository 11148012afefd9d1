"""Models of Keras: `from_keras` reads models in memory and files, without TensorFlow."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
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
    Add,
    Concat,
    Conv1d,
    Dropout,
    Embedding,
    Last,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Multiply,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from ..layers.recurrent import NAMES
from ..models.graph_model import Graph
from ..models.sequential import Sequential
from . import keras_files
from .assemble import Part, array, assembled, assembled_graph, filled, layers_of
from .formats import CUDNN, KERAS
from .keras_wiring import MODELS, Wiring, wiring

# Keras' classes: ours, the cell, and the format of the arrays.
RECURRENT: dict[str, Any] = {
    "SimpleRNN": (RNN, "rnn", KERAS),
    "LSTM": (LSTM, "lstm", KERAS),
    "GRU": (GRU, "gru", KERAS),
    "CuDNNLSTM": (LSTM, "lstm", CUDNN),
    "CuDNNGRU": (GRU, "gru", CUDNN),
}
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
def from_keras(model: Any, config: Any = None) -> Sequential | Graph:
    """Make a model from one of Keras: a model in memory, or a file `.keras` or `.h5`.

    These layers are read: SimpleRNN, LSTM and GRU, also as CuDNN layers of old files,
    Bidirectional, TimeDistributed, Embedding, Dense, LayerNormalization, Conv1D, Dropout,
    SpatialDropout1D, activations, the global pooling layers, Add, Multiply and Concatenate. A chain
    of them becomes a Sequential; a model with branches, shared layers, or several inputs or outputs
    becomes a Graph. The result is batch-first, as Keras is. Neither Keras nor TensorFlow is needed
    to read a file.

    Keras masks steps, by `mask_zero` or Masking; pass `lengths` here, which mask those at the end
    of each sequence. Steps that are masked before the end have no equal.

    Parameters
    ----------
    model : keras.Model, str or os.PathLike
        The model, or the file of one: `.keras`, or `.h5`. A file of weights alone, `.weights.h5`,
        needs `config`.
    config : str, dict or os.PathLike, optional
        For a file of weights: the text of `model.to_json()`, that text parsed, or the path of a
        file with it.

    Returns
    -------
    Sequential or Graph
        A layer with `return_sequences=False` is followed by `Last`, one with an activation by that,
        and one with `dropout` has Dropout below it. A Graph has the names of Keras' layers. An
        input of it without steps, (N, D), is one of one step here, (N, 1, D).

    Raises
    ------
    TypeError
        If an argument has the wrong type, or parameters are neither float32 nor float64.
    ValueError
        If a layer or an option has no equal here, or the file holds something else.
    OSError
        If a file cannot be read.
    ImportError
        If h5py is not installed, for a file.

    Warns
    -----
    UserWarning
        If a layer has stateful=True: states are arguments here.
    """
    given = None if config is None else keras_files.configuration(config)
    if isinstance(model, (str, os.PathLike)):
        path = checks.path(model, "model")
        with (
            checks.naming(str(path)),
            keras_files.opened(path, given) as (own, place, version),
        ):
            return _converted(own, place, version)
    if isinstance(model, type) or not hasattr(model, "get_config") or not hasattr(model, "layers"):
        raise TypeError(
            f"model must be a model of Keras or the path of a file, got {checks.shown(model)}"
        )
    if given is not None:
        raise ValueError("config is for a file of weights; a model in memory has its own")
    kind = next((c.__name__ for c in type(model).__mro__ if c.__name__ in MODELS), "")
    if kind in ("", "Model"):
        raise ValueError(
            f"model must be a Sequential or functional model, got {type(model).__name__}: the code "
            "of its call cannot be read"
        )
    own = {"class_name": kind, "config": model.get_config()}
    return _converted(own, keras_files.Live(model), 3)


def _converted(config: dict, place: keras_files.Place, version: int) -> Sequential | Graph:
    """Return the model of a configuration and its arrays."""
    functions = FUNCTIONS if version >= 3 else OLD_FUNCTIONS

    stateful = []

    def part_of(name: str, kind: str, own: dict, inner: keras_files.Place) -> Part:
        layer = own.get("layer") if kind == "Bidirectional" else None
        inside = layer.get("config") if isinstance(layer, dict) else None
        if own.get("stateful") or (isinstance(inside, dict) and inside.get("stateful")):
            stateful.append(name)
        return Part(name, kind, partial(_read, kind, own, inner, functions))

    found = wiring(config, place, part_of)
    chain = found.chain()
    model = assembled(chain, None, True) if chain is not None else _graph(found)
    if stateful:
        warnings.warn(
            f"Keras keeps the state of {', '.join(stateful)} from call to call (stateful=True); "
            "here write y, state, _ = model.forward(x, state), or use model.stream()",
            stacklevel=4,
        )
    return model


def _graph(found: Wiring) -> Sequential | Graph:
    """Return the graph of a model with branches."""
    parts = {call.part.name: call.part for call in found.calls}
    made = {name: layers_of(part, [part]) for name, part in parts.items()}
    nodes: dict[str, tuple[Layer, tuple[str, ...]]] = {}
    passed = {name: name for name in found.inputs}  # the node that computes each value
    for call in found.calls:
        reads, own = [passed[name] for name in call.reads], made[call.part.name]
        if own and not isinstance(own[0], Embedding):
            reads = [_vector(n, nodes) if found.inputs.get(n) == 2 else n for n in reads]
        for k, layer in enumerate(own):
            name = f"{call.name}.{k}" if len(own) > 1 else call.name
            nodes[name] = (layer, tuple(reads))
            reads = [name]
        passed[call.name] = reads[0]
    ends = {name: passed[value] for name, value in found.outputs.items()}
    return assembled_graph(nodes, ends, list(found.inputs), True)


def _vector(name: str, nodes: dict[str, Any]) -> str:
    """Return the node that makes vectors of an input without steps, which has one step here."""
    own = f"{name}.vector"
    nodes.setdefault(own, (Last(), (name,)))
    return own


def _read(
    kind: str, config: dict, place: keras_files.Place, functions: dict[str, str]
) -> list[Layer]:
    """Return the layers of a layer of Keras."""
    if kind not in READERS:
        raise ValueError(
            f"no layer here is its equal; layers of Keras that are read are {', '.join(READERS)}"
        )
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
    if config.get("time_major"):
        raise ValueError("time_major must be False: a model here has the axes (N, T, D) of Keras")
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
    "Add": lambda kind, config, arrays, functions: [Add()],
    "Multiply": lambda kind, config, arrays, functions: [Multiply()],
    "Concatenate": lambda kind, config, arrays, functions: [Concat()],
}
