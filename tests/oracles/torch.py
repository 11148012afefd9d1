"""Networks in PyTorch, with the weights of ours."""

import numpy as np
import pytest

from recurrent import Directions

torch = pytest.importorskip(
    "torch", reason="parity with PyTorch needs torch: pip install recurrent-engine[peers]"
)
torch.set_num_threads(1)

MODULES = {
    "rnn": torch.nn.RNN,
    "rnn_relu": lambda D, H, L, **options: torch.nn.RNN(D, H, L, nonlinearity="relu", **options),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}


def tensor(a):
    return torch.tensor(np.array(a), requires_grad=np.asarray(a).dtype.kind == "f")


MERGE = {
    "concat": lambda y: y,
    "sum": lambda y: sum(y.chunk(2, -1)),
    "mul": lambda y: torch.mul(*y.chunk(2, -1)),
    "average": lambda y: sum(y.chunk(2, -1)) / 2,
}


def module(name, D, H, params):
    """Return a stack of layers with these Params, or Directions of Params, one per layer."""
    both = isinstance(params[0], Directions)
    single = (params[0].forward if both else params[0]).W_ih.dtype == np.float32
    m = MODULES[name](D, H, len(params), bidirectional=both).to(
        torch.float32 if single else torch.float64
    )
    with torch.no_grad():
        for k, layer in enumerate(params):
            for end, each in zip(("", "_reverse"), layer if both else [layer], strict=False):
                for field, ours in zip(
                    ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), each, strict=True
                ):
                    getattr(m, f"{field}_l{k}{end}").copy_(torch.tensor(ours))
    return m


def run(m, x, states, lengths, dy, dstates, merge="concat"):
    """Return y, the final states and the gradients of sum(dy y) + sum(dstate final), as arrays.

    x is (T, N, D), each state (L, N, H), or (2 L, N, H) if bidirectional. PyTorch cannot pack
    sequences of length 0. `merge` says how the outputs of both directions become y.
    """
    T = x.shape[0]
    x, states = tensor(x), [tensor(s) for s in states]
    packed = x
    if lengths is not None:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), enforce_sorted=False
        )
    y, final = m(packed, (tuple(states) if len(states) == 2 else states[0]) if states else None)
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=T)
    y = MERGE[merge](y)
    final = final if isinstance(final, tuple) else (final,)
    loss = (y * torch.tensor(dy)).sum()
    for s, w in zip(final, dstates, strict=False):
        loss = loss + (s * torch.tensor(w)).sum()
    loss.backward()
    arrays = [a.detach().numpy() for a in (y, *final)]
    return arrays[0], arrays[1:], x.grad.numpy(), [s.grad.numpy() for s in states]
