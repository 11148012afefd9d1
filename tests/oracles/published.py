"""The published character models in plain NumPy, float64; imports nothing from the engine.

Each training is a generator. It makes one update of `weights` (arrays by name, in the layout of its
program, modified) and yields the loss as its program reports it and the learning rate of the
update. The gate order is i f o g, as in both Lua programs. Text is ids (n,), batches are x and y
(N, T).
"""

import itertools
import math

import numpy as np


def softmax_loss(scores, targets):
    """Return the sum of -log p[target] over the rows of scores (M, V), and its gradient."""
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(targets))
    loss = -np.log(p[rows, targets]).sum()
    p[rows, targets] -= 1
    return loss, p


def clamp(gradients, limit):
    """Clip every entry to -limit..limit."""
    return {name: np.clip(g, -limit, limit) for name, g in gradients.items()}


# min-char-rnn


def min_char_rnn_pieces(ids, T):
    """Yield the start of the window of each update, and whether the hidden state is zero."""
    p, first = 0, True
    while True:
        zero = first or p + T + 1 >= len(ids)
        p = 0 if zero else p
        yield p, zero
        p, first = p + T, False


def min_char_rnn_gradients(inputs, targets, h, w):
    """Return the loss of one sequence, summed over its steps, gradients and last hidden state."""
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
    """Yield the loss of the window, the smoothed loss and the learning rate."""
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


# Common to the two Lua programs: LSTM layers on a window, and softmax over the symbols.


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm(x, h, c, Wx, Wh, b):
    """Run an LSTM layer: x (T, N, D), states (N, H), weights (D, 4H), (H, 4H), (4H,).

    Returns h (T, N, H), the last states, and a tape for the backward pass.
    """
    H, ys, tape = h.shape[1], [], []
    for x_t in x:
        a = x_t @ Wx + h @ Wh + b
        i, f, o = (sigmoid(a[:, k * H : (k + 1) * H]) for k in range(3))
        g = np.tanh(a[:, 3 * H :])
        new = f * c + i * g
        tape.append((x_t, h, c, i, f, o, g, np.tanh(new)))
        h, c = o * np.tanh(new), new
        ys.append(h)
    return np.array(ys), h, c, tape


def lstm_backward(dy, tape, Wx, Wh):
    """Return the gradients of x, Wx, Wh, b; none flows in from after the window."""
    dWx, dWh, db, dx = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(Wx.shape[1]), []
    dh = dc = np.zeros_like(dy[0])
    for dy_t, (x_t, h, c, i, f, o, g, squashed) in zip(dy[::-1], tape[::-1], strict=True):
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
    """Run the model on a window: x (T, N, D), y (T, N) ids.

    `layers` holds (Wx, Wh, b) of each layer, `decoder` W (V, H) and b. Returns the sum of the
    losses, the states after the window, and a function of a scale that returns the gradients of
    the scaled sum with respect to x, layers and decoder.
    """
    T, N = y.shape
    h_below, after, tapes = x, [], []
    for (h, c), weights in zip(states, layers, strict=True):
        h_below, h, c, tape = lstm(h_below, h, c, *weights)
        after.append((h, c))
        tapes.append(tape)
    rows = h_below.reshape(T * N, -1)
    loss, dscores = softmax_loss(rows @ decoder[0].T + decoder[1], y.reshape(-1))

    def gradients(scale):
        d = dscores * scale
        d_decoder = d.T @ rows, d.sum(axis=0)
        dy, d_layers = (d @ decoder[0]).reshape(T, N, -1), []
        for (Wx, Wh, _), tape in zip(reversed(layers), reversed(tapes), strict=True):
            dy, *d_layer = lstm_backward(dy, tape, Wx, Wh)
            d_layers.append(d_layer)
        return dy, d_layers[::-1], d_decoder

    return loss, after, gradients


def zero_states(N, layers):
    return [(np.zeros((N, len(Wh))), np.zeros((N, len(Wh)))) for _, Wh, _ in layers]


# char-rnn


def char_rnn_batches(ids, N, T, train=0.95, validation=0.05):
    """Return training and validation batches of a text that is cut to full windows.

    The successor of the last symbol is the first.
    """
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
    """Yield the mean loss of a batch and the learning rate."""
    batches, _ = char_rnn_batches(ids, N, T)
    means = {name: np.zeros_like(a) for name, a in weights.items()}
    V, states = len(weights["decoder.b"]), zero_states(N, char_rnn_layers(weights))
    for i in itertools.count(1):
        x, y = batches[(i - 1) % len(batches)]
        layers, decoder = char_rnn_layers(weights), (weights["decoder.W"], weights["decoder.b"])
        # The states are never set to zero again.
        loss, states, gradients = window(one_hot(x, V), y.T, states, layers, decoder)
        # The criterion of each step is a mean over the batch; their sum is not divided by T.
        _, d_layers, d_decoder = gradients(1 / N)
        d = {"decoder.W": d_decoder[0], "decoder.b": d_decoder[1]}
        for k, (dWx, dWh, db) in enumerate(d_layers):
            d |= {f"i2h{k}.W": dWx.T, f"h2h{k}.W": dWh.T, f"i2h{k}.b": db, f"h2h{k}.b": db}
        for name, g in clamp(d, clip).items():
            means[name] = alpha * means[name] + (1 - alpha) * g * g
            weights[name] -= lr * g / (np.sqrt(means[name]) + eps)
        yield loss / (N * T), lr
        if i % len(batches) == 0 and i // len(batches) >= after:
            lr *= decay


def char_rnn_validation(ids, weights, N=50, T=50):
    """Return the mean loss over the validation batches; the state starts at zero and is carried."""
    _, batches = char_rnn_batches(ids, N, T)
    layers, decoder = char_rnn_layers(weights), (weights["decoder.W"], weights["decoder.b"])
    states, total = zero_states(N, layers), 0.0
    for x, y in batches:
        loss, states, _ = window(one_hot(x, len(decoder[1])), y.T, states, layers, decoder)
        total += loss / T / N
    return total / len(batches)


# torch-rnn


def torch_rnn_batches(ids, N, T, validation=0.1, test=0.1):
    """Return training and validation batches of the parts that preprocess.py makes.

    Where a part is short its batches are smaller.
    """
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
    """Yield the mean loss of a batch and the learning rate."""
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
        if i % len(batches) == 0:  # before the last batch of an epoch, not after
            states = None
            if epoch % every == 0:
                lr, adam = lr * factor, None
        x, y = batches[(i - 1) % len(batches)]
        states = zero_states(N, layers) if states is None else states
        decoder = weights["decoder.W"], weights["decoder.b"]
        loss, states, gradients = window(weights["table"][x.T], y.T, states, layers, decoder)
        dx, d_layers, d_decoder = gradients(1 / (N * T))
        d = {"decoder.W": d_decoder[0], "decoder.b": d_decoder[1]}
        d["table"] = np.zeros_like(weights["table"])
        np.add.at(d["table"], x.T, dx)
        for k, (dWx, dWh, db) in enumerate(d_layers):
            d |= {f"W{k}": np.vstack([dWx, dWh]), f"b{k}": db}
        adam = adam or {"t": 0, "m": dict.fromkeys(d, 0.0), "v": dict.fromkeys(d, 0.0)}
        adam["t"] += 1
        size = lr * math.sqrt(1 - 0.999 ** adam["t"]) / (1 - 0.9 ** adam["t"])
        for name, g in clamp(d, clip).items():
            adam["m"][name] = 0.9 * adam["m"][name] + 0.1 * g
            adam["v"][name] = 0.999 * adam["v"][name] + 0.001 * g * g
            weights[name] -= size * adam["m"][name] / (np.sqrt(adam["v"][name]) + 1e-8)
        yield loss / (N * T), lr
