"""PyTorch's models of several layers: the character model, attention, encoder and decoder."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle

import numpy as np

from .engine import Engine


class Models(Engine):
    """An adaptor of PyTorch, which has `torch`."""

    def fill(self, module, arrays):
        """Copy the weights in."""
        with self.torch.no_grad():
            for p, a in zip(module.parameters(), arrays, strict=True):
                p.copy_(self.torch.from_numpy(a))

    def learner(self, module, workload):
        """(logits, targets) -> loss, once gradients were taken, clipped and followed."""
        torch = self.torch
        optimizer = torch.optim.Adam(module.parameters(), lr=workload.lr)

        def learn(logits, targets):
            loss = torch.nn.functional.cross_entropy(logits, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), workload.clip)
            optimizer.step()
            return loss.item()

        return learn

    def update(self, workload, data):
        torch = self.torch
        embedding = torch.nn.Embedding(workload.V, workload.E)
        stack = [
            torch.nn.LSTM(workload.H if k else workload.E, workload.H)
            for k in range(workload.layers)
        ]
        linear = torch.nn.Linear(workload.H, workload.V)
        model = torch.nn.ModuleList([embedding, *stack, linear])
        self.fill(model, data.parameters.values())
        learn = self.learner(model, workload)
        windows, states = (
            cycle([tuple(map(torch.from_numpy, w)) for w in data.windows]),
            [None] * len(stack),
        )

        def update():
            x, targets = next(windows)
            y = embedding(x)
            for k, layer in enumerate(stack):
                y, state = layer(y, states[k])
                states[k] = tuple(s.detach() for s in state)
            return learn(linear(y).flatten(0, 1), targets.flatten())

        return update

    def attention(self, score: str, names, fused: bool = False) -> Callable:
        """(x (N, T, H), memory (N, S, H), blanks (N, 1, S) or None, parameters) -> y; blanks are -inf, else 0.

        `fused`: by PyTorch's own function of attention, for scores that it has.
        """
        torch, names = self.torch, list(names)

        def weigh(query, memory, blanks, p):
            if score == "additive":
                keys = torch.nn.functional.linear(memory, p["weight_memory"])
                scores = (
                    torch.tanh(query[:, :, None] + keys[:, None]) @ p["weight_score"].T
                ).squeeze(3)
            else:
                scores = query @ memory.mT
            return torch.softmax(scores if blanks is None else scores + blanks, dim=2) @ memory

        def attend(x, memory, blanks, parameters):
            p = dict(zip(names, parameters, strict=True))
            query = (
                x
                if score == "dot"
                else torch.nn.functional.linear(x, p["weight_query"], p.get("bias_query"))
            )
            if fused:
                context = torch.nn.functional.scaled_dot_product_attention(
                    query, memory, memory, blanks, scale=1.0
                )
            else:
                context = weigh(query, memory, blanks, p)
            joined = torch.cat([context, x], dim=2)
            return torch.tanh(
                torch.nn.functional.linear(joined, p["weight_output"], p["bias_output"])
            )

        return attend

    def blanks(self, lengths, S: int):
        """(N, 1, S): -inf past a length, else 0; None where all are equal."""
        if lengths is None:
            return None
        torch = self.torch
        inside = torch.arange(S) < torch.from_numpy(lengths)[:, None]
        return torch.zeros(inside.shape).masked_fill_(~inside, -torch.inf)[:, None]

    def attend(self, workload, data):
        """Products and a softmax, or PyTorch's own function of them: the faster."""
        torch, blanks = self.torch, self.blanks(data.lengths, workload.S)
        x, memory, dy, *parameters = map(
            torch.from_numpy, (data.x, data.memory, data.dy, *data.parameters.values())
        )

        def work(fused):
            attend = self.attention(workload.cell, data.parameters, fused)

            leaves = [a.clone().requires_grad_() for a in (x, memory, *parameters)]

            def run():
                return attend(
                    leaves[0].swapaxes(0, 1), leaves[1].swapaxes(0, 1), blanks, leaves[2:]
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

        ways = [lambda: work(False)] + ([lambda: work(True)] if workload.cell != "additive" else [])
        return faster(*ways, calls=9)

    def translator(self, workload, data):
        """A module of encoder and decoder, `read(source) -> memory (N, S, H), state` and `write(ids, memory, state)`."""
        torch = self.torch
        V, E, H = workload.V, workload.E, workload.H
        names = [
            n.removeprefix("decoder.2.") for n in data.parameters if n.startswith("decoder.2.")
        ]
        weights = torch.nn.ParameterList(
            torch.empty(data.parameters[f"decoder.2.{n}"].shape) for n in names
        )
        ahead, back = (
            torch.nn.ModuleList([torch.nn.Embedding(V, E), torch.nn.LSTM(E, H)]) for _ in range(2)
        )
        linear = torch.nn.Linear(H, V)
        module = torch.nn.ModuleList([ahead, back, weights, linear])
        self.fill(module, data.parameters.values())
        lengths = None if data.lengths is None else torch.from_numpy(data.lengths[0])
        blanks = self.blanks(data.lengths and data.lengths[0], workload.S)
        attend, rnn = self.attention("general", names), torch.nn.utils.rnn

        def read(source):
            x = ahead[0](source)
            if lengths is None:
                y, state = ahead[1](x)
            else:
                y, state = ahead[1](rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))
                y = rnn.pad_packed_sequence(y, total_length=workload.S)[0]
            return y.swapaxes(0, 1), state

        def write(ids, memory, state):
            y, state = back[1](back[0](ids), state)
            return linear(attend(y.swapaxes(0, 1), memory, blanks, weights)), state

        return module, read, write

    def translate(self, workload, data):
        torch = self.torch
        module, read, write = self.translator(workload, data)
        learn = self.learner(module, workload)
        source, target, targets = map(
            torch.from_numpy, (data.source, data.read, data.targets.T.copy())
        )
        if data.lengths is not None:  # cross_entropy leaves them out
            targets[torch.arange(workload.T) >= torch.from_numpy(data.lengths[1])[:, None]] = -100

        def update():
            return learn(write(target, *read(source))[0].flatten(0, 1), targets.flatten())

        return update

    def decode(self, workload, data):
        torch = self.torch
        _, read, write = self.translator(workload, data)
        source, start = (
            torch.from_numpy(data.source),
            torch.zeros((1, workload.N), dtype=torch.int64),
        )

        def decode():
            with torch.inference_mode():
                memory, state = read(source)
                ids, scores, found = start, torch.zeros(workload.N), []
                for _ in range(workload.T):
                    logits, state = write(ids, memory, state)
                    best, ids = torch.log_softmax(logits[:, 0], dim=1).max(dim=1)
                    scores, ids = scores + best, ids[None]
                    found.append(ids)
                return scores.numpy(), torch.cat(found).numpy()

        return decode


def faster(*ways: Callable, calls: int = 300) -> Callable:
    """Of functions that make the same work, what the one makes whose work takes less."""
    return min(ways, key=lambda make: seconds(make(), calls))()


def seconds(run, calls: int) -> float:
    """Median of a call, warmed."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times[calls // 3 :]))
