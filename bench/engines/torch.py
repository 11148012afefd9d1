"""PyTorch: torch.nn layers, inference mode for forward, autograd for training.

int8 weights are those of `quantize_dynamic`, the only one of PyTorch for recurrent layers.
"""

from __future__ import annotations

import warnings

from ..workloads.catalogue import CELLS, SCORES
from .torch_models import Models, faster


class Torch(Models):
    name, package, module = "torch", "torch", "torch"
    cells = (*CELLS, "lstm_proj", *SCORES)
    weights = ("", "int8")

    def __init__(self, threads):
        super().__init__(threads)
        import torch

        torch.set_num_threads(threads)
        self.torch = torch

    def layer(self, workload, data):
        """Return a layer with the workload's weights."""
        torch = self.torch
        make = getattr(torch.nn, workload.cell.removesuffix("_proj").upper())
        options = {"proj_size": workload.P} if workload.P < workload.H else {}
        if options:  # PyTorch warns that projections have no fast path
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        dtype = getattr(torch, workload.dtype)
        layer = make(
            workload.D, workload.H, bidirectional=workload.directions == 2, dtype=dtype, **options
        )
        self.fill(layer, [a for p in data.params for a in p])
        return self.quantized(layer) if workload.weights else layer

    def sequence(self, layer, workload, data):
        """Return a function from x to y; ragged batches use packed sequences."""
        if data.lengths is None:
            return lambda x: layer(x)[0]
        rnn, lengths = self.torch.nn.utils.rnn, self.torch.from_numpy(data.lengths)

        def ragged(x):
            y, _ = layer(rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))
            return rnn.pad_packed_sequence(y, total_length=workload.T)[0]

        return ragged

    def forward(self, workload, data):
        torch, x = self.torch, self.torch.from_numpy(data.x)
        sequence = self.sequence(self.layer(workload, data), workload, data)

        def forward():
            with torch.inference_mode():
                return sequence(x).numpy()

        return forward

    def train(self, workload, data):
        x = self.torch.from_numpy(data.x.copy()).requires_grad_()
        dy = self.torch.from_numpy(data.dy)
        layer = self.layer(workload, data)
        sequence = self.sequence(layer, workload, data)

        def train():
            x.grad = None
            layer.zero_grad(set_to_none=True)
            y = sequence(x)
            y.backward(dy)
            return y.detach().numpy(), x.grad.numpy(), *[p.grad.numpy() for p in layer.parameters()]

        return train

    def step(self, workload, data):
        """Run a layer over one time step, or a cell, whichever is faster."""
        torch, x = self.torch, self.torch.from_numpy(data.x)
        cell = getattr(torch.nn, f"{workload.cell.upper()}Cell")(workload.D, workload.H)
        self.fill(cell, data.params[0])
        cell = self.quantized(cell) if workload.weights else cell

        def layer_stepper():
            layer, state = self.layer(workload, data), None

            def step():
                nonlocal state
                with torch.inference_mode():
                    y, state = layer(x, state)
                    return y[0].numpy()

            return step

        def cell_stepper():
            x_t, state = x[0], None

            def step():
                nonlocal state
                with torch.inference_mode():
                    state = cell(x_t, state)
                    return (state[0] if isinstance(state, tuple) else state).numpy()

            return step

        return faster(layer_stepper, cell_stepper)
