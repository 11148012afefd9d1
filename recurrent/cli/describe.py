"""Layers in words: what one unit of a layer takes, has and gives. Recurrent cells are read from their own description."""

from __future__ import annotations

from ..layers import Dropout, Embedding, Layer, LayerNorm, Linear, OneHot, Recurrent
from ..models.sequential import Sequential


def parameters_of_unit(layer: Recurrent) -> tuple[int, int]:
    """Parameters of one unit: with the biases that it has, and with one bias for each sum."""
    all_of_it = layer.size // (layer.hidden_size * (2 if layer.bidirectional else 1))
    return all_of_it, all_of_it - biases_of_unit(layer) + len(layer.cell.accumulators)


def biases_of_unit(layer: Recurrent) -> int:
    """Two for each gate that has both sums, as in PyTorch, unless the layer has fewer."""
    found = sum(shape[0] for name, shape in layer.shapes.items() if name.startswith("bias_"))
    return found // (layer.hidden_size * (2 if layer.bidirectional else 1))


def unit(model: Sequential, k: int) -> str:
    """What a unit of layer k is, in sentences."""
    layer, to = (
        model[k],
        f"layer {k + 1} ({type(model[k + 1]).__name__})"
        if k + 1 < len(model)
        else "the model's output",
    )
    if isinstance(layer, Recurrent):
        return _recurrent(layer, to)
    if isinstance(layer, OneHot):
        return f"A vector of {layer.rows:,} zeros but for a one at the id's place; no parameters. It goes to {to}."
    if isinstance(layer, Embedding):
        V, E = layer.shapes["weight"]
        return f"A row of {E:,} numbers for each of {V:,} ids: a one-hot vector times the matrix. The row goes to {to}."
    if isinstance(layer, Linear):
        M, K = layer.shapes["weight"]
        return f"A unit is 1 neuron with {K:,} inputs and a bias, {K + 1:,} parameters. Its number, one of {M:,}, goes to {to}."
    if isinstance(layer, Dropout):
        return f"Sets each number to 0 with probability {layer.p:g} in training, never otherwise. No parameters."
    if isinstance(layer, LayerNorm):
        return f"A step's {layer.in_features:,} numbers less their mean, over their deviation; each has its own gain and bias."
    return _other(layer)


def _other(layer: Layer) -> str:
    return f"{layer.size:,} parameters."


def _recurrent(layer: Recurrent, to: str) -> str:
    cell, (D, H, P) = layer.cell, layer.sizes
    h, *private = cell.states
    fellows, before = (
        ("its set", "of its set one step before")
        if layer.bidirectional
        else ("this layer", "one step before")
    )
    count = len(cell.gates)
    neurons = "1 neuron" if count == 1 else f"{count} gate neurons ({', '.join(cell.gates)})"
    inputs = []
    whole = f"the {P:,} numbers of {h}" if cell.has_projection else f"{h} of all {H:,} units"
    for x, y, total in (
        (True, True, f"{D:,} + {P:,} = {D + P:,}"),
        (True, False, f"{D:,}"),
        (False, True, f"{P:,}"),
    ):
        gates = [g for g in cell.gates if (g in cell.x_gates, g in cell.h_gates) == (x, y)]
        if gates:
            who = (
                "each"
                if count > 1 and len(gates) == count
                else "it"
                if count == 1
                else " and ".join(gates)
            )
            sources = [s for s, yes in (("x_t", x), (f"{whole} {before}", y)) if yes]
            inputs.append(f"{who} with {total} inputs ({' and '.join(sources)})")
    size, one = parameters_of_unit(layer)
    split = [g for g in cell.gates if sum(a.gate == g for a in cell.accumulators) > 1]
    text = f"A unit is {neurons}, {'; '.join(inputs)}.".replace(
        "1 neuron, it with", "1 neuron with"
    )
    if layer.bidirectional:
        text = f"Two sets of {H:,} units: one reads from the first step on, the other from the last valid one back. {text}"
    if split:
        text += f" Of {' and '.join(split)} the sum over x_t and the sum over {h} are kept apart until the equations join them."
    products = [f"{len(g)} x {n:,}" for g, n in ((cell.x_gates, D), (cell.h_gates, P))]
    products += [f"{P:,}"] * cell.has_projection
    of_them = biases_of_unit(layer)
    biases = "no biases" if of_them == 0 else f"{of_them} bias{'es' * (of_them > 1)}"
    own = f" + {len(cell.parameters)} of its own" if cell.parameters else ""
    text += f" It has {' + '.join(products)} weights + {biases}{own} = {size:,} parameters"
    text += f" ({one:,} with one bias for each sum)." if one < size else "."
    comes = f" Out of it comes one number a step, its {h}"
    if cell.has_projection:
        comes = f" Out of it comes one number a step; of those of all {H:,} units W_hr makes {P:,}, which are {h}"
    text += f"{comes}: to {to} and, one step later, to every unit of {fellows}."
    if private:
        text += f" Its {' and '.join(private)} is seen by nobody else: it only returns to the unit itself one step later."
    return text
