"""JAX: the equations under jit and scan; gradients by vjp."""

from __future__ import annotations

import numpy as np

from ..workloads.catalogue import EVERY_CELL, SCORES
from . import equations
from .engine import Engine


class Jax(Engine):
    name, package, module = "jax", "jax", "jax"
    # gru_before is left out: its product with W_hh needs r first.
    cells = (*(c for c in EVERY_CELL if c != "gru_before"), *SCORES)

    def __init__(self, threads):
        super().__init__(threads)
        import jax

        self.jax = jax

    def prepare(self, workload, data):
        self.jax.config.update("jax_enable_x64", workload.dtype == "float64")
        return super().prepare(workload, data)

    def layer(self, workload, data):
        """Return a function of x and the parameters of each direction that computes y."""
        jax = self.jax
        cell_step = equations.step(jax.numpy, workload.cell, workload.H)

        def sequence(x, params):
            W_ih, W_hh, b_ih, b_hh, own = equations.split_params(workload, *params)
            zeros = jax.numpy.zeros((workload.N, workload.H), x.dtype)

            def scanned(state, a):
                h, c = cell_step(a, state[0] @ W_hh.T + b_hh, *state, *own)
                return (h, c), h

            return jax.lax.scan(scanned, (zeros[:, : W_hh.shape[1]], zeros), x @ W_ih.T + b_ih)[1]

        return equations.layer(jax.numpy, sequence, data.lengths)

    def put(self, data, *others):
        return self.jax.device_put((data.x, [tuple(p) for p in data.params], *others))

    def forward(self, workload, data):
        forward, (x, params) = self.jax.jit(self.layer(workload, data)), self.put(data)
        return lambda: self.jax.block_until_ready(forward(x, params))

    def train(self, workload, data):
        jax, layer = self.jax, self.layer(workload, data)

        @jax.jit
        def train(x, params, dy):
            y, pull = jax.vjp(layer, x, params)
            dx, dparams = pull(dy)
            return y, dx, *[a for direction in dparams for a in direction]

        x, params, dy = self.put(data, data.dy)
        return lambda: jax.block_until_ready(train(x, params, dy))

    def attend(self, workload, data):
        jax, run = self.jax, equations.attention(self.jax.numpy, workload.cell)
        put = jax.device_put((data.x, data.memory, data.parameters, data.dy))
        valid = np.arange(workload.S) < data.lengths[:, None]

        @jax.jit
        def forward(x, memory, parameters, dy):
            return run(x, memory, valid, parameters)

        @jax.jit
        def train(x, memory, parameters, dy):
            y, pull = jax.vjp(lambda *a: run(*a[:2], valid, a[2]), x, memory, parameters)
            dx, dmemory, grads = pull(dy)
            return y, dx, dmemory, *(grads[name] for name in data.parameters)

        work = {"forward": forward, "train": train}[workload.task]
        return lambda: jax.block_until_ready(work(*put))

    def step(self, workload, data):
        jax = self.jax
        cell_step = equations.step(jax.numpy, workload.cell, workload.H)

        @jax.jit
        def step(x_t, params, h, c):
            W_ih, W_hh, b_ih, b_hh, own = equations.split_params(workload, *params)
            return cell_step(x_t @ W_ih.T + b_ih, h @ W_hh.T + b_hh, h, c, *own)

        x, (params,) = self.put(data)
        x_t, state = x[0], (jax.numpy.zeros((workload.N, workload.H), x.dtype),) * 2

        def call():
            nonlocal state
            state = step(x_t, params, *state)
            return np.asarray(state[0])

        return call
