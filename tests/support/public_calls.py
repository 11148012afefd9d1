"""A call that works for every public function, class and method: the table for wrong calls."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import recurrent as R
import viz
from recurrent import cells, data, initialisers, losses, metrics, optim, presets, schedules
from recurrent.charlm import sampling, text
from recurrent.engine.params import Sizes
from recurrent.gradcheck import central_differences, complex_step
from recurrent.tasks import task
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

from .viz_models import attending
from .wrong_calls import Call

T, N, D, H = 3, 2, 4, 5
OWN_FOLDER = tempfile.TemporaryDirectory(prefix="wrong-calls-")  # removed at exit
FOLDER = Path(OWN_FOLDER.name)
OS = (OSError,)
PATH = "path|file|folder|wrong"
CALLS: dict[str, Call] = {}


def public(name, /, errors=(), without=None, **words):
    """Register a function that returns a call as `Call.make`."""

    def decorate(make):
        assert name not in CALLS
        CALLS[name] = Call(name, make, words, errors, without or {})
        return make

    return decorate


def add(name, function, /, errors=(), words=None, without=None, watched=(), **arguments):
    """Register a call of a function without state."""

    def make():
        fresh = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
        return function, fresh, list(watched)

    assert name not in CALLS
    CALLS[name] = Call(name, make, words or {}, errors, without or {})


def floats(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def ids(*shape, below=7):
    return np.random.default_rng(0).integers(0, below, shape)


# Layers

RECURRENT = dict(bidirectional=True, merge="sum", learn_state=False, reverse=False)
DROPOUTS = dict(recurrent_dropout=0.1, weight_drop=0.1, zoneout={"h": 0.1})
SIZES = dict(input_size=D, hidden_size=H)
add("RNN", R.RNN, **SIZES, **RECURRENT, nonlinearity="relu", clip=1.0, biases=1, **DROPOUTS)
add(
    "LSTM", R.LSTM, **SIZES, **RECURRENT, proj_size=2, peephole=True, coupled=False,
    layer_norm=False, clip=1.0, cell_clip=2.0, activations=("sigmoid", "tanh", "relu"), biases=1,
    **DROPOUTS,
)  # fmt: skip
add(
    "GRU", R.GRU, **SIZES, **RECURRENT, reset_after=True, z_keeps=False, layer_norm=False, clip=1.0,
    activations=("sigmoid", "tanh"), biases=1, **DROPOUTS,
)  # fmt: skip
add("QRNN", R.QRNN, **SIZES, **RECURRENT, window=2, zoneout=0.1)
add("Recurrent", R.Recurrent, cell="lstm", **SIZES, **RECURRENT, proj_size=0, **DROPOUTS)
add("Embedding", R.Embedding, num_embeddings=7, embedding_dim=3, padding_idx=0)
add(
    "Embedding.from_pretrained", R.Embedding.from_pretrained, embeddings=floats(5, 3), freeze=False,
    padding_idx=0,
)  # fmt: skip
add("OneHot", R.OneHot, num_classes=7)
add("Linear", R.Linear, in_features=3, out_features=2, bias=False)
add(
    "Conv1d", R.Conv1d, in_channels=4, out_channels=6, kernel_size=3, stride=1, padding="causal",
    dilation=2, groups=2, bias=False,
)  # fmt: skip
add("Activation", R.Activation, name="softmax")
add("Dropout", R.Dropout, p=0.5, per="step")
add("CRF", R.CRF, num_tags=3)
add("LayerNorm", R.LayerNorm, normalized_shape=3, eps=1e-5)
add(
    "Attention", R.Attention, query_size=3, memory_size=4, score="additive", score_size=2,
    output_size=2,
)  # fmt: skip
add("Last", R.Last, bidirectional=True, reverse=False)

# Models of other programs

STATE = {"a.weight": floats(5, 4), "a.bias": floats(5)}
PARTS = r"module|weight|bias|layer|part|model has no layers|dtype"
add(
    "from_torch", R.from_torch, module=STATE, layers={"a": R.Linear(4, 5), "b": R.Last()},
    batch_first=True, words=dict(module=PARTS), errors=(OSError,),
)  # fmt: skip


@public("to_torch")
def to_torch():
    return R.to_torch, dict(model=R.Sequential(R.GRU(D, H)), stacked=True), []


@public("from_onnx", model="model|onnx", errors=OS)
def from_onnx():
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["T", "N", D]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"])], "g", ends[:1], ends[1:],
        [numpy_helper.from_array(floats(D, D), "W")],
    )  # fmt: skip
    return R.from_onnx, dict(model=helper.make_model(graph), outputs="y"), []


@public("to_onnx", path=PATH, errors=OS)
def to_onnx():
    model, path = R.Sequential(R.GRU(D, H)), FOLDER / "model.onnx"
    return R.to_onnx, dict(model=model, path=path, lengths=True, states=True), []


@public("from_keras", model="model|Keras", config="config|file|folder", errors=OS)
def from_keras():
    import h5py

    arrays = {"kernel": floats(4, 5), "bias": floats(5)}
    layer = {"class_name": "Dense", "config": {"name": "a"}}
    config = {"class_name": "Sequential", "config": {"layers": [layer]}}
    path = FOLDER / "keras.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["a"]
        group = file.create_group("a")
        group.attrs["weight_names"] = list(arrays)
        for name, a in arrays.items():
            group[name] = a
    return R.from_keras, dict(model=path, config=config), []


@public("explain")
def explain():
    return R.explain, dict(model=R.Sequential(R.GRU(D, H))), []


LAYERS = {
    "RNN": (lambda: R.RNN(D, H), lambda: floats(T, N, D)),
    "LSTM": (lambda: R.LSTM(D, H), lambda: floats(T, N, D)),
    "LSTM both": (lambda: R.LSTM(D, H, bidirectional=True), lambda: floats(T, N, D)),
    "LSTM reverse": (lambda: R.LSTM(D, H, reverse=True), lambda: floats(T, N, D)),
    "LSTM dropout": (
        lambda: R.LSTM(D, H, learn_state=True, weight_drop=0.3),
        lambda: floats(T, N, D),
    ),
    "Embedding": (lambda: R.Embedding(7, 3), lambda: ids(T, N)),
    "OneHot": (lambda: R.OneHot(7), lambda: ids(T, N)),
    "Linear": (lambda: R.Linear(D, H), lambda: floats(T, N, D)),
    "Conv1d": (lambda: R.Conv1d(D, H, 2, padding="causal"), lambda: floats(T, N, D)),
    "Conv1d strided": (lambda: R.Conv1d(D, H, 2, stride=2), lambda: floats(T, N, D)),
    "ReLU": (R.ReLU, lambda: floats(T, N, D)),
    "Residual": (lambda: R.Residual(R.LSTM(D, D), R.Dropout(0.3)), lambda: floats(T, N, D)),
    "Softmax": (R.Softmax, lambda: floats(T, N, D)),
    "Dropout": (lambda: R.Dropout(0.3), lambda: floats(T, N, D)),
    "Dropout per sequence": (lambda: R.Dropout(0.3, "sequence"), lambda: floats(T, N, D)),
    "Dropout of nothing": (lambda: R.Dropout(0), lambda: floats(T, N, D)),
    "LayerNorm": (lambda: R.LayerNorm(D), lambda: floats(T, N, D)),
    "CRF": (lambda: R.CRF(D), lambda: floats(T, N, D)),
    "Attention": (lambda: R.Attention(D, output_size=3), lambda: floats(T, N, D)),
    "Attention to a memory": (lambda: R.Attention(D, H), lambda: floats(T, N, D)),
    "Last": (R.Last, lambda: floats(T, N, D)),
    "Last both": (lambda: R.Last(bidirectional=True), lambda: floats(T, N, D)),
    "MaxPool": (R.MaxPool, lambda: floats(T, N, D)),
    "MeanPool": (R.MeanPool, lambda: floats(T, N, D)),
    "Hold": (R.Hold, lambda: floats(T, N, D)),
}
X = r"x|ids|source|target|lengths|state|memory|batch"


def _layer_calls(name, build, inputs):
    def made():
        layer = build()
        layer.initialise(0)
        state = None
        if layer.cell is not None:
            state = layer.forward(inputs())[1]
        elif name == "Attention to a memory":
            state = R.Memory(floats(T + 1, N, H), np.array([T, 1]))
        return layer, inputs(), state

    ids_error = (IndexError,) if layer_takes_ids(name) else ()
    state_words = r"state|memory|M = |values|lengths" if "Attention" in name else "state"

    @public(f"{name}.forward", x=X, state=state_words, errors=ids_error)
    def forward():
        layer, x, state = made()
        arguments = dict(x=x, state=state, lengths=np.array([T, 1]), record=True, training=False)
        if name in ("Embedding", "OneHot", "Linear", "LayerNorm", "CRF") or "Dropout" in name:
            del arguments["state"]
        return layer.forward, arguments, [layer, x]

    @public(f"{name}.backward", dy="dy", tape="tape|dy", dstate="dstate", state_gradients="state_g")
    def backward():
        layer, x, state = made()
        y, final, tape = layer.forward(x, state, record=True)
        out = {n: np.zeros_like(a) for n, a in layer.parameters.items()}
        arguments = dict(dy=np.ones_like(y), tape=tape, out=out)
        if layer.cell is not None:
            arguments |= dict(dstate=final, state_gradients={})
        return layer.backward, arguments, [layer, x]

    @public(f"{name}.initialise")
    def initialise():
        layer, _, _ = made()
        return layer.initialise, dict(rng=1, dtype="float64", init="keras"), [layer]

    @public(f"{name}.check_below", below="below|input|layer")
    def check_below():
        layer = build()
        both = R.LSTM(D, D, bidirectional=True)
        return layer.check_below, dict(below=[both if name == "Last both" else R.Linear(D, D)]), []

    @public(f"{name}.bind", parameters=r"parameters|weight|bias|h0|c0")
    def bind():
        layer, _, _ = made()
        arrays = {n: a.copy() for n, a in layer.parameters.items()}
        return layer.bind, dict(parameters=arrays), [layer]

    if layer_streams(name):

        @public(f"{name}.stream.step", x_t=r"x_t|x|ids", errors=ids_error)
        def step():
            layer, x, _ = made()
            stream = layer.stream()
            stream.step(x[0])
            return stream.step, dict(x_t=x[0]), [layer, stream]

        @public(f"{name}.stream", state="state")
        def stream():
            layer, x, _ = made()
            stream = layer.stream()
            stream.step(x[0])
            return layer.stream, dict(state=stream.state), [layer]

    if layer_runs_packed(name):

        @public(f"{name}.packed", x=X, state=state_words, errors=ids_error)
        def packed():
            layer, x, state = made()
            return layer.packed(), dict(x=x, state=state), [layer, x]


def layer_takes_ids(name):
    return name in ("Embedding", "OneHot")


def layer_streams(name):
    return not any(word in name for word in ("both", "reverse", "strided", "Attention"))


def layer_runs_packed(name):
    names = ("LSTM", "LSTM both", "LSTM reverse", "LSTM dropout", "Conv1d")
    return name in (*names, "Attention to a memory", "Attention")


for _name, (_build, _inputs) in LAYERS.items():
    _layer_calls(_name, _build, _inputs)


# Models


def small(vocabulary=7):
    return R.Sequential(R.Embedding(vocabulary, D), R.LSTM(D, H), R.Linear(H, vocabulary), rng=0)


def numeric(*more):
    return R.Sequential(R.LSTM(D, H), R.Linear(H, 2), *more, rng=0)


def pair():
    encoder = R.Sequential(R.Embedding(7, 3), R.LSTM(3, 4), rng=0)
    decoder = R.Sequential(
        R.Embedding(6, 3), R.LSTM(3, 4), R.Attention(4, 4), R.Linear(8, 6), rng=1
    )
    return R.Seq2Seq(encoder, decoder)


@public("Sequential", first="layer", second="layer")
def _():
    def make(first, second, **options):
        return R.Sequential(first, second, **options)

    arguments = dict(first=R.Linear(2, 3), second=R.GRU(3, 2))
    more = dict(tie={"1.bias_ih_l0": "1.bias_hh_l0"}, batch_first=True)
    return make, arguments | dict(rng=0, dtype="float64", init="keras") | more, []


@public("Graph", nodes="node", outputs="output", inputs="inputs")
def _():
    nodes = {"gru": (R.GRU(3, 3), "x"), "sum": (R.Add(), "x", "gru"), "out": R.Linear(3, 2)}
    more = dict(tie={"gru.bias_ih_l0": "gru.bias_hh_l0"}, batch_first=True)
    arguments = dict(nodes=nodes, outputs=["sum", "out"], inputs=["x"])
    return R.Graph, arguments | dict(rng=0, dtype="float64", init="keras") | more, []


def branches():
    nodes = {
        "lstm": R.LSTM(D, D),
        "sum": (R.Add(), "x", "lstm"),
        "both": (R.Concat(), "sum", "lstm"),
        "out": R.Linear(2 * D, 2),
    }
    return R.Graph(nodes, "out", rng=0)


def two_ends():
    reader = R.GRU(D, H)
    nodes = {
        "first": (reader, "a"),
        "second": (reader, "b"),
        "product": (R.Multiply(), "first", "second"),
        "steps": R.Linear(H, 2),
        "whole": (R.Last(), "product"),
    }
    return R.Graph(nodes, ["steps", "whole"], rng=0)


def two_inputs():
    return {"a": floats(T, N, D), "b": floats(T, N, D)}


@public("Graph.forward of two inputs", x=r"x|lengths", lengths="lengths|x", state="state")
def _():
    model, x = two_ends(), two_inputs()
    lengths = {"a": np.array([T, 1]), "b": np.array([T, 1])}
    arguments = dict(x=x, state=model.forward(x)[1], lengths=lengths, record=True, training=True)
    return model.forward, arguments, [model]


@public("Graph.backward of two outputs", dy="dy", tape="tape")
def _():
    model = two_ends()
    y, final, tape = model.forward(two_inputs(), record=True)
    dy = {name: np.ones_like(a) for name, a in y.items()}
    arguments = dict(dy=dy, tape=tape, dstate=final, out=np.zeros_like(model.flat))
    return model.backward, arguments, [model]


@public("Graph.name_outputs", names="name")
def _():
    model = two_ends()
    return model.name_outputs, dict(names=["all", "last"]), [model]


@public("Graph.stream.step of two inputs", x_t=r"x_t|x")
def _():
    model = two_ends()
    stream, x_t = model.stream(), {name: a[0] for name, a in two_inputs().items()}
    stream.step(x_t)
    return stream.step, dict(x_t=x_t), [model, stream]


@public("predict of two inputs", x=r"x|lengths", lengths="lengths|x", errors=OS, model="model")
def _():
    lengths = np.array([T, 1])
    return R.predict, dict(model=two_ends(), x=two_inputs(), batch=1, lengths=lengths), []


for _name, _make in {"Add": R.Add, "Multiply": R.Multiply, "Concat": R.Concat}.items():

    @public(f"{_name}.forward", x="x", errors=())
    def _forward(make=_make):
        layer, x = make(), (floats(T, N, 2), floats(T, N, 2))
        return layer.forward, dict(x=x, record=True, training=False), [x]

    @public(f"{_name}.backward", dy="dy", tape="tape|dy")
    def _backward(make=_make):
        layer = make()
        y, _, tape = layer.forward((floats(T, N, 2), floats(T, N, 2)), record=True)
        return layer.backward, dict(dy=np.ones_like(y), tape=tape), []


@public("Residual", first="layer", second="layer")
def _():
    def make(first, second):
        return R.Residual(first, second)

    return make, dict(first=R.GRU(3, 3), second=R.Linear(3, 3)), []


@public("Seq2Seq", encoder="encoder|decoder", errors=())
def _():
    parts = pair()
    encoder = R.Sequential(R.Embedding(7, 3), R.LSTM(3, 4), rng=0)
    decoder = R.Sequential(R.Embedding(6, 3), R.LSTM(3, 4), R.Linear(4, 6), rng=1)
    arguments = dict(encoder=encoder, decoder=decoder, bridge="concat", start=0, end=1)
    return R.Seq2Seq, arguments, [parts]


MODELS = {
    "numeric": (numeric, lambda: floats(T, N, D), lambda: np.array([T, 1])),
    "small": (small, lambda: ids(T, N), lambda: np.array([T, 1])),
    "graph": (branches, lambda: floats(T, N, D), lambda: np.array([T, 1])),
    "pooled": (lambda: numeric(R.MeanPool()), lambda: floats(T, N, D), lambda: np.array([T, 1])),
    "pair": (
        pair,
        lambda: data.Pair(ids(T, N), ids(T + 1, N, below=6)),
        lambda: data.Pair(np.array([T, 1]), np.array([T + 1, 2])),
    ),
}
LENGTHS = "lengths|batch"


def _model_calls(name, build, inputs, lengths):
    X = r"x|ids|source|target|lengths|pair"
    errors = (IndexError,)

    def targets(model, y):
        return ids(*y.shape[:-1], below=y.shape[-1])

    @public(f"{name}.forward", x=X, lengths=LENGTHS, errors=errors, state="state")
    def forward():
        model, x = build(), inputs()
        state = model.forward(x)[1] if name != "pair" else None
        arguments = dict(x=x, state=state, lengths=lengths(), record=True, training=True)
        return model.forward, arguments, [model]

    @public(f"{name}.backward", dy="dy", tape="tape", recording="recording")
    def backward():
        model, x = build(), inputs()
        y, final, tape = model.forward(x, record=True)
        recording = model.record(x)
        arguments = dict(dy=np.ones_like(y), tape=tape, out=np.zeros_like(model.flat))
        arguments |= dict(recording=recording)
        arguments |= {} if name == "pair" else dict(dstate=final)
        return model.backward, arguments, [model]

    @public(
        f"{name}.record", x=X, lengths=LENGTHS, errors=errors, targets="targets|lengths|loss",
        loss="targets and loss|loss", keep="keep",
    )  # fmt: skip
    def record():
        model, x = build(), inputs()
        y = model.forward(x)[0]
        arguments = dict(x=x, targets=targets(model, y), loss=losses.softmax_cross_entropy)
        k = 1 if name in ("small", "pair") else 0
        keep = dict(names=["h"], steps=[0, 1], units=[0], layers=[k])
        return model.record, arguments | dict(lengths=lengths(), keep=keep), [model]

    @public(f"{name}.initialise")
    def initialise():
        model = build()
        return model.initialise, dict(rng=1, init="orthogonal"), [model]

    @public(f"{name}.quantize")
    def quantize():
        model = build()
        return model.quantize, dict(weights="bfloat16"), [model]

    for method in ("has_steps", "where"):

        @public(f"{name}.{method}", errors=errors, k="k|layer")
        def numbered(method=method):
            return getattr(build(), method), dict(k=0), []

    @public(f"{name}.save", errors=OS, path=PATH)
    def save():
        return build().save, dict(path=FOLDER / f"{name}.safetensors"), []

    @public(f"{name}.plan")
    def plan():
        pair = (T, T) if name == "pair" else T
        arguments = dict(T=pair, N=N, training=True, ragged=False, optimizer=optim.Adam())
        return build().plan, arguments, []

    @public(f"{name}.flat", flat="flat")
    def flat():
        model = build()

        def assign(flat):
            model.flat = flat

        return assign, dict(flat=model.flat.copy()), [model]

    @public(f"{name}.parameters", name="parameter", errors=(KeyError,), value=r"\w+")
    def parameters():
        model = build()

        def assign(name, value):
            model.parameters[name] = value

        name = next(iter(model.parameters))
        return assign, dict(name=name, value=model.parameters[name].copy()), [model]

    @public(f"{name}.parameters.update", errors=(KeyError,), other=r"other|parameter|\w+\.\w+")
    def update():
        model = build()
        arrays = {n: a.copy() for n, a in model.parameters.items()}
        return model.parameters.update, dict(other=arrays), [model]

    @public(f"{name}.generator", rng="generator")
    def generator():
        model = build()

        def assign(rng):
            model.generator = rng

        return assign, dict(rng=np.random.default_rng(0)), [model]

    @public(
        f"{name}.build",
        description=r"description|layer|dtype|options|encoder|decoder|bridge|\w+ must|node|input",
    )
    def rebuild():
        model = build()
        return type(model).build, dict(description=model.describe()), []

    if name == "pooled":
        return

    @public(
        f"gradcheck {name}", x=X, lengths=LENGTHS, errors=errors, targets="targets", loss="loss",
        without={"targets": {"None"}},
    )  # fmt: skip
    def check():
        model, x = build(), inputs()
        y = model.forward(x)[0]
        state = {} if name == "pair" else dict(state=model.forward(x)[1])
        arguments = dict(
            subject=model, x=x, loss=losses.softmax_cross_entropy, targets=targets(model, y),
            lengths=lengths(), hidden_size=3, entries=1, eps=1e-5, seed=0, strict=True, **state,
        )  # fmt: skip
        return R.gradcheck, arguments, [model]


for _name, _parts in MODELS.items():
    _model_calls(_name, *_parts)


@public("Layered.bind")
def _():
    model = numeric()
    return model.bind, dict(flat=np.zeros_like(model.flat)), [model]


@public("Layered.passes_lookup", errors=(IndexError,), k="k|layer")
def _():
    return small().passes_lookup, dict(k=0), []


@public("Sequential.stream.step", errors=(IndexError,), x_t=r"x_t|x|ids")
def _():
    model = small()
    stream = model.stream()
    stream.step(ids(N))
    return stream.step, dict(x_t=ids(N)), [model, stream]


@public("Sequential.forward with resets", x=f"{X}|resets", errors=(IndexError,))
def _():
    model = small()
    return model.forward, dict(x=ids(T, N), resets=np.ones((T, N), bool)), [model]


@public("Layered.stream", state="state")
def _():
    model = small()
    return model.stream, dict(state=model.forward(ids(T, N))[1]), [model]


@public("Sequential.stream.reset", errors=(IndexError,))
def _():
    stream = small().stream()
    stream.step(ids(N))
    return stream.reset, dict(rows=[0]), [stream]


@public("Sequential.packed", errors=(IndexError,), x=X, state="state")
def _():
    model = small()
    return model.packed(), dict(x=ids(T, N), state=model.forward(ids(T, N))[1]), [model]


@public(
    "Seq2Seq.generate", errors=(IndexError,), source="source|ids|lengths|x",
    lengths="lengths|source", without={"max_steps": {"10**20"}},
)  # fmt: skip
def _():
    model = pair()
    arguments = dict(source=ids(T, N), max_steps=3, beam=2, lengths=np.array([T, 1]))
    return model.generate, arguments | dict(length_power=0.5), [model]


# Engines

LSTM = R.lstm
PARAMS = LSTM.init(D, H)
STATE = LSTM.State(floats(N, H), floats(N, H))
P_WORDS = r"params|W_ih|W_hh|b_ih|b_hh|x must"
add("Engine", R.Engine, cell="lstm", backend=None, words={"backend": "backend"})
add("Engine.shapes", LSTM.shapes, D=D, H=H, P=None)
add("Engine.state_sizes", LSTM.state_sizes, sizes=Sizes(D, H, H))
add("Engine.init", LSTM.init, input_size=D, hidden_size=H, dtype="float64", rng=0, proj_size=0)
add(
    "Engine.forward", LSTM.forward, x=floats(T, N, D), params=PARAMS, state=STATE,
    lengths=np.array([T, 1]), reverse=False, record=True, masks=None, watched=[PARAMS, STATE],
    words=dict(x="x|lengths|state", params=P_WORDS),
)  # fmt: skip
add(
    "Engine.footprint", LSTM.footprint, T=T, N=N, sizes=Sizes(D, H, H), dtype=np.dtype("float32"),
    ragged=False, training=True, reverse=False, table=None,
)  # fmt: skip
add("Engine.pack", LSTM.pack, params=PARAMS, words=dict(params=P_WORDS))
add(
    "Engine.stepper", LSTM.stepper, params=PARAMS, words=dict(params=P_WORDS),
    initial=LSTM.State(floats(H), floats(H)), state=STATE,
)  # fmt: skip
add(
    "Engine.step", LSTM.step, x_t=floats(N, D), state=STATE, params=PARAMS,
    words=dict(x_t="x_t|x|state", params=P_WORDS),
)  # fmt: skip


@public("Engine.backward", dstate="dstate", state_gradients="state_gradients")
def _():
    y, _, tape = LSTM.forward(floats(T, N, D), PARAMS, record=True)
    out = LSTM.Params(*map(np.zeros_like, PARAMS))
    arguments = dict(dy=floats(*y.shape), tape=tape, dstate=STATE, out=out, state_gradients={})
    return LSTM.backward, arguments, [PARAMS]


@public("Engine.stepper()")
def _():
    stepper = LSTM.stepper(PARAMS)
    stepper(floats(N, D))
    return stepper, dict(x_t=floats(N, D)), [stepper.state]


@public("Engine.stepper().reset", errors=(IndexError,))
def _():
    stepper = LSTM.stepper(PARAMS)
    stepper(floats(N, D))
    return stepper.reset, dict(rows=[0]), [stepper.state]


# Data, losses, optimisers, schedules, initialisers

SERIES = dict(x=ids(9, N), y=ids(9, N))
LENGTH_WORDS = dict(x=r"x|lengths|resets", y="y")
add(
    "Windows", data.Windows, **SERIES, window=3, carry="epoch", keep_last=True, words=LENGTH_WORDS,
    resets=np.ones((9, N), bool),
)  # fmt: skip
add(
    "Batches", data.Batches, x=floats(T, 4, D), y=floats(T, 4, 1), batch=2, rng=0,
    lengths=np.array([3, 2, 1, 0]), per_sequence=False, keep_last=True, batch_first=False,
    dtype=None, resets=np.ones((T, 4), bool), sample_weight=np.ones((T, 4)),
    words=dict(
        x="x|y|lengths|batch|resets|sample_weight",
        per_sequence="per_sequence|y",
        batch_first="batch_first|y|resets|sample_weight",
    ),
)  # fmt: skip
PAIRS = dict(sources=[ids(3), ids(5)], targets=[ids(2), ids(4)])
add(
    "Pairs", data.Pairs, **PAIRS, batch=1, rng=0, start=0, keep_last=True,
    words=dict(targets="target"),
)  # fmt: skip
add("Shuffled", data.Shuffled, N=5, batch=2, rng=0, keep_last=True, words=dict(N="N|x"))
add("Windows.shard", data.Windows(**SERIES, window=3).shard, errors=(IndexError,), s=1, S=2)
add(
    "Shuffled.shard", data.Shuffled(5, 2, 0, True).shard, errors=(IndexError,), s=1, S=2,
)  # fmt: skip
add("Windows.batch", data.Windows(**SERIES, window=3).batch, k=1)
add("Batches.batch", data.Batches(floats(T, 4, D), floats(T, 4, 1), 2).batch, k=1)
add("Pairs.batch", data.Pairs(**PAIRS, batch=1).batch, k=1)
add("Shuffled.order", data.Shuffled(5, 2, 0, True).order, epoch=1)
add("Shuffled.indices", data.Shuffled(5, 2, 0, True).indices, k=1)
add("as_batch", data.as_batch, batch=(1, 2))
add(
    "Batches of a list", data.Batches, x=[floats(2, D), floats(3, D)],
    y=[floats(2, 1), floats(3, 1)], batch=2, dtype="float32", words=dict(x="x|y"),
)  # fmt: skip
add(
    "SlidingWindows", data.SlidingWindows, x=floats(9, D), steps=3, batch=2, rng=0, y=ids(9),
    ahead=[1, 2], stride=2, mask=np.arange(9) > 1, keep_last=True, dtype="float64",
    words=dict(x="x|y", steps="steps|x", ahead="ahead|x", y="y|x", stride="stride"),
)  # fmt: skip
add("SlidingWindows.batch", data.SlidingWindows(floats(9, D), 3, 2).batch, k=1)
add("pad_sequences", data.pad_sequences, sequences=[floats(2, D), floats(3, D)], value=0.5,
    batch_first=True, dtype="float32", words=dict(sequences="sequences|value"))  # fmt: skip
add("unpad_sequences", data.unpad_sequences, a=floats(T, 2), lengths=np.array([T, 1]),
    batch_first=False, words=dict(a="a|lengths", batch_first="batch_first|lengths"))  # fmt: skip
add("fill_missing", data.fill_missing, x=floats(T, N), value="previous")
add("Scaler", data.Scaler, kind="minmax")
SCALER = data.Scaler().fit(floats(T, N, D))
for _name in ("fit", "fit_transform"):
    add(
        f"Scaler.{_name}", getattr(data.Scaler(), _name), x=floats(T, N, D),
        lengths=np.array([T, 1]), batch_first=False,
        words=dict(x="x|lengths", batch_first="batch_first|lengths"),
    )  # fmt: skip
add("Scaler.transform", SCALER.transform, x=floats(N, D))
add("Scaler.inverse_transform", SCALER.inverse_transform, x=floats(N, D))
add("Scaler.build", data.Scaler.build, description=SCALER.describe(),
    words=dict(description="description|kind"))  # fmt: skip

MASK = np.array([[True, False], [True, True], [False, True]])
REGRESSION = {
    losses.mean_squared_error: {}, losses.mean_absolute_error: {}, losses.huber: dict(delta=0.5),
    losses.quantile: dict(q=0.3), losses.binary_cross_entropy: dict(pos_weight=2.0),
}  # fmt: skip
for _loss, _options in REGRESSION.items():
    add(
        _loss.__name__, _loss, y=floats(T, N, 2), targets=np.abs(floats(T, N, 2)).clip(0, 1),
        lengths=np.array([T, 1]), mask=MASK[..., None], **_options, sample_weight=np.ones(N),
        words=dict(y="y|targets|lengths|mask", targets="targets"),
    )  # fmt: skip
add(
    "softmax_cross_entropy", losses.softmax_cross_entropy, y=floats(T, N, 4), mask=MASK,
    targets=ids(T, N, below=4), lengths=np.array([T, 1]), errors=(IndexError,),
    weight=np.ones(4), label_smoothing=0.1, ignore_index=2, sample_weight=np.ones(N),
    words=dict(y="y|targets|lengths|mask"),
)  # fmt: skip
LABELS = np.array([[1, 2, -1], [3, -1, -1]])
add(
    "ctc", losses.ctc, y=floats(T, N, 4), targets=LABELS, lengths=np.array([T, 1]),
    mask=np.array([True, False]), blank=0, target_lengths=np.array([2, 1]), zero_infinity=True,
    sample_weight=np.ones(N), errors=(IndexError,),
    words=dict(y="y|targets|lengths|mask", targets="targets|target_lengths"),
)  # fmt: skip
add(
    "crf", losses.crf, y=floats(T, N, 16), targets=ids(T, N, below=3), lengths=np.array([T, 1]),
    mask=MASK, sample_weight=np.ones(N), errors=(IndexError,),
    words=dict(y="y|targets|lengths|mask"),
)  # fmt: skip
DECODING = dict(y=floats(T, N, 4), lengths=np.array([T, 1]), words=dict(y="y|lengths"))
add(
    "label_error_rate", metrics.label_error_rate, y=floats(T, N, 4), targets=LABELS,
    lengths=np.array([T, 1]), mask=np.array([True, False]), blank=0,
    target_lengths=np.array([2, 1]), errors=(IndexError,),
    words=dict(y="y|targets|lengths|mask", targets="targets|target_lengths"),
)  # fmt: skip
add(
    "tag_accuracy", metrics.tag_accuracy, y=floats(T, N, 16), targets=ids(T, N, below=3),
    lengths=np.array([T, 1]), mask=MASK, words=dict(y="y|targets|lengths|mask"),
)  # fmt: skip
add("ctc_greedy_decode", R.ctc_greedy_decode, **DECODING, blank=1)
add("ctc_beam_search", R.ctc_beam_search, **DECODING, beam=2, blank=1)
add("viterbi_decode", R.viterbi_decode, **DECODING)
add(
    "count_entries", losses.count_entries, loss=losses.mean_squared_error, y=floats(T, N, 2),
    targets=floats(T, N, 2), lengths=np.array([T, 1]), words=dict(y="y|targets|lengths"),
)  # fmt: skip
for _make in (losses.at_last_step, losses.summed_over_steps):
    add(_make.__name__, _make, loss=losses.mean_squared_error)
    last = _make is losses.at_last_step
    add(
        f"{_make.__name__}()", _make(losses.mean_squared_error), y=floats(T, N, 2),
        targets=floats(N, 2) if last else floats(T, N, 2), lengths=np.array([T, 1]),
        sample_weight=np.ones(N), words=dict(y="y|targets|lengths"),
    )  # fmt: skip

for _metric in (metrics.accuracy, metrics.confusion_matrix, metrics.macro_f1):
    add(
        _metric.__name__, _metric, y=floats(T, N, 4), targets=ids(T, N, below=4),
        lengths=np.array([T, 1]), mask=MASK, ignore_index=2, words=dict(y="y|targets|lengths|mask"),
    )  # fmt: skip
for _name, _metric in {
    "root_mean_squared_error": metrics.root_mean_squared_error,
    "metrics.mean_absolute_error": metrics.mean_absolute_error,
}.items():
    add(
        _name, _metric, y=floats(T, N, 2), targets=floats(T, N, 2),
        lengths=np.array([T, 1]), mask=MASK[..., None],
        words=dict(y="y|targets|lengths|mask", targets="targets"),
    )  # fmt: skip
add("metrics.at_last_step", metrics.at_last_step, metric=metrics.accuracy)

OPTIMIZERS = {
    optim.SGD: dict(momentum=0.5, dampening=0.0, nesterov=True, weight_decay=0.1),
    optim.RMSprop: dict(alpha=0.9, eps=1e-8, weight_decay=0.1, momentum=0.5, centered=True),
    optim.Adagrad: dict(lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.1, eps=1e-8),
    optim.Adam: dict(betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, amsgrad=True),
    optim.AdamW: dict(betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, amsgrad=True),
    presets.TorchRnnAdam: dict(
        betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, amsgrad=True, eps_hat=True, restart=False
    ),
}
for _kind, _options in OPTIMIZERS.items():
    add(_kind.__name__, _kind, lr=0.1, **_options)

    @public(f"{_kind.__name__}.update", flat="flat|gradient|parts", parts="parts|lr")
    def _(kind=_kind, options=_options):
        optimizer, flat = kind(0.1, **options), floats(8)
        optimizer.update(flat, floats(8))
        parts = [(slice(0, 2), 0.1), (slice(4, 8), 0.2)]
        arguments = dict(flat=flat, gradient=floats(8), parts=parts)
        return optimizer.update, arguments, [optimizer, flat]

    @public(f"{_kind.__name__} with an option", value="lr|schedule")
    def _(kind=_kind):
        optimizer, flat = kind(0.1), floats(8)

        def run(value):
            optimizer.lr = value
            optimizer.update(flat, floats(8))

        return run, dict(value=schedules.Constant(0.1)), [flat]

    @public(f"{_kind.__name__}.numbers")
    def _(kind=_kind, options=_options):
        return kind(0.1, **options).numbers, dict(lr=0.1), []


add("clip_norm", optim.clip_norm, gradient=floats(8), limit=1.0)
add("clip_value", optim.clip_value, gradient=floats(8), limit=1.0)

add("Constant", schedules.Constant, lr=0.1)
add(
    "OneCycle", schedules.OneCycle, lr=0.1, steps=9, pct_start=0.3, anneal="cos", div_factor=25.0,
    final_div_factor=1e4, three_phase=True,
)  # fmt: skip
add(
    "ReduceOnPlateau", schedules.ReduceOnPlateau, lr=0.1, factor=0.5, patience=2, threshold=1e-4,
    relative=True, cooldown=1, min_lr=0.01, eps=1e-8,
)  # fmt: skip
add(
    "ReduceOnPlateau.after", schedules.ReduceOnPlateau(0.1).after, values=[1.0, 2.0],
    higher_is_better=True,
)  # fmt: skip
add("Cosine", schedules.Cosine, lr=0.1, steps=10, warmup=2, final=0.01)
add("Exponential", schedules.Exponential, lr=0.1, factor=0.9)
add("StepDecay", schedules.StepDecay, lr=0.1, every=3, factor=0.5, first=2)
for _schedule in (
    schedules.Constant(0.1), schedules.Cosine(0.1, 10), schedules.Exponential(0.1, 0.9),
    schedules.StepDecay(0.1, 3, 0.5), schedules.OneCycle(0.1, 9), schedules.ReduceOnPlateau(0.1),
):  # fmt: skip
    add(f"{type(_schedule).__name__}()", _schedule, step=2)
add("StepDecay.decays", schedules.StepDecay(0.1, 3, 0.5).decays, step=2)

for _init in ("pytorch", "keras", "orthogonal", "char_rnn", "torch_rnn", "min_char_rnn"):

    @public(_init)
    def _(init=_init):
        layer = R.LSTM(D, H).initialise(0)
        return getattr(initialisers, init), dict(layer=layer, rng=np.random.default_rng(0)), [layer]


@public("Chrono()")
def _():
    layer = R.LSTM(D, H).initialise(0)
    return initialisers.Chrono(9), dict(layer=layer, rng=np.random.default_rng(0)), [layer]


add("Chrono", initialisers.Chrono, T_max=9.0)


@public("Reservoir()")
def _():
    layer = R.LSTM(D, H).initialise(0)
    return initialisers.Reservoir(), dict(layer=layer, rng=np.random.default_rng(0)), [layer]


add("Reservoir", initialisers.Reservoir, radius=0.9, density=0.1, input_scale=1.0)


# Cells

E = cells.trace_cell("probe", "g", "h", register=False)(
    lambda x, h, previous: dict(g=x.g + h.g, h=x.g)
).previous[0]
OPERANDS = "operands|number|limit|gate"
for _name in ["cos", "exp", "log", "mean", "relu", "sigmoid", "sin", "softplus", "sqrt", "tanh"]:
    add(f"cells.{_name}", getattr(cells, _name), x=E, words=dict(x=OPERANDS))
add("cells.projection", cells.projection, vector=E, words=dict(vector=OPERANDS))
add("cells.product", cells.product, gate="g", vector=E, words=dict(vector=OPERANDS))
add("cells.maximum", cells.maximum, a=E, b=1.0, words=dict(a=OPERANDS, b=OPERANDS))
add("cells.minimum", cells.minimum, a=E, b=1.0, words=dict(a=OPERANDS, b=OPERANDS))
add(
    "cells.where", cells.where, condition=E, a=E, b=1.0,
    words=dict(condition=OPERANDS, a=OPERANDS, b=OPERANDS),
)  # fmt: skip
add("cells.clip", cells.clip, x=E, limit=1.0, words=dict(x=OPERANDS))
for _name in ("add", "sub", "mul", "truediv", "mod", "gt", "ge", "lt", "le"):
    add(
        f"Expr {_name}", getattr(E, f"__{_name}__"), other=2,
        words=dict(other="operands|number|exponent|values|equations"),
    )  # fmt: skip
add("Expr pow", E.__pow__, power=2, words=dict(power="operands|number"))
add("cells.activation", cells.activation, text="tanh", words=dict(text="activation"))
add("cells.find", cells.find, cell="lstm")
add("cells.register", cells.register, cell=cells.lstm)
CELL_OPTIONS = {
    "rnn_cell": dict(nonlinearity="relu", clip=1.0, biases=1),
    "lstm_cell": dict(
        peephole=True, coupled=False, layer_norm=False, projection=False, clip=1.0, cell_clip=1.0,
        activations=("sigmoid", "tanh", "tanh"), biases=1,
    ),
    "gru_cell": dict(reset_after=True, z_keeps=False, layer_norm=False, clip=1.0, biases=1),
    "qrnn_cell": dict(window=2),
}  # fmt: skip
for _name, _options in CELL_OPTIONS.items():
    add(f"cells.{_name}", getattr(cells, _name), **_options)


def equations(x, h, previous, p):
    g = cells.tanh(x.g + h.g + p.w * previous.h)
    return dict(g=g, h=g)


def declared(declare):
    """Declare a cell and return a function that also runs the decorator."""

    def run(equations, **options):
        before = dict(cells.CELLS)
        try:
            return declare(**options)(equations)
        finally:
            cells.CELLS.clear()
            cells.CELLS.update(before)

    return run


NAMES = dict(name="tried", gates="g", states="h", parameters="w", biases=1, equations=equations)
EQUATION_WORDS = dict(
    equations="equations", gates="gates|cell", states="states|cell", parameters="parameters|cell|p "
)
UNKNOWN = (AttributeError,)
MORE = dict(inputs="dt", scalars="v", initial={"w": 1.0, "v": (0.0, 1.0), "g": 1.0})
EQUATION_WORDS |= dict(
    parameters="parameters|cell|p |initial", scalars="scalars|initial", inputs="inputs",
    gates="gates|cell|initial",
)  # fmt: skip
add("cell", declared(R.cell), errors=UNKNOWN, **NAMES, **MORE, words=EQUATION_WORDS)
add(
    "cells.trace_cell", declared(cells.trace_cell), errors=UNKNOWN, **NAMES, **MORE,
    register=False, words=EQUATION_WORDS,
)  # fmt: skip
add("Cell()", cells.PAPERS["phased_lstm"], leak=0.1, r_on=0.5)
add(
    "warmup", lambda cell, dtypes, training: R.warmup(cell, dtypes=dtypes, training=training),
    cell="lstm", dtypes=("float32",), training=False, words=dict(dtypes="dtype"),
)  # fmt: skip
add(
    "gradcheck", R.gradcheck, subject=cells.lstm, x=np.zeros((2, 1, 2)), hidden_size=2,
    entries=1, words=dict(x="x|layer|input_size"),
)  # fmt: skip
add(
    "complex_step", complex_step, loss=lambda a: np.sum(a["x"] ** 2), arguments={"x": np.ones(2)},
    chosen={"x": [(0,)]}, words=dict(arguments="arguments|chosen"),
)  # fmt: skip
add(
    "central_differences", central_differences, loss=lambda a: np.sum(a["x"] ** 2), step=1e-5,
    arguments={"x": np.ones(2)}, chosen={"x": [(0,)]}, words=dict(arguments="arguments|chosen"),
)  # fmt: skip


# Training


def windows():
    return data.Windows(ids(9, N), ids(9, N), 3)


@public(
    "fit", errors=(IndexError,), batches="batch|x|ids", loss="loss", validation="validation|batch",
    without={"epochs": {"10**20"}, "updates": {"10**20"}, "metrics": {"function"}},
    optimizer="optimizer|lr",
)  # fmt: skip
def _():
    model, optimizer = small(), optim.SGD(0.1)
    arguments = dict(
        model=model, batches=windows(), loss=losses.softmax_cross_entropy, optimizer=optimizer,
        epochs=1, updates=2, validation=windows(), validate_every=1, patience=2, keep_best=True,
        clip_norm=1.0, clip_value=1.0, metrics=metrics.accuracy, monitor="accuracy",
        progress=False, freeze=["0."], lr={"1.": 1e-3}, accumulate=2, ema=0.9,
        callback=lambda update, history: None, look_back=4, smooth=0.9, resume=TrainingState(),
    )  # fmt: skip
    return R.fit, arguments, [model, optimizer]


@public("evaluate", errors=(IndexError,), batches="batch|x|ids", loss="loss")
def _():
    model = small()
    arguments = dict(
        model=model, batches=windows(), loss=losses.softmax_cross_entropy, metrics="accuracy"
    )
    return R.evaluate, arguments, [model]


@public("TruncatedBPTT", past="past")
def _():
    model = small()
    state = model.forward(ids(T, N))[1]
    return R.TruncatedBPTT, dict(model=model, look_back=4, state=state, past=ids(1, N)), [model]


@public("TruncatedBPTT.gradient", errors=(IndexError,), x=r"x|ids|targets|look_back", loss="loss")
def _():
    model = small()
    run = R.TruncatedBPTT(model, 4)
    arguments = dict(x=ids(T, N), targets=ids(T, N), loss=losses.softmax_cross_entropy)
    arguments |= dict(lengths=None, out=np.zeros_like(model.flat))
    return run.gradient, arguments, [model, run]


@public("TruncatedBPTT.gradient with resets", errors=(IndexError,), x="x|ids|targets|resets")
def _():
    model = small()
    arguments = dict(x=ids(T, N), targets=ids(T, N), loss=losses.softmax_cross_entropy)
    return R.TruncatedBPTT(model).gradient, arguments | dict(resets=np.ones((T, N), bool)), [model]


@public("checkpoint.save", errors=OS, path=PATH)
def _():
    made = checkpoint.Checkpoint(small(), {"kind": "any"}, {}, None)
    return checkpoint.save, dict(path=FOLDER / "a.safetensors", checkpoint=made), []


@public("checkpoint.load", errors=OS, path=PATH)
def _():
    path = FOLDER / "b.safetensors"
    checkpoint.save(path, checkpoint.Checkpoint(small()))
    return checkpoint.load, dict(path=path), []


@public("set_num_threads")
def _():
    return R.set_num_threads, dict(n=R.get_num_threads()), []


@public("load", errors=OS, path=PATH)
def _():
    path = FOLDER / "load.safetensors"
    small().save(path)
    return R.load, dict(path=path), []


@public(
    "predict", errors=(OSError, IndexError), model="model|path|file", x=X, lengths=LENGTHS,
)  # fmt: skip
def _():
    model = numeric()
    x = floats(T, 3 * N, D)
    lengths = np.full(3 * N, T)
    return R.predict, dict(model=model, x=x, batch=N, n_jobs=1, lengths=lengths), [model]


@public(
    "score_partition", errors=(OSError, KeyError, IndexError), model="model|path|file",
    frames="frames",
)  # fmt: skip
def _():
    import pandas as pd

    model = R.Sequential(R.GRU(1, 2), R.Last(), rng=0)
    frame = pd.DataFrame({"x": [[1.0, 2.0], [3.0]]})
    arguments = dict(frames=frame, model=model, column="x", output="y", batch=1, unknown="skip")
    return R.score_partition, arguments, [model]


# Character models

TEXT = "to be or not to be, that is the question " * 4


def charlm():
    return R.CharLM(TEXT, layers=1, hidden=4, embedding=3)


add(
    "CharLM", R.CharLM, vocabulary=TEXT, cell="gru", layers=2, hidden=4, embedding=3, biases=1,
    dropout=0.1, rng=0, dtype="float32", init="keras",
)  # fmt: skip
add(
    "CharLM.preset", R.CharLM.preset, name="min-char-rnn", vocabulary=TEXT, hidden=4, seq=5,
    lr=0.1, words=dict(name="preset"),
)  # fmt: skip


@public("CharLM.ids", text="text|character|ids")
def _():
    return charlm().ids, dict(text="to be"), []


@public("CharLM.bits_per_character", text="text|character|ids", errors=(IndexError,))
def _():
    return charlm().bits_per_character, dict(text=TEXT, streams=2, unknown="replace"), []


for _method in ("sample", "generate"):

    @public(f"CharLM.{_method}", prime="prime|text|character")
    def _(method=_method):
        lm = charlm()

        def sample(length, **options):
            if isinstance(length, int) and length > 99:  # sampling would not end
                return lm.generate(length=length, **options)
            return list(getattr(lm, method)(length=length, **options))

        arguments = dict(length=2, prime="to", temperature=0.9, top_k=3, top_p=0.9, greedy=False)
        return sample, arguments | dict(stop=["not", "be"], seed=0), [lm]


@public(
    "CharLM.train", text="text|character|ids", save_to="save_to|path|file",
    errors=(IndexError, *OS), epochs="epochs|updates",
    without={"epochs": {"10**20"}, "updates": {"10**20"}},
)  # fmt: skip
def _():
    lm = charlm()
    arguments = dict(
        text=TEXT, save_to=FOLDER / "c.safetensors", resume=False, progress=False,
        callback=lambda update, history: None, loader="even", validation=0.2, test=0.0, seq=5,
        batch=2, carry="epoch", look_back=None, sum_steps=False, optimizer="sgd", lr=0.1,
        schedule=None, clip=1.0, clip_value=None, epochs=1, updates=1, validate_every=1,
        patience=None, smooth=0.9, documents=None, unknown="skip",
    )  # fmt: skip
    known = R.charlm.recipe.OPTIONS
    return lm.train, {k: v for k, v in arguments.items() if k in known or k in SHARED}, [lm]


SHARED = ("text", "save_to", "resume", "progress", "callback")


@public("CharLM.quantize")
def _():
    lm = charlm()
    return lm.quantize, dict(weights="int8"), [lm]


@public("CharLM.save", errors=OS, path=PATH)
def _():
    return charlm().save, dict(path=FOLDER / "d.safetensors"), []


@public("CharLM.load", errors=OS, path=PATH)
def _():
    path = FOLDER / "e.safetensors"
    charlm().save(path)
    return R.CharLM.load, dict(path=path), []


add(
    "Vocabulary", text.Vocabulary, symbols="abc", end="a",
    words=dict(symbols="symbols|vocabulary|end"),
)  # fmt: skip
add("Vocabulary.of", text.Vocabulary.of, text="hello", words=dict(text="text|vocabulary"))
VOCABULARY = text.Vocabulary("abc")
add(
    "Vocabulary.encode", VOCABULARY.encode, text="abc", unknown="skip",
    words=dict(text="text|character"),
)  # fmt: skip
add("Vocabulary.decode", VOCABULARY.decode, ids=[0, 1], errors=(IndexError,))
add("Vocabulary.pieces", lambda ids: list(VOCABULARY.pieces(ids)), ids=[0, 1], errors=(IndexError,))
add("Vocabulary.build", text.Vocabulary.build, description=VOCABULARY.describe(),
    words=dict(description="vocabulary"))  # fmt: skip
add("presets.find", presets.find, name="char-rnn", words=dict(name="preset"))
LOGITS = floats(6)
add("sampling.temperature", sampling.temperature, logits=LOGITS, value=0.5,
    words=dict(value="temperature"))  # fmt: skip
add("sampling.top_k", sampling.top_k, logits=LOGITS, k=2, words=dict(k="top_k"))
add("sampling.top_p", sampling.top_p, logits=LOGITS, p=0.5, words=dict(p="top_p"))
add(
    "sampling.probabilities", sampling.probabilities, logits=LOGITS, words=dict(logits="logits|out")
)
add("task", task, name="ring", seed=0, words=dict(name="task"))


# Pictures


def numeric_run():
    model = numeric()
    x, y = floats(6, N, D), floats(6, N, 2)
    return model, model.record(x, targets=y, loss=losses.mean_squared_error)


MODEL, RECORDING = numeric_run()
PAIR, PAIR_RECORDING = attending()
LM = charlm()
INDEX = (IndexError,)
DRAWN = dict(
    model="model|layer|draws", layer="model|layer|draws", recording="recording|run",
    text="text|character|feature",
)  # fmt: skip
RUN = dict(model=MODEL, recording=RECORDING)
UNIT = dict(layer=MODEL[0], recording=RECORDING)
LOOK = dict(title=None, labels=None, width=None, palette="default", dark=None)
VIEWS = {
    "viz.network": (viz.network, RUN),
    "viz.gradients": (viz.gradients, RUN),
    "viz.unrolled": (
        viz.unrolled,
        dict(
            model=MODEL, steps=6, window=3, recording=RECORDING, lengths=[6, 4], n=1,
            inputs=list("abcdef"),
        ),
    ),
    "viz.task": (viz.task, dict(kind="many-to-many", **RUN)),
    "viz.cell": (viz.cell, dict(**UNIT, t=1, n=0, unit=2, backward=True, direction="forward")),
    "viz.layer": (viz.layer, dict(**UNIT, t=1, n=0, unit=2, direction="forward", folded=True)),
    "viz.unit": (
        viz.unit,
        dict(layer=MODEL[0], j=1, recording=RECORDING, t=1, n=0, gate="i", k=None,
             direction="forward"),
    ),
    "viz.weights": (viz.weights, dict(**UNIT, direction="forward", **LOOK)),
    "viz.compare": (
        viz.compare,
        dict(a=MODEL[0], b=MODEL[0], view="weights", names=["before", "after"], **LOOK),
    ),
    "viz.text": (
        viz.text, dict(model=LM, text="to be", unit=1, value="h", layer=1, max_nodes=90)
    ),
    "viz.units_like": (
        viz.units_like,
        dict(model=LM, text="to be", feature=[1, 0, 0, 1, 0], value="h", top=2),
    ),
    "viz.explore": (
        viz.explore,
        dict(**RUN, inputs=list("abcdef"), units=[0, 1], t=1, sequence=0, outputs=None, part=None,
             **LOOK),
    ),
    "viz.explore a pair": (
        viz.explore,
        dict(model=PAIR, recording=PAIR_RECORDING, inputs=None, units=[0], t=1, sequence=0,
             outputs=list("abcde"), part="decoder", **LOOK),
    ),
    "viz.attention": (
        viz.attention,
        dict(model=PAIR, recording=PAIR_RECORDING, n=0, inputs=list("abcdefg"),
             outputs=list("abcde"), layer=None, step=1),
    ),
}  # fmt: skip
for _name, (_function, _arguments) in VIEWS.items():
    add(_name, _function, errors=INDEX, words=DRAWN, **_arguments)


@public("viz.curve", history="history|curve")
def _():
    model = small()
    loss = losses.softmax_cross_entropy
    history = R.fit(model, windows(), loss, optim.SGD(0.1), updates=2, progress=False)
    return viz.curve, dict(history=history), []


DRAWING = viz.network(MODEL)
add("Drawing.pipe", DRAWING.pipe, format="gv", engine=None, errors=(viz.RenderError,),
    words=dict(format="format", engine="engine|renderer|Graphviz"))  # fmt: skip
add("Drawing.save", DRAWING.save, path=FOLDER / "f.gv", engine=None,
    errors=(viz.RenderError, OSError), words=dict(path="path|file"))  # fmt: skip
add("Drawing.with_page", DRAWING.with_page, body="<p>")


# Estimators: their options are checked by `fit`

SAMPLES = [floats(3, 2), floats(5, 2), floats(4, 2)]
CLASSES_OF = np.array([3, 5, 3])
ESTIMATOR = dict(
    cell="gru", hidden_size=3, num_layers=1, bidirectional=True, pooling="mean", dropout=0.1,
    scale="standard", optimizer="adam", lr=0.01, batch_size=2, max_epochs=1, clip_norm=1.0,
    early_stopping=False, validation_fraction=0.5, n_iter_no_change=2, layout="ntd",
    warm_start=False, random_state=0, verbose=False,
)  # fmt: skip
FITTED = R.sklearn.RecurrentClassifier("gru", 3, max_epochs=1).fit(SAMPLES, CLASSES_OF)
REGRESSOR = R.sklearn.RecurrentRegressor("gru", 3, max_epochs=1).fit(SAMPLES, [1.0, 2.0, 4.0])
DATA = dict(X=SAMPLES, y=CLASSES_OF, sample_weight=np.ones(3), lengths=None)
NUMBER_DATA = {**DATA, "y": np.array([1.0, 2.0, 4.0])}
WRITTEN = dict(path=FOLDER / "estimator.onnx", lengths=True)


def fitting(kind, y):
    def build_and_fit(**options):
        return kind(**options).fit(SAMPLES, y)

    return build_and_fit


add(
    "RecurrentClassifier", fitting(R.sklearn.RecurrentClassifier, CLASSES_OF), **ESTIMATOR,
    class_weight="balanced",
    words=dict(cell="cell|hidden_size", optimizer="optimizer|option"),
)  # fmt: skip
add(
    "RecurrentRegressor", fitting(R.sklearn.RecurrentRegressor, NUMBER_DATA["y"]), **ESTIMATOR,
    words=dict(cell="cell|hidden_size", optimizer="optimizer|option"),
)  # fmt: skip
for _kind, _fitted, _data in (
    ("RecurrentClassifier", FITTED, DATA),
    ("RecurrentRegressor", REGRESSOR, NUMBER_DATA),
):
    _asked = dict(X=SAMPLES, lengths=None)
    _parts = {**_data, "classes": [3, 5]} if _fitted is FITTED else _data
    add(f"{_kind}.fit", _fitted.fit, **_data)
    add(f"{_kind}.partial_fit", _fitted.partial_fit, **_parts)
    add(f"{_kind}.predict", _fitted.predict, **_asked)
    add(f"{_kind}.score", _fitted.score, **_data)
    if _fitted is FITTED:
        add(f"{_kind}.predict_proba", _fitted.predict_proba, **_asked)
        add(f"{_kind}.decision_function", _fitted.decision_function, **_asked)
        add(f"{_kind}.stream", _fitted.stream, method="predict")
    add(f"{_kind}.explain", _fitted.explain, x=SAMPLES[0], y=_data["y"][0])
    add(f"{_kind}.to_onnx", _fitted.to_onnx, words=dict(path=PATH), errors=OS, **WRITTEN)

SERIES_VALUES, SERIES_COLUMNS = floats(30).astype(float), floats(33, 2).astype(float)
SMALL_FORECASTER = dict(hidden_size=2, max_epochs=1, window=8, random_state=0)
SERIES_WORDS = dict(y="y|series|steps", X="X|columns", y_new="y_new|series")


def forecaster():
    made = R.sklearn.RecurrentForecaster(2, lags=3, **SMALL_FORECASTER)
    return made.fit(SERIES_VALUES, SERIES_COLUMNS[:30])


def parts_of(made):
    """What a failed call leaves as it is."""
    return [made.model_, made._run.runner.stream]


# A schedule of one's own may return anything, which shows when training asks it.
@public(
    "RecurrentForecaster", without={"lr": {"function"}}, lags="lags|y must have at least",
    past_only="past_only|X",
)  # fmt: skip
def _():
    def build_and_fit(**options):
        made = R.sklearn.RecurrentForecaster(**(SMALL_FORECASTER | options))
        return made.fit(SERIES_VALUES, SERIES_COLUMNS[:30])

    options = dict(
        horizon=2, strategy="direct", lags=(3,), baseline="seasonal", past_only=(1,),
        calibration_fraction=0.3, refit=False, loss="huber", cell="gru", num_layers=1, dropout=0.1,
        scale="robust", optimizer="adam", lr=0.01, batch_size=4, clip_norm=1.0, early_stopping=True,
        validation_fraction=0.2, n_iter_no_change=1, verbose=False,
    )  # fmt: skip
    return build_and_fit, options, []


@public("RecurrentForecaster.fit", **SERIES_WORDS)
def _():
    made = forecaster()
    return made.fit, dict(y=SERIES_VALUES, X=SERIES_COLUMNS[:30]), parts_of(made)


@public("RecurrentForecaster.fit of frames", **SERIES_WORDS)
def _():
    from pandas import DataFrame, date_range

    keys = dict(unique_id="a", ds=date_range("2020-01-01", periods=30))
    y, x = (DataFrame({**keys, name: SERIES_VALUES}) for name in "yx")
    made = forecaster()
    return made.fit, dict(y=y, X=x), parts_of(made)


@public("RecurrentForecaster.predict", **SERIES_WORDS)
def _():
    made = forecaster()
    return made.predict, dict(X=SERIES_COLUMNS[:2], level=(50, 80)), parts_of(made)


@public("RecurrentForecaster.update", **SERIES_WORDS)
def _():
    made = forecaster()
    return made.update, dict(y_new=SERIES_VALUES[:3], X=SERIES_COLUMNS[30:]), parts_of(made)


@public("RecurrentForecaster.cross_validate", windows="windows|y", step="step|y", **SERIES_WORDS)
def _():
    made = R.sklearn.RecurrentForecaster(2, **SMALL_FORECASTER)
    data = dict(y=SERIES_VALUES, X=SERIES_COLUMNS[:30])
    return made.cross_validate, dict(**data, windows=2, step=2, level=80, refit=False), []
