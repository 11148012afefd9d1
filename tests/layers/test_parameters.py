"""Assigning to `model.parameters` changes the model."""

import numpy as np
import pytest

from recurrent import LSTM, Linear, Sequential

pytestmark = pytest.mark.reference


@pytest.fixture
def model():
    return Sequential(LSTM(3, 4), Linear(4, 2), rng=0)


def test_assigning_to_a_name_changes_the_model(model):
    new = np.full((2, 4), 7, np.float32)
    model.parameters["1.weight"] = new
    assert (model.flat == 7).sum() == 8
    assert (model[1].parameters["weight"] == 7).all()
    model[1].parameters["weight"] = new + 1
    assert (model.parameters["1.weight"] == 8).all()
    model.parameters["1.bias"] += 1
    assert np.shares_memory(model.parameters["1.bias"], model.flat)
    assert not np.shares_memory(model.parameters["1.weight"], new)


def test_all_parameters_at_once(model):
    other = Sequential(LSTM(3, 4), Linear(4, 2), rng=1)
    model.parameters.update(other.parameters)
    assert np.array_equal(model.flat, other.flat)
    model.parameters |= {"1.bias": np.zeros(2, np.float32)}
    assert not model[1].parameters["bias"].any()
    model.flat = other.flat
    assert np.array_equal(model.flat, other.flat)
    assert not np.shares_memory(model.flat, other.flat)
    model.flat -= other.flat
    assert not any(a.any() for a in model.parameters.values())


def test_the_state_dict_of_a_torch_module(model):
    torch = pytest.importorskip(
        "torch", reason="a state dict needs torch: pip install recurrent-engine[peers]"
    )
    module = torch.nn.Sequential(torch.nn.LSTM(3, 4), torch.nn.Linear(4, 2))
    model.parameters.update(module.state_dict())
    x = np.random.default_rng(0).standard_normal((5, 2, 3), dtype=np.float32)
    with torch.no_grad():
        expected = module[1](module[0](torch.from_numpy(x))[0])
    np.testing.assert_allclose(model.forward(x)[0], expected, atol=1e-6)


def test_a_value_that_does_not_fit_changes_nothing(model):
    before = model.flat.copy()
    with pytest.raises(
        ValueError,
        match=r"\A1.weight must have the shape of the model's 1.weight = \(2, 4\), got \(4, 2\)\Z",
    ):
        model.parameters["1.weight"] = np.zeros((4, 2), np.float32)
    with pytest.raises(
        TypeError,
        match=r"\A1.bias must have the dtype of the model's 1.bias, float32, got float64\Z",
    ):
        model.parameters["1.bias"] = np.zeros(2)
    with pytest.raises(KeyError, match=r"no parameter '1\.wait'; the names are 0\.weight_ih_l0, "):
        model.parameters["1.wait"] = np.zeros(2)
    with pytest.raises(ValueError, match=r"\Aflat must be \(P,\) = \(154,\), got \(3,\)\Z"):
        model.flat = np.zeros(3, np.float32)
    for change in (lambda p: p.pop("1.bias"), lambda p: p.clear(), lambda p: p.setdefault("x", 1)):
        with pytest.raises(TypeError, match="parameters cannot be added or removed"):
            change(model.parameters)
    assert np.array_equal(model.flat, before)


def test_a_layer_of_another_dtype_keeps_its_values():
    layer = LSTM(3, 4).initialise(0, "float64")
    before = {name: a.copy() for name, a in layer.parameters.items()}
    with pytest.raises(TypeError, match="must have the dtype of the model, float32, got float64"):
        Sequential(layer)
    assert all(np.array_equal(layer.parameters[name], a) for name, a in before.items())
    assert Sequential(layer, dtype="float64")
