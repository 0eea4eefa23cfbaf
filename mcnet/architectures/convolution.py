"""Convolutional networks on a circular grid of one or two dimensions.

    u_i(p) = sum_j sum_beta W_ij(beta) h_j(p + beta) + b_i,   W(beta) ~ N(0, sigma_w2 v_beta / M),   sum_beta v_beta = 1

with M channels and an odd window. ``delta-orthogonal`` weights are sigma_w O at the centre of the window, O Haar.
Readouts: ``gap``, f = w . mean_p h(p), and ``flat``, f = sum_p w_p . h(p) with w_p ~ N(0, sigma_w2 / (M P)).
Xiao et al. 2018, arXiv:1806.05393; Novak et al. 2019, arXiv:1810.05148.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from mcnet.architectures.keys import choice, custom, whole
from mcnet.architectures.registry import add as add_architecture
from mcnet.coordinates import LAWS, REQUIRED
from mcnet.programs.parameters import Parameters


def network(w: Any, x: Any, p: Any) -> Any:
    """The program."""
    h, grid = x, axes(p)
    window = list(product(range(-(p.kernel // 2), p.kernel // 2 + 1), repeat=len(grid)))
    for layer in range(1, p.depth + 1):
        question = h if p.weights == "delta-orthogonal" else w.patches(h, tuple(grid), window, p.taps)
        u = w.ask(("W", layer), question)
        h = w.phi(u)
        w.see("u", layer, u)
        w.see("h", layer, h)
    if p.pooling == "flat":
        return w.ask("readout", w.concat([at(w, h, grid, place) for place in np.ndindex(*grid.values())]))
    for axis in grid:
        h = w.mean(h, axis)
    return w.ask("readout", h)


def at(w: Any, h: Any, grid: Mapping[str, int], place: tuple[int, ...]) -> Any:
    """h at one position."""
    for (axis, size), index in zip(grid.items(), place, strict=True):
        h = w.mean(w.rows(np.eye(size)[index : index + 1], h, axis), axis)
    return h


def axes(p: Parameters) -> dict[str, int]:
    """The axes of the grid."""
    sizes = p.positions
    return {"position": sizes[0]} if len(sizes) == 1 else {f"position_{i}": size for i, size in enumerate(sizes, 1)}


def laws(p: Parameters) -> Mapping[Any, tuple[Any, ...]]:
    """Orthogonal matrices at the centre of the window."""
    return {"W": (p.sigma_w2, p.sigma_b2, "orthogonal")} if p.weights == "delta-orthogonal" else {}


def check(p: Parameters) -> Sequence[str]:
    """Values that do not go together."""
    wrong = []
    if p.kernel % 2 == 0:
        wrong.append(f"kernel = {p.kernel} has no centre; take an odd number of taps")
    if any(p.kernel > size for size in p.positions):
        wrong.append(f"kernel = {p.kernel} is larger than the grid {list(p.positions)}")
    if len(p.taps) != p.kernel ** len(p.positions):
        wrong.append(f"taps has {len(p.taps)} variances for a window of {p.kernel ** len(p.positions)}")
    if abs(sum(p.taps) - 1.0) > 1e-9:
        wrong.append(f"taps sum to {sum(p.taps):.6g}; variances of taps sum to 1")
    if p.weights == "orthogonal":
        wrong.append('weights = "orthogonal" is no law of a window; use "delta-orthogonal" or "gaussian"')
    return wrong


def _positions_complaint(value: Any) -> str | None:
    sizes = value if isinstance(value, list | tuple) else [value]
    good = len(sizes) in (1, 2) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in sizes)
    return None if good else "must be a number of positions, or two: [rows, columns]"


def _taps_complaint(value: Any) -> str | None:
    flat = _flat(value) if isinstance(value, list | tuple) else [value]
    good = all(isinstance(v, int | float) and not isinstance(v, bool) and 0.0 <= v < math.inf for v in flat)
    return None if value is None or (good and flat) else "must be a list of variances, none negative"


def _flat(value: Any) -> list[Any]:
    return [entry for part in value for entry in (_flat(part) if isinstance(part, list | tuple) else [part])]


def _taps(value: Any, p: Parameters) -> list[float]:
    count = p.kernel ** len(p.positions if isinstance(p.positions, list | tuple) else [p.positions])
    return [1.0 / count] * count if value is None else [float(v) for v in _flat(value)]


def add() -> None:
    """Add it to the table."""
    add_architecture(
        "convolution",
        network,
        keys={
            "positions": custom(
                REQUIRED,
                "positions of the circular grid: P, or [P1, P2]",
                _positions_complaint,
                lambda value, p: tuple(value) if isinstance(value, list | tuple) else (value,),
            ),
            "kernel": whole(3, "taps of the window along each axis, an odd number"),
            "taps": custom(None, "variances of the taps, which sum to 1; uniform if unset", _taps_complaint, _taps),
            "pooling": choice("gap", 'readout: "gap" (mean over positions) or "flat"', "gap", "flat"),
        },
        laws=laws,
        axes=axes,
        check=check,
        weights=(*LAWS, "delta-orthogonal"),
    )
