"""Convolutional networks on a circular grid of one or two dimensions.

    u_i(p) = sum_j sum_beta W_ij(beta) h_j(p + beta) + b_i,   W(beta) ~ N(0, sigma_w2 v_beta / M),   sum_beta v_beta = 1

with M channels and an odd window. ``delta-orthogonal`` weights are sigma_w O at the centre of the window, O Haar.
``orthogonal`` ones are the orthogonal kernel of all taps, along each axis in turn and with z a shift along it

    W(z) = sigma_w O prod_(j < k) [P_j + (1 - P_j) z],    P_j = Q_j E Q_j^T,    E: the first M/2 units,

with Q_j independent Haar matrices. In law W(z) = sigma_w O_1 D(z) O_2 D(z) ... O_k with D(z) = E + (1 - E) z and k
independent Haar matrices O_1 = O Q_1, O_2 = Q_1^T Q_2, ..., O_k = Q_(k-1)^T: O_k, O_(k-1), ..., O_2 are so each given
the ones before, and O_1 given all Q. Every other D is taken times 1/z, which centres the window: D(z)/z is D(1/z) with
the halves exchanged, and their permutation is lost in O. Energies of the taps are binomial in the mean.
Readouts: ``gap``, f = w . mean_p h(p), and ``flat``, f = sum_p w_p . h(p) with w_p ~ N(0, sigma_w2 / (M P)).
Xiao et al. 2018, arXiv:1806.05393; Kautsky, Turcajova 1994, for k taps; Novak et al. 2019, arXiv:1810.05148.
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
    for layer in range(1, p.depth + 1):
        u = w.ask(("W", layer), question(w, h, grid, p, layer))
        h = w.phi(u)
        w.see("u", layer, u)
        w.see("h", layer, h)
    if p.pooling == "flat":
        return w.ask("readout", w.concat([at(w, h, grid, place) for place in np.ndindex(*grid.values())]))
    for axis in grid:
        h = w.mean(h, axis)
    return w.ask("readout", h)


def question(w: Any, h: Any, grid: Mapping[str, int], p: Any, layer: int) -> Any:
    """What the matrix of a layer is asked: h; all of its window; or what the first factors of the kernel make of h."""
    if p.weights == "orthogonal":
        for number, (axis, tap) in enumerate(product(grid, range(p.kernel - 1))):
            h = w.ask(("factor", layer, number), h)
            h = w.halves(h, w.shift(h, axis, 1 - 2 * (tap % 2)))
    elif p.weights != "delta-orthogonal":
        window = list(product(range(-(p.kernel // 2), p.kernel // 2 + 1), repeat=len(grid)))
        h = w.patches(h, tuple(grid), window, p.taps)
    return h


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
    """Of orthogonal matrices."""
    if "orthogonal" not in p.weights:
        return {}
    return {"W": (p.sigma_w2, p.sigma_b2, "orthogonal"), "factor": (1.0, 0.0, "orthogonal")}


def check(p: Parameters) -> Sequence[str]:
    """Values that do not go together."""
    wrong = []
    if p.kernel % 2 == 0:
        wrong.append(f"kernel = {p.kernel} has no centre; take an odd number of taps")
    if any(p.kernel > size for size in p.positions):
        wrong.append(f"kernel = {p.kernel} is larger than the grid {list(p.positions)}")
    if p.weights == "orthogonal" and p.width % 2:
        wrong.append(f"width = {p.width} has no halves, which the orthogonal kernel shifts apart; take an even width")
    if p.taps is None:
        return [*wrong, f'taps are for other weights: "{p.weights}" ones have a kernel of their own; leave taps out']
    if len(p.taps) != p.kernel ** len(p.positions):
        wrong.append(f"taps has {len(p.taps)} variances for a window of {p.kernel ** len(p.positions)}")
    if abs(sum(p.taps) - 1.0) > 1e-9:
        wrong.append(f"taps sum to {sum(p.taps):.6g}; variances of taps sum to 1")
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


def _taps(value: Any, p: Parameters) -> list[float] | None:
    """Shares of the taps in sigma_w2; None for values where the kernel has its own."""
    axes, size = len(p.positions) if isinstance(p.positions, list | tuple) else 1, p.kernel
    if "orthogonal" not in p.weights:
        return [1.0 / size**axes] * size**axes if value is None else [float(v) for v in _flat(value)]
    binomial = [math.comb(size - 1, tap) / 2.0 ** (size - 1) for tap in range(size)]
    line = binomial if p.weights == "orthogonal" else [float(tap == size // 2) for tap in range(size)]
    return [math.prod(tap) for tap in product(line, repeat=axes)] if value is None else None


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
