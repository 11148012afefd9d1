"""The network as a stack: one box per layer, shapes on every edge, recurrence as a loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurrent.engine.bidirectional import REVERSE

from ..draw import dot, notation, palette
from ..draw.drawing import Drawing
from ..reading import describe, nodes
from ..reading.models import check_model, checked

WIDE, TALL, PITCH, END = 230, 46, 92, (84, 28)
CHANNEL, MEMORY = 190, "#7A5195"  # room between two stacks, and the colour of the memory


def network(model: Any, recording: Any = None) -> Drawing:
    """Draw the layers of a model from the input at the bottom to the output at the top.

    Edges show shapes in terms of T time steps and N sequences.

    Parameters
    ----------
    model : recurrent.Sequential or recurrent.Seq2Seq
        The model to draw.
    recording : recurrent.Recording, optional
        A recorded run of the model. Edges then also show the mean absolute output of a layer and,
        for a run with a loss, of its gradient.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If `model` is not a model.
    ValueError
        If the recording is of another model.
    """
    check_model(model, "network")
    if recording is not None:
        checked(model, recording, "network")
    graph, means = model.graph(), _means(recording)
    first, *others = _stacks(graph)
    items, place = _stack(graph, first, 0.0)
    right = _right(items)
    for stack in others:
        left = min(item.box[0] for item in _stack(graph, stack, 0.0)[0])
        drawn, more = _stack(graph, stack, _right(items) + CHANNEL - left)
        items, place = items + drawn, place | more
    boxes, crossing = {i.name: i.box for i in items if i.kind == "node"}, []
    for e in graph.edges:
        if not e.delay and place[e.source][0] != place[e.target][0]:
            crossing.append(e)
        elif not e.delay:
            (x, _), below, above = place[e.source], boxes[e.source][3], boxes[e.target][1]
            items.append(dot.wire(e.source, e.target, [(x, below), (x, above)]))
            label = " · ".join([notation.shape(e.shape), *means.get(e.source, [])])
            items.append(dot.text((x + 10, (below + above) / 2), label, 10, anchor="start"))
    items += _crossing(crossing, boxes, right)
    total = f"{sum(n.parameters for n in graph.nodes):,} parameters in total"
    items.append(dot.text((0, -44), f"{total} · T steps, N sequences", 10))
    if means:
        names = dict.fromkeys(text.rpartition(" ")[0] for texts in means.values() for text in texts)
        items.append(dot.text((0, -60), f"{', '.join(names)}: means over a run", 10))
    title = f"Network of {notation.count(len(model.layers), 'layer')}"
    text = ", ".join(f"{n.label} {notation.shape(n.shape)}" for n in graph.nodes)
    return Drawing.from_items(title, f"{total}; from input to output: {text}.", items)


def _right(items):
    return max((item.box[2] for item in items), default=0.0)


def _means(recording):
    """Return labels with the mean absolute output and gradient of each layer of a run."""
    found = {}
    for k, recorded in enumerate(recording.layers if recording is not None else ()):
        values = {"|y|": recorded.y, "|dL/dy|": recorded.dy}
        known = [(name, a) for name, a in values.items() if a is not None and a.size]
        if known:
            labels = [f"{name} {notation.plain(np.abs(a).mean())}" for name, a in known]
            found[f"layer{k}"] = labels
    return found


def _stacks(graph):
    """Return the nodes of each stack of layers; each input of the graph begins a stack."""
    stacks = []
    for node in graph.nodes:
        if node.kind == "input":
            stacks.append([])
        stacks[-1].append(node)
    return stacks


def _stack(graph, stack, x):
    """Return the items of a column of layers centred on `x`, and the place of each layer."""
    items, place = [], {}
    for k, node in enumerate(stack):
        place[node.id] = at = (x, k * PITCH)
        loops = [e for e in graph.edges if e.delay and e.source == node.id]
        fill, border = palette.layer(node.kind, bool(loops))
        if node.kind in ("input", "output"):
            tip = f"{node.kind} {notation.shape(node.shape)}"
            look = dict(shape="ellipse", style="filled", fill=fill, color=border, penwidth=1.2)
            items.append(dot.node(node.id, at, END, node.label, **look, tip=tip))
            continue
        count = "no parameters"
        if node.parameters:
            count = notation.count(node.parameters, "parameter")
        label = f"{describe.short(node.label)}\n{count}"
        size = (max(WIDE, notation.width(label, 11) * 1.15 + 24), TALL)
        look = dict(shape="box", style="rounded,filled", fill=fill, color=border, penwidth=1.2)
        items.append(dot.node(node.id, at, size, label, **look, tip=f"{node.label}: {count}"))
        drawn = []
        for side in (1, -1):
            drawn += _loops(node.id, at, size, [e for e in loops if e.delay == side], side)
        left = min([x - size[0] / 2, *(item.box[0] for item in drawn)])
        number = f"layer {nodes.layer_number(node.id)}"
        items.append(dot.text((left - 12, at[1]), number, 9, anchor="end"))
        items += drawn
    return items, place


def _crossing(edges, boxes, right):
    """Return the wires from one stack to the next: the memory of all steps, and states."""
    items, way = [], right + 14
    for e in edges:
        source, target = boxes[e.source], boxes[e.target]
        # Above the loops and their labels, or below them.
        memory = e.label == "memory"
        low, high = (source[3] - 5, target[3] - 5) if memory else (source[1] + 5, target[1] + 5)
        colour = MEMORY if memory else palette.state(e.label.split(",")[0], 0)
        points = [(source[2], low), (way, low), (way, high), (target[0], high)]
        shape = notation.shape(e.shape)
        tip = f"{e.label} {shape} from {e.source} to {e.target}"
        items.append(dot.wire(e.source, e.target, points, color=colour, penwidth=1.8, tip=tip))
        text = "all steps: memory" if memory else f"final {e.label}: initial {e.label}"
        beside = (way + 8, high + (10 if memory else -10))
        items.append(dot.text(beside, f"{text} {shape}", 9, colour, anchor="start"))
        way += 12
    return items


def _loops(name, at, size, loops, side):
    """Return the loops of the states, on the right of the box, or on the left in reverse."""
    if not loops:
        return []
    items = []
    x, y = at[0] + side * size[0] / 2, at[1]
    for k, e in enumerate(loops):
        out, half = x + side * (26 + 14 * k), 8 + 7 * k
        points = [(x, y + half), (out, y + half), (out, y - half), (x, y - half)]
        look: dict[str, Any] = dict(radius=6, color=palette.state(_plain(e), k), penwidth=1.6)
        tip = f"{_plain(e)} of step t goes to step t {'+' if side > 0 else '-'} 1"
        items.append(dot.wire(name, name, points, **look, tip=tip))
    out = x + side * (26 + 14 * (len(loops) - 1) + 8)
    when, anchor = ("later", "start") if side > 0 else ("earlier", "end")
    for k, e in enumerate(loops):
        dy = 6.5 * (len(loops) - 1) - 13 * k
        note = f"{_plain(e)} {notation.shape(e.shape)}, 1 step {when}"
        items.append(dot.text((out, y + dy), note, 9, palette.state(_plain(e), k), anchor=anchor))
    return items


def _plain(e):
    """Return the name of a state without its direction."""
    return e.label.removesuffix(REVERSE)
