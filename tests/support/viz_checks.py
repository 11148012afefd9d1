"""Checks of the geometry and the content of pictures."""

import re
from collections import defaultdict
from itertools import combinations, pairwise

import numpy as np

from viz.draw import notation, palette

from .dot_reader import overlap, read

OPERATIONS = {"×": np.multiply, "+": np.add, "−": np.subtract}
ACTIVATIONS = {
    "tanh": np.tanh,
    "σ": lambda v: 1 / (1 + np.exp(-v)),
    "relu": lambda v: np.maximum(v, 0),
}


SHARED = 4  # points, about the width of a corner


def assert_clear(source):
    """Check that nothing overlaps and that wires cross no other nodes."""
    assert_apart(source)
    assert_wires_pass_beside(source)


def assert_apart(source):
    nodes, edges, clusters = read(source)
    corners = [nodes.pop(f"corner{k}").box for k in (0, 1)]
    left, bottom, right, top = *corners[0][:2], *corners[1][2:]
    visible = [
        n
        for n in nodes.values()
        if n.attributes.get("style") != "invis" and not n.name.startswith("gradient:")
    ]
    for n in visible:
        assert (left, bottom) == (min(left, n.box[0]), min(bottom, n.box[1])), n
        assert (right, top) == (max(right, n.box[2]), max(top, n.box[3])), n
        assert (
            notation.width(n.attributes["label"], float(n.attributes.get("fontsize", 11)))
            <= n.box[2] - n.box[0]
        ), n
    for a, b in combinations(visible, 2):
        assert not overlap(a.box, b.box, slack=0.5), f"{a}\n{b}"
    for a, b in combinations(clusters.items(), 2):
        assert not overlap(a[1], b[1]), f"{a} {b}"
    for e in edges:
        assert all(left <= x <= right and bottom <= y <= top for x, y in e.points()), e


def assert_wires_pass_beside(source):
    nodes, edges, _ = read(source)
    solid = [
        n
        for n in nodes.values()
        if n.attributes.get("style") != "invis" and not n.name.startswith(("gradient:", "cut:"))
    ]
    for e in edges:
        others = [n for n in solid if n.name not in (e.tail, e.head)]
        if e.tail.startswith("in:"):  # lines of weights may cross other inputs
            others = [n for n in others if n.name in wiring_ids(nodes)]
        for x, y in e.points():
            hit = [n for n in others if n.box[0] < x < n.box[2] and n.box[1] < y < n.box[3]]
            assert not hit, f"{e}\n{hit}"


def wiring_ids(nodes):
    return {n for n in nodes if not n.startswith(("in:", "key:", "text", "corner"))}


def assert_wires_apart(c):
    """Check that wires share no stretch, pass no node and cross at right angles."""
    at = {p: k for k, p in c.place.items()}
    assert len(at) == len(c.place)
    owner, through = {}, {}
    for a, b, places in c.routes:
        assert (at[places[0]], at[places[-1]]) == (a, b)
        for p, q in pairwise(places):
            assert abs(p[0] - q[0]) + abs(p[1] - q[1]) == 1
            assert owner.setdefault(frozenset((p, q)), a) == a, (
                f"{a} along {owner[frozenset((p, q))]} at {p}"
            )
        for p, q, r in zip(places, places[1:], places[2:], strict=False):
            assert q not in at, f"{a} through {at[q]}"
            through.setdefault(q, {}).setdefault(a, set()).add((abs(r[0] - p[0]), abs(r[1] - p[1])))
    for place, nets in through.items():
        if len(nets) > 1:
            ways = [way for directions in nets.values() for way in directions]
            assert sorted(map(sorted, ways)) == [[0, 2], [0, 2]], f"{nets} turn at {place}"
            assert ways[0] != ways[1]


def tiles(source):
    """Return the drawn matrices by (name, gate)."""
    found = {}
    for name, node in read(source)[0].items():
        if m := re.fullmatch(r"(W_ih|W_hh|b_ih|b_hh|own):(\w+):(\d+),(\d+)", name):
            v = float(node.attributes["tooltip"].rpartition("= ")[2])
            found.setdefault((m[1], m[2]), {})[int(m[3]), int(m[4])] = v
    return {
        k: np.array([[v[r, c] for c in range(max(v)[1] + 1)] for r in range(max(v)[0] + 1)])
        for k, v in found.items()
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


def assert_contrast(source):
    """Check that every text can be read on the box or the region that it stands on."""
    nodes, _, clusters = read(source)
    page = re.search(r'bgcolor="?([#\w]+)', source)[1]
    found = r'subgraph "cluster_([^"]*)" \{ graph \[[^\]]*fillcolor="([^"]*)"'
    regions = dict(re.findall(found, source))
    for n in nodes.values():
        if not n.attributes.get("label", "").strip() or n.attributes.get("style") == "invis":
            continue
        ground = n.attributes.get("fillcolor")
        if n.is_text or ground is None:
            x, y = (n.box[0] + n.box[2]) / 2, (n.box[1] + n.box[3]) / 2
            around = [
                ((right - left) * (top - bottom), regions.get(k, page))
                for k, (left, bottom, right, top) in clusters.items()
                if left <= x <= right and bottom <= y <= top
            ]
            ground = min(around)[1] if around else page
        ground = {"white": "#ffffff"}.get(ground, ground)
        ink = n.attributes.get("fontcolor", "#000000")
        assert palette.contrast(ink, ground) >= palette.READABLE, (ink, ground, n)
