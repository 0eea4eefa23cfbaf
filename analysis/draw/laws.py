"""How figures and tables name what they show: laws of families, what differs among them, observables."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import numpy as np
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.spectra import FamilySpectra
from mcnet_analysis.judge.training import Trained
from mcnet_analysis.predict.catalog import OBSERVABLES

from mcnet.coordinates import COORDINATES, DENSE
from mcnet.theory import mean_field

AnyFamily = TypeVar("AnyFamily", Judged, FamilySpectra)

_SYMBOLS = {each.name: each.symbol for each in COORDINATES if each.symbol}
_FIRST = ("architecture", "activation", "weights", "normalization")
"""What tells families apart first; then the keys of an architecture, then the other coordinates in their order."""
_COUNTED = {"depth": "depth {}", "outputs": "{} outputs", "inputs": "{} inputs"}
FOLLOW = frozenset({"train_biases", "q0"})
"""What may change with the variances without being another study (biases trained where there are any, fixed points)."""
VARIANCES = frozenset({"sigma_w2", "sigma_b2"}) | FOLLOW

_TITLES = {
    "q": "squared length of the pre-activations, per unit",
    "q_hat": "squared length of the activations, per unit",
    "c": "correlation of the pre-activations",
    "autocorrelation": "overlap of the pre-activations with the last layer",
    "autocorrelation_hat": "overlap of the activations with the last layer",
    "attention_entropy": "entropy of attention, first head",
    "token_similarity": "mean cosine between tokens",
    "lyapunov": "largest finite-time Lyapunov exponent",
    **{f"lyapunov_{number}": f"finite-time Lyapunov exponent {number}" for number in (2, 3, 4)},
    **{f"block_mu_{order}": f"moment {order} of the Jacobian of a block" for order in (1, 2)},
    "q_tilde": "squared norm of the back-propagated signal",
    "chi": "factor by which a layer multiplies the gradient",
    "ntk": "tangent kernel",
    "ntk_cross": "tangent kernel between two outputs",
    "ntk_lambda_min": "smallest eigenvalue of the tangent kernel",
    "fim_lambda_max": "largest eigenvalue of the Fisher matrix",
    "fim_lambda_top": "mean of the largest eigenvalues of the Fisher matrix",
    "fim_softmax_top": "mean of the outliers of the softmax Fisher matrix",
    "fim_softmax_trace": "trace of the softmax Fisher matrix",
    "fim_trace": "trace of the Fisher matrix",
    "fim_trace2": "trace of the squared Fisher matrix",
    "learning_rate_bound": "learning-rate bound",
}


def symbol(name: str) -> str:
    """Symbol of an observable in TeX, without dollars; the name of one that is not analysed by layers."""
    return OBSERVABLES[name].symbol if name in OBSERVABLES else rf"\mathrm{{{name}}}".replace("_", r"\_")


def title(name: str) -> str:
    """What an observable is, in words."""
    return _TITLES.get(name, name.replace("_", " "))


def labels(
    families: Sequence[Judged] | Sequence[FamilySpectra] | Sequence[Trained], without: frozenset[str] = frozenset()
) -> list[str]:
    """One label for each family, no two alike: what of the law differs, as little as tells them apart."""
    laws = [each.family.first.law for each in families]
    known = list(dict.fromkeys(key for law in laws for key in law))
    own = {key for each in families for key in each.family.first.keys}
    keys = [*(key for key in known if key in _FIRST), *(key for key in known if key in own)]
    keys += [key for key in known if key not in keys]
    chosen: list[str] = []
    told: list[tuple[Hashable, ...]] = [()] * len(laws)
    for key in keys:
        if key in without:
            continue
        finer = [(*before, str(law.get(key))) for before, law in zip(told, laws, strict=True)]
        if len(set(finer)) > len(set(told)):
            chosen.append(key)
            told = finer
    if not chosen and "activation" in keys:
        chosen = ["activation"]
    found = [", ".join(word(key, law.get(key)) for key in chosen) for law in laws]
    if len(set(found)) < len(found):
        widths = [", ".join(f"{setting.width}" for setting in each.family.settings) for each in families]
        found = [f"{label}, $M$ = {width}" for label, width in zip(found, widths, strict=True)]
    return [f"{label} ({found[:i].count(label) + 1})" if found.count(label) > 1 else label
            for i, label in enumerate(found)]  # fmt: skip


def word(key: str, value: Any) -> str:
    """A coordinate of a point in a few words."""
    if value is None or value == "":
        return f"no {key}"
    if key == "normalization":
        return "no normalisation" if value == "none" else f"normalisation {value}"
    if key == "tied":
        return "tied" if value else "untied"
    if key in _COUNTED:
        return _COUNTED[key].format(value)
    if isinstance(value, str):
        return value if key in _FIRST else f"{key} {value}".replace("_", " ")
    number = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"${_SYMBOLS[key]} = {number}$" if key in _SYMBOLS else f"{key} = {number}".replace("_", " ")


def groups(families: Sequence[AnyFamily], ignoring: frozenset[str]) -> list[list[AnyFamily]]:
    """Families whose laws agree in all but the coordinates that are ignored, in order of first appearance."""
    found: dict[str, list[AnyFamily]] = {}
    for each in families:
        law = {key: value for key, value in each.family.first.law.items() if key not in ignoring}
        found.setdefault(repr(law), []).append(each)
    return list(found.values())


def describe(family: Judged | FamilySpectra) -> str:
    """The law of a family in a few words, for running text."""
    law = family.family.first.law
    inputs = f"q₀ = {law['q0']:.4g}" if law.get("q0") is not None else f"{law['inputs']} inputs"
    if law.get("c0") is not None and law["inputs"] > 1:
        inputs += f", c₀ = {law['c0']:g}"
    if law.get("q0") is not None and law["inputs"] > 2:
        inputs = f"{law['inputs']} inputs, {inputs}"
    if law["normalization"] != "none":
        inputs += f", normalisation {law['normalization']}"
    keys = [f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in family.family.first.keys.items()]  # fmt: skip
    own = "" if law["architecture"] == DENSE else f"{', '.join([law['architecture'], *keys])}, "
    return (
        f"{own}{law['activation']}, {law['weights']} weights, depth {law['depth']}, σ_w² = {law['sigma_w2']:.4g}, "
        f"σ_b² = {law['sigma_b2']:.4g}, {inputs}"
    )


def slope_at_one(family: Judged) -> float:
    """chi_1 of mean-field theory; NaN where lengths grow without bound or the architecture has no such slope."""
    law, activation = family.family.first.law, family.family.first.activation
    if law["architecture"] != DENSE:
        return float("nan")
    try:
        return float(mean_field.chi_1(activation, law["sigma_w2"], law["sigma_b2"]))
    except ValueError:
        return float("nan")


def phases(group: Sequence[Judged]) -> list[tuple[Judged, str]]:
    """Up to three families that show the physics, with the name of their phase: order, edge and chaos.

    Of one bias variance where several are swept, that of the middle; the edge is the family whose chi_1 is nearest 1,
    the others are the middle ones of either side.
    """
    biases = sorted({judged.family.first.law["sigma_b2"] for judged in group})
    row = [judged for judged in group if judged.family.first.law["sigma_b2"] == biases[len(biases) // 2]]
    row = row if len(row) >= 3 else list(group)
    slopes = {id(judged): slope_at_one(judged) for judged in row}
    known = sorted((j for j in row if np.isfinite(slopes[id(j)])), key=lambda j: slopes[id(j)])
    if len(known) < 3:
        return [(judged, "") for judged in row[:3]]
    edge = min(known, key=lambda judged: abs(np.log(slopes[id(judged)])))
    at = known.index(edge)
    below, above = known[:at], known[at + 1 :]
    chosen = [below[len(below) // 2]] if below else []
    chosen += [edge, *([above[len(above) // 2]] if above else [])]
    return [(judged, _phase(slopes[id(judged)])) for judged in chosen]


def _phase(slope: float) -> str:
    if abs(slope - 1.0) < 1e-6:
        return "critical"
    near = "near the edge, " if abs(slope - 1.0) < 0.05 else ""
    return f"{near}{'ordered' if slope < 1.0 else 'chaotic'}, $\\chi_1$ = {slope:.2f}"
