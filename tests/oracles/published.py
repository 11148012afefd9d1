"""The published character models in plain NumPy, float64, from their algorithms; imports nothing from the engine.

Each training is a generator that makes one update of `weights` (arrays by name, in the layout of its program, modified) and
yields the loss as its program reports it and the learning rate of the update. Gates are in the order i f o g, as both Lua
programs have them. Text is ids (n,), batches are x, y (N, T).
"""

import itertools
import math

import numpy as np


def softmax_loss(scores, targets):
    """Sum of -log p[target] over the rows of scores (M, V), and the gradient of that."""
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(targets))
    loss = -np.log(p[rows, targets]).sum()
    p[rows, targets] -= 1
    return loss, p


def clamp(gradients, limit):
    """Every entry into -limit..limit."""
    return {name: np.clip(g, -limit, limit) for name, g in gradients.items()}


# min-char-rnn


def min_char_rnn_pieces(ids, T):
    """Where each update's window starts, and whether the hidden state is zero: for ever."""
    p, first = 0, True
    while True:
        zero = first or p + T + 1 >= len(ids)
        p = 0 if zero else p
        yield p, zero
        p, first = p + T, False


def min_char_rnn_gradients(inputs, targets, h, w):
    """One sequence: sum of losses over its steps, gradients, the last hidden state."""
    hs, scores = [h], []
    for k in inputs:
        hs.append(np.tanh(w["Wxh"][:, k] + w["Whh"] @ hs[-1] + w["bh"]))
        scores.append(w["Why"] @ hs[-1] + w["by"])
    loss, dscores = softmax_loss(np.array(scores), targets)
    d, dh = {name: np.zeros_like(a) for name, a in w.items()}, np.zeros_like(h)
    for t in range(len(inputs) - 1, -1, -1):
        d["Why"] += np.outer(dscores[t], hs[t + 1])
        d["by"] += dscores[t]
        da = (w["Why"].T @ dscores[t] + dh) * (1 - hs[t + 1] ** 2)
        d["bh"] += da
        d["Wxh"][:, inputs[t]] += da
        d["Whh"] += np.outer(da, hs[t])
        dh = w["Whh"].T @ da
    return loss, d, hs[-1]


def min_char_rnn(ids, weights, T=25, lr=1e-1, clip=5.0):
    """Yields the loss of the window, the smooth loss and the rate."""
    memory = {name: np.zeros_like(a) for name, a in weights.items()}
    smooth, h = -math.log(1 / len(weights["by"])) * T, None
    for p, zero in min_char_rnn_pieces(ids, T):
        h = np.zeros(len(weights["bh"])) if zero else h
        loss, gradients, h = min_char_rnn_gradients(
            ids[p : p + T], ids[p + 1 : p + T + 1], h, weights
        )
        smooth = 0.999 * smooth + 0.001 * loss
        for name, g in clamp(gradients, clip).items():
            memory[name] += g * g
            weights[name] -= lr * g / np.sqrt(memory[name] + 1e-8)
        yield loss, smooth, lr


# What the two Lua programs have in common: LSTM layers on a window, and softmax over the symbols.


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm(x, h, c, Wx, Wh, b):
    """x (T, N, D), states (N, H), weights (D, 4H), (H, 4H), (4H,): h (T, N, H), the last states, and what backward needs."""
    H, ys, kept = h.shape[1], [], []
    for x_t in x:
        a = x_t @ Wx + h @ Wh + b
        i, f, o = (sigmoid(a[:, k * H : (k + 1) * H]) for k in range(3))
        g = np.tanh(a[:, 3 * H :])
        new = f * c + i * g
        kept.append((x_t, h, c, i, f, o, g, np.tanh(new)))
        h, c = o * np.tanh(new), new
        ys.append(h)
    return np.array(ys), h, c, kept


def lstm_backward(dy, kept, Wx, Wh):
    """Gradients of x, Wx, Wh, b; none flows in from after the window."""
    dWx, dWh, db, dx = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(Wx.shape[1]), []
    dh = dc = np.zeros_like(dy[0])
    for dy_t, (x_t, h, c, i, f, o, g, squashed) in zip(dy[::-1], kept[::-1], strict=True):
        dh = dh + dy_t
        dc = dc + dh * o * (1 - squashed**2)
        da = np.hstack(
            [
                dc * g * i * (1 - i),
                dc * c * f * (1 - f),
                dh * squashed * o * (1 - o),
                dc * i * (1 - g**2),
            ]
        )
        dWx, dWh, db = dWx + x_t.T @ da, dWh + h.T @ da, db + da.sum(axis=0)
        dx.append(da @ Wx.T)
        dh, dc = da @ Wh.T, dc * f
    return np.array(dx[::-1]), dWx, dWh, db


def window(x, y, states, layers, decoder):
    """x (T, N, D), y (T, N) ids. `layers`: (Wx, Wh, b) of each, `decoder`: W (V, H), b.

    The sum of losses, states after the window, and a function that turns that sum into gradients of x, layers, decoder.
    """
    T, N = y.shape
    inside, after, kept = x, [], []
    for (h, c), weights in zip(states, layers, strict=True):
        inside, h, c, mine = lstm(inside, h, c, *weights)
        after.append((h, c))
        kept.append(mine)
    loss, dscores = softmax_loss(
        inside.reshape(T * N, -1) @ decoder[0].T + decoder[1], y.reshape(-1)
    )

    def gradients(scale):
        d = dscores * scale
        ends = d.T @ inside.reshape(T * N, -1), d.sum(axis=0)
        dy, found = (d @ decoder[0]).reshape(T, N, -1), []
        for (Wx, Wh, _), mine in zip(reversed(layers), reversed(kept), strict=True):
            dy, *rest = lstm_backward(dy, mine, Wx, Wh)
            found.append(rest)
        return dy, found[::-1], ends

    return loss, after, gradients


def zero_states(N, layers):
    return [(np.zeros((N, len(Wh))), np.zeros((N, len(Wh)))) for _, Wh, _ in layers]


# char-rnn


def char_rnn_batches(ids, N, T, train=0.95, validation=0.05):
    """Training and validation batches: the text cut to full ones, its successor of the last symbol the first."""
    data = ids[: N * T * (len(ids) // (N * T))]
    shifted = np.append(data[1:], data[0])
    xs, ys = (np.split(a.reshape(N, -1), len(data) // (N * T), axis=1) for a in (data, shifted))
    batches = list(zip(xs, ys, strict=True))
    count = math.floor(len(batches) * train)
    rest = 1 - (train + validation)
    more = len(batches) - count if rest <= 0 else math.floor(len(batches) * validation)
    return batches[:count], batches[count : count + more]


def char_rnn_layers(w):
    count = sum(name.startswith("i2h") for name in w) // 2
    return [
        (w[f"i2h{k}.W"].T, w[f"h2h{k}.W"].T, w[f"i2h{k}.b"] + w[f"h2h{k}.b"]) for k in range(count)
    ]


def one_hot(x, V):
    return np.eye(V)[x.T]


def char_rnn(
    ids, weights, N=50, T=50, lr=2e-3, decay=0.97, after=10, alpha=0.95, clip=5.0, eps=1e-8
):
    """Yields the mean loss of a batch and the rate."""
    batches, _ = char_rnn_batches(ids, N, T)
    means = {name: np.zeros_like(a) for name, a in weights.items()}
    V, states = len(weights["decoder.b"]), zero_states(N, char_rnn_layers(weights))
    for i in itertools.count(1):
        x, y = batches[(i - 1) % len(batches)]
        layers, decoder = char_rnn_layers(weights), (weights["decoder.W"], weights["decoder.b"])
        loss, states, gradients = window(
            one_hot(x, V), y.T, states, layers, decoder
        )  # never set to zero again
        _, found, ends = gradients(
            1 / N
        )  # a criterion at each step means over the batch; their sum is not divided by T
        d = {"decoder.W": ends[0], "decoder.b": ends[1]}
        for k, (dWx, dWh, db) in enumerate(found):
            d |= {f"i2h{k}.W": dWx.T, f"h2h{k}.W": dWh.T, f"i2h{k}.b": db, f"h2h{k}.b": db}
        for name, g in clamp(d, clip).items():
            means[name] = alpha * means[name] + (1 - alpha) * g * g
            weights[name] -= lr * g / (np.sqrt(means[name]) + eps)
        yield loss / (N * T), lr
        if i % len(batches) == 0 and i // len(batches) >= after:
            lr *= decay


def char_rnn_validation(ids, weights, N=50, T=50):
    """Mean loss over the validation batches, from a zero state that is carried through."""
    _, batches = char_rnn_batches(ids, N, T)
    layers, decoder = char_rnn_layers(weights), (weights["decoder.W"], weights["decoder.b"])
    states, total = zero_states(N, layers), 0.0
    for x, y in batches:
        loss, states, _ = window(one_hot(x, len(decoder[1])), y.T, states, layers, decoder)
        total += loss / T / N
    return total / len(batches)


# torch-rnn


def torch_rnn_batches(ids, N, T, validation=0.1, test=0.1):
    """Training and validation batches of the parts that preprocess.py makes; smaller ones where a part is short."""
    held, left = int(validation * len(ids)), int(test * len(ids))
    start = len(ids) - held - left
    return tuple(_torch_rnn_split(part, N, T) for part in (ids[:start], ids[start : start + held]))


def _torch_rnn_split(v, N, T):
    if len(v) - 1 < N * T:
        N = (len(v) - 1) // T
    extra = len(v) % (N * T) or N * T
    used = len(v) - extra
    xs, ys = (v[k : used + k].reshape(N, -1, T) for k in (0, 1))
    return [(xs[:, k], ys[:, k]) for k in range(xs.shape[1])]


def torch_rnn(ids, weights, N=50, T=50, lr=2e-3, every=5, factor=0.5, clip=5.0):
    """Yields the mean loss of a batch and the rate."""
    batches, _ = torch_rnn_batches(ids, N, T)
    count = sum(name.startswith("W") for name in weights)
    D = weights["table"].shape[1]
    widths = [D] + [weights[f"b{k}"].size // 4 for k in range(count)]
    states = adam = None
    for i in itertools.count(1):
        layers = [
            (weights[f"W{k}"][:D_k], weights[f"W{k}"][D_k:], weights[f"b{k}"])
            for k, D_k in enumerate(widths[:-1])
        ]
        epoch = i // len(batches) + 1
        if i % len(batches) == 0:  # before the last batch of an epoch, not after it
            states = None
            if epoch % every == 0:
                lr, adam = lr * factor, None
        x, y = batches[(i - 1) % len(batches)]
        states = zero_states(N, layers) if states is None else states
        decoder = weights["decoder.W"], weights["decoder.b"]
        loss, states, gradients = window(weights["table"][x.T], y.T, states, layers, decoder)
        dx, found, ends = gradients(1 / (N * T))
        d = {"decoder.W": ends[0], "decoder.b": ends[1], "table": np.zeros_like(weights["table"])}
        np.add.at(d["table"], x.T, dx)
        for k, (dWx, dWh, db) in enumerate(found):
            d |= {f"W{k}": np.vstack([dWx, dWh]), f"b{k}": db}
        adam = adam or {"t": 0, "m": dict.fromkeys(d, 0.0), "v": dict.fromkeys(d, 0.0)}
        adam["t"] += 1
        size = lr * math.sqrt(1 - 0.999 ** adam["t"]) / (1 - 0.9 ** adam["t"])
        for name, g in clamp(d, clip).items():
            adam["m"][name] = 0.9 * adam["m"][name] + 0.1 * g
            adam["v"][name] = 0.999 * adam["v"][name] + 0.001 * g * g
            weights[name] -= size * adam["m"][name] / (np.sqrt(adam["v"][name]) + 1e-8)
        yield loss / (N * T), lr
