"""What a dataset says to the analysis, within a memory that does not depend on what it says."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from mcnet_analysis import study
from mcnet_analysis.predict.prediction import Theory

import mcnet


def tree(count: int, fresh: bool = False) -> Any:
    return mcnet.sample(
        {
            "mcnet": 1,
            "network": {"activation": "relu", "weights": "gaussian", "depth": 1, "sigma_w2": 2.0, "sigma_b2": 0.1},
            "inputs": {"kind": "gaussian", "count": count, "fresh": fresh},
            "sweep": {"width": [8, 12]},
            "sampling": {"networks": 2, "sampler": "explicit"},
            "measure": {"q": {}},
        }
    )


def test_places_of_pairs_are_those_of_the_dataset() -> None:
    for inputs in (2, 3, 7):
        pairs = list(combinations(range(inputs), 2))
        assert [study._place(pair, inputs) for pair in pairs] == list(range(len(pairs)))


def test_large_gram_matrices_are_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fixed inputs the first ones; what needs all of them says so. A law is known from a part."""
    fixed, drawn = tree(30), tree(30, fresh=True)
    whole = study.settings(fixed)
    monkeypatch.setattr(study, "MAX_ENTRIES", 2 * 10**2)
    for cut, full in zip(study.settings(fixed), whole, strict=True):
        assert np.array_equal(cut.gram, full.gram[:10, :10])
        assert not cut.exchangeable
        with pytest.raises(ValueError, match=r"the kernel of 30 inputs of unequal overlaps .* is too large"):
            Theory().kernel(cut)
        assert Theory().coefficients(cut, (0, 1)) is not None
    assert all(setting.exchangeable for setting in study.settings(drawn))


def test_many_inputs_take_little_memory() -> None:
    """Families of points at one width tell sets of inputs apart by a digest, not by a text of their Gram matrices."""
    settings = study.settings(tree(700))
    twins = [replace(settings[0], gram=settings[0].gram + n) for n in range(3)]
    tracemalloc.start()
    try:
        assert len(study.families(twins)) == 3
        assert not settings[0].exchangeable
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * settings[0].gram.nbytes
