"""Figures of every shipped scenario at tiny size: data in every axis, no legend that misleads, no text over another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import faults
from matplotlib import rc_context
from matplotlib.figure import Figure
from mcnet_analysis import kept, plot
from mcnet_analysis.analyze import Analysis, judge
from mcnet_analysis.draw.style import STYLE
from mcnet_analysis.members import together

import mcnet
from mcnet.scenario import Scenario, members, shipped
from mcnet.scenario.members import Members

# Changes that make a scenario take a second; what is drawn stays of the same kinds.
TINY: dict[str, tuple[str, ...]] = {
    "attention_width_and_heads": ("network.depth=2", "sweep.width=[16, 32]", "sampling.networks=100"),
    "block_jacobians": ("sweep.width=[8, 16]", "network.depth=3", "sampling.networks=40"),
    "bn_gradient_growth": (
        "network.depth=3",
        "sweep.points=[{count=4, width=16}, {count=4, width=32}, {count=8, width=16}, {count=8, width=32}]",
        "sampling.networks=40",
    ),
    "bn_placement": ("sweep.width=[16, 32, 64]", "sampling.networks=40"),
    "catapult": ("sweep.width=[16, 64]", "sampling.networks=40"),
    "conditional_fim": ("sweep.activation=['tanh']", "sweep.depth=[2, 3]", "sweep.width=[16, 32]",
                        "sampling.networks=12"),
    "conditioned_training": ("sweep.width=[400]", "train.steps=4", "sampling.networks=12"),
    "conjugate_kernel": ("inputs.count=24", "sweep.width=[24]", "sweep.depth=[1, 2]", "sampling.networks=12"),
    "conv_depth_scales": ("network.depth=6", "sweep.width=[16, 32]", "sampling.networks=200"),
    "coordinate_check": ("sweep.width=[16, 32, 64]", "sampling.networks=12"),
    "delta_orthogonal_isometry": ("sweep.depth=[2, 4]", "sweep.width=[8, 16]", "sampling.networks=12"),
    "dynamical_isometry": ("sweep.depth=[2, 4]", "sweep.width=[20, 40]", "sampling.networks=12"),
    "edge_fluctuations": ("sweep.width=[20, 40, 80]", "sampling.networks=40"),
    "fim_lambda_max": ("inputs.count=12", "sweep.width=[16, 32, 64]", "sampling.networks=40"),
    "fim_normalization": (
        "sweep.points=[{width=16, count=16}, {width=32, count=32}, {width=64, count=64}]",
        "sampling.networks=12",
    ),
    "fim_outliers": ("sweep.width=[16, 32, 64]", "sampling.networks=40"),
    "glorot_shift": ("sweep.width=[16, 32]", "sampling.networks=600"),
    "gated_memory": ("network.depth=2", "sweep.gate_bias=[0.0]", "sweep.width=[16, 32]", "sampling.networks=100"),
    "gradient_explosion": ("network.depth=12", "sweep.width=[16, 32, 64]", "sampling.networks=100"),
    "jacobian_plane": ("sweep.weights=['gaussian']", "network.depth=4", "sweep.width=[20]", "sampling.networks=4",
                       "sweep.sigma_w2=[0.8, 1.2, 1.6, 2.0]", "sweep.sigma_b2=[0.002, 0.03, 0.1, 0.2]"),
    "lazy_limit": ("sweep.width=[16, 32, 64]", "train.steps=4", "train.record=[0, 2, 4]", "sampling.networks=24"),
    "learning_rate_boundary": ("sweep.width=[16, 32]", "sampling.networks=8", "measure.boundary_monotone.steps=6",
                               "measure.boundary_divergence.steps=10"),
    "linear_products": ("sweep.depth=[1, 2, 4]", "sweep.width=[20, 40, 80]", "sampling.networks=40"),
    "lyapunov": ("network.depth=4", "sweep.width=[16, 32]", "sampling.networks=100"),
    "ntk_depth_to_width": ("sweep.depth=[1, 2, 4]", "sweep.width=[16, 32, 64]", "sampling.networks=300"),
    "ntk_finite_width": ("sweep.width=[16, 32, 64]", "sampling.networks=300"),
    "ntk_five_million": ("sampling.networks=3000",),
    "ntk_gap_flat": ("network.depth=2", "sweep.width=[8, 16, 32]", "sampling.networks=200"),
    "ntk_gp_ensemble": ("sweep.width=[16, 32]", "train.steps=6", "sampling.networks=24"),
    "one_epoch_map": ("inputs.count=40", "sweep.width=[16, 32]", "train.steps=2", "sampling.networks=4"),
    "online_isometry": ("sweep.depth=[1, 3]", "sweep.width=[64, 96, 128]", "sampling.networks=6",
                        "train.learning_rate=[0.46, 0.5, 0.57, 0.9, 1.0, 1.15]"),
    "order_chaos": ("network.depth=6", "sweep.sigma_w2=[0.5, 1.25, 2.0, 2.75, 3.5]", "sampling.networks=60",
                    "sweep.sigma_b2=[0.0, 0.1, 0.2, 0.3]", "sweep.width=[16, 32]"),
    "pre_block_memory": ("network.depth=3", "sweep.width=[16, 32]", "sampling.networks=300"),
    "quickstart": ("sweep.width=[16, 32, 64]", "sampling.networks=300"),
    "rank_collapse": ("network.depth=2", "sweep.width=[16, 32]", "sampling.networks=100"),
    "recurrent_chaos": (
        "sweep.points=[{leak=0.5, depth=8}, {leak=0.25, depth=12}]",
        "sweep.width=[16, 64]",
        "sampling.networks=100",
    ),
    "orthogonal_kernels": ("network.depth=4", "sweep.width=[16, 32]", "sampling.networks=100"),
    "relu_has_no_isometry": ("sweep.depth=[2, 4]", "sweep.width=[20, 40, 80]", "sampling.networks=20"),
    "residual_depth_laws": ("network.depth=26", "sweep.width=[16, 32]", "sampling.networks=30"),
    "residual_jacobian": ("sweep.depth=[1, 2]", "sweep.width=[10, 20]", "sampling.networks=40"),
    "residual_finite_width": ("sweep.width=[16, 32]", "sampling.networks=40",
                              "sweep.points=[{branch=1.0, depth=1}, {branch=1.0, depth=2}, {branch=1.0, depth=4}]"),
    "signal_finite_width": ("sweep.width=[16, 32, 64]", "sampling.networks=600"),
    "softmax_outliers": ("inputs.count=6", "sweep.width=[16, 32, 64]", "sampling.networks=40"),
    "tied_against_untied": ("network.depth=4", "sweep.width=[16, 32]", "sampling.networks=100"),
    "two_times": ("network.depth=4", "sweep.width=[16, 32]", "sampling.networks=100"),
    "universality": ("network.depth=1", "sweep.width=[16]", "sampling.networks=100", "analyze.theory=['mean-field']",
                     *(f"member.{name}.network.{key}=1" for name in ("convolution", "delta-orthogonal")
                       for key in ("positions", "kernel"))),
    "wide": ("network.width=2000", "sampling.networks=16"),
}  # fmt: skip


def analysed(study: Scenario | Members, folder: Path) -> Analysis:
    """As a report after ``analyze`` has it: what was not kept is missing."""
    if not isinstance(study, Scenario):
        found = tuple((name, analysed(each, folder)) for name, each in study.studies.items())
        return together(study.title, study.text, found)
    tree = mcnet.sample(study)
    kept.write(folder / kept.NAME, judge(tree), tree)
    again: Analysis | None = kept.read(folder / kept.NAME, tree)
    assert again is not None
    whole: Analysis = kept.with_values(again, tree)
    return whole


def drawn(name: str, overrides: tuple[str, ...], folder: Path) -> dict[str, Figure]:
    found = plot.drawn(analysed(members.load(shipped.find(name), overrides), folder))
    names = [drawing.name for drawing in found]
    assert len(set(names)) == len(names)
    assert all(drawing.caption.endswith(".") and drawing.title for drawing in found)
    return {drawing.name: drawing.figure for drawing in found}


@pytest.mark.parametrize("name", sorted(TINY))
def test_figures_of_shipped_scenarios_are_good(name: str, tmp_path: Path) -> None:
    figures = drawn(name, TINY[name], tmp_path)
    assert figures
    with rc_context(STYLE):
        assert {label: found for label, figure in figures.items() if (found := faults(figure))} == {}


def _empty(axis: Any) -> None:
    axis.axhline(1.0)


def _twice(axis: Any) -> None:
    axis.plot([0, 1], [0, 1], label="tanh")
    axis.plot([0, 1], [1, 0], label="tanh")


def _nothing_named(axis: Any) -> None:
    axis.plot([0, 1], [0, 1], label="measured")
    axis.plot([], [], label="theory")


def _alike(axis: Any) -> None:
    for label in ("q", "c"):
        axis.errorbar([0, 1], [0, 1], [0.1, 0.1], fmt="o", color="blue", label=label)


def _crowded(axis: Any) -> None:
    axis.plot([0, 1], [0, 1])
    axis.set_xticks(np.linspace(0, 1, 9), [f"{x:.8f}" for x in np.linspace(0, 1, 9)])


def _narrow(axis: Any) -> None:
    axis.plot([0, 1], [1, 1])
    axis.set_ylim(1, 1 + 1e-14)


def _wide_title(axis: Any) -> None:
    axis.plot([0, 1], [0, 1])
    axis.set_title("a title that is far too long for the figure over which it stands", loc="left")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_empty, "nothing is drawn"),
        (_twice, "says 'tanh' twice"),
        (_nothing_named, "names 'theory', which is not drawn"),
        (_alike, "c looks like q"),
        (_crowded, "overlap"),
        (_narrow, "the y axis goes from 1"),
        (_wide_title, "leaves the figure"),
    ],
)
def test_a_bad_figure_is_seen(spoil: Callable[[Any], None], fault: str):
    figure = Figure(figsize=(3, 2), layout="constrained")
    axis = figure.subplots()
    axis.set_xlabel("x")
    spoil(axis)
    axis.legend() if axis.get_legend_handles_labels()[0] else None
    assert any(fault in found for found in faults(figure))


def test_every_scenario_is_looked_at():
    with_a_target = {"adaptive"}  # needs rounds: see the tests of adaptive sampling
    assert set(shipped.files()) == {*TINY, *with_a_target}
