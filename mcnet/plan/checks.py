"""Whether the points and the request of a plan that was read are such as a scenario can give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcnet.point import Point
from mcnet.request import Request
from mcnet.scenario.schema import Inputs, Network, Sampling

_NETWORK = ("activation", "weights", "width", "depth", "sigma_w2", "sigma_b2")


def require_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters of a point that are missing, of a wrong type or out of bounds.

    Raises
    ------
    ValueError
    """
    given = {name: value for name, value in parameters.items() if name != "inputs" and value is not None}
    inputs = {name: value for name, value in parameters["inputs"].items() if name != "values" and value is not None}
    network = Network.model_validate(given)
    vectors = Inputs.model_validate(inputs)
    lacking = [name for name in _NETWORK if getattr(network, name) is None]
    lacking += [name for name in ("kind", "count", "dimension") if getattr(vectors, name) is None]
    lacking += [name for name in ("readout", "train_biases", "normalization") if parameters[name] is None]
    if lacking or isinstance(network.sigma_w2, str) or isinstance(vectors.q0, str):
        raise ValueError(f"a point without numbers for {', '.join(lacking) or 'sigma_w2 or q0'}")
    if (parameters["inputs"]["values"] is None) == (vectors.kind == "values"):
        raise ValueError("inputs that are no vectors")
    if vectors.kind in ("single", "pair", "gaussian") and vectors.q0 is None:
        raise ValueError("inputs without a length")
    if vectors.kind in ("pair", "gaussian") and vectors.c0 is None:
        raise ValueError("inputs without a correlation")


def require_vectors(point: Point) -> None:
    """Refuse input vectors that are not of the size that the point says.

    Raises
    ------
    ValueError
    """
    inputs = point.inputs
    if inputs.values is not None:
        if len(inputs.values) != inputs.count or any(len(row) != inputs.dimension for row in inputs.values):
            raise ValueError("input vectors of another size")
        Inputs.model_validate({"values": [list(row) for row in inputs.values]})


def require_request(request: Request, batch: int | None) -> None:
    """Refuse a request that no scenario makes.

    Raises
    ------
    ValueError
    """
    from mcnet.observables.catalog import OBSERVABLES

    Sampling.model_validate(
        {"seed": request.seed, "sampler": request.sampler, "precision": request.precision, "batch": batch or 1}
    )
    for name, options in request.measures.items():
        if name not in OBSERVABLES or not isinstance(options, Mapping):
            raise ValueError(f"the measure {name[:60]!r}")
        allowed = OBSERVABLES[name].options
        for key, value in options.items():
            if key not in allowed or allowed[key].complaint(value):
                raise ValueError(f"the option {key[:60]!r} of {name}")


def require_measurable(point: Point, request: Request, sampler: str) -> None:
    """Refuse what cannot be measured at a point.

    Raises
    ------
    ValueError
    """
    from mcnet.observables.catalog import OBSERVABLES

    if sampler not in ("conditioned", "explicit"):
        raise ValueError("a sampler that is none")
    for name, options in request.measures.items():
        if told := OBSERVABLES[name].check(point, options):
            raise ValueError(f"{name}: {told[0]}")
