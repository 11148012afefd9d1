"""The words and colours of a cell's gates."""

from __future__ import annotations

from functools import cache

from recurrent.equations.cell import Cell

from ..draw import palette

USUAL = ({*"ifgo"}, {*"ifg"}, {*"rzn"}, {*"zn"}, {*"h"})  # cells whose letters have one meaning


def look(cell: Cell, name: str) -> tuple[str, str]:
    """Return the word and the colour of a gate of a cell.

    A letter means what it means in an LSTM or a GRU. In a cell with other gates it is a gate only
    if its value is squashed: z of a QRNN is the candidate. A gate without a word keeps its letter.

    >>> from recurrent.cells import lstm, qrnn
    >>> look(lstm, "f"), look(qrnn, "z")[0]
    (('forget gate', '#F0E442'), 'candidate')
    """
    return _looks(cell)[name]


@cache
def _looks(cell: Cell) -> dict[str, tuple[str, str]]:
    graph = cell.graph()
    kinds = {n.id: n.kind for n in graph.nodes}
    words: dict[str, str] = {}
    for g in cell.gates:
        word = palette.GATES[g][0] if g in palette.GATES else g
        if {*cell.gates} not in USUAL and word.endswith("gate"):
            plain = kinds[graph.values[g]] in ("tanh", "sum")  # no squashing, no arithmetic
            word = "candidate" if plain else word
        words[g] = g if word in words.values() else word
    usual = dict(palette.GATES.values())
    taken = {g: usual[word] for g, word in words.items() if word in usual}
    colours: dict[str, str] = {}
    for g in [*taken, *(g for g in words if g not in taken)]:
        free = [c for c in palette.OTHER_GATES if c not in (*colours.values(), *taken.values())]
        own = taken.get(g)
        if own is None or own in colours.values():
            every = palette.OTHER_GATES
            own = free[0] if free else every[len(colours) % len(every)]
        colours[g] = own
    return {g: (word, colours[g]) for g, word in words.items()}
