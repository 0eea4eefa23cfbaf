"""From a checked draft to points: the product of the axes, with "critical", "fixed-point" and input files resolved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from mcnet import architectures
from mcnet.activations.table import Activation
from mcnet.architectures.keys import EPSILON
from mcnet.architectures.program import frozen_keys
from mcnet.coordinates import DENSE, DOUBLE_CRITICAL, INSIDE
from mcnet.point import Inputs, Point
from mcnet.programs.names import ProgramError
from mcnet.progress import counted
from mcnet.scenario.data import Data
from mcnet.scenario.draft import Draft
from mcnet.scenario.faults import Faults


def points(draft: Draft, data: Data | None, faults: Faults, quiet: bool = True) -> tuple[Point, ...]:
    """All points of the grid, in the order of the file; mistakes that only the values show are noted.

    ``data``: the inputs of kinds that give them.
    """
    made: list[Point] = []
    seen: set[Any] = set()
    network, architecture = draft.network, draft.architecture
    for values in counted(list(draft.grid()), "points resolved", quiet):
        variances = _variances(draft, values, faults)
        _set_epsilon(values)
        count = values.pop("count", None) or draft.count() or 1
        resolved = {**values, **(variances or {})}
        inputs = None if variances is None else _inputs(draft, resolved, count, data, faults)
        if inputs is None:
            continue
        identity = (*resolved.values(), count)
        if identity in seen:
            found = f'"critical" is {resolved["sigma_w2"]:.6g} for {values["activation"].label}'
            faults.add(draft.place("sigma_w2"), f"{found}, which stands in the list too. Remove one.")
        seen.add(identity)
        keys = {name: resolved.pop(name) for name in architecture.keys if name in resolved}
        biases = network["train_biases"]
        made.append(
            Point(
                architecture=architecture.name,
                inputs=inputs,
                outputs=network["outputs"],
                readout=network["readout"] or "gaussian",
                parameterization=network["parameterization"] or "standard",
                train_biases=resolved["sigma_b2"] > 0 if biases is None else biases,
                parameters=frozen_keys(architecture, keys),
                **resolved,
            )
        )
    if any(point.is_program for point in made):
        made = [_at_sites(point, draft, faults) for point in made]
        _try(made, faults)
    return tuple(made)


def _set_epsilon(values: dict[str, Any]) -> None:
    """0 unless it was given, where the network normalises inside; elsewhere it means nothing."""
    if values.get("normalization") in INSIDE:
        values.setdefault(EPSILON, 0.0)
    else:
        values.pop(EPSILON, None)


def _at_sites(point: Point, draft: Draft, faults: Faults) -> Point:
    """The vectors given for an input divided among its sites: positions, tokens."""
    program = architectures.of(point)
    if point.inputs.values is None or program.complaints or program.rows == 1:
        return point
    size, rest = divmod(point.inputs.dimension, program.rows)
    if rest or not size:
        axes = " x ".join(str(size) for size in (point.inputs.count, *list(program.axes.values())[1:]))
        faults.add(
            ("inputs", {"values": "values", "file": "path"}.get(draft.inputs["kind"], "kind")),
            f"has {point.inputs.dimension} numbers for each input, which are no {program.rows} vectors of one length. "
            f"Give {axes} vectors.",
        )
        return point
    return replace(point, inputs=replace(point.inputs, dimension=size))


def _try(points: Sequence[Point], faults: Faults) -> None:
    """Note keys that do not go together, and what is wrong with the program when it is run on shapes."""
    for point in points:
        program = architectures.of(point)
        wrong = program.complaints
        for sentence in wrong:
            key = sentence.split()[0]
            place = key if key in program.architecture.keys else "architecture"
            faults.add(("network", place), f"{sentence.rstrip('.')}.", at_key=True)
        try:
            if not wrong:
                program.count  # noqa: B018 (it raises)
        except ProgramError as error:
            faults.add(("network", "architecture"), f"{error} (width {point.width}, depth {point.depth}).")


@cache
def _critical(activation: Activation, sigma_b2: float) -> float:
    from mcnet.theory.mean_field import critical_sigma_w2

    return float(critical_sigma_w2(activation, sigma_b2))


@cache
def _fixed_length(activation: Activation, sigma_w2: float, sigma_b2: float) -> float:
    from mcnet.theory.mean_field import fixed_length

    return float(fixed_length(activation, sigma_w2, sigma_b2))


@cache
def _double_critical(activation: Activation) -> tuple[float, float]:
    from mcnet.theory.mean_field import double_critical

    point = double_critical(activation)
    return point.sigma_w2, point.sigma_b2


def _variances(draft: Draft, values: dict[str, Any], faults: Faults) -> dict[str, float] | None:
    """sigma_w2 and sigma_b2 of a point, "critical" and "double-critical" resolved at its activation."""
    given, place = values["sigma_w2"], draft.place("sigma_w2")
    if not isinstance(given, str):
        return {"sigma_w2": float(given), "sigma_b2": float(values["sigma_b2"])}
    if draft.architecture.name != DENSE:
        faults.add(place, f'"{given}" is that of dense networks, not of "{draft.architecture.name}". Give a number.')
        return None
    activation = values["activation"]
    at = activation.label if given == DOUBLE_CRITICAL else f"{activation.label} at sigma_b2 = {values['sigma_b2']:g}"
    other = ""
    try:
        if given == DOUBLE_CRITICAL:
            gain, bias = _double_critical(activation)
            return {"sigma_w2": gain, "sigma_b2": bias}
        gain = _critical(activation, values["sigma_b2"])
        if math.isfinite(gain) and gain > 0:
            return {"sigma_w2": gain, "sigma_b2": float(values["sigma_b2"])}
        reason = "no sigma_w2 has chi_1 = 1"
    except ValueError as error:
        reason, other = str(error), _instead(activation) if given == "critical" else ""
    faults.add(place, f'"{given}" does not exist for {at}: {reason}. Give a number{other}.')
    return None


def _instead(activation: Activation) -> str:
    try:
        gain, bias = _double_critical(activation)
    except ValueError:
        return ""
    return f', or "{DOUBLE_CRITICAL}" (sigma_w2 = {gain:.6g} and sigma_b2 = {bias:.6g})'


def _inputs(draft: Draft, values: dict[str, Any], count: int, data: Data | None, faults: Faults) -> Inputs | None:
    given, kind = draft.inputs, draft.inputs["kind"]
    if kind in ("values", "file", "digits"):
        if data is None:
            return None
        size = len(data.values[0])
        return Inputs(
            "values", len(data.values), size, values=data.values, labels=data.labels, description=data.description
        )
    if given["q0"] == "fixed-point" and draft.architecture.name != DENSE:
        told = f'"fixed-point" is that of dense networks, not of "{draft.architecture.name}". Give a number.'
        faults.add(("inputs", "q0"), told)
        return None
    length = _length(given["q0"], values, faults) if given["q0"] is not None else 1.0
    if length is None:
        return None
    correlation = {"single": None, "pair": given["c0"], "gaussian": given["c0"] or 0.0}[kind]
    dimension = given["dimension"] or values["width"]
    return Inputs(kind, count, dimension, q0=length, c0=correlation, fresh=given["fresh"] or False)


def _length(given: float | str, values: dict[str, Any], faults: Faults) -> float | None:
    """|x|^2/M_0, such that the pre-activations have the fixed length from layer 1 on if "fixed-point" is given."""
    if not isinstance(given, str):
        return given
    activation, sigma_w2, sigma_b2 = values["activation"], values["sigma_w2"], values["sigma_b2"]
    at = f"{activation.label} at sigma_w2 = {sigma_w2:g}, sigma_b2 = {sigma_b2:g}"
    try:
        fixed = _fixed_length(activation, sigma_w2, sigma_b2)
    except ValueError as error:
        reason = f"does not exist for {at}: {error}"
    else:
        length: float = (fixed - sigma_b2) / sigma_w2  # q^1 = sigma_w2 q_hat_0 + sigma_b2 = q*
        if math.isfinite(length) and length > 1e-12:
            return length
        reason = f"has length {fixed:g} for {at}, which no input reaches"
    faults.add(("inputs", "q0"), f'"fixed-point" {reason}. Give a number.')
    return None
