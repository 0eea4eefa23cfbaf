"""What theory says about networks in training: exponents, the catapult's law, outputs at infinite width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from mcnet_analysis.predict.prediction import LARGEST
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Setting

from mcnet.theory import mean_field, tangent, training

DRAWS = 40_000
"""Starts of the reduced map of the catapult behind a prediction."""

KINKED = "activations with a kink leave the linear dynamics by a M^(-1/2) + b M^(-3/4), not by one power"


class Recipe(NamedTuple):
    """The part of ``[train]`` that predictions depend on.

    Attributes
    ----------
    rates : tuple of float
    """

    rates: tuple[float, ...]
    bound: bool
    steps: int
    record: tuple[int, ...]
    lazy: bool
    scaling: str
    descent: bool
    online: bool
    targets: str
    values: Floats | None
    test_inputs: int


def recipe(content: Mapping[str, Any], setting: Setting) -> Recipe:
    """From the attribute ``train_json`` of a dataset."""
    scaling = str(content.get("scaling") or setting.law["parameterization"])
    own = content.get("abc") is not None
    bound = content.get("learning_rate_unit") == "bound"
    values = content.get("target_values")
    return Recipe(
        rates=tuple(float(rate) for rate in content["learning_rate"]),
        bound=bound,
        steps=int(content["steps"]),
        record=tuple(int(step) for step in content["record"]),
        lazy=not own and (scaling in ("ntk", "pdlt") or (scaling == "standard" and bound)),
        scaling="own" if own else scaling,
        descent=content.get("optimizer", "gd") == "gd" and content["loss"] == "squared",
        online=content.get("order") == "online" and content.get("batch_size") == 1 and content["loss"] == "squared",
        targets=str(content["targets"]),
        values=None if values is None else np.asarray(values, dtype=np.float64),
        test_inputs=int(content.get("test_inputs", 0)),
    )


def kinked(setting: Setting) -> bool:
    """Whether the activation has a kink."""
    return bool(setting.activation.kinks)


def exponents(setting: Setting, how: Recipe) -> dict[str, float]:
    """Powers of the width of what is measured in training, by variable; what is not here is not predicted.

    Notes
    -----
    With the rates of lazy training, outputs move by order 1, activations by M^(-1/2), and with a smooth activation the
    tangent kernel by 1/M of itself (Dyer, Gur-Ari 2020; Huang, Yau 2020). In the maximal-update parametrisation nothing
    depends on the width (Yang, Hu 2021).
    """
    names = ("activation_size", "activation_change", "output_change", "kernel_size", "kernel_change")
    if how.scaling == "mup":
        return dict.fromkeys(names, 0.0)
    if not how.lazy:
        return {}
    kernel = 1.0 if how.scaling == "standard" else 0.0
    found = {"activation_size": 0.0, "activation_change": -0.5, "output_change": 0.0, "kernel_size": kernel}
    if not kinked(setting) and setting.activation.name != "linear":
        found |= {"linear_deviation": -1.0, "ntk_drift": -1.0, "kernel_change": kernel - 1.0}
    return found


class CatapultLaw(NamedTuple):
    """Means over starts of the reduced map, one entry a learning rate, with standard errors of the sampling.

    Attributes
    ----------
    peak : ndarray
        max_t eta^2 f_t^2/n.
    curvature : ndarray
        eta lambda at the end.
    step : ndarray
        First step of the largest loss.
    """

    peak: Floats
    peak_error: Floats
    curvature: Floats
    curvature_error: Floats
    step: Floats
    step_error: Floats


@lru_cache(maxsize=64)
def catapult(n: int, kappas: tuple[float, ...], steps: int) -> CatapultLaw:
    """The law of f = v.u/sqrt(n) from Gaussian u and v, each network with eta lambda_0 = kappa: two numbers a network.

    Lewkowycz et al. 2020, arXiv:2003.02218; the map is :func:`mcnet.theory.training.catapult`.
    """
    rng = np.random.default_rng(0)
    a, b = 2.0 * rng.chisquare(n, DRAWS), 2.0 * rng.chisquare(n, DRAWS)
    curvature, f = (a + b) / (2.0 * n), (a - b) / (4.0 * math.sqrt(n))
    parts = []
    for kappa in kappas:
        rate = kappa / curvature
        found = training.catapult(f, curvature, n, rate, steps)
        phi2 = (rate * found.f) ** 2 / n
        peak, step = phi2.max(axis=0), phi2.argmax(axis=0).astype(np.float64)
        parts.append([x for value in (peak, rate * found.curvature[-1], step) for x in _mean(value)])
    return CatapultLaw(*np.array(parts).T)


def _mean(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))


def is_catapult(setting: Setting, how: Recipe) -> bool:
    """Whether these networks are f = v.u/sqrt(n) on one input of length 1 and target 0."""
    law = setting.law
    return bool(
        setting.activation.name == "linear"
        and law["architecture"] == "dense"
        and law["weights"] == "gaussian"
        and law["normalization"] == "none"
        and (setting.depth, setting.inputs, law["outputs"], law["q0"]) == (1, 1, 1, 1.0)
        and (law["sigma_w2"], law["sigma_b2"]) == (1.0, 0.0)
        and how.scaling == "ntk"
        and how.descent
        and how.bound
        and how.targets == "zero"
    )


def online_boundary(setting: Setting, how: Recipe, gram: Floats) -> float | None:
    """Largest stable learning rate with one input a step, of linear Haar networks of one output; else None.

    Notes
    -----
    Of L matrices (the readout is one) the tangent kernel of one input is L q, q = |x|^2/M_0, in the ``ntk``
    parametrisation: every layer is an isometry and adds q (Hayase & Karakida 2021, arXiv:2006.07814). A step multiplies
    the residual along x by 1 - eta L q and leaves the others: 2/(L q) for inputs of one length, whatever their order.
    """
    law, q = setting.law, np.diagonal(gram)
    isometric = (
        setting.activation.name == "linear"
        and law["architecture"] == "dense"
        and (law["weights"], law["readout"]) == ("orthogonal", "orthogonal")
        and law["normalization"] == "none"
        and (law["outputs"], law["sigma_w2"], law["sigma_b2"]) == (1, 1.0, 0.0)
        and not law["train_biases"]
    )
    if not (isometric and how.online and how.scaling == "ntk" and not how.bound and how.targets == "zero"):
        return None
    if law["fresh"] or not np.isfinite(q).all() or np.ptp(q) > 1e-9 * q.max():
        return None
    return 2.0 / ((setting.depth + 1) * float(q[0]))


class Outputs(NamedTuple):
    """Law of the outputs at infinite width after some steps; training inputs first.

    Attributes
    ----------
    mean : ndarray, shape (T + S,)
    variance : ndarray, shape (T + S,)
    loss : float
        Mean over networks of (1/2T) sum |f - y|^2.
    """

    mean: Floats
    variance: Floats
    loss: float


def outputs(setting: Setting, how: Recipe, gram: Floats, rate: float, steps: int) -> Outputs | None:
    """Of dense networks of one output trained by gradient descent at a fixed rate to given values; else None.

    Notes
    -----
    From f_0 ~ N(0, K), with A = Theta_.X Theta_XX^-1 [1 - (1 - eta Theta_XX/T)^t]: mean A y and covariance
    (1 - A) K (1 - A)^T (Lee et al. 2019, arXiv:1902.06720, for discrete steps).
    """
    law = setting.law
    if not (how.descent and how.values is not None and how.targets == "values" and how.scaling in ("ntk", "standard")):
        return None
    fitting = law["architecture"] == "dense" and law["normalization"] == "none" and law["outputs"] == 1
    if (
        not fitting
        or how.bound
        or law["fresh"]
        or not np.isfinite(gram).all()
        or how.scaling != law["parameterization"]
    ):
        return None
    if (setting.depth + 1) * gram.size > LARGEST:
        return None
    arguments = (setting.activation, law["sigma_w2"], law["sigma_b2"], gram, setting.depth)
    nngp = law["sigma_w2"] * mean_field.covariances(*arguments).q_hat[-1] + law["sigma_b2"]
    theta = tangent.kernel(
        gram, setting.activation, law["sigma_w2"], law["sigma_b2"], setting.depth, how.scaling,
        bool(law["train_biases"]), width=float(setting.width) if how.scaling == "standard" else None,
    )  # fmt: skip
    y = how.values.reshape(-1)
    trained = y.size
    identity = np.eye(len(theta))
    # linear in the start and the targets: the response to a target, from zero
    response = np.stack(
        [training.linearized(theta, np.zeros(len(theta)), row, rate, steps) for row in np.eye(trained)], axis=1
    )
    kept = identity.copy()
    kept[:, :trained] -= response
    mean, covariance = response @ y, kept @ nngp @ kept.T
    variance = np.diagonal(covariance).copy()
    loss = float(((mean[:trained] - y) ** 2 + variance[:trained]).mean() / 2.0)
    return Outputs(mean, variance, loss)
