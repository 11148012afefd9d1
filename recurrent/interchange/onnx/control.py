"""If, Loop and Scan: nodes with graphs, whose steps use the frame of the graph around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from . import bounds, loading
from .declared import Declared


def _graphs(program, node, names, scope, depth):
    """Return the blocks of the graphs of a node."""
    own = {a.name: a.g for a in node.attribute}
    found = []
    for name in names:
        if name not in own:
            raise ValueError(f"it has no {name}")
        graph = own[name]
        outputs = [o.name for o in graph.output]
        found.append(program.block_of(graph, dict(scope), outputs, depth + 1))
    return found


def conditional(program, node, slots, outputs, scope, depth) -> Callable[[list[Any]], None]:
    """Return the step of an If: runs one of its two graphs."""
    blocks = _graphs(program, node, ("then_branch", "else_branch"), scope, depth)
    for block in blocks:
        if len(block.outputs) < len(outputs):
            raise ValueError(
                f"its graphs must have {len(outputs)} outputs, got {len(block.outputs)}"
            )
    then, other = blocks
    (condition,) = slots

    def run(frame: list[Any]) -> None:
        value = frame[condition]
        if value.size != 1:
            raise ValueError(f"the condition must have one entry, got {value.shape}")
        block = then if value.item() else other
        block.run(frame)
        for slot, own in zip(outputs, block.outputs, strict=False):
            frame[slot] = frame[own]

    return run


def loop(program, node, slots, outputs, scope, depth) -> Callable[[list[Any]], None]:
    """Return the step of a Loop: runs its graph while a condition holds."""
    graph = next((a.g for a in node.attribute if a.name == "body"), None)
    if graph is None:
        raise ValueError("it has no body")
    trips, condition, *initial = [*slots, 0, 0][: max(2, len(slots))]
    carried = len(initial)
    held = {t.name for t in graph.initializer}
    names = [i.name for i in graph.input if i.name not in held]
    if len(names) != 2 + carried or len(graph.output) < 1 + carried:
        raise ValueError(
            f"its graph must have {2 + carried} inputs and at least {1 + carried} outputs, got "
            f"{len(names)} and {len(graph.output)}"
        )
    fixed = _unchanged(graph, names[2:])
    graph, within = _without(graph, names, fixed), dict(scope)
    within |= {names[2 + k]: initial[k] for k in fixed}
    body = program.block_of(graph, within, [o.name for o in graph.output], depth + 1)
    body_outputs = graph.output
    for k in sorted(fixed, reverse=True):  # their value stays where it is
        del initial[k]
    places = [k for k in range(carried) if k not in fixed]
    kept = [(outputs[k], slots[2 + k]) for k in sorted(fixed) if k < len(outputs)]
    outputs = [outputs[k] for k in (*places, *range(carried, len(outputs))) if k < len(outputs)]
    carried = len(initial)
    counter, flag, *states = body.inputs
    goes_on, *results = body.outputs
    ends, scanned = results[:carried], results[carried:]

    def run(frame: list[Any]) -> None:
        most = frame[trips]
        most = None if most is None else int(np.asarray(most).item())
        on = True if frame[condition] is None else bool(np.asarray(frame[condition]).item())
        values = [frame[slot] for slot in initial]
        rows: list[list[Any]] = [[] for _ in scanned]
        entries = done = 0
        while on and (most is None or done < most):
            bounds.count(frame)
            frame[counter], frame[flag] = np.array(done, np.int64), np.array(True)
            for slot, value in zip(states, values, strict=True):
                frame[slot] = value
            body.run(frame)
            values = [frame[slot] for slot in ends]
            for row, slot in zip(rows, scanned, strict=True):
                row.append(np.asarray(frame[slot]))
                entries += row[-1].size
            bounds.checked(entries)
            on, done = bool(np.asarray(frame[goes_on]).item()), done + 1
        kinds = body_outputs[1 + carried :]
        found = [*values, *(_stacked(*some, 0) for some in zip(rows, kinds, strict=True))]
        for slot, value in zip(outputs, found, strict=False):
            frame[slot] = value
        for slot, source in kept:
            frame[slot] = frame[source]

    return run


def _unchanged(graph: Any, states: list[str]) -> set[int]:
    """Return which states of a Loop no step changes: tf2onnx writes weights as such states."""
    source = {
        n.output[0]: n.input[0]
        for n in graph.node
        if n.op_type == "Identity" and len(n.input) == len(n.output) == 1
    }
    found = set()
    for k, state in enumerate(states):
        name = graph.output[1 + k].name
        while name in source:
            name = source[name]
        if name == state:
            found.add(k)
    return found


def _without(graph: Any, names: list[str], fixed: set[int]) -> Any:
    """Return the graph of a Loop without some of its states; `names` has those of its inputs."""
    if not fixed:
        return graph
    copy = type(graph)()
    copy.CopyFrom(graph)
    dropped = {names[2 + k] for k in fixed}
    inputs = [i for i in graph.input if i.name not in dropped]
    outputs = [o for k, o in enumerate(graph.output) if k - 1 not in fixed]
    del copy.input[:], copy.output[:]
    copy.input.extend(inputs)
    copy.output.extend(outputs)
    return copy


def scan(program, node, slots, outputs, scope, depth) -> Callable[[list[Any]], None]:
    """Return the step of a Scan: runs its graph over the entries of an axis."""
    if program.opsets[""] < 9:
        raise ValueError("Scan of version 8 is not read: convert the model to opset 9 or newer")
    own = loading.attributes(program.onnx, node)
    (body,) = _graphs(program, node, ("body",), scope, depth)
    body_outputs = next(a.g.output for a in node.attribute if a.name == "body")
    count = checks.integer(own.get("num_scan_inputs"), "num_scan_inputs", 1, len(slots))
    initial, read = slots[: len(slots) - count], slots[len(slots) - count :]
    carried = len(initial)
    if len(body.inputs) != len(slots) or len(body.outputs) < carried:
        raise ValueError(
            f"its graph must have {len(slots)} inputs and at least {carried} outputs, "
            f"got {len(body.inputs)} and {len(body.outputs)}"
        )
    states, entries = body.inputs[:carried], body.inputs[carried:]
    ends, scanned = body.outputs[:carried], body.outputs[carried:]

    def numbers(name: str, size: int) -> list[int]:
        given = list(own.get(name) or [0] * size)
        if len(given) != size:
            raise ValueError(f"{name} must have {size} entries, got {len(given)}")
        return given

    axes, backwards = numbers("scan_input_axes", count), numbers("scan_input_directions", count)
    out_axes = numbers("scan_output_axes", len(scanned))
    out_backwards = numbers("scan_output_directions", len(scanned))

    def run(frame: list[Any]) -> None:
        arrays = [np.moveaxis(frame[s], axis, 0) for s, axis in zip(read, axes, strict=True)]
        arrays = [a[::-1] if back else a for a, back in zip(arrays, backwards, strict=True)]
        lengths = {len(a) for a in arrays}
        if len(lengths) != 1:
            raise ValueError(f"scan inputs must have equal lengths, got {sorted(lengths)}")
        steps = lengths.pop()
        if depth:  # else it has as many as its input
            bounds.count(frame, steps)
        values = [frame[slot] for slot in initial]
        rows: list[list[Any]] = [[] for _ in scanned]
        size = 0
        for k in range(steps):
            for slot, value in zip(states, values, strict=True):
                frame[slot] = value
            for slot, a in zip(entries, arrays, strict=True):
                frame[slot] = a[k]
            body.run(frame)
            values = [frame[slot] for slot in ends]
            for row, slot in zip(rows, scanned, strict=True):
                row.append(np.asarray(frame[slot]))
                size += row[-1].size
            bounds.checked(size)
        for row, back in zip(rows, out_backwards, strict=True):
            if back:
                row.reverse()
        kinds = body_outputs[carried:]
        some = zip(rows, kinds, out_axes, strict=True)
        found = [*values, *(_stacked(*one) for one in some)]
        for slot, value in zip(outputs, found, strict=False):
            frame[slot] = value

    return run


def _stacked(row: list[Any], output: Any, axis: int) -> np.ndarray:
    """Return an output of all steps along a new axis; without steps, it is as the file declares."""
    if row:
        return np.stack(row, axis)
    dtype, sizes, *_ = Declared.of(output.type)
    if dtype is None or sizes is None:
        raise ValueError("it ran no step, and the file does not say the shape of its outputs")
    sizes = list(sizes)
    sizes.insert(axis if axis >= 0 else len(sizes) + 1 + axis, 0)
    return np.zeros(bounds.shape(sizes), dtype)


KINDS = {"If": conditional, "Loop": loop, "Scan": scan}
