"""Blocks of a program: the steps from one seen vector to the next through which everything passes.

A plain or convolutional layer, a residual block ``post`` or ``two``, a step of a gated network and a transformer block
lead from h^(l-1) to h^l. Where something passes h by, as the stream of ``pre`` blocks or a leaky state does, the steps
from u^(l-1) to u^l are taken if nothing passes those. Where both are passed by, as by the cell of an LSTM, the step is
that of h with the rest held fixed.
"""

from __future__ import annotations

from typing import NamedTuple

from mcnet.programs.counted import Count
from mcnet.programs.names import INPUT, Key
from mcnet.programs.shapes import Shape


class Blocks(NamedTuple):
    """The blocks of a program.

    Attributes
    ----------
    letter : str
        ``h`` or ``u``.
    whole : bool
        Whether everything passes these vectors: then the Jacobians of all blocks multiply to that of the last vector.
    steps : dict of int to (name, name)
        Layer l -> names of the vector before and of that of layer l; l = 1 may begin at the input h^0.
    """

    letter: str
    whole: bool
    steps: dict[int, tuple[Key, Key]]


def blocks(count: Count) -> Blocks:
    """Those of a program; no steps where no two successive layers are seen."""
    steps = {letter: _steps(count, letter) for letter in ("h", "u")}
    for letter, found in steps.items():
        if found and not any(_passed(count, *step) for step in found.values()):
            return Blocks(letter, True, found)
    return Blocks("h", False, {layer: step for layer, step in steps["h"].items() if _reached(count, *step)})


def size(v: Shape) -> int:
    """Rows of one input times units."""
    return v.size // v.axes.get(INPUT, 1)


def _steps(count: Count, letter: str) -> dict[int, tuple[Key, Key]]:
    found: dict[int, tuple[Key, Key]] = {}
    for name, *rest in count.seen:
        if name != letter or len(rest) != 1 or not isinstance(rest[0], int) or rest[0] < 1:
            continue
        layer = rest[0]
        below: Key = (letter, layer - 1)
        if below not in count.seen and layer == 1:
            below = ("h", 0)
        if below in count.seen and INPUT in count.seen[below].axes and INPUT in count.seen[letter, layer].axes:
            found[layer] = (below, (letter, layer))
    return dict(sorted(found.items()))


def _passed(count: Count, source: Key, target: Key) -> bool:
    """Whether the input reaches a vector without passing the one before, or the one before does not reach it."""
    stop = count.seen[source]
    met = _behind(count.seen[target], stop)
    return stop not in met or (count.vectors[0] in met and count.vectors[0] is not stop)


def _reached(count: Count, source: Key, target: Key) -> bool:
    return count.seen[source] in _behind(count.seen[target], count.seen[source])


def _behind(target: Shape, stop: Shape) -> set[Shape]:
    """All that a vector is made from, not looking behind ``stop``."""
    met: set[Shape] = set()
    waiting = list(target.made_from)
    while waiting:
        v = waiting.pop()
        if v not in met:
            met.add(v)
            waiting += [] if v is stop else v.made_from
    return met
