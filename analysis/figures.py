"""All figures that a judged dataset gives rise to."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.compare import Judged
from analysis.depth_figures import depth_curves, gradient_norms
from analysis.drawing import Drawing
from analysis.fisher_figures import bounds, degeneracy, largest_eigenvalue, spectrum
from analysis.map_figures import order_chaos
from analysis.sampling import Sampling
from analysis.sampling_figures import allocation
from analysis.score_figures import coefficients, score_histogram
from analysis.spectra import FamilySpectra
from analysis.spectrum_figures import against_depth, histograms
from analysis.spectrum_scaling_figures import distances, edges, plane
from analysis.tangent_figures import kernel_coefficients, spread_against_depth

CURVES = 6


def drawings(
    families: Sequence[Judged], spectra: Sequence[FamilySpectra] = (), sampling: Sampling | None = None
) -> list[Drawing]:
    """Sampling, maps, spectra, kernels, then curves against depth (of at most six families), then all scores."""
    step = max(1, -(-len(families) // CURVES))
    candidates = [
        allocation(sampling, families),
        *order_chaos(families),
        *_of_spectra(spectra),
        kernel_coefficients(families),
        spread_against_depth(families),
        largest_eigenvalue(families),
        spectrum(families),
        degeneracy(families),
        bounds(families),
        *(depth_curves(judged) for judged in families[::step]),
        gradient_norms(families),
        coefficients(families),
        score_histogram(families),
    ]
    return [drawing for drawing in candidates if drawing is not None]


def _of_spectra(found: Sequence[FamilySpectra]) -> list[Drawing | None]:
    """Of each kind of spectrum: histograms, depth, distances, edges, and the plane of the variances."""
    result: list[Drawing | None] = []
    for name in dict.fromkeys(each.kind.name for each in found):
        mine = [each for each in found if each.kind.name == name]
        result += [histograms(mine), *against_depth(mine), distances(mine), edges(mine), *plane(mine)]
    return result
