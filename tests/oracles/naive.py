"""The cells in naive loops, one number at a time, from the formulae; imports no engine code."""

import math

import numpy as np


def sigmoid(a):
    return 1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a))


def dot(w, v):
    return sum(float(w[k]) * float(v[k]) for k in range(len(v)))


def rnn_unit(j, x, h, c, W, U, b, d, H, f=math.tanh):
    return f(dot(W[j], x) + b[j] + dot(U[j], h) + d[j]), 0.0


def rnn_relu_unit(*arguments):
    return rnn_unit(*arguments, f=lambda a: max(a, 0.0))


def lstm_unit(j, x, h, c, W, U, b, d, H):
    a = [
        dot(W[q * H + j], x) + b[q * H + j] + dot(U[q * H + j], h) + d[q * H + j] for q in range(4)
    ]
    i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), math.tanh(a[2]), sigmoid(a[3])
    new = f * c[j] + i * g
    return o * math.tanh(new), new


def gru_unit(j, x, h, c, W, U, b, d, H):
    from_x = [dot(W[q * H + j], x) + b[q * H + j] for q in range(3)]
    from_h = [dot(U[q * H + j], h) + d[q * H + j] for q in range(3)]
    r, z = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
    n = math.tanh(from_x[2] + r * from_h[2])
    return (1 - z) * n + z * h[j], 0.0


def mgu_unit(j, x, h, c, W, U, b, d, H):
    from_x, from_h = (
        [dot(M[q * H + j], v) + e[q * H + j] for q in range(2)]
        for M, v, e in ((W, x, b), (U, h, d))
    )
    f = sigmoid(from_x[0] + from_h[0])
    return (1 - f) * h[j] + f * math.tanh(from_x[1] + f * from_h[1]), 0.0


def rows(j, x, W, b, H, count):
    """Return the x parts of a unit's `count` pre-activations."""
    return [dot(W[q * H + j], x) + b[q * H + j] for q in range(count)]


def indrnn_unit(j, x, h, c, W, U, b, u, H):
    return max(rows(j, x, W, b, H, 1)[0] + u[j] * h[j], 0.0), 0.0


def mingru_unit(j, x, h, c, W, U, b, H):
    z, n = rows(j, x, W, b, H, 2)
    return (1 - sigmoid(z)) * h[j] + sigmoid(z) * n, 0.0


def minlstm_unit(j, x, h, c, W, U, b, H):
    f, i, n = rows(j, x, W, b, H, 3)
    total = sigmoid(f) + sigmoid(i)
    return sigmoid(f) / total * h[j] + sigmoid(i) / total * n, 0.0


def qrnn_unit(j, x, h, c, W, U, b, H):
    z, f, o = rows(j, x, W, b, H, 3)
    new = sigmoid(f) * c[j] + (1 - sigmoid(f)) * math.tanh(z)
    return sigmoid(o) * new, new


def sru_unit(j, x, h, c, W, U, b, v_f, v_r, H):
    n, f, r, s = rows(j, x, W, b, H, 4)
    f, r = sigmoid(f + v_f[j] * c[j]), sigmoid(r + v_r[j] * c[j])
    new = f * c[j] + (1 - f) * n
    return r * new + (1 - r) * s, new


UNITS = {
    "rnn": rnn_unit,
    "rnn_relu": rnn_relu_unit,
    "lstm": lstm_unit,
    "gru": gru_unit,
    "mgu": mgu_unit,
    "indrnn": indrnn_unit,
    "mingru": mingru_unit,
    "minlstm": minlstm_unit,
    "qrnn": qrnn_unit,
    "sru": sru_unit,
}
WITH_MEMORY = ("lstm", "qrnn", "sru")


def forward(name, x, params, state=None, lengths=None, reverse=False):
    """Return y (T, N, H) and the final states (N, H), in float64, from x (T, N, D) and Params."""
    params = [np.asarray(p, float) for p in params]
    (T, N), H = x.shape[:2], params[1].shape[1]
    y = np.zeros((T, N, H))
    h, c = np.zeros((N, H)), np.zeros((N, H))
    if state is not None:
        h[:] = state[0]
        if len(state) == 2:
            c[:] = state[1]
    for n in range(N):
        valid = range(T if lengths is None else int(lengths[n]))
        for t in reversed(valid) if reverse else valid:
            new = [UNITS[name](j, x[t, n], h[n], c[n], *params, H) for j in range(H)]
            for j in range(H):
                h[n, j], c[n, j] = new[j]
                y[t, n, j] = new[j][0]
    return y, (h, c) if name in WITH_MEMORY else (h,)


def product(a, b):
    """Return a (M, K) times b (K, N) by three loops, in float64."""
    out = np.zeros((a.shape[0], b.shape[1]))
    for m in range(a.shape[0]):
        for n in range(b.shape[1]):
            for k in range(a.shape[1]):
                out[m, n] += float(a[m, k]) * float(b[k, n])
    return out


def one_hot(ids, V):
    """Return one-hot vectors (..., V)."""
    out = np.zeros((*ids.shape, V))
    for place in np.ndindex(ids.shape):
        out[(*place, ids[place])] = 1
    return out


def attention(score, x, memory, valid, p):
    """Return context (T, N, M), weights (T, N, S); x (T, N, Q), memory (S, N, M), valid (S, N)."""
    dtype = np.result_type(x, memory, *p.values())
    context = np.zeros((*x.shape[:2], memory.shape[2]), dtype)
    weights = np.zeros((*x.shape[:2], len(memory)), dtype)
    for t, n in np.ndindex(x.shape[:2]):
        steps = np.flatnonzero(valid[:, n])
        if not steps.size:
            continue
        q, scores = x[t, n], []
        for s in steps:
            m = memory[s, n]
            if score == "additive":
                inner = np.tanh(p["weight_query"] @ q + p["weight_memory"] @ m + p["bias_query"])
                scores.append(p["weight_score"][0] @ inner)
            else:
                scores.append((p["weight_query"] @ q if score == "general" else q) @ m)
        e = np.exp(np.array(scores) - max(a.real for a in scores))
        weights[t, n, steps] = e / e.sum()
        context[t, n] = sum(w * memory[s, n] for w, s in zip(e / e.sum(), steps, strict=True))
    return context, weights
