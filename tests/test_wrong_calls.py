"""Wrong calls of every public function: each works or raises one helpful line, and changes nothing.

`support.public_calls` has a call of each function that works; one argument at a time is replaced by
each of the values in `support.wrong_calls`.
"""

import inspect
import zlib

import numpy as np
import pytest
from support.public_calls import CALLS
from support.public_names import documented
from support.wrong_calls import attempt, trials

pytestmark = pytest.mark.reference

# Classes whose methods are called on objects of other names.
OBJECTS = {
    "Layer": "LSTM",
    "Model": "numeric",
    "Sequential": "numeric",
    "Layered": "numeric",
    "Graph": "graph",
    "Seq2Seq": "pair",
    "BatchSource": "Windows",
    "Optimizer": "Adam",
    "RecurrentEstimator": "RecurrentClassifier",
}
# Functions that take anything, or that only the package calls, with arguments it has checked.
UNCHECKED = {
    *("Gradients", "Directions", "Memory", "Batch", "Pair", "Drawing", "Layer", "Model"),
    *("Optimizer", "Drawing.from_items", "Engine.checked_input"),
    *(
        "Layer.footprint",
        "Layer.width_of",
        "Layer.keeps_input",
        "Layer.recorded",
        "Layer.reset_parameters",
    ),
    *(
        "run_layers",
        "run_range",
        "backward_range",
        "prepare_input",
        "output_lengths",
        "equations",
        "check_tape",
        "resets_by_time",
        "targets_by_time",
        "padded_targets",
        "input_of",
        "lengths_of",
        "swapped",
        "gradient_arrays",
        "rebuilt",
        "summed",
        "tied",
        "fill",
        "Layer.build",
    ),
    "gradient_vector",
}


def test_every_public_function_has_a_call():
    missing = []
    for name, function in documented().items():
        package, tail = name.split(".", 1)
        owner, _, method = tail.partition(".")
        try:
            parameters = [n for n in inspect.signature(function).parameters if n != "self"]
        except ValueError:
            continue
        names = {tail, f"{package}.{tail}", f"{OBJECTS.get(owner, owner)}.{method}"}
        known = names & CALLS.keys() or {tail, owner if method == "" else method} & UNCHECKED
        if parameters and not known:
            missing.append(name)
    assert not missing


def faults(call, chosen):
    """The wrong calls whose answer does not help, as text."""
    found = []
    for argument, label in chosen:
        verdict, text = attempt(call, argument, label)
        if verdict == "fault":
            found.append(f"{call.name}({argument}={label}): {text}")
    return found


@pytest.mark.parametrize("name", CALLS)
def test_some_wrong_calls(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # "wrong" is the name of a file, too
    every = list(trials(CALLS[name]))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    chosen = [every[k] for k in rng.choice(len(every), min(6, len(every)), replace=False)]
    assert not faults(CALLS[name], chosen)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_all_wrong_calls(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not faults(CALLS[name], trials(CALLS[name]))


NUMPY = {int: (np.int64, np.int16), float: (np.float64, np.float32), bool: (np.bool_,)}


@pytest.mark.parametrize("name", CALLS)
def test_numbers_of_numpy_are_taken(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argument, value in CALLS[name].make()[1].items():
        for kind in NUMPY.get(type(value), ()):
            function, arguments, _ = CALLS[name].make()
            function(**{**arguments, argument: kind(value)})
