"""The Jacobians of the blocks of networks of any architecture."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from mcnet import architectures
from mcnet.networks import extremes
from mcnet.observables import program_jacobian
from mcnet.point import Point
from mcnet.programs.blocks import Blocks, blocks, size
from mcnet.programs.trace import Trace


def shapes(point: Point) -> dict[int, tuple[int, int]]:
    """(rows, columns) of the Jacobian of each layer that has one: rows of an input (positions, tokens) side by side."""
    if not point.is_program:
        return {layer: (point.width, point.inputs.dimension if layer == 1 else point.width)
                for layer in range(1, point.depth + 1)}  # fmt: skip
    seen = architectures.of(point).count.seen
    return {layer: (size(seen[above]), size(seen[below])) for layer, (below, above) in of(point).steps.items()}


def of(point: Point) -> Blocks:
    """The blocks of a program."""
    return blocks(architectures.of(point).count)


def complaints(point: Point) -> list[str]:
    """Why a point has no blocks."""
    if wrong := program_jacobian.complaints(point):
        return wrong
    return [] if shapes(point) else ["no two successive layers of the program are seen, so there are no blocks"]


def working_bytes(point: Point, itemsize: int) -> int:
    """Memory of the tangents of the largest block of one network, and of its singular values."""
    numbers = sum(int(v.size) for v in architectures.of(point).count.vectors) // point.inputs.count
    known = shapes(point)
    most = max(below for _, below in known.values())
    return most * (itemsize * max(1, numbers // len(known)) + 8 * 4 * max(above for above, _ in known.values()))


def seconds(point: Point) -> float:
    """Products of the tangents with the built matrices, and the singular values."""
    known = shapes(point).values()
    products = sum(
        int(m.forward) * int(m.asked.units) * int(m.asked.columns)
        for m in architectures.of(point).count.matrices.values()
    )
    per_block = 1e-10 * products / point.inputs.count / len(known)
    return sum(per_block * below + 3e-9 * above * below * min(above, below) for above, below in known)


def found(point: Point, trace: Trace, needs: Set[str]) -> dict[str, Any]:
    """Fields of a sample, by name, for some of the needs ``block_jacobian`` and ``block_jacobian_top``.

    Raises
    ------
    McnetError
        If the largest singular value of a block is not found.
    """
    if not needs & {"block_jacobian", "block_jacobian_top"}:
        return {}
    ensemble, steps, known = trace.ensemble, of(point).steps, shapes(point)
    fetch, svdvals = ensemble.backend.fetch, ensemble.backend.xp.linalg.svdvals
    values = np.full((ensemble.count, point.depth + 1, max(map(min, known.values()))), np.nan)
    top = np.full((ensemble.count, point.depth + 1), np.nan)
    for layer, (below, above) in steps.items():
        jacobian = trace.jacobian(above, below)
        if "block_jacobian" in needs:
            values[:, layer, : min(known[layer])] = fetch(svdvals(jacobian.entries()))
            top[:, layer] = values[:, layer, 0] ** 2
        else:
            top[:, layer] = extremes.largest(jacobian, point, ensemble, jacobian.shape[1])
    fields = {"block_jacobian": values, "block_jacobian_top": top}
    return {name: field for name, field in fields.items() if name in needs}
