"""One figure of many architectures: measured over predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from figures import faults
from matplotlib import rc_context
from mcnet_analysis.draw.style import STYLE
from mcnet_analysis.draw.universality import SHOWN, ratios, universality
from mcnet_analysis.study import Column

import mcnet
from mcnet.errors import UsageError

ARCHITECTURES: list[dict[str, Any]] = [
    {"architecture": "dense"},
    {"architecture": "residual", "block": "post"},
    {"architecture": "residual", "block": "two", "sigma_v2": 1.0},
    {"architecture": "convolution", "positions": 3},
]


def judged(keys: dict[str, Any], theory: str) -> Any:
    law = {"activation": "erf", "weights": "gaussian", "depth": 2, "width": 40, "sigma_w2": 1.4, "sigma_b2": 0.1}
    content = {
        "mcnet": 1,
        "network": {**law, "outputs": 1, "parameterization": "ntk", **keys},
        "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.5},
        "sampling": {"networks": 400, "seed": 3},
        "measure": {"q": {}, "c": {}, "q_tilde": {}, "ntk": {"eigenvalues": False}},
        "analyze": {"theory": ["mean-field", "1/M"] if theory == "1/M" else ["mean-field"]},
    }
    return mcnet.judge(mcnet.sample(content))


@pytest.fixture(scope="module")
def studies() -> list[Any]:
    orders = ("1/M", "1/M", "limit", "limit")
    return [judged(keys, theory) for keys, theory in zip(ARCHITECTURES, orders, strict=True)]


def test_ratios_are_means_over_predictions(studies: list[Any]) -> None:
    for study, to_first in zip(studies, (True, True, False, False), strict=True):
        (family,) = study.families
        for name in ("q", "c", "q_tilde", "ntk"):
            found = ratios(family, name)[-1]
            inputs, layer = {"q": ((0,), 2), "q_tilde": ((0,), 2), "c": ((0, 1), 2), "ntk": ((0, 0), None)}[name]
            j = family.columns.index(Column(name, inputs, layer))
            expected = family.predictions[0].limit[j] + (family.predictions[0].a1[j] / 40 if to_first else 0.0)
            np.testing.assert_allclose(found.value, family.moments[0].mean[j] / expected, rtol=1e-12)
            assert found.to_first == to_first
            assert found.layer == layer
            assert abs(found.value - 1.0) < 5.0 * found.error + (0.0 if to_first else 0.05)
            assert found.error < 0.04


def test_the_figure_is_good_and_names_every_architecture(studies: list[Any]) -> None:
    figure = mcnet.plot.universality(studies)
    with rc_context(STYLE):
        assert faults(figure) == []
    titles = [axis.get_title(loc="left").split()[0] for axis in figure.axes]
    assert titles == ["length", "correlation", "gradient", "kernel"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == len(set(labels)) == 4
    assert all(keys["architecture"] in label for keys, label in zip(ARCHITECTURES, labels, strict=True))
    assert "no block" not in "".join(labels)


def test_what_is_not_predicted_is_said(studies: list[Any]) -> None:
    (family,) = studies[1].families
    (predicted,) = family.predictions
    mine = [j for j, column in enumerate(family.columns) if column.observable == "q_tilde"]
    limit = predicted.limit.copy()
    limit[mine] = np.nan
    unknown = family._replace(predictions=[predicted._replace(limit=limit)])
    drawing = universality([("a", unknown), ("b", studies[0].families[0])])
    assert drawing is not None
    told = [[text.get_text() for text in axis.texts] for axis in drawing.figure.axes]
    assert told == [[], [], ["not predicted"], []]
    with rc_context(STYLE):
        assert faults(drawing.figure) == []


def test_a_wrong_prediction_is_seen(studies: list[Any]) -> None:
    """The mutant: limits that are 10 % off lie many errors away from one."""
    (family,) = studies[0].families
    (predicted,) = family.predictions
    wrong = family._replace(predictions=[predicted._replace(limit=1.1 * predicted.limit)])
    for name in SHOWN:
        assert all(abs(found.value - 1.0) > 2.5 * found.error for found in ratios(wrong, name))


def test_nothing_to_draw_is_told() -> None:
    with pytest.raises(UsageError, match="measured over predicted: nothing to draw"):
        mcnet.plot.universality([])
