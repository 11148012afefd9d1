"""Names and options of other libraries raise one line that says what to write here."""

import ast
import copy
import inspect
import json
import pickle
import re

import numpy as np
import pytest

import recurrent
import viz
from recurrent import GRU, LSTM, Embedding, Linear, Recurrent, Sequential, data, fit, losses, optim
from recurrent.checks.elsewhere import TABLE, answers
from recurrent.checks.guided import Elsewhere, explained
from recurrent.training import logs
from recurrent.training.history import History

MODEL = Sequential(LSTM(5, 4), Linear(4, 1), rng=0)
X = np.ones((3, 2, 5), np.float32)


def line_of(error, call, *arguments, **options):
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: LSTM(5, 4, units=3), "LSTM has no option 'units'; write `hidden_size=`"),
        (lambda: LSTM(5, 4, 2), "got 2; stack layers in a model"),
        (lambda: recurrent.RNN(5, 4, "relu"), "got 'relu'; write `nonlinearity='relu'` in RNN"),
        (lambda: LSTM(5, 4, num_layers=2), "stack layers in a model"),
        (lambda: LSTM(32), "LSTM needs hidden_size: LSTM(input_size, hidden_size)"),
        (lambda: GRU(5, 4, rest_after=True), "did you mean 'reset_after'?"),
        (lambda: Linear(5, 4, True, 3), "Linear takes "),
        (lambda: Embedding(input_dim=5, output_dim=3), "write `num_embeddings=`"),
        (lambda: optim.Adam(learning_rate=0.1), "Adam has no option 'learning_rate'; write `lr=`"),
        (lambda: optim.Adam(MODEL.parameters(), lr=0.1), "an optimiser takes no parameters"),
        (lambda: optim.SGD(0.1, momentun=0.9), "did you mean 'momentum'?"),
        (lambda: fit(MODEL), "fit needs batches and loss: fit(model, batches, loss)"),
        (lambda: fit(MODEL, [], None, num_epochs=3), "write `epochs=`"),
        (lambda: recurrent.load(filename="m"), "load has no option 'filename'; write `path=`"),
        (lambda: recurrent.predict(MODEL, X=3), "predict has no option 'X'; write `x=`"),
        (lambda: recurrent.predict(MODEL), "predict needs x: predict(model, x)"),
        (lambda: recurrent.CharLM("ab", num_layers=2), "no option 'num_layers'; write `layers=`"),
        (
            lambda: fit(MODEL, X, X),
            "batches must be Windows, Batches or a list of batches, got nda",
        ),
        (lambda: fit(MODEL, (X, X), losses.huber), "got a tuple of arrays; write `Batches("),
        (lambda: fit(MODEL, [], "mse", optim.Adam()), "write `losses.mean_squared_error`"),
        (lambda: fit(MODEL, [], losses.huber, "adam"), "write `optim.Adam(lr)`"),
        (
            lambda: MODEL.backward(1),
            "Sequential.backward needs tape: Sequential.backward(dy, tape)",
        ),
        (lambda: MODEL.forward(1, h0=1), "Sequential.forward has no option 'h0'; write `state=`"),
        (lambda: Linear(2, 1, activation="tanh"), "write a layer after it"),
        (
            lambda: recurrent.sklearn.RecurrentForecaster(3, hidden=2),
            "RecurrentForecaster has no option 'hidden'; write `hidden_size=`",
        ),
        (lambda: recurrent.sklearn.RecurrentForecaster(h=3), "write `horizon=`"),
        (lambda: recurrent.sklearn.RecurrentClassifier(epochs=3), "write `max_epochs=`"),
    ],
)
def test_arguments_of_other_libraries(call, words):
    assert words in line_of(TypeError, call)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: recurrent.Dense, "recurrent has no Dense; write `Linear("),
        (lambda: losses.MSELoss, "write `losses.mean_squared_error`"),
        (lambda: recurrent.save, "recurrent has no save; write `model.save(path)`"),
        (lambda: recurrent.CharLM("ab", hidden=2).summary, "are a Sequential, `lm.model`"),
        (lambda: recurrent.CharLM("ab", hidden=2).perplexity, "write `lm.bits_per_character("),
        (lambda: optim.AdaM, "did you mean 'Adam'?"),
        (lambda: MODEL.fit, "Sequential has no fit; write `fit(model, "),
        (lambda: optim.Adam().param_groups, "write `optimizer.lr`"),
        (lambda: setattr(MODEL[0], "requires_grad", False), "write `layer.trainable = False`"),
        (lambda: MODEL[0].weight_ih_l0, "`layer.parameters` is a dict of arrays"),
        (lambda: losses.CTCLoss, "write `losses.ctc`, a function"),
        (lambda: recurrent.CRF(3).decode, "write `viterbi_decode(y)`"),
        (lambda: recurrent.ctc_decode, "write `ctc_greedy_decode(y)` or"),
        (lambda: MODEL.stream().predict, "write `y_t = stream.step(x_t)`"),
    ],
)
def test_names_of_other_libraries(call, words):
    assert words in line_of(AttributeError, call)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("from recurrent import Dense", "write `Linear("),
        ("from recurrent.losses import MSELoss", "write `losses.mean_squared_error`"),
        ("from recurrent.data import DataLoader", "write `data.Batches("),
    ],
)
def test_imports_of_other_libraries(statement, words):
    assert words in line_of(ImportError, exec, statement, {})


def test_options_listed_are_those_that_can_be_given():
    for layer in (LSTM, GRU, recurrent.RNN, recurrent.QRNN):
        words = line_of(TypeError, layer, 5, 4, xyzzy=1)
        listed = words.split("its options are ")[1].split(", ")
        assert {"hidden_size", "bidirectional", "zoneout"} <= set(listed)
        assert len(listed) == len(set(listed))
        defaults = {"input_size": 5, "hidden_size": 4}
        for name in listed:  # each is known: what fails is its value
            with pytest.raises((TypeError, ValueError)) as caught:
                layer(**{**defaults, name: object()})
            assert "has no option" not in str(caught.value)
    assert "proj_size" in line_of(TypeError, Recurrent, "lstm", 5, 4, xyzzy=1)


def test_a_model_called_gives_its_output_and_parameters_called_the_arrays():
    x = np.ones((3, 2, 5), np.float32)
    assert np.array_equal(MODEL(x), MODEL.forward(x)[0])
    y, state = MODEL[0](x)
    assert np.array_equal(MODEL[1](y), MODEL(x))
    assert len(state) == 2
    assert [a.shape for a in MODEL.parameters()] == [a.shape for a in MODEL.parameters.values()]


def test_an_error_within_a_function_stays_as_it_is():
    def inner(a):
        return len(a)

    def outer(a, b=None):
        return inner(a, b)

    assert "inner() takes 1 positional argument" in line_of(TypeError, explained(outer), 1)
    assert line_of(TypeError, explained(inner), 3) == "object of type 'int' has no len()"


def test_signatures_names_and_pickles_are_those_of_the_functions():
    assert list(inspect.signature(Linear).parameters)[:2] == ["in_features", "out_features"]
    assert list(inspect.signature(fit).parameters)[:3] == ["model", "batches", "loss"]
    assert pickle.loads(pickle.dumps(fit)) is fit
    assert pickle.loads(pickle.dumps(MODEL)).parameters.keys() == MODEL.parameters.keys()


def test_names_that_exist_elsewhere_are_not_listed():
    assert "fit" not in dir(MODEL)
    assert "fit" not in dir(Sequential)
    assert not hasattr(MODEL, "fit")
    assert isinstance(inspect.getattr_static(Sequential, "fit"), Elsewhere)


def test_attributes_of_subclasses_go_first():
    class Scaled(recurrent.layers.Layer, abstract=True):
        def __init__(self):
            super().__init__()
            self.weight = 2.0

    assert Scaled().weight == 2.0


def test_each_name_has_one_answer():
    names = [n for line in TABLE.split("\n") if line.startswith("    ") for n in line.split()]
    assert sorted(names) == sorted(set(names))


SUBJECTS = {
    "model": MODEL,
    "layer": MODEL[0],
    "json": json,
    "scaler": data.Scaler().fit(X),
    "lm": recurrent.CharLM("ab", hidden=2),
    "stream": MODEL.stream(),
    "optimizer": optim.Adam(),
    "history": History(),
    "recurrent": recurrent,
    "viz": viz,
    "copy": copy,
    "np": np,
}


def found(node):
    """Return what a name or an attribute in an answer means; None for a value of the reader's."""
    if isinstance(node, ast.Attribute):
        owner = found(node.value)
        return None if owner is None else getattr(owner, node.attr)
    if isinstance(node, ast.Call):
        return None
    if node.id in SUBJECTS:
        return SUBJECTS[node.id]
    for module in (
        recurrent,
        recurrent.training,
        recurrent.data,
        optim,
        recurrent.schedules,
        logs,
        losses,
    ):
        if node.id in vars(module):
            return vars(module)[node.id]
    assert node.id in VALUES, f"{node.id} is nothing here"
    return None


# Values of the reader's, and functions of Python.
VALUES = re.findall(
    r"\w+",
    """
    x y dy tape a text file series path state state_dict arrays batches loss function gradient lr
    every factor steps window input_size hidden_size in_features out_features num_embeddings
    embedding_dim k num_classes query_size memory_size normalized_shape encoder decoder layers help
    """,
)


@pytest.mark.parametrize("answer", sorted(set(answers().values())))
def test_what_an_answer_tells_to_write_exists(answer):
    for code in re.findall("`(.+?)`", answer):
        for node in ast.walk(ast.parse(code.rstrip("="))):
            if isinstance(node, ast.Call):
                function, options = found(node.func), {k.arg for k in node.keywords} - {None}
                if function is not None and options:
                    known = inspect.signature(function).parameters
                    more = any(p.kind is p.VAR_KEYWORD for p in known.values())
                    assert more or options <= known.keys(), f"{code}: {options - known.keys()}"
            elif isinstance(node, ast.Attribute) or (
                isinstance(node, ast.Name) and node.id[0] <= "Z"
            ):
                found(node)
