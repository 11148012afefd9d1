"""from_torch and to_torch against PyTorch: values bit for bit, outputs to rounding."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles.torch import torch

from recurrent import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Conv1d,
    Dropout,
    Embedding,
    Last,
    LayerNorm,
    Linear,
    Recurrent,
    Residual,
    Sequential,
    from_torch,
    to_torch,
)
from recurrent.conformance.tolerance import assert_close

nn = torch.nn
SINGLE = torch.float32, torch.float64


@st.composite
def stacks(draw, bias=None, dtype=None):
    """Draw an nn.RNN, nn.LSTM or nn.GRU with any options."""
    kind = draw(st.sampled_from(["RNN", "LSTM", "GRU"]))
    size = st.integers(1, 5)
    options = dict(
        bias=draw(st.booleans()) if bias is None else bias,
        bidirectional=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        num_layers=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(SINGLE)) if dtype is None else dtype,
    )
    if options["num_layers"] > 1:
        options["dropout"] = draw(st.sampled_from([0.0, 0.25]))
    H = draw(size)
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind == "LSTM" and H > 1 and draw(st.booleans()):
        options["proj_size"] = draw(st.integers(1, H - 1))
    return getattr(nn, kind)(draw(size), H, **options)


@st.composite
def nets(draw, **options):
    """Draw an nn.Sequential around a stack."""
    stack = draw(stacks(**options))
    dtype = stack.weight_ih_l0.dtype
    layers = [stack]
    if draw(st.booleans()):
        padding = draw(st.sampled_from([None, 0, 2]))
        layers.insert(0, nn.Embedding(7, stack.input_size, padding_idx=padding, dtype=dtype))
    K = (stack.proj_size or stack.hidden_size) * (1 + stack.bidirectional)
    after = [
        nn.LayerNorm(K, eps=1e-3, dtype=dtype),
        nn.Dropout(0.5),
        nn.Tanh(),
        nn.LeakyReLU(0.25),
        nn.Softmax(-1),
        nn.Sequential(nn.Linear(K, K, bias=False, dtype=dtype), nn.Identity(), nn.ELU(0.5)),
    ]
    layers += draw(st.lists(st.sampled_from(after), max_size=3, unique=True))
    layers.append(nn.Linear(K, 2, bias=draw(st.booleans()), dtype=dtype))
    return nn.Sequential(*layers)


def flat(module):
    """Return the layers of nested nn.Sequentials."""
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in flat(child)]
    return [module]


def run(module, x):
    """Return the output of layers one after the other; a recurrent one's is its first result."""
    module.eval()
    with torch.no_grad():
        x = torch.tensor(x)
        for layer in flat(module):
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
    return x.numpy()


def arrays(module):
    return {name: a.detach().numpy() for name, a in module.state_dict().items()}


def tensors(state):
    return {name: torch.tensor(a) for name, a in state.items()}


def equal_module(model):
    """Return the nn.Sequential whose modules are the layers of a model."""
    dtype = getattr(torch, model.dtype.name)
    made = []
    for layer in model.layers:
        o = dict(layer.options)
        if layer.cell is not None:
            o["bias"] = o.pop("biases", 2) != 0
            made.append(getattr(nn, type(layer).__name__)(**o, dtype=dtype))
        elif layer.shapes:
            made.append(getattr(nn, type(layer).__name__)(**o, dtype=dtype))
        else:
            made.append(nn.Dropout())  # Identity would have no number here
    return nn.Sequential(*made)


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name], strict=True)


def inputs(module, dtype, batch_first, rng=0):
    """Return x for a module, of 5 steps and 3 sequences."""
    rng = np.random.default_rng(rng)
    first = flat(module)[0]
    rows = (3, 5) if batch_first else (5, 3)
    if isinstance(first, nn.Embedding):
        return rng.integers(0, 7, rows)
    return rng.standard_normal((*rows, first.input_size)).astype(dtype)


def check_outputs(module):
    model = from_torch(module)
    x = inputs(module, model.dtype, model.batch_first)
    theirs = run(module, x)
    # Four layers of up to 10 inputs and 5 steps, and a normalisation that may amplify.
    assert_close(model.forward(x)[0], theirs, 2000, max(1.0, np.abs(theirs).max()))


@given(nets())
def test_values_come_back_bit_for_bit(module):
    model = from_torch(module)
    assert model.batch_first == any(getattr(m, "batch_first", False) for m in module)
    theirs = list(arrays(module).values())
    state = to_torch(model)
    assert len(state) == len(theirs)
    for ours, a in zip(state.values(), theirs, strict=True):
        np.testing.assert_array_equal(ours, a, strict=True)
    twin = equal_module(model)
    twin.load_state_dict(tensors(state), strict=True)
    same(arrays(twin), state)
    same(to_torch(from_torch(twin, batch_first=model.batch_first)), state)


@given(stacks())
def test_a_stack_comes_back_as_one_module(module):
    model = from_torch(module)
    same(to_torch(model, stacked=True), arrays(module))
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count(type(module).__name__) == module.num_layers
    assert kinds.count("Dropout") == (module.num_layers - 1) * (module.dropout > 0)
    if getattr(module, "nonlinearity", "tanh") == "tanh":  # which a state dict does not say
        same(to_torch(from_torch(arrays(module)), stacked=False), to_torch(bare(model)))


def bare(model):
    """Return a model without its Dropout layers."""
    state = {n: a for layer in model.layers for n, a in layer.parameters.items() if layer.shapes}
    assert state
    layers = [layer for layer in model.layers if not isinstance(layer, Dropout)]
    return Sequential(*map(copied, layers), dtype=model.dtype)


def copied(layer):
    twin = type(layer)(**layer.options)
    twin.bind(layer.parameters)
    return twin


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_outputs_are_those_of_torch(kind, batch_first):
    torch.manual_seed(0)
    stack = getattr(nn, kind)(3, 4, 2, bidirectional=True, batch_first=batch_first, dropout=0.5)
    check_outputs(nn.Sequential(nn.Embedding(7, 3), stack, nn.LayerNorm(8), nn.Linear(8, 2)))


def test_a_crf_is_read_by_the_names_of_pytorch_crf():
    class CRF(nn.Module):
        """The parameters of `torchcrf.CRF`, in its order."""

        def __init__(self, K):
            super().__init__()
            self.start_transitions = nn.Parameter(torch.rand(K))
            self.end_transitions = nn.Parameter(torch.rand(K))
            self.transitions = nn.Parameter(torch.rand(K, K))

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.fc, self.crf = nn.LSTM(3, 4), nn.Linear(4, 5), CRF(5)

    state = Tagger().state_dict()
    model = from_torch(state)
    assert repr(model[2]) == "CRF(num_tags=5)"
    for name, a in model[2].parameters.items():
        np.testing.assert_array_equal(a, state[f"crf.{name}"].numpy())
    again = nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 5), CRF(5))
    again.load_state_dict({name: torch.tensor(a) for name, a in to_torch(model).items()})
    state["crf.transitions"] = state["crf.transitions"][:, :4]
    with pytest.raises(ValueError, match=r"transitions'\] must have its shape = \(5, 5\)"):
        from_torch(state)


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
@given(nets())
def test_outputs_of_any_options_are_those_of_torch(module):
    check_outputs(module)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@given(
    groups=st.sampled_from([1, 2]),
    padding=st.sampled_from([0, 2, "same", "valid"]),
    stride=st.integers(1, 3),
    k=st.integers(1, 4),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_convolutions_are_those_of_torch(groups, padding, stride, k, dilation, bias):
    stride = 1 if padding == "same" else stride
    module = nn.Conv1d(4, 6, k, stride, padding, dilation, groups, bias)
    model = from_torch(nn.Sequential(module, nn.SiLU(), nn.GELU("tanh")))
    same({n.removeprefix("0."): a for n, a in to_torch(model).items()}, arrays(module))
    x = np.random.default_rng(0).standard_normal((9, 3, 4)).astype("f")
    theirs = run(nn.Sequential(module, nn.SiLU(), nn.GELU("tanh")), x.transpose(1, 2, 0))
    assert_close(model.forward(x)[0], theirs.transpose(2, 0, 1), 100, max(1.0, abs(theirs).max()))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_are_read(kind, bias):
    module = getattr(nn, f"{kind}Cell")(3, 4, bias=bias)
    for source in (module, arrays(module)):
        model = from_torch(source)
        assert [type(layer).__name__ for layer in model.layers] == [kind]
        for name, a in arrays(module).items():
            np.testing.assert_array_equal(model.parameters[f"0.{name}_l0"], a)


@given(
    kind=st.sampled_from(["LSTM", "GRU", "RNN"]),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    bias=st.booleans(),
    nonlinearity=st.sampled_from(["tanh", "relu"]),
    dtype=st.sampled_from(SINGLE),
)
def test_outputs_of_cells_are_those_of_torch(kind, sizes, bias, nonlinearity, dtype):
    """Step by step in PyTorch; by the equations here, which compile nothing."""
    options = {"nonlinearity": nonlinearity} if kind == "RNN" else {}
    module = getattr(nn, f"{kind}Cell")(*sizes, bias=bias, dtype=dtype, **options)
    model = from_torch(module)
    x = np.random.default_rng(0).standard_normal((5, 3, sizes[0])).astype(model.dtype)
    state, theirs = None, []
    with torch.no_grad():
        for row in torch.tensor(x):
            state = module(row, state)
            theirs.append((state[0] if kind == "LSTM" else state).numpy())
    layer = model.layers[0]
    y = layer.reference_runner().forward(x, layer.params, None, None)[0]
    assert_close(y, np.stack(theirs), 200, max(1.0, np.abs(theirs).max()))


@pytest.mark.ci
@given(padding=st.sampled_from([None, 0, 2]), frozen=st.booleans(), bias=st.booleans())
def test_gradients_are_those_of_torch(padding, frozen, bias):
    """Those of all parameters; a row of padding and frozen layers stay as they are in training."""
    module = nn.Sequential(
        nn.Embedding(5, 3, padding_idx=padding), nn.GRU(3, 4, 2), nn.Linear(4, 2, bias=bias)
    )
    module[0].requires_grad_(not frozen)
    model = from_torch(module)
    rng = np.random.default_rng(1)
    x, dy = rng.integers(0, 5, (6, 3)), rng.standard_normal((6, 3, 2)).astype("f")
    _, _, tape = model.forward(x, record=True)
    found = model.backward(dy, tape).params
    module[2](module[1](module[0](torch.tensor(x)))[0]).backward(torch.tensor(dy))
    theirs = [p.grad for p in module.parameters()]
    for name, grad in zip(to_torch(model), theirs, strict=True):
        if grad is None:
            assert frozen
            assert not model.layers[0].trainable
        else:
            assert_close(found[name], grad.numpy(), 2000, max(1.0, np.abs(grad.numpy()).max()))


class Tagger(nn.Module):
    """A module whose attributes are layers in order."""

    def __init__(self, tied=False):
        super().__init__()
        self.embed = nn.Embedding(9, 4, padding_idx=0)
        self.encoder = nn.ModuleDict({"lstm": nn.LSTM(4, 4, batch_first=True)})
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(4, 9, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.drop(self.encoder["lstm"](self.embed(x))[0]))


def test_attributes_of_a_module_are_read_in_order():
    torch.manual_seed(1)
    module = Tagger().eval()
    model = from_torch(module)
    assert repr(model) == (
        "Sequential(Embedding(num_embeddings=9, embedding_dim=4, padding_idx=0), "
        "LSTM(input_size=4, hidden_size=4), Dropout(p=0.1), "
        "Linear(in_features=4, out_features=9, bias=False), batch_first=True)"
    )
    x = np.arange(15).reshape(3, 5) % 9
    with torch.no_grad():
        theirs = module(torch.tensor(x)).numpy()
    assert_close(model(x), theirs, 200, max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("of", [lambda m: m, lambda m: m.state_dict()])
def test_shared_parameters_are_tied(of):
    layers = {"embed": ..., "encoder.lstm": ..., "drop": Dropout(0.1), "head": ...}
    module = of(Tagger(tied=True))
    if isinstance(module, dict):
        layers["embed"] = Embedding(9, 4)
    model = from_torch(module, layers)
    assert model.tie == {"3.weight": "0.weight"}
    assert model.layers[0].parameters["weight"] is model.layers[3].parameters["weight"] or (
        np.shares_memory(model.layers[0].parameters["weight"], model.layers[3].parameters["weight"])
    )
    state = to_torch(model)
    assert next(iter(state)) == "0.weight"
    assert list(state)[-1] == "3.weight"


def test_the_mapping_puts_layers_in():
    torch.manual_seed(2)
    module = Tagger()
    layers = {
        "embed": ...,
        "encoder": ...,
        "last": Last(),
        "drop": None,
        "head": Linear(4, 9, bias=False),
    }
    given = dict(layers)
    model = from_torch(module, layers)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Embedding",
        "LSTM",
        "Last",
        "Linear",
    ]
    x = np.arange(15).reshape(3, 5) % 9
    with torch.no_grad():
        theirs = module.eval()(torch.tensor(x))[:, -1].numpy()
    assert_close(model(x), theirs, 200, max(1.0, np.abs(theirs).max()))
    assert layers == given
    assert not layers["head"].initialised
    assert layers["head"].owner is None


@given(
    before=st.integers(0, 2), after=st.integers(0, 2), left_out=st.booleans(), nested=st.booleans()
)
def test_a_mapping_tells_what_a_layer_of_ones_own_is(before, after, left_out, nested):
    """Anywhere among known layers, alone or in an nn.Sequential."""
    assume(before or after or nested or not left_out)  # no layer would be left
    own = nn.Sequential(Own(), nn.Linear(3, 3)) if nested else Own()
    module = nn.Sequential(
        *(nn.Linear(3, 3) for _ in range(before)), own, *(nn.Linear(3, 3) for _ in range(after))
    )
    name = f"{before}.0" if nested else f"{before}"
    with pytest.raises(ValueError, match=rf"cannot tell which layer {name} \(Own\) is"):
        from_torch(module)
    layers = {n: ... for n, m in module.named_modules() if isinstance(m, nn.Linear)}
    layers |= {name: None if left_out else LayerNorm(3)}
    if not left_out:  # its array is called w
        with pytest.raises(ValueError, match=rf"{name}"):
            from_torch(module, layers)
        return
    order = [n for n, m in module.named_modules() if n in layers]
    model = from_torch(module, {n: layers[n] for n in order})
    values = list(model.parameters.values())
    theirs = [a for n, a in arrays(module).items() if not n.endswith(".w")]
    for a, b in zip(values, theirs, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


class Own(nn.Module):
    """A layer of somebody's own."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x * self.w


class OwnLSTM(nn.LSTM):
    """A layer of PyTorch with another forward."""

    def forward(self, x):
        return super().forward(x)[0]


def errors():
    two = nn.LSTM(2, 3)
    yield (
        nn.Sequential(two, Own()),
        (
            r"cannot tell which layer 1 \(Own\) is; name all layers in order: "
            r"layers=\{'0': ..., '1': <a layer, or None to leave it out>\}"
        ),
    )
    yield nn.Sequential(OwnLSTM(2, 3)), r"cannot tell which layer 0 \(OwnLSTM\) is"
    yield nn.Conv1d(2, 3, 1, padding_mode="circular"), "padding_mode must be 'zeros'"
    yield nn.Conv1d(2, 3, 1).state_dict(), "perhaps a Conv1d, whose stride and padding are not in"
    yield nn.GELU(), "approximate must be 'tanh'"
    yield nn.Sequential(nn.Conv2d(2, 3, 1)), "cannot tell"
    yield nn.Sequential(two, nn.Softmax(0)), r"1 \(Softmax\): dim must be -1"
    yield nn.Embedding(3, 2, max_norm=1.0), r"Embedding: max_norm must be None"
    yield nn.LayerNorm((2, 3)), "normalized_shape must be the size of the last axis"
    yield nn.Sequential(two, nn.Linear(4, 2)), "takes 4 input features, but .* outputs 3"
    yield (
        nn.Sequential(nn.LSTM(2, 3), nn.LSTM(3, 2, batch_first=True)),
        "differ in batch_first: pass batch_first",
    )
    yield {"0.weight": np.ones((3, 3), "f")}, r"is: Embedding\(3, 3\) or Linear\(3, 3, bias=False\)"
    yield {"0.weight": np.ones((3, 3, 2, 2), "f")}, "cannot tell"
    yield (
        {"a.weight_ih_l0": np.ones((8, 2), "f"), "a.weight_hh_l0": np.ones((8, 4), "f")},
        "1, 3 or 4",
    )
    yield {"weight_ih_l1": np.ones((4, 1), "f"), "weight_hh_l1": np.ones((4, 1), "f")}, "layer 0 of"
    yield {}, "has no arrays"


@pytest.mark.parametrize(("module", "words"), list(errors()))
def test_what_has_no_equal_is_named(module, words):
    with pytest.raises(ValueError, match=words) as error:
        from_torch(module)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("layers", "kind", "words"),
    [
        (
            {"embed": ...},
            ValueError,
            r"leaves out encoder.lstm \(LSTM\), head \(Linear\): give each",
        ),
        ({"embde": ...}, ValueError, "no part 'embde' to read; parts are .*did you mean 'embed'"),
        ({"embed": 3}, TypeError, r"layers\['embed'\] must be a layer"),
        ({"embed": Embedding(9, 5)}, ValueError, r"layers\['embed'\]: parameters\['weight'\] must"),
        ([...], TypeError, "layers must be a dict"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(layers, kind, words):
    with pytest.raises(kind, match=words):
        from_torch(Tagger(), layers)


def test_other_dtypes_are_refused_in_words():
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(TypeError, match=r"16.*convert the parameters to float32 first"):
            from_torch(nn.Linear(2, 3).to(dtype))
    with pytest.raises(TypeError, match=r"one dtype, got float32 \(0.bias\) and float64 \(1.bias"):
        from_torch(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2).double()))


@pytest.mark.parametrize("first", ["embedding", "linear"])
def test_widths_tell_an_embedding_from_a_linear(first):
    layer = nn.Embedding(7, 3) if first == "embedding" else nn.Linear(7, 3, bias=False)
    model = from_torch(nn.Sequential(layer, nn.GRU(3, 2)).state_dict())
    assert type(model[0]).__name__.lower() == first


def test_files_are_read(tmp_path):
    from safetensors.torch import save_file

    module = nn.Sequential(nn.Embedding(7, 3), nn.LSTM(3, 4, 2, bidirectional=True))
    state = to_torch(from_torch(module))
    torch.save(module.state_dict(), tmp_path / "a.pt")
    torch.save({"epoch": 3, "model_state_dict": module.state_dict()}, tmp_path / "b.pth")
    save_file(module.state_dict(), tmp_path / "c.safetensors")
    for name in ("a.pt", "b.pth", "c.safetensors"):
        same(to_torch(from_torch(tmp_path / name)), state)
    torch.save(module, tmp_path / "whole.pt")
    with pytest.raises(ValueError, match=r"holds more than arrays.*torch.save\(module.state_dict"):
        from_torch(tmp_path / "whole.pt")
    from_torch(module).save(tmp_path / "ours.safetensors")
    with pytest.raises(
        ValueError, match=r"is a model of this package: write recurrent.load\(path\)"
    ):
        from_torch(tmp_path / "ours.safetensors")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="text: this is a text"):
        from_torch(tmp_path / "text")
    half = nn.Linear(2, 3).to(torch.bfloat16).state_dict()
    save_file(half, tmp_path / "d.safetensors")
    with pytest.raises((TypeError, ValueError), match="float32"):
        from_torch(tmp_path / "d.safetensors")


def test_frozen_modules_are_not_trainable():
    module = nn.Sequential(nn.Embedding(7, 3), nn.GRU(3, 2))
    module[0].requires_grad_(False)
    model = from_torch(module)
    assert [layer.trainable for layer in model.layers] == [False, True]


def test_the_model_has_arrays_of_its_own():
    module = nn.GRU(2, 3)
    model = from_torch(module)
    before = {name: a.copy() for name, a in arrays(module).items()}
    model.flat[:] = 0
    to_torch(model)["0.weight_ih_l0"][:] = 1
    assert not model.flat.any()
    same(arrays(module), before)


@pytest.mark.ci
def test_one_bias_becomes_two():
    model = Sequential(LSTM(2, 3, biases=1), GRU(3, 2, biases=1), rng=1)
    state = to_torch(model)
    assert not state["0.bias_hh_l0"].any()
    assert not state["1.bias_hh_l0"].any()
    back = from_torch(state)
    x = np.random.default_rng(0).standard_normal((4, 2, 2)).astype("f")
    np.testing.assert_array_equal(back.forward(x)[0], model.forward(x)[0])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (LSTM(2, 2, peephole=True), r"layer 0 \(LSTM\): PyTorch has no cell lstm\(peephole=True\)"),
        (GRU(2, 2, reset_after=False), "PyTorch has no cell gru"),
        (RNN(2, 2, nonlinearity="sigmoid"), "PyTorch has no cell rnn"),
        (LSTM(2, 2, zoneout=0.1), "PyTorch has no cell lstm"),
        (Recurrent("mgu", 2, 2), "PyTorch has no cell mgu"),
        (GRU(2, 2, bidirectional=True, merge="sum"), "have no merge='sum'"),
        (GRU(2, 2, learn_state=True), "have no learn_state=True"),
        (Conv1d(2, 2, 3, padding="causal"), "pads both sides alike, got padding='causal'"),
        (Residual(GRU(2, 2)), "PyTorch has no layer like Residual"),
    ],
)
def test_what_torch_does_not_have_is_refused(layer, words):
    with pytest.raises(ValueError, match=words) as error:
        to_torch(Sequential(layer))
    assert "\n" not in str(error.value)


def test_dropout_inside_a_layer_changes_no_name():
    model = Sequential(LSTM(2, 2, recurrent_dropout=0.1), Activation("elu"), LayerNorm(2))
    assert list(to_torch(model))[-2:] == ["2.weight", "2.bias"]


@pytest.mark.parametrize(
    "layers",
    [
        [LSTM(2, 3), GRU(3, 3)],
        [LSTM(2, 3), LSTM(3, 4)],
        [LSTM(2, 3), Linear(3, 3)],
        [LSTM(2, 3), Dropout(0.1)],
        [LSTM(2, 3), Dropout(0.1), LSTM(3, 3), LSTM(3, 3)],
    ],
)
def test_what_is_no_stack_is_refused(layers):
    with pytest.raises(ValueError, match="stacked=True needs recurrent layers that are alike"):
        to_torch(Sequential(*layers), stacked=True)


def test_quantised_models_are_refused():
    model = Sequential(Linear(2, 3)).quantize("int8")
    with pytest.raises(TypeError, match=r"write to_torch\(model.dequantized\(\)\)"):
        to_torch(model)
    assert to_torch(model.dequantized())["0.weight"].shape == (3, 2)
