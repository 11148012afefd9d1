"""One adaptor per engine: `prepare(workload, data)` returns a function that does the work.

The function returns the results that are compared before anything is timed:

* forward and step: y
* train: y, dx, then the gradients of W_ih, W_hh, b_ih, b_hh of each direction
* attention: y; when training also dx and the gradients of the memory and of each parameter
* update: the loss
* decoding: log probabilities and ids
* sampling: the logits of every character

Each engine runs on its documented fast path with `threads` threads.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from ..results import VARIANTS
from .engine import Engine
from .jax import Jax
from .numpy import NumPy
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO
from .ours import Ours, Variant
from .torch import Torch

ENGINES: dict[str, type[Engine]] = {
    e.name: e for e in (Ours, Torch, OnnxRuntime, OpenVINO, Jax, NumPy)
}


def installed(threads: int) -> tuple[list[Engine], dict[str, str]]:
    """Return the installed engines, and the reason for each one that is missing.

    Recurrent is the first. Its variants, which measure rows of quantised weights only, follow it.
    """
    engines, missing = [], {}
    for name, engine in ENGINES.items():
        try:
            engines.append(engine(threads))
        except ImportError as error:
            missing[name] = str(error)
    return [engines[0], *(Variant(name, threads) for name in VARIANTS), *engines[1:]], missing


def versions() -> dict[str, str]:
    """Return the version of every engine whose package is installed."""
    out = {}
    for name, engine in ENGINES.items():
        try:
            out[name] = version(engine.package)
        except PackageNotFoundError:
            continue
    return out
