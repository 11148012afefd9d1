"""Files of Keras: the configuration of a model, and the arrays of each of its layers.

Keras 3 writes an archive `.keras` with `config.json` and `model.weights.h5`; before, one HDF5 file
`.h5` held both. Only arrays and JSON are read, and nothing outside the file.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..models import files, foreign
from .damage import damage

MOST_CONFIG = 8_000_000  # bytes of a configuration
COLLECTION = b"GCOL\x01\0\0\0"  # the mark of a collection of texts in HDF5
MOST_RATIO = 20  # of the size of an archive's member to that of the archive
RNN_CLASSES = ("SimpleRNN", "LSTM", "GRU")


# What damaged files make zipfile and h5py raise.
DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


class Place:
    """Finds the arrays of the layers of a model; a subclass knows one kind of source."""

    def layer(self, k: int, kind: str, name: str) -> Place:
        """Return the place of a layer: its number, class and name."""
        raise NotImplementedError

    def arrays(self, kind: str, config: dict) -> list[Any]:
        """Return the arrays of this layer, in Keras' order."""
        raise NotImplementedError


class Live(Place):
    """A layer or model of Keras in memory."""

    def __init__(self, layer: Any):
        self.held = layer

    def layer(self, k, kind, name):
        # A Sequential does not list its InputLayer.
        held = next((layer for layer in self.held.layers if layer.name == name), None)
        return Live(held)

    def arrays(self, kind, config):
        values = [v.value for v in getattr(self.held, "weights", ())]
        return [v() if callable(v) else v for v in values]  # a method in Keras 2


class Hdf5(Place):
    """A group of an HDF5 file, in which arrays are read with care."""

    def __init__(self, file: Any, path: str, size: int):
        self.file, self.path, self.size = file, path, size

    def array(self, path: str) -> np.ndarray:
        """Return a dataset; raise ValueError if it is outside the file or larger than it."""
        import h5py

        dataset: Any = self._inside(path)
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
            raise ValueError(f"{path} must be an array in the file itself")
        if dataset.nbytes > self.size:
            raise ValueError(
                f"{path} declares {dataset.nbytes:,} bytes, more than the file has ({self.size:,})"
            )
        return np.asarray(dataset[()])

    def group(self, path: str) -> Any:
        """Return a group of the file, or None if there is none."""
        found = self._inside(path, missing=True)
        return found if hasattr(found, "keys") else None

    def _inside(self, path, missing=False):
        """Return an object of the file; raise ValueError for links that lead out of it."""
        import h5py

        found = self.file
        for name in path.strip("/").split("/"):
            link = found.get(name, getlink=True) if hasattr(found, "keys") else None
            if link is None and missing:
                return None
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{path} is missing, or a link")
            found = found[name]
        return found


class Archive(Hdf5):
    """The weights of a `.keras` file: a group for each layer, named by its class."""

    def __init__(self, file: Any, path: str, size: int):
        super().__init__(file, path, size)
        self.used: Counter[str] = Counter()

    def layer(self, k, kind, name):
        base = snake_case(kind)
        number = self.used[base]
        self.used[base] += 1
        for container in ("layers", "_layer_checkpoint_dependencies"):  # the latter by Keras 2.12
            inside = f"{self.path}/{container}"
            if self.group(inside) is not None:
                break
        return Archive(self.file, f"{inside}/{base}{f'_{number}' if number else ''}", self.size)

    def arrays(self, kind, config):
        if kind == "Bidirectional":
            inner = inner_layer(config)
            ways = ("forward_layer", "backward_layer")
            return [
                a
                for way in ways
                for a in self._at(way).arrays(inner["class_name"], inner["config"])
            ]
        if kind == "TimeDistributed":
            return self._at("layer").arrays(
                config["layer"]["class_name"], config["layer"]["config"]
            )
        path = f"{self.path}/cell" if kind in RNN_CLASSES else self.path
        held = self.group(f"{path}/vars")
        names = [] if held is None else map(str, held)  # bytes, if they are no UTF-8
        numbers = sorted(int(n) for n in names if re.fullmatch("[0-9]{1,4}", n))
        return [self.array(f"{path}/vars/{n}") for n in numbers]

    def _at(self, name):
        return Archive(self.file, f"{self.path}/{name}", self.size)


class Legacy(Hdf5):
    """The weights of a `.h5` file of before Keras 3: a group for each layer, by its name.

    A model within the model is one such layer; `within` are the names on the way into it.
    """

    def __init__(self, file: Any, path: str, size: int, within: tuple[str, ...] | None = None):
        super().__init__(file, path, size)
        self.within = within

    def layer(self, k, kind, name):
        if self.within is None:
            return Legacy(self.file, f"{self.path}/{name}", self.size, ())
        return Legacy(self.file, self.path, self.size, (*self.within, name))

    def arrays(self, kind, config):
        held = self.group(self.path)
        names = [] if held is None else attribute_texts(held, "weight_names")
        if self.within:
            names = self._inner(names, self.within) or self._inner(names, self.within[-1:])
        return [self.array(f"{self.path}/{name}") for name in names]

    @staticmethod
    def _inner(names, within):
        """Return the names that have those of models and their layer in this order."""
        found = []
        for name in names:
            parts = iter(name.split("/")[:-1])
            if all(one in parts for one in within):
                found.append(name)
        return found


def inner_layer(config: dict, name: str = "layer") -> dict:
    """Return the configuration of a layer within a layer."""
    inner = config.get(name)
    if (
        not isinstance(inner, dict)
        or not isinstance(inner.get("config"), dict)
        or not isinstance(inner.get("class_name"), str)
    ):
        raise ValueError(f"{name} must have a class_name and a config")
    return inner


def snake_case(name: str) -> str:
    """Return the name of a class as Keras names groups: "time_distributed"."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def attribute_texts(group: Any, name: str) -> list[str]:
    """Return an attribute with a list of texts, which Keras writes in pieces if it is long."""
    values: list = []
    if name in group.attrs:
        values = list(group.attrs[name])
    else:
        k = 0
        while f"{name}{k}" in group.attrs:
            values += list(group.attrs[f"{name}{k}"])
            k += 1
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]


@contextmanager
def opened(path: Path, config: dict | None = None) -> Iterator[tuple[dict, Place, int]]:
    """Give the configuration of a model in a file, where its arrays are, and Keras' version.

    The file is closed at the end. Errors of damaged files are one line.

    Parameters
    ----------
    path : Path
        A `.keras` or `.h5` file, of whatever name.
    config : dict, optional
        The configuration, for a file of weights alone.

    Yields
    ------
    config : dict
        As `model.get_config()` gives it, under "config", with "class_name".
    place : Place
        The place of the model.
    version : int
        Major version of Keras.

    Raises
    ------
    OSError, ValueError, ImportError
        If it cannot be read, holds no model of Keras, or h5py is not installed.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(foreign.folder(path))
    size = files.check_readable(path)
    try:
        import h5py
    except ImportError:
        raise ImportError(
            "from_keras needs h5py to read files: pip install recurrent-engine[keras]"
        ) from None
    with open(path, "rb") as stream:
        head = stream.read(8)
    with damage(*DAMAGE), ExitStack() as stack:
        if head.startswith(b"PK\x03\x04"):
            yield _archive(path, size, stack, config)
        elif head == b"\x89HDF\r\n\x1a\n":
            with open(path, "rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
                check_heaps(data)
            yield _hdf5(stack.enter_context(h5py.File(path, "r")), size, config)
        else:
            raise ValueError(foreign.file(path) or "this is neither a .keras nor a .h5 file")


def _archive(path, size, stack, given):
    """Read a `.keras` file."""
    import h5py

    _check_alone(given)
    with zipfile.ZipFile(path) as archive:
        members = {i.filename: i for i in archive.infolist()}
        for name in ("config.json", "model.weights.h5"):
            if name not in members:
                raise ValueError(f"a .keras file has {name}, this archive has none")
            if members[name].file_size > MOST_RATIO * size:
                raise ValueError(f"{name} declares {members[name].file_size:,} bytes")
        if members["config.json"].file_size > MOST_CONFIG:
            raise ValueError(f"config.json must have at most {MOST_CONFIG:,} bytes")
        config = parsed(archive.read("config.json"))
        metadata = {}
        if "metadata.json" in members and members["metadata.json"].file_size < MOST_CONFIG:
            metadata = parsed(archive.read("metadata.json"))
        weights = archive.read("model.weights.h5")
    version = major(metadata.get("keras_version", "3"))
    check_heaps(weights)
    file = stack.enter_context(h5py.File(io.BytesIO(weights), "r"))
    return config, Archive(file, "", len(weights)), version


def check_heaps(data: Any) -> None:
    """Raise ValueError for sizes of texts in an HDF5 file at which the library loops for ever.

    Parameters
    ----------
    data : bytes or mmap.mmap
        The file. Its texts are in collections: a mark, a size, and entries with sizes of their own.
    """
    steps, start = len(data) // 8, data.find(COLLECTION)
    while start >= 0:
        place = start + 16
        end = min(start + int.from_bytes(data[start + 8 : start + 16], "little"), len(data))
        while place + 16 <= end:
            head = data[place : place + 16]
            index, size = head[:2], int.from_bytes(head[8:], "little")
            step = 16 + -(-size // 8) * 8 if any(index) else size
            steps -= 1
            if step == 0 or steps < 0 or place + step > end:
                raise ValueError("the file is damaged: the sizes of its texts are wrong")
            place += step
        start = data.find(COLLECTION, start + 8)


def _hdf5(file, size, given):
    """Read a `.h5` file, which holds a whole model or weights alone."""
    version = file.attrs.get("keras_version", "")
    version = version.decode("ascii", "replace") if isinstance(version, bytes) else str(version)
    if "model_config" in file.attrs:
        _check_alone(given)
        config = parsed(file.attrs["model_config"])
        return config, Legacy(file, "model_weights", size), major(version or "2")
    if given is None:
        raise ValueError(
            "the file has weights without the configuration of their model: write "
            "from_keras(path, config=model.to_json()), with the model of Keras or its text in a "
            "file, or store the whole model, model.save('model.keras')"
        )
    place: Place = Archive(file, "", size)
    if "layer_names" in file.attrs or "layer_names0" in file.attrs:  # before Keras 3
        place = Legacy(file, "", size)
    return given, place, major(version or given.get("keras_version", "3"))


def _check_alone(given):
    """Raise ValueError for a configuration beside a file that has its own."""
    if given is not None:
        raise ValueError("the file holds the configuration of its model: leave config out")


def configuration(config: Any) -> dict:
    """Return a configuration: the text of `model.to_json()`, that text parsed, or a file of it."""
    if isinstance(config, str) and config.lstrip().startswith("{"):
        config = parsed(config)
    elif isinstance(config, (str, os.PathLike)):
        path = checks.path(config, "config")
        if files.check_readable(path) > MOST_CONFIG:
            raise ValueError(f"config must have at most {MOST_CONFIG:,} bytes: {path}")
        config = parsed(path.read_bytes())
    if not isinstance(config, dict):
        raise TypeError(
            "config must be the text of model.to_json() of Keras, a dict of it or the path of a "
            f"file with it, got {checks.shown(config)}"
        )
    if not isinstance(config.get("class_name"), str) or "config" not in config:
        raise ValueError(
            "config must have a class_name and a config, as model.to_json() of Keras writes them, "
            f"got {', '.join(map(str, list(config)[:4])) or 'nothing':.80}"
        )
    return config


def parsed(text: Any) -> dict:
    """Return a configuration; raise ValueError unless it is a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError, TypeError):
        raise ValueError("the configuration of the model is no JSON text") from None
    if not isinstance(value, dict):
        raise ValueError("the configuration of the model must be a JSON object")
    return value


def major(version: Any) -> int:
    """Return the major version of a text such as "2.15.0-tf"; 3 if it says none."""
    match = re.match(r"\d+", str(version))
    return int(match[0]) if match else 3
