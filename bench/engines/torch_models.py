"""PyTorch: the character model, attention, and the encoder-decoder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from itertools import cycle

import numpy as np

from .engine import Engine


class Models(Engine):
    """The part of the PyTorch adaptor for models; subclasses set `torch`."""

    def fill(self, module, arrays):
        """Copy arrays into a module's parameters."""
        with self.torch.no_grad():
            for p, a in zip(module.parameters(), arrays, strict=True):
                p.copy_(self.torch.from_numpy(a))

    def quantized(self, module):
        """Return a module whose layers and cells have int8 weights."""
        torch = self.torch
        parent = torch.nn.ModuleList([module])  # the layers inside of it are replaced
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated, but has no successor for layers
            return torch.ao.quantization.quantize_dynamic(parent, dtype=torch.qint8)[0]

    def updater(self, module, workload):
        """Return a function from (logits, targets) to the loss that also updates the module."""
        torch = self.torch
        optimizer = torch.optim.Adam(module.parameters(), lr=workload.lr)

        def apply_update(logits, targets):
            loss = torch.nn.functional.cross_entropy(logits, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), workload.clip)
            optimizer.step()
            return loss.item()

        return apply_update

    def step_model(self, workload, data):
        torch = self.torch
        cell, linear = torch.nn.GRUCell(workload.D, workload.H), torch.nn.Linear(workload.H, 1)
        self.fill(torch.nn.ModuleList([cell, linear]), data.parameters.values())
        x_t, state = torch.from_numpy(data.x), None

        def step():
            nonlocal state
            with torch.inference_mode():
                state = cell(x_t, state)
                return linear(state).numpy()

        return step

    def character_model(self, workload, data):
        """Return the embedding, the LSTM layers and the linear layer in a list."""
        torch = self.torch
        stack = [
            torch.nn.LSTM(workload.H if k else workload.E, workload.H)
            for k in range(workload.layers)
        ]
        embedding = torch.nn.Embedding(workload.V, workload.E)
        linear = torch.nn.Linear(workload.H, workload.V)
        model = torch.nn.ModuleList([embedding, *stack, linear])
        self.fill(model, data.parameters.values())
        return model

    def sample(self, workload, data):
        torch = self.torch
        embedding, *stack, linear = self.quantized(self.character_model(workload, data))
        ids = torch.from_numpy(data.ids)

        def sample():
            states, logits = [None] * len(stack), torch.empty((workload.T, workload.V))
            with torch.inference_mode():
                for t in range(workload.T):
                    y = embedding(ids[t : t + 1, None])
                    for k, layer in enumerate(stack):
                        y, states[k] = layer(y, states[k])
                    logits[t] = linear(y)[0, 0]
                    torch.multinomial(torch.softmax(logits[t], dim=0), 1).item()
            return logits.numpy()

        return sample

    def update(self, workload, data):
        torch, model = self.torch, self.character_model(workload, data)
        embedding, *stack, linear = model
        apply_update = self.updater(model, workload)
        windows = cycle([tuple(map(torch.from_numpy, w)) for w in data.windows])
        states = [None] * len(stack)

        def update():
            x, targets = next(windows)
            y = embedding(x)
            for k, layer in enumerate(stack):
                y, state = layer(y, states[k])
                states[k] = tuple(s.detach() for s in state)
            return apply_update(linear(y).flatten(0, 1), targets.flatten())

        return update

    def attention(self, score: str, names, fused: bool = False) -> Callable:
        """Return an attention layer.

        The function takes x (N, T, H), memory (N, S, H), a mask (N, 1, S) or None, and the
        parameters; the mask is -inf at padding, else 0. With `fused`, it uses PyTorch's
        scaled_dot_product_attention, which supports the scores dot and general.
        """
        torch, names = self.torch, list(names)

        def context_of(query, memory, mask, p):
            if score == "additive":
                keys = torch.nn.functional.linear(memory, p["weight_memory"])
                hidden = torch.tanh(query[:, :, None] + keys[:, None])
                scores = (hidden @ p["weight_score"].T).squeeze(3)
            else:
                scores = query @ memory.mT
            return torch.softmax(scores if mask is None else scores + mask, dim=2) @ memory

        def attend(x, memory, mask, parameters):
            p = dict(zip(names, parameters, strict=True))
            query = (
                x
                if score == "dot"
                else torch.nn.functional.linear(x, p["weight_query"], p.get("bias_query"))
            )
            if fused:
                context = torch.nn.functional.scaled_dot_product_attention(
                    query, memory, memory, mask, scale=1.0
                )
            else:
                context = context_of(query, memory, mask, p)
            joined = torch.cat([context, x], dim=2)
            return torch.tanh(
                torch.nn.functional.linear(joined, p["weight_output"], p["bias_output"])
            )

        return attend

    def mask(self, lengths, S: int):
        """Return (N, 1, S), -inf at padding, else 0; None without lengths."""
        if lengths is None:
            return None
        torch = self.torch
        valid = torch.arange(S) < torch.from_numpy(lengths)[:, None]
        return torch.zeros(valid.shape).masked_fill_(~valid, -torch.inf)[:, None]

    def attend(self, workload, data):
        """Use matrix products and a softmax, or PyTorch's fused attention, whichever is faster."""
        torch, mask = self.torch, self.mask(data.lengths, workload.S)
        x, memory, dy, *parameters = map(
            torch.from_numpy, (data.x, data.memory, data.dy, *data.parameters.values())
        )

        def work(fused):
            attend = self.attention(workload.cell, data.parameters, fused)

            leaves = [a.clone().requires_grad_() for a in (x, memory, *parameters)]

            def run():
                return attend(
                    leaves[0].swapaxes(0, 1), leaves[1].swapaxes(0, 1), mask, leaves[2:]
                ).swapaxes(0, 1)

            def forward():
                with torch.inference_mode():
                    return run().contiguous().numpy()

            def train():
                for a in leaves:
                    a.grad = None
                y = run()
                y.backward(dy)
                return y.detach().numpy(), *[a.grad.numpy() for a in leaves]

            return train if workload.task == "train" else forward

        makers = [lambda: work(False)]
        if workload.cell != "additive":
            makers.append(lambda: work(True))
        return faster(*makers, calls=9)

    def translator(self, workload, data):
        """Return a module and its functions encode and decode.

        encode(source) returns memory (N, S, H) and state; decode(ids, memory, state) returns
        logits and state.
        """
        torch = self.torch
        V, E, H = workload.V, workload.E, workload.H
        names = [
            n.removeprefix("decoder.2.") for n in data.parameters if n.startswith("decoder.2.")
        ]
        weights = torch.nn.ParameterList(
            torch.empty(data.parameters[f"decoder.2.{n}"].shape) for n in names
        )
        encoder, decoder = (
            torch.nn.ModuleList([torch.nn.Embedding(V, E), torch.nn.LSTM(E, H)]) for _ in range(2)
        )
        linear = torch.nn.Linear(H, V)
        module = torch.nn.ModuleList([encoder, decoder, weights, linear])
        self.fill(module, data.parameters.values())
        lengths = None if data.lengths is None else torch.from_numpy(data.lengths[0])
        mask = self.mask(data.lengths and data.lengths[0], workload.S)
        attend, rnn = self.attention("general", names), torch.nn.utils.rnn

        def encode(source):
            x = encoder[0](source)
            if lengths is None:
                y, state = encoder[1](x)
            else:
                y, state = encoder[1](rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))
                y = rnn.pad_packed_sequence(y, total_length=workload.S)[0]
            return y.swapaxes(0, 1), state

        def decode(ids, memory, state):
            y, state = decoder[1](decoder[0](ids), state)
            return linear(attend(y.swapaxes(0, 1), memory, mask, weights)), state

        return module, encode, decode

    def translate(self, workload, data):
        torch = self.torch
        module, encode, decode = self.translator(workload, data)
        apply_update = self.updater(module, workload)
        source, target, targets = map(
            torch.from_numpy, (data.source, data.decoder_input, data.targets.T.copy())
        )
        if data.lengths is not None:  # cross_entropy ignores targets of -100
            targets[torch.arange(workload.T) >= torch.from_numpy(data.lengths[1])[:, None]] = -100

        def update():
            return apply_update(decode(target, *encode(source))[0].flatten(0, 1), targets.flatten())

        return update

    def decode(self, workload, data):
        torch = self.torch
        _, encode, step = self.translator(workload, data)
        source = torch.from_numpy(data.source)
        start = torch.zeros((1, workload.N), dtype=torch.int64)

        def decode():
            with torch.inference_mode():
                memory, state = encode(source)
                ids, scores, outputs = start, torch.zeros(workload.N), []
                for _ in range(workload.T):
                    logits, state = step(ids, memory, state)
                    best, ids = torch.log_softmax(logits[:, 0], dim=1).max(dim=1)
                    scores, ids = scores + best, ids[None]
                    outputs.append(ids)
                return scores.numpy(), torch.cat(outputs).numpy()

        return decode


def faster(*makers: Callable, calls: int = 300, most: float = 0.2) -> Callable:
    """Return the fastest of the functions that `makers` return, each called for `most` seconds."""
    return min(makers, key=lambda make: seconds(make(), calls, most))()


def seconds(run, calls: int, most: float) -> float:
    """Return the median time of a call, of `calls` or, if they are slow, of at least three."""
    times = []
    while len(times) < 3 or (len(times) < calls and sum(times) < most):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times[len(times) // 3 :]))
