"""The network as a stack: one box per layer, shapes on every edge, recurrence as a loop."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from recurrent import Graph
from recurrent.engine.bidirectional import REVERSE
from recurrent.interchange.onnx import Network

from ..draw import adapt, dot, notation, palette
from ..draw.adapt import Look, adaptable
from ..draw.drawing import Drawing
from ..layout import layered
from ..reading import describe
from ..reading.models import check_model, checked, no_model

WIDE, TALL, PITCH, END = 230, 46, 92, (84, 28)
CHANNEL, MEMORY = 190, "#7A5195"  # room between two stacks, and the colour of the memory
ROOM, GAP = 190, 30  # beside a box for its name and loops, and between neighbours of a level
LISTED = 8  # names of inputs or classes
MOST = 80  # nodes of a network of ONNX
NEAR = 9  # a wire makes no smaller turn aside


@adaptable
def network(model: Any, recording: Any = None, **options: Unpack[Look]) -> Drawing:
    """Draw the layers of a model from the input at the bottom to the output at the top.

    Edges show shapes in terms of T time steps and N sequences.

    Parameters
    ----------
    model : recurrent.Sequential, recurrent.Graph, recurrent.Seq2Seq or a network of ONNX
        The model to draw; of a network that is no model, as `recurrent.from_onnx` returns it, up to
        80 nodes.
    recording : recurrent.Recording, optional
        A recorded run of the model. Edges then also show the mean absolute output of a layer and,
        for a run with a loss, of its gradient.
    **options
        `title`, `labels`, `width`, `palette` and `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If `model` is not a model.
    ValueError
        If the recording is of another model, or a network of ONNX has too many nodes.
    """
    if isinstance(model, Network):
        if recording is not None:
            raise ValueError("recording must be None: a network of ONNX is not recorded")
        return _of_nodes(model)
    check_model(model, "network")
    if recording is not None:
        checked(model, recording, "network")
    graph, means = model.graph(), _means(recording)
    if isinstance(model, Graph):
        shares = {f"layer{k}": _shared(model, k) for k in range(len(model))}
        names = {f"layer{k}": name for k, name in enumerate(model.names)}
        items = _branches(graph, names, shares, means)
    else:
        names = {
            f"layer{k}": f"layer {k}{describe.named(layer, chr(10))}"
            for k, layer in enumerate(model.layers)
        }
        items = _columns(graph, names, means)
    items += _named(graph, items)
    total = f"{sum(n.parameters for n in graph.nodes):,} parameters in total"
    items.append(dot.text((0, -44), f"{total} · T steps, N sequences", 10))
    if means:
        names = dict.fromkeys(text.rpartition(" ")[0] for texts in means.values() for text in texts)
        items.append(dot.text((0, -60), f"{', '.join(names)}: means over a run", 10))
    title = f"Network of {notation.count(len(model.layers), 'layer')}"
    text = ", ".join(f"{n.label} {notation.shape(n.shape)}" for n in graph.nodes)
    return Drawing.from_items(title, f"{total}; from input to output: {text}.", items)


def _named(graph, items):
    """Return the names of the inputs and classes, beside the input and the output of a model."""
    found, boxes = [], {i.name: i.box for i in items if i.kind == "node"}
    for which, kind in (("input", "inputs"), ("output", "classes")):
        ends = [n for n in graph.nodes if n.kind == which]
        if not adapt.named(kind) or len(ends) != 1 or not isinstance(ends[0].shape[-1], int):
            continue
        size = ends[0].shape[-1]
        names = [adapt.label(kind, k, size, "") for k in range(size)]
        text = ", ".join(names[:LISTED]) + f", … ({size:,} in all)" * (size > LISTED)
        _, bottom, right, top = boxes[ends[0].id]
        found.append(dot.text((right + 10, (bottom + top) / 2), text, 9, anchor="start"))
    return found


def _columns(graph, names, means):
    """Return the items of a model whose parts are stacks of layers."""
    first, *others = _stacks(graph)
    items, place = _stack(graph, names, first, 0.0)
    right = _right(items)
    for stack in others:
        left = min(item.box[0] for item in _stack(graph, names, stack, 0.0)[0])
        drawn, more = _stack(graph, names, stack, _right(items) + CHANNEL - left)
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
    return items


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


def _stack(graph, names, stack, x):
    """Return the items of a column of layers centred on `x`, and the place of each layer."""
    items, place = [], {}
    y = _heights([[node] for node in stack], graph)
    for k, node in enumerate(stack):
        place[node.id] = at = (x, y[k])
        items += _box(graph, node, at, names.get(node.id, ""))
    return items, place


def _heights(levels, graph):
    """Return the height of the middle of each level of nodes, with room for many states."""
    more = [max((_tall(graph, n) - TALL for n in level), default=0) / 2 for level in levels]
    at, found = 0.0, []
    for k, extra in enumerate(more):
        at += PITCH + more[k - 1] + extra if k else 0
        found.append(at)
    return found


def _tall(graph, node):
    """Return the height of a layer's box, from which the loops of all its states begin."""
    loops = [e.delay for e in graph.edges if e.delay and e.source == node.id]
    most = max(loops.count(1), loops.count(-1))
    return max(TALL, 2 * _half(most - 1) + 8)


def _half(k):
    """Return half the height of the k-th loop of a box."""
    return 8 + 7 * k


def _is_end(node):
    return node.kind in ("input", "output")


def _size(graph, node, label):
    if _is_end(node):
        return max(END[0], notation.width(label, 11) * 1.15 + 16), END[1]
    return max(WIDE, notation.width(label, 11) * 1.15 + 24), _tall(graph, node)


def _label(node, shares=""):
    """Return the text of a box: what the layer is, and its parameters."""
    if _is_end(node):
        return node.label
    count = notation.count(node.parameters, "parameter") if node.parameters else "no parameters"
    return f"{describe.short(node.label)}\n{shares or count}"


def _box(graph, node, at, name, shares=""):
    """Return the items of a layer with its loops, or of an input or output."""
    loops = [e for e in graph.edges if e.delay and e.source == node.id]
    fill, border = palette.layer(node.kind, bool(loops))
    label = _label(node, shares)
    size = _size(graph, node, label)
    if _is_end(node):
        tip = f"{node.kind} {notation.shape(node.shape)}"
        look = dict(shape="ellipse", style="filled", fill=fill, color=border, penwidth=1.2)
        return [dot.node(node.id, at, size, label, **look, tip=tip)]
    look = dict(shape="box", style="rounded,filled", fill=fill, color=border, penwidth=1.2)
    tip = f"{node.label}: {label.rpartition(chr(10))[2]}"
    items, drawn = [dot.node(node.id, at, size, label, **look, tip=tip)], []
    for side in (1, -1):
        drawn += _loops(node.id, at, size, [e for e in loops if e.delay == side], side)
    left = min([at[0] - size[0] / 2, *(item.box[0] for item in drawn)])
    if name:
        items.append(dot.text((left - 12, at[1]), name, 9, anchor="end"))
    return items + drawn


def _of_nodes(model):
    """Draw the nodes of a network of ONNX."""
    graph, names = model.graph()
    if len(graph.nodes) > MOST:
        raise ValueError(
            f"network draws at most {MOST} nodes, inputs and outputs, got {len(graph.nodes)}; "
            f"{no_model(model)}"
        )
    items = _branches(graph, names, {}, {})
    total = f"{sum(n.parameters for n in graph.nodes):,} parameters in total"
    items.append(dot.text((0, -44), total, 10))
    title = f"Network of ONNX: {notation.count(len(names), 'node')}"
    text = ", ".join(n.label for n in graph.nodes)
    return Drawing.from_items(title, f"{total}; from input to output: {text}.", items)


def _branches(graph, names, shares, means):
    """Return the items of a graph of layers: each stands above all that it reads."""
    room = {n.id: _room(n, _box(graph, n, (0, 0), "", shares.get(n.id, ""))) for n in graph.nodes}
    inputs = [n.id for n in graph.nodes if n.kind == "input"]
    others = [n.id for n in graph.nodes if n.kind != "input"]
    links = [e for e in graph.edges if not e.delay]
    pairs = list(dict.fromkeys((e.source, e.target) for e in links))
    plan = layered.layout(inputs, others, pairs, room, set(), GAP)
    level = {n: k for k, column in enumerate(plan.columns) for n in column}
    by_level = [[n for n in graph.nodes if level[n.id] == k] for k in range(len(plan.columns))]
    y = _heights(by_level, graph)
    tall = [max((_tall(graph, n) for n in nodes), default=TALL) for nodes in by_level]
    floor = [at - (high - TALL) / 2 for at, high in zip(y, tall, strict=True)]
    place = {n: (-plan.y[n], y[level[n]]) for n in level}
    items = []
    for n in graph.nodes:
        items += _box(graph, n, place[n.id], "", shares.get(n.id, ""))
    boxes = {i.name: i.box for i in items if i.kind == "node"}
    for n, name in names.items():
        left, _, _, top = boxes[n]
        items.append(dot.text((left + 8, top + 8), notation.short(name, 20), 9, anchor="start"))
    for pair in pairs:
        items.append(_way(pair, plan, place, boxes, pairs, level, floor))
    for n in dict.fromkeys(e.source for e in links):
        shape = next(e.shape for e in links if e.source == n)
        text = " · ".join([notation.shape(shape)] * bool(shape) + means.get(n, []))
        if not text:
            continue
        items.append(dot.text((place[n][0] + 10, boxes[n][3] + 9), text, 10, anchor="start"))
    return items


def _room(node, items):
    """Return the room that a box needs with its loops, which may stand on both sides of it."""
    wide = next(item.box[2] - item.box[0] for item in items if item.name == node.id)
    if _is_end(node):
        return wide
    return max(wide + ROOM, 2 * max(max(-item.box[0], item.box[2]) for item in items))


def _shared(model, k):
    """Return what a box says of a layer all of whose parameters are those of another one."""
    tied = model.tied(k)
    if not tied or len(tied) < len(model.layers[k].shapes):
        return ""
    owners = dict.fromkeys(n for e in tied.values() for n in model.names if e.startswith(f"{n}."))
    return f"parameters of {', '.join(owners)}"


def _way(pair, plan, place, boxes, pairs, level, floor):
    """Return the wire from one node to another, between the boxes of the levels it crosses.

    `floor` is the height of the middle of a usual box that stands on the bottom of a level.
    """
    source, target = pair
    into = [a for a, b in pairs if b == target]
    into.sort(key=lambda a: place[plan.path[a, target][-2]][0])
    points = [(place[source][0], boxes[source][3])]
    for n in plan.path[pair][1:]:
        x, y = place[n]
        column = list(plan.columns[level[n]])
        turn = floor[level[n]] - PITCH / 2 + 20 * ((column.index(n) + 1) / (len(column) + 1) - 0.5)
        end = y
        if n == target:
            x += 24 * (into.index(source) - (len(into) - 1) / 2)
            end = boxes[target][1]
        if abs(x - points[-1][0]) < NEAR:
            x = points[-1][0]
        else:
            points += [(points[-1][0], turn), (x, turn)]
        points.append((x, end))
    return dot.wire(source, target, points, tip=f"{source} to {target}")


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
        out, half = x + side * (26 + 14 * k), _half(k)
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
