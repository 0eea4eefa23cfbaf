"""What the registries of mcnet say to the analysis: observables of plug-ins, networks of any architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from mcnet_analysis.predict.prediction import Curve, Observable, Theory
from mcnet_analysis.study import Column, Setting

from mcnet import architectures, predictions
from mcnet.observables import catalog
from mcnet.point import Inputs, Point, frozen


def observables() -> dict[str, Observable]:
    """Observables of plug-ins whose variables have a value for every network, by the names of the variables."""
    found: dict[str, Observable] = {}
    for variable in catalog.registered_variables():
        layered = "layer" in variable.dims
        if variable.per_shard or set(variable.dims) - {"input", "pair", "layer"}:
            continue
        found[variable.name] = Observable(
            variable.name,
            variable.group,
            1 if layered else None,
            variable.symbol,
            _itself,
            curve(variable.name),
        )
    return found


def _itself(column: Column, limits: Mapping[Column, float]) -> float:
    return abs(limits[column])


def curve(name: str) -> Callable[[Theory, Setting, tuple[int, ...]], Curve]:
    """The prediction of whoever the registry of predictions names."""

    def found(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
        known = predictions.predict(name, ensemble(setting), index)
        return Curve(*known[:5], known.room, known.why_not)

    return found


def ensemble(setting: Setting) -> predictions.Ensemble:
    """What is predicted at a setting."""
    law = setting.law
    inputs = Inputs(
        str(law["input_kind"]), setting.inputs, setting.input_dimension, law["q0"], law["c0"], fresh=law["fresh"]
    )
    point = Point(
        architecture=str(law["architecture"]),
        activation=setting.activation,
        weights=str(law["weights"]),
        width=setting.width,
        depth=setting.depth,
        sigma_w2=float(law["sigma_w2"]),
        sigma_b2=float(law["sigma_b2"]),
        inputs=inputs,
        outputs=int(law["outputs"] or 0) or None,
        readout=str(law["readout"] or "gaussian"),
        normalization=str(law["normalization"]),
        parameterization=str(law["parameterization"]),
        train_biases=bool(law["train_biases"]),
        parameters=frozen(setting.keys),
    )
    rows = architectures.of(point).rows if point.architecture in architectures.names() else 1
    gram = setting.gram if rows == 1 else np.full((rows * setting.inputs,) * 2, np.nan)
    return predictions.Ensemble(point, np.asarray(gram, dtype=np.float64), setting.fluctuating)
