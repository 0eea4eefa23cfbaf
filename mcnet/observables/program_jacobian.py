"""The Jacobian of the last seen h with respect to the input, of networks of any architecture."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from mcnet import architectures
from mcnet.networks import extremes
from mcnet.networks.jacobian import SVD, Spectrum
from mcnet.point import Point
from mcnet.programs.names import INPUT
from mcnet.programs.trace import Trace

NEEDS = frozenset({"jacobian", "jacobian_top", "block_jacobian", "block_jacobian_top"})
"""Needs of observables that take the vectors of the whole run."""

ROUNDING = {"mixed": 1e-6, "float64": 1e-12}
"""Singular values below this share of the largest are rounding, by precision: they count as zero."""


def shape(point: Point) -> tuple[int, int]:
    """(n', n) of J at input 0: all rows (positions, tokens) of the last h and of the input side by side."""
    if not point.is_program:
        return point.width, point.inputs.dimension
    program = architectures.of(point)
    seen = program.count.seen
    last = seen[max(key for key in seen if key[0] == "h" and len(key) == 2)]
    rows = last.rows // last.axes[INPUT] if INPUT in last.axes else last.rows
    return rows * last.units, program.rows * point.inputs.dimension


def complaints(point: Point) -> list[str]:
    """Why a program has no Jacobian at one input."""
    if not point.is_program or not architectures.of(point).count.mixes_inputs:
        return []
    return ["the network mixes its inputs, so there is no Jacobian at one of them"]


def working_bytes(point: Point, itemsize: int) -> int:
    """Memory of all tangents of one network, and of J with the workspace of its singular values."""
    above, below = shape(point)
    numbers = sum(int(v.size) for v in architectures.of(point).count.vectors) // point.inputs.count
    return below * (itemsize * numbers + 8 * 4 * above)


def seconds(point: Point) -> float:
    """Products of the tangents with the built matrices, and the singular values."""
    above, below = shape(point)
    products = sum(
        int(m.forward) * int(m.asked.units) * int(m.asked.columns)
        for m in architectures.of(point).count.matrices.values()
    )
    return 1e-10 * below * products / point.inputs.count + 3e-9 * above * below * min(above, below)


def found(point: Point, trace: Trace, needs: Set[str]) -> dict[str, Any]:
    """Fields of a sample, by name, for some of the needs ``jacobian`` and ``jacobian_top``.

    Raises
    ------
    McnetError
        If the largest singular value is not found.
    """
    if not needs & {"jacobian", "jacobian_top"}:
        return {}
    ensemble, jacobian = trace.ensemble, trace.jacobian()
    fields: dict[str, Any] = {}
    if "jacobian" in needs:
        entries = jacobian.entries()
        values = ensemble.backend.fetch(ensemble.backend.xp.linalg.svdvals(entries))
        rank = (values > ROUNDING[ensemble.precision] * values[:, :1]).sum(axis=1)
        values = np.where(np.arange(values.shape[1]) < rank[:, None], values, 0.0)
        nothing = np.zeros(len(values))
        fields["jacobian"] = Spectrum(values, nothing, rank.astype(np.int64), np.full(len(values), SVD))
        if "jacobian_top" in needs:
            fields["jacobian_top"] = values[:, 0] ** 2
    else:
        fields["jacobian_top"] = extremes.largest(jacobian, point, ensemble, jacobian.shape[1])
    return fields
