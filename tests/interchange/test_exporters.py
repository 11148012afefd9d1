"""Files of the exporters of PyTorch and Keras: they come in, or words say whose fault it is.

What an exporter of today cannot write, or writes wrongly, is recorded as such: a test that fails
with a newer version is good news.
"""

import importlib.util
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from oracles.torch import torch

from recurrent import Sequential, from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
pytest.importorskip("onnxscript", reason="PyTorch's exporter needs onnxscript")
nn = torch.nn
T, N = 5, 2  # of the example that the exporter runs
OTHERS = [(7, 3), (1, 4)]
pytestmark = pytest.mark.ci  # an exporter takes a second a file


class Net(nn.Module):
    """An nn.RNN, nn.LSTM or nn.GRU between what usually surrounds it."""

    def __init__(self, kind, packed=False, classifies=False, **options):
        super().__init__()
        torch.manual_seed(0)
        self.packed, self.batch_first = packed, options.get("batch_first", False)
        self.rnn = getattr(nn, kind)(3, 4, **options)
        K = (self.rnn.proj_size or 4) * (1 + self.rnn.bidirectional)
        self.embed = nn.Embedding(11, 3) if classifies else None
        self.head = nn.Linear(K, 2) if classifies else None
        self.eval()

    def forward(self, x, lengths=None):
        x = x if self.embed is None else self.embed(x)
        if self.packed:
            x = nn.utils.rnn.pack_padded_sequence(x, lengths, self.batch_first)
        y, _ = self.rnn(x)
        if self.packed:
            y, _ = nn.utils.rnn.pad_packed_sequence(y, self.batch_first)
        if self.head is None:
            return y
        return self.head(y[:, -1] if self.batch_first else y[-1])

    def inputs(self, T, N):
        """Return an example: x, and lengths if it packs."""
        rng = np.random.default_rng(0)
        shape = (N, T) if self.batch_first else (T, N)
        if self.embed is None:
            x = torch.tensor(rng.standard_normal((*shape, 3)).astype("f"))
        else:
            x = torch.tensor(rng.integers(0, 11, shape))
        lengths = torch.tensor(sorted([T, *rng.integers(1, T + 1, N - 1)], reverse=True))
        return (x, lengths) if self.packed else (x,)


def export(net, **options):
    """Call PyTorch's exporter, whose warnings are of itself."""
    names = ["x", "lengths"][: 1 + net.packed]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            net, net.inputs(T, N), input_names=names, output_names=["y"], **options
        )


def legacy(net):
    """Return the file of the exporter that traces, with free T and N."""
    data = io.BytesIO()
    free = {"x": [0, 1], "y": [0] if net.head else [0, 1]}
    free |= {"lengths": [0]} if net.packed else {}
    export(net, f=data, dynamo=False, dynamic_axes=free)
    return data.getvalue()


def dynamo(net, free=True):
    """Return the file of the newer exporter, with free T and N or without."""
    axis = torch.export.Dim.AUTO
    sizes = ({0: axis, 1: axis}, *[{0: axis}] * net.packed) if free else None
    return export(net, dynamo=True, dynamic_shapes=sizes, verbose=False).model_proto


def agrees(net, made, sizes):
    """Check that a model computes what the module does."""
    for size in sizes:
        given = net.inputs(*size)
        with torch.no_grad():
            expected = net(*given).numpy()
        np.testing.assert_allclose(made(*(a.numpy() for a in given)), expected, atol=1e-6)


KINDS = ["RNN", "LSTM", "GRU"]
CASES = {
    "plain": {},
    "both directions": {"bidirectional": True},
    "two layers, batch first": {"num_layers": 2, "batch_first": True},
    "two layers of both directions": {"num_layers": 2, "bidirectional": True},
    "a classifier": {"classifies": True, "batch_first": True, "bias": False},
    "a classifier of both directions": {"classifies": True, "bidirectional": True},
    "packed": {"packed": True},
    "packed, two layers": {
        "packed": True, "num_layers": 2, "bidirectional": True, "batch_first": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_torch_that_traces(kind, case):
    net = Net(kind, **CASES[case])
    data = legacy(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = from_onnx(data)
    # The last step of a reverse direction is not its result.
    assert isinstance(made, Sequential) == (case != "a classifier of both directions")
    agrees(net, made, [(T, N), *OTHERS])


def test_a_projection_cannot_be_traced():
    with pytest.raises(torch.onnx.errors.SymbolicValueError, match="LSTMs with projections"):
        legacy(Net("LSTM", proj_size=2))  # torch 2.13.0


@pytest.mark.parametrize("case", [c for c in CASES if "packed" not in c])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_torch_dynamo(kind, case):
    """Its files of time-major layers hold the T of the example in the last Reshape."""
    net = Net(kind, **CASES[case])
    proto = dynamo(net)
    if net.batch_first:
        agrees(net, from_onnx(proto), [(T, N), *OTHERS])
    elif net.head is None:
        with pytest.warns(UserWarning, match="the exporter wrote the length 5 of time into the f"):
            made = from_onnx(proto)
        agrees(net, made, [(T, N), *OTHERS])
    else:  # a step of both directions is no layer: the nodes run as they are
        with pytest.warns(UserWarning, match=r"pytorch 2\S+ wrote the length 5 into a Reshape"):
            made = from_onnx(proto)
        agrees(net, made, [(T, N), (T, 4)])
        with pytest.raises(
            ValueError, match=r"must have the shape \(5, any\), which the file fixes"
        ):
            made(net.inputs(2, 5)[0].numpy())  # ONNX Runtime computes something else


def test_torch_dynamo_with_the_sizes_of_the_example():
    net = Net("LSTM", bidirectional=True)
    agrees(net, from_onnx(dynamo(net, free=False)), [(T, N), *OTHERS])
    net = Net("LSTM", bidirectional=True, classifies=True)
    made = from_onnx(dynamo(net, free=False))
    agrees(net, made, [(T, N)])
    if not isinstance(made, Sequential):
        with pytest.raises(ValueError, match=r"must have the shape \(5, 2\), which the file fixes"):
            made(np.zeros((7, 2), int))


@pytest.mark.parametrize("case", ["both directions", "a classifier"])
def test_torch_dynamo_unrolls_rnn(case):
    """Its file takes any T and computes from the first 5 steps, in ONNX Runtime too: we refuse."""
    net = Net("RNN", **CASES[case])
    with pytest.warns(UserWarning, match=r"pytorch 2\S+ unrolled the loop over time to 5 steps"):
        made = from_onnx(dynamo(net))
    agrees(net, made, [(5, 2), (5, 4)])
    for size in OTHERS:
        with pytest.raises(ValueError, match=r"must have the shape .*which the file fixes"):
            made(net.inputs(*size)[0].numpy())


@pytest.mark.parametrize("free", [True, False])
def test_torch_dynamo_loses_the_projection(free):
    proto = dynamo(Net("LSTM", proj_size=2), free)
    with pytest.raises(ValueError, match=r"writes an LSTM with proj_size so and loses its proj"):
        from_onnx(proto)


def test_torch_dynamo_cannot_write_packed_sequences():
    with pytest.raises(torch.onnx.OnnxExporterError):  # torch 2.13.0
        dynamo(Net("LSTM", packed=True))


def test_a_gru_that_an_older_exporter_wrote():
    """onnxscript up to 0.6 left out linear_before_reset (pytorch #189225, onnxscript #2852)."""
    net = Net("GRU")
    proto = onnx.load_model_from_string(legacy(net))
    (node,) = (n for n in proto.graph.node if n.op_type == "GRU")
    (after,) = (a for a in node.attribute if a.name == "linear_before_reset")
    node.attribute.remove(after)
    with pytest.warns(UserWarning, match="almost surely a fault of the exporter"):
        from_onnx(proto)
    agrees(net, from_onnx(proto, gru_reset_after=True), [(T, N)])


KERAS = """
import numpy as np
import keras
from keras import layers

for kind in ("SimpleRNN", "LSTM", "GRU"):
    Layer = getattr(layers, kind)
    nets = {
        "free": [keras.Input((None, 3)), Layer(4, return_sequences=True)],
        "five": [keras.Input((5, 3)), Layer(4, return_sequences=True)],
        "both": [keras.Input((None, 3)), layers.Bidirectional(Layer(4, return_sequences=True))],
        "last": [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(11, 3),
            Layer(4),
            layers.Dense(2),
        ],
    }
    for name, parts in nets.items():
        model, rng, arrays = keras.Sequential(parts), np.random.default_rng(0), {}
        for T in (5, 1):
            x = rng.standard_normal((2, T, 3)).astype("f")
            x = rng.integers(0, 11, (2, T)).astype("int32") if name == "last" else x
            if name != "five" or T == 5:
                arrays |= {f"x{T}": x, f"y{T}": keras.ops.convert_to_numpy(model(x))}
        model.export(f"{kind} {name}.onnx", format="onnx", verbose=False)
        model.save(f"{kind} {name}.keras")
        np.savez(f"{kind} {name}.npz", **arrays)
"""


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory):
    """Return a folder of files that Keras has written; it runs on PyTorch in its own process."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("this exporter is Keras': recurrent-engine[peers]")
    folder = tmp_path_factory.mktemp("keras")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KERAS],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        check=True,
        capture_output=True,
    )
    return folder


def keras_file(folder: Path, kind, name):
    """Return a ModelProto and the arrays of a file."""
    with np.load(folder / f"{kind} {name}.npz") as file:
        return onnx.load(folder / f"{kind} {name}.onnx"), dict(file)


KERAS_KINDS = ["SimpleRNN", "LSTM", "GRU"]


@pytest.mark.parametrize("name", ["free", "both", "last"])
@pytest.mark.parametrize("kind", KERAS_KINDS)
def test_keras_writes_one_step(keras_files, kind, name):
    """Whatever T it says, its file computes from the first step: other T are refused."""
    proto, arrays = keras_file(keras_files, kind, name)
    assert not {"RNN", "LSTM", "GRU"} & {node.op_type for node in proto.graph.node}
    with pytest.warns(UserWarning, match=r"unrolled the loop over time to 1 step, .*from_keras"):
        made = from_onnx(proto)
    if (kind, name) == ("SimpleRNN", "both"):  # keras 3.15.1: ONNX Runtime cannot load it
        with pytest.raises(ValueError, match="the nodes cannot compute this x"):
            made(arrays["x1"])
        return
    np.testing.assert_allclose(made(arrays["x1"]), arrays["y1"], atol=1e-6)
    with pytest.raises(ValueError, match=r"must have the shape \(any, 1.*which the file fixes"):
        made(arrays["x5"])


@pytest.mark.parametrize("kind", KERAS_KINDS)
def test_keras_with_a_fixed_length(keras_files, kind):
    proto, arrays = keras_file(keras_files, kind, "five")
    made = from_onnx(proto)
    np.testing.assert_allclose(made(arrays["x5"]), arrays["y5"], atol=1e-6)
    with pytest.raises(ValueError, match=r"must have the shape \(any, 5, 3\)"):
        made(arrays["x5"][:, :4])
