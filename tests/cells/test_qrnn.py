"""QRNN with a window of several steps (Bradbury et al., 2017), as PyTorch's convolution."""

import numpy as np
import pytest
from hypothesis import given
from support.gradients import assert_gradients, complex_step
from support.strategies import Case, cases

from recurrent import QRNN, Engine, Linear, Sequential, gradcheck
from recurrent.cells import CELLS, qrnn_cell
from recurrent.conformance import promises
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

pytestmark = pytest.mark.reference


def convolved(torch, x, p, window):
    """Return y (T, N, H) by the paper's equations: masked convolution, then fo-pooling."""
    H = p["W_ih"].shape[0] // (3 * window)
    blocks = p["W_ih"].reshape(window, 3 * H, -1)  # of x_t, x_{t-1}, ...
    bias = torch.cat([p[f"bias_{g}"] for g in "zfo"])
    padded = torch.nn.functional.pad(x.permute(1, 2, 0), (window - 1, 0))
    a = torch.nn.functional.conv1d(padded, blocks.flip(0).permute(1, 2, 0), bias).permute(2, 0, 1)
    z, f, o = a[..., :H].tanh(), a[..., H : 2 * H].sigmoid(), a[..., 2 * H :].sigmoid()
    c, ys = torch.zeros(H, dtype=x.dtype), []
    for t in range(len(x)):
        c = f[t] * c + (1 - f[t]) * z[t]
        ys.append(o[t] * c)
    return torch.stack(ys)


@pytest.mark.parametrize("window", [2, 3])
def test_a_window_is_a_convolution(window):
    torch = pytest.importorskip(
        "torch", reason="the oracle is torch's conv1d: pip install recurrent-engine[peers]"
    )
    p = Case(T=6, N=3, D=4, H=5, initial=False).build(Engine(qrnn_cell(window=window)))
    reference = p.engine.reference
    arguments = {
        n: torch.tensor(a, requires_grad=True) for n, a in {"x": p.x, **p.params._asdict()}.items()
    }
    y = convolved(torch, arguments["x"], arguments, window)
    (y * torch.tensor(p.dy)).sum().backward()
    assert_close(p.forward(reference)[0], y.detach().numpy(), p.terms)
    found = p.gradients(reference)
    expected = {n: found[n] if a.grad is None else a.grad.numpy() for n, a in arguments.items()}
    for n in ("x", "W_ih", "bias_z", "bias_f", "bias_o"):
        assert_close(found[n], expected[n], p.terms + 18, max(1.0, np.abs(expected[n]).max()), n)


def test_gradients_through_waiting_states():
    p = Case(T=4, N=3, D=2, H=3, ragged=True, reverse=True, seed=2).build(
        Engine(qrnn_cell(window=3))
    )
    assert_gradients(p.gradients(p.engine.reference), complex_step(p), p)


@given(cases("float64"))
def test_the_kernels_equal_the_interpreter(case):
    promises.equals_the_interpreter(case.build(Engine(qrnn_cell(window=2))))


def test_in_reverse_a_gate_sees_the_next_steps():
    p = Case(T=5, N=2, D=3, H=4, initial=False).build(Engine(qrnn_cell(window=2)))
    ahead = p.forward(x=p.x[::-1].copy())[0]
    assert_same_bits(p.forward(reverse=True)[0], ahead[::-1])


def test_it_is_used_like_any_layer(tmp_path):
    model = Sequential(
        QRNN(3, 4, window=2, bidirectional=True),
        QRNN(8, 5, window=2),
        Linear(5, 1),
        rng=0,
        dtype="float64",
    )
    x = np.random.default_rng(0).standard_normal((6, 2, 3))
    assert gradcheck(model, x, lengths=[6, 3])
    y, state, _ = model.forward(x)
    between = model.forward(x[:0])[1][1]._fields
    assert between == ("h", "c", "z1", "f1", "o1")
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, checkpoint.Checkpoint(model, training=TrainingState(carried=state)))
    assert_same_bits(checkpoint.load(path).model.forward(x)[0], y)
    top, below = model[1].stream(), model[0].forward(x)[0]
    assert_same_bits(np.stack([top.step(x_t) for x_t in below]), model[1].forward(below)[0])
    assert qrnn_cell() is CELLS["qrnn"]


@pytest.mark.parametrize(
    ("window", "error", "text"),
    [
        (0, ValueError, "window must be at least 1, got 0"),
        (1.5, TypeError, "window must be an int, got float"),
    ],
)
def test_invalid_windows_raise(window, error, text):
    with pytest.raises(error, match=text):
        QRNN(3, 4, window=window)
