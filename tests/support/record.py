"""Record what a change of structure must not change: public names, help texts, bits and pictures.

    python tests/support/record.py before.json
    python tests/support/record.py after.json --against before.json

Bits are digests of results of the public API for every registered cell, in both dtypes, with
sequences of equal and of different lengths, in one direction and in two. They hold for one
machine, because kernels are compiled for its vector unit.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SUBMODULES = (
    "cells",
    "losses",
    "optim",
    "conformance",
    "engine",
    "layers",
    "data",
    "initialisers",
    "schedules",
)
COMMANDS = {
    "recurrent": ("", "demo", "task", "train", "sample", "eval", "info", "selftest"),
    "viz": (
        "",
        "network",
        "unrolled",
        "cell",
        "layer",
        "unit",
        "weights",
        "task",
        "attention",
        "gradients",
        "text",
        "explore",
        "curve",
        "gallery",
    ),
    "bench": ("", "show", "compare", "report", "roofline", "readme"),
}


def digest(*values) -> str:
    """SHA-256 of arrays, in nested tuples, lists and dicts too."""
    found = hashlib.sha256()

    def add(value):
        if isinstance(value, dict):
            for name in sorted(value):
                found.update(name.encode())
                add(value[name])
        elif isinstance(value, (tuple, list)):
            for one in value:
                add(one)
        elif isinstance(value, str):
            found.update(value.encode())
        elif value is not None:
            a = np.ascontiguousarray(value)
            found.update(f"{a.dtype.str}{a.shape}".encode() + a.tobytes())

    add(values)
    return found.hexdigest()[:16]


def names() -> dict:
    """Public names of both packages, and that each submodule can be imported."""
    found = {}
    for package in ("recurrent", "viz"):
        module = importlib.import_module(package)
        found[package] = {
            name: type(getattr(module, name)).__name__ for name in sorted(module.__all__)
        }
    for name in SUBMODULES:
        module = importlib.import_module(f"recurrent.{name}")
        found[f"recurrent.{name}"] = sorted(getattr(module, "__all__", []))
    for module, name in (("recurrent.engine", "Engine"), ("recurrent.layers", "Recurrent")):
        found[f"{module}.{name}"] = getattr(importlib.import_module(module), name).__name__
    return found


def helps() -> dict:
    """Return the --help text of each command, at 100 columns."""
    environment = {
        **os.environ,
        "COLUMNS": "100",
        "TERMINAL_WIDTH": "100",
        "NO_COLOR": "1",
        "PYTHONPATH": str(ROOT),
    }
    found = {}
    for package, commands in COMMANDS.items():
        for command in commands:
            call = [sys.executable, "-m", package, *command.split(), "--help"]
            done = subprocess.run(call, capture_output=True, text=True, env=environment, cwd=ROOT)
            found[" ".join(call[2:])] = done.stdout + done.stderr
    return found


def layer_bits(cell, dtype, bidirectional, ragged) -> dict:
    """Forward, backward and step of one layer."""
    from recurrent.layers.recurrent import Recurrent

    T, N, D, H = 6, 5, 7, 19
    layer = Recurrent(cell, D, H, bidirectional=bidirectional).initialise(3, dtype)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((T, N, D)).astype(dtype)
    lengths = np.array([6, 0, 3, 5, 1]) if ragged else None
    y, state, tape = layer.forward(x, None, lengths, record=True)
    dy = rng.standard_normal(y.shape).astype(dtype)
    gradients = layer.backward(dy, tape)
    found = {
        "forward": digest(y, state),
        "backward": digest(gradients.dx, gradients.params, gradients.state),
    }
    if not bidirectional and not ragged:
        stream = layer.stream()
        found["step"] = digest([stream.step(x_t) for x_t in x])
    return found


def fit_bits(cell, dtype) -> str:
    """Losses and parameters after 20 updates."""
    from recurrent import Linear, Sequential, fit, losses, optim
    from recurrent.data import Batches
    from recurrent.layers.recurrent import Recurrent

    rng = np.random.default_rng(1)
    model = Sequential(Recurrent(cell, 3, 9), Linear(9, 2), rng=0, dtype=dtype)
    x, y = (
        rng.standard_normal((7, 40, 3)).astype(dtype),
        rng.standard_normal((7, 40, 2)).astype(dtype),
    )
    history = fit(
        model,
        Batches(x, y, 8, rng=2),
        losses.mean_squared_error,
        optim.Adam(1e-2),
        updates=20,
        progress=False,
    )
    return digest(np.array(history.losses), model.flat)


def sample_bits() -> dict:
    """Text of a character model after 20 updates, and its losses."""
    from recurrent import CharLM

    text, found = "to be or not to be, that is the question. " * 40, {}
    for cell in ("lstm", "gru", "rnn"):
        lm = CharLM(text, cell=cell, layers=2, hidden=16, rng=0)
        lm.train(text, updates=20, batch=4, seq=10, progress=False)
        found[cell] = digest(lm.sample("to", 80, seed=3), np.array(lm.history.losses))
    return found


def pictures() -> dict:
    """The DOT text of every view of small models of every cell."""
    import viz
    from recurrent import Linear, Sequential
    from recurrent.cells import CELLS
    from recurrent.layers.recurrent import Recurrent
    from recurrent.losses import mean_squared_error

    found = {}
    for cell in CELLS:
        for bidirectional in (False, True):
            model = Sequential(
                Recurrent(cell, 2, 3, bidirectional=bidirectional),
                Linear(6 if bidirectional else 3, 1),
                rng=0,
            )
            x = np.random.default_rng(0).standard_normal((4, 1, 2)).astype(np.float32)
            recording = model.record(x, np.zeros((4, 1, 1), np.float32), mean_squared_error)
            views = {
                "network": lambda m, r: viz.network(m),
                "unrolled": lambda m, r: viz.unrolled(m, steps=3, recording=r),
                "cell": lambda m, r: viz.cell(m[0], recording=r),
                "layer": lambda m, r: viz.layer(m[0], recording=r),
                "unit": lambda m, r: viz.unit(m[0], 1, recording=r),
                "weights": lambda m, r: viz.weights(m[0]),
                "gradients": lambda m, r: viz.gradients(m, r),
            }
            for name, view in views.items():
                try:
                    source = view(model, recording).source
                except (TypeError, ValueError) as error:
                    source = f"{type(error).__name__}: {error}"
                found[f"{cell} {name}{' bidirectional' * bidirectional}"] = digest(source)
    for kind in ("one-to-one", "one-to-many", "many-to-one", "many-to-many", "encoder-decoder"):
        found[f"task {kind}"] = digest(viz.task(kind).source)
    golden = sorted((ROOT / "tests" / "golden").glob("*.gv"))
    found["golden"] = {path.name: digest(path.read_text(encoding="utf-8")) for path in golden}
    return found


def record(parts) -> dict:
    """All that is asked for."""
    from recurrent.cells import CELLS

    found = {}
    if "names" in parts:
        found["names"] = names()
    if "helps" in parts:
        found["helps"] = helps()
    if "bits" in parts:
        for cell in CELLS:
            for dtype in ("float32", "float64"):
                for bidirectional in (False, True):
                    for ragged in (False, True):
                        layout = (
                            f"{'ragged' if ragged else 'full'}{' bidirectional' * bidirectional}"
                        )
                        found[f"bits {cell} {dtype} {layout}"] = layer_bits(
                            cell, dtype, bidirectional, ragged
                        )
                found[f"bits {cell} {dtype} fit"] = fit_bits(cell, dtype)
        found["bits sample"] = sample_bits()
    if "pictures" in parts:
        found["pictures"] = pictures()
    return found


def differences(before, after, where="") -> list[str]:
    """Places where two records differ; only parts that both have are compared."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = before.keys() & after.keys() if not where else before.keys() | after.keys()
        missing = object()
        return [
            line
            for key in sorted(keys)
            for line in differences(
                before.get(key, missing), after.get(key, missing), f"{where}/{key}"
            )
        ]
    return [] if before == after else [where]


def main() -> int:
    """Write a record; 1 where it differs from an earlier one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path, help="an earlier record to compare with")
    parser.add_argument(
        "--parts", default="names,helps,bits,pictures", help="which parts to record"
    )
    arguments = parser.parse_args()
    found = record(arguments.parts.split(","))
    arguments.out.write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")
    if arguments.against is None:
        return 0
    changed = differences(
        json.loads(arguments.against.read_text(encoding="utf-8")), json.loads(json.dumps(found))
    )
    print("\n".join(changed) or "nothing changed")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
