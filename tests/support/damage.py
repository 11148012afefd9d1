"""Damages files of other programs at random; reads and runs each one in a process with limits.

`python -m support.damage FORMAT FOLDER SEED COUNT` takes the good files in FOLDER, makes COUNT
damaged ones of them, and prints one line of JSON: how often each outcome came, and the faults. An
outcome is a model that computes, or a ValueError or TypeError of one line. All else is a fault:
another exception, more memory or time, a warning. Faults leave their files in FOLDER/faults.
"""

from __future__ import annotations

import copy
import faulthandler
import io
import json
import random
import re
import resource
import signal
import sys
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import recurrent
from recurrent import kernels
from recurrent.kernels import reference

from .mutations import Mutator

MEMORY = 1 << 30  # bytes that a case may take
SECONDS = 1.0  # of the processor
HANG = 20  # seconds on the clock
ODD: list[Any] = [
    None, True, -1, 0, 1, 3, 10**9, 10**20, 1.5, float("nan"), "", "tanh", "wrong" * 50, [], [1],
    {}, [{}], "\x1b[31m", "a\nb",
]  # fmt: skip
SIZES = [0, 1, -1, 2, 3, 7, 16, 1 << 20, 1 << 31, (1 << 31) - 1, 1 << 40, (1 << 63) - 1, -(1 << 63)]
TEXTS = ["", "x", "y", "..", "/etc/passwd", "a\nb", "\x1b[31m", "x" * 3000, "Relu", "ü"]
FLOATS = [0.0, -1.0, 1e30, float("nan"), float("inf"), 1e-40, 0.5]


class Hang(BaseException):
    """A case took too long on the clock."""


# Damage: of bytes, of JSON, of zip archives, of protocol buffers


def of_json(value: Any, choose: random.Random) -> Any:
    """Return JSON data with one entry replaced, exchanged, copied or removed."""
    value = copy.deepcopy(value)
    places, stack = [], [value]
    while stack:
        node = stack.pop()
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        places += [(node, k) for k in keys]
        stack += [node[k] for k in keys if isinstance(node[k], (dict, list))]
    if not places:
        return choose.choice(ODD)
    (node, key), (other, place) = choose.choice(places), choose.choice(places)
    what = choose.random()
    if what < 0.2:
        del node[key]
    elif what < 0.4:
        node[key] = copy.deepcopy(other[place])
    else:
        node[key] = choose.choice(ODD)
    return value


def of_bytes(data: bytes, choose: random.Random) -> bytes:
    """Return bytes with bits, lengths or parts changed."""
    return Mutator(choose.getrandbits(64)).of_bytes(data).data


def of_zip(data: bytes, choose: random.Random, members: dict[str, Callable]) -> bytes:
    """Return an archive with a member changed; `members` has functions by the ends of names."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = choose.choice(names)
        for name in names:
            held = old.read(name)
            if name == chosen:
                if choose.random() < 0.05:
                    continue
                change = next((f for end, f in members.items() if name.endswith(end)), of_bytes)
                held = change(held, choose) if held else held
            new.writestr(name, held)
    return out.getvalue()


def of_text(data: bytes, choose: random.Random) -> bytes:
    """Return JSON text with a value changed, or bytes of it."""
    if choose.random() < 0.2:
        return of_bytes(data, choose)
    return json.dumps(of_json(json.loads(data), choose)).encode()


def of_proto(message: Any, choose: random.Random) -> None:
    """Change one to three fields of a protocol buffer, at any depth."""
    for _ in range(choose.choice([1, 1, 1, 2, 3])):
        found: list[tuple[Any, Any]] = []
        stack = [message]
        while stack:
            one = stack.pop()
            for field in one.DESCRIPTOR.fields:
                # Files have few fields that are set, and many that may be.
                value = getattr(one, field.name)
                repeated = field.is_repeated
                is_set = len(value) > 0 if repeated else one.HasField(field.name)
                found += [(one, field)] * (8 if is_set else 1)
                if field.message_type and is_set:
                    stack += list(value) if repeated else [value]
        _change(*choose.choice(found), choose)


def _change(message: Any, field: Any, choose: random.Random) -> None:
    if field.is_repeated:
        values = getattr(message, field.name)
        what = choose.choice(["drop", "again", "swap", "set", "clear", "add"])
        if what == "clear":
            message.ClearField(field.name)
        elif what == "add" or not values:
            values.add() if field.message_type else values.append(_odd(field, choose))
        elif what == "drop":
            del values[choose.randrange(len(values))]
        elif field.message_type:
            one, other = choose.choice(values), choose.choice(values)
            if what == "again":
                values.add().CopyFrom(one)
            else:
                kept = type(one).FromString(one.SerializeToString())
                one.CopyFrom(other)
                other.CopyFrom(kept)
        elif what == "again":
            values.append(choose.choice(values))
        else:
            values[choose.randrange(len(values))] = _odd(field, choose)
    elif field.message_type:
        if choose.random() < 0.5:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, _odd(field, choose))


def _odd(field: Any, choose: random.Random) -> Any:
    """Return a value that a field may have."""
    kinds = type(field)
    if field.enum_type:
        return choose.choice([v.number for v in field.enum_type.values])
    if field.cpp_type == kinds.CPPTYPE_STRING:
        text = choose.choice(TEXTS)
        return text.encode() if field.type == kinds.TYPE_BYTES else text
    if field.cpp_type in (kinds.CPPTYPE_FLOAT, kinds.CPPTYPE_DOUBLE):
        return choose.choice(FLOATS)
    if field.cpp_type == kinds.CPPTYPE_INT32:
        return choose.choice([n for n in SIZES if abs(n) < 1 << 31])
    if field.cpp_type in (kinds.CPPTYPE_UINT64, kinds.CPPTYPE_UINT32):
        return choose.choice([n for n in SIZES if 0 <= n < 1 << 31])
    return choose.choice(SIZES)


# Formats: damage a good file, read one, and inputs to run it


def inputs_of(model: Any) -> Any:
    """Return small inputs for a model of layers."""

    def one(layer):
        if isinstance(layer, recurrent.Embedding):
            return np.zeros((2, 5), np.int64)
        return np.zeros((2, 5, getattr(layer, "in_features", None) or 3), model.dtype)

    if not isinstance(model, recurrent.Graph):
        return one(model.layers[0])
    wiring = model._wiring
    first = {name: one(model.layers[wiring.readers[v][0]]) for v, name in enumerate(model.inputs)}
    return first if len(first) > 1 else first[model.inputs[0]]


class Files:
    """A format of files: a subclass damages them and reads them."""

    suffix = ""

    def damaged(self, data: bytes, choose: random.Random) -> bytes:
        return of_bytes(data, choose)

    def run(self, path: Path, data: bytes, feeds: dict[str, np.ndarray]) -> str:
        """Read a file and run the model; return the words for what came of it."""
        path.write_bytes(data)
        model = self.read(path)
        y = model(inputs_of(model))
        assert all(isinstance(a, np.ndarray) for a in (y.values() if isinstance(y, dict) else [y]))
        return type(model).__name__

    def read(self, path: Path) -> Any:
        raise NotImplementedError


class Keras(Files):
    suffix = ".keras"

    def damaged(self, data, choose):
        if choose.random() < 0.2:
            return of_bytes(data, choose)
        return of_zip(data, choose, {".json": of_text})

    def read(self, path):
        return recurrent.from_keras(path)


class Legacy(Keras):
    suffix = ".h5"

    def damaged(self, data, choose):
        import h5py

        if choose.random() < 0.5:
            return of_bytes(data, choose)
        file = io.BytesIO(data)
        with h5py.File(file, "r+") as opened:
            config = json.loads(opened.attrs["model_config"])
            opened.attrs["model_config"] = json.dumps(of_json(config, choose))
        return file.getvalue()


class Safetensors(Files):
    suffix = ".safetensors"

    def damaged(self, data, choose):
        mutator = Mutator(choose.getrandbits(64))
        what = choose.choice([mutator.of_bytes, mutator.of_header])
        try:
            return what(data).data
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return of_bytes(data, choose)

    def read(self, path):
        return recurrent.from_torch(path)


class Pickled(Safetensors):
    suffix = ".pt"

    def damaged(self, data, choose):
        return of_bytes(data, choose) if choose.random() < 0.2 else of_zip(data, choose, {})


class Onnx(Files):
    suffix = ".onnx"

    def damaged(self, data, choose):
        import onnx

        if choose.random() < 0.4:
            return of_bytes(data, choose)
        model = onnx.ModelProto.FromString(data)
        of_proto(model, choose)
        return model.SerializeToString()

    def run(self, path, data, feeds):
        path.write_bytes(data)
        model = recurrent.from_onnx(path)
        if isinstance(model, recurrent.interchange.onnx.Network):
            model({n: feeds.get(n, np.zeros((5, 2, 4), np.float32)) for n in model.inputs})
        elif isinstance(model, recurrent.Graph):
            model(feeds if len(model.inputs) > 1 else next(iter(feeds.values())))
        else:
            model(next(iter(feeds.values())))
        return type(model).__name__


FORMATS = {kind.suffix[1:]: kind() for kind in (Keras, Legacy, Safetensors, Pickled, Onnx)}


def attempt(form: Files, path: Path, data: bytes, feeds: dict[str, np.ndarray]) -> tuple[str, str]:
    """Read and run a file; return the outcome, and the words of a fault or ""."""
    start = time.process_time()
    signal.setitimer(signal.ITIMER_REAL, HANG)
    faulthandler.dump_traceback_later(HANG + 10, exit=True)  # no signal ends a loop of a library
    try:
        outcome = fault = form.run(path, data, feeds)
        fault = ""
    except (ValueError, TypeError) as error:
        text = str(error)
        outcome, fault = f"{type(error).__name__}: {summary(text)}", ""
        if "\n" in text or not text.isprintable() or len(text) > 1000:
            fault = f"not one line: {text!r:.300}"
        elif re.search("Unable to allocate|MemoryError|bad_alloc|out of memory", text):
            fault = f"memory: {text:.300}"
        elif isinstance(error, UnicodeError) or error.__traceback__ is None:
            fault = f"{type(error).__name__}: {text:.300}"
    except BaseException as error:
        outcome = type(error).__name__
        fault = "".join(traceback.format_exception(error)[-6:])[-1500:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    took = time.process_time() - start
    if took > SECONDS and not fault:
        fault = f"took {took:.1f} s: {outcome}"
    return outcome, fault


def summary(text: str) -> str:
    """Return the words of an error without names and numbers, to count it by."""
    text = re.sub(r"^\S*/a\.\w+: ", "", text)
    text = re.sub(r"node .*? (got .*?: |: )", "node: ", text, count=2)
    text = re.sub(r"'[^']*'|\d[\d.,e+-]*|\(.*?\)|\[.*?\]", "_", text)
    return text[:60]


def main(name: str, folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Return the outcomes and the faults of `count` damaged files."""
    form, outcomes, faults = FORMATS[name], Counter(), []
    originals = [(p.name, p.read_bytes()) for p in sorted(folder.glob(f"*{form.suffix}"))]
    given = {}
    for path in folder.glob("*.npz"):
        with np.load(path) as arrays:
            given[path.stem] = dict(arrays)
    kernels.backend = reference  # new equations need not be compiled
    np.seterr(all="ignore")  # the engine's kernels do not warn
    warnings.filterwarnings("ignore", category=UserWarning)
    place = folder / f"tried-{seed}"
    (folder / "faults").mkdir(exist_ok=True)
    place.mkdir(exist_ok=True)
    path = place / f"a{form.suffix}"
    for stem, data in originals:  # they are good; and what is imported later takes no memory
        form.run(path, data, given.get(Path(stem).stem, {}))

    def stop(*_):
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
    for k in range(count):
        choose = random.Random(f"{seed} {k}")
        stem, data = choose.choice(originals)
        new = form.damaged(data, choose)
        (place / "now").write_bytes(new)  # a process that dies leaves it
        outcome, fault = attempt(form, path, new, given.get(Path(stem).stem, {}))
        outcomes[outcome] += 1
        if fault:
            faults.append(f"{stem}, seed {seed}, case {k}: {fault}")
            (folder / "faults" / f"{seed}-{k}{form.suffix}").write_bytes(new)
    return {"outcomes": outcomes, "faults": faults}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5]))))
