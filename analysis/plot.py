"""Figures as an interface: each figure of a report as a function of a run, a dataset file, a tree or an analysis.

Every function returns a matplotlib figure, which a notebook shows by itself and ``savefig`` writes. Several figures of
one tree in memory need its analysis once: ``judged = mcnet.judge(tree)``, then ``mcnet.plot.width(judged, "q")``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from mcnet_analysis.analyze import Analysis, judged
from mcnet_analysis.draw import depth as depth_figures
from mcnet_analysis.draw import fisher as fisher_figures
from mcnet_analysis.draw import map as map_figures
from mcnet_analysis.draw import normalization as normalization_figures
from mcnet_analysis.draw import sampling as sampling_figures
from mcnet_analysis.draw import scores as score_figures
from mcnet_analysis.draw import spectra as spectrum_figures
from mcnet_analysis.draw import spectra_scaling as scaling_figures
from mcnet_analysis.draw import tangent as tangent_figures
from mcnet_analysis.draw import training as training_figures
from mcnet_analysis.draw import universality as universality_figures
from mcnet_analysis.draw import width as width_figures
from mcnet_analysis.draw.all import drawings
from mcnet_analysis.draw.style import STYLE, Drawing
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.spectra import FamilySpectra
from mcnet_analysis.members import named

from mcnet import files
from mcnet.errors import UsageError

if TYPE_CHECKING:
    import xarray

    Source = str | os.PathLike[str] | xarray.DataTree | Analysis

__all__ = [
    "batch_norm_growth",
    "catapult",
    "coefficients",
    "depth",
    "eigenvalue_distance",
    "figures",
    "fisher_largest",
    "fisher_spectrum",
    "fisher_splitting",
    "gradients",
    "kernel_coefficients",
    "kernel_spread",
    "largest_eigenvalue",
    "learning_rate",
    "learning_rate_boundaries",
    "learning_rate_map",
    "online_boundary",
    "order_chaos",
    "sampling",
    "save",
    "scores",
    "spectrum",
    "spectrum_depth",
    "spectrum_map",
    "training_loss",
    "training_powers",
    "universality",
    "width",
]

FORMATS = ("svg", "png", "pdf")


def figures(source: Source) -> dict[str, Figure]:
    """All figures of the report, by name, in its order."""
    return {drawing.name: drawing.figure for drawing in drawn(source)}


def save(source: Source, folder: str | os.PathLike[str], format: str = "svg") -> list[Path]:
    """Write all figures of the report into a folder.

    Parameters
    ----------
    source : path, DataTree or Analysis
    folder : path
        Made if it is not there.
    format : str
        ``svg``, ``png`` (200 dots per inch) or ``pdf``.

    Returns
    -------
    list of Path
        The files, numbered in the order of the report.

    Raises
    ------
    UsageError
        If the format is another.
    """
    if format not in FORMATS:
        raise UsageError(f'figures in the format "{format}": choose {", ".join(FORMATS[:-1])} or {FORMATS[-1]}.')
    place = Path(folder)
    found = drawn(source)
    files.make_folder(place, may_be_link=True)
    paths = []
    for number, drawing in enumerate(found, 1):
        paths.append(place / f"{number:02d}-{drawing.name}.{format}")
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format)
        with rc_context({**STYLE, "svg.hashsalt": drawing.name}):
            drawing.figure.savefig(content := io.BytesIO(), format=format, dpi=200, metadata=metadata)
        files.write(paths[-1], content.getvalue())
    return paths


def drawn(source: Source) -> list[Drawing]:
    """All figures of the report with what they show, in its order; of members the one over all of them."""
    analysis = judged(source)
    if analysis.members:
        drawing = universality_figures.universality(named(analysis))
        return [] if drawing is None else [drawing]
    return drawings(analysis.families, analysis.spectra, analysis.sampling, analysis.trained)


def width(
    source: Source,
    observable: str,
    *,
    statistic: str = "mean",
    layer: int | None = None,
    inputs: Sequence[int] | None = None,
    point: Mapping[str, Any] | None = None,
) -> Figure:
    """One observable against 1/M, as one would publish it: limit, predicted slope, fit with its error, residuals.

    Parameters
    ----------
    source : path, DataTree or Analysis
    observable : str
        Of the table of comparisons, for example ``q``, ``c``, ``ntk``.
    statistic : str
        ``mean``, or ``variance``: M times the variance, which tends to v1.
    layer : int, optional
        By default the last one.
    inputs : sequence of int, optional
        ``(a,)`` for an input, ``(a, b)`` for a pair, counted from 0. By default the first that there is.
    point : mapping, optional
        Coordinates of the law, for example ``{"sigma_w2": 3.0}``, where the study has several.

    Raises
    ------
    UsageError
        If there is no such column, or several laws match.
    """
    if statistic not in ("mean", "variance"):
        raise UsageError(f'statistic = "{statistic}": choose mean or variance.')
    family = _family(judged(source).families, point or {}, observable)
    mine = [column for column in family.columns if column.observable == observable]
    last = max((column.layer or 0 for column in mine), default=0)
    wanted = layer if layer is not None else last
    found = [column for column in mine if column.layer in (None, wanted)]
    if inputs is not None:
        found = [column for column in found if column.inputs == tuple(inputs)]
    if not found:
        raise UsageError(
            f"{observable}: nothing at layer {wanted}" + (f" of inputs {tuple(inputs)}." if inputs else ".")
        )
    return _figure(width_figures.against_width(family, found[0], statistic), f"{observable} against 1/M")


def depth(source: Source, observable: str) -> Figure:
    """An observable against depth at several widths, below its 1/M coefficients; laws that show order, edge and chaos.

    Raises
    ------
    UsageError
        If it was not measured at two layers at least.
    """
    found = depth_figures.profiles(judged(source).families, observable)
    return _figure(found[0] if found else None, f"{observable} against depth")


def _family(families: Sequence[Judged], point: Mapping[str, Any], observable: str) -> Judged:
    """The one family of a law that has the observable."""
    known = sorted({column.observable for judged in families for column in judged.columns})
    if observable not in known:
        raise UsageError(f'observable "{observable}" is not in this study; there are {", ".join(known) or "none"}.')
    unknown = [name for name in point if any(name not in judged.family.first.law for judged in families)]
    if unknown:
        raise UsageError(
            f'"{unknown[0]}" is no coordinate of a law; there are {", ".join(families[0].family.first.law)}.'
        )
    found = [
        judged
        for judged in families
        if any(column.observable == observable for column in judged.columns)
        and all(_same(judged.family.first.law[name], value) for name, value in point.items())
    ]
    if len(found) == 1:
        return found[0]
    laws = [judged.family.first.law for judged in found or families]
    swept = {name: list(dict.fromkeys(law.get(name) for law in laws)) for name in laws[0]}
    told = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in swept.items() if len(values) > 1)
    raise UsageError(f"{len(found) or 'no'} laws match; say which by point = {{...}}. There are {told or 'no others'}.")


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, float) and isinstance(wanted, int | float):
        return abs(value - wanted) <= 1e-3 * max(abs(value), 1e-12)
    return bool(value == wanted)


def _figure(drawing: Drawing | None, what: str) -> Figure:
    if drawing is None:
        raise UsageError(f"{what}: nothing to draw; this study did not measure it, or not at enough points.")
    return drawing.figure


def _of_families(draw: Callable[[Sequence[Judged]], Drawing | None], source: Source, what: str) -> Figure:
    return _figure(draw(judged(source).families), what)


def _first(found: Sequence[Drawing]) -> Drawing | None:
    return found[0] if found else None


def order_chaos(source: Source) -> Figure:
    """The map of the correlation (or length) of the last layer over the plane of the variances, or its curves."""
    return _figure(_first(map_figures.order_chaos(judged(source).families)), "order-chaos map")


def gradients(source: Source) -> Figure:
    """Squared norms of the back-propagated signal against depth, of several laws."""
    return _of_families(depth_figures.gradient_norms, source, "gradients against depth")


def kernel_coefficients(source: Source) -> Figure:
    """Fitted and predicted a1 and v1 of the entries of the tangent kernel, with and without gradient independence."""
    return _of_families(tangent_figures.kernel_coefficients, source, "coefficients of the tangent kernel")


def kernel_spread(source: Source) -> Figure:
    """Relative variance of the tangent kernel against depth/width."""
    return _of_families(tangent_figures.spread_against_depth, source, "spread of the tangent kernel")


def fisher_largest(source: Source) -> Figure:
    """Largest eigenvalue of the Fisher matrix against the width, with its prediction."""
    return _of_families(fisher_figures.largest_eigenvalue, source, "largest eigenvalue of the Fisher matrix")


def fisher_spectrum(source: Source) -> Figure:
    """Histogram of the eigenvalues of the Fisher matrix at the largest width, with the outliers."""
    return _of_families(fisher_figures.spectrum, source, "spectrum of the Fisher matrix")


def fisher_splitting(source: Source) -> Figure:
    """The C largest eigenvalues of the Fisher matrix of C outputs, equal in the limit, against the width."""
    return _of_families(fisher_figures.degeneracy, source, "splitting of the largest eigenvalues")


def learning_rate(source: Source) -> Figure:
    """Distribution of 2/lambda_max over networks at every width."""
    return _of_families(fisher_figures.bounds, source, "learning-rate bound")


def coefficients(source: Source) -> Figure:
    """Fitted against predicted coefficients of 1/M, all observables and laws."""
    return _of_families(score_figures.coefficients, source, "coefficients of 1/M")


def scores(source: Source) -> Figure:
    """Deviations from theory in standard errors, beside the normal law."""
    return _of_families(score_figures.score_histogram, source, "deviations from theory")


def sampling(source: Source) -> Figure:
    """Adaptive sampling: networks at each width, and the error after each round."""
    analysis = judged(source)
    return _figure(sampling_figures.allocation(analysis.sampling, analysis.families), "adaptive sampling")


def universality(sources: Source | Sequence[Source]) -> Figure:
    """Studies of several architectures in one figure: the same observables, measured over predicted.

    Parameters
    ----------
    sources : path, DataTree or Analysis, or several of them
        Each may have several laws. A row of a run of a scenario with members has the name of its member.

    Raises
    ------
    UsageError
        If nothing that is drawn was measured and predicted.
    """
    every: Sequence[Source]
    every = [sources] if isinstance(sources, str) or not isinstance(sources, Sequence) else sources
    families = [family for source in every for family in named(judged(source))]
    return _figure(universality_figures.universality(families), "measured over predicted")


def spectrum(source: Source, kind: str = "jacobian") -> Figure:
    """Histograms of eigenvalues with the predicted law; ``kind``: jacobian, conditional_fim or conjugate_kernel."""
    return _figure(spectrum_figures.histograms(_spectra(source, kind)), f"spectrum of {kind}")


def spectrum_depth(source: Source, kind: str = "jacobian") -> Figure:
    """Spectra at several depths, a panel for each law of the weights."""
    return _figure(_first(spectrum_figures.against_depth(_spectra(source, kind))), f"spectrum of {kind} against depth")


def eigenvalue_distance(source: Source, kind: str = "jacobian") -> Figure:
    """W1 distance of eigenvalues from the predicted law against the width."""
    return _figure(scaling_figures.distances(_spectra(source, kind)), f"distance of {kind} from its law")


def largest_eigenvalue(source: Source, kind: str = "jacobian") -> Figure:
    """Mean and spread of the largest eigenvalue of a spectrum against the width."""
    return _figure(scaling_figures.edges(_spectra(source, kind)), f"largest eigenvalue of {kind}")


def spectrum_map(source: Source) -> Figure:
    """Mean and relative variance of the spectrum of the Jacobian over the plane of the variances."""
    return _figure(_first(scaling_figures.plane(_spectra(source, "jacobian"))), "spectrum over the plane")


def batch_norm_growth(source: Source) -> Figure:
    """Growth of gradients per layer through batch normalisation against the number of inputs."""
    return _of_families(normalization_figures.growth, source, "growth of gradients through batch normalisation")


def training_loss(source: Source) -> Figure:
    """Median of the loss against the step, a curve for each width."""
    return _figure(training_figures.losses(judged(source).trained), "loss along the training")


def training_powers(source: Source) -> Figure:
    """Quantities at the end of a training against the width, with the powers that were fitted and predicted."""
    return _figure(training_figures.powers(judged(source).trained), "powers of the width in training")


def learning_rate_boundaries(source: Source) -> Figure:
    """Learning rates of instability, rising loss and divergence against the width, in units of 2/lambda_max."""
    return _figure(training_figures.boundaries(judged(source).trained), "boundaries of the learning rate")


def learning_rate_map(source: Source) -> Figure:
    """Loss after training over the plane of width and learning rate."""
    return _figure(training_figures.rate_map(judged(source).trained), "learning rate against width")


def online_boundary(source: Source) -> Figure:
    """Largest stable learning rate of networks that see each input once, against the number of matrices."""
    return _figure(training_figures.online(judged(source).trained), "boundary of online training")


def catapult(source: Source) -> Figure:
    """Height of the catapult of two-layer linear networks against the width."""
    return _figure(training_figures.peaks(judged(source).trained), "height of the catapult")


def _spectra(source: Source, kind: str) -> list[FamilySpectra]:
    found = judged(source).spectra
    kinds = list(dict.fromkeys(each.kind.name for each in found))
    if kind not in kinds:
        raise UsageError(f'spectrum "{kind}" is not in this study; there are {", ".join(kinds) or "none"}.')
    return [each for each in found if each.kind.name == kind]
