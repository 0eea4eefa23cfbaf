"""What a network costs: memory, disk and time, from the parameters of its point alone."""

from __future__ import annotations

import math
from typing import NamedTuple

from mcnet import architectures
from mcnet.backend import CPU_MEMORY
from mcnet.observables import program_blocks, program_jacobian
from mcnet.observables.catalog import OBSERVABLES
from mcnet.observables.tangent import by_products
from mcnet.point import Point
from mcnet.programs.counted import Count
from mcnet.request import Request

BUDGET = CPU_MEMORY
"""Matrices of up to twice so many bytes are kept for the backward pass."""

CACHE = 1 << 22
"""Bytes of activity of one layer of a sub-batch: within the processor's cache, a pass over it is cheap."""

FUSED_INPUTS = 16
"""Inputs up to which the fused chain is taken: its factor and Gram cost T^2 per unit outside BLAS."""


FUSED_BATCH = 1 << 16
"""Networks of one call of a fused kernel at most: many for the call, few for the cache that holds their matrices."""


class Estimate(NamedTuple):
    """Rough costs of one network.

    Attributes
    ----------
    bytes_per_network : int
        Working memory.
    stored_bytes_per_network : int
    seconds_per_network : float
        On one core.
    stored_bytes_per_shard : int
        Of records that a shard holds once, such as histograms.
    """

    bytes_per_network: int
    stored_bytes_per_network: int
    seconds_per_network: float
    stored_bytes_per_shard: int


LANCZOS_STEPS = 75
"""Steps after which the largest singular value of a Jacobian has mostly been found."""


def shape(point: Point) -> tuple[object, ...]:
    """What the costs of a point depend on: of a dense network everything but variances, lengths and correlation."""
    given = point.inputs
    common = (
        *(point.architecture, point.activation.label, point.weights, point.width, point.depth, point.outputs),
        *(point.readout, point.normalization, point.parameterization, point.train_biases, point.parameters),
        *(given.kind, given.count, given.dimension, given.fresh, id(given.values)),
    )
    return (*common, point.sigma_w2, point.sigma_b2) if point.is_program else common


def needs_of(request: Request) -> frozenset[str]:
    """Parts of a sample that the measures asked for need."""
    return frozenset().union(*(OBSERVABLES[name].needs for name in request.measures))


def needs_at(point: Point, request: Request) -> frozenset[str]:
    """The same at a point: products take the place of a large tangent kernel of which only extremes are asked."""
    needs = needs_of(request)
    if point.is_program:
        return needs
    others = (OBSERVABLES[name].needs for name in request.measures if name != "fim")
    if any("tangent" in each for each in others) or not by_products(point, request.measures):
        return needs
    return (needs - {"tangent"}) | {"products"}


def has_backward(needs: frozenset[str]) -> bool:
    """Whether errors are propagated back, or all vectors kept as if they were."""
    return bool(needs & {"errors", "tangent", "products", "batch", "trace"})


def _count(point: Point, needs: frozenset[str]) -> Count:
    """The program of a point on shapes, with as many backward passes as are needed."""
    count = architectures.of(point).count
    return count if needs & {"errors", "tangent"} else count.of_one_functional()


def _by_lanczos(needs: frozenset[str]) -> bool:
    """Whether largest singular values are found by products."""
    return any(f"{name}_top" in needs and name not in needs for name in ("jacobian", "block_jacobian"))


def questions(point: Point, needs: frozenset[str]) -> int:
    """Vectors that each matrix is multiplied with, forward and backward."""
    inputs = point.inputs.count
    lanczos = 2 * LANCZOS_STEPS if _by_lanczos(needs) else 0
    return inputs + (inputs * (point.outputs or 1) if has_backward(needs) else 0) + lanczos


def fused(point: Point, needs: frozenset[str], sampler: str, backward: bool = True) -> bool:
    """Whether a fused kernel serves; ``backward``: whether there is one for signal and errors together."""
    if point.is_program:
        return False
    if sampler != "conditioned" or point.inputs.count > min(FUSED_INPUTS, point.width - 1):
        return False
    if needs <= {"signal"}:
        return True
    one_output = point.outputs is None or (point.outputs == 1 and point.readout == "gaussian")
    gaussian = point.weights == "gaussian" and one_output and point.normalization == "none"
    return backward and gaussian and needs <= {"signal", "errors", "tangent"}


def itemsize(precision: str) -> int:
    """Bytes of a number in the arrays of a layer."""
    return 4 if precision == "mixed" else 8


def keeps_matrices(point: Point, precision: str) -> bool:
    """Whether built matrices are kept for the backward pass, or made again because they are too large together."""
    if point.is_program:
        matrices = architectures.of(point).count.matrices.values()
        entries = sum(int(m.asked.units) * int(m.asked.columns) for m in matrices)
        return itemsize(precision) * entries <= 2 * BUDGET
    return _matrix_bytes(point, precision) * point.depth <= 2 * BUDGET


def _matrix_bytes(point: Point, precision: str) -> int:
    return point.width * max(point.width, point.inputs.dimension) * itemsize(precision)


def working_bytes(point: Point, needs: frozenset[str], sampler: str, precision: str, by_kernel: bool) -> int:
    """Memory of one network on its way; ``by_kernel``: by a fused kernel."""
    inputs, width = point.inputs.count, max(point.width, point.inputs.dimension)
    if point.is_program:
        counted = _count(point, needs)
        found = counted.bytes_per_network(sampler, itemsize(precision), has_backward(needs))
        if "vectors" in needs:  # an observable may keep all that it is shown
            found += itemsize(precision) * sum(int(v.rows * v.units) for v in counted.seen.values())
        if "jacobian" in needs:
            found += program_jacobian.working_bytes(point, itemsize(precision))
        if "block_jacobian" in needs:
            found += program_blocks.working_bytes(point, itemsize(precision))
        return found + (kernel_bytes(point) if "tangent" in needs else 0)
    if by_kernel:
        chunk = 0 if point.inputs.kind in ("single", "pair") else 3 * 8 * inputs * min(point.inputs.dimension, 1 << 16)
        kept = 4 * point.depth * inputs * point.width * itemsize(precision) if has_backward(needs) else 0
        return chunk + kept + 16 * (point.depth + 1) * inputs**2 * 8
    count = questions(point, needs)
    activity = 100 * inputs * width  # of one layer, float64 copies on the way included
    total = activity + 4 * (point.depth + 1) * inputs**2 * 8
    if has_backward(needs):
        total += point.depth * itemsize(precision) * inputs * width + 100 * (count - inputs) * width
        if sampler == "conditioned":
            total += 2 * 8 * (point.depth * inputs + count) * width  # questions and answers of all layers
    if "vectors" in needs:
        total += 2 * (point.depth + 1) * itemsize(precision) * inputs * width
    if "tangent" in needs:
        total += kernel_bytes(point)
    if "products" in needs:
        rows = inputs * (point.outputs or 1)
        total += point.depth * itemsize(precision) * rows * width + 3 * 8 * inputs * width + 8 * 40 * rows
    if "jacobian" in needs:
        total += point.width * (3 * itemsize(precision) * width + 8 * (width + 3 * point.width))
    if "block_jacobian" in needs:
        total += point.width * (3 * itemsize(precision) * width + 8 * point.depth)
    if _by_lanczos(needs):
        asked = 4 * 8 * LANCZOS_STEPS * (point.depth + 1) * width  # both bases and their answers, of all layers
        total += asked if sampler == "conditioned" else point.depth * _matrix_bytes(point, precision)
    if "fisher" in needs:
        total += point.width**2 * (4 * itemsize(precision) + 4 * 8)
    if sampler == "explicit":
        matrix = _matrix_bytes(point, precision)
        kept = point.depth if has_backward(needs) and keeps_matrices(point, precision) else 0
        total += matrix * (kept + (6 if "orthogonal" in (point.weights, point.readout) else 2))
    return total


def kernel_bytes(point: Point) -> int:
    """Memory of the tangent kernel of one network, its terms and the workspace of its eigenvalues included."""
    return 6 * 8 * (point.inputs.count * (point.outputs or 1)) ** 2


def sub_batch(
    point: Point, needs: frozenset[str], sampler: str, precision: str, memory: int, cached: bool, by_kernel: bool
) -> int:
    """Networks worked off together in so many bytes.

    ``cached``: on a processor whose cache should hold a layer; ``by_kernel``: by a fused kernel.
    """
    by_memory = memory // working_bytes(point, needs, sampler, precision, by_kernel)
    if not cached:
        return max(1, by_memory)
    if by_kernel:
        return max(1, min(by_memory, FUSED_BATCH))
    if point.is_program:
        widest = architectures.of(point).count.widest(sampler, has_backward(needs))
        return int(max(1, min(by_memory, CACHE // (8 * widest))))
    count = questions(point, needs)
    activity = 8 * count * max(point.width, point.inputs.dimension)
    if needs & {"jacobian", "block_jacobian", "fisher"}:  # whole matrices go through the cache layer by layer
        activity = max(activity, 3 * _matrix_bytes(point, precision))
    return int(max(1, min(by_memory, CACHE // activity)))


def seconds(point: Point, needs: frozenset[str], sampler: str, by_kernel: bool) -> float:
    """Time of one network on one core, within a factor of about 3; near where two samplers cost the same, within 2."""
    if point.is_program:
        spectrum = program_jacobian.seconds(point) if "jacobian" in needs else 0.0
        spectrum += program_blocks.seconds(point) if "block_jacobian" in needs else 0.0
        return _count(point, needs).seconds_per_network(sampler, has_backward(needs)) + spectrum
    inputs, width, count = point.inputs.count, point.width, questions(point, needs)
    if by_kernel and has_backward(needs):
        eigenvalues = 1e-6 + 1e-9 * inputs**3 if "tangent" in needs and inputs > 2 else 0.0
        return 3e-7 + 1e-9 * point.depth * width * inputs * (3.0 + 0.3 * inputs) + eigenvalues
    if by_kernel:
        per_layer = 2e-9 * width * inputs * (1.0 + 0.15 * inputs)
    elif sampler == "conditioned":
        per_layer = 1e-9 * width * count * (45.0 + 0.4 * count) * (1.8 if point.weights == "orthogonal" else 1.0)
    else:
        made = 1 if keeps_matrices(point, "mixed") or not has_backward(needs) else 2
        per_layer = 1e-9 * width**2 * (3.0 * made + 0.03 * count) + 2e-8 * width * count
        if point.weights == "orthogonal":
            per_layer += made * 1.3e-8 * width**2 * (1.0 + width / 4096)
    total = per_layer * point.depth
    if "tangent" in needs:
        rows = inputs * (point.outputs or 1)
        total += point.depth * (3e-11 * width + 3e-9) * rows**2 + 3e-10 * rows**3
    if "vectors" in needs:
        total += 4e-9 * point.depth * width * inputs
    if "products" in needs:
        total += 3e-9 * point.depth * width * inputs * (2 * (point.outputs or 1) + inputs) * 20
    if "jacobian" in needs:
        total += 1e-10 * (point.depth + 3) * width**3
    if "block_jacobian" in needs:
        total += 1e-9 * point.depth * width**3
    if "fisher" in needs:
        total += 1e-10 * (2 * point.depth + 3) * width**3
    return total


def stored_bytes(point: Point, request: Request) -> tuple[int, int]:
    """Bytes of one network in a dataset, and of what a shard holds once."""
    of_network, of_shard = 0, 0
    for name, options in request.measures.items():
        observable = OBSERVABLES[name]
        sizes = observable.sizes(point, options)
        for variable in observable.variables(point, options):
            size = 8 * math.prod(sizes[dim] for dim in variable.dims)
            if variable.per_shard:
                of_shard += size
            else:
                of_network += size
    return of_network, of_shard
