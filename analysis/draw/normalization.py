"""The growth of gradients through batch normalisation against the size of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from mcnet_analysis.draw.style import FULL, STYLE, Drawing, canvas, categories, legend_below
from mcnet_analysis.judge.family import Judged

from mcnet.theory import normalization


def growth(families: Sequence[Judged]) -> Drawing | None:
    """Mean growth per layer at the largest width, the step into layer 1 left out, with chi of infinite width."""
    found: dict[str, list[tuple[int, float, float, int]]] = {}
    known = {judged.family.first.activation.label: judged.family.first.activation for judged in families}
    for judged in families:
        at = [j for j, c in enumerate(judged.columns) if c.observable == "bn_gradient_growth" and (c.layer or 0) > 1]
        seen = judged.moments[-1] if judged.moments else None
        at = [j for j in at if seen is not None and np.isfinite(seen.mean[j])]
        if seen is None or not at:
            continue
        setting = judged.family.settings[-1]
        error = float(np.sqrt((seen.mean_error[at] ** 2).mean() / len(at)))
        entry = (setting.inputs, float(seen.mean[at].mean()), error, setting.width)
        found.setdefault(setting.activation.label, []).append(entry)
    if not found:
        return None
    batches = sorted({entry[0] for entries in found.values() for entry in entries})
    with rc_context(STYLE):
        figure = canvas(0.72 * FULL, 3.6)
        axis = figure.subplots()
        for look, (name, entries) in zip(categories(len(found)), found.items(), strict=True):
            t, mean, error, _ = np.array(sorted(entries)).T
            line = np.unique(np.geomspace(4, batches[-1], 40).astype(int))
            told = [normalization.chi(known[name], int(batch)) for batch in line]
            axis.plot(line, told, color=look.colour, lw=1)
            axis.errorbar(t, mean, error, fmt=look.marker, color=look.colour, label=name, zorder=3)
        axis.axhline(1.0, color="#bbbbbb", lw=0.8)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(batches))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_xlabel("inputs in the batch $T$")
        axis.set_ylabel(r"$\chi_{\mathrm{BN}}$, growth per layer")
        legend_below(figure, [axis])
    caption = (
        "Growth of the squared gradient per layer through batch normalisation: mean over the layers from 2 on and over "
        "networks, at the largest width of each batch, with standard errors; lines: infinite width (Yang et al. 2019). "
        "Below 6 inputs the growth has no variance, so that the error means little there."
    )
    return Drawing("batch-norm-growth", figure, "Gradients grow through batch normalisation", caption)
