"""Files of real models made by others: where they are, what they are fed, how far they are off.

`python tests/support/real_models.py` prints the table of all of them. Packages are found where
Python imports from; the files of no package are in the folder that RECURRENT_MODELS names.
"""

import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":  # one thread, as ONNX Runtime has here
    sys.path.insert(0, str(Path(__file__).parents[1]))
    for threads in ("NUMBA", "OPENBLAS", "OMP"):
        os.environ[f"{threads}_NUM_THREADS"] = "1"

import numpy as np

MODELS = "RECURRENT_MODELS"


@dataclass(frozen=True)
class File:
    """A file of ONNX, and how to feed it.

    Attributes
    ----------
    place : str
        The module of the package that ships it, and its path therein; the path alone for a file
        of the folder RECURRENT_MODELS.
    feeds : callable
        Returns the inputs by name, of a Generator.
    frames : int
        Number of calls; outputs are fed back as `carried` says.
    carried : dict of str to str
        Inputs by the names of the outputs that they are in the next call.
    """

    place: str
    feeds: Callable[[np.random.Generator], dict[str, np.ndarray]]
    frames: int = 1
    carried: dict[str, str] = field(default_factory=dict)

    @property
    def name(self):
        return Path(self.place).name

    def path(self):
        """Return the path; None if the file is not here."""
        return found(self.place)


def found(place):
    """Return the path of a file of a package, or of the folder RECURRENT_MODELS, or None."""
    module, _, inner = place.partition("/")
    if not inner:
        folder = os.environ.get(MODELS)
        path = Path(folder, place) if folder else None
    else:
        spec = importlib.util.find_spec(module)
        path = Path(spec.origin).parent / inner if spec and spec.origin else None
    return path if path and path.is_file() else None


def audio(rng, *shape):
    """Return tones in noise, float32."""
    t = np.arange(shape[-1]) / 16_000
    tones = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in rng.uniform(100, 2000, 4))
    return (0.1 * tones + 0.05 * rng.standard_normal(shape)).astype(np.float32)


def normal(rng, *shape):
    return (0.3 * rng.standard_normal(shape)).astype(np.float32)


def _silero(samples, rate=16_000, batch=1):
    def feeds(rng):
        own = {"input": audio(rng, batch, samples), "state": normal(rng, 2, batch, 128)}
        return own | ({"sr": np.array(rate)} if rate else {})

    return feeds


def _spectrum(rng):
    return np.abs(np.fft.rfft(audio(rng, 1, 1, 512))).astype(np.float32)


def _tashkeel(rng):
    ids = {"char_inputs": rng.integers(1, 54, (3, 24)), "diac_inputs": rng.integers(0, 16, (3, 24))}
    return ids | {"input_lengths": np.array([24, 9, 17])}


SILERO = "silero_vad/data/silero_vad"
STATE = {"stateN": "state"}
FILES = {
    "nnsplit": File(
        "byte_sb_bidi_lstm.onnx", lambda rng: {"input": rng.integers(0, 256, (4, 200), np.uint8)}
    ),
    "dtln 1": File(
        "dtln_model_1.onnx",
        lambda rng: {"input_2": _spectrum(rng), "input_3": normal(rng, 1, 2, 128, 2)},
        frames=20,
        carried={"tf_op_layer_stack_2": "input_3"},
    ),
    "dtln 2": File(
        "dtln_model_2.onnx",
        lambda rng: {"input_4": audio(rng, 1, 1, 512), "input_5": normal(rng, 1, 2, 128, 2)},
        frames=20,
        carried={"tf_op_layer_stack_5": "input_5"},
    ),
    "silero sequence": File(
        f"{SILERO}_16k_sequence.onnx",
        lambda rng: {
            "input": audio(rng, 100, 576), "h": normal(rng, 1, 1, 128), "c": normal(rng, 1, 1, 128)
        },
    ),
    "silero 16 kHz": File(f"{SILERO}.onnx", _silero(576, batch=2), frames=20, carried=STATE),
    "silero 8 kHz": File(f"{SILERO}.onnx", _silero(288, 8000), frames=20, carried=STATE),
    "silero openvino": File(
        f"{SILERO}_openvino_16k.onnx", _silero(576, 0), frames=20, carried=STATE
    ),
    "silero half": File(f"{SILERO}_half.onnx", _silero(576, 0), frames=20, carried=STATE),
    "silero op15": File(f"{SILERO}_16k_op15.onnx", _silero(576), frames=20, carried=STATE),
    "silero op18": File(f"{SILERO}_op18_ifless.onnx", _silero(576), frames=20, carried=STATE),
    "silero op18 8 kHz": File(
        f"{SILERO}_op18_ifless.onnx", _silero(288, 8000, 3), frames=20, carried=STATE
    ),
    "dksplit": File(
        "dksplit/models/dksplit-int8.onnx", lambda rng: {"chars": rng.integers(0, 38, (8, 24))}
    ),
    "tashkeel": File("piper/tashkeel/model.onnx", _tashkeel),
    "nakdimon": File(
        "piper/hebrew/nakdimon.onnx",
        lambda rng: {"input_1": rng.integers(1, 43, (2, 20)).astype(np.float32)},
    ),
}  # fmt: skip


def named(model, proto):
    """Return a function from inputs to outputs, both by name, of one of our models."""
    outputs = [o.name for o in proto.graph.output]

    def call(feeds):
        y = model(feeds if len(feeds) > 1 else next(iter(feeds.values())))
        return y if isinstance(y, dict) else {outputs[0]: y}

    return call


def runtime(path, proto):
    """Return such a function of ONNX Runtime."""
    from oracles.onnx import onnx_session

    session, outputs = onnx_session(path), [o.name for o in proto.graph.output]
    return lambda feeds: dict(zip(outputs, session.run(None, feeds), strict=True))


def run(file, call, feeds, dtype=np.float32):
    """Return the outputs of all frames by name, stacked, of a function as `named` makes."""
    feeds = {n: a.astype(dtype) if a.dtype == np.float32 else a for n, a in feeds.items()}
    found = []
    for _ in range(file.frames):
        found.append(call(feeds))
        feeds |= {into: found[-1][out] for out, into in file.carried.items()}
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def models(file):
    """Return our model, functions as `named` makes of it, of ONNX Runtime and of float64."""
    import onnx
    from oracles.float64 import widened

    from recurrent import from_onnx

    path = file.path()
    proto = onnx.load(path)
    ours = from_onnx(path)
    wide = from_onnx(widened(proto))
    return ours, named(ours, proto), runtime(path, proto), named(wide, proto)


def distances(file):
    """Return our model and, by output, its largest entry, our distance from float64, and theirs."""
    model, ours, theirs, wide = models(file)
    feeds = file.feeds(np.random.default_rng(0))
    mine, their = run(file, ours, feeds), run(file, theirs, feeds)
    found = {}
    for name, true in run(file, wide, feeds, np.float64).items():
        for a in (mine[name], their[name]):
            assert (a.shape, a.dtype) == (true.shape, their[name].dtype)
        off = [float(np.abs(a - true.astype(np.float64)).max()) for a in (mine[name], their[name])]
        found[name] = (float(np.abs(true).max()), *off)
    return model, found


def seconds(file, calls, feeds, times=9):
    """Return the median time of all frames of each function; they take turns."""
    found = []
    for _ in range(times + 1):
        found.append([])
        for call in calls:
            start = time.perf_counter()
            run(file, call, feeds)
            found[-1].append(time.perf_counter() - start)
    return np.median(found[1:], axis=0)


def table():
    """Print a line for each file: what it becomes, its errors, and its time to ONNX Runtime's."""
    import onnx

    from recurrent.interchange.onnx.loading import graphs

    print("| file | nodes | becomes | error / ONNX Runtime's | ms | time / ONNX Runtime's |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, file in FILES.items():
        if file.path() is None:
            print(f"| {name} | not here |")
            continue
        model, found = distances(file)
        times = [f"{mine / their:.2f}" if their else "equal" for _, mine, their in found.values()]
        nodes = sum(len(g.node) for g in graphs(onnx, onnx.load(file.path()).graph))
        feeds = file.feeds(np.random.default_rng(0))
        _, ours, theirs, _ = models(file)
        a, b = seconds(file, (ours, theirs), feeds)
        print(
            f"| {name} | {nodes} | {type(model).__name__} | {', '.join(times)} "
            f"| {1e3 * a:.2f} | {a / b:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    table()
