"""One adaptor an engine, one file an adaptor: `prepare(workload, data)` returns a function that does the work.

Its results are y for forward and step, (y, dx, then W_ih, W_hh, b_ih, b_hh gradients of each direction) for train, the
loss for an update, (log p, ids) of what was decoded; of attention (y, dx, gradients of the memory and of each parameter).
They are compared before anything is timed. Each engine runs on its documented fast path with `threads` threads.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from .engine import Engine
from .jax import Jax
from .numpy import NumPy
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO
from .ours import Ours
from .torch import Torch

ENGINES: dict[str, type[Engine]] = {
    e.name: e for e in (Ours, Torch, OnnxRuntime, OpenVINO, Jax, NumPy)
}


def installed(threads: int) -> tuple[list[Engine], dict[str, str]]:
    """Engines that can be had, and for each that cannot the reason."""
    found, missing = [], {}
    for name, engine in ENGINES.items():
        try:
            found.append(engine(threads))
        except ImportError as error:
            missing[name] = str(error)
    return found, missing


def versions() -> dict[str, str]:
    """Of every engine whose package is installed."""
    out = {}
    for name, engine in ENGINES.items():
        try:
            out[name] = version(engine.package)
        except PackageNotFoundError:
            continue
    return out
