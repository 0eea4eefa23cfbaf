"""Observables that plug-ins registered, as the analysis treats them."""

from __future__ import annotations

from collections.abc import Mapping

from mcnet_analysis.predict.prediction import Observable, curve
from mcnet_analysis.study import Column

from mcnet.observables import catalog


def observables() -> dict[str, Observable]:
    """Those whose variables have a value for every network, by the names of the variables."""
    found: dict[str, Observable] = {}
    for variable in catalog.registered_variables():
        if variable.per_shard or set(variable.dims) - {"input", "pair", "layer"}:
            continue
        first = 1 if "layer" in variable.dims else None
        place = (variable.name, variable.group, first, variable.symbol.removesuffix("^l"))
        found[variable.name] = Observable(*place, _itself, curve(variable.name))
    return found


def _itself(column: Column, limits: Mapping[Column, float]) -> float:
    return abs(limits[column])
