"""Describes one unit of a layer in English: its inputs, parameters and output."""

from __future__ import annotations

from ..layers import Activation, Dropout, Embedding, Layer, LayerNorm, Linear, OneHot, Recurrent
from ..models.sequential import Sequential


def _units(layer: Recurrent) -> int:
    """Return the number of units in all directions."""
    return layer.hidden_size * (2 if layer.bidirectional else 1)


def parameters_of_unit(layer: Recurrent) -> tuple[int, int]:
    """Count the parameters of one unit: with all its biases, and with one bias per sum."""
    count = layer.size // _units(layer)
    sums = sum(a.gate not in layer.cell.inputs for a in layer.cell.accumulators)
    return count, count - biases_of_unit(layer) + sums


def biases_of_unit(layer: Recurrent) -> int:
    """Count the biases of one unit: as in PyTorch two per gate, unless the layer has fewer."""
    rows = sum(shape[0] for name, shape in layer.shapes.items() if name.startswith("bias_"))
    return rows // _units(layer)


def unit(model: Sequential, k: int, end: str = "the model's output") -> str:
    """Describe one unit of layer k in a few sentences; `end`: what the last layer goes to."""
    layer, target = model[k], end
    if k + 1 < len(model):
        target = f"layer {model.names[k + 1]} ({type(model[k + 1]).__name__})"
    if isinstance(layer, Recurrent):
        return _recurrent(layer, target)
    if isinstance(layer, OneHot):
        return (
            f"Turns an id into {layer.rows:,} values: 1 at the position of the id, 0 elsewhere. "
            f"No parameters. The vector goes to {target}."
        )
    if isinstance(layer, Embedding):
        V, E = layer.shapes["weight"]
        return (
            f"Turns each of {V:,} ids into a row of {E:,} values, like a one-hot vector times the "
            f"weight matrix. The row goes to {target}."
        )
    if isinstance(layer, Linear):
        M, K = layer.shapes["weight"]
        bias = "bias" in layer.shapes
        return (
            f"Each unit is one neuron with {K:,} inputs and {'a' if bias else 'no'} bias: "
            f"{K + bias:,} parameters. Its output, one of {M:,}, goes to {target}."
        )
    if isinstance(layer, Dropout):
        return (
            f"Sets each value to 0 with probability {layer.p:g} during training, and does nothing "
            "otherwise. No parameters."
        )
    if isinstance(layer, LayerNorm):
        return (
            f"Normalises the {layer.in_features:,} values of each time step to zero mean and unit "
            "variance; each value has its own gain and bias."
        )
    if isinstance(layer, Activation):
        if layer.function == "softmax":
            return (
                "Turns the values of each time step into probabilities by softmax. No parameters."
            )
        return f"Applies {layer.function} to each value. No parameters."
    return _other(layer)


def _other(layer: Layer) -> str:
    """Describe a layer by the summary of its class, also one of the user's own."""
    summary = (type(layer).__doc__ or "").strip().partition("\n")[0]
    count = f"{layer.size:,} parameters." if layer.size else "No parameters."
    return f"{summary} {count}".strip()


def _recurrent(layer: Recurrent, target: str) -> str:
    cell, (D, H, P) = layer.cell, layer.sizes
    D -= len(cell.inputs)
    h, *internal = cell.states
    sentences = []
    if layer.bidirectional:
        sentences.append(
            f"The layer has two directions of {H:,} units: one runs forward from the first time "
            "step, the other backward from the last valid one."
        )
    if layer.reverse:
        sentences.append("The layer runs backward, from the last valid time step to the first.")
    sentences.append(f"{_gates(layer)}.")
    separate = [g for g in cell.gates if sum(a.gate == g for a in cell.accumulators) > 1]
    if separate:
        sentences.append(
            f"For {' and '.join(separate)} the sum over x_t and the sum over {h} are kept "
            "separate; the cell's equations combine them."
        )
    products = [f"{len(g)} x {n:,}" for g, n in ((cell.x_gates, D), (cell.h_gates, P))]
    products += [f"{P:,}"] * cell.has_projection
    biases, (size, with_one_bias) = biases_of_unit(layer), parameters_of_unit(layer)
    counts = f"{' + '.join(products)} weights + {biases} bias{'es' * (biases != 1)}"
    own = len(cell.parameters) - len(cell.scalars)
    counts += f" + {own} other" if own else ""
    fewer = f" ({with_one_bias:,} with one bias per sum)" if with_one_bias < size else ""
    sentences.append(f"A unit has {counts} = {size:,} parameters{fewer}.")
    if cell.scalars:
        sentences.append(f"All units share the parameters {', '.join(cell.scalars)}.")
    if cell.inputs:
        sentences.append(f"The last columns of x, {', '.join(cell.inputs)}, reach every unit.")
    output = f"Its output {h} is one value per time step, which goes"
    if cell.has_projection:
        output = (
            f"Its output is one value per time step; W_hr projects the outputs of all {H:,} units "
            f"to the {P:,} values of {h}, which go"
        )
    peers = "its direction" if layer.bidirectional else "this layer"
    sentences.append(f"{output} to {target} and, one time step later, to every unit of {peers}.")
    if internal:
        sentences.append(
            f"Its {' and '.join(internal)} {'are' if len(internal) > 1 else 'is'} internal: only "
            "the unit itself reads it, one time step later."
        )
    return " ".join(sentences)


def _gates(layer: Recurrent) -> str:
    """Describe the number of gates of a unit, and the inputs of each gate."""
    cell, (D, H, P) = layer.cell, layer.sizes
    D -= len(cell.inputs)
    h, count = cell.states[0], len(cell.gates)
    previous = f"the {P:,} values" if cell.has_projection else f"{h} of all {H:,} units"
    previous += f" of {h}" * cell.has_projection + " of its direction" * layer.bidirectional
    previous += " one time step before"
    inputs = []
    for from_x, from_h, total in (
        (True, True, f"{D:,} + {P:,} = {D + P:,}"),
        (True, False, f"{D:,}"),
        (False, True, f"{P:,}"),
    ):
        gates = [
            g for g in cell.gates if (g in cell.x_gates, g in cell.h_gates) == (from_x, from_h)
        ]
        if gates:
            subject = "" if count == 1 else "each" if len(gates) == count else " and ".join(gates)
            sources = ["x_t"] * from_x + [previous] * from_h
            inputs.append(f"{subject} with {total} inputs ({' and '.join(sources)})")
    if count == 1:
        return f"A unit is one neuron{inputs[0]}"
    return f"A unit is {count} neurons, one per gate ({', '.join(cell.gates)}): {'; '.join(inputs)}"
