"""Runs the nodes of a graph of ONNX one after the other: all that can be is resolved beforehand.

Every name of a graph, and of the graphs within its nodes, has a slot of one list, the frame. A call
copies the frame, which has the constants, and walks the steps: each reads slots and writes slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import checks
from . import control, loading, reference
from .known import DOMAINS, Known
from .operators import KINDS, Operator, Weights
from .quantised_lstm import KIND, MICROSOFT, PLACES, QuantisedLSTM

FOLDED = 1 << 28  # bytes of constants that are computed beforehand; later ones at each call
RANDOM = (
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
)  # fmt: skip
WEIGHTS = (1, 2, 3, 7)  # the places of W, R, B and P among the inputs of a recurrent node
Frame = list[Any]


class NodeError(ValueError):
    """A node cannot compute its outputs; the message names it."""


class Resolved(NamedTuple):
    """A node, and the slots of its inputs, of its outputs, and of what graphs within it read."""

    node: Any
    inputs: list[int]
    outputs: list[int]
    within: set[int]


class Block(NamedTuple):
    """The steps of a graph, and the slots of its inputs and outputs."""

    steps: list[Callable[[Frame], None]]
    nodes: list[Resolved | None]  # one for each step; None for one that drops arrays
    inputs: list[int]
    outputs: list[int]

    def run(self, frame: Frame) -> None:
        """Run the steps; raise a NodeError that names the node if one of them fails."""
        step = None
        try:
            for step in self.steps:
                step(frame)
        except NodeError:
            raise
        except Exception as error:  # onnx's operators raise all kinds for what does not fit
            one = self.nodes[next(k for k, s in enumerate(self.steps) if s is step)]
            assert one is not None, "a step that drops arrays cannot fail"
            node = one.node
            got = [
                f"{name} {described(frame[slot])}"
                for name, slot in zip(node.input, one.inputs, strict=True)
                if name
            ]
            words = " ".join(str(error).split()) or type(error).__name__
            raise NodeError(
                f"{label(node)} got {', '.join(got) or 'no inputs'}: {words:.300}"
            ) from None


class Program:
    """A graph whose nodes are resolved to functions.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    outputs : sequence of str
        The names of the outputs to compute.
    """

    def __init__(self, model: Any, outputs: Sequence[str]):
        import onnx

        self.onnx, self.opsets = onnx, {o.domain or "": o.version for o in model.opset_import}
        if "ai.onnx" in self.opsets:
            self.opsets[""] = self.opsets["ai.onnx"]
        # Slot 0: an input that is not given; slot 1: the steps of loops so far, bounds.STEPS.
        self.frame: Frame = [None, 0]
        self.constant = {0}
        self.folded = 0
        self.weights: dict[str, tuple[Any, list[Any]]] = {}  # of recurrent nodes
        graph = model.graph
        scope: dict[str, int] = {"": 0}
        self.block = self.block_of(graph, scope, list(outputs), 0)
        held = {t.name for t in graph.initializer}
        self.inputs = {i.name: scope[i.name] for i in graph.input if i.name not in held}
        self._held = frozenset(id(self.frame[slot]) for slot in self.constant)

    def run(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        """Return the outputs; arrays of their own, which no constant or input shares."""
        frame = self.frame.copy()
        for name, value in feeds.items():
            frame[self.inputs[name]] = value
        with np.errstate(all="ignore"):
            self.block.run(frame)
        found = []
        for slot in self.block.outputs:
            a = frame[slot]
            if a is None or isinstance(a, list):  # an optional or a sequence
                found.append(a)
                continue
            a = np.asarray(a)  # a graph within a node may hand on a constant or an input
            shared = a.base is not None or id(a) in self._held
            if shared or any(a is other for other in (*feeds.values(), *found)):
                a = a.copy()
            found.append(a)
        return found

    # Slots

    def _slot(self, value: Any = None, constant: bool = False) -> int:
        self.frame.append(value)
        if constant:
            self.constant.add(len(self.frame) - 1)
        return len(self.frame) - 1

    def block_of(self, graph: Any, scope: dict[str, int], outputs: list[str], depth: int) -> Block:
        """Resolve the nodes of a graph; `scope` has the slots of names, and takes those of it."""
        block = Block([], [], [], [])
        work = _Work(block, set(), [], self._needed(graph, outputs))
        self._constants(graph, scope)
        held = {t.name for t in graph.initializer}
        for i in graph.input:
            if i.name not in held:
                scope[i.name] = self._slot()
                block.inputs.append(scope[i.name])
        self._nodes(graph.node, scope, work, depth)
        block.outputs.extend(scope[name] for name in outputs)
        _release(work)
        return block

    def _constants(self, graph: Any, scope: dict[str, int]) -> None:
        for t in graph.initializer:
            scope[t.name] = self._slot(self.onnx.numpy_helper.to_array(t), constant=True)

    def _needed(self, graph: Any, outputs: list[str]) -> set[str]:
        """Return the names on which outputs of a graph depend."""
        wanted = set(outputs)
        for node in reversed(graph.node):
            if not wanted.isdisjoint(n for n in node.output if n):
                wanted.update(node.input, self._read_within(node))
        return wanted

    def _read_within(self, node: Any) -> set[str]:
        """Return all names that the graphs of a node read."""
        return {
            name
            for a in node.attribute
            if a.type == self.onnx.AttributeProto.GRAPH
            for graph in loading.graphs(self.onnx, a.g)
            for names in [*(n.input for n in graph.node), [o.name for o in graph.output]]
            for name in names
        }

    def _nodes(self, nodes: Any, scope: dict[str, int], work: _Work, depth: int) -> None:
        for node in nodes:
            if work.needed.isdisjoint(n for n in node.output if n):
                continue
            slots = [scope[name] for name in node.input]
            chosen = self._chosen(node, slots)
            if chosen is not None:  # an If whose condition is constant: its branch takes its place
                inner, ends = dict(scope), [o.name for o in chosen.output]
                self._constants(chosen, inner)
                part = work._replace(needed=self._needed(chosen, ends))
                self._nodes(chosen.node, inner, part, depth + 1)
                scope.update((n, inner[o]) for n, o in zip(node.output, ends, strict=False))
                continue
            outputs = [self._slot() for _ in node.output]
            with checks.naming(label(node)):
                step = self._step(node, slots, outputs, scope, depth)
            if not self._computed(node, slots, outputs, step, depth):
                work.block.steps.append(step)
                within = {scope[name] for name in self._read_within(node) if name in scope}
                work.block.nodes.append(Resolved(node, slots, outputs, within))
                work.owned.update(outputs)
                work.touched.append({*slots, *outputs, *within})
            scope.update((n, o) for n, o in zip(node.output, outputs, strict=True) if n)

    def _chosen(self, node: Any, slots: list[int]) -> Any:
        """Return the graph that an If always runs, or None."""
        if node.op_type != "If" or node.domain not in DOMAINS or slots[0] not in self.constant:
            return None
        condition = np.asarray(self.frame[slots[0]])
        if condition.size != 1:
            return None
        wanted = "then_branch" if condition.item() else "else_branch"
        return next((a.g for a in node.attribute if a.name == wanted), None)

    def _computed(self, node, slots, outputs, step, depth) -> bool:
        """Compute the outputs of a node whose inputs are constant; return whether that was done."""
        if node.op_type in RANDOM or not self.constant.issuperset(slots) or self._has_graph(node):
            return False
        one = Block([step], [Resolved(node, slots, outputs, set())], [], [])
        try:
            with np.errstate(all="ignore"):
                one.run(self.frame)
        except NodeError:
            if not depth:
                raise
            return False  # it may be in a branch that never runs
        size = sum(getattr(self.frame[slot], "nbytes", 0) for slot in outputs)
        if self.folded + size > FOLDED:
            for slot in outputs:
                self.frame[slot] = None
            return False
        self.folded += size
        self.constant.update(outputs)
        return True

    def _has_graph(self, node: Any) -> bool:
        return any(a.type == self.onnx.AttributeProto.GRAPH for a in node.attribute)

    # Steps

    def _step(self, node, slots, outputs, scope, depth) -> Callable[[Frame], None]:
        """Return the function that computes a node in a frame."""
        plain = node.domain in DOMAINS
        if plain and node.op_type in control.KINDS:
            return control.KINDS[node.op_type](self, node, slots, outputs, scope, depth)
        if (plain and node.op_type in KINDS) or _is_quantised(node):
            return self._recurrent(node, slots, outputs)
        constants = [self.frame[s] if s in self.constant else None for s in slots]
        opset = self.opsets.get("" if plain else node.domain)
        if opset is None:
            raise ValueError(f"the model names no version of the operators {node.domain!r}")
        own = loading.attributes(self.onnx, node)
        run = reference.resolved(Known(node, own, constants, opset))
        return _plain(run, slots, outputs)

    def _recurrent(self, node, slots, outputs):
        """Return the step of a recurrent node in the engine; constant weights are packed once."""
        own, quantised = loading.attributes(self.onnx, node), _is_quantised(node)
        operator: Any = QuantisedLSTM(own) if quantised else Operator(node.op_type, own)
        slots = [*slots, *[0] * (12 - len(slots))]
        places = [slots[k] for k in (*WEIGHTS, *(PLACES if quantised else ()))]
        x, lengths, h, c = (slots[k] for k in (0, 4, 5, 6))
        held: list[Any] = []
        if self.constant.issuperset(places):
            arrays = [self.frame[p] for p in places]
            held.append(operator.weights(*arrays))
            self._keep(node, operator, arrays)
        count = len(outputs)

        def run(frame: Frame) -> None:
            weights: Weights = held[0] if held else operator.weights(*(frame[p] for p in places))
            found = weights.run(frame[x], frame[lengths], frame[h], frame[c])
            frame[outputs[0]] = found[0]
            if count > 1:
                frame[outputs[1]] = found[1]
            if count > 2:
                frame[outputs[2]] = found[2]

        return run

    def _keep(self, node: Any, operator: Any, arrays: list[Any]) -> None:
        name = node.name or next((n for n in node.output if n), node.op_type)
        k, unique = 1, name
        while unique in self.weights:
            k, unique = k + 1, f"{name}_{k + 1}"
        self.weights[unique] = (operator, arrays)


class _Work(NamedTuple):
    """A block that is being made: the slots that its steps write, all that each of them touches."""

    block: Block
    owned: set[int]
    touched: list[set[int]]
    needed: set[str]


def _release(work: _Work) -> None:
    """Add steps that drop arrays after the last step that reads them."""
    later, steps, nodes = set(work.block.outputs), [], []
    for step, node, touched in zip(
        reversed(work.block.steps), reversed(work.block.nodes), reversed(work.touched), strict=True
    ):
        dead = tuple((touched & work.owned) - later)
        if dead:
            steps.append(_dropping(dead))
            nodes.append(None)
        steps.append(step)
        nodes.append(node)
        later |= touched
    work.block.steps[:], work.block.nodes[:] = steps[::-1], nodes[::-1]


def _dropping(slots: tuple[int, ...]) -> Callable[[Frame], None]:
    if len(slots) == 1:
        (slot,) = slots

        def drop_one(frame: Frame) -> None:
            frame[slot] = None

        return drop_one

    def drop(frame: Frame) -> None:
        for slot in slots:
            frame[slot] = None

    return drop


def _plain(run: Callable[..., Any], slots: list[int], outputs: list[int]):
    """Return the step of a function of arrays that returns an array, or a tuple of several."""
    if len(outputs) != 1:
        return _several(run, slots, outputs)
    (out,) = outputs
    if len(slots) == 1:
        (a,) = slots

        def unary(frame: Frame) -> None:
            frame[out] = run(frame[a])

        return unary
    if len(slots) == 2:
        first, second = slots

        def binary(frame: Frame) -> None:
            frame[out] = run(frame[first], frame[second])

        return binary

    def general(frame: Frame) -> None:
        frame[out] = run(*[frame[k] for k in slots])

    return general


def _several(run: Callable[..., Any], slots: list[int], outputs: list[int]):
    def several(frame: Frame) -> None:
        found = run(*[frame[k] for k in slots])
        for slot, value in zip(outputs, found, strict=False):
            frame[slot] = value

    return several


def _is_quantised(node: Any) -> bool:
    return (node.domain, node.op_type) == (MICROSOFT, KIND)


def label(node: Any) -> str:
    """Return the words for a node in errors."""
    return f"node {node.op_type} {checks.shown(node.name or next(iter(node.output), ''))}"


def described(value: Any) -> str:
    """Return the words for a value in errors: its dtype and shape."""
    if value is None:
        return "not given"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{value.dtype} {value.shape}"
