"""Networks of any architecture, sampled as programs: the same sample that dense networks give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mcnet import architectures, streams
from mcnet.networks import inputs, tangent
from mcnet.observables import program_blocks, program_jacobian
from mcnet.observables.observable import AttentionReader, Collector, TraceReader
from mcnet.observables.rows import layers_seen, row_axes
from mcnet.observables.sample import Sample
from mcnet.point import Point
from mcnet.programs import rows, sampled
from mcnet.programs.names import INPUT, Key
from mcnet.programs.questions import Parameterization
from mcnet.programs.tape import Vector
from mcnet.programs.trace import Backward, Trace
from mcnet.weights.laws import Array, Ensemble

Floats = NDArray[np.float64]


def draw(
    point: Point,
    seed: int,
    sampler: str,
    needs: Set[str],
    ensemble: Ensemble,
    keep: bool,
    collected: Mapping[str, Collector] | None = None,
) -> Sample:
    """The networks of an ensemble; parameters as :func:`mcnet.observables.sample.draw`."""
    program, backend = architectures.of(point), ensemble.backend
    backward = bool(needs & {"errors", "tangent"})
    batch, jacobian = "batch" in needs, bool(needs & program_jacobian.NEEDS)
    x = inputs.differences(point, seed, ensemble.start, ensemble.stop, backend, program.rows)
    trace = sampled.run(
        program.network,
        program.parameters,
        program.laws,
        backend.xp.reshape(x, (x.shape[0], *program.axes.values(), point.inputs.dimension)),
        tuple(program.axes)[1:],
        ensemble,
        sampler,
        backward=backward or batch or jacobian or "trace" in needs,
        keep=keep,
        per_site=True,
        observe=partial(_show, collected, ensemble) if collected and "vectors" in needs else None,
        attend=partial(_show_attention, collected, ensemble) if collected and "vectors" in needs else None,
    )
    for collector in (collected or {}).values():
        if isinstance(collector, TraceReader):
            collector.read(trace)
    own = np.zeros(ensemble.count, bool)
    sample = Sample(backend, _grams(trace, "u", point), _grams(trace, "h", point), own, collected=collected or {})
    sample = replace(sample, **program_jacobian.found(point, trace, needs), **program_blocks.found(point, trace, needs))
    if batch:
        sample = _with_batch(point, sample, trace)
    if not backward:
        return sample
    how = Parameterization(point.parameterization, point.train_biases) if "tangent" in needs else None
    return _with_deltas(point, sample, trace, trace.backward(how))


def _show(collected: Mapping[str, Collector], ensemble: Ensemble, key: Key, v: Vector) -> None:
    """Let collectors see a vector, (N or 1, T, P, M) in the difference basis."""
    name, *layer = key
    if name not in ("u", "h") or len(layer) != 1 or INPUT not in v.axes:
        return
    plain = ensemble.backend.fetch(rows.to_plain(ensemble.backend.xp, v.value))
    plain = plain.reshape(plain.shape[0], *v.axes.values(), plain.shape[-1])
    for collector in collected.values():
        collector.see(str(name), int(layer[0]), np.broadcast_to(plain, (ensemble.count, *plain.shape[1:])))


def _show_attention(collected: Mapping[str, Collector], ensemble: Ensemble, weights: Array) -> None:
    """Let collectors see the weights of a head, (N or 1, T, rest, S, S)."""
    plain = ensemble.backend.fetch(weights)[:, :, 0]
    for collector in collected.values():
        if isinstance(collector, AttentionReader):
            collector.attend(np.broadcast_to(plain, (ensemble.count, *plain.shape[1:])))


def _grams(trace: Trace, letter: str, point: Point) -> Floats:
    """Products of the inputs at each of their rows: (N, layers, T, T), with rows (N, layers, P, T, T).

    Of layers 0..depth (of ``u`` from 1 on where layer 0 is not seen); NaN where a layer is not seen.
    """
    count, backend, t = trace.ensemble.count, trace.ensemble.backend, point.inputs.count
    seen, per_input = layers_seen(point, letter), math.prod(row_axes(point, letter).values())
    grams = np.full((count, point.depth + 1, per_input, t, t), np.nan)
    for layer in np.flatnonzero(seen):
        grams[:, layer] = backend.fetch(trace.site_grams((letter, int(layer))))
    first = 0 if seen[0] or letter == "h" else 1
    return grams[:, first:, 0] if per_input == 1 else grams[:, first:]


def _with_batch(point: Point, sample: Sample, trace: Trace) -> Sample:
    """Cotangents of one random function of all outputs of all inputs: what Sample says of ``batch``."""
    ensemble, (_, outputs, inputs) = trace.ensemble, trace.outputs.shape
    layer = len(trace.matrices) + 2  # the probe at the outputs has the one before
    v = ensemble.normals(streams.PROBES, layer, outputs, inputs, dtype=sample.backend.xp.float64, first=(0, 0))
    found = trace.functional_lengths(v, "u")
    size = np.empty((2, ensemble.count, point.depth))
    for layer in range(point.depth):
        for place, part in enumerate(found["u", layer + 1]):
            size[place, :, layer] = sample.backend.fetch(part)
    return replace(sample, batch_length=size[0], batch_exponent=size[1])


def _with_deltas(point: Point, sample: Sample, trace: Trace, found: Backward) -> Sample:
    backend, count = sample.backend, trace.ensemble.count
    per_input = math.prod(row_axes(point, "u").values())
    lengths = np.full((count, point.inputs.count, per_input, point.depth), np.nan)
    exponents = np.zeros((count, point.depth))
    for layer in np.flatnonzero(layers_seen(point, "u")):
        if layer and ("u", int(layer)) in found.lengths:
            lengths[..., layer - 1] = backend.fetch(found.lengths["u", int(layer)])
            exponents[:, layer - 1] = backend.fetch(found.exponents["u", int(layer)])
    lengths = lengths[:, :, 0] if per_input == 1 else lengths
    theta, undefined = found.kernel, np.zeros(count, bool)
    if theta is not None:
        normalized = tangent.normalized(backend, theta, trace.outputs, point.output_normalization)
        if point.output_normalization != "none":
            finite = [np.isfinite(backend.fetch(kernel)).all(axis=(1, 2)) for kernel in (theta, normalized)]
            undefined = finite[0] & ~finite[1]
        theta = normalized
    return replace(
        sample,
        error_length=lengths,
        error_exponent=exponents,
        tangent=theta,
        outputs=None if theta is None else trace.outputs,
        undefined=undefined,
    )
