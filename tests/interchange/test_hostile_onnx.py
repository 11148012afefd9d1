"""ONNX files that ask for too much, or lead out of the file: refused in one line and at once."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from recurrent import from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
pytest.importorskip("onnxscript", reason="ONNX files need onnxscript: recurrent-engine[onnx]")
helper, TensorProto = onnx.helper, onnx.TensorProto
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
X = np.zeros((5, 2, 4), np.float32)
LARGE = 1 << 40


def node(op, inputs, outputs, **attributes):
    given, made = (names.split(",") if names else [] for names in (inputs, outputs))
    return helper.make_node(op, given, made, **attributes)


def model(nodes, arrays=(), functions=(), domain="", opset=17, inputs=("x",)):
    """Return a model of nodes that reads x (5, 2, 4), and computes y."""
    tensors = [
        onnx.numpy_helper.from_array(np.asarray(a), n) if not isinstance(a, TensorProto) else a
        for n, a in dict(arrays).items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, FLOAT, ["a", "b", 4]) for n in inputs],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        tensors,
    )
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1)] * bool(domain)
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))


def tensor(dtype=FLOAT, dims=(2,), name="W", **fields):
    found = TensorProto(data_type=dtype, dims=dims, name=name)
    for field, value in fields.items():
        if isinstance(value, (bytes, int)):
            setattr(found, field, value)
        else:
            getattr(found, field).extend(value)
    return found


def graph(nodes, inputs, outputs, name="inner"):
    return helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(n, kind, None) for n, kind in inputs],
        [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs],
    )  # fmt: skip


def added(nodes, arrays=()):
    """Return a model whose node makes z, which is then added to x: z may be computed beforehand."""
    return model([*nodes, node("Add", "x,z", "y")], arrays)


def called(nodes, arrays=()):
    """Return a model whose node makes y of a size that is only known at a call."""
    count = [node("ReduceSum", "x,axes", "zero", keepdims=0), node("Exp", "zero", "one"),
             node("Cast", "one", "n", to=INT64), node("Mul", "n,many", "size")]  # fmt: skip
    return model(
        [*count, *nodes], {"axes": np.arange(3), "many": np.array([LARGE]), **dict(arrays)}
    )


def loop(trips, condition=True):
    body = graph(
        [node("Identity", "on", "goes_on"), node("Add", "state,state", "next")],
        [("k", INT64), ("on", TensorProto.BOOL), ("state", FLOAT)],
        [("goes_on", TensorProto.BOOL), ("next", FLOAT)],
    )
    return model([node("Loop", "trips,on,x", "y", body=body)],
                 {"trips": np.array(trips), "on": np.array(condition)})  # fmt: skip


def loops_within_loops(depth, trips=1000):
    inner = [node("Add", "state,state", "next")]
    for k in range(depth):
        body = graph(
            [*inner, node("Identity", "on", "goes_on")],
            [("k", INT64), ("on", TensorProto.BOOL), ("state", FLOAT)],
            [("goes_on", TensorProto.BOOL), ("next", FLOAT)],
            f"g{k}",
        )
        out = "next" if k < depth - 1 else "y"
        given = "state" if k < depth - 1 else "x"
        inner = [node("Loop", f"trips,yes,{given}", out, body=body)]
    return model(inner, {"trips": np.array(trips), "yes": np.array(True)})


def nested(depth):
    """Return the bytes of graphs within graphs."""
    inner = [node("Identity", "x", "y")]
    for k in range(depth):
        branch = graph(inner, [], [("y", FLOAT)], f"g{k}")
        inner = [node("If", "on", "y", then_branch=branch, else_branch=branch if k < 8 else
                      graph([node("Identity", "x", "y")], [], [("y", FLOAT)]))]  # fmt: skip
    return model(inner, {"on": np.array(True)})


def field(tag, data):
    """Return a field of a protocol buffer: its tag, the length of its bytes, and the bytes."""
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([tag]) + length + bytes([size]) + data


def deep_bytes(levels=5000):
    """Return a file whose graphs are nested deeper than protobuf reads."""
    data = field(0x0A, field(0x0A, b"x"))
    for _ in range(levels):
        data = field(0x0A, field(0x2A, field(0x32, data)))  # node, attribute, graph
    return b"\x08\x08" + field(0x3A, data)


def functions(*bodies):
    """Return a model of functions: each is a list of the names of those that it calls."""
    made = []
    for name, calls in bodies:
        names = ["a", *(f"t{k}" for k in range(len(calls) - 1)), "b"]
        nodes = [
            helper.make_node(
                f, names[k : k + 1], names[k + 1 : k + 2], domain="own" * (f != "Relu")
            )
            for k, f in enumerate(calls)
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        made.append(helper.make_function("own", name, ["a"], ["b"], nodes, opsets))
    call = helper.make_node(bodies[0][0], ["x"], ["y"], domain="own")
    return model([call], functions=made, domain="own")


def external(path, where="initialiser"):
    """Return a model with an array in another file: an initialiser, or one within a function."""
    held = tensor(dims=(4,))
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value=str(path))
    if where == "initialiser":
        return model([node("Add", "x,W", "y")], {"W": held})
    constant = node("Constant", "", "c", value=held)
    if where == "constant":
        return model([constant, node("Add", "x,c", "y")])
    if where == "sparse":
        sparse = onnx.SparseTensorProto(dims=[4], values=held, indices=tensor(INT64, (4,), "i"))
        return model([node("Constant", "", "c", sparse_value=sparse), node("Add", "x,c", "y")])
    body = helper.make_function(
        "own", "f", ["a"], ["b"], [constant, node("Add", "a,c", "b")], [helper.make_opsetid("", 17)]
    )
    return model(
        [helper.make_node("f", ["x"], ["y"], domain="own")], functions=[body], domain="own"
    )


def rnn(**changes):
    """Return an LSTM whose arrays are replaced."""
    arrays = {"W": np.zeros((1, 12, 4), "f"), "R": np.zeros((1, 12, 3), "f")} | changes
    return model([node("LSTM", "x,W,R", "Y", hidden_size=3), node("Squeeze", "Y,one", "y")],
                 {**arrays, "one": np.array([1])})  # fmt: skip


def repeated(op, count, **attributes):
    """Return a chain of nodes, each of which makes its input sixteen times as large."""
    nodes = [
        node(
            op, f"v{k},by" if op == "Tile" else ",".join([f"v{k}"] * 16), f"v{k + 1}", **attributes
        )
        for k in range(count)
    ]
    ends = node("Identity", "x", "v0"), node("Identity", f"v{count}", "y")
    return model([ends[0], *nodes, ends[1]], {"by": np.array([1, 1, 16])})


SIZE = np.array([LARGE])
CASES = {
    # Sizes in arrays: constants, which an optimiser would compute, and known at a call alone
    "ConstantOfShape": added([node("ConstantOfShape", "n", "z")], {"n": SIZE}),
    "ConstantOfShape of 2^31": added(
        [node("ConstantOfShape", "n", "z")], {"n": np.array([1 << 31])}),
    "ConstantOfShape, then Cast": added(
        [node("ConstantOfShape", "n", "c"), node("Cast", "c", "z", to=FLOAT)], {"n": SIZE}),
    "ConstantOfShape at a call": called([node("ConstantOfShape", "size", "y")]),
    "Expand": added([node("Expand", "one,n", "z")], {"one": np.ones(1, "f"), "n": SIZE}),
    "Expand at a call": called([node("Expand", "one,size", "y")], {"one": np.ones(1, "f")}),
    "Tile": added([node("Tile", "one,n", "z")], {"one": np.ones(1, "f"), "n": SIZE}),
    "Tile at a call": called([node("Tile", "one,size", "y")], {"one": np.ones(1, "f")}),
    "Range": added([node("Range", "a,b,c", "r"), node("Cast", "r", "z", to=FLOAT)],
                   {"a": np.array(0), "b": np.array(LARGE), "c": np.array(1)}),
    "Range at a call": called([node("Squeeze", "size", "s"), node("Range", "a,s,c", "y")],
                              {"a": np.array(0), "c": np.array(1)}),
    "Pad": added([node("Pad", "one,p", "z")], {"one": np.ones(1, "f"), "p": np.array([0, LARGE])}),
    "Pad at a call": called([node("Concat", "size,size", "p", axis=0), node("Pad", "one,p", "y")],
                            {"one": np.ones(1, "f")}),
    "OneHot": added([node("OneHot", "i,n,v", "z")],
                    {"i": np.array([0]), "n": np.array(LARGE), "v": np.array([0, 1], "f")}),
    "Resize": added([node("Resize", "a,,,n", "z")],
                    {"a": np.ones((1, 1, 4), "f"), "n": np.array([1, 1, LARGE])}),
    "Resize by scales": added([node("Resize", "a,,s", "z")],
                              {"a": np.ones((1, 1, 4), "f"), "s": np.array([1, 1, 1e12], "f")}),
    "EyeLike of a large matrix": added([node("Expand", "a,n", "e"), node("EyeLike", "e", "z")],
                                       {"a": np.ones((1, 1), "f"), "n": np.array([1 << 20] * 2)}),
    "an outer sum": added([node("Add", "u,v", "z")],
                          {"u": np.ones((1 << 17, 1), "f"), "v": np.ones((1, 1 << 17), "f")}),
    "an outer product": added([node("MatMul", "u,v", "z")],
                              {"u": np.ones((1 << 17, 1), "f"), "v": np.ones((1, 1 << 17), "f")}),
    "Einsum": added([node("Einsum", "u,u,u", "z", equation="i,j,k->ijk")],
                    {"u": np.ones(4000, "f")}),
    "HannWindow": added([node("HannWindow", "n", "z")], {"n": np.array(LARGE)}),
    "HammingWindow": added([node("HammingWindow", "n", "z")], {"n": np.array(LARGE)}),
    "BlackmanWindow": added([node("BlackmanWindow", "n", "z")], {"n": np.array(LARGE)}),
    "MelWeightMatrix": added([node("MelWeightMatrix", "n,n,n,f,g", "z")],
                             {"n": np.array(1 << 20), "f": np.array(0.0, "f"),
                              "g": np.array(8000.0, "f")}),
    "RandomNormal": added([node("RandomNormal", "", "z", shape=[LARGE])]),
    "RandomUniform": added([node("RandomUniform", "", "z", shape=[1 << 20, 1 << 20])]),
    "Multinomial": added([node("Multinomial", "p", "m", sample_size=1 << 31),
                          node("Cast", "m", "z", to=FLOAT)], {"p": np.ones((1, 2), "f")}),
    "Conv with padding": model([node("Conv", "x,W", "y", pads=[LARGE, LARGE])],
                               {"W": np.ones((1, 2, 1), "f")}),
    "ConvTranspose with strides": model(
        [node("ConvTranspose", "x,W", "y", strides=[1 << 35])], {"W": np.ones((2, 1, 1), "f")}),
    "MaxPool with padding": model([node("MaxPool", "x", "y", kernel_shape=[1 << 33],
                                        pads=[1 << 32, 1 << 32])]),
    "AveragePool with padding": model([node("AveragePool", "x", "y", kernel_shape=[1 << 33],
                                            pads=[1 << 32, 1 << 32])]),
    "DFT": model([node("Unsqueeze", "x,m", "u"), node("DFT", "u,n", "y", axis=1)],
                 {"m": np.array([-1]), "n": np.array(LARGE)}),
    "CenterCropPad": model([node("CenterCropPad", "x,n", "y")],
                           {"n": np.array([1 << 20, 1 << 20, 1 << 20])}, opset=18),
    "Gather by many indices": added(
        [node("Expand", "i,n", "k"), node("Gather", "t,k", "z")],
        {"t": np.ones((2, 4), "f"), "i": np.array([0]), "n": np.array([1 << 28])}),
    "joined ten times": repeated("Concat", 10, axis=2),
    "tiled ten times": repeated("Tile", 10),
    # Steps
    "a Loop of 2^63 - 1 trips": loop((1 << 63) - 1),
    "a Loop of minus one trip": loop(-1),
    "loops within loops": loops_within_loops(4),
    # Nesting, circles and functions
    "graphs nested 20 deep": nested(20),
    "graphs nested 5000 deep": deep_bytes(),
    "a circle": model([node("Add", "x,b", "a"), node("Add", "a,x", "b"), node("Relu", "b", "y")]),
    "a node that reads itself": model([node("Add", "x,y", "y")]),
    "a function that calls itself": functions(("f", ["f"])),
    "functions that call each other": functions(("f", ["g"]), ("g", ["f"])),
    "functions that double": functions(
        *((f"f{k}", [f"f{k + 1}"] * 2) for k in range(40)), ("f40", ["Relu"])),
    # Arrays
    "more entries declared than held": rnn(W=tensor(dims=(1, 12, 1 << 40), raw_data=bytes(16))),
    "sizes whose product overflows": rnn(W=tensor(dims=(1 << 32, 1 << 32, 16), raw_data=bytes(16))),
    "sizes of minus one": rnn(W=tensor(dims=(-1, -12, 4), raw_data=bytes(16))),
    "one axis of minus one": rnn(W=tensor(dims=(1, -12, 4), raw_data=bytes(192))),
    "texts in an array of floats": rnn(W=tensor(dims=(1, 12, 4), string_data=[b"x"] * 48)),
    "an array of texts": rnn(W=tensor(TensorProto.STRING, (1, 12, 4), string_data=[b"x"] * 48)),
    "fewer bytes than entries": rnn(W=tensor(dims=(1, 12, 4), raw_data=bytes(101))),
    "floats and bytes": rnn(W=tensor(dims=(1, 12, 4), raw_data=bytes(8), float_data=[0.0] * 48)),
    "bfloat16": rnn(W=tensor(TensorProto.BFLOAT16, (1, 12, 4), raw_data=bytes(96))),
    "float8": rnn(W=tensor(TensorProto.FLOAT8E4M3FN, (1, 12, 4), raw_data=bytes(48))),
    "int4": rnn(W=tensor(TensorProto.INT4, (1, 12, 4), raw_data=bytes(24))),
    "complex": rnn(W=tensor(TensorProto.COMPLEX64, (1, 12, 4), raw_data=bytes(384))),
    "an unknown dtype": rnn(W=tensor(999, (1, 12, 4), raw_data=bytes(192))),
    "no dtype": rnn(W=tensor(0, (1, 12, 4), raw_data=bytes(192))),
    "another number of units": rnn(R=np.zeros((1, 12, 5), "f")),
    "a scalar for weights": rnn(W=np.float32(1)),
    "no entries": rnn(W=np.zeros((1, 0, 4), "f")),
    # Names
    "two initialisers of one name": None,
    "an input twice": model([node("Relu", "x", "y")], inputs=("x", "x")),
    "an output twice": model([node("Relu", "x", "y"), node("Tanh", "x", "y")]),
    "an input without a name": model([node("Relu", "x", "y")], inputs=("x", "")),
    "an output without a name": None,
    "a node without outputs": model([node("Relu", "x", ""), node("Relu", "x", "y")]),
}  # fmt: skip


def of_names():
    twice = model([node("Add", "x,W", "y")], {"W": np.ones(4, "f")})
    twice.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(4, "f"), "W"))
    unnamed = model([node("Relu", "x", "y")])
    unnamed.graph.output[0].name = ""
    return {"two initialisers of one name": twice, "an output without a name": unnamed}


CASES |= of_names()
# What is no fault: the model computes.
FINE = ("a Loop of minus one trip", "a node without outputs", "bfloat16")


def outcome(source):
    """Read and run a model; return what came of it: "computed", or an error of one line."""
    try:
        made = from_onnx(source)
        inputs = getattr(made, "inputs", ("x",))
        made(dict.fromkeys(inputs, X) if len(inputs) > 1 else X)
    except (ValueError, TypeError) as error:
        text = f"{type(error).__name__}: {error}"
        bad = not text.isprintable() or len(text) > 1000 or "allocate" in text
        return f"fault: {text!r:.900}" if bad else text
    return "computed"


def main():
    """Try all cases in a process that may take one more gigabyte; print the outcomes."""
    import resource
    import time

    warnings.simplefilter("ignore", UserWarning)  # of bfloat16, say
    from_onnx(rnn())(X)
    from_onnx(added([node("Exp", "x", "z")]))(X)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), resource.RLIM_INFINITY))
    for name, case in CASES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        start = time.process_time()
        try:
            found = outcome(case if isinstance(case, bytes) else case.SerializeToString())
        except BaseException as error:
            found = f"fault: {error!r:.300}"
        took = time.process_time() - start
        print(f"{name}\t{'fault: ' * (took > 1)}{took:.3f}\t{found}", flush=True)


@pytest.fixture(scope="module")
def outcomes():
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=300, check=False,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), NUMBA_NUM_THREADS="1"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", CASES)
def test_refused_at_once(name, outcomes):
    assert "fault" not in outcomes[name]
    took, found = outcomes[name].split("\t")
    assert float(took) < 1
    assert found == "computed" if name in FINE else "Error: " in found


@pytest.mark.parametrize("where", ["initialiser", "constant", "sparse", "function"])
@pytest.mark.parametrize("path", ["absolute", "above", "link"])
def test_nothing_outside_a_file_is_read(path, where, tmp_path):
    (tmp_path / "secret").write_bytes(np.full(4, 7, "f").tobytes())
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    place = {"absolute": tmp_path / "secret", "above": "../secret", "link": "link"}[path]
    proto = external(place, where)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    for source in (proto, folder / "m.onnx"):
        with pytest.raises(ValueError, match=r"in another file, which is not read|sparse") as error:
            from_onnx(source)
        assert str(error.value).isprintable()


if __name__ == "__main__":
    main()
