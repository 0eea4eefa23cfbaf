"""Whether the points and the request of a plan that was read are such as a scenario can give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcnet import architectures
from mcnet.coordinates import COORDINATES
from mcnet.point import Point
from mcnet.request import Request
from mcnet.scenario.schema import Sampling, Train, sections

_NEEDED = [each.name for each in COORDINATES if each.section == "network" and each.default is not None]
_NEEDED += ["readout", "train_biases"]
_INPUTS = ("kind", "count", "dimension")
_APART = ("values", "labels", "description")
_WORDS = [each.written for each in COORDINATES if each.kind == "number" and each.words]  # resolved at a point


def require_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters of a point that are missing, of a wrong type or out of bounds.

    Raises
    ------
    ValueError
    """
    given = {name: value for name, value in parameters.items() if name != "inputs" and value is not None}
    inputs = {name: value for name, value in parameters["inputs"].items() if name not in _APART and value is not None}
    architecture = architectures.lookup(str(parameters["architecture"]))
    models = sections(architecture.coordinates, architectures.names(), architecture.weights)
    keys = given.pop("parameters", {})
    network = dict(models["network"].model_validate({**given, **keys}))
    vectors = dict(models["inputs"].model_validate(inputs))
    lacking = [name for name in _NEEDED if network[name] is None]
    lacking += [name for name in _INPUTS if vectors[name] is None]
    lacking += [name for name in _WORDS if isinstance({**network, **vectors}[name], str)]
    if lacking:
        raise ValueError(f"a point without {', '.join(lacking)}")
    kind = vectors["kind"]
    if (parameters["inputs"]["values"] is None) == (kind == "values"):
        raise ValueError("inputs that are no vectors")
    if kind in ("single", "pair", "gaussian") and vectors["q0"] is None:
        raise ValueError("inputs without a length")
    if kind in ("pair", "gaussian") and vectors["c0"] is None:
        raise ValueError("inputs without a correlation")


def require_vectors(point: Point) -> None:
    """Refuse input vectors that are not of the size that the point says.

    Raises
    ------
    ValueError
    """
    inputs = point.inputs
    if inputs.values is not None:
        if len(inputs.values) != inputs.count or any(len(row) % inputs.dimension for row in inputs.values):
            raise ValueError("input vectors of another size")
        sections()["inputs"].model_validate({"values": [list(row) for row in inputs.values]})
    if inputs.labels is not None and (
        len(inputs.labels) != inputs.count
        or not all(type(label) is int and 0 <= label < 10**6 for label in inputs.labels)
    ):
        raise ValueError("labels that are none of the inputs")
    if not isinstance(inputs.description, str):
        raise ValueError("a description that is no text")


def require_recipe(content: Mapping[str, Any]) -> None:
    """Refuse a recipe of training that no scenario makes.

    Raises
    ------
    ValueError
    """
    given = dict(content)
    listed, abc, adam = given.pop("listed"), given.pop("abc", None), given.pop("adam", None)
    if abc is not None:
        given["scaling"] = dict(zip("abc", abc, strict=True))
    if adam is not None:
        given["adam"] = dict(zip(("beta_1", "beta_2", "epsilon"), adam, strict=True))
    train = Train.model_validate(given)
    lacking = [name for name in ("loss", "targets", "learning_rate", "steps", "record") if name not in given]
    if lacking or not isinstance(listed, bool):
        raise ValueError(f"a training without {', '.join(lacking) or 'a list'}")
    steps, record = train.steps or 0, train.record or ()
    if sorted(set(record)) != list(record) or record[-1] > steps:
        raise ValueError("a training that records other steps than it makes")


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
    if point.is_program:
        program = architectures.of(point)
        for sentence in program.complaints:
            raise ValueError(sentence)
        program.count  # noqa: B018 (it raises)
    for name, options in request.measures.items():
        if told := OBSERVABLES[name].unfit(point) or OBSERVABLES[name].check(point, options):
            raise ValueError(f"{name}: {told[0]}")
