"""Residual networks: h^l = skip h^(l-1) + branch F(h^(l-1)) with three kinds of block.

    post:  u^l = W^l h^(l-1) + b^l,   F = phi(u^l)                              He et al. 2016; Yang, Schoenholz 2017
    two:   u^l = W^l h^(l-1) + b^l,   F = V^l phi(u^l) + c^l
    pre:   x^0 = E x,  x^l = skip x^(l-1) + branch (W^l phi(x^(l-1)) + b^l);  u^l = x^l, h^l = phi(x^l)

E has entries of variance 1/M_0 and no bias; the readout acts on h^depth. With ``zero_last`` V begins with zeros (Zhang,
Dauphin, Ma 2019, arXiv:1901.09321): blocks are skips, and only the ``standard`` parametrisation trains V.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcnet.architectures.keys import choice, custom
from mcnet.architectures.registry import add as add_architecture
from mcnet.programs.parameters import Parameters

_SCALES: dict[str, Callable[[int], float]] = {
    "1/sqrt(depth)": lambda depth: 1.0 / math.sqrt(depth),
    "1/depth": lambda depth: 1.0 / depth,
}
_OVERFLOW = math.log(1e30)
"""Logarithm of the squared growth of the stream that is refused: float32 ends at 3e38."""


def network(w: Any, x: Any, p: Any) -> Any:
    """The program."""
    if p.block == "pre":
        return _pre(w, x, p)
    h = x
    for layer in range(1, p.depth + 1):
        u = w.ask(("W", layer), h)
        branch = w.phi(u)
        if p.block == "two":
            branch = w.ask(("V", layer), branch)
        h = p.skip * h + p.branch * branch
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", h)


def _pre(w: Any, x: Any, p: Any) -> Any:
    u = w.ask("embedding", x)
    h = w.phi(u)
    w.see("u", 0, u)
    w.see("h", 0, h)
    for layer in range(1, p.depth + 1):
        u = p.skip * u + p.branch * w.ask(("W", layer), h)
        h = w.phi(u)
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", h)


def laws(p: Parameters) -> Mapping[Any, tuple[float, float]]:
    """E has variance 1; V that of the second matrix."""
    if p.block == "pre":
        return {"embedding": (1.0, 0.0)}
    return {"V": (0.0 if p.zero_last else p.sigma_v2, p.sigma_c2 or 0.0)} if p.block == "two" else {}


def check(p: Parameters) -> Sequence[str]:
    """Values that do not go together."""
    wrong = []
    if p.skip == 0.0 and p.branch == 0.0:
        wrong.append("skip and branch are both 0, so nothing reaches the outputs; give one of them")
    if abs(p.skip) > 1.0 and 2.0 * p.depth * math.log(abs(p.skip)) > _OVERFLOW:
        wrong.append(
            f"skip = {p.skip:g} lets the stream grow by {abs(p.skip):g}^{p.depth}, beyond what float32 holds; "
            "take at most 1 or a smaller depth"
        )
    if p.block == "two" and p.sigma_v2 is None and not p.zero_last:
        wrong.append('block = "two" needs sigma_v2, the variance of its second matrix, or zero_last = true')
    if p.zero_last and p.sigma_v2:
        wrong.append(f"zero_last initialises the second matrix with zeros; sigma_v2 = {p.sigma_v2:g} says otherwise")
    if p.zero_last and p.get("parameterization") == "ntk" and p.outputs:
        wrong.append('zero_last with parameterization = "ntk" never trains the second matrix; use "standard"')
    if p.block != "two":
        wrong += [
            f'{name} belongs to block = "two"; this one is "{p.block}"'
            for name, value in (("sigma_v2", p.sigma_v2), ("sigma_c2", p.sigma_c2), ("zero_last", p.zero_last or None))
            if value is not None
        ]
    return wrong


def _scale_complaint(value: Any) -> str | None:
    if isinstance(value, str):
        return None if value in _SCALES else 'must be a number, "1/sqrt(depth)" or "1/depth"'
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 'must be a finite number, "1/sqrt(depth)" or "1/depth"'
    return None


def _scale(value: Any, p: Parameters) -> float:
    return _SCALES[value](p.depth) if isinstance(value, str) else float(value)


def _flag_complaint(value: Any) -> str | None:
    return None if value is None or isinstance(value, bool) else "must be true or false"


def _variance_complaint(value: Any) -> str | None:
    if value is None:
        return None
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return None if good else "must be a finite number of at least 0"


def add() -> None:
    """Add it to the table."""
    scaling = 'a number, "1/sqrt(depth)" or "1/depth"'
    add_architecture(
        "residual",
        network,
        keys={
            "block": choice("post", 'kind of block: "post", "pre" or "two"', "post", "pre", "two"),
            "skip": custom(1.0, f"factor of the skip: {scaling}", _scale_complaint, _scale),
            "branch": custom(1.0, f"factor of the branch: {scaling}", _scale_complaint, _scale),
            "sigma_v2": custom(None, "variance of the second matrix times its fan-in", _variance_complaint),
            "zero_last": custom(
                None, "whether the second matrix begins with zeros", _flag_complaint, lambda v, p: bool(v)
            ),
            "sigma_c2": custom(None, "variance of the bias of the second matrix; 0 if unset", _variance_complaint),
        },
        laws=laws,
        check=check,
    )
