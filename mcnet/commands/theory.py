"""``mcnet theory``: what theory says about the points of a scenario, without sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from operator import itemgetter
from typing import Any

import numpy as np

from mcnet import architectures, plugins, predictions
from mcnet.activations.table import Activation
from mcnet.commands.coordinates import coordinates, varying
from mcnet.commands.fixed_points import Variances, fixed_point, fixed_points
from mcnet.commands.text import table
from mcnet.point import Point
from mcnet.progress import counted
from mcnet.request import Request
from mcnet.scenario.loading import Scenario
from mcnet.scenario.members import Members, load
from mcnet.theory import fisher, jacobian, mean_field
from mcnet.theory.free.spectrum import Spectrum

_ZERO = 1e-12  # rounding of a coefficient that vanishes
_INPUTS = ("inputs", "q0", "c0", "outputs")


def predict(scenario: str, overrides: Sequence[str], plugin_names: Sequence[str], quiet: bool = True) -> dict[str, Any]:
    """Predictions for every point.

    Returns
    -------
    dict
        ``title``, and ``points``: each with ``point``; ``mean_field``, ``gradients``, ``finite_width``, ``fisher`` and
        ``jacobian`` as far as they apply; and ``notes``, which say why another has no value. Curves are lists over
        layers. Of a scenario with members ``title`` and ``members``: the same of each, by name.
    """
    plugins.load(plugin_names)
    study = load(scenario, overrides)
    if isinstance(study, Members):
        every = {name: _of_study(each, quiet) for name, each in study.studies.items()}
        return {"title": study.title, "members": every}
    return _of_study(study, quiet)


def _of_study(study: Scenario, quiet: bool) -> dict[str, Any]:
    """Predictions for every point of a study."""
    request, orders = study.request(), study.analyze.theory
    expanded = not orders or "1/M" in orders
    points = study.points()
    known = fixed_points(points)
    return {
        "title": study.title,
        "points": [of_point(point, request, expanded, known) for point in counted(points, "points", quiet)],
    }


def of_point(
    point: Point, request: Request, expanded: bool = True, known: Mapping[Variances, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Predictions for one point, an entry of ``points``.

    ``expanded``: whether terms of order 1/M are wanted of programs, where they may take long; ``known``: fixed points
    that need not be found again.
    """
    result: dict[str, Any] = {"point": coordinates(point)}
    if point.is_program:
        return {**result, **_finite_width(point, request, expanded)}
    notes: list[str] = []

    def add(name: str, function: Callable[[], Any]) -> None:
        try:
            result[name] = function()
        except ValueError as error:
            notes.append(f"{name.replace('_', ' ')}: {error}")

    variances = (point.activation, point.sigma_w2, point.sigma_b2)
    add("mean_field", lambda: (known or {}).get(variances) or fixed_point(*variances))
    if {"q_tilde", "chi"} & request.measures.keys():
        add("gradients", lambda: _gradients(point))
    found = _finite_width(point, request, expanded)
    notes += found.pop("notes")
    result |= found
    if "fim" in request.measures and point.outputs is not None:
        if point.inputs.q0 is None:
            notes.append("fisher: the formulas are for inputs of one length and one correlation")
        elif point.inputs.count == 1:
            notes.append("fisher: kappa_2 is the overlap of two different inputs, and there is only one")
        elif point.inputs.dimension != point.width:
            notes.append("fisher: the formulas are for inputs.dimension = width")
        elif point.parameterization != "standard":
            notes.append(f'fisher: the formulas are for parameterization = "standard", not "{point.parameterization}"')
        elif point.normalization not in ("none", "last-mean"):
            notes.append(f'fisher: there are no formulas for normalization = "{point.normalization}"')
        else:
            add("fisher", lambda: _fisher(point))
    spectra = {"jacobian", "jacobian_lambda_max", "conditional_fim", "conjugate_kernel"} & request.measures.keys()
    if spectra and point.inputs.dimension != point.width:
        notes.append(f"{', '.join(sorted(spectra))}: the laws are those of square matrices: inputs.dimension = width")
        return {**result, "notes": notes}
    if {"jacobian", "jacobian_lambda_max"} & spectra:
        count = request.measures.get("jacobian", {}).get("moments", 4)
        add(
            "jacobian",
            lambda: _jacobian(
                point.activation, point.weights, point.sigma_w2, point.sigma_b2, point.depth, _length(point), count
            ),
        )
    if "conditional_fim" in request.measures:
        add(
            "conditional_fim",
            lambda: _conditional_fim(
                point.activation, point.weights, point.sigma_w2, point.sigma_b2, point.depth, _length(point)
            ),
        )
    if "conjugate_kernel" in request.measures:
        ratio = point.inputs.count / point.width
        add("conjugate_kernel", lambda: _conjugate_kernel(point, ratio))
    return {**result, "notes": notes}


def _finite_width(point: Point, request: Request, expanded: bool) -> dict[str, Any]:
    """What the registry predicts of the first input and pair: lists over layers; and of the kernel, by pairs.

    ``notes`` say why something has no value.
    """
    if point.architecture not in architectures.names():
        return {"notes": [f'theory of the architecture "{point.architecture}"']}
    ensemble = predictions.Ensemble.of(point)
    ensemble = ensemble if expanded else ensemble.of_limits()
    found: dict[str, Any] = {}
    notes: dict[str, None] = {}
    for name, (inputs, first) in _CURVES.items():
        if max(inputs) >= point.inputs.count or (name == "q_tilde" and point.outputs is None):
            continue
        curve = predictions.predict(name, ensemble, inputs)
        if curve.why_not:
            notes[f"finite width: {curve.why_not}"] = None
        if np.isfinite(curve.limit).any():
            found[name] = _parts(curve, partial(_from_layer, first))
    if {"fim", "ntk"} & request.measures.keys() and point.outputs is not None:
        count = min(point.inputs.count, _MOST_INPUTS)
        entries = [[predictions.predict("ntk", ensemble, (a, b)) for b in range(count)] for a in range(count)]
        if not np.isfinite(entries[0][0].limit).any():
            notes[f"tangent kernel: {entries[0][0].why_not}"] = None
        else:
            found["ntk"] = _parts(_together(entries), lambda part: part.tolist())
            if why := entries[0][0].why_not:
                notes[f"tangent kernel: {why}"] = None
    return {**({"finite_width": found} if found else {}), "notes": list(notes)}


_MOST_INPUTS = 8
"""Of more inputs the kernel of the first ones is shown."""


def _together(entries: list[list[predictions.Curve]]) -> predictions.Curve:
    """Curves of one value each as one of matrices."""

    def matrix(read: Callable[[predictions.Curve], Any]) -> Any:
        return np.array([[float(read(entry)[0]) for entry in row] for row in entries])

    parts = [matrix(itemgetter(place)) for place in range(5)]
    errors = None
    if entries[0][0].errors is not None:
        first, second, third = (matrix(partial(_error_of, place)) for place in range(3))
        errors = (first, second, third)
    return predictions.Curve(parts[0], parts[1], parts[2], parts[3], parts[4], errors=errors)


def _error_of(place: int, entry: predictions.Curve) -> Any:
    return np.array([np.nan]) if entry.errors is None else entry.errors[place]


def _from_layer(first: int, part: Any) -> list[float]:
    values: list[float] = part[first:].tolist()
    return values


_CURVES = {"q": ((0,), 1), "q_hat": ((0,), 0), "c": ((0, 1), 1), "q_tilde": ((0,), 1)}
"""Observables with layers: the inputs that are shown, and the first layer."""


def _parts(curve: predictions.Curve, read: Callable[[Any], Any]) -> dict[str, Any]:
    """``limit``, and ``a1``, ``v1`` and their ``error`` as far as there are any."""
    parts = {"limit": curve.limit, "a1": curve.a1, "v1": curve.v1}
    known = {name: read(part) for name, part in parts.items() if np.isfinite(part).any()}
    if curve.errors is not None:
        known["error"] = {name: read(error) for name, error in zip(parts, curve.errors, strict=True) if name in known}
    return known


def _gradients(point: Point) -> dict[str, Any]:
    """Mean-field squared norms of the back-propagated error of the first input, and their ratios; lists over layers."""
    norms = mean_field.gradients(
        point.activation, point.sigma_w2, point.sigma_b2, _length(point), point.depth, point.outputs is not None
    )
    return {"q_tilde": norms.tolist(), "chi": (norms[:-1] / norms[1:]).tolist()}


def _gram(point: Point) -> Any:
    """x_a . x_b / M_0; of Gaussian inputs its mean."""
    inputs = point.inputs
    if inputs.values is not None:
        values = np.asarray(inputs.values)
        return values @ values.T / inputs.dimension
    q0, c0 = inputs.q0 or 0.0, inputs.c0 or 0.0
    return q0 * np.array([[1.0, c0], [c0, 1.0]])[: inputs.count, : inputs.count]


def _length(point: Point) -> float:
    return float(_gram(point)[0, 0])


def _fisher(point: Point) -> dict[str, Any]:
    outputs = point.outputs
    assert outputs is not None
    assert point.inputs.q0 is not None
    q0 = point.inputs.q0
    crossed = q0 * (point.inputs.c0 or 0.0)

    def of(function: Callable[..., Any], train_biases: bool) -> Any:
        return function(
            point.activation,
            point.sigma_w2,
            point.sigma_b2,
            point.depth,
            point.width,
            point.inputs.count,
            outputs,
            q0,
            crossed,
            train_biases,
        )

    without, trained = (of(fisher.eigenvalue_statistics, biases) for biases in (False, True))
    if point.normalization == "last-mean":
        bounds = asdict(of(fisher.mean_subtracted, point.train_biases))
        return {"kappa_1": without.kappa_1, "kappa_2": without.kappa_2} | bounds
    return {
        **{name: float(getattr(without, name)) for name in ("kappa_1", "kappa_2", "mean", "second_moment")},
        "lambda_max": float(without.lambda_max),
        "lambda_max_biases": float(trained.lambda_max),
        "learning_rate_bound": 2.0 / float((trained if point.train_biases else without).lambda_max),
    }


@cache
def _jacobian(
    activation: Activation, weights: str, sigma_w2: float, sigma_b2: float, depth: int, q_hat_0: float, count: int
) -> dict[str, Any]:
    q = mean_field.lengths(activation, sigma_w2, sigma_b2, q_hat_0, depth)
    law = jacobian.spectrum(activation, weights, sigma_w2, sigma_b2, depth, q)
    return {
        "moments": jacobian.moments(activation, weights, sigma_w2, sigma_b2, depth, count, q).tolist(),
        "lambda_max": float(law.lambda_max),
        "lambda_min": float(law.x[0]) if len(law.x) else math.nan,
        "atoms": [[float(place), float(mass)] for place, mass in law.atoms],
    }


@cache
def _conditional_fim(
    activation: Activation, weights: str, sigma_w2: float, sigma_b2: float, depth: int, q_hat_0: float
) -> dict[str, Any]:
    q = mean_field.lengths(activation, sigma_w2, sigma_b2, q_hat_0, depth)
    return _bulk(jacobian.conditional_fim(activation, weights, sigma_w2, sigma_b2, depth, q))


def _conjugate_kernel(point: Point, ratio: float) -> dict[str, Any]:
    from mcnet.theory.kernel_bulk import conjugate_kernel_bulk

    if point.weights != "gaussian" or point.inputs.kind != "gaussian" or point.inputs.c0:
        raise ValueError("the bulk is derived for gaussian weights and independent gaussian inputs")
    law = conjugate_kernel_bulk(
        point.activation, point.sigma_w2, point.sigma_b2, point.depth, ratio, q_hat_0=_length(point)
    )
    return {"inputs_over_width": ratio, **_bulk(law)}


def _bulk(law: Spectrum) -> dict[str, Any]:
    return {
        "mean": law.mean,
        "second_moment": law.second_moment,
        "lambda_max": float(law.lambda_max),
        "atoms": [[float(place), float(mass)] for place, mass in law.atoms],
    }


def text(result: dict[str, Any]) -> str:
    """The predictions as tables, one row for every point that differs in more than what the theory ignores."""
    if "members" in result:
        return "\n\n".join(map(text, result["members"].values()))
    points = result["points"]
    shown = varying([entry["point"] for entry in points])
    blocks = [result["title"]] if result["title"] else []

    def block(
        title: str, name: str, row: Callable[[dict[str, Any]], dict[str, Any]], without: tuple[str, ...] = ()
    ) -> None:
        rows = [
            {key: entry["point"][key] for key in shown if key not in without} | row(entry[name])
            for entry in points
            if name in entry
        ]
        unique = list({repr(each): each for each in rows}.values())
        if unique:
            blocks.append(f"{title}\n{table(unique)}")

    block("Mean field", "mean_field", dict, without=("width", "depth", "weights", "normalization", *_INPUTS))
    depth = " or ".join(str(value) for value in dict.fromkeys(entry["point"]["depth"] for entry in points))
    block("Gradients, mean field", "gradients", _gradients_row, without=("width", "weights"))
    block(
        f"Finite width: mean = limit + a1/width, variance = v1/width; q, q_hat, c of layer {depth}, q_tilde of layer 1",
        "finite_width",
        _expansion_row,
        without=("width",),
    )
    block("Fisher information matrix", "fisher", dict)
    block("Jacobian, eigenvalues of J J^T", "jacobian", _jacobian_row, without=("width",))
    block("Fisher information of one input with M outputs, over M", "conditional_fim", _bulk_row, without=("width",))
    block("Conjugate kernel, bulk of T inputs", "conjugate_kernel", _bulk_row)
    notes = list(dict.fromkeys(note for entry in points for note in entry["notes"]))
    blocks += ["\n".join(f"no {note}" for note in notes[:10])] if notes else []
    return "\n\n".join(blocks)


def _gradients_row(curves: dict[str, Any]) -> dict[str, Any]:
    norms = curves["q_tilde"]
    return {"q_tilde(1)": norms[0], "q_tilde(last)": norms[-1], "growth per layer": _growth(norms)}


def _growth(norms: list[float]) -> float:
    """Factor by which the gradient grows for each layer that it passes back."""
    if len(norms) < 2 or norms[0] <= 0 or norms[-1] <= 0:
        return math.nan
    return math.exp(math.log(norms[0] / norms[-1]) / (len(norms) - 1))


def _expansion_row(curves: dict[str, Any]) -> dict[str, Any]:
    row = {}
    for name, layer in (("q", -1), ("q_hat", -1), ("c", -1), ("q_tilde", 0)):
        for part in ("limit", "a1", "v1"):
            if part not in curves.get(name, {}):
                continue
            value = curves[name][part][layer]
            row[name if part == "limit" else f"{part}({name})"] = 0.0 if abs(value) < _ZERO else value
    for part in ("limit", "a1", "v1"):
        if part in curves.get("ntk", {}):
            row["ntk" if part == "limit" else f"{part}(ntk)"] = curves["ntk"][part][0][0]
    return row


def _jacobian_row(law: dict[str, Any]) -> dict[str, Any]:
    row = {f"mu_{order}": value for order, value in enumerate(law["moments"], 1)}
    return {**row, "lambda_min": law["lambda_min"], "lambda_max": law["lambda_max"], "atoms": _atoms(law)}


def _bulk_row(law: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in law.items() if name != "atoms"}, "atoms": _atoms(law)}


def _atoms(law: dict[str, Any]) -> str | None:
    return ", ".join(f"{mass:.4g} at {place:.4g}" for place, mass in law["atoms"]) or None
