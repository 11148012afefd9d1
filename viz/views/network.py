"""The stack, folded: one box a layer, shapes on every edge, recurrence as a loop with its delay."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..draw import dot, notation, palette
from ..draw.drawing import Drawing
from ..reading import describe

WIDE, TALL, PITCH, END = 230, 46, 92, (84, 28)
CHANNEL, MEMORY = 190, "#7A5195"  # between two stacks, and what crosses it


def network(model: Any, recording: Any = None) -> Drawing:
    """The layers of a model from input (bottom) to output (top): T steps, N sequences.

    `recording`: the edges then bear the mean absolute value of what a layer of the run puts out and, where it was recorded
    with a loss, of the gradient that comes back. Raises TypeError for what has no graph of layers, ValueError for a
    recording of as many layers as the model has not.
    """
    if not hasattr(model, "layers") or not hasattr(model, "graph"):
        raise TypeError(f"network draws a model of layers, got {type(model).__name__}")
    if recording is not None and len(recording.layers) != len(model.layers):
        layers = notation.count(len(recording.layers), "layer")
        raise ValueError(
            f"the recording must be of this model of {len(model.layers)}, it has {layers}"
        )
    graph, carried = model.graph(), _carried(recording)
    stacks = _stacks(graph)
    items, place = _stack(graph, stacks[0], 0.0)
    for nodes in stacks[1:]:
        left = min(item.box[0] for item in _stack(graph, nodes, 0.0)[0])
        drawn, more = _stack(graph, nodes, max(item.box[2] for item in items) + CHANNEL - left)
        items, place = items + drawn, place | more
    boxes, crossing = {i.name: i.box for i in items if i.kind == "node"}, []
    for e in graph.edges:
        if not e.delay and place[e.source][0] != place[e.target][0]:
            crossing.append(e)
        elif not e.delay:
            (x, _), below, above = place[e.source], boxes[e.source][3], boxes[e.target][1]
            items.append(dot.wire(e.source, e.target, [(x, below), (x, above)]))
            said = " · ".join([notation.shape(e.shape), *carried.get(e.source, [])])
            items.append(dot.text((x + 10, (below + above) / 2), said, 10, anchor="start"))
    items += _crossing(
        crossing, boxes, max((i.box[2] for i in _stack(graph, stacks[0], 0.0)[0]), default=0.0)
    )
    total = f"{sum(n.parameters for n in graph.nodes):,} parameters in all"
    items.append(dot.text((0, -44), f"{total} · T steps, N sequences", 10))
    if carried:
        shown = dict.fromkeys(said.rpartition(" ")[0] for one in carried.values() for said in one)
        items.append(dot.text((0, -60), f"{', '.join(shown)}: means over a run", 10))
    title = f"Network of {notation.count(len(model.layers), 'layer')}"
    said = ", ".join(f"{n.label} {notation.shape(n.shape)}" for n in graph.nodes)
    return Drawing.from_items(title, f"{total}; from input to output: {said}.", items)


def _carried(recording):
    """What a run's layers put out and get back, in words, by node."""
    found = {}
    for k, mine in enumerate(recording.layers if recording is not None else ()):
        values = {"|y|": mine.y, "|dL/dy|": mine.dy}
        sizes = [
            f"{name} {notation.plain(np.abs(a).mean())}"
            for name, a in values.items()
            if a is not None and a.size
        ]
        found |= {f"layer{k}": sizes} if sizes else {}
    return found


def _stacks(graph):
    """The nodes of each stack of layers: one begins at every input."""
    stacks = []
    for node in graph.nodes:
        if node.kind == "input":
            stacks.append([])
        stacks[-1].append(node)
    return stacks


def _stack(graph, nodes, x):
    """A column of layers around `x`, and where each of them is."""
    items, place = [], {}
    for k, node in enumerate(nodes):
        end = node.kind in ("input", "output")
        loops = [e for e in graph.edges if e.delay and e.source == node.id]
        fill, border = palette.layer(node.kind, bool(loops))
        if end:
            label, size, tip = node.label, END, f"{node.kind} {notation.shape(node.shape)}"
        else:
            count = (
                notation.count(node.parameters, "parameter") if node.parameters else "no parameters"
            )
            tip = f"{node.label}: {count}"
            label = f"{describe.short(node.label)}\n{count}"
            size = (max(WIDE, notation.width(label, 11) * 1.15 + 24), TALL)
        place[node.id] = at = (x, k * PITCH)
        style = "filled" if end else "rounded,filled"
        shape = "ellipse" if end else "box"
        items.append(
            dot.node(
                node.id,
                at,
                size,
                label,
                shape=shape,
                style=style,
                fill=fill,
                color=border,
                penwidth=1.2,
                tip=tip,
            )
        )
        drawn = [
            item
            for d in (1, -1)
            for item in _loops(node.id, at, size, [e for e in loops if e.delay == d], d)
        ]
        if not end:
            left = min([x - size[0] / 2, *(item.box[0] for item in drawn)])
            items.append(
                dot.text(
                    (left - 12, at[1]), f"layer {node.id.removeprefix('layer')}", 9, anchor="end"
                )
            )
        items += drawn
    return items, place


def _crossing(edges, boxes, right):
    """Wires from one stack to the next, each with a way of its own between them: the memory of all steps, states."""
    items, way = [], right + 14
    for e in edges:
        source, target = boxes[e.source], boxes[e.target]
        # Above the loops and their words, or below them.
        memory = e.label == "memory"
        low, high = (source[3] - 5, target[3] - 5) if memory else (source[1] + 5, target[1] + 5)
        colour = MEMORY if memory else palette.state(e.label.split(",")[0], 0)
        points = [(source[2], low), (way, low), (way, high), (target[0], high)]
        tip = f"{e.label} {notation.shape(e.shape)} from {e.source} to {e.target}"
        items.append(dot.wire(e.source, e.target, points, color=colour, penwidth=1.8, tip=tip))
        said = "all steps: memory" if memory else f"final {e.label}: initial {e.label}"
        beside = (way + 8, high + (10 if memory else -10))
        items.append(
            dot.text(beside, f"{said} {notation.shape(e.shape)}", 9, colour, anchor="start")
        )
        way += 12
    return items


def _loops(name, at, size, loops, side):
    """One loop a state, each further out: at the right of the box, or at its left where a layer reads in reverse."""
    items = []
    x, y = at[0] + side * size[0] / 2, at[1]
    for k, e in enumerate(loops):
        colour = palette.state(_plain(e), k)
        out, half = x + side * (26 + 14 * k), 8 + 7 * k
        points = [(x, y + half), (out, y + half), (out, y - half), (x, y - half)]
        tip = f"{_plain(e)} of step t goes to step t {'+' if side > 0 else '-'} 1"
        items.append(dot.wire(name, name, points, radius=6, color=colour, penwidth=1.6, tip=tip))
    if loops:
        out = x + side * (26 + 14 * (len(loops) - 1) + 8)
        for k, e in enumerate(loops):
            dy = 6.5 * (len(loops) - 1) - 13 * k
            note = f"{_plain(e)} {notation.shape(e.shape)}, 1 step {'later' if side > 0 else 'earlier'}"
            colour = palette.state(_plain(e), k)
            items.append(
                dot.text((out, y + dy), note, 9, colour, anchor="start" if side > 0 else "end")
            )
    return items


def _plain(e):
    return e.label.removesuffix("_reverse")
