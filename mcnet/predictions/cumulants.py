"""The correlators V, D, F, A and B of outputs and tangent kernel at a point, for one of its inputs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mcnet import architectures
from mcnet.architectures import Program
from mcnet.point import Point
from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.programs import EXPANDED, interpreted
from mcnet.predictions.registry import Unknown
from mcnet.theory.program import Cumulants, cumulants


def correlators(ensemble: Ensemble, index: int) -> Cumulants:
    """Of one input, in the parametrisation of the point; with ``standard`` those of Theta/M.

    Raises
    ------
    Unknown
        With the reason, where there is no prediction.
    """
    point = ensemble.point
    if ensemble.limits_only:
        raise Unknown("terms of 1/M are not asked for")
    if not point.outputs or point.readout != "gaussian" or point.output_normalization != "none":
        raise Unknown("correlators are those of a Gaussian readout without normalisation")
    if point.weights not in EXPANDED or ensemble.fluctuating or point.inputs.dimension != point.width:
        raise Unknown("correlators are known for Gaussian or Haar weights, given inputs and inputs.dimension = width")
    program = architectures.of(point)
    if program.count.mixes_inputs:
        raise Unknown("correlators are not known of programs that mix inputs")
    rows = ensemble.rows((index,))
    return _found(point, program, ensemble.gram[np.ix_(rows, rows)].tobytes(), len(rows))


@lru_cache(maxsize=64)
def _found(point: Point, program: Program, gram: bytes, rows: int) -> Cumulants:
    given, how = interpreted(point, program, np.frombuffer(gram).reshape(rows, rows))
    biases = point.train_biases
    return cumulants(*given, **how, parameterization=point.parameterization, train_biases=biases, sites=2**14)
