"""Outputs of other implementations of cells, in tests/golden/papers: what ncps and xlstm compute.

    pip install torch ncps xlstm
    cd tests && python -m oracles.outside

The tests read the files, so they need neither package. Written by ncps 1.0.1 and xlstm 2.0.6.
"""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "papers"
T, N, D, H = 6, 3, 4, 5


def cfc() -> dict[str, np.ndarray]:
    """CfC without a backbone: x (T, N, D + 1), whose last column is dt; rows of four heads."""
    import torch
    from ncps.torch import CfC

    torch.manual_seed(0)
    model = CfC(D, H, backbone_layers=0, batch_first=False)
    cell = model.rnn_cell
    heads = [cell.ff1, cell.ff2, cell.time_a, cell.time_b]
    weights = np.concatenate([a.weight.detach() for a in heads])
    rng = np.random.default_rng(0)
    x, dt = rng.standard_normal((T, N, D)), rng.uniform(0.1, 3, (T, N, 1))
    x, dt = x.astype(np.float32), dt.astype(np.float32)
    with torch.no_grad():  # it takes the gaps of one sequence at a time
        y = [model(torch.tensor(x[:, [n]]), timespans=torch.tensor(dt[:, n]))[0] for n in range(N)]
    return dict(
        W_ih=weights[:, :D],
        W_hh=weights[:, D:],
        b_ih=np.concatenate([a.bias.detach() for a in heads]),
        x=np.concatenate([x, dt], axis=2),
        y=np.concatenate(y, axis=1),
    )


def slstm() -> dict[str, np.ndarray]:
    """sLSTM: x (T, N, D), rows of the gates i f z o, final states in the order h c n m."""
    import torch
    from xlstm.blocks.slstm.src.vanilla.slstm import slstm_forward_pointwise

    rng = np.random.default_rng(0)
    W_ih, W_hh, b_ih, x = (
        rng.standard_normal(s) for s in ((4 * H, D), (4 * H, H), 4 * H, (T, N, D))
    )
    states, y = torch.zeros(4, N, H, dtype=torch.float64), []
    for x_t in x:
        Wx, Ry = torch.tensor(x_t @ W_ih.T), torch.tensor(states[0].numpy() @ W_hh.T)
        states, _ = slstm_forward_pointwise(Wx, Ry, torch.tensor(b_ih), states, {})
        y.append(states[0].numpy())
    return dict(W_ih=W_ih, W_hh=W_hh, b_ih=b_ih, x=x, y=np.stack(y), states=states.numpy())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for implementation in (cfc, slstm):
        np.savez(FOLDER / f"{implementation.__name__}.npz", **implementation())
