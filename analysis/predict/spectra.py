"""What theory says about a spectrum that was measured: its limit law, exact finite-width moments, edge fluctuations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from mcnet_analysis.statistics.distance import LawTable
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.study import Setting

from mcnet import predictions
from mcnet.observables import program_jacobian
from mcnet.theory import jacobian, mean_field
from mcnet.theory.exact import characteristic, dead_units
from mcnet.theory.exact import jacobian as exact_jacobian
from mcnet.theory.expansion import jacobian as expansion
from mcnet.theory.free.spectrum import Spectrum

TRACY_WIDOM = (-1.2065335745820, 1.2680340580)
"""Mean and standard deviation of the largest eigenvalue of GOE at its edge (Tracy and Widom 1996)."""


LOG_SMALLEST = -600.0
"""Logarithm of the smallest eigenvalue whose density is kept."""


class Prediction(NamedTuple):
    """The limit law of a spectrum, or why there is none."""

    table: LawTable | None
    why_not: str | None


@dataclass(frozen=True)
class SpectralKind:
    """A spectrum that is analysed.

    Attributes
    ----------
    name : str
        Of the measure and of the group in the dataset.
    values, moments : str
        Dataset variables.
    squared : bool
        Whether the values are singular values.
    symbol : str
        Of the matrix, in TeX.
    law : callable
        ``law(setting)`` -> its limit; raises ValueError with the reason where there is none.
    near : float
        Relative distance within which eigenvalues belong to an atom: rounding, or how far atoms move with a network.
    """

    name: str
    values: str
    moments: str
    squared: bool
    symbol: str
    law: Callable[[Setting], Spectrum]
    near: float = 1e-4


@dataclass(frozen=True)
class Laws:
    """Limit laws, each computed once."""

    orders: tuple[str, ...]
    _cache: dict[tuple[Any, ...], Prediction] = field(default_factory=dict)

    def predict(self, kind: SpectralKind, setting: Setting) -> Prediction:
        """The limit of a spectrum at a point."""
        if self.orders and "free-probability" not in self.orders:
            return Prediction(None, "free-probability is not among the theories asked for")
        if (reason := _why_no_law(kind, setting)) is not None:
            return Prediction(None, reason)
        if not np.isfinite(setting.gram).all():
            return Prediction(None, "the Gram matrix of the inputs is unknown")
        if setting.input_dimension != setting.width:
            return Prediction(None, "the laws are those of square matrices: inputs.dimension = width")
        law = setting.law
        ratio = setting.inputs / setting.width if kind.name == "conjugate_kernel" else 0.0
        numbers = (law["sigma_w2"], law["sigma_b2"], law["depth"], law["train_biases"], ratio)
        key = (kind.name, setting.activation.label, weights_of(setting), *numbers, float(setting.gram[0, 0]))
        if key not in self._cache:
            try:
                self._cache[key] = Prediction(LawTable(kind.law(setting), kind.near), None)
            except ValueError as error:
                self._cache[key] = Prediction(None, str(error))
        return self._cache[key]


def _why_no_law(kind: SpectralKind, setting: Setting) -> str | None:
    """Why no law is known for an architecture; convolutions have the Jacobian of dense networks."""
    if setting.law["architecture"] != "convolution" or kind.name != "jacobian" or setting.why_unknown is not None:
        return setting.why_no_theory
    if setting.law["normalization"] != "none" or weights_of(setting) not in ("gaussian", "orthogonal"):
        return "laws of convolutions are those of gaussian and orthogonal kernels without normalisation"
    rows = setting.ensemble.program.rows
    lengths = np.diagonal(setting.ensemble.gram)[:rows]
    if not np.allclose(lengths, lengths[0], rtol=1e-9):
        return "the laws of convolutions are for inputs of one length at all positions"
    return None


def jacobian_rows(setting: Setting) -> int:
    """How many eigenvalues J J^T has; of networks that nobody knows the width."""
    return setting.width if setting.why_unknown is not None else program_jacobian.shape(setting.ensemble.point)[0]


def limit_moments(kind: SpectralKind, setting: Setting, table: LawTable | None, count: int) -> Floats | None:
    """Moments 1, 2, ... of the limit law, NaN where unknown; None where none is known.

    Of J J^T ``count`` of them where the whole law is known, else the first two, which the registry of predictions may
    know without the law; of other spectra two.
    """
    if table is None:
        if kind.name != "jacobian" or setting.why_unknown is not None:
            return None
        curves = [predictions.predict(f"jacobian_mu_{order}", setting.ensemble.of_limits()) for order in (1, 2)]
        known = np.array([float(each.limit[0]) for each in curves])
        return known[:count] if np.isfinite(known).all() else None
    if kind.name != "jacobian":
        return np.array([table.law.mean, table.law.second_moment])
    law = setting.law
    arguments = (setting.activation, weights_of(setting), law["sigma_w2"], law["sigma_b2"], setting.depth)
    return np.asarray(jacobian.moments(*arguments, count, _lengths(setting)))


def weights_of(setting: Setting) -> str:
    """The law of the weights of the dense network that has the same spectrum."""
    weights = str(setting.law["weights"])
    return "orthogonal" if weights == "delta-orthogonal" else weights


def _lengths(setting: Setting) -> Floats:
    """Variances of the pre-activations of layers 1..depth, of the actual input."""
    law = setting.law
    q_hat = float(setting.gram[0, 0])
    return mean_field.lengths(setting.activation, law["sigma_w2"], law["sigma_b2"], q_hat, setting.depth)


def _jacobian(setting: Setting) -> Spectrum:
    """The law of the eigenvalues; of a deep network whose smallest leave the range of a double, from that of log x."""
    law = setting.law
    arguments = (setting.activation, weights_of(setting), law["sigma_w2"], law["sigma_b2"], setting.depth)
    q = _lengths(setting)
    log = jacobian.log_spectrum(*arguments, q=q)
    first, second = jacobian.moments(*arguments, 2, q)
    keep = log.log_x > LOG_SMALLEST
    x = np.exp(log.log_x[keep])
    return Spectrum(
        x=x,
        density=log.density[keep] / x,
        atoms=tuple((math.exp(place), mass) for place, mass in log.atoms),
        lambda_max=math.exp(log.log_max),
        mass=log.mass,
        mean=float(first),
        second_moment=float(second),
        shift=0.0,
        log=log,
    )


def _conditional_fim(setting: Setting) -> Spectrum:
    law = setting.law
    arguments = (setting.activation, law["weights"], law["sigma_w2"], law["sigma_b2"], setting.depth)
    return jacobian.conditional_fim(*arguments, q=_lengths(setting))


def _conjugate_kernel(setting: Setting) -> Spectrum:
    from mcnet.theory.kernel_bulk import conjugate_kernel_bulk

    law = setting.law
    if law["weights"] != "gaussian":
        raise ValueError(f'weights = "{law["weights"]}": the bulk of the conjugate kernel is derived for "gaussian"')
    gram = setting.gram
    if law["input_kind"] != "gaussian" or np.any(gram - np.diag(np.diag(gram))):
        raise ValueError(
            'the bulk of the conjugate kernel is derived for independent inputs: kind = "gaussian", c0 = 0'
        )
    ratio = setting.inputs / setting.width
    arguments = (setting.activation, law["sigma_w2"], law["sigma_b2"], setting.depth, ratio)
    return conjugate_kernel_bulk(*arguments, q_hat_0=float(gram[0, 0]))


KINDS = (
    SpectralKind("jacobian", "jacobian_sv", "jacobian_moment", True, r"J J^T", _jacobian),
    SpectralKind(
        "conditional_fim",
        "conditional_fim_eigenvalue",
        "conditional_fim_moment",
        False,
        r"\Theta",
        _conditional_fim,
        near=0.1,
    ),
    SpectralKind("conjugate_kernel", "conjugate_kernel_eigenvalue", "", False, "K", _conjugate_kernel),
)


class ExactMoments(NamedTuple):
    """Of J J^T at the width of a point, to all orders: means of the first two moments, variance of the first."""

    first: float
    second: float
    first_variance: float


def exact_moments(setting: Setting) -> ExactMoments | None:
    """Exact second moments, where the slopes are independent of the weights; None elsewhere."""
    law = setting.law
    known = setting.activation.homogeneous and law["weights"] in ("gaussian", "orthogonal")
    known = known and setting.why_no_theory is None
    if not known or setting.input_dimension != setting.width:
        return None
    found = exact_jacobian.second_moments(
        setting.activation, law["weights"], law["sigma_w2"], setting.depth, setting.width
    )
    return ExactMoments(found.mean, found.second, found.trace_variance)


def exact_products(setting: Setting, count: int) -> Floats | None:
    """E e_k/C(M, k) of J J^T, k = 1..count: mean products of k different eigenvalues; None where not known exactly."""
    if exact_moments(setting) is None:
        return None
    law = setting.law
    arguments = (setting.activation, law["weights"], law["sigma_w2"], setting.width, setting.depth, count)
    choices = np.array([math.log(math.comb(setting.width, k)) for k in range(1, count + 1)])
    return np.asarray(np.exp(characteristic.log_jacobian_elementary(*arguments) - choices))


class MomentCoefficients(NamedTuple):
    """1/M coefficients of tr (J J^T)^k, k = 1, 2: a1 of the means, v1 of the variances over networks; (2,) each."""

    mean: Floats
    variance: Floats


def moment_coefficients(setting: Setting) -> MomentCoefficients | None:
    """Of a dense network with square Gaussian or Haar matrices and fixed inputs; None for others."""
    law = setting.law
    known = setting.why_no_theory is None and law["weights"] in ("gaussian", "orthogonal") and not setting.fluctuating
    if not known or setting.input_dimension != setting.width:
        return None
    numbers = (law["sigma_w2"], law["sigma_b2"], setting.depth, float(setting.gram[0, 0]))
    found = expansion.moment_coefficients(setting.activation, law["weights"], *numbers)
    return MomentCoefficients(found.mean[-1], np.diag(found.covariance[-1]))


def exact_zero_mass(setting: Setting) -> dead_units.ZeroMass | None:
    """Mean and variance of the share of zero eigenvalues of J J^T of relu networks; None for others."""
    slopes = setting.activation.dphi(np.array([-1.0, 1.0]))
    signs = setting.why_no_theory is None and setting.activation.homogeneous and slopes[0] == 0.0 and slopes[1] != 0.0
    if not signs or setting.law["weights"] not in ("gaussian", "orthogonal"):
        return None
    if setting.input_dimension != setting.width:
        return None
    return dead_units.zero_mass(0.5, setting.depth, setting.width)


class Edge(NamedTuple):
    """The largest eigenvalue at a width: mean and standard deviation."""

    mean: float
    deviation: float


def edge(table: LawTable, setting: Setting) -> Edge | None:
    """Tracy-Widom fluctuations of the largest eigenvalue of a linear Gaussian network; None where D is random.

    Notes
    -----
    Near a soft edge rho = (a/pi) sqrt(lambda_+ - x), and lambda_max = lambda_+ + (a M)^(-2/3) TW_1. With a random D the
    limit law itself moves by O(M^-1/2), which is more.
    """
    slopes = np.unique(setting.activation.dphi(np.linspace(-3.0, 3.0, 13)))
    dense = setting.why_no_theory is None
    if slopes.size > 1 or not dense or setting.law["weights"] != "gaussian" or table.law.atoms:
        return None
    amplitude = edge_amplitude(table)
    scale = (amplitude * setting.width) ** (-2 / 3)
    return Edge(table.law.lambda_max + scale * TRACY_WIDOM[0], scale * TRACY_WIDOM[1])


def edge_amplitude(table: LawTable) -> float:
    """a of rho = (a/pi) sqrt(lambda_+ - x), from the mass above two points near the edge, extrapolated to it."""
    top = table.law.lambda_max
    distances = top * np.array([1e-3, 2e-3])
    above = 1.0 - table.cdf(top - distances)
    near, far = above * 3.0 * math.pi / (2.0 * distances**1.5)
    return float(2.0 * near - far)
