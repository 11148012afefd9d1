"""Pictures of models of PyTorch, Keras and ONNX, by the command line and by viz."""

import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

import recurrent
import viz
from recurrent import GRU, Graph, Linear, Sequential
from viz.cli.commands import main

pytest.importorskip("torch", reason="these files are PyTorch's: recurrent-engine[torch]")
onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
from oracles.keras import keras  # noqa: E402
from oracles.torch import torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
nn, helper = torch.nn, onnx.helper
VIEWS = ("network", "unrolled", "layer", "unit", "weights", "cell", "explore", "gradients")
OF_LAYERS = ("layer", "unit", "weights", "cell")


class Tagger(nn.Module):
    """An Embedding, two layers of a bidirectional LSTM, and a Linear."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(11, 4)
        self.encoder = nn.ModuleDict({"lstm": nn.LSTM(4, 5, num_layers=2, bidirectional=True)})
        self.head = nn.Linear(10, 3)


def no_chain():
    """Return a model of ONNX whose LSTM and GRU meet in a Sin, which is no layer here."""
    rng = np.random.default_rng(0)
    arrays = {
        f"{name}{n}": rng.standard_normal(shape).astype(np.float32)
        for name, G in (("a", 4), ("b", 3))
        for n, shape in (("W", (1, G * 3, 2)), ("R", (1, G * 3, 3)))
    }
    nodes = [
        helper.make_node("LSTM", ["x", "aW", "aR"], ["p"], name="left", hidden_size=3),
        helper.make_node("GRU", ["x", "bW", "bR"], ["q"], name="right", hidden_size=3),
        helper.make_node("Sin", ["q"], ["s"], name="wave"),
        helper.make_node("Mul", ["p", "s"], ["y"], name="product"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("T", "N", 2))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    state = Tagger().state_dict()
    torch.save(state, path / "tagger.pt")
    arrays = {n: a.numpy() for n, a in state.items()}
    save_file(arrays | {"other": np.zeros((2, 3, 4, 5), np.float32)}, path / "parts.safetensors")
    save_file({"other": np.zeros((2, 3, 4, 5), np.float32)}, path / "none.safetensors")
    layers = keras.layers
    net = keras.Sequential(
        [
            layers.Input((None,)),
            layers.Embedding(9, 3, name="words"),
            layers.LSTM(4, name="reader"),
            layers.Dense(2, activation="softmax", name="classes"),
        ]
    )
    net.save(path / "net.keras")
    net.save(path / "net.h5")
    model = Sequential(GRU(2, 4), Linear(4, 1), rng=0)
    recurrent.to_onnx(model, path / "chain.onnx")
    model.save(path / "ours.safetensors")
    onnx.save(no_chain(), path / "graph.onnx")
    return path


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(folder)

    def call(view, file, *more):
        out = tmp_path / ("a.html" if view == "explore" else "a.gv")
        code = main([view, file, *map(str, more), "-o", str(out)])
        said, error = capfd.readouterr()
        assert "Traceback" not in error
        text = out.read_text() if code == 0 else ""
        assert said == (f"wrote {out}\n" if text else "")
        return code, text, error

    return call


FILES = ["tagger.pt", "net.keras", "net.h5", "chain.onnx", "ours.safetensors"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_every_file(view, file, run):
    code, text, error = run(view, file)
    assert (code, error) == (0, "")
    assert text


def test_the_command_itself(folder, tmp_path):
    out = tmp_path / "unit.svg"
    command = [sys.executable, "-m", "viz", "unit", folder / "chain.onnx", "3", "-o", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wrote {out}\n", "")
    assert "GRU unit 3" in out.read_text()


def test_the_unit_is_a_place_or_an_option(run):
    assert run("unit", "chain.onnx", 3) == run("unit", "chain.onnx", "--unit", 3)
    code, _, error = run("unit", "chain.onnx", 3, "--unit", 3)
    assert (code, error) == (2, "viz: give the unit once: UNIT or --unit\n")
    code, _, error = run("unit", "chain.onnx", 4)
    assert (code, error.count("\n")) == (1, 1)
    assert "--unit must be in 0..3" in error


@pytest.mark.parametrize(
    ("file", "number", "name"),
    [
        ("tagger.pt", 1, "encoder.lstm.l0"),
        ("tagger.pt", 2, "encoder.lstm.l1"),
        ("net.keras", 1, "reader"),
        ("net.h5", 1, "reader"),
        ("graph.onnx", 1, "right"),
    ],
)
def test_a_layer_has_a_number_and_a_name(file, number, name, run):
    for view in OF_LAYERS:
        assert run(view, file, "--layer", number) == run(view, file, "--layer", name)
        assert run(view, file, "--layer", name)[0] == 0


@pytest.mark.parametrize("which", ["head", "0", "encoder", "-1", "9", ""])
def test_another_layer_is_refused_with_those_that_there_are(which, run):
    code, _, error = run("unit", "tagger.pt", "--layer", which)
    assert code == 1
    assert error == (
        "viz: --layer must be a recurrent layer, one of 1 (encoder.lstm.l0), 2 (encoder.lstm.l1), "
        f"got {which}".rstrip()
        + "\n"
    )


@pytest.mark.parametrize("view", VIEWS)
def test_a_graph_of_other_nodes_shows_its_recurrent_layers(view, run):
    code, text, error = run(view, "graph.onnx")
    if view in ("network", *OF_LAYERS):
        assert (code, error) == (0, "")
        assert text
        return
    assert code == 1
    assert "this file holds none (" in error
    assert error.endswith(
        "draw its recurrent layers ('left', 'right') by unit, layer, cell or weights\n"
    )


def test_the_nodes_of_a_network_are_drawn_with_their_names(run):
    _, text, _ = run("network", "graph.onnx")
    for name, label in (
        ("left", "LSTM(2, 3, biases=0)\\n60 parameters"),
        ("right", "GRU(2, 3, reset_after=False, biases=0)\\n45 parameters"),
        ("wave", "Sin\\nno parameters"),
        ("product", "Mul\\nno parameters"),
    ):
        assert f'label="{name}\\l"' in text
        assert label in text
    assert "105 parameters in total" in text
    wires = re.findall(r'"(x.x|node\d)" -> "(node\d|y.y)"', text)
    expected = [("x.x", "node0"), ("x.x", "node1"), ("node1", "node2"), ("node2", "node3")]
    expected += [("node0", "node3"), ("node3", "y.y")]
    assert sorted(set(wires) - {("node0", "node0"), ("node1", "node1")}) == sorted(expected)


def test_a_network_of_onnx_takes_no_recording():
    model, run = recurrent.from_onnx(no_chain()), Sequential(GRU(2, 3), rng=0)
    recording = run.record(np.zeros((3, 1, 2), np.float32))
    with pytest.raises(ValueError, match="recording must be None: a network of ONNX"):
        viz.network(model, recording)


def test_a_network_of_very_many_nodes_is_refused_in_one_line():
    sines = [helper.make_node("Sin", [f"v{k}"], [f"v{k + 1}"]) for k in range(90)]
    graph = helper.make_graph(
        sines,
        "g",
        [helper.make_tensor_value_info("v0", onnx.TensorProto.FLOAT, ("T", "N", 2))],
        [helper.make_tensor_value_info("v90", onnx.TensorProto.FLOAT, None)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = recurrent.from_onnx(proto)
    with pytest.raises(ValueError, match=r"at most 80 nodes, .* got 92; .*no recurr"):
        viz.network(model)


def test_a_run_of_a_graph_of_other_nodes_is_refused(run):
    code, _, error = run("unit", "graph.onnx", "--steps", 3)
    assert (code, error.count("\n")) == (1, 1)
    assert "this file holds none (" in error


@pytest.mark.parametrize("view", VIEWS)
def test_a_state_dict_of_other_parts_shows_its_recurrent_layers(view, run):
    code, text, error = run(view, "parts.safetensors")
    if view in OF_LAYERS:
        assert (code, error) == (0, "")
        named = run(view, "parts.safetensors", "--layer", "encoder.lstm.l0")
        assert (code, text, error) == named
        assert text == run(view, "tagger.pt")[1] or view == "unit"  # which names the layer above
        return
    assert (code, error.count("\n")) == (1, 1)
    assert "cannot tell which layer" in error
    assert "draw its recurrent layers ('encoder.lstm.l0', 'encoder.lstm.l1') by unit" in error


def test_a_state_dict_without_recurrent_layers_is_refused(run):
    for view in ("unit", "network"):
        code, _, error = run(view, "none.safetensors")
        assert (code, error.count("\n")) == (1, 1)
        assert "cannot tell which layer" in error


def test_a_missing_package_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for file, extra in (("tagger.pt", "torch"), ("net.h5", "keras"), ("chain.onnx", "onnx")):
        code, _, error = run("unit", file)
        assert (code, error.count("\n")) == (1, 1)
        assert f"pip install recurrent-engine[{extra}]" in error.replace("'", "").replace('"', "")


def test_a_run_of_a_batch_first_model_has_its_steps(run):
    code, text, _ = run("gradients", "net.keras", "--steps", 7)
    assert code == 0
    assert "t = 6" in text


def test_the_gates_of_pytorch_stand_where_they_do_here():
    torch.manual_seed(0)
    module = nn.LSTM(3, 4)
    layer = recurrent.from_torch(module)[0]
    source = viz.unit(layer, 2).source
    for gate, rows in zip(
        "ifgo", module.weight_ih_l0.detach().numpy().reshape(4, 4, 3), strict=True
    ):
        for k, w in enumerate(rows[2]):
            line = rf'"in:x{k}" -> "{gate}" .* = {float(w):.7g}"\]'
            assert re.search(line, source), (gate, k)


MODULES = {
    "RNN": lambda: nn.RNN(3, 4),
    "RNN relu": lambda: nn.RNN(3, 4, nonlinearity="relu"),
    "LSTM": lambda: nn.LSTM(3, 4),
    "LSTM no bias": lambda: nn.LSTM(3, 4, bias=False),
    "LSTM projected": lambda: nn.LSTM(3, 5, proj_size=4),
    "LSTM both": lambda: nn.LSTM(3, 4, bidirectional=True),
    "LSTM stack": lambda: nn.LSTM(3, 4, num_layers=2, dropout=0.5),
    "GRU": lambda: nn.GRU(3, 4),
    "GRU no bias": lambda: nn.GRU(3, 4, bias=False, batch_first=True),
    "RNNCell": lambda: nn.RNNCell(3, 4),
    "LSTMCell": lambda: nn.LSTMCell(3, 4),
    "GRUCell": lambda: nn.GRUCell(3, 4),
}


@pytest.mark.parametrize("kind", MODULES)
def test_a_unit_of_every_module(kind):
    for layer in recurrent.from_torch(MODULES[kind]()).layers:
        if layer.cell is not None:
            assert "unit 3" in viz.unit(layer, 3).source


NAMES = {  # what a picture of tagger.pt says in each view
    "network": ["layer 0\\rwords", "layer 1\\rencoder.lstm.l0", "layer 3\\rhead"],
    "unrolled": [
        "layer 0: Embedding\\rwords",
        "LSTM →\\rencoder.lstm.l1",
        "concat\\rencoder.lstm.l0",
    ],
    "layer": ["LSTM\\nencoder.lstm.l0"],
    "unit": ["LSTM unit 0 of encoder.lstm.l0 "],
    "weights": ["LSTM(4, 5, bidirectional=True), encoder.lstm.l0: weights"],
    "cell": ["LSTM layer encoder.lstm.l0"],
    "explore": ["Layer 2, encoder.lstm.l1 opened", "LSTM layer encoder.lstm.l1"],
    "gradients": ["layer 2, encoder.lstm.l1: LSTM("],
}


@pytest.mark.parametrize("view", NAMES)
def test_pictures_show_the_names_of_the_source(view, run):
    _, text, _ = run(view, "tagger.pt")
    for words in NAMES[view]:
        assert words in text
    _, text, _ = run(view, "ours.safetensors")
    assert "encoder.lstm" not in text


def test_a_very_long_name_is_shortened_at_its_start():
    layer = recurrent.LSTM(2, 3)
    layer.origin = "model." * 20 + "lstm"
    assert "unit 0 of …odel.model.model.model.lstm " in viz.unit(layer, 0).source


def test_a_node_of_a_graph_has_its_name():
    model = Graph({"lstm": recurrent.LSTM(2, 3), "out": Linear(3, 1)}, "out")
    assert "LSTM unit 1 of lstm " in viz.unit(model["lstm"], 1).source


def test_the_largest_weights_are_named():
    layer = recurrent.GRU(3, 2)
    layer.initialise(0)
    layer.parameters["weight_ih_l0"][:] = 0.1
    layer.parameters["weight_hh_l0"][:] = 0.1
    layer.parameters["weight_ih_l0"][1, 2] = -5  # of the reset gate of unit 1
    layer.parameters["weight_hh_l0"][3, 0] = 4  # of its update gate
    drawing = viz.unit(layer, 1)
    assert "Largest weights: x₂ into reset gate: −5.00; h₀ into update gate: +4.00; " in (
        drawing.description
    )
    assert drawing.source.index("x₂ into reset gate: −5.00") < drawing.source.index(
        "h₀ into update gate: +4.00"
    )


def test_another_layer_of_a_model_is_told_which_ones_can_be_drawn():
    model = recurrent.from_torch(Tagger())
    for given in (model, model[0], model[3]):
        with pytest.raises(
            TypeError, match=r"unit draws a recurrent layer, such as model\[1\], got"
        ):
            viz.unit(given, 3)
    with pytest.raises(TypeError, match="recurrent layer, and this model has none, got Linear"):
        viz.unit(Sequential(Linear(2, 3))[0], 3)


def test_layers_have_the_names_of_keras_and_onnx(folder):
    model = recurrent.from_keras(folder / "net.keras")
    names = ["words", "reader", "reader", "classes", "classes"]
    assert [layer.origin for layer in model.layers] == names
    proto = onnx.load(folder / "chain.onnx")
    del proto.metadata_props[:]  # which say that it was written here
    next(node for node in proto.graph.node if node.op_type == "GRU").name = "/reader/GRU"
    assert recurrent.from_onnx(proto)[0].origin == "reader"
    layers = recurrent.from_onnx(no_chain()).layers
    assert {name: layer.origin for name, layer in layers.items()} == {n: n for n in layers}


def test_what_is_odd_in_a_file_is_noted_beside_the_picture(run, folder):
    proto = no_chain()
    proto.producer_name = "pytorch"
    onnx.save(proto, folder / "odd.onnx")
    code, text, error = run("unit", "odd.onnx", "--layer", "right")
    assert code == 0
    assert "GRU unit 0 of right" in text
    assert error.startswith("right was written by PyTorch with linear_before_reset=0")
    assert error.count("\n") == 1
