"""All figures that a judged dataset gives rise to."""

from __future__ import annotations

from collections.abc import Sequence

from mcnet_analysis.draw import normalization, training
from mcnet_analysis.draw.blocks import block_moments
from mcnet_analysis.draw.depth import gradient_norms, profiles
from mcnet_analysis.draw.depth_laws import residual_laws
from mcnet_analysis.draw.dynamics import autocorrelations, lyapunov
from mcnet_analysis.draw.fisher import bounds, degeneracy, largest_eigenvalue, spectrum
from mcnet_analysis.draw.fourier import fourier_modes
from mcnet_analysis.draw.jacobian_moments import moments_against_depth
from mcnet_analysis.draw.map import order_chaos
from mcnet_analysis.draw.memory import memory_of_units
from mcnet_analysis.draw.residual import length_fluctuations
from mcnet_analysis.draw.sampling import allocation
from mcnet_analysis.draw.scores import coefficients, score_histogram
from mcnet_analysis.draw.spectra import against_depth, histograms
from mcnet_analysis.draw.spectra_scaling import distances, edges, plane
from mcnet_analysis.draw.style import Drawing
from mcnet_analysis.draw.tangent import kernel_coefficients, spread_against_depth
from mcnet_analysis.draw.two_time import two_times
from mcnet_analysis.draw.width import approaches
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.spectra import FamilySpectra
from mcnet_analysis.judge.training import Trained
from mcnet_analysis.predict.dynamics import TIMES
from mcnet_analysis.sampling import Sampling


def drawings(
    families: Sequence[Judged],
    spectra: Sequence[FamilySpectra] = (),
    sampling: Sampling | None = None,
    trained: Sequence[Trained] = (),
) -> list[Drawing]:
    """Sampling, maps, spectra, kernels, then curves against depth and against 1/M, then all scores."""
    candidates = [
        allocation(sampling, families),
        *order_chaos(families),
        *training.drawings(trained),
        normalization.growth(families),
        *_of_spectra(spectra),
        moments_against_depth(spectra),
        block_moments(families),
        kernel_coefficients(families),
        spread_against_depth(families),
        length_fluctuations(families),
        residual_laws(families),
        memory_of_units(families),
        fourier_modes(families),
        largest_eigenvalue(families),
        spectrum(families),
        degeneracy(families),
        bounds(families),
        autocorrelations(families),
        two_times(families),
        lyapunov(families),
        *_against_depth(families),
        gradient_norms(families),
        approaches(families),
        coefficients(families),
        score_histogram(families),
    ]
    return [drawing for drawing in candidates if drawing is not None]


_OTHERWISE = {
    "bn_gradient_growth",
    "block_mu_1",
    "block_mu_2",
    "autocorrelation",
    "autocorrelation_hat",
    *(f"lyapunov{end}" for end in ("", "_2", "_3", "_4")),
    *(f"two_time{hat}_{time}" for hat in ("", "_hat") for time in TIMES),
}
"""Observables with layers that have a figure of their own."""


def _against_depth(families: Sequence[Judged]) -> list[Drawing]:
    """Lengths and correlations; of a study without them the first observable that has layers."""
    layered = {column.observable for judged in families for column in judged.columns if column.layer} - _OTHERWISE
    names = [name for name in ("q", "c") if name in layered] or sorted(layered)[:1]
    return [drawing for name in names for drawing in profiles(families, name)]


def _of_spectra(found: Sequence[FamilySpectra]) -> list[Drawing | None]:
    """Of each kind of spectrum: histograms, depth, distances, edges, and the plane of the variances."""
    result: list[Drawing | None] = []
    for name in dict.fromkeys(each.kind.name for each in found):
        mine = [each for each in found if each.kind.name == name]
        result += [histograms(mine), *against_depth(mine), distances(mine), edges(mine), *plane(mine)]
    return result
