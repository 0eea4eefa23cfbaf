"""Nothing samples or predicts a point of an architecture that is not known as if it were a dense network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mcnet_analysis import analyze

from mcnet.backend import get_backend
from mcnet.commands import theory
from mcnet.errors import UsageError
from mcnet.observables.measure import estimate, measure, resolve_sampler
from mcnet.request import Request
from tests.analysis_datasets import ensemble
from tests.network_points import point

UNKNOWN = "hypernetwork"
MEASURES: dict[str, dict[str, Any]] = {"q": {}, "q_tilde": {}, "jacobian": {}}


@pytest.mark.parametrize("sampler", ["auto", "conditioned", "explicit"])
def test_no_sampler_takes_it(sampler: str) -> None:
    where, request = point(architecture=UNKNOWN), Request({"q": {}}, 1, sampler)
    with pytest.raises(UsageError, match=f'architecture "{UNKNOWN}" is not known'):
        measure(where, request, 0, 2, get_backend("cpu"))
    for function in (resolve_sampler, estimate):
        with pytest.raises(UsageError, match="is not known"):
            function(where, request)


def test_the_command_theory_predicts_nothing() -> None:
    found = theory.of_point(point(architecture=UNKNOWN), Request(MEASURES, 1))
    assert set(found) == {"point", "notes"}
    assert UNKNOWN in found["notes"][0]
    assert set(theory.of_point(point(), Request(MEASURES, 1))) > {"mean_field", "finite_width", "jacobian"}


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_analysis_compares_it_with_nothing(activation: str) -> None:
    laws = [{"activation": activation, "architecture": name} for name in ("dense", UNKNOWN)]
    dense, unknown = analyze.judge(ensemble((16, 32, 64), 200, seed=3, laws=laws)).families
    assert dense.comparisons
    assert not unknown.comparisons
    assert not np.isfinite(unknown.predicted.limit).any()
    assert any(UNKNOWN in note for note in unknown.notes)
    assert unknown.moments[0].mean.size == dense.moments[0].mean.size  # what was measured is there all the same
