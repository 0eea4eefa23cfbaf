"""What theory says about each observable: one entry of the registry per observable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from analysis.estimate import Floats
from analysis.study import Column, Setting
from mcnet.theory import finite_width
from mcnet.theory.finite_width import Coefficients


class Curve(NamedTuple):
    """Prediction for one input or pair, entry l of each array for layer l = 0..depth; NaN where there is none.

    ``exact_mean`` and ``exact_variance`` mark layers where limit + a1/M and v1/M hold at every M.
    """

    limit: Floats
    a1: Floats
    v1: Floats
    exact_mean: Floats
    exact_variance: Floats


class Predicted(NamedTuple):
    """The same for a list of columns: arrays (p,); the flags are boolean."""

    limit: Floats
    a1: Floats
    v1: Floats
    exact_mean: Floats
    exact_variance: Floats


@dataclass(frozen=True)
class Observable:
    """An observable that is analysed.

    Attributes
    ----------
    name, group : str
        Of the dataset variable.
    first_layer : int
        Lowest layer where it is defined.
    symbol : str
        For figures, in TeX.
    natural_scale : callable
        From limits to the size of a fluctuation that would be "of order one": the length itself, 1 - |c| for a
        correlation. Sets the expected size of higher orders in 1/M.
    backward : bool
        Whether it comes from the backward pass. Forward observables of one layer share their expected growth of
        orders, backward ones have their own.
    curve : callable
        ``curve(theory, setting, index)`` -> Curve for the input (a,) or the pair (a, b).
    """

    name: str
    group: str
    first_layer: int
    symbol: str
    natural_scale: Callable[[Floats], Floats]
    curve: Callable[[Theory, Setting, tuple[int, ...]], Curve]
    backward: bool = False

    @property
    def source(self) -> tuple[str, str, int]:
        return self.name, self.group, self.first_layer


@dataclass(frozen=True)
class Theory:
    """Predictions for settings, each distinct theory computed once.

    ``orders`` are those of ``[analyze] theory``: without "1/M" only limits are given.
    """

    orders: tuple[str, ...] = ("mean-field", "1/M")
    _cache: dict[tuple[object, ...], Coefficients] = field(default_factory=dict)

    def why_no_limit(self, setting: Setting) -> str | None:
        """Why nothing is predicted for a setting, or None."""
        if "mean-field" not in self.orders and "1/M" not in self.orders:
            return "neither mean-field nor 1/M is among the theories asked for"
        if setting.fluctuating and setting.input_dimension != setting.width:
            return "fresh random inputs of a fixed dimension fluctuate at every width"
        if not np.isfinite(setting.gram).all():
            return "the Gram matrix of the inputs is unknown"
        return None

    def why_no_coefficients(self, setting: Setting) -> str | None:
        """Why only limits are predicted, or None."""
        if "1/M" not in self.orders:
            return "1/M is not among the theories asked for"
        if setting.law["weights"] not in ("gaussian", "orthogonal"):
            return f"no 1/M theory for {setting.law['weights']} weights"
        return None

    def coefficients(self, setting: Setting, index: tuple[int, ...]) -> Coefficients:
        """Limits and 1/M coefficients for one input or a pair (of any number of inputs: marginals are exact)."""
        law = setting.law
        gram = setting.gram[np.ix_(index, index)]
        ratio = setting.input_dimension / setting.width
        orthogonal = law["weights"] == "orthogonal"
        first_layer_matters = orthogonal or setting.fluctuating
        key = (
            gram.tobytes(),
            setting.activation.label,
            orthogonal,
            law["sigma_w2"],
            law["sigma_b2"],
            law["depth"],
            setting.fluctuating,
            ratio if first_layer_matters else None,
        )
        if key not in self._cache:
            self._cache[key] = finite_width.coefficients(
                gram,
                setting.activation,
                "orthogonal" if orthogonal else "gaussian",
                law["sigma_w2"],
                law["sigma_b2"],
                law["depth"],
                "ntk",
                False,
                not setting.fluctuating,
                input_over_width=ratio if first_layer_matters else 1.0,
            )
        return self._cache[key]

    def predict(self, setting: Setting, columns: Sequence[Column]) -> Predicted:
        """Predictions for columns; NaN where :meth:`why_no_limit` or :meth:`why_no_coefficients` has a reason."""
        curves: dict[tuple[str, tuple[int, ...]], Curve] = {}
        table = np.full((5, len(columns)), np.nan)
        table[3:] = 0.0
        if self.why_no_limit(setting) is None:
            for j, column in enumerate(columns):
                place = (column.observable, column.inputs)
                if place not in curves:
                    curves[place] = OBSERVABLES[column.observable].curve(self, setting, column.inputs)
                table[:, j] = [values[column.layer] for values in curves[place]]
            if self.why_no_coefficients(setting) is not None:
                table[1:3] = np.nan
                table[3:] = 0.0
        return Predicted(table[0], table[1], table[2], table[3] > 0, table[4] > 0)


def _q(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    c = theory.coefficients(setting, index)
    limit, a1, v1 = (_layers(x[:, 0, 0], 1) for x in (c.q_limit, c.q_mean, c.q_variance))
    return Curve(limit, a1, v1, _exact_mean(setting, a1), _exact_first(setting, a1))


def _q_hat(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    c = theory.coefficients(setting, index)
    limit, a1, v1 = (_layers(x[:, 0, 0], 0) for x in (c.q_hat_limit, c.q_hat_mean, c.q_hat_variance))
    return Curve(limit, a1, v1, _exact_mean(setting, a1), _exact_first(setting, a1))


def _c(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    c = theory.coefficients(setting, index)
    assert c.c_limit is not None
    assert c.c_mean is not None
    assert c.c_variance is not None
    limit, a1, v1 = (_layers(x, 1) for x in (c.c_limit, c.c_mean, c.c_variance))
    nowhere = np.zeros_like(limit)
    return Curve(limit, a1, v1, nowhere, nowhere)


def _q_tilde(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    """Mean over the outputs of |df/du|^2: the limit and a1 are those of one output, v1 only if there is just one.

    Without a readout the error at the top is a Gaussian vector of mean square length 1 instead of sigma_w2.
    """
    c = theory.coefficients(setting, index)
    outputs = int(setting.law["outputs"] or 0)
    unit = 1.0 if outputs else 1.0 / setting.law["sigma_w2"]
    limit = unit * _layers(c.q_tilde_limit[:, 0, 0], 1)
    a1, v1 = unit * _layers(c.q_tilde_mean[:, 0, 0], 1), unit**2 * _layers(c.q_tilde_variance[:, 0, 0], 1)
    unknown = np.full_like(limit, np.nan)
    if setting.law["normalization"] != "none":
        limit = unknown
    if outputs and (setting.law["readout"] != "gaussian" or setting.law["normalization"] != "none"):
        a1 = unknown
    nowhere = np.zeros_like(limit)
    return Curve(limit, a1, v1 if outputs <= 1 and np.isfinite(a1[-1]) else unknown, nowhere, nowhere)


def _chi(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
    """The mean of ratios has no 1/M theory here; its limit is the ratio of the limits."""
    q_tilde = _q_tilde(theory, setting, index).limit
    unknown = np.full_like(q_tilde, np.nan)
    limit = unknown.copy()
    limit[2:] = q_tilde[1:-1] / q_tilde[2:]
    nowhere = np.zeros_like(limit)
    return Curve(limit, unknown, unknown, nowhere, nowhere)


def _layers(values: Floats, first: int) -> Floats:
    """Values of the layers first..depth as layers 0..depth."""
    return np.concatenate([np.full(first, np.nan), values])


def _exact_first(setting: Setting, like: Floats) -> Floats:
    """Layer 1 of Gaussian weights and fixed inputs: independent units, so mean and variance end with 1/M."""
    flags = np.zeros_like(like)
    flags[1] = setting.law["weights"] == "gaussian" and not setting.fluctuating
    return flags


def _exact_mean(setting: Setting, like: Floats) -> Floats:
    """Homogeneous phi and Gaussian weights: E|h|^2 is linear in |h|^2 of the layer below, so means have no 1/M."""
    if setting.activation.homogeneous and setting.law["weights"] == "gaussian":
        return np.ones_like(like)
    return _exact_first(setting, like)


def _length(limit: Floats) -> Floats:
    return np.abs(limit)


def _room(limit: Floats) -> Floats:
    """Distance of a correlation from +-1."""
    return 1.0 - np.abs(limit)


OBSERVABLES: dict[str, Observable] = {
    observable.name: observable
    for observable in (
        Observable("q", "signal", 1, r"q", _length, _q),
        Observable("q_hat", "signal", 1, r"\hat q", _length, _q_hat),
        Observable("c", "signal", 1, r"c", _room, _c),
        Observable("q_tilde", "signal", 1, r"\tilde q", _length, _q_tilde, backward=True),
        Observable("chi", "signal", 2, r"\chi", _length, _chi, backward=True),
    )
}
