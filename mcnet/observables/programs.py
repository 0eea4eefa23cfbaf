"""Networks of any architecture, sampled as programs: the same sample that dense networks give."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures
from mcnet.networks import inputs, tangent
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.programs import sampled
from mcnet.programs.questions import Parameterization
from mcnet.programs.trace import Backward, Trace
from mcnet.weights.laws import Ensemble

Floats = NDArray[np.float64]


def draw(point: Point, seed: int, sampler: str, needs: Set[str], ensemble: Ensemble, keep: bool) -> Sample:
    """The networks of an ensemble; parameters as :func:`mcnet.observables.sample.draw`."""
    program, backend = architectures.of(point), ensemble.backend
    backward = bool(needs & {"errors", "tangent"})
    x = inputs.differences(point, seed, ensemble.start, ensemble.stop, backend, program.rows)
    trace = sampled.run(
        program.network,
        program.parameters,
        program.laws,
        backend.xp.reshape(x, (x.shape[0], *program.axes.values(), point.inputs.dimension)),
        tuple(program.axes)[1:],
        ensemble,
        sampler,
        backward=backward,
        keep=keep,
    )
    own = np.zeros(ensemble.count, bool)
    sample = Sample(backend, _grams(trace, "u", point, 1), _grams(trace, "h", point, 0), own)
    if not backward:
        return sample
    how = Parameterization(point.parameterization, point.train_biases) if "tangent" in needs else None
    found = trace.backward(how)
    return _with_deltas(point, sample, trace, found)


def _grams(trace: Trace, letter: str, point: Point, first: int) -> Floats:
    """Products of the rows of layers first..depth, NaN where the program sees none: (N, layers, T, T)."""
    count, backend, t = trace.ensemble.count, trace.ensemble.backend, point.inputs.count
    layers = []
    for layer in range(first, point.depth + 1):
        if (letter, layer) in trace.seen:
            gram = backend.fetch(trace.gram((letter, layer)))
            layers.append(np.broadcast_to(gram, (count, *gram.shape[1:])))
        else:
            layers.append(np.full((count, t, t), np.nan))
    return np.stack(layers, axis=1)


def _with_deltas(point: Point, sample: Sample, trace: Trace, found: Backward) -> Sample:
    backend, count = sample.backend, trace.ensemble.count
    lengths = np.full((count, point.inputs.count, point.depth), np.nan)
    exponents = np.zeros((count, point.depth))
    for layer in range(1, point.depth + 1):
        if ("u", layer) in found.lengths:
            lengths[..., layer - 1] = backend.fetch(found.lengths["u", layer])[..., 0]
            exponents[:, layer - 1] = backend.fetch(found.exponents["u", layer])
    theta, undefined = found.kernel, np.zeros(count, bool)
    if theta is not None:
        normalized = tangent.normalized(backend, theta, trace.outputs, point.normalization)
        if point.normalization != "none":
            finite = [np.isfinite(backend.fetch(kernel)).all(axis=(1, 2)) for kernel in (theta, normalized)]
            undefined = finite[0] & ~finite[1]
        theta = normalized
    return replace(sample, error_length=lengths, error_exponent=exponents, tangent=theta, undefined=undefined)
