"""Pictures of every shipped cell can be read: no text is covered, and every wire can be followed.

Two nets may cross, but share no stretch of a line. A net is the wires from one node; in a backward
pass those into one node, where gradients add. The bus of x and h is one net.
"""

from collections import defaultdict
from itertools import combinations, pairwise

import pytest
from support.dot_reader import overlap, read

import viz
from recurrent import Recurrent, Sequential
from recurrent.cells import CELLS
from viz.draw import notation

SHARED = 4  # points, about the width of a corner

VIEWS = {
    "unrolled": lambda model: viz.unrolled(model, 3),
    "layer": lambda model: viz.layer(model[0]),
    "unit": lambda model: viz.unit(model[0], 1),
    "cell": lambda model: viz.cell(model[0]),
    "backward": lambda model: viz.cell(model[0], backward=True),
}


def stretches(edge):
    """Yield the level and upright stretches of a wire: way, place, start and end."""
    for (ax, ay), (bx, by) in pairwise(edge.points(6)):
        if abs(ax - bx) < 0.05 < abs(ay - by):
            yield "upright", ax, min(ay, by), max(ay, by)
        elif abs(ay - by) < 0.05 < abs(ax - bx):
            yield "level", ay, min(ax, bx), max(ax, bx)


def nets_of(edge, backward, bus):
    """Return the nets that a wire belongs to."""
    ends = {edge.head} if backward else {edge.tail}
    return {"bus"} if ends <= bus else ends


def assert_nets_apart(source, backward=False, bus=frozenset()):
    _, edges, _ = read(source)
    lines = defaultdict(list)
    for e in edges:
        if not e.tail.startswith("in:"):  # weights, from each input to each neuron
            for way, at, start, end in stretches(e):
                lines[way, round(at / 3)].append((e, at, start, end))
    shared = defaultdict(float)
    for (way, k), found in list(lines.items()):
        for (e, a, *first), (f, b, *second) in combinations(found + lines[way, k + 1], 2):
            if abs(a - b) < 1.5 and not nets_of(e, backward, bus) & nets_of(f, backward, bus):
                shared[e.tail, e.head, f.tail, f.head] += max(
                    0.0, min(first[1], second[1]) - max(first[0], second[0])
                )
    assert not {k: v for k, v in shared.items() if v > SHARED}


def glyphs(node):
    """Return the box of the letters of a text, without the room around them."""
    left, bottom, right, top = node.box
    size, lines = float(node.attributes.get("fontsize", 11)), node.attributes["label"].count("\n")
    half, middle = (0.38 + 0.62 * lines) * size, (bottom + top) / 2
    wide = notation.width(node.attributes["label"], size) / 2
    if right - left > 2 * wide:
        left, right = (left + right) / 2 - wide, (left + right) / 2 + wide
    return left, middle - half, right, middle + half


def assert_texts_clear(source):
    nodes, edges, _ = read(source)
    texts = [n for n in nodes.values() if n.is_text and n.attributes["label"].strip()]
    solid = [n for n in nodes.values() if not n.is_text and n.attributes.get("style") != "invis"]
    for a, b in combinations(texts, 2):
        assert not overlap(glyphs(a), glyphs(b)), f"{a}\n{b}"
    for text in texts:
        left, bottom, right, top = box = glyphs(text)
        for n in solid:
            assert not overlap(box, n.box, slack=1), f"{text}\n{n}"
        for e in edges:
            hit = [p for p in e.points() if left < p[0] < right and bottom < p[1] < top]
            assert not hit, f"{text}\n{e}"


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("view", VIEWS)
def test_wires_can_be_followed_and_texts_read(view, name):
    model = Sequential(Recurrent(name, 3, 4), rng=0)
    source = VIEWS[view](model).source
    cell = model[0].cell
    bus = {"x", *(f"previous:{s}" for s in cell.states[:1])}
    assert_nets_apart(source, view == "backward", bus if view in ("cell", "backward") else set())
    assert_texts_clear(source)
