"""The same network in PyTorch, with the same weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch: pip install recurrent-engine[peers]")
torch.set_num_threads(1)

MODULES = {
    "rnn": lambda D, H, L: torch.nn.RNN(D, H, L),
    "rnn_relu": lambda D, H, L: torch.nn.RNN(D, H, L, nonlinearity="relu"),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}


def tensor(a):
    return torch.tensor(np.array(a), requires_grad=np.asarray(a).dtype.kind == "f")


def module(name, D, H, params):
    """A stack of layers with these Params, one a layer."""
    m = MODULES[name](D, H, len(params)).to(torch.float64 if params[0].W_ih.dtype == np.float64 else torch.float32)
    with torch.no_grad():
        for k, layer in enumerate(params):
            for field, ours in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), layer, strict=True):
                getattr(m, f"{field}_l{k}").copy_(torch.tensor(ours))
    return m


def run(m, x, states, lengths, dy, dstates):
    """y, final states and the gradients of sum(dy y) + sum(dstate final), as arrays.

    x (T, N, D); each state (L, N, H). Sequences of length 0, which PyTorch cannot pack, are not allowed.
    """
    T = x.shape[0]
    x, states = tensor(x), [tensor(s) for s in states]
    given = x
    if lengths is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    y, final = m(given, (tuple(states) if len(states) == 2 else states[0]) if states else None)
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=T)
    final = final if isinstance(final, tuple) else (final,)
    loss = (y * torch.tensor(dy)).sum()
    for s, w in zip(final, dstates, strict=False):
        loss = loss + (s * torch.tensor(w)).sum()
    loss.backward()
    arrays = [a.detach().numpy() for a in (y, *final)]
    return arrays[0], arrays[1:], x.grad.numpy(), [s.grad.numpy() for s in states]
