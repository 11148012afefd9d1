"""NumPy: a plain loop over the time steps; forward only."""

from __future__ import annotations

import numpy as np

from ..workloads.catalogue import EVERY_CELL, SCORES
from . import equations
from .engine import Engine


class NumPy(Engine):
    name, package, module = "numpy", "numpy", "numpy"
    cells = (*(c for c in EVERY_CELL if c != "gru_before"), *SCORES)

    def forward(self, workload, data):
        cell_step = equations.step(np, workload.cell, workload.H)
        # The transpose is stored contiguously once, as a careful user would.
        params = [(p.W_ih, np.ascontiguousarray(p.W_hh.T), *p[2:]) for p in data.params]

        def sequence(x, params):
            W_ih, U, b_ih, b_hh, own = equations.split_params(workload, *params)
            inputs = x @ W_ih.T + b_ih
            c = np.zeros((workload.N, workload.H), x.dtype)
            h, y = c[:, : workload.P], np.empty((workload.T, workload.N, workload.P), x.dtype)
            for t in range(workload.T):
                h, c = cell_step(inputs[t], h @ U + b_hh, h, c, *own)
                y[t] = h
            return y

        layer = equations.layer(np, sequence, data.lengths)
        return lambda: layer(data.x, params)

    def attend(self, workload, data):
        if workload.task != "forward":
            return None
        run = equations.attention(np, workload.cell)
        valid = np.arange(workload.S) < data.lengths[:, None]
        return lambda: run(data.x, data.memory, valid, data.parameters)

    def step(self, workload, data):
        cell_step, x_t = equations.step(np, workload.cell, workload.H), data.x[0]
        W_ih, W_hh, b_ih, b_hh, own = equations.split_params(workload, *data.params[0])
        W, U = np.ascontiguousarray(W_ih.T), np.ascontiguousarray(W_hh.T)
        h = c = np.zeros((workload.N, workload.H), x_t.dtype)

        def step():
            nonlocal h, c
            h, c = cell_step(x_t @ W + b_ih, h @ U + b_hh, h, c, *own)
            return h

        return step
