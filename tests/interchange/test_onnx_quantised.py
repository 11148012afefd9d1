"""Operators of ONNX on int8 and uint8: their bits, and how near they are to the float model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.float64 import widened
from oracles.onnx import node_model, onnx_run_model

from recurrent import GRU, LSTM, Conv1d, Embedding, Linear, ReLU, Sequential, to_onnx
from recurrent.interchange.onnx import from_onnx
from recurrent.interchange.onnx.operators import Operator
from recurrent.interchange.onnx.quantised_lstm import QuantisedLSTM

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
MICROSOFT = "com.microsoft"
BYTES = {"int8": np.int8, "uint8": np.uint8}


def codes(rng, dtype, *shape, ends=None):
    """Return random codes of int8 or uint8; `ends` are the smallest and the largest."""
    kind = np.iinfo(BYTES[dtype])
    low, high = ends or (kind.min, kind.max)
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


def both(op, feeds, outputs=("y",), **own):
    """Return our outputs of a node and those of ONNX Runtime."""
    data = node_model(op, feeds, outputs, **own)
    feeds = {n: a for n, a in feeds.items() if a is not None and n not in own.get("constants", ())}
    ours = from_onnx(data)(feeds)
    ours = [ours] if len(outputs) == 1 else [ours[n] for n in outputs]
    return ours, onnx_run_model(data, feeds)


def quantised(rng, W, per_row, dtype, shifted):
    """Return codes, scale and zero point of W (directions, K, rows), and what they stand for."""
    axes = (1,) if per_row else (1, 2)
    low, high = W.min(axes, keepdims=True), W.max(axes, keepdims=True)
    zero = 128 * (dtype == "uint8") - 18 * shifted  # ONNX Runtime takes one for all rows
    ends = np.iinfo(dtype)
    scale = np.maximum(high / (ends.max - zero), low / (ends.min - zero)).astype(np.float32)
    held = np.clip(np.rint(W / scale) + zero, max(ends.min, zero - 127), ends.max).astype(dtype)
    shape = (len(W), -1) if per_row else (len(W),)
    zero = np.full_like(scale, zero, dtype)
    real = (held.astype(np.float64) - zero) * scale.astype(np.float64)
    return held, scale.reshape(shape), zero.reshape(shape), real


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize(("dtype", "shifted"), [("int8", 0), ("uint8", 0), ("uint8", 1)])
def test_an_lstm_with_quantised_weights_is_nearer_to_the_float_model(
    direction, per_row, dtype, shifted
):
    """The weights are the same as ONNX Runtime's; it also rounds x and h to 8 bits, we do not.

    Distances are to a run in float64. Ours is that of float32.
    """
    rng = np.random.default_rng(3)
    T, N, D, H, count = 7, 3, 6, 8, 1 + (direction == "bidirectional")
    W, Ws, Wz, W64 = quantised(rng, rng.normal(0, 0.4, (count, D, 4 * H)), per_row, dtype, shifted)
    R, Rs, Rz, R64 = quantised(rng, rng.normal(0, 0.4, (count, H, 4 * H)), per_row, dtype, shifted)
    feeds = {
        "X": rng.standard_normal((T, N, D)).astype(np.float32), "W": W, "R": R,
        "B": rng.normal(0, 0.3, (count, 8 * H)).astype(np.float32),
        "lengths": np.array([7, 4, 5], np.int32),
        "h": rng.normal(0, 0.5, (count, N, H)).astype(np.float32),
        "c": rng.normal(0, 0.5, (count, N, H)).astype(np.float32),
        "P": rng.normal(0, 0.3, (count, 3 * H)).astype(np.float32),
        "Ws": Ws, "Wz": Wz, "Rs": Rs, "Rz": Rz,
    }  # fmt: skip
    constants = ("W", "R", "B", "P", "Ws", "Wz", "Rs", "Rz")
    own = {"direction": direction, "hidden_size": H}
    ours, theirs = both(
        "DynamicQuantizeLSTM", feeds, ("Y", "Yh", "Yc"), constants=constants, domain=MICROSOFT,
        **own,
    )  # fmt: skip
    wide = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in feeds.items()}
    float_model = Operator("LSTM", own).weights(
        W64.swapaxes(1, 2), R64.swapaxes(1, 2), wide["B"], wide["P"], reference=True
    )
    expected = float_model.run(wide["X"], wide["lengths"], wide["h"], wide["c"])
    for mine, their, true in zip(ours, theirs, expected, strict=True):
        near, far = np.abs(mine - true).max(), np.abs(their - true).max()
        assert near < 2e-6
        assert 1e-4 < far < 0.1
        assert near < far / 100


@pytest.mark.parametrize("shifted", [False, True])
def test_weights_that_fit_stay_int8(shifted):
    """A zero point other than the middle leaves codes that int8 does not hold."""
    rng = np.random.default_rng(0)
    W, Ws, Wz, W64 = quantised(rng, rng.normal(0.1, 0.4, (1, 3, 20)), True, "uint8", shifted)
    R, Rs, Rz, _ = quantised(rng, rng.normal(0.1, 0.4, (1, 5, 20)), False, "uint8", shifted)
    made = QuantisedLSTM({}).weights(W, R, None, None, Ws, Wz, Rs, Rz)
    ((_, packed),) = made.directions
    if shifted:
        with pytest.raises(ValueError, match="not quantised"):
            packed.dequantized()
    else:
        i, o, f, g = np.split(W64[0].T.astype(np.float32), 4)
        np.testing.assert_array_equal(packed.dequantized().W_ih, np.concatenate([i, f, g, o]))


def test_a_network_shows_its_quantised_lstm_as_a_layer():
    """The layer has float32 weights, and gives the same bits."""
    rng = np.random.default_rng(0)
    W, Ws, Wz, _ = quantised(rng, rng.normal(0, 0.4, (1, 3, 20)), True, "int8", 0)
    R, Rs, Rz, _ = quantised(rng, rng.normal(0, 0.4, (1, 5, 20)), False, "int8", 0)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    feeds = {
        "X": x, "W": W, "R": R, "B": None, "l": None, "h": None, "c": None, "P": None, "Ws": Ws,
        "Wz": Wz, "Rs": Rs, "Rz": Rz,
    }  # fmt: skip
    network = from_onnx(
        node_model(
            "DynamicQuantizeLSTM", feeds, ("Y",), [n for n in feeds if n != "X"], MICROSOFT,
            hidden_size=5, name="first",
        )
    )  # fmt: skip
    assert list(network.layers) == ["first"]
    np.testing.assert_array_equal(network.layers["first"].forward(x)[0], network(x)[:, 0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"W": np.zeros((1, 3, 20), np.float32)}, "W must be int8 or uint8 of three axes, got fl"),
        ({"Rs": None}, "R_scale is missing"),
        ({"Ws": np.ones(3, np.float32)}, r"W_scale must be \(1,\) or \(1, 20\), got \(3,\)"),
        (
            {"R": np.zeros((1, 5, 16), np.int8)},
            r"R must have the shape of 4 gates of 5 units in 1 direction = \(1, 20, 5\), got",
        ),
    ],
)
def test_wrong_arrays_are_named(changes, words):
    one = np.ones(1, np.float32)
    feeds = {
        "X": np.ones((2, 1, 3), np.float32), "W": np.ones((1, 3, 20), np.int8),
        "R": np.ones((1, 5, 20), np.int8), "B": None, "l": None, "h": None, "c": None, "P": None,
        "Ws": one, "Wz": None, "Rs": one, "Rz": None,
    } | changes  # fmt: skip
    data = node_model(
        "DynamicQuantizeLSTM", feeds, ("Y",), [n for n in feeds if n != "X"], MICROSOFT,
        hidden_size=5,
    )  # fmt: skip
    with pytest.raises(ValueError, match=words) as caught:
        from_onnx(data)
    assert "\n" not in str(caught.value)


@given(
    st.integers(0, 2**32 - 1), st.sampled_from(["int8", "uint8"]), st.booleans(), st.booleans(),
    st.sampled_from(["", "B", "Bb"]),
)  # fmt: skip
def test_matmul_of_integers(seed, dtype, zeros, columns, constants):
    rng = np.random.default_rng(seed)
    M, K, N = rng.integers(1, 9, 3)
    feeds = {"A": codes(rng, "uint8", M, K), "B": codes(rng, dtype, K, N)}
    if zeros:
        feeds |= {"a": codes(rng, "uint8"), "b": codes(rng, dtype, *[N] * columns)}
    (ours,), (theirs,) = both("MatMulInteger", feeds, constants=[*constants])
    assert ours.dtype == np.int32
    np.testing.assert_array_equal(ours, theirs)


def test_matmul_of_integers_with_a_zero_point_for_each_row():
    """ONNX Runtime does not take one."""
    rng = np.random.default_rng(0)
    A, B, zero = codes(rng, "uint8", 2, 3, 4), codes(rng, "int8", 4, 5), codes(rng, "uint8", 3)
    y = from_onnx(node_model("MatMulInteger", {"A": A, "B": B, "a": zero}))
    expected = (A.astype(int) - zero[:, None]) @ B.astype(int)
    np.testing.assert_array_equal(y({"A": A, "B": B, "a": zero}), expected)


@given(st.data())
def test_convolution_of_integers(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rank, groups = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    draw = lambda low, high: [data.draw(st.integers(low, high)) for _ in range(rank)]  # noqa: E731
    kernel, dilations, strides = draw(1, 3), draw(1, 2), draw(1, 2)
    feeds = {
        "X": codes(rng, "uint8", 2, 2 * groups, *draw(5, 8)),
        "W": codes(rng, "uint8", 2 * groups, 2, *kernel),
    }
    if data.draw(st.booleans()):
        feeds |= {"x": codes(rng, "uint8"), "w": codes(rng, "uint8")}
    own: dict = {"strides": strides, "group": groups}
    way = data.draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if way == "NOTSET":
        own |= {"pads": [*draw(0, 2), *draw(0, 2)], "dilations": dilations}
    else:
        own |= {"auto_pad": way} | ({"dilations": dilations} if way == "VALID" else {})
    constants = data.draw(st.sampled_from(["", "W", "Ww"]))
    (ours,), (theirs,) = both("ConvInteger", feeds, constants=[*constants], **own)
    np.testing.assert_array_equal(ours, theirs)


def test_convolution_of_integers_with_a_zero_point_for_each_channel():
    rng = np.random.default_rng(0)
    X, W, zero = codes(rng, "uint8", 1, 3, 9), codes(rng, "int8", 4, 3, 2), codes(rng, "int8", 4)
    (ours,), _ = both("ConvInteger", {"X": X, "W": W})
    feeds = {"X": X, "W": W, "x": np.uint8(7)[...], "w": zero}
    made = from_onnx(node_model("ConvInteger", feeds))
    expected = np.zeros((1, 4, 8), int)
    for k in range(2):
        expected += np.einsum(
            "oi,nit->not",
            W[:, :, k].astype(int) - zero[:, None],
            X[:, :, k : k + 8].astype(int) - 7,
        )
    np.testing.assert_array_equal(made(feeds), expected)
    assert (ours != expected).any()


@pytest.mark.parametrize("opset", [10, 13, 17, 21])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("dtype", BYTES)
def test_codes_of_numbers_and_back(opset, axis, dtype):
    """Also of numbers that are far beyond all codes."""
    if opset == 10 and axis is not None:
        opset = 13  # version 10 has one scale for all
    rng = np.random.default_rng(0)
    x = rng.normal(0, 60, (3, 5)).astype(np.float32)
    x[0, :3] = 1e20, -1e20, np.inf
    shape = () if axis is None else x.shape[axis]
    feeds = {
        "x": x, "scale": rng.uniform(0.3, 2, shape).astype(np.float32),
        "zero": np.asarray(codes(rng, dtype, *np.atleast_1d(shape).astype(int)) if shape else 3,
                           dtype),
    }  # fmt: skip
    own: dict = {} if axis is None else {"axis": axis}
    (ours,), (theirs,) = both("QuantizeLinear", feeds, opset=opset, **own)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == dtype
    (ours,), (theirs,) = both("DequantizeLinear", feeds | {"x": ours}, opset=opset, **own)
    np.testing.assert_array_equal(ours, theirs)


def test_blocks_have_a_scale_each():
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.normal(0, 60, (3, 6)).astype(np.float32),
        "scale": rng.uniform(0.3, 2, (3, 2)).astype(np.float32),
        "zero": codes(rng, "int8", 3, 2),
    }
    own = {"axis": 1, "block_size": 3, "opset": 21}
    (ours,), (theirs,) = both("QuantizeLinear", feeds, **own)
    np.testing.assert_array_equal(ours, theirs)
    (ours,), (theirs,) = both("DequantizeLinear", feeds | {"x": ours}, **own)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("constants", [(), ("B", "bs", "bz")])
def test_products_of_quantised_matrices(columns, constants):
    """Of two quantised ones as ONNX Runtime; of float32 and one, nearer to the float model."""
    rng = np.random.default_rng(0)
    A, B = codes(rng, "uint8", 2, 3, 6), codes(rng, "int8", 6, 4)
    shape = [4] * columns
    scale, zero = np.float32(rng.uniform(0.01, 0.02, shape)), codes(rng, "int8", *shape)
    feeds = {
        "A": A, "B": B, "as": np.float32(0.03)[...], "bs": np.asarray(scale),
        "az": np.uint8(120)[...], "bz": np.asarray(zero),
        "bias": rng.standard_normal(4).astype(np.float32),
    }  # fmt: skip
    (ours,), (theirs,) = both("MatMulIntegerToFloat", feeds, constants=constants, domain=MICROSOFT)
    np.testing.assert_allclose(ours, theirs, rtol=3e-7, atol=3e-6)
    x = rng.standard_normal((2, 3, 6)).astype(np.float32)
    feeds = {"A": x} | {n: feeds[n] for n in ("B", "bs", "bz", "bias")}
    (ours,), (theirs,) = both("DynamicQuantizeMatMul", feeds, constants=constants, domain=MICROSOFT)
    true = x.astype(float) @ ((B.astype(float) - zero) * scale.astype(float)) + feeds["bias"]
    near, far = np.abs(ours - true).max(), np.abs(theirs - true).max()
    assert near < 3e-6
    assert 1e-4 < far < 0.2


QUANTISERS = pytest.importorskip(
    "onnxruntime.quantization", reason="onnxruntime quantises the files: recurrent-engine[test]"
)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
@pytest.mark.filterwarnings("ignore")
def test_files_that_onnxruntime_quantised(tmp_path, kind, per_channel):
    """An LSTM is nearer to the float model than ONNX Runtime; a convolution has the same bits.

    The file rounds the data of the convolution, and leaves those of the LSTM to the operator.
    """
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 20, (7, 3))
    x = rng.standard_normal((7, 3, 6)).astype(np.float32)
    text = Sequential(Embedding(20, 12), LSTM(12, 16, bidirectional=True), Linear(32, 5))
    signal = Sequential(Conv1d(6, 8, 3, padding=1), ReLU())
    for model, value in ((text, ids), (signal, x)):
        path = str(tmp_path / "float.onnx")
        onnx.save(to_onnx(model), path)
        own = {"per_channel": per_channel, "weight_type": getattr(QUANTISERS.QuantType, kind)}
        QUANTISERS.quantize_dynamic(path, str(tmp_path / "small.onnx"), **own)
        proto = onnx.load(tmp_path / "small.onnx")
        kinds = {node.op_type for node in proto.graph.node}
        assert kinds & {"DynamicQuantizeLSTM", "ConvInteger"}
        y = from_onnx(proto)(value)
        theirs = onnx_run_model(proto.SerializeToString(), {proto.graph.input[0].name: value})[0]
        if model is signal:
            np.testing.assert_allclose(y, theirs, atol=1e-6)
            assert 1e-4 < np.abs(y - model(x)).max() < 0.03
        else:
            true = from_onnx(widened(proto))(value)
            assert np.abs(y - true).max() < 1e-6
            assert 1e-5 < np.abs(theirs - true).max() < 0.03
            assert 1e-5 < np.abs(model(ids) - true).max() < 0.03


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_files_with_rounded_data(tmp_path, per_channel):
    """Those of static quantisation: the layers are between QuantizeLinear and DequantizeLinear."""
    x = np.random.default_rng(0).standard_normal((7, 3, 6)).astype(np.float32)
    model = Sequential(Conv1d(6, 8, 3, padding=1), ReLU(), GRU(8, 8), Linear(8, 5))
    source, path = str(tmp_path / "float.onnx"), str(tmp_path / "rounded.onnx")
    onnx.save(to_onnx(model), source)
    name = onnx.load(source).graph.input[0].name

    class Reader(QUANTISERS.CalibrationDataReader):
        inputs = iter([{name: x}])

        def get_next(self):
            return next(self.inputs, None)

    QUANTISERS.quantize_static(source, path, Reader(), per_channel=per_channel)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}
    y, (theirs,) = from_onnx(path)(x), onnx_run_model(path, {name: x})
    np.testing.assert_allclose(y, theirs, atol=1e-6)
    assert 1e-4 < np.abs(y - model(x)).max() < 0.03
