"""Models as the command line names them: a file of ours or of others, or a list of layers."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurrent import CharLM, Graph, Seq2Seq, Sequential, load
from recurrent.charlm.translator import Translator
from recurrent.cli import memory
from recurrent.cli.options import print_notes
from recurrent.interchange import reading, state_dict
from recurrent.layers.base import LAYERS
from recurrent.layers.recording import Recording
from recurrent.losses import softmax_cross_entropy
from recurrent.models.base import Model

from ..reading import nodes
from ..reading.models import Parts, named_layers, no_model

LISTED = 12  # layers that an error lists
_LAYER = re.compile(r"[A-Za-z]+(:[0-9.]+)*")


class Run(NamedTuple):
    """A recording, with labels for its input and output steps where they are known."""

    recording: Recording
    inputs: Sequence[str] | None = None
    outputs: Sequence[str] | None = None


def model(name: str) -> Any:
    """Load a model from a file, or build one from layers such as "LSTM:5:10,Linear:10:1".

    Raises OSError or ValueError for a file that holds no model, ValueError for invalid layers.
    """
    parts = name.split(",")
    is_list = any(map(_known, parts)) or all(map(_LAYER.fullmatch, parts))
    if Path(name).exists() or not is_list:
        return _of_file(name)
    layers = [_layer(part) for part in parts]
    memory.check(4 * sum(layer.size for layer in layers), f"{name:.50}", "use smaller layers")
    return Sequential(*layers, rng=0)


def _of_file(name):
    """Read a file of this package under any name, or of another program by the end of its name."""
    if Path(name).suffix.lower() not in reading.READERS:
        return load(name)
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", UserWarning)
            made = reading.read(name)
    except (TypeError, ValueError) as error:
        layers = _recurrent_of(Path(name))
        if not layers:
            raise ValueError(str(error)) from None
        return Parts(layers, str(error))
    except ImportError as error:
        raise ValueError(str(error)) from None
    print_notes(str(note.message) for note in notes)
    return made


def _recurrent_of(path):
    """Return the recurrent layers of a state dict by name; none if the file holds no state dict."""
    if path.suffix.lower() not in (".pt", ".pth", ".safetensors"):
        return {}
    with suppress(TypeError, ValueError):
        return state_dict.recurrent_layers(state_dict.from_file(path))
    return {}


def _known(part):
    """Return the class of the layer named before the first colon, or None."""
    kind = part.split(":")[0].lower()
    return next(
        (made for name, made in LAYERS.items() if name.lower() == kind and name != "Recurrent"),
        None,
    )


def _layer(part):
    if (made := _known(part)) is None:
        raise ValueError(
            f"{part!r}: no such file, and no such layer; the layers are {', '.join(LAYERS)}"
        )
    sizes = [_number(part, size) for size in part.split(":")[1:]]
    signature = inspect.signature(made)
    try:
        signature.bind(*sizes)
    except TypeError:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [p for p in signature.parameters.values() if p.kind is kind]
        needed = [p.name for p in parameters if p.default is p.empty]
        raise ValueError(
            f"{part}: expected {':'.join([made.__name__, *needed])}, got {len(sizes)} sizes; "
            "write a layer as LSTM:5:10"
        ) from None
    try:
        return made(*sizes)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{part}: {error}; write a layer as LSTM:5:10, its sizes after its name"
        ) from None


def _number(part, size):
    """Return a size of a layer as a number."""
    try:
        return float(size) if "." in size else int(size)
    except ValueError:
        raise ValueError(
            f"{part}: expected numbers, got {size!r}; write a layer as LSTM:5:10, its sizes after "
            "its name"
        ) from None


def layers_of(made: Any) -> Any:
    """Return the layers of a character model or translator, or the model itself."""
    return made.model if isinstance(made, (CharLM, Translator)) else made


def class_names(made: Any, part: str | None = None) -> dict[str, list[str]] | None:
    """Return the symbols that a model of text scores, as labels of a page, or None.

    The encoder of a translator scores none.
    """
    if isinstance(made, CharLM):
        vocabulary, end = made.vocabulary, made.vocabulary.end_id
    elif isinstance(made, Translator) and part != "encoder":
        vocabulary, end = made.writes, made.model.end
    else:
        return None
    known = ((k, vocabulary.decode([k])) for k in range(len(vocabulary)))
    unknown = "\ufffd"  # a byte that is no character by itself
    return {
        "classes": [
            "end" if k == end else f"0x{k:02x}" if c == unknown else c or f"{k}" for k, c in known
        ]
    }


def recurrent_layer(model: Any, which: str | None) -> tuple[int, Any]:
    """Return a recurrent layer and its place; by default the first one.

    `which` is its place, or its name: that of a node of a Graph, or in the program it comes from.
    Raises ValueError if the model has no such layer.
    """
    layers = {k: own for k, own in enumerate(named_layers(model)) if own[1].cell is not None}
    if not layers:
        raise ValueError("--layer must be a recurrent layer, and this model has none")
    found = [k for k, (name, _) in layers.items() if which in (None, str(k), name)]
    if which is None or len(found) == 1:
        return found[0], layers[found[0]][1]
    known = [f"{k}{f' ({name})' * bool(name)}" for k, (name, _) in layers.items()]
    listed = ", ".join([*known[:LISTED], *["..."] * (len(known) > LISTED)])
    words = f", the name of {len(found)} layers: give a number" if found else ""
    raise ValueError(f"--layer must be a recurrent layer, one of {listed}, got {which}{words}")


def recording(made: Any, text: str | None, steps: int, last: bool = False) -> Recording:
    """Return the recording of `run`."""
    return run(made, text, steps, last).recording


def run(made: Any, text: str | None, steps: int, last: bool = False) -> Run:
    """Run a model with gradients over a text, or over `steps` steps of random input.

    The target of an encoder-decoder is its own greedy output. With `last`, the loss is that of the
    last step alone, so that the gradient at step 0 has passed through all steps.
    """
    stack = layers_of(made)
    if text is not None and stack is made:
        raise ValueError(
            "--text needs a character model, written by python -m recurrent train, or a translator"
        )
    if isinstance(stack, Seq2Seq):
        return _written(made, stack, text, steps, _loss(softmax_cross_entropy, last))
    if not isinstance(stack, Model):
        raise ValueError(f"values need a run of a model of layers: {no_model(stack)}")
    if text is not None:
        ids = made.ids(text)
        if len(ids) < 2:
            raise ValueError(f"--text must have at least 2 characters, got {len(ids)}")
        return Run(
            stack.record(ids[:-1, None], ids[1:, None], _loss(softmax_cross_entropy, last)),
            text[:-1],
        )
    several = isinstance(stack, Graph) and len(stack.outputs) > 1
    targets: Any = dict.fromkeys(stack.outputs, 0.0) if several else 0.0
    return Run(stack.record(_random(stack, steps), targets, _loss(_square, last)))


def _random(stack, steps):
    """Return random input of a model of layers, by name if it has several inputs."""
    rng, graph, found = np.random.default_rng(0), stack.graph(), {}
    for node in (n for n in graph.nodes if n.kind == "input"):
        if len(node.shape) == 2:  # ids
            targets = [e.target for e in graph.edges if e.source == node.id]
            layers = [stack.layers[nodes.layer_number(target)] for target in targets]
            rows = [a.shapes["weight"][0] if a.shapes else a.out_features for a in layers]
            x = rng.integers(0, min(rows), (steps, 1))
        else:
            width = node.shape[2] if isinstance(node.shape[2], int) else 1
            x = rng.standard_normal((steps, 1, width)).astype(stack.dtype)
        found[node.label] = x.swapaxes(0, 1) if stack.batch_first else x
    return found if len(found) > 1 else next(iter(found.values()))


def _written(made, stack, text, steps, loss):
    """Run an encoder-decoder on one source sequence; its own greedy output is the target."""
    if text == "":
        raise ValueError("--text must have at least 1 character, got none")
    source = _random(stack.encoder, steps) if text is None else made.reads.encode(text)[:, None]
    found = stack.generate(source, 2 * len(source) + 4)
    ids = found.ids[: found.lengths[0, 0], :, 0]  # with the end token
    target = np.insert(ids[:-1], 0, stack.start, axis=0)
    recording = stack.record((source, target), ids, loss)
    if stack is made:
        return Run(recording)
    words = ["end" if k == stack.end else made.writes.decode([k]) for k in ids[:, 0]]
    return Run(
        recording,
        [made.reads.decode([k]) for k in source[:, 0]] if text is not None else None,
        words,
    )


def _square(y, targets, lengths=None):
    if isinstance(y, dict):
        both = {name: _square(one, targets[name]) for name, one in y.items()}
        return sum(v for v, _ in both.values()), {name: dy for name, (_, dy) in both.items()}
    dy = 2 * (y - y.dtype.type(targets)) / y.dtype.type(y.size)
    return float(np.square(y - targets).mean()), dy


def _loss(loss, last):
    def of_last(y, targets, lengths=None):
        value, dy = loss(y, targets, lengths=lengths)
        for one in dy.values() if isinstance(dy, dict) else [dy]:
            one[:-1] = 0
        return value, dy

    return of_last if last else loss
