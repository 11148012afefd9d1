"""The nodes of a network of ONNX as plain data, from which a picture is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...graph import Edge, Graph, Node
from ...layers import Recurrent
from .runner import Program

# Operators that are drawn as the layers which they are with constant weights.
KINDS = {"Conv": "Conv1d", "Gemm": "Linear", "MatMul": "Linear"}


def graph(
    program: Program, inputs: Sequence[str], outputs: Sequence[str], layers: Mapping[str, Recurrent]
) -> tuple[Graph, dict[str, str]]:
    """Return the graph of the nodes that run at a call, and their names in the file by id.

    Parameters
    ----------
    program : Program
        The nodes.
    inputs, outputs : sequence of str
        The names of inputs and outputs.
    layers : mapping of str to Recurrent
        The layers that recurrent nodes are, by the names of the nodes.

    Returns
    -------
    graph : recurrent.graph.Graph
        A node for each input, node and output. The parameters of a node are its arrays of floats
        that are constant; the graphs within it are not in the picture.
    names : dict of str to str
        The names of the nodes.
    """
    g, names = Graph(), {}
    makers: dict[int, str] = {}  # of the value in each slot
    for name in inputs:
        makers[program.inputs[name]] = f"x.{name}"
        g.nodes.append(Node(f"x.{name}", "input", name))
    for k, one in enumerate(n for n in program.block.nodes if n is not None):
        id, node = f"node{k}", one.node
        names[id] = node.name or next((n for n in node.output if n), node.op_type)
        layer = layers.get(names[id])
        constants = [program.frame[s] for s in set(one.inputs) & program.constant]
        arrays = [a for a in constants if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        size, operator = sum(a.size for a in arrays if a.ndim), str(node.op_type)
        if layer is None:
            kind = KINDS.get(operator, operator) if size else operator
            g.nodes.append(Node(id, kind, operator, (), size))
        else:
            g.nodes.append(Node(id, type(layer).__name__, repr(layer), (), layer.size))
            for state, delay in layer.state_delays.items():
                g.edges.append(Edge(id, id, state, ("N", layer.state_sizes[state]), delay))
        read = [makers[s] for s in (*one.inputs, *sorted(one.within)) if s in makers]
        g.edges += [Edge(source, id) for source in dict.fromkeys(read)]
        makers |= dict.fromkeys(one.outputs, id)
    for name, slot in zip(outputs, program.block.outputs, strict=True):
        g.nodes.append(Node(f"y.{name}", "output", name))
        g.edges += [Edge(makers[slot], f"y.{name}")] if slot in makers else []
    return g, names
