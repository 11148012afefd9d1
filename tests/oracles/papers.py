"""Cells of papers, their equations written out in NumPy with float64; imports no engine code.

A step gets x (N, D) without the named inputs, the states (N, H), the named inputs (N, 1), a
function that multiplies the rows of a gate (`x("i")`, `h("i")`, `h("i", v)`), and the parameters.
"""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def slstm(s, x, h, p):
    i, f = x("i") + h("i"), np.log(sigmoid(x("f") + h("f")))
    z, o = np.tanh(x("g") + h("g")), sigmoid(x("o") + h("o"))
    m = np.where(s["n"] > 0, np.maximum(f + s["m"], i), i)
    keep = np.exp(np.minimum(f + s["m"] - m, 0))
    c, n = keep * s["c"] + np.exp(i - m) * z, keep * s["n"] + np.exp(i - m)
    return dict(h=o * c / np.maximum(n, 1), c=c, n=n, m=m)


def cfc(s, x, h, p, dt):
    def head(g):
        return x(g) + h(g)

    t = sigmoid(head("a") * dt + head("b"))
    return dict(h=np.tanh(head("u")) * (1 - t) + t * np.tanh(head("v")))


def ltc(s, x, h, p, dt):
    f, inverse_tau = sigmoid(x("s") + h("s")), np.log1p(np.exp(p["rate"]))
    return dict(h=(s["h"] + dt * f * p["A"]) / (1 + dt * (inverse_tau + f)))


def phased_lstm(s, x, h, p, t, r_on=0.05, leak=0.001):
    i = sigmoid(x("i") + h("i") + p["p_i"] * s["c"])
    f = sigmoid(x("f") + h("f") + p["p_f"] * s["c"])
    new = f * s["c"] + i * np.tanh(x("g") + h("g"))
    o = sigmoid(x("o") + h("o") + p["p_o"] * new)
    tau = np.exp(p["log_tau"])
    phi = np.mod(t - tau * p["shift"], tau) / tau
    closing = np.where(phi < r_on, 2 - 2 * phi / r_on, leak * phi)
    k = np.where(phi < r_on / 2, 2 * phi / r_on, closing)
    return dict(h=k * o * np.tanh(new) + (1 - k) * s["h"], c=k * new + (1 - k) * s["c"])


def grud(s, x, h, p):
    decayed = np.exp(-np.maximum(0, x("d"))) * s["h"]
    r, z = (sigmoid(x(g) + h(g, decayed)) for g in "rz")
    n = np.tanh(x("n") + h("n", r * decayed))
    return dict(h=(1 - z) * decayed + z * n)


def janet(s, x, h, p, beta=1.0):
    a = x("f") + h("f")
    return dict(h=sigmoid(a) * s["h"] + (1 - sigmoid(a - beta)) * np.tanh(x("g") + h("g")))


def ligru(s, x, h, p):
    z = sigmoid(x("z") + h("z"))
    return dict(h=z * s["h"] + (1 - z) * np.maximum(x("n") + h("n"), 0))


def fastgrnn(s, x, h, p):
    a = x("a") + h("a")
    z, n = sigmoid(a + p["b_z"]), np.tanh(a + p["b_n"])
    return dict(h=(sigmoid(p["zeta"]) * (1 - z) + sigmoid(p["nu"])) * n + z * s["h"])


def multiplicative_lstm(s, x, h, p):
    m = x("m") * h("m")
    i, f, o = (sigmoid(x(g) + h(g, m)) for g in "ifo")
    c = f * s["c"] + i * np.tanh(x("g") + h("g", m))
    return dict(h=o * np.tanh(c), c=c)


def lstm_gates(sums):
    i, f, g, o = sums
    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


def nested_lstm(s, x, h, p):
    i, f, g, o = lstm_gates([x(k) + h(k) for k in "ifgo"])
    inner = lstm_gates([h(f"{k}x", i * g) + h(f"{k}h", f * s["c"]) for k in "ifgo"])
    memory = inner[1] * s["inner"] + inner[0] * inner[2]
    c = inner[3] * np.tanh(memory)
    return dict(h=o * np.tanh(c), c=c, inner=memory)


def echo_state(s, x, h, p, leak=1.0):
    return dict(h=(1 - leak) * s["h"] + leak * np.tanh(x("h") + h("h")))


STEPS = {
    "slstm": slstm,
    "cfc": cfc,
    "ltc": ltc,
    "phased_lstm": phased_lstm,
    "grud": grud,
    "janet": janet,
    "ligru": ligru,
    "fastgrnn": fastgrnn,
    "multiplicative_lstm": multiplicative_lstm,
    "nested_lstm": nested_lstm,
    "echo_state": echo_state,
}
X_GATES = {  # rows of W_ih, then of W_hh
    "slstm": ("ifgo", "ifgo"),
    "cfc": ("uvab", "uvab"),
    "ltc": ("s", "s"),
    "phased_lstm": ("ifgo", "ifgo"),
    "grud": ("drzn", "rzn"),
    "janet": ("fg", "fg"),
    "ligru": ("zn", "zn"),
    "fastgrnn": ("a", "a"),
    "multiplicative_lstm": ("mifgo", "mifgo"),
    "nested_lstm": ("ifgo", [*"ifgo", *(f"{k}x" for k in "ifgo"), *(f"{k}h" for k in "ifgo")]),
    "echo_state": ("h", "h"),
}


def forward(name, x, params, state, named=0, **options):
    """Return y (T, N, H) and the final states by name, from x (T, N, D) and Params."""
    arrays = {n: np.asarray(a, float) for n, a in params._asdict().items()}
    states = {n: np.asarray(a, float) for n, a in state._asdict().items()}
    H, D = arrays["W_hh"].shape[1], x.shape[2] - named
    x_rows, h_rows = (list(gates) for gates in X_GATES[name])
    none = np.zeros(len(arrays["W_hh"]))

    def rows(W, b, gates, gate, v):
        block = slice(gates.index(gate) * H, (gates.index(gate) + 1) * H)
        return v @ W[block].T + b[block]

    y = []
    for x_t in np.asarray(x, float):
        previous = states["h"]

        def from_x(g, x_t=x_t):
            b_ih = arrays.get("b_ih", np.zeros(len(arrays["W_ih"])))
            return rows(arrays["W_ih"], b_ih, x_rows, g, x_t[:, :D])

        def from_h(g, v=None, previous=previous):
            v = previous if v is None else v
            return rows(arrays["W_hh"], arrays.get("b_hh", none), h_rows, g, v)

        own = [x_t[:, k : k + 1] for k in range(D, D + named)]
        states = STEPS[name](states, from_x, from_h, arrays, *own, **options)
        y.append(states["h"])
    return np.stack(y), states
