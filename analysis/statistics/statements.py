"""Statements about several widths at once, each with what every network contributes: errors, covariance, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.statistics.verdict import Verdict, judge


class Statement(NamedTuple):
    """A number that was measured and predicted.

    Attributes
    ----------
    measured, predicted : float
    neglected : float
        Standard deviation of what the prediction leaves out, or of theory that was itself sampled.
    parts : tuple of ndarray, shape (N_w,), one a width
        What each network adds to the measured number, to first order: the variance is the sum over widths of the
        variance of these over N_w. Empty where a width takes no part.
    """

    measured: float
    predicted: float
    neglected: float
    parts: tuple[Floats, ...]

    @property
    def networks(self) -> int:
        """The smallest number of networks behind it at a width."""
        return min((part.size for part in self.parts if part.size), default=0)

    @property
    def statistical(self) -> float:
        """Standard error from the networks."""
        return float(np.sqrt(sum(part.var(ddof=1) / part.size for part in self.parts if part.size > 1)))


def weigh(named: Sequence[tuple[Statement, str]]) -> tuple[Verdict, dict[tuple[str, str], float]]:
    """The whitened chi-square of statements about the same networks, each with the name of what it is about.

    Returns
    -------
    verdict : Verdict
    information : dict
        As :data:`mcnet_analysis.judge.power.Information`: of each name if all its predictions were off by their size
        (those of zero by 1).
    """
    statements, names = [statement for statement, _ in named], [name for _, name in named]
    count = len(statements)
    covariance = np.zeros((count, count))
    for width in range(len(statements[0].parts) if statements else 0):
        mine = [each.parts[width] for each in statements]
        size = max(part.size for part in mine)
        if size < 2:
            continue
        table = np.array([part - part.mean() if part.size == size else np.zeros(size) for part in mine])
        covariance += table @ table.T / (size * (size - 1))
    covariance += np.diag([each.neglected**2 for each in statements])
    deviation = [each.measured - each.predicted for each in statements]
    networks = min((each.networks for each in statements), default=0)
    known = list(dict.fromkeys(names))
    sizes = [abs(each.predicted) or 1.0 for each in statements]
    patterns = [[size if name == one else 0.0 for name, size in zip(names, sizes, strict=True)] for one in known]
    verdict = judge(deviation, covariance, networks, patterns=patterns or None)
    pairs = zip(known, verdict.information.tolist(), strict=True) if verdict.dof else ()
    return verdict, {(name, "values"): float(amount) for name, amount in pairs}


def exponent(widths: Floats, samples: Sequence[Floats], predicted: float, growth: float) -> Statement | None:
    """The power of the width by which a mean falls: weighted least squares of its logarithm.

    ``growth``: how large the coefficient of the next order in 1/M may be, relative to the first.
    """
    means = np.array([sample.mean() for sample in samples])
    errors = np.array([sample.std(ddof=1) / np.sqrt(sample.size) for sample in samples])
    if not (np.isfinite(means).all() and (means > 3.0 * errors).all() and (errors > 0.0).all()):
        return None
    weights = slope(np.log(widths), means / errors)
    parts = tuple(w * (x - m) / m for w, x, m in zip(weights, samples, means, strict=True))
    neglected = growth * abs(float(weights @ (1.0 / widths)))
    return Statement(float(weights @ np.log(means)), predicted, neglected, parts)


def slope(x: Floats, precision: Floats) -> Floats:
    """Weights of values in the slope of their weighted straight line."""
    weight = precision**2
    away = x - np.average(x, weights=weight)
    return np.asarray(weight * away / (weight @ away**2))


def limit(widths: Floats, samples: Sequence[Floats], predicted: float, growth: float, scale: float) -> Statement:
    """The mean at infinite width, from a fit of a0 + a1/M; of fewer than three widths that at the largest one.

    ``growth``: ratio of successive coefficients in 1/M; ``scale``: how large the first one may be.
    """
    means = np.array([sample.mean() for sample in samples])
    if len(widths) < 3:
        last = int(np.argmax(widths))
        parts = tuple(sample - means[i] if i == last else np.empty(0) for i, sample in enumerate(samples))
        return Statement(float(means[last]), predicted, scale / float(widths[last]), parts)
    errors = np.array([sample.std(ddof=1) / np.sqrt(sample.size) for sample in samples])
    weights = intercept(1.0 / widths, 1.0 / errors)
    parts = tuple(w * (x - m) for w, x, m in zip(weights, samples, means, strict=True))
    second = max(abs(float(slope(1.0 / widths, 1.0 / errors) @ means)), scale) * growth
    neglected = second * abs(float(weights @ widths**-2.0))
    return Statement(float(weights @ means), predicted, neglected, parts)


def intercept(x: Floats, precision: Floats) -> Floats:
    """Weights of values in the intercept of their weighted straight line."""
    weight = precision**2
    return np.asarray(weight / weight.sum() - np.average(x, weights=weight) * slope(x, precision))
