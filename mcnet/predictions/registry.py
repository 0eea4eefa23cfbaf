"""The table of predictors: for an observable, those who may predict it, asked one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcnet.errors import UsageError
from mcnet.predictions.ensemble import Ensemble

Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """Prediction for one input or pair: entry l of each array for layer l = 0..depth, one entry where there are no
    layers; NaN where there is none.

        E X = limit + a1/M + O(1/M^2),        Var X = v1/M + O(1/M^2)

    ``exact_mean`` and ``exact_variance`` mark layers where limit + a1/M and v1/M hold at every M. ``room`` is how far a
    fluctuation may go before the expansion fails, where that is less than the natural scale: of an eigenvalue the
    distance to the next one. ``why_not`` says why a part is missing; ``errors`` are standard errors of limit, a1 and v1
    where theory itself was sampled.
    """

    limit: Floats
    a1: Floats
    v1: Floats
    exact_mean: Floats
    exact_variance: Floats
    room: float = math.inf
    why_not: str = ""
    errors: tuple[Floats, Floats, Floats] | None = None


class Unknown(ValueError):
    """Says why a predictor has nothing to say about an observable at a point."""


Predictor = Callable[[Ensemble, tuple[int, ...]], Curve]
"""``(ensemble, inputs)`` -> the prediction for the input (a,), the pair (a, b), or all of them, ()."""

_TABLE: dict[str, list[Predictor]] = {}


def register(observable: str, predictor: Predictor) -> None:
    """Add a predictor of an observable; those registered later are asked first.

    Parameters
    ----------
    observable : str
        Name of a dataset variable.
    predictor : callable
        ``predictor(ensemble, inputs)`` -> :class:`Curve`; raises :class:`Unknown`, with the reason, where it has none.

    Examples
    --------
    The share of units of relu networks that are active::

        from mcnet import predictions

        def share(ensemble, inputs):
            if ensemble.point.sigma_b2 > 0:
                raise predictions.Unknown("with biases it is not one half")
            return predictions.curve([0.5] * (ensemble.point.depth + 1), a1=0.0, v1=0.25, exact=True)

        predictions.register("active_share", share)
    """
    _TABLE.setdefault(observable, []).insert(0, predictor)


def curve(
    limit: ArrayLike, a1: ArrayLike = math.nan, v1: ArrayLike = math.nan, *, exact: bool = False, why_not: str = ""
) -> Curve:
    """A curve from a limit, and coefficients that may be one number for all layers.

    ``exact``: whether limit + a1/M and v1/M hold at every width.
    """
    at = np.atleast_1d(np.asarray(limit, dtype=np.float64))
    parts = [np.broadcast_to(np.asarray(part, dtype=np.float64), at.shape) for part in (a1, v1)]
    flags = np.full(at.shape, float(exact))
    return Curve(at, parts[0], parts[1], flags, flags, why_not=why_not)


def predict(observable: str, ensemble: Ensemble, inputs: tuple[int, ...] = ()) -> Curve:
    """The prediction of the first predictor that has one; NaN, and the reasons of all, where nobody has.

    Raises
    ------
    UsageError
        If a prediction is of another size than the observable.
    """
    reasons: list[str] = []
    for predictor in _TABLE.get(observable, ()):
        try:
            found = predictor(ensemble, inputs)
        except (UsageError, ValueError) as error:
            reasons.append(str(error))
            continue
        if any(np.shape(part) not in ((1,), (ensemble.point.depth + 1,)) for part in found[:5]):
            raise UsageError(
                f"the prediction of {observable} has {np.shape(found.limit)} values; one for each of the layers 0 to "
                f"{ensemble.point.depth}, or one in all"
            )
        return found
    why = "; ".join(filter(None, dict.fromkeys(reasons))) or f"there is no theory of {observable}"
    return curve(np.full(ensemble.point.depth + 1, np.nan), why_not=why)
