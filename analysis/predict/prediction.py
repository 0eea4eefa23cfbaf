"""What a prediction is: limits and 1/M coefficients of an observable, exact moments, and the theory behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Column, Picks, Setting, Source
from numpy.typing import NDArray

from mcnet import predictions
from mcnet.predictions import Curve, dense, programs
from mcnet.theory import mean_field, tangent
from mcnet.theory.finite_width import Coefficients

LARGEST = 2**24
"""Entries of the Gram matrices of all layers up to which a kernel is computed: 1000 inputs through 16 layers."""


class Predicted(NamedTuple):
    """The same for a list of columns: arrays (p,); the flags are boolean, the reasons a tuple.

    ``errors`` are standard errors of limit, a1 and v1, (3, p): not zero where theory itself was sampled.
    """

    limit: Floats
    a1: Floats
    v1: Floats
    exact_mean: NDArray[np.bool_]
    exact_variance: NDArray[np.bool_]
    room: Floats
    why_not: tuple[str, ...]
    errors: Floats

    def take(self, at: Sequence[int]) -> Predicted:
        """Those of some columns."""
        some = np.asarray(at, dtype=np.intp)
        return Predicted(
            limit=self.limit[some],
            a1=self.a1[some],
            v1=self.v1[some],
            exact_mean=self.exact_mean[some],
            exact_variance=self.exact_variance[some],
            room=self.room[some],
            why_not=tuple(self.why_not[j] for j in at),
            errors=self.errors[:, some],
        )


def no_predictions() -> Predicted:
    """Of no columns."""
    nothing, no_flags = np.empty(0), np.empty(0, dtype=bool)
    return Predicted(nothing, nothing, nothing, no_flags, no_flags, nothing, (), np.empty((3, 0)))


class ExactMoments(NamedTuple):
    """Mean and variance at a width, exact to all orders."""

    mean: float
    variance: float


@dataclass(frozen=True)
class Observable:
    """An observable that is analysed.

    Attributes
    ----------
    name, group : str
        Of the dataset variable.
    first_layer : int or None
        Lowest layer where it is defined; None if it has no layers.
    symbol : str
        For figures, in TeX.
    natural_scale : callable
        ``natural_scale(column, limits)`` -> the size of a fluctuation that would be "of order one": the length itself,
        1 - |c| for a correlation. ``limits`` has those of all columns. Sets the expected size of higher orders in 1/M.
    curve : callable
        ``curve(theory, setting, index)`` -> Curve for the input (a,) or the pair (a, b).
    backward : bool
        Whether it comes from the backward pass. Forward observables of one layer share their expected growth of
        orders, backward ones have their own.
    exact : callable, optional
        ``exact(setting, column)`` -> moments at the width of the setting where they are known to all orders, or None.
    picks : callable, optional
        ``picks(setting, dims)`` -> what is read of a variable without layers: inputs of the column -> place along each
        dimension (a slice: its mean). By default the one number that there is.
    variable : str
        Name of the dataset variable where it is not ``name``.
    power : int
        Of the width, in the ``standard`` parametrisation: values are divided by it before they are analysed.
    at : tuple of (str, int)
        Places along dimensions beside input and layer, where there are several observables in a variable.
    stays_random : bool
        Whether networks of infinite width still differ in it: its variance has no expansion that starts with v1/M.
    """

    name: str
    group: str
    first_layer: int | None
    symbol: str
    natural_scale: Callable[[Column, Mapping[Column, float]], float]
    curve: Callable[[Theory, Setting, tuple[int, ...]], Curve]
    backward: bool = False
    exact: Callable[[Setting, Column], ExactMoments | None] | None = None
    picks: Callable[[Setting, tuple[str, ...]], Picks] | None = None
    variable: str = ""
    power: int = 0
    at: tuple[tuple[str, int], ...] = ()
    stays_random: bool = False

    @property
    def source(self) -> Source:
        """Where its values are."""
        return Source(
            self.name, self.group, self.variable or self.name, self.first_layer, self.picks or _whole, self.power,
            self.at,
        )  # fmt: skip


def _whole(setting: Setting, dims: tuple[str, ...]) -> Picks:
    return {(): {}}


@dataclass(frozen=True)
class Theory:
    """Predictions for settings, each distinct theory computed once.

    ``orders`` are those of ``[analyze] theory``: without "1/M" only limits are given.
    """

    orders: tuple[str, ...] = ("mean-field", "1/M")
    _grams: dict[tuple[object, ...], tuple[Floats, Floats]] = field(default_factory=dict)

    def why_no_limit(self, setting: Setting) -> str | None:
        """Why nothing is predicted for a setting, or None."""
        if (reason := self.why_nothing(setting)) is not None:
            return reason
        try:  # kept, and asked for again anyway
            dense.signal(setting.ensemble, (0, 1) if setting.inputs > 1 else (0,))
        except ValueError as error:
            return str(error)
        return None

    def why_nothing(self, setting: Setting) -> str | None:
        """Why no theory at all has an answer at a setting, or None."""
        if "mean-field" not in self.orders and "1/M" not in self.orders:
            return "neither mean-field nor 1/M is among the theories asked for"
        if setting.why_unknown is not None:
            return setting.why_unknown
        if setting.fluctuating and setting.input_dimension != setting.width:
            return "fresh random inputs of a fixed dimension fluctuate at every width"
        if not np.isfinite(setting.gram).all():
            return "the Gram matrix of the inputs is unknown"
        return None

    def why_no_coefficients(self, setting: Setting, observable: str = "") -> str | None:
        """Why only limits are predicted (of an observable), or None."""
        if "1/M" not in self.orders:
            return "1/M is not among the theories asked for"
        if setting.law["weights"] not in programs.EXPANDED and observable != "q_hat":  # of those its predictors tell
            return f"no 1/M theory for {setting.law['weights']} weights"
        return None

    def coefficients(self, setting: Setting, index: tuple[int, ...]) -> Coefficients:
        """Limits and 1/M coefficients for one input or a pair (of any number of inputs: marginals are exact)."""
        return dense.coefficients(setting.ensemble, index)

    def kernel(self, setting: Setting) -> Floats:
        """Limit of the tangent kernel of the actual inputs at the width of a setting, (T, T).

        Of more than two inputs of one length and one overlap only the first two, (2, 2). In the ``standard``
        parametrisation Theta/M, the term of the biases included.

        Raises
        ------
        ValueError
            If the inputs are too many.
        """
        law = setting.law
        gram = setting.gram[:2, :2] if setting.exchangeable else setting.gram
        entries = (setting.depth + 1) * gram.size
        if entries > LARGEST or (not setting.exchangeable and len(gram) < setting.inputs):
            raise ValueError(
                f"the kernel of {setting.inputs} inputs of unequal overlaps through {setting.depth} layers is too large"
            )
        key = (gram.tobytes(), setting.activation.label, law["sigma_w2"], law["sigma_b2"], law["depth"])
        if key not in self._grams:
            arguments = (setting.activation, law["sigma_w2"], law["sigma_b2"], gram, setting.depth)
            q_hat = mean_field.covariances(*arguments).q_hat
            self._grams[key] = q_hat, mean_field.gradient_covariances(*arguments, readout=True)
        standard = law["parameterization"] == "standard"
        unit = float(setting.width) if standard else 1.0
        alpha, beta = tangent.layer_factors(
            law["parameterization"], law["sigma_w2"], law["sigma_b2"], setting.depth, law["train_biases"],
            width=setting.width, input_dimension=setting.input_dimension,
        )  # fmt: skip
        q_hat, q_tilde = self._grams[key]
        return tangent.assemble(q_hat, q_tilde, alpha / unit, beta / unit)


def homogeneous_slope(setting: Setting) -> float | None:
    """See :func:`mcnet.predictions.dense.homogeneous_slope`."""
    return dense.homogeneous_slope(setting.ensemble)


def curve(name: str) -> Callable[[Theory, Setting, tuple[int, ...]], Curve]:
    """The prediction of whoever the registry of predictions names for an observable."""

    def function(theory: Theory, setting: Setting, index: tuple[int, ...]) -> Curve:
        ensemble = setting.ensemble
        return predictions.predict(name, ensemble if "1/M" in theory.orders else ensemble.of_limits(), index)

    return function
